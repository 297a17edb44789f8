"""The stored tables are those of the grammar, and a stale file only costs time."""

from __future__ import annotations

import json
from pathlib import Path

import lark
import pytest

from asrc.dsl import tables
from asrc.dsl.build import Build
from asrc.dsl.syntax import Let

TEXT = "let x = a[t-1] + 25ms"


def test_the_grammar_is_strict_lalr1_and_the_stored_tables_are_its_own() -> None:
    built = tables.build_tables(strict=True)
    assert tables.TABLES.read_text("utf-8") == tables.render_tables(built), (
        "run `python -m asrc.dsl.tables`"
    )


def test_writing_leaves_only_the_tables(tmp_path: Path) -> None:
    target = tmp_path / "grammar.json"
    target.write_text("old")
    tables.write_tables(target)
    assert target.read_bytes() == tables.TABLES.read_bytes()
    assert list(tmp_path.iterdir()) == [target]


def test_a_run_does_not_build_the_grammar(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("the grammar was built")

    monkeypatch.setattr(lark.Lark, "__init__", refuse)
    assert isinstance(_parse_one(), Let)


@pytest.mark.parametrize("change", [{"grammar": "0" * 64}, {"lark": "0.0.0"}, None])
def test_stale_or_broken_tables_are_built_again(
    change: dict[str, str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "grammar.json"
    good = json.loads(tables.TABLES.read_text("utf-8"))
    stored.write_text("{" if change is None else json.dumps({**good, **change}))
    monkeypatch.setattr(tables, "TABLES", stored)
    assert tables.stored_tables() is None
    assert isinstance(_parse_one(), Let)


def _parse_one() -> object:
    from asrc.compiler.source import Source

    build = Build()
    parser = tables.load_parser(build)
    build.source, build.offset = Source("x", TEXT), 0
    (declaration,) = parser.parse(TEXT, "module")  # type: ignore[misc]
    return declaration
