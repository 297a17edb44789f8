"""Synthetic speech: what is said, by whom, and what happens to it on the way."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import asrc
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.runtime.sounds import RATE, tone
from asrc.tests.training.corpora.voices import humming
from asrc.training.corpora import noise, rooms, voices, words
from asrc.training.corpora.clips import at_rate, joined, padded, trimmed
from asrc.training.corpora.engines import programs
from asrc.training.corpora.engines.spelling import ESPEAK, FLITE, MISAKI, respelled
from asrc.training.corpora.grammar import Sentence, canonical, composed, sample, sentences
from asrc.training.corpora.recipes import recipes, rendered
from asrc.training.corpora.treatment import Treatment, drawn, treated
from asrc.training.corpora.voices import DEV, TRAIN
from asrc.training.text import normalise

__all__ = ["humming"]

VOCABULARY = {
    word
    for table in (
        words.DIGITS, words.LETTERS, words.PHONETIC, words.NUMBERS, words.SYMBOLS, words.DATES,
        words.TIMES, words.PROMPTS,
    )
    for script in table
    for word in canonical(script).split()
}  # fmt: skip


def test_the_sentences_beside_the_models_are_a_sample_of_the_grammar() -> None:
    folder = Path(asrc.__file__).parent / "models/commands"
    lines = (folder / "sentences.txt").read_text(encoding="utf-8").splitlines()
    assert lines == sample()
    tables = (
        words.DIGITS, words.LETTERS, words.PHONETIC, words.NUMBERS, words.SYMBOLS, words.DATES,
        words.TIMES, words.PROMPTS,
    )  # fmt: skip
    assert {canonical(script) for table in tables for script in table} <= set(lines)


# --- sentences -------------------------------------------------------------------------------


def test_the_grammar_is_closed() -> None:
    every = [*sentences(0, 3000), *composed(0, 1000)]
    assert {word for one in every for word in one.text.split()} <= VOCABULARY


def test_composed_sentences_are_prompts_and_words_one_by_one() -> None:
    found = list(composed(0, 5 * len(words.PROMPTS)))
    prompts = Counter(one.text for one in found if one.kind == "prompt")
    assert prompts.keys() == {canonical(prompt) for prompt in words.PROMPTS}
    streams = [one for one in found if one.kind == "stream"]
    assert len(streams) == 3 * len(words.PROMPTS)
    parts = [len(one.parts) / len(one.text.split()) for one in streams]
    assert 0.7 < sum(parts) / len(parts) < 0.9
    assert {"the", "press", "billion", "monday"} <= {w for s in streams for w in s.text.split()}
    assert list(composed(0, 50)) == found[:50]


def test_sentences_follow_from_seed_and_place() -> None:
    some = list(sentences(1, 50))
    assert list(islice(sentences(1, 5000), 50)) == some
    assert list(sentences(2, 50)) != some


def test_texts_are_normalised_and_homophones_written_one_way() -> None:
    assert all(normalise(one.text) == one.text for one in sentences(3, 500))
    assert canonical("Ten oh five, A.M.") == "ten o five a m"
    assert Sentence("stream", ("oh", "X")).text == "o x"


def test_every_digit_letter_and_phonetic_word_is_said_hundreds_of_times() -> None:
    said = Counter(word for one in sentences(0, 12_000) for word in one.text.split())
    core = {canonical(w) for w in (*words.DIGITS, *words.LETTERS, *words.PHONETIC)}
    assert min(said[word] for word in core) > 200
    assert set(said) >= VOCABULARY


def test_letters_are_spelled_for_each_engine() -> None:
    assert respelled("A, lima. xray?", FLITE) == "ay, leema. ex ray?"
    assert respelled("press A", ESPEAK) == "press [[eI]]"
    for table in (FLITE, ESPEAK, MISAKI):
        assert set("ABCDEFGHIJKLMNOPQRSTUVWXYZ") <= table.keys()
        assert all(table.values())


# --- voices ----------------------------------------------------------------------------------


def test_no_voice_that_trains_is_in_the_development_set() -> None:
    def names(families: tuple[voices.Family, ...]) -> set[tuple[str, str]]:
        return {(family.engine, name) for family in families for name in family.names}

    assert not names(TRAIN) & names(DEV)
    styles = {
        part for engine, name in names(TRAIN) if engine == "kokoro" for part in name.split(":")
    }
    assert not styles & {name for engine, name in names(DEV) if engine == "kokoro"}
    assert sum(family.share for family in TRAIN) == pytest.approx(1.0)
    espeak = sum(family.share for family in TRAIN if family.engine == "espeak-ng")
    assert espeak <= 0.15


@pytest.mark.usefixtures("humming")
def test_a_shifted_voice_is_higher_and_as_fast() -> None:
    low, high = (
        voices.speak(voices.Voice("hibari", "0", shift), "aaaa", 1.0, RATE) for shift in (1.0, 1.2)
    )
    assert len(high) == pytest.approx(len(low), rel=0.01)
    assert peak(high) == pytest.approx(1.2 * peak(low), rel=0.02)


def peak(samples: np.ndarray) -> float:
    """The strongest frequency (Hz)."""
    return float(np.abs(np.fft.rfft(samples)).argmax() * RATE / len(samples))


def test_an_engine_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AsrcError) as caught:
        programs.say_flite("one", "slt", 1.0)
    assert caught.value.diagnostics[0].code == "E1003"
    assert caught.value.diagnostics[0].help == ("apt-get install flite",)


# --- recipes ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("humming")
def test_a_recipe_gives_the_same_samples_whatever_was_made_before() -> None:
    some = list(recipes(sentences(0, 12), TRAIN, "t", 0))
    first = {recipe.name: rendered(recipe) for recipe in some}
    for recipe in reversed(some):
        assert np.array_equal(rendered(recipe), first[recipe.name])


@pytest.mark.usefixtures("humming")
def test_a_digest_tells_recipes_apart() -> None:
    some = [
        recipe
        for seed, prefix in ((0, "t"), (1, "t"), (0, "d"))
        for recipe in recipes(sentences(0, 40), TRAIN, prefix, seed)
    ]
    assert len({recipe.digest for recipe in some}) == len(some)
    assert some[3].digest == list(recipes(sentences(0, 4), TRAIN, "t", 0))[3].digest


@pytest.mark.usefixtures("humming")
def test_a_digest_follows_the_version_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe,) = recipes(sentences(0, 1), TRAIN, "t", 0)
    before = recipe.digest
    say, _ = voices._ENGINES[recipe.voice.engine]
    monkeypatch.setitem(voices._ENGINES, recipe.voice.engine, (say, lambda: "1.1"))
    assert recipe.digest != before


# --- on the way to the microphone ------------------------------------------------------------


def test_trimming_and_joining() -> None:
    word = padded(tone(0.5), RATE, 0.3, 0.2)
    assert len(trimmed(word, RATE)) == pytest.approx(0.6 * RATE, abs=0.02 * RATE)
    assert not trimmed(np.zeros(RATE, np.float32), RATE).any()
    whole = joined([word, word], RATE, [0.25])
    assert len(whole) == 2 * len(word) + RATE // 4
    assert not whole[len(word) : len(word) + RATE // 4].any()
    assert len(at_rate(word, RATE, 11_025)) == round(len(word) * 11_025 / RATE)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(noise.COLOURS)))
def test_noise_is_as_far_below_the_voice_as_it_should_be(seed: int, colour: str) -> None:
    way = Treatment(lead=0.2, tail=0.3, level=-20.0, noise=colour, snr=15.0)
    heard = treated(tone(1.0), RATE, way, np.random.default_rng(seed), 0)
    clean = treated(tone(1.0), RATE, Treatment(0.2, 0.3, -20.0), np.random.default_rng(seed), 0)
    assert len(heard) == round(1.5 * RATE)
    voice = clean[round(0.2 * RATE) : round(1.2 * RATE)]
    assert decibels(voice) == pytest.approx(-20.0, abs=0.2)
    assert decibels(voice) - decibels(heard - clean) == pytest.approx(15.0, abs=0.2)


def decibels(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_colours_fall_with_frequency_as_they_should(seed: int) -> None:
    for colour, steepness in noise.COLOURS.items():
        power = np.abs(
            np.fft.rfft(noise.coloured(np.random.default_rng(seed), colour, 1 << 16, RATE))
        )
        bands = [np.mean(power[low : 2 * low] ** 2) for low in (1 << 11, 1 << 14)]
        assert np.log2(bands[0] / bands[1]) == pytest.approx(3 * steepness, abs=0.5)


def test_the_telephone_keeps_the_band_below_4_khz() -> None:
    way = Treatment(0.0, 0.0, -20.0, telephone=True)
    rng = np.random.default_rng(0)
    low = treated(tone(1.0, pitch=1000), RATE, way, rng, 0)
    high = treated(tone(1.0, pitch=6000), RATE, way, rng, 0)
    assert decibels(low) == pytest.approx(-20.0, abs=0.5)
    assert decibels(high) < -50.0
    assert len(low) == len(high) == RATE


@pytest.mark.usefixtures("humming")
def test_nothing_clips() -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        heard = treated(tone(0.5, level=1.0), RATE, drawn(rng), rng, 0)
        assert np.abs(heard).max() <= 0.981


@pytest.mark.parametrize("method", ["shoebox", "decay"])
def test_rooms_keep_time_and_level(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    if method == "shoebox":
        pytest.importorskip("pyroomacoustics", reason="makes shoebox rooms")
    else:
        monkeypatch.setattr(rooms, "method", lambda: "decaying noise")
    rooms.impulse_responses.cache_clear()
    for room in range(4):
        responses = rooms.impulse_responses(7, room, RATE, microphones=3, sources=2)
        assert [len(of) for of in responses] == [3, 3]
        first = responses[0][0]
        assert np.abs(first).max() == pytest.approx(1.0)
        assert np.abs(first).argmax() < 0.001 * RATE
        heard = rooms.convolved(tone(0.5), first)
        assert len(heard) == len(tone(0.5))
    again = rooms.impulse_responses.__wrapped__(7, 3, RATE, microphones=3, sources=2)
    assert all(np.array_equal(a, b) for a, b in zip(again[1], responses[1], strict=True))
    rooms.impulse_responses.cache_clear()


def test_rooms_differ_by_number_and_seed() -> None:
    found = [
        rooms.impulse_responses(seed, room, RATE)[0][0] for seed, room in ((0, 0), (0, 1), (1, 0))
    ]
    assert len({response.tobytes() for response in found}) == 3


def test_every_kind_of_sentence_is_drawn() -> None:
    kinds = Counter(one.kind for one in sentences(0, 3000))
    assert kinds.keys() == {
        "digit", "letter", "phonetic", "number", "symbol", "date", "time", "prompt", "stream",
    }  # fmt: skip
