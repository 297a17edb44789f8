"""Elaboration: a parsed file to a graph, its claims and its budgets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeVar

from ..compiler.budgets import Budget
from ..compiler.diagnostics import AsrcError, Bag, diagnostic
from ..compiler.facts.offsets import is_over_offsets
from ..compiler.graph import Graph
from ..compiler.nearest import did_you_mean
from ..compiler.types import Label, Stream
from ..compiler.units import Quantity
from . import syntax
from .bodies import Bodies
from .calls import Calls
from .constants import Constants
from .evaluator import Claim, Evaluator
from .expressions import Expressions
from .modules import Library
from .require import budget
from .scope import Place, Scope
from .stages import Stages
from .uses import bound_names, walk
from .values import Missing, Module, Ref, Several, Value

Item = TypeVar("Item", bound=syntax.Syntax)


@dataclass(frozen=True, slots=True)
class Elaborated:
    """A model's graph before any pass, and what its text claims about it."""

    graph: Graph
    claims: tuple[Claim, ...]
    constants: Mapping[str, Fraction | Quantity]


class Elaborator(Expressions, Calls, Stages, Bodies, Constants, Evaluator):
    """Everything that evaluation needs, for one file."""

    def __init__(self, module: syntax.Module, library: Library, bag: Bag) -> None:
        super().__init__(module.source, bag)
        self.library = library
        self.syntax = module
        self.module = Module(module)
        self.nets = {n.name.name: n for n in self._all(syntax.Net)}
        self.values: dict[str, Value] = {}
        self._busy: list[str] = []

    def run(self, settings: Mapping[str, syntax.Expr]) -> Elaborated:
        """Elaborate everything. Mistakes go to the bag."""
        self._imports()
        self.constants(self.syntax, self.module, settings)
        self._inputs()
        for name in self.nets:
            self._try_net(name)
        graph = self.builder.graph(self._model_name(), self._budgets())
        numbers = {
            k: v for k, v in self.module.constants.items() if isinstance(v, Fraction | Quantity)
        }
        return Elaborated(graph, tuple(self.claims), numbers)

    def _all(self, kind: type[Item]) -> list[Item]:
        return [item for item in self.syntax.items if isinstance(item, kind)]

    def _model_name(self) -> str:
        models = self._all(syntax.ModelDecl)
        return models[0].name.name if models else "library"

    def _imports(self) -> None:
        for use in self._all(syntax.Use):
            try:
                self.module.blocks.update(self.library.imported(use))
            except AsrcError as error:
                self.report(error)
                self.module.constants.update({n.name: Missing() for n in use.names})
        for module in self.library.modules:
            self.constants(module.source, module, {})
        self.module.constants.update(dict.fromkeys(self.syntax.lost, Missing()))
        for block in self._all(syntax.Block):
            self.module.blocks[block.name.name] = (block, self.module)

    def _inputs(self) -> None:
        for item in self._all(syntax.Input):
            name = item.name.name
            try:
                kind = self.written_type(item.type, Scope(self.module, ""))
                path = self.builder.claim(name)
                self.builder.add(path, "input", (), {"type": kind}, item.span)
                self.values[name] = Ref(path)
            except AsrcError as error:
                self.report(error)
                self.values[name] = Missing()

    def _budgets(self) -> tuple[Budget, ...]:
        found = []
        for item in self._all(syntax.Require):
            try:
                found.append(budget(item, self.module.constants))
            except AsrcError as error:
                self.report(error)
        return tuple(found)

    # --- nets ---

    def net(self, name: str) -> Value:
        """A net's outputs, elaborated when first asked for."""
        if name in self.values:
            return self.values[name]
        net = self.nets[name]
        if name in self._busy:
            raise AsrcError(
                diagnostic("E0105", f"net `{name}` depends on its own output", net.name.span)
            )
        self._busy.append(name)
        try:
            self.values[name] = self._elaborate_net(net)
        finally:
            self._busy.pop()
        return self.values[name]

    def _elaborate_net(self, net: syntax.Net) -> Value:
        name = net.name.name
        self.builder.scope(self.builder.claim(name), "net", name, net.span)
        scope = Scope(self.module, name, {}, None, bound_names(net.body), nets=self._visible(net))
        self._formals(net, scope)
        return self._net_outputs(net, self.run_body(net.body, scope))

    def _visible(self, net: syntax.Net) -> Mapping[str, Value]:
        return {n: v for n, v in self.values.items() if n != net.name.name}

    def _formals(self, net: syntax.Net, scope: Scope) -> None:
        for formal in net.formals:
            try:
                scope.names[formal.name.name] = self._net_formal(formal, scope)
            except AsrcError as error:
                self.report(error)
                scope.names[formal.name.name] = Missing()
        self._meet(net, scope)

    def _net_formal(self, formal: syntax.Formal, scope: Scope) -> Value:
        """A formal without a default is the input, or the net, of its own name."""
        expr = formal.default or syntax.Name(formal.name.span, formal.name.name)
        if formal.default is None:
            self._check_formal(formal.name)
        names = (n.name for n in walk(expr) if isinstance(n, syntax.Name))
        wanted = [name for name in names if name in self.nets]
        nets = {name: self.net(name) for name in wanted}
        inner = Scope(self.module, scope.path, {}, None, nets={**self.values, **nets})
        return self.value(expr, inner, Place(scope.path))

    def _check_formal(self, name: syntax.Ident) -> None:
        known = [*self.values, *self.nets, *self.module.constants]
        if name.name not in known:
            help = did_you_mean(name.name, known) or f"declare `input {name.name}: ...`"
            message = f"there is no input and no net `{name.name}`"
            raise AsrcError(diagnostic("E0101", message, name.span, help=help))

    def _meet(self, net: syntax.Net, scope: Scope) -> None:
        """In a net that takes frames and labels, frames are seen against every label."""
        kinds = {n: self.type_of(v) for n, v in scope.names.items() if isinstance(v, Ref)}
        clocks = {n: k.clock for n, k in kinds.items() if k is not None}
        if not any(isinstance(c, Label) for c in clocks.values()):
            return
        for name, clock in clocks.items():
            source = scope.names[name]
            if isinstance(clock, Stream) and isinstance(source, Ref):
                place = Place(scope.path, f"{scope.path}.{name}")
                scope.names[name] = self.node("lattice", [source], {}, place, net.name.span)

    def _net_outputs(self, net: syntax.Net, outs: Mapping[str, Ref] | None) -> Value:
        name = net.name.name
        if outs is None:
            return Missing()
        if not outs:
            self.report(
                AsrcError(
                    diagnostic(
                        "E0109",
                        f"net `{name}` has no `out`",
                        net.name.span,
                        help="end it with `out expression`",
                    )
                )
            )
            return Missing()
        for out, ref in outs.items():
            self._check_output(ref)
            self.builder.outputs[f"{name}.{out}" if out else name] = ref.path
        if list(outs) == [""]:
            return outs[""]
        return Several(tuple(outs.values()), tuple(outs))

    def _check_output(self, ref: Ref) -> None:
        """How many relative positions there are is known to an attention alone."""
        kind = self.type_of(ref)
        if kind is not None and is_over_offsets(kind):
            span = self.builder.nodes[ref.path].span
            message = f"relative positions, {kind}, cannot leave a net"
            help = "give them to the attention that they are for: `attend(heads)(q, k, v, q', r)`"
            raise AsrcError(diagnostic("E0208", message, span, help=help))

    def _try_net(self, name: str) -> None:
        try:
            self.net(name)
        except AsrcError as error:
            self.report(error)
            self.values[name] = Missing()
