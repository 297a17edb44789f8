"""An LSTM in the accelerator's integers against `nn.LSTM`: forward and backward, in turns.

    python benchmarks/integer_lstm.py [--cells 256 640] [--batch 16] [--frames 100] [--runs 12]

Both compute the same layer on the same input, one thread; medians and minima of paired runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from asrc.backends.nna.calibrate import calibrated
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.weights import load_weights
from asrc.compiler.facts import Facts
from asrc.compiler.source import Source
from asrc.dsl.check import read_model
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute

MODEL = """asr 1
model m
use std.rnn (Lstm)
input x: [{n}] @ 40ms
net encoder(x) {{ out x |> Lstm({n}) }}
"""


def integers(cells: int, x: Tensor) -> Callable[[Tensor], Tensor]:
    """The layer after `substitute` and `quantize`, ranges from the input."""
    model = read_model(Source("m.asr", MODEL.format(n=cells)), {})
    assert model.facts is not None
    plain = Lowered(model.facts)
    initialise(plain, seed=1)
    graph = model.facts.graph
    for each in (Substitute(), Quantize()):
        graph, _ = each.run(graph, None)
    facts = Facts(graph)
    weights = {name: tensor.detach().numpy() for name, tensor in plain.tensors().items()}
    numbers = calibrated(facts, weights, [{"x": x[0].numpy()}])
    made = Lowered(facts)
    load_weights(made, {name: torch.from_numpy(np.array(v)) for name, v in numbers.items()})
    return lambda given: made({"x": given})["encoder"]


def seconds(layer: Callable[[Tensor], Tensor], x: Tensor) -> tuple[float, float]:
    """Of the way forward and of the way back."""
    given = x.clone().requires_grad_()
    begin = time.perf_counter()
    y = layer(given)
    middle = time.perf_counter()
    y.sum().backward()
    return middle - begin, time.perf_counter() - middle


def row(cells: int, batch: int, frames: int, runs: int) -> str:
    x = torch.randn(batch, frames, cells)
    lstm = nn.LSTM(cells, cells, batch_first=True)
    layers = (lambda given: lstm(given)[0], integers(cells, x))
    for layer in layers:
        seconds(layer, x)
    pairs = [tuple(seconds(layer, x) for layer in layers) for _ in range(runs)]
    ways = {
        "forward": lambda found: found[0],
        "backward": lambda found: found[1],
        "both": lambda found: sum(found),
    }
    cells_of = []
    for pick in ways.values():
        ratios = [pick(ours) / pick(theirs) for theirs, ours in pairs]
        least = min(pick(ours) for _, ours in pairs) / min(pick(theirs) for theirs, _ in pairs)
        cells_of.append(f"{median(ratios):.1f} ({least:.1f})")
    took = [1000 * median(sum(pair[n]) for pair in pairs) for n in (0, 1)]
    return (
        f"| {cells} | {batch} x {frames} | {took[0]:.0f} | {took[1]:.0f} | {' | '.join(cells_of)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[256, 640])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--runs", type=int, default=12)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| cells | batch x frames | nn.LSTM, ms | integers, ms | forward | backward | both |")
    print("|---:|---|---:|---:|---|---|---|")
    for cells in given.cells:
        print(row(cells, given.batch, given.frames, given.runs), flush=True)


if __name__ == "__main__":
    main()
