"""`asrc eval`: word error rates on a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .language import Search, search_options
from .progress import Progress, progress
from .terminal import common, look, show_json, show_text

if TYPE_CHECKING:
    from ..runtime.decode import ClosedLanguage
    from ..runtime.running import Recognises
    from ..training.manifest import Utterance
    from ..training.recognise import Recognised
    from ..training.scoring import Transcript
    from ..training.selection import Skipped

PATH = click.Path(path_type=Path)


@click.command("eval")
@click.argument("model", type=PATH)
@click.argument("manifest", type=PATH)
@click.option("--by", multiple=True, metavar="KEY", help="A table by this key of the manifest.")
@click.option("--worst", type=click.IntRange(0), default=10, show_default=True)
@click.option("--page", type=PATH, metavar="OUT.html", help="A page with audio and alignments.")
@click.option("--stream", is_flag=True, help="As a stream, block by block, in place of batches.")
@search_options
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common
def command(
    model: Path,
    manifest: Path,
    by: tuple[str, ...],
    worst: int,
    page: Path | None,
    stream: bool,
    search: Search,
    threads: int,
) -> None:
    """Score a model: word error rate with 95 % intervals, kinds of error, the worst utterances.

    MODEL is what `asrc train` or `asrc compile` made; the latter always runs as a stream. Audio
    that cannot be used is named and left out, and so are lines of the manifest without `text`; an
    empty text means that nothing is said.
    """
    if (search.beam > 1 or search.sentences) and not stream:
        raise click.UsageError("--beam and --sentences go with --stream")
    from ..compiler.files import check_writable
    from ..runtime.models import read_model
    from ..runtime.threads import use_threads
    from ..training.manifest import read_manifest
    from ..training.scoring import report
    from ..training.scoring_page import write_page
    from ..training.scoring_text import as_json, as_text

    use_threads(threads)
    if page is not None:
        check_writable(page)
    recogniser = read_model(model)
    left_out: list[Skipped] = []
    everything = read_manifest(manifest)
    _check_keys(by, everything, manifest)
    utterances = _told(everything, left_out)
    scorer = search.language(recogniser.vocabulary)
    beam = search.beam if stream else 0
    heard = _heard(recogniser, utterances, beam, scorer)
    with progress(len(utterances), "evaluating") as bar:
        transcripts = [*_transcripts(heard, by, left_out, bar)]
    _check_any(transcripts, left_out)
    scores = report(transcripts)
    found = replace(scores, left_out=Counter(one.reason for one in left_out))
    if look().json:
        show_json(as_json(found))
    else:
        show_text(as_text(found, worst))
    if page is not None:
        write_page(page, found, title=f"{model.name} on {manifest.name}")


def _check_keys(by: tuple[str, ...], utterances: list[Utterance], manifest: Path) -> None:
    """Raises UsageError for a key of no utterance, whose table would have one row."""
    known = {key for one in utterances for key in one.extra}
    known |= {"speaker"} if any(one.speaker for one in utterances) else set()
    for key in by:
        if key not in known:
            has = ", ".join(sorted(known)) or "no keys to make tables by"
            raise click.UsageError(f"no line of `{manifest}` has the key `{key}`; there are: {has}")


def _check_any(transcripts: list[Transcript], left_out: list[Skipped]) -> None:
    """Raises AsrcError E1005 where all utterances were left out."""
    from ..compiler.diagnostics import AsrcError, diagnostic

    if left_out and not transcripts:
        why = Counter(one.reason for one in left_out)
        counts = ", ".join(f"{reason}: {count:,}" for reason, count in why.items())
        message = f"every utterance was left out ({counts})"
        help = "each is named above, with what is wrong with it"
        raise AsrcError(diagnostic("E1005", message, help=help))


def _told(utterances: list[Utterance], left_out: list[Skipped]) -> list[Utterance]:
    """Those whose text is known; the others could only be scored as if nothing was said."""
    from ..training.selection import Skipped

    untold = [Skipped(one.id, "no text") for one in utterances if not one.told]
    left_out += untold
    if untold:
        click.echo(f"left out: {len(untold):,} without `text`, first `{untold[0].id}`", err=True)
    return [one for one in utterances if one.told]


def _heard(
    recogniser: Recognises, utterances: list[Utterance], beam: int, scorer: ClosedLanguage | None
) -> Iterable[Recognised | Skipped]:
    """Everything in batches; with a beam, as a stream."""
    from ..runtime.recogniser import Recogniser
    from ..training.cache import AudioCache
    from ..training.recognise import recognise, recognise_as_stream

    cache = AudioCache(recogniser.rate, channels=recogniser.channels)
    if beam or not isinstance(recogniser, Recogniser):
        beam = max(beam, 1)
        return recognise_as_stream(recogniser, utterances, cache, beam=beam, scorer=scorer)
    return recognise(recogniser.lowered, recogniser.vocabulary, utterances, cache)


def _transcripts(
    heard: Iterable[Recognised | Skipped],
    by: tuple[str, ...],
    left_out: list[Skipped],
    bar: Progress,
) -> Iterable[Transcript]:
    """Everything that could be recognised; what could not is named, and put into `left_out`."""
    from ..training.selection import Skipped

    for one in heard:
        if isinstance(one, Skipped):
            bar.clear()
            click.echo(f"left out: {one.id}: {one.detail or one.reason}", err=True)
            left_out.append(one)
        else:
            yield _transcript(one, by)
        bar.step()


def _transcript(heard: Recognised, by: tuple[str, ...]) -> Transcript:
    from ..training.scoring import Transcript

    said = heard.utterance
    classes = {key: str(_key(said, key)) for key in by}
    return Transcript(
        said.id, said.text, heard.text, classes, said.audio, said.offset, said.duration
    )


def _key(utterance: Utterance, key: str) -> object:
    return utterance.speaker if key == "speaker" else utterance.extra.get(key, "")
