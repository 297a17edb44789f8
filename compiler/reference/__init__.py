"""The reference evaluator: what every operator means, in NumPy, on a whole utterance.

Slow and plain on purpose: each backend, and each pass that keeps numerics, is held to it.
"""

from __future__ import annotations

from .evaluate import evaluate
from .plan import Loop, Plan, Planner, make_plan
from .rules import RULES
from .value import Value, index_rank, own_axes
from .weights import random_weights

__all__ = [
    "RULES",
    "Loop",
    "Plan",
    "Planner",
    "Value",
    "evaluate",
    "index_rank",
    "make_plan",
    "own_axes",
    "random_weights",
]
