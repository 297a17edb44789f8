"""Transducer losses: time, memory and error of the loss with its gradient.

    python benchmarks/rnnt_loss.py [--batch 8] [--frames 200] [--labels 40] [--classes 1000]
        [--window 5] [--threads 1] [--repeats 9] [--only exact pruned] [--no-memory]

Prints a Markdown table. Ways take turns (A B C A B C ...), each with a graph of its own; wall
clock and CPU time of loss and backward together, least and median. Memory is what the resident
set of a process for each way grows to above the inputs, in a second call. The error is
that of the gradient for the first utterance against this library's in float64. Peers
(`warprnnt_numba`, `torchaudio`) take part where they can be imported.
"""

from __future__ import annotations

import argparse
import importlib
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from asrc.training.losses import (
    gather,
    prune_ranges,
    pruned_loss,
    rnnt_loss,
    simple_loss,
)


@dataclass(frozen=True)
class Batch:
    """Random scores as the exact losses see them, and the two parts of a joint that adds."""

    logits: Tensor
    am: Tensor
    lm: Tensor
    targets: Tensor
    frames: Tensor
    labels: Tensor
    window: int

    @property
    def rest(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.targets, self.frames, self.labels


def batch(given: argparse.Namespace, only: str = "") -> Batch:
    """Utterances of full length, the worst case. Blank is the last class."""
    random = torch.Generator().manual_seed(0)
    size, time, labels, classes = given.batch, given.frames, given.labels, given.classes
    cells = 0 if only == "pruned" else labels + 1
    return Batch(
        torch.randn((size, time, cells, classes), generator=random).requires_grad_(),
        torch.randn((size, time, classes), generator=random).requires_grad_(),
        torch.randn((size, labels + 1, classes), generator=random).requires_grad_(),
        torch.randint(classes - 1, (size, labels), generator=random),
        torch.full((size,), time),
        torch.full((size,), labels),
        given.window,
    )


# --- ways to the loss and its gradient -------------------------------------------------------


def exact(data: Batch, logits: Tensor, **options: bool) -> Tensor:
    return rnnt_loss(logits, *data.rest, reduction="sum", **options)


def given_log_probs(data: Batch, logits: Tensor) -> Tensor:
    return rnnt_loss(logits.log_softmax(-1), *data.rest, reduction="sum", normalised=True)


def pruned(data: Batch, _: Tensor) -> Tensor:
    """Both losses of pruned training, with a joint network that does nothing but add."""
    simple, grads = simple_loss(data.am, data.lm, *data.rest, reduction="sum")
    ranges = prune_ranges(*grads, data.frames, data.labels, data.window)
    am, lm = gather(data.am, data.lm, ranges)
    rest = data.targets, ranges, data.frames, data.labels
    return simple + pruned_loss(am + lm, *rest, reduction="sum")


def unfused(data: Batch, logits: Tensor) -> Tensor:
    """Autograd through log_softmax and a recursion by anti-diagonals, all lengths full."""
    log_probs = logits.log_softmax(-1)
    time, labels = logits.shape[1], data.targets.shape[1]
    at = data.targets[:, None, :, None].expand(-1, time, -1, 1)
    label = log_probs[:, :, :-1].gather(3, at)[..., 0]
    blank = log_probs[..., -1]
    reached = {0: blank.new_zeros(len(blank), 1)}
    first = 0
    for n in range(1, time + labels):
        low, high = max(0, n - time + 1), min(n, labels)
        before = reached[n - 1]
        u = torch.arange(low, high + 1)
        impossible = before.new_full((len(before), 1), -torch.inf)
        padded = torch.cat((impossible, before, impossible), 1)
        stay = padded[:, u - first + 1] + blank[:, (n - 1 - u).clamp(min=0), u]
        move = padded[:, u - first] + label[:, n - u, (u - 1).clamp(min=0)]
        reached[n] = torch.logaddexp(stay, move)
        first = low
    return -(reached[time + labels - 1][:, -1] + blank[:, -1, -1]).sum()


def warprnnt_numba(data: Batch, logits: Tensor) -> Tensor:
    from warprnnt_numba.rnnt_loss.rnnt_pytorch import RNNTLossNumba

    loss = RNNTLossNumba(blank=logits.shape[-1] - 1, reduction="sum")
    targets, frames, labels = (each.int() for each in data.rest)
    return loss(logits, targets, frames, labels).sum()


def torchaudio(data: Batch, logits: Tensor) -> Tensor:
    from torchaudio.functional import rnnt_loss as torchaudio_loss

    targets, frames, labels = (each.int() for each in data.rest)
    return torchaudio_loss(logits, targets, frames, labels, reduction="sum")


def importable(module: str) -> bool:
    """Installed, and its compiled part fits this PyTorch."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError):
        return False
    return True


Way = Callable[[Batch, Tensor], Tensor]
WAYS: dict[str, Way] = {
    "exact": exact,
    "overwrite": partial(exact, overwrite=True),
    "log_softmax": given_log_probs,
    "pruned": pruned,
    "unfused": unfused,
}
WAYS |= {peer.__name__: peer for peer in (warprnnt_numba, torchaudio) if importable(peer.__name__)}


# --- measuring -------------------------------------------------------------------------------


def step(way: Way, data: Batch) -> tuple[float, float]:
    """Wall clock and CPU seconds of the loss and its backward."""
    for leaf in (data.logits, data.am, data.lm):
        leaf.grad = None
    wall, cpu = time.perf_counter(), time.process_time()
    way(data, data.logits).backward()
    return time.perf_counter() - wall, time.process_time() - cpu


def times(names: list[str], data: Batch, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Round robin; one round first that does not count. `overwrite` gets its logits back."""
    kept = data.logits.detach().clone()
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(repeats + 1):
        for name in names:
            spent[name].append(step(WAYS[name], data))
            data.logits.grad = None
            if name == "overwrite":
                data.logits.detach().copy_(kept)
    return {name: each[1:] for name, each in spent.items()}


def resident(what: str) -> float:
    """Megabytes (10^6) of this process: VmRSS now, VmHWM at most."""
    status = Path("/proc/self/status").read_text()
    return int(re.findall(rf"{what}:\s+(\d+)", status)[0]) * 1024 / 1e6


def memory(name: str, given: argparse.Namespace) -> float:
    """Growth of the resident set above the inputs. A small batch goes first, for the code."""
    step(WAYS[name], batch(argparse.Namespace(**{**vars(given), "frames": 2, "labels": 4})))
    data = batch(given, only=name)
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is now
    before = resident("VmRSS")
    step(WAYS[name], data)
    return resident("VmHWM") - before


def memory_elsewhere(name: str) -> float:
    command = [sys.executable, __file__, *sys.argv[1:], "--memory-of", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def error(name: str, given: argparse.Namespace) -> float | None:
    """The largest error of the first utterance's gradient, which lies between -1 and 1."""
    if name == "pruned":
        return None
    data = batch(argparse.Namespace(**{**vars(given), "batch": 1}))
    exactly = data.logits.detach().double().requires_grad_()
    exact(data, exactly).backward()
    step(WAYS[name], data)
    assert exactly.grad is not None and data.logits.grad is not None  # noqa: PT018
    return float((data.logits.grad - exactly.grad).abs().max())


def row(name: str, spent: list[tuple[float, float]], given: argparse.Namespace) -> str:
    wall, cpu = ([1000 * each for each in kind] for kind in zip(*spent, strict=True))
    grown = "" if given.no_memory else f"{memory_elsewhere(name):.0f}"
    off = error(name, given)
    figures = [f"{min(wall):.0f}", f"{statistics.median(wall):.0f}"]
    figures += [f"{min(cpu):.0f}", f"{statistics.median(cpu):.0f}", grown]
    return f"| {name} | {' | '.join(figures)} | {'' if off is None else f'{off:.0e}'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--labels", type=int, default=40)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--window", type=int, default=5, help="label states of the pruned loss")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--memory-of", choices=WAYS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.memory_of:
        print(memory(given.memory_of, given))
        return
    data = batch(given)
    spent = times(given.only, data, given.repeats)
    print("| way | wall, ms | median | CPU, ms | median | memory, MB | error |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in given.only:
        print(row(name, spent[name], given), flush=True)


if __name__ == "__main__":
    main()
