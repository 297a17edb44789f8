"""A recipe: everything that a training's numbers depend on, beside the model and the data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

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
    if is_dataclass(hint) and isinstance(value, dict):
        return _made(cast("type[Any]", hint), value, source, f"{place}.")
    if place == "settings" and isinstance(value, dict):
        return {str(k): str(v) for k, v in value.items()}
    if isinstance(value, list) and "tuple" in str(hint):
        return tuple(float(v) for v in value if isinstance(v, int | float))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    wanted = {float: float, int: int, str: str}.get(hint, int if "int" in str(hint) else object)
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise _wrong(f"`{place}` in `{source}` cannot be {value!r}")
    return value


def _check(recipe: Recipe, source: str) -> None:
    """Numbers out of range."""
    optimiser, data = recipe.optimiser, recipe.data
    positive = {
        "optimiser.updates": optimiser.updates,
        "optimiser.rate": optimiser.rate,
        "optimiser.clip": optimiser.clip,
        "data.seconds": data.seconds,
        "pace.validate": recipe.pace.validate,
        "pace.save": recipe.pace.save,
        "pace.log": recipe.pace.log,
        "pace.keep": recipe.pace.keep,
    }
    for name, value in positive.items():
        if not value > 0:
            raise _wrong(f"`{name}` in `{source}` is {value}, it must be above 0")
    if not 0 <= optimiser.average < 1:
        raise _wrong(f"`optimiser.average` in `{source}` is {optimiser.average}, not in [0, 1)")
    if recipe.precision not in ("float32", "bfloat16", "float16"):
        help = "float32, bfloat16 or float16"
        raise _wrong(f"`precision` in `{source}` is `{recipe.precision}`", help)
    if recipe.losses.pruned < 0 or recipe.losses.pruned == 1:
        raise _wrong(f"`losses.pruned` in `{source}` must be 0 or at least 2")
    if recipe.beginning.ctc > 0 and not recipe.losses.ctc > 0:
        raise _wrong(f"`beginning.ctc` in `{source}` needs `losses.ctc` above 0")
    if recipe.beginning.ctc < 0 or recipe.beginning.easy < 0:
        raise _wrong(f"an update in `beginning` of `{source}` is negative")
    if recipe.losses.ctc < 0 or recipe.losses.fastemit < 0 or recipe.seed < 0:
        raise _wrong(f"a weight or a seed in `{source}` is negative")


def _wrong(message: str, help: str = "") -> AsrcError:
    return AsrcError(diagnostic("E1008", message, help=help))
