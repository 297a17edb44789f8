"""The only two passes over the joint network's output: its normaliser, and its gradient.

A cell is the vector of class scores at one node of the lattice. Blocks of cells small enough for
the cache go through every operation of a pass before the next block is read, so that main memory
is read once in the first pass, and read and written once in the second. Padding is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements of a block: four megabytes for each core of a CPU; a GPU wants more work at once.
# Blocks of one megabyte are 2 % faster with one thread. With several, all wait for the last
# after every block, and where anything else runs on their cores that soon costs much more.
CORE_BLOCK = 2**20
GPU_BLOCK = 2**26

# Sums of exponentials in this range come from scores that neither overflow nor lose precision.
PLAIN = (1e-20, 1e30)

Key = tuple[int, slice, slice]


def largest_block(scores: Tensor) -> int:
    """Elements that a block may have: those of a frame, or more."""
    on_cpu = scores.device.type == "cpu"
    elements = CORE_BLOCK * torch.get_num_threads() if on_cpu else GPU_BLOCK
    return max(elements, scores.shape[2] * scores.shape[3])


@dataclass(frozen=True, eq=False)
class Cells:
    """Which cells of [B, T, S, V] count, and the two classes that matter in each of them.

    `classes` [B, T, S, 2] int64 holds blank and the next label; `frames` and `columns` say how
    many cells of each utterance count along T and along S.
    """

    classes: Tensor
    frames: tuple[int, ...]
    columns: tuple[int, ...]

    def blocks(self, scores: Tensor) -> Iterator[Key]:
        """Index keys of blocks that hold every cell that counts once."""
        elements, classes = largest_block(scores), scores.shape[-1]
        for b, (frames, columns) in enumerate(zip(self.frames, self.columns, strict=True)):
            step = elements // (columns * classes)
            for first in range(0, frames, step):
                yield b, slice(first, min(first + step, frames)), slice(columns)

    def padding(self) -> Iterator[Key]:
        """Index keys of all other cells."""
        for b, (frames, columns) in enumerate(zip(self.frames, self.columns, strict=True)):
            yield b, slice(frames, None), slice(None)
            yield b, slice(frames), slice(columns, None)


@dataclass(frozen=True, eq=False)
class Normaliser:
    """Sums of exponentials [B, T, S], or their logarithms where a plain sum would overflow."""

    value: Tensor
    logarithmic: bool

    def log(self) -> Tensor:
        value = self.value.double()
        return value if self.logarithmic else value.log()

    def softmax(self, scores: Tensor, key: Key, weight: Tensor, out: Tensor) -> None:
        """`out` = softmax(scores) * weight for one block; `weight` is float64."""
        value = self.value[key]
        if self.logarithmic:
            torch.sub(scores, value[..., None], out=out).exp_()
        else:
            torch.exp(scores, out=out)
            weight = weight / value
        out.mul_(weight.to(out.dtype)[..., None])


def working(scores: Tensor) -> torch.dtype:
    """What to compute in: float64 as it is, all else in float32."""
    return torch.float64 if scores.dtype == torch.float64 else torch.float32


def measure(scores: Tensor, cells: Cells) -> tuple[Tensor, Normaliser]:
    """The log-probabilities of blank and label [B, T, S, 2] in float64, and the normaliser.

    Both are finite and meaningless in padding.
    """
    picked, sums = _pass(scores, cells, logarithmic=False)
    plain = ((sums > PLAIN[0]) & (sums < PLAIN[1])).all()
    if not bool(plain):
        picked, sums = _pass(scores, cells, logarithmic=True)
    normaliser = Normaliser(sums, logarithmic=not bool(plain))
    return picked.double().sub_(normaliser.log()[..., None]), normaliser


def _pass(scores: Tensor, cells: Cells, *, logarithmic: bool) -> tuple[Tensor, Tensor]:
    kind, room = working(scores), _room(scores)
    picked = scores.new_zeros(cells.classes.shape, dtype=kind)
    sums = scores.new_ones(scores.shape[:3], dtype=kind)
    for key in cells.blocks(scores):
        source = scores[key]
        block = room[: source.numel()].view(source.shape)
        if logarithmic:
            sums[key] = torch.logsumexp(block.copy_(source), -1)
        elif kind == source.dtype:
            torch.sum(torch.exp(source, out=block), -1, out=sums[key])
        else:
            torch.sum(block.copy_(source).exp_(), -1, out=sums[key])
        picked[key] = source.gather(-1, cells.classes[key])
    return picked, sums


def _room(scores: Tensor) -> Tensor:
    """Memory for a block. To ask for it block by block may mean new pages each time."""
    return scores.new_empty(min(largest_block(scores), scores.numel()), dtype=working(scores))


def pick(scores: Tensor, cells: Cells) -> Tensor:
    """The scores of blank and label themselves, [B, T, S, 2] in float64, zero in padding."""
    picked = scores.new_zeros(cells.classes.shape, dtype=torch.float64)
    for key in cells.blocks(scores):
        picked[key] = scores[key].gather(-1, cells.classes[key]).double()
    return picked


def gradient(
    scores: Tensor, cells: Cells, occupancy: Tensor, normaliser: Normaliser | None, out: Tensor
) -> Tensor:
    """Writes the gradient of minus the log-probability into `out`, which may be `scores`.

    `occupancy` [B, T, S, 2] float64 is that of the blank and the label arcs, times the gradient
    of the loss. Without a normaliser the scores are log-probabilities.
    """
    for key in cells.padding():
        out[key] = 0.0
    through = occupancy.sum(-1)
    is_short = scores.dtype != working(scores)
    room = _room(scores)
    for key in cells.blocks(scores):
        source, block = scores[key], out[key]
        if is_short:
            source = block = room[: source.numel()].view(source.shape).copy_(source)
        if normaliser is None:
            block.zero_()
        else:
            normaliser.softmax(source, key, through[key], block)
        block.scatter_add_(-1, cells.classes[key], occupancy[key].neg().to(block.dtype))
        if is_short:
            out[key] = block
    return out
