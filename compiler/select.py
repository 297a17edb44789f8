"""Selectors: which values a user means by `encoder`, `encoder.body.*` or `encoder.body.*.Ffn`.

A selector is a dotted path of names and stars; a star stands for one name. It selects every value
whose path begins so. A name that is no path but an alias (`y = x`) selects the value that it names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from .diagnostics import AsrcError, diagnostic
from .graph import Graph
from .nearest import nearest
from .source import Span

MAX_LISTED = 8


def select(graph: Graph, selector: str, span: Span | None = None) -> list[str]:
    """The selected values in program order. Raises AsrcError E0803 when there are none."""
    wanted = selector.split(".")
    found = [path for path in graph.nodes if _begins(path.split("."), wanted)]
    if found:
        return found
    alias = graph.resolve(selector)
    if alias is not None:
        return [alias]
    raise no_match(graph, selector, span)


def select_blocks(
    graph: Graph, selector: str, kind: str | None = None, span: Span | None = None
) -> list[str]:
    """The block instances under a selector, outermost first; `kind` is the block's name.

    Raises AsrcError E0803 when nothing, or no block of that name, is selected.
    """
    select(graph, selector, span)
    wanted = selector.split(".")
    under = [s for s in graph.scopes.values() if s.kind == "block"]
    under = [s for s in under if _begins(s.path.split("."), wanted)]
    found = [s.path for s in under if kind is None or s.name == kind]
    if found:
        return found
    raise _no_block(selector, kind or "", sorted({s.name for s in under}), span)


def _begins(path: Sequence[str], wanted: Sequence[str]) -> bool:
    return len(path) >= len(wanted) and all(
        w in ("*", p) for w, p in zip(wanted, path, strict=False)
    )


# --- nothing selected ----------------------------------------------------------------------------


def no_match(graph: Graph, selector: str, span: Span | None) -> AsrcError:
    """E0803: what there is at the place where the selector goes astray, and the nearest name."""
    wanted = selector.split(".")
    written = [path.split(".") for path in (*graph.outputs, *graph.names, *graph.scopes)]
    paths = written + [path.split(".") for path in graph.nodes]
    good = next(n for n in range(len(wanted)) if not _reached(paths, wanted[: n + 1]))
    names = _below(written, wanted[:good]) or _below(paths, wanted[:good])
    where = f"`{'.'.join(wanted[:good])}`" if good else "the model"
    text = f"{where} has {_listed(names)}" if names else f"{where} has nothing below it"
    better = _repaired(paths, wanted)
    help = f"did you mean `{better}`{_blocks(graph, better)}?" if better else ""
    return AsrcError(
        diagnostic("E0803", f"`{selector}` selects nothing: {text}", span, text, help=help)
    )


def _reached(paths: Sequence[Sequence[str]], wanted: Sequence[str]) -> bool:
    return any(_begins(path, wanted) for path in paths)


def _below(paths: Sequence[Sequence[str]], wanted: Sequence[str]) -> list[str]:
    depth = len(wanted)
    return list(dict.fromkeys(p[depth] for p in paths if len(p) > depth and _begins(p, wanted)))


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_LISTED])
    return f"{shown} and {len(names) - MAX_LISTED} more" if len(names) > MAX_LISTED else shown


def _repaired(paths: Sequence[Sequence[str]], wanted: Sequence[str]) -> str | None:
    """The selector with each misspelt name replaced by the nearest one that exists."""
    done: list[str] = []
    for name in wanted:
        names = _below(paths, done)
        if name != "*" and name not in names:
            near = nearest(name, names)
            if near is None:
                return None
            name = near
        done.append(name)
    return ".".join(done) if _reached(paths, done) else None


def _blocks(graph: Graph, selector: str) -> str:
    """` (12 blocks)`, where a selector ends in a star."""
    count = sum(_matches(s.path, selector) for s in graph.scopes.values())
    return f" ({count} blocks)" if selector.endswith("*") and count else ""


def _matches(path: str, selector: str) -> bool:
    return path.count(".") == selector.count(".") and fnmatchcase(path, selector)


def _no_block(selector: str, kind: str, known: Iterable[str], span: Span | None) -> AsrcError:
    names = list(known)
    has = f"it has {_listed(names)}" if names else "it has no blocks"
    near = nearest(kind, names)
    help = f"did you mean `at={near}`?" if near else ""
    what = f"no block `{kind}`" if kind else "no block"
    return AsrcError(diagnostic("E0803", f"`{selector}` holds {what}: {has}", span, has, help=help))
