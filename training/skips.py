"""`skipped.jsonl`: which utterances were left out of a training, and why, over all its parts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..compiler.files import read_bytes, write_text
from .selection import Skipped


@dataclass
class SkipFile:
    """One JSON object a line, an utterance and a reason once.

    `always` is known before the first update; `earlier` is what the parts of a run before this one
    wrote.
    """

    path: Path
    always: tuple[Skipped, ...] = ()
    earlier: tuple[Skipped, ...] = ()

    def resume(self) -> None:
        """Keep what is there. Raises AsrcError E0008 where it cannot be read."""
        if self.path.exists():
            self.earlier = tuple(_read(self.path))

    def write(self, found: Iterable[Skipped]) -> bool:
        """With what this part found so far; whether there is anything, else no file is made.

        Raises AsrcError E0008 where it cannot be written.
        """
        known = {(s.id, s.reason): s for s in (*self.earlier, *self.always, *found)}
        lines = (json.dumps(asdict(skip), ensure_ascii=False) for skip in known.values())
        if known:
            write_text(self.path, "".join(f"{line}\n" for line in lines))
        return bool(known)


def _read(path: Path) -> Iterator[Skipped]:
    """The lines that are whole."""
    for line in read_bytes(path).decode("utf-8", "replace").split("\n"):
        with suppress(ValueError, KeyError, TypeError):
            one = json.loads(line)
            yield Skipped(*(str(one[name]) for name in ("id", "reason", "detail")))
