"""`asrc corpora`: speech corpora, from Debian packages and synthetic voices."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .terminal import common, look, show_json, show_table, show_text

if TYPE_CHECKING:
    from ..training.corpora.packages import Shelf
    from ..training.manifest import Utterance

Command = TypeVar("Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)
OUT = click.option("--out", type=PATH, required=True, help="A folder for manifests and audio.")
SYNTHETIC = click.option(
    "--synthetic",
    type=click.FloatRange(0, 1000),
    default=0.0,
    metavar="HOURS",
    help="The training sentences in synthetic voices as well: train-synthetic.jsonl.",
)


def building(command: Command) -> Command:
    """The options that every corpus has."""
    for option in (
        common,
        click.option("--jobs", type=click.IntRange(1), default=1, show_default=True),
        click.option("--seed", type=click.IntRange(0), default=0, show_default=True),
        click.option(
            "--packages", type=PATH, help="A folder of .deb files, or of what is in them."
        ),
        OUT,
    ):
        command = option(command)
    return command


@click.group("corpora")
def command() -> None:
    """Build speech corpora: manifests, audio, and the licences of what they are made from.

    Recordings come from Debian packages, installed or given with --packages. A build that was
    stopped goes on where it was.
    """


@command.group("build")
def build() -> None:
    """Build a corpus."""


@build.command("commands")
@click.option("--hours", type=click.FloatRange(0.01, 1000), default=40.0, show_default=True)
@building
def commands(out: Path, packages: Path | None, seed: int, jobs: int, hours: float) -> None:
    """A closed grammar: synthetic voices to train on, real recordings to test on."""
    from ..training.corpora.commands import Options, build

    build(out, _shelf(out, packages), Options(hours, seed, jobs), _progress)
    _show(out)


@build.command("prompts")
@SYNTHETIC
@building
def prompts(out: Path, packages: Path | None, synthetic: float, seed: int, jobs: int) -> None:
    """The prompts of Asterisk: one speaker, 16 kHz."""
    from ..training.corpora.prompts import RATE, build
    from ..training.corpora.readers import Readers
    from ..training.corpora.recipes import TEMPI

    readers = Readers(synthetic, RATE, TEMPI, seed, jobs) if synthetic else None
    build(out, _shelf(out, packages), _progress, readers)
    _show(out)


@build.command("talkie")
@SYNTHETIC
@building
def talkie(out: Path, packages: Path | None, synthetic: float, seed: int, jobs: int) -> None:
    """Acted dialogue of two games: many characters, 11.025 kHz."""
    from ..training.corpora.readers import Readers
    from ..training.corpora.talkie import RATE, TEMPI, build

    readers = Readers(synthetic, RATE, TEMPI, seed, jobs) if synthetic else None
    build(out, _shelf(out, packages), _progress, readers)
    _show(out)


@build.command("farfield")
@click.option(
    "--of",
    "corpus",
    type=click.Choice(["prompts", "talkie"]),
    default="prompts",
    show_default=True,
    help="The corpus that is heard.",
)
@click.option("--microphones", type=click.IntRange(1, 8), default=4, show_default=True)
@building
def farfield(
    out: Path, packages: Path | None, seed: int, jobs: int, corpus: str, microphones: int
) -> None:
    """Another corpus, across rooms with babble or music."""
    from ..training.corpora.farfield import Options, build

    options = Options(corpus, microphones, seed=seed, jobs=jobs)
    build(out, _shelf(out, packages), options, _progress)
    _show(out)


@build.command("wake")
@click.option("--phrase", default="okay computer", show_default=True)
@click.option("--count", type=click.IntRange(1), default=2000, show_default=True)
@building
def wake(out: Path, packages: Path | None, seed: int, jobs: int, phrase: str, count: int) -> None:
    """A phrase in many synthetic voices, and real speech without it."""
    from ..training.corpora.wake import Options, build

    options = Options(phrase, count, seed, jobs)
    build(out, _shelf(out, packages), options, _progress)
    _show(out)


@command.command("librispeech")
@click.argument("folder", metavar="DIR", type=PATH)
@OUT
@common
def librispeech(folder: Path, out: Path) -> None:
    """Manifests for a LibriSpeech folder; its audio stays where it is."""
    from ..training.corpora.librispeech import build

    build(folder, out)
    _show(out)


def _shelf(out: Path, packages: Path | None) -> Shelf:
    from ..training.corpora.packages import Shelf

    return Shelf(packages, out / ".packages")


def _progress(done: int, count: int) -> None:
    """A line that counts, where somebody looks."""
    if sys.stderr.isatty() and not look().json:
        click.echo(f"\r{done} of {count} files", nl=done == count, err=True)


def _show(out: Path) -> None:
    """What is in the manifests of a folder."""
    from ..training.manifest import read_manifest

    found = {path.stem: read_manifest(path) for path in sorted(out.glob("*.jsonl"))}
    rows = [(name, *_figures(utterances)) for name, utterances in found.items()]
    if look().json:
        show_json([dict(zip(_HEAD, row, strict=True)) for row in rows])
        return
    show_table(_HEAD, [(row[0], *(f"{value:g}" for value in row[1:])) for row in rows])
    if (out / "LICENCES.md").is_file():
        show_text(f"licences: {out / 'LICENCES.md'}")


_HEAD = ("set", "utterances", "minutes", "words", "speakers")


def _figures(utterances: list[Utterance]) -> tuple[int, float, int, int]:
    return (
        len(utterances),
        round(sum(one.duration for one in utterances) / 60, 2),
        sum(len(one.text.split()) for one in utterances),
        len({one.speaker for one in utterances}),
    )
