"""A model as PyTorch modules: one a part, all with the same parameters, named by path."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, fx, nn

from ...compiler.facts import Facts
from ...compiler.graph import Graph
from ...compiler.placement import check_numbers
from ...compiler.reference import index_rank
from ...compiler.types import Static, Type, base_clock
from .emit import Model, attach, word
from .offline import Offline
from .parts import Part, split, streamed
from .ports import Port, place_inputs, place_outputs, plan, port_node
from .stepmodule import StepModule, lower_step


@dataclass(frozen=True)
class PartModule:
    """A part as a module: called with the tensors of `inputs`, it returns those of `outputs`."""

    part: Part
    module: fx.GraphModule
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    fused: tuple[str, ...]
    scanned: tuple[str, ...]

    def __call__(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = self.module(*(given[port.name] for port in self.inputs))
        return dict(zip((port.name for port in self.outputs), found, strict=True))


class Lowered(nn.Module):
    """A graph as PyTorch.

    `parts` are `static` (once an utterance), `frames`, `labels` and `lattice` (where a joint
    meets them), as far as the model has them; `parts["frames"].module.code` is their source.
    Parameters and statistics belong to this module and are named as in the facts. `like` is a
    zero of the type and on the device in which the model computes. `on_kernels` says whether
    something faster than PyTorch makes its values.
    """

    on_kernels: ClassVar[bool] = False
    facts: Facts
    like: Tensor
    parts: Mapping[str, PartModule]
    leaves: Mapping[str, nn.Module]
    _model: Model
    _steps: dict[tuple[str, int], StepModule]

    def __init__(self, facts: Facts) -> None:
        super().__init__()
        check_numbers(facts.graph, {node.path for node in facts.graph if "on" in node.attrs})
        self.register_buffer("like", torch.zeros(1), persistent=False)
        model = Model.of(facts)
        found = {part.name: lower_part(model, part) for part in split(facts.graph, facts.types)}
        object.__setattr__(self, "facts", facts)
        object.__setattr__(self, "parts", found)
        object.__setattr__(self, "_model", model)
        object.__setattr__(self, "_steps", {})
        for node in facts.graph:
            model.leaves.quantised(node)
        for path, module in model.leaves.made.items():
            attach(self, path, module)
        object.__setattr__(self, "leaves", dict(model.leaves.made))

    def step(self, part: str = "frames", multiple: int = 1) -> StepModule:
        """A part as a step of `multiple` times the schedule's quantum, with this module's
        parameters. Raises AsrcError E0303 or E0404 where the model cannot be streamed."""
        steps: dict[tuple[str, int], StepModule] = self._steps
        if (part, multiple) not in steps:
            schedule = self.facts.label_schedule if part == "labels" else self.facts.schedule
            running = streamed(self.facts.graph, self.parts[part].part)
            steps[part, multiple] = lower_step(self._model, running, schedule, multiple)
        return steps[part, multiple]

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and statistics by the names of the facts, `<path of the value>.<name>`."""
        return {
            f"{path}.{name}": tensor
            for path, module in self.leaves.items()
            for name, tensor in module.state_dict(keep_vars=True).items()
        }

    def forward(
        self, given: Mapping[str, Tensor], without: Collection[str] = ()
    ) -> dict[str, Tensor]:
        """All parts, one after the other, on whole utterances; `without` names parts to leave out.

        `given` has each input by name, `[B, *index, *dims]` (`[B, *index]` where a frame is one
        number), with `<name>_length` `[B]` where utterances differ, and `<name>_there` for
        catalogues. The result has outputs, losses and what passes between parts, with lengths.
        """
        values = complete(self.facts.graph, self.facts.types, given)
        batch = len(next(iter(values.values()))) if values else 1
        for name, part in self.parts.items():
            if name not in without:
                values |= part(values)
                values |= {fixed: for_each(values[fixed], batch) for fixed in self._fixed(part)}
        return values

    def _fixed(self, part: PartModule) -> list[str]:
        """Outputs that depend on parameters alone; a part makes one for the whole batch."""
        return [port.name for port in part.outputs if port.path in part.part.free]


def lower(graph: Graph | Facts) -> Lowered:
    """A graph as PyTorch modules, parameters at zero: see `initialise` and `load_weights`.

    Raises AsrcError for a graph that is not well-formed, E0703 where `substitute` ran without
    `quantize`.
    """
    return Lowered(graph if isinstance(graph, Facts) else Facts(graph))


def for_each(x: Tensor, batch: int) -> Tensor:
    """The one value there is, for each utterance."""
    return x.expand(batch, *x.shape[1:])


# --- one part -------------------------------------------------------------------------------


def lower_part(model: Model, part: Part) -> PartModule:
    emitter = Offline(model, part.members)
    inputs = tuple(place_inputs(emitter, part))
    emitter.run(plan(model, part))
    ports = tuple(place_outputs(emitter, part))
    nodes = tuple(port_node(emitter, port) for port in ports)
    module = emitter.finish(nodes, part.name.capitalize())
    scanned = tuple(sorted(min(loop.members) for loop in emitter.scanned))
    return PartModule(part, module, inputs, ports, tuple(emitter.fused), scanned)


# --- inputs ---------------------------------------------------------------------------------


def complete(
    graph: Graph, types: Mapping[str, Type], given: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Inputs with their feature axes and with what was not said of lengths and catalogues."""
    values = dict(given)
    for node in graph:
        if node.op != "input":
            continue
        complete_input(values, word(node.path), types[node.path])
    return values


def complete_input(values: dict[str, Tensor], name: str, kind: Type) -> None:
    """The same for one input. Raises ValueError where it is missing or of another shape."""
    if name not in values:
        raise ValueError(f"the input `{name}` is missing")
    values[name] = _with_features(values[name], kind)
    _say_all(values, name, kind)


def _with_features(x: Tensor, kind: Type) -> Tensor:
    rank = 1 + index_rank(kind.clock)
    if x.ndim == rank and kind.size == 1:
        x = x.unsqueeze(-1)
    if x.ndim != rank + len(kind.dims) or tuple(x.shape[rank:]) != kind.dims:
        raise ValueError(f"an input of type {kind} cannot be a tensor of shape {list(x.shape)}")
    return x


def _say_all(values: dict[str, Tensor], name: str, kind: Type) -> None:
    x, base = values[name], base_clock(kind.clock)
    if isinstance(base, Static):
        if index_rank(kind.clock):
            rank = 1 + index_rank(kind.clock)
            values.setdefault(f"{name}_there", x.new_ones(x.shape[:rank], dtype=torch.bool))
    else:
        whole = torch.full((len(x),), x.shape[1], dtype=torch.int64, device=x.device)
        values.setdefault(f"{name}_length", whole)
