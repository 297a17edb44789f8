"""Recurrences: the fused LSTM, running sums, and a scan for everything else.

`torch.compile` cuts the graph around them, as PyTorch itself does around `nn.LSTM`: inductor has no
fused LSTM, and it would unroll a scan for each number of frames.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from .leaves import Shape, Weighted

FEW = 4
"""Up to so many frames, an LSTM runs frame by frame faster than as the fused operator."""


class Lstm(Weighted):
    """`std.rnn.Lstm` by PyTorch's fused operator; also with a projection (Sak et al. 2014).

    The weight is that of the one `dense` in the body, `[4 n, inputs + outputs]`, its gates in the
    order `gates` of PyTorch's (input, forget, cell, output). PyTorch's second bias is a zero that
    is no parameter.
    """

    zero: Tensor

    def __init__(self, weight: Shape, bias: bool, recurrent: int, gates: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(weight))
        self.bias = nn.Parameter(torch.zeros(weight[:1])) if bias else None
        self.recurrent, self.cells, self.gates = recurrent, weight[0] // 4, gates
        self.register_buffer("zero", torch.zeros(weight[0]), persistent=False)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        x: Tensor,
        h: Tensor | None = None,
        c: Tensor | None = None,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`[N, T, inputs]` to `[N, T, outputs]` and the last `h` and `c`; both begin as zeros."""
        if x.shape[1] == 0:
            return self._nothing(x, h, c)
        h = x.new_zeros(len(x), self.recurrent) if h is None else h
        c = x.new_zeros(len(x), self.cells) if c is None else c
        if x.shape[1] <= FEW:
            return self._frame_by_frame(x, h, c, projection)
        weights = [*self._split(), *(() if projection is None else (projection,))]
        if _lacks_half(x):
            with torch.autocast(x.device.type, enabled=False):
                return self._fused(x.float(), h.float(), c.float(), [w.float() for w in weights])
        return self._fused(x, h, c, weights)

    def _fused(
        self, x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        start = h.unsqueeze(0), c.unsqueeze(0)
        y, h, c = torch._VF.lstm(x, start, weights, True, 1, 0.0, self.training, False, True)
        return y, h[0], c[0]

    def _frame_by_frame(
        self, x: Tensor, h: Tensor, c: Tensor, projection: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The fused operator cuts and rearranges all weights first, which a step of a stream and
        one of decoding would spend most of their time on."""
        weight, made = self.kernel(), []
        for frame in x.unbind(1):
            row = torch.cat([frame, h], -1)
            quarters = functional.linear(row, weight, self.bias).chunk(4, -1)
            i, f, g, o = (quarters[gate] for gate in self.gates)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            h = h if projection is None else functional.linear(h, projection)
            made.append(h)
        return torch.stack(made, 1), h, c

    def _split(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight: Tensor = self.kernel()
        bias: Tensor = self.zero if self.bias is None else self.bias
        if self.gates != (0, 1, 2, 3):
            weight, bias = self._in_order(weight), self._in_order(bias)
        width = weight.shape[1] - self.recurrent
        rows, recurrent = torch.split_with_sizes(weight, [width, self.recurrent], 1)
        return rows.contiguous(), recurrent.contiguous(), bias, self.zero

    def _in_order(self, rows: Tensor) -> Tensor:
        quarters = rows.chunk(4)
        return torch.cat([quarters[gate] for gate in self.gates])

    def _nothing(
        self, x: Tensor, h: Tensor | None, c: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        h = x.new_zeros(len(x), self.recurrent) if h is None else h
        c = x.new_zeros(len(x), self.cells) if c is None else c
        return x.new_zeros(len(x), 0, self.recurrent), h, c


class Rows(nn.Module):
    """The `dense` of a fused LSTM alone; the parameters stay the LSTM's."""

    def __init__(self, lstm: Lstm) -> None:
        super().__init__()
        object.__setattr__(self, "lstm", lstm)  # no module of this one: it has no parameters

    def forward(self, *rows: Tensor) -> Tensor:
        lstm: Lstm = self.__dict__["lstm"]
        row = rows[0] if len(rows) == 1 else torch.cat(rows, -1)
        return functional.linear(row, lstm.kernel(), lstm.bias)


def _lacks_half(x: Tensor) -> bool:
    """Whether autocast would ask for float16 on a processor, in which oneDNN has no LSTM."""
    kind = x.device.type
    asked = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.float16
    return asked and kind == "cpu"


class Scan(nn.Module):
    """A recurrence that no fused operator computes: its body, one step after the other.

    `body(*outer, *steps, *registers)` returns what each register takes in, then the values that
    are read outside. Steps run along `axis`. A register holds its frames along that axis, newest
    last, and `back` says how many steps ago each frame is that its shift reads.
    """

    def __init__(
        self, body: nn.Module, axis: int, backwards: bool, back: tuple[tuple[int, ...], ...]
    ) -> None:
        super().__init__()
        self.body, self.axis, self.backwards, self.back = body, axis, backwards, back

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        outer: tuple[Tensor, ...],
        steps: tuple[Tensor, ...],
        registers: tuple[Tensor, ...],
        taken: tuple[Tensor | None, ...],
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The values read outside, along `axis` as `steps` are, and the registers at the end.

        A register stays as it is on steps where its mask in `taken` says so.
        """
        axis, count = self.axis, steps[0].shape[self.axis]
        if count == 0:
            return self._nothing(outer, steps, registers), registers
        pieces = [*zip(*(x.narrow(axis, 0, count).chunk(count, axis) for x in steps), strict=True)]
        masks = [m if m is None else m.narrow(axis, 0, count).chunk(count, axis) for m in taken]
        made: list[tuple[Tensor, ...]] = []
        for t in range(count - 1, -1, -1) if self.backwards else range(count):
            found = self.body(*outer, *pieces[t], *self._read(registers))
            here = (None if mask is None else mask[t] for mask in masks)
            made.append(found[len(registers) :])
            registers = tuple(map(self._push, registers, found, here))
        if self.backwards:
            made.reverse()
        return tuple(torch.cat(column, axis) for column in zip(*made, strict=True)), registers

    def _nothing(
        self,
        outer: tuple[Tensor, ...],
        steps: tuple[Tensor, ...],
        registers: tuple[Tensor, ...],
    ) -> tuple[Tensor, ...]:
        """No steps of each value, in its shape: that of a step of zeros."""
        axis = self.axis
        one = (x.new_zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :])) for x in steps)
        found = self.body(*outer, *one, *self._read(registers))
        return tuple(x.narrow(axis, 0, 0) for x in found[len(registers) :])

    def _read(self, registers: tuple[Tensor, ...]) -> list[Tensor]:
        """A delay reads one frame, a window a stack of taps, oldest first."""
        found = []
        for held, back in zip(registers, self.back, strict=True):
            depth = held.shape[self.axis]
            if back == (1,) and depth == 1:
                found.append(held)
                continue
            frames = [held.narrow(self.axis, depth - k, 1) for k in back]
            found.append(frames[0] if len(back) == 1 else torch.stack(frames, -1))
        return found

    def _push(self, held: Tensor, new: Tensor, taken: Tensor | None) -> Tensor:
        depth = held.shape[self.axis]
        moved = new.to(held.dtype)
        if depth > 1:
            newest = moved.expand_as(held.narrow(self.axis, 0, 1))
            moved = torch.cat([held.narrow(self.axis, 1, depth - 1), newest], self.axis)
        elif moved.shape != held.shape:
            moved = moved.expand_as(held)
        return moved if taken is None else select(taken, moved, held)


def select(mask: Tensor, x: Tensor, other: Tensor | float) -> Tensor:
    """`x` where a frame is there, else `other`, which is never computed with."""
    wide = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim))
    return torch.where(wide, x, other)


def running_sum(x: Tensor, there: Tensor, axis: int, start: Tensor | None = None) -> Tensor:
    """`s = s[t-1] + x` along the frames that are there."""
    total = torch.cumsum(select(there, x, 0.0), axis)
    return total if start is None else total + start
