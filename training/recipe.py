"""A recipe: everything that a training's numbers depend on, beside the model and the data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import read_bytes
from ..compiler.nearest import did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Optimiser:
    """AdamW (Loshchilov and Hutter 2019): `rate` is reached after `warm_up` updates and falls to
    `final` of it by a cosine over `updates`. Weight decay is for matrices alone. `clip` bounds the
    norm of a gradient; `average` is the decay of the mean of weights that is kept beside them."""

    updates: int = 10_000
    rate: float = 2e-3
    warm_up: int = 500
    final: float = 0.02
    decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip: float = 5.0
    average: float = 0.999


@dataclass(frozen=True, slots=True)
class Losses:
    """The transducer loss has weight one; `ctc` is the weight of an auxiliary CTC loss on the
    first value that the joint reads, `fastemit` the lambda of FastEmit. `pruned` is how many label
    states of each frame the joint sees (see `pruning.py`); zero is the exact loss."""

    ctc: float = 0.3
    fastemit: float = 0.0
    pruned: int = 0


@dataclass(frozen=True, slots=True)
class Data:
    """Seconds of audio a global batch; what is too short or too long to train on; the vocabulary,
    built from the training texts; how much decoded audio to keep in memory, in MiB."""

    seconds: float = 60.0
    jitter: float = 0.1
    shortest: float = 0.1
    longest: float = 20.0
    vocabulary: str = "unigram"
    size: int | None = 256
    cache: int = 2048
    workers: int = 1


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Speed factors, SpecAugment (see `augment.py`), and the range of a random gain in dB."""

    speeds: tuple[float, ...] = (0.9, 1.0, 1.1)
    bands: int = 2
    widest: int = 10
    stretches: int = 2
    longest: int = 30
    portion: float = 0.15
    warp: float = 0.0
    colour: float = 0.0
    gain: tuple[float, float] = (-6.0, 6.0)


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a training begins, in updates. `easy`: as long, only utterances that their manifest
    calls easy (`"easy": true`) are trained on (a curriculum, Bengio et al. 2009). `ctc`: as long,
    the CTC loss alone trains, which finds its first alignments sooner than the transducer loss.
    Features are masked once both are over."""

    easy: int = 0
    ctc: int = 0

    @property
    def over(self) -> int:
        return max(self.easy, self.ctc)


@dataclass(frozen=True, slots=True)
class Pace:
    """In updates: how often to validate, to save and to log; how many checkpoints to keep."""

    validate: int = 500
    save: int = 250
    log: int = 25
    keep: int = 2


@dataclass(frozen=True, slots=True)
class Recipe:
    """`precision` is float32, bfloat16 or float16; `settings` are parameters of the model."""

    seed: int = 0
    precision: str = "float32"
    settings: Mapping[str, str] = field(default_factory=dict)
    optimiser: Optimiser = field(default_factory=Optimiser)
    beginning: Beginning = field(default_factory=Beginning)
    losses: Losses = field(default_factory=Losses)
    data: Data = field(default_factory=Data)
    augmentation: Augmentation = field(default_factory=Augmentation)
    pace: Pace = field(default_factory=Pace)

    def record(self) -> dict[str, Any]:
        """Plain values, for a checkpoint's notes."""
        return asdict(self)


