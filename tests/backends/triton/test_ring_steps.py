"""Streams whose windows are rings: what they give is what PyTorch's give, which move windows on."""

from __future__ import annotations

from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from torch import Tensor

import asrc
from asrc.backends.torch.contract import flush_is_whole, streams_are_independent
from asrc.backends.torch.examples import Length
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.session import Session
from asrc.backends.torch.streams import Streams
from asrc.backends.torch.trial import Trial
from asrc.backends.triton.captured import CapturedStreams, Made
from asrc.backends.triton.lowering import TritonModel, to_triton
from asrc.backends.triton.ring_modules import RingAttention, RingFilters, Unrolled
from asrc.backends.triton.ring_steps import RingStep
from asrc.backends.triton.ring_windows import Windows
from asrc.tests.backends.triton.guard import close
from asrc.tests.backends.triton.test_captured import carried, ran_before, same
from asrc.tests.backends.triton.test_lowering import twin

# A sigmoid far from zero: infinity is the right exponential.
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")

TEXTS = {
    # Its rings are as long as three chunks and as four frames.
    "conformer": """use std.conformer (RelativeAttention, ConvModule)
        input x: [6] @ 10ms
        net n(x) { out x |> residual { layernorm |> RelativeAttention(6, 2) }
          |> residual { ConvModule(6, 5) } : [6] @ 10ms }
        pipeline p { mask(n, chunk=20ms, left=60ms) }""",
    "looking ahead": """use std.conformer (RelativeAttention)
        input x: [6] @ 10ms
        net n(x) { out x |> repeat(2) { residual { RelativeAttention(6, 2) } } : [6] @ 10ms }
        pipeline p { mask(n, left=30ms, right=20ms) }""",
    "keys that are values": """input x: [6] @ 10ms
        net n(x) { y = x |> dense(6) |> tanh
          out attend(3, mask=chunk, chunk=30ms, left=40ms)(y, y, y) : [6] @ 10ms }""",
    "shared keys, other widths": """input x: [6] @ 10ms
        net n(x) { k = x |> dense(8)
          r = positions(12) |> dense(8, bias=false)
          p = x |> dense(8)
          a = attend(2, mask=causal, left=40ms)(dense(8)(x), k, dense(4)(x))
          b = attend(2, mask=causal, left=40ms)(k, k, dense(10)(x), p, r)
          out concat(a, b) |> dense(6) : [6] @ 10ms }""",
    "gates": """use std.conformer (SelfAttention)
        input x: [6] @ 10ms
        input on: flag @ 10ms
        net n(x, on) { out x |> switch(on) { residual { SelfAttention(6, 2) } } : [6] @ 10ms }
        pipeline p { mask(n, causal, left=40ms) }""",
    "chunks of a filter": """input x: [6] @ 10ms
        net n(x) { y = x |> dense(6) |> tanh
          z = y[t-2..t+2 in chunk] |> depthwise
          out attend(2)(z, z, z) : [6] @ 10ms }
        pipeline p { mask(n, chunk=40ms, left=40ms) }""",
    "filters": """input x: [6] @ 10ms
        net n(x) { u = x |> dense(12) |> glu
          v = u[t-3..t+1] |> depthwise |> swish
          w = v[t-4..t by 2] |> depthwise
          out w[t-2..t] |> depthwise |> stride(2) |> dense(6) : [6] @ 20ms }""",
}
RINGS = {"conformer": 3, "gates": 2, "chunks of a filter": 1, "looking ahead": 4,
         "keys that are values": 1, "shared keys, other widths": 3, "filters": 3}  # fmt: skip
BATCH = 2


