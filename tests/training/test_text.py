"""Text is brought to one spelling: what was said, in lower case, without punctuation."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.training.numbers import cardinal
from asrc.training.text import normalise


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Good MORNING, Joe!", "good morning joe"),
        ("It's o'clock; isn\u2019t it?", "it's o'clock isn't it"),
        ("'tis the dogs' \u2018bone\u2019", "tis the dogs bone"),
        ("twenty-one... well\u2014no", "twenty one well no"),
        ("[beep] call [noise, loud] me", "call me"),
        ("  two\n words\t", "two words"),
        ("Größe ÉCOLE мир 你好", "größe école мир 你好"),
        ("cafe\u0301", "caf\u00e9"),
        ("soft\u00adhyphen", "softhyphen"),
        ("R&D", "r and d"),
        ("...", ""),
        ("", ""),
    ],
)
def test_words(text: str, wanted: str) -> None:
    assert normalise(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("press 1 or 20", "press one or twenty"),
        ("1,500 men and 21,000,000", "one thousand five hundred men and twenty one million"),
        ("agent 007", "agent zero zero seven"),
        ("pi is 3.14.", "pi is three point one four"),
        ("version 1.2.3", "version one two three"),
        ("the 1st, 2nd, 3rd and 20th", "the first second third and twentieth"),
        ("the 112th", "the one hundred twelfth"),
        ("5th 8TH 9th 12th", "fifth eighth ninth twelfth"),
        ("at 10:05, 3:00 and 12:30", "at ten oh five three o'clock and twelve thirty"),
        ("$1, $3 and £20", "one dollar three dollars and twenty pounds"),
        ("50%", "fifty percent"),
        ("B2B", "b two b"),
        ("\u0661\u0662", "twelve"),
        ("1" * 16, " ".join(["one"] * 16)),
    ],
)
def test_numbers(text: str, wanted: str) -> None:
    assert normalise(text) == wanted


@given(st.text(max_size=30))
def test_what_comes_out(text: str) -> None:
    """A fixed point of single words, made of letters, their marks and inner apostrophes."""
    found = normalise(text)
    assert normalise(found) == found
    assert found == " ".join(found.split())
    assert all(unicodedata.category(c)[0] in "LM" for c in found if c not in " '")
    assert all(word.strip("'") == word for word in found.split())


@given(st.integers(0, 10**15 - 1))
def test_number_words_say_the_number(number: int) -> None:
    assert value(cardinal(number).split()) == number


VALUES = {cardinal(n): n for n in [*range(20), *range(20, 100, 10)]}
SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}


def value(words: list[str]) -> int:
    """The other way around: what number words mean."""
    total = part = 0
    for word in words:
        if word in SCALES:
            total, part = total + part * SCALES[word], 0
        elif word == "hundred":
            part *= 100
        else:
            part += VALUES[word]
    return total + part
