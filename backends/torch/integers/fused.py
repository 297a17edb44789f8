"""Operators in a row, each a table, as one: of 16 bits of input at most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor

from ...nna.kernels import Site
from ...nna.program import Op, Program
from ...nna.program import Tensor as Format
from ...nna.recipes import recipe_of
from .kernel import Codes, Grads, Kernel, add, narrowed
from .kernels import KERNELS
from .pointwise import TABLED, Table, bits, looked_up, place_of


class Fused:
    """A table of what several operators make of all codes that their roots may have.

    Codes and slopes are what the operators themselves give for all codes there are.
    """

    def __init__(self, roots: Sequence[Format], names: Sequence[str], stages: Sequence[Stage]):
        self.limits = [root.limits for root in roots]
        grids = [torch.arange(low, high + 1, dtype=torch.int32) for low, high in self.limits]
        mesh = torch.meshgrid(*grids, indexing="ij")
        values = {n: x.reshape(-1, 1, 1, 1) for n, x in zip(names, mesh, strict=True)}
        for stage in stages:
            values[stage.output] = stage.kernel.run([values[name] for name in stage.inputs])
        output = stages[-1].output
        self.table = values[output].flatten()
        grads = {output: torch.ones(values[output].shape)}
        for stage in reversed(stages):
            if stage.output in grads:
                codes = [values[name] for name in stage.inputs]
                found = stage.kernel.back(grads.pop(stage.output), codes, values[stage.output])
                add(grads, zip(stage.inputs, found, strict=True))
        self.slopes = [grads[name].flatten() for name in names]

    def run(self, codes: Codes) -> Tensor:
        return looked_up(self.table, place_of(codes, self.limits))

    def back(self, grad: Tensor, codes: Codes, out: Tensor) -> Grads:
        index = place_of(codes, self.limits)
        slopes = (grad * looked_up(slope, index) for slope in self.slopes)
        return [narrowed(slope, x) for slope, x in zip(slopes, codes, strict=True)]


@dataclass(frozen=True)
class Stage:
    """An operator of a program, or several fused ones: what it reads by name, what it makes."""

    output: str
    inputs: tuple[str, ...]
    kernel: Kernel | Fused


def staged(program: Program) -> list[Stage]:
    """A program's operators, those that can be fused."""
    return fused(program, [_stage(program, op) for op in program.ops])


def _stage(program: Program, op: Op) -> Stage:
    tensors, output = program.of(op)
    site = Site(op.kind, tensors, output, recipe_of(program, op), op.options)
    return Stage(op.output, op.inputs, KERNELS[op.kind](site))


def fused(program: Program, stages: Sequence[Stage]) -> list[Stage]:
    """The stages that are needed, those that are tables of few bits together as one each."""
    made: dict[str, tuple[tuple[str, ...], list[Stage]]] = {}
    for stage in stages:
        if isinstance(stage.kernel, Table):
            made[stage.output] = _joined(program, stage, made)
    needed = {*program.outputs, *program.states.values()}
    kept = []
    for stage in reversed(stages):
        if stage.output in needed:
            roots, region = made.get(stage.output, (stage.inputs, []))
            if len(region) > 1:
                tensors = [program.tensors[name] for name in roots]
                stage = Stage(stage.output, roots, Fused(tensors, roots, region))
            needed |= {*stage.inputs}
            kept.append(stage)
    return kept[::-1]


def _joined(
    program: Program, stage: Stage, made: Mapping[str, tuple[tuple[str, ...], list[Stage]]]
) -> tuple[tuple[str, ...], list[Stage]]:
    """What a table reads in the end, and all stages on the way, as far as the bits allow."""
    for opened in product((True, False), repeat=len(stage.inputs)):
        parts = [
            made[name] if is_open and name in made else ((name,), [])
            for name, is_open in zip(stage.inputs, opened, strict=True)
        ]
        roots = tuple(dict.fromkeys(root for found, _ in parts for root in found))
        if bits(program.tensors[root] for root in roots) <= TABLED:
            before = {one.output: one for _, region in parts for one in region}
            return roots, [*before.values(), stage]
    raise AssertionError(stage.output)
