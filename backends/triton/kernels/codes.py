"""Codes of a packed weight in registers (`packed.py`), and their products with rows.

A codebook of int8 is looked up four codes at a time by byte permutation, which takes 8 bytes and 4
nibbles: a codebook of 16 needs two, and a third that chooses between them. On a GPU that is inline
PTX (ISA 9.7.9.7, `prmt`; 9.7.1.24, `dp4a`); elsewhere, in the interpreter, the same in plain
operations.

A row to multiply with becomes integers as well, of 23 bits as three signed digits of a byte, with
one scale: a product is then four codes in one instruction, or on tensor cores 512 with all digits,
and exact. The rounding is that of float32 beside the row's largest number.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..packed import VECTOR, Packed, Weight, fields_of

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
"""The interpreter's products in bfloat16 are garbage."""
HALVES = (torch.float16, torch.bfloat16)
DEEPEST = (1 << 17) - 1
"""Products of codes whose sum is sure to fit into int32."""
LIMIT = tl.constexpr(63.0 * 65536.0)
"""The largest number that becomes digits, within what a float32 can round to a whole number by an
addition."""
ROUNDING = tl.constexpr(1.5 * 2.0**23)
"""What is added: the sum's last bits are 0x400000 and the whole number."""


def parts_of(weight: Weight) -> tuple[tuple[Tensor, Tensor, Tensor], int, int]:
    """Words, codebook and scales; vectors of words a row; bits. A float weight is all, of 0."""
    if isinstance(weight, Packed):
        words = weight.words
        return (words, weight.book, weight.scale), words.shape[1] // VECTOR, weight.bits
    weight = weight.contiguous()
    return (weight, weight, weight), 0, 0


def kind_of(x: Tensor, weight: Weight | torch.dtype | None = None) -> str:
    """In which type tensor cores multiply: a half one if x is in one or the weight is, or says so,
    otherwise float32."""
    asked = weight.products if isinstance(weight, Packed) else weight
    asked = asked.dtype if isinstance(asked, Tensor) else asked
    found = next((kind for kind in (x.dtype, asked) if kind in HALVES), torch.float32)
    return str(found).removeprefix("torch.")


def in_ptx(x: Tensor) -> bool:
    """Whether what runs there takes inline PTX."""
    return x.device.type == "cuda" and torch.version.hip is None


# --- assembly ---


@triton.constexpr_function
def looking_up(bits):
    """PTX for the codes of 8 indices, in $0 and $1; $2 are their 4 lowest bits, $3 those above, as
    nibbles, and from $4 on is the codebook."""
    if bits <= 3:
        lines = ["shr.u32 n1, $2, 16;", "prmt.b32 $0, $4, $5, $2;", "prmt.b32 $1, $4, $5, n1;"]
        return _block(lines, ["n1"])
    tables, names = 1 << (bits - 4), ["n0", "n1", "s0", "s1", "h"]
    lines = ["and.b32 n0, $2, 0x77777777;", "shr.u32 n1, n0, 16;", *_choosing("$2", 3)]
    for table in range(tables):
        names += [f"a{table}", f"b{table}", "c" + str(table)]
        at, h = 4 + 4 * table, f"c{table}"
        for half, low in enumerate((f"a{table}", f"b{table}")):
            lines.append(f"prmt.b32 {low}, ${at}, ${at + 1}, n{half};")
            lines.append(f"prmt.b32 {h}, ${at + 2}, ${at + 3}, n{half};")
            lines.append(f"prmt.b32 {low}, {low}, {h}, s{half};")
    for bit in range(bits - 4):
        lines += _choosing("$3", bit)
        for table in range(0, tables, 2 << bit):
            other = table + (1 << bit)
            lines.append(f"prmt.b32 a{table}, a{table}, a{other}, s0;")
            lines.append(f"prmt.b32 b{table}, b{table}, b{other}, s1;")
    return _block([*lines, "mov.b32 $0, a0;", "mov.b32 $1, b0;"], names)


@triton.constexpr_function
def _choosing(word, bit):
    """Selectors, s0 and s1, of the bytes in their order, of the second of two words where a nibble
    has the bit."""
    shift = f"shr.u32 h, {word}, 1;" if bit == 3 else f"shl.b32 h, {word}, {2 - bit};"
    mask = "lop3.b32 s0, h, 0x44444444, 0x32103210, 0xea;"  # (a & b) | c
    return [shift, mask, "shr.u32 s1, s0, 16;"]


@triton.constexpr_function
def _block(lines, names):
    return "{ .reg .b32 " + ", ".join(names) + "; " + " ".join(lines) + " }"


