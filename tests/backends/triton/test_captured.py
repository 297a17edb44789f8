"""Recorded steps: what streams do on fixed memory is what they do otherwise.

Recording itself is CUDA's; here a call is played again as it is, on the same memory.
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from unittest.mock import MagicMock

import pytest
import torch

from asrc.backends.torch.session import Session
from asrc.backends.torch.streams import Block, Streams
from asrc.backends.triton.captured import Call, CapturedStreams, Made, cuda_graph
from asrc.backends.triton.kernels.overlap import early, overlapping
from asrc.tests.backends.triton.ptx.launching import OnGpu
from asrc.tests.backends.triton.test_lowering import TWINS, twin

BATCH = 3


def ran_before(call: Call) -> Call:
    """As a CUDA graph is recorded: the step runs, then is played; what it made is overwritten."""
    call()
    kept: Made = call()

    def replay() -> Made:
        for name, block in call().items():
            for old, new in zip(parts(kept[name]), parts(block), strict=True):
                old.copy_(new)
        return kept

    return replay


def parts(block: Block) -> tuple[torch.Tensor, ...]:
    return block.data, block.there, block.first


def same(one: Made, other: Made) -> None:
    assert one.keys() == other.keys()
    for name, block in one.items():
        for x, y in zip(parts(block), parts(other[name]), strict=True):
            assert torch.equal(x, y)


def test_recorded_launches_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are compiled and measured before, too: both times it is the same program."""
    calls: list[bool] = []
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (9, 0))
    for name in ("Stream", "current_stream", "CUDAGraph"):
        monkeypatch.setattr(f"torch.cuda.{name}", MagicMock)
    for name in ("stream", "graph"):
        monkeypatch.setattr(f"torch.cuda.{name}", lambda _: nullcontext())

    def call() -> Made:
        with OnGpu():
            calls.append(bool(early(torch.zeros(1))))
        return {}

    with overlapping(False):
        assert cuda_graph(call)() == {}
        call()
    assert calls == [True, True, True, False]


@pytest.mark.parametrize("name", TWINS)
def test_streams_on_fixed_memory(name: str) -> None:
    """Streams stand still, end and begin anew; a step's result is not the next one's."""
    model, chance = twin(name), torch.Generator().manual_seed(1)
    plain = Streams(model, BATCH)
    recorded = CapturedStreams(model, BATCH, capture=ran_before)
    held = {x.data_ptr() for x in carried(recorded)}
    feeds = plain.step_of(1).feeds
    before: list[tuple[Made, Made]] = []
    for turn in range(12):
        given = {f.name: torch.randn(BATCH, f.frames, 1, generator=chance) for f in feeds}
        moving = None if turn % 3 else torch.rand(BATCH, generator=chance) < 0.6
        before.append((plain.step(given, 1, moving), recorded.step(given, 1, moving)))
        if turn == 5:
            anew = torch.tensor([False, True, False])
            plain.restart(anew)
            recorded.restart(anew)
        if turn == 8:
            lengths = torch.tensor([1 << 40, 100, 9000])
            plain.end(feeds[0].name, lengths)
            recorded.end(feeds[0].name, lengths)
    for one, other in before:
        same(one, other)
    assert {x.data_ptr() for x in carried(recorded)} == held


def carried(streams: CapturedStreams) -> list[torch.Tensor]:
    return [streams.age, streams.moving, *streams.ends.values(), *streams.state.values()]


def test_a_session_of_recorded_steps() -> None:
    """Pushes of any length, several quanta at once, ends, and a new beginning."""
    model = twin("rnnt")
    plain = Session(model, 2)
    recorded = Session(model, 2, begin=partial(CapturedStreams, capture=ran_before))
    chance = torch.Generator().manual_seed(2)
    for size in (100, 7000, 30000, 0, 2500):
        audio = torch.randn(2, size, 1, generator=chance)
        counts = {"audio": [size, size // 2]}
        same(plain.push({"audio": audio}, counts), recorded.push({"audio": audio}, counts))
    anew = torch.tensor([True, False])
    for session in (plain, recorded):
        session.finish(anew)
        session.restart(anew)
    audio = torch.randn(2, 9000, 1, generator=chance)
    same(plain.push({"audio": audio}), recorded.push({"audio": audio}))
    same(plain.finish(), recorded.finish())
