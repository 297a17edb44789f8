"""Kernels that begin while the one before them still runs (programmatic dependent launch).

From compute capability 9.0 on, a kernel may be launched before the one before it has ended: its
programs begin as processors have room, read what no kernel writes, weights that is, and then wait.
A step of one stream is some hundred kernels of a few microseconds: launching them is much of that,
and so is the first read of each weight.

A kernel has to `follow` before it reads or writes what another one writes. Launches overlap within
`overlapping` alone, where nothing writes to weights.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.target_info import cuda_capability_geq

from .codes import INTERPRETED, in_ptx

_SINCE = (9, 0)
_on: ContextVar[bool] = ContextVar("overlapping", default=False)


@contextmanager
def overlapping(on: bool = True) -> Iterator[None]:
    """Within it kernels begin before the ones before them have ended, where a GPU can do so and
    `ASRC_OVERLAP=0` does not forbid it; or they do not, if they are not to."""
    before = _on.set(on and os.environ.get("ASRC_OVERLAP") != "0")
    try:
        yield
    finally:
        _on.reset(before)


def early(x: Tensor) -> dict[str, bool]:
    """Options for the launch of a kernel that follows, on the device of x."""
    able = _on.get() and in_ptx(x)
    able = able and torch.cuda.get_device_capability(x.device) >= _SINCE
    return {"launch_pdl": True} if able else {}


@triton.jit
def follow():
    """From here on all is there that the kernels before this one write, and the next may begin."""
    if not INTERPRETED and cuda_capability_geq(9, 0):
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()


@triton.jit
def expect(weight, first, rows, of, K, quads, PARTS: tl.constexpr, BITS: tl.constexpr):
    """Some rows, from `first` on, of each of the parts of a weight, which have `of` rows: they are
    on their way into a cache, and nothing waits for them. A row is as wide as K numbers, or if it
    is packed `quads` vectors of words.

    One thread asks for all of a part: threads of a warp would take turns.
    """
    if not INTERPRETED and cuda_capability_geq(9, 0):
        size: tl.constexpr = weight.dtype.element_ty.primitive_bitwidth // 8
        wide = K * size if BITS == 0 else quads * 16
        part = tl.arange(0, tl.extra.cuda.num_threads())
        at = weight.to(tl.int64, bitcast=True) + (part.to(tl.int64) * of + first) * wide
        count = tl.minimum(rows, of - first) * wide // 16 * 16
        some = (part < PARTS) & (at % 16 == 0) & (count > 0)
        tl.inline_asm_elementwise(
            "{ .reg .pred some; setp.ne.b32 some, $3, 0;"
            " @some cp.async.bulk.prefetch.L2.global [$1], $2; mov.b32 $0, 0; }",
            "=r,l,r,r", (at, count, some.to(tl.int32)), tl.int32, is_pure=False, pack=1,
        )  # fmt: skip
