"""What a compiled recogniser's file must hold, checked in one place before any of it is used.

A digest says that the bytes are those that were written, not who wrote them: whoever repacks a file
may leave a part out, or write another manifest. Whatever is missing or of another kind is E1201,
with its name. `fitting.py` then looks whether the parts are of one model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load

from ..backends.nna.golden import strays
from ..backends.nna.program import Array, Program
from ..compiler.artefact import ON_KERNELS
from ..compiler.diagnostics import AsrcError, diagnostic
from ..compiler.schema import (
    ANY,
    BITS,
    COUNT,
    NAME,
    NUMBER,
    PERIOD,
    SECONDS,
    SIZE,
    TEXT,
    Kind,
    maybe,
    misfits,
    one_of,
    record,
    table,
)
from .places import PLACES

KIND = "transducer of integer programs"
NAMES = ("encoder", "predictor", "joint")

MODEL = (
    *("model.asrir", "vocabulary", "front.asrir", "front.safetensors"),
    *("table.safetensors", "numbers.safetensors"),
)
OF_PROGRAM = ("json", "safetensors", "tflite")
"""Golden vectors are no more than proof: `asrc verify` alone must have them."""

_FLATBUFFER = b"TFL3"

MANIFEST: Mapping[str, Kind] = {
    "audio": NAME,
    "rate": COUNT,
    "channels": COUNT,
    "features": NAME,
    "row": NAME,
    "periods": table(PERIOD),
    "lookahead": SECONDS,
    "host": table(TEXT),
    "bits": BITS,
}
_OPTIONS: Mapping[str, Kind] = {"weights": BITS, "coded": maybe(TEXT), "passes": TEXT}
MORE: Mapping[str, Kind] = {
    "on": one_of(*PLACES),
    "programs": table(record({"inputs": table(ANY), "outputs": table(ANY)})),
    "states": table(table(ANY)),
    "asrc": TEXT,
    "card": table(ANY),
    "options": record(_OPTIONS),
    "machines": table(table(ANY)),
}
"""Keys that not every asrc has written."""

ESTIMATE: Mapping[str, Kind] = {
    "seconds": NUMBER,
    **dict.fromkeys(("sram", "stream", "weights", "operators", "elsewhere"), SIZE),
    "compiling": NUMBER,
}
LATER: Mapping[str, Kind] = {
    "by": TEXT,
    **dict.fromkeys(("flash", "dram"), maybe(SIZE)),
    "lacking": table(SIZE),
}


def checked(path: Path, parts: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest of a recogniser for an accelerator, all of whose parts are there.

    Raises AsrcError E1201, which names the first thing that is missing or of another kind.
    """
    manifest = manifest_of(path, parts, KIND, MANIFEST, MORE)
    wanted = [*MODEL, *(f"{name}.{part}" for name in NAMES for part in OF_PROGRAM)]
    for name in wanted:
        part_of(path, parts, name)
    files = [f"{name}.tflite" for name in NAMES]
    others = [file for file in files if parts[file][4:8] != _FLATBUFFER]
    _refuse(path, (f"`{file}` is no file of TensorFlow Lite" for file in others))
    return manifest


def manifest_of(
    path: Path,
    parts: Mapping[str, bytes],
    kind: str,
    needed: Mapping[str, Kind],
    more: Mapping[str, Kind],
) -> dict[str, Any]:
    """`manifest.json` of a kind of artefact, its keys of the kinds that they must have."""
    found = json_of(path, parts, "manifest.json")
    _refuse(path, _in_manifest(misfits(found, {"kind": TEXT})))
    if found["kind"] != kind:
        raise another_kind(path, found["kind"])
    _refuse(path, _in_manifest(misfits(found, needed, more)))
    return dict(found)


def _in_manifest(problems: Iterable[str]) -> Iterator[str]:
    return (f"in `manifest.json`, {problem}" for problem in problems)


def estimates_of(path: Path, parts: Mapping[str, bytes]) -> dict[str, dict[str, dict[str, Any]]]:
    """Of each machine and program; of none where the file is not there."""
    name = "estimates.json"
    found = json_of(path, parts, name) if name in parts else {}
    each = record(dict.fromkeys(NAMES, record(ESTIMATE, LATER)))
    wanted = dict.fromkeys(found, each) if isinstance(found, dict) else {}
    _refuse(path, (f"in `{name}`, {problem}" for problem in misfits(found, wanted)))
    return dict(found)


def arrays_of(path: Path, parts: Mapping[str, bytes], name: str) -> dict[str, Array]:
    """A part of tensors."""
    with reading(path, name):
        return load(part_of(path, parts, name))


def vectors_of(path: Path, parts: Mapping[str, bytes], program: Program) -> dict[str, Array]:
    """The golden vectors of a program, all of them."""
    name = golden_name(program.name)
    if name not in parts:
        raise damaged(path, f"it has no golden vectors of `{program.name}`, `{name}` is missing")
    golden = arrays_of(path, parts, name)
    _refuse(path, (f"in `{name}`, {problem}" for problem in strays(program, golden)))
    return golden


def golden_name(program: str) -> str:
    return f"{program}.golden.safetensors"


def json_of(path: Path, parts: Mapping[str, bytes], name: str) -> Any:
    """A part of plain data."""
    with reading(path, name):
        return json.loads(part_of(path, parts, name))


def part_of(path: Path, parts: Mapping[str, bytes], name: str) -> bytes:
    """A part's bytes."""
    if name not in parts:
        raise damaged(path, f"`{name}` is missing")
    return parts[name]


_UNREADABLE = (KeyError, TypeError, ValueError, RuntimeError, MemoryError, SafetensorError)
"""RuntimeError is too much recursion, and what PyTorch says of tensors beyond all memory."""


@contextmanager
def reading(path: Path, name: str) -> Iterator[None]:
    """Whatever a part is refused for is E1201 of the whole file."""
    try:
        yield
    except AsrcError as error:
        first = error.diagnostics[0]
        if first.code == "E1201":
            raise
        raise damaged(path, f"`{name}` cannot be read: {first.message}") from None
    except _UNREADABLE as error:
        raise damaged(path, f"`{name}` cannot be read: {error}") from None


def damaged(path: Path, problem: str) -> AsrcError:
    message = f"`{path}` holds no recogniser that is whole: {problem}"
    return AsrcError(diagnostic("E1201", message, help="copy it or compile it again"))


def another_kind(path: Path, kind: str) -> AsrcError:
    """A whole file, and none for who asked."""
    help = "compile it again"
    if kind == ON_KERNELS:
        help = "`asrc transcribe` and `asrc eval` take it; compile for `--target nna` for the rest"
    message = f"`{path}` holds no recogniser of this kind: it holds a {kind}"
    return AsrcError(diagnostic("E1201", message, help=help))


def _refuse(path: Path, problems: Iterable[str]) -> None:
    for problem in problems:
        raise damaged(path, problem)
