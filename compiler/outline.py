"""A graph folded by path, as a reader of the model thinks of it: nets, layers, operators.

`encoder.body.1` to `encoder.body.12` become one entry when they are alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

from .graph import Graph
from .types import Type


@dataclass(frozen=True, slots=True)
class Entry:
    """A stretch of the graph: one value, one block, or several blocks that are alike.

    `outputs` are the values that it hands on, at least one for each copy; `opened` says that its
    parts follow as entries of their own, one level deeper.
    """

    path: str
    kind: str
    level: int
    copies: int
    members: tuple[str, ...]
    outputs: tuple[str, ...]
    opened: bool = False


def outline(graph: Graph, types: Mapping[str, Type], depth: int = 1) -> list[Entry]:
    """The entries of a graph in program order, down to `depth` levels below the nets.

    A repeat takes no level of its own: its layers stand where it would. `types` are those of all
    values: layers of different widths are not alike.
    """
    folder = _Folder(graph, types, depth)
    tops = dict.fromkeys(path.partition(".")[0] for path in graph.nodes)
    return [entry for top in tops for entry in folder.entries(_Fold(top, (top,)), 0)]


@dataclass(frozen=True, slots=True)
class _Fold:
    """Alike stretches under one shown path; `places` are the real paths of the copies.

    A path can be a value with others below it (`h` beside `h.sigmoid`): `alone` means it only.
    """

    path: str
    places: tuple[str, ...]
    alone: bool = False

    def child(self, name: str) -> _Fold:
        return _Fold(f"{self.path}.{name}", tuple(f"{p}.{name}" for p in self.places))


@dataclass(frozen=True)
class _Folder:
    graph: Graph
    types: Mapping[str, Type]
    depth: int

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """Path -> the values at and below it."""
        found: dict[str, list[str]] = {}
        for path in self.graph.nodes:
            for prefix in _prefixes(path):
                found.setdefault(prefix, []).append(path)
        return found

    @cached_property
    def children(self) -> dict[str, list[str]]:
        """Path -> the names right below it, in program order."""
        found: dict[str, list[str]] = {}
        for path in self.members:
            above, _, name = path.rpartition(".")
            found.setdefault(above, []).append(name)
        return found

    def entries(self, fold: _Fold, level: int) -> Iterator[Entry]:
        """The entry of a stretch, and below it those of its parts."""
        opened = level < self.depth and fold.places[0] in self.children and not fold.alone
        yield self._entry(fold, level, opened)
        if opened:
            for part in self._parts(fold):
                yield from self.entries(part, level + 1)

    def _parts(self, fold: _Fold) -> Iterator[_Fold]:
        """What a stretch consists of; repeats among it are replaced by their layers."""
        names = self.children[fold.places[0]]
        for is_layer, run in groupby(names, str.isdigit):
            if is_layer:
                yield from self._layers(fold, list(run))
                continue
            for part in map(fold.child, run):
                inside = self.children.get(part.places[0], ())
                yield from self._parts(part) if any(map(str.isdigit, inside)) else (part,)
        if fold.places[0] in self.graph.nodes:
            yield replace(fold, alone=True)

    def _layers(self, fold: _Fold, numbers: Sequence[str]) -> Iterator[_Fold]:
        """Layers of a repeat; neighbours that are alike are folded."""
        for _, alike in groupby(numbers, lambda n: self._form(f"{fold.places[0]}.{n}")):
            run = list(alike)
            shown = run[0] if len(run) == 1 else f"{run[0]}..{run[-1]}"
            places = tuple(f"{place}.{number}" for place in fold.places for number in run)
            yield _Fold(f"{fold.path}.{shown}", places)

    def _form(self, place: str) -> list[tuple[object, ...]]:
        """What makes layers alike: the same operators in the same places, with the same options."""
        nodes = (self.graph[path] for path in self.members[place])
        return [
            (n.path.removeprefix(place), n.op, dict(n.attrs), self.types[n.path], n.owner is None)
            for n in nodes
        ]

    def _entry(self, fold: _Fold, level: int, opened: bool) -> Entry:
        outputs = tuple(o for place in fold.places for o in self._outputs(place))
        if fold.alone:
            members, kind = fold.places, self.graph[fold.places[0]].op
        else:
            members = tuple(m for place in fold.places for m in self.members[place])
            kind = self._kind(fold.places[0])
        return Entry(fold.path, kind, level, len(fold.places), members, outputs, opened)

    def _kind(self, place: str) -> str:
        """The block's or operator's name; of a binding, those in its chain."""
        scope = self.graph.scopes.get(place)
        if scope is not None and scope.kind != "repeat":
            return "net" if scope.kind == "net" else scope.name
        if place not in self.children:
            return self.graph[place].op
        inside = [self._short(f"{place}.{name}") for name in self.children[place]]
        last = [self.graph[place].op] if place in self.graph.nodes else []
        return _abbreviated([*inside, *last])

    def _short(self, place: str) -> str:
        scope = self.graph.scopes.get(place)
        if scope is not None:
            return scope.name
        return self.graph[place].op if place in self.graph.nodes else place.rpartition(".")[2]

    def _outputs(self, place: str) -> list[str]:
        """The values that a stretch hands on."""
        if place in self.graph.nodes:
            return [place]
        declared = [v for k, v in self.graph.outputs.items() if _is_in(k, place)]
        if declared:
            return declared
        members = self.members[place]
        named = self.graph.names.get(place)
        if named in members:
            return [named]
        inside, final = set(members), set(self.graph.outputs.values())
        read = [m for m in members if m in final or not inside.issuperset(self.graph.readers[m])]
        return read or members[-1:]


def _prefixes(path: str) -> Iterator[str]:
    end = path.find(".")
    while end >= 0:
        yield path[:end]
        end = path.find(".", end + 1)
    yield path


def _is_in(name: str, net: str) -> bool:
    return name == net or name.startswith(f"{net}.")


def _abbreviated(kinds: Sequence[str]) -> str:
    return ", ".join(kinds) if len(kinds) <= 3 else f"{kinds[0]}, ..., {kinds[-1]}"
