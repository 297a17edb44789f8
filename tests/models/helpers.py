"""A model of the zoo, or a text, with its facts under the names that tests ask for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path

from asrc.compiler.diagnostics import Bag
from asrc.compiler.facts import Facts, Range
from asrc.compiler.graph import Graph
from asrc.compiler.select import select
from asrc.compiler.source import Source
from asrc.dsl.check import Model, check_model, read_model
from asrc.dsl.load import load_source
from asrc.dsl.parse import parse_expression

MODELS = Path(__file__).resolve().parents[2] / "models"


@cache
def load(path: str, **settings: int) -> System:
    """`load("small/rnnt", cell=64)`: a file of `models/`, without any pass."""
    source = load_source(MODELS / f"{path}.asr")
    bag = Bag()
    values = {n: parse_expression(Source("set", str(v)), bag) for n, v in settings.items()}
    assert not bag.errors
    wanted = {n: v for n, v in values.items() if v is not None}
    return System.of(read_model(source, wanted))


def system(text: str) -> System:
    """A model from text; the edition and a name are supplied."""
    return System.of(read_model(Source("m.asr", f"asr 1\nmodel m\n{text}")))


def codes(text: str) -> list[str]:
    """The codes of all that is wrong with a text."""
    model = read_model(Source("m.asr", f"asr 1\nmodel m\n{text}"))
    return [d.code for d in check_model(model).diagnostics]


@dataclass(frozen=True)
class System:
    """A graph and its figures; values are selected as users select them."""

    model: Model
    facts: Facts

    @staticmethod
    def of(model: Model) -> System:
        assert model.graph is not None, [str(d) for d in model.diagnostics]
        return System(model, Facts(model.graph))

    @property
    def graph(self) -> Graph:
        return self.facts.graph

    @cached_property
    def checked(self) -> Model:
        return check_model(self.model)

    def after(self, pipeline: str) -> System:
        return System(self.model, self.checked.results[pipeline].facts)

    def value(self, name: str) -> str:
        """The path of an output, or of a name in the text."""
        return self.graph.outputs.get(name) or self.graph.names.get(name) or name

    def type(self, name: str) -> str:
        return str(self.facts.types[self.value(name)])

    def ms(self, name: str) -> Fraction | None:
        """Look-ahead in milliseconds; `None` without bound."""
        seconds = self.facts.lookahead(self.value(name))
        return None if seconds is None else seconds * 1000

    def params(self, selector: str) -> int:
        return self.facts.param_count(select(self.graph, selector))

    def cost(self, *selectors: str) -> Range:
        return self.facts.cost(path for s in selectors for path in select(self.graph, s))

    def per_second(self, *selectors: str) -> Fraction:
        return self.cost(*selectors).worst.second

    def held(self, selector: str, kind: str | None = None) -> int:
        """Numbers carried between steps of one frame."""
        wanted = set(select(self.graph, selector))
        found = [h for h in self.facts.held_frame if h.path in wanted and kind in (None, h.kind)]
        assert all(h.values is not None for h in found)
        return sum(h.values or 0 for h in found)

    def ops(self, selector: str) -> list[str]:
        return [self.graph[path].op for path in select(self.graph, selector)]
