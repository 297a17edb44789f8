"""The transducer loss of kernels against every path written down, and against the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from asrc.backends.triton.kernels.transducer_loss import (
    Batch,
    Lattice,
    cost,
    gradient,
    reference,
    sweep,
    transducer_loss,
)
from asrc.tests.backends.triton.guard import Guards, close, random
from asrc.training.losses import rnnt_loss

Sizes = list[tuple[int, int]]
Given = tuple[Tensor, Tensor, Tensor, Tensor]
RAGGED: Sizes = [(5, 2), (2, 4), (0, 3), (3, 0)]
"""Frames and labels; one utterance is without frames, one without labels."""

cpu_loss = partial(rnnt_loss, reduction="none")


def batch(sizes: Sizes, classes: int, blank: int = -1, seed: int = 0) -> Given:
    """Scores `[B, T, U+1, V]`, targets, frames, labels; NaN and no class in the padding."""
    frames, labels = (torch.tensor(each) for each in zip(*sizes, strict=True))
    states = int(labels.max()) + 1
    logits = 2 * random(len(sizes), max(1, int(frames.max())), states, classes, seed=seed)
    source = torch.Generator().manual_seed(seed)
    targets = torch.randint(0, max(1, classes - 1), (len(sizes), states - 1), generator=source)
    targets += targets >= blank % classes
    logits[~real(logits, frames, labels)] = torch.nan
    targets[torch.arange(states - 1) >= labels[:, None]] = 10**9
    return logits, targets, frames, labels


def real(logits: Tensor, frames: Tensor, labels: Tensor) -> Tensor:
    """Which cells are not padding, `[B, T, U+1]`."""
    in_time = torch.arange(logits.shape[1]) < frames[:, None]
    in_labels = torch.arange(logits.shape[2]) <= labels[:, None]
    return in_time[:, :, None] & in_labels[:, None]


def both(loss: Callable[..., Tensor], given: Given, **options: float) -> tuple[Tensor, Tensor]:
    """The losses, and the gradient of a sum in which each has another weight."""
    x = given[0].clone().requires_grad_()
    found = loss(x, *given[1:], **options)
    weight = 1 + torch.arange(len(found)) / 3
    return found.detach(), torch.autograd.grad(found, x, weight)[0]


def same(found: tuple[Tensor, Tensor], wanted: tuple[Tensor, Tensor], by: float = 1e-5) -> None:
    for one, other in zip(found, wanted, strict=True):
        close(one, other, by)


def written_down(logs: Tensor, target: list[int], blank: int, t: int = 0, u: int = 0) -> Tensor:
    """The log-probabilities of all ways on from a node, one number a path."""
    if t == len(logs):
        return logs.new_zeros(int(u == len(target)))
    ways = [logs[t, u, blank] + written_down(logs, target, blank, t + 1, u)]
    if u < len(target):
        ways.append(logs[t, u, target[u]] + written_down(logs, target, blank, t, u + 1))
    return torch.cat(ways)


def enumerated(
    logits: Tensor, targets: Tensor, frames: Tensor, labels: Tensor, blank: int
) -> Tensor:
    logs, lengths = logits.double().log_softmax(-1), zip(frames, labels, strict=True)
    totals = [
        -written_down(logs[b, :t], targets[b, :u].tolist(), blank).logsumexp(0)
        for b, (t, u) in enumerate(lengths)
    ]
    return torch.stack(totals).float()


@pytest.mark.parametrize("blank", [0, 1, -1])
@pytest.mark.parametrize("sizes", [[(1, 0)], [(1, 3)], [(4, 0)], [(3, 2), (2, 3), (4, 1)]])
def test_all_paths(sizes: Sizes, blank: int) -> None:
    given = batch(sizes, 4, blank)
    found = both(transducer_loss, given, blank=blank)
    clean = given[0].nan_to_num(0), *given[1:]
    same(found, both(enumerated, clean, blank=blank))


@pytest.mark.parametrize("classes", [2, 3, 16, 33, 64, 70])
@pytest.mark.parametrize("fastemit", [0.0, 0.3])
def test_ragged_batches_are_those_of_the_cpu(classes: int, fastemit: float) -> None:
    """Every utterance by itself, so that a small gradient is not held against a large one."""
    given = batch(RAGGED, classes, seed=classes)
    found, wanted = (both(f, given, fastemit=fastemit) for f in (transducer_loss, cpu_loss))
    assert all(bool(x.isfinite().all()) for x in found)
    for b in range(len(RAGGED)):
        same((found[0][b], found[1][b]), (wanted[0][b], wanted[1][b]))
    assert not found[1][~real(given[0], *given[2:])].any()


def test_more_scores_than_a_tile_is_wide() -> None:
    """The sum of exponentials is scaled anew from tile to tile."""
    given = batch([(2, 1), (1, 2)], 2500, blank=1234)
    given[0][..., 2000:] += 30
    same(*(both(f, given, blank=1234) for f in (transducer_loss, cpu_loss)))


@pytest.mark.parametrize("blank", [0, 4, 8, -9, -2, -1])
def test_blank_may_be_any_class(blank: int) -> None:
    given = batch(RAGGED, 9, blank)
    same(*(both(f, given, blank=blank, fastemit=0.1) for f in (transducer_loss, cpu_loss)))


@pytest.mark.parametrize("sizes", [[(1, 0)], [(6, 0)], [(1, 33)], [(70, 2), (5, 1)], [(9, 16)]])
def test_long_and_narrow_lattices(sizes: Sizes) -> None:
    given = batch(sizes, 5)
    same(*(both(f, given) for f in (transducer_loss, cpu_loss)))


def test_a_single_class() -> None:
    given = batch([(3, 0), (1, 0)], 1)
    found = both(transducer_loss, given)
    assert not found[0].any()
    assert not found[1].any()


def test_long_utterances_lose_nothing() -> None:
    """Against float64 throughout."""
    given = batch([(100, 30)], 5)
    exact = both(cpu_loss, (given[0].double(), *given[1:]))
    same(both(transducer_loss, given), (exact[0].float(), exact[1].float()), 1e-5)


@pytest.mark.parametrize("fastemit", [0.0, 0.3])
def test_the_reference_is_the_same(fastemit: float) -> None:
    given = batch(RAGGED, 7)
    same(*(both(f, given, fastemit=fastemit) for f in (reference, cpu_loss)))


@pytest.mark.parametrize("short", [torch.bfloat16, torch.float16])
def test_half_scores_are_computed_in_float32(short: torch.dtype) -> None:
    logits, *rest = batch(RAGGED, 7)
    rounded = logits.to(short)
    found = both(transducer_loss, (rounded, *rest))
    exact = both(transducer_loss, (rounded.float(), *rest))
    assert found[0].dtype == torch.float32
    assert found[1].dtype == short
    assert torch.equal(found[0], exact[0])
    close(found[1], exact[1], torch.finfo(short).eps)  # the interpreter cuts off a bfloat16


# --- numbers at the edge ---


def test_without_a_possible_path_the_loss_is_infinite_and_has_no_gradient() -> None:
    logits, *rest = batch([(3, 2), (3, 2)], 4)
    logits[0, :, 1, rest[0][0, 1]] = -torch.inf
    found, wanted = (both(f, (logits, *rest)) for f in (transducer_loss, cpu_loss))
    assert found[0][0] == torch.inf
    assert not found[1][0].any()
    same((found[0][1:], found[1][1:]), (wanted[0][1:], wanted[1][1:]))


def test_classes_and_arcs_may_be_ruled_out() -> None:
    logits, *rest = batch([(4, 2)], 6, blank=0)
    logits[..., next(k for k in range(1, 6) if k not in rest[0])] = -torch.inf
    logits[0, 1, 0, 0] = logits[0, 2, 1, rest[0][0, 1]] = -torch.inf
    same(*(both(f, (logits, *rest), blank=0) for f in (transducer_loss, cpu_loss)))


def test_what_is_not_a_number_stays_in_its_utterance() -> None:
    logits, *rest = batch([(3, 2), (3, 2)], 4)
    logits[0, 1, 1, 0] = torch.nan
    losses, grad = both(transducer_loss, (logits, *rest))
    assert losses.isnan().tolist() == [True, False]
    assert grad[0].isnan().any()
    assert grad[1].isfinite().all()


@pytest.mark.parametrize("shift", [-300.0, 300.0])
def test_scores_far_from_zero(shift: float) -> None:
    """Their exponentials would overflow, or vanish, in float32; they are rounded to 3e-5."""
    given = batch([(4, 3), (2, 1)], 4)
    moved = given[0] + shift
    same(both(transducer_loss, (moved, *given[1:])), both(cpu_loss, given), 1e-4)


# --- memory ---


@pytest.mark.parametrize("classes", [3, 33])
def test_nothing_is_read_or_written_out_of_bounds(classes: int) -> None:
    given, guards = batch(RAGGED, classes), Guards()
    logits, targets = (guards.put(x) for x in given[:2])
    frames, labels = (guards.put(x.int()) for x in given[2:])
    about = Batch(targets, frames, labels, classes - 1)
    empty = Lattice.room(logits)
    parts = ("norms", "blanks", "moves", "alpha", "beta", "totals")
    lattice = Lattice(*(guards.put(torch.full_like(getattr(empty, p), torch.nan)) for p in parts))
    losses, out = guards.room(len(frames)), guards.room(*logits.shape)
    weight = guards.put(1 + torch.arange(len(frames)) / 3)
    sweep(logits, about, lattice, losses, both=True)
    gradient(logits, about, lattice, weight, out)
    same((losses, out), both(cpu_loss, given))
    guards.check()


def test_in_place_of_the_scores() -> None:
    """The gradient is the same, and autograd will not use what is overwritten."""
    given = batch(RAGGED, 7)
    wanted = both(transducer_loss, given)[1]
    leaf = given[0].clone().requires_grad_()
    x = leaf * 1.0
    x.retain_grad()
    loss = transducer_loss(x, *given[1:], overwrite=True)
    loss.backward(1 + torch.arange(len(loss)) / 3, retain_graph=True)
    assert torch.equal(leaf.grad, wanted)
    assert torch.equal(x.detach(), wanted)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.sum().backward()


def test_a_loss_may_be_used_twice_where_nothing_is_overwritten() -> None:
    given = batch(RAGGED, 7)
    x = given[0].clone().requires_grad_()
    loss = transducer_loss(x, *given[1:]).sum()
    first, again = (torch.autograd.grad(loss, x, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)


def test_scores_that_are_not_contiguous_and_need_no_gradient() -> None:
    logits, *rest = batch(RAGGED, 7)
    turned = logits.transpose(1, 2).contiguous().transpose(1, 2)
    assert not turned.is_contiguous()
    found = transducer_loss(turned, *rest)
    assert not found.requires_grad
    assert torch.equal(found, transducer_loss(logits, *rest))
    same(*(both(lambda x, *y: transducer_loss(x, *y), (x, *rest)) for x in (turned, logits)))


def test_the_scores_are_most_of_the_memory() -> None:
    scores = 8 * 200 * 50 * 500
    whole, half = cost((8, 200, 50, 500)), cost((8, 200, 50, 500), 2, backward=False)
    assert 3 * 4 * scores < whole.bytes < 3.1 * 4 * scores
    assert 2 * scores < half.bytes < 2.1 * scores
    assert whole.flops == 2 * half.flops


# --- what does not fit ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(2, 3, 3, 4, dtype=torch.float64)}, "half type"),
        ({"logits": torch.zeros(2, 3, 4, 4)}, "do not fit targets"),
        ({"logits": torch.zeros(2, 0, 3, 4)}, "do not fit targets"),
        ({"frames": torch.tensor([3])}, "2 lengths"),
        ({"frames": torch.tensor([3, 4])}, "must lie"),
        ({"frames": torch.tensor([3, -1])}, "must lie"),
        ({"labels": torch.tensor([2, 3])}, "must lie"),
        ({"targets": torch.tensor([[0, 3], [0, 0]])}, "without blank"),
        ({"targets": torch.tensor([[0, 4], [0, 0]])}, "without blank"),
        ({"targets": torch.tensor([[0, -1], [0, 0]])}, "without blank"),
        ({"blank": 4}, "blank is 4"),
    ],
)
def test_what_does_not_fit_is_refused(change: dict[str, object], message: str) -> None:
    given: dict[str, object] = {
        "logits": torch.zeros(2, 3, 3, 4),
        "targets": torch.tensor([[0, 1], [2, 0]]),
        "frames": torch.tensor([3, 1]),
        "labels": torch.tensor([2, 1]),
    }
    transducer_loss(**given)
    with pytest.raises(ValueError, match=message):
        transducer_loss(**{**given, **change})
