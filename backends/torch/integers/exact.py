"""Integer sums are products of float32 that hold them exactly: no place for autocast."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

Made = TypeVar("Made")


def exactly(compute: Callable[..., Made]) -> Callable[..., Made]:
    """A pass of a function of autograd, in the types that it names, whatever autocast says."""

    @wraps(compute)
    def within(*given: Any) -> Made:
        like = next(x for x in given if isinstance(x, Tensor))
        with torch.autocast(like.device.type, enabled=False):
            return compute(*given)

    return within
