"""Manifests: JSON lines in, utterances out, and every mistake with its line."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.runtime.sounds import tone, write
from asrc.training.manifest import Utterance, read_manifest, write_manifest
from asrc.training.randomness import uniform

GOOD = '{"audio_filepath": "a.wav", "text": "yes", "duration": 1.5}'


def manifest(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "train.jsonl"
    path.write_bytes(b"\n".join(s if isinstance(s, bytes) else s.encode() for s in lines))
    return path


def mistakes(path: Path) -> list[str]:
    """The messages of E1002 without the name of the file."""
    with pytest.raises(AsrcError) as caught:
        read_manifest(path)
    assert {found.code for found in caught.value.diagnostics} == {"E1002"}
    assert all(found.message.startswith(f"{path}:") for found in caught.value.diagnostics)
    return [found.message.removeprefix(f"{path}:") for found in caught.value.diagnostics]


def record(**fields: Any) -> str:
    return json.dumps({"audio_filepath": "a.wav", "text": "yes", "duration": 1.5} | fields)


# --- reading ---------------------------------------------------------------------------------


def test_the_fields(tmp_path: Path) -> None:
    line = record(offset=2.25, speaker="joe", id="one", lang="en", pred_text=None)
    assert read_manifest(manifest(tmp_path, line)) == [
        Utterance(
            id="one",
            audio=tmp_path / "a.wav",
            text="yes",
            duration=1.5,
            offset=2.25,
            speaker="joe",
            extra={"lang": "en", "pred_text": None},
        )
    ]


def test_ids_are_made_from_path_and_offset(tmp_path: Path) -> None:
    lines = [GOOD, record(offset=2.25), record(audio_filepath="/far/b.wav")]
    found = read_manifest(manifest(tmp_path, *lines))
    assert [utterance.id for utterance in found] == ["a.wav", "a.wav@2.25", "/far/b.wav"]
    assert found[2].audio == Path("/far/b.wav")


def test_ids_of_offsets_in_a_long_file(tmp_path: Path) -> None:
    """Six digits where these are all that there are, as ever; else as many as it takes."""
    offsets = (2.25, 3600.25, 10000.111, 10000.141000000001, 10000.114, 1e6)
    found = read_manifest(manifest(tmp_path, *(record(offset=offset) for offset in offsets)))
    made = [utterance.id.removeprefix("a.wav@") for utterance in found]
    longer = ["10000.111", "10000.141000000001", "10000.114"]
    assert made == ["2.25", "3600.25", *longer, "1e+06"]


def test_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xe9.wav")
    there = Utterance("a", tmp_path / name, "yes", 0.5)
    for line in (record(audio_filepath=name), record(audio_filepath=name, offset=1.5)):
        (found,) = read_manifest(manifest(tmp_path, line))
        assert found.audio == there.audio
        assert found.id.startswith("\\udce9.wav")
        assert uniform(0, 0, found.id, "dev") < 1
    write_manifest(tmp_path / "m.jsonl", [there])
    assert read_manifest(tmp_path / "m.jsonl") == [there]


def test_a_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    (found,) = read_manifest(manifest(tmp_path, record(text="\U0001f600")))
    assert found.text == "\U0001f600"


def test_text_may_be_missing_and_lines_blank(tmp_path: Path) -> None:
    line = '{"audio_filepath": "b.wav", "duration": 2}\r'
    found = read_manifest(manifest(tmp_path, b"\xef\xbb\xbf" + GOOD.encode(), "", line, " "))
    assert [(u.id, u.text, u.duration) for u in found] == [("a.wav", "yes", 1.5), ("b.wav", "", 2)]


def test_no_text_is_not_an_empty_text(tmp_path: Path) -> None:
    """`""` says that nothing is said; without the key nobody knows. It is written as it was."""
    line = '{"audio_filepath": "b.wav", "duration": 2}'
    found = read_manifest(manifest(tmp_path, GOOD, record(id="b", text=""), line))
    assert [u.told for u in found] == [True, True, False]
    write_manifest(tmp_path / "other.jsonl", found)
    assert read_manifest(tmp_path / "other.jsonl") == found


def test_a_missing_duration_is_measured(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", tone(0.75))
    line = '{"audio_filepath": "a.wav", "text": "yes", "offset": 0.25}'
    assert read_manifest(manifest(tmp_path, line))[0].duration == 0.5
    (message,) = mistakes(manifest(tmp_path, '{"audio_filepath": "b.wav"}'))
    assert message.startswith("1: no `duration`, and cannot use the audio")


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"audio_filepath": "a.wav"', "this is not JSON (Expecting ',' delimiter at column 27)"),
        ("{'text': 1}", "this is not JSON"),
        ("[1, 2]", "this is JSON, but not an object"),
        ("[" * 100_000, "this is not JSON"),
        ('{"text": "yes", "duration": 1}', "`audio_filepath` is missing or empty"),
        (record(audio_filepath=""), "`audio_filepath` is missing or empty"),
        (record(audio_filepath=["a"]), "`audio_filepath` is a list, not a string"),
        (record(text=None), "`text` is null, not a string"),
        (record(text=12), "`text` is a number, not a string"),
        (record(id={"a": 1}), "`id` is an object, not a string"),
        (record(duration="1.5"), "`duration` is a string, not a number"),
        (record(duration=True), "`duration` is true or false, not a number"),
        (record(duration=-1), "`duration` is -1"),
        (record(duration=float("nan")), "NaN is no JSON number"),
        (record(offset=None), "`offset` is null, not a number"),
        (GOOD.replace("1.5", "1e999"), "`duration` is inf"),
        (GOOD.replace("1.5", "9" * 400), "`duration` is"),
        (GOOD.replace("1.5", "9" * 9_999), "this is not JSON"),
        (record(id="\udce9"), "`id` has half of a surrogate pair"),
        (record(text="high \ud83d"), "`text` has half of a surrogate pair"),
        (record(lang=["\udce9"]), "`lang` has half of a surrogate pair"),
        (record(**{"\udce9": 1}), r"`\udce9` has half of a surrogate pair"),
        (record(audio_filepath="\ud83d.wav"), "`audio_filepath` has half of a surrogate pair"),
    ],
)
def test_a_line_that_is_wrong(tmp_path: Path, line: str, message: str) -> None:
    (found,) = mistakes(manifest(tmp_path, GOOD.replace("a.wav", "x"), "", line))
    assert found.startswith("3: ")
    assert message in found


def test_all_mistakes_are_told(tmp_path: Path) -> None:
    found = mistakes(manifest(tmp_path, GOOD, "{", GOOD, record(text=1), GOOD))
    assert [message.split(":")[0] for message in found] == ["2", "3", "4", "5"]
    assert found[1] == "3: the id `a.wav` is also on line 1"
    many = mistakes(manifest(tmp_path, *["{"] * 1_000))
    assert len(many) == 21
    assert many[-1] == " 980 more lines are wrong"


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    assert mistakes(manifest(tmp_path, GOOD, b"\xff\xfe")) == ["2: this is not UTF-8 text"]


def test_a_manifest_that_is_compressed(tmp_path: Path) -> None:
    path = manifest(tmp_path, gzip.compress(GOOD.encode()))
    assert mistakes(path) == ["1: this file is compressed (gzip)"]


def test_nothing_in_it(tmp_path: Path) -> None:
    assert mistakes(manifest(tmp_path, "", "  ")) == ["1: no utterances"]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl", Path("a\0b")):
        with pytest.raises(AsrcError, match="E0008"):
            read_manifest(path)


# --- writing ---------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
SECONDS = st.floats(0, 1e6)
UTTERANCES = st.lists(
    st.builds(
        Utterance,
        id=TEXT.filter(bool),
        audio=st.sampled_from(["a.wav", "b/c d.flac", "/far/é.ogg"]).map(Path),
        text=TEXT,
        duration=SECONDS,
        offset=SECONDS,
        speaker=TEXT,
        extra=st.dictionaries(st.sampled_from(["lang", "x"]), TEXT | st.none() | SECONDS),
    ),
    min_size=1,
    unique_by=lambda utterance: utterance.id,
)


@given(UTTERANCES)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, utterances: list[Utterance]
) -> None:
    folder = tmp_path_factory.mktemp("manifest")
    placed = [Utterance(u.id, folder / u.audio, *_rest(u)) for u in utterances]
    write_manifest(folder / "m.jsonl", placed)
    assert read_manifest(folder / "m.jsonl") == placed


def _rest(u: Utterance) -> tuple[Any, ...]:
    return u.text, u.duration, u.offset, u.speaker, u.extra


def test_a_folder_can_be_moved(tmp_path: Path) -> None:
    audio = write(tmp_path / "old/wav/a.wav", tone())
    write_manifest(tmp_path / "old/m.jsonl", [Utterance("a", audio, "yes", 0.5)])
    assert '"audio_filepath": "wav/a.wav"' in (tmp_path / "old/m.jsonl").read_text()
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest(tmp_path / "new/m.jsonl")[0].audio.is_file()


def test_what_json_cannot_hold(tmp_path: Path) -> None:
    for bad in (float("nan"), object()):
        utterance = Utterance("a", tmp_path, "", 1, extra={"x": bad})
        with pytest.raises(AsrcError, match="E1002"):
            write_manifest(tmp_path / "m.jsonl", [utterance])
    assert not (tmp_path / "m.jsonl").exists()
    with pytest.raises(AsrcError, match="E0008"):
        write_manifest(tmp_path, [])
