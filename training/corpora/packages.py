"""Debian packages as folders of files: installed, extracted, or still a .deb file."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ...compiler.diagnostics import AsrcError, diagnostic
from .sources import SOURCES, changed, missing

_CHANGELOG = re.compile(r"\S+ \((?P<version>[^)]+)\)")


@dataclass(frozen=True)
class Shelf:
    """Where packages are looked for.

    given  a folder that holds .deb files, the tree of extracted ones (`usr/share/...`), or such
           trees in folders of their own; without it only the installed packages are looked at
    cache  the folder that .deb files are extracted into
    """

    given: Path | None
    cache: Path
    system: Path = field(default=Path("/"))

    def file(self, package: str, name: str) -> Path:
        """A file or folder of a package, `name` relative to the root of its tree.

        Raises AsrcError E1003 where it is missing, or the package has another version.
        """
        for root in self._roots:
            if (root / name).exists():
                _check_version(root, package)
                return root / name
        raise missing(package, f"there is no `{name}` in {self._places}")

    @cached_property
    def _roots(self) -> tuple[Path, ...]:
        if self.given is None:
            return (self.system,)
        if not self.given.is_dir():
            message = f"the folder of packages `{self.given}` does not exist"
            raise AsrcError(diagnostic("E1003", message, help="check --packages"))
        trees = sorted(path for path in self.given.iterdir() if (path / "usr").is_dir())
        archives = sorted(self.given.glob("*.deb"))
        extracted = [_extracted(path, self.cache) for path in archives if _is_known(path)]
        return (self.given, *trees, *extracted, self.system)

    @property
    def _places(self) -> str:
        return f"`{self.system}`" if self.given is None else f"`{self.given}` or `{self.system}`"


def _is_known(archive: Path) -> bool:
    return archive.name.split("_")[0] in SOURCES


def _extracted(archive: Path, cache: Path) -> Path:
    """The tree of a .deb file; extracted once, in whole or not at all."""
    tree = cache / archive.stem
    if tree.is_dir():
        return tree
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        beside = Path(folder) / "tree"
        _dpkg(archive, beside)
        try:
            beside.rename(tree)
        except OSError:
            if not tree.is_dir():  # another process was faster
                raise
    return tree


def _dpkg(archive: Path, tree: Path) -> None:
    if shutil.which("dpkg-deb") is None:
        raise missing("dpkg", f"`{archive}` cannot be extracted without dpkg-deb")
    done = subprocess.run(
        ["dpkg-deb", "-x", str(archive), str(tree)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["unknown reason"])[-1]
        raise changed(archive, f"dpkg-deb cannot extract it ({reason})")


def _check_version(root: Path, package: str) -> None:
    """Raises AsrcError E1003 unless the changelog begins with the version that is known."""
    path, wanted = root / f"usr/share/doc/{package}/changelog.Debian.gz", SOURCES[package].version
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            first = file.readline()
    except FileNotFoundError:
        raise missing(package, f"there is no `{path}` that tells its version") from None
    except (OSError, EOFError, ValueError):
        raise changed(path, "it should be a gzipped Debian changelog") from None
    found = _CHANGELOG.match(first)
    if found is None or found["version"] != wanted:
        version = found["version"] if found else "unknown"
        raise changed(path, f"the version of `{package}` is {version}, expected {wanted}")
