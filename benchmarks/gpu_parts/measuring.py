"""How `benchmarks/gpu.py` measures a row of its table: rivals take turns on one device."""

from __future__ import annotations

import gc
import statistics
import time
import traceback
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
MANY = 160
"""The most calls that are timed together, and bytes that these read at least: more than a cache
has."""
ENOUGH = 1 << 27
WRONG = 0.05
"""A difference that no rounding makes."""

HEAD = """\
| what | by | median, ms | 10 % to 90 %, ms | MB | GFLOP | of roofline | kernel is faster by \
| audio s/s | difference |
|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


@dataclass(frozen=True)
class Case:
    """What is measured; `audio` are the seconds of sound that a call hears. A call of a way does
    `times` times what `cost` is of, each time with other numbers. Without `again`, another call
    makes something else: it moves a state. Without `close`, rounding may make something else: a
    label, and all behind it."""

    ways: Ways
    cost: Cost | None = None
    audio: float = 0.0
    times: int = 1
    again: bool = True
    close: bool = True


Rows: TypeAlias = Iterator[tuple[str, Callable[[], Case]]]


@dataclass(frozen=True)
class Launched:
    """A call that is measured as it is: it asks the host, say."""

    call: Call

    def __call__(self) -> Tensor:
        return self.call()


@dataclass
class Bench:
    """A device, and how it is measured: `longest` are the seconds of a row's turns.

    `traces` are what was raised, and where. What broke off a CUDA graph has `spoiled` the process:
    PyTorch does not take its stream and its memory back then.
    """

    smoke: bool
    longest: float = 2.0
    traces: list[str] = field(default_factory=list)
    spoiled: bool = False

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
        """In a CUDA graph, which is played once."""
        if self.smoke:
            return Launched(call)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                made = call()
        except Exception:
            self.spoiled = True
            raise

        def replay() -> Tensor:
            graph.replay()
            return made

        replay()
        torch.cuda.synchronize()
        return Launched(replay)

    def failed(self, where: str, error: Exception) -> str:
        """Its first line; the rest is kept, unless something is not installed."""
        if not isinstance(error, ImportError | NotImplementedError):
            self.traces.append(f"{where}\n{''.join(traceback.format_exception(error))}")
        return first_line(error)

    def emptied(self) -> None:
        """Memory of a row goes back. Raises what a kernel that failed has left behind."""
        gc.collect()
        if not self.smoke:
            torch.cuda.synchronize()
            torch.cuda.empty_cache()

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
        """More than any cache has; writing it takes as long as a graph of some hundred launches
        takes to be started."""
        return torch.empty(1 << 30, dtype=torch.int8, device=self.device)

    def awake(self) -> None:
        """Clocks fall while nothing runs, and something was compiled just now."""
        for _ in range(0 if self.smoke else 500):
            self.flush.zero_()

    def turns(self, found: Mapping[str, Measured]) -> None:
        """Times of each; they take turns until the time is over, or the call fails."""
        self.awake()
        start, most = time.perf_counter(), 1 if self.smoke else 100
        for turn in range(most):
            if turn and time.perf_counter() - start > self.longest:
                break
            for way, one in found.items():
                self._turn(way, one)

    def _turn(self, way: str, one: Measured) -> None:
        if one.call is None or one.error:
            return
        try:
            one.times.append(self.seconds(one.call))
        except Exception as error:  # noqa: BLE001  it is a line of the table
            one.error = self.failed(way, error)

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
    note: str = ""
    times: list[float] = field(default_factory=list)


def guarded(way: str, make: Callable[[], Call], bench: Bench, again: bool) -> Measured:
    """Called once, then in a graph if one can be made."""
    try:
        call = make()
        made = call().detach().float().clone()
    except Exception as error:  # noqa: BLE001  it is a line of the table
        return Measured(error=bench.failed(way, error))
    if isinstance(call, Launched):
        return Measured(call, made)
    try:
        graph = bench.captured(call)
    except Exception as error:  # noqa: BLE001  what a graph does not take is launched
        bench.failed(f"{way}, in a CUDA graph", error)
        return Measured(call, made, note=", launched: no CUDA graph")
    gap = gap_of(graph().nan_to_num(), made.nan_to_num()) if again else 0.0
    return Measured(graph, made, "" if gap < WRONG else f"its CUDA graph differs by {gap:.1e}")


def first_line(error: BaseException) -> str:
    words = f"{type(error).__name__}: {error}".strip().splitlines()[0]
    return words.replace("|", "/")[:160]


def lines(name: str, case: Case, bench: Bench) -> Iterator[str]:
    torch._dynamo.reset()  # of a function, but a few shapes are compiled
    found = {way: guarded(way, make, bench, case.again) for way, make in case.ways.items()}
    bench.turns(found)
    kernel, plain = list(found.values())[:2]
    for way, one in found.items():
        said = f"{way}{one.note}"
        yield f"| {name} | {said} | {' | '.join(cells(one, kernel, plain, case, bench))} |"


def cells(
    one: Measured, kernel: Measured, plain: Measured, case: Case, bench: Bench
) -> Iterator[str]:
    if one.error or not one.times:
        yield one.error or "not measured"
        yield from 7 * [""]
        return
    times = [each / case.times for each in one.times]
    middle = statistics.median(times)
    yield f"{1000 * middle:.4f}"
    yield " to ".join(f"{1000 * end:.4f}" for end in ends(times))
    yield from costs(case.cost if one is kernel else None, middle, bench)
    other = one is not kernel and kernel.times
    yield f"{case.times * middle / statistics.median(kernel.times):.2f}" if other else ""
    yield f"{case.audio / middle:.0f}" if case.audio else ""
    wrong = WRONG if case.close else float("inf")
    yield difference(one.made, plain.made, wrong) if one is not plain else ""


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


def difference(found: Tensor | None, wanted: Tensor | None, wrong: float = WRONG) -> str:
    if found is None or wanted is None:
        return ""
    if found.numel() != wanted.numel():
        return f"{list(found.shape)} for {list(wanted.shape)}"
    gap = gap_of(found, wanted)
    return f"{gap:.1e}" if gap < wrong else f"{gap:.1e}: wrong"


def gap_of(found: Tensor, wanted: Tensor) -> float:
    """Relative to the largest number; NaN where any is."""
    gap = (found.flatten().float() - wanted.flatten()).abs().max()
    return float(gap / wanted.abs().max().clamp(min=1e-30))


def rotated(calls: list[Call]) -> Call:
    """All of them, one after the other; gives what the first makes."""

    def call() -> Tensor:
        first, *_ = [each() for each in calls]
        return first

    return call


def times_of(nbytes: int, bench: Bench) -> int:
    """How many calls, each with a weight of so many bytes, read more than a cache holds: what one
    call takes is then not a matter of starting it."""
    return 2 if bench.smoke else max(1, min(MANY, -(-ENOUGH // nbytes)))
