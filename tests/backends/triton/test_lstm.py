"""LSTMs: steps of streams in slots, sequences, packed weights."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from asrc.backends.triton.kernels import lstm as file
from asrc.backends.triton.kernels.lstm import States, lstm, lstm_cell, lstm_step, reference
from asrc.backends.triton.packed import Packed
from asrc.backends.triton.tuning import Config
from asrc.tests.backends.triton.guard import Guards, close, random
from asrc.tests.backends.triton.test_linear import narrow

ORDERS = ((0, 1, 2, 3), (1, 0, 3, 2))


def weights(width: int, cells: int, bits: int = 0) -> torch.Tensor | Packed:
    dense = random(4 * cells, width + cells, seed=3) / cells**0.5
    return narrow(dense, bits) if bits else dense


@torch.no_grad()
def test_the_reference_is_an_lstm() -> None:
    net = nn.LSTM(7, 5, batch_first=True)
    weight = torch.cat([net.weight_ih_l0, net.weight_hh_l0], 1)
    x, zero = random(2, 9, 7), torch.zeros(2, 5)
    wanted, (h, c) = net(x)
    found = reference(x, zero, zero, weight, net.bias_ih_l0 + net.bias_hh_l0)
    for one, other in zip(found, (wanted, h[0], c[0]), strict=True):
        close(one, other)


@pytest.mark.parametrize("bits", [0, 1, 5, 8])
@pytest.mark.parametrize("batch", [1, 3, 19])
def test_steps_are_a_sequence(batch: int, bits: int) -> None:
    """Streams in slots out of order, two steps each; slots of others stay as they are."""
    guards, width, cells, gates = Guards(), 13, 21, ORDERS[batch % 2]
    weight, bias = weights(width, cells, bits), guards.put(random(4 * cells, seed=5))
    x = random(batch, 2, width)
    slots = torch.randperm(batch + 4, generator=torch.Generator().manual_seed(1))[:batch]
    h, c = (guards.put(random(batch + 4, cells, seed=s)) for s in (6, 7))
    begin = h.clone(), c.clone()
    wanted, last, cell = reference(x, h[slots], c[slots], weight, bias, gates)
    states = States(h, c, guards.put(slots))
    found = [lstm_step(guards.put(x[:, t]), states, weight, bias, gates) for t in range(2)]
    close(torch.stack(found, 1), wanted)
    close(h[slots], last)
    close(c[slots], cell)
    others = [n for n in range(batch + 4) if n not in slots.tolist()]
    assert torch.equal(h[others], begin[0][others])
    assert torch.equal(c[others], begin[1][others])
    guards.check()


@pytest.mark.parametrize("gates", ORDERS)
@pytest.mark.parametrize(("batch", "frames", "cells"), [(1, 11, 32), (2, 6, 21), (18, 3, 5)])
def test_sequences(batch: int, frames: int, cells: int, gates: tuple[int, int, int, int]) -> None:
    x, weight = random(batch, frames, 9), weights(9, cells)
    bias, h, c = random(4 * cells, seed=2), random(batch, cells, seed=4), random(batch, cells)
    wanted = reference(x, h, c, weight, bias, gates)
    for one, other in zip(lstm(x, h, c, weight, bias, gates), wanted, strict=True):
        close(one, other)


def test_a_long_sequence_stays_near() -> None:
    x, weight, zero = random(1, 100, 16), weights(16, 32), torch.zeros(1, 32)
    close(lstm(x, zero, zero, weight, None)[0], reference(x, zero, zero, weight, None)[0])


def test_more_programs_than_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot wait for each other, so that each frame is a launch."""
    x, weight = random(3, 5, 9), weights(9, 40)
    h, c = random(3, 40, seed=4), random(3, 40)
    launches, launch = [], file._launch_frames
    monkeypatch.setattr(file, "_together", lambda *_: ())
    monkeypatch.setattr(
        file, "_launch_frames", lambda *given: launches.append(given[5].shape) or launch(*given)
    )
    wanted = reference(x, h, c, weight, None)
    for one, other in zip(lstm(x, h, c, weight, None), wanted, strict=True):
        close(one, other)
    assert launches == 5 * [(3, 1, 40)]


