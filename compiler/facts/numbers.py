"""What a quantised value carries beside its parameters: ranges, scales, codebooks.

They are buffers, as the statistics of a `cmvn` are: taken from real audio, kept with the weights.
"""

from __future__ import annotations

from fractions import Fraction

from ..graph import Node
from ..types import Type

Shapes = dict[str, tuple[int, ...]]

VIEWS = frozenset({"window", "stride", "delay", "ahead", "upsample", "dropout", "lattice"})
"""Operators that only say which frames of their input are meant."""

MOVED = VIEWS | {"flatten", "slice"}
"""Operators whose result has the format of its input."""

WEIGHTED = frozenset({"dense", "convf", "depthwise"})
"""Operators whose weights get fewer bits. A batchnorm may become one of them: bits that are noted
on it are those that its filter will have, and until then it is as it was."""

FEWEST_CODED = Fraction(1, 2)
"""Bits of an index that a coded stream of weights may be held to, at least."""

SPARSE = Fraction(7, 4)
"""Held to no more, most weights are zero: a codebook then says which ones are."""

FIXED = frozenset({"sigmoid", "tanh", "positions", "constant"})
"""Operators whose results have a range of their own, whatever they read."""

SOURCES = frozenset({"weight", "constant", "positions"})
"""Operators that read nothing: their numbers are rounded, not computed."""

NORM = ("square", "variance", "root", "unit", "scaled")
"""What is within a layer norm: centred squares, their mean, its inverse root, the normalised
value, that with its scale and shift."""


ATTENTION = ("content", "position", "tops")
"""What is within an attention: products with keys and with positions, queries' largest scores."""


def inner_ranges(node: Node) -> tuple[str, ...]:
    """Buffers with ranges of what is within a value that the accelerator makes of several."""
    if "on" not in node.attrs or "number" not in node.attrs:
        return ()
    if node.op == "attend":
        return tuple(name for name in ATTENTION if name != "position" or len(node.inputs) == 5)
    return NORM if node.op == "layernorm" else ()


def is_range(name: str) -> bool:
    """Whether a buffer holds a range of values, which only audio tells."""
    return name.rpartition(".")[2] in ("range", *NORM, *ATTENTION)


def quantisers(node: Node, out: Type) -> Shapes:
    """Buffers of a value by what passes noted on it.

    range     the smallest and the largest number of the value, `[2]`
    scale     what one step of the codes of a weight is worth, for each row of it or for all
    codebook  the codes that there are, rising; fewer than 8 bits have one. Where most are zero
              (`ends_cells`), `[2, codes]`: below each, the largest that becomes it
    reach     of a layer norm: the largest scale and shift that can be stored, `[2]`
    """
    return {**_of_value(node), **_of_weights(node, out)}


def bits_of(node: Node) -> int | None:
    """Bits of a value's weights, if a pass gave them any."""
    bits = node.attrs.get("weights")
    return bits if isinstance(bits, int) and node.op in WEIGHTED else None


def coded_of(node: Node) -> Fraction | None:
    """Bits that a code of its weights may take in a coded stream, if a pass set a limit."""
    coded = node.attrs.get("coded")
    return Fraction(coded) if isinstance(coded, int | Fraction) else None


def ends_cells(bits: int, coded: float | Fraction | None) -> bool:
    """Whether a codebook says where its cells end: then weights need not take the nearest code."""
    return coded is not None and coded < bits and coded <= SPARSE


def learned_quantisers(node: Node) -> tuple[str, ...]:
    """Which of these a training moves, if `quantize` said so: not codebooks, nor what is within a
    layer norm or an attention."""
    return ("range", "scale") if node.attrs.get("scales") == "learned" else ()


def _of_value(node: Node) -> Shapes:
    if "number" not in node.attrs or node.op in MOVED or node.op in FIXED:
        return {}
    return dict.fromkeys(("range", *inner_ranges(node)), (2,))


def _of_weights(node: Node, out: Type) -> Shapes:
    if node.op == "layernorm" and node.attrs.get("on"):
        return {"reach": (2,)} if node.owner is None else {}
    bits = bits_of(node)
    if bits is None or node.owner is not None:
        return {}
    ends = (2,) if ends_cells(bits, coded_of(node)) else ()
    book: Shapes = {"codebook": (*ends, 1 << bits)} if bits < 8 else {}
    rows = (1,) if node.attrs.get("per") == "tensor" else out.dims[:1]
    return {"scale": rows, **book}
