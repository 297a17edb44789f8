"""The contract of a streaming model, run on the model itself with random utterances.

What a user relies on without looking: a stream gives what the whole utterance gives, however it is
cut; padding and neighbours in a batch change nothing; look-ahead and context are as inferred; the
end of a stream is complete; streams in a batch do not see each other, also when some begin anew;
and parameters, state and products are as many as the facts say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, repeat

import torch
from torch import Tensor

from ...compiler.types import Label, Static, base_clock
from .counting import count_everything
from .emit import word
from .field import measure_field
from .lowered import Lowered
from .modes import evaluating
from .past import measure_past
from .session import Session
from .slots import Slots
from .stepmodule import Feed
from .trial import (
    Differences,
    Finding,
    Received,
    Trial,
    Values,
    compare,
    drawn,
    push,
    pushes,
    streamed,
    utterance,
)

SIZES = (0, 1, 1, 2, 3, 7, 13, 160, 211, 1601, 4099, 16001)
"""Frames of a push: nothing, one, primes, steps and much more than a step."""

NEAR = 960
"""So many samples of a step are pushed one by one: all of 60 ms at 16 kHz."""


def streaming_equals_offline(trial: Trial, seeds: int = 2) -> Finding:
    """Pushes of random sizes, of one frame or sample each, of everything at once: all give the
    frames that the whole utterance gives, each once and in order."""
    gaps = Differences("streaming equals offline", trial.limit)
    for part in trial.parts:
        for where, sizes in _cuts(trial, part, seeds):
            compare(gaps, streamed(trial, part, sizes), trial.values, where)
    _compare_joints(gaps, trial)
    return gaps.finding()


def _cuts(trial: Trial, part: str, seeds: int) -> Iterator[tuple[str, Iterator[int]]]:
    """Ways to cut a stream, in words and in sizes."""
    step = trial.lowered.step(part)
    frames = max((made.count for made in step.outputs), default=1)
    for seed in range(seeds):
        yield f"in random pushes (seed {seed})", drawn(SIZES, trial.random(1, seed))
    yield "frame by frame", in_turn([repeat(max(1, f.count // frames)) for f in step.feeds])
    yield "sample by sample", in_turn([singly(feed) for feed in step.feeds])
    yield "pushed at once", repeat(1 << 40)


def in_turn(sizes: Sequence[Iterator[int]]) -> Iterator[int]:
    """Endless sizes of each input, one after the other as `pushes` takes them."""
    return chain.from_iterable(zip(*sizes, strict=True))


def singly(feed: Feed) -> Iterator[int]:
    """Single frames over two steps, of a long step at its beginning and end; then all the rest."""
    for count in (feed.start % feed.count or feed.count, feed.count):
        near = min(count, NEAR) // 2
        yield from chain(repeat(1, near), [count - 2 * near], repeat(1, near))
    yield from chain([1], repeat(1 << 40))


def _compare_joints(gaps: Differences, trial: Trial) -> None:
    """The joint of one frame and one label, as decoders call it, against the whole lattice."""
    lattice = trial.lowered.parts.get("lattice")
    if lattice is None:
        return
    values = trial.values
    given = {port.name: values[port.name] for port in lattice.inputs}
    shape = values[lattice.outputs[0].name].shape[1:3]
    for t, u in {(0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] // 2, shape[1] // 2)}:
        one = _at_pair(trial, given, t, u)
        with torch.no_grad():
            found = lattice(one)
        for port in lattice.outputs:
            wanted = values[port.name][:, t : t + 1, u : u + 1]
            gaps.add(port.name, found[port.name], wanted, f"at frame {t} and label {u}")


def _on_labels(trial: Trial, path: str) -> bool:
    return isinstance(base_clock(trial.lowered.facts.types[path].clock), Label)


def _at_pair(trial: Trial, given: Mapping[str, Tensor], t: int, u: int) -> Values:
    lattice, types = trial.lowered.parts["lattice"], trial.lowered.facts.types
    found = dict(given)
    for port in lattice.inputs:
        base = base_clock(types[port.path].clock)
        if port.kind == "length":
            found[port.name] = torch.ones_like(given[port.name])
        elif port.kind == "value" and not isinstance(base, Static):
            at = u if _on_labels(trial, port.path) else t
            found[port.name] = given[port.name][:, at : at + 1]
    return found


# --- batches --------------------------------------------------------------------------------


def padding_is_independent(trial: Trial) -> Finding:
    """Padding of NaN and junk, more padding, absent entries of NaN, and other utterances beside
    it: an utterance's values are those it has alone."""
    gaps = Differences("padding independence", trial.limit)
    padded = trial.run(_with_padding(trial, 3))
    backwards = list(reversed(range(len(trial.lengths))))
    turned = trial.run({name: x[backwards] for name, x in _with_padding(trial, 0).items()})
    for row in range(len(trial.lengths)):
        alone = trial.run(_alone(trial, row))
        for name in _outputs(trial.lowered):
            wanted = _present(alone, trial, name, 0)
            for values, at, where in (
                (padded, row, "with NaN in the padding"),
                (turned, backwards[row], "beside other utterances"),
            ):
                found = _present(values, trial, name, at)
                gaps.add(name, found, wanted, f"{where}, in utterance {row}")
    return gaps.finding()


