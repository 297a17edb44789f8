"""Artefacts that were repacked by hand: whatever is missing or of another kind is named, and no
command runs one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result
from safetensors.numpy import load, save

from asrc.backends.nna.executor import Executor
from asrc.backends.nna.litert import LiteRt
from asrc.backends.nna.machine import Estimate
from asrc.backends.nna.program import Program
from asrc.backends.nna.saved import PROGRAM, restored
from asrc.cli.main import cli
from asrc.compiler.artefact import pack, unpack
from asrc.compiler.diagnostics import AsrcError
from asrc.runtime.compiled import read_compiled
from asrc.runtime.contents import ESTIMATE, LATER, MANIFEST, MODEL, MORE, NAMES, OF_PROGRAM
from asrc.runtime.fast import compiled_fast, read_fast
from asrc.runtime.listener import Listener
from asrc.runtime.sizes import sizes
from asrc.runtime.verified import verified
from asrc.tests.runtime.test_compiled import artefact as artefact  # a fixture
from asrc.tests.runtime.test_listener import noise
from asrc.tests.runtime.test_recogniser import made

MEMBERS = (*MODEL, *(f"{name}.{part}" for name in NAMES for part in OF_PROGRAM))
COMMANDS = ("run", "transcribe", "eval", "size", "diff", "verify", "bench")
WRONG: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 1e300, 10**30, "", "other", "1/0", "1e999999999", "\ud800"),
    *([], [1], {}, {"a": []}, {"a": {"a": None}}, {"encoder": 3}),
)

DEFINITE = ("audio", "rate", "channels", "features", "row", "periods")
"""Keys of which one value alone goes with the other parts."""

Parts = dict[str, bytes]


@pytest.fixture(scope="module")
def whole(artefact: Path) -> Parts:
    return unpack(artefact.read_bytes(), "tiny")


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Mapping[str, bytes]], Result]:
    """Has a command take an artefact of some parts."""
    folder = tmp_path_factory.mktemp("contents")
    soundfile.write(folder / "a.wav", noise(0.3, 1), 8000)
    line = {"audio_filepath": "a.wav", "text": "low", "duration": 0.3}
    (folder / "a.jsonl").write_text(json.dumps(line) + "\n")
    more = {
        "run": ("encoder", "--out", folder / "out"),
        "transcribe": (folder / "a.wav",),
        "eval": (folder / "a.jsonl",),
        "diff": (folder / "a.wav",),
    }

    def called(command: str, parts: Mapping[str, bytes]) -> Result:
        path = folder / "a.asrc"
        path.write_bytes(pack(parts))
        return CliRunner().invoke(cli, [command, *map(str, (path, *more.get(command, ())))])

    return called


def remade(whole: Parts, part: str, changed: Callable[[Any], object]) -> Parts:
    """With a part of plain data that was changed."""
    found = json.loads(whole[part])
    changed(found)
    return whole | {part: json.dumps(found).encode()}


def without(whole: Parts, part: str) -> Parts:
    return {name: data for name, data in whole.items() if name != part}


def refused(parts: Mapping[str, bytes], folder: Path) -> str:
    """What E1201 says of an artefact of these parts."""
    (folder / "a.asrc").write_bytes(pack(parts))
    with pytest.raises(AsrcError) as error:
        read_compiled(folder / "a.asrc")
    (found,) = error.value.diagnostics
    assert found.code == "E1201"
    assert found.help
    return found.message


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "bench"])
def test_every_command_takes_what_is_whole(
    whole: Parts, call: Callable[..., Result], command: str
) -> None:
    done = call(command, whole)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_names_what_is_missing(
    whole: Parts, call: Callable[..., Result], command: str
) -> None:
    for member in ("manifest.json", *MEMBERS):
        told(call(command, without(whole, member)), member)
    for key in ("kind", *MANIFEST):
        told(call(command, remade(whole, "manifest.json", lambda m, k=key: m.pop(k))), f"`{key}`")
    for key in (*MANIFEST, *MORE):
        told(
            call(command, remade(whole, "manifest.json", lambda m, k=key: m.update({k: 1.5}))), key
        )


def told(done: Result, name: str) -> None:
    assert done.exit_code == 1, (name, done.exception)
    assert "E1201" in done.stderr, name
    assert name in done.stderr


@pytest.mark.parametrize("key", [*MANIFEST, *MORE])
def test_any_value_of_a_key(whole: Parts, key: str, tmp_path: Path) -> None:
    """An artefact is refused for it, which names it, or works."""
    for value in WRONG:
        parts = remade(whole, "manifest.json", lambda m, v=value: m.update({key: v}))
        if {**MANIFEST, **MORE}[key].fits(value) and key not in DEFINITE:
            works(parts, tmp_path)
        else:
            assert f"`{key}`" in refused(parts, tmp_path)


@pytest.mark.parametrize("key", MORE)
def test_keys_that_an_older_asrc_did_not_write(whole: Parts, key: str, tmp_path: Path) -> None:
    works(remade(whole, "manifest.json", lambda m: m.pop(key, None)), tmp_path)


def works(parts: Mapping[str, bytes], folder: Path) -> None:
    """Hears something, and its bytes can be told."""
    path = folder / "a.asrc"
    path.write_bytes(pack(parts))
    listener = Listener(read_compiled(path))
    listener.push(noise(0.1, 0))
    assert isinstance(listener.finish().text, str)
    assert sizes(path).file == path.stat().st_size


@pytest.mark.parametrize("data", [b"", b"[]", b"3", b"{", b"\xff", b"[" * 100_000])
def test_a_part_of_other_bytes(whole: Parts, data: bytes, tmp_path: Path) -> None:
    assert "`manifest.json`" in refused(whole | {"manifest.json": data}, tmp_path)
    for member in (m for m in MEMBERS if m not in ("model.asrir", "numbers.safetensors")):
        message = refused(whole | {member: data}, tmp_path)
        assert member in message or member.partition(".")[0] in message


@pytest.mark.parametrize("name", ["model.asrir", "estimates.json"])
def test_parts_that_only_size_reads(whole: Parts, call: Callable[..., Result], name: str) -> None:
    for data in (b"", b"[1]", b'{"a": {"encoder": {}}}'):
        told(call("size", whole | {name: data}), name)


def test_numbers_that_only_diff_reads(whole: Parts, call: Callable[..., Result]) -> None:
    told(call("diff", whole | {"numbers.safetensors": b"none"}), "numbers.safetensors")


@pytest.mark.parametrize("name", NAMES)
def test_any_key_of_a_program(whole: Parts, name: str) -> None:
    part = f"{name}.json"
    for key in PROGRAM:
        broken = [remade(whole, part, lambda p, k=key: p.pop(k))]
        broken += [
            remade(whole, part, lambda p, k=key, v=value: p.update({k: v}))
            for value in WRONG
            if not PROGRAM[key].fits(value)
        ]
        for parts in broken:
            with pytest.raises(AsrcError, match=f"E1201.*{name}.*`{key}`"):
                restored(parts, name)


@pytest.mark.parametrize("name", NAMES)
def test_any_place_of_a_program(whole: Parts, name: str) -> None:
    """A program with another value somewhere, or one less, is refused or runs."""
    chance, part = Random(7), f"{name}.json"
    places = [*_places(json.loads(whole[part]))]
    ran = 0
    for place in chance.choices(places, k=250):
        ran += _refused_or_run(remade(whole, part, lambda p, q=place: _broken(p, q, chance)), name)
    assert 0 < ran < 250


def _refused_or_run(parts: Parts, name: str) -> bool:
    """Whether the program runs; it may be refused by E1201, and by nothing else."""
    try:
        program = restored(parts, name).program
    except AsrcError as error:
        if error.diagnostics[0].code != "E1201":
            raise
        return False
    _run_twice(program)
    return True


def _places(plain: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Of everything within."""
    pairs = plain.items() if isinstance(plain, dict) else enumerate(plain)
    for key, value in pairs:
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from _places(value, (*above, key))


