"""Calls: operators and blocks get their arguments, instances get their streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.graph import Attr
from ..compiler.ops import OPS, SURFACE, Op, Option
from ..compiler.source import Span
from . import syntax
from .arithmetic import FUNCTIONS
from .evaluator import Evaluator
from .expressions import SPECIAL, WORDS, before_definition, unknown_name
from .options import check_complete, convert, positional, unknown_option
from .scope import Place, Scope
from .uses import uses_incoming
from .values import BlockInstance, Missing, Module, OpInstance, Pieces, Ref, Symbol, Value, describe

Name = syntax.Ident | syntax.Path


class Calls(Evaluator):
    def call(self, expr: syntax.Call, scope: Scope, place: Place) -> Value:
        callee = expr.callee
        if isinstance(callee, syntax.At | syntax.Window):
            return self._with_initial(expr, callee, scope, place)
        if isinstance(callee, syntax.Name):
            return self._call_name(expr, callee, scope, place)
        instance = self.value(callee, scope, place.below())
        return self._apply_to(instance, expr, scope, place)

    def _call_name(
        self, expr: syntax.Call, callee: syntax.Name, scope: Scope, place: Place
    ) -> Value:
        local = scope.lookup(callee.name)
        instance = isinstance(local, OpInstance | BlockInstance | Missing)
        if instance or not self._known(callee, scope):
            return self._apply_to(self.value(callee, scope, place), expr, scope, place)
        name = syntax.Ident(callee.span, callee.name)
        return self.named(name, expr.args, scope, place)

    def _known(self, name: syntax.Name, scope: Scope) -> bool:
        """Whether a name can be called although a local number may shadow it."""
        callable_names = (*SURFACE, *FUNCTIONS, "split")
        return scope.block(name.name) is not None or name.name in callable_names

    def _with_initial(
        self,
        expr: syntax.Call,
        base: syntax.At | syntax.Window,
        scope: Scope,
        place: Place,
    ) -> Value:
        """`h[t-1](init=h0)`: what absent frames read as."""
        arg = expr.args[0] if len(expr.args) == 1 else None
        if arg is None or arg.name is None or arg.name.name != "init":
            raise AsrcError(
                diagnostic(
                    "E0106", "a shift only takes `init=`", expr.span, help="`h[t-1](init=h0)`"
                )
            )
        return self.shifted(base, scope, place, arg.value)

    def _apply_to(self, value: Value, expr: syntax.Call, scope: Scope, place: Place) -> Value:
        if isinstance(value, Missing):
            raise AsrcError()
        if not isinstance(value, OpInstance | BlockInstance):
            raise AsrcError(
                diagnostic("E0107", f"{describe(value)} cannot be called", expr.callee.span)
            )
        inner = place.below()
        inputs = []
        for arg in expr.args:
            if arg.name is not None:
                raise unknown_option(value.name, arg.name, [])
            inputs.append(self.stream(arg.value, scope, inner))
        return self.apply(value, inputs, place, expr.span)

    def named(self, name: Name, args: Sequence[syntax.Arg], scope: Scope, place: Place) -> Value:
        text = str(name) if isinstance(name, syntax.Path) else name.name
        found = scope.block(text)
        if found is not None:
            return self._block(found, name.span, args, scope, place)
        if text in FUNCTIONS and (text not in OPS or args):
            return self._function(text, name.span, args, scope)
        if text == "split":
            return self._split(name.span, args, scope)
        if text not in SURFACE and text in scope.later and text not in scope.names:
            raise AsrcError(before_definition(text, name.span, scope.later))
        if text not in SURFACE:
            known = [*SURFACE, *SPECIAL, *scope.module.blocks, *scope.names]
            raise AsrcError(unknown_name(text, name.span, known))
        return self._operator(OPS[text], name.span, args, scope, place)

    # --- functions of numbers ---

    def _function(
        self, name: str, span: Span, args: Sequence[syntax.Arg], scope: Scope
    ) -> Fraction:
        values = [self.number(arg.value, scope, f"an argument of `{name}`") for arg in args]
        if not values or (name in ("ceil", "floor") and len(values) > 1):
            raise AsrcError(diagnostic("E0106", f"`{name}` takes numbers", span))
        return FUNCTIONS[name](values)

    def _split(self, span: Span, args: Sequence[syntax.Arg], scope: Scope) -> OpInstance:
        if len(args) != 1 or args[0].name is not None:
            raise AsrcError(
                diagnostic("E0106", "`split` takes the number of parts", span, help="`split(4)`")
            )
        parts = self.whole(args[0].value, scope, "the number of parts", 1)
        return OpInstance("split", {"parts": parts}, span)

    # --- operators ---

    def _operator(
        self, op: Op, span: Span, args: Sequence[syntax.Arg], scope: Scope, place: Place
    ) -> Value:
        inputs: list[Ref] = []
        attrs: dict[str, Attr] = {}
        names = positional(op)
        for arg in args:
            if arg.name is not None:
                self._named_option(op, arg, arg.name, attrs, scope)
                continue
            value = self.value(arg.value, scope, place.below())
            if isinstance(value, Ref) or not names:
                inputs.append(self.as_stream(value, place.below(), arg.span))
            else:
                option = names.pop(0)
                attrs[option] = convert(option, op.options[option], value, arg.span)
        check_complete(op, attrs, span)
        instance = OpInstance(op.name, attrs, span, tuple(inputs))
        complete = len(inputs) >= op.inputs[0]
        return self.apply(instance, (), place, span) if complete else instance

    def _named_option(
        self, op: Op, arg: syntax.Arg, name: syntax.Ident, attrs: dict[str, Attr], scope: Scope
    ) -> None:
        option = op.options.get(name.name)
        if option is None or arg.op != "=":
            raise unknown_option(op.name, name, list(op.options))
        if name.name in attrs:
            raise AsrcError(diagnostic("E0102", f"`{name.name}` is given twice", arg.span))
        value = self._option_value(option, arg.value, scope)
        attrs[name.name] = convert(name.name, option, value, arg.value.span)

    def _option_value(self, option: Option, expr: syntax.Expr, scope: Scope) -> Value:
        """A bare word is a choice unless a name of that spelling is in scope."""
        if option.kind in ("choice", "bool") and isinstance(expr, syntax.Name):
            return scope.lookup(expr.name) or Symbol(expr.name)
        return self.value(expr, scope, Place("?"))

    # --- blocks ---

    def _block(
        self,
        found: tuple[syntax.Block, Module],
        span: Span,
        args: Sequence[syntax.Arg],
        scope: Scope,
        place: Place,
    ) -> Value:
        block, home = found
        arguments = self._arguments(block, args, scope, place, span)
        if uses_incoming(block):
            return BlockInstance(block, home, arguments, span)
        prefix = self.builder.claim(place.name or f"{place.prefix}.{block.name.name}")
        return self.run_block(block, home, arguments, None, prefix, span)

    def _arguments(
        self,
        block: syntax.Block,
        args: Sequence[syntax.Arg],
        scope: Scope,
        place: Place,
        span: Span,
    ) -> Mapping[str, Value]:
        formals = [f.name.name for f in block.formals]
        found: dict[str, Value] = {}
        for position, arg in enumerate(args):
            name = self._formal(block, formals, position, arg)
            if name in found:
                raise AsrcError(diagnostic("E0102", f"`{name}` is given twice", arg.span))
            found[name] = self._argument(arg.value, scope, place)
        missing = [f.name.name for f in block.formals if f.default is None]
        missing = [name for name in missing if name not in found]
        if missing:
            raise AsrcError(_missing_arguments(block, missing, span))
        return found

    def _argument(self, expr: syntax.Expr, scope: Scope, place: Place) -> Value:
        if isinstance(expr, syntax.Name) and expr.name in WORDS:
            return Symbol(expr.name)
        return self.value(expr, scope, place.below())

    def _formal(
        self, block: syntax.Block, formals: list[str], position: int, arg: syntax.Arg
    ) -> str:
        if arg.name is None:
            if position < len(formals):
                return formals[position]
            raise AsrcError(
                diagnostic(
                    "E0106",
                    f"`{block.name.name}` takes {_counted(len(formals))}",
                    arg.span,
                ).at(block.name.span, "declared here")
            )
        if arg.name.name in formals and arg.op == "=":
            return arg.name.name
        raise unknown_option(block.name.name, arg.name, formals)

    # --- application ---

    def apply(
        self, instance: OpInstance | BlockInstance, inputs: Sequence[Ref], place: Place, span: Span
    ) -> Value:
        if isinstance(instance, BlockInstance):
            return self._apply_block(instance, inputs, place, span)
        given = [*inputs, *instance.inputs]
        if instance.op == "split":
            return self._pieces(instance, given, span)
        self._check_count(OPS[instance.op], given, span)
        path = self.builder.claim(place.name or f"{place.prefix}.{instance.op}")
        sources = tuple(r.path for r in given)
        with self.builder.sharing(path, instance.first or path):
            self.builder.add(path, instance.op, sources, instance.attrs, span)
        instance.first = instance.first or path
        return Ref(path)

    def _pieces(self, instance: OpInstance, given: Sequence[Ref], span: Span) -> Pieces:
        if len(given) != 1:
            raise AsrcError(diagnostic("E0106", "`split` cuts one stream", span))
        return Pieces(given[0], int(str(instance.attrs["parts"])), span)

    def _check_count(self, op: Op, given: Sequence[Ref], span: Span) -> None:
        low, high = op.inputs
        if len(given) < low or (high is not None and len(given) > high):
            wanted = str(low) if low == high else f"{low} to {high}" if high else f"{low} or more"
            what = "input" if high == 1 else "inputs"
            message = f"`{op.name}` takes {wanted} {what}, not {len(given)}"
            raise AsrcError(diagnostic("E0106", message, span))

    def _apply_block(
        self, instance: BlockInstance, inputs: Sequence[Ref], place: Place, span: Span
    ) -> Value:
        if len(inputs) != 1:
            raise AsrcError(
                diagnostic(
                    "E0106",
                    f"`{instance.name}` takes one input, not {len(inputs)}",
                    span,
                    help="a block that works on several streams has them as formals",
                )
            )
        prefix = self.builder.claim(place.name or f"{place.prefix}.{instance.name}")
        with self.builder.sharing(prefix, instance.first or prefix):
            found = self.run_block(
                instance.block, instance.home, instance.arguments, inputs[0], prefix, span
            )
        instance.first = instance.first or prefix
        return found


def _counted(arguments: int) -> str:
    return "1 argument" if arguments == 1 else f"{arguments or 'no'} arguments"


def _missing_arguments(block: syntax.Block, missing: list[str], span: Span) -> Diagnostic:
    listed = ", ".join(f"`{name}`" for name in missing)
    found = diagnostic("E0106", f"`{block.name.name}` needs {listed}", span)
    return found.at(block.name.span, "declared here")
