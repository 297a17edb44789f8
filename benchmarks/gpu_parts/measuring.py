"""How `benchmarks/gpu.py` measures a row of its table: rivals take turns on one device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias

import torch
from torch import Tensor

from asrc.backends.triton.kernels.cost import Cost

Call: TypeAlias = Callable[[], Tensor]
Ways: TypeAlias = Mapping[str, Callable[[], Call]]
"""By name, what makes a call; the first is a kernel, the second PyTorch."""

HEAD = """\
| what | by | median, ms | 10 % to 90 %, ms | MB | GFLOP | of roofline | kernel is faster by \
| audio s/s | difference |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class Case:
    """What is measured; `audio` are the seconds of sound that a call hears."""

    ways: Ways
    cost: Cost | None = None
    audio: float = 0.0


Rows: TypeAlias = Iterator[tuple[str, Callable[[], Case]]]


@dataclass(frozen=True)
class Launched:
    """A call that is measured as it is."""

    call: Call

    def __call__(self) -> Tensor:
        return self.call()


@dataclass
class Bench:
    """A device, and how it is measured: `longest` are the seconds of a row's turns."""

    smoke: bool
    longest: float = 4.0

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.smoke else "cuda")

    @property
    def half(self) -> torch.dtype:
        """The interpreter is exact enough in float32 alone."""
        return torch.float32 if self.smoke else torch.bfloat16

    def random(self, *shape: int, dtype: torch.dtype | None = None, seed: int = 0) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=source).to(self.device, dtype or self.half)

    def compiled(self, call: Call) -> Call:
        if self.smoke:
            return torch.compile(call, backend="eager")
        return torch.compile(call, mode="max-autotune-no-cudagraphs")

    def captured(self, call: Call) -> Call:
        """In a CUDA graph."""
        if self.smoke:
            return Launched(call)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            made = call()

        def replay() -> Tensor:
            graph.replay()
            return made

        return Launched(replay)

    def seconds(self, call: Callable[[], object]) -> float:
        if self.smoke:
            start = time.perf_counter()
            call()
            return time.perf_counter() - start
        self.flush.zero_()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / 1000

    @cached_property
    def flush(self) -> Tensor:
        """More than any cache has."""
        return torch.empty(1 << 29, dtype=torch.int8, device=self.device)

    def turns(self, calls: Mapping[str, Call]) -> dict[str, list[float]]:
        """Seconds of each call; they take turns until the time is over."""
        times: dict[str, list[float]] = {name: [] for name in calls}
        start, most = time.perf_counter(), 1 if self.smoke else 60
        for turn in range(most):
            if turn and time.perf_counter() - start > self.longest:
                break
            for name, call in calls.items():
                times[name].append(self.seconds(call))
        return times

    @cached_property
    def card(self) -> tuple[float, float]:
        """Bytes a second of a copy, and operations a second of a product of halves."""
        size, wide = (1 << 20, 64) if self.smoke else (1 << 30, 8192)
        source = torch.empty(size, dtype=torch.int8, device=self.device)
        target, x = torch.empty_like(source), self.random(wide, wide)
        copy = [self.seconds(lambda: target.copy_(source)) for _ in range(12)][2:]
        product = [self.seconds(lambda: x @ x) for _ in range(12)][2:]
        return 2 * size / statistics.median(copy), 2 * wide**3 / statistics.median(product)


# --- a row ------------------------------------------------------------------------------------


@dataclass
class Measured:
    """What was found of one way."""

    call: Call | None = None
    made: Tensor | None = None
    error: str = ""
    times: list[float] = field(default_factory=list)


def guarded(make: Callable[[], Call], bench: Bench) -> Measured:
    """Called once, then in a graph if one can be made."""
    try:
        call = make()
        made = call().detach().float().clone()
    except Exception as error:  # noqa: BLE001  it is a line of the table
        return Measured(error=first_line(error))
    if isinstance(call, Launched):
        return Measured(call, made)
    try:
        return Measured(bench.captured(call), made)
    except Exception:  # noqa: BLE001  what a graph does not take is launched
        bench.seconds(call)
        return Measured(call, made)


def first_line(error: BaseException) -> str:
    words = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return words.replace("|", "/")[:160]


def lines(name: str, case: Case, bench: Bench) -> Iterator[str]:
    torch._dynamo.reset()  # of a function, but a few shapes are compiled
    found = {way: guarded(make, bench) for way, make in case.ways.items()}
    calls = {way: one.call for way, one in found.items() if one.call is not None}
    for way, times in bench.turns(calls).items():
        found[way].times = times
    kernel, plain = list(found.values())[:2]
    for way, one in found.items():
        yield f"| {name} | {way} | {' | '.join(cells(one, kernel, plain, case, bench))} |"


def cells(
    one: Measured, kernel: Measured, plain: Measured, case: Case, bench: Bench
) -> Iterator[str]:
    if one.error:
        yield one.error
        yield from 7 * [""]
        return
    middle = statistics.median(one.times)
    yield f"{1000 * middle:.4f}"
    yield " to ".join(f"{1000 * end:.4f}" for end in ends(one.times))
    yield from costs(case.cost if one is kernel else None, middle, bench)
    other = one is not kernel and kernel.times
    yield f"{middle / statistics.median(kernel.times):.2f}" if other else ""
    yield f"{case.audio / middle:.0f}" if case.audio else ""
    yield difference(one.made, plain.made) if one is not plain else ""


def ends(times: list[float]) -> tuple[float, float]:
    if len(times) == 1:
        return times[0], times[0]
    tenths = statistics.quantiles(times, n=10, method="inclusive")
    return tenths[0], tenths[-1]


def costs(cost: Cost | None, middle: float, bench: Bench) -> list[str]:
    if cost is None:
        return 3 * [""]
    share = cost.seconds(*bench.card) / middle
    return [f"{cost.bytes / 1e6:.3f}", f"{cost.flops / 1e9:.3f}", f"{share:.0%}"]


def difference(found: Tensor | None, wanted: Tensor | None) -> str:
    if found is None or wanted is None:
        return ""
    if found.numel() != wanted.numel():
        return f"{list(found.shape)} for {list(wanted.shape)}"
    gap = (found.flatten() - wanted.flatten()).abs().max() / wanted.abs().max().clamp(min=1e-30)
    return f"{float(gap):.1e}"
