"""Lowered models under autocast and under `torch.compile`: less exact, or faster."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch

import asrc
from asrc.backends.torch.examples import Length, random_inputs
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.compiler.facts import Facts
from asrc.compiler.source import Source
from asrc.dsl.check import check_model, read_model
from asrc.tests.backends.torch.zoo import SMALL, cases, facts

LENGTHS = (Length(Fraction(71, 100), 3), Length(Fraction(56, 100), 2))
LONGER = (Length(Fraction(93, 100), 5), Length(Fraction(44, 100), 1), Length(Fraction(66, 100), 4))

LOUD = pytest.mark.filterwarnings("ignore")
"""Of tests that compile: the compiler's own warnings are not about the model."""

MODEL = """asr 1
model everything
use std.rnn (Lstm)
use std.conv (Subsampling4)
use std.conformer (Conformer)
use std.transducer (LstmPredictor, Joint)
input audio: pcm @ 16kHz
input prev: token[9]
net encoder(audio) {
  mel = audio |> logmel(bins=16, window=25ms, hop=10ms) |> cmvn
  out mel |> Subsampling4(16, channels=4) |> Conformer(16, 2, kernel=3) |> Lstm(16) |> dropout(0.1)
}
net predictor(prev) { out prev |> LstmPredictor(16, 16, width=8) }
net joint(e=encoder, p=predictor) { out Joint(e, p, 10) }
pipeline stream { mask(encoder, chunk=160ms, left=320ms) }
"""


def model(pipeline: str | None = None) -> Lowered:
    checked = check_model(read_model(Source("everything.asr", MODEL)))
    found = checked.results[pipeline].facts if pipeline else checked.facts
    assert found is not None
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    return lowered


def outputs(found: Facts, values: dict[str, torch.Tensor]) -> list[torch.Tensor]:
    return [values[name.replace(".", "_")] for name in found.graph.outputs]


def apart(some: list[torch.Tensor], others: list[torch.Tensor]) -> float:
    """The largest difference, relative to the largest number."""
    pairs = zip(some, others, strict=True)
    return max(float(((a - b).abs().max() / b.abs().max().clamp(min=1)).detach()) for a, b in pairs)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_autocast(name: str, pipeline: str, half: torch.dtype) -> None:
    """With eight or eleven bits of a number: outputs within a few of these, finite gradients."""
    found = facts(name, pipeline)
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    values = random_inputs(found, LENGTHS, 0, torch.float32)
    exact = [x.detach() for x in outputs(found, lowered.eval()(values))]
    with torch.autocast("cpu", half):
        rough = outputs(found, lowered(values))
    assert apart([x.float() for x in rough], exact) < (0.1 if half == torch.bfloat16 else 0.05)
    sum(x.float().square().mean() for x in rough).backward()  # type: ignore[union-attr]
    grads = [p.grad for p in lowered.parameters() if p.grad is not None]
    assert grads
    assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_integers_are_the_same_under_autocast(half: torch.dtype) -> None:
    """Forward and backward, also where the whole update is within autocast."""
    found = facts("commands/convrnnt.asr", "nna")
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    values = random_inputs(found, LENGTHS, 0, torch.float32)
    made, grads = [], []
    for within in (False, True):
        lowered.zero_grad()
        with torch.autocast("cpu", half, enabled=within):
            made.append(outputs(found, lowered.eval()(values)))
            sum(x.square().mean() for x in made[-1]).backward()  # type: ignore[union-attr]
        grads.append([p.grad for p in lowered.parameters() if p.grad is not None])
    for exact, same in ((made[0], made[1]), (grads[0], grads[1])):
        assert all(torch.equal(a, b) for a, b in zip(exact, same, strict=True))


@LOUD
def test_compiled() -> None:
    """The graph that the compiler takes, run as it is: inductor is in the long tests."""
    check_compiled(model("stream"), "eager")


def check_compiled(lowered: Lowered, backend: str) -> None:
    """For utterances of any length; to train, inductor wants to know them (docs/pytorch.md)."""
    torch.compiler.reset()  # type: ignore[no-untyped-call]
    compiled, found = torch.compile(lowered, backend=backend), lowered.facts
    for lengths in (LENGTHS, LONGER):
        values = random_inputs(found, lengths, 0, torch.float32)
        with torch.no_grad():
            wanted = outputs(found, lowered.eval()(values))
            assert apart(outputs(found, compiled(values)), wanted) < 1e-5
    if backend == "inductor":
        torch.compiler.reset()  # type: ignore[no-untyped-call]
        compiled = torch.compile(lowered, backend=backend, dynamic=False)
    made = outputs(found, compiled(values))
    sum(x.square().mean() for x in made).backward()  # type: ignore[union-attr]
    mine = {n: p.grad.clone() for n, p in lowered.named_parameters() if p.grad is not None}
    lowered.zero_grad()
    sum(x.square().mean() for x in outputs(found, lowered(values))).backward()  # type: ignore[union-attr]
    for name, p in lowered.named_parameters():
        assert p.grad is not None
        torch.testing.assert_close(mine[name], p.grad, atol=1e-5, rtol=1e-3)
    compiled(values)
    lowered.train()
    assert all(torch.isfinite(x).all() for x in outputs(found, compiled(values)))


@LOUD
def test_recurrences_and_the_front_end_stay_as_they_are() -> None:
    """What the compiler does not take is called; nothing else cuts the graph."""
    explained = torch._dynamo.explain(model())(random_inputs(model().facts, LENGTHS, 0))
    reasons = {str(r.reason).splitlines()[0] for r in explained.break_reasons}
    assert all("disable" in reason for reason in reasons), reasons


@LOUD
@pytest.mark.long
@pytest.mark.parametrize("pipeline", [None, "stream"])
def test_compiled_by_inductor(pipeline: str | None) -> None:
    check_compiled(model(pipeline), "inductor")


@LOUD
@pytest.mark.long
@pytest.mark.parametrize("name", ["rnnt", "convrnnt", "conformer_transducer"])
def test_the_zoo_compiled_by_inductor(name: str) -> None:
    loaded = asrc.load(asrc.__path__[0] + f"/models/small/{name}.asr")
    found = loaded.results["stream"].facts if "stream" in loaded.results else loaded.facts
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    check_compiled(lowered, "inductor")