def _broken(plain: Any, place: tuple[Any, ...], chance: Random) -> None:
    for key in place[:-1]:
        plain = plain[key]
    value = plain[place[-1]]
    if isinstance(value, int) and chance.random() < 0.7:
        plain[place[-1]] = value * chance.choice((-1, 2, 1000)) + chance.choice((-1, 0, 1))
    elif chance.random() < 0.4:
        del plain[place[-1]]
    else:
        plain[place[-1]] = chance.choice((*WRONG, "int16", "int32", "add", "conv", "softmax"))


def _run_twice(program: Program) -> None:
    """On codes of the inputs' types."""
    runs, tensors = Executor(program), (program.tensors[name] for name in program.inputs)
    fed = [t for t in tensors if t.name not in program.states]
    for _ in range(2):
        runs.step({t.name: np.full(t.shape, 3, t.dtype) for t in fed})


def test_options_of_operators(whole: Parts) -> None:
    """Each that is needed, and each of another kind."""
    ops = json.loads(whole["encoder.json"])["ops"]
    for at, (kind, _, _, options) in enumerate(ops):
        broken = [{**options, name: "x"} for name in options]
        if kind in ("concat", "slice"):
            broken.append({name: x for name, x in options.items() if name != "axis"})
        for given in broken:
            parts = remade(
                whole, "encoder.json", lambda p, n=at, o=given: p["ops"][n].__setitem__(3, o)
            )
            with pytest.raises(
                AsrcError, match=r"E1201.*`encoder`.*`ops` at `\d+` is .* an operator"
            ):
                restored(parts, "encoder")
    assert {kind for kind, *_ in ops} >= {"concat", "slice", "conv"}


