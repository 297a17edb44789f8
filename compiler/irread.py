"""The textual form of a graph, read: `parse_graph(print_graph(g)) == g`.

Nothing is taken on trust: options are checked against the operator table, and the types on
binders against inference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import cast

from .budgets import Budget
from .diagnostics import AsrcError, diagnostic
from .facts.recurrence import check_recurrences
from .facts.shape import infer_types
from .graph import Attr, Graph, Node, Scope
from .irbudgets import read_budget
from .irscan import Cursor
from .irtext import FORMAT, state_lines, word
from .irtypes import read_type
from .nearest import did_you_mean
from .ops import ANNOTATIONS, OPS, Op, Option
from .source import Source, Span
from .types import Type
from .units import Quantity


def parse_graph(
    text: str, name: str = "<ir>", sources: Mapping[str, Source] | None = None
) -> Graph:
    """The graph that a text describes, well-typed.

    Values keep the places they had in the model's own text where `sources` has that text, by
    name. Raises AsrcError: E0010 malformed text, at its line and column; E0203 a type that
    differs from the inferred one; and what type inference refuses.
    """
    reader = _Reader(Source(name, text), sources or {})
    return reader.run()


@dataclass
class _Reader:
    source: Source
    known: Mapping[str, Source]
    name: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    types: dict[str, Type] = field(default_factory=dict)
    lines: dict[str, Span] = field(default_factory=dict)
    tables: dict[str, dict[str, str]] = field(
        default_factory=lambda: {"output": {}, "name": {}, "loss": {}}
    )
    targets: list[tuple[str, Cursor, int]] = field(default_factory=list)
    scopes: dict[str, Scope] = field(default_factory=dict)
    budgets: list[Budget] = field(default_factory=list)
    provenance: list[str] = field(default_factory=list)
    files: dict[int, str] = field(default_factory=dict)
    step: tuple[Fraction, Span] | None = None
    states: list[str] = field(default_factory=list)

    def run(self) -> Graph:
        start = 0
        for number, line in enumerate(self.source.text.split("\n")):
            cursor = Cursor(self.source, line, start)
            start += len(line) + 1
            if number == 0:
                self._header(cursor)
            elif line.startswith("#"):
                self._comment(line)
            elif not cursor.end():
                self._line(cursor)
        self._check_targets()
        graph = Graph(
            self.name,
            self.nodes,
            self.tables["output"],
            self.tables["name"],
            self.scopes,
            self.tables["loss"],
            tuple(self.budgets),
            tuple(self.provenance),
            self.step and self.step[0],
        )
        self._check_types(graph)
        self._check_states(graph)
        return graph

    # --- lines ---

    def _header(self, c: Cursor) -> None:
        help = f"the first line is `asrir {FORMAT}`"
        if not c.take("asrir"):
            raise c.fail("this is not the text of a graph", 0, help)
        version = c.int("the version of the format")
        if version != FORMAT:
            raise c.fail(f"this compiler does not read version {version} of the format", 0, help)
        c.finish()

    def _comment(self, line: str) -> None:
        """Comments before the values say where the graph came from."""
        if not self.nodes:
            self.provenance.append(line[1:].removeprefix(" ").rstrip("\r"))

    def _line(self, c: Cursor) -> None:
        first = c.word("a name")
        if c.peek(":") or first not in self._keywords():
            self._value(c, first)
        else:
            self._keywords()[first](c)
        c.finish()

    def _keywords(self) -> dict[str, Callable[[Cursor], None]]:
        tables = {k: self._entry(k) for k in self.tables}
        return {
            "model": self._model,
            "source": self._source,
            "scope": self._scope,
            "require": self._budget,
            "stream": self._stream,
            "state": self._state,
            **tables,
        }

    def _model(self, c: Cursor) -> None:
        self.name = c.word("the name of the model")

    def _source(self, c: Cursor) -> None:
        number = c.int("the number of a source")
        self.files[number] = c.string("the name of a source")

    def _entry(self, keyword: str) -> Callable[[Cursor], None]:
        def read(c: Cursor) -> None:
            key = c.word("a name")
            c.expect("=")
            self.tables[keyword][key] = self._target(c)

        return read

    def _scope(self, c: Cursor) -> None:
        path = c.word("a path")
        c.expect("=")
        kind, name = c.word("a kind"), c.word("a name")
        self.scopes[path] = Scope(path, kind, name, self._place(c))

    def _budget(self, c: Cursor) -> None:
        budget = read_budget(c)
        self.budgets.append(replace(budget, span=self._place(c)))

    def _stream(self, c: Cursor) -> None:
        c.skip()
        begin = c.at
        value, dimension = c.quantity("the length of a step")
        if dimension != "time" or value <= 0:
            raise c.fail("a step is a time, longer than 0ms", begin)
        self.step = value, c.since(begin)

    def _state(self, c: Cursor) -> None:
        path = self._target(c)
        c.expect("=")
        kind, frames = c.word("a kind of state"), c.int("a count of frames")
        self.states.append(f"{word(path)} = {kind} {frames}")
        if self.step is None:
            raise c.fail("`state` comes after `stream`", 0)

    # --- values ---

    def _value(self, c: Cursor, path: str) -> None:
        if path in self.nodes:
            raise c.fail(f"`{path}` is defined twice", 0)
        c.expect(":")
        c.skip()
        begin = c.at
        self.types[path] = read_type(c)
        self.lines[path] = c.since(begin)
        c.expect("=")
        op = self._operator(c)
        inputs = tuple(c.listed(lambda: self._target(c), ")")) if c.take("(") else ()
        self._check_count(c, op, len(inputs))
        attrs = self._options(c, op, self.types[path])
        owner = self._target(c) if c.take("^") else None
        self.nodes[path] = Node(path, op.name, inputs, attrs, self._place(c), owner)

    def _operator(self, c: Cursor) -> Op:
        c.skip()
        begin = c.at
        name = c.word("an operator")
        if name not in OPS:
            raise c.fail(f"there is no operator `{name}`", begin, did_you_mean(name, OPS))
        return OPS[name]

    def _check_count(self, c: Cursor, op: Op, count: int) -> None:
        low, high = op.inputs
        if count < low or (high is not None and count > high):
            raise c.fail(f"`{op.name}` does not take {count} inputs")

    def _options(self, c: Cursor, op: Op, kind: Type) -> dict[str, Attr]:
        given: dict[str, Attr] = {n: kind for n, o in op.options.items() if o.kind == "type"}
        known = {**op.options, **ANNOTATIONS}
        while not c.end() and not c.peek("^") and not c.peek("!"):
            begin = c.at
            name = c.word("an option")
            if name not in known or name in given:
                help = did_you_mean(name, known) if name not in given else ""
                raise c.fail(f"`{op.name}` does not take `{name}` here", begin, help)
            c.expect("=")
            given[name] = read_option(c, name, known[name])
        missing = [n for n, o in op.options.items() if o.required and n not in given]
        if missing:
            raise c.fail(f"`{op.name}` needs `{missing[0]}=`")
        defaults = {n: cast(Attr, o.default) for n, o in op.options.items()}
        return {**defaults, **given}

    def _target(self, c: Cursor) -> str:
        """A path that must be a value of the graph, though perhaps of a later line."""
        c.skip()
        begin = c.at
        path = c.word("a value")
        self.targets.append((path, replace(c), begin))
        return path

    def _place(self, c: Cursor) -> Span | None:
        if not c.take("!"):
            return None
        begin, number = c.at, c.int("the number of a source")
        if number not in self.files:
            raise c.fail(f"there is no source {number}", begin)
        c.expect(":")
        start = c.int("a first character")
        c.expect("-")
        end = c.int("a last character", start)
        source = self.known.get(self.files[number])
        return Span(source, start, end) if source and end <= len(source.text) else None

    # --- checks ---

    def _check_targets(self) -> None:
        for path, cursor, begin in self.targets:
            if path not in self.nodes:
                help = did_you_mean(path, self.nodes)
                raise cursor.fail(f"there is no value `{path}`", begin, help)

    def _check_types(self, graph: Graph) -> None:
        """Inference with the lines of this text as places, then each binder against it."""
        nodes = {p: replace(n, span=self.lines[p]) for p, n in graph.nodes.items()}
        here = replace(graph, nodes=nodes)
        found = infer_types(here)
        check_recurrences(here, found)
        wrong = [p for p in nodes if str(found[p]) != str(self.types[p])]
        if wrong:
            raise AsrcError(
                *(
                    diagnostic(
                        "E0203",
                        f"`{path}` is written {self.types[path]}, inferred {found[path]}",
                        self.lines[path],
                    )
                    for path in wrong
                )
            )

    def _check_states(self, graph: Graph) -> None:
        """The listed state against the inferred one."""
        if self.step is None:
            return
        try:
            found = state_lines(graph)
        except AsrcError as error:
            raise AsrcError(*(d.at(self.step[1]) for d in error.diagnostics)) from None
        wrong = [line for line in self.states if line not in found]
        wrong += [line for line in found if line not in self.states]
        if wrong:
            message = f"the state that is listed is not that of this step: `state {wrong[0]}`"
            raise AsrcError(diagnostic("E0203", message, self.step[1]))


def read_option(c: Cursor, name: str, option: Option) -> Attr:
    """One option's value, of the option's kind and in its range. Raises AsrcError E0010."""
    c.skip()
    begin = c.at
    if option.default is None and c.take("none"):
        return None
    match option.kind:
        case "int" | "real":
            return _read_number(c, name, option, begin)
        case "bool" | "choice":
            return _read_word(c, name, option)
        case "dims":
            c.expect("[")
            return tuple(c.listed(lambda: c.int("a dimension", 1), "]"))
    wanted = "rate" if option.kind == "rate" else "time"
    value, dimension = c.quantity(f"`{name}`")
    if value < 0 or (dimension != wanted and not _is_count(option, value, dimension)):
        raise c.fail(f"`{name}` is a {wanted}", begin)
    return Quantity(value, dimension) if dimension == wanted else int(value)


def _read_number(c: Cursor, name: str, option: Option, begin: int) -> Attr:
    value = c.number(f"`{name}`")
    if option.kind == "int" and value.denominator != 1:
        raise c.fail(f"`{name}` is a whole number", begin)
    if not option.admits(value):
        raise c.fail(f"`{name}` is {option.range_text()}", begin)
    return int(value) if option.kind == "int" else value


def _is_count(option: Option, value: Fraction, dimension: str) -> bool:
    return option.kind == "span" and dimension == "number" and value.denominator == 1


def _read_word(c: Cursor, name: str, option: Option) -> Attr:
    c.skip()
    begin, text = c.at, c.word(f"`{name}`")
    words = ("true", "false") if option.kind == "bool" else option.choices
    if words and text not in words:
        raise c.fail(f"`{name}` is one of {', '.join(words)}", begin, did_you_mean(text, words))
    return text == "true" if option.kind == "bool" else text
