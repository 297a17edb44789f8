"""How likely words follow one another: n-grams counted in sentences (Witten and Bell, 1991).

Where n words were seen together seldom, the estimate leans on fewer of them, in the end on any word
being as likely: with c the times that some words were seen and t the number of different ones that
followed, a share t / (c + t) of the probability is left to the shorter context.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Generic, TypeVar

Word = TypeVar("Word", bound=Hashable)


class Ngrams(Generic[Word]):
    """Probabilities of words behind up to `order - 1` others; None is the edge of a sentence."""

    def __init__(self, sentences: Iterable[Sequence[Word]], order: int) -> None:
        self.order = order
        self.start: tuple[Word | None, ...] = (None,) if order > 1 else ()
        self.follow: dict[tuple[Word | None, ...], Counter[Word | None]] = defaultdict(Counter)
        """How often each word stood behind a context."""
        for sentence in sentences:
            self._count([None, *sentence, None])
        self.words = frozenset(self.follow[()])
        """Every word there is, and None."""
        self._known: dict[tuple[tuple[Word | None, ...], Word | None], float] = {}

    def _count(self, words: list[Word | None]) -> None:
        for at in range(1, len(words)):
            for first in range(max(0, at - self.order + 1), at + 1):
                self.follow[tuple(words[first:at])][words[at]] += 1

    def then(self, before: tuple[Word | None, ...], word: Word) -> tuple[Word | None, ...]:
        """The context behind a word."""
        return (*before, word)[-(self.order - 1) :] if self.order > 1 else ()

    def probability(self, before: tuple[Word | None, ...], word: Word | None) -> float:
        """Of a word, or with None of the end, behind `start` or what `then` gave."""
        if (before, word) not in self._known:
            self._known[before, word] = self._estimate(before, word)
        return self._known[before, word]

    def _estimate(self, before: tuple[Word | None, ...], word: Word | None) -> float:
        shorter = self.probability(before[1:], word) if before else 1 / len(self.words)
        if before not in self.follow:
            return shorter
        seen = self.follow[before]
        return (seen[word] + len(seen) * shorter) / (seen.total() + len(seen))
