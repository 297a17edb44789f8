"""`asrc transcribe`: words from audio, as a stream."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .language import Search, search_options
from .progress import progress
from .terminal import (
    common,
    look,
    plain_warnings,
    show_diagnostics,
    show_json,
    show_table,
    show_text,
)

if TYPE_CHECKING:
    from ..compiler.diagnostics import AsrcError, Diagnostic
    from ..runtime.listener import Listener
    from ..runtime.running import Recognises
    from ..runtime.samples import Samples

PATH = click.Path(path_type=Path)
BLOCK = 0.1
"""Seconds of audio that are pushed at once."""


MICROPHONE, STDIN = LIVE = ("microphone", "stdin")
"""Sources that Ctrl-C ends, with what they said; a file that it stops is not heard."""


@click.command("transcribe")
@click.argument("model", type=PATH)
@click.argument("audio", nargs=-1)
@click.option("--microphone", is_flag=True, help="Listen to the default microphone.")
@search_options
@click.option("--nbest", type=click.IntRange(1, 64), default=1, show_default=True)
@click.option("--partial", is_flag=True, help="Print what is heard so far, as it changes.")
@click.option(
    "--times",
    is_flag=True,
    help="Print when each label was known, and its score: a log-probability.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@common
def command(
    model: Path,
    audio: tuple[str, ...],
    microphone: bool,
    search: Search,
    nbest: int,
    partial: bool,
    times: bool,
    threads: int,
) -> None:
    """Recognise audio files, raw 16-bit samples on stdin (`-`), or a microphone.

    MODEL is what `asrc train` or `asrc compile` made. Files are read in blocks, as a stream;
    latency has two parts, shown apart: look-ahead, which the model's structure demands, and
    computing, which this machine takes.

    With --sentences, a file of normalised sentences, a line each, only their words can come out,
    and words that follow each other in them are likelier. What that adds is part of a label's score
    then, which may be above 0.
    """
    if bool(audio) == microphone:
        raise click.UsageError("name audio files, `-` for stdin, or --microphone")
    from ..compiler.diagnostics import AsrcError
    from ..runtime.listener import Listener
    from ..runtime.models import read_model
    from ..runtime.threads import use_threads

    use_threads(threads)
    recogniser = read_model(model)
    scorer = search.language(recogniser.vocabulary)
    listener = Listener(recogniser, beam=max(search.beam, nbest), scorer=scorer)
    found: list[dict[str, Any]] = []
    failed: list[Diagnostic] = []
    with progress(len(audio), "transcribing", wanted=not partial) as bar, plain_warnings(bar.clear):
        for name, blocks in _sources(recogniser, audio, microphone):
            try:
                found.append(_one(listener, name, blocks, nbest, partial, times))
            except AsrcError as error:
                failed += error.diagnostics
                _show(error, bar.clear)
            else:
                _show(found[-1], bar.clear)
            bar.step()
    _summary(listener, found, failed)
    click.get_current_context().exit(1 if failed else 0)


def _sources(
    recogniser: Recognises, audio: tuple[str, ...], microphone: bool
) -> Iterator[tuple[str, Iterable[Samples]]]:
    from ..runtime.audio import stream_audio
    from ..runtime.live import microphone_blocks, pcm_blocks

    rate, channels = recogniser.rate, recogniser.channels
    if microphone:
        yield MICROPHONE, microphone_blocks(rate, BLOCK, channels=channels)
    for name in audio:
        if name == "-":
            yield STDIN, pcm_blocks(sys.stdin.buffer, rate, seconds=BLOCK, channels=channels)
        else:
            yield name, stream_audio(name, rate, BLOCK, channels=channels)


def _one(
    listener: Listener,
    name: str,
    blocks: Iterable[Samples],
    nbest: int,
    partial: bool,
    times: bool,
) -> dict[str, Any]:
    """One source to its end. Raises AsrcError E1001 where it cannot be read."""
    listener.restart()
    try:
        _listen(listener, name, blocks, partial)
    except KeyboardInterrupt:
        if name not in LIVE:
            raise
        click.echo("", err=True)
    listener.finish()
    heard = listener.heard(nbest)
    found: dict[str, Any] = {"audio": name, "text": heard.text}
    if nbest > 1:
        found["nbest"] = [{"text": listener.spell(h), "score": h.score} for h in heard.best]
    if times:
        found["labels"] = _labels(listener, heard.best[0])
    return found | {"duration": _ms(listener.seconds)}


def _listen(listener: Listener, name: str, blocks: Iterable[Samples], partial: bool) -> None:
    """To the end. Raises AsrcError E1001 where there was nothing before it, as of a file."""
    from ..runtime.samples import unusable

    said = ""
    for block in blocks:
        heard = listener.push(block)
        if partial and heard.text != said:
            said = heard.text
            click.echo(f"{listener.seconds:8.2f}s  {said}", err=True)
    if not listener.seconds:
        raise unusable(name, "it has no samples", "is what should send them still there?")


def _labels(listener: Listener, best: Any) -> list[dict[str, Any]]:
    spell = listener.recogniser.vocabulary.decode
    return [
        {"label": spell([t.id]), "seconds": round(t.seconds, 3), "score": round(t.score, 3)}
        for t in best.tokens
    ]


# --- what is shown ---------------------------------------------------------------------------


def _show(found: dict[str, Any] | AsrcError, before: Callable[[], None]) -> None:
    """One source as soon as it is known; JSON waits for the last."""
    if look().json:
        return
    before()
    if isinstance(found, dict):
        _show_words(found)
    else:
        show_diagnostics(found.diagnostics)


def _show_words(found: dict[str, Any]) -> None:
    show_text(f"{found['audio']}: {found['text']}")
    for one in found.get("nbest", [])[1:]:
        show_text(f"    {one['score']:9.3f}  {one['text']}")
    if "labels" in found:
        rows = [(f"{x['seconds']:.2f}s", x["label"], f"{x['score']:.2f}") for x in found["labels"]]
        show_table(("known at", "label", "score"), rows)


def _summary(listener: Listener, found: list[dict[str, Any]], failed: list[Diagnostic]) -> None:
    effort = listener.effort
    if look().json:
        show_json(_as_json(listener, found, failed))
    elif found:
        click.echo(
            f"{effort.audio:.1f}s of audio, real-time factor {effort.factor:.3f};"
            f" look-ahead {float(listener.lookahead) * 1000:.0f}ms,"
            f" longest computation for {BLOCK * 1000:.0f}ms of audio {effort.longest * 1000:.1f}ms",
            err=True,
        )


def _as_json(
    listener: Listener, found: list[dict[str, Any]], failed: list[Diagnostic]
) -> dict[str, Any]:
    """All sources and the figures of all; of one alone, its keys stand at the top as well."""
    from ..dsl.render import as_dict

    effort = listener.effort
    alone = found[0] if len(found) == 1 and not failed else {}
    return {
        **alone,
        "ok": not failed,
        "files": found,
        "diagnostics": [as_dict(one) for one in failed],
        "duration": _ms(effort.audio),
        "real_time_factor": round(effort.factor, 4),
        "lookahead": _ms(float(listener.lookahead)),
        "longest": _ms(effort.longest),
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
