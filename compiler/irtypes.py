"""Types and clocks in IR text: `[64, 40; 3] @ 40ms`, `token[2500] over chars(24), phrases(300)`."""

from __future__ import annotations

from fractions import Fraction

from .irscan import Cursor
from .types import Clock, Finite, Label, Lattice, Static, Stream, Type

MAX_AXES = 16


def read_type(c: Cursor) -> Type:
    """The type at the cursor. Raises AsrcError E0010."""
    begin = c.at
    elem, vocab, taps = "real", None, None
    dims: tuple[int, ...] = (1,)
    if c.take("["):
        dims, taps = _shape(c)
    elif c.take("token"):
        elem = "token"
        c.expect("[")
        vocab = c.int("a vocabulary", 1)
        c.expect("]")
    elif c.take("flag"):
        elem = "flag"
    else:
        raise c.fail("a type is expected here", help="`[80] @ 10ms`, `token[2500] @ label`")
    clock = _clock(c, begin)
    return Type(dims, clock, taps, elem, vocab)


def _shape(c: Cursor) -> tuple[tuple[int, ...], int | None]:
    dims: list[int] = []
    while not dims or c.take(","):
        dims.append(c.int("a dimension", 1))
    taps = c.int("the number of taps", 1) if c.take(";") else None
    c.expect("]")
    return tuple(dims), taps


def _clock(c: Cursor, begin: int) -> Clock:
    if c.take("over"):
        return _inner(c, begin)
    c.expect("@")
    return _outer(c)


def _inner(c: Cursor, begin: int) -> Clock:
    """Inner axes, the innermost first, and what they lie within."""
    axes: list[tuple[str, int | None]] = []
    while not axes or c.take(","):
        name = c.word("the name of an axis")
        size = c.int("the size of an axis", 1) if c.take("(") else None
        if size is not None:
            c.expect(")")
        axes.append((name, size))
    if len(axes) > MAX_AXES:
        raise c.fail(f"more than {MAX_AXES} inner axes", begin)
    clock: Clock = _outer(c) if c.take("@") else Static()
    for name, size in reversed(axes):
        clock = Finite(name, size, clock)
    return clock


def _outer(c: Cursor) -> Clock:
    if c.take("label"):
        return Label()
    if c.take("static"):
        return Static()
    frames = Stream(_period(c))
    begin = c.at
    if c.take("x"):
        c.expect("label")
        return Lattice(frames)
    c.at = begin
    return frames


def _period(c: Cursor) -> Fraction:
    c.skip()
    begin = c.at
    value, dimension = c.quantity("a clock")
    if value <= 0 or dimension not in ("time", "rate"):
        raise c.fail("a clock is a period or a rate", begin, "`@ 10ms`, `@ 16kHz`, `@ label`")
    return value if dimension == "time" else 1 / value