def test_programs_that_run_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there are processors; in the interpreter one, which would wait for the others."""
    monkeypatch.setattr(file, "_processors", lambda _: 20)
    blocks = [
        {config.sizes["BLOCK"] for config in file._together(cells, torch.device("cuda"))}
        for cells in (320, 640, 1280, 1281)
    ]
    assert blocks == [{16, 32, 64}, {32, 64}, {64}, set()]
    (alone,) = file._together(321, torch.device("cpu"))
    assert alone.sizes["BLOCK"] == 512


def test_packed_weights_in_a_sequence() -> None:
    x, weight, zero = random(2, 4, 9), weights(9, 6, bits=4), torch.zeros(2, 6)
    close(lstm(x, zero, zero, weight, None)[0], reference(x, zero, zero, weight, None)[0])


def test_no_frames_and_no_streams() -> None:
    x, zero = random(2, 0, 9), torch.ones(2, 6)
    y, h, c = lstm(x, zero, zero, weights(9, 6), None)
    assert y.shape == (2, 0, 6)
    assert torch.equal(h, zero)
    assert torch.equal(c, zero)
    states = States(zero, zero, torch.zeros(0, dtype=torch.int64))
    assert lstm_step(random(0, 9), states, weights(9, 6), None).shape == (0, 6)


@pytest.mark.parametrize("bits", [0, 3])
@pytest.mark.parametrize("batch", [1, 17])
def test_cells_are_steps_whose_states_are_given(batch: int, bits: int) -> None:
    """h and c, of other types and strides, stay as they are."""
    guards, weight, bias = Guards(), weights(13, 21, bits), random(84, seed=5)
    x, h = guards.put(random(batch, 13)), guards.put(random(batch, 21, seed=6))
    c = guards.put(random(21, batch, seed=7)).t()
    begin = h.clone(), c.clone()
    states = States(h.clone(), c.contiguous().clone(), torch.arange(batch))
    y, cells = lstm_cell(x, h, c, weight, bias)
    assert torch.equal(y, lstm_step(x, states, weight, bias))
    assert torch.equal(cells, states.c)
    assert torch.equal(h, begin[0])
    assert torch.equal(c, begin[1])
    guards.check()
    half, _ = lstm_cell(x, h.half(), c, weight, bias)
    close(half, y, 1e-2)


def test_measuring_moves_no_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each candidate is launched, some often; cells are written where they lie."""

    def best(
        _: str, shape: object, candidates: list[Config], run: Callable[[Config], object], on: object
    ) -> Config:
        for one in candidates:
            run(one)
        return usual("", (), candidates, run, x.device)

    usual = file.TUNER.best
    x, weight = random(2, 9), weights(9, 6)
    states, again = (
        States(random(3, 6, seed=1), random(3, 6, seed=2), torch.tensor([2, 0])) for _ in range(2)
    )
    wanted = lstm_step(x, states, weight, None)
    monkeypatch.setattr(file.TUNER, "best", best)
    assert torch.equal(lstm_step(x, again, weight, None), wanted)
    assert torch.equal(again.c, states.c)
    assert torch.equal(again.h, states.h)


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@torch.no_grad()
def test_a_projection() -> None:
    """h is narrower than the cells then, and is made of what comes out."""
    net = nn.LSTM(7, 10, proj_size=4, batch_first=True)
    weight = torch.cat([net.weight_ih_l0, net.weight_hh_l0], 1)
    bias, x, found = net.bias_ih_l0 + net.bias_hh_l0, random(3, 5, 7), []
    h, c = torch.zeros(3, 4), torch.zeros(3, 10)
    for frame in x.unbind(1):
        y, c = lstm_cell(frame, h, c, weight, bias)
        h = y @ net.weight_hr_l0.t()
        found.append(h)
    wanted, (last, cells) = net(x)
    close(torch.stack(found, 1), wanted)
    close(h, last[0])
    close(c, cells[0])
