"""Where the bytes of a compiled recogniser are, against the bits that its types say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from math import ceil, prod
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from ..backends.nna.coding import code_counts, coded_bits
from ..backends.nna.estimate import alive
from ..backends.nna.machine import Estimate
from ..backends.nna.program import Array, Program, Tensor
from ..compiler.artefact import unpack
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.files import read_bytes
from ..compiler.graph import Graph
from .compiled import graph_of, read_compiled


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a program's constants.

    weights  how many there are, zeros between groups left out
    typed    bytes of these at the bits of their types
    coded    bytes of them as Golomb-Rice codes, each tensor by itself, headers left out
    beside   bytes of codebooks, scales and biases, and of other constants
    values   of a weight tensor, how many there are at most; `limit` is what its type allows
    stored   bytes of all constants as they are kept, int8 and int32
    file     bytes of the `.tflite` file
    streams  bytes of the weight stream of each machine, by its own compiler's word
    alive    bytes of values, states among them, that a step needs at once: its arena at least
    operators  how many there are of each kind
    """

    program: str
    weights: int
    typed: int
    coded: int
    beside: int
    values: int
    limit: int
    stored: int
    file: int
    streams: Mapping[str, int]
    alive: int
    operators: Mapping[str, int]

    @property
    def total(self) -> int:
        return self.typed + self.beside


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes of a part by itself, and those that it takes in the file, compressed."""

    own: int
    packed: int


@dataclass(frozen=True, slots=True)
class Held:
    """What the host computes: why, and the operator where it is a value of the graph."""

    op: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of an artefact: its programs, all its parts by name, the whole file.

    host       what the host computes, by path or in words
    estimates  those of compilers, by machine and program
    """

    programs: tuple[Size, ...]
    parts: Mapping[str, Part]
    file: int
    host: Mapping[str, Held]
    estimates: Mapping[str, Mapping[str, Estimate]]

    @property
    def rest(self) -> int:
        """Bytes of the file that are no part: headers of the archive, the digest at its end."""
        return self.file - sum(part.packed for part in self.parts.values())


def sizes(path: Path) -> Sizes:
    """Raises AsrcError E0008, E1201 and E1202 as `read_compiled` does, E1201 too where a tensor has
    more values than its type allows."""
    data = read_bytes(path)
    parts = unpack(data, str(path))
    compiled = read_compiled(path, parts)
    graph = graph_of(path, parts)
    found = []
    for name in sorted(compiled.programs):
        streams = {on: of[name].stream for on, of in compiled.estimates.items()}
        program, file = compiled.programs[name].program, len(parts[f"{name}.tflite"])
        found.append(_of_program(name, program, graph, file, streams))
    ops = {node.path: node.op for node in graph}
    host = {p: Held(ops.get(p), why) for p, why in compiled.manifest["host"].items()}
    return Sizes(tuple(found), _parts(data), len(data), host, compiled.estimates)


def _parts(data: bytes) -> dict[str, Part]:
    with ZipFile(BytesIO(data)) as archive:
        return {i.filename: Part(i.file_size, i.compress_size) for i in archive.infolist()}


def _of_program(
    name: str, program: Program, graph: Graph, file: int, streams: Mapping[str, int]
) -> Size:
    constants = [tensor for tensor in program.tensors.values() if tensor.data is not None]
    widths = {t.name: _bits(graph, t) for t in constants}
    weights = {t.name: t for t in constants if widths[t.name]}
    counts = {n: _count(graph, t) for n, t in weights.items()}
    values = {n: len(np.unique(np.asarray(t.data))) for n, t in weights.items()}
    for tensor in weights.values():
        _check(tensor, values[tensor.name], widths[tensor.name] or 8, counts[tensor.name])
    books = sum(1 << (w or 8) for n, w in widths.items() if n in weights and w != 8)
    scales = sum(4 * len(t.scales) for t in weights.values())
    others = sum(t.bytes for t in constants if t.name not in weights)
    return Size(
        name,
        sum(counts.values()),
        sum(-(-counts[n] * (widths[n] or 8) // 8) for n in weights),
        sum(ceil(counts[n] * coded_bits(*_used(t)) / 8) for n, t in weights.items()),
        books + scales + others,
        max(values.values(), default=0),
        max((1 << (widths[n] or 8) for n in weights), default=0),
        sum(tensor.bytes for tensor in constants),
        file,
        streams,
        alive(program),
        dict(Counter(op.kind for op in program.ops).most_common()),
    )


def _used(tensor: Tensor) -> tuple[Array, float]:
    """How often each of a constant's values is there, and how often zero."""
    return code_counts(np.asarray(tensor.data))


def _bits(graph: Graph, tensor: Tensor) -> int | None:
    """Of the weights of a value that has such a constant."""
    path, _, name = tensor.name.rpartition(".")
    found = graph[path].attrs.get("weights") if name == "weight" and path in graph.nodes else None
    return found if isinstance(found, int) else None


def _count(graph: Graph, tensor: Tensor) -> int:
    """Weights that are learned: between groups there are none."""
    groups = graph[tensor.name.removesuffix(".weight")].attrs.get("groups", 1)
    return prod(tensor.shape) // (groups if isinstance(groups, int) else 1)


def _check(tensor: Tensor, values: int, bits: int, count: int) -> None:
    between = count < prod(tensor.shape)  # zeros there are no value of the codebook
    if values > (1 << bits) + between:
        message = f"`{tensor.name}` has {values} values, its type allows {1 << bits}"
        raise AsrcError(diagnostic("E1201", message, help="compile it again"))
