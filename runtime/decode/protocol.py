"""What a decoder asks of a transducer: a joint, and a predictor that goes one label at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from torch import Tensor

Frames: TypeAlias = Mapping[str, Tensor]
"""What the joint reads of one frame, by name: the encoder's output and whatever a biasing model
adds. Tensors are [N, ...] for N frames, [batch, frames, ...] in a block."""

State: TypeAlias = dict[str, Tensor]
"""What the predictor carries from label to label, by name; tensors are [N, ...]."""

Heads: TypeAlias = Tensor | Mapping[str, Tensor]
"""Log-probabilities [N, labels + 1], blank last; of a token-and-duration transducer
`{"tokens": [N, labels + 1], "durations": [N, D]}`, where column d says "go on d frames"."""


class Transducer(Protocol):
    """A transducer whose encoder has run (Graves, 2012, section 2).

    Rows are independent: row i of an output depends on row i of the inputs only. N changes from
    call to call. Outputs are never written to; inputs must not be either.
    """

    def joint(self, frames: Frames, labels: Tensor) -> Heads:
        """Log-probabilities for N pairs of a frame and a predictor output [N, Dp]."""
        ...

    def predictor_start(self, batch: int) -> tuple[Tensor, State]:
        """Predictor output [batch, Dp] and state before the first label."""
        ...

    def predictor_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        """The next output [N, Dp] and state, after the labels `tokens` [N] (int64)."""
        ...
