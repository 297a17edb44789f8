"""Compiles kernels for a GPU that is not there, as their own entries launch them.

    TRITON_INTERPRET=0 python -m asrc.tests.backends.triton.compiling linear 90 [--all]

Runs the cases of a file of kernels, `linear.py`, on tensors that have no numbers and say that they
are on a GPU. A launch is compiled for that compute capability, specialised as it would be, and
ends there. Prints one JSON object a launch. `--all` compiles every candidate of the tuner instead
of the first.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import torch
import triton
from torch import Tensor
from torch.overrides import TorchFunctionMode
from triton.runtime.driver import driver
from triton.runtime.jit import JITFunction, MockTensor

from asrc.backends.nna.fixed import Rescale
from asrc.backends.triton.kernels.active import Around as Within
from asrc.backends.triton.kernels.active import Norm, feed_forward
from asrc.backends.triton.kernels.attention import (
    Ring,
    attention,
    attention_step,
    intervals,
)
from asrc.backends.triton.kernels.conv1d import by_tap, conv1d
from asrc.backends.triton.kernels.conv2d import conv2d
from asrc.backends.triton.kernels.depthwise import Around, Taps, depthwise, depthwise_step
from asrc.backends.triton.kernels.depthwise import Ring as Filtered
from asrc.backends.triton.kernels.embed import embed
from asrc.backends.triton.kernels.greedy import (
    Found,
    Joint,
    Plan,
    Streams,
    decode,
    joint_argmax,
)
from asrc.backends.triton.kernels.integer_products import (
    Channels,
    Scores,
    Windows,
    matmul,
    product,
)
from asrc.backends.triton.kernels.integer_products import (
    depthwise as integer_depthwise,
)
from asrc.backends.triton.kernels.integers import (
    Codes,
    Single,
    mean,
    single,
)
from asrc.backends.triton.kernels.integers import (
    softmax as integer_softmax,
)
from asrc.backends.triton.kernels.linear import Epilogue, Prologue, linear, linear_beside
from asrc.backends.triton.kernels.logmel import Tables, logmel
from asrc.backends.triton.kernels.lstm import States, lstm, lstm_cell, lstm_step
from asrc.backends.triton.kernels.norm import layer_norm, softmax
from asrc.backends.triton.kernels.pointwise import Link, pointwise
from asrc.backends.triton.kernels.rings import Moment, keep, keep_all
from asrc.backends.triton.kernels.running_sum import running_sum
from asrc.backends.triton.kernels.transducer_loss import Batch, Lattice, gradient, sweep
from asrc.backends.triton.packed import Packed, fields_of, words_of
from asrc.backends.triton.tuning import Config, Tuner
from asrc.tests.backends.triton.ptx.launching import PROCESSORS
from asrc.tests.backends.triton.ptx.launching import Driver as Told

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Launch:
    """What became of one; `stack` are bytes a thread, among them spilled registers, `code` counts
    instructions by name, with `.128` where 16 bytes are moved, and `ir` is what the compiler began
    with, in Triton's dialect."""

    case: str
    dtype: str
    kernel: str
    options: str
    error: str = ""
    cubin: int = 0
    shared: int = 0
    registers: int = 0
    stack: int = 0
    code: Mapping[str, int] = field(default_factory=dict)
    ir: str = field(default="", repr=False)


# --- a GPU that is not there ------------------------------------------------------------------


class OnGpu(TorchFunctionMode):
    """Tensors are on `meta`, and say that they are on a GPU: entries ask where they are."""

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func == torch.Tensor.device.__get__:
            return torch.device("cuda")
        given = dict(kwargs or {})
        if given.get("device") is not None:
            given["device"] = torch.device("meta")
        return func(*args, **given)


@dataclass(frozen=True)
class Driver(Told):
    def activate(self) -> None:
        """It is Triton's, and PyTorch tells the processors of a card of its kind."""
        driver.set_active(self)
        properties = SimpleNamespace(multi_processor_count=PROCESSORS[self.capability])
        torch.cuda.get_device_properties = lambda device: properties


