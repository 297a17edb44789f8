"""Models on kernels: the same numbers as in PyTorch, whole and as streams, nothing left behind."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

import asrc
from asrc.backends.torch import attention
from asrc.backends.torch.examples import Length
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.stepmodule import empty_states
from asrc.backends.torch.trial import Trial
from asrc.backends.triton.compare import differences
from asrc.backends.triton.lowering import TritonModel, to_triton
from asrc.backends.triton.modules import Attention, Linear
from asrc.backends.triton.tuning import Config, Tuner
from asrc.compiler.facts import Facts
from asrc.passes.quantize import Quantize
from asrc.runtime.fast import narrow
from asrc.tests.backends.torch import zoo
from asrc.tests.backends.triton.guard import close, random

# A sigmoid far from zero: infinity is the right exponential.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")

SCANS = {"amnets.asr", "bifocal.asr"}
"""Models with a recurrence that is no LSTM: PyTorch turns it."""


TWINS = {
    "rnnt": ("", {"vocab": "16", "cell": "32"}),
    "conformer_transducer": ("stream", {"D": "32", "heads": "2", "layers": "2", "vocab": "16"}),
    "convrnnt": (
        "deploy",
        {"bins": "16", "D": "32", "wide": "4", "narrow": "4", "cell": "32", "vocab": "16"},
    ),
}
"""Pipelines and sizes for which the interpreter is fast enough."""


def with_weights(facts: Facts) -> Lowered:
    made = Lowered(facts).eval()
    initialise(made, seed=1)
    return made


def twin(name: str, bits: int | None = None) -> Lowered:
    pipeline, sizes = TWINS[name]
    text = (zoo.MODELS / f"small/{name}.asr").read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.asr"
        path.write_text(re.sub("(?m)^ *require params.*", "", text), encoding="utf-8")
        model = asrc.load(path, sizes)
    facts = model.results[pipeline].facts if pipeline else model.facts
    assert facts is not None
    if bits is not None:
        facts = Facts(Quantize(weights=bits, activations=False).run(facts.graph, None)[0])
    return with_weights(facts)


def left(model: TritonModel) -> dict[str, str]:
    """What PyTorch computes, and why."""
    placed = (one for part in model.report.values() for one in part)
    return {one.value: one.why for one in placed if one.kernel is None}


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        *(("rnnt", None), ("conformer_transducer", 4)),
        pytest.param("conformer_transducer", None, marks=pytest.mark.long),
        pytest.param("convrnnt", None, marks=pytest.mark.long),
    ],
)
def test_numbers_are_those_of_pytorch(name: str, bits: int | None) -> None:
    """With weights in float; with those of few bits, read packed."""
    model = twin(name) if bits is None else narrow(twin(name), bits)
    found = differences(model, (Length(Fraction(1, 5), 2), Length(Fraction(1, 10), 1)))
    assert {one.check for one in found} == {"offline", "frames stream", "labels stream"}
    assert [one.words for one in found if not one.ok] == []
    assert max(one.worst for one in found) < 1e-5
    assert left(to_triton(model)) == {}


@pytest.mark.parametrize(
    ("name", "bits"), [*((name, None) for name in TWINS), ("conformer_transducer", 4)]
)
def test_products_in_a_half_type(name: str, bits: int | None) -> None:
    """Near to PyTorch in float32, and further away than products in float32 are."""
    model = twin(name) if bits is None else narrow(twin(name), bits)
    lengths = Length(Fraction(1, 5), 2), Length(Fraction(1, 10), 1)
    found = differences(model, lengths, precision=torch.float16)
    assert [one.words for one in found if not one.ok] == []
    assert 1e-5 < max(one.worst for one in found) < 2e-3


def test_values_and_states_stay_in_float32() -> None:
    """But what is computed inside of products."""
    model = to_triton(twin("rnnt"), torch.float16)
    found = Trial(model, (Length(Fraction(1, 5), 1),), 0).values
    kinds = {x.dtype for x in found.values() if x.is_floating_point()}
    states = empty_states(model.step("frames"), 1, model.like).values()
    assert {x.dtype for x in states if x.is_floating_point()} == kinds == {torch.float32}


@pytest.mark.long
@pytest.mark.parametrize(("name", "pipeline"), zoo.cases(("small/*.asr",)))
def test_so_it_is_for_every_model(name: str, pipeline: str) -> None:
    model = with_weights(zoo.facts(name, pipeline))
    assert [one.words for one in differences(model) if not one.ok] == []


PUBLISHED = [pytest.param(*case.values, id=case.id, marks=pytest.mark.long)
             for case in zoo.cases(zoo.PUBLISHED)]  # fmt: skip


@pytest.mark.parametrize(("name", "pipeline"), [*zoo.cases(("small/*.asr",)), *PUBLISHED])
def test_every_model_is_lowered(name: str, pipeline: str) -> None:
    """Each of its values is in the report, a step's too; only recurrences of their own stay."""
    model = to_triton(Lowered(zoo.facts(name, pipeline)))
    if zoo.streams(model.facts):
        for part in ("frames", "labels"):
            assert part not in model.parts or f"{part} step" in report_after(model, part)
    assert bool(left(model)) == (Path(name).name in SCANS)
    assert all("a recurrence of its own" in why for why in left(model).values())


