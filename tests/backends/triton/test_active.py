"""Rows that a gate lets through: their list, and a feed-forward on them alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from asrc.backends.triton.kernels import active
from asrc.backends.triton.kernels.active import Around, Norm, compact, cost, feed_forward, reference
from asrc.backends.triton.packed import Packed, Weight
from asrc.tests.backends.triton.guard import Guards, close, random
from asrc.tests.backends.triton.test_linear import narrow

WIDTH, HIDDEN = 33, 140
PATTERNS = ("none", "all", "alternate", "random", "last")


def gates(rows: int, pattern: str) -> Tensor:
    r = torch.arange(rows)
    made = {"none": r < 0, "all": r >= 0, "alternate": r % 2 == 0, "last": r == rows - 1}
    return made[pattern] if pattern in made else random(rows, seed=rows) > 0.3


def weights(bits: int, width: int = WIDTH, hidden: int = HIDDEN) -> tuple[Weight, Weight]:
    up = random(hidden, width, seed=1) / width**0.5
    down = random(width, hidden, seed=2) / hidden**0.5
    return (narrow(up, bits), narrow(down, bits)) if bits else (up, down)


def around(*, norm: bool = True) -> Around:
    of = Norm(1 + random(WIDTH, seed=3), random(WIDTH, seed=4)) if norm else None
    return Around(random(HIDDEN, seed=5), random(WIDTH, seed=6), "swish", 0.5, of)


@pytest.fixture
def guards(monkeypatch: pytest.MonkeyPatch) -> Guards:
    """Around what is made for the kernels, too; the interpreter names a device with its own."""
    made, plain = Guards(), Tensor.new_empty

    def new_empty(like: Tensor, *shape: Any, **options: Any) -> Tensor:
        empty = plain(like, *shape, **options)
        return empty if "device" in options else made.room(*empty.shape, dtype=empty.dtype)

    monkeypatch.setattr(Tensor, "new_empty", new_empty)
    return made


def held(guards: Guards, weight: Weight) -> Weight:
    if not isinstance(weight, Packed):
        return guards.put(weight)
    words, book, scale = (guards.put(x) for x in (weight.words, weight.book, weight.scale))
    return replace(weight, words=words, book=book, scale=scale)


# --- the list ---------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("rows", [1, 2, 31, 64, 1000, 4096, 4097, 12_345])
def test_list(rows: int, pattern: str, guards: Guards) -> None:
    gate = gates(rows, pattern)
    index, count = compact(guards.put(gate))
    wanted = torch.nonzero(gate)[:, 0]
    assert (index.dtype, count.dtype) == (torch.int32, torch.int32)
    assert count.tolist() == [len(wanted)]
    assert torch.equal(index[: len(wanted)].long(), wanted)
    assert torch.equal(-1 - index[len(wanted) :].long(), torch.nonzero(~gate)[:, 0])
    guards.check()


def test_list_of_more_blocks_than_are_summed_at_once() -> None:
    gate = gates(257 * 4096 + 5, "random")
    index, count = compact(gate)
    wanted = torch.nonzero(gate)[:, 0]
    assert count.tolist() == [len(wanted)]
    assert torch.equal(index[: len(wanted)].long(), wanted)


def test_list_of_nothing() -> None:
    index, count = compact(torch.zeros(0, dtype=torch.bool))
    assert (index.shape, count.tolist()) == ((0,), [0])


def test_gates_of_a_wider_tensor() -> None:
    gate = gates(60, "random").view(6, 10)[:, ::3]
    index, count = compact(gate)
    wanted = torch.nonzero(gate.reshape(-1))[:, 0]
    assert torch.equal(index[: int(count)].long(), wanted)


# --- the feed-forward -------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("norm", [False, True])
def test_float_products(pattern: str, norm: bool, guards: Guards) -> None:
    """Of more rows than a tile has; some tiles have none that is active."""
    x, gate, about = random(3, 97, WIDTH), gates(291, pattern).view(3, 97), around(norm=norm)
    up, down = weights(0)
    y = guards.room(3, 97, WIDTH)
    given = (guards.put(x), guards.put(gate), held(guards, up), held(guards, down))
    feed_forward(*given, about, out=y)
    close(y, reference(x, gate, up, down, about), 1e-5)
    assert torch.equal(y[~gate], x[~gate])
    guards.check()


@pytest.mark.parametrize("bits", [1, 3, 4, 5, 8])
@pytest.mark.parametrize("rows", [1, 3, 131])
def test_packed_products(bits: int, rows: int, guards: Guards) -> None:
    x, gate, about = random(rows, WIDTH), gates(rows, "last" if rows < 3 else "random"), around()
    up, down = weights(bits)
    y = guards.room(rows, WIDTH)
    given = (guards.put(x), guards.put(gate), held(guards, up), held(guards, down))
    feed_forward(*given, about, out=y)
    close(y, reference(x, gate, up, down, about), 1e-5)
    assert torch.equal(y[~gate], x[~gate])
    guards.check()


@pytest.mark.parametrize("activation", ["none", "relu", "gelu"])
def test_without_biases_and_with_rms_norm(activation: str) -> None:
    about = Around(None, None, activation, -2.0, Norm(1 + random(WIDTH, seed=3), eps=1e-3))
    given = (random(5, 7, WIDTH), gates(35, "random").view(5, 7), *weights(0), about)
    close(feed_forward(*given), reference(*given), 1e-5)


@pytest.mark.parametrize("bits", [0, 4])
def test_other_rows_are_zero_without_a_residual(bits: int) -> None:
    gate, about = gates(140, "random"), replace(around(), residual=False)
    x = random(140, WIDTH).masked_fill(~gate[:, None], float("nan"))
    given = (x, gate, *weights(bits), about)
    found = feed_forward(*given)
    assert not bool(found[~gate].any())
    close(found[gate], reference(*given)[gate], 1e-5)


@pytest.mark.parametrize("bits", [0, 4])
@pytest.mark.parametrize("norm", [False, True])
def test_nan_stays_where_it_is(bits: int, norm: bool) -> None:
    gate, about = gates(150, "random"), around(norm=norm)
    clean, w = random(150, WIDTH), weights(bits)
    x = clean.clone()
    x[~gate] = float("nan")
    found = feed_forward(x, gate, *w, about)
    assert torch.equal(found[gate], feed_forward(clean, gate, *w, about)[gate])
    assert bool(found[~gate].isnan().all())


@pytest.mark.interpreter
@pytest.mark.parametrize(("count", "tiles"), [(0, 0), (1, 1), (128, 1), (129, 2)])
def test_work_is_that_of_active_rows(
    count: int, tiles: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 128 rows a tile; the first product has two tiles of columns, the second one."""
    made, plain = [], active._products
    monkeypatch.setattr(active, "_products", lambda *given: made.append(0) or plain(*given))
    x, gate = random(300, WIDTH), torch.arange(300) < count
    given = (x, gate, *weights(0), around())
    close(feed_forward(*given), reference(*given))
    assert len(made) == 3 * tiles


