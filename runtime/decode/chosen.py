"""Which greedy decoder a model has: the host's, or kernels, where they make its values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from torch import Tensor

from ..transducer import LoweredTransducer
from .greedy import GreedyDecoder
from .hypothesis import Clock, Hypothesis, Token
from .protocol import Frames, Transducer


class Greedy(Protocol):
    """See `GreedyDecoder`."""

    def feed(
        self,
        frames: Frames | Tensor,
        lengths: Tensor | Sequence[int] | None = None,
        present: Tensor | None = None,
    ) -> list[list[Token]]: ...

    def hypotheses(self) -> list[Hypothesis]: ...

    def later(self) -> list[Callable[[], Hypothesis]]: ...

    def reset(self, streams: Tensor | Sequence[bool] | None = None) -> None: ...


def greedy_decoder(
    model: Transducer, *, batch: int = 1, clock: Clock | None = None, max_symbols: int = 10
) -> Greedy:
    """Of so many streams; at most `max_symbols` labels at a frame."""
    if isinstance(model, LoweredTransducer) and model.lowered.on_kernels:
        from ...backends.triton.decoding import joint_of
        from .on_kernels import KernelDecoder

        joint = joint_of(model.lowered)
        if joint is not None:
            return KernelDecoder(model, joint, batch=batch, clock=clock, max_symbols=max_symbols)
    return GreedyDecoder(model, batch=batch, clock=clock, max_symbols=max_symbols)
