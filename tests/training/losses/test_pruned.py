"""The pruned transducer loss: the simple loss, the windows, and the loss within them."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from asrc.tests.training.losses.paths import (
    Batch,
    assert_same,
    batch,
    batches,
    path_losses,
    value_and_gradient,
)
from asrc.training.losses import (
    gather,
    prune_ranges,
    pruned_loss,
    rnnt_loss,
    simple_loss,
    usable,
)
from asrc.training.losses.transducer import Options, Problem, transducer_losses


def parts(data: Batch) -> tuple[Tensor, Tensor]:
    """Encoder [B, T, V] and predictor [B, U+1, V] outputs, taken from the batch's numbers."""
    return data.logits[:, :, 0], data.logits.flip(1)[:, 0]


def simple(am: Tensor, lm: Tensor, data: Batch, **options: Any) -> Tensor:
    return simple_loss(am, lm, *data.rest, blank=data.blank, reduction="none", **options)[0]


def added(am: Tensor, lm: Tensor) -> Tensor:
    return am[:, :, None] + lm[:, None]


# --- the simple loss -------------------------------------------------------------------------


@given(batches())
@settings(max_examples=30)
def test_simple_loss_is_the_exact_loss_of_a_joint_that_adds(data: Batch) -> None:
    def exact(am: Tensor, lm: Tensor) -> Tensor:
        return rnnt_loss(added(am, lm), *data.rest, blank=data.blank, reduction="none")

    got = value_and_gradient(partial(simple, data=data), *parts(data))
    assert_same(got, value_and_gradient(exact, *parts(data)), 1e-12)


@given(batches())
@settings(max_examples=20)
def test_simple_loss_returns_the_occupancy_of_each_arc(data: Batch) -> None:
    am, lm = parts(data)
    options = {"blank": data.blank, "delay_penalty": 0.1}
    _, (px_grad, py_grad) = simple_loss(am, lm, *data.rest, **options)
    log_probs = added(am, lm).log_softmax(-1)
    exact = partial(rnnt_loss, **options, normalised=True, reduction="none")
    _, gradient = value_and_gradient(lambda x: exact(x, *data.rest), log_probs)
    torch.testing.assert_close(py_grad, -gradient[..., data.blank])
    at = data.targets[:, None, :, None].expand(-1, am.shape[1], -1, -1)
    torch.testing.assert_close(px_grad, -gradient[:, :, :-1].gather(3, at)[..., 0])


def test_smoothing_mixes_log_probabilities_of_either_side_alone() -> None:
    data = batch([(4, 3), (2, 1)])

    def written_out(am: Tensor, lm: Tensor) -> Tensor:
        told = lm.log_softmax(-1)
        real = torch.cat((told[0, :4], told[1, :2]))
        heard = (am + real.exp().mean(0).log()).log_softmax(-1)
        both = added(am, lm).log_softmax(-1)
        mixed = 0.65 * both + 0.25 * told[:, None] + 0.1 * heard[:, :, None]
        return path_losses(mixed, *data.rest)

    got = value_and_gradient(partial(simple, data=data, lm_scale=0.25, am_scale=0.1), *parts(data))
    assert_same(got, value_and_gradient(written_out, *parts(data)), 1e-12)


def test_simple_gradient_is_that_of_finite_differences() -> None:
    data = batch([(3, 2), (2, 1)])
    am, lm = (each.clone().requires_grad_() for each in parts(data))
    assert torch.autograd.gradcheck(
        partial(simple, data=data, lm_scale=0.25, am_scale=0.1), (am, lm)
    )


def test_simple_padding_may_hold_anything_and_has_no_gradient() -> None:
    data = batch([(4, 1), (2, 3), (0, 2)])
    options = {"data": data, "lm_scale": 0.25, "am_scale": 0.1}
    am, lm = parts(data)
    clean = value_and_gradient(partial(simple, **options), am, lm)
    in_time = (torch.arange(4) < data.frames[:, None])[..., None]
    in_labels = (torch.arange(4) <= data.labels[:, None])[..., None]
    am, lm = am.where(in_time, torch.nan), lm.where(in_labels, torch.inf)
    value, am_gradient, lm_gradient = value_and_gradient(partial(simple, **options), am, lm)
    assert_same((value, am_gradient, lm_gradient), clean, 1e-15)
    assert (am_gradient.masked_select(~in_time) == 0).all()
    assert (lm_gradient.masked_select(~in_labels) == 0).all()


