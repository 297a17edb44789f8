"""What a pass is: a frozen dataclass with its options as fields, and one method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from .diagnostics import Diagnostic
from .graph import Graph

if TYPE_CHECKING:
    import numpy

Weights = Mapping[str, "numpy.ndarray[Any, Any]"]
"""Parameters and buffers by name, `<path of the value>.<name>`."""


class Pass(Protocol):
    """A pass never changes its arguments; without weights it rewrites the graph alone.

    `keeps` names what `run` leaves as it was; see `passtable.KEEPS`.
    """

    name: ClassVar[str]
    keeps: ClassVar[frozenset[str]]

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        """The rewritten graph and weights. Raises AsrcError where the options do not fit."""


@runtime_checkable
class Reviewer(Protocol):
    """A pass that has something to say about the graph it made."""

    def review(self, graph: Graph) -> Iterable[Diagnostic]:
        """Warnings."""
