"""Operators in a row, each a table, as one: of 16 bits of input at most."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
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
from .learning import names_of_ends
from .pointwise import TABLED, Table, bits, looked_up, place_of


class Fused:
    """A table of what several operators make of all codes that their roots may have.

    Codes and slopes are what the operators themselves give for all codes there are.
    """

    def __init__(
        self,
        roots: Sequence[Format],
        names: Sequence[str],
        stages: Sequence[Stage],
        ranged: Collection[str] = (),
    ) -> None:
        self.limits = [root.limits for root in roots]
        grids = [torch.arange(low, high + 1, dtype=torch.int32) for low, high in self.limits]
        mesh = torch.meshgrid(*grids, indexing="ij")
        values = {n: x.reshape(-1, 1, 1, 1) for n, x in zip(names, mesh, strict=True)}
        for stage in stages:
            values[stage.output] = stage.kernel.run([values[name] for name in stage.inputs])
        output = stages[-1].output
        self.table = values[output].flatten()
        grads = {output: torch.ones(values[output].shape)}
        self.edges: dict[str, tuple[Tensor, Tensor]] = {}
        for stage in reversed(stages):
            if stage.output in grads:
                if stage.output in ranged and stage.output != output:
                    self._note_edges(stage, grads[stage.output], values[stage.output])
                codes = [values[name] for name in stage.inputs]
                found = stage.kernel.back(grads.pop(stage.output), codes, values[stage.output])
                add(grads, zip(stage.inputs, found, strict=True))
        self.slopes = [grads[name].flatten() for name in names]

    def _note_edges(self, stage: Stage, slope: Tensor, codes: Tensor) -> None:
        assert isinstance(stage.kernel, Kernel)
        low, high = stage.kernel.limits
        edges = [(slope * (codes == edge)).flatten() for edge in (low, high)]
        self.edges[stage.output] = edges[0], edges[1]

    def ends(self, grad: Tensor, codes: Codes) -> Iterable[tuple[str, Tensor]]:
        """Gradients of the ends of ranges within; see `learning.ends`."""
        for name, edges in self.edges.items():
            index = place_of(codes, self.limits)
            found = ((grad * looked_up(edge, index)).sum() for edge in edges)
            yield from zip(names_of_ends(name), found, strict=True)

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


def staged(program: Program, ranged: Collection[str] = ()) -> list[Stage]:
    """A program's operators, those fused that can be; the ranges of some tensors learn."""
    return fused(program, [_stage(program, op) for op in program.ops], ranged)


def _stage(program: Program, op: Op) -> Stage:
    tensors, output = program.of(op)
    site = Site(op.kind, tensors, output, recipe_of(program, op), op.options)
    return Stage(op.output, op.inputs, KERNELS[op.kind](site))


def fused(program: Program, stages: Sequence[Stage], ranged: Collection[str] = ()) -> list[Stage]:
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
                stage = Stage(stage.output, roots, Fused(tensors, roots, region, ranged))
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
