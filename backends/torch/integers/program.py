"""An integer program in PyTorch, on a batch and with gradients: one pass, or step after step.

Forward, every tensor holds the codes that the executor (`backends/nna/executor.py`) would have.
Backward, gradients of real numbers go through the operators in reverse; through recurrences, by
back-propagation in time over the codes that were kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ...nna.program import Program
from .exact import exactly
from .filters import Conv
from .fused import Fused, Stage, staged
from .kernel import add, code_of
from .learning import Learned, ends
from .rounding import codes_of, reals_of

Values: TypeAlias = dict[str, Tensor]
Later: TypeAlias = dict[str, list[tuple[Tensor, Tensor]]]
"""By the output of an operator: the gradient and the input's codes of each step."""


@dataclass(frozen=True)
class Bound:
    """A constant of a program that a parameter gives: its codes, and the gradient's way back."""

    name: str
    codes: Callable[[Tensor], Tensor]
    grad: Callable[[Tensor], Tensor]


class Engine:
    """A program whose `bound` constants are given anew each time; the others are its own.

    The ranges of `ranged` tensors learn.
    """

    def __init__(
        self, program: Program, bound: Sequence[str], ranged: Collection[str] = ()
    ) -> None:
        self.program = program
        self.ranged = frozenset(ranged)
        self.stages = staged(program, self.ranged)
        self.constants = {
            name: torch.from_numpy(tensor.data.astype("int32"))
            for name, tensor in program.tensors.items()
            if tensor.data is not None and name not in bound
        }
        self.formats = {name: code_of(tensor) for name, tensor in program.tensors.items()}
        self.inputs = [name for name in program.inputs if name not in program.states]

    def run(self, values: Values) -> None:
        """Fills in what the operators make of what is there."""
        for stage in self.stages:
            values[stage.output] = stage.kernel.run([values[name] for name in stage.inputs])

    def back(self, values: Values, grads: dict[str, Tensor], later: Later | None = None) -> None:
        """Fills in gradients of everything that the outputs' gradients depend on.

        Those of weights wait in `later`, where there is one, for `settle`.
        """
        for stage in reversed(self.stages):
            grad, kernel = grads.pop(stage.output, None), stage.kernel
            if grad is None:
                continue
            codes, out = [values[name] for name in stage.inputs], values[stage.output]
            add(grads, self._ends(stage, grad, codes, out))
            if later is not None and isinstance(kernel, Conv):
                grad = kernel.held(grad, out)
                later.setdefault(stage.output, []).append((grad, codes[0]))
                add(grads, [(stage.inputs[0], kernel.by_input(grad, codes))])
            else:
                add(grads, zip(stage.inputs, kernel.back(grad, codes, out), strict=True))

    def _ends(
        self, stage: Stage, grad: Tensor, codes: Sequence[Tensor], out: Tensor
    ) -> Iterable[tuple[str, Tensor]]:
        """Gradients of the ends of ranges that learn, of what is within the stage as well."""
        if isinstance(stage.kernel, Fused):
            yield from stage.kernel.ends(grad, codes)
        if stage.output in self.ranged:
            limits = self.program.tensors[stage.output].limits
            yield from ends(stage.output, grad, out, limits)

    def settle(self, values: Values, grads: dict[str, Tensor], later: Later) -> None:
        """Gradients of weights, of all steps at once."""
        for stage in self.stages:
            if stage.output in later and isinstance(stage.kernel, Conv):
                grad, x = (torch.cat(parts) for parts in zip(*later[stage.output], strict=True))
                codes = [x, *(values[name] for name in stage.inputs[1:])]
                found = stage.kernel.by_weight(grad, codes)
                add(grads, zip(stage.inputs[1:], found, strict=True))


@dataclass(frozen=True)
class Call:
    """What a function of autograd needs beside tensors."""

    engine: Engine
    bound: Sequence[Bound]
    outputs: Sequence[str]
    learned: Sequence[Learned] = ()

    @cached_property
    def summed(self) -> list[str]:
        """What is added up over steps."""
        ends = (name for one in self.learned for name in one.names)
        return [*(one.name for one in self.bound), *ends]