def test_simple_loss_survives_sides_that_contradict_each_other() -> None:
    """Either side is sure of another class, so that every product of exponentials vanishes."""
    data = batch([(3, 2)])
    am, lm = torch.zeros(1, 3, 4), torch.zeros(1, 3, 4)
    am[..., 0], lm[..., 1] = 200.0, 200.0
    value, *gradients = value_and_gradient(partial(simple, data=data), am, lm)
    assert value.isfinite().all()
    assert all(each.isfinite().all() for each in gradients)


# --- windows ---------------------------------------------------------------------------------


@st.composite
def occupied(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Tensor, int]:
    """Any occupancies, and lengths that windows of `s_range` states can pass."""
    s_range = draw(st.integers(2, 6))
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    labels = [draw(st.integers(0, (s_range - 1) * time)) for time in lengths]
    random = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    size = (len(lengths), max(lengths), max(labels) + 1)
    py_grad = torch.rand(size, generator=random) ** 8
    px_grad = torch.rand(size, generator=random)[:, :, 1:] ** 8
    return px_grad, py_grad, torch.tensor(lengths), torch.tensor(labels), s_range


@given(occupied())
def test_windows_can_be_passed(case: tuple[Tensor, Tensor, Tensor, Tensor, int]) -> None:
    _, py_grad, frames, labels, s_range = case
    ranges = prune_ranges(*case)
    batch, time, states = py_grad.shape
    width = min(s_range, states)
    assert ranges.shape == (batch, time, width)
    assert (ranges.diff(dim=2) == 1).all()
    assert (ranges[:, 0, 0] == 0).all()
    jumps = ranges[:, :, 0].diff(dim=1)
    assert ((jumps >= 0) & (jumps < s_range)).all()
    for b, last in enumerate(frames - 1):
        assert labels[b] in ranges[b, last]
        assert ranges[b, :, -1].max() <= max(labels[b], width - 1)
    assert usable(frames, labels, s_range).all()
    logits = torch.zeros(batch, time, width, 3)
    targets = torch.zeros(batch, states - 1, dtype=torch.int64)
    assert pruned_loss(logits, targets, ranges, frames, labels).isfinite()


def test_windows_lie_where_the_paths_are() -> None:
    """A model is sure of one path, with a label in every other frame; windows of two hold it."""
    state = ((torch.arange(10) + 1) // 2).clamp(max=4)
    py_grad = torch.nn.functional.one_hot(state, 5)[None].float()
    px_grad = torch.zeros(1, 10, 5)
    px_grad[0, [1, 3, 5, 7], [0, 1, 2, 3]] = 1.0
    frames, labels = torch.tensor([10]), torch.tensor([4])
    ranges = prune_ranges(px_grad[:, :, :4], py_grad, frames, labels, 2)
    log_probs = 20 * torch.stack((px_grad, py_grad - px_grad), -1).log_softmax(-1)
    targets = torch.zeros(1, 4, dtype=torch.int64)
    exact = rnnt_loss(log_probs, targets, frames, labels, normalised=True)
    options = Options(normalised=True)
    problem = Problem(targets, frames, labels, ranges, options)
    (pruned,) = transducer_losses(_kept(log_probs, ranges), problem)
    torch.testing.assert_close(pruned, exact, rtol=0, atol=1e-3)


def test_too_many_labels_for_the_windows_are_told_and_harmless() -> None:
    data = batch([(2, 3), (4, 3)])
    ranges = _ranges(data, 2)
    assert usable(data.frames, data.labels, 2).tolist() == [False, True]
    value, gradient = value_and_gradient(partial(_pruned, data=data, ranges=ranges), data.logits)
    assert value.isinf().tolist() == [True, False]
    assert not gradient[0].any()
    assert gradient[1].any()


def test_windows_of_one_state_pass_no_label() -> None:
    grads = torch.zeros(1, 3, 2), torch.zeros(1, 3, 3)
    with pytest.raises(ValueError, match="at least 2 states"):
        prune_ranges(*grads, torch.tensor([3]), torch.tensor([2]), 1)


def test_gathering_takes_the_predictor_states_of_each_window() -> None:
    am, lm = torch.randn(2, 3, 4), torch.randn(2, 5, 6)
    ranges = torch.tensor([[[0, 1], [1, 2], [3, 4]], [[0, 1], [0, 1], [2, 3]]])
    heard, told = gather(am, lm, ranges)
    assert (heard.shape, told.shape) == ((2, 3, 2, 4), (2, 3, 2, 6))
    for b, t, s in torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2)):
        assert torch.equal(heard[b, t, s], am[b, t])
        assert torch.equal(told[b, t, s], lm[b, ranges[b, t, s]])


