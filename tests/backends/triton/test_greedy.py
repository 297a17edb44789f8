"""Greedy transducer decoding: the joint's largest class, and label looping on the device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from asrc.backends.triton.kernels import greedy
from asrc.backends.triton.kernels.greedy import (
    Found,
    Joint,
    Layer,
    LstmPredictor,
    Plan,
    Streams,
    cost,
    decode,
    joint_argmax,
    reference,
)
from asrc.backends.triton.kernels.linear import reference as linear_reference
from asrc.backends.triton.kernels.lstm import reference as lstm_reference
from asrc.backends.triton.packed import Packed, Weight, dense_of, shape_of
from asrc.runtime.decode import GreedyDecoder
from asrc.tests.backends.triton.guard import Guards, Launches, close, random
from asrc.tests.backends.triton.test_linear import narrow

PLANS = (Plan(window=1), Plan(window=8), Plan(alone=True))
CLASSES, WIDTH, EMBEDDED, CELLS = 23, 20, 6, 9
Hypotheses = list[tuple[list[tuple[int, int, float]], float]]


@dataclass
class Model:
    """A small random transducer, some streams of it, and where a kernel may write."""

    predictor: LstmPredictor
    joint: Joint
    streams: Streams
    guards: Guards

    def begin(self, slots: Sequence[int]) -> Streams:
        streams = self.streams.of(self.guards.put(torch.tensor(slots)))
        streams.begin(self.predictor)
        return streams


class Plainly(LstmPredictor):
    """The same in PyTorch: another predictor, and one that Triton's interpreter does not slow."""

    def step(self, labels: Tensor, slots: Tensor) -> Tensor:
        x = self.table[labels]
        for layer in self.layers:
            h, c = layer.h[slots], layer.c[slots]
            y, h, c = lstm_reference(x[:, None], h, c, layer.weight, layer.bias, self.gates)
            layer.h[slots], layer.c[slots], x = h, c, y[:, 0]
        return linear_reference(x, self.weight, self.bias)


def model(slots: int = 5, *, kind: type[LstmPredictor] = Plainly, **given: int) -> Model:
    """With blanks, and several labels at a frame; `given` are bits, layers and a seed."""
    guards, make = Guards(), _Maker(given.get("bits", 0), given.get("seed", 1))
    widths = [EMBEDDED, *[CELLS] * (given.get("layers", 1) - 1)]
    layers = tuple(
        Layer(
            make.weight(guards, 4 * CELLS, width + CELLS),
            make.floats(guards, 4 * CELLS),
            make.floats(guards, slots + 1, CELLS),
            make.floats(guards, slots + 1, CELLS),
        )
        for width in widths
    )
    table, dense = make.floats(guards, CLASSES - 1, EMBEDDED), make.weight(guards, WIDTH, CELLS)
    bias = 0.3 * make.floats(guards, CLASSES)
    bias[-1] = 4.0
    joint = Joint(make.weight(guards, CLASSES, WIDTH, scale=0.6), guards.put(bias))
    room = Streams.room(slots, torch.empty(WIDTH))
    kept = (guards.put(x) for x in (room.output, room.here, room.frames, room.scores, room.slots))
    return Model(kind(table, layers, dense), joint, Streams(*kept), guards)


@dataclass
class _Maker:
    """Random numbers, other ones each time."""

    bits: int
    seed: int

    def floats(self, guards: Guards, *shape: int) -> Tensor:
        self.seed += 100
        return guards.put(random(*shape, seed=self.seed))

    def weight(self, guards: Guards, *shape: int, scale: float = 1.0) -> Weight:
        dense = guards.put(scale * self.floats(guards, *shape))
        return held(narrow(dense, self.bits), guards) if self.bits else dense


def held(weight: Packed, guards: Guards) -> Packed:
    return replace(
        weight, **{name: guards.put(getattr(weight, name)) for name in ("words", "book", "scale")}
    )


def room(guards: Guards, batch: int, most: int) -> Found:
    empty = Found.room(batch, most)
    return Found(*(guards.put(getattr(empty, name)) for name in Found.__slots__))


