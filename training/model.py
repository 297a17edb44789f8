"""The model in training: logits in place of log-probabilities, features to hide, losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import sqrt
from zlib import crc32

import torch
from torch import Tensor, nn

from ..backends.torch.audio import Logmel
from ..backends.torch.dropout import Dropout
from ..backends.torch.frames import count_windows
from ..backends.torch.leaves import Cmvn
from ..backends.torch.lowered import Lowered
from ..backends.torch.ports import value_name
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from ..compiler.types import Lattice, base_clock
from ..runtime.transducer import Roles, clock_of, find_roles, no_transducer
from .augment import SpecAugment, spec_augment, spec_augment_alike
from .dataset import Batch
from .losses import ctc_loss, rnnt_loss
from .pruning import PrunedLoss
from .recipe import Beginning, Losses
from .selection import Skipped
from .unusable import counted, problems_of, skips

Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor | None]


def open_ended(facts: Facts) -> Facts:
    """The graph without the log-softmax that a joint ends with: the loss has its own."""
    graph, types = facts.graph, facts.types
    last = {
        path: graph[path].inputs[0]
        for path in graph.outputs.values()
        if graph[path].op == "log_softmax"
        and isinstance(base_clock(types[path].clock), Lattice)
        and not graph.readers[path]
    }
    if not last:
        return facts
    return Facts(graph.rewrite([n for n in graph if n.path not in last], last))


def _refuse_inputs(lowered: Lowered, roles: Roles) -> None:
    """Raises AsrcError E1008 where a model reads what no manifest has, such as phrases."""
    graph = lowered.facts.graph
    read = [p.path for part in lowered.parts.values() for p in part.inputs if p.kind == "value"]
    others = {path for path in read if graph[path].op == "input"} - {roles.audio, roles.previous}
    if others:
        names = ", ".join(f"`{name}`" for name in sorted(others))
        message = f"`{graph.name}` cannot be trained: it reads {names} as well"
        help = f"training gives audio, `{roles.audio}`, and labels, `{roles.previous}`, only"
        raise AsrcError(diagnostic("E1008", message, help=help))


@dataclass(frozen=True, slots=True)
class Parts:
    """The losses of a batch: sums over the utterances that count, how many these are, how many
    labels they have; and the others."""

    transducer: Tensor
    ctc: Tensor
    graph: Tensor
    utterances: int
    labels: int
    skipped: tuple[Skipped, ...]


class TrainedModel(nn.Module):
    """A lowered transducer with what only training needs: a CTC head, masks on features."""

    def __init__(
        self,
        facts: Facts,
        losses: Losses,
        augment: SpecAugment | None,
        beginning: Beginning | None = None,
    ) -> None:
        super().__init__()
        self.lowered = Lowered(open_ended(facts))
        self.roles: Roles = find_roles(self.lowered)
        if len(self.roles.heads) != 1:
            raise no_transducer(facts.graph, "training knows no loss for several heads")
        _refuse_inputs(self.lowered, self.roles)
        self.losses, self.augment = losses, augment
        self.normalised = not _ends_open(facts.graph, self.lowered.facts.graph)
        self.ctc = self._head("ctc", self.roles.frames[0]) if losses.ctc > 0 else None
        self.pruned = self._pruned() if losses.pruned else None
        self.beginning = beginning or Beginning()
        self.batch: Batch | None = None
        self.epoch = self.update = 0
        for module, frames in self._features():
            module.register_forward_hook(self._hider(frames))

    @property
    def period(self) -> float:
        """Seconds of a frame of the encoder."""
        return float(clock_of(self.lowered.facts, self._path(self.roles.frames[0])).period)

    def _path(self, name: str) -> str:
        """Where in the graph a value is that the joint reads."""
        return next(p.path for p in self.lowered.parts["lattice"].inputs if p.name == name)

    def _width(self, name: str) -> int:
        """Numbers in a frame of a value that the joint reads."""
        return self.lowered.facts.types[self._path(name)].size

    def _head(self, purpose: str, name: str) -> nn.Linear:
        """From a value that the joint reads to labels and blank."""
        head = nn.Linear(self._width(name), self.roles.labels_count + 1)
        _fill(head, purpose)
        return head

    def _pruned(self) -> PrunedLoss:
        frames, labels = self._width(self.roles.frames[0]), self._width(self.roles.labels)
        found = PrunedLoss(frames, labels, self.roles, self.losses)
        _fill(found.frames, "pruned.frames")
        _fill(found.labels, "pruned.labels")
        return found

    # --- features ---

    def _features(self) -> Iterator[tuple[nn.Module, tuple[int, int]]]:
        """Modules that normalise log-mel features; the window and hop of those."""
        graph = self.lowered.facts.graph
        for path, module in self.lowered.leaves.items():
            if isinstance(module, Cmvn):
                source = graph[path].inputs[0]
                front = self.lowered.leaves.get(source)
                if isinstance(front, Logmel):
                    yield module, (front.window, front.hop)

    def _hider(self, framing: tuple[int, int]) -> Hook:
        window, hop = framing

        def hide(module: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> Tensor | None:
            if not self.training or self.augment is None or self.batch is None:
                return None
            if self.update < self.beginning.over:
                return None
            frames = count_windows(self.batch.samples, window, hop)
            change = spec_augment if found.ndim == 3 else spec_augment_alike
            return change(found, frames, self.batch.ids, self.epoch, self.augment)

        return hide

    def begin(self, batch: Batch, epoch: int, update: int) -> None:
        """What is random about a batch follows from its utterances and the epoch."""
        self.batch, self.epoch, self.update = batch, epoch, update
        if self.pruned is not None:
            self.pruned.update = update
        keys = tuple(crc32(id.encode()) * 2**16 + epoch for id in batch.ids)
        for module in self.lowered.leaves.values():
            if isinstance(module, Dropout):
                module.keys = keys

    # --- losses ---

    def forward(self, batch: Batch) -> Parts:
        """Losses of a batch, summed over its utterances that all of them can learn from."""
        roles = self.roles
        start = batch.targets.new_zeros(len(batch), 1)
        audio = batch.audio.unsqueeze(-1) if batch.audio.ndim == 2 else batch.audio.transpose(1, 2)
        given = {
            roles.audio: audio,
            f"{roles.audio}_length": batch.samples,
            roles.previous: torch.cat([start, batch.targets], 1),
            f"{roles.previous}_length": batch.labels + 1,
        }
        values = self.lowered(given, without=self._left_out)
        frames = values[f"{roles.frames[0]}_length"]
        problems = problems_of(batch, frames, self.losses)
        there = counted(problems)
        return Parts(
            _sum_where(there, self._transducer_loss(values, frames, batch)),
            _sum_where(there, self._ctc_loss(values[roles.frames[0]], frames, batch)),
            self._graph_losses(values),
            int(there.sum()),
            int(batch.labels[there].sum()),
            tuple(skips(batch, problems)),
        )

    @property
    def _aligning(self) -> bool:
        """Whether the training is at its beginning, where CTC alone trains."""
        return self.update < self.beginning.ctc

    @property
    def _left_out(self) -> tuple[str, ...]:
        """Parts of the model that no loss needs."""
        if self._aligning and not self.lowered.facts.graph.losses:
            return ("labels", "lattice")
        return () if self.pruned is None else ("lattice",)

    def _transducer_loss(self, values: dict[str, Tensor], frames: Tensor, batch: Batch) -> Tensor:
        """Of each utterance, [B]."""
        if self._aligning:
            return values[self.roles.frames[0]].new_zeros(len(batch))
        if self.pruned is not None:
            return self.pruned(values, self.lowered.parts["lattice"], batch)  # type: ignore[no-any-return]
        return rnnt_loss(
            values[self.roles.heads[0]].float(),
            batch.targets,
            frames,
            batch.labels,
            blank=self.roles.blank,
            fastemit=self.losses.fastemit,
            reduction="none",
            normalised=self.normalised,
            overwrite=not self.normalised,
        )

    def _ctc_loss(self, encoded: Tensor, frames: Tensor, batch: Batch) -> Tensor:
        """Of each utterance, [B]."""
        if self.ctc is None:
            return encoded.new_zeros(len(batch))
        logits = self.ctc(encoded.flatten(2)).float()
        loss, _ = ctc_loss(
            logits, batch.targets, frames, batch.labels, blank=self.roles.blank, reduction="none"
        )
        return loss

    def _graph_losses(self, values: dict[str, Tensor]) -> Tensor:
        """Loss values that passes put into the graph: the mean over frames, summed."""
        graph = self.lowered.facts.graph
        total = torch.zeros(())
        for path in graph.losses.values():
            name = value_name(graph, path)
            x, length = values[name], values.get(f"{name}_length")
            total = total.to(x.device) + _mean_over_frames(x, length)
        return total


def _sum_where(there: Tensor, losses: Tensor) -> Tensor:
    return losses.where(there, losses.new_zeros(())).sum()


def _fill(head: nn.Linear, purpose: str) -> None:
    """First values of a layer that only training has."""
    source = torch.Generator().manual_seed(crc32(purpose.encode()))
    with torch.no_grad():
        for x in head.parameters():
            x.copy_((torch.rand(x.shape, generator=source) * 2 - 1) / sqrt(head.in_features))


def _ends_open(before: Graph, after: Graph) -> bool:
    return len(before) != len(after)


def _mean_over_frames(x: Tensor, length: Tensor | None) -> Tensor:
    """The mean of each utterance's frames, summed over the batch."""
    if length is None:
        return x.flatten(1).mean(1).sum()
    there = torch.arange(x.shape[1], device=x.device) < length.unsqueeze(1)
    wide = there.reshape(there.shape + (1,) * (x.ndim - 2))
    total = torch.where(wide, x, 0.0).flatten(1).sum(1)
    each = length.clamp(min=1) * (x[0, 0].numel() if x.shape[1] else 1)
    return (total / each).sum()
