"""Pruned transducer training: the joint runs on a few label states of each frame.

Kuang et al. 2022 (arXiv 2206.13236): a joint that only adds, of two projections, says where the
labels are; the model's own joint then sees `states` label states a frame.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from ..backends.torch.lowered import PartModule
from ..runtime.transducer import Roles
from .dataset import Batch
from .losses import gather, prune_ranges, pruned_loss, simple_loss
from .recipe import Losses

WARM_UP = 2000
"""Updates until the weights of the two losses are 0.5 and 1; they begin at 1 and 0.1 (icefall)."""


class PrunedLoss(nn.Module):
    """The two projections to classes, and the sum of both losses."""

    def __init__(self, frames: int, labels: int, roles: Roles, options: Losses) -> None:
        super().__init__()
        self.roles, self.options = roles, options
        self.frames = nn.Linear(frames, roles.labels_count + 1)
        self.labels = nn.Linear(labels, roles.labels_count + 1)
        self.update = 0

    def weights(self) -> tuple[float, float]:
        """Of the simple loss and of the pruned one, at this update."""
        done = min(1.0, self.update / WARM_UP)
        return 1.0 - 0.5 * done, 0.1 + 0.9 * done

    def forward(self, values: Mapping[str, Tensor], lattice: PartModule, batch: Batch) -> Tensor:
        """The loss of each utterance, [B]: infinite with too many labels for the windows."""
        roles = self.roles
        encoded, predicted = values[roles.frames[0]], values[roles.labels]
        frames = values[f"{roles.frames[0]}_length"]
        simple, (by_label, by_blank) = simple_loss(
            self.frames(encoded.flatten(2)),
            self.labels(predicted.flatten(2)),
            batch.targets,
            frames,
            batch.labels,
            blank=roles.blank,
            lm_scale=0.25,
            reduction="none",
        )
        ranges = prune_ranges(by_label, by_blank, frames, batch.labels, self.options.pruned)
        logits = joint_on(ranges, values, lattice, roles)
        pruned = pruned_loss(
            logits.float(),
            batch.targets,
            ranges,
            frames,
            batch.labels,
            blank=roles.blank,
            fastemit=self.options.fastemit,
            reduction="none",
        )
        of_simple, of_pruned = self.weights()
        return of_simple * simple + of_pruned * pruned


def joint_on(
    ranges: Tensor, values: Mapping[str, Tensor], lattice: PartModule, roles: Roles
) -> Tensor:
    """The joint at `ranges` `[B, T, S]` of label states: `[B, T, S, classes]`."""
    batch, time, states = ranges.shape
    predicted = values[roles.labels]
    _, windows = gather(values[roles.frames[0]], predicted.flatten(2), ranges)
    given: dict[str, Tensor] = {}
    for port in lattice.inputs:
        if port.kind == "length":
            of_labels = port.name == f"{roles.labels}_length"
            given[port.name] = ranges.new_full((batch * time,), states if of_labels else 1)
        elif port.name == roles.labels:
            given[port.name] = windows.reshape(batch * time, states, *predicted.shape[2:])
        elif port.name in roles.frames:
            given[port.name] = values[port.name].flatten(0, 1).unsqueeze(1)
        else:
            given[port.name] = values[port.name].repeat_interleave(time, 0)
    logits = lattice(given)[roles.heads[0]]
    return logits.reshape(batch, time, states, logits.shape[-1])
