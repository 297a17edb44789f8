"""Training and loading of sentencepiece models."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

from ..compiler.diagnostics import AsrcError, diagnostic

_LONGEST = 1 << 20
"""Bytes of one text; sentencepiece leaves out longer ones without a word."""

_ERRORS_ONLY = 2


def vocabulary_error(message: str, help: str) -> AsrcError:
    return AsrcError(diagnostic("E1004", message, help=help))


def train_pieces(texts: Sequence[str], kind: str, size: int | None) -> bytes:
    """A sentencepiece model with `size` pieces, `unigram` or `bpe`; number 0 is the unknown piece.

    Text is taken as it is (already normalised); every character gets a piece. One thread, so that
    the same texts give the same model. Raises AsrcError E1004 where `size` does not suit the texts.
    """
    import sentencepiece

    if size is None or size < 2:
        raise vocabulary_error(f"{kind} pieces need a size", "how many labels, such as 256")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            model_type=kind,
            vocab_size=size,
            character_coverage=1.0,
            normalization_rule_name="identity",
            max_sentence_length=_LONGEST,
            num_threads=1,
            unk_id=0,
            bos_id=-1,
            eos_id=-1,
            pad_id=-1,
            minloglevel=_ERRORS_ONLY,
        )
    except (RuntimeError, OSError) as error:
        raise _unsuitable(texts, kind, size, str(error)) from None
    return model.getvalue()


def _unsuitable(texts: Sequence[str], kind: str, size: int, reason: str) -> AsrcError:
    characters = len({c for text in texts for c in text})
    bound = re.search(r"<= (\d+)", reason)
    if bound:
        message = f"the texts do not give {size} different {kind} pieces"
        return vocabulary_error(message, f"a size of at most {bound[1]}, or more text")
    if size < characters + 2:
        message = f"{size} {kind} pieces cannot spell {characters} different characters"
        return vocabulary_error(message, "a larger size, or normalise the text")
    return vocabulary_error(f"no {kind} pieces could be made: {reason}", "look at the texts")


def load_pieces(model: bytes, name: str) -> Any:
    """The sentencepiece processor of a model. Raises AsrcError E1004 for other bytes."""
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        raise _damaged(name) from None
    if not model or processor.get_piece_size() < 2:
        raise _damaged(name)
    if processor.unk_id() != 0:
        message = f"the unknown piece of {name} is number {processor.unk_id()}, not 0"
        raise vocabulary_error(message, "train the pieces again with unk_id=0")
    return processor


def _damaged(name: str) -> AsrcError:
    return vocabulary_error(f"{name} is no vocabulary, or a damaged one", "build it again")
