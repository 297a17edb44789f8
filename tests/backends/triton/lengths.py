"""For which arguments kernels would be compiled, on a GPU that is not there: nothing is compiled.

    TRITON_INTERPRET=0 python -m asrc.tests.backends.triton.lengths

Batches of utterances of several lengths go through the entries that make whole utterances. Prints
one JSON object a kernel: its name, and for each length the specialisations that Triton would have
compiled, without those of sizes of tiles.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from triton.runtime.jit import JITFunction, MockTensor

from asrc.backends.triton.kernels.active import feed_forward
from asrc.backends.triton.kernels.attention import attention, intervals
from asrc.backends.triton.kernels.conv1d import conv1d
from asrc.backends.triton.kernels.conv2d import conv2d
from asrc.backends.triton.kernels.depthwise import depthwise
from asrc.backends.triton.kernels.greedy import Found, Joint, Plan, Streams, _look
from asrc.backends.triton.kernels.linear import linear
from asrc.backends.triton.kernels.logmel import Tables, logmel
from asrc.backends.triton.kernels.lstm import lstm
from asrc.backends.triton.kernels.norm import layer_norm
from asrc.backends.triton.kernels.pointwise import Link, pointwise
from asrc.backends.triton.kernels.running_sum import running_sum
from asrc.backends.triton.kernels.transducer_loss import Batch, Lattice, gradient, sweep
from asrc.backends.triton.tuning import Tuner
from asrc.tests.backends.triton.compiling import Driver, OnGpu, first, narrow, room

LENGTHS = ((4, 400), (4, 333), (3, 400), (3, 334))
"""Utterances, and frames of each."""

Seen = Mapping[str, dict[str, list[str]]]


class Recorder:
    """In the place of a launch."""

    def __init__(self) -> None:
        self.length = ""
        self.seen: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)

    def __call__(self, kernel: Any, grid: object) -> Callable[..., None]:
        def launch(*args: object, **options: object) -> None:
            given = [MockTensor(x.dtype) if isinstance(x, Tensor) else x for x in args]
            made = kernel.device_caches[0][-1](*given, debug=False, **options)[1]
            found = self.seen[kernel.__name__].setdefault(self.length, [])
            found.append(str([one for one in made if one[0] != "constexpr" or one[1] == 1]))

        return launch


def offline(batch: int, frames: int) -> None:
    """Layers, front end and loss of models over whole utterances."""
    x, lengths = room(batch, frames, 512), room(batch, dtype=torch.int64)
    there = room(batch, frames, dtype=torch.bool)
    table = Tables(room(400, 257), room(400, 257), room(257, 80), (80,))
    logmel(room(batch, 160 * frames + 7, 1), table, 160)
    for weight in (room(512, 512), narrow(512, 512, 4)):
        linear(x, weight)
        feed_forward(x, there, weight, weight)
    lstm(x, room(batch, 64), room(batch, 64), room(256, 576), None)
    layer_norm(x, room(512), room(512), 1e-5)
    pointwise([x, room(batch, 1, 512), room(512)], [Link("mul", 1), Link("add", 2)])
    attention(x, x, x, 8, *intervals(frames, frames), there, x, room(1, 2 * frames - 1, 512))
    conv1d(x, room(512, 1536), None, (2, 0, 1, 2), lengths=lengths)
    conv2d(room(batch, frames, 1, 80), room(32, 1, 3, 3), None, (2, 0, 1, 2), 1, 2)
    depthwise(x, room(512, 31), None, (15, 15, 1, 1), lengths=lengths, there=there)
    running_sum(x, there, 1)
    loss(batch, frames)
    labels(batch, frames - 304)


def labels(batch: int, frames: int) -> None:
    """Of a block of a stream: 96 frames, or a last one of 29, have room for 48 labels, or 15."""
    given = (room(batch, dtype=torch.int64), room(batch, dtype=torch.int64))
    for plan in (Plan(), Plan(alone=True)):
        streams, found = Streams.room(batch, room(512)), Found.room(batch, -(-frames // 2), "meta")
        ends = room(batch, dtype=torch.int32)
        _look(room(batch, frames, 512), ends, Joint(room(257, 512)), streams, found, plan, given)


def loss(batch: int, frames: int) -> None:
    labels = frames // 10
    logits = room(batch, frames, labels + 1, 512)
    given = room(batch, labels, dtype=torch.int64), room(batch, dtype=torch.int32)
    said, lattice = Batch(*given, given[1], 511), Lattice.room(logits)
    sweep(logits, said, lattice, room(batch), both=True)
    gradient(logits, said, lattice, room(batch), logits)


def main() -> None:
    Driver(90).activate()
    record = Recorder()
    JITFunction.__getitem__ = lambda kernel, grid: record(kernel, grid)
    Tuner.best = first
    for batch, frames in LENGTHS:
        record.length = f"{batch} x {frames}"
        with OnGpu(), torch.device("meta"):
            offline(batch, frames)
    print(json.dumps(record.seen))  # noqa: T201  it is what a test reads


if __name__ == "__main__":
    main()
