"""What a step of a program costs on an accelerator of which only rates are known.

An operator begins after a set-up, then makes its products while its weights stream in, whichever
takes longer; operators that make no products give so many results a cycle. Weights stream at the
width of an index into their values, these beside them. Values that are alive at once are the
memory; flash holds the stream of weights, and what else it would hold is not counted. Operators
that the machine has not are counted by kind, their time and their weights are in no figure. This is
arithmetic, not a measurement and no compiler's word.
"""

from __future__ import annotations

from collections import Counter
from math import ceil, log2, prod

import numpy as np

from ...compiler.diagnostics import AsrcError, diagnostic
from .machine import Estimate, Machine, Plain, Rates
from .program import Op, Program, Tensor

_SAME_BYTES = frozenset({"reshape"})
"""Operators whose output is the input's memory under another shape."""


def estimated(program: Program, on: Machine) -> Estimate:
    """One step of a program.

    Raises AsrcError E0704 where it needs more memory than there is, ValueError for a machine whose
    rates are not known.
    """
    if not isinstance(on.how, Plain):
        raise ValueError(f"{on.name} has a compiler that says more")
    how, sram = on.how, alive(program)
    if sram > how.sram:
        message = f"`{program.name}` keeps {sram:,} bytes at once, {on.name} has {how.sram:,}"
        help = "shorter chunks and less left context need less"
        raise AsrcError(diagnostic("E0704", message, help=help))
    here = [op for op in program.ops if _takes(how, program, op)]
    elsewhere = [op for op in program.ops if not _takes(how, program, op)]
    weights = {w.name: w for op in here if (w := program.weight(op)) is not None}
    streamed = sum(map(stream, weights.values()))
    return Estimate(
        seconds=sum(_cycles(how.rates, program, op) for op in here) / how.rates.clock,
        sram=sram,
        stream=streamed,
        weights=sum(prod(tensor.shape) for tensor in weights.values()),
        operators=len(here),
        elsewhere=len(elsewhere),
        compiling=0.0,
        by="asrc",
        flash=streamed,
        dram=0,
        lacking=dict(Counter(_kind(program, op) for op in elsewhere)),
    )


def products(program: Program, op: Op) -> int:
    """Multiply-accumulates of codes, zeros between groups among them."""
    inputs, output = program.of(op)
    if op.kind == "conv":
        return prod(output.shape) * prod(inputs[1].shape[1:])
    if op.kind == "depthwise":
        return prod(output.shape) * prod(inputs[1].shape[1:3])
    return prod(output.shape) * inputs[0].shape[-1] if op.kind == "matmul" else 0


def stream(weight: Tensor) -> int:
    """Bytes of a weight's codes as they are read: indices and the values that these stand for, or
    the codes themselves where that is less."""
    values = len(np.unique(np.asarray(weight.data)))
    count = prod(weight.shape)
    return min(ceil(count * max(1, ceil(log2(values))) / 8) + values, count)


def alive(program: Program) -> int:
    """The most bytes of inputs, outputs, states and values in between that are needed at once, by
    the order of the operators."""
    home, end = _homes(program), len(program.ops)
    first = dict.fromkeys(program.inputs, -1)
    last = dict(first)
    for index, op in enumerate(program.ops):
        first.setdefault(home[op.output], index)
        last |= {home[name]: index for name in (*op.inputs, op.output) if name in home}
    last |= {home[name]: end for name in (*program.outputs, *program.states.values())}
    sizes = {name: program.tensors[name].bytes for name in first}
    return max(
        sum(sizes[name] for name in first if first[name] <= now <= last[name])
        for now in range(-1, end + 1)
    )


def _homes(program: Program) -> dict[str, str]:
    """Whose memory each value lies in."""
    home = {name: name for name in program.inputs}
    for op in program.ops:
        home[op.output] = home.get(op.inputs[0], op.output) if op.kind in _SAME_BYTES else op.output
    return home


def _takes(how: Plain, program: Program, op: Op) -> bool:
    return op.kind in how.operators.get(program.tensors[op.output].dtype, ())


def _kind(program: Program, op: Op) -> str:
    """As a description has it: `tanh on int8`, by the format of what is made."""
    return f"{op.kind} on {program.tensors[op.output].dtype}"


def _cycles(rates: Rates, program: Program, op: Op) -> float:
    _, output = program.of(op)
    made, weight = products(program, op), program.weight(op)
    if not made:
        free = op.kind in _SAME_BYTES
        return 0.0 if free else rates.setup + prod(output.shape) / rates.elements
    read = 0 if weight is None else stream(weight)
    return rates.setup + max(made / rates.products, read / rates.weights)
