"""Inference of all facts is linear in the graph: stacks of 10, 100 and 1000 layers.

    python benchmarks/facts_scaling.py [--layers 10 100 1000] [--repeats 5] [--gc]
    python benchmarks/facts_scaling.py --profile conformer

Prints CPU milliseconds, the best of several runs, in a Markdown table. Each run starts from a
graph that nothing is known about. As in `timeit`, the garbage collector rests unless `--gc`.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import time
from collections.abc import Callable
from dataclasses import replace

from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.tests.builders import Builder, conformer, frontend, lstm, ms

Build = Callable[[int], Graph]


def conformer_stack(layers: int) -> Graph:
    """The Conformer of the zoo with 320ms chunks and one right frame in each convolution."""
    graph = conformer(layers, future=1)
    mask = {"mask": "chunk", "chunk": ms(320), "left": ms(2560)}
    return graph.rewrite(
        replace(node, attrs={**node.attrs, **mask}) if node.op == "attend" else node
        for node in graph
    )


def lstm_stack(layers: int) -> Graph:
    """LSTM layers on 10ms frames: one recurrence a layer."""
    b = Builder()
    x = frontend(b)
    for layer in range(layers):
        x = lstm(b, f"encoder.{layer}", x, 256)
    return b.graph("lstm", encoder=x)


STACKS: dict[str, Build] = {"conformer": conformer_stack, "lstm": lstm_stack}


def infer_all(graph: Graph) -> None:
    """Everything that `asrc inspect` may print."""
    facts = Facts(graph)
    for name in (
        "types", "timing", "demand", "held_step", "held_frame", "step_seconds", "formats",
        "params", "macs", "branches", "cached",
    ):  # fmt: skip
        getattr(facts, name)
    output = graph.outputs["encoder"]
    facts.lookahead(output, best=True)
    facts.contributors(output)
    facts.cost(graph.nodes)
    facts.held_bits(graph.nodes, step=True)


def best_seconds(graph: Graph, repeats: int, collect: bool) -> float:
    """CPU time of the fastest run."""
    times = []
    for _ in range(repeats):
        fresh = replace(graph)  # the same values; nothing cached
        gc.collect()
        if not collect:
            gc.disable()
        start = time.process_time()
        infer_all(fresh)
        times.append(time.process_time() - start)
        gc.enable()
    return min(times)


def table(layers: list[int], repeats: int, collect: bool) -> None:
    print("| stack | layers | values | all facts, ms | a layer, ms | a value, us |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, build in STACKS.items():
        for count in layers:
            graph = build(count)
            spent = best_seconds(graph, repeats, collect)
            print(
                f"| {name} | {count} | {len(graph)} | {1000 * spent:.1f}"
                f" | {1000 * spent / count:.2f} | {1e6 * spent / len(graph):.0f} |"
            )


def profile(name: str, count: int) -> None:
    graph = STACKS[name](count)
    with cProfile.Profile() as profiler:
        infer_all(graph)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--layers", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gc", action="store_true", help="with the garbage collector")
    parser.add_argument("--profile", choices=STACKS, help="where the time goes, largest stack")
    given = parser.parse_args()
    if given.profile:
        profile(given.profile, max(given.layers))
    else:
        table(given.layers, given.repeats, given.gc)


if __name__ == "__main__":
    main()
