"""A training as a process: `run_tiny.py MANIFEST OUT UPDATES`, also under `torchrun`."""

from __future__ import annotations

import sys
from pathlib import Path

from asrc.tests.training.tiny import job
from asrc.training.job import train
from asrc.training.processes import joined

if __name__ == "__main__":
    manifest, out, updates = sys.argv[1:]
    with joined("cpu") as processes:
        task = job(Path(manifest), Path(out), int(updates))
        train(task, processes, lambda line: None, lambda update, numbers: None)
