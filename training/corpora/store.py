"""Audio files of a corpus: made by several processes, each file whole or not there at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from ...compiler.files import write_bytes

Item = TypeVar("Item")
Report = Callable[[int, int], None]
"""Called with how many files are done, and of how many."""

_OURS = re.compile(r".+\.(flac|part)")
BATCH = 8


def make_all(
    items: Sequence[Item],
    path: Callable[[Item], Path],
    make: Callable[[Item], bytes],
    *,
    jobs: int = 1,
    report: Report | None = None,
    batch: int = BATCH,
) -> None:
    """Write `make(item)` to `path(item)` for every item whose file is not there yet.

    With `jobs` above 1, by as many processes, `batch` items in turn to each; `path` and `make` must
    then be known by name.
    Raises what `make` raises, and AsrcError E0008 where a file cannot be written; what is written
    by then stays, and need not be made again.
    """
    wanted = [item for item in items if not path(item).is_file()]
    done = len(items) - len(wanted)
    for step, _ in enumerate(_map(partial(_make, path, make), wanted, jobs, batch), start=done + 1):
        if report:
            report(step, len(items))


def _make(path: Callable[[Item], Path], make: Callable[[Item], bytes], item: Item) -> None:
    write_bytes(path(item), make(item))


def _map(
    work: Callable[[Item], None], items: Sequence[Item], jobs: int, batch: int
) -> Iterator[None]:
    if jobs <= 1 or len(items) <= 1:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        yield from pool.map(work, items, chunksize=batch)


def remove_others(folder: Path, kept: Iterable[Path]) -> None:
    """Remove audio of earlier builds from a folder of ours, and nothing else."""
    names = {path.name for path in kept}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_file() and _OURS.fullmatch(path.name) and path.name not in names:
            path.unlink()
