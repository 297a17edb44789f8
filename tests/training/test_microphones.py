"""A model with two microphones: trained, scored, and run on files and on raw samples."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from asrc.backends.torch.leaves import Cmvn
from asrc.cli.main import cli
from asrc.runtime.recogniser import read_recogniser
from asrc.tests.training.tiny import MODEL, RATE, corpus
from asrc.training.augment import SpecAugment, spec_augment, spec_augment_alike

RECIPE = """
[optimiser]
updates = 4
rate = 0.01
warm_up = 2
[data]
seconds = 6.0
vocabulary = "words"
size = 64
[augmentation]
widest = 2
longest = 4
colour = 0.1
[pace]
validate = 2
save = 2
log = 2
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a manifest of stereo files and what a training of four updates made."""
    folder = tmp_path_factory.mktemp("stereo")
    manifest = corpus(folder, 6)
    for path in folder.glob("*.wav"):
        one, rate = soundfile.read(path)
        soundfile.write(path, np.stack([one, 0.5 * np.roll(one, 3)], 1), rate)
    (folder / "tiny.asr").write_text(MODEL.replace("audio: pcm @", "audio: pcm[2] @"))
    (folder / "tiny.toml").write_text(RECIPE)
    of = ("--train", manifest, "--dev", manifest, "--recipe", folder / "tiny.toml")
    asrc("train", folder / "tiny.asr", *of, "--out", folder / "run", "--device", "cpu")
    return folder


def asrc(*arguments: object, stdin: bytes = b"") -> str:
    found = CliRunner().invoke(cli, [str(a) for a in arguments], input=stdin)
    assert found.exit_code == 0, (found.output, found.exception)
    return found.output


def test_statistics_are_those_of_each_microphone(trained: Path) -> None:
    lowered = read_recogniser(trained / "run/best").lowered
    means = next(m.mean for m in lowered.leaves.values() if isinstance(m, Cmvn))
    assert means.shape == (2, 8)
    quieter = means[0] - means[1]
    assert quieter.mean() == pytest.approx(2 * np.log(2), abs=0.3)


def test_it_is_scored(trained: Path) -> None:
    scored = asrc("eval", trained / "run/best", trained / "all.jsonl")
    assert scored.splitlines()[1].split()[:2] == ["all", "6"]


def test_files_and_raw_samples_are_heard_alike(trained: Path) -> None:
    path = trained / "2.wav"
    samples, _ = soundfile.read(path, dtype="int16")
    raw = asrc("transcribe", trained / "run/best", "-", "--json", stdin=samples.tobytes())
    by_file = asrc("transcribe", trained / "run/best", path, "--json")
    heard, wanted = json.loads(raw), json.loads(by_file)
    assert (heard["text"], heard["duration"]) == (wanted["text"], wanted["duration"])
    assert heard["duration"] == pytest.approx(1000 * len(samples) / RATE, abs=0.01)


def test_masks_are_alike_at_all_microphones() -> None:
    """Each as if it were alone, so that none has what is hidden of another."""
    features = torch.randn(2, 30, 3, 8)
    options = SpecAugment(widest=3, longest=6, warp=0.1, colour=0.2)
    frames, ids = torch.tensor([30, 20]), ("a", "b")
    changed = spec_augment_alike(features, frames, ids, 1, options)
    for n in range(3):
        alone = spec_augment(features[:, :, n], frames, ids, 1, options)
        assert torch.equal(changed[:, :, n], alone)
