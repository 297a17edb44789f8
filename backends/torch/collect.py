"""What a run of steps made, as one block an output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .stepmodule import Made
from .streams import Block


@dataclass
class Collector:
    """Blocks of steps in which not every stream moved; `age` is that of the streams before.

    `nothing` holds an output without frames, `[B, 0, *dims]`, by name.
    """

    outputs: Sequence[Made]
    age: Tensor
    nothing: Mapping[str, Tensor]
    steps: list[tuple[Mapping[str, Block], list[bool]]] = field(default_factory=list)

    def add(self, blocks: Mapping[str, Block], moving: list[bool]) -> None:
        self.steps.append((blocks, moving))

    def blocks(self) -> dict[str, Block]:
        """By output: each stream's frames from the left on, in order."""
        return {made.name: self._block(made) for made in self.outputs}

    def _block(self, made: Made) -> Block:
        first = made.start + self.age * made.count
        found = [(blocks[made.name], moving) for blocks, moving in self.steps]
        if not found:
            empty = self.nothing[made.name]
            return Block(empty, empty.new_zeros(empty.shape[:2], dtype=torch.bool), first)
        data = torch.cat([block.data for block, _ in found], 1)
        there = torch.cat([block.there for block, _ in found], 1)
        if not all(all(moving) for _, moving in found):
            data, there = self._packed(data, there, found)
        return Block(data, there, first)

    def _packed(
        self, data: Tensor, there: Tensor, found: list[tuple[Block, list[bool]]]
    ) -> tuple[Tensor, Tensor]:
        """Without the steps in which a stream stood still."""
        moved = torch.cat(
            [
                torch.tensor(moving).unsqueeze(1).expand(-1, block.data.shape[1])
                for block, moving in found
            ],
            1,
        )
        order = (~moved).int().argsort(dim=1, stable=True)[:, : int(moved.sum(1).max())]
        order = order.to(data.device)
        wide = order.reshape(*order.shape, *(1,) * (data.ndim - 2))
        return data.gather(1, wide.expand(*order.shape, *data.shape[2:])), there.gather(1, order)
