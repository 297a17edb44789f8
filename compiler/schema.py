"""Plain data of a file, as JSON gives it, held against what it must be; what is wrong, in words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

_FRACTION = re.compile(r"\d{1,18}(/0*[1-9]\d{0,17})?")
_LARGE = 1 << 62
"""No number of a file is as large as this, and numbers beyond it are slow or overflow."""


@dataclass(frozen=True)
class Kind:
    """What a value may be: in words, after `it must be`, and whether one is; of lists and tables
    what `each` of them holds may be, and the type that holds it."""

    words: str
    fits: Callable[[Any], bool]
    each: Kind | None = None
    holder: type = list


def misfits(
    found: object, needed: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None
) -> Iterator[str]:
    """What is wrong with a table: keys that are missing, values that are of another kind.

    Keys that neither names may be there."""
    if not isinstance(found, dict):
        yield f"it is {_shown(found)}, it must be a table"
        return
    yield from (f"`{name}` is missing" for name in needed if name not in found)
    for name, kind in {**needed, **(optional or {})}.items():
        if name in found and not kind.fits(found[name]):
            yield _misfit(f"`{name}`", found[name], kind)


def _misfit(place: str, found: Any, kind: Kind) -> str:
    """Where the first thing that does not fit is, and what it must be."""
    if kind.each is not None and type(found) is kind.holder:
        at, first = next((at, x) for at, x in _inside(found) if not kind.each.fits(x))
        return _misfit(f"{place} at `{at}`", first, kind.each)
    return f"{place} is {_shown(found)}, it must be {kind.words}"


def _inside(found: Any) -> Iterable[tuple[object, Any]]:
    return found.items() if isinstance(found, dict) else enumerate(found)


def _shown(found: object) -> str:
    """A value in a few words: JSON, cut short."""
    text = json.dumps(found)
    return f"`{text}`" if len(text) <= 40 else f"`{text[:37]}...`"


def maybe(kind: Kind) -> Kind:
    """One of them, or nothing."""
    return Kind(f"{kind.words}, or null", lambda x: x is None or kind.fits(x))


def either(one: Kind, other: Kind) -> Kind:
    """One of the two."""
    return Kind(f"{one.words} or {other.words}", lambda x: one.fits(x) or other.fits(x))


def listed(kind: Kind) -> Kind:
    """A list of them."""
    return Kind(
        f"a list, each of it {kind.words}",
        lambda x: isinstance(x, list) and all(map(kind.fits, x)),
        kind,
    )


def table(kind: Kind) -> Kind:
    """A table of them, by any names."""
    return Kind(
        f"a table, each of it {kind.words}",
        lambda x: isinstance(x, dict) and all(map(kind.fits, x.values())),
        kind,
        dict,
    )


def record(needed: Mapping[str, Kind], optional: Mapping[str, Kind] | None = None) -> Kind:
    """A table of certain names."""
    words = f"a table with {', '.join(needed)}"
    return Kind(words, lambda x: next(misfits(x, needed, optional), None) is None)


def one_of(*texts: str) -> Kind:
    """One of certain texts."""
    return Kind(f"one of {', '.join(texts)}", lambda x: isinstance(x, str) and x in texts)


def _is_text(x: object) -> bool:
    """Half a pair of surrogates is text in JSON, and nothing can print it."""
    return isinstance(x, str) and not any("\ud800" <= c <= "\udfff" for c in x)


def _is_whole(x: object) -> bool:
    return isinstance(x, int) and _is_number(x)


def _is_number(x: object) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and abs(x) < _LARGE


def fraction(text: object) -> Fraction | None:
    """Of a text such as `1/100`, at least zero; none where it is no such text."""
    if not isinstance(text, str) or not _FRACTION.fullmatch(text):
        return None
    return Fraction(text)


ANY = Kind("anything", lambda x: True)
TEXT = Kind("a text", _is_text)
NAME = Kind("a name", lambda x: _is_text(x) and bool(x))
WHOLE = Kind("a whole number", _is_whole)
SIZE = Kind("a whole number of at least 0", lambda x: _is_whole(x) and x >= 0)
BITS = Kind("a whole number from 1 to 8", lambda x: _is_whole(x) and 1 <= x <= 8)
COUNT = Kind("a whole number above 0", lambda x: _is_whole(x) and x > 0)
NUMBER = Kind("a number", _is_number)
POSITIVE = Kind("a number above 0", lambda x: _is_number(x) and x > 0)
SECONDS = Kind('seconds, such as `"1/100"`', lambda x: fraction(x) is not None)
PERIOD = Kind('seconds above 0, such as `"1/100"`', lambda x: bool(fraction(x)))
