"""Stages of a pipe, and the scopes that are syntax: repeat, residual, along, switch."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.nearest import did_you_mean
from ..compiler.ops import OPS
from ..compiler.types import Finite
from . import syntax
from .evaluator import Evaluator
from .expressions import SPECIAL
from .options import unknown_option
from .scope import Place, Scope
from .values import BlockInstance, Missing, OpInstance, Pieces, Ref, Several, Value, describe

MAX_REPEAT = 10_000


class Stages(Evaluator):
    def run_chain(
        self, stages: Sequence[syntax.Stage], incoming: Value, scope: Scope, place: Place
    ) -> Value:
        value = incoming
        for stage in stages:
            value = self._stage(stage, value, scope, place)
        return value

    def _stage(self, stage: syntax.Stage, incoming: Value, scope: Scope, place: Place) -> Value:
        name = str(stage.path)
        if name in SPECIAL and name != "split":
            source = self._one(incoming, place, stage)
            return self._special(name, stage, source, scope, place)
        if stage.body is not None:
            raise AsrcError(
                diagnostic(
                    "E0107",
                    f"`{name}` takes no `{{ }}`",
                    stage.path.span,
                    help=did_you_mean(name, SPECIAL),
                )
            )
        instance = self._instance(stage, scope, place)
        return self.apply(instance, [self._one(incoming, place, stage)], place, stage.span)

    def _one(self, value: Value, place: Place, stage: syntax.Stage) -> Ref:
        if isinstance(value, Several | Pieces):
            raise AsrcError(
                diagnostic(
                    "E0107",
                    f"several streams are piped into `{stage.path}`",
                    stage.span,
                    help="bind them first: `a, b = ...`",
                )
            )
        return self.as_stream(value, place, stage.span)

    def _instance(
        self, stage: syntax.Stage, scope: Scope, place: Place
    ) -> OpInstance | BlockInstance:
        found = scope.lookup(str(stage.path))
        if isinstance(found, Missing):
            raise AsrcError()
        if not isinstance(found, OpInstance | BlockInstance):
            found = self._new_instance(stage, scope, place)
        elif stage.args is not None:
            raise AsrcError(
                diagnostic("E0107", f"{describe(found)} takes no arguments", stage.path.span)
            )
        if isinstance(found, OpInstance | BlockInstance):
            return found
        raise AsrcError(
            diagnostic("E0107", f"`{stage.path}` takes nothing through the pipe", stage.path.span)
        )

    def _new_instance(self, stage: syntax.Stage, scope: Scope, place: Place) -> Value:
        name = str(stage.path)
        if scope.block(name) is None and name in OPS and OPS[name].inputs[1] is None:
            return self._open_operator(stage, scope, place)
        return self.named(stage.path, stage.args or (), scope, place)

    def _open_operator(self, stage: syntax.Stage, scope: Scope, place: Place) -> Value:
        """A variadic operator in a pipe: its stream arguments come after what is piped in."""
        args = stage.args or ()
        options = [a for a in args if a.name is not None]
        rest = [self.value(a.value, scope, place) for a in args if a.name is None]
        streams = tuple(v for v in rest if isinstance(v, Ref))
        plain = [a for a in args if a.name is None]
        numbers = [a for a, v in zip(plain, rest, strict=True) if not isinstance(v, Ref)]
        found = self.named(stage.path, [*numbers, *options], scope, place)
        if isinstance(found, OpInstance):
            found.inputs = streams
        return found

    # --- scopes ---

    def _special(
        self, name: str, stage: syntax.Stage, source: Ref, scope: Scope, place: Place
    ) -> Value:
        if stage.body is None:
            raise AsrcError(
                diagnostic(
                    "E0107",
                    f"`{name}` needs a body",
                    stage.path.span,
                    help=f"write `{name}(...) {{ ... }}`",
                )
            )
        if stage.otherwise is not None and name != "switch":
            raise AsrcError(
                diagnostic("E0107", "only `switch` has an `else`", stage.otherwise.span)
            )
        if name == "repeat":
            return self._repeat(stage, stage.body, source, scope, place)
        if name == "residual":
            return self._residual(stage, stage.body, source, scope, place)
        if name == "along":
            return self._along(stage, stage.body, source, scope, place)
        return self._switch(stage, stage.body, source, scope, place)

    def _only_arg(self, stage: syntax.Stage, example: str) -> syntax.Arg:
        args = stage.args or ()
        if len(args) == 1:
            return args[0]
        raise AsrcError(
            diagnostic(
                "E0106", f"`{stage.path}` takes one argument", stage.path.span, help=f"`{example}`"
            )
        )

    def _repeat(
        self, stage: syntax.Stage, body: syntax.Chain, source: Ref, scope: Scope, place: Place
    ) -> Value:
        variable, low, high = self._counts(stage, scope)
        if high - low >= MAX_REPEAT:
            raise AsrcError(diagnostic("E0006", f"more than {MAX_REPEAT} repetitions", stage.span))
        base = self._repeat_base(place)
        value: Value = source
        for index in range(low, high + 1):
            names = {variable: Fraction(index)} if variable else {}
            value = self._once(body, value, scope.nested(names), f"{base}.{index}", stage)
        return value

    def _repeat_base(self, place: Place) -> str:
        """`encoder.high` for the first repeat of a pipe, `encoder.high.repeat_2` for the next."""
        claimed = self.builder.claim(f"{place.prefix}.repeat")
        return place.prefix if claimed == f"{place.prefix}.repeat" else claimed

    def _once(
        self, body: syntax.Chain, value: Value, scope: Scope, path: str, stage: syntax.Stage
    ) -> Value:
        """One repetition. A body of one stage takes the repetition's own path."""
        single = len(body.stages) == 1 and body.stages[0].body is None
        if not single:
            self.builder.scope(path, "repeat", "repeat", stage.span)
        return self.run_chain(body.stages, value, scope, Place(path, path if single else None))

    def _counts(self, stage: syntax.Stage, scope: Scope) -> tuple[str | None, int, int]:
        arg = self._only_arg(stage, "repeat(4) { ... }")
        if arg.op == "in" and arg.name is not None and isinstance(arg.value, syntax.Range):
            low = self.whole(arg.value.low, scope, "the first index")
            high = self.whole(arg.value.high, scope, "the last index")
            return arg.name.name, low, high
        if arg.name is not None:
            raise unknown_option("repeat", arg.name, [])
        return None, 1, self.whole(arg.value, scope, "the number of repetitions")

    def _residual(
        self, stage: syntax.Stage, body: syntax.Chain, source: Ref, scope: Scope, place: Place
    ) -> Ref:
        scale = Fraction(1)
        if stage.args:
            scale = self.number(self._only_arg(stage, "residual(0.5)").value, scope, "the scale")
        found = self.run_chain(body.stages, source, scope, place)
        branch = self.as_stream(found, place, stage.span)
        if scale != 1:
            factor = self.as_stream(scale, place, stage.span)
            branch = self.node("mul", [branch, factor], {}, place, stage.span, "scaled")
        return self.node("add", [source, branch], {}, place, stage.span, "residual")

    def _along(
        self, stage: syntax.Stage, body: syntax.Chain, source: Ref, scope: Scope, place: Place
    ) -> Ref:
        axis, attrs = self._axis(stage, scope)
        if attrs:
            source = self.node("unfold", [source], {"axis": axis, **attrs}, place, stage.span)
        self._check_axis(stage, source, axis)
        found = self.run_chain(body.stages, source, scope, place)
        result = self.as_stream(found, place, stage.span)
        kind = self.type_of(result)
        if kind is not None and isinstance(kind.clock, Finite) and kind.clock.axis == axis:
            return self.node("collect", [result], {}, place, stage.span)
        return result

    def _axis(self, stage: syntax.Stage, scope: Scope) -> tuple[str, dict[str, int]]:
        args = stage.args or ()
        if not args or args[0].name is not None or not isinstance(args[0].value, syntax.Name):
            raise AsrcError(
                diagnostic(
                    "E0106",
                    "`along` needs the name of an axis",
                    stage.path.span,
                    help="`along(chars) { ... }` or `along(f, size=24, step=12) { ... }`",
                )
            )
        sizes: dict[str, int] = {}
        for arg in args[1:]:
            if arg.name is None or arg.name.name not in ("size", "step"):
                name = arg.name or syntax.Ident(arg.span, arg.span.text)
                raise unknown_option("along", name, ["size", "step"])
            sizes[arg.name.name] = self.whole(arg.value, scope, f"`{arg.name.name}`", 1)
        if sizes and "size" not in sizes:
            raise AsrcError(diagnostic("E0106", "`along` needs `size=` too", stage.span))
        if sizes:
            sizes.setdefault("step", sizes["size"])
        return args[0].value.name, sizes

    def _check_axis(self, stage: syntax.Stage, source: Ref, axis: str) -> None:
        kind = self.type_of(source)
        if kind is None or (isinstance(kind.clock, Finite) and kind.clock.axis == axis):
            return
        help = f"`along({axis}, size=..., step=...)` makes an axis of its bands"
        if isinstance(kind.clock, Finite):
            help = f"it runs along `{kind.clock.axis}`"
        message = f"{kind} does not run along `{axis}`"
        raise AsrcError(diagnostic("E0208", message, stage.span, help=help))

    def _switch(
        self, stage: syntax.Stage, body: syntax.Chain, source: Ref, scope: Scope, place: Place
    ) -> Ref:
        arg = self._only_arg(stage, "switch(g) { ... } else { ... }")
        flag = self.stream(arg.value, scope, place)
        base = self.builder.claim(f"{place.prefix}.switch")
        branches = [
            self._branch(chain, source, scope, Place(f"{base}.{side}"))
            for side, chain in (("on", body), ("off", stage.otherwise))
        ]
        inputs = (flag.path, *(b.path for b in branches))
        return Ref(self.builder.add(base, "switch", inputs, {}, stage.span))

    def _branch(self, chain: syntax.Chain | None, source: Ref, scope: Scope, place: Place) -> Ref:
        """Without an `else`, what came in passes unchanged."""
        if chain is None:
            return source
        return self.as_stream(self.run_chain(chain.stages, source, scope, place), place, chain.span)
