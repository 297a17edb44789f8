"""Names, before anything is elaborated: unknown, doubled, too early, unused, recursive.

Blocks are checked even if nothing uses them, and a body with many mistakes shows them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..compiler.diagnostics import Bag, Diagnostic, diagnostic
from ..compiler.nearest import nearest
from ..compiler.ops import SURFACE
from ..compiler.source import Span
from . import syntax
from .arithmetic import FUNCTIONS
from .bodies import contains_itself
from .expressions import SPECIAL, WORDS, before_definition, unknown_name
from .uses import IGNORED, bound_names, parts, walk

_CALLABLE = frozenset({*SURFACE, *SPECIAL, *FUNCTIONS, *WORDS})


@dataclass
class Names:
    """What one file declares: name -> where, and which of these were used."""

    declared: dict[str, tuple[str, Span]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    lost: frozenset[str] = frozenset()


def check_names(module: syntax.Module, bag: Bag) -> None:
    """Report every mistake with names in a file."""
    names = Names(lost=module.lost)
    for kind, ident in _declarations(module):
        _declare(names, kind, ident, bag)
    for item in module.items:
        if isinstance(item, syntax.Block | syntax.Net):
            _Body(item, names, bag).check()
        elif not isinstance(item, syntax.Use):
            names.used |= {n.name for n in walk(item) if isinstance(n, syntax.Name)}
    bag.extend(_recursion(module))
    if module.complete:
        bag.extend(_unused(module, names))


def _declarations(module: syntax.Module) -> Iterator[tuple[str, syntax.Ident]]:
    for item in module.items:
        match item:
            case syntax.Use(names=names):
                yield from (("import", n) for n in names)
            case syntax.Param() | syntax.Let() | syntax.Input() | syntax.Block() | syntax.Net():
                yield type(item).__name__.lower(), item.name


def _declare(names: Names, kind: str, ident: syntax.Ident, bag: Bag) -> None:
    if ident.name in names.declared:
        bag.add(_twice(ident, names.declared[ident.name][1]))
    else:
        names.declared[ident.name] = (kind, ident.span)


def _twice(ident: syntax.Ident, first: Span) -> Diagnostic:
    found = diagnostic("E0102", f"`{ident.name}` is defined twice", ident.span, "again here")
    return found.at(first, "first here")


def _unused(module: syntax.Module, names: Names) -> Iterator[Diagnostic]:
    """In a library everything is for others; in a model what nothing uses is a slip."""
    if not any(isinstance(item, syntax.ModelDecl) for item in module.items):
        return
    for name, (kind, span) in names.declared.items():
        if name not in names.used and kind != "net":
            yield diagnostic("W0104", f"{kind} `{name}` is never used", span)


def _recursion(module: syntax.Module) -> Iterator[Diagnostic]:
    """Blocks that contain themselves, directly or not: each reported at its own name."""
    blocks = {i.name.name: i for i in module.items if isinstance(i, syntax.Block)}
    calls = {name: _called(block) & blocks.keys() for name, block in blocks.items()}
    for name, block in blocks.items():
        if name in _reach(calls, calls[name]):
            yield contains_itself(block)


def _called(block: syntax.Block) -> set[str]:
    names = {n.name for n in walk(block.body) if isinstance(n, syntax.Name)}
    return names | {str(n) for n in walk(block.body) if isinstance(n, syntax.Path)}


def _reach(calls: dict[str, set[str]], start: set[str]) -> set[str]:
    seen: set[str] = set()
    stack = list(start)
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(calls[name])
    return seen


class _Body:
    """One block's or net's names, in the order of its statements."""

    def __init__(self, item: syntax.Block | syntax.Net, names: Names, bag: Bag) -> None:
        self.item = item
        self.file = names
        self.bag = bag
        self.later = bound_names(item.body)
        self.bound: dict[str, Span] = {}
        self.used: set[str] = set()

    def check(self) -> None:
        for formal in self.item.formals:
            self._formal(formal)
        for statement in self.item.body:
            self._names(statement, ())
            if isinstance(statement, syntax.Bind):
                for target in statement.targets:
                    self._bind(target.name)
        self.file.used |= self.used
        self._unused_bindings()

    def _formal(self, formal: syntax.Formal) -> None:
        if formal.default is not None:
            self._names(formal.default, ())
        elif isinstance(self.item, syntax.Net):
            known = self.file.declared
            self.file.used.add(nearest(formal.name.name, known) or formal.name.name)
        self._bind(formal.name)

    def _bind(self, ident: syntax.Ident) -> None:
        if ident.name == IGNORED:
            return
        if ident.name in self.bound:
            self.bag.add(_twice(ident, self.bound[ident.name]))
        self.bound.setdefault(ident.name, ident.span)

    def _unused_bindings(self) -> None:
        for name, span in self.bound.items():
            if name not in self.used:
                kind = "binding" if name in self.later else "formal"
                self.bag.add(diagnostic("W0104", f"{kind} `{name}` is never used", span))

    # --- walking ---

    def _names(self, node: object, extra: Sequence[str]) -> None:
        """Check the names below a node; `extra` are those of enclosing repeats."""
        match node:
            case tuple():
                for part in node:
                    self._names(part, extra)
            case syntax.Name():
                self._use(node.name, node.span, extra, early=False)
            case syntax.At(base=syntax.Name() as base) | syntax.Window(base=syntax.Name() as base):
                self._use(base.name, base.span, extra, early=True)
                self._below(node, extra, skip=("base", "clip"))
            case syntax.Stage():
                self._stage(node, extra)
            case syntax.Arg(name=syntax.Ident(), value=syntax.Name(name=word)):
                self.used.add(word)
            case syntax.TypeExpr():
                self._type(node, extra)
            case syntax.Syntax():
                self._below(node, extra)

    def _below(self, node: syntax.Syntax, extra: Sequence[str], skip: Sequence[str] = ()) -> None:
        for part in parts(node):
            if part not in skip:
                self._names(getattr(node, part), extra)

    def _type(self, node: syntax.TypeExpr, extra: Sequence[str]) -> None:
        plain = isinstance(node.clock, syntax.Name) and node.clock.name in ("label", "static")
        self._below(node, extra, skip=("clock", "kind") if plain else ("kind",))

    def _stage(self, node: syntax.Stage, extra: Sequence[str]) -> None:
        name, args = str(node.path), node.args or ()
        self._use(name, node.path.span, extra, early=False)
        if name == "along":
            args = args[1:]
        self._names(args, extra)
        inner = [a.name.name for a in args if a.op == "in" and a.name is not None]
        self._names(node.body, (*extra, *inner))
        self._names(node.otherwise, (*extra, *inner))

    def _use(self, name: str, span: Span, extra: Sequence[str], *, early: bool) -> None:
        self.used.add(name)
        if name in extra or name in self.bound or name in self.file.declared:
            return
        if name in self.file.lost:
            return
        if name in self.later:
            if not early:
                self.bag.add(before_definition(name, span, self.later))
        elif name not in _CALLABLE:
            known = [*self.later, *self.bound, *self.file.declared, *_CALLABLE]
            near = nearest(name, known)
            self.used |= {near} if near else set()  # misspelt, not unused
            self.bag.add(unknown_name(name, span, known))