def _with_padding(trial: Trial, more: int) -> Values:
    """The inputs with `more` frames of padding, NaN or junk tokens in all that is not there."""
    found = dict(trial.inputs)
    for node in trial.lowered.facts.graph:
        name = word(node.path)
        if node.op != "input":
            continue
        x, length = trial.inputs[name], trial.inputs.get(f"{name}_length")
        if length is not None:
            x = torch.cat([x, x.new_zeros((len(x), more, *x.shape[2:]))], 1)
            there = torch.arange(x.shape[1]) < length.unsqueeze(1)
        else:
            there = trial.inputs.get(f"{name}_there", torch.ones(len(x), dtype=torch.bool))
        junk = float("nan") if x.is_floating_point() else 1 << 40
        wide = there.reshape(there.shape + (1,) * (x.ndim - there.ndim))
        found[name] = torch.where(wide, x, junk)
    return found


def _alone(trial: Trial, row: int) -> Values:
    """One utterance without padding."""
    found = {}
    for name, x in trial.inputs.items():
        length = trial.inputs.get(f"{name}_length")
        one = x[row : row + 1]
        found[name] = one if length is None else one[:, : int(length[row])]
    return found


def _outputs(lowered: Lowered) -> list[str]:
    ports = (port for part in lowered.parts.values() for port in part.outputs)
    return list(dict.fromkeys(port.name for port in ports if port.kind == "value"))


def _present(values: Values, trial: Trial, name: str, row: int) -> Tensor:
    """What is there of a value of one utterance, frames and labels of a lattice among it."""
    x = utterance(values, name, row)
    there = values.get(f"{name}_there")
    if there is not None:
        return x[there[row]]
    lattice = trial.lowered.parts.get("lattice")
    if lattice is None or name not in {port.name for port in lattice.outputs}:
        return x
    for port in lattice.inputs:
        if port.kind == "length":
            axis = int(_on_labels(trial, port.path))
            count = int(values[port.name][row])
            x = x.narrow(axis, 0, min(count, x.shape[axis]))
    return x


# --- ends and beginnings --------------------------------------------------------------------


def flush_is_whole(trial: Trial, tries: int = 6) -> Finding:
    """A stream that ends anywhere gives all the frames of the utterance up to there."""
    gaps = Differences("flush at the end", trial.limit)
    for part in trial.parts:
        for number in range(tries):
            _flush(gaps, trial, part, number)
    return gaps.finding()