def ragged(lengths: Sequence[int], guards: Guards, seed: int = 9) -> tuple[Tensor, Tensor]:
    """Frames with NaN behind each stream's, and the lengths."""
    e = 1.5 * random(len(lengths), max(lengths), WIDTH, seed=seed)
    for row, length in zip(e, lengths, strict=True):
        row[length:] = float("nan")
    return guards.put(e), guards.put(torch.tensor(lengths))


def labels_of(found: Found) -> list[list[tuple[int, int]]]:
    return [
        list(zip(found.labels[b, :n].tolist(), found.frames[b, :n].tolist(), strict=True))
        for b, n in enumerate(found.counts.tolist())
    ]


def agree(found: Found, streams: Streams, wanted: Hypotheses) -> None:
    """Labels and frames to the letter, scores nearly."""
    assert labels_of(found) == [[(label, t) for label, t, _ in row] for row, _ in wanted]
    for scores, count, (row, _) in zip(found.scores, found.counts, wanted, strict=True):
        assert scores[:count].tolist() == pytest.approx([s for _, _, s in row], abs=1e-4)
    totals = [score for _, score in wanted]
    assert streams.scores[streams.slots].tolist() == pytest.approx(totals, abs=1e-3)


# --- the joint ---


def test_every_number_of_classes() -> None:
    for classes in range(1, 71):
        guards = Guards()
        e, p = guards.put(random(3, 7)), guards.put(random(3, 7, seed=1))
        weight = guards.put(random(classes, 7, seed=classes))
        labels, scores = joint_argmax(e, p, weight)
        logits = torch.tanh(e + p) @ weight.T
        wanted, best = logits.log_softmax(-1).max(-1)
        assert labels.tolist() == best.tolist(), classes
        assert scores.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
        guards.check()


@pytest.mark.parametrize("bits", [0, 3, 4, 8])
@pytest.mark.parametrize(("rows", "classes", "width"), [(1, 130, 70), (18, 33, 35)])
def test_the_largest_class(rows: int, classes: int, width: int, bits: int) -> None:
    guards, dense = Guards(), random(classes, width, seed=2)
    weight = held(narrow(dense, bits), guards) if bits else guards.put(dense)
    e, p, bias = (guards.put(random(*s)) for s in ((rows, width), (rows, width), (classes,)))
    labels, scores = joint_argmax(e, p, weight, bias)
    logits = torch.tanh(e + p) @ dense_of(weight).T + bias
    wanted, best = logits.log_softmax(-1).max(-1)
    assert labels.tolist() == best.tolist()
    assert scores.tolist() == pytest.approx(wanted.tolist(), abs=1e-5)
    guards.check()


def test_halves() -> None:
    """The interpreter multiplies matrices of bfloat16 as if they were integers."""
    dtype = torch.float16
    e, p, weight = (random(*s, seed=n).to(dtype) for n, s in enumerate([(5, 40)] * 2 + [(19, 40)]))
    labels, scores = joint_argmax(e, p, weight)
    logits = torch.tanh(e.float() + p.float()).to(dtype).float() @ weight.float().T
    assert labels.tolist() == logits.argmax(-1).tolist()
    close(scores, logits.log_softmax(-1).amax(-1), 1e-3)


def test_the_lowest_of_equal_classes() -> None:
    """Within a tile and far apart; the numbers are whole, so that equal ones are equal."""
    e = torch.full((1, 4), 20.0)  # its tanh is 1
    for equal in ([0, 1], [3, 69], [5, 64, 69], [15, 16, 31, 32], list(range(70))):
        weight = torch.zeros(70, 4)
        weight[equal] = 1.0
        labels, scores = joint_argmax(e, torch.zeros(1, 4), weight)
        assert labels.tolist() == [equal[0]]
        close(scores, (weight.sum(1)).log_softmax(0).amax(0, keepdim=True))


