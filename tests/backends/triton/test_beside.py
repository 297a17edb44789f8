"""Products that read one value are brought together, others are not; numbers stay as they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import asrc
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.streams import Streams
from asrc.backends.triton.beside import Beside
from asrc.backends.triton.lowering import TritonModel, to_triton
from asrc.compiler.facts import Facts
from asrc.passes.quantize import Quantize
from asrc.tests.backends.triton.guard import close

QKV = "n = x |> layernorm\n q = n |> dense(8)\n k = n |> dense(8)\n v = n |> dense(8)\n"
ATTENDED = f"{QKV} out attend(2, mask=causal, left=40ms)(q, k, v) : [8] @ 10ms"
FOLLOWED = """a = x |> dense(4) |> relu\n b = dense(4)(x) * 0.5\n c = x |> dense(8) |> glu
 d = x + dense(6)(x)\n e = x |> dense(4)\n out concat(a, b, c, d, e) : [22] @ 10ms"""
TAPS = "dense(4)(x[t-2..t])"
NETS: dict[str, tuple[str, *tuple[list[int], ...]]] = {
    "queries, keys and values": (ATTENDED, [3]),
    "of two inputs": (
        "y = tanh(x)\n out concat(dense(4)(x), dense(4)(y), dense(4)(x), dense(4)(y)): [16] @ 10ms",
        [2, 2],
    ),
    "of two sizes": (
        "out concat(dense(4)(x), dense(5)(x), dense(4)(x), dense(5)(x)) : [18] @ 10ms",
        [2, 2],
    ),
    "with and without a bias": (
        "out concat(dense(4)(x), dense(4, bias=false)(x), dense(4, bias=false)(x)) : [12] @ 10ms",
        [2],
    ),
    "something follows": (FOLLOWED, []),
    "norms of their own": (
        "out concat(layernorm(x) |> dense(4), layernorm(x) |> dense(4)) : [8] @ 10ms",
        [],
    ),
    "several frames, of a step one row": (f"out concat({TAPS}, {TAPS}) : [8] @ 10ms", [], [2]),
}


def both(net: str, folder: Path, *, bits: int | None = None) -> tuple[Lowered, TritonModel]:
    path = folder / "m.asr"
    path.write_text(f"asr 1\nmodel m\ninput x: [6] @ 10ms\nnet n(x) {{ {net} }}\n")
    facts = asrc.load(path).facts
    assert facts is not None
    if bits is not None:
        facts = Facts(Quantize(weights=bits, activations=False).run(facts.graph, None)[0])
    plain = Lowered(facts).eval()
    initialise(plain, seed=1)
    return plain, to_triton(plain)


def steps(model: Lowered) -> list[Tensor]:
    """What two steps of two streams make."""
    streams, chance = Streams(model, 2), torch.Generator().manual_seed(0)
    found = []
    for _ in range(2):
        given = {
            f.name: torch.randn(2, f.frames, 6, generator=chance) for f in streams.step_of(1).feeds
        }
        found += [made.data for made in streams.step(given, 1, None).values()]
    return found


def together(model: TritonModel) -> list[list[int]]:
    """How many products each `Beside` has, of whole utterances and of a step."""
    modules = (model.parts["frames"].module, model.step("frames").module)
    return [[len(m.products) for m in one.modules() if isinstance(m, Beside)] for one in modules]


@pytest.mark.parametrize("name", NETS)
def test_what_is_brought_together(name: str, tmp_path: Path) -> None:
    net, *sizes = NETS[name]
    plain, fast = both(net, tmp_path)
    assert together(fast) == [sizes[0], sizes[-1]]
    for made, wanted in zip(steps(fast), steps(plain), strict=True):
        close(made, wanted, 1e-5)
    x = {"x": torch.randn(2, 7, 6), "x_length": torch.tensor([7, 7])}
    name = plain.parts["frames"].outputs[0].name
    with torch.no_grad():
        close(fast.parts["frames"](x)[name], plain.parts["frames"](x)[name], 1e-5)


def test_a_value_is_said_once(tmp_path: Path) -> None:
    _, fast = both(ATTENDED, tmp_path)
    fast.step("frames")
    for placed in (fast.report["frames"], fast.report["frames step"]):
        values = [one.value for one in placed]
        assert len(values) == len(set(values)) == 5
        assert all(one.kernel for one in placed)


def test_weights_of_few_bits(tmp_path: Path) -> None:
    """A weight of other bits than its neighbour's, as a pass may choose, is a launch of its own."""
    plain, fast = both(ATTENDED, tmp_path, bits=4)
    assert together(fast) == [[3], [3]]
    for made, wanted in zip(steps(fast), steps(plain), strict=True):
        close(made, wanted, 1e-5)


def test_weights_that_are_put_in_their_place(tmp_path: Path) -> None:
    plain, fast = both(ATTENDED, tmp_path)
    steps(fast)
    for x in plain.tensors().values():
        x.data = x.data * 1.7
    for made, wanted in zip(steps(fast), steps(plain), strict=True):
        close(made, wanted, 1e-5)
