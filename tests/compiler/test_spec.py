"""Pass calls: one grammar, one schema, every mistake with its code."""

from __future__ import annotations

import dataclasses
import importlib.metadata
from collections.abc import Iterator
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler import passtable
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.passcall import blame, build, to_call
from asrc.compiler.passtable import KEEPS, PASSES, Entry, Option, all_passes, lookup
from asrc.compiler.source import Source, Span
from asrc.compiler.spec import Call, OptionError, Value, show
from asrc.compiler.units import Quantity
from asrc.passes.mask import Mask
from tests.builders import ms

TEXT = Source("m.asr", "mask(encoder, chunk=320ms)")
WHOLE = Span(TEXT, 0, 26)


def mistakes(call: Call) -> list[tuple[str, str]]:
    with pytest.raises(AsrcError) as caught:
        build(call)
    return [(d.code, d.help[0] if d.help else "") for d in caught.value.diagnostics]


# --- the text ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (-5, "-5"),
        (Fraction(1, 2), "0.5"),
        (Fraction(1, 1000), "0.001"),
        (ms(320), "320ms"),
        (Quantity(Fraction(8 * 1024), "size"), "1KiB"),
        ("encoder.body.*.Ffn", "encoder.body.*.Ffn"),
        ("encoder.body.3", "encoder.body.3"),
        ("two words", '"two words"'),
        (("lut", 32), "lut(32)"),
    ],
)
def test_values_as_written(value: Value, text: str) -> None:
    assert show(value) == text


def test_a_call_prints_as_it_is_written() -> None:
    call = Call("mask", ("encoder",), {"chunk": ms(320), "left": ms(2560)})
    assert str(call) == "mask(encoder, chunk=320ms, left=2560ms)"
    assert str(Call("dce")) == "dce()"


def test_python_form_prints_the_same_text() -> None:
    made = Mask("encoder", chunk=ms(320), left=64)
    assert str(to_call(made)) == "mask(encoder, chunk=320ms, left=64)"
    assert str(to_call(Mask("encoder", "causal"))) == "mask(encoder, causal)"


CONTEXT = st.none() | st.integers(0, 10**6) | st.builds(ms, st.integers(0, 10**6))
FORMS = st.one_of(
    st.builds(Mask, st.just("encoder.body.*"), st.just("full")),
    st.builds(Mask, st.just("*"), st.just("causal"), left=CONTEXT),
    st.builds(Mask, st.just("a_1.3"), chunk=st.builds(ms, st.integers(1, 10**6)), left=CONTEXT),
    st.builds(Mask, st.just("encoder"), left=CONTEXT, right=st.integers(0, 9)),
)


@given(FORMS)
def test_print_build_print(made: Mask) -> None:
    call = to_call(made)
    assert build(call) == made
    assert str(to_call(build(call))) == str(call)


def test_options_may_be_given_by_name() -> None:
    named = Call("mask", (), {"left": 4, "mode": "causal", "on": "encoder"})
    assert build(named) == Mask("encoder", "causal", left=4)


# --- the table -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PASSES)
def test_the_table_says_what_the_classes_are(name: str) -> None:
    entry = lookup(name)
    cls = entry.load()
    defaults = [
        (f.name, passtable.REQUIRED if f.default is dataclasses.MISSING else f.default)
        for f in dataclasses.fields(cls)
    ]
    assert [(o.name, o.default) for o in entry.options] == defaults
    assert (cls.name, cls.keeps) == (name, entry.keeps)
    assert entry.keeps <= set(KEEPS)
    assert set(entry.after) <= set(PASSES)
    assert cls.__dataclass_params__.frozen
    assert all(entry.summary and o.doc for o in entry.options)


def test_positional_options_come_first() -> None:
    for entry in PASSES.values():
        flags = [o.positional for o in entry.options]
        assert flags == sorted(flags, reverse=True)


ADDED = Entry("asrc.passes.mask", "Mask", "from another package")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[importlib.metadata.EntryPoint]]:
    """The entry points that installed packages declare."""
    points: list[importlib.metadata.EntryPoint] = []
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    passtable._added.cache_clear()
    yield points
    passtable._added.cache_clear()


def point(name: str, value: str) -> importlib.metadata.EntryPoint:
    return importlib.metadata.EntryPoint(name, value, passtable.GROUP)


