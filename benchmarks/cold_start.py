"""CPU seconds of whole `asrc` commands from a cold start: interpreter, imports and work.

    python benchmarks/cold_start.py [--runs 9]

Runs go round robin over the commands, so that a slow spell of the machine meets them all. User and
system time of the finished process, as the operating system counts them; least and median.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path
from statistics import median
from subprocess import DEVNULL

ROOT = Path(__file__).resolve().parent.parent
ASRC = ["-c", "from asrc.cli.main import main; main()"]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "python -c 'import networkx'": ["-c", "import networkx"],
    "python -c 'import lark'": ["-c", "import lark"],
    "asrc --help": [*ASRC, "--help"],
    "asrc check models/rnnt.asr": [*ASRC, "check", "models/rnnt.asr"],
    "asrc check models/conformer_transducer.asr": [
        *ASRC,
        "check",
        "models/conformer_transducer.asr",
    ],
    "asrc check models/conformer_large.asr": [*ASRC, "check", "models/conformer_large.asr"],
}


def cpu_seconds(words: list[str]) -> float:
    """User and system seconds of one run."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True, stdout=DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):  # the first round fills the caches and does not count
        for name, words in COMMANDS.items():
            taken[name].append(cpu_seconds(words))
    print("| command | least, s | median, s |\n|---|---:|---:|")
    for name, seconds in taken.items():
        counted = seconds[1:]
        print(f"| `{name}` | {min(counted):.3f} | {median(counted):.3f} |")


if __name__ == "__main__":
    main()
