"""Launches of Triton kernels on the machine in place of a GPU: compiled for a compute capability,
specialised as they would be, and run on tensors of the host that say that they are on a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from triton.backends.compiler import GPUTarget
from triton.runtime.driver import driver
from triton.runtime.errors import OutOfResources
from triton.runtime.jit import JITFunction

from asrc.backends.triton.tuning import Config, Tuner

from .arithmetic import size_of
from .machine import Launch, Machine
from .memory import Earlier, global_memory
from .program import Program, float_bits, read
from .traffic import Traffic

PROCESSORS = {80: 108, 90: 132}
HELD = {80: 163 << 10, 90: 227 << 10}
"""Bytes of shared memory that a block may have."""


class OnGpu(TorchFunctionMode):
    """Tensors of the host say that they are on a GPU."""

    def __torch_function__(self, func: Any, types: Sequence[type], args: Sequence[Any] = (),
                           kwargs: Mapping[str, Any] | None = None) -> Any:  # fmt: skip
        if func == torch.Tensor.device.__get__:
            return torch.device("cuda")
        given = {key: _host(x) for key, x in (kwargs or {}).items()}
        return func(*map(_host, args), **given)


def _host(x: Any) -> Any:
    """In the place of a device the host."""
    return torch.device("cpu") if isinstance(x, torch.device) else x


@dataclass(frozen=True)
class Driver:
    """As much of Triton's driver as compiling needs."""

    capability: int

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


@dataclass
class Launcher:
    """In the place of launches. `issued` counts warps by kernel and instruction; `processors` are
    those of a card of its kind, were there not fewer. `overlapping` are launches that may begin
    before those before them have ended, and `earlier` is what launches wrote to. With `counting`,
    `traffic` is what kernels move, by name. Where four warps multiply together (`wgmma`) all go so,
    whatever the `order`."""

    capability: int = 90
    races: bool = True
    order: int = 0
    processors: int = 0
    counting: bool = False
    issued: dict[str, Counter[str]] = field(default_factory=dict)
    traffic: dict[str, Traffic] = field(default_factory=dict)
    launches: Counter[str] = field(default_factory=Counter)
    overlapping: Counter[str] = field(default_factory=Counter)
    earlier: Earlier = field(default_factory=Earlier)

    def __call__(self, kernel: Any, grid: Any) -> Callable[..., None]:
        def launch(*args: object, **options: object) -> None:
            made = kernel.run(*args, grid=None, warmup=True, **options)
            binder = kernel.device_caches[0][-1]
            bound, specialised, _ = binder(*args, **options)
            where = grid(bound) if callable(grid) else grid
            given = list(_given(list(bound.values()), [kind for kind, _ in specialised]))
            self.run(made, (*where, 1, 1)[:3], given)

        return launch

    def clear(self) -> None:
        """Counts begin anew."""
        for counts in (self.issued, self.traffic, self.launches, self.overlapping):
            counts.clear()

    def run(self, made: Any, grid: tuple[int, ...], given: Sequence[object]) -> None:
        program = _program(made.asm["ptx"])
        if made.metadata.shared > HELD[self.capability]:
            raise OutOfResources(made.metadata.shared, HELD[self.capability], "shared memory")
        tensors = [x for x in given if isinstance(x, Tensor)]
        granule = _granule(program) if self.races else None
        memory = global_memory(tensors, granule, self.earlier)
        values = [
            memory.address(x.data_ptr()) if isinstance(x, Tensor) else _bits(x) for x in given
        ]
        scratch = [0] * (len(program.parameters) - len(values))
        named = dict(zip(program.parameters, [*values, *scratch], strict=True))
        whole = (int(grid[0]), int(grid[1]), int(grid[2]))
        together = any(one.name.startswith("wgmma") for one in program.every())
        order, room = 0 if together else self.order, self.processors or PROCESSORS[self.capability]
        shared = made.metadata.shared
        traffic = self.traffic.setdefault(program.name, Traffic()) if self.counting else None
        launch = Launch(
            program, whole, named, memory.memory, shared, granule, room, order, traffic,
            made.metadata.launch_pdl,
        )  # fmt: skip
        machine = Machine(launch)
        machine.run()
        memory.back()
        self.launches[program.name] += 1
        self.overlapping[program.name] += made.metadata.launch_pdl
        self.issued.setdefault(program.name, Counter()).update(machine.issued)


@cache
def _program(text: str) -> Program:
    return read(text)


def _given(values: Sequence[Any], kinds: Sequence[Any]) -> Iterator[object]:
    """What a kernel is given when it is launched: what it was not specialised for."""
    for value, kind in zip(values, kinds, strict=True):
        if isinstance(kind, tuple | list):
            yield from _given(value, kind)
        elif kind != "constexpr":
            yield value


def _bits(x: object) -> int:
    if isinstance(x, float):
        return float_bits(x)
    if x is None:
        return 0
    assert isinstance(x, int), x
    return int(x)


def _granule(program: Program) -> int:
    """Of which size the smallest access to memory is."""
    kinds = [one.name.rpartition(".")[2] for one in program.every()
             if one.name.startswith(("ld.shared", "ld.global", "st."))]  # fmt: skip
    wide = any(one.name.startswith("wgmma.mma") for one in program.every())
    return min([size_of(kind) for kind in kinds] + [2 if wide else 4])


@contextmanager
def machine(launcher: Launcher) -> Iterator[Launcher]:
    """Within it kernels run there, with the tiles that the tuner begins with."""
    before = JITFunction.__getitem__, Tuner.best, torch.cuda.get_device_properties
    able = torch.cuda.get_device_capability
    driver.set_active(Driver(launcher.capability))
    said = SimpleNamespace(multi_processor_count=PROCESSORS[launcher.capability])
    torch.cuda.get_device_properties = lambda device=None: said
    torch.cuda.get_device_capability = lambda device=None: divmod(launcher.capability, 10)
    JITFunction.__getitem__ = lambda kernel, grid: launcher(kernel, grid)
    Tuner.best = _first
    try:
        with OnGpu():
            yield launcher
    finally:
        JITFunction.__getitem__, Tuner.best, torch.cuda.get_device_properties = before
        torch.cuda.get_device_capability = able


def _first(tuner: Tuner, name: str, shape: object, candidates: Sequence[Config],
           run: object, device: object) -> Config:  # fmt: skip
    return candidates[0]
