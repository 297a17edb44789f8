"""Whether the parts of a compiled recogniser are of one model: names, shapes, rates, labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..backends.nna.lower import Lowered as Steady
from ..backends.nna.program import Array
from ..backends.torch.lowered import Lowered
from ..compiler.graph import Node
from ..compiler.types import Stream, Type, base_clock


@dataclass(frozen=True)
class Parts:
    """What was read of an artefact; `labels` are how many its vocabulary has."""

    manifest: Mapping[str, Any]
    front: Lowered
    programs: Mapping[str, Steady]
    table: Array
    labels: int


def strays(parts: Parts) -> Iterator[str]:
    """What does not fit, the first things first; later ones are of sense where none was found."""
    yield from _in_front(parts)
    yield from _in_encoder(parts)
    yield from _in_predictor(parts)
    yield from _in_joint(parts)
    yield from _in_periods(parts)


def _in_front(parts: Parts) -> Iterator[str]:
    """The host's part makes the encoder's features of audio at the manifest's rate."""
    said, facts = parts.manifest, parts.front.facts
    heard = {n.path: facts.types[n.path] for n in facts.graph if _is_audio(n, facts.types[n.path])}
    if said["audio"] not in heard:
        yield f"`audio` of the manifest is `{said['audio']}`, `front.asrir` hears {_names(heard)}"
        return
    kind = heard[said["audio"]]
    if _rate(kind) != said["rate"] or kind.size != said["channels"]:
        yield (
            f"`rate` and `channels` of the manifest are {said['rate']} and {said['channels']},"
            f" those of `front.asrir` {_rate(kind)} and {kind.size}"
        )
    if len(facts.graph.outputs) != 1:
        yield f"`front.asrir` makes {_names(facts.graph.outputs)}, it must be one value"


def _is_audio(node: Node, kind: Type) -> bool:
    return node.op == "input" and kind.elem == "real" and _rate(kind) is not None


def _rate(kind: Type) -> Fraction | None:
    base = base_clock(kind.clock)
    return 1 / base.period if isinstance(base, Stream) else None


def _in_encoder(parts: Parts) -> Iterator[str]:
    """It reads features and flags, and makes one value."""
    encoder, features = parts.programs["encoder"], parts.manifest["features"]
    if _fed(encoder) != {features, *encoder.flags} or features in encoder.flags:
        yield f"`features` of the manifest is `{features}`, `encoder` reads {_names(_fed(encoder))}"
        return
    (path,) = parts.front.facts.graph.outputs.values()
    made, wanted = parts.front.facts.types[path].size, _width(encoder, features)
    if made != wanted:
        yield f"`front.asrir` makes features of {made} numbers, `encoder` reads {wanted}"
    if len(encoder.made) != 1:
        yield f"`encoder` makes {_names(encoder.made)}, it must be one value"


def _in_predictor(parts: Parts) -> Iterator[str]:
    """It reads rows of the table, one for each label."""
    predictor, row = parts.programs["predictor"], parts.manifest["row"]
    if _fed(predictor) != {row}:
        yield f"`row` of the manifest is `{row}`, `predictor` reads {_names(_fed(predictor))}"
        return
    dtype, codes = predictor.program.tensors[row].dtype, parts.table
    wanted = [parts.labels, _width(predictor, row)]
    if (str(codes.dtype), [*codes.shape]) != (dtype, wanted):
        yield (
            f"`rows` of `table.safetensors` are {codes.dtype} {[*codes.shape]};"
            f" `vocabulary` and `predictor` want {dtype} {wanted}"
        )


def _in_joint(parts: Parts) -> Iterator[str]:
    """It reads what the others make, and gives a number for each label and for none."""
    encoder, predictor, joint = (parts.programs[n] for n in ("encoder", "predictor", "joint"))
    made = [_width(one, name) for one in (encoder, predictor) for name in one.made.values()]
    read = [_width(joint, name) for name in joint.program.inputs]
    if joint.program.states or read != made:
        yield f"`joint` reads rows of {read} codes, the other programs make {made}"
    told = [_width(joint, name) for name in joint.made.values()]
    if told != [parts.labels + 1]:
        yield f"`joint` makes {told} numbers, `vocabulary` wants {[parts.labels + 1]}"


def _in_periods(parts: Parts) -> Iterator[str]:
    """A step of the encoder takes as long for all that it reads and makes."""
    encoder, said = parts.programs["encoder"], parts.manifest["periods"]
    names = [parts.manifest["features"], *encoder.made, *encoder.flags]
    if missing := [name for name in names if name not in said]:
        yield f"`periods` of the manifest has not {_names(missing)}"
        return
    steps = {encoder.count[name] * Fraction(said[name]) for name in names}
    if len(steps) > 1:
        yield "`periods` of the manifest do not go with the frames of a step of `encoder`"


def _fed(lowered: Steady) -> set[str]:
    """Inputs beside the states."""
    return {*lowered.program.inputs} - lowered.program.states.keys()


def _width(lowered: Steady, name: str) -> int:
    return lowered.program.tensors[name].shape[-1]


def _names(found: Any) -> str:
    return ", ".join(f"`{name}`" for name in sorted(found)) or "nothing"
