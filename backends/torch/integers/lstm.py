"""An LSTM by the accelerator's operators: one step as a program, turned over all frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ....compiler.facts import Facts
from ....compiler.graph import Graph, Node
from ....compiler.types import Type
from ...nna.filters import Filter
from ...nna.lower import Numbers, lower
from ...nna.lowering import Timeline
from ..match import LstmBody
from .leaves import CLOCK, Ranges, in_steps, windowed
from .parameters import filter_bound, parameters_of, scales, traced
from .parameters import made as complete
from .program import Call, steps


class IntegerLstm(nn.Module):
    """An LSTM by the accelerator's operators, in the place of `recurrent.Lstm`."""

    def __init__(
        self, ranges: Ranges, body: LstmBody, members: Sequence[str], types: Mapping[str, Type]
    ) -> None:
        super().__init__()
        self.ranges = ranges
        self.body, self.members, self.types = body, tuple(members), types
        graph = ranges.graph
        self.weighted = [p for p in (body.dense, body.projection) if p is not None]
        self.sizes = [types[path].size for path in body.inputs]
        self.made: tuple[tuple[int, ...], Call] | None = None
        assert all(graph[path].owner is None for path in self.weighted)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(
        self,
        x: Tensor,
        h: Tensor | None = None,
        c: Tensor | None = None,
        projection: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`[N, T, inputs]` to `[N, T, outputs]` and the last `h` and `c`; both begin as zeros."""
        width, cells = self.types[self.body.h].size, self.types[self.body.c].size
        h = x.new_zeros(len(x), width) if h is None else h
        c = x.new_zeros(len(x), cells) if c is None else c
        if x.shape[1] == 0 or len(x) == 0:
            return x.new_zeros(*x.shape[:2], width), h, c
        parts = torch.split_with_sizes(x, self.sizes, -1)
        kinds = (self.types[path] for path in self.body.inputs)
        rows = [in_steps(part, kind) for part, kind in zip(parts, kinds, strict=True)]
        begin = {self.body.h: h, self.body.c: c}
        call = self.call()
        held = [begin[state.removesuffix(".state")] for state in call.engine.program.states]
        found = steps(call, rows, [one[:, None, None] for one in held], self._shared())
        last = dict(zip(call.engine.program.states, found[1:], strict=True))
        h, c = (last[f"{path}.state"].flatten(1) for path in (self.body.h, self.body.c))
        return found[0].flatten(2), h, c

    def _shared(self) -> list[Tensor]:
        return [x for p in self.weighted for x in parameters_of(self.ranges.leaves[p])]

    def call(self) -> Call:
        versions = self.ranges.versions([*self.members, *self.body.inputs])
        if self.made is None or self.made[0] != versions:
            self.made = versions, self._lowered()
        return self.made[1]

    def _lowered(self) -> Call:
        ranges, body = self.ranges, self.body
        graph, inputs = self._graph()
        paths = [*body.inputs, *self.members]
        codes = {path: ranges.of(path) for path in paths}
        codes |= {inputs[path]: codes[path] for path in body.inputs}
        filters: dict[str, Filter] = {}
        for path in self.weighted:
            filters |= traced(path, ranges.graph[path], ranges.leaves[path])[1]
        numbers = Numbers({}, filters, codes)
        taps = {inputs[p]: range(1 - (self.types[p].taps or 1), 1) for p in body.inputs}
        frames = {path: tuple(each) for path, each in taps.items()}
        frames |= dict.fromkeys((*self.members, *body.inputs), (0,)) | frames
        shifts = {ranges.graph[p].inputs[0]: (-1,) for p in (body.h_shift, body.c_shift)}
        timeline = Timeline(frames, dict.fromkeys(frames, 1), shifts)
        made = lower(Facts(graph), timeline, numbers, [*taps], [body.h], body.h)
        bound = [
            one
            for path in self.weighted
            for one in filter_bound(made.program, path, ranges.leaves[path])
        ]
        learned = ranges.learned({p: p for p in self.members if p in made.program.tensors})
        for path in self.weighted:
            learned += scales(path, ranges.leaves[path], bound)
        return complete(made.program, bound, [made.made[body.h]], learned)

    def _graph(self) -> tuple[Graph, dict[str, str]]:
        """The recurrence alone, and the input that stands for each value from outside."""
        nodes, inputs = [], {}
        for path in dict.fromkeys(self.body.inputs):
            kind = self.types[path]
            inputs[path] = path if kind.taps is None else f"{path}.frames"
            nodes.append(Node(inputs[path], "input", (), {"type": Type(kind.dims, CLOCK)}))
            if kind.taps is not None:
                nodes.append(windowed(path, inputs[path], kind.taps))
        nodes += [self.ranges.graph[path] for path in self.members]
        found = Graph("lstm", {one.path: one for one in nodes}, {"h": self.body.h})
        return found, inputs
