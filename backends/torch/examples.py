"""Random inputs for a model: batches of utterances of given lengths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from zlib import crc32

import torch
from torch import Tensor

from ...compiler.facts import Facts
from ...compiler.reference import index_rank
from ...compiler.types import Static, Type, base_clock, frame_period
from .emit import word
from .step import inner_shape


@dataclass(frozen=True, slots=True)
class Length:
    """How long an utterance is: in seconds on the frames' clocks, in labels on theirs."""

    seconds: Fraction
    labels: int

    def frames(self, kind: Type) -> int:
        period = frame_period(kind.clock)
        return self.labels if period is None else int(self.seconds / period)


def random_inputs(
    facts: Facts, lengths: Sequence[Length], seed: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Every input by name, as `Lowered` takes them: `[B, *index, *dims]`, with lengths and masks.

    An utterance's numbers follow from the seed, its place and the name of the input. Padding is
    zero. Of a catalogue some entries are there, at least one.
    """
    found: dict[str, Tensor] = {}
    for node in facts.graph:
        if node.op == "input":
            _add(found, word(node.path), facts.types[node.path], lengths, seed, dtype)
    return found


def _add(
    found: dict[str, Tensor],
    name: str,
    kind: Type,
    lengths: Sequence[Length],
    seed: int,
    dtype: torch.dtype,
) -> None:
    sources = [_source(seed, name, row) for row in range(len(lengths))]
    if isinstance(base_clock(kind.clock), Static):
        shape = (*inner_shape(kind), *kind.dims)
        found[name] = torch.stack([_draw(kind, shape, s, dtype) for s in sources])
        if index_rank(kind.clock):
            found[f"{name}_there"] = torch.stack([_entries(inner_shape(kind), s) for s in sources])
        return
    counts = [length.frames(kind) for length in lengths]
    shapes = [(n, *inner_shape(kind), *kind.dims) for n in counts]
    rows = [_draw(kind, shape, s, dtype) for shape, s in zip(shapes, sources, strict=True)]
    found[name] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    found[f"{name}_length"] = torch.tensor(counts)


def _source(seed: int, name: str, row: int) -> torch.Generator:
    return torch.Generator().manual_seed(crc32(f"{name} {row}".encode()) * 4096 + seed)


def _draw(
    kind: Type, shape: tuple[int, ...], source: torch.Generator, dtype: torch.dtype
) -> Tensor:
    match kind.elem:
        case "token":
            return torch.randint(kind.vocab or 1, shape, generator=source)
        case "flag":
            return torch.randint(2, shape, generator=source).to(dtype)
    return torch.randn(shape, generator=source, dtype=torch.float64).to(dtype)


def _entries(sizes: tuple[int, ...], source: torch.Generator) -> Tensor:
    """Some of the first entries, each with some of its first steps: `[*sizes]`."""
    there = torch.ones((), dtype=torch.bool)
    for size in sizes:
        counts = torch.randint(1, size + 1, there.shape, generator=source)
        there = there.unsqueeze(-1) & (torch.arange(size) < counts.unsqueeze(-1))
    return there