def once(call: Call, inputs: Sequence[Tensor], params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Outputs of one pass: `[N, H, W, C]` real numbers from such, and from parameters."""
    return _Once.apply(call, *inputs, *params, *(one.value for one in call.learned))  # type: ignore[no-any-return,no-untyped-call]


class _Once(torch.autograd.Function):
    @staticmethod
    @exactly
    def forward(ctx: Any, call: Call, *given: Tensor) -> tuple[Tensor, ...]:
        engine = call.engine
        count = len(engine.inputs)
        values = start(call, given[count : count + len(call.bound)], given[0])
        for name, x in zip(engine.inputs, given[:count], strict=True):
            values[name] = codes_of(x, engine.formats[name])
        engine.run(values)
        ctx.call = call
        ctx.names = list(values)
        ctx.save_for_backward(*values.values())
        return tuple(reals_of(values[n], engine.formats[n]) for n in call.outputs)

    @staticmethod
    @exactly
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        call: Call = ctx.call
        values = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        found: dict[str, Tensor] = {}
        add(found, zip(call.outputs, grads, strict=True))
        call.engine.back(values, found)
        by_input = (found.get(name) for name in call.engine.inputs)
        return None, *by_input, *by_params(call, found)


def start(call: Call, params: Sequence[Tensor], like: Tensor) -> Values:
    """Constants, the bound ones by their parameters."""
    own = {name: x.to(like.device) for name, x in call.engine.constants.items()}
    bound = zip(call.bound, params, strict=True)
    values = {**own, **{one.name: one.codes(param) for one, param in bound}}
    biases = {
        stage.inputs[2]: stage.kernel.folded(*(values[name] for name in stage.inputs[1:]))
        for stage in call.engine.stages
        if isinstance(stage.kernel, Conv)
    }
    return values | biases


def by_params(call: Call, found: Mapping[str, Tensor]) -> list[Tensor | None]:
    """Gradients of the parameters, then of what learns beside them."""
    bound = (one.grad(found[one.name]) if one.name in found else None for one in call.bound)
    return [*bound, *(one.grad(found) for one in call.learned)]


def steps(
    call: Call, inputs: Sequence[Tensor], states: Sequence[Tensor], params: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Outputs `[N, T, H, W, C]` of T steps, from inputs of that shape, then the last states.

    States are `[N, H, W, C]`, in the order of the program's.
    """
    given = (*inputs, *states, *params, *(one.value for one in call.learned))
    return _Steps.apply(call, len(inputs), *given)  # type: ignore[no-any-return,no-untyped-call]


class _Steps(torch.autograd.Function):
    @staticmethod
    @exactly
    def forward(ctx: Any, call: Call, count: int, *given: Tensor) -> tuple[Tensor, ...]:
        engine, states = call.engine, list(call.engine.program.states)
        parts = count, count + len(states)
        inputs = [
            codes_of(x, engine.formats[name])
            for name, x in zip(engine.inputs, given[: parts[0]], strict=True)
        ]
        held = {
            name: codes_of(x, engine.formats[name])
            for name, x in zip(states, given[parts[0] : parts[1]], strict=True)
        }
        constants = start(call, given[parts[1] : parts[1] + len(call.bound)], given[0])
        kept = []
        for frame in zip(*(x.unbind(1) for x in inputs), strict=True):
            values = {**constants, **held, **dict(zip(engine.inputs, frame, strict=True))}
            engine.run(values)
            held = {name: values[after] for name, after in engine.program.states.items()}
            kept.append({name: x for name, x in values.items() if name not in constants})
        ctx.call, ctx.constants, ctx.kept = call, constants, kept
        outputs = (
            reals_of(torch.stack([values[n] for values in kept], 1), engine.formats[n])
            for n in call.outputs
        )
        return *outputs, *(reals_of(held[name], engine.formats[name]) for name in states)

    @staticmethod
    @exactly
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        call: Call = ctx.call
        engine, program = call.engine, call.engine.program
        count = len(call.outputs)
        late = dict(zip(program.states, grads[count:], strict=True))
        total: dict[str, Tensor] = {}
        later: Later = {}
        by_input: list[list[Tensor]] = [[] for _ in engine.inputs]
        for t in range(len(ctx.kept) - 1, -1, -1):
            found: dict[str, Tensor] = {}
            add(found, ((name, grads[n][:, t]) for n, name in enumerate(call.outputs)))
            add(found, ((after, late[name]) for name, after in program.states.items()))
            engine.back({**ctx.constants, **ctx.kept[t]}, found, later)
            late = {name: found[name] for name in program.states}
            add(total, ((name, found.get(name)) for name in call.summed))
            for place, name in enumerate(engine.inputs):
                by_input[place].append(found[name])
        engine.settle(ctx.constants, total, later)
        ctx.kept = ctx.constants = None
        back = (torch.stack(one[::-1], 1) for one in by_input)
        return None, None, *back, *late.values(), *by_params(call, total)