def test_rows_that_are_not_active_and_rows_that_are_nothing() -> None:
    e, weight = random(4, 6), random(9, 6, seed=1)
    e[1:3] = float("nan")
    labels, scores = joint_argmax(e, e, weight, active=torch.tensor([True, False, True, True]))
    assert labels[1:3].tolist() == [8, 8]
    assert scores[1] == 0
    assert scores[2].isnan()
    assert labels[[0, 3]].tolist() == (torch.tanh(2 * e) @ weight.T)[[0, 3]].argmax(-1).tolist()
    assert [len(x) for x in joint_argmax(e[:0], e[:0], weight)] == [0, 0]


def test_what_a_joint_costs() -> None:
    found = cost(3, random(10, 4))
    assert found.bytes == 4 * 40 + 3 * (4 * 8 + 12)
    assert found.flops == 2 * 3 * 40


# --- decoding ---


def most_of(wanted: Hypotheses) -> int:
    """The least room that is enough, so that the rounds are as few as may be."""
    return max(len(row) for row, _ in wanted)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("per_frame", [1, 3])
def test_the_reference(plan: Plan, per_frame: int) -> None:
    """Ragged streams in slots out of order, one without frames; nothing out of bounds."""
    against_the_reference(model(), replace(plan, per_frame=per_frame))


@pytest.mark.parametrize("plan", PLANS[1:])
@pytest.mark.parametrize(("bits", "layers"), [(0, 2), (4, 1)])
def test_with_a_predictor_of_kernels(plan: Plan, bits: int, layers: int) -> None:
    """All weights in float, and all packed."""
    made = model(kind=LstmPredictor, bits=bits, layers=layers)
    against_the_reference(made, replace(plan, per_frame=2))


def against_the_reference(made: Model, plan: Plan) -> None:
    e, lengths = ragged([9, 0, 5], made.guards)
    wanted = reference(e, lengths, made.predictor, made.joint, plan.per_frame)
    streams, found = made.begin([3, 0, 2]), room(made.guards, 3, most_of(wanted))
    assert decode(e, lengths, made.predictor, made.joint, streams, found, plan) is found
    agree(found, streams, wanted)
    assert found.read.tolist() == lengths.tolist()
    assert streams.frames[streams.slots].tolist() == lengths.tolist()
    made.guards.check()


def test_a_step_leaves_the_other_slots() -> None:
    """Two streams without a label name the spare slot, both at once."""
    ours, theirs = model(kind=LstmPredictor, layers=2), model(layers=2)
    labels, slots = torch.tensor([3, 0, 21, 0]), torch.tensor([4, 5, 1, 5])
    before = _rows(ours, [0, 2, 3])
    for made in (ours, theirs):
        made.predictor.begin(torch.tensor([1]))
    for _ in range(2):
        found, wanted = (made.predictor.step(labels, slots) for made in (ours, theirs))
        close(found[[0, 2]], wanted[[0, 2]])
    assert all(map(torch.equal, before, _rows(ours, [0, 2, 3])))
    for one, other in zip(_rows(ours, [4, 1]), _rows(theirs, [4, 1]), strict=True):
        close(one, other)


def test_what_these_models_find() -> None:
    """Blanks, several labels at a frame, and a bound on them that matters."""
    made = model()
    e, lengths = ragged([9, 9, 9], Guards())
    free, capped = (reference(e, lengths, made.predictor, made.joint, n) for n in (10, 2))
    assert any(max(map(len, _by_frame(row))) > 2 for row, _ in free)
    for (many, _), (few, _) in zip(free, capped, strict=True):
        assert 0 < len(few) <= len(many) < 60
        assert len({t for _, t, _ in few}) < 9


def _by_frame(row: Iterable[tuple[int, int, float]]) -> list[list[int]]:
    found: dict[int, list[int]] = {}
    for label, t, _ in row:
        found.setdefault(t, []).append(label)
    return list(found.values())


