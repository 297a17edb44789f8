"""What a kernel must move and multiply at least: the roofline that its time is held against."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Cost:
    """Bytes to and from memory, each counted once, and floating-point operations."""

    bytes: float
    flops: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.bytes + other.bytes, self.flops + other.flops)

    def seconds(self, bandwidth: float, rate: float) -> float:
        """The least time at `bandwidth` bytes and `rate` operations a second."""
        return max(self.bytes / bandwidth, self.flops / rate)


def nbytes(*tensors: Tensor | None) -> int:
    return sum(x.numel() * x.element_size() for x in tensors if x is not None)
