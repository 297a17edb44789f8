"""Greedy decoding on kernels finds what the decoder of the host finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from random import Random

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from asrc.backends.torch.lowered import Lowered
from asrc.backends.triton.decoding import joint_of
from asrc.backends.triton.lowering import to_triton
from asrc.runtime.decode import Clock, GreedyDecoder, Hypothesis, Token
from asrc.runtime.decode.on_kernels import KernelDecoder
from asrc.runtime.fast import narrowed
from asrc.runtime.transducer import LoweredTransducer
from asrc.tests.backends.triton.test_greedy import NoReading
from asrc.tests.backends.triton.test_lowering import twin
from asrc.tests.runtime.test_recogniser import made

CLOCK = Clock(Fraction(1, 25), Fraction(1, 10))


@cache
def talkative(blank: float = 0.4, bits: int | None = None) -> Lowered:
    """Of 16 numbers a frame; the lower the blank's bias, the more it says."""
    recogniser = made()
    with torch.no_grad():
        recogniser.lowered.tensors()["joint.out.dense.bias"][-1] = blank
    return (recogniser if bits is None else narrowed(recogniser, bits)).lowered


def on_kernels(lowered: Lowered, **given: int) -> KernelDecoder:
    joint = joint_of(lowered)
    assert joint is not None
    return KernelDecoder(LoweredTransducer(lowered), joint, clock=CLOCK, **given)


def drawn(batch: int, count: int, width: int = 16, seed: int = 0) -> Tensor:
    return 2 * torch.randn(batch, count, width, generator=torch.Generator().manual_seed(seed))


class Both:
    """Two decoders that are given the same: that of the host, and `fast` or one for `lowered`."""

    def __init__(self, lowered: Lowered, fast: KernelDecoder | None = None, **given: int) -> None:
        self.host = GreedyDecoder(LoweredTransducer(lowered), clock=CLOCK, **given)
        self.fast = fast or on_kernels(lowered, **given)

    def feed(
        self, frames: Tensor, *lengths: list[int] | Tensor, present: Tensor | None = None
    ) -> None:
        """They say the same new labels, and no number is read alone."""
        wanted = self.host.feed({"encoder": frames}, *lengths, present=present)
        with NoReading():
            found = self.fast.feed({"encoder": frames}, *lengths, present=present)
        for ours, theirs in zip(found, wanted, strict=True):
            same_tokens(ours, theirs)

    def same(self) -> list[Hypothesis]:
        """What both have found: labels, frames and times to the letter, scores nearly."""
        pairs = list(zip(self.fast.hypotheses(), self.host.hypotheses(), strict=True))
        for ours, theirs in pairs:
            same_tokens(ours.tokens, theirs.tokens)
            assert ours.score == pytest.approx(theirs.score, rel=1e-5, abs=1e-4)
        return [ours for ours, _ in pairs]


def same_tokens(found: Sequence[Token], wanted: Sequence[Token]) -> None:
    assert [replace(t, score=0) for t in found] == [replace(t, score=0) for t in wanted]
    assert [t.score for t in found] == pytest.approx([t.score for t in wanted], abs=1e-4)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("blank", "max_symbols"), [(0.4, 10), (0.4, 1), (-1.0, 3)])
def test_whole_utterances(batch: int, blank: float, max_symbols: int) -> None:
    both = Both(talkative(blank), batch=batch, max_symbols=max_symbols)
    frames = drawn(batch, 12)
    frames[2:, 7:] = torch.nan
    both.feed(frames, torch.tensor([12, 0, 7][:batch]))
    assert both.same()[0].tokens


def test_the_models_of_these_tests_are_worth_it() -> None:
    """Frames without labels, and with several; caps that bind."""
    said = {}
    for blank, cap in ((0.4, 1), (0.4, 10), (-1.0, 3), (-1.0, 10)):
        host = Both(talkative(blank), max_symbols=cap).host
        host.feed({"encoder": drawn(1, 12)})
        said[blank, cap] = [token.frame for token in host.hypotheses()[0].tokens]
    assert 0 < len(set(said[0.4, 10])) < 12
    assert len(said[0.4, 1]) < len(said[0.4, 10])
    assert len(said[-1.0, 3]) < len(said[-1.0, 10])


