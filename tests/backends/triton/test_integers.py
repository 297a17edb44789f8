"""Integer kernels against the executor's own, to the last bit, on sizes that no tile divides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from asrc.backends.nna.fixed import Rescale, multiply, rescale
from asrc.backends.nna.kernels import Site, kernel
from asrc.backends.nna.program import LIMITS, Array, Op, Program, Tensor
from asrc.backends.nna.recipes import Scaled, Softmax
from asrc.backends.triton.exact import channels_of, scores_of, single_of, site_of, windows_of
from asrc.backends.triton.kernels import integer_products, integers
from asrc.backends.triton.kernels.integer_products import Channels, Windows
from asrc.backends.triton.kernels.integers import Codes, Single
from asrc.tests.backends.triton.guard import Guards

Chance = np.random.Generator
CPU = torch.device("cpu")
STREAMS = 3


def scale(chance: Chance, low: float = 1e-3, high: float = 0.2) -> float:
    return float(np.float32(np.exp(chance.uniform(np.log(low), np.log(high)))))


def active(chance: Chance, name: str, shape: tuple[int, ...], dtype: str = "int8") -> Tensor:
    """An activation: int16 has no zero point."""
    zero = int(chance.choice([-128, -3, 0, 77, 127])) if dtype == "int8" else 0
    return Tensor(name, shape, dtype, scale(chance), zero)


def codes(chance: Chance, tensor: Tensor, streams: int = STREAMS) -> Array:
    """Of so many streams, of all sizes, the extreme ones among them."""
    low, high = LIMITS[tensor.dtype]
    shape = (streams, *tensor.shape[1:])
    drawn = chance.integers(low, high, shape, endpoint=True) * chance.choice([0.02, 1.0], shape)
    ends = chance.choice([low, high], shape)
    return np.where(chance.random(shape) < 0.1, ends, np.rint(drawn)).astype(tensor.dtype)


def constant(chance: Chance, tensor: Tensor) -> Tensor:
    return replace(tensor, data=codes(chance, tensor, tensor.shape[0]))


def site(kind: str, inputs: list[Tensor], output: Tensor, **options: Any) -> Site:
    """As an executor builds it."""
    op = Op(kind, tuple(t.name for t in inputs), output.name, options)
    given = tuple(t.name for t in inputs if t.data is None)
    tensors = {t.name: t for t in (*inputs, output)}
    return site_of(Program("one", tensors, (op,), given, (output.name,)), op)


def wanted(one: Site, *given: Array) -> Array:
    """Stream by stream; what is constant has one row for all."""
    run = kernel(one)
    rows = [[x[min(n, len(x) - 1)][None] for x in given] for n in range(max(map(len, given)))]
    return np.concatenate([run(row) for row in rows])


def same(found: torch.Tensor, expected: Array) -> None:
    assert (found.shape, found.numpy().dtype) == (expected.shape, expected.dtype)
    assert np.array_equal(found.numpy(), expected)


def room(guards: Guards, expected: Array) -> torch.Tensor:
    return guards.room(*expected.shape, dtype=getattr(torch, str(expected.dtype)))


# --- sums of products ---


def filtered(
    chance: Chance, kind: str, size: tuple[int, ...], filter: Windows, count: int,
    dtype: str = "int8", *, per_channel: bool = True,
) -> Site:  # fmt: skip
    """`[1, H, W, C]` and a filter to `count` channels."""
    x, axis = active(chance, "x", size), 0 if kind == "conv" else 3
    shape = (count, *filter.size, size[3]) if axis == 0 else (1, *filter.size, count)
    scales = tuple(scale(chance, 1e-3, 1e-1) for _ in range(count))
    given = scales if per_channel else scales[0]
    weight = constant(chance, Tensor("w", shape, "int8", given, 0, axis))
    bias = Tensor("b", (count,), "int32", data=chance.integers(-9000, 9000, count, np.int32))
    shape = (1, *filter.places(size), count)
    y = replace(active(chance, "y", shape, dtype), scale=scale(chance, 0.005, 2.0))
    options = {"stride": filter.stride, "dilation": filter.dilation}
    return site(kind, [x, weight, bias], y, **options)


def held(guards: Guards, one: Site) -> Channels:
    made = channels_of(one, CPU)
    return Channels(*(guards.put(x) for x in (made.weight, made.bias, made.multiplier, made.shift)))


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize(("rows", "k", "n"), [(1, 1, 1), (1, 130, 33), (2, 257, 5), (4, 70, 66),
                                              (13, 300, 130)])  # fmt: skip
def test_products(rows: int, k: int, n: int, per_channel: bool, dtype: str) -> None:
    """Of few rows and of many, three streams of them."""
    chance, guards = np.random.default_rng([rows, k, n]), Guards()
    one = filtered(chance, "conv", (1, rows, 1, k), Windows((1, 1)), n, dtype,
                   per_channel=per_channel)  # fmt: skip
    x = codes(chance, one.tensors[0])
    expected = wanted(one, x)
    y, to = room(guards, expected), Codes(getattr(torch, dtype), one.output.zero)
    found = integer_products.product(guards.put(torch.tensor(x)), held(guards, one), to, y)
    same(found, expected)
    guards.check()


FILTERS = (
    Windows((3, 3), (2, 1)),
    Windows((1, 2), (1, 3), (1, 2)),
    Windows((5, 1), (1, 1), (2, 1)),
    Windows((1, 1), (2, 3)),
)


@pytest.mark.parametrize("windows", FILTERS)
@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_filters(kind: str, windows: Windows) -> None:
    """Their windows, strides and dilations; of depthwise ones where the codes lie."""
    for seed, channels in enumerate((1, 7, 70)):
        chance, guards = np.random.default_rng([seed, *windows.size]), Guards()
        count = 9 if kind == "conv" else channels
        dtype = ("int8", "int16")[seed % 2]
        one = filtered(chance, kind, (1, 11, 8, channels), windows, count, dtype)
        x = codes(chance, one.tensors[0])
        expected = wanted(one, x)
        assert windows_of(one) == windows
        y, to = room(guards, expected), Codes(getattr(torch, dtype), one.output.zero)
        given, rows = held(guards, one), guards.put(torch.tensor(x))
        if kind == "conv":
            found = integer_products.product(windows.of(rows), given, to, y.flatten(0, 2))
        else:
            found = integer_products.depthwise(rows, given, windows, to, y)
        same(found, expected)
        guards.check()


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("heads", "n", "k", "m"), [(1, 1, 1, 1), (2, 3, 33, 17), (3, 17, 40, 70)])
def test_products_of_activations(heads: int, n: int, k: int, m: int, turned: bool) -> None:
    """Both zeros; of codes that lie turned, as heads do, and of the largest ones."""
    chance, guards = np.random.default_rng([heads, n, k, m]), Guards()
    a = replace(active(chance, "a", (1, heads, n, k)), zero=-128)
    b = active(chance, "b", (1, heads, m, k) if turned else (1, heads, k, m))
    b = replace(b, zero=int(chance.choice([-128, 77, 127])))
    y = replace(active(chance, "y", (1, heads, n, m)), scale=scale(chance, 0.05, 1.0))
    one = site("matmul", [a, b], y, turned=turned)
    first, second = codes(chance, a), codes(chance, b)
    first[0], second[0] = LIMITS["int8"][a.zero < 0], LIMITS["int8"][b.zero < 0]
    expected = wanted(one, first, second)
    x = guards.put(torch.tensor(first.swapaxes(1, 2))).transpose(1, 2)
    found = room(guards, expected)
    integer_products.matmul(x, guards.put(torch.tensor(second)), scores_of(one), found)
    same(found, expected)
    guards.check()


# --- single codes ---


def paired(chance: Chance, kind: str, dtype: str, second: tuple[int, ...]) -> Site:
    shape = (1, 5, 3, 70)
    a, b = active(chance, "a", shape, dtype), active(chance, "b", second, dtype)
    y = active(chance, "y", shape, dtype)
    if kind in ("maximum", "minimum"):
        b, y = (replace(t, scale=a.scale, zero=a.zero) for t in (b, y))
    return site(kind, [a, b], y)


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "maximum", "minimum"])
def test_pairs(kind: str, dtype: str) -> None:
    """The second one may be the same along some axes, and for all streams."""
    others = (1, (1, 5, 3, 70)), (STREAMS, (1, 1, 3, 1)), (STREAMS, (1, 1, 1, 70))
    for seed, (streams, second) in enumerate(others):
        chance, guards = np.random.default_rng([seed, *kind.encode()]), Guards()
        one = paired(chance, kind, dtype, second)
        a, b = codes(chance, one.tensors[0]), codes(chance, one.tensors[1], streams)
        expected = wanted(one, a, b)
        found = room(guards, expected)
        both = (guards.put(torch.tensor(x)) for x in (a, b))
        integers.single(single_of(one, CPU), *both, out=found)
        same(found, expected)
        guards.check()


@pytest.mark.parametrize("kind", ["add", "sub", "mul"])
def test_all_pairs_of_codes(kind: str) -> None:
    """65,536 of them, for several scales."""
    every = np.arange(-128, 128, dtype=np.int8)
    for seed in range(2):
        chance = np.random.default_rng([seed, *kind.encode()])
        a, b = active(chance, "a", (1, 256, 1, 1)), active(chance, "b", (1, 1, 256, 1))
        one = site(kind, [a, b], active(chance, "y", (1, 256, 256, 1)))
        given = every.reshape(a.shape), every.reshape(b.shape)
        found = integers.single(single_of(one, CPU), *(torch.tensor(x) for x in given))
        same(found, wanted(one, *given))


@pytest.mark.parametrize("to", ["int8", "int16"])
@pytest.mark.parametrize("of", ["int8", "int16"])
def test_other_scales(of: str, to: str) -> None:
    for seed in range(6):
        chance, guards = np.random.default_rng(seed), Guards()
        x, y = active(chance, "x", (1, 3, 5, 77), of), active(chance, "y", (1, 3, 5, 77), to)
        one, given = site("requantise", [x], y), codes(chance, x)
        expected = wanted(one, given)
        found = room(guards, expected)
        integers.single(single_of(one, CPU), guards.put(torch.tensor(given)), out=found)
        same(found, expected)
        guards.check()


OUTPUTS: Mapping[str, tuple[float, int]] = {
    "sigmoid": (1 / 256, -128),
    "tanh": (1 / 128, 0),
    "rsqrt": (0.03, -11),
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_tables(kind: str) -> None:
    """All codes of a table."""
    for seed in range(3):
        chance, guards = np.random.default_rng(seed), Guards()
        x = active(chance, "x", (1, 2, 3, 86))
        one = site(kind, [x], Tensor("y", x.shape, "int8", *OUTPUTS[kind]))
        given = np.resize(np.arange(-128, 128), (STREAMS, *x.shape[1:])).astype(np.int8)
        expected, op = wanted(one, given), single_of(one, CPU)
        found, table = room(guards, expected), guards.put(op.table)
        integers.single(replace(op, table=table), guards.put(torch.tensor(given)), out=found)
        same(found, expected)
        guards.check()


def test_operands_lie_anywhere() -> None:
    """Parts of a wider tensor, every other code, axes turned."""
    chance = np.random.default_rng(3)
    one = paired(chance, "add", "int8", (1, 5, 3, 70))
    wide = torch.tensor(chance.integers(-128, 128, (STREAMS, 5, 3, 200), np.int8))
    turned = torch.tensor(chance.integers(-128, 128, (70, 3, STREAMS, 5), np.int8))
    a, b = wide[..., 9:149:2], turned.permute(2, 3, 1, 0)
    same(integers.single(single_of(one, CPU), a, b), wanted(one, a.numpy(), b.numpy()))


# --- rows ---


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("width", [1, 2, 3, 33, 300, 1025])
def test_means(width: int, dtype: str) -> None:
    chance, guards = np.random.default_rng(width), Guards()
    x, y = active(chance, "x", (1, 5, 1, width), dtype), active(chance, "y", (1, 5, 1, 1), dtype)
    one = site("mean", [x], replace(y, scale=x.scales[0] * 0.7), axes=(3,))
    given = codes(chance, x)
    expected = wanted(one, given)
    assert isinstance(one.recipe, Scaled)
    found = room(guards, expected.reshape(-1))
    rows, to = guards.put(torch.tensor(given)).flatten(0, 2), Codes(found.dtype, y.zero)
    integers.mean(rows, x.zero, one.recipe.by[0], to, found)
    same(found.view(expected.shape), expected)
    guards.check()


@pytest.mark.parametrize("size", [1e-4, 0.01, 0.3, 20.0])
@pytest.mark.parametrize("width", [1, 2, 33, 130])
def test_shares(width: int, size: float) -> None:
    """Of random codes, of equal ones, of one that stands out."""
    chance, guards = np.random.default_rng(width), Guards()
    x = replace(active(chance, "x", (1, 1, 5, width)), scale=size)
    one = site("softmax", [x], Tensor("y", x.shape, "int8", 1 / 256, -128), beta=0.6)
    given = codes(chance, x)
    given[0, 0, 0], given[0, 0, 1], given[0, 0, 2:] = -128, 127, -128
    given[0, 0, 2:, width // 2] = 127
    expected = wanted(one, given)
    assert isinstance(one.recipe, Softmax)
    found = room(guards, expected)
    rows = guards.put(torch.tensor(given))
    integers.softmax(rows, one.recipe.by, one.recipe.least, found)
    same(found, expected)
    guards.check()


def test_the_widest_row() -> None:
    """Its sum of exponentials takes all bits."""
    x = Tensor("x", (1, 1, 1, integers.WIDEST), "int8", 0.1)
    one = site("softmax", [x], Tensor("y", x.shape, "int8", 1 / 256, -128))
    assert isinstance(one.recipe, Softmax)
    for least in (5, -3):
        given = np.full(x.shape, 5, np.int8)
        given[..., ::7] = least
        found = integers.softmax(torch.tensor(given), one.recipe.by, one.recipe.least)
        same(found, wanted(one, given))


@pytest.mark.parametrize("factor", [0.0, 2.0**-31, 1e-7, 0.5, 1.0, 77.7, 2.0**20])
def test_factors(factor: float) -> None:
    """Of all sizes, halves among what is rounded."""
    by = rescale(factor)
    every = np.arange(-(1 << 15), 1 << 15, 7, dtype=np.int16)
    made = integers.Single("requantise", Codes(torch.int16), by=(by, by, by))
    found = integers.single(made, torch.tensor(every))
    expected = np.clip(multiply(every.astype(np.int64), by.multiplier, by.shift), *LIMITS["int16"])
    same(found, expected.astype(np.int16))


# --- what does not fit ---

HALF = Rescale(1 << 30, 0)


def narrow(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.int8)


def channels(*shape: int) -> Channels:
    numbers = (
        torch.zeros(shape[0], dtype=kind) for kind in (torch.int64, torch.int32, torch.int32)
    )
    return Channels(narrow(*shape), *numbers)


def test_other_sizes_are_refused() -> None:
    to = Codes(torch.int8)
    with pytest.raises(ValueError, match="rows of 4 codes, and weights for 5"):
        integer_products.product(narrow(1, 4), channels(3, 5), to)
    with pytest.raises(ValueError, match="int32 holds"):
        integer_products.product(narrow(1, 1 << 17), channels(1, 1 << 17), to)
    with pytest.raises(ValueError, match=r"4 channels, and a filter \[3, 5\]"):
        integer_products.depthwise(narrow(1, 9, 1, 4), channels(3, 5), Windows((3, 1)), to)
    scores = integer_products.Scores((0, 0), HALF, to)
    with pytest.raises(ValueError, match="rows of 4 codes, and columns of 5"):
        integer_products.matmul(narrow(1, 2, 4), narrow(1, 5, 2), scores)
    with pytest.raises(ValueError, match="5 axes"):
        integer_products.matmul(narrow(1, 1, 1, 2, 4), narrow(4, 2), scores)
    with pytest.raises(ValueError, match="5 axes"):
        integers.single(Single("requantise", to), narrow(1, 2, 1, 1, 2))
    with pytest.raises(ValueError, match="each code of int8"):
        integers.single(Single("table", to), narrow(3).to(torch.int16))
    with pytest.raises(ValueError, match="rows of 4097 codes"):
        integers.softmax(narrow(1, 4097), HALF, -1)


def test_nothing_of_nothing() -> None:
    to = Codes(torch.int8)
    assert integer_products.product(narrow(0, 4), channels(3, 4), to).shape == (0, 3)
    made = integer_products.depthwise(narrow(0, 9, 1, 3), channels(3, 3), Windows((3, 1)), to)
    assert made.shape == (0, 7, 1, 3)
    assert integers.single(Single("requantise", to), narrow(2, 0)).shape == (2, 0)
    assert integers.softmax(narrow(0, 4), HALF, -1).shape == (0, 4)


def test_what_must_be_read() -> None:
    """Weights and their numbers once, rows and their results."""
    given = channels(6, 40)
    assert given.nbytes == 6 * 40 + 6 * (8 + 4 + 4)
    assert integer_products.cost(2, given, Codes(torch.int16)).bytes == given.nbytes + 80 + 24
    pair = [narrow(2, 6), narrow(1, 6)]
    assert integers.cost(pair, Codes(torch.int16)).bytes == 12 + 6 + 24
