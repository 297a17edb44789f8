"""The rule that splits sentences, and LibriSpeech folders, which come split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.runtime.sounds import tone, write
from asrc.training.corpora import librispeech
from asrc.training.corpora.splits import PROMPTS, TALKIE, Rule, digest, split, usable
from asrc.training.manifest import read_manifest

SENTENCES = st.lists(
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4).map(" ".join), max_size=60
)


def test_a_digest_is_md5_modulo_1000() -> None:
    assert digest("thank you") == int(hashlib.md5(b"thank you").hexdigest(), 16) % 1000
    assert digest("thank you") == 101


@given(SENTENCES, st.sampled_from([PROMPTS, TALKIE, Rule(500, 700, 2)]))
def test_no_sentence_stands_on_both_sides(texts: list[str], rule: Rule) -> None:
    places = split(texts, rule)
    assert len(dict(zip(texts, places, strict=True)).items()) == len(
        set(zip(texts, places, strict=True))
    )


@given(SENTENCES)
def test_every_word_that_is_tested_was_trained_on(texts: list[str]) -> None:
    rule = Rule(test=500, dev=700, seen=2)
    places = dict(zip(texts, split(texts, rule), strict=True))
    trained = [word for text in texts if places[text] == "train" for word in text.split()]
    tested = {word for text in texts if places[text] != "train" for word in text.split()}
    assert all(trained.count(word) >= rule.seen for word in tested)


def test_the_digest_decides_but_for_single_words() -> None:
    texts = [f"{one} {two}" for one in "abcdefghij" for two in "klmnopqrst"] + list("abklxyz")
    rule = Rule(test=250, dev=320, seen=0)
    for text, place in zip(texts, split(texts, rule), strict=True):
        number = digest(text)
        wanted = "test" if number < 250 else "dev" if number < 320 else "train"
        assert place == ("train" if " " not in text else wanted)


@pytest.mark.parametrize(
    ("text", "seconds", "verbatim", "good"),
    [
        ("one moment please", 1.5, False, True),
        ("", 1.0, True, False),
        ("one moment please", 12.1, True, False),
        ("one moment please", 0.0, True, False),
        ("hmm", 0.5, False, False),
        ("hmm", 0.5, True, True),
        ("nooo way", 1.0, False, False),
        ("one moment please", 0.5, False, False),
        ("one", 2.0, False, False),
        ("a", 0.6, True, True),
    ],
)
def test_what_cannot_be_said_is_left_out(
    text: str, seconds: float, verbatim: bool, good: bool
) -> None:
    assert usable(text, seconds, verbatim=verbatim) is good


# --- LibriSpeech -----------------------------------------------------------------------------


def chapter(folder: Path, speaker: int, number: int, *texts: str) -> None:
    """A chapter whose files get longer by 0.1 s."""
    place = folder / f"{speaker}/{number}"
    names = [f"{speaker}-{number}-{at:04d}" for at in range(len(texts))]
    for at, name in enumerate(names):
        write(place / f"{name}.flac", tone(0.3 + 0.1 * at))
    lines = "".join(f"{name} {text}\n" for name, text in zip(names, texts, strict=True))
    (place / f"{speaker}-{number}.trans.txt").write_text(lines, encoding="utf-8")


def test_a_librispeech_folder_becomes_manifests(tmp_path: Path) -> None:
    root, out = tmp_path / "LibriSpeech", tmp_path / "out"
    chapter(root / "train-clean-100", 19, 198, "MISTER QUILTER IS", "HE TELLS US")
    chapter(root / "train-other-500", 20, 205, "A MAN SAID")
    chapter(root / "dev-clean", 84, 121, "GO")
    (root / "SPEAKERS.TXT").write_text("; nothing that is read", encoding="utf-8")
    written = {path.name for path in librispeech.build(root, out)}
    assert written == {
        "train.jsonl", "dev.jsonl", "train-clean-100.jsonl", "train-other-500.jsonl",
        "dev-clean.jsonl",
    }  # fmt: skip
    train = read_manifest(out / "train.jsonl")
    assert [(one.id, one.text, one.speaker) for one in train] == [
        ("19-198-0000", "mister quilter is", "19"),
        ("19-198-0001", "he tells us", "19"),
        ("20-205-0000", "a man said", "20"),
    ]
    assert [one.duration for one in train] == pytest.approx([0.3, 0.4, 0.3])
    assert all(one.audio.is_file() for one in train)
    assert train[0].extra == {"source": "librispeech", "chapter": "198"}
    around = librispeech.build(tmp_path, tmp_path / "again")
    assert {path.name for path in around} == written
    assert read_manifest(tmp_path / "again/train.jsonl") == train


def test_one_set_may_be_named_itself(tmp_path: Path) -> None:
    chapter(tmp_path / "test-clean", 61, 70, "HE BEGAN")
    librispeech.build(tmp_path / "test-clean", tmp_path / "out")
    assert [one.text for one in read_manifest(tmp_path / "out/test.jsonl")] == ["he began"]


def test_folders_with_another_layout(tmp_path: Path) -> None:
    assert "does not exist" in mistake(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "SPEAKER/CHAPTER" in mistake(tmp_path / "empty")
    chapter(tmp_path / "dev-clean", 84, 121, "GO", "ON")
    (tmp_path / "dev-clean/84/121/84-121-0001.flac").unlink()
    with pytest.raises(AsrcError) as caught:
        librispeech.build(tmp_path / "dev-clean", tmp_path / "out")
    assert "SLR12" in caught.value.diagnostics[0].help[0]
    assert "`84-121-0001` has a text and nothing else" in mistake(tmp_path / "dev-clean")
    write(tmp_path / "dev-clean/84/121/84-121-0001.flac", tone())
    write(tmp_path / "dev-clean/84/121/84-121-0002.flac", tone())
    assert "`84-121-0002` has a recording and nothing else" in mistake(tmp_path / "dev-clean")


def mistake(folder: Path) -> str:
    with pytest.raises(AsrcError) as caught:
        librispeech.build(folder, folder / "out")
    (found,) = caught.value.diagnostics
    assert found.code == "E1003"
    return found.message
