"""CTC: torch's own, told what cannot be aligned, and deaf to padding."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from asrc.tests.training.losses.paths import assert_same, value_and_gradient
from asrc.training.losses import ctc_loss, ctc_usable

FRAMES, LABELS = torch.tensor([6, 4, 5]), torch.tensor([3, 4, 0])
TARGETS = torch.tensor([[1, 2, 0, 0], [0, 2, 1, 2], [0, 0, 0, 0]])
BLANK = 3


def scores() -> Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randn((3, 6, 4), generator=random, dtype=torch.float64)


def ours(x: Tensor, frames: Tensor = FRAMES, targets: Tensor = TARGETS, **options: Any) -> Tensor:
    return ctc_loss(x, targets, frames, LABELS, reduction="none", **options)[0]


def torchs(x: Tensor) -> Tensor:
    log_probs = x.log_softmax(-1).transpose(0, 1)
    return torch.nn.functional.ctc_loss(
        log_probs, TARGETS, FRAMES, LABELS, blank=BLANK, reduction="none"
    )


@pytest.mark.parametrize("blank", [-1, BLANK])
def test_value_and_gradient_are_torchs(blank: int) -> None:
    got = value_and_gradient(partial(ours, blank=blank), scores())
    assert_same(got, value_and_gradient(torchs, scores()), 1e-12)


def test_gradient_is_that_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(ours, scores().requires_grad_())


def test_too_few_frames_are_skipped_and_told() -> None:
    frames = torch.tensor([6, 3, 0])
    value, gradient = value_and_gradient(partial(ours, frames=frames), scores())
    assert value[1:].tolist() == [0.0, 0.0]
    assert not gradient[1:].any()
    torch.testing.assert_close(value[0], torchs(scores())[0])
    mean, used = ctc_loss(scores(), TARGETS, frames, LABELS)
    assert used.tolist() == [True, False, False]
    torch.testing.assert_close(mean, value[0])


def test_equal_neighbours_need_a_frame_between_them() -> None:
    targets = torch.tensor([[1, 1, 2], [1, 2, 1], [1, 1, 1]])
    labels = torch.tensor([3, 3, 1])
    assert ctc_usable(targets, torch.tensor([3, 3, 1]), labels).tolist() == [False, True, True]
    assert ctc_usable(targets, torch.tensor([4, 2, 0]), labels).tolist() == [True, False, False]


@pytest.mark.parametrize("waste", [torch.nan, torch.inf, -torch.inf])
def test_padding_may_hold_anything_and_has_no_gradient(waste: float) -> None:
    frames = torch.tensor([6, 4, 0])
    clean = value_and_gradient(partial(ours, frames=frames), scores())
    real = (torch.arange(6) < frames[:, None])[..., None]
    targets = TARGETS.where(torch.arange(4) < LABELS[:, None], torch.tensor(-7))
    value, gradient = value_and_gradient(
        partial(ours, frames=frames, targets=targets), scores().where(real, waste)
    )
    assert_same((value, gradient), clean, 1e-15)
    assert (gradient.masked_select(~real) == 0).all()


def test_short_floats_are_computed_in_float32() -> None:
    short = scores().bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, gradient = value_and_gradient(ours, short)
    wanted, exact = value_and_gradient(ours, short.float())
    assert value.dtype == torch.float32
    assert torch.equal(value, wanted)
    assert torch.equal(gradient, exact.bfloat16())


def test_mistakes_of_the_caller_are_named() -> None:
    with pytest.raises(ValueError, match="targets hold"):
        ours(scores(), targets=TARGETS.where(TARGETS != 1, BLANK))
    with pytest.raises(ValueError, match=r"0\.\.6"):
        ours(scores(), frames=torch.tensor([7, 4, 5]))
