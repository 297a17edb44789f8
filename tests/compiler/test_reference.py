"""The reference evaluator: frame by frame operators, presence and inputs, against plain loops."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest

from asrc.compiler.facts import Facts
from asrc.compiler.ops import OPS
from asrc.compiler.reference import RULES, evaluate, random_weights
from asrc.compiler.types import Finite, Static, Type
from asrc.tests.builders import Builder
from asrc.tests.compiler.evaluation import (
    Array,
    frames,
    noise,
    run,
    sigmoid,
    tokens,
)


def test_every_operator_has_a_rule() -> None:
    assert set(RULES) == set(OPS)


# --- element by element ---

FUNCTIONS = {
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "tanh": math.tanh,
    "relu": lambda x: x if x > 0 else 0.0,
    "swish": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: x * 0.5 * math.erfc(-x / math.sqrt(2)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "abs": math.fabs,
}


@pytest.mark.parametrize("op", FUNCTIONS)
def test_functions(op: str) -> None:
    b = Builder()
    b("y", op, frames(b, "x"))
    x = noise(6, 4) if op not in ("log", "sqrt") else noise(6, 4) ** 2
    wanted = [[FUNCTIONS[op](number) for number in frame] for frame in x]
    np.testing.assert_allclose(run(b, x=x)["y"], wanted, atol=1e-14)


@pytest.mark.parametrize("op", ["sigmoid", "softplus", "log_softmax", "gelu"])
def test_large_numbers_stay_finite(op: str) -> None:
    b = Builder()
    b("y", op, frames(b, "x", 2))
    assert np.isfinite(run(b, x=[[-1e4, 1e4]])["y"]).all()


@pytest.mark.parametrize(
    ("op", "of"),
    [
        ("add", lambda p, q: p + q),
        ("sub", lambda p, q: p - q),
        ("mul", lambda p, q: p * q),
        ("div", lambda p, q: p / q),
    ],
)
@pytest.mark.parametrize("narrow", [(3, 5), (1,), (3,)])
def test_arithmetic_broadcasts_over_trailing_axes(op: str, of: object, narrow: tuple[int]) -> None:
    b = Builder()
    x, y = frames(b, "x", 3, 5), frames(b, "y", *narrow)
    b("there", op, x, y)
    b("back", op, y, x)
    p, q = noise(4, 3, 5), noise(4, *narrow) + 3
    found = run(b.graph(there="there", back="back"), x=p, y=q)
    for t, c, f in product(range(4), range(3), range(5)):
        number = q[t, 0] if narrow == (1,) else q[t, c] if narrow == (3,) else q[t, c, f]
        assert found["there"][t, c, f] == of(p[t, c, f], number)  # type: ignore[operator]
        assert found["back"][t, c, f] == of(number, p[t, c, f])  # type: ignore[operator]


def test_a_vector_meets_the_taps_of_a_window_channel_by_channel() -> None:
    b = Builder()
    x = frames(b, "x", 3)
    b("w", "window", x, past=1, future=0)
    b("y", "mul", "w", x)
    x = noise(4, 3)
    assert np.array_equal(run(b, x=x)["y"][1:], np.stack([x[:-1] * x[1:], x[1:] ** 2], -1))


def test_numbers_and_learned_constants_join_any_stream() -> None:
    b = Builder()
    x = frames(b, "x", 3)
    b("half", "constant", value=Fraction(1, 2))
    b("w", "weight", dims=(3,))
    b("y", "add", b("scaled", "mul", x, "half"), "w")
    found = run(b, x=noise(4, 3))
    np.testing.assert_allclose(found["y"], noise(4, 3) / 2 + found.weights["w.value"])


# --- over the features ---


def normal(x: Array, eps: float = 1e-5) -> Array:
    return (x - x.mean()) / math.sqrt(x.var() + eps)


@pytest.mark.parametrize("dims", [(6,), (2, 3)])
def test_layernorm_and_rmsnorm_run_over_all_axes_of_a_frame(dims: tuple[int, ...]) -> None:
    b = Builder()
    x = frames(b, "x", *dims)
    b("l", "layernorm", x)
    b("r", "rmsnorm", x, eps=Fraction(1, 4))
    data = noise(3, *dims)
    found = run(b.graph(l="l", r="r"), x=data)
    for t, frame in enumerate(data):
        wanted = normal(frame) * found.weights["l.weight"] + found.weights["l.bias"]
        np.testing.assert_allclose(found["l"][t], wanted)
        wanted = frame / math.sqrt((frame**2).mean() + 0.25) * found.weights["r.weight"]
        np.testing.assert_allclose(found["r"][t], wanted)


def test_of_a_window_each_frame_is_normalised_alone() -> None:
    b = Builder()
    b("w", "window", frames(b, "x", 6), past=1, future=0)
    b("y", "layernorm", "w")
    found = run(b, x=noise(3, 6))
    for tap in (0, 1):
        wanted = normal(found["w"][2, :, tap]) * found.weights["y.weight"] + found.weights["y.bias"]
        np.testing.assert_allclose(found["y"][2, :, tap], wanted)


def test_batchnorm_is_per_channel_and_cmvn_per_feature() -> None:
    b = Builder()
    x = frames(b, "x", 2, 3)
    b("n", "batchnorm", x)
    b("m", "cmvn", x)
    data = noise(2, 2, 3)
    found = run(b.graph(n="n", m="m"), x=data)
    w = found.weights
    for t, c, f in product(range(2), range(2), range(3)):
        unit = (data[t, c, f] - w["n.mean"][c]) / math.sqrt(w["n.variance"][c] + 1e-5)
        assert found["n"][t, c, f] == pytest.approx(unit * w["n.weight"][c] + w["n.bias"][c])
        unit = (data[t, c, f] - w["m.mean"][c, f]) / w["m.deviation"][c, f]
        assert found["m"][t, c, f] == pytest.approx(unit)


def test_norms_of_a_constant_frame_are_kept_finite_by_epsilon() -> None:
    b = Builder()
    x = frames(b, "x", 2)
    b("small", "rmsnorm", x)
    b("large", "rmsnorm", x, eps=Fraction(1))
    found = run(b, x=[[0.001, 0.001]])
    for name, eps in (("small", 1e-5), ("large", 1.0)):
        wanted = 0.001 / math.sqrt(1e-6 + eps) * found.weights[f"{name}.weight"]
        np.testing.assert_allclose(found[name][0], wanted)


def test_softmax_and_its_logarithm() -> None:
    b = Builder()
    x = frames(b, "x", 4)
    b("s", "softmax", x)
    b("l", "log_softmax", x)
    found = run(b.graph(s="s", l="l"), x=noise(3, 4))
    for t, frame in enumerate(noise(3, 4)):
        shares = [math.exp(v) / sum(math.exp(u) for u in frame) for v in frame]
        np.testing.assert_allclose(found["s"][t], shares)
        np.testing.assert_allclose(found["l"][t], np.log(shares))


def test_glu_slice_concat_stack_flatten() -> None:
    b = Builder()
    x, y = frames(b, "x", 4, 2), frames(b, "y", 2, 2)
    b("g", "glu", x)
    b("half", "slice", x, parts=2, index=1)
    b("plane", "slice", x, parts=4, index=2)
    b("c", "concat", x, y)
    b("s", "stack", y, "half")
    b("w", "window", y, past=1, future=0)
    b("flat", "flatten", "w")
    p, q = noise(3, 4, 2), noise(3, 2, 2)
    found = run(b.graph(**{n: n for n in ("g", "half", "plane", "c", "s", "flat")}), x=p, y=q)
    np.testing.assert_allclose(found["g"], p[:, :2] * sigmoid(p[:, 2:]))
    assert np.array_equal(found["half"], p[:, 2:])
    assert np.array_equal(found["plane"], p[:, 2])
    assert np.array_equal(found["c"][:, 4:], q)
    assert np.array_equal(found["s"][:, 1], p[:, 2:])
    row = [q[t, c, f] for c in range(2) for f in range(2) for t in (0, 1)]
    assert found["flat"][1].tolist() == row


# --- contractions ---


def test_dense_reads_dims_then_taps_and_concatenates_its_inputs() -> None:
    b = Builder()
    x = frames(b, "x", 2, 3)
    b("w", "window", x, past=1, future=0)
    b("y", "dense", "w", frames(b, "z", 2), n=3)
    p, z = noise(4, 2, 3), noise(4, 2)
    found = run(b, x=p, z=z)
    row = [p[t, c, f] for c in range(2) for f in range(3) for t in (1, 2)] + list(z[2])
    wanted = found.weights["y.weight"] @ row + found.weights["y.bias"]
    np.testing.assert_allclose(found["y"][2], wanted)


def test_dense_in_groups() -> None:
    b = Builder()
    b("y", "dense", frames(b, "x", 4, 3), n=6, groups=2, bias=False)
    found = run(b, x=noise(2, 4, 3))
    weight = found.weights["y.weight"]
    assert weight.shape == (6, 6)
    for o in range(6):
        part = noise(2, 4, 3)[:, :2] if o < 3 else noise(2, 4, 3)[:, 2:]
        np.testing.assert_allclose(found["y"][:, o], part.reshape(2, 6) @ weight[o])


@pytest.mark.parametrize(("stride", "groups", "taps"), [(1, 1, 1), (2, 1, 3), (3, 2, 2), (2, 2, 1)])
def test_convf_is_a_convolution_over_bands_and_taps(stride: int, groups: int, taps: int) -> None:
    """With a window and a stride in time, this is the two-dimensional convolution."""
    b = Builder()
    x = frames(b, "x", 4, 7)
    if taps > 1:
        x = b("w", "window", x, past=taps - 1, future=0)
    b("y", "convf", x, channels=6, kernel=3, stride=stride, groups=groups)
    p = noise(5, 4, 7)
    found = run(b, x=p)
    weight, bias = found.weights["y.weight"], found.weights["y.bias"]
    per, out = 4 // groups, 6 // groups
    assert found["y"].shape == (5, 6, -(-7 // stride))
    for t, o, f in product(range(5), range(6), range(-(-7 // stride))):
        total = bias[o]
        for c, k, m in product(range(per), range(3), range(taps)):
            band, frame = f * stride + k - 1, t + m - (taps - 1)
            if 0 <= band < 7 and frame >= 0:
                total += weight[o, c, k, m] * p[frame, o // out * per + c, band]
        assert found["y"][t, o, f] == pytest.approx(total)


def test_convf_of_plain_bands_has_one_channel() -> None:
    b = Builder()
    b("y", "convf", frames(b, "x", 5), channels=2, kernel=5, bias=False)
    found = run(b, x=noise(2, 5))
    weight = found.weights["y.weight"]
    assert found["y"][1, 1, 2] == pytest.approx(weight[1, 0, :, 0] @ noise(2, 5)[1])


def test_depthwise_is_one_filter_a_feature() -> None:
    b = Builder()
    b("w", "window", frames(b, "x", 2, 3), past=1, future=1)
    b("y", "depthwise", "w")
    p = noise(4, 2, 3)
    found = run(b, x=p)
    weight, bias = found.weights["y.weight"], found.weights["y.bias"]
    for c, f in product(range(2), range(3)):
        total = sum(weight[c, f, m] * p[1 + m, c, f] for m in range(3)) + bias[c, f]
        assert found["y"][2, c, f] == pytest.approx(total)


def test_embed_looks_rows_up() -> None:
    b = Builder()
    b("y", "embed", tokens(b, "prev"), n=3)
    found = run(b, prev=[3, 0, 6])
    assert np.array_equal(found["y"], found.weights["y.weight"][[3, 0, 6]])


def test_a_shared_instance_uses_its_owners_parameters() -> None:
    b = Builder()
    x = frames(b, "x")
    b("one", "dense", x, n=4)
    b("two", "dense", x, n=4, owner="one")
    found = run(b.graph(one="one", two="two"), x=noise(3, 4))
    assert np.array_equal(found["one"], found["two"])
    assert "two.weight" not in found.weights


# --- presence and inputs ---


def test_a_frame_is_there_when_that_frame_of_every_input_is() -> None:
    b = Builder()
    b("y", "add", frames(b, "x", 1), frames(b, "z", 1))
    found = run(b, x=(noise(4, 1), [True, False, True, True]), z=noise(3, 1))
    assert found.present("y") == [True, False, True, False]
    assert np.isnan(found["y"][[1, 3]]).all()


def test_present_is_one_wherever_there_is_a_frame() -> None:
    b = Builder()
    b("y", "present", frames(b, "x"))
    found = run(b, x=(noise(3, 4), 2))
    assert found["y"][:2].tolist() == [[1.0], [1.0]]
    assert found.present("y") == [True, True, False]


def test_dropout_changes_nothing() -> None:
    b = Builder()
    b("y", "dropout", frames(b, "x"), p=Fraction(1, 2))
    assert np.array_equal(run(b, x=noise(3, 4))["y"], noise(3, 4))


def test_lengths_of_inner_axes_and_padding_to_their_size() -> None:
    b = Builder()
    clock = Finite("chars", 4, Finite("phrases", 3, Static()))
    tokens(b, "x", clock=clock)
    found = run(b, x=([[1, 2, 3], [4, 5, 6]], [3, 1]))
    assert found["x"][..., 0].tolist() == [[1, 2, 3, 0], [4, 0, 0, 0], [0] * 4]
    assert np.sum(found.present("x"), 1).tolist() == [3, 1, 0]


@pytest.mark.parametrize("shape", [(3, 5), (4,), (3, 4, 2)])
def test_inputs_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    b = Builder()
    b("y", "relu", frames(b, "x"))
    with pytest.raises(ValueError, match=r"`x` is \[4\] @ 10ms"):
        run(b, x=np.zeros(shape))


def test_too_many_phrases_and_missing_inputs_are_refused() -> None:
    b = Builder()
    frames(b, "x", clock=Finite("phrases", 2, Static()))
    with pytest.raises(ValueError, match="more than 2 phrases"):
        run(b, x=noise(3, 4))
    with pytest.raises(ValueError, match="no data for the input `x`"):
        run(b)


def test_single_precision_stays_single() -> None:
    b = Builder()
    b("y", "dense", frames(b, "x"), n=2)
    graph = b.graph(out="y")
    weights = random_weights(graph, Facts(graph).types, 0)
    found = evaluate(graph, weights, {"x": noise(3, 4)}, dtype=np.float32)
    assert found["y"].data.dtype == np.float32


def test_random_weights_depend_on_the_path_alone() -> None:
    small, large = Builder(), Builder()
    for b in (small, large):
        b("y", "dense", frames(b, "x"), n=2)
    large("z", "cmvn", large("w", "weight", dims=(4,)))
    one, two = (random_weights(g, Facts(g).types, 3) for g in (small.graph(), large.graph()))
    assert set(two) - set(one) == {"w.value", "z.mean", "z.deviation"}
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert (two["z.deviation"] > 0).all()
    assert not np.array_equal(one["y.weight"], random_weights(
        small.graph(), Facts(small.graph()).types, 4)["y.weight"])  # fmt: skip


def test_static_inputs_have_no_index_axes() -> None:
    b = Builder()
    b("c", "input", type=Type((2,), Static()))
    b("y", "concat", frames(b, "x", 1), "c")
    assert run(b, x=[[1], [2]], c=[5, 6])["y"].tolist() == [[1, 5, 6], [2, 5, 6]]
