"""Operators that become part of a kernel next to them: in a step the numbers are PyTorch's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import asrc
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.streams import Streams
from asrc.backends.triton.kernels import linear as products
from asrc.backends.triton.lowering import TritonModel, to_triton
from asrc.tests.backends.triton.guard import close

QKV = "k = x |> dense(8)\n q = x |> dense(8)\n v = x |> dense(8)\n"
MODELS = {
    "norm read by a residual and others": (
        "n = x |> layernorm\n a = x + dense(6)(n)\n b = dense(6)(n) |> tanh\n"
        " out a * b : [6] @ 10ms"
    ),
    "norm of three products": (
        "n = x |> layernorm |> swish\n out dense(8)(n) * dense(8)(n) * dense(8)(n) : [8] @ 10ms"
    ),
    "rms norm before a gate": "out x |> rmsnorm |> dense(12) |> glu |> dense(6) : [6] @ 10ms",
    "norm that something else reads": "n = x |> layernorm\n out dense(6)(n) + n : [6] @ 10ms",
    "gate and residual": "out x + (x |> dense(12) |> glu) : [6] @ 10ms",
    "row wider than what it is added to": (
        f"{QKV} z = x |> dense(1)\n a = attend(1, mask=causal, left=40ms)(z + weight[8](init=ones),"
        " k, v) + q * z\n out a |> dense(6) : [6] @ 10ms"
    ),
    "row of one number": (
        f"{QKV} r = positions(12) |> dense(8, bias=false)\n a = attend(2, mask=causal, left=40ms)"
        "(q + weight[1](init=ones), k, v, q, r)\n out a |> dense(6) : [6] @ 10ms"
    ),
    "rows of queries and positions": (
        f"{QKV} r = positions(12) |> dense(8, bias=false)\n p = q + weight[8](init=ones)\n"
        " u = q + weight[8](init=ones)\n a = attend(2, mask=causal, left=40ms)(u, k, v, p, r)\n"
        " b = attend(2, mask=causal, left=40ms)(q, k, v, p, r)\n"
        " out concat(a, b) |> dense(6) : [6] @ 10ms"
    ),
}


def both(
    name: str, folder: Path, precision: torch.dtype | None = None
) -> tuple[Lowered, TritonModel]:
    path = folder / "m.asr"
    path.write_text(f"asr 1\nmodel m\ninput x: [6] @ 10ms\nnet n(x) {{ {MODELS[name]} }}\n")
    facts = asrc.load(path).facts
    assert facts is not None
    plain = Lowered(facts).eval()
    initialise(plain, seed=1)
    chance = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for x in plain.tensors().values():
            x.copy_(torch.randn(x.shape, generator=chance) * 0.5)
    return plain, to_triton(plain, precision)


def steps(model: Lowered, batch: int) -> list[Tensor]:
    """What three steps of some streams make."""
    streams, chance = Streams(model, batch), torch.Generator().manual_seed(0)
    found = []
    for _ in range(3):
        feeds = streams.step_of(1).feeds
        given = {f.name: torch.randn(batch, f.frames, 6, generator=chance) for f in feeds}
        found += [made.data for made in streams.step(given, 1, None).values()]
    return found


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_numbers_of_steps(name: str, batch: int, tmp_path: Path) -> None:
    plain, fast = both(name, tmp_path)
    for made, wanted in zip(steps(fast, batch), steps(plain, batch), strict=True):
        close(made, wanted, 1e-5)
    values = [one.value for one in fast.report["frames step"]]
    assert len(values) == len(set(values))


@pytest.mark.parametrize("batch", [1, 2])
def test_a_norm_of_three_products_is_no_launch(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fast = both("norm of three products", tmp_path)
    monkeypatch.setattr(products, "layer_norm", None)
    assert steps(fast, batch)


@pytest.mark.parametrize("name", ["gate and residual", "rms norm before a gate"])
def test_products_in_bfloat16(name: str, tmp_path: Path) -> None:
    """In the interpreter too, whose own are garbage."""
    plain, fast = both(name, tmp_path, torch.bfloat16)
    for made, wanted in zip(steps(fast, 2), steps(plain, 2), strict=True):
        close(made, wanted, 3e-2)


def test_weights_that_are_put_in_their_place(tmp_path: Path) -> None:
    """Copies in a half type are made anew where a parameter has other numbers."""
    plain, fast = both("gate and residual", tmp_path, torch.float16)
    steps(fast, 2)
    for x in plain.tensors().values():
        x.data = x.data * 1.7
    for made, wanted in zip(steps(fast, 2), steps(plain, 2), strict=True):
        close(made, wanted, 3e-3)
