"""Which sizes of tiles a kernel runs with: measured once for a device and a shape, then kept.

Choices are in a JSON file in the user's cache folder, `ASRC_CACHE` or `~/.cache/asrc`. Where
`deterministic` is set (`ASRC_DETERMINISTIC=1` does), the first candidate is taken: nothing is
measured, so that the same program runs on every machine of a kind. In the interpreter it is that of
the largest tiles.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import torch
import triton

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
        self.chosen: dict[str, int] = {}
        self.read: set[Path] = set()

    def best(
        self,
        kernel: str,
        shape: Sequence[object],
        candidates: Sequence[Config],
        run: Callable[[Config], object],
        device: torch.device,
    ) -> Config:
        """The candidate that runs fastest for such a shape; `run` launches the kernel once."""
        if device.type != "cuda":  # the interpreter's time goes by the number of programs
            return max(candidates, key=lambda one: prod(one.sizes.values()))
        if self.deterministic or len(candidates) == 1:
            return candidates[0]
        place = self._place(device)
        self._read(place)
        key = f"{kernel} {' '.join(map(str, shape))} of {len(candidates)}"
        if key not in self.chosen:
            times = [_time(run, candidate) for candidate in candidates]
            self.chosen[key] = times.index(min(times))
            self._write(place)
        return candidates[self.chosen[key]]

    def _place(self, device: torch.device) -> Path:
        name = torch.cuda.get_device_name(device).replace(" ", "-")
        return self.folder / f"tuning-{name}-triton{triton.__version__}.json"

    def _read(self, place: Path) -> None:
        if place in self.read:
            return
        self.read.add(place)
        with suppress(OSError, ValueError):
            found = json.loads(place.read_text(encoding="utf-8"))
            self.chosen |= {str(key): int(at) for key, at in found.items()}

    def _write(self, place: Path) -> None:
        with suppress(OSError):  # measured again next time
            place.parent.mkdir(parents=True, exist_ok=True)
            write_text(place, json.dumps(self.chosen, indent=1, sort_keys=True) + "\n")


def _cache() -> Path:
    return Path(os.environ.get("ASRC_CACHE") or Path.home() / ".cache/asrc")


def _time(run: Callable[[Config], object], candidate: Config) -> float:
    """Milliseconds; infinite where the device has too little of something for it."""
    try:
        return float(triton.testing.do_bench(lambda: run(candidate), warmup=5, rep=20))
    except (triton.runtime.errors.OutOfResources, triton.CompilationError):
        return float("inf")


TUNER = Tuner(deterministic=os.environ.get("ASRC_DETERMINISTIC") == "1")
"""That of kernels that were given none."""
