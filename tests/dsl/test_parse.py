"""Text to syntax: structure, exact places, limits, and mistakes explained one by one."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError, Bag, Diagnostic
from asrc.compiler.source import Source
from asrc.dsl import syntax as s
from asrc.dsl.format import format_module
from asrc.dsl.parse import (
    load_source,
    parse_calls,
    parse_expression,
    parse_module,
    source_from_bytes,
)
from asrc.dsl.scan import scan

from .helpers import SEEDS, parsed, tree, without_spans


def expression(text: str) -> s.Expr:
    bag = Bag()
    expr = parse_expression(Source("e", text), bag)
    assert expr is not None, list(map(str, bag))
    return expr


def sexpr(node: object) -> str:
    """An expression with all its parentheses, for short expectations."""
    match node:
        case s.Binary():
            return f"({sexpr(node.left)} {node.op} {sexpr(node.right)})"
        case s.Unary():
            return f"({node.op}{sexpr(node.operand)})"
        case s.Number() | s.Quantity():
            return node.text
        case s.Name():
            return node.name
        case s.Call():
            return f"{sexpr(node.callee)}({', '.join(sexpr(a.value) for a in node.args)})"
        case s.Pipe():
            return " |> ".join([sexpr(node.head), *(str(x.path) for x in node.stages)])
        case s.Range():
            return f"{sexpr(node.low)}..{sexpr(node.high)}"
    raise TypeError(type(node).__name__)


# --- structure -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEEDS)
def test_seeds_parse(name: str) -> None:
    module, errors = parsed(SEEDS[name])
    assert module.complete
    assert errors == []
    assert len(module.comments) == len(scan(SEEDS[name]).comments)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a - b - c", "((a - b) - c)"),
        ("a + b * c / d", "(a + ((b * c) / d))"),
        ("-a^2", "(-(a ^ 2))"),
        ("2^-b^c", "(2 ^ (-(b ^ c)))"),
        ("-a * b", "((-a) * b)"),
        ("--a", "(-(-a))"),
        ("f(a)(b, c)^2", "(f(a)(b, c) ^ 2)"),
        ("a + b |> f |> g.h", "(a + b) |> f |> g.h"),
        ("1..6", "1..6"),
        ("0.5..0.9", "0.5..0.9"),
        ("30M..4*n", "30M..(4 * n)"),
    ],
)
def test_precedence(text: str, expected: str) -> None:
    assert sexpr(expression(text)) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("160", Fraction(160)),
        ("0.1", Fraction(1, 10)),
        ("1e-3", Fraction(1, 1000)),
        ("2.5e2", Fraction(250)),
    ],
)
def test_numbers_are_exact(text: str, value: Fraction) -> None:
    number = expression(text)
    assert isinstance(number, s.Number)
    assert (number.value, number.text) == (value, text)


@pytest.mark.parametrize(
    "unit", ["ms", "us", "s", "kHz", "Hz", "bit", "KiB", "MiB", "KB", "MB", "B", "k", "M", "G", "%"]
)
def test_quantities(unit: str) -> None:
    quantity = expression(f"2.5{unit}")
    assert isinstance(quantity, s.Quantity)
    assert (quantity.value, quantity.unit, quantity.text) == (Fraction(5, 2), unit, f"2.5{unit}")


@pytest.mark.parametrize(
    ("when", "offset"),
    [("t", None), ("t-1", "(-1)"), ("t+3", "3"), ("t-k+1", "((-k) + 1)"), ("t+2-k", "(2 - k)"),
     ("t-(k-1)", "(-(k - 1))"), ("t-k*2", "(-(k * 2))"), ("t - -k", "(-(-k))")],
)  # fmt: skip
def test_offsets_from_the_frame(when: str, offset: str | None) -> None:
    at = expression(f"x[{when}]")
    assert isinstance(at, s.At)
    assert at.when.span.text == when
    assert (at.when.offset and sexpr(at.when.offset)) == offset


def test_windows() -> None:
    window = expression("x[t-8..t by 2 in chunk]")
    assert isinstance(window, s.Window)
    assert window.dilation is not None
    assert sexpr(window.dilation) == "2"
    assert window.clip is not None
    assert window.clip.name == "chunk"


def test_arguments() -> None:
    call = expression("f(a, bins=64, duty<=40%, b in 1..6, 1..2, a |> g,)")
    assert isinstance(call, s.Call)
    heads = [(arg.name.name if arg.name else None, arg.op) for arg in call.args]
    assert heads == [
        (None, ""), ("bins", "="), ("duty", "<="), ("b", "in"), (None, ""), (None, "")
    ]  # fmt: skip


def test_a_stage_tells_no_parentheses_from_empty_ones() -> None:
    pipe = expression("x |> f |> g() |> h { i } |> j(1) { k |> l } else { m }")
    assert isinstance(pipe, s.Pipe)
    f, g, h, j = pipe.stages
    assert (f.args, g.args, h.args, len(j.args or ())) == (None, (), None, 1)
    assert h.body is not None
    assert j.otherwise is not None
    assert [str(x.path) for x in j.body.stages] == ["k", "l"] if j.body else False


def test_types() -> None:
    module, _ = parsed("input x: phrases[chars=40, D; 3] up to 300 by 24 @ static within 2s causal")
    (item,) = module.items
    assert isinstance(item, s.Input)
    kind = item.type
    assert kind.kind is not None
    assert kind.kind.name == "phrases"
    assert [(d.name and d.name.name, sexpr(d.value)) for d in kind.dims] == [
        ("chars", "40"),
        (None, "D"),
    ]
    parts = (kind.taps, kind.up_to, kind.by, kind.clock, kind.within)
    assert [part and sexpr(part) for part in parts] == ["3", "300", "24", "static", "2s"]
    assert kind.causal


def test_words_are_names_where_names_stand() -> None:
    text = """
