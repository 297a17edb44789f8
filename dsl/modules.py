"""Libraries: `use std.rnn (Lstm)` reads models/std/rnn.asr, `use my.blocks (X)` a file nearby."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ..compiler.diagnostics import AsrcError, Bag, Diagnostic, diagnostic
from ..compiler.nearest import did_you_mean
from ..compiler.source import Source
from . import syntax
from .parse import load_source, parse_module
from .values import Module


class Library:
    """Reads each library file once. `folder` is where the model's own file lies."""

    def __init__(self, folder: Path | None, bag: Bag) -> None:
        self.folder = folder
        self.bag = bag
        self._modules: dict[str, Module] = {}
        self._busy: list[str] = []

    @property
    def modules(self) -> list[Module]:
        """Every library that was read."""
        return list(self._modules.values())

    def imported(self, use: syntax.Use) -> dict[str, tuple[syntax.Block, Module]]:
        """The blocks that a `use` brings in. Raises AsrcError for all that are not there."""
        module = self._module(use)
        missing = [name for name in use.names if name.name not in module.blocks]
        if missing:
            # What did not parse over there was reported over there.
            known = [name for name in missing if name.name not in module.source.lost]
            raise AsrcError(*(_no_block(use, name, module.blocks) for name in known))
        return {name.name: module.blocks[name.name] for name in use.names}

    def _module(self, use: syntax.Use) -> Module:
        name = str(use.module)
        if name in self._busy:
            raise AsrcError(
                diagnostic("E0105", f"`{name}` uses itself, directly or not", use.module.span)
            )
        if name not in self._modules:
            self._busy.append(name)
            try:
                self._modules[name] = self._load(use, name)
            finally:
                self._busy.pop()
        return self._modules[name]

    def _load(self, use: syntax.Use, name: str) -> Module:
        parsed = parse_module(self._source(use, name), self.bag)
        module = Module(parsed)
        for item in parsed.items:
            if isinstance(item, syntax.Use):
                module.blocks.update(self.imported(item))
        for item in parsed.items:
            if isinstance(item, syntax.Block):
                module.blocks[item.name.name] = (item, module)
        return module

    def _source(self, use: syntax.Use, name: str) -> Source:
        parts = [p.name for p in use.module.parts]
        if parts[0] == "std":
            return self._standard(use, parts[1:], name)
        if self.folder is None:
            raise AsrcError(diagnostic("E0108", f"there is no module `{name}`", use.module.span))
        path = self.folder.joinpath(*parts).with_suffix(".asr")
        if not path.is_file():
            raise AsrcError(
                diagnostic(
                    "E0108",
                    f"there is no module `{name}`",
                    use.module.span,
                    help=f"`{name}` is read from `{'/'.join(parts)}.asr` beside the model",
                )
            )
        return load_source(path)

    def _standard(self, use: syntax.Use, parts: list[str], name: str) -> Source:
        known = _standard_files()
        stem = parts[0] if len(parts) == 1 else ""
        if stem in known:
            return Source(f"{name}", known[stem].read_text(encoding="utf-8"))
        near = did_you_mean(stem, known)
        raise AsrcError(
            diagnostic(
                "E0108",
                f"there is no module `{name}`",
                use.module.span,
                help=near or f"the standard library has {', '.join(sorted(known))}",
            )
        )


def _no_block(use: syntax.Use, name: syntax.Ident, known: Iterable[str]) -> Diagnostic:
    help = did_you_mean(name.name, known) or f"it has {', '.join(known)}"
    message = f"`{use.module}` has no block `{name.name}`"
    return diagnostic("E0108", message, name.span, help=help)


def standard_block(name: str) -> tuple[str, str] | None:
    """The standard module and the block in it that a name means, in whatever letter case."""
    declaration = re.compile(rf"^block ({re.escape(name)})\b", re.MULTILINE | re.IGNORECASE)
    for stem, file in _standard_files().items():
        found = declaration.search(file.read_text(encoding="utf-8"))
        if found:
            return f"std.{stem}", found[1]
    return None


def _standard_files() -> dict[str, Traversable]:
    folder = files(__package__.rpartition(".")[0]) / "models" / "std"
    found = sorted(folder.iterdir(), key=lambda file: file.name)
    return {f.name[:-4]: f for f in found if f.name.endswith(".asr")}
