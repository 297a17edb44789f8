"""Chance that belongs to an utterance and an epoch, never to the order of the work.

The same draw comes out on every machine, for any number of processes and workers, and after a
resumed run. `purpose` keeps draws apart: a further kind of noise leaves the others as they were.
"""

from __future__ import annotations

from hashlib import blake2b
from zlib import crc32

import numpy as np


def generator(seed: int, epoch: int, utterance: str, purpose: str) -> np.random.Generator:
    """A generator for one use in one utterance in one epoch."""
    key = [seed, epoch, crc32(utterance.encode()), crc32(purpose.encode())]
    return np.random.default_rng(key)


def uniform(seed: int, epoch: int, utterance: str, purpose: str) -> float:
    """One number in [0, 1), far cheaper than a generator."""
    key = f"{seed} {epoch} {purpose} {utterance}".encode()
    return int.from_bytes(blake2b(key, digest_size=8).digest()) / 2.0**64
