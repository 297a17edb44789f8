"""The exact transducer loss against every path written down, and in every corner."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from asrc.tests.training.losses.paths import (
    Batch,
    assert_same,
    batch,
    batches,
    path_losses,
    value_and_gradient,
)
from asrc.training.losses import cells, rnnt_loss, usable


def losses(x: Tensor, data: Batch, **options: Any) -> Tensor:
    return rnnt_loss(x, *data.rest, blank=data.blank, reduction="none", **options)


def reference(x: Tensor, data: Batch, **options: Any) -> Tensor:
    return path_losses(x.log_softmax(-1), *data.rest, data.blank, **options)


# --- against the definition ------------------------------------------------------------------


@given(batches())
@settings(max_examples=60)
def test_value_and_gradient_are_those_of_all_paths(data: Batch) -> None:
    got = value_and_gradient(partial(losses, data=data), data.logits)
    assert_same(got, value_and_gradient(partial(reference, data=data), data.logits), 1e-12)


@given(batches())
@settings(max_examples=20)
def test_given_log_probabilities_the_gradient_is_theirs(data: Batch) -> None:
    log_probs = data.logits.log_softmax(-1)
    got = value_and_gradient(partial(losses, data=data, normalised=True), log_probs)

    def paths(x: Tensor) -> Tensor:
        return path_losses(x, *data.rest, data.blank)

    assert_same(got, value_and_gradient(paths, log_probs), 1e-12)


@given(batches())
@settings(max_examples=20)
def test_a_delay_penalty_rewards_labels_before_the_middle(data: Batch) -> None:
    got = value_and_gradient(partial(losses, data=data, delay_penalty=0.7), data.logits)
    paths = partial(reference, data=data, delay_penalty=0.7)
    assert_same(got, value_and_gradient(paths, data.logits), 1e-12)


@pytest.mark.parametrize("normalised", [False, True])
def test_gradient_is_that_of_finite_differences(normalised: bool) -> None:
    data = batch([(5, 3), (3, 4), (1, 0)])
    x = data.logits.requires_grad_()
    assert torch.autograd.gradcheck(partial(losses, data=data, normalised=normalised), x)


@given(batches())
@settings(max_examples=20)
def test_fastemit_is_a_larger_gradient_of_the_label_arcs(data: Batch) -> None:
    """lp' = (1 + lambda) lp - lambda stop_gradient(lp) on label log-probabilities."""
    factor = 0.3

    def by_autograd(x: Tensor) -> Tensor:
        log_probs = x.log_softmax(-1)
        is_label = torch.arange(x.shape[-1]) != data.blank % x.shape[-1]
        faster = (1 + factor) * log_probs - factor * log_probs.detach()
        return path_losses(torch.where(is_label, faster, log_probs), *data.rest, data.blank)

    got = value_and_gradient(partial(losses, data=data, fastemit=factor), data.logits)
    assert_same(got, value_and_gradient(by_autograd, data.logits), 1e-12)


def test_a_model_that_ends_in_log_softmax_is_right_either_way() -> None:
    data = batch([(4, 3), (2, 1)])
    ways = [
        value_and_gradient(
            lambda x, way=way: losses(x.log_softmax(-1), data, normalised=way), data.logits
        )
        for way in (False, True)
    ]
    assert_same(ways[0], ways[1], 1e-12)


# --- lengths and padding ---------------------------------------------------------------------


@given(batches())
@settings(max_examples=30)
def test_padding_may_hold_anything_and_has_no_gradient(data: Batch) -> None:
    clean = value_and_gradient(partial(losses, data=data), data.logits)
    real = data.real()
    used = torch.arange(data.targets.shape[1]) < data.labels[:, None]
    for waste in (torch.nan, torch.inf, -torch.inf):
        targets = data.targets.where(used, torch.tensor(-(10**9)))
        dirty = Batch(data.logits.where(real, waste), targets, *data.rest[1:], data.blank)
        value, gradient = value_and_gradient(partial(losses, data=dirty), dirty.logits)
        assert torch.equal(value, clean[0])
        assert torch.equal(gradient, clean[1])
        assert (gradient.masked_select(~real) == 0).all()


