"""A closed language: beam search spells only words of given sentences, likely ones first.

Words are a tree of labels (a lexicon prefix tree; Ney et al., 1992). A word earns the logarithm of
how much likelier it is behind the two words before it than any word is, and earns it as soon as
possible: each label earns for the best word that it leads to (language model look-ahead; Ortmanns
et al., 1996).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, log
from typing import NamedTuple

import torch
from torch import Tensor

from .ngrams import Ngrams

Word = tuple[int, ...]
Spelled = Sequence[Sequence[int]]
"""A sentence: the labels of each of its words."""

_ROOT = 0
_UNFINISHED = -20.0
"""What it costs to end in the midst of a word, which is then left out, in nats: a last resort."""

_REMEMBERED = 20_000
"""States whose scores are kept."""


_ORDER = 3
"""Words that are counted together."""

Context = tuple[Word | None, ...]
"""The last words, None being the beginning of the sentence."""


class Place(NamedTuple):
    """Where a label sequence is: behind some words, at a node of the next one."""

    before: Context
    node: int = _ROOT


@dataclass(slots=True)
class _Node:
    word: Word | None = None
    parent: int = _ROOT
    children: dict[int, int] = field(default_factory=dict)


class ClosedLanguage:
    """A `Scorer` that forbids what is no word of the sentences.

    A word earns `weight` times the logarithm of its probability behind the two words before it,
    as the sentences have them (see `ngrams.py`), less that of 1/V, which would be but a price on
    every word; V counts the words and the end of a sentence, which earns in the same way. Every
    label earns `bonus` (nats) besides: paths of many labels have many chances to be left by a beam.

    separator: the label between words, where there is one. Without one, a label that goes on with
    a word is not taken for the beginning of another. labels: the size of the vocabulary.
    Raises ValueError for a label outside of it, for numbers out of range, and without any word.
    """

    def __init__(
        self,
        sentences: Iterable[Spelled],
        labels: int,
        *,
        separator: int | None = None,
        weight: float = 0.5,
        bonus: float = 0.0,
    ) -> None:
        if not (weight >= 0 and isfinite(bonus)):
            raise ValueError("weight is at least 0, bonus finite")
        self.labels, self.separator = labels, separator
        self.weight, self.bonus = weight, bonus
        every = [[tuple(word) for word in sentence if len(word)] for sentence in sentences]
        self._ngrams = Ngrams([words for words in every if words], _ORDER)
        self._nodes = [_Node()]
        self._ends: dict[Word, int] = {}
        for word in dict.fromkeys(word for words in every for word in words):
            self._ends[word] = self._grown(word)
        if not self._ends:
            raise ValueError("a closed language has at least one word")
        if wrong := {k for word in self._ends for k in word if not 0 <= k < labels}:
            raise ValueError(f"words with labels outside 0..{labels - 1}: {sorted(wrong)}")
        self._best: dict[Context, list[float]] = {}
        self._rows: dict[Place, Tensor] = {}

    def start(self) -> Place:
        return Place(self._ngrams.start)

    def step(self, state: Place, label: int) -> Place:
        """The place behind a label that `scores` allows."""
        node = self._nodes[state.node]
        if label in node.children:
            return Place(state.before, node.children[label])
        before = self._behind(state)
        if label == self.separator:
            return Place(before)
        return Place(before, self._nodes[_ROOT].children[label])

    def scores(self, states: list[Place]) -> Tensor:
        """`[N, labels]`: minus infinity for what leads to no word."""
        if len(self._rows) > _REMEMBERED:
            self._rows.clear()
        for state in states:
            if state not in self._rows:
                self._rows[state] = self._row(state)
        return torch.stack([self._rows[state] for state in states])

    def final(self, state: Place) -> float:
        """The rest of what the last word earns, and the end; an unfinished word loses much."""
        if state == self.start():
            return 0.0
        if not self.whole(state):
            return _UNFINISHED
        return self._rest(state) + self._worth(self._behind(state), None)

    def whole(self, state: Place) -> bool:
        """Whether a word ends here, or none has begun."""
        return self._nodes[state.node].word is not None or state == self.start()

    def _behind(self, state: Place) -> Context:
        """The context behind the word that ends here."""
        word = self._nodes[state.node].word
        assert word is not None
        return self._ngrams.then(state.before, word)

    # --- the words ---

    def _grown(self, word: Word) -> int:
        """The node at the end of a word, made where it is missing."""
        at = _ROOT
        for label in word:
            if label not in self._nodes[at].children:
                self._nodes[at].children[label] = len(self._nodes)
                self._nodes.append(_Node(parent=at))
            at = self._nodes[at].children[label]
        self._nodes[at].word = word
        return at

    # --- what they earn ---

    def _worth(self, before: Context, word: Word | None) -> float:
        """What a word earns, or the end."""
        times = self._ngrams.probability(before, word) * len(self._ngrams.words)
        return self.weight * log(times)

    def _earned(self, before: Context, node: int) -> float:
        """What the best word below a node earns, which is given when the node is reached."""
        if before not in self._best:
            self._best[before] = self._best_below(before)
        return self._best[before][node] if node else 0.0

    def _best_below(self, before: Context) -> list[float]:
        best = [-inf] * len(self._nodes)
        for word, end in self._ends.items():
            best[end] = self._worth(before, word)
        for node in range(len(best) - 1, _ROOT, -1):  # children come behind their parents
            parent = self._nodes[node].parent
            best[parent] = max(best[parent], best[node])
        return best

    def _rest(self, state: Place) -> float:
        """What is left to earn at the end of a word; the best word left nothing."""
        word = self._nodes[state.node].word
        return self._worth(state.before, word) - self._earned(*state) if word else -inf

    def _row(self, state: Place) -> Tensor:
        before, at = state
        node = self._nodes[at]
        row = [-inf] * self.labels
        if node.word is not None and self.separator is None:
            for label, child in self._nodes[_ROOT].children.items():
                row[label] = self._rest(state) + self._earned(self._behind(state), child)
        elif node.word is not None and self.separator is not None:
            row[self.separator] = self._rest(state)
        for label, child in node.children.items():
            row[label] = self._earned(before, child) - self._earned(before, at)
        return torch.tensor(row) + self.bonus
