"""The licences of what a corpus is made from, beside the corpus."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from ...compiler.files import write_text
from .sources import named

_HEAD = """# Licences of the corpus "{corpus}"

The audio and text in this folder come from the packages below, each under its own licence; the
whole licence of a Debian package is in `/usr/share/doc/<package>/copyright`. No licence says
anything about the weights of a model that is trained on it: name the sources where you pass such
weights on.

| package | version | licence | author | what it allows |
|---|---|---|---|---|
"""


def write_licences(out: Path, corpus: str, packages: Iterable[str]) -> None:
    """Write `LICENCES.md` and `licences.json` below `out`. Raises AsrcError E0008."""
    sources = named(packages)
    rows = [
        f"| {s.package} | {s.version} | {s.licence} | {s.author} | {s.allowed} |\n" for s in sources
    ]
    write_text(out / "LICENCES.md", _HEAD.format(corpus=corpus) + "".join(rows))
    record = {"corpus": corpus, "sources": [asdict(source) for source in sources]}
    write_text(out / "licences.json", json.dumps(record, indent=2) + "\n")
