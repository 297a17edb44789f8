"""Random streaming networks, valid by construction, and what a failing test does with them.

Every move takes a vector of `WIDTH` features off the pool and puts a new one on it, so that any
two values of one period can be joined. Periods are small rational multiples of each other, and
strides and chunks line up again after at most `PHASES` frames of the fastest stream: the brute
force counts frames one by one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from math import gcd, lcm

import networkx as nx
import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Attr, Graph, Node
from asrc.compiler.ops import OPS, REQUIRED
from asrc.compiler.types import Stream, Type
from asrc.compiler.units import Quantity, seconds

WIDTH = 4
PHASES = 24
MILLISECOND = Fraction(1, 1000)
SAMPLE = Fraction(5, 2000)
"""The audio's period: coarse, since the brute force looks at every sample."""
BASES = tuple(n * MILLISECOND for n in (10, 12, 20, Fraction(25, 2), Fraction(40, 3)))


def common(lengths: list[Fraction]) -> Fraction:
    """The shortest time that is a whole number of every length."""
    return Fraction(lcm(*(x.numerator for x in lengths)), gcd(*(x.denominator for x in lengths)))


def default_attrs(op: str) -> dict[str, Attr]:
    """Every option of an operator that has a default, as elaboration fills them in."""
    options = OPS[op].options.items()
    return {name: o.default for name, o in options if o.default is not REQUIRED}  # type: ignore[misc]


