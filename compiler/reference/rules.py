"""The meaning of every operator: one row each."""

from __future__ import annotations

import numpy as np

from . import attention, audio, elementwise, features, inner, linear, time
from .call import Call, Rule
from .value import Value


def _input(call: Call) -> Value:
    raise ValueError(f"no data for the input `{call.node.path}`")


def _weight(call: Call) -> Value:
    return Value(call.param("value"), np.array(True))


def _constant(call: Call) -> Value:
    number = call.node.attrs["value"]
    return Value(np.array([float(number)]), np.array(True))  # type: ignore[arg-type]


RULES: dict[str, Rule] = {
    "input": _input,
    "weight": _weight,
    "constant": _constant,
    **audio.RULES,
    **time.RULES,
    **linear.RULES,
    **elementwise.RULES,
    **features.RULES,
    **inner.RULES,
    **attention.RULES,
}
