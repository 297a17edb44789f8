"""A closed language from a text file, for every kind of vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.language import closed_language, read_sentences
from asrc.runtime.vocabulary import build_vocabulary

TEXTS = ["press one", "press two", "goodbye", "one moment please", "press pound please"]


@pytest.mark.parametrize(("kind", "size"), [("characters", None), ("words", None), ("bpe", 40)])
def test_sentences_are_spelled_as_the_vocabulary_does(kind: str, size: int | None) -> None:
    vocabulary = build_vocabulary(TEXTS, kind, size)
    language = closed_language(vocabulary, TEXTS)
    for text in [*TEXTS, "please goodbye one"]:
        state = language.start()
        for label in vocabulary.encode(text):
            assert torch.isfinite(language.scores([state])[0, label]), text
            state = language.step(state, label)
        assert language.final(state) > -10


def test_lines_are_read(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("press  one\n\n goodbye \n", encoding="utf-8")
    assert read_sentences(tmp_path / "lines.txt") == ["press one", "goodbye"]


def test_a_byte_order_mark_is_no_character(tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_bytes(b"\xef\xbb\xbfpress one\r\ngoodbye\r\n")
    assert read_sentences(tmp_path / "lines.txt") == ["press one", "goodbye"]


def test_a_line_without_labels_is_named(tmp_path: Path) -> None:
    path, vocabulary = tmp_path / "lines.txt", build_vocabulary(TEXTS, "characters")
    path.write_text("press one\n\nPress two\n", encoding="utf-8")
    with pytest.raises(AsrcError) as error:
        read_sentences(path, vocabulary)
    (found,) = error.value.diagnostics
    assert (found.code, found.message) == ("E1004", f"{path}:3: no label for the character `P`")
    assert found.help


def test_what_is_no_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n", encoding="utf-8")
    for path, code in ((tmp_path / "empty.txt", "E1004"), (tmp_path / "none.txt", "E0008")):
        with pytest.raises(AsrcError) as error:
            read_sentences(path)
        assert error.value.diagnostics[0].code == code
    with pytest.raises(AsrcError, match="Z") as error:
        closed_language(build_vocabulary(TEXTS, "characters"), ["Zero"])
    assert error.value.diagnostics[0].code == "E1004"
