"""Small random transducers: a recurrent predictor and a tanh joint, with or without
durations. Their symbols are spread so that labels come in runs and blanks between them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asrc.runtime.decode import Frames, Heads, State


class RandomTransducer(nn.Module):
    """Random weights; `blank` is added to the blank's logit, `durations` is the size of that head.

    Double precision unless told otherwise, so that no test hangs on rounding.
    """

    def __init__(
        self,
        seed: int = 0,
        labels: int = 5,
        width: int = 6,
        blank: float = 4.0,
        sharp: float = 3.0,
        durations: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.width, self.labels, self.calls = width, labels, 0
        self.embed = nn.Embedding(labels, width, dtype=dtype)
        self.turn = nn.Linear(width, width, dtype=dtype)
        self.turns = nn.Embedding(7, width, dtype=dtype)  # so that no label repeats forever
        self.tokens = nn.Linear(width, labels + 1, dtype=dtype)
        self.durations = nn.Linear(width, durations, dtype=dtype) if durations else None
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator, dtype=dtype)
        self.turn.weight.data /= width  # a state that forgets: rounding does not grow
        self.turns.weight.data *= 2
        self.tokens.weight.data *= sharp / width**0.5
        self.tokens.bias.data[-1] += blank

    def joint(self, frames: Frames, labels: Tensor) -> Heads:
        self.calls += 1
        (value,) = frames.values()
        hidden = torch.tanh(value + labels)
        tokens = self.tokens(hidden).log_softmax(-1)
        if self.durations is None:
            return tokens
        return {"tokens": tokens, "durations": self.durations(hidden).log_softmax(-1)}

    def predictor_start(self, batch: int) -> tuple[Tensor, State]:
        zero = self.embed.weight.new_zeros(batch, self.width)
        return zero, {"h": zero, "count": zero.new_zeros(batch, dtype=torch.int64)}

    def predictor_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        h = torch.tanh(self.embed(tokens) + self.turn(state["h"]))
        count = state["count"] + 1
        return h * self.turns.weight[count % 7], {"h": h, "count": count}


def random_frames(seed: int, batch: int, count: int, width: int = 6) -> Tensor:
    """Encoder outputs [batch, count, width] in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(batch, count, width, generator=generator, dtype=torch.float64)


def random_lengths(seed: int, batch: int, count: int) -> list[int]:
    """Lengths from 0 to `count`, one of them `count`."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, count + 1, (batch,), generator=generator)
    lengths[seed % batch] = count
    return [int(n) for n in lengths]