class Sketch:
    """A graph under construction; `pool` holds the vectors that a move may start from."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.nodes: dict[str, Node] = {}
        self.pool: list[str] = []
        self.periods: dict[str, Fraction] = {}
        self.chunks: list[Fraction] = []

    # --- building ---

    def add(self, op: str, *inputs: str, path: str = "", period: Fraction | None = None,
            **attrs: Attr) -> str:  # fmt: skip
        path = path or f"{op}{len(self.nodes)}"
        self.nodes[path] = Node(path, op, inputs, {**default_attrs(op), **attrs})
        self.periods[path] = period or self.periods[inputs[0]]
        return path

    def source(self, period: Fraction, dims: int = WIDTH, elem: str = "real") -> str:
        kind = Type((dims,), Stream(period), elem=elem)
        return self.add("input", period=period, type=kind)

    def dense(self, *inputs: str) -> str:
        return self.add("dense", *inputs, n=WIDTH, bias=self.rng.random() < 0.5)

    def window(self, x: str, past: int, future: int, **attrs: Attr) -> str:
        return self.add("window", x, past=past, future=future, **attrs)

    # --- choosing ---

    def pick(self) -> str:
        """A value to go on from: mostly a late one, so that paths grow deep."""
        return self.pool[-1 - min(int(self.rng.expovariate(0.8)), len(self.pool) - 1)]

    def lines_up(self, *lengths: Fraction) -> bool:
        fastest = min(*(p for p in self.periods.values() if p > SAMPLE), *lengths)
        return common([*self.periods.values(), *self.chunks, *lengths]) <= PHASES * fastest

    def chunk(self, x: str) -> Quantity | None:
        """A chunk that is a whole number of frames of `x`, often one already in use."""
        period, rng = self.periods[x], self.rng
        used = [c for c in self.chunks if (c / period).denominator == 1]
        length = rng.choice(used) if used and rng.random() < 0.6 else rng.randint(1, 6) * period
        if not self.lines_up(length):
            return None
        self.chunks.append(length)
        return seconds(length)

    def frames_or_time(self, x: str, low: int, high: int) -> Attr:
        """A context as a count of frames or as a time."""
        frames = self.rng.randint(low, high)
        return seconds(frames * self.periods[x]) if self.rng.random() < 0.5 else frames


Move = Callable[[Sketch, str], "str | None"]


# --- moves: each returns a new vector, or None where it does not fit ---


def framewise(s: Sketch, x: str) -> str:
    op = s.rng.choice(("swish", "layernorm", "dropout", "dense"))
    if op == "dense":
        return s.dense(x)
    return s.add(op, x, p=Fraction(1, 10)) if op == "dropout" else s.add(op, x)


def shift(s: Sketch, x: str) -> str:
    return s.add(s.rng.choice(("delay", "ahead")), x, frames=s.rng.randint(1, 4))


def convolution(s: Sketch, x: str) -> str:
    past = s.rng.randint(-1, 4)
    future = s.rng.randint(-past, max(2, -past))
    return contracted(s, s.window(x, past, future, by=s.rng.choice((1, 1, 1, 2, 3))))


def contracted(s: Sketch, window: str) -> str:
    """Three ways from the taps of a window to a vector."""
    way = s.rng.random()
    if way < 0.4:
        return s.add("depthwise", window)
    if way < 0.7:
        return s.dense(s.add("flatten", window) if s.rng.random() < 0.4 else window)
    planes = s.add("convf", window, channels=2, kernel=3, stride=s.rng.choice((1, 2)), groups=1)
    return s.dense(planes)


def in_chunk(s: Sketch, x: str) -> str | None:
    chunk = s.chunk(x) if s.rng.random() < 0.9 else None
    past, future = s.rng.randint(0, 3), s.rng.randint(0, 4)
    by = s.rng.choice((1, 1, 2, 3))
    return contracted(s, s.window(x, past, future, by=by, in_chunk=True, chunk=chunk))


def strided(s: Sketch, x: str) -> str | None:
    """A stride, half of the time of a convolution that looks ahead."""
    factor = s.rng.choice((2, 2, 3))
    period = s.periods[x] * factor
    if not s.lines_up(period):
        return None
    if s.rng.random() < 0.5:
        x = contracted(s, s.window(x, s.rng.randint(0, 2), s.rng.randint(0, 3)))
    return s.add("stride", x, factor=factor, period=period)


def upsampled(s: Sketch, x: str) -> str | None:
    factor = s.rng.choice((2, 2, 3))
    period = s.periods[x] / factor
    if period <= SAMPLE or not s.lines_up(period):
        return None
    return s.add("upsample", x, factor=factor, period=period)


def attention(s: Sketch, x: str) -> str | None:
    mask = s.rng.choice(("causal", "limited", "chunk", "chunk", "chunk"))
    if s.rng.random() < 0.02:
        mask = "full"
    attrs: dict[str, Attr] = {"mask": mask, "left": s.frames_or_time(x, 0, 7)}
    if s.rng.random() < 0.05 or mask == "full":
        attrs["left"] = None
    if mask == "limited":
        attrs["right"] = s.frames_or_time(x, 0, 3)
    if mask == "chunk":
        attrs["chunk"] = s.chunk(x)
        if attrs["chunk"] is None:
            return None
    keys = partner(s, x) if s.rng.random() < 0.3 else x
    return s.add("attend", s.dense(x), keys, s.dense(keys), *relative(s, x), heads=2, **attrs)


def relative(s: Sketch, x: str) -> tuple[str, ...]:
    if s.rng.random() < 0.7:
        return ()
    offsets = s.add("positions", period=s.periods[x], n=WIDTH)
    return s.dense(x), s.dense(offsets)


def partner(s: Sketch, x: str) -> str:
    """Another vector of the same period, or the same one."""
    return s.rng.choice([y for y in s.pool if s.periods[y] == s.periods[x]] or [x])


def lstm(s: Sketch, x: str) -> str:
    """h[t-1] and c[t-1] close the cycles; now and then it is h[t-1] that goes on."""
    stem = f"lstm{len(s.nodes)}"
    before = [s.add("delay", f"{stem}.{v}", path=f"{stem}.{v}1", period=s.periods[x], frames=1)
              for v in ("h", "c")]  # fmt: skip
    order = (before[0], x) if s.rng.random() < 0.5 else (x, before[0])
    gates = s.dense(*order)
    kept = s.add("mul", s.add("sigmoid", gates), before[1])
    cell = s.add("add", kept, s.add("tanh", gates), path=f"{stem}.c")
    s.add("mul", s.add("sigmoid", gates), s.add("tanh", cell), path=f"{stem}.h")
    return before[0] if s.rng.random() < 0.2 else f"{stem}.h"


def memory(s: Sketch, x: str) -> str:
    """A recurrence over several past frames, entered after the loop's own values."""
    path = f"memory{len(s.nodes)}"
    past = s.rng.randint(1, 3)
    taps = s.add("window", path, period=s.periods[x], past=past, future=-s.rng.randint(1, past))
    return s.add("add", s.dense(taps), x, path=path)


def joined(s: Sketch, x: str) -> str:
    op = s.rng.choice(("add", "mul", "concat", "dense"))
    y = partner(s, x)
    if op in ("add", "mul"):
        return s.add(op, x, y)
    return s.dense(s.add("concat", x, y)) if op == "concat" else s.dense(x, y)


def residual(s: Sketch, x: str) -> str | None:
    """A skip path around one or two moves that keep the period."""
    y: str | None = x
    for _ in range(s.rng.randint(1, 2)):
        y = y and s.rng.choice((convolution, attention, in_chunk, shift, lstm))(s, y)
    return y and s.add("add", x, y)


