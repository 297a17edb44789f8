"""Every model of the zoo: lowered it is the NumPy reference, it trains, and it keeps the streaming
contract."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch

from asrc.backends.torch.contract import run_contract
from asrc.backends.torch.examples import Length, random_inputs
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.ports import value_name
from asrc.backends.torch.trial import Trial
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Node
from asrc.compiler.reference import Value, evaluate, random_weights
from asrc.tests.backends.torch.zoo import PUBLISHED, SMALL, cases, facts, streams

Note = Callable[[str, object], None]
LENGTHS = (Length(Fraction(71, 100), 3), Length(Fraction(56, 100), 2))


def given(node: Node, values: dict[str, torch.Tensor], row: int) -> object:
    """An input of one utterance as the reference takes it."""
    name = value_name_of(node)
    data = values[name][row].numpy()
    if f"{name}_length" in values:
        return data[: int(values[f"{name}_length"][row])]
    return (data, values[f"{name}_there"][row].numpy()) if f"{name}_there" in values else data


def value_name_of(node: Node) -> str:
    return node.path.replace(".", "_")


def random_model(found: Facts, seed: int) -> tuple[Lowered, dict[str, np.ndarray]]:
    weights = random_weights(found.graph, found.types, seed)
    lowered = Lowered(found).double().eval()
    with torch.no_grad():
        for name, tensor in lowered.tensors().items():
            tensor.copy_(torch.from_numpy(np.asarray(weights[name])))
    return lowered, weights


@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_a_lowered_model_is_the_reference(name: str, pipeline: str) -> None:
    """In float64, for utterances of two lengths with NaN behind the shorter one; a quantised one as
    near as few bits allow."""
    found = facts(name, pipeline)
    quantised = any("on" in node.attrs for node in found.graph)
    lowered, weights = first_values(found) if quantised else random_model(found, seed=1)
    values = random_inputs(found, LENGTHS, 3, torch.float64)
    with torch.no_grad():
        made = lowered(with_nan(values))
    for row in range(len(LENGTHS)):
        inputs = {n.path: given(n, values, row) for n in found.graph if n.op == "input"}
        wanted = evaluate(found.graph, weights, inputs, types=found.types)
        for path in {**found.graph.outputs, **found.graph.losses}.values():
            output = made[value_name(found.graph, path)][row].numpy()
            near = 0.2 if quantised else 1e-6  # the mel bank is float32
            assert gap(output, wanted[path]) < near, path


def first_values(found: Facts) -> tuple[Lowered, dict[str, np.ndarray]]:
    """Those of a training, which have ranges."""
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    return lowered.eval(), {n: x.detach().numpy() for n, x in lowered.tensors().items()}


def with_nan(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What lies behind an utterance's end is no number."""
    found = dict(values)
    for name, x in values.items():
        length = values.get(f"{name}_length")
        if length is not None and x.is_floating_point():
            behind = torch.arange(x.shape[1]) >= length.unsqueeze(1)
            wide = behind.reshape(behind.shape + (1,) * (x.ndim - 2))
            found[name] = torch.where(wide, torch.nan, x)
    return found


def gap(output: np.ndarray, wanted: Value) -> float:
    """The largest difference at what is there, relative to the values."""
    if not wanted.present.ndim:
        return float(np.abs(output - wanted.data).max())
    count = min(len(output), len(wanted.present))
    assert not wanted.present[count:].any(), "frames are missing"
    there, data = wanted.present[:count], wanted.data[:count]
    mine = output[tuple(slice(extent) for extent in there.shape)]
    if not there.any():
        return 0.0
    apart = np.abs(mine[there] - data[there]).max()
    return float(apart / (1 + np.abs(data[there]).max()))


def gradients(found: Facts) -> tuple[Lowered, list[str]]:
    """The lowered model after a backward pass, and the parameters without a finite gradient."""
    lowered = Lowered(found)
    initialise(lowered, seed=2)
    lowered.train()
    values = random_inputs(found, LENGTHS, 5, torch.float32)
    made = lowered(with_nan(values))
    total = torch.zeros(())
    for path in {**found.graph.outputs, **found.graph.losses}.values():
        name = value_name(found.graph, path)
        total = total + there(made[name], made.get(f"{name}_length"), LENGTHS).square().mean()
    total.backward()
    bad = [
        name
        for name, p in lowered.named_parameters()
        if p.grad is None or not torch.isfinite(p.grad).all()
    ]
    return lowered, bad


def there(
    x: torch.Tensor, length: torch.Tensor | None, lengths: tuple[Length, ...]
) -> torch.Tensor:
    """Frames that are there; of a joint, only what all utterances have."""
    if length is None:
        return x[:, :1, :1] if x.ndim == 4 else x
    return torch.cat([row[: int(n)].flatten() for row, n in zip(x, length, strict=True)])


@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_it_trains(name: str, pipeline: str) -> None:
    found = facts(name, pipeline)
    lowered, bad = gradients(found)
    assert bad == []
    assert sum(p.numel() for p in lowered.parameters()) == found.param_count(found.graph.nodes)


@pytest.mark.parametrize(("name", "pipeline"), cases(SMALL))
def test_the_contract(name: str, pipeline: str, record_property: Note) -> None:
    check_contract(name, pipeline, record_property)


@pytest.mark.long
@pytest.mark.parametrize(("name", "pipeline"), cases(PUBLISHED))
def test_published_sizes(name: str, pipeline: str, record_property: Note) -> None:
    _, bad = gradients(facts(name, pipeline))
    assert bad == []
    check_contract(name, pipeline, record_property)


def check_contract(name: str, pipeline: str, record_property: Note) -> None:
    found = facts(name, pipeline)
    if not streams(found):
        pytest.skip("attention without a mask is no stream")
    lowered = Lowered(found)
    initialise(lowered, seed=1)
    findings = run_contract(Trial.of(lowered.eval()))
    worst = max(finding.worst for finding in findings[:2])
    record_property("measured", f"{name} {pipeline}: offline and stream differ by {worst:.1e}")
    assert [finding.words for finding in findings if not finding.ok] == []
