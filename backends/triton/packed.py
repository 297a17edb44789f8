"""Weights of 1 to 8 bits in words of 32: what a kernel reads is as long as its bits say.

A row's codes come in groups of 8 that follow each other. Of fewer than 8 bits, a code's index into
the codebook is cut into fields of 4, 2 and 1 bits, of as few as can be, the lowest first; fields of
a kind are a plane. A word of a plane has the fields of 1, 2 or 4 groups, 4 groups apart: nibble `i`
is of the groups' places `i`, and the first group's field is the lowest in it. So 8 fields come out
of a word by one shift and one mask, as nibbles, whatever the bits: which is how a GPU's byte
permutation takes its selectors (`kernels/codes.py`). And a thread that reads a vector of 4 words
has 4 groups that follow each other. Codes of 8 bits are bytes, in two planes of the first and the
last 4 of each group, and have no codebook.

A plane of a row is filled up to whole vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from ..torch.integers.rounding import codes_and_ends

GROUP = 8
VECTOR = 4
"""Words that a thread reads at once."""


def fields_of(bits: int) -> tuple[int, ...]:
    """Widths of an index's fields, the lowest first; of 8 bits, of the halves of a group."""
    return tuple(width for width in (4, 2, 1) if bits & width) or (4, 4)


@dataclass(frozen=True)
class Packed:
    """A weight `[rows, columns]` as codes of int8 on the grid of a row's scale, in bits.

    words  int32 `[rows, words]`: plane after plane
    book   int32 `[vectors]`: the codes there are, rising, four in a word; none of 8 bits
    scale  float32 `[rows]`

    `products` is the type in which tensor cores multiply it with values in float32.
    """

    words: Tensor
    book: Tensor
    scale: Tensor
    bits: int
    columns: int
    products: torch.dtype = torch.float32

    @property
    def rows(self) -> int:
        return len(self.words)

    @property
    def nbytes(self) -> int:
        """Bytes that one product has to read of it."""
        return sum(x.numel() * x.element_size() for x in (self.words, self.book, self.scale))

    def to(self, device: torch.device) -> Packed:
        words, book, scale = (x.to(device) for x in (self.words, self.book, self.scale))
        return replace(self, words=words, book=book, scale=scale)

    def codes(self) -> Tensor:
        """int8 `[rows, columns]`."""
        if self.bits == 8:
            halves = self.words.view(torch.int8).view(self.rows, 2, -1, GROUP // 2)
            return halves.transpose(1, 2).flatten(1)[:, : self.columns]
        at, groups = 0, -(-self.columns // GROUP)
        index = torch.zeros(self.rows, groups, GROUP, dtype=torch.int64, device=self.words.device)
        for width, low in _planes(self.bits):
            own = self.words[:, at : at + words_of(width, groups)]
            index |= _fields(own, width, groups) << low
            at += own.shape[1]
        codes = self.book.view(torch.int8)[index]
        return codes.flatten(1)[:, : self.columns]

    def dense(self) -> Tensor:
        """float32 `[rows, columns]`: the numbers that it stands for."""
        return self.codes().float() * self.scale[:, None]


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
    """Weights `[rows, columns]` at the codes of a codebook, `scale` one or one a row.

    Without a codebook: the grid of int8 from -127 to 127. Raises ValueError for one of more than
    128 codes, which is no shorter.
    """
    values = weight.float() / scale[:, None]
    rows = scale.expand(len(weight)).float().contiguous()
    columns = weight.shape[1]
    if book is None:
        codes = _filled(values.round().clamp(-127, 127).to(torch.int8), GROUP * VECTOR)
        halves = codes.view(len(rows), -1, 2, GROUP // 2).transpose(1, 2).contiguous()
        none = torch.zeros(0, dtype=torch.int32, device=weight.device)
        return Packed(halves.flatten(1).view(torch.int32), none, rows, 8, columns)
    codes, ends = codes_and_ends(book)
    if len(codes) > 128:
        raise ValueError(f"a codebook of {len(codes)} codes: 128 are 7 bits")
    bits = max(1, (len(codes) - 1).bit_length())
    index = _filled(torch.bucketize(values, ends), GROUP)
    index = index.view(len(index), -1, GROUP)
    planes = [_plane(index >> low, width) for width, low in _planes(bits)]
    table = _filled(codes.to(torch.int8)[None], max(GROUP, 1 << bits))[0]
    return Packed(torch.cat(planes, 1), table.view(torch.int32), rows, bits, columns)


def words_of(width: int, groups: int) -> int:
    """Of a plane of a row."""
    return -(-groups * width // (4 * VECTOR)) * VECTOR


def _planes(bits: int) -> list[tuple[int, int]]:
    """Widths of fields, and where they lie in an index."""
    widths = fields_of(bits)
    return [(width, sum(widths[:n])) for n, width in enumerate(widths)]


def _plane(index: Tensor, width: int) -> Tensor:
    """int32 `[rows, words]` of the lowest bits of `[rows, groups, 8]`."""
    own = (index & ((1 << width) - 1)).flatten(1)
    own = _filled(own, GROUP * VECTOR * 4 // width).view(len(own), -1, 4 // width, VECTOR, GROUP)
    words = (own << _places(width, index.device)).sum((2, 4))
    return torch.where(words >= 1 << 31, words - (1 << 32), words).to(torch.int32).flatten(1)


def _fields(words: Tensor, width: int, groups: int) -> Tensor:
    """int64 `[rows, groups, 8]` of the words of a plane."""
    vectors = words.view(len(words), -1, 1, VECTOR, 1).long()
    found = vectors >> _places(width, words.device) & ((1 << width) - 1)
    return found.flatten(1, 3)[:, :groups]


def _places(width: int, device: torch.device) -> Tensor:
    """`[turns, 1, 8]`: where the fields of a word lie."""
    turns = torch.arange(4 // width, device=device)[:, None, None]
    return width * turns + 4 * torch.arange(GROUP, device=device)


def _filled(x: Tensor, multiple: int) -> Tensor:
    """With zeros behind each row, to a multiple of numbers."""
    more = -x.shape[1] % multiple
    return torch.nn.functional.pad(x, (0, more)) if more else x