@triton.constexpr_function
def dealing():
    """PTX for the three digits of eight numbers, $3 to $10, each of them with half its range on
    top, so that its digits are bytes that count from -128."""
    lines = []
    for half, first in enumerate((3, 7)):
        a, b, c, d = (f"${first + n}" for n in range(4))
        lines += [f"prmt.b32 p, {a}, {b}, 0x5140;", f"prmt.b32 q, {c}, {d}, 0x5140;"]
        lines += [f"prmt.b32 r, {a}, {b}, 0x0062;", f"prmt.b32 s, {c}, {d}, 0x0062;"]
        lines += [f"prmt.b32 x{half}, p, q, 0x5410;", f"prmt.b32 y{half}, p, q, 0x7632;"]
        lines += [f"prmt.b32 z{half}, r, s, 0x5410;"]
        lines += [f"xor.b32 {x}{half}, {x}{half}, 0x80808080;" for x in "xyz"]
    lines += [f"mov.b64 ${n}, {{{x}0, {x}1}};" for n, x in enumerate("xyz")]
    return _block(lines, ["p", "q", "r", "s", "x0", "x1", "y0", "y1", "z0", "z1"])


PRODUCTS = tl.constexpr(
    "{ .reg .b32 l, h; mov.b64 {l, h}, $3; dp4a.s32.s32 l, $1, l, 0; dp4a.s32.s32 $0, $2, h, l; }"
)
"""The sum in $0 of the products of 8 codes, in $1 and $2, with the 8 bytes of $3."""


@triton.constexpr_function
def constraints(outputs, inputs, kind="r"):
    return ",".join([f"=&{kind}"] * outputs + ["r"] * inputs)


# --- fields ---


fields = triton.constexpr_function(fields_of)


@triton.jit
def plane_words(groups, width):
    """Of a row (`packed.py: words_of`)."""
    return tl.cdiv(groups * width, 16) * 4


