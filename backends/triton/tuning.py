"""Which sizes of tiles a kernel runs with: measured once for a device and a shape, then kept.

Choices are in a JSON file in the user's cache folder, `ASRC_CACHE` or `~/.cache/asrc`. Where
`deterministic` is set (`ASRC_DETERMINISTIC=1` does), the first candidate is taken: nothing is
measured, so that the same program runs on every machine of a kind. In the interpreter it is that of
the largest tiles.

Compiling takes far longer than measuring, so all candidates are compiled at once, in threads; then
they are measured one after the other.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field
from math import inf, prod
from pathlib import Path
from typing import Any

import torch
import triton

from ...compiler.diagnostics import AsrcError
from ...compiler.files import write_text


def about(count: int, most: int = 1 << 10) -> int:
    """How many rows a choice is kept for: the next power of two, at most `most`. So utterances of
    any lengths meet few shapes, and nothing is measured once these are known."""
    return min(int(triton.next_power_of_2(count)), most)


@dataclass(frozen=True, slots=True)
class Config:
    """Sizes by the names of a kernel's `tl.constexpr` arguments; warps and stages of a program."""

    sizes: dict[str, int] = field(default_factory=dict)
    warps: int = 4
    stages: int = 2

    def options(self) -> dict[str, Any]:
        """As keywords of a launch."""
        return {**self.sizes, "num_warps": self.warps, "num_stages": self.stages}


class Tuner:
    """The choices of this process, and of earlier ones on the same device."""

    def __init__(self, folder: Path | None = None, *, deterministic: bool = False) -> None:
        self.folder = folder if folder is not None else _cache()
        self.deterministic = deterministic
        self.chosen: dict[Path, dict[str, int]] = {}
        """By device, and by kernel and shape."""

    def best(
        self,
        kernel: str,
        shape: Sequence[object],
        candidates: Sequence[Config],
        run: Callable[[Config], object],
        device: torch.device,
    ) -> Config:
        """The candidate that runs fastest for such a shape; `run` launches the kernel once.

        It is the first where none could be measured: while a CUDA graph is recorded, or where each
        fails, which the launch behind this says again.
        """
        if device.type != "cuda":  # the interpreter's time goes by the number of programs
            return max(candidates, key=lambda one: prod(one.sizes.values()))
        if self.deterministic or len(candidates) == 1:
            return candidates[0]
        place = self._place(device)
        chosen = self._of(place)
        key = f"{kernel} {' '.join(map(str, shape))} of {len(candidates)}"
        if chosen.get(key, 0) >= len(candidates):
            del chosen[key]  # of a damaged file
        if key not in chosen and not torch.cuda.is_current_stream_capturing():
            times = _times(run, candidates, device)
            if min(times) < inf:
                chosen[key] = times.index(min(times))
                _write(place, chosen)
        return candidates[chosen.get(key, 0)]

    def _place(self, device: torch.device) -> Path:
        name = torch.cuda.get_device_name(device).replace(" ", "-")
        return self.folder / f"tuning-{name}-triton{triton.__version__}.json"

    def _of(self, place: Path) -> dict[str, int]:
        if place not in self.chosen:
            self.chosen[place] = _read(place)
        return self.chosen[place]


def _read(place: Path) -> dict[str, int]:
    """What is there of choices; a damaged file has none, and is written anew."""
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {key: at for key, at in pairs if type(at) is int and at >= 0}


def _write(place: Path, chosen: dict[str, int]) -> None:
    with suppress(OSError, AsrcError):  # measured again next time
        place.parent.mkdir(parents=True, exist_ok=True)
        write_text(place, json.dumps(chosen, indent=1, sort_keys=True) + "\n")


def _cache() -> Path:
    return Path(os.environ.get("ASRC_CACHE") or Path.home() / ".cache/asrc")


def _times(
    run: Callable[[Config], object], candidates: Sequence[Config], device: torch.device
) -> list[float]:
    """Milliseconds of each; infinite for one that does not run, as it is too large for the device
    or the compiler fails."""
    stream = torch.cuda.current_stream(device)
    with ThreadPoolExecutor(min(len(candidates), os.cpu_count() or 1)) as pool:
        # In the context of this thread: whether launches overlap is an option of the compiler's.
        runs = [pool.submit(copy_context().run, _runs, run, stream, one) for one in candidates]
    good = [one.result() for one in runs]
    return [_time(run, one) if ran else inf for one, ran in zip(candidates, good, strict=True)]


def _runs(run: Callable[[Config], object], stream: torch.cuda.Stream, candidate: Config) -> bool:
    """Compiles it, and launches it once; a thread has a stream of its own until it is told."""
    try:
        with torch.cuda.stream(stream), torch.no_grad():
            run(candidate)
    except (triton.TritonError, RuntimeError):
        return False
    return True


def _time(run: Callable[[Config], object], candidate: Config) -> float:
    try:
        return float(triton.testing.do_bench(lambda: run(candidate), warmup=5, rep=20))
    except (triton.TritonError, RuntimeError):
        return inf


TUNER = Tuner(deterministic=os.environ.get("ASRC_DETERMINISTIC") == "1")
"""That of kernels that were given none."""
