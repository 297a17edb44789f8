"""Codes in registers: the inline PTX, which no interpreter runs, and rows as digits."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from asrc.backends.triton.kernels import codes
from asrc.backends.triton.kernels.linear import linear, reference
from asrc.backends.triton.packed import packed
from asrc.tests.backends.triton.guard import close, random
from asrc.tests.backends.triton.ptx.inline import Words, run, signed
from asrc.tests.backends.triton.ptx.memory import Fault

WORDS = np.random.default_rng(0)


def words(count: int, bits: int = 32) -> Words:
    return WORDS.integers(0, 1 << bits, count, np.int64)


def nibbles(index: Words) -> Words:
    """Words of 8 nibbles each, of `[count, 8]`."""
    return (index << 4 * np.arange(8)).sum(1)


def in_bytes(values: Words) -> Words:
    """Words of 4 bytes each, of `[count, 4]`."""
    return ((values & 255) << 8 * np.arange(4)).sum(1)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7])
def test_codes_of_indices(bits: int) -> None:
    book = np.sort(WORDS.choice(np.arange(-127, 128), 1 << bits, replace=False))
    filled = np.concatenate([book, np.zeros(max(0, 8 - len(book)), np.int64)])
    table = list(in_bytes(filled.reshape(-1, 4)))
    index = WORDS.integers(0, 1 << bits, (500, 8))
    given = [nibbles(index & 15), nibbles(index >> 4), *table]
    first, last = run(codes.looking_up(bits), 2, given)
    assert np.array_equal(first, in_bytes(book[index[:, :4]]))
    assert np.array_equal(last, in_bytes(book[index[:, 4:]]))


def test_digits_of_numbers() -> None:
    """The lowest first, three bytes with a sign each, of what they count from."""
    limit = int(codes.LIMIT.value)
    whole = WORDS.integers(-limit, limit + 1, (500, 8))
    whole[0], whole[1] = limit, -limit
    found = run(codes.dealing(), 3, list((whole + 0x808080).T))
    total = 0
    for place, word in enumerate(found):
        digits = np.stack([signed(word >> 8 * n, 8) for n in range(8)], 1)
        total = total + (digits << 8 * place)
    assert np.array_equal(total, whole)


def test_products_of_codes_and_digits() -> None:
    a, b, x = words(500), words(500), words(500, 63)
    (found,) = run(codes.PRODUCTS.value, 1, [a, b, x])
    pairs = [(word >> 8 * n, x >> 8 * n + at) for word, at in ((a, 0), (b, 32)) for n in range(4)]
    wanted = sum(signed(one, 8) * signed(other, 8) for one, other in pairs)
    assert np.array_equal(signed(found, 32), wanted)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7])
def test_every_operand_is_used_and_no_other(bits: int) -> None:
    """The compiler takes constraints for more operands than a text has."""
    text, tables = codes.looking_up(bits), max(2, (1 << bits) // 4)
    named = {int(n) for n in re.findall(r"\$(\d+)", text)}
    above = {3} if bits > 4 else set()
    assert named == {0, 1, 2, *above, *range(4, 4 + tables)}
    assert codes.constraints(2, 2 + tables).count(",") == 3 + tables


def test_an_instruction_that_is_not_known_is_refused() -> None:
    with pytest.raises(Fault, match=r"has not: .*bmsk\.clamp"):
        run("bmsk.clamp.b32 $0, $1, 4;", 1, [words(3)])


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("kind", [torch.float32, torch.float16])
def test_a_row_with_one_number_that_is_far_larger(bits: int, kind: torch.dtype) -> None:
    """Digits are of the largest; the others lose no more than float32 beside it."""
    weight = random(9, 200, seed=1)
    book = None if bits == 8 else torch.arange(16) * 16.0 - 120
    narrow = packed(weight, weight.abs().amax(1) / 127, book)
    x = random(1, 200).to(kind)
    x[0, 7] = 3000.0
    close(linear(x, narrow), reference(x, narrow).to(kind), 1e-6 if kind == torch.float32 else 1e-3)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_show(bad: float) -> None:
    narrow = packed(random(5, 40), torch.full((5,), 0.02), torch.arange(16) * 16.0 - 120)
    x = random(1, 40)
    x[0, 11] = bad
    assert not linear(x, narrow).isfinite().any()


def test_a_row_of_zeros_is_zero() -> None:
    narrow = packed(random(5, 40), torch.full((5,), 0.02), torch.arange(16) * 16.0 - 120)
    assert torch.equal(linear(torch.zeros(1, 40), narrow), torch.zeros(1, 5))
