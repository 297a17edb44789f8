"""`asrc eval`: word error rates on a manifest."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .language import Search, search_options
from .terminal import common, look, show_json, show_text

if TYPE_CHECKING:
    from ..runtime.decode import ClosedLanguage
    from ..runtime.running import Recognises
    from ..training.manifest import Utterance
    from ..training.scoring import Transcript

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
    that cannot be used is named and left out.
    """
    if (search.beam > 1 or search.sentences) and not stream:
        raise click.UsageError("--beam and --sentences go with --stream")
    from ..runtime.models import read_model
    from ..runtime.threads import use_threads
    from ..training.manifest import read_manifest
    from ..training.scoring import report
    from ..training.scoring_page import write_page
    from ..training.scoring_text import as_json, as_text

    use_threads(threads)
    recogniser = read_model(model)
    utterances = read_manifest(manifest)
    scorer = search.language(recogniser.vocabulary)
    beam = search.beam if stream else 0
    found = report(_transcripts(recogniser, utterances, by, beam, scorer))
    if page is not None:
        write_page(page, found, title=f"{model.name} on {manifest.name}")
    if look().json:
        show_json(as_json(found))
    else:
        show_text(as_text(found, worst))


def _transcripts(
    recogniser: Recognises,
    utterances: list[Utterance],
    by: tuple[str, ...],
    beam: int,
    scorer: ClosedLanguage | None,
) -> Iterable[Transcript]:
    """Everything that could be recognised; with a beam, as a stream."""
    from ..runtime.recogniser import Recogniser
    from ..training.cache import AudioCache
    from ..training.recognise import Recognised, recognise, recognise_as_stream
    from ..training.scoring import Transcript

    cache = AudioCache(recogniser.rate, channels=recogniser.channels)
    if beam or not isinstance(recogniser, Recogniser):
        heard = recognise_as_stream(recogniser, utterances, cache, beam=max(beam, 1), scorer=scorer)
    else:
        heard = recognise(recogniser.lowered, recogniser.vocabulary, utterances, cache)
    for one in heard:
        if not isinstance(one, Recognised):
            click.echo(f"left out: {one.id}: {one.reason}: {one.detail}", err=True)
            continue
        said = one.utterance
        classes = {key: str(_key(said, key)) for key in by}
        yield Transcript(
            said.id, said.text, one.text, classes, said.audio, said.offset, said.duration
        )


def _key(utterance: Utterance, key: str) -> object:
    return utterance.speaker if key == "speaker" else utterance.extra.get(key, "")
