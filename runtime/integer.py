"""A transducer of integers: an artefact's programs, run exactly, between the host's own parts.

The host makes features of audio in float and quantises them, looks up rows of the embedding table,
and decodes what the joint's logits say. Everything between is integers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from ..backends.nna.executor import Executor
from ..backends.nna.lower import Lowered as Steady
from ..backends.nna.program import Array, Program, real
from ..backends.nna.transducer import codes_of
from ..backends.torch.lowered import Lowered
from ..backends.torch.session import Session
from ..backends.torch.streams import Block
from .decode.protocol import Heads, State
from .places import Runs

Make: TypeAlias = Callable[[Program], Runs]


class IntegerTransducer:
    """Predictor and joint, for `runtime.decode`; frames and labels are codes. `make` has a program
    run, its states at rest, of any number of rows at once."""

    def __init__(
        self, predictor: Steady, joint: Steady, row: str, table: Array, make: Make = Executor
    ) -> None:
        self.predictor, self.heads = make(predictor.program), make(joint.program)
        self.row, self.table = row, table
        self._begin = predictor.program.at_rest
        self._made = predictor.program.outputs[0]
        self._frame, self._label = joint.program.inputs
        self._logits = joint.program.tensors[joint.program.outputs[0]]

    def joint(self, frames: Mapping[str, Tensor], labels: Tensor) -> Heads:
        """Log-probabilities of N pairs of frames and predictor outputs."""
        (given,) = frames.values()
        rows = {self._frame: _as_rows(given.numpy()), self._label: _as_rows(labels.numpy())}
        logits = real(self.heads.step(rows)[self._logits.name], self._logits)
        return torch.from_numpy(logits.reshape(len(given), -1)).log_softmax(-1)

    def predictor_start(self, batch: int) -> tuple[Tensor, State]:
        rest = self._begin(batch)
        state = {name: torch.from_numpy(codes) for name, codes in rest.items()}
        return self.predictor_step(torch.zeros(batch, dtype=torch.int64), state)

    def predictor_step(self, tokens: Tensor, state: State) -> tuple[Tensor, State]:
        rows = {self.row: _as_rows(self.table[tokens.numpy()])}
        self.predictor.states = {name: codes.numpy() for name, codes in state.items()}
        made = self.predictor.step(rows)[self._made].reshape(len(tokens), -1)
        after = self.predictor.states
        return torch.from_numpy(made), {n: torch.from_numpy(codes) for n, codes in after.items()}


def _as_rows(codes: Array) -> Array:
    """`[N, C]` as values of a program are, `[N, 1, 1, C]`."""
    return codes[:, None, None]


@dataclass(frozen=True)
class Pace:
    """Seconds between frames: of the features, and of the value that each flag is about."""

    features: Fraction
    flags: Mapping[str, Fraction]
    output: Fraction


class IntegerSteps:
    """Audio in, codes of encoder frames out: the features' session, then the encoder's program."""

    def __init__(
        self, front: Lowered, encoder: Steady, features: str, pace: Pace, make: Make = Executor
    ) -> None:
        self.front, self.encoder, self.features, self.pace = front, encoder, features, pace
        self.session = Session(front)
        self.program = make(encoder.program)
        ((self.output, self.codes),) = encoder.made.items()
        self.restart()

    def restart(self) -> None:
        """A new utterance begins; its states stand for zero."""
        self.session.restart()
        self.program.reset()
        self._frames: list[Array] = []
        self._before = 0
        self._step = 0
        self._made = 0

    def push(self, feeds: Mapping[str, Tensor]) -> dict[str, Block]:
        self._take(self.session.push(feeds))
        return self._block(self._run(None))

    def finish(self) -> dict[str, Block]:
        """The utterance has ended: what look-ahead still owes."""
        self._take(self.session.finish())
        return self._block(self._run(self._before + len(self._frames)))

    def _take(self, blocks: Mapping[str, Block]) -> None:
        (block,) = blocks.values()
        self._frames += list(block.data[0][block.there[0]].numpy())

    def _run(self, end: int | None) -> list[Array]:
        """The steps for which there are features; to the end, where that is known."""
        found = []
        wanted = None if end is None else self._length(end, self.pace.output)
        while self._made < wanted if wanted is not None else self._ready():
            rows = self.program.step(self._inputs(end))[self.codes][0, :, 0]
            ours = [
                row
                for n, row in enumerate(rows)
                if self._there(self._frame(self.output, n), wanted)
            ]
            found += ours
            self._made += len(ours)
            self._step += 1
            self._forget()
        return found

    def _frame(self, name: str, place: int = 0) -> int:
        """Which frame of an input or output a step has there."""
        return self.encoder.frames[name][place] + self._step * self.encoder.count[name]

    def _ready(self) -> bool:
        return self._frame(self.features, -1) < self._before + len(self._frames)

    def _length(self, end: int, period: Fraction) -> int:
        """How many frames of a period `end` features make."""
        return int(end * self.pace.features / period)

    def _inputs(self, end: int | None) -> dict[str, Array]:
        count = len(self.encoder.frames[self.features])
        rows = [self._feature(self._frame(self.features, n)) for n in range(count)]
        given = {self.features: codes_of(np.stack(rows), self.encoder, self.features)}
        for flag, period in self.pace.flags.items():
            length = None if end is None else self._length(end, period)
            places = range(len(self.encoder.frames[flag]))
            there = [self._there(self._frame(flag, n), length) for n in places]
            given[flag] = self.encoder.flag(flag, there)
        return given

    def _feature(self, frame: int) -> Array:
        at = frame - self._before
        if 0 <= at < len(self._frames):
            return self._frames[at]
        return np.zeros(self.encoder.program.tensors[self.features].shape[-1], np.float32)

    @staticmethod
    def _there(frame: int, length: int | None) -> bool:
        return frame >= 0 and (length is None or frame < length)

    def _forget(self) -> None:
        """Features that no later step reads."""
        gone = min(max(0, self._frame(self.features) - self._before), len(self._frames))
        del self._frames[:gone]
        self._before += gone

    def _block(self, rows: list[Array]) -> dict[str, Block]:
        width = self.encoder.program.tensors[self.codes].shape[-1]
        codes = np.stack(rows) if rows else np.zeros((0, width), np.int8)
        data = torch.from_numpy(codes)[None]
        first = torch.tensor([self._made - len(rows)])
        return {self.output: Block(data, torch.ones(1, len(rows), dtype=torch.bool), first)}
