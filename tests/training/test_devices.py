"""Where a training computes, and that what it computes with is there as well."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from asrc.backends.torch.audio import Logmel
from asrc.backends.torch.lowered import Lowered
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.training.tiny import RATE, build, corpus
from asrc.training.manifest import read_manifest
from asrc.training.plan import set_statistics
from asrc.training.processes import backends_of, joined, place_of


@pytest.mark.parametrize(
    ("device", "local", "gpus", "place"),
    [
        (None, 0, 0, "cpu"),
        (None, 1, 2, "cuda:1"),
        ("cpu", 1, 2, "cpu"),
        ("cuda", 0, 1, "cuda:0"),
        ("cuda", 3, 4, "cuda:3"),
        ("cuda:1", 0, 2, "cuda:1"),
    ],
)
def test_a_process_has_a_gpu_of_its_own(
    device: str | None, local: int, gpus: int, place: str
) -> None:
    assert place_of(device, local, gpus) == torch.device(place)


@pytest.mark.parametrize(
    ("device", "local", "gpus"),
    [("cuda", 0, 0), ("cuda:1", 0, 1), (None, 2, 2), ("meta", 0, 1), ("gpu", 0, 1)],
)
def test_a_device_that_is_not_there(device: str | None, local: int, gpus: int) -> None:
    with pytest.raises(AsrcError, match="E1008"):
        place_of(device, local, gpus)


def test_processes_do_not_share_a_gpu() -> None:
    with pytest.raises(AsrcError, match=r"E1008.*`cuda:1`, where 2 processes would meet"):
        place_of("cuda:1", 0, 2, world=2)
    assert place_of("cuda", 1, 2, world=2) == torch.device("cuda:1")
    assert place_of("cpu", 1, 0, world=2) == torch.device("cpu")


def test_counts_on_the_host_are_added_too() -> None:
    assert backends_of(torch.device("cpu")) == "gloo"
    assert backends_of(torch.device("cuda", 1)) == "cpu:gloo,cuda:nccl"


class Stopped(Exception):
    pass


def test_statistics_are_taken_where_the_model_is(tmp_path: Path) -> None:
    """On a device that computes nothing: what the front end is given is on it."""
    lowered, seen = Lowered(build(8)).to("meta"), []

    def note(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        seen.append(given[0].device.type)
        raise Stopped

    front = next(m for m in lowered.leaves.values() if isinstance(m, Logmel))
    front.register_forward_pre_hook(note)
    with pytest.raises(Stopped):
        set_statistics(lowered, read_manifest(corpus(tmp_path, 1)), RATE, lambda line: None)
    assert seen == ["meta"]


def test_statistics_of_nothing_say_why(tmp_path: Path) -> None:
    """Every file of a manifest is broken: not the manifest is wrong, but what it names."""
    utterances = read_manifest(corpus(tmp_path, 2))
    for utterance in utterances:
        utterance.audio.write_bytes(b"no audio")
    says = r"E1005.*none of 2 utterances can be heard; the first: cannot use the audio"
    with pytest.raises(AsrcError, match=says):
        set_statistics(Lowered(build(8)), utterances, RATE, lambda line: None)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer"), "E1010"),
        (distributed.DistNetworkError("failed to recv, got 0 bytes"), "E1010"),
        (RuntimeError("shapes do not fit"), "shapes do not fit"),
    ],
)
def test_a_process_that_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, error: RuntimeError, code: str
) -> None:
    """What another process ended by, it says itself; what this one did wrong stays as it is."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(distributed, "init_process_group", lambda backend: None)
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    with pytest.raises((AsrcError, RuntimeError), match=code), joined("cpu"):
        raise error
