"""A score as one HTML page: tables, every alignment in colour, and the audio beside it.

The page needs nothing else: no script, no style sheet, no network. Short clips can be put into it.
"""

from __future__ import annotations

import base64
import mimetypes
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from ..compiler.files import write_text
from .scoring import Edit, Report, Scored, Transcript
from .scoring_text import HEADER, cells, left_out, percent, table

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em; }
table { border-collapse: collapse; }
th, td { padding: .2em .7em; text-align: right; font-variant-numeric: tabular-nums; }
th:first-child, td:first-child { text-align: left; }
tr + tr { border-top: 1px solid #8885; }
article { border-top: 1px solid #8885; padding: .8em 0; }
article h3 { font-size: 1em; margin: 0; }
article small { font-weight: normal; margin-left: .7em; opacity: .75; }
audio { display: block; height: 2.2em; margin: .4em 0; }
ins, del, s { border-radius: .2em; padding: 0 .2em; text-decoration: none; }
del { background: #e5484d40; text-decoration: line-through; }
ins { background: #46a75840; border-bottom: 2px solid #46a758; }
s { background: #f5a62350; text-decoration: line-through; }
"""

LEGEND = (
    "<p>Said and heard; <s>said</s><ins>heard</ins> is a substitution, <del>said</del> a deletion, "
    "<ins>heard</ins> alone an insertion.</p>"
)


def write_page(
    path: Path, report: Report, *, title: str = "Word errors", most: int = 500, embed: int = 0
) -> None:
    """Write the page of a report, utterances with most errors first.

    most: how many utterances are shown. embed: audio files of up to so many bytes are put into
    the page, where an utterance is a whole file; others are linked, relative to the page.
    Raises AsrcError E0008 where it cannot be written.
    """
    write_text(path, page(report, path.parent, title=title, most=most, embed=embed))


def page(report: Report, folder: Path, *, title: str, most: int, embed: int) -> str:
    """The page as text, for a file in `folder`."""
    wrong = report.worst(len(report.utterances))
    right = [one for one in report.utterances if not one.counts.errors]
    shown = [*wrong, *right][:most]
    articles = "\n".join(_article(one, folder, embed) for one in shown)
    notes = "".join(f"<p>{escape(line)}</p>\n" for line in left_out(report))
    name = escape(title)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{name}</title>\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n'
        f"<h1>{name}</h1>\n{_table(report)}\n{notes}"
        f"<h2>{len(shown):,} of {len(report.utterances):,} utterances</h2>\n{LEGEND}\n"
        f"{articles}\n</html>\n"
    )


def _table(report: Report) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in HEADER)
    rows = [
        "".join(f"<td>{escape(cell)}</td>" for cell in (name, *cells(summary)))
        for name, summary in table(report)
    ]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>\n<tr>{head}</tr>\n{body}\n</table>"


def _article(one: Scored, folder: Path, embed: int) -> str:
    said = one.transcript
    notes = [f"{one.counts.errors} errors in {one.counts.words} words"]
    if one.counts.rate is not None:
        notes.append(f"{percent(one.counts.rate)} %")
    notes += [f"{name} {value}" for name, value in said.classes.items()]
    small = escape(", ".join(notes))
    words = " ".join(map(_word, one.edits)) or "<small>(nothing said, nothing heard)</small>"
    heading = f"<h3>{escape(said.id)}<small>{small}</small></h3>"
    return f"<article>{heading}{_audio(said, folder, embed)}<div>{words}</div></article>"


def _word(edit: Edit) -> str:
    said, heard = escape(edit.reference), escape(edit.hypothesis)
    match edit.kind:
        case "hit":
            return said
        case "substitution":
            return f"<s>{said}</s><ins>{heard}</ins>"
        case "deletion":
            return f"<del>{said}</del>"
        case "insertion":
            return f"<ins>{heard}</ins>"


def _audio(said: Transcript, folder: Path, embed: int) -> str:
    if said.audio is None:
        return ""
    source = _embedded(said, said.audio, embed) or _link(said, said.audio, folder)
    return f'<audio controls preload="none" src="{escape(source)}"></audio>'


def _embedded(said: Transcript, audio: Path, embed: int) -> str | None:
    """A data URI; None where the file is too large, not there, or more than the utterance."""
    if said.start or not audio.is_file() or audio.stat().st_size > embed:
        return None
    kind = mimetypes.guess_type(audio.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(audio.read_bytes()).decode()}"


def _link(said: Transcript, audio: Path, folder: Path) -> str:
    """A relative link; a part of a file is named as a media fragment (W3C Media Fragments 4.2)."""
    link = quote(os.fsencode(Path(os.path.relpath(audio, folder)).as_posix()))
    if not said.start and said.seconds is None:
        return link
    end = "" if said.seconds is None else f",{said.start + said.seconds:.3f}"
    return f"{link}#t={said.start:.3f}{end}"
