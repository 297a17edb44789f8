"""The LALR(1) tables of `grammar.lark`, kept as JSON so that no run builds the grammar.

`python -m asrc.dsl.tables` writes `grammar.json`. The file names the grammar and the Lark
release it was made from; when either differs, the tables are built again in memory.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import lark

GRAMMAR = Path(__file__).with_name("grammar.lark")
TABLES = Path(__file__).with_name("grammar.json")
STARTS = ["module", "calls", "expression"]

Tables = dict[str, Any]


def build_tables(*, strict: bool) -> Tables:
    """The tables as JSON data. `strict` proves LALR(1) and needs `interegular`."""
    from lark.grammar import Rule
    from lark.lexer import TerminalDef

    parser = lark.Lark(
        GRAMMAR.read_text("utf-8"),
        parser="lalr",
        start=STARTS,
        strict=strict,
        keep_all_tokens=True,
        maybe_placeholders=False,
    )
    data, memo = parser.memo_serialize([TerminalDef, Rule])
    data["options"]["strict"] = False
    data["parser"]["parser"] = _canonical(data["parser"]["parser"])
    entries = [_bounded(memo[index]) for index in range(len(memo))]
    return {**_origin(), "data": data, "memo": entries}


LONGEST = (1 << 32) - 1


def _bounded(entry: Tables) -> Tables:
    """A terminal or a rule; how long a text without an end may be is not the same in all releases
    of Python."""
    pattern = entry.get("pattern", {})
    if "_width" not in pattern:
        return entry
    width = [min(int(one), LONGEST) for one in pattern["_width"]]
    return {**entry, "pattern": {**pattern, "_width": width}}


def _canonical(table: Tables) -> Tables:
    """The parse table with states and symbols in an order that depends on the grammar alone.

    A row holds `[symbol, 1, rule]` to reduce and `[symbol, 0, state]` to shift.
    """
    rows = {
        state: sorted((table["tokens"][t], kind, arg) for t, (kind, arg) in actions.items())
        for state, actions in table["states"].items()
    }
    symbols = sorted(table["tokens"].values())
    number = _reached(rows, [table["start_states"][start] for start in STARTS])
    states = [
        [[symbols.index(t), k, a["@"] if k else number[a]] for t, k, a in rows[state]]
        for state in number
    ]
    ends = {
        key: {start: number[table[key][start]] for start in STARTS}
        for key in ("start_states", "end_states")
    }
    return {**table, **ends, "tokens": symbols, "states": states}


def _reached(rows: dict[int, list[Any]], starts: list[int]) -> dict[int, int]:
    """A number for each state, breadth first."""
    order = list(starts)
    seen = set(starts)
    for state in order:
        for _, kind, target in rows[state]:
            if not kind and target not in seen:
                seen.add(target)
                order.append(target)
    return {state: number for number, state in enumerate(order)}


def _origin() -> Tables:
    grammar = GRAMMAR.read_text("utf-8")
    return {"grammar": sha256(grammar.encode()).hexdigest(), "lark": lark.__version__}


def stored_tables() -> Tables | None:
    """The tables of `grammar.json`, or `None` when they are missing or made from other sources."""
    try:
        tables: Tables = json.loads(TABLES.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return tables if tables.items() >= _origin().items() else None


def load_parser(callbacks: object) -> lark.Lark:
    """A parser that calls `callbacks.<rule>(children)` for every rule it completes."""
    tables = stored_tables() or build_tables(strict=False)
    load: Callable[..., lark.Lark] = lark.Lark._load_from_dict
    memo = dict(enumerate(tables["memo"]))
    return load(_with_rows(tables["data"]), memo, transformer=callbacks)


def _with_rows(data: Tables) -> Tables:
    table = data["parser"]["parser"]
    table["tokens"] = dict(enumerate(table["tokens"]))
    table["states"] = {
        state: {s: (kind, {"@": arg} if kind else arg) for s, kind, arg in row}
        for state, row in enumerate(table["states"])
    }
    return data


def render_tables(tables: Tables) -> str:
    """One line a state, so that a change of the grammar shows as a small difference."""
    return json.dumps(tables, separators=(",", ":")).replace("]],[[", "]],\n[[") + "\n"


def write_tables(path: Path = TABLES) -> None:
    """Write the strict tables; a reader sees the old file or the new one, never a part."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(render_tables(build_tables(strict=True)), "utf-8")
    draft.replace(path)


if __name__ == "__main__":
    write_tables()