# --- the loss within the windows -------------------------------------------------------------


def _ranges(data: Batch, s_range: int) -> Tensor:
    _, grads = simple_loss(*parts(data), *data.rest, blank=data.blank)
    return prune_ranges(*grads, data.frames, data.labels, s_range)


def _kept(logits: Tensor, ranges: Tensor) -> Tensor:
    return logits.gather(2, ranges[..., None].expand(-1, -1, -1, logits.shape[-1]))


def _pruned(x: Tensor, data: Batch, ranges: Tensor, **options: Any) -> Tensor:
    return pruned_loss(
        _kept(x, ranges),
        data.targets,
        ranges,
        data.frames,
        data.labels,
        blank=data.blank,
        reduction="none",
        **options,
    )


@given(batches(), st.integers(0, 2))
@settings(max_examples=30)
def test_windows_of_all_states_give_the_exact_loss(data: Batch, more: int) -> None:
    options = {"fastemit": 0.2, "delay_penalty": 0.1}
    ranges = _ranges(data, data.logits.shape[2] + more)
    got = value_and_gradient(partial(_pruned, data=data, ranges=ranges, **options), data.logits)

    def exact(x: Tensor) -> Tensor:
        return rnnt_loss(x, *data.rest, blank=data.blank, reduction="none", **options)

    assert_same(got, value_and_gradient(exact, data.logits), 1e-12)


@given(batches())
@settings(max_examples=30)
def test_pruned_loss_is_that_of_the_paths_within_the_windows(data: Batch) -> None:
    fits = usable(data.frames, data.labels, 2)
    labels = data.labels.where(fits, torch.zeros_like(data.labels))
    data = Batch(data.logits, data.targets, data.frames, labels, data.blank)
    ranges = _ranges(data, 2)
    allowed = torch.zeros(data.logits.shape[:3]).scatter(2, ranges, 1.0)

    def paths(x: Tensor) -> Tensor:
        return path_losses(x.log_softmax(-1), *data.rest, data.blank, allowed)

    got = value_and_gradient(partial(_pruned, data=data, ranges=ranges), data.logits)
    assert_same(got, value_and_gradient(paths, data.logits), 1e-12)


def test_pruned_gradient_is_that_of_finite_differences() -> None:
    data = batch([(5, 4), (3, 2)])
    ranges = _ranges(data, 3)
    x = data.logits.requires_grad_()
    assert torch.autograd.gradcheck(partial(_pruned, data=data, ranges=ranges), x)


def test_short_floats_and_autocast_are_computed_in_float32() -> None:
    data = batch([(4, 3), (3, 2)])
    am, lm = (each.bfloat16() for each in parts(data))
    wanted = simple(am.float(), lm.float(), data)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, am_gradient, _ = value_and_gradient(partial(simple, data=data), am, lm)
    assert torch.equal(got, wanted)
    assert am_gradient.dtype == torch.bfloat16
    ranges = _ranges(data, 3)
    short = _kept(data.logits, ranges).bfloat16()
    loss = partial(pruned_loss, reduction="none")
    rest = data.targets, ranges, data.frames, data.labels
    assert torch.equal(loss(short, *rest), loss(short.float(), *rest))


def test_mistakes_of_the_caller_are_named() -> None:
    data = batch([(3, 2)])
    am, lm = parts(data)
    with pytest.raises(ValueError, match=r"U\+1"):
        simple_loss(am, lm[:, 1:], *data.rest)
    with pytest.raises(ValueError, match=r"\[B, T, S\]"):
        pruned_loss(data.logits[:, :, :2], data.targets, _ranges(data, 3), *data.rest[1:])
