"""Layer norms whose variances take few codes."""

from __future__ import annotations

import numpy as np
import pytest

from asrc.backends.nna.calibrate import calibrated
from asrc.backends.nna.norms import SMALLEST, too_coarse
from asrc.compiler.diagnostics import Diagnostic
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Graph
from asrc.passes.quantize import Quantize
from asrc.passes.substitute import Substitute
from asrc.tests.backends.nna.models import facts, utterance, weights


@pytest.fixture(scope="module")
def graph() -> Graph:
    made, _ = Substitute().run(facts("planes").graph, None)
    return Quantize().run(made, None)[0]


def norms(graph: Graph) -> list[str]:
    return [node.path for node in graph if node.op == "layernorm"]


def test_quiet_frames_are_told(graph: Graph) -> None:
    path, loud = norms(graph)[0], np.ones(100, np.float32)
    small = (SMALLEST - 1) / 255
    for quiet, told in ((1, 0), (5, 1)):
        heard = {path: [loud, np.full(quiet, small, np.float32)]}
        found = list(too_coarse(graph, heard))
        assert len(found) == told
    assert found[0].code == "W0602"
    assert path in found[0].message
    assert found[0].span is not None


def test_a_code_that_is_large_enough_is_not(graph: Graph) -> None:
    heard = {norms(graph)[0]: [np.array([1.0] + [(SMALLEST + 1) / 255] * 99, np.float32)]}
    assert not list(too_coarse(graph, heard))


def test_calibration_tells(graph: Graph) -> None:
    """A voice that fades in from nothing, and one that does not."""
    steady, fading = utterance(0), utterance(1)
    rise = np.linspace(0, 1, len(fading["audio"]), dtype=np.float32)[:, None] ** 4
    fading["audio"] = fading["audio"] * rise
    for given, count in ((steady, 0), (fading, 1)):
        told: list[Diagnostic] = []
        calibrated(Facts(graph), weights("planes"), [given], told.append)
        assert len(told) == count