def test_other_packages_add_passes(
    installed: list[importlib.metadata.EntryPoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passtable, "ADDED", ADDED, raising=False)
    installed.append(point("prune", "asrc.compiler.passtable:ADDED"))
    assert lookup("prune") == ADDED
    assert dict(all_passes())["prune"] == ADDED


def test_two_packages_may_not_add_the_same_pass(
    installed: list[importlib.metadata.EntryPoint],
) -> None:
    installed += [point("prune", "one:A"), point("prune", "two:B")]
    with pytest.raises(AsrcError, match=r"E0804.*one:A and two:B"):
        lookup("prune")


def test_a_built_in_pass_is_not_replaced(
    installed: list[importlib.metadata.EntryPoint],
) -> None:
    installed.append(point("mask", "other:Mask"))
    assert lookup("mask") is PASSES["mask"]
    with pytest.raises(AsrcError, match="E0804"):
        list(all_passes())


# --- mistakes ------------------------------------------------------------------------------------


def test_unknown_pass() -> None:
    assert mistakes(Call("maks")) == [("E0804", "did you mean `mask`?")]
    ((code, help),) = mistakes(Call("zzz"))
    assert code == "E0804"
    assert help.startswith("passes are cse, dce, ")


@pytest.mark.parametrize(
    ("args", "options", "code", "help"),
    [
        (("encoder",), {"chunks": ms(320)}, "E0805", "did you mean `chunk`?"),
        (("encoder",), {"zzz": 1}, "E0805", "it has on, mode, chunk, left, right"),
        ((), {"chunk": ms(320)}, "E0805", "for example `mask(encoder)`"),
        ((3,), {"chunk": ms(320)}, "E0805", "such as `encoder.body.*`"),
        (("encoder", "causl"), {}, "E0805", "did you mean `causal`?"),
        (("encoder", "full", 3), {}, "E0805", "by name there are chunk=, left=, right="),
        (("encoder",), {"chunk": 320}, "E0206", "write `320ms`"),
        (("encoder",), {"chunk": "long"}, "E0805", "such as `320ms`"),
        (("encoder",), {"chunk": Quantity(Fraction(8), "size")}, "E0805", "such as `320ms`"),
        (("encoder",), {"chunk": ms(0)}, "E0805", ""),
        (("encoder", "causal"), {"left": -1}, "E0805", ""),
        (("encoder", "causal"), {"left": ms(-1)}, "E0805", ""),
        (("encoder", "causal"), {"left": Fraction(1, 2)}, "E0805", "such as `2560ms` or `64`"),
        (("encoder", "causal"), {"left": True}, "E0805", "such as `2560ms` or `64`"),
        (("encoder",), {"on": "predictor", "mode": "full"}, "E0805", ""),
    ],
)
def test_wrong_options(
    args: tuple[Value, ...], options: dict[str, Value], code: str, help: str
) -> None:
    assert (code, help) in mistakes(Call("mask", args, options))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("int", 3, Fraction(1, 2)),
        ("int", 3, 1),
        ("real", Fraction(5, 2), True),
        ("real", 2, Fraction(3, 2)),
        ("bool", True, 1),
        ("text", "any", 1),
    ],
)
def test_other_kinds(kind: str, good: Value, bad: Value, monkeypatch: pytest.MonkeyPatch) -> None:
    from asrc.compiler.passcall import check_options

    entry = Entry("m", "C", "", (Option("x", kind, "a number", low=2),))
    assert check_options(Call("p", (), {"x": good}), entry) == {"x": good}
    with pytest.raises(AsrcError, match="E0805"):
        check_options(Call("p", (), {"x": bad}), entry)


def test_all_mistakes_of_a_call_at_once() -> None:
    found = mistakes(Call("mask", (), {"chunk": 320, "lefft": 4}))
    assert [code for code, _ in found] == ["E0206", "E0805", "E0805"]


def test_mistakes_point_at_the_option() -> None:
    option = Span(TEXT, 14, 25)
    call = Call("mask", ("encoder",), {"chunk": 320}, WHOLE, {"chunk": option})
    with pytest.raises(AsrcError) as caught:
        build(call)
    assert caught.value.diagnostics[0].span == option
    with pytest.raises(AsrcError) as caught:
        build(Call("mask", ("encoder",), {"left": 3}, WHOLE))
    assert caught.value.diagnostics[0].span == WHOLE


def test_blame_puts_the_call_first() -> None:
    place = Span(TEXT, 5, 12)
    call = Call("mask", ("encoder",), {}, WHOLE, {"on": place})
    error = OptionError("on", AsrcError())
    assert blame(error, call).diagnostics == ()
    with pytest.raises(AsrcError) as caught:
        Mask("encoder")
    assert blame(OptionError("on", caught.value), call).diagnostics[0].span == place
    assert blame(caught.value, Call("mask")).diagnostics == caught.value.diagnostics
