"""One frame of beam search for one stream: paths take labels, then a blank each."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from math import inf
from typing import Any

from .outlook import Outlook
from .path import Path, Trace
from .prefix import Prefix, Scorer


class Expansion:
    """Paths that may still take labels at this frame (`going`), and those that ended it (`closed`).

    A path's score only falls, so a label that leaves it below the `beam` best of all, closed ones
    included, is not followed; nor is one more than `margin` below the best.
    """

    def __init__(self, paths: list[Path], frame: int) -> None:
        self.going = paths
        self.frame = frame
        self._closed: dict[Prefix, Path] = {}

    def end(self, outlooks: Iterable[Outlook]) -> None:
        """Every path goes on to the next frame with a blank."""
        for path, outlook in zip(self.going, outlooks, strict=True):
            closed = path.plus(outlook.blank)
            self._closed[path.prefix] = closed.merged(self._closed.get(path.prefix))

    def extend(
        self, outlooks: Iterable[Outlook], beam: int, margin: float, scorer: Scorer[Any] | None
    ) -> None:
        """Every path takes one more label, where that can matter."""
        longer = [
            (path.score + score, score, label, path)
            for path, outlook in zip(self.going, outlooks, strict=True)
            for label, score in outlook.labels
            if score > -inf
        ]
        rivals = [path.score for path in self._closed.values()] + [one[0] for one in longer]
        leading = nlargest(beam, rivals)
        bar = max(leading[-1], leading[0] - margin)
        chosen = nlargest(beam, (one for one in longer if one[0] >= bar), key=lambda one: one[0])
        self.going = [
            Path(path.prefix.then(label, scorer), total, Trace(path.trace, self.frame, score))
            for total, score, label, path in chosen
        ]

    def best(self, beam: int) -> list[Path]:
        """The best paths that ended the frame, best first."""
        return nlargest(beam, self._closed.values(), key=lambda path: path.score)
