"""Every operator on random codes: the executor's integers are LiteRT's, all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.kernels import KERNELS
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.program import LIMITS, Array, Op, Program, Tensor
from asrc.backends.nna.recipes import RECIPES
from asrc.backends.nna.tflite import OPERATORS

Chance = np.random.Generator


def codes(chance: Chance, tensor: Tensor) -> Array:
    """Of all sizes, the extreme ones among them."""
    low, high = LIMITS[tensor.dtype]
    spread = chance.choice([0.02, 0.3, 1.0], tensor.shape)
    drawn = chance.integers(low, high, tensor.shape, endpoint=True) * spread
    return np.rint(drawn).astype(tensor.dtype)


def scale(chance: Chance, low: float = 1e-3, high: float = 0.2) -> float:
    return float(np.float32(np.exp(chance.uniform(np.log(low), np.log(high)))))


def active(chance: Chance, name: str, shape: tuple[int, ...], dtype: str = "int8") -> Tensor:
    """An activation: int16 has no zero point."""
    zero = int(chance.integers(-128, 128)) if dtype == "int8" else 0
    return Tensor(name, shape, dtype, scale(chance), zero)


def one(op: Op, inputs: list[Tensor], output: Tensor, *constants: Tensor) -> Program:
    tensors = {t.name: t for t in (*inputs, *constants, output)}
    return Program("one", tensors, (op,), tuple(t.name for t in inputs), (output.name,))


def convolution(chance: Chance, depthwise: bool) -> Program:
    height, width, channels, out = (int(n) for n in chance.integers((3, 3, 1, 1), (9, 9, 40, 30)))
    kernel = tuple(int(n) for n in chance.integers(1, 4, 2))
    out = channels if depthwise else out
    x = active(chance, "x", (1, height, width, channels))
    shape = (1, *kernel, channels) if depthwise else (out, *kernel, channels)
    scales = tuple(scale(chance, 1e-3, 1e-1) for _ in range(out))
    axis = 3 if depthwise else 0
    weight = Tensor("w", shape, "int8", scales, 0, axis)
    weight = replace(weight, data=codes(chance, weight))
    bias = chance.integers(-9000, 9000, out).astype(np.int32)
    b = Tensor(
        "b", (out,), "int32", tuple(np.float32(x.scale) * np.float32(s) for s in scales), data=bias
    )
    stride = tuple(int(n) for n in chance.integers(1, 3, 2))
    size = [(n - k) // s + 1 for n, k, s in zip((height, width), kernel, stride, strict=True)]
    y = Tensor(
        "y", (1, *size, out), "int8", scale(chance, 0.05, 2.0), int(chance.integers(-128, 128))
    )
    kind = "depthwise" if depthwise else "conv"
    return one(Op(kind, ("x", "w", "b"), "y", {"stride": stride}), [x], y, weight, b)


def matmul(chance: Chance) -> Program:
    batch, n, k, m = (int(v) for v in chance.integers(1, (4, 6, 40, 12)))
    turned = bool(chance.integers(2))
    a = active(chance, "a", (1, batch, n, k))
    b = active(chance, "b", (1, batch, m, k) if turned else (1, batch, k, m))
    y = Tensor(
        "y", (1, batch, n, m), "int8", scale(chance, 0.05, 1.0), int(chance.integers(-20, 20))
    )
    return one(Op("matmul", ("a", "b"), "y", {"turned": turned}), [a, b], y)


def pair(chance: Chance, kind: str) -> Program:
    dtype = ("int8", "int16")[int(chance.integers(2))]
    shape = tuple(int(n) for n in chance.integers(1, 9, 4))
    shape = (1, *shape[1:])
    other = tuple(1 if chance.random() < 0.2 else n for n in shape)
    a, b, y = (
        active(chance, "a", shape, dtype),
        active(chance, "b", other, dtype),
        active(chance, "y", shape, dtype),
    )
    if kind in ("maximum", "minimum"):
        b, y = (replace(t, scale=a.scale, zero=a.zero) for t in (b, y))
    return one(Op(kind, ("a", "b"), "y"), [a, b], y)


def requantised(chance: Chance) -> Program:
    shape = (1, 3, 50, 7)
    kinds = [("int8", "int8"), ("int8", "int16"), ("int16", "int8"), ("int16", "int16")]
    first, second = kinds[int(chance.integers(4))]
    x, y = active(chance, "x", shape, first), active(chance, "y", shape, second)
    return one(Op("requantise", ("x",), "y"), [x], y)


def table(chance: Chance, kind: str) -> Program:
    x = replace(active(chance, "x", (1, 1, 16, 16)), scale=scale(chance, 0.005, 0.2))
    out, zero = {"sigmoid": (1 / 256, -128), "tanh": (1 / 128, 0)}[kind]
    return one(Op(kind, ("x",), "y"), [x], Tensor("y", x.shape, "int8", out, zero))


def softmax(chance: Chance) -> Program:
    x = replace(
        active(chance, "x", (1, 2, 30, int(chance.integers(2, 60)))), scale=scale(chance, 0.01, 1.0)
    )
    return one(Op("softmax", ("x",), "y"), [x], Tensor("y", x.shape, "int8", 1 / 256, -128))


def mean(chance: Chance) -> Program:
    dtype = ("int8", "int16")[int(chance.integers(2))]
    x = active(chance, "x", (1, 3, 5, int(chance.integers(2, 300))), dtype)
    y = replace(
        active(chance, "y", (1, 3, 5, 1), dtype),
        scale=float(np.float32(x.scales[0] * chance.uniform(0.1, 2))),
    )
    return one(Op("mean", ("x",), "y", {"axes": (3,)}), [x], y)


def root(chance: Chance) -> Program:
    """Of codes that are not below the zero point, all of them among these."""
    x = active(chance, "x", (1, 2, 16, 16))
    high = (127 - x.zero) * x.scales[0]
    y = active(chance, "y", x.shape)
    y = replace(y, scale=float(np.float32(high**-0.5 / chance.uniform(20, 100))))
    return one(Op("rsqrt", ("x",), "y"), [x], y)


def moved(chance: Chance, kind: str) -> Program:
    x = active(chance, "x", (1, 4, 6, 8))
    if kind == "concat":
        other = replace(x, name="z", shape=(1, 2, 6, 8))
        y = replace(x, name="y", shape=(1, 6, 6, 8))
        return one(Op(kind, ("x", "z"), "y", {"axis": 1}), [x, other], y)
    options, shape = {
        "slice": ({"axis": 2, "first": 1, "count": 3, "by": 2}, (1, 4, 3, 8)),
        "reshape": ({}, (1, 1, 24, 8)),
        "transpose": ({"order": (0, 2, 1, 3)}, (1, 6, 4, 8)),
    }[kind]
    return one(Op(kind, ("x",), "y", options), [x], replace(x, name="y", shape=shape))


def drawn(kind: str, chance: Chance) -> Program:
    if kind in ("conv", "depthwise"):
        return convolution(chance, kind == "depthwise")
    if kind in ("add", "sub", "mul", "maximum", "minimum"):
        return pair(chance, kind)
    if kind in ("sigmoid", "tanh"):
        return table(chance, kind)
    made = {
        "matmul": matmul,
        "requantise": requantised,
        "softmax": softmax,
        "mean": mean,
        "rsqrt": root,
    }
    return made[kind](chance) if kind in made else moved(chance, kind)


def programs(kind: str, count: int) -> Iterator[tuple[Program, dict[str, Array]]]:
    for seed in range(count):
        chance = np.random.default_rng([seed, *kind.encode()])
        program = drawn(kind, chance)
        yield program, {n: given(kind, chance, program.tensors[n]) for n in program.inputs}


def given(kind: str, chance: Chance, tensor: Tensor) -> Array:
    drawn = codes(chance, tensor)
    if kind != "rsqrt":
        return drawn
    low, high = tensor.zero, LIMITS[tensor.dtype][1]
    every = np.resize(np.arange(low, high + 1), tensor.shape)
    return every.astype(tensor.dtype)


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_the_integers_are_those_of_litert(kind: str) -> None:
    different = []
    for program, inputs in programs(kind, 60):
        ours, theirs = Executor(program).step(inputs)["y"], LiteRt(program).step(inputs)["y"]
        if not np.array_equal(ours, theirs):
            gap = np.abs(ours.astype(int) - theirs.astype(int))
            different.append((program.tensors, int((gap > 0).sum()), gap.size, int(gap.max())))
    assert not different, (len(different), different[0])


@pytest.mark.parametrize("kind", sorted(RECIPES))
def test_rows_at_once_are_rows_alone(kind: str) -> None:
    chance = np.random.default_rng([7, *kind.encode()])
    for program, inputs in programs(kind, 12):
        rows = [inputs, *({n: given(kind, chance, program.tensors[n]) for n in inputs},) * 2]
        stacked = {n: np.concatenate([row[n] for row in rows]) for n in inputs}
        found = Executor(program).step(stacked)["y"]
        for row, codes in zip(rows, found, strict=True):
            assert np.array_equal(codes, Executor(program).step(row)["y"][0])


def test_every_operator_has_every_row() -> None:
    assert RECIPES.keys() == KERNELS.keys() == OPERATORS.keys()


PAIRS = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128), indexing="ij"))


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_all_pairs_of_codes(kind: str) -> None:
    """65,536 pairs, for several scales."""
    inputs = dict(zip("ab", PAIRS.astype(np.int8)[:, None, :, :, None], strict=True))
    for seed in range(6):
        chance = np.random.default_rng([seed, *kind.encode(), 1])
        a, b, y = (active(chance, name, (1, 256, 256, 1)) for name in "aby")
        program = one(Op(kind, ("a", "b"), "y"), [a, b], y)
        ours, theirs = Executor(program).step(inputs)["y"], LiteRt(program).step(inputs)["y"]
        assert np.array_equal(ours, theirs)


def test_saturated_codes_are_counted() -> None:
    """Those that the output cannot hold, not those at its ends."""
    x, y = Tensor("x", (1, 1, 1, 6), "int16", 1.0), Tensor("y", (1, 1, 1, 6), "int8", 1.0)
    program = one(Op("requantise", ("x",), "y"), [x], y)
    executor = Executor(program)
    codes = np.array([-129, -128, 0, 127, 128, 3000], np.int16).reshape(x.shape)
    assert executor.step({"x": codes})["y"].ravel().tolist() == [-128, -128, 0, 127, 127, 127]
    executor.step({"x": codes})
    assert executor.saturated == {"y": 6}