@pytest.mark.parametrize("seed", range(4))
def test_blocks_of_any_size(seed: int) -> None:
    """Each stream is cut into its own blocks, some of them empty."""
    both, chance = Both(talkative(), batch=3, max_symbols=1 + seed), Random(seed)
    frames, fed = drawn(3, 12, seed=seed), [0, 0, 0]
    while fed != [12, 12, 12]:
        size = chance.randint(0, 6)
        parts = [chance.randint(0, min(size, 12 - start)) for start in fed]
        block = torch.full((3, size, 16), torch.nan)
        for b, (start, part) in enumerate(zip(fed, parts, strict=True)):
            block[b, :part] = frames[b, start : start + part]
        both.feed(block, parts)
        fed = [start + part for start, part in zip(fed, parts, strict=True)]
    whole = Both(talkative(), both.fast, batch=3, max_symbols=1 + seed)
    whole.host.feed({"encoder": frames})
    assert all(one.tokens for one in whole.same())


@pytest.mark.parametrize("batch", [1, 3])
def test_absent_frames_are_never_read(batch: int) -> None:
    """NaN where nothing is present: at either end, in between, everywhere."""
    both = Both(talkative(), batch=batch)
    for seed in range(3):
        present = torch.rand(batch, 6, generator=torch.Generator().manual_seed(seed)) < 0.6
        present[0] &= seed != 1
        frames = drawn(batch, 6, seed=seed)
        frames[~present] = torch.nan
        both.feed(frames, present=present)
    assert all(one.tokens for one in both.same())


def test_reset_of_one_stream() -> None:
    """The others go on; the one that was reset begins again, at frame 0."""
    both = Both(talkative(), batch=3)
    both.feed(drawn(3, 4))
    for decoder in (both.host, both.fast):
        decoder.reset(torch.tensor([False, True, False]))
        decoder.reset([False] * 3)
    both.feed(drawn(3, 5, seed=1))
    found = both.same()
    assert 0 <= found[1].tokens[-1].frame < 5 <= found[0].tokens[-1].frame
    both.fast.reset()
    assert both.fast.hypotheses() == [Hypothesis((), 0.0)] * 3


@pytest.mark.parametrize("blank", [9.0, -9.0])
def test_the_host_reads_once_a_block(blank: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or once more for each label that a stream has beyond those there is room for."""
    reads, note = [], KernelDecoder._note

    def counted(self: KernelDecoder, *given: Tensor) -> bool:
        reads.append(given)
        return note(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(KernelDecoder, "_note", counted)
    both = Both(talkative(blank), batch=2, max_symbols=2)
    both.feed(drawn(2, 4))
    both.same()
    assert len(reads) == (1 if blank > 0 else 4)


@pytest.mark.parametrize("bits", [None, 4])
def test_everything_on_kernels(bits: int | None) -> None:
    """The predictor too: a stateless one, and an LSTM of two layers."""
    rnnt = twin("rnnt", bits)
    with torch.no_grad():
        rnnt.tensors()["joint.out.dense.bias"][-1] = 0.6
    for lowered, width in ((talkative(bits=bits), 16), (rnnt, 160)):
        fast = on_kernels(to_triton(lowered), batch=2, max_symbols=2, window=2)
        both = Both(lowered, fast, batch=2, max_symbols=2)
        both.feed(drawn(2, 2, width))
        both.feed(drawn(2, 1, width, seed=1))
        assert all(one.tokens for one in both.same())


def test_what_does_not_fit() -> None:
    fast = on_kernels(talkative(), batch=2)
    assert fast.feed(drawn(2, 0)) == [[], []]
    assert fast.feed(drawn(2, 4), [0, 0]) == [[], []]
    with pytest.raises(ValueError, match="3 streams fed, 2 expected"):
        fast.feed(drawn(3, 4))
    for lengths in ([5, 0], [-1, 0], [4]):
        with pytest.raises(ValueError, match="lengths"):
            fast.feed(drawn(2, 4), lengths)
    with pytest.raises(ValueError, match="not both"):
        fast.feed(drawn(2, 4), [4, 0], torch.ones(2, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="presence"):
        fast.feed(drawn(2, 4), present=torch.ones(2, 5, dtype=torch.bool))
    with pytest.raises(ValueError, match="marks"):
        fast.reset([True])
    with pytest.raises(ValueError, match="at least 1"):
        on_kernels(talkative(), batch=0)
    with pytest.raises(ValueError, match="power of two"):
        on_kernels(talkative(), window=3)
