"""Near names for "did you mean" lines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

MAX_COMPARED = 256
"""Of more names than these, only some that begin alike are compared: a file of mistakes must not
cost a comparison of each with all names."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest in spelling to `name`, if one is close enough."""
    from difflib import get_close_matches

    names = list(known)
    if len(names) > MAX_COMPARED:
        names = list(islice((n for n in names if _begins_alike(n, name)), MAX_COMPARED))
    folded = {n.lower(): n for n in names}
    found = get_close_matches(name, names, n=1, cutoff=0.6)
    found = found or get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return folded.get(found[0].lower(), found[0]) if found else None


def _begins_alike(one: str, other: str) -> bool:
    return one[:1].lower() == other[:1].lower() and abs(len(one) - len(other)) <= 2


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A help line naming the nearest spelling, or the empty string."""
    near = nearest(name, known)
    return f"did you mean `{near}`?" if near else ""
