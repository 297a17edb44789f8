"""The options of a closed language, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..runtime.decode import ClosedLanguage
    from ..runtime.vocabulary import Vocabulary

PATH = click.Path(path_type=Path)
WEIGHT = click.FloatRange(0, 100)
BONUS = click.FloatRange(-100, 100)


@dataclass(frozen=True, slots=True)
class Search:
    """How to look for words: hypotheses kept, and the language that they are held to.

    What was not given is `None`.
    """

    asked: int | None
    sentences: Path | None
    weight: float | None
    bonus: float | None

    @property
    def beam(self) -> int:
        """As asked for; else one, greedy, or as many as a closed language does well with."""
        from ..runtime.language import BEAM

        return self.asked or (BEAM if self.sentences else 1)

    def language(self, vocabulary: Vocabulary) -> ClosedLanguage | None:
        """What may be heard, if that is restricted."""
        if self.sentences is None:
            return None
        from ..runtime import language

        weight = language.WEIGHT if self.weight is None else self.weight
        bonus = language.BONUS if self.bonus is None else self.bonus
        sentences = language.read_sentences(self.sentences, vocabulary)
        return language.closed_language(vocabulary, sentences, weight, bonus)


def search_options(command: Callable[..., None]) -> Callable[..., None]:
    """`--beam`, `--sentences`, `--weight` and `--bonus`, handed on as one `Search`."""

    @click.option("--beam", type=click.IntRange(1, 64), help="Hypotheses; 16 with --sentences.")
    @click.option("--sentences", type=PATH, help="Hear only the words of these lines.")
    @click.option("--weight", type=WEIGHT, callback=_number, help="Of how they follow each other.")
    @click.option("--bonus", type=BONUS, callback=_number, help="Of each of their labels, nats.")
    @wraps(command)
    def with_search(
        *args: Any,
        beam: int | None,
        sentences: Path | None,
        weight: float | None,
        bonus: float | None,
        **rest: Any,
    ) -> None:
        if sentences is None and (weight is not None or bonus is not None):
            raise click.UsageError("--weight and --bonus go with --sentences")
        command(*args, search=Search(beam, sentences, weight, bonus), **rest)

    return with_search


def _number(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """Not a NaN, which no range refuses."""
    if value is not None and isnan(value):
        raise click.BadParameter("is not a number", ctx, param)
    return value
