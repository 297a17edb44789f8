"""Streams of blocks: at another sample rate, and of another size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np

from .samples import Samples, library


def resampled(blocks: Iterable[Samples], rate: int, wanted: int) -> Iterator[Samples]:
    """Blocks at `wanted` Hz from blocks at `rate` Hz, both `[frames]` or `[frames, channels]`.

    n frames give round(n * wanted / rate), whatever the blocks are. The filter is libsoxr's
    high-quality one (linear phase, pass band to 0.91 of the lower Nyquist frequency), its delay
    is taken out.
    """
    if rate == wanted:
        yield from blocks
        return
    stream = None
    for block in blocks:
        if stream is None:
            channels = 1 if block.ndim == 1 else block.shape[1]
            stream = library("soxr", "soxr").ResampleStream(rate, wanted, channels, dtype="float32")
            empty = block[:0]
        yield stream.resample_chunk(np.ascontiguousarray(block))
    if stream is not None:
        yield stream.resample_chunk(empty, last=True)


def rebuffered(blocks: Iterable[Samples], size: int) -> Iterator[Samples]:
    """The same frames in blocks of `size`; the last block may be shorter, none is empty."""
    held: list[Samples] = []
    count = 0
    for block in chain.from_iterable(_parts(block, size) for block in blocks):
        held.append(block)
        count += len(block)
        while count >= size:
            whole = np.concatenate(held)
            yield whole[:size]
            held, count = [whole[size:]], count - size
    if count:
        yield np.concatenate(held)


def _parts(block: Samples, size: int) -> Iterator[Samples]:
    """A block in parts of at most `size`, so that joining never copies the same frames often."""
    return (block[at : at + size] for at in range(0, len(block), size))
