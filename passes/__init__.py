"""Passes: graph in, graph out. One file a pass; `from asrc.passes import Mask` loads that one."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cse import Cse
    from .dce import Dce
    from .fold_constants import FoldConstants
    from .fold_norm import FoldNorm
    from .mask import Mask
    from .quantize import Quantize
    from .stream import Stream
    from .substitute import Substitute

_HOMES = {
    "Cse": "cse",
    "Dce": "dce",
    "FoldConstants": "fold_constants",
    "FoldNorm": "fold_norm",
    "Mask": "mask",
    "Quantize": "quantize",
    "Stream": "stream",
    "Substitute": "substitute",
}

__all__ = ["Cse", "Dce", "FoldConstants", "FoldNorm", "Mask", "Quantize", "Stream", "Substitute"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
