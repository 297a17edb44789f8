"""Sittings: a voice says each of its words once, and every word comes as often as the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import islice

import numpy as np
import pytest

from asrc.tests.training.corpora.voices import humming
from asrc.training.corpora import words
from asrc.training.corpora.engines import networks
from asrc.training.corpora.grammar import canonical
from asrc.training.corpora.recipes import Recipe, rendered
from asrc.training.corpora.sittings import SIZE, sittings
from asrc.training.corpora.voices import DEV, SITTING, STRANGERS

__all__ = ["humming"]

RECIPES = list(sittings(0, 400 * SIZE))


def test_a_recipe_follows_from_its_place() -> None:
    assert list(sittings(0, SIZE + 9)) == RECIPES[: SIZE + 9]
    other = list(sittings(1, SIZE))
    assert [one.text for one in other] != [one.text for one in RECIPES[:SIZE]]
    assert len({one.name for one in RECIPES}) == len(RECIPES)


def test_a_sitting_has_one_voice_and_says_little() -> None:
    by_sitting: dict[int, list[Recipe]] = defaultdict(list)
    for place, recipe in enumerate(RECIPES):
        by_sitting[place // SIZE].append(recipe)
    for some in by_sitting.values():
        assert len({(one.voice, one.speed) for one in some}) == 1
        scripts = {script for one in some for script in one.scripts}
        assert len(scripts) <= (30 if some[0].voice.engine == "kokoro" else 90)
    assert sum(len(one.scripts) for one in RECIPES) > 1.8 * 80 * len(by_sitting)


def test_words_of_a_class_are_as_frequent_as_each_other() -> None:
    spoken = Counter(script for one in RECIPES for script in set(one.scripts))
    for table in (words.LETTERS, words.PHONETIC, words.NUMBERS, words.PROMPTS, words.DIGITS):
        counts = np.array([spoken[f"{script}."] for script in table])
        assert counts.min() > 0.5 * counts.mean()
        assert counts.max() < 1.7 * counts.mean()


def test_texts_are_what_is_said_and_no_voice_of_development_speaks() -> None:
    for one in islice(RECIPES, 2 * SIZE):
        assert one.text == canonical(" ".join(script.rstrip(".") for script in one.scripts))
        assert len(one.pauses) == len(one.scripts) - 1
    speakers = {(f.engine, name) for f in SITTING for name in f.names}
    assert speakers.isdisjoint((f.engine, name) for f in DEV for name in f.names)
    kinds = Counter(one.kind for one in RECIPES)
    assert 0.3 < kinds["stream"] / len(RECIPES) < 0.6
    assert kinds.keys() == {
        "digit", "letter", "phonetic", "number", "symbol", "date", "time", "prompt", "stream",
    }  # fmt: skip
    telephone = np.mean([one.way.telephone for one in RECIPES])
    assert 0.27 < telephone < 0.33


def test_what_was_said_before_sounds_the_same_again(humming: None) -> None:
    some = [one for one in RECIPES[:SIZE] if len(one.scripts) > 2][:4]
    first = [rendered(one) for one in some]
    assert all(np.array_equal(a, rendered(b)) for a, b in zip(first, some, strict=True))


def test_strangers_are_many_and_none_is_anybody() -> None:
    found = list(sittings(2, 100 * SIZE, STRANGERS, "k"))
    assert found[0].name == "k-00000"
    names = {recipe.voice.name for recipe in found}
    assert len(names) > 90
    assert not any("nezumi" in name for name in names)  # who speaks in the development set
    assert {recipe.voice.engine for recipe in found} == {"kokoro"}


def test_a_stranger_is_drawn_from_speakers() -> None:
    chance = np.random.default_rng(0)
    styles = {name: chance.standard_normal((3, 1, 256)) for name in ("one", "two", "three")}
    drawn = [networks._style(styles, f"{n}@one+two+three", 3) for n in range(40)]
    assert {style.shape for style in drawn} == {(1, 256)}
    again = networks._style(styles, "7@one+two+three", 9)  # longer than any: the last row
    assert np.array_equal(again, drawn[7])
    assert len({style.tobytes() for style in drawn}) == 40
    each = np.stack([styles[name][2, 0] for name in styles])
    for half in (slice(0, 128), slice(128, 256)):
        fit = [np.linalg.lstsq(each[:, half].T, style[0, half], rcond=None) for style in drawn]
        sums = [float(weights.sum()) for weights, *_ in fit]
        assert sums == pytest.approx([1] * 40, abs=0.1)
        assert min(float(weights.min()) for weights, *_ in fit) < -0.1  # beyond, too
