"""Whole corpora from fake packages and humming voices: what is in them, and that they resume."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from asrc.cli.corpora import command
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.audio import audio_info, read_audio
from asrc.tests.runtime.sounds import RATE
from asrc.tests.training.corpora import fakes
from asrc.tests.training.corpora.voices import humming
from asrc.training.corpora import (
    asterisk,
    commands,
    drascula,
    farfield,
    fotaq,
    making,
    prompts,
    recordings,
    saytime,
    store,
    talkie,
    voices,
    wake,
    words,
)
from asrc.training.corpora.clips import Clip
from asrc.training.corpora.packages import Shelf
from asrc.training.corpora.readers import Readers
from asrc.training.corpora.recordings import split_clips
from asrc.training.manifest import Utterance, read_manifest
from asrc.training.numbers import cardinal

__all__ = ["humming"]

Files = dict[str, bytes]


def content(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def sets(out: Path) -> dict[str, list[Utterance]]:
    return {path.stem: read_manifest(path) for path in sorted(out.glob("*.jsonl"))}


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_only_what_is_missing_is_made(tmp_path: Path, jobs: int) -> None:
    (tmp_path / "b").write_bytes(b"made earlier")
    seen: list[tuple[int, int]] = []
    report = lambda done, count: seen.append((done, count))  # noqa: E731
    store.make_all(["a", "b", "c"], partial(Path, tmp_path), str.encode, jobs=jobs, report=report)
    assert content(tmp_path) == {"a": b"a", "b": b"made earlier", "c": b"c"}
    assert seen == [(2, 3), (3, 3)]


def test_only_audio_of_earlier_builds_is_removed(tmp_path: Path) -> None:
    for name in ("kept.flac", "old.flac", "old.flac.7.part", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    store.remove_others(tmp_path, [tmp_path / "kept.flac"])
    assert content(tmp_path).keys() == {"kept.flac", "notes.txt"}
    store.remove_others(tmp_path / "none", [])


# --- commands --------------------------------------------------------------------------------


def allison() -> list[Clip]:
    """Every word that streams are made of, and every prompt."""
    keys = {f"digits/{n}": cardinal(n) for n in (*range(21), 30, 40, 50)}
    keys |= {f"digits/h-{n}": word for n, word in enumerate(words.ORDINALS[:20], start=1)}
    keys |= {f"digits/day-{n}": word for n, word in enumerate(words.DAYS)}
    keys |= {f"digits/mon-{n}": word for n, word in enumerate(words.MONTHS)}
    keys |= {"digits/a-m": "A.M.", "digits/p-m": "P.M.", "digits/oh": "oh", "vm-press": "press"}
    keys |= {"digits/star": "star", "digits/pound": "pound", "spy-zap": "Zap"}
    keys |= {f"letters/{letter}": letter for letter in "abcdefghijklmnopqrstuvwxyz"}
    keys |= {f"phonetic/{word[0]}_p": word for word in words.PHONETIC[:26]}
    keys |= {f"prompt-{n}": text for n, text in enumerate(words.PROMPTS)}
    return [fakes.clip(key, text, speaker="allison", seconds=0.2) for key, text in keys.items()]


def dawson() -> list[Clip]:
    keys = {str(n): cardinal(n) for n in (*range(21), 30, 40, 50)}
    keys |= {"am": "A.M.", "pm": "P.M.", "the_time_is": "the time is"}
    return [fakes.clip(key, text, speaker="dawson", seconds=0.2) for key, text in keys.items()]


def test_the_test_set_is_real_and_apart() -> None:
    test, dev = split_clips(allison(), dawson())
    single = {take.clips[0]: take for take in test if len(take.clips) == 1}
    assert "spy-zap" not in single
    assert single["letters/o"].kind == "letter"
    assert (single["digits/oh"].kind, single["digits/oh"].text) == ("digit", "o")
    assert {single[key].kind for key in ("digits/mon-3", "phonetic/q_p")} == {"date", "phonetic"}
    assert {take.text for take in dev}.isdisjoint(take.text for take in test)
    assert {clip for take in dev for clip in take.clips}.isdisjoint(
        clip for take in test for clip in take.clips
    )
    assert 0.2 < len(dev) / len(words.PROMPTS) < 0.4
    assert len({take.name for take in test}) == len(test)


def test_streams_say_what_their_clips_say_with_pauses() -> None:
    clips = {one.name: one for one in allison()}
    test, _ = split_clips(clips.values(), dawson())
    streams = [take for take in test if take.kind == "stream"]
    assert len(streams) == 200
    one = next(take for take in streams if take.name.startswith("asterisk-stream-letters"))
    assert one.text == " ".join(clips[name].text for name in one.clips)
    pauses = len(one.clips) - 1
    spoken = 0.2 * len(one.clips) + 0.6
    assert spoken + 0.2 * pauses - 0.1 < len(one.samples) / RATE < spoken + 0.8 * pauses + 0.1


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, humming: None) -> Callable[..., Path]:
    """Builds "commands" with a few recordings, `few(folder, hours=..., seed=...)`."""
    clips = [fakes.clip("digits/1", "one"), fakes.clip("hello", "Hello.")]
    takes = [recordings._word("asterisk", clips[0])], [recordings._prompt(clips[1])]
    monkeypatch.setattr(recordings, "split", lambda shelf: takes)

    def build(folder: Path, hours: float = 0.03, seed: int = 0) -> Path:
        commands.build(folder, fakes.shelf(folder), commands.Options(hours, seed))
        return folder

    return build


def test_commands_are_built(tmp_path: Path, few: Callable[..., Path]) -> None:
    found = sets(few(tmp_path / "out"))
    kinds = Counter(one.audio.parent.name for one in found["train"])
    assert kinds == {"train": 9 + 9 // 5, "sittings": 18, "strangers": 4}
    assert [(one.id, one.text, one.extra["class"]) for one in found["test"]] == [
        ("asterisk-digits-1", "one", "digit")
    ]
    assert found["dev"][0].id == "asterisk-hello"
    assert {one.speaker for one in found["train"]}.isdisjoint(one.speaker for one in found["dev"])
    for one in found["train"] + found["dev"] + found["test"]:
        info = audio_info(one.audio)
        assert (info.rate, info.channels) == (RATE, 1)
        assert info.seconds == pytest.approx(one.duration, abs=1e-3)
    licences = json.loads((tmp_path / "out/licences.json").read_text(encoding="utf-8"))
    assert {source["package"] for source in licences["sources"]} == set(commands.PACKAGES)
    assert "CC-BY-SA-3.0" in (tmp_path / "out/LICENCES.md").read_text(encoding="utf-8")


def test_a_resumed_build_equals_an_uninterrupted_one(
    tmp_path: Path, few: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content(few(tmp_path / "whole"))
    made = making._encoded
    calls: list[str] = []

    def failing(rate: int, recipe: making.Recipe) -> bytes:
        calls.append(recipe.name)
        if len(calls) == 40:
            raise KeyboardInterrupt
        return made(rate, recipe)

    monkeypatch.setattr(making, "_encoded", failing)
    with pytest.raises(KeyboardInterrupt):
        few(tmp_path / "resumed")
    few(tmp_path / "resumed")
    assert content(tmp_path / "resumed") == whole
    assert len(calls) == len(set(calls)) + 1  # only the one that failed was made twice


def test_a_longer_build_keeps_what_there_is_and_a_shorter_one_removes_it(
    tmp_path: Path, few: Callable[..., Path]
) -> None:
    short = content(few(tmp_path / "short", hours=0.01))
    grown = content(few(few(tmp_path / "grown", hours=0.01)))
    assert grown == content(few(tmp_path / "long"))
    assert content(few(tmp_path / "grown", hours=0.01)) == short


def test_another_seed_is_another_training_set_and_the_same_test(
    tmp_path: Path, few: Callable[..., Path]
) -> None:
    first, second = (sets(few(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert [one.text for one in first["train"]] != [one.text for one in second["train"]]
    assert [one.audio.read_bytes() for one in first["test"]] == [
        one.audio.read_bytes() for one in second["test"]
    ]


# --- prompts, talkie and what is made of them ------------------------------------------------


def fake_clips(monkeypatch: pytest.MonkeyPatch, module: object, clips: Sequence[Clip]) -> None:
    monkeypatch.setattr(module, "clips", lambda shelf: list(clips))


def dialogue(prefix: str, speakers: Iterable[str]) -> list[Clip]:
    """Sentences of a few words, each said by one of the speakers in turn."""
    names = list(speakers)
    texts = [f"{one} {two} {three}" for one in ("we", "you") for two in
             ("see", "hear", "like", "want", "need") for three in
             ("him", "her", "it", "them", "this", "that")]  # fmt: skip
    return [
        fakes.clip(f"{prefix}{at}", text, speaker=names[at % len(names)], seconds=0.8)
        for at, text in enumerate(texts)
    ]


def test_prompts_have_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = fakes.clip("long", "far too long", seconds=12.5)
    fake_clips(monkeypatch, asterisk, [*dialogue("a", ["allison"]), long])
    prompts.build(tmp_path, fakes.shelf(tmp_path))
    found = sets(tmp_path)
    every = [one for utterances in found.values() for one in utterances]
    assert {one.text for one in every} == {clip.text for clip in dialogue("a", ["allison"])}
    assert {one.extra["fold"] for one in every} == {0, 1, 2, 3}
    assert all(found.values())
    before = content(tmp_path)
    prompts.build(tmp_path, fakes.shelf(tmp_path))
    assert content(tmp_path) == before


@pytest.fixture
def games(monkeypatch: pytest.MonkeyPatch) -> None:
    speakers = ["JOE", "TAM1", "TAM2", "CUT"]
    fake_clips(monkeypatch, fotaq, dialogue("f", speakers))
    fake_clips(monkeypatch, drascula, dialogue("d", ["JOHN", "VB"]))


@pytest.mark.usefixtures("games")
def test_talkie_is_split_by_sentence_and_again_by_speaker(tmp_path: Path) -> None:
    talkie.build(tmp_path, fakes.shelf(tmp_path))
    found = sets(tmp_path)
    texts = {name: {one.text for one in found[name]} for name in found}
    speakers = {name: {one.speaker for one in found[name]} for name in found}
    assert texts["train"].isdisjoint(texts["dev"] | texts["test"])
    assert speakers["test-open"] <= {"fotaq/TAM", "drascula/VB"}
    assert speakers["train-open"] | speakers["dev-open"] == {"fotaq/JOE", "drascula/JOHN"}
    assert texts["test-open"].isdisjoint(texts["train-open"] | texts["dev-open"])
    assert {one.extra["scene"] for one in found["train"]} >= {"TAM1", "TAM2"}


@pytest.mark.usefixtures("games", "humming")
def test_readers_say_what_trains_and_nothing_else(tmp_path: Path) -> None:
    shelf = fakes.shelf(tmp_path)
    talkie.build(tmp_path / "dry", shelf)
    readers = Readers(0.02, talkie.RATE, (1.0, 1.2))
    talkie.build(tmp_path / "out", shelf, readers=readers)
    dry, found = sets(tmp_path / "dry"), sets(tmp_path / "out")
    both = found.pop("train-synthetic")
    assert {name: len(one) for name, one in found.items()} == {n: len(x) for n, x in dry.items()}
    train = found["train"]
    assert both[: len(train)] == train
    read = both[len(train) :]
    seconds = sum(one.duration for one in train) / len(train)
    assert len(read) == round(0.02 * 3600 / seconds)
    times = Counter(one.text for one in read)
    assert times.keys() == {one.text for one in train}
    assert max(times.values()) - min(times.values()) <= 1
    assert {audio_info(one.audio).rate for one in read} == {talkie.RATE}
    assert {one.speaker for one in read}.isdisjoint(one.speaker for one in train)
    licences = json.loads((tmp_path / "out/licences.json").read_text(encoding="utf-8"))
    named = {source["package"] for source in licences["sources"]}
    assert named == {*talkie.PACKAGES, *voices.PACKAGES}


@pytest.mark.usefixtures("humming")
def test_another_seed_reads_in_other_voices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_clips(monkeypatch, asterisk, dialogue("a", ["allison"]))
    out, found = tmp_path / "out", []
    for seed in (0, 0, 1):
        readers = Readers(0.01, prompts.RATE, (0.5, 1.0), seed)
        prompts.build(out, fakes.shelf(tmp_path), readers=readers)
        found.append((out / "train-synthetic.jsonl").read_bytes())
    assert found[0] == found[1] != found[2]


def moh(tree: Path) -> Shelf:
    """A package of music, which nobody needs to decode here."""
    files = {"usr/share/asterisk/moh/song.g722": b"\0" * 4000}
    fakes.put(tree, "asterisk-moh-opsound-g722", files)
    return fakes.shelf(tree)


def test_far_field_is_the_dry_corpus_on_several_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    song = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) / 9
    monkeypatch.setattr(asterisk, "read_g722", lambda path: song)
    fake_clips(monkeypatch, asterisk, dialogue("a", ["allison"]))
    shelf = moh(tmp_path / "system")
    farfield.build(tmp_path / "out", shelf, farfield.Options(microphones=2))
    dry, far = sets(tmp_path / "out/dry"), sets(tmp_path / "out")
    assert {name: [(one.id, one.text) for one in dry[name]] for name in dry} == {
        name: [(one.id, one.text) for one in far[name]] for name in far
    }
    assert {one.extra["interference"] for one in far["train"]} == {"music", "babble"}
    for one in far["train"]:
        heard = read_audio(one.audio, RATE, channels=2)
        assert heard.shape == (2, round(one.duration * RATE))
        assert not np.array_equal(heard[0], heard[1])
    before = content(tmp_path / "out")
    farfield.build(tmp_path / "out", shelf, farfield.Options(microphones=2))
    assert content(tmp_path / "out") == before


@pytest.mark.usefixtures("games", "humming")
def test_wake_has_phrases_near_misses_and_real_speech(tmp_path: Path) -> None:
    wake.build(tmp_path, fakes.shelf(tmp_path), wake.Options("hey you there", 20))
    for name, utterances in sets(tmp_path).items():
        phrases = [one for one in utterances if one.extra["wake"]]
        assert len(phrases) == {"train": 20, "dev": 2, "test": 4}[name]
        assert {one.text for one in phrases} == {"hey you there"}
        others = [one for one in utterances if not one.extra["wake"]]
        assert "hey you there" not in {one.text for one in others}
        assert {audio_info(one.audio).rate for one in phrases} == {talkie.RATE}
        assert len(others) > len(phrases)


# --- on the command line ---------------------------------------------------------------------


def test_the_command_says_what_it_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_clips(monkeypatch, asterisk, dialogue("a", ["allison"]))
    out = str(tmp_path / "out")
    done = CliRunner().invoke(command, ["build", "prompts", "--out", out, "--json"])
    assert done.exit_code == 0
    figures = {row["set"]: row for row in json.loads(done.stdout)}
    assert figures.keys() == {"dev", "test", "train"}
    assert sum(row["utterances"] for row in figures.values()) == 60
    shown = CliRunner().invoke(command, ["build", "prompts", "--out", out])
    assert "LICENCES.md" in shown.stdout


def test_the_command_fails_with_e1003(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    for corpus in ("commands", "prompts", "talkie", "farfield", "wake"):
        arguments = ["build", corpus, "--out", str(tmp_path), "--packages", nowhere]
        done = CliRunner().invoke(command, arguments)
        assert isinstance(done.exception, AsrcError)
        assert done.exception.diagnostics[0].code == "E1003"


def test_commands_need_both_packages(tmp_path: Path) -> None:
    fakes.asterisk(tmp_path)
    with pytest.raises(AsrcError) as caught:
        commands.build(tmp_path / "out", fakes.shelf(tmp_path), commands.Options())
    assert "texts with a recording, expected 551" in caught.value.diagnostics[0].message
    assert not (tmp_path / "out").exists()
    assert saytime.SPEAKER != asterisk.SPEAKER