@triton.jit
def _plane(words, rows, known, g, at, end, WIDTH: tl.constexpr):
    """uint32 `[N, G]`: the fields of the groups g as nibbles, of a plane that is from word `at` on
    and before `end`, multiples of 4, so that a thread reads 4 at once."""
    turns: tl.constexpr = 4 // WIDTH
    place = at + g // (4 * turns) * 4 + g % 4
    inside = known[:, None] & (place < end)[None, :]
    word = tl.load(words + rows[:, None] + place[None, :], inside, 0).to(tl.uint32, bitcast=True)
    if turns > 1:
        mask: tl.constexpr = 0x11111111 * ((1 << WIDTH) - 1)
        word = (word >> ((g // 4 % turns) * WIDTH)[None, :].to(tl.uint32)) & mask
    return word


@triton.jit
def indices(words, rows, known, first, groups, BITS: tl.constexpr, G: tl.constexpr):
    """uint32 `[N, G]` twice, of the groups from `first` on: the 4 lowest bits of 8 indices, and
    those above, as nibbles; of 8 bits the first 4 codes and the last.

    `rows` (int64 `[N]`) is where each row begins, `groups` are those that it has. What is not there
    is zero.
    """
    g = first + tl.arange(0, G)
    widths: tl.constexpr = fields(BITS)
    end = plane_words(groups, widths[0])
    low = _plane(words, rows, known, g, 0, end, widths[0])
    high = low
    for n in tl.static_range(1, len(widths)):
        at = end
        end += plane_words(groups, widths[n])
        field = _plane(words, rows, known, g, at, end, widths[n])
        if widths[0] == 2:
            low = low | (field << 2)
        elif n == 1:
            high = field
        else:
            high = high | (field << 2)
    return low, high


# --- codes ---


@triton.constexpr_function
def table_words(bits):
    """Words of a codebook."""
    return max(2, (1 << bits) // 4) if bits < 8 else 0


@triton.jit
def table_of(book, BITS: tl.constexpr):
    """The words of a codebook, as scalars."""
    found = ()
    for n in tl.static_range(table_words(BITS)):
        found += (tl.load(book + n).to(tl.uint32, bitcast=True),)  # type: ignore[assignment]
    return found


@triton.jit
def code_words(low, high, book, table, BITS: tl.constexpr, PTX: tl.constexpr):
    """uint32 twice: the first 4 codes of each group, and the last, as bytes."""
    if BITS == 8:
        first, last = low, high
    elif PTX:
        first, last = tl.inline_asm_elementwise(
            looking_up(BITS), constraints(2, 2 + table_words(BITS)),
            (low, high) + table,  # noqa: RUF005  kernels have no stars
            (tl.uint32, tl.uint32), is_pure=True, pack=1,
        )  # fmt: skip
    else:
        first = _looked_up(low, high, book, 0, BITS)
        last = _looked_up(low, high, book, 4, BITS)
    return first, last


@triton.jit
def _looked_up(low, high, book, at, BITS: tl.constexpr):
    found = tl.zeros_like(low)
    for n in tl.static_range(4):
        index = (low >> (4 * (at + n))) & 15
        if BITS > 4:
            index |= ((high >> (4 * (at + n))) & 15) << 4
        word = tl.load(book + (index // 4).to(tl.int32)).to(tl.uint32, bitcast=True)
        found |= ((word >> (8 * (index % 4))) & 255) << (8 * n)
    return found


@triton.jit
def _code(word, N: tl.constexpr):
    """int32: the code in byte N."""
    return (word << (24 - 8 * N)).to(tl.int32, bitcast=True) >> 24


@triton.jit
def values(
    weight, book, rows, known, first, K, quads,
    BITS: tl.constexpr, WIDE: tl.constexpr, PTX: tl.constexpr, KIND: tl.constexpr,
):  # fmt: skip
    """`[N, WIDE]` of the rows (int64 `[N]`) of a weight, from column `first` on, which WIDE (16 or
    more) divides: floats; or codes, in the type KIND."""
    if BITS == 0:
        k = first + tl.arange(0, WIDE)
        inside = known[:, None] & (k < K)[None, :]
        found = tl.load(weight + rows[:, None] * K + k[None, :], inside, 0.0)
    else:
        G: tl.constexpr = WIDE // 8
        place, groups = rows * quads * 4, tl.cdiv(K, 8)
        low, high = indices(weight, place, known, first // 8, groups, BITS, G)
        a, b = code_words(low, high, book, table_of(book, BITS), BITS, PTX)
        found = spread(a, b, KIND)
    return found


@triton.jit
def spread(a, b, KIND: tl.constexpr):
    """`[N, 8 G]`: the codes of groups, four in a word, in the type KIND, or int8."""
    even = _joined(_code(a, 0), _code(b, 0), _code(a, 2), _code(b, 2), KIND)
    odd = _joined(_code(a, 1), _code(b, 1), _code(a, 3), _code(b, 3), KIND)
    return tl.reshape(tl.join(even, odd), (a.shape[0], 8 * a.shape[1]))


@triton.jit
def _joined(a, b, c, d, KIND: tl.constexpr):
    """`[..., 2, 2]`: every second of 8 codes, by the highest bit of their place, then the next."""
    left = tl.join(as_kind(a, KIND), as_kind(b, KIND))
    return tl.join(left, tl.join(as_kind(c, KIND), as_kind(d, KIND)))


@triton.jit
def as_kind(x, KIND: tl.constexpr):
    """In the type of that name: int8, or a float, by float32."""
    if KIND == "int8":
        x = x.to(tl.int8)
    else:
        x = x.to(tl.float32)
        if KIND == "float16":
            x = x.to(tl.float16)
        elif KIND == "bfloat16":
            x = x.to(tl.bfloat16)
        else:
            tl.static_assert(KIND == "float32")
    return x


# --- rows of digits ---


@triton.jit
def _counted(row, scale):
    """uint32: `row / scale` as a whole number, with half the range of its three digits on top."""
    return (row * (1 / scale) + ROUNDING).to(tl.uint32, bitcast=True) + 0x408080


@triton.jit
def columns(row, scale):
    """int8 `[K, 4]`: the digits of `row / scale` (float32 `[K]`), the lowest first, then zero."""
    n = tl.arange(0, 4)[:, None]
    found = (_counted(row, scale) ^ 0x808080)[None, :] >> (8 * n).to(tl.uint32)
    return tl.trans(tl.where(n < 3, found.to(tl.int8), 0))


@triton.jit
def digits(row, scale, PTX: tl.constexpr):
    """uint64 `[G]`, three: the digits of `row / scale` (float32 `[8 G]`), the lowest first, of the
    first 4 numbers of each group in the lower half, and of the last."""
    even, odd = tl.split(tl.reshape(_counted(row, scale), (row.shape[0] // 8, 2, 2, 2)))
    a, c = tl.split(even)
    b, d = tl.split(odd)
    a0, a1 = tl.split(a)
    b0, b1 = tl.split(b)
    c0, c1 = tl.split(c)
    d0, d1 = tl.split(d)
    if PTX:
        x, y, z = tl.inline_asm_elementwise(
            dealing(), constraints(3, 8, "l"), (a0, b0, c0, d0, a1, b1, c1, d1),
            (tl.uint64, tl.uint64, tl.uint64), is_pure=True, pack=1,
        )  # fmt: skip
    else:
        x = _digit(a0, b0, c0, d0, 0) | (_digit(a1, b1, c1, d1, 0) << 32)
        y = _digit(a0, b0, c0, d0, 8) | (_digit(a1, b1, c1, d1, 8) << 32)
        z = _digit(a0, b0, c0, d0, 16) | (_digit(a1, b1, c1, d1, 16) << 32)
    return x, y, z


@triton.jit
def _digit(a, b, c, d, at):
    low = ((a >> at) & 255) | (((b >> at) & 255) << 8)
    low = low | (((c >> at) & 255) << 16) | (((d >> at) & 255) << 24)
    return (low ^ 0x80808080).to(tl.uint64)


@triton.jit
def times(a, b, x, PTX: tl.constexpr):
    """int32: sums of the products of 8 codes with 8 digits, which `x` has in its two halves."""
    if PTX:
        found = tl.inline_asm_elementwise(
            PRODUCTS, "=r,r,r,l", (a, b, x), tl.int32, is_pure=True, pack=1
        )
    else:
        low, high, found = x.to(tl.uint32), (x >> 32).to(tl.uint32), tl.zeros_like(a).to(tl.int32)
        for n in tl.static_range(4):
            found += _code(a, n) * _code(low, n) + _code(b, n) * _code(high, n)
    return found
