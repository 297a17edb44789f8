"""Plain data against what it must be: what is wrong is told in words, and nothing overflows."""

from __future__ import annotations

import json
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler import schema
from asrc.compiler.schema import (
    BITS,
    COUNT,
    NAME,
    NUMBER,
    PERIOD,
    SECONDS,
    SIZE,
    TEXT,
    WHOLE,
    Kind,
    either,
    listed,
    maybe,
    misfits,
    one_of,
    record,
    table,
)

KINDS = [kind for kind in vars(schema).values() if isinstance(kind, Kind)]
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_what_is_wrong_in_words() -> None:
    wanted = {"rate": COUNT, "host": table(TEXT)}
    assert [*misfits({"rate": 1, "host": {}, "more": None}, wanted)] == []
    assert [*misfits({"rate": "8", "host": {"a": 1}}, wanted)] == [
        '`rate` is `"8"`, it must be a whole number above 0',
        "`host` at `a` is `1`, it must be a text",
    ]
    assert [*misfits({"rate": 1, "host": None}, wanted)] == [
        "`host` is `null`, it must be a table, each of it a text"
    ]
    assert [*misfits({"a": [[1], [2, "3"]]}, {"a": listed(listed(COUNT))})] == [
        '`a` at `1` at `1` is `"3"`, it must be a whole number above 0'
    ]
    assert [*misfits({"rate": 1}, wanted, {"on": one_of("asrc", "litert")})] == [
        "`host` is missing"
    ]
    assert [*misfits({"on": "x"}, {}, {"on": one_of("asrc", "litert")})] == [
        '`on` is `"x"`, it must be one of asrc, litert'
    ]
    assert [*misfits([0] * 40, {})] == [
        "it is `[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...`, it must be a table"
    ]


def test_edges() -> None:
    assert [SIZE.fits(x) for x in (0, -1, True, 1.0, "0", None)] == [True, *[False] * 5]
    assert [BITS.fits(x) for x in (0, 1, 8, 9)] == [False, True, True, False]
    numbers = (0.5, -2, float("nan"), float("inf"), 10**400, False)
    assert [NUMBER.fits(x) for x in numbers] == [True, True, *[False] * 4]
    assert not WHOLE.fits(10**400)
    assert [PERIOD.fits(x) for x in ("1/100", "2", "0", "1/0", "-1", "1e9", 1)] == [
        *(True, True),
        *[False] * 5,
    ]
    assert SECONDS.fits("0")
    assert schema.fraction("3/200") == Fraction(3, 200)
    assert not NAME.fits("")
    assert not TEXT.fits("\ud800")
    assert maybe(COUNT).fits(None)
    assert either(COUNT, listed(COUNT)).fits([1, 2])
    assert not either(COUNT, listed(COUNT)).fits([0])
    assert record({"a": COUNT}, {"b": TEXT}).fits({"a": 1})
    assert not record({"a": COUNT}, {"b": TEXT}).fits({"a": 1, "b": 1})


@given(PLAIN)
def test_any_data_is_judged(found: object) -> None:
    found = json.loads(json.dumps(found))
    for kind in KINDS:
        assert kind.fits(found) in (True, False)
        assert all(isinstance(text, str) for text in misfits({"a": found}, {"a": kind, "b": kind}))
    assert isinstance([*misfits(found, {"a": COUNT})], list)
