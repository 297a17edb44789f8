"""Evaluation, or double precision, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .lowered import Lowered


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Dropout off and statistics fixed, until the end."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)


@contextmanager
def doubled(lowered: Lowered) -> Iterator[None]:
    """In double precision, until the end; parameters come back as they were."""
    before = lowered.like.dtype
    lowered.to(torch.float64)
    try:
        yield
    finally:
        lowered.to(before)
