"""A listener hears the same words whatever the blocks that audio comes in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asrc.runtime.decode import GreedyDecoder
from asrc.runtime.listener import Listener
from asrc.runtime.recogniser import Recogniser
from asrc.runtime.samples import Samples
from asrc.runtime.transducer import LoweredTransducer
from asrc.runtime.vocabulary import CharacterVocabulary
from asrc.tests.runtime.test_recogniser import made


def noise(seconds: float, seed: int) -> Samples:
    source = np.random.default_rng(seed)
    return (0.3 * source.standard_normal(int(8000 * seconds))).astype(np.float32)


@pytest.fixture(scope="module")
def recogniser() -> Recogniser:
    """One that says something: the blank's bias is low."""
    found = made()
    with torch.no_grad():
        found.lowered.tensors()["joint.out.dense.bias"][-1] = 0.4
    return found


def as_a_whole(recogniser: Recogniser, samples: Samples) -> tuple[int, ...]:
    roles = recogniser.roles
    audio = torch.from_numpy(samples).view(1, -1, 1)
    given = {roles.audio: audio, f"{roles.audio}_length": torch.tensor([len(samples)])}
    with torch.no_grad():
        values = recogniser.lowered.parts["frames"](given)
    decoder = GreedyDecoder(LoweredTransducer(recogniser.lowered))
    decoder.feed({n: values[n] for n in roles.frames}, values[f"{roles.frames[0]}_length"])
    return decoder.hypotheses()[0].ids


def in_blocks(listener: Listener, samples: Samples, sizes: list[int]) -> tuple[int, ...]:
    listener.restart()
    start = 0
    for size in sizes:
        listener.push(samples[start : start + size])
        start += size
    listener.push(samples[start:])
    return listener.finish().best[0].ids


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=6), st.integers(0, 5))
def test_blocks_do_not_matter(recogniser: Recogniser, sizes: list[int], seed: int) -> None:
    samples = noise(0.9, seed)
    wanted = as_a_whole(recogniser, samples)
    assert in_blocks(Listener(recogniser), samples, sizes) == wanted
    assert wanted


def test_a_second_utterance_starts_anew(recogniser: Recogniser) -> None:
    listener = Listener(recogniser)
    one, other = noise(0.5, 1), noise(0.7, 2)
    first = in_blocks(listener, one, [])
    assert in_blocks(listener, other, [100]) == as_a_whole(recogniser, other)
    assert in_blocks(listener, one, [1, 2, 3]) == first


def test_a_beam_settles_what_it_says(recogniser: Recogniser) -> None:
    listener = Listener(recogniser, beam=4)
    samples, said = noise(1.0, 3), ""
    for start in range(0, len(samples), 800):
        heard = listener.push(samples[start : start + 800])
        assert heard.final.startswith(said)
        assert heard.text.startswith(heard.final)
        said = heard.final
    scores = [h.score for h in listener.finish().best] + [h.score for h in listener.heard(3).best]
    assert scores[0] == max(scores)


@pytest.mark.parametrize("beam", [1, 4])
def test_what_was_heard_stays_as_it_was(recogniser: Recogniser, beam: int) -> None:
    """Asked for at once or after the stream, and after the next one has begun."""
    samples, asked, kept = noise(1.0, 3), [], []
    for later in (False, True):
        listener = Listener(recogniser, beam=beam)
        for start in range(0, len(samples), 800):
            heard = listener.push(samples[start : start + 800])
            if later:
                kept.append(heard)
            else:
                asked.append((heard.text, heard.final, heard.best))
        listener.finish()
        listener.restart()
        listener.push(noise(0.5, 1))
    assert [(heard.text, heard.final, heard.best) for heard in kept] == asked
    assert len({best for *_, best in asked}) > 5


@pytest.mark.parametrize("beam", [1, 4])
def test_nothing_is_spelled_unasked(recogniser: Recogniser, beam: int) -> None:
    """Else a push takes the longer the more labels came before it."""
    spelled: list[tuple[int, ...]] = []

    class Counted(CharacterVocabulary):
        def decode(self, ids: Iterable[int]) -> str:
            spelled.append(tuple(ids))
            return ""

    vocabulary = Counted(tuple("abcdefghijklmnopqrstuvwxyz"))
    listener = Listener(replace(recogniser, vocabulary=vocabulary), beam=beam)
    heard = [listener.push(block) for block in np.split(noise(0.8, 3), 8)]
    assert spelled == []
    assert heard[-1].text == ""
    assert spelled == [heard[-1].best[0].ids]
    assert spelled[0]


def test_no_audio_at_all(recogniser: Recogniser) -> None:
    assert Listener(recogniser).finish().text == ""


def test_effort_is_counted(recogniser: Recogniser) -> None:
    listener = Listener(recogniser)
    listener.push(noise(0.5, 0))
    assert listener.effort.audio == pytest.approx(0.5)
    assert 0 < listener.effort.longest <= listener.effort.compute
