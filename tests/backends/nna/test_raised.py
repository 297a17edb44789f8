"""Rows of a weight that are zero, or nearly so, beside an ordinary bias."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from asrc.backends.nna.calibrate import calibrated
from asrc.backends.nna.filters import Filter
from asrc.backends.nna.raised import BITS, raised
from asrc.backends.nna.transducer import compile_transducer
from asrc.compiler.artefact import write_artefact
from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.passes.fold_norm import FoldNorm
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled, quantised_model
from asrc.runtime.differences import differences
from asrc.runtime.recogniser import Recogniser
from asrc.tests.backends.nna import models
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made

DENSE, LSTM = "encoder.dense", "encoder.Lstm.dense"
DEAD, TINY = 3, 5


@pytest.fixture(scope="module")
def model() -> Recogniser:
    """An LSTM's map has such rows too: it reads a state of int16."""
    found = made()
    tensors = found.lowered.tensors()
    with torch.no_grad():
        for path in (DENSE, LSTM):
            for row, weight in ((DEAD, 0.0), (TINY, 1e-10)):
                tensors[f"{path}.weight"][row] = weight
                tensors[f"{path}.bias"][row] = 1.0
    return found


@pytest.mark.parametrize("bits", [8, 5, 1])
def test_no_code_differs(model: Recogniser, tmp_path: Path, bits: int) -> None:
    """Between programs, LiteRT and the graph in training; and the value is that of the bias."""
    inputs = graph_inputs(model.lowered, model.vocabulary, [(noise(0.8, 1), "low high")])
    write_artefact(tmp_path / "a.asrc", compiled(model, inputs, bits))
    found = differences(tmp_path / "a.asrc", noise(0.9, 7), model, model)
    assert (found.litert, found.training) == (None, None)
    assert found.programs["encoder"].compared["training"] > 500
    assert bits < 5 or found.snr[DENSE] > 20


@pytest.mark.parametrize("bits", [8, 5])
def test_other_rows_keep_their_scales(model: Recogniser, bits: int) -> None:
    inputs = list(graph_inputs(model.lowered, model.vocabulary, [(noise(0.8, 1), "low high")]))
    _, mended = quantised_model(model, inputs, bits)
    _, plain = quantised_model(made(), inputs, bits)
    for name in (name for name in plain if name.endswith(".scale")):
        rows = [DEAD, TINY] if name.removesuffix(".scale") in (DENSE, LSTM) else []
        others = np.delete(np.arange(len(plain[name])), rows)
        if bits == 8:
            assert np.array_equal(mended[name][others], plain[name][others])
        assert (mended[name][rows] * 127 > 1e-8).all()


def test_a_row_is_raised_until_its_bias_fits() -> None:
    found, numbers = models.quantised("lstm")
    changed = _with_row(numbers, 1e-10)
    ((name, scales),) = raised(found.graph, changed)
    assert name == f"{DENSE}.scale"
    assert np.array_equal(np.delete(scales, DEAD), np.delete(numbers[name], DEAD))
    made = compile_transducer(found, models.ends(found), {**changed, name: scales})
    bias = made.encoder.program.tensors[f"{DENSE}.bias"].data
    assert bias is not None
    assert bias[DEAD] == pytest.approx(1 << BITS, rel=1e-4)
    with pytest.raises(AsrcError, match="bias of row 3"):
        compile_transducer(found, models.ends(found), changed)
    assert not list(raised(found.graph, {**changed, name: scales}))
    assert not list(raised(found.graph, numbers))


def _with_row(numbers: Mapping[str, np.ndarray], scale: float) -> dict[str, np.ndarray]:
    new = {name: x.copy() for name, x in numbers.items()}
    new[f"{DENSE}.bias"][DEAD], new[f"{DENSE}.scale"][DEAD] = 1.0, scale / 127
    return new


def test_one_scale_for_all_rows() -> None:
    """Of a weight that is zero everywhere."""
    weights = {name: x.copy() for name, x in models.weights("lstm").items()}
    weights[f"{DENSE}.weight"][:] = 0
    weights[f"{DENSE}.bias"][:] = np.linspace(-1, 2, 16)
    graph = models.facts("lstm").graph
    for each in (FoldNorm("batchnorm"), Substitute(), Quantize(per="tensor")):
        graph, _ = each.run(graph, None)
    found = calibrated(Facts(graph), weights, [models.utterance(0)])
    assert found[f"{DENSE}.scale"].shape == (1,)
    assert found[f"{DENSE}.scale"][0] * 127 > 1e-8


def test_what_has_a_scale_already_is_told() -> None:
    """A training may have frozen it; a wrapped number would be said to be a large weight."""
    filter = Filter(np.zeros((2, 1, 1, 1), np.int8), np.float32([1, 1e-12]), np.array([1.0, 1.0]))
    with pytest.raises(AsrcError, match="bias of row 1 of `x`") as error:
        filter.tensors("x", 0.01, 0)
    assert error.value.diagnostics[0].code == "E0601"
