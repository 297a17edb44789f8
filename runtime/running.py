"""What a listener runs, whatever it is made of: a step for audio, a transducer, and their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..backends.torch.streams import Block
from .decode import Clock, Transducer
from .vocabulary import Vocabulary


class Steps(Protocol):
    """Audio in, frames out; see `backends.torch.session.Session`."""

    def push(self, feeds: Mapping[str, Tensor]) -> dict[str, Block]: ...

    def finish(self) -> dict[str, Block]: ...

    def restart(self) -> None: ...


@dataclass(frozen=True)
class Running:
    """One stream. `audio` names the input of `steps`, `frames` those of its outputs that the
    joint reads."""

    steps: Steps
    model: Transducer
    audio: str
    frames: tuple[str, ...]
    clock: Clock


class Recognises(Protocol):
    """A model in float or in integers; `rate` in Hz."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def rate(self) -> int: ...

    @property
    def channels(self) -> int: ...

    def run(self) -> Running:
        """Ready for a stream. Raises AsrcError E0303 or E0404 where it cannot be streamed."""
        ...
