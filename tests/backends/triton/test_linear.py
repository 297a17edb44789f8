"""Products with float and packed weights, on sizes that no tile divides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from asrc.backends.nna.codebook import fitted
from asrc.backends.nna.codebook import snapped as codes_of
from asrc.backends.triton.kernels import linear as products
from asrc.backends.triton.kernels.activations import REFERENCES
from asrc.backends.triton.kernels.linear import (
    Epilogue,
    Prologue,
    cost,
    linear,
    linear_beside,
    reference,
)
from asrc.backends.triton.packed import Packed, Weight, fields_of, packed, words_of
from asrc.tests.backends.triton.guard import Guards, close, random


def narrow(weight: Tensor, bits: int, coded: float | None = None) -> Packed:
    scale, book = fitted(weight.numpy(), bits, coded=coded)
    table = None if book is None else torch.from_numpy(book)
    return packed(weight, torch.from_numpy(scale), table)


@pytest.mark.parametrize(("bits", "coded"), [(2, 1), *((n, None) for n in range(1, 9))])
@pytest.mark.parametrize("shape", [(5, 3), (7, 16), (3, 100), (2, 513)])
def test_packed_weights_are_those_of_the_accelerator(
    bits: int, coded: float | None, shape: tuple[int, int]
) -> None:
    weight = random(*shape, seed=bits)
    scale, book = fitted(weight.numpy(), bits, coded=coded)
    codes = codes_of(weight.numpy(), scale, book).astype(np.float32)
    found = narrow(weight, bits, coded)
    assert torch.equal(found.dense(), torch.from_numpy(codes * scale[:, None]))
    groups = -(-shape[1] // 8)
    assert found.words.shape == (
        shape[0],
        sum(words_of(width, groups) for width in fields_of(bits)),
    )


def test_bits_are_what_is_read() -> None:
    """A wide weight costs its bits, its scales and its codebook."""
    found = narrow(random(64, 1024), 4)
    assert found.words.numel() * 32 == 64 * 1024 * 4
    assert found.nbytes == 64 * 1024 // 2 + 4 * 64 + 16
    assert cost(1, found).bytes == found.nbytes + 4 * (64 + 1024)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("rows", [1, 3, 9])
def test_packed_products(bits: int, rows: int) -> None:
    guards, n, k = Guards(), 33, 530
    weight = narrow(random(n, k, seed=1), bits)
    held = Packed(*(guards.put(x) for x in (weight.words, weight.book, weight.scale)), bits, k)
    x, bias, y = guards.put(random(rows, k)), guards.put(random(n, seed=2)), guards.room(rows, n)
    linear(x, held, bias, out=y)
    close(y, reference(x, weight, bias), 1e-5)
    guards.check()


@pytest.mark.parametrize(("rows", "n", "k"), [(1, 5, 3), (7, 33, 17), (35, 70, 130), (1, 1, 1)])
def test_float_products(rows: int, n: int, k: int) -> None:
    guards = Guards()
    x, weight, y = (guards.put(random(*s)) for s in ((rows, k), (n, k), (rows, n)))
    linear(x, weight, out=y)
    close(y, reference(x, weight), 1e-5)
    guards.check()


@pytest.mark.filterwarnings("ignore:divide by zero")  # where a tile is longer than the tensor
@pytest.mark.parametrize("activation", sorted(REFERENCES))
@pytest.mark.parametrize("kind", ["float", "packed"])
def test_what_follows(activation: str, kind: str) -> None:
    positive = activation in ("log", "sqrt")
    x, dense = random(2, 3, 20), random(9, 20, seed=1)
    x, dense = (x.abs(), dense.abs()) if positive else (x, dense)
    weight = narrow(dense, 8) if kind == "packed" else dense
    bias = None if positive else random(9, seed=2)
    then = Epilogue(activation, 0.5, random(2, 3, 9, seed=3))
    close(linear(x, weight, bias, then), reference(x, weight, bias, then), 2e-5)


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("rows", [1, 3, 17])
def test_a_gate_beside_what_it_gates(bits: int | None, rows: int) -> None:
    """The second half of the outputs gates the first, in one kernel."""
    guards, n = Guards(), 37
    dense, bias = random(2 * n, 50, seed=1), guards.put(random(2 * n, seed=2))
    weight = dense if bits is None else narrow(dense, bits)
    then = Epilogue("glu", 0.5, guards.put(random(rows, n, seed=3)))
    x, y = guards.put(random(rows, 50)), guards.room(rows, n)
    linear(x, weight, bias, then, out=y)
    close(y, reference(x, weight, bias, then), 1e-5)
    guards.check()


@pytest.mark.parametrize("bits", [None, 5])
@pytest.mark.parametrize("rows", [1, 19])
def test_products_in_half_types(bits: int | None, rows: int) -> None:
    """A weight in float16 is multiplied in it, whatever the rows are in; sums are float32."""
    dense = random(33, 70, seed=1)
    weight = dense.half() if bits is None else replace(narrow(dense, bits), products=torch.float16)
    x = random(rows, 70)
    found, wanted = linear(x, weight), reference(x, weight)
    assert found.dtype == torch.float32
    close(found, wanted, 1e-3)
    exact = rows == 1  # a row stays as it is
    assert torch.allclose(found, wanted, rtol=1e-5, atol=1e-5) == exact
    half = reference(x.half(), weight)
    close(linear(x.half(), weight), half.half(), 1e-3)


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize(("rows", "k"), [(1, 50), (3, 50), (17, 50), (2, 513), (513, 4)])
@pytest.mark.parametrize(("bias", "activation"), [(True, "none"), (False, "swish")])
def test_rows_that_are_normed_before(
    bits: int | None, rows: int, k: int, bias: bool, activation: str
) -> None:
    """By the product, or where rows are too many or too long by a kernel of its own."""
    guards, dense = Guards(), random(9, k, seed=1)
    weight = dense if bits is None else narrow(dense, bits)
    gamma, beta = guards.put(random(k, seed=2)), guards.put(random(k, seed=3))
    first = Prologue(gamma, beta if bias else None, 1e-5, activation)
    x, y = guards.put(random(rows, k) + 3.0), guards.room(rows, 9)
    linear(x, weight, None, Epilogue("relu"), y, first)
    close(y, reference(x, weight, None, Epilogue("relu"), first), 2e-5)
    guards.check()


def several(bits: int | None, guards: Guards, n: int, k: int) -> tuple[list[Weight], list[Tensor]]:
    """Three weights and biases, guarded, each with other numbers."""
    dense = [random(n, k, seed=seed) for seed in range(3)]
    biases = [guards.put(random(n, seed=seed)) for seed in range(3, 6)]
    if bits is None:
        return [guards.put(weight) for weight in dense], biases
    made = [narrow(weight, bits) for weight in dense]
    return [
        Packed(*(guards.put(x) for x in (one.words, one.book, one.scale)), bits, k) for one in made
    ], biases


@pytest.mark.parametrize("bits", [None, 4, 8])
@pytest.mark.parametrize("rows", [1, 5, 19])
@pytest.mark.parametrize("normed", [False, True])
def test_products_side_by_side(
    bits: int | None, rows: int, normed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards, k = Guards(), 70
    weights, biases = several(bits, guards, 33, k)
    x = guards.put(random(2, rows, k) if rows > 1 else random(1, k))
    first = Prologue(guards.put(random(k, seed=8)), guards.put(random(k, seed=9)), 1e-5)
    first = first if normed else None
    wanted = [reference(x, *one, first=first) for one in zip(weights, biases, strict=True)]
    monkeypatch.setattr(products, "linear", None)  # it is one launch
    found = linear_beside(x, weights, biases, first)
    for made, right in zip(found, wanted, strict=True):
        close(made, right, 2e-5)
    two = weights[:2]
    for made, weight in zip(linear_beside(x, two, [None, None]), two, strict=True):
        close(made, reference(x, weight), 2e-5)
    guards.check()


def test_products_that_are_not_alike() -> None:
    """Of other sizes or widths, or without a bias, each is a launch."""
    x, dense = random(3, 20), [random(n, 20, seed=n) for n in (9, 9, 12, 9)]
    weights = [narrow(dense[0], 4), *dense[1:]]
    biases = [None, None, None, random(9, seed=1)]
    for made, *one in zip(linear_beside(x, weights, biases), weights, biases, strict=True):
        close(made, reference(x, *one))
    with pytest.raises(ValueError, match="rows of 20 numbers, and a weight for 19"):
        linear_beside(x, [random(4, 19), random(4, 19)], [None, None])
    assert [y.shape for y in linear_beside(x[:0], dense[:2], [None, None])] == 2 * [(0, 9)]


def test_rows_of_a_wider_tensor() -> None:
    """Parts of a concatenation are read where they lie."""
    wide = random(6, 40)
    close(linear(wide[:, 5:25], random(7, 20)), reference(wide[:, 5:25], random(7, 20)))


def test_other_widths_are_refused() -> None:
    with pytest.raises(ValueError, match="rows of 4 numbers, and a weight for 5"):
        linear(random(1, 4), random(3, 5))


def test_nothing_of_nothing() -> None:
    assert linear(random(0, 4), random(3, 4)).shape == (0, 3)
    assert linear(random(2, 0, 4), narrow(random(3, 4), 4)).shape == (2, 0, 3)


@pytest.mark.parametrize("bits", [None, 4])
def test_rows_whose_numbers_lie_apart(bits: int | None) -> None:
    """`[batch, frames, bands]` of features that are `[batch, bands, frames]` in memory."""
    plain = random(33, 17, seed=1)
    weight = plain if bits is None else narrow(plain, bits)
    for batch in (1, 2):
        x = random(batch, 17, 30).transpose(1, 2)
        close(linear(x, weight), reference(x, weight))
