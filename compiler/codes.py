"""The pages behind `asrc explain`: what each code means, with a wrong and a right snippet.

They are the sections of `codes.md`, read when first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

_HEADING = re.compile(r"^## ([EW]\d{4}) (.+)$", re.MULTILINE)
_DECLARED = re.compile(r'# (?:error|warning): [\d.]+ \[(\w+)\] "(.*)"$', re.MULTILINE)


def explain(code: str) -> str | None:
    """The page of a code in Markdown, from its heading on, or `None`."""
    return _pages().get(code.upper())


def readable(page: str) -> str:
    """A page for people: the checked remarks in its snippets say code and words only."""
    return _DECLARED.sub(r"# \1: \2", page)


@cache
def titles() -> Mapping[str, str]:
    """Every code with its title, in order."""
    return dict(_HEADING.findall(_document()))


@cache
def _pages() -> Mapping[str, str]:
    document = _document()
    found = list(_HEADING.finditer(document))
    ends = [*(match.start() for match in found[1:]), len(document)]
    return {
        match[1]: document[match.start() : end].rstrip() + "\n"
        for match, end in zip(found, ends, strict=True)
    }


@cache
def _document() -> str:
    from importlib.resources import files

    return (files(__package__) / "codes.md").read_text(encoding="utf-8")
