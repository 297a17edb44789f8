"""Checkpoints: a folder each, whole or not there at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from ..backends.torch.weights import read_tensors, write_tensors
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import read_bytes, write_text
from .batches import Position

_STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training at a moment: tensors by group (`weights`, `average`, `optimiser`), the number of
    updates made, where the data stands, the best score so far, the recipe's digest, whether its
    validation is still due, and sums since the last line of the journal (older ones have none)."""

    update: int
    position: Position
    best: float | None
    digest: str
    tensors: Mapping[str, Mapping[str, Tensor]]
    due: bool = False
    sums: Mapping[str, float] = field(default_factory=dict)


def save(folder: Path, checkpoint: Checkpoint, keep: int) -> Path:
    """Write `folder/update-000250`, then drop older ones but for the last `keep`.

    Raises AsrcError E1007 where that fails; older checkpoints are then as they were.
    """
    place = _place(folder, checkpoint)
    beside = folder / f".{place.name}.{os.getpid()}.part"
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        _write(beside, checkpoint)
        if place.exists():
            shutil.rmtree(place)
        beside.rename(place)
    except (OSError, AsrcError) as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise _unwritten(place, error) from None
    for old in listed(folder)[:-keep]:
        shutil.rmtree(old, ignore_errors=True)
    _sweep(folder)
    return place


def settle(folder: Path, checkpoint: Checkpoint) -> None:
    """Write what a validation changed in a checkpoint that was saved before it: no tensors.

    Raises AsrcError E1007 where that fails; the checkpoint is then as it was.
    """
    place = _place(folder, checkpoint)
    try:
        _write_state(place, checkpoint)
    except AsrcError as error:
        raise _unwritten(place, error) from None


def _place(folder: Path, checkpoint: Checkpoint) -> Path:
    return folder / f"update-{checkpoint.update:08d}"


def _unwritten(place: Path, error: OSError | AsrcError) -> AsrcError:
    reason = error.diagnostics[0].message if isinstance(error, AsrcError) else str(error)
    message = f"the checkpoint `{place}` cannot be written: {reason}"
    help = "make room; the same command goes on from the newest checkpoint that is whole"
    return AsrcError(diagnostic("E1007", message, help=help))


def _write(beside: Path, checkpoint: Checkpoint) -> None:
    for group, tensors in checkpoint.tensors.items():
        write_tensors(beside / f"{group}.safetensors", tensors)
    _write_state(beside, checkpoint)


def _write_state(place: Path, checkpoint: Checkpoint) -> None:
    state = {
        "format": 1,
        "update": checkpoint.update,
        "position": asdict(checkpoint.position),
        "best": checkpoint.best,
        "digest": checkpoint.digest,
        "due": checkpoint.due,
        "sums": dict(checkpoint.sums),
        "groups": sorted(checkpoint.tensors),
    }
    write_text(place / _STATE, json.dumps(state, indent=1) + "\n")


def _sweep(folder: Path) -> None:
    """What a killed process left half-written."""
    for part in folder.glob(".update-*.part"):
        shutil.rmtree(part, ignore_errors=True)


def listed(folder: Path) -> list[Path]:
    """The checkpoints of a folder, oldest first."""
    return sorted(p for p in folder.glob("update-*") if (p / _STATE).is_file())


def latest(folder: Path, say: Callable[[str], None] | None = None) -> Checkpoint | None:
    """The newest checkpoint that is whole, or `None`; `say` hears of newer ones that are not."""
    for place in reversed(listed(folder)):
        try:
            return load(place)
        except AsrcError as error:
            if say is not None:
                say(f"left out: {error.diagnostics[0].message}")
    return None


def load(place: Path) -> Checkpoint:
    """A checkpoint. Raises AsrcError E1006 where it is damaged."""
    try:
        state: dict[str, Any] = json.loads(read_bytes(place / _STATE))
        groups = {name: read_tensors(place / f"{name}.safetensors")[0] for name in state["groups"]}
        position = Position(**state["position"])
        due, sums = state.get("due", False), dict(state.get("sums", {}))
        best, digest = state["best"], state["digest"]
        return Checkpoint(state["update"], position, best, digest, groups, due, sums)
    except (ValueError, KeyError, TypeError) as error:
        message = f"`{place}` is a damaged checkpoint: {error}"
        raise AsrcError(
            diagnostic("E1006", message, help="remove it to use an older one")
        ) from None