def switched(s: Sketch, x: str) -> str | None:
    other = s.rng.choice((framewise, convolution, attention))(s, x)
    flag = s.source(s.periods[x], 1, "flag")
    branches = [x, other] if s.rng.random() < 0.5 else [other, x]
    return s.add("switch", flag, *branches) if other else None


def averaged(s: Sketch, x: str) -> str | None:
    """The mean of the whole stream, added to every frame: look-ahead without bound."""
    return s.add("add", x, s.add("mean", x)) if s.rng.random() < 0.1 else None


MOVES: tuple[Move, ...] = (
    framewise, shift, convolution, convolution, in_chunk, strided, strided, upsampled,
    attention, attention, lstm, memory, joined, joined, residual, residual, switched, averaged,
)  # fmt: skip


def random_network(seed: int) -> Graph:
    """The network of a seed: the same one on every machine."""
    rng = random.Random(seed)
    s = Sketch(rng)
    _inputs(s)
    for _ in range(rng.randint(2, 7)):
        found = rng.choice(MOVES)(s, s.pick())
        if found is not None:
            s.pool.append(found)
    others = rng.sample(s.pool, min(len(s.pool), rng.choice((0, 0, 1, 2))))
    chosen = list(dict.fromkeys([s.pool[-1], *others]))
    return Graph(f"seed {seed}", s.nodes, {f"out{n}": path for n, path in enumerate(chosen)})


def _inputs(s: Sketch) -> None:
    """Audio with one or two log-mel front ends, or one or two inputs of frames."""
    rng = s.rng
    if rng.random() < 0.35:
        audio = s.source(SAMPLE, 1)
        for hop in rng.sample((2, 4, 8), rng.choice((1, 1, 2))):
            window = hop + rng.randint(0, 8)
            attrs = {"window": seconds(window * SAMPLE), "hop": seconds(hop * SAMPLE)}
            s.pool.append(s.add("logmel", audio, bins=WIDTH, period=hop * SAMPLE, **attrs))
        return
    base = rng.choice(BASES)
    s.pool.append(s.source(base))
    if rng.random() < 0.3:
        s.pool.append(s.source(base * rng.choice((1, 2, Fraction(3, 2)))))


# --- failures ---


def listing(graph: Graph) -> str:
    """A network in a few lines, without options that have their default."""
    lines = [_line(node) for node in graph]
    return "\n".join([f"network {graph.name}", *lines, f"outputs {dict(graph.outputs)}"])


def _line(node: Node) -> str:
    usual = default_attrs(node.op)
    said = [f"{k}={v}" for k, v in node.attrs.items() if k not in usual or usual[k] != v]
    return f"  {node.path} = {node.op}({', '.join((*node.inputs, *said))})"


def shrink(graph: Graph, fails: Callable[[Graph], bool]) -> Graph:
    """A smaller network that still fails: outputs dropped, values replaced by their inputs."""
    smaller: Graph | None = graph
    while smaller is not None:
        graph = smaller
        smaller = next((g for g in _smaller(graph) if _valid(g) and fails(g)), None)
    return graph


def _smaller(graph: Graph) -> Iterator[Graph]:
    """One output instead of all, one output less, or one value gone; what is not read, left out."""
    outputs = graph.outputs.items()
    found = [replace(graph, outputs={"out": path}) for path in graph.nodes]
    fewer = ({k: v for k, v in outputs if k != gone} for gone in graph.outputs)
    found += [replace(graph, outputs=rest) for rest in fewer]
    for node in graph:
        rest = [n for n in graph if n is not node]
        found += [graph.rewrite(rest, {node.path: s}) for s in node.inputs if s != node.path]
    sizes = len(graph), len(graph.outputs)
    return (g for g in map(_pruned, found) if g.outputs and (len(g), len(g.outputs)) < sizes)


def _pruned(graph: Graph) -> Graph:
    kept = graph.ancestors(graph.outputs.values())
    return graph.rewrite(n for n in graph if n.path in kept)


def _valid(graph: Graph) -> bool:
    try:
        return bool(Facts(graph).types)
    except (AsrcError, nx.NetworkXUnfeasible):  # a cycle that lost its shift
        return False


def check_networks(check: Callable[[Graph], None], seeds: range) -> None:
    """`check` every seed's network; a failure shows a small network that still fails."""

    def fails(graph: Graph) -> bool:
        try:
            check(graph)
        except AssertionError:
            return True
        return False

    for seed in seeds:
        graph = random_network(seed)
        if fails(graph):
            _report(check, shrink(graph, fails))


def _report(check: Callable[[Graph], None], graph: Graph) -> None:
    try:
        check(graph)
    except AssertionError as error:
        pytest.fail(f"{listing(graph)}\n{error}", pytrace=False)
