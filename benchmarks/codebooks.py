"""Noise of weights against the bits that they take in a coded stream, for ways to choose values.

    python benchmarks/codebooks.py models/pretrained/commands-rnnt [--widths 4 5c4 ...]

`4` is a codebook of 16 Lloyd-Max values, `4c` the one that `asrc compile --weights 4` makes, `5c4`
one of at most 32 whose indices are held to 4 bits of Golomb-Rice code. For all matrices of at least
`--least` weights together: the ratio of signal to noise, and bits a weight, headers left out
(`benchmarks/nna_bits.py` has those of a real stream).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from asrc.backends.nna.codebook import fitted, snapped
from asrc.backends.nna.coding import code_counts, coded_bits
from asrc.backends.nna.program import Array
from asrc.runtime.recogniser import read_recogniser

WIDTHS = (
    *("5", "5c", "6c4.9", "5c4", "4", "4c", "5c3.9", "5c3", "3", "3c", "5c2.9", "2", "2c"),
    *("2c1.99", "2c1.9", "2c1.5", "2c1.2", "1", "2c1", "2c0.99", "1c0.99"),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--widths", nargs="+", default=WIDTHS)
    parser.add_argument("--least", type=int, default=20_000)
    given = parser.parse_args()
    tensors = read_recogniser(given.model).lowered.tensors().values()
    weights = [x.detach().numpy() for x in tensors]
    wide = [x for x in weights if x.ndim == 2 and x.size >= given.least]
    print(f"{len(wide)} matrices, {sum(x.size for x in wide):,} weights\n")
    print("| width | dB | bits a weight |\n|---|---:|---:|")
    for width in given.widths:
        print("| {} | {:.2f} | {:.3f} |".format(width, *quality(wide, width)), flush=True)


def quality(weights: Iterable[Array], width: str) -> tuple[float, float]:
    """Decibels and bits a weight."""
    bits, limited, coded = width.partition("c")
    limit = None if limited and not coded else float(coded or bits)
    signal = noise = stream = count = 0.0
    for weight in weights:
        scales, book = fitted(weight, int(bits), coded=limit)
        codes = snapped(weight, scales, book)
        signal += float(np.square(weight).sum())
        noise += float(np.square(weight - codes * scales[:, None]).sum())
        stream += codes.size * coded_bits(*code_counts(codes))
        count += codes.size
    return 10 * float(np.log10(signal / noise)), stream / count


if __name__ == "__main__":
    main()