def test_without_frames_there_is_no_loss_and_no_gradient() -> None:
    data = batch([(3, 2), (0, 2), (0, 0)])
    value, gradient = value_and_gradient(partial(losses, data=data), data.logits)
    assert value[1:].tolist() == [0.0, 0.0]
    assert not gradient[1:].any()
    assert gradient[0].any()
    assert usable(data.frames, data.labels).tolist() == [True, False, False]


def test_the_mean_is_over_utterances_with_frames() -> None:
    data = batch([(3, 2), (0, 2), (2, 1)])
    each = losses(data.logits, data)
    named = {way: rnnt_loss(data.logits, *data.rest, reduction=way) for way in ("sum", "mean")}
    torch.testing.assert_close(named["sum"], each.sum())
    torch.testing.assert_close(named["mean"], each.sum() / 2)
    none = batch([(0, 1)])
    assert rnnt_loss(none.logits, *none.rest) == 0


def test_labels_may_outnumber_frames() -> None:
    data = batch([(1, 3), (2, 3)])
    torch.testing.assert_close(losses(data.logits, data), reference(data.logits, data))


# --- numbers at the edge ---------------------------------------------------------------------


def test_without_a_possible_path_the_loss_is_infinite_and_has_no_gradient() -> None:
    data = batch([(3, 2), (3, 2)])
    logits = data.logits.clone()
    logits[0, :, 1, data.targets[0, 1]] = -torch.inf
    value, gradient = value_and_gradient(partial(losses, data=data), logits)
    assert value[0] == torch.inf
    assert not gradient[0].any()
    fine = value_and_gradient(partial(losses, data=data), data.logits)
    assert_same((value[1], gradient[1]), (fine[0][1], fine[1][1]), 1e-12)


def test_classes_may_be_ruled_out() -> None:
    data = batch([(4, 2)], classes=6, blank=0)
    unused = next(k for k in range(1, 6) if k not in data.targets)
    logits = data.logits.clone()
    logits[..., unused] = -torch.inf
    value, gradient = value_and_gradient(partial(losses, data=data), logits)
    torch.testing.assert_close(value, reference(logits, data))
    assert (gradient[..., unused] == 0).all()


def test_what_is_not_a_number_stays_in_its_utterance() -> None:
    data = batch([(3, 2), (3, 2)])
    logits = data.logits.clone()
    logits[0, 1, 1, 0] = torch.nan
    value, gradient = value_and_gradient(partial(losses, data=data), logits)
    assert value.isnan().tolist() == [True, False]
    assert gradient[0].isnan().any()
    assert gradient[1].isfinite().all()


@pytest.mark.parametrize("shift", [-300.0, 300.0])
def test_scores_far_from_zero_lose_nothing(shift: float) -> None:
    """Their exponentials would overflow, or vanish, in float32."""
    data = batch([(4, 3), (2, 1)])
    wanted = value_and_gradient(partial(reference, data=data), data.logits)
    got = value_and_gradient(partial(losses, data=data), (data.logits + shift).float())
    assert_same(tuple(each.double() for each in got), wanted, 1e-4)


def test_long_utterances_lose_nothing_in_float32() -> None:
    data = batch([(300, 80)], classes=5)
    exact = value_and_gradient(partial(losses, data=data), data.logits.float().double())
    got = value_and_gradient(partial(losses, data=data), data.logits.float())
    assert_same(tuple(each.double() for each in got), exact, 1e-6)


@pytest.mark.parametrize("short", [torch.bfloat16, torch.float16])
def test_short_floats_are_computed_in_float32(short: torch.dtype) -> None:
    data = batch([(4, 3), (2, 1)])
    rounded = data.logits.to(short)
    value, gradient = value_and_gradient(partial(losses, data=data), rounded)
    wanted, exact = value_and_gradient(partial(losses, data=data), rounded.float())
    assert value.dtype == torch.float32
    assert torch.equal(value, wanted)
    assert torch.equal(gradient, exact.to(short))


