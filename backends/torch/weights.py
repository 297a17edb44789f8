"""Weights in safetensors files, by the names of the facts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...compiler.diagnostics import AsrcError, diagnostic
from ...compiler.files import read_bytes, write_bytes
from .lowered import Lowered
from .narrow import widened


def load_weights(lowered: Lowered, weights: Mapping[str, Tensor], source: str = "weights") -> None:
    """Copy tensors into a model, int8 codes times their steps. Raises AsrcError E1006 where names
    or shapes do not fit."""
    wanted, weights = lowered.tensors(), widened(weights)
    misfit = [*_misfits(wanted, weights)]
    if misfit:
        more = f" and {len(misfit) - 3} more" if len(misfit) > 3 else ""
        message = f"`{source}` does not fit the model: {'; '.join(misfit[:3])}{more}"
        help = "were the model's parameters (`--set`) or its passes others in training?"
        raise AsrcError(diagnostic("E1006", message, help=help))
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(weights[name])


def _misfits(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    found = [f"`{name}` is missing" for name in wanted if name not in given]
    found += [f"`{name}` is not in the model" for name in given if name not in wanted]
    return found + [
        f"`{name}` is {list(given[name].shape)}, the model has {list(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and its notes.

    Raises AsrcError E0008 where it cannot be read, E1006 where it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    data = read_bytes(path)
    try:
        return load(data), _notes(data)
    except (SafetensorError, ValueError, KeyError) as error:
        message = f"`{path}` is no whole safetensors file: {error}"
        raise AsrcError(diagnostic("E1006", message, help="copy or make it again")) from None


def _notes(data: bytes) -> dict[str, str]:
    import json

    size = int.from_bytes(data[:8], "little")
    notes = json.loads(data[8 : 8 + size]).get("__metadata__") or {}
    return {str(name): str(text) for name, text in notes.items()}


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str] | None = None
) -> None:
    """One safetensors file, whole or not at all. Raises AsrcError E0008."""
    from safetensors.torch import save

    plain = {name: x.detach().cpu().contiguous() for name, x in tensors.items()}
    write_bytes(path, save(plain, dict(notes) if notes else None))
