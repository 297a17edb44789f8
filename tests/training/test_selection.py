"""Which utterances are trained on: those that have audio of a sensible length and labels for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.vocabulary import WordVocabulary
from asrc.tests.training.speech import recorded, utterance
from asrc.training.selection import Limits, Skipped, frames_for_ctc, select_utterances

WORDS = WordVocabulary(("<s>", "no", "yes"))
LIMITS = Limits(shortest=0.1, longest=10.0)


def test_why_utterances_are_left_out(tmp_path: Path) -> None:
    good, other, *_ = recorded(tmp_path)
    utterances = [
        good,
        replace(good, id="short", duration=0.05),
        replace(good, id="long", duration=10.5),
        replace(good, id="silent", text="  "),
        replace(good, id="foreign", text="yes oui"),
        replace(good, id="gone", audio=tmp_path / "gone.wav"),
        replace(good, id="folder", audio=tmp_path),
        other,
    ]
    selection = select_utterances(utterances, WORDS, LIMITS)
    assert selection.kept == (good, other)
    assert selection.skipped == (
        Skipped("short", "too short", "0.05s, at least 0.1s"),
        Skipped("long", "too long", "10.5s, at most 10s"),
        Skipped("silent", "no text"),
        Skipped("foreign", "not in the vocabulary", "no label for the word `oui`"),
        Skipped("gone", "audio missing", f"`{tmp_path / 'gone.wav'}`"),
        Skipped("folder", "audio missing", f"`{tmp_path}`"),
    )
    assert selection.report == (
        "2 of 8 utterances, 0.00 h (skipped: 2 audio missing, 1 no text, 1 not in the "
        "vocabulary, 1 too long, 1 too short)"
    )


@pytest.mark.parametrize(
    ("labels", "frames"), [([1], 1), ([1, 2, 1], 3), ([1, 1], 3), ([2, 2, 2, 1], 6), ([], 0)]
)
def test_frames_that_ctc_needs(labels: list[int], frames: int) -> None:
    assert frames_for_ctc(labels) == frames


def test_ctc_needs_a_frame_for_each_label(tmp_path: Path) -> None:
    (one,) = recorded(tmp_path, 1)  # 0.2 s
    crowded = replace(one, text="yes yes no")  # a blank between the first two: 4 frames
    for period, kept in ((None, 1), (0.05, 1), (0.06, 0)):
        utterances = [one, crowded]
        selection = select_utterances(utterances, WORDS, Limits(period=period))
        assert len(selection.kept) == kept + 1
    assert selection.skipped[0].detail == "4 frames are needed, there are 3"


def test_a_frame_that_ends_with_the_audio_counts(tmp_path: Path) -> None:
    """0.6 / 0.04 is 14.999.. in floats."""
    (one,) = recorded(tmp_path, 1)
    full = replace(one, duration=0.6, text=" ".join(["yes", "no"] * 7 + ["yes"]))
    assert select_utterances([full], WORDS, Limits(period=0.04)).kept == (full,)


def test_nothing_is_left() -> None:
    with pytest.raises(AsrcError) as caught:
        select_utterances([utterance("one", text=""), utterance("two", 99)], WORDS, LIMITS)
    (found,) = caught.value.diagnostics
    assert found.code == "E1005"
    assert "0 of 2 utterances" in found.message
    assert found.help == ("the first one, `one`: no text",)
    with pytest.raises(AsrcError, match="E1005"):
        select_utterances([], WORDS)
