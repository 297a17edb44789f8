"""Recognisers on Triton kernels: compiled to one file, read back, run where there is a GPU.

    manifest.json        what it is, and which kernel makes which value
    model.asrir          the graph
    weights.safetensors  parameters, and the scales and codebooks of narrow ones
    vocabulary

Kernels are compiled for the device when they first run; which tiles they have is measured then and
kept (`backends/triton/tuning.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save

from ..backends.nna.calibrate import calibrated
from ..backends.torch.lowered import Lowered
from ..backends.torch.session import Session
from ..backends.torch.weights import load_weights
from ..compiler.artefact import ON_KERNELS, read_artefact
from ..compiler.facts import Facts
from ..compiler.graph import Graph
from ..compiler.irread import parse_graph
from ..compiler.irtext import print_graph
from ..compiler.schema import ANY, BITS, TEXT, Kind, maybe, one_of, table
from ..passes.quantize import Quantize, as_noted
from .contents import damaged, manifest_of, part_of, reading
from .places import kernel_device, no_triton
from .recogniser import Recogniser
from .transducer import find_roles
from .vocabulary import parse_vocabulary

MANIFEST: Mapping[str, Kind] = {"card": table(ANY)}
MORE: Mapping[str, Kind] = {
    "bits": maybe(BITS),
    "precision": one_of("float32", "float16", "bfloat16"),
    "kernels": table(table(TEXT)),
}


def compiled_fast(
    recogniser: Recogniser, bits: int | None = None, precision: str = "float32"
) -> dict[str, bytes]:
    """The parts of an artefact; with `bits`, weights become codebooks of so many. In a `precision`
    of `float16` or `bfloat16`, weights of products are kept in it, and tensor cores multiply in it.

    Raises AsrcError E1206 where triton is not installed.
    """
    made = recogniser if bits is None else narrowed(recogniser, bits)
    facts = made.facts
    manifest = {
        "kind": ON_KERNELS,
        "bits": bits,
        "precision": precision,
        "card": dict(recogniser.card),
        "kernels": placed(made.lowered),
    }
    tensors = {n: x.detach().cpu().contiguous() for n, x in made.lowered.tensors().items()}
    if (half := _half(precision)) is not None:
        names = _on_kernels(made.lowered, half).in_products()
        tensors = {n: x.to(half) if n in names else x for n, x in tensors.items()}
    return {
        "manifest.json": (json.dumps(manifest, indent=1) + "\n").encode(),
        "model.asrir": print_graph(facts.graph, facts.types).encode(),
        "weights.safetensors": save(tensors),
        "vocabulary": recogniser.vocabulary.data(),
    }


def narrowed(recogniser: Recogniser, bits: int) -> Recogniser:
    """With weights of few bits."""
    return replace(recogniser, lowered=narrow(recogniser.lowered, bits))


def narrow(model: Lowered, bits: int) -> Lowered:
    """Weights of few bits, the nearest ones, but for those that a training has given bits to;
    values stay in float. Kernels read indices at their width, so that no other code of them counts.
    """
    width = Fraction(bits) if bits < 8 else None
    passes = Quantize(weights=bits, coded=width, activations=False)
    before = model.facts.graph
    graph, _ = passes.run(before, None)
    facts = Facts(graph.rewrite(as_noted(node, before[node.path]) for node in graph))
    weights = {n: x.detach().float().numpy() for n, x in model.tensors().items()}
    found, made = calibrated(facts, weights, []), Lowered(facts)
    load_weights(made, {n: torch.from_numpy(np.asarray(x)) for n, x in found.items()})
    return made.eval()


def placed(lowered: Lowered) -> dict[str, dict[str, str]]:
    """By part and value: the kernel, or why PyTorch computes it. Raises AsrcError E1206."""
    report = _on_kernels(lowered).report
    return {
        part: {one.value: one.kernel or f"PyTorch: {one.why}" for one in values}
        for part, values in report.items()
    }


def read_fast(path: Path, parts: Mapping[str, bytes] | None = None) -> Recogniser:
    """An artefact, or its `parts` where they have been read.

    Raises AsrcError E0008 where it cannot be read, E1201 and E1202 for its contents, E1206
    where triton is missing or there is nothing to run it on."""
    parts = read_artefact(path) if parts is None else parts
    manifest = manifest_of(path, parts, ON_KERNELS, MANIFEST, MORE)
    half = _half(manifest.get("precision", "float32"))
    with reading(path, "model.asrir"):
        text = part_of(path, parts, "model.asrir").decode()
        lowered = Lowered(Facts(parse_graph(text, "model.asrir"))).eval()
        find_roles(lowered)
    with reading(path, "weights.safetensors"):
        weights = load(part_of(path, parts, "weights.safetensors"))
        load_weights(lowered, weights, "weights.safetensors")
    with reading(path, "vocabulary"):
        vocabulary = parse_vocabulary(part_of(path, parts, "vocabulary"), "vocabulary")
    fast = _on_kernels(lowered.to(kernel_device()), half)
    found = FastRecogniser(fast, vocabulary, manifest["card"])
    if (labels := found.roles.labels_count) != vocabulary.size:
        raise damaged(path, f"`vocabulary` has {vocabulary.size} labels, the model {labels}")
    return found


class FastRecogniser(Recogniser):
    """One whose steps are CUDA graphs, on a GPU, where nothing in them asks the host."""

    def session(self, streams: int = 1) -> Session:
        if self.lowered.like.device.type != "cuda" or rounds(self.facts.graph):
            return super().session(streams)
        from ..backends.triton.captured import CapturedStreams

        return Session(self.lowered, streams, begin=CapturedStreams)


def rounds(graph: Graph) -> bool:
    """Whether values have number formats, as after a training with `quantize`: PyTorch rounds
    these, by ranges that it reads on the host."""
    return any("number" in node.attrs for node in graph)


def _half(precision: str) -> torch.dtype | None:
    """The half type of that name; None for float32."""
    return {"float16": torch.float16, "bfloat16": torch.bfloat16}.get(precision)


def _on_kernels(lowered: Lowered, precision: torch.dtype | None = None) -> Any:
    try:
        from ..backends.triton.lowering import to_triton
    except ModuleNotFoundError as error:
        raise no_triton(error) from None
    return to_triton(lowered, precision)
