"""The number that keeps a norm from dividing by zero, the same on every backend."""

from __future__ import annotations

from fractions import Fraction
from typing import Final, cast

from .graph import Node

DEFAULT: Final = Fraction(1, 10**5)


def epsilon(node: Node) -> float:
    """The `eps` of a layernorm, rmsnorm or batchnorm, added to a variance or mean square."""
    written = node.attrs["eps"]
    return float(DEFAULT if written is None else cast(Fraction, written))
