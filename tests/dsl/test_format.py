"""The formatter keeps the meaning and the comments, and changes its own output no more."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.source import Source
from asrc.dsl.format import format_module, format_source
from asrc.dsl.scan import scan
from asrc.dsl.syntax import Module

from . import trees
from .helpers import SEEDS, tree, without_spans


def formatted(text: str) -> str:
    return format_source(Source("m.asr", text))


def comments(text: str) -> list[str]:
    return [comment.text for comment in scan(text).comments]


def check_format(text: str) -> str:
    """Format `text`; the tree, the comments and a second formatting stay the same."""
    result = formatted(text)
    assert tree(result) == tree(text)
    assert comments(result) == [comment.rstrip() for comment in comments(text)]
    assert formatted(result) == result
    assert not any(line != line.rstrip() for line in result.split("\n"))
    return result


@pytest.mark.parametrize("name", SEEDS)
def test_seeds(name: str, golden: Callable[[str, str], None]) -> None:
    result = check_format(SEEDS[name])
    golden(f"format/{name}.asr", result)


def test_printed_trees_parse_to_the_same_tree(runs: Callable[[int], int]) -> None:
    @settings(max_examples=runs(400))
    @given(trees.module)
    def check(module: Module) -> None:
        text = format_module(module)
        assert tree(text) == without_spans(module.items)
        assert formatted(text) == text

    check()


def test_comments_anywhere_survive(runs: Callable[[int], int]) -> None:
    for seed in range(runs(150)):
        rng = random.Random(seed)
        check_format(with_comments(SEEDS[rng.choice(sorted(SEEDS))], rng))


def with_comments(text: str, rng: random.Random) -> str:
    """`text` with comments between its lexemes, behind code or on their own lines."""
    lexemes = scan(text).lexemes
    glued = {"weight", "else", "up"}  # words only directly before their bracket
    places = [x.end for x in lexemes if x.text not in glued] + [0, len(text)]
    for place in sorted(rng.sample(places, rng.randrange(1, 12)), reverse=True):
        start = rng.choice(("", " ", "\n", "\n\n  ")) if place else ""
        comment = (
            f"{start}# c{rng.randrange(100)}{rng.choice(('', ' '))}\n{rng.choice(('', chr(10)))}"
        )
        text = text[:place] + comment + text[place:]
    return text


CASES = {
    "parentheses that are needed stay": (
        "let x = (((a + b)) * (c)) - (d - e) - ((f) |> g)",
        "let x = (a + b) * c - (d - e) - (f |> g)\n",
    ),
    "powers": ("let x = (a^b)^c^(d)^-(2) + (-a)^2", "let x = (a^b)^c^d^-2 + (-a)^2\n"),
    "products of atoms are tight": (
        "let x = 4 * n + f(x) * g(y) + (a+b)*2",
        "let x = 4*n + f(x) * g(y) + (a + b) * 2\n",
    ),
    "time is tight": (
        "block B { out x[ t - (k - 1) * 2 .. t + 3 by k + 1 in chunk ] }",
        "block B { out x[t-(k-1)*2..t+3 by k + 1 in chunk] }\n",
    ),
    "numbers keep their text": ("let x = 1e-3 + 2.50 + 30%", "let x = 1e-3 + 2.50 + 30%\n"),
    "a stream named weight": ("block B { out (weight)[t-1] }", "block B { out (weight)[t-1] }\n"),
    "a body of one `out` goes on one line": (
        "block Ffn(D) {\n  out in\n    |> dense(D)\n}",
        "block Ffn(D) { out in |> dense(D) }\n",
    ),
    "a body of one binding does not": ("block B { x = a }", "block B {\n  x = a\n}\n"),
    "empty lines": (
        "\n\nasr 1\nmodel m\n\n\n\nlet a = 1\nlet b = 2\n\n\n\nlet c = 3\ninput i: pcm\n\n",
        "asr 1\nmodel m\n\nlet a = 1\nlet b = 2\n\nlet c = 3\n\ninput i: pcm\n",
    ),
    "line ends and marks at their ends": ("let a = 1\r\n# c \t\r\n", "let a = 1\n# c\n"),
    "nothing": ("\n \n", ""),
    "comments of a body": (
        "block B { # opened\n\n  # before\n\n  x = a # behind\n  # inside\n} # end",
        "block B {  # opened\n  # before\n\n  x = a  # behind\n  # inside\n}  # end\n",
    ),
    "a comment at a stage": (
        "block B { out in |> a # one\n # two\n |> b { c # three\n } }",
        "block B {\n  out in\n    |> a  # one\n    # two\n    |> b {\n      c  # three\n    }\n}\n",
    ),
    "a comment in a call moves before the stage": (
        "block B { out in |> a(1, # one\n 2) |> b }",
        "block B {\n  out in\n    # one\n    |> a(1, 2)\n    |> b\n}\n",
    ),
    "a comment in an expression moves before the statement": (
        "block B {\n  # zero\n  x = 1 + # one\n  2 # two\n}",
        "block B {\n  # zero\n  # one\n  x = 1 + 2  # two\n}\n",
    ),
    "a comment in a type moves behind the statement": (
        "block B { out x |> f : [ # one\n D] # two\n }",
        "block B {\n  out x |> f : [D]\n  # one\n  # two\n}\n",
    ),
    "a comment between declarations of two kinds": (
        "let a = 1\n# on b\ninput b: pcm",
        "let a = 1\n\n# on b\ninput b: pcm\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_layout(name: str) -> None:
    text, expected = CASES[name]
    assert check_format(text) == expected


def test_long_pipes_break_before_each_stage() -> None:
    stages = [f"stage_number_{n}(width=256)" for n in range(5)]
    text = check_format("block B { out in |> " + " |> ".join(stages) + " }")
    assert text == "block B {\n  out in\n" + "".join(f"    |> {x}\n" for x in stages) + "}\n"


def test_long_calls_break_at_each_argument() -> None:
    options = [f"option_number_{n}=lut(16)" for n in range(6)]
    text = check_format("pipeline p { quantize(" + ", ".join(options) + ") }")
    assert text == (
        "pipeline p {\n  quantize(\n" + "".join(f"    {x},\n" for x in options) + "  )\n}\n"
    )


@pytest.mark.parametrize("length", [99, 100, 101])
def test_lines_are_at_most_100_wide(length: int) -> None:
    name = "x" * (length - len("let a =  |> f"))
    text = check_format(f"let a = {name} |> f")
    assert len(text.split("\n")) - 1 == (1 if length <= 100 else 2)


def test_a_comment_does_not_count_for_the_width() -> None:
    text = check_format(f"let a = {'x' * 80} |> f # {'y' * 80}")
    assert text.count("\n") == 1


def test_a_file_that_does_not_parse_is_refused() -> None:
    with pytest.raises(AsrcError) as caught:
        formatted("let = 1\nlet x = (2\n")
    assert [d.code for d in caught.value.diagnostics] == ["E0001", "E0001"]
