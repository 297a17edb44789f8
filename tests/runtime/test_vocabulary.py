"""Vocabularies: characters, words and pieces; label 0 is `<s>` and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.vocabulary import (
    CharacterVocabulary,
    PieceVocabulary,
    Vocabulary,
    WordVocabulary,
    build_vocabulary,
    load_vocabulary,
)

TEXTS = [
    "press one for sales",
    "press two for support",
    "it's nine o'clock",
    "the queen of the amazon",
    "where is the queen's pilot",
    "press nine for the pilot",
    "for support press one two or three",
    "two queens press for the sales of the amazon",
]
KINDS = ["characters", "words", "unigram", "bpe"]


def vocabulary(kind: str) -> Vocabulary:
    return build_vocabulary(TEXTS, kind, 36)


def complaint(code: str = "E1004") -> pytest.RaisesExc[AsrcError]:
    return pytest.raises(AsrcError, check=lambda e: e.diagnostics[0].code == code)


@pytest.mark.parametrize("kind", KINDS)
@given(words=st.lists(st.sampled_from(sorted({w for t in TEXTS for w in t.split()}))))
def test_text_comes_back(kind: str, words: list[str]) -> None:
    known, text = vocabulary(kind), " ".join(words)
    labels = known.encode(text)
    assert known.decode(labels) == text
    assert known.decode([0, *labels, 0]) == text
    assert all(0 < label < known.size for label in labels)


def test_sizes() -> None:
    assert vocabulary("characters").size == 1 + len({c for text in TEXTS for c in text})
    assert vocabulary("words").size == 1 + len({w for text in TEXTS for w in text.split()})
    assert vocabulary("unigram").size == vocabulary("bpe").size == 36


def test_labels_are_numbered_from_one() -> None:
    assert CharacterVocabulary(("<s>", " ", "a", "b")).encode("b a") == [3, 1, 2]
    assert WordVocabulary(("<s>", "no", "yes")).encode("yes  no yes") == [2, 1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_set_of_texts_matters(kind: str) -> None:
    one = build_vocabulary(TEXTS, kind, 36)
    other = build_vocabulary([*reversed(TEXTS), "", *TEXTS], kind, 36)
    assert one == other


@pytest.mark.parametrize("kind", KINDS)
def test_files(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "new/labels"
    vocabulary(kind).save(path)
    assert load_vocabulary(path) == vocabulary(kind)
    assert [file.name for file in path.parent.iterdir()] == ["labels"]
    with complaint("E0008"):
        vocabulary(kind).save(tmp_path)


def test_listed_labels_are_readable(tmp_path: Path) -> None:
    WordVocabulary(("<s>", "école")).save(tmp_path / "words.json")
    assert '"école"' in (tmp_path / "words.json").read_text("utf-8")


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "text", "names"),
    [
        ("characters", "xoé é", ["characters `x`, `é`"]),
        ("words", "press four", ["word `four`"]),
        ("unigram", "press é", ["character `é`"]),
        ("bpe", "é press ß", ["characters `é`, `ß`"]),
    ],
)
def test_text_without_labels(kind: str, text: str, names: list[str]) -> None:
    with complaint() as caught:
        vocabulary(kind).encode(text)
    assert all(name in caught.value.diagnostics[0].message for name in names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("label", [-1, 40, 10**9])
def test_labels_out_of_range(kind: str, label: int) -> None:
    with complaint():
        vocabulary(kind).decode([1, label])


@pytest.mark.parametrize(
    ("texts", "kind", "size", "message"),
    [
        ([], "characters", None, "no text"),
        (["", ""], "unigram", 10, "no text"),
        (TEXTS, "letters", None, "no vocabulary of kind `letters`"),
        (TEXTS, "characters", 5, "characters, more than 5"),
        (TEXTS, "words", 15, "words, more than 15"),
        (TEXTS, "bpe", None, "need a size"),
        (TEXTS, "bpe", 10, "10 bpe pieces cannot spell"),
        (TEXTS, "unigram", 5_000, "do not give 5000 different unigram pieces"),
    ],
)
def test_vocabularies_that_cannot_be(
    texts: list[str], kind: str, size: int | None, message: str
) -> None:
    with complaint() as caught:
        build_vocabulary(texts, kind, size)
    assert message in caught.value.diagnostics[0].message
    assert caught.value.diagnostics[0].help


GOOD = {"format": "asrc vocabulary 1", "kind": "words", "labels": ["<s>", "yes"]}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a model at all" * 50,
        b"{",
        b"[" * 100_000,
        b'{"labels": ["<s>", "yes"]}',
        json.dumps(GOOD | {"format": "asrc vocabulary 2"}).encode(),
        json.dumps(GOOD | {"kind": ["words"]}).encode(),
        json.dumps(GOOD | {"kind": "pieces"}).encode(),
        json.dumps(GOOD | {"labels": "yes"}).encode(),
        json.dumps(GOOD | {"labels": ["<s>"]}).encode(),
        json.dumps(GOOD | {"labels": ["yes", "no"]}).encode(),
        json.dumps(GOOD | {"labels": ["<s>", "yes", "yes"]}).encode(),
        json.dumps(GOOD | {"labels": ["<s>", "two words"]}).encode(),
        json.dumps(GOOD | {"labels": ["<s>", 7]}).encode(),
        json.dumps(GOOD | {"kind": "characters"}).encode(),
    ],
)
def test_files_that_are_no_vocabulary(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_bytes(content)
    with complaint():
        load_vocabulary(path)


def test_half_a_model(tmp_path: Path) -> None:
    model = vocabulary("bpe")
    assert isinstance(model, PieceVocabulary)
    (tmp_path / "labels").write_bytes(model.model[:-100])
    with complaint():
        load_vocabulary(tmp_path / "labels")


def test_a_vocabulary_that_is_not_there(tmp_path: Path) -> None:
    with complaint("E0008"):
        load_vocabulary(tmp_path / "none")
