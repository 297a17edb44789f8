"""How far a long command is: a bar on stderr where that is a terminal, else nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from .terminal import look


class Progress:
    """Where a command is, and its bar where there is one.

    Lines that are printed meanwhile stand above the bar: `clear` before each, and the next step
    draws the bar again.
    """

    def __init__(self, first: int) -> None:
        self.at = self.first = first
        self._bar: Any = None

    def draw(self, count: int, label: str) -> None:
        """Begin a bar that is full at step `count`."""
        self._bar = click.progressbar(
            length=count - self.first,
            label=label,
            show_percent=False,
            item_show_func=lambda _: f"{self.at}/{count}",
            file=sys.stderr,
        )
        self._bar.render_progress()

    def step(self) -> None:
        self.move_to(self.at + 1)

    def move_to(self, position: int) -> None:
        count, self.at = position - self.at, position
        if self._bar is not None:
            self._bar.update(count)

    def clear(self) -> None:
        """Takes the bar off its line; one that is full stays, and the next line begins."""
        if self._bar is not None and self._bar.finished:
            self.close()
        elif self._bar is not None:
            click.echo("\r\033[2K", nl=False, err=True, color=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None


@contextmanager
def progress(count: int, label: str, *, first: int = 0, wanted: bool = True) -> Iterator[Progress]:
    """A bar from step `first` to `count`; the time left is told by the steps after `first`."""
    found = Progress(first)
    if wanted and first + 1 < count and on_terminal():
        found.draw(count, label)
    try:
        yield found
    finally:
        found.close()


def on_terminal() -> bool:
    """Whether a bar can be drawn and is not in the way of `--plain` or `--json`."""
    return look().style == "graphical" and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
