"""The order in which facts flow: a recurrence as a whole, after everything that enters it.

A fact is final at a value once it is final at the inputs. Only inside a recurrence is it inferred
again until it settles, so that inference stays linear in the graph, however recurrences follow
each other.
"""

from __future__ import annotations

from collections.abc import Callable

from ..graph import Graph


def settle(graph: Graph, visit: Callable[[str], bool], *, backwards: bool = False) -> None:
    """Visit every value, those of a recurrence until no visit says that something changed."""
    turn = -1 if backwards else 1
    for wave in graph.waves[::turn]:
        changed = [visit(path) for path in wave[::turn]]
        while any(changed) and wave[0] in graph.looped:
            changed = [visit(path) for path in wave[::turn]]
