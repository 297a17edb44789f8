"""The text of a program with softmax in NumPy, by TOSA's specification: no tools are needed.

Operators that softmax is written in alone. What the specification demands of operands is asserted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from asrc.backends.nna.program import LIMITS, Array

_LINE = re.compile(r"(%\w+) = \"?tosa\.(\w+)\"?(.*) -> tensor<([\dx]*)x(i\d+)>")
_DTYPES = {"i8": "int8", "i16": "int16", "i32": "int32"}


def made_of(text: str, given: Sequence[Array]) -> list[Array]:
    """Every value that the text makes of its inputs."""
    values = {f"%arg{n}": x.astype(np.int64) for n, x in enumerate(given)}
    for line in text.splitlines():
        if match := _LINE.search(line):
            name, op, rest, shape, element = match.groups()
            sizes = [int(n) for n in shape.split("x")]
            dtype = _DTYPES[element]
            found = _constant(rest, sizes, dtype) if op == "const" else _run(op, rest, values)
            if op == "rescale":
                found = np.clip(found, *LIMITS[dtype])
            _within(found, dtype)
            assert list(found.shape) == sizes, line
            values[name] = found
    return list(values.values())


def _constant(rest: str, shape: list[int], dtype: str) -> Array:
    one = re.search(r"dense<\"?(0x)?(-?\w+)\"?>", rest)
    assert one is not None
    if one[1] is None:
        return np.full(shape, int(one[2]), np.int64)
    raw = np.frombuffer(bytes.fromhex(one[2]), np.dtype(dtype).newbyteorder("<"))
    return raw.reshape(shape).astype(np.int64)


def _run(op: str, rest: str, values: Mapping[str, Array]) -> Array:
    names, _, attrs = rest.partition("{")
    ins = [values[name] for name in re.findall(r"%\w+", names.partition(" : ")[0])]
    axis = re.search(r"axis = (\d+)", attrs)
    if axis is not None:
        return _REDUCED[op](ins[0], axis=int(axis[1]), keepdims=True)
    if op == "arithmetic_right_shift":
        assert "round = true" in attrs
    assert op != "rescale" or "DOUBLE_ROUND" in attrs
    return _MADE[op](*ins)


_REDUCED: Mapping[str, Callable[..., Array]] = {"reduce_max": np.max, "reduce_sum": np.sum}


def _within(x: Array, dtype: str) -> None:
    low, high = LIMITS[dtype]
    assert x.min() >= low
    assert x.max() <= high


def _right(x: Array, bits: Array) -> Array:
    """Rounded."""
    assert bits.min() >= 0
    assert bits.max() <= 31
    return (x >> bits) + (x >> np.maximum(bits - 1, 0) & 1) * (bits > 0)


def _left(x: Array, bits: Array) -> Array:
    """In 32 bits: what is above them is lost."""
    assert bits.min() >= 0
    assert bits.max() <= 31
    return (x << bits).astype(np.int32).astype(np.int64)


def _mul(x: Array, y: Array, shift: Array) -> Array:
    return (x * y + (1 << int(shift[0]) - 1)) >> int(shift[0])


def _table(x: Array, table: Array) -> Array:
    """Of int16: 512 steps of 128 codes, straight lines in each."""
    place, part = (x >> 7) + 256, x & 127
    slope = table[place + 1] - table[place]
    _within(slope, "int16")
    return table[place] * 128 + slope * part


def _rescale(x: Array, multiplier: Array, shift: Array, zero: Array, out: Array) -> Array:
    """By one factor with a shift of at most 31, for which both roundings are one; the caller
    saturates it."""
    assert int(shift[0]) <= 31
    assert zero[0] == 0
    return _mul(x, multiplier, shift) + out[0]


_MADE: Mapping[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "minimum": np.minimum,
    "bitwise_and": np.bitwise_and,
    "clz": lambda x: 32 - np.array([int(n).bit_length() for n in x.flat]).reshape(x.shape),
    "logical_left_shift": _left,
    "arithmetic_right_shift": _right,
    "mul": _mul,
    "table": _table,
    "rescale": _rescale,
}
