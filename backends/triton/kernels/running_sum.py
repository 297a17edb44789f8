"""Prefix sums over frames, `s = s[t-1] + x`, of the frames that are there.

A program holds a tile of channels, sums tile after tile of frames and carries the total; the sum is
in float32 whatever the numbers are.
"""

from __future__ import annotations

from math import prod

import triton
import triton.language as tl
from torch import Tensor

from ...torch.recurrent import running_sum as plainly
from ..tuning import TUNER, Config, about
from .cost import Cost
from .overlap import early, follow


def running_sum(
    x: Tensor, there: Tensor, axis: int, start: Tensor | None = None, out: Tensor | None = None
) -> Tensor:
    """Sums along `axis` of x, float, contiguous and in its dtype; frames that are not there add
    nothing, whatever is in them.

    there  bool, over the first axes of x; axes of one are those of all
    start  what is added to all sums: one frame along `axis`, and as wide as x or broadcast to it
    """
    y = x.new_empty(x.shape) if out is None else out.view(x.shape)
    if x.numel() == 0:
        return y
    sizes = prod(x.shape[:axis]), x.shape[axis], prod(x.shape[axis + 1 :])
    wide = there.reshape(there.shape + (1,) * (x.ndim - there.ndim)).expand(x.shape)
    if start is not None:
        start = start.expand(*x.shape[:axis], 1, *x.shape[axis + 1 :]).contiguous()
    _launched(x.reshape(sizes), wide.reshape(sizes), start, y)
    return y


def reference(x: Tensor, there: Tensor, axis: int, start: Tensor | None = None) -> Tensor:
    """The same in PyTorch, float32."""
    return plainly(x.float(), there, axis, None if start is None else start.float())


def cost(outer: int, frames: int, channels: int, element: int = 4) -> Cost:
    """Of so many sums side by side, whose numbers have `element` bytes; a mask has one a frame."""
    numbers = outer * frames * channels
    return Cost(2 * numbers * element + outer * frames, numbers)


# --- launch ---

_TILES = tuple(
    Config({"BLOCK_T": frames, "BLOCK_C": channels}, warps)
    for frames, channels, warps in (
        *((16, 32, 1), (32, 32, 2), (64, 32, 4), (128, 32, 4), (64, 16, 2), (128, 16, 4)),
    )
)


def _launched(x: Tensor, there: Tensor, start: Tensor | None, y: Tensor) -> None:
    outer, frames, channels = x.shape

    def run(config: Config) -> None:
        _summed[outer, triton.cdiv(channels, config.sizes["BLOCK_C"])](
            x, there, x if start is None else start, y, frames, channels, *x.stride(),
            *there.stride(), START=start is not None, **config.options(), **early(x),
        )  # fmt: skip

    shape = (about(outer), about(frames), channels, x.dtype)
    run(TUNER.best("running_sum", shape, _TILES, run, x.device))


# --- kernel ---


@triton.jit(do_not_specialize=("T", "t_outer"))
def _summed(
    x, there, start, y, T, C, x_outer, x_frame, x_channel, t_outer, t_frame, t_channel,
    START: tl.constexpr, BLOCK_T: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """A program makes all frames of `BLOCK_C` channels."""
    follow()
    o = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = tl.zeros((BLOCK_C,), tl.float32)
    if START:
        total += tl.load(start + o * C + c, c < C, 0.0).to(tl.float32)
    for first in range(0, T, BLOCK_T):
        t = first + tl.arange(0, BLOCK_T)
        far = t.to(tl.int64)[:, None]
        inside = (t < T)[:, None] & (c < C)[None, :]
        up = tl.load(there + o * t_outer + far * t_frame + c[None, :] * t_channel, inside, 0)
        at = x + o * x_outer + far * x_frame + c[None, :] * x_channel
        tile = tl.load(at, inside & (up != 0), 0.0).to(tl.float32)
        sums = total[None, :] + tl.cumsum(tile, 0)
        tl.store(y + (o * T + far) * C + c[None, :], sums.to(y.dtype.element_ty), inside)
        total += tl.sum(tile, 0)
