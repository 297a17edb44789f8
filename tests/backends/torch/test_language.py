"""Every network in the specification: lowered it is the reference, its step is the whole."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from asrc.backends.torch.examples import Length
from asrc.compiler.graph import Graph
from asrc.tests.backends.torch.held import Held
from asrc.tests.lang.mdtest import Snippet, run, snippets
from asrc.tests.test_lang import DOCUMENTS

LENGTHS = (Length(Fraction(57, 100), 5), Length(Fraction(41, 100), 3))


def graphs(snippet: Snippet) -> Iterator[Graph]:
    """What a snippet without mistakes describes, before and after each of its pipelines."""
    with TemporaryDirectory() as folder:
        checked, diagnostics = run(snippet, Path(folder))
    if any(d.severity == "error" for d in diagnostics) or not checked.elaborated.graph.outputs:
        return
    yield checked.elaborated.graph
    yield from (result.graph for result in checked.model.results.values())


@pytest.mark.parametrize("snippet", [s for d in DOCUMENTS for s in snippets(d)], ids=str)
def test_snippet(snippet: Snippet) -> None:
    for graph in graphs(snippet):
        Held(graph, LENGTHS).check()
