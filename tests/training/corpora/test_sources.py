"""Recordings and their texts come out of packages as they went in; damage is E1003."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.corpora import fakes
from asrc.training.corpora import asterisk, drascula, fotaq, saytime
from asrc.training.corpora.fotaq_text import clip_texts, segments

QUEEN = "usr/share/scummvm/flight-of-the-amazon-queen/queen.1c"
DRASCULA = "usr/share/scummvm/drascula/en"


@pytest.fixture
def broken() -> partial[str]:
    return partial(message_of, "E1003")


def message_of(code: str, work: partial[object]) -> str:
    with pytest.raises(AsrcError) as caught:
        work()
    (found,) = caught.value.diagnostics
    assert found.code == code
    return found.message


# --- Asterisk --------------------------------------------------------------------------------


def test_asterisk_texts_are_what_is_said(tmp_path: Path) -> None:
    fakes.asterisk(tmp_path)
    found = asterisk.clips(fakes.shelf(tmp_path), count=4)
    assert {clip.name: clip.text for clip in found} == {
        "hello": "Hello world.",
        "vm-press": "press star",
        "digits/2": "two",
        "digits/h-40": "fortieth",
    }


def test_a_byte_of_g722_is_two_samples(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="decodes G.722")
    fakes.asterisk(tmp_path)
    clip = asterisk.clips(fakes.shelf(tmp_path), count=4)[0]
    samples = clip.read()
    assert len(samples) == pytest.approx(2 * 4000, abs=8)
    assert clip.rate == 16_000
    assert 0.01 < np.abs(samples).max() <= 1.0


def test_an_empty_recording(tmp_path: Path, broken: partial[str]) -> None:
    pytest.importorskip("av", reason="decodes G.722")
    path = tmp_path / "a.g722"
    path.write_bytes(b"")
    assert "G.722 recording" in broken(partial(asterisk.read_g722, path))


def test_a_list_with_other_contents(tmp_path: Path, broken: partial[str]) -> None:
    fakes.asterisk(tmp_path)
    shelf = fakes.shelf(tmp_path)
    message = broken(partial(asterisk.clips, shelf))
    assert message.endswith("it holds 4 texts with a recording, expected 551")
    listing = shelf.file("asterisk-core-sounds-en", asterisk._TEXT)
    listing.write_bytes(gzip.compress(b"hello: \xff\xfe"))
    assert "gzipped list" in broken(partial(asterisk.clips, shelf))


# --- saytime ---------------------------------------------------------------------------------


def test_saytime_names_are_the_words(tmp_path: Path) -> None:
    fakes.saytime(tmp_path)
    found = saytime.clips(fakes.shelf(tmp_path), count=3)
    assert {clip.name: clip.text for clip in found} == {
        "2": "two",
        "10": "ten",
        "oclock": "o'clock",
    }


def test_mu_law_of_g711(tmp_path: Path) -> None:
    """The loudest codes of either sign, and the one for silence (G.711, table 2a)."""
    fakes.saytime(tmp_path)
    clip = saytime.clips(fakes.shelf(tmp_path), count=3)[0]
    assert (clip.read() * 32768).tolist() == [32124.0, 0.0, -32124.0]
    every = saytime.expand_mulaw(np.arange(256, dtype=np.uint8))
    assert len(np.unique(every)) == 255  # silence has two codes
    assert np.array_equal(every[:128], -every[128:])


# --- Flight of the Amazon Queen --------------------------------------------------------------


def game() -> dict[str, bytes]:
    return {
        "BOB1.DOG": fakes.dialogue(
            7,
            joe={0: "Hi there.", 31: "One*02and*FRtwo."},
            person={31: "*FLWhat?*03"},
            again=("Yes?", "Me again."),
        ),
        "C3A.CUT": fakes.cut_scene("", "*AOStop! XY*XY12(100,20)Now."),
        "QUEEN2.JAS": b"It's locked*24\r\nNice*03\r\n",
        "07001FJ1.SB": fakes.mp3(),
        "07001FJ3.SB": fakes.mp3(),
        "07001FP2.SB": fakes.mp3(),
        "07SSSSJ1.SB": fakes.mp3(),
        "07XXXXP1.SB": fakes.mp3(),
        "C3A__022.SB": fakes.mp3(),
        "C3A__023.SB": fakes.mp3(),
        "JOE00421.SB": fakes.mp3(),
        "BANG.SB": b"a sound that nobody says",
    }


def test_every_clip_of_the_game_has_its_segment(tmp_path: Path) -> None:
    fakes.put(tmp_path, "flight-of-the-amazon-queen", {QUEEN: fakes.queen(game())})
    found = fotaq.clips(fakes.shelf(tmp_path), entries=12, count=8)
    assert [(clip.name, clip.text, clip.speaker) for clip in found] == [
        ("07001FJ1", "One", "JOE"),
        ("07001FJ3", "two.", "JOE"),
        ("07001FP2", "What?", "BOB1"),
        ("07SSSSJ1", "Hi there.", "JOE"),
        ("07XXXXP1", "Yes?", "BOB1"),
        ("C3A__022", "Stop! XY", "CUT"),
        ("C3A__023", "Now.", "CUT"),
        ("JOE00421", "Nice", "JOE"),
    ]
    assert len(found[0].read()) == pytest.approx(11_025 * 0.5, abs=1200)


def test_a_command_between_words_is_a_segment_of_its_own() -> None:
    assert segments("*01*01Ooop!") == ["", "", "Ooop!"]
    assert segments("a*02b*AOc*XY3(1,200)d *") == ["a", "b", "c", "d *"]


def test_two_lines_for_one_clip_are_none(tmp_path: Path) -> None:
    files = game() | {"BOB2.DOG": fakes.dialogue(7, {31: "Else."}, {}, ("", ""))}
    fakes.put(tmp_path, "flight-of-the-amazon-queen", {QUEEN: fakes.queen(files)})
    found = fotaq.clips(fakes.shelf(tmp_path), entries=13, count=7)
    assert "07001FJ1" not in {clip.name for clip in found}


def test_responses_follow_the_descriptions() -> None:
    lines = b"\n".join(f"line {number}".encode() for number in range(1, 1300))
    found = {line.clip: line.text for line in clip_texts(["QUEEN2.JAS"], lambda _: lines)}
    assert found["JOE00411"] == "line one".replace("one", "1")
    assert found["JOE07631"] == "line 723"
    assert found["JOE00011"] == "line 1188"
    assert "JOE07641" not in found


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda data: b"RIFF" + data[4:], "should begin with QTBL"),
        (lambda data: data[:12], "should begin with QTBL"),
        (lambda data: data[:100], "ends in it"),
        (lambda data: data[:-5000], "should end at byte"),
    ],
    ids=["another kind", "no header", "half an index", "half the clips"],
)
def test_another_file_than_queen_1c(
    tmp_path: Path, broken: partial[str], damage: partial[bytes], said: str
) -> None:
    data = damage(fakes.queen(game()))
    fakes.put(tmp_path, "flight-of-the-amazon-queen", {QUEEN: data})
    assert said in broken(partial(fotaq.clips, fakes.shelf(tmp_path), entries=12, count=8))


def test_a_dialogue_that_is_cut_off(tmp_path: Path, broken: partial[str]) -> None:
    files = game()
    files["BOB1.DOG"] = files["BOB1.DOG"][:-30]
    fakes.put(tmp_path, "flight-of-the-amazon-queen", {QUEEN: fakes.queen(files)})
    message = broken(partial(fotaq.clips, fakes.shelf(tmp_path), entries=12, count=8))
    assert "dialogue files cannot be read" in message


def test_a_clip_that_is_no_mp3(tmp_path: Path, broken: partial[str]) -> None:
    files = game() | {"07001FJ1.SB": b"noise"}
    fakes.put(tmp_path, "flight-of-the-amazon-queen", {QUEEN: fakes.queen(files)})
    clip = fotaq.clips(fakes.shelf(tmp_path), entries=12, count=8)[0]
    assert "`07001FJ1.SB` should be an MP3 stream" in broken(partial(clip.read))


# --- Drascula --------------------------------------------------------------------------------


def vampires() -> dict[str, bytes]:
    texts = fakes.drascula_texts(["THAT'S THE SECOND BIGGEST DOOR", "NOT REALLY"], ["HEY IGOR"])
    clips = {name: bytes([0, 128, 255]) for name in ("1.ALS", "2.ALS", "3.ALS", "D1.als", "S9.ALS")}
    return {f"{DRASCULA}/{name}": data for name, data in {"drascula.dat": texts, **clips}.items()}


def test_drascula_clips_are_numbered_in_their_array(tmp_path: Path) -> None:
    fakes.put(tmp_path, "drascula", vampires())
    found = drascula.clips(fakes.shelf(tmp_path), count=3)
    assert [(clip.name, clip.text, clip.speaker) for clip in found] == [
        ("1", "THAT'S THE SECOND BIGGEST DOOR", "JOHN"),
        ("2", "NOT REALLY", "JOHN"),
        ("D1", "HEY IGOR", "D"),
    ]
    assert found[0].read().tolist() == [-1.0, 0.0, 127 / 128]


def test_drascula_without_its_words(tmp_path: Path, broken: partial[str]) -> None:
    fakes.put(tmp_path, "drascula", vampires())
    path = tmp_path / DRASCULA / "drascula.dat"
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    work = partial(drascula.clips, fakes.shelf(tmp_path), count=3)
    assert "it ends within its texts" in broken(work)
    path.write_bytes(data.replace(b"BIGGEST", b"LARGEST"))
    assert "it should hold the words" in broken(work)
    path.unlink()
    assert "it cannot be read" in broken(work)
