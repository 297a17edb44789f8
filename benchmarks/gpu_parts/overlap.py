"""Whether kernels that begin early (`kernels/overlap.py`) find what those before them write.

No kernel has run on a GPU yet: `benchmarks/gpu.py` looks at this first, in a process of its own,
and where it is not so measures everything with launches one after the other.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from asrc.backends.triton.kernels.linear import Epilogue, linear
from asrc.backends.triton.kernels.lstm import lstm_cell
from asrc.backends.triton.kernels.norm import layer_norm
from asrc.backends.triton.kernels.overlap import overlapping
from asrc.benchmarks.gpu_parts.measuring import Bench

INPUTS, TURNS = 3, 60


def check(bench: Bench) -> None:
    """Chains of launches in a CUDA graph make what they make one after the other, each time that it
    is played, of other numbers than the time before: what is read too early is the last turn's.
    RuntimeError where they do not."""
    links = 1 if bench.smoke else 8
    for rows in (1, 8):
        given = [bench.random(rows, 64, dtype=torch.float32, seed=seed) for seed in range(INPUTS)]
        parts, x = weights(bench), given[0].clone()
        with overlapping(False):
            wanted = [chain(one, parts, links) for one in given]
        with overlapping():
            played = bench.captured(partial(chain, x, parts, links))
        for turn in range(INPUTS if bench.smoke else TURNS):
            x.copy_(given[turn % INPUTS])
            if not torch.equal(played(), wanted[turn % INPUTS]):
                raise RuntimeError(f"a chain of {rows} rows makes something else, turn {turn}")


def weights(bench: Bench) -> list[Tensor]:
    """One wide enough for its first read to be long."""
    wide = 96 if bench.smoke else 2048
    sizes = [(wide, 64), (64, wide), (256, 128)]
    made = [bench.random(*size, seed=n, dtype=torch.float32) for n, size in enumerate(sizes)]
    return [weight / weight.shape[1] ** 0.5 for weight in made]


def chain(x: Tensor, parts: list[Tensor], links: int = 8) -> Tensor:
    """Every launch reads what the one before it wrote, or a copy of it, which is no kernel."""
    up, down, gates = parts
    one, c = torch.ones_like(x[0]), torch.zeros_like(x)
    for _ in range(links):
        y = linear(linear(x, up, None, Epilogue("swish")), down, None, Epilogue("none", 0.5, x))
        x, _ = layer_norm(y, one, one, 1e-5)
        x, c = lstm_cell(x.clone(), y, c, gates, None)
    return x
