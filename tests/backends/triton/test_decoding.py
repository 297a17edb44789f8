"""Joints and predictors of lowered models, as the kernels of greedy decoding read them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.ports import Port
from asrc.backends.triton.decoding import SlotPredictor, joint_of
from asrc.backends.triton.lowering import to_triton
from asrc.backends.triton.packed import Packed, dense_of
from asrc.compiler.facts import Facts
from asrc.compiler.source import Source
from asrc.dsl.check import read_model
from asrc.passes.quantize import Quantize
from asrc.runtime.decode import State
from asrc.runtime.transducer import LoweredTransducer
from asrc.tests.backends.torch import zoo
from asrc.tests.backends.triton.guard import close, random
from asrc.tests.backends.triton.test_greedy import NoReading
from asrc.tests.backends.triton.test_lowering import TWINS, twin, with_weights
from asrc.tests.training.tiny import MODEL

Given = Mapping[str, Tensor] | None
pytestmark = pytest.mark.filterwarnings("ignore:overflow encountered in exp")


BIASED = """input pieces: phrases[pieces=vocab] up to 5 by 4
net catalogue(pieces) { out pieces |> PhraseEncoder(8, 8, 8) }
net predictor(prev, catalogue) {
  words = prev |> StatelessPredictor(16, context=2)
  out words |> Bias(catalogue, 16, 8)
}
net joint(e=encoder, p=predictor) { out Joint(e, p, vocab + 1) }
"""
"""A predictor that attends to a catalogue."""


def read(text: str) -> Facts:
    model = read_model(Source("tiny.asr", text), {})
    assert model.facts is not None, model.diagnostics
    return model.facts


def tiny(joint: str) -> Facts:
    """The small transducer of the trainings, with another joint."""
    return read(MODEL.replace("Joint(e, p, vocab + 1)", joint))


# --- joints ---


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("name", TWINS)
@torch.no_grad()
def test_the_joint_of_a_model(name: str, bits: int | None) -> None:
    """The same on kernels and without; float weights are the model's own."""
    model = twin(name, bits)
    for lowered in (model, to_triton(model)):
        found = joint_of(lowered)
        assert found is not None
        assert found.bias is model.tensors()["joint.out.dense.bias"]
        if bits is None:
            assert found.weight is model.tensors()["joint.out.dense.weight"]
        else:
            assert isinstance(found.weight, Packed)
            assert found.weight.bits == bits
        weight = dense_of(found.weight)
        e, p = random(5, weight.shape[1]), random(5, weight.shape[1], seed=1)
        made = torch.nn.functional.linear(torch.tanh(e + p), weight, found.bias).log_softmax(-1)
        close(made, LoweredTransducer(model).joint({"encoder": e}, p))


@pytest.mark.parametrize(
    "joint",
    [
        "log_softmax(dense(tanh(p + e), vocab + 1))",
        "tanh(e + p) |> dropout(0.1) |> dense(vocab + 1, bias=false) |> log_softmax",
    ],
)
def test_other_words_for_it(joint: str) -> None:
    lowered = with_weights(tiny(joint))
    found = joint_of(lowered)
    assert found is not None
    assert sum(found.weight is x for x in lowered.tensors().values()) == 1
    assert (found.bias is None) == ("false" in joint)


@pytest.mark.parametrize(
    "joint",
    [
        "relu(e + p) |> dense(vocab + 1) |> log_softmax",
        "tanh(e * p) |> dense(vocab + 1) |> log_softmax",
        "tanh(e + e) |> dense(vocab + 1) |> log_softmax",
        "tanh(e + p + e) |> dense(vocab + 1) |> log_softmax",
        "tanh(tanh(e) + p) |> dense(vocab + 1) |> log_softmax",
        "tanh(e + p) |> dense(vocab + 1) |> softmax",
        "tanh(e + p) |> dense(18) |> dense(vocab + 1) |> log_softmax",
        "dense(vocab + 1, tanh(e + p), e) |> log_softmax",
        "tanh(e + p) |> dense(vocab + 2, groups=2) |> log_softmax",
    ],
)
def test_other_joints(joint: str) -> None:
    assert joint_of(Lowered(tiny(joint))) is None


