"""A quantised model in PyTorch: the executor's integers, and slopes to train by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from asrc.backends.nna.codebook import fitted, snapped
from asrc.backends.nna.executor import Executor
from asrc.backends.nna.fixed import Rescale, multiply
from asrc.backends.nna.formats import Code
from asrc.backends.nna.program import Array, Program, quantised, real
from asrc.backends.nna.program import Tensor as Format
from asrc.backends.nna.recipes import RECIPES
from asrc.backends.nna.transducer import compile_transducer
from asrc.backends.torch import loops
from asrc.backends.torch.contract import run_contract
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.integers.kernels import KERNELS
from asrc.backends.torch.integers.program import Call, Engine, once
from asrc.backends.torch.integers.rounding import Rescaler, rounded, weight_codes
from asrc.backends.torch.integers.rounding import snapped as weights_at
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.trial import Trial
from asrc.backends.torch.weights import load_weights
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.placement import SUBSTITUTES
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute
from asrc.tests.backends.nna import models, test_kernels
from asrc.tests.backends.nna.models import ENCODERS, ends, utterance
from asrc.tests.backends.nna.test_lower import stream
from asrc.training.optimise import learned

BITS = {"lstm": 1, "planes": 2, "ahead": 4, "gaps": 5}
"""Of weights; the others have 8."""

PROJECTED = pytest.mark.filterwarnings("ignore:LSTM with projections")


def lowered(found: Facts, numbers: Mapping[str, Array]) -> Lowered:
    made = Lowered(found)
    tensors = {n: torch.from_numpy(np.array(x, np.float32)) for n, x in numbers.items()}
    load_weights(made, tensors)
    return made.eval()


def heard(seed: int) -> dict[str, Tensor]:
    given = utterance(seed)
    return {name: torch.from_numpy(x)[None] for name, x in given.items()}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_computes_what_ships(encoder: str) -> None:
    """Encoder, predictor and joint, whole utterances against steps: no code differs."""
    per = "tensor" if encoder == "ahead" else "row"
    found, numbers = models.quantised(encoder, bits=BITS.get(encoder, 8), per=per)
    made = compile_transducer(found, ends(found), numbers)
    open_end = made.joint.program.outputs[0]
    shown = {"features": made.features, "logits": next(iter(made.joint.made))}
    graph = replace(found.graph, outputs={**found.graph.outputs, **shown})
    values = {
        name: x[0].detach().numpy()
        for name, x in lowered(Facts(graph), numbers)(heard(9)).items()
        if x.ndim > 1
    }
    steps = stream(made.encoder, made.features, values["features"], len(values["encoder"]))
    assert np.array_equal(steps, values["encoder"])
    labels = [made.table[label][None, None, None] for label in utterance(9)["prev"]]
    program, row = Executor(made.predictor.program), made.row
    (said,) = made.predictor.made.values()
    states = [program.step({row: label})[said] for label in labels]
    tensor = made.predictor.program.tensors[said]
    assert np.array_equal([real(s.ravel(), tensor) for s in states], values["predictor"])
    joint = Executor(made.joint.program)
    at, by = made.joint.program.inputs
    tensor = made.joint.program.tensors[open_end]
    for t in range(0, len(values["encoder"]), 5):
        row_t = quantised(values["encoder"][t][None, None, None], made.joint.program.tensors[at])
        for u, state in enumerate(states):
            codes = joint.step({at: row_t, by: state})[open_end]
            assert np.array_equal(real(codes.ravel(), tensor), values["logits"][t, u])


@PROJECTED
@pytest.mark.parametrize("encoder", ["ahead", "gaps", "attention"])
def test_a_quantised_model_is_a_stream(encoder: str) -> None:
    findings = run_contract(Trial.of(lowered(*models.quantised(encoder))))
    assert [f.words for f in findings if not f.ok] == []
    assert findings[0].worst == 0  # not one code differs


def learning(model: Lowered) -> Lowered:
    """Its scales and ranges have gradients, as in a training."""
    assert learned(model)
    return model


def gradients(model: Lowered, seed: int) -> dict[str, Tensor]:
    model.zero_grad()
    values = model(heard(seed))
    weights = torch.randn(values["joint"].shape, generator=torch.Generator().manual_seed(1))
    (values["joint"] * weights).sum().backward()
    every = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    return {n: p.grad.clone() for n, p in every.items() if p.grad is not None}


@PROJECTED
@pytest.mark.parametrize("encoder", ["planes", "ahead", "turns"])
def test_a_recurrence_as_one_has_the_slopes_of_its_steps(
    encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Back-propagation by hand against autograd through every step."""
    model = models.quantised(encoder, bits=4, scales="learned")
    whole = learning(lowered(*model))
    monkeypatch.setattr(loops, "match_lstm", lambda graph, types, loop: None)
    scanned = learning(lowered(*model))
    assert any(part.scanned for part in scanned.parts.values())
    assert not any(part.scanned for part in whole.parts.values())
    one, other = gradients(whole, 4), gradients(scanned, 4)
    assert one.keys() == other.keys()
    assert {name.rpartition(".")[2] for name in one} >= {"range", "scale", "weight"}
    for name in one:
        assert torch.allclose(one[name], other[name], rtol=1e-3, atol=1e-5), name


