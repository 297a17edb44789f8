"""Labels: characters, words, or the pieces of a sentencepiece model.

Labels are numbered from 1. Number 0 is `<s>`, the label before the first one: a predictor reads it,
no model emits it. The blank of a transducer is not a label; it is the logit after the last one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from ..compiler.diagnostics import AsrcError
from ..compiler.files import read_bytes, write_bytes
from .pieces import load_pieces, train_pieces, vocabulary_error

START = "<s>"

_FORMAT = "asrc vocabulary 1"


class Vocabulary(Protocol):
    """Text to labels and back. `size` counts `<s>`: labels are 1 to `size - 1`."""

    @property
    def size(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """The labels of a normalised text. Raises AsrcError E1004 for what has none."""
        ...

    def decode(self, ids: Iterable[int]) -> str:
        """The text of labels; 0 is skipped. Raises AsrcError E1004 for other numbers."""
        ...

    def data(self) -> bytes:
        """What a file of it holds, for `parse_vocabulary`."""
        ...

    def save(self, path: Path | str) -> None:
        """Write a file for `load_vocabulary`, atomically. Raises AsrcError E0008."""
        ...


@dataclass(frozen=True)
class _Listed:
    """Labels that are listed; `labels[0]` is `<s>`."""

    labels: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.labels)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {label: number for number, label in enumerate(self.labels) if number}

    def _numbered(self, parts: Sequence[str], what: str) -> list[int]:
        unknown = [part for part in parts if part not in self._numbers]
        if unknown:
            raise _unknown(what, unknown)
        return [self._numbers[part] for part in parts]

    def _spelled(self, ids: Iterable[int]) -> list[str]:
        return [self.labels[label] for label in _labels_only(ids, self.size)]

    def _record(self, kind: str) -> bytes:
        record = {"format": _FORMAT, "kind": kind, "labels": self.labels}
        return (json.dumps(record, ensure_ascii=False, indent=1) + "\n").encode()


@dataclass(frozen=True)
class CharacterVocabulary(_Listed):
    """One label a character; the space is one of them."""

    def encode(self, text: str) -> list[int]:
        return self._numbered(text, "character")

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self._spelled(ids))

    def data(self) -> bytes:
        return self._record("characters")

    def save(self, path: Path | str) -> None:
        write_bytes(Path(path), self.data())


@dataclass(frozen=True)
class WordVocabulary(_Listed):
    """One label a word, for closed tasks: digits, commands."""

    def encode(self, text: str) -> list[int]:
        return self._numbered(text.split(), "word")

    def decode(self, ids: Iterable[int]) -> str:
        return " ".join(self._spelled(ids))

    def data(self) -> bytes:
        return self._record("words")

    def save(self, path: Path | str) -> None:
        write_bytes(Path(path), self.data())


@dataclass(frozen=True)
class PieceVocabulary:
    """The pieces of a sentencepiece model, whose own number 0, the unknown piece, becomes `<s>`.

    Kudo and Richardson 2018 (sentencepiece); pieces by the unigram language model of Kudo 2018 or
    by byte pairs (Sennrich et al. 2016). `model` is a `.model` file: a protobuf, data only.
    """

    model: bytes = field(repr=False)

    @cached_property
    def _processor(self) -> Any:
        return load_pieces(self.model, "the vocabulary")

    @property
    def size(self) -> int:
        return int(self._processor.get_piece_size())

    def encode(self, text: str) -> list[int]:
        labels = [int(label) for label in self._processor.encode(text)]
        if 0 in labels:
            raise _unknown("character", [c for c in text if 0 in self._processor.encode(c)])
        return labels

    def decode(self, ids: Iterable[int]) -> str:
        return str(self._processor.decode(_labels_only(ids, self.size)))

    def data(self) -> bytes:
        return self.model

    def save(self, path: Path | str) -> None:
        write_bytes(Path(path), self.model)


_KINDS: dict[str, type[CharacterVocabulary] | type[WordVocabulary]] = {
    "characters": CharacterVocabulary,
    "words": WordVocabulary,
}


def build_vocabulary(texts: Iterable[str], kind: str, size: int | None = None) -> Vocabulary:
    """A vocabulary of the `kind` characters, words, unigram or bpe for normalised texts.

    Depends on the set of texts alone, not on their order or number. `size` counts `<s>`: for
    pieces it is what comes out, for characters and words the most that may come out. Raises
    AsrcError E1004 where that cannot be met.
    """
    texts = sorted(set(texts) - {""})
    if not texts:
        raise vocabulary_error("there is no text for a vocabulary", "use a manifest with texts")
    if kind in ("unigram", "bpe"):
        return PieceVocabulary(train_pieces(texts, kind, size))
    if kind not in _KINDS:
        known = "characters, words, unigram or bpe"
        raise vocabulary_error(f"there is no vocabulary of kind `{kind}`", known)
    parts: set[str] = set().union(*(t if kind == "characters" else t.split() for t in texts))
    if size is not None and len(parts) >= size:
        message = f"with `<s>`, the texts have {len(parts) + 1} {kind}, more than {size}"
        raise vocabulary_error(message, f"a size of {len(parts) + 1}, or kind unigram or bpe")
    return _KINDS[kind]((START, *sorted(parts)))


def load_vocabulary(path: Path | str) -> Vocabulary:
    """What `save` wrote, or any sentencepiece model whose unknown piece is number 0.

    Raises AsrcError E0008 where the file cannot be read and E1004 where it is neither.
    """
    return parse_vocabulary(read_bytes(Path(path)), str(path))


def parse_vocabulary(data: bytes, path: str) -> Vocabulary:
    """As `load_vocabulary`, of a file's content; `path` is for messages."""
    if not data.startswith(b"{"):
        load_pieces(data, f"`{path}`")
        return PieceVocabulary(data)
    try:
        record = json.loads(data)
    except (ValueError, RecursionError):
        record = {}
    kind, labels = str(record.get("kind")), record.get("labels")
    if record.get("format") != _FORMAT or kind not in _KINDS or not _are_labels(kind, labels):
        raise vocabulary_error(f"`{path}` is a damaged vocabulary", "build it again")
    return _KINDS[kind](tuple(labels))


def _are_labels(kind: str, labels: object) -> bool:
    """Whether what a file holds can be the labels of a vocabulary of this kind."""
    if not isinstance(labels, list) or len(labels) < 2 or labels[0] != START:
        return False
    if not all(isinstance(label, str) and label for label in labels):
        return False
    whole = all(len(x) == 1 if kind == "characters" else x.split() == [x] for x in labels[1:])
    return whole and len(set(labels)) == len(labels)


def _labels_only(ids: Iterable[int], size: int) -> list[int]:
    """Without 0, as plain numbers."""
    labels = [int(label) for label in ids]
    for label in labels:
        if not 0 <= label < size:
            message = f"the label {label} is not in a vocabulary of {size}"
            raise vocabulary_error(message, "use the vocabulary that the model was trained with")
    return [label for label in labels if label]


def _unknown(what: str, parts: Sequence[str]) -> AsrcError:
    """Names each unknown part once, in the order of the text."""
    shown = ", ".join(f"`{part}`" for part in list(dict.fromkeys(parts))[:5])
    several = f"{what}s" if len(set(parts)) > 1 else what
    help = "normalise the text, or build the vocabulary from these texts too"
    return vocabulary_error(f"no label for the {several} {shown}", help)
