"""Machines: their descriptions, and programs that Vela puts on the accelerator as a whole."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from asrc.backends.nna.build import Builder
from asrc.backends.nna.filters import Filter
from asrc.backends.nna.formats import Code
from asrc.backends.nna.machine import (
    Vela,
    chosen,
    description,
    machine,
    machines,
    settled,
    told,
    vela,
)
from asrc.backends.nna.program import Program
from asrc.backends.nna.tflite import tflite
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.backends.nna.models import ENCODERS, programs


def test_descriptions() -> None:
    assert {"ethos-u55-128", "ethos-u55-256", "ethos-u65-512", "ethos-u85-512"} <= machines().keys()
    assert all(one.name == name and one.summary for name, one in machines().items())


def test_an_unknown_machine() -> None:
    with pytest.raises(AsrcError, match=r"E0702.*ethos-u56") as error:
        machine("ethos-u56-256")
    assert "ethos-u55-256" in error.value.diagnostics[0].help[0]


@pytest.mark.parametrize("name", ["ethos-u55", "ethos-u55-", "Ethos-U55"])
def test_a_name_that_is_not_whole(name: str) -> None:
    """All that begin so: what is nearest in spelling may be another family."""
    with pytest.raises(AsrcError, match="E0702") as error:
        machine(name)
    assert error.value.diagnostics[0].help == ("did you mean `ethos-u55-128` or `ethos-u55-256`?",)


def test_no_name_at_all() -> None:
    with pytest.raises(AsrcError, match="E0702") as error:
        machine("")
    assert error.value.diagnostics[0].help[0].startswith("known are ethos-u55-128, ")


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("on", ["ethos-u55-256", "ethos-u85-512"])
def test_everything_is_on_the_accelerator(encoder: str, on: str) -> None:
    for part in ("encoder", "predictor", "joint"):
        lowered = getattr(programs(encoder), part)
        made, estimate = vela(tflite(lowered.program), machine(on))
        assert made[4:8] == b"TFL3"
        assert estimate.elsewhere == 0
        assert estimate.operators > 0
        assert estimate.seconds > 0
        flash, dram = estimate.flash, estimate.dram
        stored = flash if on == "ethos-u55-256" else dram  # where the description says
        assert {flash, dram} == {stored, 0}
        assert stored is not None
        assert stored >= estimate.stream


def test_two_values_take_a_bit_where_size_comes_first() -> None:
    """Ethos-U85 reads up to four values in two bits each otherwise, which is faster."""
    program = of_values(2)
    on, file = machine("ethos-u85-512"), tflite(program)
    assert vela(file, on)[1].bits == pytest.approx(2.0, abs=0.05)
    assert vela(file, told(on, "Size"))[1].bits == pytest.approx(1.0, abs=0.05)
    assert vela(file, settled(on, [program]))[1].bits == pytest.approx(1.0, abs=0.05)


def of_values(count: int, cells: int = 256) -> Program:
    """One product, its weights so many values at random."""
    build, code = Builder("step"), Code("int8", 0.1)
    values = np.arange(1, count + 1, dtype=np.int8)
    codes = np.random.default_rng(0).choice(values, (cells, 1, 1, 256))
    weights = Filter(codes, np.full(cells, 0.1, np.float32))
    build.outputs.append(build.conv("y", build.input("x", (1, 1, 1, 256), code), weights, code))
    return build.program()


def test_size_comes_first_for_few_values() -> None:
    """Where nobody has said what does, and most weights of all programs have four at most."""
    on = machine("ethos-u85-512")
    few, more, larger = of_values(4), of_values(5), of_values(5, cells=512)
    said = [description(settled(on, each))["optimise"] for each in ([few], [more], [few, more])]
    assert said == ["Size", "Performance", "Performance"]
    assert description(settled(on, [few, few, more]))["optimise"] == "Size"
    assert description(settled(on, [few, larger]))["optimise"] == "Performance"
    for word in ("Size", "Performance"):
        assert settled(told(on, word), [few, more]) == told(on, word)


def test_what_a_machine_is_optimised_for() -> None:
    plain = machine("generic-8bit")
    assert told(plain, "Size") is plain
    assert settled(plain, [of_values(2)]) is plain
    with pytest.raises(ValueError, match="Size"):
        Vela("ethos-u55-256", "system", "memory", "size")


def test_two_machines_of_one_name(tmp_path: Path) -> None:
    """The second's programs would lie where the first's do."""
    (tmp_path / "ethos-u55-256.toml").write_text(VELA)
    mine = str(tmp_path / "ethos-u55-256.toml")
    for names in ([mine, "ethos-u55-256"], ["generic-8bit", "generic-8bit"]):
        with pytest.raises(AsrcError, match=r"E0702.*two accelerators are called"):
            chosen(names)
    found = chosen([mine, "ethos-u85-512"], "Size")
    assert [on.name for on in found] == ["ethos-u55-256", "ethos-u85-512"]
    assert [description(on)["optimise"] for on in found] == ["Size", "Size"]
    assert description(machine(mine)) == {
        "summary": "mine", "accelerator": "ethos-u55-256", "system": "s", "memory": "m",
        "optimise": None,
    }  # fmt: skip


VELA = """summary = "mine"
[vela]
accelerator = "ethos-u55-256"
system = "s"
memory = "m"
"""


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('"ethos-u55-256"', "55", r"\[vela\] has `accelerator = 55`, it must be a text"),
        ("memory", "memori", r"\[vela\] has no `memori`.*did you mean `memory`"),
        ('memory = "m"', "", r"\[vela\] needs `memory`"),
        ('"mine"', "1", r"a description has `summary = 1`"),
        ("summary", "summery", r"has no `summery`.*did you mean `summary`"),
        ("[vela]", "[vella]", r"has no `vella`.*did you mean `vela`"),
        ("[vela]", "vela = 1\n[x]", "has no `x`"),
        ("[vela]", "[rates]\nclock = 1\n[vela]", "a description for Vela has no `rates`"),
    ],
)
def test_descriptions_for_vela_that_are_none(
    tmp_path: Path, before: str, after: str, says: str
) -> None:
    (tmp_path / "mine.toml").write_text(VELA.replace(before, after, 1))
    with pytest.raises(AsrcError, match="E0702") as error:
        machine(str(tmp_path / "mine.toml"))
    (found,) = error.value.diagnostics
    assert re.search(says, " ".join((found.message, *found.help)))


@pytest.mark.parametrize(
    ("field", "option"),
    [("accelerator", "--accelerator-config"), ("system", "--system-config")],
)
def test_names_that_vela_does_not_know(tmp_path: Path, field: str, option: str) -> None:
    whole = VELA.replace('"s"', '"Ethos_U55_High_End_Embedded"').replace('"m"', '"Shared_Sram"')
    lines = [f'{field} = "None"' if x.startswith(field) else x for x in whole.splitlines()]
    (tmp_path / "mine.toml").write_text("\n".join(lines))
    with pytest.raises(AsrcError, match=f"E0704.*{option}") as error:
        vela(tflite(of_values(2)), machine(str(tmp_path / "mine.toml")))
    assert "Vela's own names" in error.value.diagnostics[0].help[0]


def test_what_vela_does_not_take() -> None:
    with pytest.raises(AsrcError, match="E0704") as error:
        vela(b"no program", machine("ethos-u55-256"))
    assert "pip" not in error.value.diagnostics[0].help[0]


MISSING = "raise ModuleNotFoundError(\"No module named 'ethosu'\")"
CSV = (
    "inference_time,sram_memory_used,dram_memory_used,on_chip_flash_memory_used,"
    "off_chip_flash_memory_used,total_npu_encoded_weights,total_original_weights"
)
SAYS = """from pathlib import Path
def main(args):
    folder = Path(args[0]).parent
    (folder / "program_vela.tflite").write_bytes(b"made")
    (folder / "program_summary_x.csv").write_text({summary!r})
    print({said!r})