def test_a_layer_of_a_step_is_few_launches() -> None:
    """Norms are part of the products that read them, learned rows and gates too; queries, keys and
    values are one."""
    step = to_triton(twin("conformer_transducer")).step("frames").module
    called = (node.target for node in step.graph.nodes if node.op == "call_module")
    made = Counter(type(step.get_submodule(str(target))).__name__ for target in called)
    layers = 2
    assert made["RingAttention"] == made["RingFilters"] == made["Norm"] == layers
    assert made["Linear"] == 7 * layers + 1
    assert made["Beside"] == layers
    assert made["Pointwise"] == made["Gated"] == made["SumNorm"] == 0


@pytest.mark.parametrize("name", TWINS)
def test_utterances_of_other_lengths_have_nothing_measured(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Choices of tiles are kept for lengths up to the next power of two."""
    model, seen = to_triton(twin(name)), set()
    best = Tuner.best

    def noted(self: Tuner, kernel: str, shape: tuple[object, ...], *rest: Any) -> Config:
        seen.add((kernel, shape))
        return best(self, kernel, shape, *rest)

    monkeypatch.setattr(Tuner, "best", noted)
    counts = []
    for samples in (9600, 9100):
        audio = random(1, samples, 1, seed=samples)
        model.parts["frames"]({"audio": audio, "audio_length": torch.tensor([samples])})
        counts.append(len(seen))
    assert counts[0] > 3
    assert counts[0] == counts[1]


def report_after(model: TritonModel, part: str) -> set[str]:
    model.step(part)
    return set(model.report)


def test_what_follows_a_product_is_part_of_it() -> None:
    model = to_triton(twin("conformer_transducer"))
    kernels = {one.value: one.kernel for one in model.report["frames"]}
    assert kernels["encoder.mel.cmvn"] == "logmel"
    assert {k for v, k in kernels.items() if v.endswith("Subsampling4.1.relu")} == {"conv2d"}
    swishes = {k for v, k in kernels.items() if v.endswith("swish")}
    assert "linear" in swishes
    chains = [k for k in kernels.values() if k == "pointwise"]
    assert len(chains) < 0.3 * len(kernels)  # sums that two read, swishes behind norms


@pytest.mark.parametrize("bits", [2, 8])
@torch.no_grad()
def test_narrow_weights_are_read_packed(bits: int) -> None:
    model = twin("rnnt", bits)
    fast = to_triton(model)
    product = product_of(fast)
    x = random(3, 4, product.leaf.weight.shape[1])
    assert product.weight().bits == bits
    close(product(x), model.parts["lattice"].module.get_submodule(place_of(fast))(x))


def place_of(model: TritonModel) -> str:
    """Of the joint's product, in the plain model."""
    return next(name for name in model.leaves if name.startswith("joint") and "dense" in name)


def product_of(model: TritonModel) -> Linear:
    """Of the joint."""
    (found,) = (m for m in model.parts["lattice"].module.modules() if isinstance(m, Linear))
    return found


def test_weights_that_change_are_packed_anew() -> None:
    model = twin("rnnt", 4)
    product = product_of(to_triton(model))
    x = random(2, product.leaf.weight.shape[1])
    before = product(x)
    with torch.no_grad():
        product.leaf.weight.mul_(-1)
    assert not torch.allclose(product(x), before)


@pytest.mark.parametrize(("own", "mixed", "position"), [(6, 4, 6), (4, 6, 4), (4, 4, 3), (3, 5, 6)])
def test_heads_of_different_widths(own: int, mixed: int, position: int) -> None:
    """Values, and positions, may be wider or narrower than queries and keys."""
    q, k, v = random(2, 7, 2 * own), random(2, 7, 2 * own, seed=1), random(2, 7, 2 * mixed, seed=2)
    p, r = random(2, 7, 2 * position, seed=3), random(1, 13, 2 * position, seed=4)
    found = Attention(2, {"left": 3, "right": 1})(q, k, v, None, p, r)
    seen = attention.visible(q, k, left=3, right=1)
    bias = attention.relative_scores(p, r, 2, 7)
    close(found, attention.attend(q, k, v, 2, seen, bias))