@cache
def models(name: str) -> tuple[Lowered, TritonModel]:
    """In PyTorch and on kernels."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.asr"
        path.write_text(f"asr 1\nmodel m\n{TEXTS[name]}\n", encoding="utf-8")
        model = asrc.load(path)
    facts = model.results["p"].facts if model.results else model.facts
    assert facts is not None
    made = Lowered(facts).eval()
    initialise(made, seed=1)
    return made, to_triton(made)


@pytest.mark.parametrize("name", TEXTS)
def test_which_states_are_rings(name: str) -> None:
    """They are as large as without, and the same in steps of more quanta."""
    plain, fast = models(name)
    step, longer = fast.step(), fast.step(multiple=3)
    assert isinstance(step, RingStep)
    assert isinstance(longer, RingStep)
    assert len(step.turns) == RINGS[name]
    assert longer.turns == step.turns
    assert step.states == plain.step().states
    assert step.held_values == plain.step().held_values
    made = [m for m in step.module.modules() if isinstance(m, RingAttention | RingFilters)]
    assert len(made) >= len(step.turns) / 2
    assert not any(
        isinstance(m, Unrolled) for m in (*step.module.modules(), *longer.module.modules())
    )


def feeds_of(streams: Streams, multiple: int, chance: torch.Generator) -> dict[str, Tensor]:
    feeds = streams.step_of(multiple).feeds
    x = {f.name: torch.randn(BATCH, f.frames, 6, generator=chance) for f in feeds}
    return x | ({"on": (x["on"][..., :1] > 0).float()} if "on" in x else {})


def follow(streams: list[Streams], turns: int, seed: int = 1) -> list[list[Made]]:
    """What each gives of the same steps: streams stand still, one begins anew, both end."""
    chance, made = torch.Generator().manual_seed(seed), []
    warm = streams[0].step_of(1).warm_up
    for turn in range(turns):
        moving = None if turn % 3 else torch.rand(BATCH, generator=chance) < 0.6
        old = int(streams[0].age.min()) >= warm
        multiple = (1, 1, 3)[turn % 3] if old else 1
        feeds = feeds_of(streams[0], multiple, chance)
        made.append([one.step(feeds, multiple, moving) for one in streams])
        if turn == turns // 2:
            for one in streams:
                one.restart(torch.tensor([False, True]))
        if turn == turns - 4:
            for one in streams:
                lengths = (one.age * feeds["x"].shape[1] + torch.tensor([1, 3])).clone()
                one.end("x", lengths)
    return made


def close_there(found: Made, wanted: Made) -> None:
    """Frames that are there, and which these are."""
    for name, block in wanted.items():
        assert torch.equal(found[name].there, block.there)
        assert torch.equal(found[name].first, block.first)
        if bool(block.there.any()):
            close(found[name].data[block.there], block.data[block.there])


@pytest.mark.parametrize("name", TEXTS)
def test_streams_give_what_windows_give(name: str) -> None:
    plain, fast = models(name)
    seen, turns = 0, 16 if name == "looking ahead" else 11
    for wanted, found in follow([Streams(plain, BATCH), Streams(fast, BATCH)], turns):
        close_there(found, wanted)
        seen += sum(int(block.there.sum()) for block in wanted.values())
    assert seen >= 10


def test_recorded_streams_stay_in_their_memory() -> None:
    """A graph is played on rings whose places follow from ages on the device."""
    fast = models("conformer")[1]
    recorded = CapturedStreams(fast, BATCH, capture=ran_before)
    held = {x.data_ptr() for x in carried(recorded)}
    made = follow([Streams(fast, BATCH), recorded], 7)
    for wanted, found in made:
        same(found, wanted)
    assert {x.data_ptr() for x in carried(recorded)} == held


def test_a_ring_is_written_where_it_is() -> None:
    """In new frames alone: a stream that stands still keeps its own."""
    fast = models("conformer")[1]
    streams, chance = Streams(fast, BATCH), torch.Generator().manual_seed(3)
    step = fast.step()
    assert isinstance(step, RingStep)
    held = {name: streams.state[name] for name in step.turns}
    for moving in (None, torch.tensor([True, False])):
        before = {name: x.clone() for name, x in held.items()}
        streams.step(feeds_of(streams, 1, chance), 1, moving)
        for name, x in held.items():
            assert streams.state[name] is x
            changed = (x != before[name]).any(-1).sum(1)
            assert changed.tolist() == [2, 2 if moving is None else 0]


@pytest.mark.parametrize("left", ["_attention", "_filter"])
def test_what_reads_no_rings_has_them_unrolled(left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of more quanta may have readers of another form than that of one."""
    plain, fast = models("conformer")
    fast = to_triton(plain)
    streams = Streams(fast, BATCH)
    with monkeypatch.context() as patch:
        patch.setattr(Windows, left, lambda *_: None)
        patch.setattr(TritonModel, "_turns", lambda *_: models("conformer")[1].step().turns)
        longer = fast.step(multiple=3)
    assert sum(isinstance(m, Unrolled) for m in longer.module.modules()) >= 1
    for wanted, found in follow([Streams(plain, BATCH), streams], 7):
        close_there(found, wanted)


def test_a_session() -> None:
    """Pushes of any length, many quanta at once, ends, and a new beginning."""
    plain, fast = models("conformer")
    begin = partial(CapturedStreams, capture=ran_before)
    sessions = Session(plain, 2), Session(fast, 2, begin=begin)
    chance = torch.Generator().manual_seed(2)
    for size in (1, 27, 0, 3):
        x, counts = torch.randn(2, size, 6, generator=chance), {"x": [size, size // 2]}
        push_both(sessions, x, counts)
    anew = torch.tensor([True, False])
    wanted, found = (session.finish(anew) for session in sessions)
    close_there(found, wanted)
    for session in sessions:
        session.restart(anew)
    push_both(sessions, torch.randn(2, 11, 6, generator=chance), None)
    wanted, found = (session.finish() for session in sessions)
    close_there(found, wanted)


def push_both(
    sessions: tuple[Session, Session], x: Tensor, counts: dict[str, list[int]] | None
) -> None:
    wanted, found = (session.push({"x": x}, counts) for session in sessions)
    close_there(found, wanted)


@pytest.mark.long
@pytest.mark.parametrize("name", TEXTS)
def test_the_contract(name: str) -> None:
    """Streams that end anywhere, and that share a batch and begin anew, are whole utterances."""
    trial = Trial(models(name)[1], (Length(Fraction(29, 100), 1), Length(Fraction(17, 100), 1)))
    for found in (flush_is_whole(trial, 3), streams_are_independent(trial)):
        assert found.ok, found.words


@pytest.mark.parametrize("name", ["looking ahead", "chunks of a filter"])
def test_a_step_that_has_run_copies_nothing_from_the_host(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which a CUDA graph could not hold."""
    streams, chance = Streams(models(name)[1], BATCH), torch.Generator().manual_seed(4)
    streams.step(feeds_of(streams, 1, chance))

    def refused(*given: object, **options: object) -> Tensor:
        raise AssertionError(f"a step makes a tensor of {given}")

    monkeypatch.setattr(torch, "tensor", refused)
    streams.step(feeds_of(streams, 1, chance))


def test_labels_are_whole_states() -> None:
    """Decoders put them aside."""
    step = to_triton(twin("rnnt")).step("labels")
    assert isinstance(step, RingStep)
    assert not step.turns
