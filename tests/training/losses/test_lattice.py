"""The recursion itself: what goes through the lattice is a probability."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asrc.training.losses.lattice import forward_sweep, occupancies


def sharp_arcs(batch: int, time: int, states: int, seed: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities over many orders of magnitude, some of them impossible labels."""
    random = torch.Generator().manual_seed(seed)
    arcs = -30 * torch.rand((2, batch, time, states), generator=random)
    arcs[1, :, 1:][torch.rand((batch, time - 1, states), generator=random) < 0.2] = -torch.inf
    return arcs[0], arcs[1]


@given(st.integers(1, 12), st.integers(0, 9), st.integers(0, 10**6))
def test_each_label_and_each_frame_is_passed_once(time: int, count: int, seed: int) -> None:
    frames = torch.tensor([time, (time + 1) // 2])
    labels = torch.tensor([count // 2, count])
    blank, label = sharp_arcs(2, time, count + 1, seed)
    by_blank, by_label = occupancies(forward_sweep(blank, label, frames, labels))
    in_time = (torch.arange(time) < frames[:, None]).double()
    in_labels = (torch.arange(count + 1) < labels[:, None]).double()
    torch.testing.assert_close(by_blank.sum(2), in_time)
    torch.testing.assert_close(by_label.sum(1), in_labels)
    assert (by_blank >= 0).all()
    assert (by_label >= 0).all()


def test_a_thousand_frames_keep_their_probability() -> None:
    blank, label = sharp_arcs(1, 1000, 301, seed=1)
    sweep = forward_sweep(blank, label, torch.tensor([1000]), torch.tensor([300]))
    by_blank, by_label = occupancies(sweep)
    torch.testing.assert_close(by_blank.sum(2), torch.ones(1, 1000).double(), rtol=0, atol=1e-12)
    torch.testing.assert_close(by_label.sum(1)[:, :300], torch.ones(1, 300).double())


def test_arcs_out_of_reach_have_no_occupancy_even_next_to_the_impossible() -> None:
    blank = torch.zeros(1, 3, 3)
    label = torch.zeros(1, 3, 3)
    label[0, :, 0] = torch.tensor([-torch.inf, 0.0, -torch.inf])  # the first label at frame 1
    by_blank, by_label = occupancies(
        forward_sweep(blank, label, torch.tensor([3]), torch.tensor([2]))
    )
    assert by_label[0, :, 0].tolist() == [0.0, 1.0, 0.0]
    assert by_label[0, :, 1].tolist() == [0.0, 0.5, 0.5]
    assert by_blank[0, 0].tolist() == [1.0, 0.0, 0.0]


def test_what_is_too_small_for_float32_is_zero() -> None:
    """A product with it would be denormal, and slow."""
    blank, label = sharp_arcs(2, 30, 9, seed=2)
    lengths = torch.tensor([30, 30]), torch.tensor([8, 8])
    flows = torch.stack(occupancies(forward_sweep(blank, label, *lengths)))
    assert 0 < flows[flows > 0].min() < 1e-10
    assert flows[flows > 0].min() >= 1e-20
