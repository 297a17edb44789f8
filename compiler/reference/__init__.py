"""The reference evaluator: what every operator means, in NumPy, on a whole utterance.

Slow and plain on purpose: each backend, and each pass that keeps numerics, is held to it.
"""

from __future__ import annotations

from .evaluate import evaluate
from .rules import RULES
from .value import Value
from .weights import random_weights

__all__ = ["RULES", "Value", "evaluate", "random_weights"]
