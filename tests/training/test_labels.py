"""Whose labels a training has: its own, or those put into its folder; never a failed run's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asrc.compiler.diagnostics import AsrcError, Diagnostic
from asrc.runtime.recogniser import read_recogniser
from asrc.runtime.vocabulary import CharacterVocabulary, build_vocabulary, load_vocabulary
from asrc.tests.training.test_trainer import run
from asrc.tests.training.tiny import corpus, job
from asrc.training.job import Job
from asrc.training.manifest import read_manifest, write_manifest

CHARACTERS = {"vocabulary": "characters", "size": 64}
TEXTS = ["low middle high"]


def given(out: Path, texts: list[str], kind: str, size: int | None = None) -> Path:
    """A vocabulary that somebody put there."""
    build_vocabulary(texts, kind, size).save(out / "vocabulary")
    return out / "vocabulary"


def refused(task: Job) -> Diagnostic:
    with pytest.raises(AsrcError) as caught:
        run(task)
    return caught.value.diagnostics[0]


def test_they_are_made_from_the_texts_without_a_word(tmp_path: Path) -> None:
    manifest = corpus(tmp_path / "data")
    for _ in range(2):  # the second goes on
        said = run(job(manifest, tmp_path / "out", updates=5))
        assert not any("labels" in line for line in said)
    assert load_vocabulary(tmp_path / "out/vocabulary") == build_vocabulary(TEXTS, "words")


@pytest.mark.parametrize("when", ["prepare", "set_statistics", "open_journals"])
def test_a_run_that_fails_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """So that the next recipe's are made: words, then characters."""
    manifest, out = corpus(tmp_path / "data"), tmp_path / "out"

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"asrc.training.job.{when}", fail)
        with pytest.raises(KeyboardInterrupt):
            run(job(manifest, out, updates=5))
    assert not (out / "vocabulary").exists()
    run(job(manifest, out, updates=5, data=CHARACTERS))
    assert isinstance(read_recogniser(out / "best").vocabulary, CharacterVocabulary)


def test_those_of_another_model_are_kept_and_told(tmp_path: Path) -> None:
    """As for a training that starts from that model, on texts of which some words are missing."""
    manifest, out = corpus(tmp_path / "data"), tmp_path / "out"
    place = given(out, [*TEXTS, "higher"], "words")
    before = place.read_bytes()
    line = f"labels are those of `{place}`, 4 words, not made anew from the texts"
    assert line in run(job(manifest, out, updates=5))
    assert place.read_bytes() == before
    assert read_recogniser(out / "best").vocabulary.size == 5
    assert line not in run(job(manifest, out, updates=5))  # it goes on


def test_a_file_that_the_texts_give_as_well_is_not_told(tmp_path: Path) -> None:
    given(tmp_path / "out", TEXTS, "words")
    said = run(job(corpus(tmp_path / "data"), tmp_path / "out", updates=5))
    assert not any("labels" in line for line in said)


@pytest.mark.parametrize(
    ("file", "data", "says", "fix"),
    [
        (("words", None), CHARACTERS, "are words, and the recipe's are characters", '"words"'),
        (("characters", None), {}, "are characters, and the recipe's are words", '"characters"'),
        (("bpe", 12), {}, "are pieces, and the recipe's are words", '"unigram"'),
        (("words", None), {"vocabulary": "bpe", "size": 12}, "are words, and", '"words"'),
        (("bpe", 12), {"vocabulary": "bpe", "size": 13}, "are 12 pieces with `<s>`", "size = 12"),
        (("words", None), {"size": 3}, "are 4 words with `<s>`, the recipe 3", "size = 4"),
    ],
)
def test_a_file_that_is_not_of_the_recipe(
    tmp_path: Path, file: tuple[str, int | None], data: dict[str, Any], says: str, fix: str
) -> None:
    place = given(tmp_path / "out", TEXTS, *file)
    found = refused(job(corpus(tmp_path / "data"), tmp_path / "out", data=data))
    assert found.code == "E1006"
    assert str(place) in found.message
    assert says in found.message
    assert "remove that file" in found.help[0]
    assert fix in found.help[0]


def test_texts_that_they_cannot_spell(tmp_path: Path) -> None:
    manifest, out = corpus(tmp_path / "data"), tmp_path / "out"
    place = given(out, ["lo hi"], "words")
    found = refused(job(manifest, out))
    assert (found.code, "not in the vocabulary" in found.message) == ("E1005", True)
    assert str(place) in found.help[-1]
    other = [replace(u, text="hi") for u in read_manifest(manifest)]
    write_manifest(tmp_path / "data/other.jsonl", other)
    place.unlink()
    found = refused(replace(job(manifest, out), train=tmp_path / "data/other.jsonl"))
    assert found.code == "E1005"
    assert str(place) not in " ".join(found.help)
