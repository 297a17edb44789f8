"""The operators: what exists, how many inputs each takes and which options.

One entry an operator. Each interpretation (type, look-ahead, reads, parameters, cost, reference
evaluation) is a table of its own in `facts/` and `reference/`, with one row an operator; a test
lists the holes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from .units import Quantity

REQUIRED: Final = object()


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    `kind` is int, real, bool, time, rate, span (a time or a count), choice, dims or type. Numbers
    are at least `low` and less than `below`.
    """

    kind: str
    default: object = REQUIRED
    low: int | None = None
    choices: tuple[str, ...] = ()
    below: int | None = None

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def admits(self, value: Fraction | int) -> bool:
        """Whether a number lies in the option's range."""
        above = self.low is None or value >= self.low
        return above and (self.below is None or value < self.below)

    def range_text(self) -> str:
        """`at least 0 and below 1`."""
        bounds = [f"at least {self.low}"] if self.low is not None else []
        bounds += [f"below {self.below}"] if self.below is not None else []
        return " and ".join(bounds)


@dataclass(frozen=True, slots=True)
class Op:
    """`framewise` operators compute a frame from that one frame of each input."""

    name: str
    doc: str
    inputs: tuple[int, int | None] = (1, 1)
    options: dict[str, Option] = field(default_factory=dict)
    framewise: bool = True
    surface: bool = True
    since: int = 1


def _int(default: object = REQUIRED, low: int = 1, below: int = 2**31) -> Option:
    return Option("int", default, low, below=below)


MAX_REACH: Final = 1 << 16
"""The furthest frame that `t-k` may name."""

_REACH = _int(below=MAX_REACH + 1)
_EITHER_WAY = _int(low=-MAX_REACH, below=MAX_REACH + 1)


_BIAS = Option("bool", True)
_FACTOR = Option("int", low=1, below=4097)
_EPS = Option("real", Fraction(1, 10**5), 0)
"""What is added to a variance or mean square, the same on every backend."""
MASKS: Final = ("full", "causal", "chunk", "limited")

