"""A list of phrases that beam search is to prefer: names, places, titles.

A trie with failure links (Aho and Corasick, 1975). Each label that leads on in a phrase earns the
bonus at once, so that the phrase survives in the beam; what is earned for phrases not finished is
taken back when the labels leave them, and at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(slots=True)
class _Node:
    """The beginning of a phrase. `earned` is the bonus for its labels, `kept` the part of it that
    belongs to phrases already finished, `fall` the longest node that its labels end in."""

    earned: float = 0.0
    kept: float = 0.0
    fall: int = 0
    children: dict[int, int] = field(default_factory=dict)


class PhraseBooster:
    """A `Scorer` that adds `bonus` (nats) for each label of a phrase; its state is a trie node.

    phrases: label sequences, empty ones are ignored. labels: the size of the vocabulary.
    Raises ValueError for a label outside of it.
    """

    def __init__(self, phrases: Iterable[Sequence[int]], labels: int, bonus: float = 1.0) -> None:
        self.labels = labels
        self.bonus = bonus
        self._phrases = {tuple(phrase) for phrase in phrases if len(phrase)}
        if wrong := {k for phrase in self._phrases for k in phrase if not 0 <= k < labels}:
            raise ValueError(f"phrases with labels outside 0..{labels - 1}: {sorted(wrong)}")
        self._nodes = [_Node()]
        self._numbers: dict[tuple[int, ...], int] = {(): 0}
        for spelling in sorted(
            {p[:n] for p in self._phrases for n in range(1, len(p) + 1)}, key=len
        ):
            self._add(spelling)
        self._ahead: dict[int, dict[int, float]] = {}

    def start(self) -> int:
        return 0

    def step(self, state: int, label: int) -> int:
        while label not in self._nodes[state].children:
            if state == 0:
                return 0
            state = self._nodes[state].fall
        return self._nodes[state].children[label]

    def scores(self, states: list[int]) -> Tensor:
        """What each label earns, less what it gives back: [N, labels]."""
        rows = torch.tensor([[self.final(state)] for state in states]).repeat(1, self.labels)
        for row, state in zip(rows, states, strict=True):
            ahead = self._leading_on(state)
            row[list(ahead)] = torch.tensor(list(ahead.values()))
        return rows

    def whole(self, state: int) -> bool:
        """Always: what is no phrase may be said as well."""
        return True

    def final(self, state: int) -> float:
        """What is given back if no label follows."""
        return self._nodes[state].kept - self._nodes[state].earned

    def _add(self, spelling: tuple[int, ...]) -> None:
        """Shorter spellings are there already."""
        before = self._numbers[spelling[:-1]]
        fall = self.step(self._nodes[before].fall, spelling[-1]) if before else 0
        number = self._numbers[spelling] = len(self._nodes)
        earned = self.bonus * len(spelling)
        self._nodes.append(_Node(earned, self._finished(spelling), fall))
        self._nodes[before].children[spelling[-1]] = number

    def _finished(self, spelling: tuple[int, ...]) -> float:
        """The bonus for the most labels in phrases that lie within the spelling, side by side."""
        ends = [n for n in range(1, len(spelling) + 1) if spelling[-n:] in self._phrases]
        kept = [self._kept(spelling[:-n]) + n * self.bonus for n in ends]
        return max([self._kept(spelling[:-1]), *kept])

    def _kept(self, spelling: tuple[int, ...]) -> float:
        return self._nodes[self._numbers[spelling]].kept

    def _leading_on(self, state: int) -> dict[int, float]:
        """What the labels earn that lead to some node, remembered."""
        if state not in self._ahead:
            node = self._nodes[state]
            shorter = {} if state == 0 else self._leading_to(node.fall)
            falling = {k: earned + self.final(state) for k, earned in shorter.items()}
            own = {k: self._nodes[n].earned - node.earned for k, n in node.children.items()}
            self._ahead[state] = falling | own
        return self._ahead[state]

    def _leading_to(self, state: int) -> dict[int, float]:
        """Each label that leads to a node from here, and what that node has earned."""
        node = self._nodes[state]
        shorter = {} if state == 0 else self._leading_to(node.fall)
        return shorter | {k: self._nodes[n].earned for k, n in node.children.items()}
