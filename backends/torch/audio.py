"""The log-mel front end; what it computes is said in `compiler/reference/audio.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...compiler.reference.audio import FLOOR, mel_bank


class Logmel(nn.Module):
    """Log energies of mel bands. `hop` and `window` are in samples, `rate`, `low`, `high` in Hz;
    a frame is `dims`, channels first."""

    bank: Tensor
    hann: Tensor

    def __init__(
        self, dims: tuple[int, ...], window: int, hop: int, rate: float, low: float, high: float
    ) -> None:
        super().__init__()
        self.dims, self.window, self.hop = dims, window, hop
        self.size = 1 << (window - 1).bit_length()
        self.edges = rate, low, high
        self.register_buffer("bank", self._bank(torch.float32), persistent=False)
        self.register_buffer("hann", self._hann(torch.float32), persistent=False)

    def _bank(self, dtype: torch.dtype) -> Tensor:
        return torch.from_numpy(mel_bank(self.dims[-1], self.size, *self.edges).T.copy()).to(dtype)

    def _hann(self, dtype: torch.dtype) -> Tensor:
        """As long as the transform, zeros behind the window."""
        window = torch.hann_window(self.window, periodic=True, dtype=torch.float64)
        return functional.pad(window, (0, self.size - self.window)).to(dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Tables of another type are made anew, not rounded twice; never below float32."""
        moved = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        device, dtype = self.bank.device, torch.promote_types(self.bank.dtype, torch.float32)
        if device.type != "meta":
            self.bank, self.hann = self._bank(dtype).to(device), self._hann(dtype).to(device)
        return moved

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, audio: Tensor) -> Tensor:
        """`[B, samples, channels]` to `[B, frames, *dims]`, in float32 at least."""
        with torch.autocast(audio.device.type, enabled=False):
            missing = self.size - min(audio.shape[1], self.window)  # a void frame beats none
            whole = functional.pad(audio.to(self.bank.dtype).transpose(1, 2), (0, missing))
            pieces = whole.unfold(-1, self.size, self.hop)
            lines: Tensor = torch.fft.rfft(pieces * self.hann)
            squares = torch.view_as_real(lines).square_()
            power = squares[..., 0] + squares[..., 1]
            energy = (power @ self.bank).clamp_(min=FLOOR).log_()
        found: Tensor = energy.transpose(1, 2)
        return found.reshape(*found.shape[:2], *self.dims)