_TABLE = [
    # sources
    Op("input", "a model input", (0, 0), {"type": Option("type")}, surface=False),
    Op(
        "weight",
        "a learned constant",
        (0, 0),
        {
            "dims": Option("dims"),
            "init": Option("choice", "normal", choices=("zeros", "ones", "normal")),
        },
        surface=False,
    ),
    Op("constant", "a number", (0, 0), {"value": Option("real")}, surface=False),
    Op(
        "positions",
        "sinusoidal encodings of relative positions, one for each offset an attention can see",
        (0, 0),
        {"n": _int()},
    ),
    # audio
    Op(
        "logmel",
        "log-mel energies of each analysis window; frame i sees [i*hop, i*hop + window); bands from"
        " `low` to `high`, by default half the sample rate",
        options={
            "bins": _int(),
            "window": Option("time"),
            "hop": Option("time"),
            "low": Option("rate", Quantity(Fraction(20), "rate")),
            "high": Option("rate", None),
        },
        framewise=False,
    ),
    Op("cmvn", "subtract the mean, divide by the deviation; statistics come with the weights"),
    # time
    Op(
        "delay",
        "`x[t-k]`: the frame k steps ago; absent frames read as zero, or as input two",
        (1, 2),
        {"frames": _REACH},
        framewise=False,
        surface=False,
    ),
    Op(
        "ahead",
        "`x[t+k]`: the frame k steps ahead; absent frames as for delay",
        (1, 2),
        {"frames": _REACH},
        framewise=False,
        surface=False,
    ),
    Op(
        "window",
        "`x[t-past*by .. t+future*by]`: neighbouring frames as taps; absent ones as for delay",
        (1, 2),
        {
            "past": _EITHER_WAY,
            "future": _EITHER_WAY,
            "by": _int(1),
            "in_chunk": Option("bool", False),
            "chunk": Option("time", None),
        },
        framewise=False,
        surface=False,
    ),
    Op(
        "stride",
        "keep the last frame of each slot of `factor` frames",
        options={"factor": _FACTOR},
        framewise=False,
    ),
    Op(
        "upsample", "repeat each frame `factor` times", options={"factor": _FACTOR}, framewise=False
    ),
    Op("lattice", "a frame as a joint sees it: against every label", surface=False),
    # linear
    Op(
        "dense",
        "an affine map of everything in the frame, inputs concatenated; with groups, of"
        " equal parts of the first axis, each on its own",
        (1, None),
        {"n": _int(), "bias": _BIAS, "groups": _int(1)},
    ),
    Op(
        "convf",
        "convolution along the band axis (and over the taps of a window, if there are any)",
        options={
            "channels": _int(),
            "kernel": _int(),
            "stride": _int(1),
            "groups": _int(1),
            "bias": _BIAS,
        },
    ),
    Op("depthwise", "one filter a feature over the taps of a window", options={"bias": _BIAS}),
    Op("embed", "a learned row for each token", options={"n": _int()}),
    # element by element
    *(
        Op(name, doc)
        for name, doc in {
            "sigmoid": "logistic function",
            "tanh": "hyperbolic tangent",
            "relu": "max(x, 0)",
            "swish": "x * sigmoid(x)",
            "gelu": "Gaussian error linear unit",
            "softplus": "log(1 + exp(x))",
            "exp": "exponential",
            "log": "natural logarithm",
            "sqrt": "square root",
            "abs": "absolute value",
        }.items()
    ),
    *(
        Op(name, f"`{sign}`", (2, 2), surface=False)
        for name, sign in (("add", "a + b"), ("sub", "a - b"), ("mul", "a * b"), ("div", "a / b"))
    ),
    Op(
        "dropout",
        "training only: zero features with probability p, rescale the rest",
        options={"p": Option("real", low=0, below=1)},
    ),
    Op("present", "1 for every frame that is there"),
    # over the features of a frame
    Op("glu", "first half times the sigmoid of the second"),
    Op("softmax", "softmax over the features"),
    Op("log_softmax", "log-softmax over the features"),
    Op(
        "layernorm",
        "normalise the features of a frame, learned scale and shift",
        options={"eps": _EPS},
    ),
    Op(
        "rmsnorm",
        "divide by the root mean square, learned scale",
        options={"eps": _EPS},
    ),
    Op(
        "batchnorm",
        "normalise each feature by running statistics, learned scale and shift",
        options={"eps": _EPS},
    ),
    Op(
        "slice",
        "part `index` of `parts` equal parts of the first axis",
        options={"parts": _int(), "index": _int(low=0)},
        surface=False,
    ),
    Op("concat", "features of all inputs, one after the other", (1, None)),
    Op("stack", "inputs of one shape as planes of a new first axis", (1, None)),
    Op("flatten", "all axes and taps as one feature axis"),
    # inner axes
    Op(
        "unfold",
        "cut the band axis into overlapping pieces, which become an inner axis",
        options={"axis": Option("choice"), "size": _int(), "step": _int()},
        surface=False,
    ),
    Op("collect", "the frames of the inner axis as taps", surface=False),
    Op("last", "the last frame of the inner axis"),
    Op("first", "the first frame of the inner axis"),
    Op("mean", "the mean over the inner axis, or over the whole stream", framewise=False),
    Op("max", "the maximum over the inner axis, or over the whole stream", framewise=False),
    Op("append", "one more entry at the end of a catalogue", (2, 2)),
    # attention and choice
    Op(
        "attend",
        "softmax(q k / sqrt(d)) v in each head; with two more inputs (q', r), relative positions"
        " add q' r to the scores",
        (3, 5),
        {
            "heads": _int(),
            "mask": Option("choice", "full", choices=MASKS),
            "chunk": Option("time", None),
            "left": Option("span", None, 0),
            "right": Option("span", None, 0),
        },
        framewise=False,
    ),
    Op(
        "switch",
        "the second input where the flag is up, else the third; the other is not run",
        (3, 3),
        surface=False,
    ),
]

OPS: Final[dict[str, Op]] = {op.name: op for op in _TABLE}
SURFACE: Final[tuple[str, ...]] = tuple(op.name for op in _TABLE if op.surface)
"""Operators that a user may write by name; the others come from syntax."""

UNARY: Final = frozenset(
    {"sigmoid", "tanh", "relu", "swish", "gelu", "softplus", "exp", "log", "sqrt", "abs"}
)
BINARY: Final = frozenset({"add", "sub", "mul", "div"})
VIEWS: Final = frozenset({"delay", "ahead", "window", "stride", "upsample", "flatten", "dropout"})
"""Operators that only say which frames are read; their state belongs to what they read."""

ANNOTATIONS: Final[dict[str, Option]] = {
    "on": Option("choice", None, choices=("nna",)),
    "number": Option("choice", None, choices=("int8", "int16")),
    "weights": Option("int", None, low=1, below=9),
    "coded": Option("real", None, low=0, below=8),
    "per": Option("choice", None, choices=("row", "tensor")),
    "scales": Option("choice", None, choices=("frozen", "learned")),
}
"""What passes note on a value, whatever its operator: who computes it, how its numbers are stored,
the bits of its weights and of these in a coded stream, what has a scale, and whether scales learn.
A value has only those that were noted."""