def test_the_same_each_time() -> None:
    """And with a list that was there already."""
    x, gate, w = random(200, WIDTH), gates(200, "random"), weights(4)
    found = feed_forward(x, gate, *w, around())
    assert torch.equal(feed_forward(x, gate, *w, around(), compact(gate)), found)


@pytest.mark.parametrize("bits", [0, 4])
def test_half_precision(bits: int) -> None:
    x, gate = random(50, WIDTH).half(), gates(50, "random")
    w = tuple(w if isinstance(w, Packed) else w.half() for w in weights(bits))
    found = feed_forward(x, gate, *w, around())
    assert found.dtype == torch.float16
    close(found, reference(x, gate, *w, around()).half(), 4e-3)
    assert torch.equal(found[~gate], x[~gate])


def test_rows_of_a_wider_tensor() -> None:
    wide, gate, w = random(20, 2 * WIDTH), gates(20, "random"), weights(0)
    x = wide[:, WIDTH:]
    close(feed_forward(x, gate, *w), reference(x, gate, *w))


def test_other_shapes_are_refused() -> None:
    up, down = weights(0)
    x, gate = random(4, WIDTH), gates(4, "all")
    for given in ((x[:, 1:], gate, up, down), (x, gate[1:], up, down), (x, gate, up, up)):
        with pytest.raises(ValueError, match=r"a gate .* and weights"):
            feed_forward(*given)


def test_nothing_of_nothing() -> None:
    x, gate = random(2, 0, WIDTH), torch.zeros(2, 0, dtype=torch.bool)
    assert feed_forward(x, gate, *weights(4)).shape == x.shape


def test_cost() -> None:
    """Products are those of active rows; without any, no weight is read."""
    up, down = weights(4)
    assert isinstance(up, Packed)
    assert isinstance(down, Packed)
    rows = 2 * 100 * WIDTH * 4 + 100
    assert cost(0, 100, up, down).bytes == rows
    assert cost(7, 100, up, down).bytes == rows + up.nbytes + down.nbytes
    assert cost(7, 100, up, down).flops == 7 * 4 * WIDTH * HIDDEN
    assert cost(7, 100, up, down, residual=False).bytes == cost(7, 100, up, down).bytes - 12276
