"""What the tests of the command line share."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

ROOT = Path(__file__).parents[2]
RNNT = str(ROOT / "models" / "rnnt.asr")
CONFORMER = str(ROOT / "models" / "conformer_transducer.asr")

Run = Callable[..., Result]
Program = Callable[..., "subprocess.CompletedProcess[str]"]

STARTED = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " from asrc.cli.main import main; main()"
)
"""The command line as a process that Ctrl-C reaches, also where tests run in the background."""

TINY = """\
asr 1
model tiny "one layer"

input audio: pcm @ 16kHz

net encoder(audio) {
  mel = audio |> logmel(bins=8, window=25ms, hop=10ms)
  out mel[t-1..t+1] |> dense(4)
}

pipeline thin { dce() }
"""
"""10 + 15 ms of look-ahead, 100 parameters."""