def test_names_that_stand_for_nothing(whole: Parts, tmp_path: Path) -> None:
    changes: tuple[Callable[[Any], object], ...] = (
        lambda p: p.update(inputs=[]),
        lambda p: p.update(name="other"),
        lambda p: p["inputs"].append("none"),
        lambda p: p["outputs"].append("none"),
        lambda p: p["made"].update({"encoder.dense": "none"}),
        lambda p: p["states"].update(none="encoder.dense"),
        lambda p: p["flags"].update(none=p["flags"]["there.40ms.-1"]),
        lambda p: p["frames"].pop("encoder.mel.cmvn"),
        lambda p: p["frames"].update({"encoder.dense": []}),
        lambda p: p["count"].pop("encoder.dense"),
        lambda p: p["tensors"].pop(0),
        lambda p: p["ops"].pop(0),
        lambda p: p["ops"][0].pop(),
        lambda p: p["ops"][0].__setitem__(0, "none"),
    )
    for change in changes:
        assert "`encoder`" in refused(remade(whole, "encoder.json", change), tmp_path)
    constants = load(whole["joint.safetensors"])
    first = next(iter(constants))
    for codes in (constants[first][..., :-1], constants[first].astype(np.float32)):
        parts = whole | {"joint.safetensors": save({**constants, first: codes.copy()})}
        assert first in refused(parts, tmp_path)


def others(whole: Parts) -> Iterator[tuple[str, Parts]]:
    """Parts of another model, and what is said of them."""
    rows = load(whole["table.safetensors"])["rows"]
    for table in (rows[:-1], rows[:, :-1], rows.astype(np.int16), rows[0]):
        yield "`rows`", whole | {"table.safetensors": save({"rows": table.copy()})}
    yield "`rows`", whole | {"table.safetensors": save({"row": rows})}
    yield "`vocabulary`", remade(whole, "vocabulary", lambda v: v["labels"].append("more"))
    yield "front.safetensors", whole | {"front.safetensors": save({"other": rows})}
    for key in ("audio", "features", "row"):
        yield f"`{key}`", remade(whole, "manifest.json", lambda m, k=key: m.update({k: "prev"}))
    for key in ("rate", "channels"):
        yield f"`{key}`", remade(whole, "manifest.json", lambda m, k=key: m.update({k: 2}))
    for periods in ({}, {"encoder.dense": "1/100"}):
        yield (
            "`periods`",
            remade(whole, "manifest.json", lambda m, p=periods: m.update(periods=p)),
        )
    yield (
        "`periods`",
        remade(whole, "manifest.json", lambda m: m["periods"].update({"encoder.dense": "1/100"})),
    )
    for name, of in (("joint", "predictor"), ("predictor", "joint"), ("encoder", "joint")):
        swapped = {f"{name}.{part}": whole[f"{of}.{part}"] for part in ("json", "safetensors")}
        yield f"`{name}`", whole | swapped
        named = remade(swapped, f"{name}.json", lambda p, n=name: p.update(name=n))
        yield ("`features`" if name == "encoder" else f"`{name}`"), whole | named


