"""Random streaming networks: lowered they are the reference, and their steps are the whole."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import pytest

from asrc.backends.torch.examples import Length
from asrc.compiler.graph import Graph
from asrc.tests.backends.torch.held import Held
from asrc.tests.facts.networks import check_networks

BLOCKS = 20
SHORT = (Length(Fraction(53, 100), 1), Length(Fraction(36, 100), 1))
LONG = (Length(Fraction(83, 100), 1), Length(Fraction(61, 100), 1), Length(Fraction(1, 100), 1))


def check_short(graph: Graph) -> None:
    Held(graph, SHORT).check()


def check_long(graph: Graph) -> None:
    Held(graph, LONG).check()


def test_random_networks(runs: Callable[[int], int]) -> None:
    check_networks(check_short, range(runs(200)))


@pytest.mark.long
@pytest.mark.parametrize("block", range(BLOCKS))
def test_many_random_networks(runs: Callable[[int], int], block: int) -> None:
    size = runs(8_000) // BLOCKS
    check_networks(check_long, range(1_000 + block * size, 1_000 + (block + 1) * size))