def _flush(gaps: Differences, trial: Trial, part: str, number: int) -> None:
    source = trial.random(2, number)
    share = torch.rand((), generator=source).item() if number else 0.0
    cut = _shortened(trial, share, number)
    values = trial.run(cut)
    session = Session(trial.lowered, len(trial.lengths), values, part)
    received = Received.of(session)
    for piece in pushes(session, values, drawn(SIZES[4:], source)):
        received.take(push(session, values, piece))
    received.take(session.finish())
    compare(gaps, received, values, f"when the stream ends early (try {number})")
    if any(bool(block.there.any()) for block in session.finish().values()):
        gaps.fail("frames come after the end")


def _shortened(trial: Trial, share: float, number: int) -> Values:
    """The utterances up to a share of their length, streams of one clock cut alike."""
    found = dict(trial.inputs)
    for name, length in trial.inputs.items():
        if name.endswith("_length"):
            found[name] = (length * share).long().clamp(min=0 if number == 0 else 1)
            found[name] = found[name].minimum(length)
    return found


def streams_are_independent(trial: Trial, rounds: int = 3) -> Finding:
    """Streams that share a batch and begin anew at different times, against whole utterances.

    Each goes through `rounds` utterances; some it leaves in the middle.
    """
    gaps = Differences("streams of a batch", trial.limit)
    utterances = [_round(trial, number) for number in range(rounds)]
    for part in trial.parts:
        source = trial.random(3)
        slots = Slots.of(trial, part, utterances, gaps)
        for size in drawn(_step_sizes(slots.session), source):
            slots.push(size)
            slots.leave(torch.rand(len(trial.lengths), generator=source) < 0.1)
            if slots.done:
                break
    return gaps.finding()


def _round(trial: Trial, number: int) -> Values:
    """Other utterances with the same catalogues."""
    other = Trial(trial.lowered, trial.lengths, trial.seed + number).inputs
    static = {name: x for name, x in trial.inputs.items() if name not in _timed(trial)}
    return trial.run({**other, **static})


def _timed(trial: Trial) -> set[str]:
    """Inputs that have frames or labels, and their lengths."""
    lengths = {name for name in trial.inputs if name.endswith("_length")}
    return lengths | {name.removesuffix("_length") for name in lengths}


def _step_sizes(session: Session) -> list[int]:
    """Pushes of less than a step up to several."""
    count = max((feed.count for feed in session.feeds), default=1)
    return [1, max(1, count // 3), count, count + 1, 3 * count + 1]


# --- sizes ----------------------------------------------------------------------------------


def field_is_as_inferred(trial: Trial, exact: bool = True) -> Finding:
    """Perturbed inputs change outputs as far as the facts say; see `field.py` and `past.py`.

    With `exact`, look-ahead and context must be reached: random weights let everything through,
    but trained ones need not, nor do codes.
    """
    quantised = any("number" in node.attrs for node in trial.lowered.facts.graph)
    ahead, words = measure_field(trial, exact and not quantised)
    back, said = measure_past(trial, exact and not quantised)
    return Finding("receptive field", max(ahead, back), 0.0, words or said)


def counts_equal_facts(trial: Trial) -> Finding:
    """Parameters, state and products of the modules as they run; see `counting.py`."""
    counted = count_everything(trial.lowered)
    wrong = [count for count in counted if count.gap]
    worst = max((count.gap for count in counted), default=0.0)
    return Finding("counts", worst, 0.0, wrong[0].words() if wrong else "")


CHECKS: Mapping[str, Callable[[Trial], Finding]] = {
    "streaming": streaming_equals_offline,
    "padding": padding_is_independent,
    "field": field_is_as_inferred,
    "flush": flush_is_whole,
    "batch": streams_are_independent,
    "counts": counts_equal_facts,
}


def run_contract(trial: Trial, exact: bool = True) -> list[Finding]:
    """All checks, in order; `exact` as in `field_is_as_inferred`.

    Raises AsrcError E0303 or E0404 where the model cannot be streamed.
    """
    with evaluating(trial.lowered):
        return [
            field_is_as_inferred(trial, exact) if name == "field" else check(trial)
            for name, check in CHECKS.items()
        ]
