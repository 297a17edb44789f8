"""Graphs for tests, built by hand: what elaboration would make, without a text to elaborate."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from asrc.compiler.graph import Attr, Graph, Node, Scope
from asrc.compiler.ops import OPS
from asrc.compiler.source import Source, Span
from asrc.compiler.types import Label, Stream, Type
from asrc.compiler.units import Quantity

CONFORMER = Source(
    "conformer.asr",
    """\
mel = audio |> logmel(bins=80, window=25ms, hop=10ms) |> cmvn
sub = mel |> Conv2d(64) |> relu |> Conv2d(64) |> relu
body = sub |> flatten |> dense(D)
s = attend(heads)(q + u, k, v, q + w, r)
u = in |> layernorm |> dense(2 * D) |> glu
out u[t-a..t+b] |> depthwise |> layernorm |> swish |> dense(D)
""",
)
"""Only for spans: diagnostics of the graphs below point into it."""

PCM = Type((1,), Stream(Fraction(1, 16000)))


def ms(value: int | Fraction) -> Quantity:
    return Quantity(Fraction(value) / 1000, "time")


def words(vocab: int) -> Type:
    return Type((1,), Label(), elem="token", vocab=vocab)


@dataclass
class Builder:
    """`b("encoder.x", "dense", "audio", n=4)` adds a value and gives its path back.

    Options that are not given take their defaults; `at` is a piece of the source to point to.
    """

    source: Source | None = None
    nodes: dict[str, Node] = field(default_factory=dict)
    scopes: dict[str, Scope] = field(default_factory=dict)

    def __call__(
        self,
        path: str,
        op: str,
        *inputs: str,
        at: str = "",
        owner: str | None = None,
        **attrs: Attr,
    ) -> str:
        defaults = {k: o.default for k, o in OPS[op].options.items() if not o.required}
        full: dict[str, Attr] = {**defaults, **attrs}  # type: ignore[dict-item]
        self.nodes[path] = Node(path, op, inputs, full, self.span(at), owner)
        return path

    def span(self, at: str) -> Span | None:
        if not at or self.source is None:
            return None
        start = self.source.text.index(at)
        return Span(self.source, start, start + len(at))

    def scope(self, path: str, kind: str, name: str) -> str:
        self.scopes[path] = Scope(path, kind, name)
        return path

    def graph(
        self, name: str = "model", names: dict[str, str] | None = None, **outputs: str
    ) -> Graph:
        """The outputs by keyword: `encoder=path`."""
        return Graph(name, dict(self.nodes), outputs, names or {}, dict(self.scopes))


def frontend(b: Builder, bins: int = 80) -> str:
    """`audio` -> log-mel at 10ms."""
    b("audio", "input", type=PCM)
    at = "logmel(bins=80, window=25ms, hop=10ms)"
    b("encoder.mel.logmel", "logmel", "audio", at=at, bins=bins, window=ms(25), hop=ms(10))
    return b("encoder.mel", "cmvn", "encoder.mel.logmel", at="cmvn")


def subsampled(b: Builder, x: str, width: int, channels: int = 64) -> str:
    """Two strided convolutions and a projection: 40ms frames."""
    for i in (1, 2):
        p = b.scope(f"encoder.sub.Conv2d_{i}", "block", "Conv2d")
        b(f"{p}.window", "window", x, past=2, future=0)
        b(f"{p}.convf", "convf", f"{p}.window", channels=channels, kernel=3, stride=2)
        b(f"{p}.stride", "stride", f"{p}.convf", factor=2)
        x = b(f"{p}.relu", "relu", f"{p}.stride")
    b("encoder.body.flatten", "flatten", x)
    return b("encoder.body.dense", "dense", "encoder.body.flatten", n=width)


def feed_forward(b: Builder, p: str, x: str, width: int) -> str:
    b.scope(p, "block", "Ffn")
    b(f"{p}.layernorm", "layernorm", x)
    b(f"{p}.dense", "dense", f"{p}.layernorm", n=4 * width)
    b(f"{p}.swish", "swish", f"{p}.dense")
    return b(f"{p}.dense_2", "dense", f"{p}.swish", n=width)


def attention(b: Builder, p: str, x: str, width: int, heads: int = 4) -> str:
    """Relative self-attention as in std.conformer, without a mask."""
    b.scope(p, "block", "Attn")
    y = b(f"{p}.layernorm", "layernorm", x)
    q, k, v = (b(f"{p}.{n}", "dense", y, n=width) for n in "qkv")
    positions = b(f"{p}.positions", "positions", n=width)
    r = b(f"{p}.r", "dense", positions, n=width, bias=False)
    biases = [b(f"{p}.{n}", "weight", dims=(width,), init="zeros") for n in ("u", "w")]
    first, second = (b(f"{p}.q{i}", "add", q, bias) for i, bias in enumerate(biases))
    inputs = (first, k, v, second, r)
    at = "attend(heads)(q + u, k, v, q + w, r)"
    b(f"{p}.attend", "attend", *inputs, at=at, heads=heads)
    return b(f"{p}.dense", "dense", f"{p}.attend", n=width)


def convolution(b: Builder, p: str, x: str, width: int, past: int, future: int, clip: bool) -> str:
    b.scope(p, "block", "Conv")
    b(f"{p}.layernorm", "layernorm", x)
    b(f"{p}.dense", "dense", f"{p}.layernorm", n=2 * width)
    b(f"{p}.u", "glu", f"{p}.dense", at="glu")
    at = "u[t-a..t+b]"
    b(f"{p}.window", "window", f"{p}.u", at=at, past=past, future=future, in_chunk=clip)
    b(f"{p}.depthwise", "depthwise", f"{p}.window", bias=False)
    b(f"{p}.layernorm_2", "layernorm", f"{p}.depthwise")
    b(f"{p}.swish", "swish", f"{p}.layernorm_2")
    return b(f"{p}.dense_2", "dense", f"{p}.swish", n=width)


def conformer(
    layers: int = 12,
    future: int = 0,
    *,
    width: int = 256,
    channels: int = 64,
    in_chunk: bool = False,
) -> Graph:
    """The encoder of anchors C.4: offline attention, `future` right frames in each convolution."""
    b = Builder(CONFORMER)
    x = subsampled(b, frontend(b), width, channels)
    for layer in range(1, layers + 1):
        p = b.scope(f"encoder.body.{layer}", "block", "Conformer")
        branch = feed_forward(b, f"{p}.Ffn", x, width)
        x = b(f"{p}.residual", "add", x, branch)
        branch = attention(b, f"{p}.Attn", x, width)
        x = b(f"{p}.residual_2", "add", x, branch)
        branch = convolution(b, f"{p}.Conv", x, width, 14 - future, future, in_chunk)
        x = b(f"{p}.residual_3", "add", x, branch)
        branch = feed_forward(b, f"{p}.Ffn_2", x, width)
        x = b(f"{p}.residual_4", "add", x, branch)
        x = b(f"{p}.layernorm", "layernorm", x)
    names = {"encoder.mel": "encoder.mel", "encoder.body": x}
    return b.graph("conformer", names, encoder=x)


def lstm(b: Builder, p: str, x: str, width: int) -> str:
    """`h` and `c` of std.rnn.Lstm."""
    b.scope(p, "block", "Lstm")
    b(f"{p}.delay", "delay", f"{p}.h", frames=1)
    b(f"{p}.dense", "dense", x, f"{p}.delay", n=4 * width)
    for index, gate in enumerate("ifog"):
        b(f"{p}.{gate}", "slice", f"{p}.dense", parts=4, index=index)
        squash = "tanh" if gate == "g" else "sigmoid"
        b(f"{p}.{squash}_{gate}", squash, f"{p}.{gate}")
    b(f"{p}.delay_2", "delay", f"{p}.c", frames=1)
    b(f"{p}.kept", "mul", f"{p}.sigmoid_f", f"{p}.delay_2")
    b(f"{p}.new", "mul", f"{p}.sigmoid_i", f"{p}.tanh_g")
    b(f"{p}.c", "add", f"{p}.kept", f"{p}.new")
    b(f"{p}.tanh", "tanh", f"{p}.c")
    return b(f"{p}.h", "mul", f"{p}.sigmoid_o", f"{p}.tanh")


def recurrent(width: int = 8) -> Graph:
    """Log-mel, a stack of three frames at 30ms, one LSTM and a projection."""
    b = Builder(CONFORMER)
    x = frontend(b, bins=16)
    b("encoder.x.window", "window", x, past=2, future=0)
    x = b("encoder.x", "stride", "encoder.x.window", factor=3)
    h = lstm(b, "encoder.low.1", x, width)
    out = b("encoder.dense", "dense", h, n=4)
    return b.graph("rnn", {"encoder.mel": "encoder.mel", "encoder.low": h}, encoder=out)
