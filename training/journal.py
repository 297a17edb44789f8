"""What a training reports: a CSV file, and TensorBoard where it is asked for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import read_bytes, write_text


class Sink(Protocol):
    """Where numbers of an update go."""

    def note(self, update: int, numbers: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class CsvJournal:
    """`update,name,value` lines; a resumed run drops what came after its checkpoint, which are
    the scores of its update too where its validation is still `due`.

    Raises AsrcError E0008 where they cannot be written.
    """

    def __init__(self, path: Path, resumed_at: int, due: bool = False) -> None:
        self.path = path
        kept = list(_rows_up_to(path, resumed_at, due)) if path.exists() else []
        write_text(path, "".join(["update,name,value\n", *(",".join(r) + "\n" for r in kept)]))
        self.resumed = {name: float(value) for at, name, value in kept if int(at) == resumed_at}
        with _coded(path):
            self.file = path.open("a", encoding="utf-8", newline="")

    def note(self, update: int, numbers: Mapping[str, float]) -> None:
        rows = ((update, name, f"{value:.6g}") for name, value in numbers.items())
        with _coded(self.path):
            try:
                csv.writer(self.file, lineterminator="\n").writerows(rows)
                self.file.flush()
            except OSError:
                with suppress(OSError):
                    self.file.close()  # which fails too, but only once
                raise

    def close(self) -> None:
        with _coded(self.path):
            self.file.close()


@contextmanager
def _coded(path: Path) -> Iterator[None]:
    """A journal that cannot be written as an AsrcError."""
    try:
        yield
    except OSError as error:
        message = f"cannot write `{path}`: {error.strerror or error}"
        help = "make room; the same command goes on from the newest checkpoint"
        raise AsrcError(diagnostic("E0008", message, help=help)) from None


def _rows_up_to(path: Path, update: int, due: bool) -> Iterator[list[str]]:
    """Whole lines of the journal up to an update, its own scores only where they are not `due`."""
    text = read_bytes(path).decode("utf-8", "replace")
    rows = csv.reader(io.StringIO(text))
    whole = (row for row in rows if len(row) == 3 and row[0].isdigit())
    return (row for row in whole if _stays(row, update, due))


def _stays(row: list[str], update: int, due: bool) -> bool:
    at = int(row[0])
    return at < update or (at == update and not (due and row[1].startswith("dev.")))


class TensorBoardJournal:
    """Scalars for TensorBoard; those of an earlier run are hidden from an update on.

    Raises AsrcError E0008 where they cannot be written.
    """

    def __init__(self, folder: Path, hidden_from: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        with _coded(folder):
            self.writer: Any = SummaryWriter(str(folder), purge_step=hidden_from)

    def note(self, update: int, numbers: Mapping[str, float]) -> None:
        with _coded(self.folder):
            for name, value in numbers.items():
                self.writer.add_scalar(name, value, update)

    def close(self) -> None:
        with _coded(self.folder):
            self.writer.close()


def open_journals(
    folder: Path, resumed_at: int, tensorboard: bool, due: bool = False
) -> list[Sink]:
    """The journals of a training's folder.

    TensorBoard hides whole updates, so one whose validation is `due` again has its losses noted
    again.
    """
    lines = CsvJournal(folder / "log.csv", resumed_at, due)
    if not tensorboard:
        return [lines]
    board = TensorBoardJournal(folder / "tensorboard", resumed_at if due else resumed_at + 1)
    if due:
        board.note(resumed_at, lines.resumed)
    return [lines, board]
