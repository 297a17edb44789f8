"""Transducer losses by writing down every path: slow, short, and written from the definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor

Arc = tuple[int, int, str]
Loss = Callable[..., Tensor]


def paths(frames: int, labels: int, t: int = 0, u: int = 0) -> Iterator[tuple[Arc, ...]]:
    """All ways from node (0, 0) over the last frame's blank; arcs are (t, u, kind)."""
    if t == frames:
        if u == labels:
            yield ()
        return
    for rest in paths(frames, labels, t + 1, u):
        yield ((t, u, "blank"), *rest)
    if u < labels:
        for rest in paths(frames, labels, t, u + 1):
            yield ((t, u, "label"), *rest)


def path_losses(
    log_probs: Tensor,
    targets: Tensor,
    frames: Tensor,
    labels: Tensor,
    blank: int = -1,
    allowed: Tensor | None = None,
    delay_penalty: float = 0.0,
) -> Tensor:
    """Minus log of the sum over paths, [B]; paths use only nodes `allowed` [B, T, U+1]."""
    losses = []
    for b, (time, count) in enumerate(zip(frames.tolist(), labels.tolist(), strict=True)):
        totals = []
        for path in paths(time, count):
            if allowed is None or all(bool(allowed[b, t, u]) for t, u, _ in path):
                steps = [
                    log_probs[b, t, u, blank]
                    if kind == "blank"
                    else log_probs[b, t, u, targets[b, u]] + delay_penalty * ((time - 1) / 2 - t)
                    for t, u, kind in path
                ]
                totals.append(torch.stack(steps).sum())
        losses.append(-torch.stack(totals).logsumexp(0))
    return torch.stack(losses)


@dataclass(frozen=True)
class Batch:
    """Random scores [B, T, U+1, V] in float64, targets, lengths, and the blank they go with."""

    logits: Tensor
    targets: Tensor
    frames: Tensor
    labels: Tensor
    blank: int

    @property
    def rest(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.targets, self.frames, self.labels

    def real(self) -> Tensor:
        """Which cells are not padding, [B, T, U+1, 1]."""
        time, states = self.logits.shape[1:3]
        in_time = torch.arange(time) < self.frames[:, None]
        in_labels = torch.arange(states) <= self.labels[:, None]
        return (in_time[:, :, None] & in_labels[:, None])[..., None]


def batch(
    lengths: list[tuple[int, int]], classes: int = 4, blank: int = -1, seed: int = 0
) -> Batch:
    """A batch of utterances of (frames, labels)."""
    random = torch.Generator().manual_seed(seed)
    frames, labels = (torch.tensor(each) for each in zip(*lengths, strict=True))
    time, most = max(1, int(frames.max())), int(labels.max())
    targets = torch.randint(0, classes - 1, (len(lengths), most), generator=random)
    targets += targets >= blank % classes
    size = (len(lengths), time, most + 1, classes)
    logits = 2 * torch.randn(size, generator=random, dtype=torch.float64)
    return Batch(logits, targets, frames, labels, blank)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """One to three utterances of up to four frames and three labels, with any class as blank."""
    lengths = st.tuples(st.integers(1, 4), st.integers(0, 3))
    classes = draw(st.integers(2, 5))
    return batch(
        draw(st.lists(lengths, min_size=1, max_size=3)),
        classes,
        draw(st.integers(-classes, classes - 1)),
        draw(st.integers(0, 10**6)),
    )


def value_and_gradient(loss: Loss, *inputs: Tensor) -> tuple[Tensor, ...]:
    """`loss(*inputs)`, and the gradient of its sum for each of the inputs."""
    leaves = [each.detach().clone().requires_grad_() for each in inputs]
    value = loss(*leaves)
    return (value.detach(), *torch.autograd.grad(value.sum(), leaves))


def assert_same(got: tuple[Tensor, ...], wanted: tuple[Tensor, ...], tolerance: float) -> None:
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