"""


def pretend(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Another package in Vela's place."""
    (folder / "ethosu/vela").mkdir(parents=True)
    for name in ("__init__.py", "vela/__init__.py"):
        (folder / "ethosu" / name).write_text("")
    (folder / "ethosu/vela/vela.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_without_vela(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, MISSING)
    with pytest.raises(AsrcError, match=r"E0704.*No module named") as error:
        vela(b"a program", machine("ethos-u55-256"))
    assert "pip install" in error.value.diagnostics[0].help[0]


BOTH = "CPU operators = 2 (4%)\nNPU operators = 3 (96%)"


def test_what_vela_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = SAYS.format(summary=f"{CSV}\n0.5,1.5,2.5,3.5,4,100,200\n", said=BOTH)
    pretend(tmp_path, monkeypatch, text)
    made, found = vela(b"a program", machine("ethos-u55-256"))
    assert made == b"made"
    assert (found.seconds, found.sram, found.flash, found.dram) == (0.5, 1536, 7680, 2560)
    assert (found.stream, found.weights, found.operators, found.elsewhere) == (100, 200, 3, 2)


def test_what_vela_leaves_on_the_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds are those of its warnings, as it words them."""
    warned = (
        "Warning: EXP 'a' is not supported on the NPU. Placing on CPU instead\n - Why\n"
        "Warning: Unsupported TensorFlow Lite semantics for EXP 'b/c'. Placing on CPU instead\n"
    )
    text = SAYS.format(summary=f"{CSV}\n0.5,1.5,2.5,3.5,4,100,200\n", said=warned + BOTH)
    pretend(tmp_path, monkeypatch, text)
    _, found = vela(b"a program", machine("ethos-u55-256"))
    assert (found.elsewhere, found.lacking) == (2, {"EXP": 2})


@pytest.mark.parametrize(
    ("head", "said", "lacks"),
    [
        (CSV, BOTH.replace("CPU", "DSP"), "on the CPU"),
        (CSV, "", "on the NPU"),
        (CSV.replace("dram", "ram"), BOTH, "dram_memory_used"),
    ],
)
def test_what_vela_no_longer_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: str, said: str, lacks: str
) -> None:
    """Nothing off the accelerator is a finding; silence about it is none."""
    row = "0.5,1.5,2.5,3.5,4,100,200"
    pretend(tmp_path, monkeypatch, SAYS.format(summary=f"{head}\n{row}\n", said=said))
    with pytest.raises(AsrcError, match=f"E0704.*{lacks}"):
        vela(b"a program", machine("ethos-u55-256"))
