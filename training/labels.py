"""The labels of a training: those of the file in its folder, else made from the training texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from ..compiler.diagnostics import AsrcError, Diagnostic, diagnostic
from ..compiler.files import read_bytes, write_bytes
from ..runtime.vocabulary import (
    CharacterVocabulary,
    Vocabulary,
    WordVocabulary,
    build_vocabulary,
    parse_vocabulary,
)
from .checkpoint import listed
from .processes import Processes
from .recipe import Data
from .selection import NO_LABEL


@dataclass(frozen=True)
class Labels:
    """A vocabulary, its file and what that holds; `given`: whether the file was there before."""

    vocabulary: Vocabulary
    place: Path
    data: bytes
    given: bool

    def keep(self, processes: Processes) -> None:
        """Write the file where there is none. Raises AsrcError E0008."""
        if processes.first and not self.place.exists():
            write_bytes(self.place, self.data)

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors of texts without labels name the file, where that was there before."""
        try:
            yield
        except AsrcError as error:
            raise AsrcError(*map(self._named, error.diagnostics)) from None

    def _named(self, found: Diagnostic) -> Diagnostic:
        if not self.given or found.code != "E1005" or NO_LABEL not in found.message:
            return found
        line = f"labels are those of `{self.place}`; without that file they are made from the texts"
        return replace(found, help=(*found.help, line))


def find_labels(
    out: Path,
    texts: Sequence[str],
    options: Data,
    processes: Processes,
    say: Callable[[str], None],
) -> Labels:
    """Those of `out/vocabulary`, else new ones, which `keep` writes there. All processes have to
    ask, and get what the first one has.

    Before the first checkpoint, `say` hears of a file that is not what the texts give: it may be
    another model's, for a training that starts from that. Raises AsrcError E1006 where it is of
    another kind or size than the recipe's, and E1004 where there can be no vocabulary.
    """
    place = out / "vocabulary"
    own = (_content(place), bool(listed(out / "checkpoints"))) if processes.first else None
    first = processes.gather(own)[0]
    assert first is not None
    content, begun = first
    if content is None:
        made = processes.gather(_made(texts, options) if processes.first else None)[0]
        assert made is not None
        return Labels(parse_vocabulary(made, str(place)), place, made, given=False)
    found = Labels(parse_vocabulary(content, str(place)), place, content, given=True)
    if not begun:
        _check(found, options)
        if processes.first and not _is_made(found.vocabulary, texts, options):
            say(f"labels are those of `{place}`, {_counted(found)}, not made anew from the texts")
    return found


def _content(place: Path) -> bytes | None:
    return read_bytes(place) if place.exists() else None


def _made(texts: Sequence[str], options: Data) -> bytes:
    return build_vocabulary(texts, options.vocabulary, options.size).data()


def _is_made(vocabulary: Vocabulary, texts: Sequence[str], options: Data) -> bool:
    """Whether the texts give this vocabulary."""
    try:
        return _made(texts, options) == vocabulary.data()
    except AsrcError:
        return False  # they give none


def _check(found: Labels, options: Data) -> None:
    kind, size, wanted = _kind(found.vocabulary), found.vocabulary.size, options.vocabulary
    if kind != ("pieces" if wanted in ("unigram", "bpe") else wanted):
        name = "unigram" if kind == "pieces" else kind
        raise _unfit(found, f"{kind}, and the recipe's are {wanted}", f'vocabulary = "{name}"')
    most = size if options.size is None else options.size
    if size > most or (kind == "pieces" and size != most):
        raise _unfit(found, f"{size} {kind} with `<s>`, the recipe {most}", f"size = {size}")


def _unfit(found: Labels, what: str, fix: str) -> AsrcError:
    message = f"the labels of `{found.place}` are {what}"
    help = f"remove that file to have them made from the texts, or set `{fix}` in `[data]`"
    return AsrcError(diagnostic("E1006", message, help=help))


def _kind(vocabulary: Vocabulary) -> str:
    if isinstance(vocabulary, CharacterVocabulary):
        return "characters"
    return "words" if isinstance(vocabulary, WordVocabulary) else "pieces"


def _counted(found: Labels) -> str:
    """`28 characters`; the unknown piece is one of the pieces, `<s>` is no character or word."""
    kind = _kind(found.vocabulary)
    return f"{found.vocabulary.size - (kind != 'pieces')} {kind}"
