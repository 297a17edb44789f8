"""Weights of 1 to 8 bits in words of 32: what a kernel reads is as long as its bits say.

A row's codes are dealt to 16 lanes, code `k` to lane `k % 16`; each lane is a stream of bits, the
lowest first, cut into words. Words of the same place of all lanes lie side by side. So a tile is
read as whole words, and the code at a place is the same shift in every lane, whatever the bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from ..torch.integers.rounding import codes_and_ends

LANES = 16


@dataclass(frozen=True)
class Packed:
    """A weight `[rows, columns]` as indices into a codebook, in bits.

    words  int32 `[rows, words a lane, 16]`
    book   float32 `[2**bits]`: what an index stands for, on the grid of a row's scale
    scale  float32 `[rows]`
    """

    words: Tensor
    book: Tensor
    scale: Tensor
    bits: int
    columns: int

    @property
    def rows(self) -> int:
        return len(self.words)

    @property
    def nbytes(self) -> int:
        """Bytes that one product has to read of it."""
        return sum(x.numel() * x.element_size() for x in (self.words, self.book, self.scale))

    def to(self, device: torch.device) -> Packed:
        words, book, scale = (x.to(device) for x in (self.words, self.book, self.scale))
        return Packed(words, book, scale, self.bits, self.columns)

    def indices(self) -> Tensor:
        """int64 `[rows, columns]`."""
        places = torch.arange(-(-self.columns // LANES), device=self.words.device)
        first, shift = places * self.bits // 32, places * self.bits % 32
        words = self.words.long() & 0xFFFFFFFF
        padded = torch.cat([words, torch.zeros_like(words[:, :1])], 1)
        low = padded[:, first] >> shift[:, None]
        high = padded[:, first + 1] << (32 - shift)[:, None]
        found = (low | high) & ((1 << self.bits) - 1)
        return found.flatten(1)[:, : self.columns]

    def dense(self) -> Tensor:
        """float32 `[rows, columns]`: the numbers that it stands for."""
        return self.book[self.indices()] * self.scale[:, None]


Weight: TypeAlias = Tensor | Packed
"""`[rows, columns]`, in float or packed."""


def shape_of(weight: Weight) -> tuple[int, int]:
    if isinstance(weight, Packed):
        return weight.rows, weight.columns
    rows, columns = weight.shape
    return rows, columns


def bytes_of(weight: Weight) -> int:
    """That one product has to read."""
    return weight.nbytes if isinstance(weight, Packed) else weight.numel() * weight.element_size()


def dense_of(weight: Weight) -> Tensor:
    """float32 where it is packed."""
    return weight.dense() if isinstance(weight, Packed) else weight


def packed(weight: Tensor, scale: Tensor, book: Tensor | None) -> Packed:
    """Weights `[rows, columns]` at the values of a codebook, `scale` one or one a row.

    Without a codebook: the grid of int8 from -127 to 127 (index 0 is -128, which none has).
    """
    if book is None:
        book = torch.arange(-128.0, 128.0, device=weight.device)
    book, ends = codes_and_ends(book)
    values = weight.float() / scale[:, None]
    indices = torch.bucketize(values, ends)
    if len(book) == 256:
        indices = values.round().clamp(-127, 127).long() + 128
    bits = (len(book) - 1).bit_length()
    rows = scale.expand(len(weight)).float().contiguous()
    return Packed(_words(indices, bits), book.float(), rows, bits, weight.shape[1])


def _words(indices: Tensor, bits: int) -> Tensor:
    """int32 `[rows, words a lane, 16]`."""
    rows, columns = indices.shape
    places = -(-columns // LANES)
    spread = indices.new_zeros(rows, places * LANES)
    spread[:, :columns] = indices
    spread = spread.view(rows, places, LANES)
    words = indices.new_zeros(rows, -(-places * bits // 32), LANES)
    for place in range(places):
        for bit in range(bits):
            word, at = divmod(place * bits + bit, 32)
            words[:, word] |= (spread[:, place] >> bit & 1) << at
    signed = torch.where(words >= 1 << 31, words - (1 << 32), words)
    return signed.to(torch.int32)
