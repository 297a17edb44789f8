"""Artefacts: what goes in comes out, and nothing else is taken for one."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler import artefact
from asrc.compiler.artefact import pack, read_artefact, unpack, write_artefact
from asrc.compiler.diagnostics import AsrcError

PARTS = {"manifest.json": b'{"a": 1}', "weights.safetensors": bytes(range(256)), "empty": b""}


def code(data: bytes) -> str:
    with pytest.raises(AsrcError) as error:
        unpack(data, "a.asrc")
    return error.value.diagnostics[0].code


@given(
    st.dictionaries(st.text("abc/.", min_size=1, max_size=5), st.binary(max_size=40), max_size=5)
)
def test_parts_come_back(parts: dict[str, bytes]) -> None:
    assert unpack(pack(parts), "a.asrc") == parts
    assert pack(dict(reversed(parts.items()))) == pack(parts)


def test_any_zip_tool_reads_it(tmp_path: Path) -> None:
    write_artefact(tmp_path / "a.asrc", PARTS)
    assert read_artefact(tmp_path / "a.asrc") == PARTS
    with zipfile.ZipFile(tmp_path / "a.asrc") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == PARTS


def test_every_flipped_byte_is_found() -> None:
    whole = pack(PARTS)
    for place in range(len(whole)):
        for bit in (1, 128):
            flipped = bytearray(whole)
            flipped[place] ^= bit
            assert code(bytes(flipped)) == "E1201", place


def test_every_truncation_is_found() -> None:
    whole = pack(PARTS)
    assert {code(whole[:length]) for length in range(len(whole))} == {"E1201"}
    assert code(whole + b"\0") == "E1201"


def test_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(artefact, "VERSION", artefact.VERSION + 1)
    later = pack(PARTS)
    monkeypatch.undo()
    assert code(later) == "E1202"


def test_what_is_signed_and_is_no_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    def signed(archive: bytes) -> bytes:
        whole = archive + artefact.VERSION.to_bytes(4, "little")
        return whole + hashlib.sha256(whole).digest() + artefact._MARK

    assert code(signed(b"no archive")) == "E1201"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"0123456789")
    monkeypatch.setattr(artefact, "MOST", 9)
    assert code(signed(buffer.getvalue())) == "E1201"


@given(st.integers(0, 1 << 30), st.integers(1, 255))
def test_a_byte_changed_under_a_digest_that_fits(place: int, by: int) -> None:
    """Whatever `zipfile` raises for it; a byte of a date is as good as another."""
    whole = pack({"manifest.json": b'{"a": [1, 2, 3], "b": "some text"}' * 9})
    end = len(whole) - len(artefact._MARK) - 32
    data = bytearray(whole[:end])
    data[place % (end - 4)] ^= by
    again = bytes(data) + hashlib.sha256(data).digest() + artefact._MARK
    found = "fine"
    try:
        unpack(again, "a.asrc")
    except AsrcError as error:
        found = error.diagnostics[0].code
    assert found in ("fine", "E1201")