def mocked(x: object) -> object:
    """A tensor as the compiler is told of it, in tuples as well."""
    if isinstance(x, tuple):
        return tuple(map(mocked, x))
    return MockTensor(x.dtype) if isinstance(x, Tensor) else x


class Recorder:
    """In the place of a launch."""

    def __init__(self) -> None:
        self.case, self.dtype = "", torch.float32
        self.seen: set[tuple[str, ...]] = set()

    def __call__(self, kernel: Any, grid: object) -> Callable[..., None]:
        def launch(*args: object, **options: object) -> None:
            given = [mocked(x) for x in args]
            self._record(kernel, given, options)

        return launch

    def _record(self, kernel: Any, given: list[object], options: dict[str, object]) -> None:
        said = " ".join(f"{key}={value}" for key, value in options.items())
        names = (self.case, str(self.dtype).removeprefix("torch."), kernel.__name__, said)
        if names in self.seen:
            return
        self.seen.add(names)
        try:
            with redirect_stdout(sys.stderr):  # where the assembler fails it says so at length
                made = kernel.run(*given, grid=None, warmup=True, **options)
        except Exception as error:  # noqa: BLE001  every launch is tried, and named
            found = Launch(*names, error=f"{type(error).__name__}: {error}")
        else:
            sizes = len(made.kernel), made.metadata.shared, *resources(made)
            found = Launch(*names, "", *sizes, _counted(made), made.asm["ttir"])
        print(json.dumps(asdict(found)), flush=True)  # noqa: T201  it is what a test reads


def machine_code(made: Any) -> str:
    """As NVIDIA's disassembler writes it."""
    return _said(triton.knobs.nvidia.nvdisasm.path, "-c", made)


def instructions(lines: Iterable[str]) -> list[str]:
    """Names of those in some lines, with what is added to them."""
    return [found[1] for line in lines if (found := _INSTRUCTION.match(line))]


_INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)")


def _counted(made: Any) -> dict[str, int]:
    every = instructions(machine_code(made).splitlines())
    return dict(Counter(name.partition(".")[0] + ".128" * (".128" in name) for name in every))


def _said(program: str, option: str, made: Any) -> str:
    path = next(file for name, file in made.metadata_group.items() if name.endswith(".cubin"))
    command = [program, option, path]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def resources(made: Any) -> list[int]:
    """Registers and bytes of stack of a thread."""
    said = _said(triton.knobs.nvidia.cuobjdump.path, "-res-usage", made)
    return [int(found) for of in ("REG", "STACK") for found in re.findall(rf"{of}:(\d+)", said)]


def best_of_all(tuner: Tuner, _: str, shape: object, candidates: Sequence[Config],
                run: Callable[[Config], object], device: object) -> Config:  # fmt: skip
    """In the place of `Tuner.best`."""
    for candidate in candidates:
        run(candidate)
    return candidates[0]


def first(tuner: Tuner, _: str, shape: object, candidates: Sequence[Config],
          run: object, device: object) -> Config:  # fmt: skip
    """The same, where one is enough."""
    return candidates[0]


# --- cases ------------------------------------------------------------------------------------

Case = Callable[[torch.dtype], object]


def room(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype)


