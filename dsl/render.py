"""Renderers of diagnostics: graphical for terminals, plain for logs, JSON for machines.

All three show the same data; none of them adds any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby

from ..compiler.diagnostics import Diagnostic, Label
from ..compiler.source import Source

MAX_WIDTH = 160
"""Longer source lines are cut around the span."""

_BOLD, _RED, _YELLOW, _BLUE, _END = "\x1b[1m", "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;34m", "\x1b[0m"


def render(items: Iterable[Diagnostic], style: str, *, color: bool = False) -> str:
    """Diagnostics as text; `style` is graphical, plain or json."""
    if style == "json":
        return json.dumps([as_dict(item) for item in items], indent=2)
    if style == "plain":
        return "\n".join(plain(item) for item in items)
    return "\n".join(graphical(item, color=color) for item in items)


def as_dict(item: Diagnostic) -> dict[str, object]:
    """A diagnostic for machines. Lines and columns count from one, offsets from zero."""
    return {
        "code": item.code,
        "severity": item.severity,
        "message": item.message,
        "labels": [_label_dict(label) for label in item.labels],
        "notes": list(item.notes),
        "help": list(item.help),
    }


def _label_dict(label: Label) -> dict[str, object]:
    span = label.span
    end_line, end_column = span.source.position(span.end)
    return {
        "file": span.source.name,
        "line": span.line,
        "column": span.column,
        "end_line": end_line,
        "end_column": end_column,
        "start": span.start,
        "end": span.end,
        "text": label.text,
    }


def plain(item: Diagnostic) -> str:
    """One line for the mistake, one for each further fact: reads well aloud and in logs."""
    lines = [str(item)]
    for index, label in enumerate(item.labels):
        if label.text:
            place = "" if index == 0 else f"{label.span}: "
            lines.append(f"  {place}{label.text}")
    lines += [f"  note: {note.strip()}" for note in item.notes]
    lines += [f"  help: {text}" for text in item.help]
    return "\n".join(lines)


# --- graphical -------------------------------------------------------------------------------


class _Paint:
    """Colours, or their absence."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, style: str, text: str) -> str:
        return f"{style}{text}{_END}" if self.color and text else text


def graphical(item: Diagnostic, *, color: bool = False) -> str:
    """The source lines with carets under the spans, as compilers show them."""
    paint = _Paint(color)
    tint = _YELLOW if item.severity == "warning" else _RED
    head = paint(tint, f"{item.severity}[{item.code}]") + paint(_BOLD, f": {item.message}")
    margin = max((len(str(label.span.line)) for label in item.labels), default=1)
    lines = [head]
    for index, (source, labels) in enumerate(_by_source(item.labels)):
        arrow = "-->" if index == 0 else ":::"
        place = f"{source.name}:{labels[0].span.line}:{labels[0].span.column}"
        lines.append(f"{' ' * margin}{paint(_BLUE, arrow)} {place}")
        lines += _excerpt(labels, item.labels[0], margin, paint, tint)
    lines += _tail(item, margin, paint)
    return "\n".join(lines) + "\n"


def _by_source(labels: Sequence[Label]) -> list[tuple[Source, list[Label]]]:
    """Labels of one file together, files in order of first mention."""
    order = list(dict.fromkeys(label.span.source.name for label in labels))
    ranked = sorted(labels, key=lambda label: order.index(label.span.source.name))
    groups = groupby(ranked, key=lambda label: label.span.source)
    return [(source, list(found)) for source, found in groups]


def _excerpt(
    labels: list[Label], primary: Label, margin: int, paint: _Paint, tint: str
) -> list[str]:
    bar = paint(_BLUE, "|")
    lines = [f"{' ' * margin} {bar}"]
    last = None
    for label in sorted(labels, key=lambda label: label.span.start):
        number = label.span.line
        if last is not None and number > last + 1:
            lines.append(paint(_BLUE, f"{'.' * max(margin, 3)}"))
        text, shift = _shown(label)
        if number != last:
            lines.append(f"{paint(_BLUE, str(number).rjust(margin))} {bar} {text}")
        mark, style = ("^", tint) if label is primary else ("-", _BLUE)
        lines.append(f"{' ' * margin} {bar} {_underline(label, shift, mark, style, text, paint)}")
        last = number
    lines.append(f"{' ' * margin} {bar}")
    return lines


def _shown(label: Label) -> tuple[str, int]:
    """The source line, cut when it is very long, and how many columns the cut removed."""
    text = _printable(label.span.source.line(label.span.line))
    if len(text) <= MAX_WIDTH:
        return text, 0
    start = max(0, label.span.column - 1 - MAX_WIDTH // 2)
    return text[start : start + MAX_WIDTH], start


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _underline(label: Label, shift: int, mark: str, style: str, text: str, paint: _Paint) -> str:
    column = label.span.column - 1 - shift
    width = max(1, min(label.span.end - label.span.start, len(text) - column))
    words = f" {label.text}" if label.text else ""
    return " " * column + paint(style, mark * width + words)


def _tail(item: Diagnostic, margin: int, paint: _Paint) -> list[str]:
    lead = f"{' ' * margin} {paint(_BLUE, '=')}"
    lines = [f"{lead} {note}" for note in item.notes]
    for text in item.help:
        first, *rest = text.split("\n")
        lines.append(f"{lead} {paint(_BOLD, 'help')}: {first}")
        lines += [f"{' ' * margin}         {line}" for line in rest]
    lines.append(f"{lead} explain: asrc explain {item.code}")
    return lines
