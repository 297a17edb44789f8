"""Label sequences as a tree: two paths with the same labels hold the same object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, TypeVar
from weakref import WeakValueDictionary

from torch import Tensor

S = TypeVar("S")


class Scorer(Protocol[S]):
    """Knowledge of label sequences from outside the model: a language model, a list of phrases.

    It adds to the log-probability of each label (shallow fusion); its state S is a function of the
    labels so far.
    """

    def start(self) -> S:
        """The state before the first label."""
        ...

    def step(self, state: S, label: int) -> S:
        """The state one label further on."""
        ...

    def scores(self, states: list[S]) -> Tensor:
        """What each label would add, [N, labels], for N states."""
        ...

    def final(self, state: S) -> float:
        """What the end adds if no label follows."""
        ...

    def whole(self, state: S) -> bool:
        """Whether the labels may end so; else the last of them are not told. The start may."""
        ...


class Prefix:
    """The labels so far, as the last one and those before it.

    A prefix holds its parent; children are held by whoever uses them, and are forgotten with them.
    """

    __slots__ = ("__weakref__", "_children", "depth", "known", "label", "parent")

    def __init__(self, label: int = -1, parent: Prefix | None = None, known: Any = None) -> None:
        self.label = label
        self.parent = parent
        self.known = known  # the state of a scorer
        self.depth: int = 0 if parent is None else parent.depth + 1
        self._children: WeakValueDictionary[int, Prefix] = WeakValueDictionary()

    def then(self, label: int, scorer: Scorer[Any] | None = None) -> Prefix:
        """This prefix and one label more: the one object for it."""
        child = self._children.get(label)
        if child is None:
            known = None if scorer is None else scorer.step(self.known, label)
            child = self._children[label] = Prefix(label, self, known)
        return child

    def backwards(self) -> Iterator[Prefix]:
        """This prefix, then each shorter one that has a label."""
        here: Prefix | None = self
        while here is not None and here.parent is not None:
            yield here
            here = here.parent


def shared_depth(prefixes: Iterable[Prefix]) -> int:
    """How many labels all of these prefixes of one stream begin with."""
    left = set(prefixes)
    while len(left) > 1:
        deepest = max(left, key=lambda prefix: prefix.depth)
        left.remove(deepest)
        assert deepest.parent is not None, "a stream has one empty prefix"
        left.add(deepest.parent)
    return left.pop().depth if left else 0
