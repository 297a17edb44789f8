"""In float16 the loss is scaled, so that small gradients are not lost (Micikevicius et al. 2018,
"Mixed precision training", section 3.2); by how much follows from what overflows."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Scaling:
    """The scale of a training's loss; one that stays at 1 where the training is not in float16."""

    def __init__(self, precision: torch.dtype, device: torch.device) -> None:
        half = precision == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=half)

    def scaled(self, loss: Tensor) -> Tensor:
        return self.scaler.scale(loss)

    def undo(self, optimiser: torch.optim.Optimizer) -> None:
        """Gradients as they are without a scale; takes note whether they are finite."""
        self.scaler.unscale_(optimiser)

    def adapt(self) -> None:
        """A smaller scale after gradients that were not finite, a larger one after many that
        were."""
        self.scaler.update()

    # --- what a checkpoint holds ---

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """One group, or none without a scale."""
        state = self.scaler.state_dict()
        kept = {name: torch.tensor(float(state[name])) for name in _KEPT if name in state}
        return {_GROUP: kept} if kept else {}

    def restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Back to what a checkpoint holds, if it does: those of old did not."""
        if self.scaler.is_enabled() and _GROUP in groups:
            found = {name: float(groups[_GROUP][name]) for name in _KEPT}
            found["_growth_tracker"] = int(found["_growth_tracker"])
            self.scaler.load_state_dict({**self.scaler.state_dict(), **found})


_GROUP = "scaling"
_KEPT = ("scale", "_growth_tracker")
