"""`substitute`: the accelerator's operators in place of float ones.

`substitute()`          everything but what stays on the host
`substitute(encoder)`   a part alone: float operators elsewhere

A batchnorm that no map before it has taken in (`fold_norm`) becomes a filter of one tap, with the
statistics there are and with what `quantize` has noted on it. Values are marked `on=nna`: every
backend then computes them as the accelerator does, in integers. What stays on the host stays as it
is, with the reason (`compiler/placement.py`); what neither side computes is refused. The operator
set is ours; papers/nna-operators.md names none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, ClassVar, cast

from ..compiler.diagnostics import AsrcError
from ..compiler.facts import Facts
from ..compiler.graph import Attr, Graph, Node
from ..compiler.ops import ANNOTATIONS
from ..compiler.placement import place
from ..compiler.protocol import Weights
from ..compiler.select import select
from ..compiler.spec import OptionError


@dataclass(frozen=True)
class Substitute:
    """Marks what the accelerator computes."""

    name: ClassVar[str] = "substitute"
    keeps: ClassVar[frozenset[str]] = frozenset({"lookahead", "rate", "shapes", "state"})

    on: str | None = None

    def run(self, graph: Graph, weights: Weights | None) -> tuple[Graph, Weights | None]:
        """Raises AsrcError E0701 for what no side computes, E0803 where nothing is selected."""
        try:
            chosen = set(graph.nodes if self.on is None else select(graph, self.on))
        except AsrcError as error:
            raise OptionError("on", error) from None
        new = None if weights is None else dict(weights)
        for path in [node.path for node in graph if node.op == "batchnorm" and node.path in chosen]:
            graph = _as_filter(graph, path, new)
        chosen |= {path for path in graph.nodes if path.removesuffix(FRAME) in chosen}
        host = place(Facts(graph), chosen).host
        marked = (
            node.with_attrs(on="nna") if node.path in chosen and node.path not in host else node
            for node in graph
        )
        return graph.rewrite(marked), new


FRAME = ".frame"


def _as_filter(graph: Graph, path: str, weights: dict[str, Any] | None) -> Graph:
    """A batchnorm by fixed statistics is a filter of one tap, `s x + b`, a row a feature."""
    import numpy as np

    norm, kind = graph[path], Facts(graph).types[path]
    if len(kind.dims) > 1 or kind.taps is not None or norm.owner is not None:
        return graph
    if weights is not None:
        names = ("weight", "bias", "mean", "variance")
        dtype = weights[f"{path}.weight"].dtype
        scale, shift, mean, variance = (weights.pop(f"{path}.{n}").astype("float64") for n in names)
        scale = scale / np.sqrt(variance + float(cast(Fraction, norm.attrs["eps"])))
        weights[f"{path}.weight"] = scale[:, None].astype(dtype)
        weights[f"{path}.bias"] = (shift - scale * mean).astype(dtype)
    noted, of_frame = _notes(graph, norm)
    frame = Node(f"{path}{FRAME}", "window", norm.inputs, {**_ONE_FRAME, **of_frame}, norm.span)
    made = replace(norm, op="depthwise", inputs=(frame.path,), attrs={"bias": True, **noted})
    nodes = ([frame, made] if n is norm else [n] for n in graph)
    return graph.rewrite(n for several in nodes for n in several)


_ONE_FRAME: Mapping[str, Attr] = {
    "past": 0, "future": 0, "by": 1, "in_chunk": False, "chunk": None,
}  # fmt: skip


def _notes(graph: Graph, norm: Node) -> tuple[dict[str, Attr], dict[str, Attr]]:
    """What passes have noted on a norm, and what they would have on its window: the format of what
    is read, if values have one."""
    noted = {name: x for name, x in norm.attrs.items() if name in ANNOTATIONS}
    if "number" not in noted:
        return noted, {}
    read = {"number": graph[norm.inputs[0]].attrs["number"]}
    return noted, read | {name: noted[name] for name in ("scales",) if name in noted}
