"""A trained model as it is kept in a folder: text, settings, vocabulary, weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ..backends.torch.lowered import Lowered
from ..backends.torch.narrow import narrowed
from ..backends.torch.session import Session
from ..backends.torch.weights import load_weights, read_tensors, write_tensors
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.facts import Facts
from ..compiler.irread import parse_graph
from ..compiler.irtext import print_graph
from ..compiler.types import Stream, base_clock
from .running import Running
from .transducer import LoweredTransducer, Roles, clock_of, find_roles
from .vocabulary import Vocabulary, load_vocabulary

FORMAT = 1
WEIGHTS, GRAPH, VOCABULARY, CARD = (
    "weights.safetensors",
    "model.asrir",
    "vocabulary",
    "recogniser.json",
)


@dataclass(frozen=True)
class Recogniser:
    """A transducer that can be run: a graph with weights, and what its labels spell.

    `card` says where it comes from: model, settings, pipeline, recipe, data, scores.
    """

    lowered: Lowered
    vocabulary: Vocabulary
    card: Mapping[str, Any]

    @property
    def facts(self) -> Facts:
        return self.lowered.facts

    @property
    def roles(self) -> Roles:
        return find_roles(self.lowered)

    @property
    def rate(self) -> int:
        """Samples a second that the model takes in."""
        return sample_rate(self.facts, self.roles.audio)

    @property
    def channels(self) -> int:
        return self.facts.types[self.roles.audio].size

    def run(self) -> Running:
        """One stream in float."""
        roles, model = self.roles, LoweredTransducer(self.lowered)
        ports = self.lowered.parts["frames"].outputs
        path = next(port.path for port in ports if port.name == roles.frames[0])
        clock = clock_of(self.facts, path)
        return Running(self.session(), model, roles.audio, roles.frames, clock)

    def session(self, streams: int = 1) -> Session:
        """Of the encoder. Raises AsrcError E0303 or E0404 where it cannot be streamed."""
        return Session(self.lowered, streams)


def sample_rate(facts: Facts, path: str) -> int:
    """The rate of an audio input. Raises AsrcError E1008 where it is no whole number of Hz."""
    clock = base_clock(facts.types[path].clock)
    assert isinstance(clock, Stream)
    rate = 1 / clock.period
    if rate.denominator != 1:
        message = f"`{path}` comes at {float(rate):g} Hz; audio files have whole numbers of them"
        raise AsrcError(diagnostic("E1008", message))
    return int(rate)


def write_recogniser(
    folder: Path, recogniser: Recogniser, dtype: torch.dtype = torch.float32
) -> None:
    """Four files; each is whole or as it was. Weights are stored in `dtype`, statistics as they
    are; of `torch.int8` are matrices alone, a step beside each row. Raises AsrcError E0008, and
    E1006 for a weight that `dtype` cannot hold."""
    from ..compiler.files import write_text

    graph = recogniser.facts.graph
    write_text(folder / GRAPH, print_graph(graph, recogniser.facts.types))
    recogniser.vocabulary.save(folder / VOCABULARY)
    write_tensors(folder / WEIGHTS, stored(recogniser.lowered, dtype))
    card = {"format": FORMAT, **recogniser.card}
    write_text(folder / CARD, json.dumps(card, indent=1, sort_keys=True) + "\n")


def stored(lowered: Lowered, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Tensors by name, parameters in `dtype`."""
    parameters = {id(p) for p in lowered.parameters()}
    found: dict[str, torch.Tensor] = {}
    if dtype == torch.int8 and any("weights" in node.attrs for node in lowered.facts.graph):
        help = "`asrc compile` packs them as they are; float16 rounds them least"
        message = "its weights are codes of an accelerator's, other codes would be others"
        raise AsrcError(diagnostic("E1006", message, help=help))
    for name, x in lowered.tensors().items():
        if id(x) not in parameters:
            found[name] = x
        elif dtype != torch.int8:
            found[name] = _held(name, x.detach().to(dtype))
        else:
            held = _held(name, x.detach(), dtype)
            found |= narrowed(name, held) if x.ndim > 1 else {name: held}
    return found


def _held(name: str, x: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """The tensor. Raises AsrcError E1006 where it, or `dtype`, does not hold its numbers."""
    if bool(torch.isfinite(x).all()):
        return x
    message = f"`{name}` has a number that {str(dtype or x.dtype).removeprefix('torch.')} cannot"
    help = "bfloat16 has the range of float32"
    raise AsrcError(diagnostic("E1006", f"{message} hold", help=help))


def _no_folder(folder: Path) -> AsrcError:
    what = "is a file" if folder.is_file() else "has none" if folder.is_dir() else "is not there"
    message = f"cannot read `{folder / CARD}`: `{folder}` {what}"
    best = folder / "best"
    help = "a model is a folder that `asrc train` made, such as RUN/best"
    if (best / CARD).is_file():
        help = f"the model of this run is `{best}`"
    return AsrcError(diagnostic("E0008", message, help=help))


def read_recogniser(folder: Path) -> Recogniser:
    """What `write_recogniser` wrote, ready to run.

    Raises AsrcError E0008 where a file is missing, E1006 where they are damaged or of another
    version, and what the graph's text is refused for.
    """
    from ..compiler.files import read_bytes

    if not (folder / CARD).is_file():
        raise _no_folder(folder)
    card = _card(folder, read_bytes(folder / CARD))
    text = read_bytes(folder / GRAPH).decode("utf-8", "replace")
    graph = parse_graph(text, str(folder / GRAPH))
    lowered = Lowered(Facts(graph))
    tensors, _ = read_tensors(folder / WEIGHTS)
    load_weights(lowered, tensors, str(folder / WEIGHTS))
    lowered.eval()
    vocabulary = load_vocabulary(folder / VOCABULARY)
    found = Recogniser(lowered, vocabulary, card)
    if found.roles.labels_count != vocabulary.size:
        message = f"`{folder}` has a vocabulary of {vocabulary.size}, the model one of "
        help = "the files of the folder belong to different trainings"
        raise AsrcError(diagnostic("E1006", f"{message}{found.roles.labels_count}", help=help))
    return found


def _card(folder: Path, data: bytes) -> dict[str, Any]:
    try:
        card = json.loads(data)
        version = card["format"]
    except (ValueError, KeyError, TypeError):
        message = f"`{folder / CARD}` is damaged"
        raise AsrcError(diagnostic("E1006", message, help="train or copy it again")) from None
    if version != FORMAT:
        message = f"`{folder}` is of version {version}, this asrc reads {FORMAT}"
        raise AsrcError(diagnostic("E1006", message, help="use the asrc that wrote it"))
    return dict(card)