def test_autocast_changes_nothing() -> None:
    data = batch([(4, 3), (2, 1)])
    x = data.logits.float()
    plain = value_and_gradient(partial(losses, data=data), x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(value_and_gradient(partial(losses, data=data), x), plain, 0.0)


# --- time and memory -------------------------------------------------------------------------


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    data = batch([(7, 3), (5, 2), (1, 3)])
    whole = value_and_gradient(partial(losses, data=data), data.logits)
    monkeypatch.setattr(cells, "CORE_BLOCK", 1)
    assert_same(value_and_gradient(partial(losses, data=data), data.logits), whole, 1e-15)


class Largest(TorchDispatchMode):
    """How often memory is taken for as many numbers as in the scores."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.places = size, set[int]()

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = call(*args, **(kwargs or {}))
        for each in result if isinstance(result, tuple | list) else (result,):
            if isinstance(each, Tensor) and each.untyped_storage().nbytes() >= self.size:
                self.places.add(each.untyped_storage().data_ptr())
        return result


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("overwrite", [False, True])
def test_only_the_gradient_is_as_large_as_the_scores(
    normalised: bool, overwrite: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "CORE_BLOCK", 1)
    data = batch([(9, 3), (7, 2)], classes=50)
    x = data.logits.float().requires_grad_()
    with Largest(x.untyped_storage().nbytes()) as largest:
        losses(x, data, normalised=normalised, overwrite=overwrite).sum().backward()
    assert len(largest.places - {x.untyped_storage().data_ptr()}) == (0 if overwrite else 1)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_overwriting_gives_the_same_gradient_in_place_of_the_logits(kind: torch.dtype) -> None:
    data = batch([(4, 3), (2, 1)])
    x = data.logits.to(kind).requires_grad_()
    wanted = value_and_gradient(partial(losses, data=data), x)
    (gradient,) = torch.autograd.grad(losses(x, data, overwrite=True).sum(), x)
    assert gradient.data_ptr() == x.data_ptr()
    assert torch.equal(gradient, wanted[1])


def test_overwriting_what_is_still_needed_is_refused() -> None:
    data = batch([(4, 3)])
    x = data.logits.requires_grad_()
    loss = losses(x.log_softmax(-1), data, overwrite=True).sum()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_kept_graph_can_be_used_twice() -> None:
    data = batch([(4, 3), (2, 1)])
    x = data.logits.requires_grad_()
    loss = losses(x, data).sum()
    first = torch.autograd.grad(loss, x, retain_graph=True)
    assert_same(torch.autograd.grad(loss, x), first, 0.0)


# --- mistakes --------------------------------------------------------------------------------

MISTAKES = {
    "classes": {"blank": 4},
    "0..3": {"frames": torch.tensor([4])},
    "0..2": {"labels": torch.tensor([3])},
    "lengths are needed": {"frames": torch.tensor([3, 3])},
    "targets hold": {"targets": torch.tensor([[0, 3]])},
    "class outside": {"targets": torch.tensor([[4, 0]])},
    "U\\+1": {"targets": torch.tensor([[0, 1, 2]])},
    "reduction": {"reduction": "average"},
}


def test_an_empty_batch_is_refused() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    with pytest.raises(ValueError, match="hold nothing"):
        rnnt_loss(torch.zeros(0, 3, 1, 4), none[:, None], none, none)


@pytest.mark.parametrize("message", MISTAKES)
def test_mistakes_of_the_caller_are_named(message: str) -> None:
    data = batch([(3, 2)])
    given = {"targets": data.targets, "frames": data.frames, "labels": data.labels}
    with pytest.raises(ValueError, match=message):
        rnnt_loss(data.logits, **{**given, **MISTAKES[message]})
