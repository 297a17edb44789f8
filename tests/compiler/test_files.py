"""Writing files: whole, or as they were; what is no regular file stays what it is."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.files import check_writable, write_bytes, write_text

as_root = pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")


def test_a_pipe_is_written_into(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    found: list[bytes] = []
    reader = Thread(target=lambda: found.append((tmp_path / "pipe").read_bytes()), daemon=True)
    reader.start()
    write_bytes(tmp_path / "link", b"some bytes")
    reader.join(10)
    assert found == [b"some bytes"]
    assert (tmp_path / "pipe").is_fifo()
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "link"}


def test_a_terminal_is_written_into() -> None:
    mine, theirs = os.openpty()
    name = Path(os.ttyname(theirs))
    check_writable(name)
    write_text(name, "page")
    assert os.read(mine, 100) == b"page"
    assert name.is_char_device()
    os.close(mine)
    os.close(theirs)


def test_a_device_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(AsrcError, match=r"E0008.*pipe`: No space left on device"):
        write_bytes(tmp_path / "pipe", b"x")
    assert (tmp_path / "pipe").is_fifo()


def test_a_place_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    for name in ("old", "new", "folder/below/new"):
        check_writable(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old"


@pytest.mark.parametrize("name", ["", "file/new", "a\0b", "n" * 300])
def test_places_that_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AsrcError, match="E0008"):
        check_writable(tmp_path / name)


@as_root
def test_places_that_may_not_be_written(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o400)
    (tmp_path / "folder").mkdir(mode=0o500)
    for name in ("pipe", "folder/new"):
        with pytest.raises(AsrcError, match="E0008"):
            check_writable(tmp_path / name)
