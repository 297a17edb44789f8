"""Every operator on every clock that it works on: lowered it is the reference, its step the whole.

An operator is a stage of the language, or statements that end in `y = ...`; a place says what comes
in and what becomes of it. Where the checker refuses a place, there is nothing to lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from asrc.backends.torch.examples import Length
from asrc.compiler.graph import Graph
from asrc.compiler.ops import OPS, UNARY
from asrc.tests.backends.torch.held import Held
from asrc.tests.lang.checked import check
from asrc.tests.lang.supply import supply

LENGTHS = (Length(Fraction(53, 100), 4), Length(Fraction(38, 100), 2), Length(Fraction(3, 100), 1))

PLACES = {
    "frames": "y = x |> {}",
    "planes": "y = mel |> convf(4, kernel=3, stride=8) |> {}",
    "taps": "y = x[t-2..t+1] |> {}",
    "planes of taps": "b = mel |> convf(4, kernel=3, stride=8)\ny = b[t-1..t] |> {}",
    "in frames and bands": "y = mel |> along(f, size=24, step=12) {{ dense(8) |> {} }}",
    "folded bands": "y = mel |> along(f, size=24, step=12) {{ dense(8) |> {} |> last }}",
    "labels": "y = prev |> embed(8) |> {}",
    "labels' taps": "e = prev |> embed(8)\ny = e[t-1..t] |> {}",
    "entries": "y = names |> along(chars) {{ embed(8) |> {} |> last }}",
    "encoded": "y = names |> along(chars) {{ embed(8) |> last }} |> {}",
    "an utterance": "y = who |> {}",
    "a joint": "net e(x) {{ out x |> dense(8) }}\nnet p(prev) {{ out prev |> embed(8) }}\n"
    "net j(e, p) {{ out (e + p) |> {} }}",
    "a gate": "y = x |> switch(wake) {{ {} }}",
    "behind a gate": "y = x |> switch(wake) {{ dense(8) }} else {{ tanh }} |> {}",
    "before a stride": "y = x |> {} |> stride(2)",
    "behind a stride": "y = x |> stride(2) |> {}",
    "slow frames": "y = x |> stride(3) |> {} |> upsample(3)",
    "in chunks": "u = x |> {}\nv = attend(2, mask=chunk, chunk=40ms, left=40ms)(u, u, u)\n"
    "y = v[t-2..t+2 in chunk]",
    "ahead": "u = x |> {}\ny = u[t+2] + x",
    "a recurrence": "h = dense(8)(x, {}(h[t-1]))\ny = h",
    "a slow recurrence": "h = dense(8)(slow, {}(h[t-2]))\ny = h",
}
"""Where a stage stands."""

STAGES = {
    **{op: op for op in UNARY - {"log", "sqrt", "exp"}},
    "exp": "tanh |> exp",
    "log": "softplus |> log",
    "sqrt": "softplus |> sqrt",
    "cmvn": "cmvn",
    "dense": "dense(8)",
    "convf": "convf(3, kernel=3)",
    "depthwise": "depthwise",
    "dropout": "dropout(0.5)",
    "present": "present",
    "glu": "glu",
    "softmax": "softmax",
    "log_softmax": "log_softmax",
    "layernorm": "layernorm",
    "rmsnorm": "rmsnorm",
    "batchnorm": "batchnorm",
    "flatten": "flatten",
    "last": "last",
    "first": "first",
    "mean": "mean",
    "max": "max",
    "stride": "stride(2)",
    "upsample": "upsample(2)",
}

PAIRS = {
    "add": "{a} + {b}",
    "sub": "{a} - {b}",
    "mul": "{a} * {b}",
    "div": "{a} / ({b} |> softplus)",
    "concat": "concat({a}, {b})",
    "stack": "stack({a}, {b})",
    "attend": "attend(2)({a}, {b}, {b})",
    "append": "append({a}, weight[8])",
    "dense": "dense(5)({a}, {b})",
}
"""Operators of several inputs, and where those come from."""

SIDES = {
    "streams": "a = x |> dense(8)\nb = x |> relu\n",
    "a stream later": "a = x |> dense(8)\nb = x[t+2]\n",
    "a stream and a window before it": "a = x |> dense(8)\nb = x[t-3]\n",
    "rates": "a = x |> stride(4)\nb = slow\n",
    "a stream and an utterance": "a = x\nb = who\n",
    "a stream and a constant": "a = x\nb = weight[8]\n",
    "labels": "a = prev |> embed(8)\nb = a |> tanh\n",
    "labels and an utterance": "a = prev |> embed(8)\nb = who\n",
    "utterances": "a = who |> relu\nb = who |> dense(8)\n",
    "entries": "a = names |> along(chars) { embed(8) |> last }\nb = a |> dense(8)\n",
    "frames and entries": "a = x\nb = names |> along(chars) { embed(8) |> last }\n",
    "labels and entries": "a = prev |> embed(8)\nb = names |> along(chars) { embed(8) |> last }\n",
    "flags": "a = x\nb = wake |> dense(8)\n",
    "a gate": "a = x |> switch(wake) { dense(8) }\nb = x\n",
    "bands": "a = mel |> convf(4, kernel=3, stride=8)\nb = mel |> dense(4)\n",
    "planes": "a = mel |> convf(4, kernel=3, stride=8)\nb = a |> tanh\n",
}

JOINT = "net e(x) { out x |> dense(4) }\nnet p(prev) { out prev |> embed(4) }\n"
TWO = "input two: pcm[2] @ 16kHz\n"
CHUNKED = "u = attend(2, mask=chunk, chunk=40ms)(x, x, x)\n"
SELF = "block Self { out attend(2, mask=causal, left=6)(in, in, in) }\n"

STATEMENTS = {
    "input": ["y = x", "y = who", "y = wake", "y = names"],
    "weight": ["y = weight[8]\nz = x", "y = x + weight[8](init=ones)",
               "y = embed(8)(prev) + weight[8]"],
    "constant": ["y = 2 * x", "y = 1 - x", "y = x / 3", "y = 1 / (x |> softplus)"],
    "positions": [
        "r = positions(8) |> dense(8)\nout attend(2)(x, x, x, x, r)",
        "r = positions(8)\nout attend(2, mask=chunk, chunk=40ms, left=80ms)(x, x, x, x, r)",
        "r = positions(8)\nout attend(2, mask=limited, left=3, right=2)(x, x, x, x, r)",
        "e = prev |> embed(8)\nr = positions(8)\nout attend(2, mask=causal, left=4)(e, e, e, e, r)",
    ],
    "logmel": [
        "y = audio |> logmel(bins=8, window=25ms, hop=10ms)",
        "y = audio |> logmel(bins=8, window=20ms, hop=20ms, low=100Hz, high=7kHz)",
        "y = audio |> logmel(bins=8, window=20ms, hop=10ms) |> stride(2)",
        f"{TWO}net n(two) {{ out two |> logmel(bins=8, window=25ms, hop=10ms) }}",
    ],
    "delay": [
        "y = x[t-3]", "y = prev[t-1] |> embed(8)", "y = wake[t-2]", "y = x[t-2](init=who)",
        "block B(n) { out dense(n)(in, in[t-1]) }\ny = mel |> along(f, size=24, step=12) { B(4) }",
        "y = x |> stride(2) |> upsample(2)\nz = y[t-1] |> stride(2)",
    ],
    "ahead": [
        "y = x[t+3]", "y = wake[t+1]", "y = x[t+2](init=who) + x",
        "block B(n) { out dense(n)(in, in[t+1]) }\ny = mel |> along(f, size=24, step=12) { B(4) }",
        "y = names |> along(chars) { embed(4) |> dense(4) |> last }",
    ],
    "window": [
        "y = x[t-2..t]", "y = x[t-4..t+4 by 2]", "y = x[t+1..t+3]", "y = x[t-5..t-2]",
        "y = x[t-2..t](init=who)", "y = x[t-2..t+2] |> depthwise",
        "y = x[t-4..t by 2] |> dense(8) |> stride(3)",
        f"{CHUNKED}y = u[t-3..t+3 in chunk]",
        f"{CHUNKED}y = u[t-2..t+2 in chunk] |> dense(8)",
        "y = mel[t-1..t+1] |> convf(3, kernel=3, stride=2) |> stride(2)",
        "y = names |> along(chars) { embed(8) |> last }",
    ],
    "lattice": [f"{JOINT}net j(e, p) {{ out e * p }}"],
    "embed": ["y = prev |> embed(8)", "y = names |> along(chars) { embed(8) |> first }"],
    "slice": ["a, b, c = mel[t-1..t] |> flatten |> dense(9) |> split(3)",
              "a, b = prev |> embed(8) |> split(2)"],
    "unfold": ["y = mel |> along(f, size=16, step=8) { dense(3) |> mean }"],
    "collect": ["y = mel |> along(f, size=16, step=8) { dense(3) }"],
    "attend": [
        "y = attend(2)(x, x, x)", "y = attend(2, mask=causal)(x, x, x)",
        "y = attend(2, mask=causal, left=50ms)(x, x, x)",
        "y = attend(2, mask=chunk, chunk=40ms, left=80ms)(x, x, x)",
        "y = attend(4, mask=limited, left=3, right=2)(x, x, x |> dense(12))",
        "y = attend(2, mask=chunk, chunk=40ms, left=40ms)(x |> stride(4), slow, slow)",
        f"{SELF}y = x |> switch(wake) {{ Self() }}",
        f"{SELF}y = mel |> along(f, size=24, step=12) {{ dense(8) |> Self() }}",
    ],
    "switch": [
        "y = x |> switch(wake) { dense(4) |> relu |> dense(8) }",
        "block B(k) { out in[t-k] }\ny = x |> switch(wake) { B(1) } else { B(2) }",
        "y = x |> switch(wake) { dense(8) |> switch(wake[t-1]) { tanh } } else { relu }",
    ],
}  # fmt: skip
"""What no place says."""


def texts(op: str) -> Iterator[tuple[str, str]]:
    """Pieces of model text with the operator, each with a name."""
    if op in STAGES:
        stage = STAGES[op]
        yield from ((place, text.format(stage)) for place, text in PLACES.items())
    if op in PAIRS:
        for name, sides in SIDES.items():
            yield name, f"{sides}y = {PAIRS[op].format(a='a', b='b')}\n"
            yield f"{name}, turned", f"{sides}y = {PAIRS[op].format(a='b', b='a')}\n"
    yield from ((text, text) for text in STATEMENTS.get(op, ()))


def built(text: str, folder: Path) -> Graph | None:
    """The graph of a piece of text, if the checker accepts it."""
    checked = check(supply("model.asr", f"{text}\n").source, {}, folder)
    if any(d.severity == "error" for d in checked.diagnostics):
        return None
    return checked.elaborated.graph


@pytest.mark.parametrize("op", sorted(OPS))
def test_operator(op: str, tmp_path: Path) -> None:
    graphs = {name: graph for name, text in texts(op) if (graph := built(text, tmp_path))}
    assert any(node.op == op for graph in graphs.values() for node in graph)
    assert graphs.keys() >= set(STATEMENTS.get(op, ()))
    problems = [f"{name}: {p}" for name, graph in graphs.items() if (p := problem(graph))]
    assert not problems, "\n".join(problems)


def problem(graph: Graph) -> str:
    try:
        Held(graph, LENGTHS).check()
    except Exception as error:  # noqa: BLE001  every place is tried, and named
        return f"{type(error).__name__}: {str(error).splitlines()[:1]}"
    return ""