def read_recipe(path: Path) -> Recipe:
    """A recipe in TOML. Raises AsrcError E0008 where it cannot be read, E1008 where it is wrong."""
    try:
        table = tomllib.loads(read_bytes(path).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(f"`{path}` is no TOML: {error}") from None
    return recipe_of(table, str(path))


def recipe_of(table: Mapping[str, Any], source: str) -> Recipe:
    """A recipe of plain values. Raises AsrcError E1008 naming what does not fit."""
    recipe = _made(Recipe, table, source, "")
    _check(recipe, source)
    return recipe


def _made(kind: type[T], table: Mapping[str, Any], source: str, inside: str) -> T:
    hints = get_type_hints(kind)
    known = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    for name, value in table.items():
        place = f"{inside}{name}"
        if name not in known:
            hint = did_you_mean(name, known) or f"known are {', '.join(sorted(known))}"
            raise _wrong(f"`{source}` sets `{place}`, which no recipe has", hint)
        given[name] = _value(hints[name], value, source, place)
    return kind(**given)


def _value(hint: Any, value: Any, source: str, place: str) -> Any:
    if is_dataclass(hint) or place == "settings":
        if not isinstance(value, dict):
            raise _cannot_be(value, source, place, f"a table, `[{place}]`")
        if place == "settings":
            return {str(k): str(v) for k, v in value.items()}
        return _made(cast("type[Any]", hint), value, source, f"{place}.")
    if get_origin(hint) is tuple:
        return _numbers(hint, value, source, place)
    kind = hint if hint in _KINDS else int
    if not _fits(kind, value):
        raise _cannot_be(value, source, place, _KINDS[kind])
    return kind(value)


_KINDS: Mapping[type, str] = {
    int: "a whole number of at most 63 bits",
    float: "a number",
    str: "a text",
}


def _numbers(hint: Any, value: Any, source: str, place: str) -> tuple[float, ...]:
    """A list of numbers, as many as its type has."""
    sizes = get_args(hint)
    count = None if Ellipsis in sizes else len(sizes)
    if (
        not isinstance(value, list | tuple)
        or not all(_fits(float, v) for v in value)
        or count not in (None, len(value))
    ):
        raise _cannot_be(value, source, place, f"a list of {count or 'any'} numbers")
    return tuple(float(v) for v in value)


def _fits(kind: type, value: Any) -> bool:
    """Whether a plain value is of a kind; a whole number is a number as well."""
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return kind is not str and -(2**63) <= value < 2**63
    return isinstance(value, kind)


_ABOVE_ZERO = (
    *("optimiser.updates", "optimiser.rate", "optimiser.clip", "data.seconds"),
    *("pace.validate", "pace.save", "pace.log", "pace.keep"),
)
_NOT_NEGATIVE = (
    *("seed", "optimiser.warm_up", "optimiser.decay", "beginning.easy", "beginning.ctc"),
    *("losses.ctc", "losses.fastemit"),
)


def _check(recipe: Recipe, source: str) -> None:
    """Numbers out of range, and what does not go together."""
    _check_ranges(recipe, source)
    if recipe.precision not in ("float32", "bfloat16", "float16"):
        help = "float32, bfloat16 or float16"
        raise _wrong(f"`precision` in `{source}` is `{recipe.precision}`", help)
    if recipe.losses.pruned < 0 or recipe.losses.pruned == 1:
        raise _wrong(f"`losses.pruned` in `{source}` must be 0 or at least 2")
    if recipe.beginning.ctc > 0 and not recipe.losses.ctc > 0:
        raise _wrong(f"`beginning.ctc` in `{source}` needs `losses.ctc` above 0")


def _check_ranges(recipe: Recipe, source: str) -> None:
    for name in _ABOVE_ZERO:
        if not (value := attrgetter(name)(recipe)) > 0:
            raise _wrong(f"`{name}` in `{source}` is {value}, it must be above 0")
    for name in _NOT_NEGATIVE:
        if not (value := attrgetter(name)(recipe)) >= 0:
            raise _wrong(f"`{name}` in `{source}` is {value}, it must be 0 or more")
    if not 0 <= recipe.optimiser.average < 1:
        average = recipe.optimiser.average
        raise _wrong(f"`optimiser.average` in `{source}` is {average}, not in [0, 1)")
    if not all(0 <= beta < 1 for beta in recipe.optimiser.betas):
        betas = list(recipe.optimiser.betas)
        raise _wrong(f"`optimiser.betas` in `{source}` is {betas}, not all in [0, 1)")
    lowest, highest = recipe.augmentation.gain
    if not -100 <= lowest <= highest <= 100:
        help = "lowest and highest, in dB, from -100 to 100"
        raise _wrong(f"`augmentation.gain` in `{source}` cannot be {[lowest, highest]}", help)


def _cannot_be(value: Any, source: str, place: str, help: str) -> AsrcError:
    return _wrong(f"`{place}` in `{source}` cannot be {value!r}", help)


def _wrong(message: str, help: str = "") -> AsrcError:
    return AsrcError(diagnostic("E1008", message, help=help))