class Plain:
    """The same model as the decoder of `runtime` sees it, in PyTorch's own layers."""

    def __init__(self, made: Model) -> None:
        self.predictor, self.joint_of = made.predictor, made.joint
        self.cells = []
        for layer in made.predictor.layers:
            weight = dense_of(layer.weight)
            cell = torch.nn.LSTMCell(weight.shape[1] - CELLS, CELLS)
            cell.weight_ih.data, cell.weight_hh.data = weight[:, :-CELLS], weight[:, -CELLS:]
            assert layer.bias is not None
            cell.bias_ih.data, cell.bias_hh.data = layer.bias, torch.zeros_like(layer.bias)
            self.cells.append(cell)

    def joint(self, frames: Any, labels: Tensor) -> Tensor:
        hidden = torch.tanh(frames["frames"] + labels)
        logits = torch.nn.functional.linear(
            hidden, dense_of(self.joint_of.weight), self.joint_of.bias
        )
        return logits.log_softmax(-1)

    def predictor_start(self, batch: int) -> tuple[Tensor, dict[str, Tensor]]:
        names = [f"{name}{n}" for n in range(len(self.cells)) for name in "hc"]
        state = {name: torch.zeros(batch, CELLS) for name in names}
        return self.predictor_step(torch.zeros(batch, dtype=torch.int64), state)

    def predictor_step(
        self, tokens: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        x, after = self.predictor.table[tokens], {}
        for n, cell in enumerate(self.cells):
            x, c = cell(x, (state[f"h{n}"], state[f"c{n}"]))
            after |= {f"h{n}": x, f"c{n}": c}
        return torch.nn.functional.linear(x, dense_of(self.predictor.weight)), after


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("plan", PLANS[1:])
def test_the_decoder_of_the_runtime(plan: Plan, seed: int) -> None:
    """In chunks of other lengths than it has."""
    made = model(seed=seed, layers=1 + seed % 2)
    lengths, per_frame = [9, 4, 7], 1 + seed % 2
    e, _ = ragged(lengths, Guards(), seed=seed)
    theirs = GreedyDecoder(Plain(made), batch=3, max_symbols=per_frame)
    theirs.feed(e, lengths)
    streams = made.begin([0, 1, 2])
    found = [
        decode(
            e[:, first : first + 6],
            torch.tensor(lengths) - first,  # below zero is none, above six is six
            *(made.predictor, made.joint, streams, Found.room(3, 6 * per_frame)),
            replace(plan, per_frame=per_frame),
        )
        for first in (0, 6)
    ]
    for b, hypothesis in enumerate(theirs.hypotheses()):
        ours = [one for chunk in found for one in labels_of(chunk)[b]]
        assert ours == [(token.id, token.frame) for token in hypothesis.tokens]
        assert float(streams.scores[b]) == pytest.approx(hypothesis.score, abs=1e-3)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("sizes", [(1, 1, 3, 4), (8, 0, 1)])
def test_chunks_find_what_the_whole_does(plan: Plan, sizes: tuple[int, ...]) -> None:
    made, whole, plan = model(), model(), replace(plan, per_frame=2)
    e, lengths = ragged([9, 6], Guards())
    streams, found, first = made.begin([1, 4]), [], 0
    for size in sizes:
        ends = lengths - first
        room = Found.room(2, 2 * size)
        part = e[:, first : first + size]
        found.append(labels_of(decode(part, ends, made.predictor, made.joint, streams, room, plan)))
        first += size
    all_at_once, other = whole.begin([2, 0]), Found.room(2, 18)
    decode(e, lengths, whole.predictor, whole.joint, all_at_once, other, plan)
    rows = zip(*found, strict=True)
    assert [list(chain.from_iterable(row)) for row in rows] == labels_of(other)
    close(streams.scores[streams.slots], all_at_once.scores[all_at_once.slots])
    close(streams.output[streams.slots], all_at_once.output[all_at_once.slots])


@pytest.mark.parametrize("plan", PLANS[1:])
def test_a_stream_joins_and_another_leaves(plan: Plan) -> None:
    """What a stream finds does not depend on who is beside it; slots of others stay."""
    made, plan = model(), replace(plan, per_frame=2)
    e, lengths = ragged([8, 8, 8], Guards())
    wanted = reference(e, lengths, made.predictor, made.joint, plan.per_frame)
    found: dict[int, list[tuple[int, int]]] = {0: [], 1: [], 2: []}
    slot_of, at = {0: 4, 1: 0, 2: 3}, {0: 0, 1: 0, 2: 0}
    for number, batch in enumerate(([0], [2, 0], [1, 2], [1])):
        joining = [b for b in batch if at[b] == 0]
        if joining:
            made.begin([slot_of[b] for b in joining])
        others = [s for s in range(5) if s not in {slot_of[b] for b in batch}]
        before = _rows(made, others)
        streams = made.streams.of(torch.tensor([slot_of[b] for b in batch]))
        frames = torch.stack([e[b, at[b] : at[b] + 4] for b in batch])
        room = Found.room(len(batch), 8)
        length = torch.full((len(batch),), 4)
        decode(frames, length, made.predictor, made.joint, streams, room, plan)
        for b, row in zip(batch, labels_of(room), strict=True):
            found[b] += row
            at[b] += 4
        assert all(map(torch.equal, before, _rows(made, others))), number
    assert list(found.values()) == [[(label, t) for label, t, _ in row] for row, _ in wanted]


def _rows(made: Model, slots: list[int]) -> list[Tensor]:
    """Copies of all that streams in these slots carry."""
    streams = made.streams
    carried = [streams.output, streams.here, streams.frames, streams.scores]
    carried += [x for layer in made.predictor.layers for x in (layer.h, layer.c)]
    return [x[slots].clone() for x in carried]


@pytest.mark.parametrize("plan", PLANS)
def test_no_more_room(plan: Plan) -> None:
    """A stream waits before the label that has no place, also in the midst of a frame."""
    made, plan = model(), replace(plan, per_frame=3)
    e, lengths = ragged([7, 3], Guards())
    wanted = reference(e, lengths, made.predictor, made.joint, 3)
    streams, room = made.begin([0, 1]), Found.room(2, 2)
    found: list[list[tuple[int, int]]] = [[], []]
    waited = 0
    while (room.read < lengths).any():
        room = decode(e, lengths, made.predictor, made.joint, streams, room.emptied(), plan)
        waited += int((streams.here[streams.slots] > 0).sum())
        for row, more in zip(found, labels_of(room), strict=True):
            row += more
    assert found == [[(label, t) for label, t, _ in row] for row, _ in wanted]
    totals = [score for _, score in wanted]
    assert streams.scores[streams.slots].tolist() == pytest.approx(totals, abs=1e-3)
    assert waited


class NoReading(TorchDispatchMode):
    """Nothing is brought to the host: no number, no size that depends on one."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = str(func)
        assert "_local_scalar_dense" not in name, "a number was read"
        assert "nonzero" not in name, "a size was read"
        assert "masked_select" not in name, "a size was read"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("plan", PLANS)
def test_the_host_reads_nothing(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """And launches the same, whatever is said."""
    made, rounds = model(), []
    monkeypatch.setattr(
        greedy, "_look", lambda *given, look=greedy._look: (rounds.append(1), look(*given))
    )
    streams = made.begin([0, 1])
    for seed, least in ((1, [5, 3]), (2, [0, 0])):
        e, lengths = ragged([5, 3], Guards(), seed)
        lengths = torch.minimum(lengths, torch.tensor(least))
        found = Found.room(2, 6)
        with NoReading():
            decode(e, lengths, made.predictor, made.joint, streams, found, plan)
    assert len(rounds) == 2 * plan.rounds(5, 6)


@pytest.mark.parametrize("plan", PLANS)
def test_as_many_rounds_as_are_needed(plan: Plan) -> None:
    """Labels up to the last place, then blanks to the end: every round has something to do."""
    made, frames, most = model(), 10, 4
    e = torch.full((1, frames, WIDTH), -20.0)
    e[:, 0] = 20.0
    weight = torch.zeros(3, WIDTH)
    weight[:, 0] = torch.tensor([0.0, 1.0, -1.0])
    streams = made.streams.of(torch.tensor([0]))
    streams.begin(made.predictor)
    found, plan = Found.room(1, most), replace(plan, per_frame=most + 1)
    decode(e, torch.tensor([frames]), made.predictor, Joint(weight), streams, found, plan)
    assert labels_of(found) == [[(1, 0)] * most]
    assert found.read.tolist() == [0]  # a further one would have had no place
    plan = replace(plan, per_frame=most)
    for more in (0, 1):  # with room to spare, what is behind the end still gives no label
        streams.begin(made.predictor)
        found = Found.room(1, most + more)
        decode(e, torch.tensor([frames]), made.predictor, Joint(weight), streams, found, plan)
        assert labels_of(found) == [[(1, 0)] * most]
        assert found.read.tolist() == [frames]


@pytest.mark.parametrize("plan", PLANS[1:])
def test_equal_classes_decode_to_the_lowest(plan: Plan) -> None:
    """Of more classes than a tile has."""
    made = model()
    weight, e = torch.zeros(70, WIDTH), random(1, 3, WIDTH)
    streams, found = made.begin([1]), Found.room(1, 6)
    plan = replace(plan, per_frame=2)
    decode(e, torch.tensor([3]), made.predictor, Joint(weight), streams, found, plan)
    assert labels_of(found) == [[(0, 0), (0, 0), (0, 1), (0, 1), (0, 2), (0, 2)]]


@pytest.mark.parametrize("plan", PLANS)
def test_nothing_but_blank(plan: Plan) -> None:
    """A single class, and a frame that is NaN: no label, and a score that shows it."""
    made = model()
    e = random(2, 4, WIDTH)
    e[1, 2] = float("nan")
    streams, found = made.begin([0, 1]), Found.room(2, 3)
    weight = torch.zeros(1, WIDTH)
    decode(e, torch.tensor([4, 4]), made.predictor, Joint(weight), streams, found, plan)
    assert found.counts.tolist() == [0, 0]
    assert streams.scores[0] == 0
    assert streams.scores[1].isnan()


@pytest.mark.parametrize("parts", [1, 16, 157, 625])
def test_parts_of_many_classes_fit_into_registers(
    parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread has three numbers of each, and where they lie: at most 32 fit."""
    launches, made = Launches(), model()
    monkeypatch.setattr(greedy, "_take", launches)
    monkeypatch.setattr(greedy, "_split", lambda *_: (torch.zeros(16, parts),) * 3)
    e, found = random(2, 3, WIDTH), Found.room(2, 1)
    step = torch.zeros(2, dtype=torch.int64), torch.zeros(2, dtype=torch.int64)
    greedy._look(e, torch.ones(2), made.joint, made.begin([0, 1]), found, Plan(window=8), step)
    (options,) = launches.options
    room, warps = options["PARTS"], options["num_warps"]
    assert isinstance(room, int)
    assert isinstance(warps, int)
    assert room >= parts
    assert 8 * room <= 32 * 32 * warps


def test_no_streams_no_frames_no_room() -> None:
    made, streams = model(), model().begin([0, 1])
    for batch, frames, most in ((0, 3, 2), (2, 0, 2), (2, 3, 0)):
        e, found = random(batch, frames, WIDTH), Found.room(batch, most)
        chosen = streams.of(torch.arange(batch))
        decode(e, torch.full((batch,), frames), made.predictor, made.joint, chosen, found)
        assert found.read.tolist() == [0] * batch


def test_what_does_not_fit() -> None:
    made = model()
    streams, e = made.begin([0, 1]), random(2, 3, WIDTH)
    with pytest.raises(ValueError, match="rows of what is found"):
        decode(e, torch.ones(3), made.predictor, made.joint, streams, Found.room(2, 1))
    with pytest.raises(ValueError, match="wide"):
        decode(e[..., 1:], torch.ones(2), made.predictor, made.joint, streams, Found.room(2, 1))
    with pytest.raises(ValueError, match="power of two"):
        Plan(window=3)
    assert shape_of(made.joint.weight) == (23, WIDTH)
