"""flite and espeak-ng: programs that write a wav file."""

from __future__ import annotations

import io
import re
import subprocess
from functools import cache

import numpy as np

from ....compiler.diagnostics import AsrcError, diagnostic
from ....runtime.samples import Samples
from ..modules import needed, program
from .spelling import ESPEAK, FLITE, respelled

_ESPEAK_WORDS_A_MINUTE = 165


def say_flite(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """`[samples]` and their rate (Hz); `voice` is the name of a built-in one, `slt` for instance.

    Raises AsrcError E1003 where flite is not installed or does not speak.
    """
    command = [program("flite", "flite"), "-voice", voice]
    command += ["--setf", f"duration_stretch={1 / speed:.4f}", "-t", respelled(script, FLITE)]
    return _spoken([*command, "-o", "/dev/stdout"])


def say_espeak(script: str, voice: str, speed: float) -> tuple[Samples, int]:
    """As `say_flite`; `voice` is an accent and a variant: `en-us+f3`."""
    pace = str(round(_ESPEAK_WORDS_A_MINUTE * speed))
    command = [program("espeak-ng", "espeak-ng"), "-v", voice, "-s", pace, "--stdout"]
    return _spoken([*command, respelled(script, ESPEAK)])


@cache
def version(name: str) -> str:
    """What a program says of its version, without the places of its data."""
    done = subprocess.run([program(name, name), "--version"], capture_output=True, check=False)
    found = re.search(rb"\d+(\.\d+)+", done.stdout + done.stderr)
    return found[0].decode() if found else "unknown"


def _spoken(command: list[str]) -> tuple[Samples, int]:
    soundfile = needed("soundfile", "soundfile", "reads what the voices say")
    done = subprocess.run(command, capture_output=True, check=False)
    try:
        samples, rate = soundfile.read(io.BytesIO(_with_length(done.stdout)), dtype="float32")
    except (soundfile.SoundFileError, TypeError, ValueError):
        samples, rate = np.zeros(0, np.float32), 0
    if not len(samples):
        said = done.stderr.decode(errors="replace").strip() or "it gave no audio"
        message = f"`{' '.join(command[:3])}` does not speak: {said.splitlines()[-1]}"
        raise AsrcError(diagnostic("E1003", message, help=f"try `{command[0]}` by hand"))
    return samples, int(rate)


def _with_length(wav: bytes) -> bytes:
    """A wav file that was written to a pipe does not know its length: say it."""
    if len(wav) < 44 or wav[:4] != b"RIFF":
        return wav
    at = wav.find(b"data", 12)
    sizes = (len(wav) - 8).to_bytes(4, "little"), (len(wav) - at - 8).to_bytes(4, "little")
    return wav[:4] + sizes[0] + wav[8 : at + 4] + sizes[1] + wav[at + 8 :]
