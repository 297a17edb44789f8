"""Instructions on registers, against what the PTX ISA says of them."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from asrc.tests.backends.triton.ptx.arithmetic import bits_of, numbers, operation, size_of
from asrc.tests.backends.triton.ptx.inline import run

M = (1 << 32) - 1
ODD = [0, 1, 2, 7, 31, 32, 255, 0x7FFF, 0x8000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, M]


def signed(x: int) -> int:
    return x - (1 << 32) if x >> 31 else x


def bits(x: float) -> int:
    return int(struct.unpack("<I", struct.pack("<f", x))[0])


def one(name: str, *given: int) -> int:
    found = operation(name)
    assert found
    sizes = [max(2, size_of(kind)) for kind in found.types]
    values = [
        np.array([x & ((1 << 8 * n) - 1)], f"u{n}") for x, n in zip(given, sizes[1:], strict=True)
    ]
    read = [numbers(x, kind) for x, kind in zip(values, found.types[1:], strict=True)]
    made = bits_of(found.function(*read), found.types[0], sizes[0])
    return int(made[0])


def divided(a: int, b: int) -> int:
    """Towards zero."""
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


INTEGERS = {
    "add.s32": lambda a, b: a + b,
    "sub.s32": lambda a, b: a - b,
    "mul.lo.s32": lambda a, b: a * b,
    "mul.hi.s32": lambda a, b: signed(a) * signed(b) >> 32,
    "mul.hi.u32": lambda a, b: a * b >> 32,
    "min.s32": lambda a, b: min(signed(a), signed(b)),
    "max.u32": max,
    "div.s32": lambda a, b: divided(signed(a), signed(b)) if b else None,
    "rem.s32": lambda a, b: signed(a) - divided(signed(a), signed(b)) * signed(b) if b else None,
    "div.u32": lambda a, b: a // b if b else None,
    "and.b32": lambda a, b: a & b,
    "xor.b32": lambda a, b: a ^ b,
    "shl.b32": lambda a, b: a << b if b < 32 else 0,
    "shr.u32": lambda a, b: a >> b if b < 32 else 0,
    "shr.s32": lambda a, b: signed(a) >> min(b, 31),
}


@pytest.mark.parametrize("name", INTEGERS)
def test_integers(name: str) -> None:
    for a in ODD:
        for b in ODD:
            wanted = INTEGERS[name](a, b)
            if wanted is not None:
                assert one(name, a, b) == wanted & M, (a, b)


def field(x: int, at: int, length: int, *, sign: bool) -> int:
    """As the ISA has it, bit by bit."""
    at, length = at & 255, length & 255
    top = x >> min(at + length - 1, 31) & 1 if sign and length else 0
    return sum((x >> at + n & 1 if n < length and at + n <= 31 else top) << n for n in range(32))


@pytest.mark.parametrize("sign", [False, True])
def test_fields(sign: bool) -> None:
    for x in (0xDEADBEEF, 0x7FFFFFFF, 0x80000000):
        for at in (0, 3, 16, 31):
            for length in (0, 1, 4, 17, 32):
                wanted = field(x, at, length, sign=sign)
                assert one(f"bfe.{'us'[sign]}32", x, at, length) == wanted, (x, at, length)


def test_wide_products() -> None:
    assert one("mul.wide.s32", M, 5) == (1 << 64) - 5
    assert one("mul.wide.u32", M, M) == M * M
    assert one("mad.wide.s32", M, 5, 7) == 2
    assert one("mul.wide.s16", 0xFFFF, 3) == M - 2


NAN = float("nan")


@pytest.mark.parametrize(("name", "holds"), [
    ("eq", [1, 0, 0]), ("ne", [0, 1, 0]), ("lt", [0, 1, 0]), ("ge", [1, 0, 0]),
    ("equ", [1, 0, 1]), ("neu", [0, 1, 1]), ("ltu", [0, 1, 1]), ("num", [1, 1, 0]),
    ("nan", [0, 0, 1]),
])  # fmt: skip
def test_comparisons_with_nan(name: str, holds: list[int]) -> None:
    for (a, b), wanted in zip(((1.0, 1.0), (1.0, 2.0), (NAN, 2.0)), holds, strict=True):
        assert one(f"setp.{name}.f32", bits(a), bits(b)) == wanted


def test_the_largest_of_a_number_and_none() -> None:
    for name in ("min", "max"):
        assert one(f"{name}.f32", bits(NAN), bits(3.0)) == bits(3.0)
        assert math.isnan(np.uint32(one(f"{name}.NaN.f32", bits(NAN), bits(3.0))).view(np.float32))


@pytest.mark.parametrize(("name", "given", "wanted"), [
    ("cvt.rn.f16.f32", bits(1.0), 0x3C00),
    ("cvt.rn.bf16.f32", bits(1.00390625), 0x3F80),  # half way, to even
    ("cvt.rn.bf16.f32", bits(1.01171875), 0x3F82),
    ("cvt.f32.bf16", 0xBF80, bits(-1.0)),
    ("cvt.rni.s32.f32", bits(2.5), 2),
    ("cvt.rzi.s32.f32", bits(-2.5), -2 & M),
    ("cvt.rzi.s32.f32", bits(3e9), 0x7FFFFFFF),
    ("cvt.rzi.s32.f32", bits(NAN), 0),
    ("cvt.rmi.s32.f32", bits(-2.5), -3 & M),
    ("cvt.rn.f32.s32", M, bits(-1.0)),
    ("cvt.s32.s8", 0x01FE, -2 & M),
    ("cvt.u32.u16", 0xFFFF, 0xFFFF),
    ("cvt.s64.s32", M, (1 << 64) - 1),
    ("cvt.u64.u32", M, M),
    ("neg.f32", bits(2.0), bits(-2.0)),
    ("abs.f32", bits(-2.0), bits(2.0)),
    ("popc.b32", 0xF0F0, 8),
    ("not.b32", 0, M),
    ("ex2.approx.f32", bits(3.0), bits(8.0)),
])  # fmt: skip
def test_conversions(name: str, given: int, wanted: int) -> None:
    assert one(name, given) == wanted


def test_signs_come_from_the_first() -> None:
    assert one("copysign.f32", bits(-0.0), bits(3.0)) == bits(-3.0)


def test_two_half_numbers_in_a_word() -> None:
    assert one("cvt.rn.f16x2.f32", bits(1.0), bits(-2.0)) == 0x3C00C000


def test_products_are_rounded_once() -> None:
    x = 1 + 2.0**-12
    assert one("fma.rn.f32", bits(x), bits(x), bits(-1.0)) == bits(x * x - 1)
    assert one("sub.f32", one("mul.f32", bits(x), bits(x)), bits(1.0)) == bits(2.0**-11)


def test_bytes_are_chosen_by_nibbles() -> None:
    a, b = 0x33221100, 0x776655F4
    assert one("prmt.b32", a, b, 0x7654) == b
    assert one("prmt.b32", a, b, 0x0123) == 0x00112233
    assert one("prmt.b32", a, b, 0xC8C4) == 0xFF00FFF4  # signs, of b's first byte and of a's


def test_functions_of_three_bits() -> None:
    assert one("lop3.b32", 0b11110000, 0b11001100, 0b10101010, 0xEA) == 0b11101010


def test_words_are_packed_and_unpacked() -> None:
    text = "{ .reg .b32 l, h; .reg .b64 d; cvt.u64.u32 d, $3; shl.b64 d, d, 40; mov.b64 {l, h}, d; "
    low, high, both = run(
        text + "mov.b32 $0, l; mov.b32 $1, h; mov.b64 $2, {h, l}; }", 3, [np.array([5])]
    )
    assert (int(low[0]), int(high[0]), int(both[0])) == (0, 5 << 8, 5 << 8)
