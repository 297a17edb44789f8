"""What stays as it is under `torch.compile`: the graph is cut around it, as PyTorch itself cuts
around `nn.LSTM`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch

Function = TypeVar("Function", bound=Callable[..., Any])


def eager(function: Function) -> Function:
    """A function that is called, not compiled.

    `torch.compiler.disable` says the same and loads the compiler, for most of a second, at once;
    this waits until somebody else has loaded it.
    """
    kept: list[Callable[..., Any]] = []

    @wraps(function)
    def called(*args: Any, **options: Any) -> Any:
        if "torch._dynamo" not in sys.modules:
            return function(*args, **options)
        if not kept:
            kept.append(torch.compiler.disable(function))  # type: ignore[no-untyped-call]
        return kept[0](*args, **options)

    called._torchdynamo_disable = True  # type: ignore[attr-defined]
    return called  # type: ignore[return-value]
