"""The middle of a convolution module against the modules it is made of, offline and in streams."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from asrc.backends.torch.leaves import BatchNorm, Depthwise, Reach
from asrc.backends.triton.kernels import depthwise as file
from asrc.backends.triton.kernels.depthwise import (
    BARE,
    Around,
    Ring,
    Taps,
    cost,
    depthwise,
    depthwise_step,
    of_norm,
    reference,
    reference_step,
    step_cost,
)
from asrc.backends.triton.kernels.rings import Moment, keep
from asrc.backends.triton.tuning import TUNER
from asrc.tests.backends.triton.guard import Guards, Launches, close, random

WINDOWS = [
    *((2, 0, 1, 1), (0, 2, 1, 1), (4, 4, 1, 1), (1, 1, 2, 1), (0, 0, 1, 1), (3, 1, 1, 2)),
    *((2, 2, 2, 3), (0, 0, 1, 3), (-1, 3, 1, 2), (3, -1, 2, 1)),
]


def normed(channels: int) -> BatchNorm:
    norm = BatchNorm((channels,), 1e-3, 1).eval()
    with torch.no_grad():
        norm.weight.copy_(random(channels, seed=11))
        norm.bias.copy_(random(channels, seed=12))
        norm.mean.copy_(random(channels, seed=13))
        norm.variance.copy_(random(channels, seed=14).abs() + 0.1)
    return norm


def whole(channels: int) -> Around:
    return Around(True, of_norm(normed(channels)), "swish")


def guarded(guards: Guards, around: Around) -> Around:
    if around.norm is None:
        return around
    scale, shift = map(guards.put, around.norm)
    return Around(around.glu, (scale, shift), around.activation)


def check(
    shape: tuple[int, int, int],
    window: Reach,
    around: Around = BARE,
    up: Tensor | None = None,
    lengths: Tensor | None = None,
) -> None:
    """With guards, as `reference` has it; frames that are not there are NaN."""
    guards, (batch, frames, channels) = Guards(), shape
    x = random(batch, frames, channels * (1 + around.glu))
    if up is not None:
        x.masked_fill_(~up[..., None], float("nan"))
    if lengths is not None:
        x.masked_fill_((torch.arange(frames) >= lengths[:, None])[..., None], float("nan"))
    x = guards.put(x)
    weight = guards.put(random(channels, window[0] + window[1] + 1, seed=1))
    bias = guards.put(random(channels, seed=2))
    y = guards.room(batch, frames // window[3], channels)
    mask, count = (None if given is None else guards.put(given) for given in (up, lengths))
    depthwise(x, weight, bias, window, guarded(guards, around), count, mask, y)
    assert not y.isnan().any()
    close(y, reference(x, weight, bias, window, around, lengths, up))
    guards.check()


@pytest.mark.parametrize("window", WINDOWS)
def test_windows(window: Reach) -> None:
    check((2, 19, 5), window, whole(5))


@pytest.mark.parametrize("around", [BARE, Around(glu=True), Around(activation="relu")])
def test_parts_that_are_left_out(around: Around) -> None:
    check((2, 9, 5), (2, 1, 1, 1), around)


@pytest.mark.parametrize("window", WINDOWS)
def test_few_frames(window: Reach) -> None:
    """As few as make one, and one more."""
    for frames in (window[3], window[3] + 1):
        check((3, frames, 4), window, whole(4))


@pytest.mark.parametrize("channels", [1, 33, 70])
def test_more_than_a_tile(channels: int) -> None:
    check((1, 37, channels), (4, 0, 1, 1), whole(channels))


@pytest.mark.parametrize("window", [(2, 0, 1, 1), (2, 2, 1, 1), (1, 2, 2, 2)])
def test_frames_that_are_not_there(window: Reach) -> None:
    """Beyond the end of each utterance, between its frames, and both."""
    lengths, up = torch.tensor([4, 9, 0], dtype=torch.int32), random(3, 9, seed=3) > 0
    check((3, 9, 6), window, whole(6), None, lengths)
    check((3, 9, 6), window, whole(6), up)
    check((3, 9, 6), window, whole(6), up, lengths.long())


def test_one_mask_of_all() -> None:
    x, weight, up = random(3, 9, 4), random(4, 3), random(1, 9, seed=1) > 0
    wanted = reference(x, weight, None, (1, 1, 1, 1), BARE, None, up)
    close(depthwise(x, weight, None, (1, 1, 1, 1), there=up), wanted)


@torch.no_grad()
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("window", [(4, 0, 1, 1), (2, 2, 1, 1), (2, 2, 2, 2)])
def test_as_the_modules(bias: bool, window: Reach) -> None:
    """GLU, filter, batch norm and swish one after the other."""
    module, norm, x = Depthwise((6, 5), bias), normed(6), random(2, 13, 12)
    module.load_state_dict({k: random(*v.shape, seed=1) for k, v in module.state_dict().items()})
    y = module(functional.glu(x, -1), window=window)
    wanted = functional.silu(norm(y, torch.ones(2, y.shape[1], dtype=torch.bool)))
    found = depthwise(x, module.weight, module.bias, window, whole(6))
    close(found, wanted)


def test_features_of_many_axes() -> None:
    """And read where they lie in a wider tensor."""
    x, weight, bias = random(2, 9, 3, 4), random(3, 4, 3, seed=1), random(3, 4, seed=2)
    window = (1, 1, 1, 2)
    close(depthwise(x, weight, bias, window), reference(x, weight, bias, window))
    part, rows = random(3, 9, 20)[1:, 2:, 5:12], random(7, 3, seed=1)
    close(depthwise(part, rows, None, window), reference(part, rows, None, window))


def test_half_precision() -> None:
    x, weight = random(2, 20, 12).half(), random(6, 5, seed=1).half()
    found = depthwise(x, weight, None, (4, 0, 1, 1), whole(6))
    assert found.dtype == torch.float16
    close(found, reference(x, weight, None, (4, 0, 1, 1), whole(6)), 2e-3)


def test_nothing_of_nothing() -> None:
    weight = random(3, 2)
    assert depthwise(random(0, 5, 3), weight, None, (1, 0, 1, 1)).shape == (0, 5, 3)
    assert depthwise(random(2, 1, 3), weight, None, (1, 0, 1, 2)).shape == (2, 0, 3)
    ring = Ring(random(2, 1, 3), Moment(torch.tensor([1, 2]), 1, 0))
    assert depthwise_step(random(2, 0, 3), ring, weight, Taps(0, 0)).shape == (2, 0, 3)


# --- streams ---


def stream(
    chunks: list[int],
    taps: int,
    by: int = 1,
    stride: int = 1,
    around: Around = BARE,
    dtype: torch.dtype = torch.float32,
    spare: int = 0,
) -> None:
    """Two streams of three: the same numbers as offline, and the one that stands still stays."""
    guards, channels, frames, past = Guards(), 5, sum(chunks), (taps - 1) * by
    x = random(2, frames, channels * (1 + around.glu)).to(dtype)
    weight, bias = guards.put(random(channels, taps, seed=1)), guards.put(random(channels, seed=2))
    held = guards.room(3, past + spare, channels, dtype=dtype)  # as an earlier stream left it
    moving, norm, found, at = torch.tensor([True, False, True]), guarded(guards, around), [], 0
    for piece in x.split(chunks, 1):
        made, new = piece.shape[1] // stride, guards.put(piece[[0, 0, 1]])
        ring = Ring(held, Moment(torch.tensor([at, 0, at]), 1, 0))
        window = Taps(spare + stride - 1, made, by, stride)
        y = guards.room(3, made, channels, dtype=dtype)
        found.append(depthwise_step(new, ring, weight, window, bias, norm, out=y)[::2])
        keep(held, new, ring.now, moving, gated=around.glu)
        at += piece.shape[1]
    close(torch.cat(found, 1), depthwise(x, weight, bias, (taps - 1, 0, by, stride), around), 1e-6)
    assert held[1].isnan().all()
    newest = functional.glu(x.float(), -1).to(dtype) if around.glu else x
    for frame in range(max(0, frames - past - spare), frames):
        torch.testing.assert_close(held[::2, frame % (past + spare)], newest[:, frame])
    guards.check()


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 10])
def test_streams_in_chunks(chunk: int) -> None:
    """Fewer frames than the ring has, as many, and more."""
    many, rest = divmod(10, chunk)
    stream([chunk] * many + [rest] * (rest > 0), 4, around=whole(5))


def test_streams_of_a_filter_alone() -> None:
    stream([1, 2, 5], 3)


@pytest.mark.parametrize(("taps", "by", "stride"), [(3, 2, 1), (3, 1, 2), (5, 2, 3), (2, 1, 2)])
@pytest.mark.parametrize("chunks", [[6, 6], [12]])
def test_streams_at_another_pace(taps: int, by: int, stride: int, chunks: list[int]) -> None:
    stream(chunks, taps, by, stride, whole(5))


def test_streams_of_uneven_chunks() -> None:
    stream([1, 5, 18, 2], 9, around=whole(5))


def test_streams_with_a_longer_ring() -> None:
    """More is kept than the filter reads."""
    stream([4, 1, 9], 3, spare=2)


def test_streams_in_half_precision() -> None:
    """A ring in half has the very numbers that whole utterances are filtered with."""
    stream([3, 1, 9], 4, around=whole(5), dtype=torch.float16)


@pytest.mark.parametrize("ages", [(0, 3), (2**33, 1)])
@pytest.mark.parametrize(
    ("capacity", "new", "taps"), [(9, 4, Taps(2, 5)), (3, 10, Taps(1, 2, 2, 3))]
)
def test_a_step_is_its_reference(
    ages: tuple[int, int], capacity: int, new: int, taps: Taps
) -> None:
    """Frames may be absent; a window may begin anywhere, with frames ahead of its outputs too."""
    guards = Guards()
    x, weight = guards.put(random(2, new, 12)), guards.put(random(6, 5, seed=1))
    ring = Ring(guards.put(random(2, capacity, 6, seed=2)), Moment(torch.tensor(ages), 3, -2))
    there, around = random(2, capacity + new, seed=3) > -1, guarded(guards, whole(6))
    assert taps.first + 4 * taps.by + (taps.made - 1) * taps.stride < capacity + new
    for mask in (None, guards.put(there), there[:1]):
        found = depthwise_step(x, ring, weight, taps, None, around, mask)
        close(found, reference_step(x, ring, weight, taps, None, around, mask))
    guards.check()


def test_a_step_over_features_of_many_axes() -> None:
    x, weight, bias = random(2, 4, 3, 5), random(3, 5, 2, seed=1), random(3, 5, seed=2)
    ring = Ring(random(2, 6, 3, 5, seed=3), Moment(torch.tensor([2, 1]), 4, 0))
    flat = Ring(ring.frames.flatten(2), ring.now)
    found = depthwise_step(x, ring, weight, Taps(5, 4), bias)
    wanted = reference_step(x.flatten(2), flat, weight.flatten(0, 1), Taps(5, 4), bias.flatten())
    close(found.flatten(2), wanted)


def test_rings_in_a_wider_tensor() -> None:
    """One of the layers of a session."""
    layers, weight = torch.zeros(2, 3, 4, 5), random(5, 5, seed=1)
    x, found = random(2, 9, 5), []
    for step, piece in enumerate(x.split(3, 1)):
        ring = Ring(layers[:, 1], Moment(torch.tensor([step, step]), 3, 0))
        found.append(depthwise_step(piece, ring, weight, Taps(0, 3)))
        keep(layers[:, 1], piece, ring.now)
    close(torch.cat(found, 1), reference(x, weight, None, (4, 0, 1, 1)))
    assert not layers[:, 0].any()


# --- tiles and cost ---


def candidate(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tuner takes that one, of whichever there are."""
    monkeypatch.setattr(type(TUNER), "best", lambda *given: given[3][at % len(given[3])])


