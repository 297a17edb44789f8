"""Bodies of blocks and nets: statements one by one, each mistake reported once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.source import Span
from . import syntax
from .ascribe import Ascriptions
from .scope import Place, Scope
from .uses import IGNORED, bound_names
from .values import Missing, Module, Pieces, Ref, Several, Value, describe

MAX_DEPTH = 64


class Bodies(Ascriptions):
    def run_block(
        self,
        block: syntax.Block,
        home: Module,
        arguments: Mapping[str, Value],
        incoming: Ref | None,
        prefix: str,
        span: Span,
    ) -> Value:
        if len(self.trail) >= MAX_DEPTH:
            raise AsrcError(
                diagnostic("E0105", f"blocks are nested more than {MAX_DEPTH} deep", span)
            )
        if any(block is other for other, _ in self.trail):
            raise AsrcError(contains_itself(block))
        self.builder.scope(prefix, "block", block.name.name, span)
        scope = Scope(home, prefix, dict(arguments), incoming, bound_names(block.body))
        self.trail.append((block, span))
        try:
            self._defaults(block, scope)
            return self._outputs(block, self.run_body(block.body, scope))
        finally:
            self.trail.pop()

    def _defaults(self, block: syntax.Block, scope: Scope) -> None:
        """Defaults see the formals before them."""
        for formal in block.formals:
            if formal.name.name not in scope.names and formal.default is not None:
                scope.names[formal.name.name] = self.value(formal.default, scope, Place(scope.path))

    def _outputs(self, block: syntax.Block, found: dict[str, Ref] | None) -> Value:
        if found is None:
            raise AsrcError()
        if not found:
            raise AsrcError(
                diagnostic(
                    "E0109",
                    f"block `{block.name.name}` has no `out`",
                    block.name.span,
                    help="end it with `out expression`",
                )
            )
        if list(found) == [""]:
            return found[""]
        return Several(tuple(found.values()), tuple(found))

    def run_body(self, body: Sequence[syntax.Statement], scope: Scope) -> dict[str, Ref] | None:
        """The outputs by name (`""` for a plain `out`), or `None` after a failed `out`."""
        outs: dict[str, Ref] = {}
        failed = False
        for statement in body:
            try:
                self._statement(statement, scope, outs)
            except AsrcError as error:
                self.report(error)
                failed |= isinstance(statement, syntax.Out)
                self._forget(statement, scope)
        return None if failed else outs

    def _statement(self, statement: syntax.Statement, scope: Scope, outs: dict[str, Ref]) -> None:
        match statement:
            case syntax.Bind():
                self._bind(statement, scope)
            case syntax.Out():
                self._out(statement, scope, outs)
            case syntax.Loss():
                place = Place(scope.path, f"{scope.path}.{statement.name.name}")
                ref = self.stream(statement.value, scope, place)
                self.builder.losses[f"{scope.path}.{statement.name.name}"] = ref.path

    def _forget(self, statement: syntax.Statement, scope: Scope) -> None:
        """Names of a failed statement: later uses say nothing more."""
        if isinstance(statement, syntax.Bind):
            for target in statement.targets:
                scope.names[target.name.name] = Missing()
                for path in scope.pending.pop(target.name.name, ()):
                    self.builder.drop_open(path)

    # --- bindings ---

    def _bind(self, statement: syntax.Bind, scope: Scope) -> None:
        targets = statement.targets
        if len(targets) > 1:
            value = self.value(statement.value, scope, Place(scope.path))
            for target, part in zip(targets, self._parts(value, statement, scope), strict=True):
                self._assign(target, part, scope)
            return
        path = f"{scope.path}.{targets[0].name.name}"
        value = self.value(statement.value, scope, Place(scope.path, path))
        if isinstance(value, Pieces):
            raise AsrcError(_wrong_count(statement, value.parts))
        self._assign(targets[0], value, scope)

    def _assign(self, target: syntax.Target, value: Value, scope: Scope) -> None:
        name = target.name.name
        if isinstance(value, Missing):
            raise AsrcError()
        if name == IGNORED:
            return
        if name in scope.pending and not isinstance(value, Ref):
            raise AsrcError(
                diagnostic(
                    "E0107",
                    f"`{name}[t-1]` reads a stream, and `{name}` is {describe(value)}",
                    target.name.span,
                )
            )
        scope.names[name] = value
        if isinstance(value, Ref):
            self.builder.names.setdefault(f"{scope.path}.{name}", value.path)
            for path in scope.pending.pop(name, ()):
                self.builder.close(path, value.path)
            self.ascribe(value, target.type, scope)

    def _parts(self, value: Value, statement: syntax.Bind, scope: Scope) -> Sequence[Ref]:
        count = len(statement.targets)
        if isinstance(value, Several) and len(value.refs) == count:
            return value.refs
        if isinstance(value, Pieces) and value.parts == count:
            return self._cut(value, statement, scope)
        if isinstance(value, Several | Pieces):
            found = value.parts if isinstance(value, Pieces) else len(value.refs)
            raise AsrcError(_wrong_count(statement, found))
        raise AsrcError(
            diagnostic("E0107", f"{describe(value)} has one part", statement.value.span)
        )

    def _cut(self, value: Pieces, statement: syntax.Bind, scope: Scope) -> list[Ref]:
        found = []
        for index, target in enumerate(statement.targets):
            if target.name.name == IGNORED:
                found.append(value.source)  # never looked at
                continue
            place = Place(scope.path, f"{scope.path}.{target.name.name}")
            attrs = {"parts": value.parts, "index": index}
            found.append(self.node("slice", [value.source], attrs, place, value.span))
        return found

    def _out(self, statement: syntax.Out, scope: Scope, outs: dict[str, Ref]) -> None:
        name = statement.name.name if statement.name else ""
        if name in outs or (outs and ("" in outs or not name)):
            raise AsrcError(
                diagnostic(
                    "E0102",
                    "there is an `out` already",
                    statement.span,
                    help="name them: `out tokens = ...` and `out durations = ...`",
                )
            )
        direct = not isinstance(statement.value, syntax.Pipe)
        path = f"{scope.path}.{name or 'out'}" if direct or name else None
        ref = self.stream(statement.value, scope, Place(scope.path, path))
        self.ascribe(ref, statement.type, scope)
        outs[name] = ref


def contains_itself(block: syntax.Block) -> Diagnostic:
    return diagnostic(
        "E0105",
        f"block `{block.name.name}` contains itself",
        block.name.span,
        help="the language is total: repeat a fixed number of times with `repeat(n)`",
    )


def _wrong_count(statement: syntax.Bind, found: int) -> Diagnostic:
    count = len(statement.targets)
    return diagnostic(
        "E0207",
        f"{found} parts are bound to {count} name{'s' if count > 1 else ''}",
        statement.targets[0].name.span.to(statement.targets[-1].name.span),
    ).at(statement.value.span, f"{found} parts")
