"""The order in which facts flow: a recurrence as a whole, after everything that enters it.

A fact is final at a value once it is final at the inputs. Only inside a recurrence is it inferred
again until it settles, so that inference stays linear in the graph, however recurrences follow
each other.
"""

from __future__ import annotations

from collections.abc import Callable

import networkx as nx

from ..graph import Graph

Wave = tuple[str, ...]


def waves(graph: Graph) -> list[Wave]:
    """The values in dependency order; those of one recurrence together, its shifts first."""
    if not graph.cycles:
        return [(path,) for path in graph.order]
    rank = {path: n for n, path in enumerate(graph.order)}
    folded = nx.condensation(graph.network)
    members = {n: sorted(folded.nodes[n]["members"], key=rank.__getitem__) for n in folded}
    order = nx.lexicographical_topological_sort(folded, key=lambda n: rank[members[n][0]])
    return [tuple(members[n]) for n in order]


def settle(graph: Graph, visit: Callable[[str], bool], *, backwards: bool = False) -> None:
    """Visit every value, those of a recurrence until no visit says that something changed."""
    looped = frozenset[str]().union(*graph.cycles)
    turn = -1 if backwards else 1
    for wave in waves(graph)[::turn]:
        while any([visit(path) for path in wave[::turn]]) and wave[0] in looped:
            pass