def narrow(rows: int, columns: int, bits: int) -> Packed:
    words = sum(words_of(width, triton.cdiv(columns, 8)) for width in fields_of(bits))
    book = room(max(2, (1 << bits) // 4) if bits < 8 else 0, dtype=torch.int32)
    return Packed(room(rows, words, dtype=torch.int32), book, room(rows), bits, columns)


def _packed(rows: int, bits: int) -> Case:
    then = Epilogue("swish", 0.5)
    return lambda dtype: linear(
        room(rows, 640, dtype=dtype), narrow(2560, 640, bits), room(2560), then
    )


def _product(dtype: torch.dtype) -> None:
    x, weight = room(64, 640, dtype=dtype), room(2560, 640, dtype=dtype)
    linear(x, weight, room(2560), Epilogue("swish", 0.5, room(64, 2560, dtype=dtype)))


def _mixed(bits: int) -> Case:
    """Rows in float32, products in a half type."""

    def case(dtype: torch.dtype) -> None:
        weight = replace(narrow(512, 256, bits), products=dtype) if bits else room(512, 256)
        weight = weight if isinstance(weight, Packed) else weight.to(dtype)
        for rows in (1, 64):
            linear(room(rows, 256), weight, room(512), Epilogue("glu"))

    return case


def _beside(rows: int, bits: int) -> Case:
    """Queries, keys and values."""

    def case(dtype: torch.dtype) -> None:
        of = [narrow(512, 512, bits) if bits else room(512, 512, dtype=dtype) for _ in range(3)]
        first = Prologue(room(512), room(512), 1e-5)
        linear_beside(room(rows, 512, dtype=dtype), of, [room(512) for _ in of], first)

    return case


def _on_cores(case: Case) -> Case:
    """Of one row, with the tiles that tensor cores take."""

    def chosen(dtype: torch.dtype) -> None:
        usual = Tuner.best
        Tuner.best = with_cores
        try:
            case(dtype)
        finally:
            Tuner.best = usual

    return chosen


def with_cores(tuner: Tuner, _: str, shape: object, candidates: Sequence[Config],
               run: object, device: object) -> Config:  # fmt: skip
    """In the place of `Tuner.best`."""
    return next((one for one in candidates if "CORES" in one.sizes), candidates[0])


def _step(streams: int, bits: int) -> Case:
    def case(dtype: torch.dtype) -> None:
        weight = narrow(2560, 1280, bits) if bits else room(2560, 1280, dtype=dtype)
        x, h, c = (room(streams, 640, dtype=kind) for kind in (dtype, dtype, torch.float32))
        lstm_cell(x, h, c, weight, room(2560))
        lstm_step(x, States(h, c, torch.arange(streams)), weight, room(2560))

    return case


def _sequence(cells: int, batch: int) -> Case:
    def case(dtype: torch.dtype) -> None:
        weight, h = room(4 * cells, 640 + cells, dtype=dtype), room(batch, cells, dtype=dtype)
        x = room(batch, 200, 640, dtype=dtype)
        lstm(x, h, room(batch, cells), weight, room(4 * cells))

    return case


def _layer_norm(dtype: torch.dtype) -> None:
    x = room(8, 200, 512, dtype=dtype)
    layer_norm(x, room(512), room(512), 1e-5, x, 0.5)
    layer_norm(x, room(512), None, 1e-5)
    layer_norm(x, room(512), room(512), 1e-5, activation="swish")


def _softmax(dtype: torch.dtype) -> None:
    softmax(room(64, 2501, dtype=dtype))
    softmax(room(64, 2501, dtype=dtype), log=True)


def _chain(dtype: torch.dtype) -> None:
    x = room(8, 200, 512, dtype=dtype)
    links = [Link("swish"), Link("mul", value=0.5), Link("add", 1), Link("swish_gate", 2)]
    pointwise([x, room(8, 1, 512, dtype=dtype), x], links)
    plain = ("relu", "tanh", "sigmoid", "gelu", "softplus", "abs", "exp", "sqrt", "log")
    pointwise([x], [Link(kind) for kind in plain])


def _attention(relative: bool, there: bool) -> Case:
    def case(dtype: torch.dtype) -> None:
        q, k, v, p = room(4, 375, 4 * 512, dtype=dtype).split(512, -1)
        positions = (p, room(1, 749, 512, dtype=dtype)) if relative else ()
        mask = room(4, 375, dtype=torch.bool) if there else None
        attention(q, k, v, 8, *intervals(375, 375, chunk=8, left=64), mask, *positions)

    return case


def _attention_step(there: bool) -> Case:
    def case(dtype: torch.dtype) -> None:
        q, k, v, p = (room(16, 8, 512, dtype=dtype) for _ in "qkvp")
        held = room(16, 64, 512, dtype=dtype), room(16, 64, 512, dtype=dtype)
        mask = room(16, 72, dtype=torch.bool) if there else None
        ring, r = Ring(*held, Moment(torch.arange(16), 8, -8)), room(1, 79, 512, dtype=dtype)
        attention_step(q, k, v, 8, ring, *intervals(8, 72, right=None), mask, p, r, low=-71)
        rows = room(512), room(512)
        attention_step(
            q, k, v, 8, ring, *intervals(8, 72, right=None), mask, p, r, low=-71, shifts=rows
        )
        one = Ring(*(x[:, :1] for x in held), Moment(torch.arange(16), 1, -1))
        attention_step(q[:, :1], k[:, :1], v[:, :1], 8, one, *intervals(1, 2, right=None))

    return case


def _kept(dtype: torch.dtype) -> None:
    ring, now = room(16, 64, 512, dtype=dtype), Moment(torch.arange(16), 8, -8)
    moving = room(16, dtype=torch.bool)
    for frames in (8, 1):
        keep(ring, room(16, frames, 512, dtype=dtype), now, moving)
        keep(ring, room(16, frames, 1024, dtype=dtype), now, gated=True)
    keep(room(16, 1, 512, dtype=dtype), room(16, 1, 512, dtype=dtype), Moment(now.age, 1, -1))
    keep_all([ring] * 24, [room(16, 8, 512, dtype=dtype)] * 24, now, moving)


def _conv1d(dtype: torch.dtype) -> None:
    x, lengths = room(8, 400, 80, dtype=dtype), room(8, dtype=torch.int64)
    then = Epilogue("relu", 1.0, room(8, 200, 512, dtype=dtype))
    weight = by_tap(room(512, 240, dtype=dtype), 3)
    conv1d(x, weight, room(512), (2, 0, 1, 2), 1, then, lengths)
    conv1d(x, room(80, 60, dtype=dtype), None, (2, 0, 1, 1), 4)


def _conv2d(dtype: torch.dtype) -> None:
    x, weight = room(4, 400, 1, 80, dtype=dtype), room(32, 1, 3, 3, dtype=dtype)
    lengths = room(4, dtype=torch.int64)
    y = conv2d(x, weight, room(32), (2, 0, 1, 2), 1, 2, Epilogue("relu"), lengths)
    conv2d(y, room(32, 32, 3, 3, dtype=dtype), room(32), (2, 0, 1, 1))


def _around() -> Around:
    return Around(True, (room(512), room(512)), "swish")


def _filters(dtype: torch.dtype) -> None:
    x, lengths = room(4, 375, 1024, dtype=dtype), room(4, dtype=torch.int64)
    there = room(4, 375, dtype=torch.bool)
    weight = room(512, 31, dtype=dtype)
    depthwise(x, weight, room(512), (30, 0, 1, 1), _around(), lengths, there)
    depthwise(x[..., :512], weight, None, (15, 15, 1, 1))


def _filters_step(dtype: torch.dtype) -> None:
    ring = Filtered(room(16, 30, 512, dtype=dtype), Moment(torch.arange(16), 8, -8))
    weight, there = room(512, 31, dtype=dtype), room(16, 38, dtype=torch.bool)
    for frames in (8, 1):
        x, taps = room(16, frames, 1024, dtype=dtype), Taps(0, frames)
        depthwise_step(x, ring, weight, taps, room(512), _around(), there)
    depthwise_step(room(16, 8, 512, dtype=dtype), ring, weight, Taps(0, 8))
    one = Filtered(room(16, 1, 512, dtype=dtype), Moment(torch.arange(16), 1, -1))
    depthwise_step(room(16, 1, 512, dtype=dtype), one, weight[:, :2].contiguous(), Taps(0, 1))


def _running_sum(dtype: torch.dtype) -> None:
    x, there = room(8, 200, 512, dtype=dtype), room(8, 200, dtype=torch.bool)
    running_sum(x, there, 1)
    running_sum(x, there, 1, room(8, 1, 512, dtype=dtype))


def _logmel(dtype: torch.dtype) -> None:
    table = Tables(room(400, 257), room(400, 257), room(257, 80), (80,))
    logmel(room(8, 48000, 1, dtype=dtype), table, 160)
    logmel(room(8, 48000, 1, dtype=dtype), table, 160, room(80), room(80))


def _transducer_loss(dtype: torch.dtype) -> None:
    logits = room(8, 200, 41, 1000, dtype=dtype)
    labels, lengths = room(8, 40, dtype=torch.int64), room(8, dtype=torch.int32)
    batch, lattice = Batch(labels, lengths, lengths, 999), Lattice.room(logits)
    sweep(logits, batch, lattice, room(8), both=True)
    gradient(logits, batch, lattice, room(8), logits)


def _active(bits: int) -> Case:
    def case(dtype: torch.dtype) -> None:
        up, down = (
            narrow(*sizes, bits) if bits else room(*sizes, dtype=dtype)
            for sizes in ((2048, 512), (512, 2048))
        )
        x, gate = room(16, 375, 512, dtype=dtype), room(16, 375, dtype=torch.bool)
        norm = Norm(room(512), room(512))
        feed_forward(x, gate, up, down, Within(room(2048), room(512), "swish", 0.5, norm))
        feed_forward(x[0], gate[0], up, down, Within(residual=False))

    return case


class Silent:
    """A predictor of nothing."""

    def begin(self, slots: Tensor) -> None:
        pass

    def step(self, labels: Tensor, slots: Tensor) -> Tensor:
        return room(len(slots), 640)


def _greedy(bits: int) -> Case:
    def case(dtype: torch.dtype) -> None:
        weight = narrow(1001, 640, bits) if bits else room(1001, 640, dtype=dtype)
        joint_argmax(room(64, 640, dtype=dtype), room(64, 640, dtype=dtype), weight, room(1001))
        streams = Streams.room(16, room(1, 640, dtype=dtype)).of(torch.arange(8))
        frames, ends = room(8, 8, 640, dtype=dtype), room(8, dtype=torch.int64)
        for plan in (Plan(window=4), Plan(alone=True)):
            found = Found.room(8, 1)
            decode(frames, ends, Silent(), Joint(weight, room(1001)), streams, found, plan)

    return case


NARROW, WIDE = Codes(torch.int8, -3), Codes(torch.int16)
HALF = Rescale(1 << 30, -1)


def _codes(*shape: int, wide: bool = False) -> Tensor:
    return room(*shape, dtype=torch.int16 if wide else torch.int8)


def _channels(rows: int, columns: int, count: int) -> Channels:
    numbers = room(count, dtype=torch.int32), room(count, dtype=torch.int32)
    return Channels(_codes(rows, columns), room(count, dtype=torch.int64), *numbers)


def _singles(wide: bool) -> Case:
    def case(dtype: torch.dtype) -> None:
        a, b = _codes(8, 8, 1, 512, wide=wide), _codes(1, 1, 1, 512, wide=wide)
        for kind in ("add", "sub", "mul", "maximum", "minimum"):
            single(Single(kind, WIDE if wide else NARROW, (3, -4), 15, (HALF, HALF, HALF)), a, b)
        single(Single("requantise", NARROW if wide else WIDE), a)
        if not wide:
            single(Single("table", NARROW, table=_codes(256)), a)

    return case


def _means(wide: bool) -> Case:
    return lambda dtype: mean(_codes(64, 512, wide=wide), 0, HALF, WIDE if wide else NARROW)


def _integer_product(rows: int, to: Codes = NARROW) -> Case:
    return lambda dtype: product(_codes(rows, 640), _channels(2560, 640, 2560), to)


def _integer_filters(dtype: torch.dtype) -> None:
    windows = Windows((31, 1), (1, 1), (1, 1))
    integer_depthwise(_codes(16, 38, 1, 512), _channels(31, 512, 512), windows, NARROW)


def _integer_scores(dtype: torch.dtype) -> None:
    q, k = _codes(16, 8, 8, 64).transpose(1, 2), _codes(16, 72, 8, 64).transpose(1, 2)
    shares = _codes(16, 8, 8, 72)
    matmul(q, k, Scores((3, -4), HALF, NARROW, turned=True))
    matmul(shares, k[..., :32], Scores((-128, 0), HALF, NARROW))


CASES: Mapping[str, Case] = {
    **{f"linear.packed-{rows}x{bits}": _packed(rows, bits)
       for rows, bits in ((1, 3), (1, 4), (8, 3), (64, 4), (64, 5))},
    "linear.cores-4": _on_cores(_packed(1, 4)),
    "linear.beside-1x4": _beside(1, 4),
    "linear.beside-8x0": _beside(8, 0),
    "linear.float": _product,
    "linear.mixed-0": _mixed(0),
    "linear.mixed-4": _mixed(4),
    **{f"lstm.step-{streams}x{bits}": _step(streams, bits)
       for streams, bits in ((1, 0), (1, 4), (64, 0), (64, 4))},
    "lstm.cores-4": _on_cores(_step(1, 4)),
    "lstm.sequence-640": _sequence(640, 16),
    "lstm.sequence-64": _sequence(64, 2),
    "norm.layer": _layer_norm,
    "norm.softmax": _softmax,
    "pointwise.chain": _chain,
    "embed.rows": lambda dtype: embed(room(64, dtype=torch.int64), room(2500, 640, dtype=dtype)),
    "attention.plain": _attention(False, True),
    "attention.relative": _attention(True, False),
    "attention.step": _attention_step(False),
    "attention.step-there": _attention_step(True),
    "conv1d.windows": _conv1d,
    "conv2d.windows": _conv2d,
    "depthwise.offline": _filters,
    "depthwise.step": _filters_step,
    "rings.keep": _kept,
    "running_sum.frames": _running_sum,
    "logmel.bands": _logmel,
    "transducer_loss.both": _transducer_loss,
    "greedy.float": _greedy(0),
    "greedy.packed": _greedy(4),
    **{f"active.feed-forward-{bits}": _active(bits) for bits in (0, 4, 5)},
    "integers.single-int8": _singles(False),
    "integers.single-int16": _singles(True),
    "integers.mean-int8": _means(False),
    "integers.mean-int16": _means(True),
    "integers.softmax": lambda dtype: integer_softmax(_codes(16, 8, 8, 72), HALF, -200),
    "integer_products.few": _integer_product(8),
    "integer_products.many": _integer_product(64),
    "integer_products.wide": _integer_product(64, WIDE),
    "integer_products.filters": _integer_filters,
    "integer_products.pairs": _integer_scores,
}  # fmt: skip
"""By the name of their file, a dot, and their own."""


def dtypes_of(case: str) -> Sequence[torch.dtype]:
    """In which types a case is compiled; codes have their own."""
    return DTYPES[:1] if case.startswith("integer") else DTYPES


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("file")
    options.add_argument("capability", type=int)
    options.add_argument("--all", action="store_true", help="every candidate of the tuner")
    given = options.parse_args()
    Driver(given.capability).activate()
    record = Recorder()
    JITFunction.__getitem__ = lambda kernel, grid: record(kernel, grid)
    Tuner.best = best_of_all if given.all else first
    for name, case in CASES.items():
        own = name.partition(".")[0] == given.file
        for dtype in dtypes_of(name) if own else ():
            record.case, record.dtype = name, dtype
            with OnGpu(), torch.device("meta"):
                case(dtype)


if __name__ == "__main__":
    main()
