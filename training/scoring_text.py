"""A score as plain text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .scoring import Edit, Report, Scored, Summary

HEADER = ("", "utterances", "correct", "words", "WER", "95 %", "sub", "del", "ins")
_MARKS = {"hit": "", "substitution": "S", "deletion": "D", "insertion": "I"}


def as_text(report: Report, worst: int = 10) -> str:
    """A table, one row for all and one for each value of each class, what was left out, then the
    worst utterances."""
    rows = [HEADER, *(_row(name, summary) for name, summary in table(report))]
    lines = [*_columns(rows), *left_out(report)]
    for one in report.worst(worst):
        lines += ["", *alignment_lines(one)]
    return "\n".join(lines) + "\n"


def as_json(report: Report) -> dict[str, Any]:
    """The same figures and every utterance, for `json.dumps`; rates are fractions, or None."""
    return {
        "total": _figures(report.total),
        "classes": {
            name: {value: _figures(summary) for value, summary in values.items()}
            for name, values in report.classes.items()
        },
        "utterances": [_utterance(one) for one in report.utterances],
        "left_out": dict(report.left_out),
    }


def left_out(report: Report) -> Iterator[str]:
    """A line such as `left out: 30 no text, 2 audio cannot be used`; none where all was scored."""
    if report.left_out:
        reasons = (f"{count:,} {reason}" for reason, count in report.left_out.items())
        yield f"left out: {', '.join(reasons)}"


def table(report: Report) -> Iterator[tuple[str, Summary]]:
    """Every row of the table and its name."""
    yield "all", report.total
    for name, values in report.classes.items():
        for value, summary in values.items():
            yield f"{name} {value or '(none)'}", summary


def percent(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"


def percent_interval(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else f"{percent(ends[0])} to {percent(ends[1])}"


def cells(summary: Summary) -> tuple[str, ...]:
    """A row as in `HEADER`, without its name."""
    counts = summary.counts
    return (
        f"{summary.utterances:,}",
        f"{100 * summary.correct / max(1, summary.utterances):.1f} %",
        f"{counts.words:,}",
        percent(counts.rate),
        percent_interval(summary.interval),
        f"{counts.substitutions:,}",
        f"{counts.deletions:,}",
        f"{counts.insertions:,}",
    )


def alignment_lines(one: Scored) -> list[str]:
    """The reference over the hypothesis, word under word, with S, D, I below what is wrong."""
    counts = one.counts
    head = f"{one.transcript.id}: {counts.errors} errors in {counts.words} words"
    columns = [_column(edit) for edit in one.edits]
    texts = [" ".join(column[line] for column in columns).rstrip() for line in range(3)]
    names = ("reference ", "hypothesis", "          ")
    return [head, *(f"  {name} {text}".rstrip() for name, text in zip(names, texts, strict=True))]


def _column(edit: Edit) -> tuple[str, str, str]:
    said, heard, mark = edit.reference or "*", edit.hypothesis or "*", _MARKS[edit.kind]
    width = max(len(said), len(heard))
    return said.ljust(width), heard.ljust(width), mark.ljust(width)


def _row(name: str, summary: Summary) -> tuple[str, ...]:
    return name, *cells(summary)


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    """The first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def _figures(summary: Summary) -> dict[str, Any]:
    counts = summary.counts
    return {
        "utterances": summary.utterances,
        "correct": summary.correct,
        "words": counts.words,
        "wer": counts.rate,
        "interval": None if summary.interval is None else list(summary.interval),
        "hits": counts.hits,
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
    }


def _utterance(one: Scored) -> dict[str, Any]:
    said = one.transcript
    return {
        "id": said.id,
        "reference": said.reference,
        "hypothesis": said.hypothesis,
        "errors": one.counts.errors,
        "words": one.counts.words,
        **({"classes": dict(said.classes)} if said.classes else {}),
    }
