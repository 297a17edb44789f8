"""The syntax tree of `.asr`. Every node knows its span; nothing here has meaning yet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..compiler.source import Source, Span


@dataclass(frozen=True, slots=True)
class Syntax:
    span: Span


# --- expressions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ident(Syntax):
    name: str


@dataclass(frozen=True, slots=True)
class Number(Syntax):
    """`160`, `0.5`, `1e-3`. Exact: a literal is never rounded to a float."""

    value: Fraction
    text: str


@dataclass(frozen=True, slots=True)
class Quantity(Syntax):
    """`25ms`, `16kHz`, `5bit`, `24KiB`, `40M`, `30%`: a number with its unit as written."""

    value: Fraction
    unit: str
    text: str


@dataclass(frozen=True, slots=True)
class String(Syntax):
    value: str


@dataclass(frozen=True, slots=True)
class Name(Syntax):
    name: str


@dataclass(frozen=True, slots=True)
class Incoming(Syntax):
    """`in`: what the pipe brings into a block."""


@dataclass(frozen=True, slots=True)
class Unary(Syntax):
    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Syntax):
    """`+ - * / ^`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Range(Syntax):
    """`30M..45M`, both ends included."""

    low: Expr
    high: Expr


@dataclass(frozen=True, slots=True)
class Arg(Syntax):
    """`expr`, `name=expr`, `duty<=40%` (op is the comparison), `b in 1..6` (op is `in`)."""

    name: Ident | None
    op: str
    value: Expr


@dataclass(frozen=True, slots=True)
class Call(Syntax):
    """`callee(args)`; `dense(4*n)(in, h[t-1])` is a call of a call."""

    callee: Expr
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class When(Syntax):
    """`t`, `t-1`, `t-(k-1)`, `t+2-k`: the signed offset from the frame index, `None` for `t`."""

    offset: Expr | None


@dataclass(frozen=True, slots=True)
class At(Syntax):
    """`h[t-1]`: one frame of a stream."""

    base: Expr
    when: When


@dataclass(frozen=True, slots=True)
class Window(Syntax):
    """`x[t-2..t]`, `u[t-7..t+7 in chunk]`, `x[t-8..t by 2]`."""

    base: Expr
    first: When
    last: When
    dilation: Expr | None
    clip: Ident | None


@dataclass(frozen=True, slots=True)
class Field(Syntax):
    """`encoder.body`."""

    base: Expr
    name: Ident


@dataclass(frozen=True, slots=True)
class Each(Syntax):
    """`encoder.body.*`, in selectors."""

    base: Expr


@dataclass(frozen=True, slots=True)
class Weight(Syntax):
    """`weight[1, 128](init=zeros)`: a learned constant."""

    dims: tuple[Expr, ...]
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Path(Syntax):
    """`repeat`, `std.rnn`."""

    parts: tuple[Ident, ...]

    def __str__(self) -> str:
        return ".".join(p.name for p in self.parts)


@dataclass(frozen=True, slots=True)
class Chain(Syntax):
    """`{ stage |> stage }`: the body of a scope."""

    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Stage(Syntax):
    """`dense(D)`, `swish`, `repeat(4) { ... }`, `switch(g) { ... } else { ... }`.

    `args` is `None` without parentheses; `body` is `None` without braces.
    """

    path: Path
    args: tuple[Arg, ...] | None
    body: Chain | None
    otherwise: Chain | None


@dataclass(frozen=True, slots=True)
class Pipe(Syntax):
    """`head |> stage |> stage`."""

    head: Expr
    stages: tuple[Stage, ...]


Expr = (
    Number
    | Quantity
    | String
    | Name
    | Incoming
    | Unary
    | Binary
    | Range
    | Call
    | At
    | Window
    | Field
    | Each
    | Weight
    | Pipe
)

# --- types -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TypeDim(Syntax):
    """`80`, `D`, or `chars=40`, which names the dimension's axis."""

    name: Ident | None
    value: Expr


@dataclass(frozen=True, slots=True)
class TypeExpr(Syntax):
    """A type as written.

    `kind` is `pcm`, `token`, `flag`, `phrases`, or `None` for a plain `[dims]`.
    `clock` is the expression after `@` (a period, a rate, or the name `label` or `static`).
    `up_to` and `by` bound a catalogue: `phrases[chars] up to 300 by 24`, `[768] up to 300`.
    """

    kind: Ident | None
    dims: tuple[TypeDim, ...]
    taps: Expr | None
    clock: Expr | None
    up_to: Expr | None
    by: Expr | None
    within: Expr | None
    causal: bool


# --- statements ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target(Syntax):
    name: Ident
    type: TypeExpr | None


@dataclass(frozen=True, slots=True)
class Bind(Syntax):
    """`i, f, g, o = ...`."""

    targets: tuple[Target, ...]
    value: Expr


@dataclass(frozen=True, slots=True)
class Out(Syntax):
    """`out x : type`, `out durations = x`."""

    name: Ident | None
    value: Expr
    type: TypeExpr | None


@dataclass(frozen=True, slots=True)
class Loss(Syntax):
    """`loss compute = ...`: a named training loss term."""

    name: Ident
    value: Expr


Statement = Bind | Out | Loss

# --- declarations ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Edition(Syntax):
    """`asr 1`."""

    number: int


@dataclass(frozen=True, slots=True)
class ModelDecl(Syntax):
    name: Ident
    title: String | None


@dataclass(frozen=True, slots=True)
class Use(Syntax):
    """`use std.rnn (Embed, Lstm)`."""

    module: Path
    names: tuple[Ident, ...]


@dataclass(frozen=True, slots=True)
class Param(Syntax):
    """`param D: int multiple 8 in 128..768 = 256`."""

    name: Ident
    kind: Ident
    multiple: Expr | None
    domain: Range | None
    default: Expr


@dataclass(frozen=True, slots=True)
class Let(Syntax):
    name: Ident
    value: Expr


@dataclass(frozen=True, slots=True)
class Input(Syntax):
    name: Ident
    type: TypeExpr


@dataclass(frozen=True, slots=True)
class Formal(Syntax):
    name: Ident
    default: Expr | None


@dataclass(frozen=True, slots=True)
class Block(Syntax):
    name: Ident
    formals: tuple[Formal, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Net(Syntax):
    name: Ident
    formals: tuple[Formal, ...]
    body: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Require(Syntax):
    """`require left <= right`, or `require left in low..high` (op is `in`, right is a Range)."""

    left: Expr
    op: str
    right: Expr


@dataclass(frozen=True, slots=True)
class PassCall(Syntax):
    """`mask(encoder, chunk=320ms)`: the same text in a file and on the command line."""

    name: Path
    args: tuple[Arg, ...]


@dataclass(frozen=True, slots=True)
class Pipeline(Syntax):
    name: Ident
    base: Ident | None
    steps: tuple[PassCall | Require, ...]


Declaration = Edition | ModelDecl | Use | Param | Let | Input | Block | Net | Require | Pipeline


@dataclass(frozen=True, slots=True)
class Comment(Syntax):
    """`# text`; the span starts at the `#` and ends before the line break."""


@dataclass(frozen=True, slots=True)
class Module:
    """One file. `complete` is false when an island did not parse; the rest is still checked.

    `lost` are the names that such islands seem to declare: uses of them say nothing more.
    """

    source: Source
    items: tuple[Declaration, ...]
    comments: tuple[Comment, ...]
    complete: bool
    lost: frozenset[str] = frozenset()