@PROJECTED
@pytest.mark.parametrize("encoder", ["lstm", "planes", "ahead", "gaps", "attention"])
def test_slopes_are_near_those_of_the_float_model(encoder: str) -> None:
    numbers = models.weights(encoder)
    float_model = lowered(models.facts(encoder), numbers)
    wanted = gradients(float_model, 4)
    found = gradients(lowered(*models.quantised(encoder)), 4)
    assert found.keys() == wanted.keys()
    one, other = (torch.cat([g[n].flatten() for n in sorted(g)]) for g in (found, wanted))
    assert torch.cosine_similarity(one, other, 0) > 0.9
    assert 0.8 < float(one.norm() / other.norm()) < 1.2


# --- operators ---


@pytest.mark.parametrize("kind", sorted(KERNELS))
def test_every_operator_gives_the_codes_of_the_executor(kind: str) -> None:
    for program, inputs in test_kernels.programs(kind, 20):
        wanted = Executor(program).step(inputs)[program.outputs[0]]
        engine = Engine(program, [])
        given = [reals(program, n, inputs[n]) for n in engine.inputs]
        (found,) = once(Call(engine, [], program.outputs), given, [])
        tensor = program.tensors[program.outputs[0]]
        assert np.array_equal(found.numpy().reshape(wanted.shape), real(wanted, tensor))


def reals(program: Program, name: str, codes: Array) -> Tensor:
    return torch.from_numpy(real(codes, program.tensors[name]))


def test_operators_that_rows_make_are_there() -> None:
    assert KERNELS.keys() <= RECIPES.keys()
    one_by_one = {op: kinds for op, kinds in SUBSTITUTES.items() if op != "attend"}
    assert {kind for kinds in one_by_one.values() for kind in kinds} <= KERNELS.keys()


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(-31, 6)), min_size=3, max_size=3))
def test_rescaling(by: list[tuple[int, int]]) -> None:
    factors = [Rescale(multiplier, shift) for multiplier, shift in by]
    x = torch.from_numpy(np.random.default_rng(0).integers(-(1 << 24), 1 << 24, (50, 3)))
    x = torch.cat([x, torch.arange(-6, 6).view(-1, 3)])
    wanted = multiply(x.numpy(), *np.array(by, np.int64).T)
    assert np.array_equal(Rescaler(factors)(x.clone()).numpy(), wanted)
    one = multiply(x.numpy(), *by[0])
    assert np.array_equal(Rescaler(factors[:1])(x.clone()).numpy(), one)


def test_rounding_is_that_of_the_host_and_straight_through() -> None:
    code = Code("int8", 0.25, 3)
    x = torch.linspace(-60, 60, 4801).requires_grad_()
    ends = torch.zeros(2, requires_grad=True)
    found = rounded(x, code, ends)
    tensor = Format("x", (4801,), "int8", 0.25, 3)
    assert np.array_equal(
        found.detach().numpy(), real(quantised(x.detach().numpy(), tensor), tensor)
    )
    found.sum().backward()
    assert x.grad is not None
    inside = (x >= (-128 - 3) / 4) & (x <= (127 - 3) / 4)
    assert torch.equal(x.grad, inside.float())
    assert ends.grad is not None
    assert ends.grad.tolist() == [(x < -131 / 4).sum(), (x > 31).sum()]
    assert rounded(torch.tensor([float("nan")]), code, ends).item() == 0