@pytest.mark.parametrize("at", range(len(file._TILES)))
def test_every_tile(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    candidate(at, monkeypatch)
    check((1, 17, 35), (1, 1, 1, 1), whole(35))
    check((1, 17, 35), (1, 1, 1, 2), whole(35))
    stream([5, 2], 4, around=whole(5))


@pytest.mark.parametrize("taps", [2, 3, 4, 5, 8, 9])
def test_filters_of_any_length(taps: int) -> None:
    """Taps are read some at a time: as many as there are, not more."""
    for past in (taps - 1, 0, taps // 2):
        check((2, 70, 7), (past, taps - 1 - past, 1, 1), whole(7))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("at", range(len(file._TILES)))
def test_the_grid_of_a_long_utterance(
    at: int, stride: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU has at most 65535 programs along any but the first axis."""
    launches = Launches()
    candidate(at, monkeypatch)
    monkeypatch.setattr(file, "_offline", launches)
    depthwise(torch.zeros(1, 1 << 20, 1), torch.zeros(1, 3), None, (2, 0, 1, stride))
    (grid,) = launches.grids
    assert max(grid[1:]) <= 65535


def test_cost() -> None:
    """Every frame and the filters once; in a stream also the state, which is read and written."""
    weight = random(8, 5)
    assert cost(2, 10, weight, (4, 0, 1, 2), True).bytes == 4 * (8 * 5 + 2 * 8 * (20 + 5))
    assert cost(2, 10, weight, (4, 0, 1, 2)).flops == 2 * 2 * 5 * 8 * 5
    ring, x = random(2, 8, 8), random(2, 10, 16)
    assert step_cost(ring, x, weight, Taps(0, 10)).bytes == 4 * (128 + 320 + 40 + 160)
    assert step_cost(ring, x, weight, Taps(0, 10)).flops == 2 * 160 * 5


def test_as_many_utterances_as_there_are_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that is not fused has each frame as one: a grid's later axes end at 65535."""
    launches = Launches()
    monkeypatch.setattr(file, "_offline", launches)
    depthwise(torch.zeros(70_000, 3, 4), torch.zeros(4, 3), None, (2, 0, 1, 3), BARE)
    (grid,) = launches.grids
    assert grid[0] >= 70_000
    assert max(grid[1:]) == 1
