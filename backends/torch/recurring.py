"""What an emitter offers to recurrences; a whole utterance begins each with zeros."""

from __future__ import annotations

from torch import fx

from ...compiler.reference import Loop
from .emit import Emitter, Model
from .match import LstmBody, SumBody


class Recurring(Emitter):
    """`fused` and `scanned` say how each recurrence runs."""

    def __init__(self, model: Model) -> None:
        super().__init__(model)
        self.fused: list[str] = []
        self.scanned: list[Loop] = []

    def body(self) -> Recurring:
        """An emitter for one step of a recurrence."""
        raise NotImplementedError

    def outside(self, path: str, loop: Loop) -> fx.Node:
        """A value from outside a loop, on the loop's steps."""
        return self.data[path]

    def can_fuse(self, loop: Loop) -> bool:
        """Whether all steps of a loop are taken, so that a fused operator may run it."""
        return True

    def made(self, path: str, x: fx.Node, loop: Loop) -> fx.Node:
        """A value of a loop for others to read, from its frames on all of the loop's steps."""
        return x

    def taken(self, shift: str, loop: Loop) -> fx.Node | None:
        """On which steps a register takes in a new frame; `None` for all."""
        return None

    def register_state(self, shift: str) -> fx.Node | None:
        return None

    def keep_register(self, shift: str, register: fx.Node) -> None:
        pass

    def lstm_state(self, body: LstmBody) -> tuple[fx.Node, ...]:
        return ()

    def keep_lstm(self, body: LstmBody, h: fx.Node, c: fx.Node) -> None:
        pass

    def sum_state(self, body: SumBody) -> fx.Node | None:
        return None

    def keep_sum(self, body: SumBody, total: fx.Node) -> None:
        pass
