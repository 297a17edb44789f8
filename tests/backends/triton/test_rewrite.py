"""Operators that become one launch: sums and their norms, and what dropout stands between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from asrc.backends.torch.dropout import Dropout
from asrc.backends.torch.leaves import Dense, LayerNorm, RmsNorm
from asrc.backends.triton.kernels.norm import WIDEST
from asrc.backends.triton.modules import Attention, Fast, Linear, Norm, Packing, Softmax, SumNorm
from asrc.backends.triton.packed import dense_of
from asrc.backends.triton.rewrite import Placed, Rewriter
from asrc.tests.backends.triton.guard import close, random


class Leaves(fx.Tracer):
    """Modules stay whole, as in a lowered part."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return True


class Given(nn.Module):
    """Modules with random numbers, and what is done with them."""

    def __init__(self, do: Callable[..., object], **leaves: nn.Module) -> None:
        super().__init__()
        self.do = do
        for name, leaf in leaves.items():
            self.add_module(name, leaf)
        for seed, x in enumerate(self.parameters()):
            x.data.copy_(random(*x.shape, seed=seed + 9))

    def forward(self, x: Tensor, y: Tensor) -> object:
        return self.do(self, x, y)


def rewritten(given: Given) -> tuple[fx.GraphModule, dict[str, Placed]]:
    work = Rewriter(fx.GraphModule(given, Leaves().trace(given)))
    return work.run(), {one.value: one for one in work.placed}


@torch.no_grad()
def same(given: Given, *shapes: tuple[int, ...]) -> list[Fast]:
    """The numbers are PyTorch's; which modules make them."""
    made, _ = rewritten(given.eval())
    x, y = (random(*shape, seed=seed) for seed, shape in enumerate(shapes))
    for found, wanted in zip(made(x, y), given(x, y), strict=True):
        close(found, wanted)
    return [m for m in made.modules() if isinstance(m, Fast)]


def kinds(made: list[Fast]) -> list[type]:
    return [type(one) for one in made]


def norm(width: int = 7) -> LayerNorm:
    return LayerNorm((width,), 1e-5, False)


def pre_norm(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    total = x + y
    return of.norm(total), total * 2.0


SUMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "plain": lambda x, y: x + y,
    "first scaled": lambda x, y: x * 0.5 + y,
    "second scaled": lambda x, y: x + 0.25 * y,
    "of a function": lambda x, y: torch.relu(x) + y,
    "of a scaled function": lambda x, y: 3.0 * torch.tanh(x) + y,
    "of three": lambda x, y: x - y + torch.sigmoid(y),
    "with itself": lambda x, y: x + x,
}


