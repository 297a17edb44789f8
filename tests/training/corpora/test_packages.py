"""Packages are found where they are, and E1003 says what to do where they are not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.corpora import fakes
from asrc.training.corpora.packages import Shelf

SOUND = "usr/share/saytime/2.au"


def mistake(shelf: Shelf, package: str = "saytime", name: str = SOUND) -> tuple[str, str]:
    """The message of the one E1003, and its help."""
    with pytest.raises(AsrcError) as caught:
        shelf.file(package, name)
    (found,) = caught.value.diagnostics
    assert found.code == "E1003"
    return found.message, found.help[0]


def test_installed_packages_are_found(tmp_path: Path) -> None:
    fakes.saytime(tmp_path)
    assert fakes.shelf(tmp_path).file("saytime", SOUND) == tmp_path / SOUND


def test_given_trees_come_before_installed_ones(tmp_path: Path) -> None:
    fakes.saytime(tmp_path / "system")
    fakes.saytime(tmp_path / "given/saytime")
    shelf = Shelf(tmp_path / "given", tmp_path / "cache", tmp_path / "system")
    assert shelf.file("saytime", SOUND) == tmp_path / "given/saytime" / SOUND
    shutil.rmtree(tmp_path / "given/saytime")
    shelf = Shelf(tmp_path / "given", tmp_path / "cache", tmp_path / "system")
    assert shelf.file("saytime", SOUND) == tmp_path / "system" / SOUND


def test_missing_packages_name_their_line(tmp_path: Path) -> None:
    message, help = mistake(fakes.shelf(tmp_path))
    assert "`saytime` is missing" in message
    assert SOUND in message
    assert help.startswith("apt-get install saytime;")


def test_a_folder_of_packages_that_is_not_there(tmp_path: Path) -> None:
    message, help = mistake(Shelf(tmp_path / "none", tmp_path / "cache", tmp_path))
    assert message.endswith("none` does not exist")
    assert help == "check --packages"


def test_another_version_is_refused(tmp_path: Path) -> None:
    fakes.put(tmp_path, "saytime", {SOUND: b"\0"}, version="2.0-1")
    message, _ = mistake(fakes.shelf(tmp_path))
    assert message.endswith("the version of `saytime` is 2.0-1, expected 1.0-35")


@pytest.mark.parametrize("content", [b"", b"plain text", b"\x1f\x8b cut off"])
def test_a_changelog_that_tells_no_version(tmp_path: Path, content: bytes) -> None:
    fakes.saytime(tmp_path)
    log = tmp_path / "usr/share/doc/saytime/changelog.Debian.gz"
    log.write_bytes(content)
    message, _ = mistake(fakes.shelf(tmp_path))
    assert "changelog" in message


def test_documents_that_an_installation_left_out(tmp_path: Path) -> None:
    fakes.saytime(tmp_path)
    shutil.rmtree(tmp_path / "usr/share/doc")
    message, help = mistake(fakes.shelf(tmp_path))
    assert "that tells its version" in message
    assert "--packages" in help


needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="needs dpkg-deb")


@needs_dpkg
def test_deb_files_are_extracted_once(tmp_path: Path) -> None:
    given, cache = tmp_path / "given", tmp_path / "cache"
    archive = deb(tmp_path / "tree", given)
    (given / "unknown_1.0_all.deb").write_bytes(b"never looked at")
    found = Shelf(given, cache, tmp_path / "none").file("saytime", SOUND)
    assert found == cache / archive.stem / SOUND
    archive.write_bytes(b"no archive any more")
    assert Shelf(given, cache, tmp_path / "none").file("saytime", SOUND) == found
    assert [path.name for path in cache.iterdir()] == [archive.stem]


@needs_dpkg
def test_a_broken_deb_file_leaves_nothing_behind(tmp_path: Path) -> None:
    given, cache = tmp_path / "given", tmp_path / "cache"
    deb(tmp_path / "tree", given).write_bytes(b"no archive")
    message, _ = mistake(Shelf(given, cache, tmp_path / "none"))
    assert "dpkg-deb cannot extract it" in message
    assert list(cache.iterdir()) == []


def deb(tree: Path, folder: Path) -> Path:
    """A .deb file of the fake package."""
    fakes.saytime(tree)
    (tree / "DEBIAN").mkdir()
    control = "Package: saytime\nVersion: 1.0-35\nArchitecture: all\nMaintainer: a <a@b.c>\n"
    (tree / "DEBIAN/control").write_text(f"{control}Description: fake\n", encoding="utf-8")
    folder.mkdir()
    path = folder / "saytime_1.0-35_all.deb"
    subprocess.run(["dpkg-deb", "-b", str(tree), str(path)], check=True, capture_output=True)
    return path