def test_both_ends_of_a_symmetric_range_follow_the_further_one() -> None:
    code, ends = Code("int16", 2 / 32767), torch.tensor([-2.0, 1.0], requires_grad=True)
    x = torch.tensor([-3.0, -2.5, 2.5, 1.5])
    (rounded(x, code, ends) * torch.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert ends.grad is not None
    assert ends.grad.tolist() == [11 - 100, 0]


@pytest.mark.parametrize(("bits", "coded"), [(1, None), (2, 1), (4, None), (8, None)])
def test_scales_learn_by_what_they_move(bits: int, coded: float | None) -> None:
    """With weights beyond all codes the slope is exact."""
    weight = np.random.default_rng(1).standard_normal((6, 50)).astype(np.float32)
    scales, book = fitted(weight, bits, coded=coded)
    beyond = torch.from_numpy(9 * np.sign(weight) + weight)
    slope = torch.rand((6, 50), generator=torch.Generator().manual_seed(1)) * beyond.sign()
    table = None if book is None else torch.from_numpy(book)
    scale = torch.from_numpy(scales).requires_grad_()
    (weights_at(beyond, scale, table) * slope).sum().backward()
    assert scale.grad is not None
    moved = weights_at(beyond, 1.5 * scale, table) - weights_at(beyond, scale, table)
    assert torch.allclose(scale.grad, (moved * slope).sum(1) / (0.5 * scale), rtol=1e-4)
    on_grid = weights_at(torch.from_numpy(weight), scale, table).detach()
    scale.grad = None
    (weights_at(on_grid, scale, table) * slope).sum().backward()
    assert scale.grad.abs().max() < 1e-2  # nothing to round: nothing to gain


@pytest.mark.parametrize(("bits", "coded"), [(1, None), (2, 1), (3, None), (8, None)])
def test_weights_are_those_of_the_program(bits: int, coded: float | None) -> None:
    weight = np.random.default_rng(bits).laplace(size=(7, 40)).astype(np.float32)
    scales, book = fitted(weight, bits, coded=coded)
    given = (None if x is None else torch.from_numpy(x) for x in (weight, scales, book))
    found = weight_codes(*given)  # type: ignore[arg-type]
    assert np.array_equal(found.numpy(), snapped(weight, scales, book))


def test_float_operators_at_the_numbers_of_a_format() -> None:
    """`quantize` alone: every value on its grid, the operators those of the float model."""
    graph, _ = Quantize().run(models.facts("planes").graph, None)
    _, numbers = models.quantised("planes")
    made = Lowered(Facts(graph))
    wanted = made.tensors()
    tensors = {n: torch.from_numpy(np.array(numbers[n], np.float32)) for n in wanted}
    load_weights(made, tensors)
    made.eval()
    found = made(heard(9))["encoder"][0].detach()
    exact = lowered(*models.quantised("planes"))(heard(9))["encoder"][0].detach()
    low, high = tensors[f"{graph.outputs['encoder']}.range"].tolist()
    step = (max(high, 0) - min(low, 0)) / 255
    codes = found / step
    assert torch.allclose(codes, codes.round(), atol=1e-3)
    assert 0 < (found - exact).abs().max() < 12 * step


@pytest.mark.parametrize("part", ["encoder", "predictor", "joint"])
def test_one_part_is_the_accelerators_and_the_others_stay(part: str) -> None:
    """With gradients for all of them."""
    graph = models.facts("planes").graph
    for each in (Substitute(part), Quantize(part)):
        graph, _ = each.run(graph, None)
    _, numbers = models.quantised("planes")
    made = Lowered(Facts(graph))
    wanted = made.tensors()
    load_weights(made, {n: torch.from_numpy(np.array(numbers[n], np.float32)) for n in wanted})
    given = {**heard(9), "prev": torch.tensor([[0, 3, 1, 5]])}
    found, plain = (
        made.eval()(given),
        lowered(models.facts("planes"), models.weights("planes"))(given),
    )
    for name in {"encoder", "predictor"} - {part}:  # but rounded, where the joint reads codes
        within = 0.05 if part == "joint" else 0.0
        torch.testing.assert_close(found[name], plain[name], rtol=0, atol=within)
    assert not torch.equal(found[part], plain[part])
    found["joint"].square().mean().backward()
    grads = {n: p.grad for n, p in made.named_parameters()}
    assert all(g is not None and bool(torch.isfinite(g).all()) for g in grads.values())


def test_ranges_that_nobody_took() -> None:
    found, _ = models.quantised("lstm")
    with pytest.raises(AsrcError, match="which numbers") as error:
        Lowered(found)(heard(1))
    assert error.value.diagnostics[0].code == "E0705"


def test_substitute_without_quantize_is_refused() -> None:
    graph, _ = Substitute().run(models.facts("lstm").graph, None)
    with pytest.raises(AsrcError) as error:
        Lowered(Facts(graph))
    assert {d.code for d in error.value.diagnostics} == {"E0703"}


def test_first_values_have_ranges() -> None:
    """So that a quantised model can be verified before it is trained, and says something."""
    found, _ = models.quantised("attention")
    made = Lowered(found)
    initialise(made, seed=3)
    joint = made.eval()(heard(1))["joint"]
    assert torch.isfinite(joint).all()
    assert joint.std() > 0.01
