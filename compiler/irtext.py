"""The textual form of a graph, printed. `irread.parse_graph` reads it back to an equal graph.

    asrir 1
    # after mask(encoder, chunk=320ms, left=2560ms)
    model conformer
    source 0 "conformer.asr"

    audio: [1] @ 16kHz = input
    encoder.mel.logmel: [80] @ 10ms = logmel(audio) bins=80 window=25ms hop=10ms !0:14-55

    output encoder = encoder.body.12.layernorm
    require lookahead(encoder) <= 320ms
    stream 320ms
    state encoder.body.1.Attn.k = history 64

One value a line, in program order, with its type. Options at their defaults are left out;
`!0:14-55` are characters of source 0; `^path` names the value whose parameters are shared. A graph
that is marked for streaming ends with its step and the frames that a step hands to the next.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from .budgets import Arithmetic, Budget, Literal, Measure, Term
from .facts import Facts
from .facts.shape import infer_types
from .graph import Attr, Graph, Node
from .ops import ANNOTATIONS, OPS
from .source import Span
from .types import Type
from .units import Quantity, format_number, format_quantity

FORMAT = 1
WORD = re.compile(r"[\w*]+(?:\.[\w*]+)*", re.ASCII)
"""Paths, names and selectors that need no quotes."""


def print_graph(graph: Graph, types: Mapping[str, Type] | None = None) -> str:
    """A graph as text. `types` saves inferring them; else raises AsrcError for an ill-typed graph.

    The text of the model's sources is not part of it, only their names.
    """
    printer = _Printer(graph, types or infer_types(graph), _source_numbers(graph))
    parts = (printer.header(), printer.values(), printer.tables())
    return "\n\n".join(text for part in parts if (text := "\n".join(part))) + "\n"


def _source_numbers(graph: Graph) -> dict[str, int]:
    """Numbers of the sources that spans point into, in order of appearance."""
    spans = [item.span for table in (graph.nodes, graph.scopes) for item in table.values()]
    spans += [budget.span for budget in graph.budgets]
    names = (span.source.name for span in spans if span is not None)
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


@dataclass(frozen=True, slots=True)
class _Printer:
    graph: Graph
    types: Mapping[str, Type]
    sources: Mapping[str, int]

    def header(self) -> Iterator[str]:
        yield f"asrir {FORMAT}"
        yield from (f"# {line}" for line in self.graph.provenance)
        yield f"model {word(self.graph.name)}"
        yield from (f"source {n} {json.dumps(name)}" for name, n in self.sources.items())

    def values(self) -> Iterator[str]:
        for node in self.graph:
            yield f"{word(node.path)}: {self.types[node.path]} = {self._value(node)}"

    def _value(self, node: Node) -> str:
        inputs = f"({', '.join(map(word, node.inputs))})" if node.inputs else ""
        options = (f"{name}={text}" for name, text in _options(node))
        owner = [f"^{word(node.owner)}"] if node.owner is not None else []
        return " ".join([f"{node.op}{inputs}", *options, *owner, *self._place(node.span)])

    def _place(self, span: Span | None) -> list[str]:
        if span is None:
            return []
        return [f"!{self.sources[span.source.name]}:{span.start}-{span.end}"]

    def tables(self) -> Iterator[str]:
        graph = self.graph
        for keyword in ("output", "name", "loss"):
            table = {"output": graph.outputs, "name": graph.names, "loss": graph.losses}[keyword]
            yield from (f"{keyword} {word(k)} = {word(v)}" for k, v in table.items())
        for scope in graph.scopes.values():
            text = f"scope {word(scope.path)} = {word(scope.kind)} {word(scope.name)}"
            yield " ".join([text, *self._place(scope.span)])
        for budget in graph.budgets:
            yield " ".join([f"require {budget_text(budget)}", *self._place(budget.span)])
        if graph.step is not None:
            yield f"stream {Quantity(graph.step, 'time')}"
            yield from (f"state {line}" for line in state_lines(graph))


def state_lines(graph: Graph) -> list[str]:
    """What a step hands to the next: `encoder.h = recurrent 1`, value by value.

    Raises AsrcError for a graph that cannot be streamed.
    """
    facts = Facts(graph)
    buffers = (*facts.schedule.buffers, *facts.label_schedule.buffers)
    return [f"{word(b.path)} = {b.kind} {len(b.frames)}" for b in buffers]


def _options(node: Node) -> Iterator[tuple[str, str]]:
    """Options that differ from their defaults; an input's type stands on its binder."""
    options = OPS[node.op].options
    for name, option in options.items():
        value = node.attrs[name]
        if option.kind != "type" and (option.required or value != option.default):
            yield name, attr_text(value)
    yield from ((name, attr_text(node.attrs[name])) for name in ANNOTATIONS if name in node.attrs)


def word(text: str) -> str:
    """A name as it stands, or in quotes where it is not a plain one."""
    return text if WORD.fullmatch(text) else json.dumps(text)


def attr_text(value: Attr) -> str:
    """An option's value as text: `25ms`, `[64, 40]`, `none`."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case int() | Fraction():
            return format_number(value)
        case tuple():
            return f"[{', '.join(map(str, value))}]"
        case str():
            return word(value)
    return str(value)


# --- budgets -------------------------------------------------------------------------------------


def budget_text(budget: Budget) -> str:
    """`lookahead(encoder) <= 320ms`, `params in 30000000..45000000`."""
    left, right = term_text(budget.left), term_text(budget.right)
    upper = f"..{term_text(budget.upper)}" if budget.upper is not None else ""
    return f"{left} {budget.op} {right}{upper}"


def term_text(term: Term) -> str:
    """A term as written: `params(encoder) + 2`."""
    match term:
        case Literal():
            return format_quantity(term.value, term.dimension)
        case Measure():
            chosen = [word(t) for t in (term.selector, term.variant) if t is not None]
            return f"{term.figure}({', '.join(chosen)})" if chosen else term.figure
        case Arithmetic():
            return f"({term_text(term.left)} {term.op} {term_text(term.right)})"
