"""`asrc train`: a model learns from a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import FILE, settings_option
from .pipeline import Watch, load, run
from .progress import Progress, progress
from .terminal import common, look, show_json_line, show_text

if TYPE_CHECKING:
    from ..compiler.facts import Facts
    from ..compiler.protocol import Weights
    from ..dsl.syntax import Expr
    from ..training.job import Build
    from ..training.recipe import Recipe

PATH = click.Path(path_type=Path)


@click.command("train")
@click.argument("file", type=FILE)
@settings_option
@click.option("--pipeline", metavar="NAME", help="After this pipeline of the file.")
@click.option("--passes", metavar="CALLS", help="After these passes.")
@click.option("--train", "train_", type=PATH, required=True, help="A manifest to learn from.")
@click.option("--dev", type=PATH, help="A manifest to choose by; else 2 % of the other.")
@click.option("--out", type=PATH, required=True, help="A folder for what comes out.")
@click.option("--recipe", type=PATH, help="Hyperparameters in TOML.")
@click.option(
    "--from",
    "start",
    type=PATH,
    help="Weights to start from (safetensors), of the model before its passes or after them.",
)
@click.option("--device", help="cpu, cuda or cuda:1; else a GPU where there is one.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--tensorboard", is_flag=True, help="Write events for TensorBoard as well.")
@common
def command(
    file: str,
    settings: Mapping[str, Expr],
    pipeline: str | None,
    passes: str | None,
    train_: Path,
    dev: Path | None,
    out: Path,
    recipe: Path | None,
    start: Path | None,
    device: str | None,
    threads: int,
    tensorboard: bool,
) -> None:
    """Train a transducer; a run that was stopped goes on where it was.

    After `substitute` and `quantize` the training computes the accelerator's integers. It starts
    from a float model, `--from`; ranges, scales and codebooks are taken from that and from
    utterances of the training set, and stay as they are.

    Under `torchrun`, several processes train one model on the same batches. The folder has
    `log.csv`, `checkpoints/`, `skipped.jsonl` where anything was left out, and `best/`, which
    `asrc eval` and `asrc transcribe` read. With --json every line is an object: what is said, or
    the numbers of an update.
    """
    import torch

    from ..training.job import Job, train
    from ..training.processes import joined
    from ..training.recipe import Recipe, read_recipe

    torch.set_num_threads(threads)
    chosen = read_recipe(recipe) if recipe else Recipe()
    build = _builder(file, settings, chosen, pipeline, passes)
    note = {"model": Path(file).name, "pipeline": pipeline, "passes": passes}
    job = Job(build, chosen, train_, dev, out, note, start, tensorboard)
    with joined(device) as processes, ExitStack() as stack:
        said = Said(stack, chosen.optimiser.updates) if processes.first else Silent()
        train(job, processes, said.say, said.show)


def _builder(
    file: str,
    settings: Mapping[str, Expr],
    recipe: Recipe,
    pipeline: str | None,
    passes: str | None,
) -> Build:
    """The model with the recipe's settings, then the command line's, and its vocabulary's size."""
    from ..dsl.check import setting

    def build(size: int, weights: Weights | None = None) -> tuple[Facts, Weights | None]:
        given = {name: setting(name, text) for name, text in recipe.settings.items()}
        given |= {"vocab": setting("vocab", str(size)), **settings}
        model = load(file, given)
        found = run(model, pipeline, passes, Watch((), False, False, None), weights)
        return found.facts, found.weights

    return build


class Silent:
    """What the other processes of a training say."""

    def say(self, text: str) -> None:
        pass

    def show(self, update: int, numbers: Mapping[str, float]) -> None:
        pass


class Said(Silent):
    """The lines of a training, and on a terminal a bar below them from the first report on.

    A run that was resumed begins it where it goes on, so that the time left is told rightly.
    """

    def __init__(self, stack: ExitStack, updates: int) -> None:
        self._stack, self._updates = stack, updates
        self._bar: Progress | None = None

    def say(self, text: str) -> None:
        if look().json:
            show_json_line({"text": text})
            return
        if self._bar is not None:
            self._bar.clear()
        show_text(text)

    def show(self, update: int, numbers: Mapping[str, float]) -> None:
        if look().json:
            finite = {name: x if isfinite(x) else None for name, x in numbers.items()}
            show_json_line({"update": update, **finite})
            return
        values = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        self.say(f"{update:7d}  {values}")
        self._bar = self._bar or self._begun(update)
        self._bar.move_to(update)

    def _begun(self, update: int) -> Progress:
        return self._stack.enter_context(progress(self._updates, "training", first=update))
