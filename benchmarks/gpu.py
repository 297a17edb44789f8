"""Kernels and models on one GPU, beside what else computes the same, in one call of ten minutes.

    python benchmarks/gpu.py [--only linear lstm] [--out build/gpu.md]
    python benchmarks/gpu.py --graphs
    TRITON_INTERPRET=1 python benchmarks/gpu.py --smoke --only linear

First all kernels are compiled, on all cores; meanwhile a chain of them says whether they may begin
before the ones before them have ended (`ASRC_OVERLAP=0` forbids it). Then each section is a process
of its own with limits of time, so that a kernel that fails, or hangs, costs its row alone: another
process goes on with the next. The file is written anew after each row, with the traces of what was
raised at its end.
What the time was too short for says so; on the same machine, where all is compiled, another call
with `--only` takes less.

Rivals take turns, behind a write that empties the caches and hides the time of launching: medians,
10th and 90th percentiles. What a CUDA graph takes is measured in one; what is not says so. Products
and LSTM steps go from one copy of their weight to the next, and the time is that of one. Bytes and
operations are those of a kernel's `cost`; the roofline is what copying 1 GiB and a large product of
halves reach on this card in the same process. The difference is to PyTorch, relative to the largest
number. Whole models have products in float32, then "16 bits": in bfloat16, their rivals under
autocast with weights that are in it already. `torch.compile` has the mode `max-autotune`, whose own
CUDA graphs are left out in favour of these.

It needs PyTorch, Triton, NumPy and networkx; the package need not be installed. Where `lark` is not
either, models come from `build/gpu`: `--graphs` writes them there, on a machine that has it.

Without a GPU it says so, and that is all; `--smoke` runs tiny sizes in Triton's interpreter.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

BEGIN = time.monotonic()


@dataclass(frozen=True)
class Planned:
    """Which module has a section; seconds in which rows begin, and of a row."""

    module: str
    section: float
    row: float = 45


SECTIONS = {
    "linear": Planned("kernels", 80),
    "lstm": Planned("kernels", 80),
    "decoding": Planned("decoding", 30),
    "conformer": Planned("models", 290, 150),
    "rnnt": Planned("models", 60, 50),
    "convrnnt": Planned("models", 60, 50),
    "attention": Planned("kernels", 60),
    "rows": Planned("kernels", 50),
    "bits": Planned("kernels", 45),
    "loss": Planned("kernels", 30),
}
"""What says most comes first; what is then left out can have a call of its own, with `--only`."""
WARM = 70
"""Seconds of compiling, at most."""
CHECK = 90.0
"""And of the look at whether launches overlap, meanwhile."""


def house() -> None:
    """`asrc` is the folder of this file's folder, whatever is installed."""
    root = Path(__file__).absolute().parents[1]
    found = spec_from_file_location(
        "asrc", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    if "asrc" not in sys.modules and found is not None and found.loader is not None:
        sys.modules["asrc"] = module_from_spec(found)
        found.loader.exec_module(sys.modules["asrc"])


def part(name: str) -> Any:
    return import_module(f"asrc.benchmarks.gpu_parts.{name}")


# --- one section, in a process of its own -------------------------------------------------------


def run_section(given: argparse.Namespace) -> None:
    import torch

    warnings.simplefilter("ignore")
    torch.backends.cudnn.allow_tf32 = False  # kernels multiply float32 in whole
    until, bench = time.monotonic() + (given.limit or 0.0), part("measuring").Bench(given.smoke)
    overlapping = import_module("asrc.backends.triton.kernels.overlap").overlapping
    with torch.no_grad(), overlapping():
        rows = part(SECTIONS[given.section].module).SECTIONS[given.section](bench)
        if given.share is not None:
            warm(rows, given)
            return
        write = part("apart").Writer(given.records)
        if given.first == 0:
            write(lines=head(given.section, bench))
        section(rows, given.first, bench, until, write)


def warm(rows: Any, given: argparse.Namespace) -> None:
    """What says most is compiled first, where there are too few cores for all."""
    os.nice(min(19, 2 * list(SECTIONS).index(given.section)))
    part("warm").warm(rows, given.share, part("warm").SHARES[given.section])


def head(name: str, bench: Any) -> list[str]:
    import torch
    import triton

    bandwidth, rate = bench.card
    said = f"copies {bandwidth / 1e9:.0f} GB/s, products {rate / 1e12:.1f} TFLOP/s"
    where = "CPU" if bench.smoke else torch.cuda.get_device_name()
    day = f"{time.strftime('%Y-%m-%d')}, PyTorch {torch.__version__}, CUDA {torch.version.cuda}"
    day += f", Triton {triton.__version__}, Python {sys.version.split()[0]}"
    table = part("measuring").HEAD
    return [f"\n### {name}\n", f"{where}, {day}: {said}\n", *table.splitlines()]


def section(rows: Any, first: int, bench: Any, until: float, write: Callable[..., None]) -> None:
    """Row by row, from the first on. A process that something has spoiled leaves the others to
    the next."""
    for place, (title, make) in enumerate(rows):
        if place < first:
            continue
        write(row=place, title=title)
        if time.monotonic() > until:
            write(lines=[part("apart").empty(title, "not measured: out of time")])
            continue
        write(lines=measured(title, make, bench), traces=bench.traces)
        bench.traces = []
        bench.emptied()
        if bench.spoiled:
            return
    write(done=True)


def measured(title: str, make: Callable[[], Any], bench: Any) -> list[str]:
    measuring = part("measuring")
    try:
        return list(measuring.lines(title, make(), bench))
    except Exception as error:  # noqa: BLE001  it is a line of the table
        return [part("apart").empty(title, bench.failed(title, error))]


# --- all of them --------------------------------------------------------------------------------


def all_sections(given: argparse.Namespace) -> None:
    apart = part("apart")
    end, report = BEGIN + given.total, apart.Report(given.out)
    command = apart.of(__file__, *(["--smoke"] if given.smoke else []))
    if not given.smoke:
        prepared(given, command, report)
    for name in given.only:
        planned = SECTIONS[name]
        seconds = given.limit or planned.section
        limits = apart.Limits(given.limit or planned.row, seconds, end)
        if time.monotonic() + apart.LATE > end:
            report.add(apart.empty(name, "not measured: out of time"))
            continue
        try:
            apart.Section(name, command, limits, report).run()
        except OSError as error:  # it has no process, or no file
            report.trace(name, traceback.format_exc())
            report.add(apart.empty(name, f"{type(error).__name__}: {error}"))


def prepared(given: argparse.Namespace, command: list[str], report: Any) -> None:
    """All is compiled, and meanwhile it is looked whether launches may overlap."""
    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(overlapped, command)
        if given.warm > 0:
            report.add(compiled(given, command))
        report.add(look.result())


def overlapped(command: list[str]) -> str:
    """Whether kernels may begin early, and then whether they do so on this machine."""
    if os.environ.get("ASRC_OVERLAP") == "0":
        return "Kernels begin one after the other, as ASRC_OVERLAP says."
    why = part("apart").broken([*command, "--check"], CHECK, ASRC_DETERMINISTIC="1")
    if why is None:
        return "Kernels begin before those before them have ended, where a GPU can do so."
    os.environ["ASRC_OVERLAP"] = "0"
    return f"Kernels begin one after the other: {why}."


def compiled(given: argparse.Namespace, command: list[str]) -> str:
    """Kernels of all sections, before one is measured."""
    apart, shares, begin = part("apart"), part("warm").SHARES, time.monotonic()
    commands = [
        [*command, "--section", name, "--share", str(n)]
        for name in given.only
        for n in range(shares[name][0])
    ]
    ended = apart.warmed(commands, given.warm)
    took = time.monotonic() - begin
    cores = os.cpu_count()
    return f"Compiled in {took:.0f} s on {cores} cores: {ended} of {len(commands)} processes ended."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", type=Path, help="a file for the table")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, in the interpreter")
    parser.add_argument("--graphs", action="store_true", help="write the models' graphs, and end")
    parser.add_argument("--limit", type=float, help="seconds of a section, and of a row")
    parser.add_argument("--total", type=float, default=560, help="seconds of all")
    parser.add_argument("--warm", type=float, default=WARM, help="seconds of compiling before")
    parser.add_argument("--check", action="store_true", help="whether launches may overlap")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--share", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--records", type=Path, help=argparse.SUPPRESS)
    run(parser.parse_args())


def run(given: argparse.Namespace) -> None:
    import torch

    if given.graphs:
        print(*part("models").written(part("measuring").Bench(given.smoke)), sep="\n")
    elif not given.smoke and not torch.cuda.is_available():
        print("no GPU: nothing to measure")
    elif given.check:
        part("overlap").check(part("measuring").Bench(given.smoke))
    elif given.section:
        run_section(given)
    else:
        all_sections(given)


if __name__ == "__main__":
    house()
    main()
