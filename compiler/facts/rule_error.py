"""What a type rule raises: a code and words; the caller knows the place."""

from __future__ import annotations


class RuleError(Exception):
    """`slots` are the inputs to blame, each with a few words for its label."""

    def __init__(
        self, code: str, message: str, *, help: str = "", slots: dict[int, str] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.help = help
        self.slots = slots or {}
