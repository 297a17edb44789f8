"""A transducer and a corpus so small that a training takes seconds: three tones."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import soundfile

from asrc.compiler.facts import Facts
from asrc.compiler.manager import run_pipeline
from asrc.compiler.protocol import Weights
from asrc.compiler.source import Source
from asrc.dsl.check import read_model, setting
from asrc.dsl.pipelines import parse_pass_text
from asrc.training.job import Job
from asrc.training.manifest import Utterance, write_manifest
from asrc.training.recipe import recipe_of

RATE = 8000

MODEL = """asr 1
model tiny
use std.rnn (Lstm)
use std.transducer (StatelessPredictor, Joint)
param vocab: int in 2..64 = 8
input audio: pcm @ 8kHz
input prev: token[vocab]
net encoder(audio) {
  mel = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn
  x = mel[t-3..t] |> stride(4) |> dense(24, bias=false) |> batchnorm |> relu |> dropout(0.1)
  out x |> Lstm(24) |> dense(16)
}
net predictor(prev) { out prev |> StatelessPredictor(16, context=1) }
net joint(e=encoder, p=predictor) { out Joint(e, p, vocab + 1) }
"""

PITCH = {"low": 300.0, "middle": 900.0, "high": 2500.0}


def build(size: int) -> Facts:
    model = read_model(Source("tiny.asr", MODEL), {"vocab": setting("vocab", str(size))})
    assert model.facts is not None, model.diagnostics
    return model.facts


def after(passes: str, size: int, weights: Weights | None) -> tuple[Facts, Weights | None]:
    """The model after passes, as a job builds it."""
    calls = parse_pass_text(passes, "a test") if passes else ()
    found = run_pipeline(build(size).graph, calls, weights=weights)
    return found.facts, found.weights


def corpus(folder: Path, count: int = 12) -> Path:
    """One to three words an utterance, each a tone; a manifest."""
    utterances = []
    for number in range(count):
        chance = np.random.default_rng(number)
        words = [str(w) for w in chance.permutation(list(PITCH))[: 1 + number % 3]]
        samples = np.concatenate([_word(PITCH[w], chance) for w in words])
        path = folder / f"{number}.wav"
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples, RATE)
        seconds = len(samples) / RATE
        utterances.append(Utterance(f"u{number}", path, " ".join(words), seconds))
    write_manifest(folder / "all.jsonl", utterances)
    return folder / "all.jsonl"


def _word(pitch: float, chance: np.random.Generator) -> np.ndarray:
    t = np.arange(int(RATE * chance.uniform(0.25, 0.35))) / RATE
    tone = 0.3 * np.sin(2 * np.pi * pitch * t)
    return np.concatenate([tone, np.zeros(RATE // 10)]) + 0.003 * chance.standard_normal(
        len(t) + RATE // 10
    )


def job(manifest: Path, out: Path, updates: int = 20, passes: str = "", **changes: object) -> Job:
    table = {
        "optimiser": {"updates": updates, "rate": 0.01, "warm_up": 5, "average": 0.9},
        "data": {"seconds": 6.0, "vocabulary": "words", "size": 64},
        "augmentation": {"widest": 2, "longest": 4},
        "pace": {"validate": max(updates // 2, 1), "save": 5, "log": 5},
    }
    for name, value in changes.items():
        table[name] = {**table.get(name, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item, assignment]
    recipe = recipe_of(table, "a test")
    return Job(partial(after, passes), recipe, manifest, manifest, out, {"model": "tiny"})
