"""The passes that exist and the options that they take, without importing one of them.

Other packages add passes through entry points of the group `asrc.passes`: the entry's name is
the pass's, and it loads an `Entry`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, cast

from .diagnostics import AsrcError, diagnostic
from .nearest import did_you_mean
from .ops import REQUIRED
from .source import Span

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

KEEPS: Final = ("lookahead", "rate", "shapes", "parameters", "state", "numerics")
"""What a pass can promise to leave as it was; `keeps.py` holds it to that."""

GROUP: Final = "asrc.passes"


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a pass.

    `kind` is selector, choice, int, real, bool, text, time, or span (a time or a count of frames).
    Positional options come first and may be written without their name.
    """

    name: str
    kind: str
    doc: str
    default: object = REQUIRED
    positional: bool = False
    low: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def required(self) -> bool:
        return self.default is REQUIRED


@dataclass(frozen=True, slots=True)
class Entry:
    """A pass: where its class is, what it promises, and which passes must come before it."""

    module: str
    attribute: str
    summary: str
    options: tuple[Option, ...] = ()
    keeps: frozenset[str] = frozenset()
    after: tuple[str, ...] = ()

    def load(self) -> Any:
        """The pass's class: a frozen dataclass whose fields are `options`."""
        return getattr(import_module(self.module, __package__), self.attribute)

    def option(self, name: str) -> Option | None:
        return next((o for o in self.options if o.name == name), None)


PASSES: Final[dict[str, Entry]] = {
    "mask": Entry(
        "..passes.mask",
        "Mask",
        "what attention may see: everything, the past, a chunk at a time, or a limited context",
        (
            Option("on", "selector", "the values to mask", positional=True),
            Option(
                "mode", "choice", "a mask without numbers", None, True, choices=("full", "causal")
            ),
            Option("chunk", "time", "attention sees its own chunk of this length", None),
            Option("left", "span", "and so much before; everything when left out", None, low=0),
            Option("right", "span", "limited context: so much ahead of each frame", None, low=0),
        ),
        keeps=frozenset({"rate", "shapes", "parameters"}),
    ),
    "stream": Entry(
        "..passes.stream",
        "Stream",
        "run as a stream, in steps with explicit state; refuses what cannot be streamed",
        (Option("step", "time", "the audio that a step takes; as little as possible", None),),
        keeps=frozenset(KEEPS),
        after=("mask",),
    ),
    "dce": Entry(
        "..passes.dce",
        "Dce",
        "drop values that no output and no loss needs",
        keeps=frozenset({"lookahead", "rate", "shapes", "state", "numerics"}),
    ),
    "cse": Entry(
        "..passes.cse",
        "Cse",
        "compute equal values once",
        keeps=frozenset({"lookahead", "rate", "shapes", "parameters", "numerics"}),
    ),
    "fold_constants": Entry(
        "..passes.fold_constants",
        "FoldConstants",
        "compute what depends on numbers alone, and drop operators that change nothing",
        keeps=frozenset({"lookahead", "rate", "shapes", "parameters", "numerics"}),
    ),
    "fold_norm": Entry(
        "..passes.fold_norm",
        "FoldNorm",
        "fold normalisation by fixed statistics into the map beside it, where that is exact",
        (Option("only", "choice", "one kind", None, True, choices=("batchnorm", "cmvn")),),
        keeps=frozenset({"lookahead", "rate", "shapes", "numerics"}),
    ),
    "substitute": Entry(
        "..passes.substitute",
        "Substitute",
        "the accelerator's operators in place of float ones",
        (Option("on", "selector", "the values to run there; everything", None, positional=True),),
        keeps=frozenset({"lookahead", "rate", "shapes", "state"}),
    ),
    "quantize": Entry(
        "..passes.quantize",
        "Quantize",
        "numbers of few bits: int8 values, weights of 1 to 8 bits",
        (
            Option("on", "selector", "the values to quantise; everything", None, positional=True),
            Option("weights", "int", "bits of a weight; below 8, a codebook a tensor", 8, low=1),
            Option("coded", "real", "bits of a weight in the accelerator's stream", None, low=0),
            Option("activations", "bool", "values as well as weights", True),
            Option(
                "per", "choice", "what has a scale in a weight", "row", choices=("row", "tensor")
            ),
            Option(
                "scales",
                "choice",
                "whether a training moves scales and ranges",
                "frozen",
                choices=("frozen", "learned"),
            ),
        ),
        keeps=frozenset({"lookahead", "rate", "shapes", "parameters"}),
    ),
}


def lookup(name: str, span: Span | None = None) -> Entry:
    """The pass of that name; a built-in one first. Raises AsrcError E0804."""
    if name in PASSES:
        return PASSES[name]
    added = _added()
    if name in added:
        return cast(Entry, added[name].load())
    known = [*PASSES, *added]
    raise AsrcError(
        diagnostic(
            "E0804",
            f"there is no pass `{name}`",
            span,
            help=did_you_mean(name, known) or f"passes are {', '.join(sorted(known))}",
        )
    )


def all_passes() -> Iterator[tuple[str, Entry]]:
    """Every pass with its name, built-in ones first. Raises AsrcError E0804 on a double name."""
    yield from PASSES.items()
    for name, point in sorted(_added().items()):
        if name in PASSES:
            raise _twice(name, "asrc", point.value)
        yield name, cast(Entry, point.load())


@cache
def _added() -> dict[str, EntryPoint]:
    """Passes of installed packages."""
    from importlib.metadata import entry_points

    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        if found.setdefault(point.name, point).value != point.value:
            raise _twice(point.name, found[point.name].value, point.value)
    return found


def _twice(name: str, first: str, second: str) -> AsrcError:
    return AsrcError(
        diagnostic(
            "E0804",
            f"two packages offer a pass `{name}`: {first} and {second}",
            help="uninstall one of them",
        )
    )