@pytest.mark.parametrize("form", SUMS)
@pytest.mark.parametrize("leaf", [norm(), RmsNorm((7,), 1e-5, False)], ids=["layer", "rms"])
def test_a_sum_and_its_norm_are_one_launch(form: str, leaf: nn.Module) -> None:
    """Whether others read the sum, or it is the norm's alone."""

    def alone(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return (of.norm(SUMS[form](x, y)),)

    def read_again(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        total = SUMS[form](x, y)
        return of.norm(total), total, total - y

    for do in (alone, read_again):
        made = kinds(same(Given(do, norm=leaf), (3, 5, 7), (3, 5, 7)))
        assert made.count(SumNorm) == 1
        assert Norm not in made


def test_the_report_has_both() -> None:
    _, placed = rewritten(Given(pre_norm, norm=norm()))
    assert [placed[name].kernel for name in ("add", "norm", "mul")] == ["norm", "norm", "pointwise"]


@pytest.mark.parametrize("shapes", [((3, 5, 7), (1, 1, 7)), ((1, 5, 7), (3, 1, 7)), ((7,), (2, 7))])
def test_summands_spread(shapes: tuple[tuple[int, ...], ...]) -> None:
    assert SumNorm in kinds(same(Given(pre_norm, norm=norm()), *shapes))


def test_a_norm_over_many_axes() -> None:
    leaf = LayerNorm((3, 5), 1e-5, False)
    assert SumNorm in kinds(same(Given(pre_norm, norm=leaf), (2, 3, 3, 5), (2, 1, 3, 5)))


def test_the_next_sum_reads_the_last_one() -> None:
    """Two layers with norms before them."""

    def layers(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        total = x + y
        more = total + torch.relu(of.norm(total))
        return of.second(more), more

    made = kinds(same(Given(layers, norm=norm(), second=norm()), (2, 3, 7), (2, 3, 7)))
    assert made.count(SumNorm) == 2


TWICE: dict[str, Callable[[Given, Tensor], Tensor]] = {
    "added": lambda of, x: of.dense(x),
    "behind an activation": lambda of, x: torch.relu(of.dense(x)),
    "behind a chain": lambda of, x: torch.tanh(of.dense(x)) * 0.5,
    "of a norm": lambda of, x: of.norm(x),
}


@pytest.mark.parametrize("form", TWICE)
def test_a_value_and_itself(form: str) -> None:
    """It has one reader and is read twice, so that nothing is absorbed into what makes it."""

    def do(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        first, second = TWICE[form](of, x), TWICE[form](of, y)
        return first + first, second * second

    leaves = {"dense": Dense((7, 7), True, 1), "norm": norm()}
    same(Given(do, **leaves), (2, 3, 7), (2, 3, 7))


def test_rows_that_no_kernel_holds() -> None:
    """They are left to PyTorch; so is a softmax, whose width is known when it runs."""

    def do(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return of.norm(x), of.norm(x + y)

    given = Given(do, norm=norm(WIDEST + 1))
    made = kinds(same(given, (2, WIDEST + 1), (2, WIDEST + 1)))
    assert Norm not in made
    assert SumNorm not in made
    _, placed = rewritten(given)
    assert placed["norm"].kernel is None
    assert str(WIDEST) in placed["norm"].why
    x = random(2, WIDEST + 1)
    for log, wanted in ((False, functional.softmax), (True, functional.log_softmax)):
        assert torch.equal(Softmax(-1, log)(x), wanted(x, -1))


def test_no_frame_at_all() -> None:
    """An utterance may be shorter than a frame, alone in its batch."""
    none = torch.zeros(1, 0, 12)
    assert Attention(2, {"left": None, "right": 0})(none, none, none).shape == (1, 0, 12)
    for leaf in (Dense((8, 3), True, 4), Dense((8, 12), True, 1)):
        for layer in (leaf, Linear(leaf, None)):
            assert layer(none).shape == (1, 0, 8)


def test_a_weight_that_is_another_one_now() -> None:
    """Versions alone would say that nothing has changed."""
    leaf, other = (Given(lambda of, x, y: x, dense=Dense((4, 32), False, 1)) for _ in range(2))
    other.dense.weight.data.mul_(-3)
    for each in (leaf, other):
        each.dense.register_buffer("scale", torch.full((4,), 0.01))
    packing = Packing(leaf.dense)
    before = dense_of(packing())
    leaf.load_state_dict(other.state_dict(), assign=True)
    assert not torch.equal(dense_of(packing()), before)
    assert torch.equal(dense_of(packing()), dense_of(Packing(other.dense)()))


def test_no_sum_of_two_values() -> None:
    """With a number, or something after it."""

    def others(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return of.norm(x + 1.0), of.second((x + y) * 2.0), of.third(x * y)

    leaves = {name: norm() for name in ("norm", "second", "third")}
    assert SumNorm not in kinds(same(Given(others, **leaves), (2, 3, 7), (2, 3, 7)))


def test_a_norm_of_windows_is_by_itself() -> None:
    leaf = LayerNorm((7,), 1e-5, True)
    assert SumNorm not in kinds(same(Given(pre_norm, norm=leaf), (2, 7, 3), (2, 7, 3)))


@pytest.mark.parametrize("taps", [False, True])
def test_an_activation_is_the_norms(taps: bool) -> None:
    def do(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        return torch.tanh(of.norm(x)), torch.relu(torch.sigmoid(of.second(y)))

    leaves = {name: LayerNorm((5,), 1e-5, taps) for name in ("norm", "second")}
    made = same(Given(do, **leaves), (2, 5, 5), (3, 5, 5))
    assert sorted(one.kernel for one in made) == ["norm", "norm", "pointwise"]  # a second function


def test_a_residual_behind_dropout_is_the_products() -> None:
    """A product that can take a sum in moves less than the norm behind would."""

    def layer(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        total = y + of.dropout(of.dense(x)) * 0.5
        return of.norm(total), total

    leaves = {"dense": Dense((7, 6), True, 1), "dropout": Dropout(0.3, 0), "norm": norm()}
    made = same(Given(layer, **leaves), (2, 3, 6), (2, 3, 7))
    assert [one.kernel for one in made] == ["linear", "norm"]


def test_what_is_dropped_out_may_be_read_before_too() -> None:
    def layer(of: Given, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        made = of.dense(x)
        return made, y + of.dropout(made)

    leaves = {"dense": Dense((7, 6), True, 1), "dropout": Dropout(0.3, 0)}
    assert [one.kernel for one in same(Given(layer, **leaves), (2, 3, 6), (2, 3, 7))] == [
        "linear",
        "pointwise",
    ]
