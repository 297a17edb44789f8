"""The head of a file: its edition and what kind of file it is."""

from __future__ import annotations

from collections.abc import Iterator

from ..compiler.diagnostics import Bag, Diagnostic, diagnostic
from ..compiler.source import Span
from . import syntax

EDITION = 1
"""The newest edition this compiler reads."""

_MODEL_ONLY = (syntax.Net, syntax.Input, syntax.Require, syntax.Pipeline)


def check_headers(module: syntax.Module, bag: Bag) -> None:
    """Report a missing, newer or doubled head, and model parts in a library."""
    bag.extend(_edition(module))
    models = [item for item in module.items if isinstance(item, syntax.ModelDecl)]
    for extra in models[1:]:
        found = diagnostic("E0102", "a file holds one model", extra.span, "a second one")
        bag.add(found.at(models[0].span, "the first"))
    if not models and module.complete:
        bag.extend(_library(module))
    bag.extend(_late_uses(module))


def _edition(module: syntax.Module) -> Iterator[Diagnostic]:
    editions = [item for item in module.items if isinstance(item, syntax.Edition)]
    start = Span(module.source, 0, 0)
    if not editions and module.complete:
        yield diagnostic(
            "E0007",
            "the file does not say its edition",
            start,
            help=f"make `asr {EDITION}` its first line",
        )
    for item in editions[1:]:
        yield diagnostic("E0102", "the edition is given twice", item.span)
    if editions and module.items[0] is not editions[0]:
        yield diagnostic("E0007", "the edition comes first", editions[0].span)
    if editions and not 1 <= editions[0].number <= EDITION:
        yield diagnostic(
            "E0901",
            f"edition {editions[0].number} is not known to this compiler",
            editions[0].span,
            f"this is asrc for editions up to {EDITION}",
            help="install a newer asrc, or write `asr 1`",
        )


def _library(module: syntax.Module) -> Iterator[Diagnostic]:
    """A file without `model` is a library: blocks and constants only."""
    for item in module.items:
        if isinstance(item, _MODEL_ONLY):
            yield diagnostic(
                "E0007",
                "only a model has nets, inputs, budgets and pipelines",
                item.span,
                help='add a line such as `model rnnt "a small transducer"` below the edition',
            )
            return


def _late_uses(module: syntax.Module) -> Iterator[Diagnostic]:
    late = False
    for item in module.items:
        if isinstance(item, syntax.Use) and late:
            yield diagnostic(
                "E0007", "`use` comes before other declarations", item.span, help="move it up"
            )
        late |= not isinstance(item, syntax.Use | syntax.ModelDecl | syntax.Edition)
