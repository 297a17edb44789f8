"""Mutated files never cause an internal error: only diagnostics, or a model that checks.

Seeds are small files that together use every construct. A mutation works on tokens (drop, swap,
repeat, replace by a token of any seed) or on characters.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from asrc.compiler.source import Source
from asrc.dsl.check import check_model, read_model

FOLDER = Path(__file__).parent / "seeds"
TINY = {path.stem: path.read_text("utf-8") for path in (FOLDER / "tiny").glob("*.asr")}
SEEDS = {path.stem: path.read_text("utf-8") for path in FOLDER.glob("*.asr")} | TINY
TOKEN = re.compile(r"\w+|\.\.|\|>|[<>=]=|\s+|.", re.DOTALL)
EXTRA = [
    "0",
    "-1",
    "1e18",
    "999999999",
    "9" * 18,
    "t-65536",
    "1e-18",
    "ms",
    "%",
    "in",
    "^ 99",
    "\0",
]
POOL = sorted({token for text in SEEDS.values() for token in TOKEN.findall(text)}) + EXTRA
PRINTABLE = [chr(c) for c in range(32, 127)] + ["\n", "é", "\u200b"]


def _kind(token: str) -> str:
    """What a token can be exchanged for without a syntax error, more or less."""
    if token[:1].isdigit():
        return "number"
    return "word" if token[:1].isalpha() else "operator" if token in "+-*/^" else "other"


BY_KIND = {kind: [t for t in POOL if _kind(t) == kind] for kind in map(_kind, POOL)}


def mutate(text: str, rng: random.Random) -> str:
    """One to four mutations of a text."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        text = _mutate_tokens(text, rng) if rng.random() < 0.8 else _mutate_text(text, rng)
    return text


def _mutate_tokens(text: str, rng: random.Random) -> str:
    tokens = TOKEN.findall(text) or [""]
    at = rng.randrange(len(tokens))
    match rng.randrange(12):
        case 0:
            del tokens[at]
        case 1:
            tokens[at] = rng.choice(POOL)
        case 2:
            tokens.insert(at, rng.choice(POOL))
        case 3:
            other = rng.randrange(len(tokens))
            tokens[at], tokens[other] = tokens[other], tokens[at]
        case 4:
            end = min(len(tokens), at + rng.randrange(1, 30))
            tokens[at:at] = tokens[at:end]
        case _:  # a word for a word, a number for a number: most of these still parse
            at = rng.choice([i for i, t in enumerate(tokens) if _kind(t) != "other"] or [at])
            tokens[at] = rng.choice(BY_KIND[_kind(tokens[at])])
    return "".join(tokens)


def _mutate_text(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(PRINTABLE) + text[at + rng.randrange(3) :]


def check_one(seed: int, seeds: dict[str, str]) -> str:
    """Check one mutated file; the kind of end it came to. Raises whatever the compiler raises."""
    rng = random.Random(seed)
    name = rng.choice(sorted(seeds))
    model = check_model(read_model(Source(f"{name}-{seed}.asr", mutate(seeds[name], rng))))
    internal = [d for d in model.diagnostics if d.code == "E0999"]
    assert not internal, f"seed {seed}: {internal[0]}"
    return "fine" if model.ok else model.errors[0].code


def check_all(numbers: range, seeds: dict[str, str]) -> dict[str, int]:
    """How many mutated files came to which end; a failure names its number."""
    ends: dict[str, int] = {}
    for number in numbers:
        try:
            end = check_one(number, seeds)
        except Exception as error:
            raise AssertionError(f"mutated file {number}") from error
        ends[end] = ends.get(end, 0) + 1
    return dict(sorted(ends.items()))


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_seeds_themselves_check(name: str) -> None:
    model = check_model(read_model(Source(f"{name}.asr", SEEDS[name])))
    assert model.ok, [str(d) for d in model.errors]


def test_mutated_files_give_diagnostics(
    runs: Callable[[int], int], record_property: Callable[[str, object], None]
) -> None:
    ends = check_all(range(runs(5_000)), SEEDS)
    record_property("measured", f"ends of mutated files: {ends}")
    assert len(ends) > 20


BLOCKS = 20


@pytest.mark.long
@pytest.mark.parametrize("block", range(BLOCKS))
def test_a_million_mutated_files(
    runs: Callable[[int], int], record_property: Callable[[str, object], None], block: int
) -> None:
    size = runs(1_000_000) // BLOCKS
    first = 10_000_000 + block * size
    record_property("measured", f"{size} files: {check_all(range(first, first + size), TINY)}")
