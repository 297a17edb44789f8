"""Codes in registers: the inline PTX, which no interpreter runs, and rows as digits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from asrc.backends.triton.kernels import codes
from asrc.backends.triton.kernels.codes import DEEPEST
from asrc.backends.triton.kernels.linear import Epilogue, linear, reference
from asrc.backends.triton.kernels.lstm import lstm_cell
from asrc.backends.triton.kernels.lstm import reference as lstm_reference
from asrc.backends.triton.packed import Packed, packed
from asrc.backends.triton.tuning import Config, Tuner
from asrc.tests.backends.triton.guard import Guards, close, random
from asrc.tests.backends.triton.ptx.inline import Words, run, signed
from asrc.tests.backends.triton.ptx.memory import Fault
from asrc.tests.backends.triton.test_linear import narrow

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


# --- a row with a weight, in instructions for four bytes and on tensor cores ---


@pytest.fixture(params=[False, True], ids=["bytes", "cores"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Makes the tuner take the one or the other; whether it is tensor cores."""

    def best(tuner: Tuner, name: str, shape: object, candidates: Sequence[Config],
             run: object, device: torch.device) -> Config:  # fmt: skip
        return next(one for one in candidates if ("CORES" in one.sizes) == request.param)

    monkeypatch.setattr(Tuner, "best", best)
    return bool(request.param)


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize(("n", "k"), [(5, 3), (33, 530), (70, 129)])
def test_one_row(bits: int, n: int, k: int) -> None:
    guards, weight = Guards(), narrow(random(n, k, seed=1), bits)
    held = Packed(*(guards.put(x) for x in (weight.words, weight.book, weight.scale)), bits, k)
    x, bias, y = guards.put(random(1, k)), guards.put(random(n, seed=2)), guards.room(1, n)
    then = Epilogue("swish", 0.5)
    linear(x, held, bias, then, y)
    close(y, reference(x, weight, bias, then), 1e-6)
    guards.check()


@pytest.mark.usefixtures("tiles")
@pytest.mark.parametrize("bits", [3, 4, 8])
def test_a_step_of_one_stream(bits: int) -> None:
    weight, bias = narrow(random(84, 34, seed=1), bits), random(84, seed=2)
    x, h, c = random(1, 13), random(1, 21, seed=3), random(1, 21, seed=4)
    wanted = lstm_reference(x[:, None], h, c, weight.dense(), bias)
    y, cells = lstm_cell(x, h, c, weight, bias)
    close(y, wanted[1], 1e-6)
    close(cells, wanted[2], 1e-6)


@pytest.mark.long
@pytest.mark.usefixtures("tiles")
def test_the_largest_sums() -> None:
    """All codes and a digit at their ends, as many as there may be: no more than int32 has."""
    columns = DEEPEST // 8 * 8
    weight = packed(torch.full((2, 8), 127.0), torch.ones(2), None)
    weight = replace(weight, words=weight.words[:, :1].repeat(1, columns // 4), columns=columns)
    x = torch.full((1, columns), -128 * 256 / float(codes.LIMIT.value))
    x[0, 0] = 1.0
    close(linear(x, weight), 127 * x.double().sum().expand(1, 2).float(), 1e-6)


@pytest.mark.usefixtures("tiles")
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


@pytest.mark.usefixtures("tiles")
@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_show(bad: float) -> None:
    narrow = packed(random(5, 40), torch.full((5,), 0.02), torch.arange(16) * 16.0 - 120)
    x = random(1, 40)
    x[0, 11] = bad
    assert not linear(x, narrow).isfinite().any()


@pytest.mark.usefixtures("tiles")
def test_a_row_of_zeros_is_zero() -> None:
    narrow = packed(random(5, 40), torch.full((5,), 0.02), torch.arange(16) * 16.0 - 120)
    assert torch.equal(linear(torch.zeros(1, 40), narrow), torch.zeros(1, 5))