block B(model, block) {
  input, causal = model |> split(2)
  by = f(weight=1, loss=within) + up
  loss : [to] @ 40ms = by
  net = from
  loss let = use
}
"""
    (block,) = parsed(text)[0].items
    assert isinstance(block, s.Block)
    assert [type(x).__name__ for x in block.body] == ["Bind"] * 4 + ["Loss"]


def test_calls_of_the_command_line() -> None:
    bag = Bag()
    text = " mask(encoder, chunk=320ms), dce()\n fold.cmvn(x.*) "
    calls = parse_calls(Source("--passes", text), bag)
    assert [str(call.name) for call in calls] == ["mask", "dce", "fold.cmvn"]
    assert [call.span.column for call in calls] == [2, 30, 2]
    assert parse_calls(Source("--passes", ""), bag) == ()
    assert not len(bag)


@pytest.mark.parametrize("text", ["mask", "mask(", "mask(a) }", "mask(a),,dce()", "1", "=", ")"])
def test_wrong_calls(text: str) -> None:
    bag = Bag()
    assert parse_calls(Source("--passes", text), bag) == ()
    assert [d.code for d in bag] == ["E0001"]


@pytest.mark.parametrize("text", ["", "# only a comment", "a b", "(", "1 +", "a =", "let x = 1"])
def test_wrong_expressions(text: str) -> None:
    bag = Bag()
    assert parse_expression(Source("--set", text), bag) is None
    assert [d.code for d in bag] == ["E0001"]


# --- places ----------------------------------------------------------------------------------

PLACED = """\
asr 1
net n(a) {
  x = f(a)[t-2..t] |> g(k=1) { h }
  out (x + 1) * y : [D] @ 40ms   # why
}
"""


def places(node: object) -> list[tuple[str, int, int, str]]:
    found = []
    if isinstance(node, s.Syntax):
        span = node.span
        found.append((type(node).__name__, span.line, span.column, span.text))
        for name in type(node).__match_args__[1:]:
            found += places(getattr(node, name))
    elif isinstance(node, tuple):
        for item in node:
            found += places(item)
    return found


def test_spans_are_exact() -> None:
    module, _ = parsed(PLACED)
    assert places(module.items)[3:] == [
        ("Formal", 2, 7, "a"),
        ("Ident", 2, 7, "a"),
        ("Bind", 3, 3, "x = f(a)[t-2..t] |> g(k=1) { h }"),
        ("Target", 3, 3, "x"),
        ("Ident", 3, 3, "x"),
        ("Pipe", 3, 7, "f(a)[t-2..t] |> g(k=1) { h }"),
        ("Window", 3, 7, "f(a)[t-2..t]"),
        ("Call", 3, 7, "f(a)"),
        ("Name", 3, 7, "f"),
        ("Arg", 3, 9, "a"),
        ("Name", 3, 9, "a"),
        ("When", 3, 12, "t-2"),
        ("Unary", 3, 13, "-2"),
        ("Number", 3, 14, "2"),
        ("When", 3, 17, "t"),
        ("Stage", 3, 23, "g(k=1) { h }"),
        ("Path", 3, 23, "g"),
        ("Ident", 3, 23, "g"),
        ("Arg", 3, 25, "k=1"),
        ("Ident", 3, 25, "k"),
        ("Number", 3, 27, "1"),
        ("Chain", 3, 30, "{ h }"),
        ("Stage", 3, 32, "h"),
        ("Path", 3, 32, "h"),
        ("Ident", 3, 32, "h"),
        ("Out", 4, 3, "out (x + 1) * y : [D] @ 40ms"),
        ("Binary", 4, 7, "(x + 1) * y"),
        ("Binary", 4, 7, "(x + 1)"),
        ("Name", 4, 8, "x"),
        ("Number", 4, 12, "1"),
        ("Name", 4, 17, "y"),
        ("TypeExpr", 4, 21, "[D] @ 40ms"),
        ("TypeDim", 4, 22, "D"),
        ("Name", 4, 22, "D"),
        ("Quantity", 4, 27, "40ms"),
    ]
    assert places(module.comments) == [("Comment", 4, 34, "# why")]


@pytest.mark.parametrize("name", SEEDS)
def test_spans_nest(name: str) -> None:
    """Every node lies in its parent, and the text at a name is the name."""

    def check(node: object, outer: s.Syntax | None) -> None:
        if isinstance(node, tuple):
            for item in node:
                check(item, outer)
        elif isinstance(node, s.Syntax):
            if outer:
                assert outer.span.start <= node.span.start < node.span.end <= outer.span.end
            if isinstance(node, s.Ident):
                assert node.span.text == node.name
            for name in type(node).__match_args__[1:]:
                check(getattr(node, name), node)

    check(parsed(SEEDS[name])[0].items, None)


def test_line_ends_and_marks_do_not_move_columns() -> None:
    source = source_from_bytes("m", b"\xef\xbb\xbfasr 1\r\nlet x = 3 4\r\n# end\r\n")
    bag = Bag()
    module = parse_module(source, bag)
    (error,) = bag
    assert error.span is not None
    assert (error.span.line, error.span.column, error.span.text) == (2, 11, "4")
    assert module.comments[0].span.text == "# end"


# --- limits ----------------------------------------------------------------------------------


def refused(name: str, data: bytes) -> Diagnostic:
    with pytest.raises(AsrcError) as caught:
        source_from_bytes(name, data)
    (item,) = caught.value.diagnostics
    return item


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in [(tmp_path / "none.asr", "No such file"), (tmp_path, "directory")]:
        with pytest.raises(AsrcError) as caught:
            load_source(path)
        (item,) = caught.value.diagnostics
        assert item.code == "E0008"
        assert str(path) in item.message
        assert reason in item.message
    with pytest.raises(AsrcError, match="E0008"):
        load_source("a\0b")


@pytest.mark.skipif(sys.platform == "win32", reason="no endless files")
def test_an_endless_file_is_refused() -> None:
    with pytest.raises(AsrcError, match="E0003"):
        load_source("/dev/zero")


def test_large_files(tmp_path: Path) -> None:
    path = tmp_path / "large.asr"
    path.write_bytes(b"#" * (1 << 20))
    assert len(load_source(path).text) == 1 << 20
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(AsrcError, match="E0003"):
        load_source(path)


@pytest.mark.parametrize(
    ("data", "offset", "line"),
    [
        (b"asr 1\n# caf\xe9\n", 11, 2),
        (b"\xef\xbb\xbf\n\n\xff", 5, 3),
        (b"asr 1\n\0", 6, 2),
        ("asr 1\n# é\0".encode(), 10, 2),
        ("asr 1".encode("utf-16"), 0, 1),
    ],
)
def test_bytes_that_are_not_text(data: bytes, offset: int, line: int) -> None:
    item = refused("m", data)
    assert item.code == "E0002"
    assert f"offset {offset}, line {line}" in item.message


def codes(text: str) -> list[tuple[str, int, int]]:
    return [(d.code, d.span.line, d.span.column) for d in parsed(text)[1] if d.span]


@pytest.mark.parametrize("pair", ["()", "[]", "{}"])
def test_nesting(pair: str) -> None:
    opener, closer = ("x |> f " + pair[0], pair[1]) if pair == "{}" else pair
    deep = f"let a = {'(' * 64}x{')' * 64}\n"
    assert codes(deep) == []
    many = 20_000
    assert codes(f"let a = {opener * many}x{closer * many}\nlet = 1")[0][0] == "E0004"
    assert codes(f"let a = {'(' * 65}x{')' * 65}\n") == [("E0004", 1, 9 + 64)]


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["x"] * 20_000),
        "^".join(["x"] * 20_000),
        "-" * 20_000 + "x",
        "x" + "(1)" * 20_000,
        "x" + ".y" * 20_000,
        "x" + "[t]" * 20_000,
        "x |> f { " * 20_000,
    ],
)
def test_long_chains(text: str) -> None:
    assert [code for code, *_ in codes(f"let a = {text}\n")] == ["E0004"]


def test_deep_chains_inside_deep_brackets_count_together() -> None:
    text = "x"
    for _ in range(20):
        text = f"f({'+'.join(['x'] * 8)} + {text})"
    assert [code for code, *_ in codes(f"let a = {text}\n")] == ["E0004"]


def test_wide_is_not_deep() -> None:
    steps = "\n".join(f"  mask(a.b, c=-{n}) require a + b <= {n}" for n in range(300))
    stages = " |> ".join(["f(a + b)"] * 300)
    binds = "\n".join(f"  x{n} = x[t-1] + y.z * 2" for n in range(300))
    args = ", ".join(["a + b"] * 300)
    text = f"pipeline p {{\n{steps}\n}}\nlet a = x |> {stages}\nlet b = f({args})\n"
    assert codes(f"{text}block B {{\n{binds}\n  out in\n}}\n") == []


@pytest.mark.parametrize("number", ["9" * 18, "1e18", "1e-18", "0." + "1" * 17, "9" * 18 + "ms"])
def test_numbers_in_range(number: str) -> None:
    assert codes(f"let a = {number}\n") == []


@pytest.mark.parametrize(
    "number",
    ["9" * 19, "1e19", "1e-19", "1e99999999999", "0." + "1" * 18, "9" * 100_000, "1e00019"],
)
def test_numbers_out_of_range(number: str) -> None:
    assert codes(f"let b = 1\nlet a = {number} + {number}\n") == [
        ("E0005", 2, 9), ("E0005", 2, 12 + len(number))
    ]  # fmt: skip


# --- mistakes --------------------------------------------------------------------------------

# Text, place, a part of the message, a part of the help.
MISTAKES = [
    ("block A { out in", (1, 17), "`{` is not closed", "`}`"),
    ("block A { out f(in }", (1, 20), "`(` is not closed", "`)`"),
    ("block A {\n  x = y[t-1\n  out x\n}", (3, 3), "`[` is not closed", "`]`"),
    ("block A { out x[t-1 |> f }", (1, 21), "`[` is not closed", "`]`"),
    ("block A { out x }}", (1, 18), "`}` closes nothing", "remove"),
    ("block A(D): out in", (1, 11), "braces", "`{ ... }`"),
    ("require a = 3", (1, 11), "does not compare", "`<=`"),
    ("let a == 3", (1, 7), "does not give a name", "`=`"),
    ("def foo(x) { }", (1, 1), "`def`", "block Name"),
    ("modle x", (1, 1), "`modle`", "`model`"),
    ("out x", (1, 1), "`out`", "braces"),
    ("block A {\n  out x\n  block B { out y }\n}", (3, 3), "inside a body", "`}`"),
    ("block A { return x }", (1, 11), "`return`", "`out expression`"),
    ("block A { for i in x { } }", (1, 11), "`for`", "repeat"),
    ("let a = 25 ms", (1, 12), "without a space", "`25ms`"),
    ("let a = f(w=25 msec)", (1, 16), "without a space", "`25ms`"),
    ("let a = f(w=16 KHZ)", (1, 16), "without a space", "`16kHz`"),
    ("block A { y = 25 ms out y }", (1, 18), "without a space", "`25ms`"),
    ("let a = 25msec + 1", (1, 9), "`25msec`", "`25ms`"),
    ("let a = 12abc", (1, 9), "`12abc`", "ms, us, s"),
    ("let a = .5", (1, 9), "digit", "`0.5`"),
    ("block A { y = 3; out y }", (1, 16), "`;`", "remove"),
    ("block A { y = 3 // text\n out y }", (1, 17), "`//`", "`#`"),
    ("let a = x -> f", (1, 11), "`->`", "`|>`"),
    ("let a = x | f", (1, 11), "`|`", "`|>`"),
    ("let a = x ** 2", (1, 11), "`**`", "`^`"),
    ("let a = 'b'", (1, 9), "`'`", "double quotes"),
    ('model m "title', (1, 9), "not closed", '`"`'),
    ("block A { out t + 1 }", (1, 15), "`t`", "`x[t-1]`"),
    ("block A { t = 1 }", (1, 11), "`t` is a word", "another name"),
    ("let in = 1", (1, 5), "`in` is a word", "another name"),
    ("let a = x[1]", (1, 11), "`t` comes first", "`[t-1]`"),
    ("let a = x[t-1:t]", (1, 14), "`..`", "`x[t-2..t]`"),
    ("let é = 3", (1, 5), "`é` is not a name", "`a`-`z`"),
    ("let a = 3 € 4", (1, 11), "U+20AC, euro sign", ""),
    ("let a = x |> 3", (1, 14), "a stage such as `dense(256)`", ""),
    ("let a =", (1, 8), "expected an expression, found the end", ""),
    ("let = 3", (1, 5), "expected a name after `let`, found `=`", ""),
    ("let a = f(3 4)", (1, 13), "expected an operator, `|>`, `,` or `)`, found `4`", ""),
    ("let a = 3 4", (1, 11), "expected an operator, `|>` or a declaration, found `4`", ""),
    ("asr 1.5", (1, 5), "expected a whole number, found `1.5`", ""),
    ("param D: int in 3 = 4", (1, 19), "expected `..`, found `=`", ""),
    ("block A { out x : }", (1, 19), "expected a type such as `[256] @ 40ms`", ""),
    ("pipeline p { mask }", (1, 19), "expected `(`, found `}`", ""),
    ("use std.rnn Embed", (1, 13), "expected `(`, found `Embed`", ""),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "message", "help"), MISTAKES)
def test_mistakes(text: str, place: tuple[int, int], message: str, help: str) -> None:
    module, errors = parsed(text)
    assert not module.complete
    (error,) = errors
    assert error.code == "E0001"
    assert error.span is not None
    assert (error.span.line, error.span.column) == place
    assert message in error.message
    assert help in " ".join(error.help)


def test_messages_never_show_the_parsers_own_names() -> None:
    for text, *_ in MISTAKES:
        for error in parsed(text)[1]:
            words = " ".join((error.message, *error.help)).replace("U+", "").split()
            assert not [w for w in words if w.isupper() and len(w) > 2 and w.isalpha()], words


def test_an_open_bracket_is_shown() -> None:
    (error,) = parsed("block A {\n  out f(in\n}")[1]
    assert [(label.span.line, label.span.column) for label in error.labels] == [(3, 1), (2, 8)]


FOUR = """\
asr 1
modle m
param D: int in 3 = 4
let kept = 1
block A {
  out f(in
}
block Kept { out in }
net n(a) {
  out a |>
}
require kept <= 2
"""


def test_four_mistakes_give_four_errors_and_the_rest_is_there() -> None:
    module, errors = parsed(FOUR)
    assert [e.span and (e.span.line, e.span.column) for e in errors] == [
        (2, 1), (3, 19), (7, 1), (11, 1)
    ]  # fmt: skip
    assert not module.complete
    assert [type(item).__name__ for item in module.items] == ["Edition", "Let", "Block", "Require"]


def test_a_file_full_of_mistakes_is_left_after_a_hundred() -> None:
    module, errors = parsed("let\n" * 10_000 + "let unread = 1\n")
    assert len(errors) == 101
    assert module.lost == {"unread"}
    assert "more than 100 mistakes" in " ".join(error.message for error in errors)
    assert len(parsed(f"let a = {'9' * 19 + ' '} " * 10_000)[1]) == 100


def test_long_words_are_cut_in_messages() -> None:
    (error,) = parsed("a" * 10_000)[1]
    assert len(error.message) < 100


def test_a_missing_brace_hides_nothing_after_it() -> None:
    module, errors = parsed("block A {\n  out in\n\nlet a = 1\nblock B { out in }\n")
    assert [e.span and e.span.line for e in errors] == [2]
    assert [type(item).__name__ for item in module.items] == ["Let", "Block"]


def test_column_one_inside_a_body_is_only_layout() -> None:
    text = "pipeline p {\nmask(a)\nrequire b <= 1\n}\nblock B {\ninput = in\nout input\n}\n"
    assert tree(text) == tree(" ".join(text.split()))


def test_indented_declarations_parse() -> None:
    module, errors = parsed("let a = 1\n  let b = 2 let c = a\n  + b\n")
    assert errors == []
    assert [item.span.line for item in module.items] == [1, 2, 2]


# --- robustness ------------------------------------------------------------------------------


def mutated(text: str, rng: random.Random) -> str:
    """`text` after a few losses, insertions and repetitions of lexemes and characters."""
    pieces = [lexeme.text for lexeme in scan(text).lexemes]
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(text) + 1)
        size = rng.choice((0, 1, 1, 5))
        extra = rng.choice((rng.choice(pieces), rng.choice('(){}[]"#\n\0é€;:.,|>=t1'), ""))
        copied = text[place : place + rng.choice((0, 0, 40))]
        text = text[:place] + copied + extra + text[place + size :]
    return text


def test_mutated_files_give_diagnostics_or_format(runs: Callable[[int], int]) -> None:
    for seed in range(runs(300)):
        rng = random.Random(seed)
        module, errors = parsed(mutated(SEEDS[rng.choice(sorted(SEEDS))], rng))
        assert module.complete == (not errors)
        for error in errors:
            assert error.code in ("E0001", "E0004", "E0005")
            assert error.span is not None
        if module.complete:
            assert tree(format_module(module)) == without_spans(module.items)


def test_mutated_bytes_give_text_or_a_diagnostic(runs: Callable[[int], int]) -> None:
    data = SEEDS["rnnt"].encode()
    for seed in range(runs(200)):
        rng = random.Random(seed)
        damaged = bytearray(data)
        for _ in range(rng.randrange(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        assert end_of(bytes(damaged)) in ("parsed", "E0002")


def end_of(data: bytes) -> str:
    try:
        parsed(source_from_bytes("m", data).text)
    except AsrcError as error:
        return error.diagnostics[0].code
    return "parsed"


def test_any_text_is_scanned_and_parsed(runs: Callable[[int], int]) -> None:
    for seed in range(runs(200)):
        rng = random.Random(seed)
        text = "".join(
            chr(rng.choice((rng.randrange(1, 127), rng.randrange(1, 0xD800)))) for _ in range(60)
        )
        module, errors = parsed(text)
        assert module.complete == (not errors)
