"""Several processes that train one model: `torchrun` starts them, gradients are summed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, distributed

from ..compiler.diagnostics import AsrcError, diagnostic

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Processes:
    """This process is `rank` of `world`; `device` is where it computes."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def total(self, counts: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.world > 1:
            distributed.all_reduce(counts)
        return counts

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Every process gets the sum of all gradients."""
        grads = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            grads.append(parameter.grad)
        if self.world == 1:
            return
        flat = torch.cat([g.flatten() for g in grads])
        distributed.all_reduce(flat)
        start = 0
        for grad in grads:
            grad.copy_(flat[start : start + grad.numel()].view_as(grad))
            start += grad.numel()

    def gather(self, own: T) -> list[T]:
        """What every process has, in the order of their ranks."""
        found: list[T] = [own] * self.world
        if self.world > 1:
            distributed.all_gather_object(found, own)
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world > 1:
            distributed.barrier()


def place_of(device: str | None, local: int, gpus: int, world: int = 1) -> torch.device:
    """Where process `local` of a machine with so many GPUs computes: `cuda` is one GPU each.

    Raises AsrcError E1008 for a device that is not there, or that all of `world` would share.
    """
    try:
        place = torch.device(device or ("cuda" if gpus else "cpu"))
    except RuntimeError:
        raise _no_device(f"`{device}`") from None
    if str(place) == "cuda":
        place = torch.device("cuda", local)
    elif place.type == "cuda" and world > 1:
        raise _no_device(f"`{place}`, where {world} processes would meet")
    there = place.type == "cpu" or (place.type == "cuda" and place.index < gpus)
    if not there:
        raise _no_device(f"`{place}`, {gpus} GPUs are there")
    return place


def _no_device(what: str) -> AsrcError:
    message = f"training cannot run on {what}"
    help = "cpu, cuda, or a GPU by its number: cuda:1; under `torchrun` one process a GPU"
    return AsrcError(diagnostic("E1008", message, help=help))


def backends_of(place: torch.device) -> str:
    """Gloo on CPUs, NCCL on GPUs, whose processes have counts on the host to add as well."""
    return "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"


@contextmanager
def joined(device: str | None = None) -> Iterator[Processes]:
    """This process among those that `torchrun` started. Raises AsrcError E1008 for a device that is
    not there, E1010 where another process ended while this one waited for it."""
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    place = place_of(device, local if world > 1 else 0, gpus, world)
    if world == 1:
        yield Processes(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group(backends_of(place))
    try:
        yield Processes(rank, world, place)
    except RuntimeError as error:
        if _is_lost(error):
            raise _left_alone(error) from None
        raise
    finally:
        distributed.destroy_process_group()


def _is_lost(error: RuntimeError) -> bool:
    """Whether a connection broke; Gloo's errors have no class of their own."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error).lower()


def _left_alone(error: RuntimeError) -> AsrcError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    message = f"another process of this training has ended ({reason[:160]})"
    help = "what that one says is the reason; start the same command again to go on"
    return AsrcError(diagnostic("E1010", message, help=help))
