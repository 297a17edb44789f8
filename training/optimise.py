"""AdamW with warm-up and a cosine, gradient clipping, and the mean of weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import cos, pi

import torch
from torch import Tensor, nn

from .recipe import Optimiser


def rate_at(update: int, options: Optimiser) -> float:
    """The learning rate of an update, counted from zero."""
    if update < options.warm_up:
        return options.rate * (update + 1) / options.warm_up
    left = max(1, options.updates - options.warm_up)
    done = min(1.0, (update - options.warm_up) / left)
    return options.rate * (options.final + (1 - options.final) * (1 + cos(pi * done)) / 2)


class Updater:
    """The optimiser of a model's parameters, and the mean of its weights.

    Buffers that a module names as `learned`, scales and ranges, are moved as well: the rate is then
    that of their logarithm, so that it means the same for large and small ones.

    The mean (Polyak and Juditsky 1992, with exponential weights) covers buffers as well; early on
    its decay is smaller, so that it does not hold on to the first values.
    """

    def __init__(self, model: nn.Module, options: Optimiser) -> None:
        self.options = options
        own = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.clipped = list(own.values())
        self.scales = learned(model)
        self.parameters: dict[str, Tensor] = {**own, **self.scales}
        self.model = model
        decayed = [p for p in self.clipped if p.ndim > 1]
        others = [p for p in self.clipped if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": options.decay},
            {"params": others, "weight_decay": 0.0},
            *({"params": [x], "weight_decay": 0.0} for x in self.scales.values()),
        ]
        on_cpu = all(p.device.type == "cpu" for p in self.parameters.values())
        self.optimiser = torch.optim.AdamW(
            groups, lr=options.rate, betas=options.betas, fused=on_cpu or None
        )
        self.average = {name: x.detach().clone() for name, x in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        return {**dict(self.model.named_parameters()), **dict(self.model.named_buffers())}

    def gradients_are_finite(self) -> bool:
        """Clips the gradient's norm, that of scales aside; false where it is infinite or no
        number."""
        norm = nn.utils.clip_grad_norm_(self.clipped, self.options.clip)
        grads = (x.grad for x in self.scales.values() if x.grad is not None)
        return bool(torch.isfinite(norm)) and all(bool(torch.isfinite(g).all()) for g in grads)

    def apply(self, update: int) -> float:
        """One update; its learning rate."""
        rate = rate_at(update, self.options)
        (*groups,) = self.optimiser.param_groups
        for group in groups[: len(groups) - len(self.scales)]:
            group["lr"] = rate
        for group in groups[len(groups) - len(self.scales) :]:
            group["lr"] = rate * float(group["params"][0].detach().abs().mean())
        self.optimiser.step()
        self._note_mean(update)
        return rate

    @torch.no_grad()
    def _note_mean(self, update: int) -> None:
        decay = min(self.options.average, (1 + update) / (10 + update))
        state = self._state()
        means = {n: mean for n, mean in self.average.items() if mean.is_floating_point()}
        torch._foreach_lerp_([*means.values()], [state[n] for n in means], 1 - decay)

    # --- what a checkpoint holds ---

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        moments: dict[str, Tensor] = {}
        for name, parameter in self.parameters.items():
            for key, x in self.optimiser.state.get(parameter, {}).items():
                moments[f"{key}.{name}"] = torch.as_tensor(x)
        return {"weights": self._state(), "average": self.average, "optimiser": moments}

    @torch.no_grad()
    def restore(self, groups: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Back to what a checkpoint holds."""
        _copy(self._state(), groups["weights"])
        _copy(self.average, groups["average"])
        moments = groups["optimiser"]
        for name, parameter in self.parameters.items():
            keys = [k for k in ("step", "exp_avg", "exp_avg_sq") if f"{k}.{name}" in moments]
            if keys:
                state = {k: moments[f"{k}.{name}"].clone() for k in keys}
                moved = {k: x if k == "step" else x.to(parameter.device) for k, x in state.items()}
                self.optimiser.state[parameter] = moved


def learned(model: nn.Module) -> dict[str, Tensor]:
    """Buffers that learn, by name; from now on they have gradients."""
    return {
        f"{path}.{name}": getattr(module, name).requires_grad_()
        for path, module in model.named_modules()
        for name in getattr(module, "learned", ())
    }


def _copy(into: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    for name, x in into.items():
        x.copy_(given[name])


def count(parameters: Iterable[Tensor]) -> int:
    """How many numbers are trained."""
    return sum(p.numel() for p in parameters)
