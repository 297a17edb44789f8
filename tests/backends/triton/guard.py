"""Tensors with guards around them: the interpreter lets reads and writes out of bounds pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

PAD = 97
"""Elements on either side."""


@dataclass
class Guards:
    """Buffers whose ends are checked by `check`.

    What is beyond an input is NaN, or for integers a number that shows; what is beyond an output
    stays as it was.
    """

    held: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def put(self, x: Tensor) -> Tensor:
        """A tensor of the same numbers, contiguous, with guards."""
        fill = float("nan") if x.is_floating_point() else -(2**6) - 1
        buffer = torch.full((x.numel() + 2 * PAD,), fill, dtype=x.dtype, device=x.device)
        inner = buffer[PAD : PAD + x.numel()].view(x.shape)
        inner.copy_(x)
        self.held.append((buffer, buffer.clone()))
        return inner

    def room(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """An output: NaN, or a number that shows, until it is written."""
        fill = float("nan") if dtype.is_floating_point else -(2**6) - 1
        return self.put(torch.full(shape, fill, dtype=dtype))

    def check(self) -> None:
        """Nothing outside was written."""
        for buffer, before in self.held:
            for end in (slice(0, PAD), slice(-PAD, None)):
                same = (buffer[end] == before[end]) | (buffer[end] != buffer[end])
                assert bool(same.all()), "a kernel wrote out of bounds"


@dataclass
class Launches:
    """In the place of a kernel: grids and options of its launches, of which nothing comes."""

    grids: list[tuple[int, ...]] = field(default_factory=list)
    options: list[dict[str, object]] = field(default_factory=list)

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        def launch(*_: object, **options: object) -> None:
            self.grids.append(grid)
            self.options.append(options)

        return launch


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def close(found: Tensor, wanted: Tensor, tolerance: float = 1e-5) -> None:
    """Within a tolerance of the largest number, no NaN where there is none."""
    assert found.shape == wanted.shape
    scale = wanted.double().abs().nan_to_num(0).max().clamp(min=1e-6)
    gap = (found.double() - wanted.double()).abs() / scale
    assert torch.equal(found.isnan(), wanted.isnan())
    assert float(gap.nan_to_num(0).max()) <= tolerance


ODD: Sequence[int] = (1, 2, 3, 5, 17, 33)
"""Sizes that no tile divides."""