def test_parts_of_different_models(whole: Parts, tmp_path: Path) -> None:
    for name, parts in others(whole):
        message = refused(parts, tmp_path)
        assert name in message.replace("table.safetensors` has no `rows`", "`rows`"), message


def test_vectors_are_looked_at_before_any_run(whole: Parts, tmp_path: Path) -> None:
    """Of the last program, too; and only `asrc verify` must have them."""
    name = "joint.golden.safetensors"
    golden = load(whole[name])
    shorter = {key: codes[..., 1:].copy() for key, codes in golden.items()}
    first = next(key for key in golden if key.startswith("last/"))
    broken = [
        without(whole, name),
        *(whole | {name: data} for data in (b"", save({}), save(shorter))),
        whole | {name: save({key: x for key, x in golden.items() if key != first})},
        whole | {name: save({**golden, "other": golden[first]})},
    ]
    for parts in broken:
        (tmp_path / "a.asrc").write_bytes(pack(parts))
        with pytest.raises(AsrcError, match=rf"E1201.*{name}"):
            next(verified(tmp_path / "a.asrc"))
        assert Listener(read_compiled(tmp_path / "a.asrc")).finish().text == ""


def test_a_file_that_litert_does_not_take(whole: Parts) -> None:
    program = restored(whole, "encoder").program
    for file in (whole["encoder.tflite"][:200], whole["joint.tflite"]):
        with pytest.raises(AsrcError, match=r"E1201.*`encoder\.tflite`"):
            LiteRt(program, file)


def test_one_for_kernels(tmp_path: Path, call: Callable[..., Result]) -> None:
    """It is refused in the same way, and by commands that want integer programs."""
    whole = compiled_fast(made())
    for command in ("run", "size", "diff", "verify"):
        done = call(command, whole)
        told(done, "transducer on Triton kernels")
        assert "`asrc transcribe` and `asrc eval` take it" in done.stderr
    broken = [("card", remade(whole, "manifest.json", lambda m: m.pop("card")))]
    broken += [
        (key, remade(whole, "manifest.json", lambda m, k=key: m.update({k: "x"})))
        for key in ("card", "bits", "kernels")
    ]
    for part in ("model.asrir", "weights.safetensors", "vocabulary"):
        broken += [(part, without(whole, part)), (part, whole | {part: b"none"})]
    for name, parts in broken:
        (tmp_path / "a.asrc").write_bytes(pack(parts))
        with pytest.raises(AsrcError, match=rf"E1201.*{name}"):
            read_fast(tmp_path / "a.asrc")


def test_estimates_have_all_figures(whole: Parts, tmp_path: Path) -> None:
    assert {each.name for each in fields(Estimate)} == {*ESTIMATE, *LATER}
    one = dict.fromkeys(ESTIMATE, 1)
    found = {"a": dict.fromkeys(NAMES, one)}
    for key in ESTIMATE:
        less, more = {k: v for k, v in one.items() if k != key}, {**one, "other": 1}
        for broken in (less, more, {**one, key: "x"}):
            data = json.dumps({"a": {**found["a"], "joint": broken}}).encode()
            assert "`estimates.json`" in refused(whole | {"estimates.json": data}, tmp_path)
    (tmp_path / "a.asrc").write_bytes(pack(whole | {"estimates.json": json.dumps(found).encode()}))
    assert read_compiled(tmp_path / "a.asrc").estimates["a"]["joint"].by == "Vela"
