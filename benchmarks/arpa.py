"""The n-grams of some sentences as an ARPA file, so that a peer can have our closed language."""

from __future__ import annotations

from collections.abc import Iterator
from math import log10
from pathlib import Path

from asrc.runtime.decode.ngrams import Ngrams

Context = tuple[str | None, ...]


def write_arpa(path: Path, sentences: list[str], order: int = 3) -> None:
    """The probabilities that `asrc transcribe --sentences` has, to seven digits."""
    ngrams = Ngrams([line.split() for line in sentences], order)
    lines = [list(_lines(ngrams, size)) for size in range(1, order + 1)]
    counts = [f"ngram {size}={len(these)}" for size, these in enumerate(lines, start=1)]
    sections = [[f"\\{size}-grams:", *these] for size, these in enumerate(lines, start=1)]
    whole = [["\\data\\", *counts], *sections, ["\\end\\"]]
    path.write_text("\n\n".join("\n".join(part) for part in whole) + "\n", encoding="utf-8")


def _lines(ngrams: Ngrams[str], size: int) -> Iterator[str]:
    if size == 1:
        yield f"-99 <s>{_leaning(ngrams, (None,))}"
    for before, seen in ngrams.follow.items():
        if len(before) == size - 1:
            for word in seen:
                chance = log10(ngrams.probability(before, word))
                words = " ".join(_written(before, word))
                yield f"{chance:.7f} {words}{_leaning(ngrams, (*before, word)) if word else ''}"


def _written(before: Context, word: str | None) -> list[str]:
    return [one or "<s>" for one in before] + [word or "</s>"]


def _leaning(ngrams: Ngrams[str], context: Context) -> str:
    """How much is left to a shorter context, where there is a longer one."""
    seen = ngrams.follow.get(context)
    return "" if seen is None else f" {log10(len(seen) / (seen.total() + len(seen))):.7f}"
