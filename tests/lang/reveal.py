"""What a checker knows of the values that a line binds: `[320] @ 40ms, +15ms, state 240`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.compiler.units import format_time
from asrc.dsl import syntax
from asrc.dsl.values import show_number


def revealed(
    module: syntax.Module, graph: Graph, constants: Mapping[str, object], line: int, wanted: str
) -> str:
    """`type and type`: one text for each different one.

    Look-ahead and state are there only where `wanted` speaks of them.
    """
    items = [item for item in module.items if _covers(item, line)]
    numbers = [
        show_number(constants[item.name.name])
        for item in items
        if isinstance(item, syntax.Param | syntax.Let) and item.name.name in constants
    ]
    paths = dict.fromkeys(path for item in items for path in _paths(item, graph, line))
    facts = (_facts(graph, path, wanted) for path in paths)
    return " and ".join(dict.fromkeys([*numbers, *facts])) or "nothing"


def _covers(item: syntax.Syntax, line: int) -> bool:
    end = item.span.source.position(item.span.end)[0]
    return item.span.line <= line <= end


def _paths(item: syntax.Declaration, graph: Graph, line: int) -> Iterator[str]:
    """The values that statements on the line make; in a block, those of all its instances."""
    if isinstance(item, syntax.Input):
        yield item.name.name
    if not isinstance(item, syntax.Net | syntax.Block):
        return
    name = item.name.name
    homes = [s.path for s in graph.scopes.values() if s.name == name]
    for statement in item.body:
        if _covers(statement, line):
            for wanted in _names(statement):
                found = (f"{home}.{wanted}".rstrip(".") for home in homes)
                table = graph.names if isinstance(statement, syntax.Bind) else graph.outputs
                yield from (table[name] for name in found if name in table)


def _names(statement: syntax.Statement) -> list[str]:
    if isinstance(statement, syntax.Bind):
        return [target.name.name for target in statement.targets]
    return [statement.name.name if statement.name else ""]


def _facts(graph: Graph, path: str, wanted: str) -> str:
    # After a mistake only what the value itself is made from is sure to be whole.
    facts = Facts(graph if ", state" in wanted else _below(graph, path))
    try:
        parts = [str(facts.types[path])]
    except AsrcError:
        return "nothing"
    if ", +" in wanted:
        look = facts.lookahead(path)
        parts.append("+unbounded" if look is None else f"+{format_time(look)}")
    if ", state" in wanted:
        held = [h.values for h in facts.held_frame if h.path == path]
        parts.append("state unbounded" if None in held else f"state {sum(filter(None, held))}")
    return ", ".join(parts)


def _below(graph: Graph, path: str) -> Graph:
    kept = graph.ancestors([path])
    nodes = {p: node for p, node in graph.nodes.items() if p in kept}
    return replace(graph, nodes=nodes, outputs={"": path}, losses={})
