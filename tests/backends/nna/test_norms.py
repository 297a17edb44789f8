"""Layer norms whose variances take few codes."""

from __future__ import annotations

import numpy as np
import pytest

from asrc.backends.nna.calibrate import calibrated
from asrc.backends.nna.norms import OFF, moved, too_coarse
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


@pytest.mark.parametrize(("code", "off"), [(1.45, True), (2.0, False), (4.49, True), (30.4, False)])
def test_a_gain_moves_with_the_rounding_of_few_codes(code: float, off: bool) -> None:
    variances = np.array([255.0, code])
    assert (moved(variances)[1] > OFF) == off


def test_quiet_frames_are_told(graph: Graph) -> None:
    path, loud = norms(graph)[0], np.full(100, 255.0, np.float32)
    for quiet, told in ((5, 0), (6, 1)):
        heard = {path: [loud[quiet:], np.full(quiet, 1.4, np.float32)]}
        found = list(too_coarse(graph, heard))
        assert len(found) == told
    assert found[0].code == "W0602"
    assert path in found[0].message
    assert found[0].span is not None


def test_calibration_tells(graph: Graph) -> None:
    """A voice that fades in from nothing, and one that does not."""
    steady, fading = utterance(0), utterance(1)
    rise = np.linspace(0, 1, len(fading["audio"]), dtype=np.float32)[:, None] ** 4
    fading["audio"] = fading["audio"] * rise
    for given, count in ((steady, 0), (fading, 1)):
        told: list[Diagnostic] = []
        calibrated(Facts(graph), weights("planes"), [given], told.append)
        assert len(told) == count