def test_a_joint_that_spreads_the_predictor() -> None:
    text = MODEL.replace("StatelessPredictor(16, context=1)", "StatelessPredictor(1, context=1)")
    assert joint_of(Lowered(read(text))) is None


@pytest.mark.parametrize("name", ["tdt", "biasing_joint"])
def test_other_joints_of_the_zoo(name: str) -> None:
    """Two heads; a catalogue."""
    assert joint_of(Lowered(zoo.facts(f"small/{name}.asr", "stream"))) is None


def test_a_joint_of_integers() -> None:
    """Its values are rounded, which the kernel does not do."""
    graph, _ = Quantize().run(tiny("Joint(e, p, vocab + 1)").graph, None)
    assert joint_of(Lowered(Facts(graph))) is None


def test_a_model_without_a_joint() -> None:
    text = MODEL.partition("net predictor")[0].replace("input prev: token[vocab]\n", "")
    assert joint_of(Lowered(read(text))) is None


# --- predictors ---


class Apart:
    """Streams with their slots, each followed by the transducer of the runtime alone."""

    def __init__(self, lowered: Lowered, predictor: SlotPredictor, given: Given = None) -> None:
        self.model, self.predictor = LoweredTransducer(lowered, given), predictor
        self.states = {slot: self._before() for slot in range(4)}

    def _before(self) -> State:
        state = self.model.predictor_start(1)[1]
        return {name: torch.zeros_like(x) for name, x in state.items()}

    def begin(self, *slots: int) -> None:
        self.predictor.begin(torch.tensor(slots))
        self.states |= {slot: self._before() for slot in slots}

    def step(self, *pairs: tuple[int, int]) -> None:
        """Of each slot and its label the output; slot 4 is the spare one."""
        slots, labels = torch.tensor(pairs).unbind(1)
        with NoReading():
            found = self.predictor.step(labels, slots)
        for row, (slot, label) in zip(found, pairs, strict=True):
            if slot < 4:
                wanted, self.states[slot] = self.model.predictor_step(
                    torch.tensor([label]), self.states[slot]
                )
                close(row, wanted[0])


def places(predictor: SlotPredictor) -> list[int]:
    return [x.data_ptr() for x in (*predictor.states, predictor.age)]


def follow(apart: Apart) -> None:
    """Streams that begin apart, stand still, begin anew; in other orders."""
    before = places(apart.predictor)
    apart.begin(0, 1, 2, 3)
    apart.step((0, 0), (1, 0), (2, 0), (3, 0))
    apart.step((3, 5), (4, 0), (1, 2), (4, 0))
    apart.step((4, 0), (4, 0), (4, 0))
    apart.begin(1, 2)
    apart.step((2, 0), (3, 4), (1, 7))
    apart.step((1, 3), (2, 2), (0, 1), (3, 6))
    assert places(apart.predictor) == before


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("name", TWINS)
@torch.no_grad()
def test_slots(name: str, bits: int | None) -> None:
    model = twin(name, bits)
    follow(Apart(model, SlotPredictor(to_triton(model), 4)))


@torch.no_grad()
def test_attention_over_labels() -> None:
    """What depends on parameters alone is made once, and labels that are not there are masked."""
    model = with_weights(zoo.facts("small/transformer_transducer.asr", "causal"))
    follow(Apart(model, SlotPredictor(model, 4)))


@torch.no_grad()
def test_what_is_known_for_the_utterance() -> None:
    text = MODEL.partition("net predictor")[0] + BIASED
    used = "asr 1\nmodel tiny\nuse std.biasing (PhraseEncoder, Bias)\n"
    model = with_weights(read(text.replace("asr 1\nmodel tiny\n", used)))
    given = {port.name: drawn(model, port) for port in model.step("labels").given}
    assert len(given) == 4
    follow(Apart(model, SlotPredictor(model, 4, given), given))


def drawn(model: Lowered, port: Port) -> Tensor:
    """A catalogue of three entries, of which the last is not there."""
    if port.kind == "there":
        return torch.tensor([[True, True, False]])
    return random(1, 3, *model.facts.types[port.path].dims)
