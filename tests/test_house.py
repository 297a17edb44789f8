"""The rules of the house, read off the tree itself: floors, circles, style, packaging, privacy."""

from __future__ import annotations

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import resolve_name
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]

# A module imports from its own room or from a lower floor. The root, `import asrc`, is the
# public API: it may offer what is in any room but the command line, and only that imports it.
FLOORS = {
    "compiler": 0,
    "dsl": 1,
    "passes": 2,
    "backends": 3,
    "runtime": 4,
    "training": 5,
    "asrc": 6,
    "cli": 7,
    "__main__": 8,
}
HEAVY = ("numpy", "torch", "triton")


@cache
def files() -> tuple[Path, ...]:
    """What a commit of this tree would hold, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    names = listed.decode().rstrip("\0").split("\0")
    return tuple(path for path in map(Path, sorted(set(names))) if (ROOT / path).is_file())


def python_files() -> list[Path]:
    return [path for path in files() if path.suffix == ".py" and path.parts[0] != "tests"]


def in_package(path: Path) -> bool:
    """Whether a file belongs into the wheel: the rooms, the models, and the root's own modules.

    Recordings under another licence and trained weights stay in the repository.
    """
    if path.parts[:2] in (("models", "demo"), ("models", "pretrained")):
        return False
    room = path.parts[0]
    at_root = len(path.parts) == 1 and (path.suffix == ".py" or path.name == "py.typed")
    return room in {*FLOORS, "models"} or at_root


# --- imports ---------------------------------------------------------------------------------


def module_name(path: Path) -> str:
    parts = ("asrc", *path.with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imported(source: str, package: str) -> Iterator[str]:
    """Every dotted name a module imports, at any depth, for types or for real."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def owner(name: str, modules: set[str]) -> str | None:
    """The module of ours that a dotted name is, or is defined in."""
    while name and name not in modules:
        name = name.rpartition(".")[0]
    return name or None


@cache
def import_graph() -> nx.DiGraph:
    paths = {module_name(path): path for path in python_files() if in_package(path)}
    graph = nx.DiGraph()
    graph.add_nodes_from(paths)
    for module, path in paths.items():
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        for name in imported((ROOT / path).read_text(encoding="utf-8"), package):
            if target := owner(name, set(paths)):
                graph.add_edge(module, target)
    return graph


def upward(edges: list[tuple[str, str]]) -> list[str]:
    return [
        f"{user} imports {used}"
        for user, used in edges
        if room(user) != room(used) and FLOORS[room(user)] <= FLOORS[room(used)]
    ]


def test_every_import_goes_down() -> None:
    graph = import_graph()
    assert {room(module) for module in graph} <= set(FLOORS), "a room without a floor"
    assert upward(list(graph.edges)) == []


def test_no_import_circles() -> None:
    graph = import_graph()
    circles = [sorted(c) for c in nx.strongly_connected_components(graph) if len(c) > 1]
    assert circles == []
    assert list(nx.selfloop_edges(graph)) == []


def test_lazy_and_typing_imports_count() -> None:
    source = """
def f():
    from ..dsl import syntax
if TYPE_CHECKING:
    from ..passes.mask import Mask
import asrc.cli.main
from . import source
"""
    modules = {"asrc.dsl.syntax", "asrc.passes.mask", "asrc.cli.main", "asrc.compiler.source"}
    used = {owner(name, modules) for name in imported(source, "asrc.compiler")}
    assert used == modules
    assert len(upward([("asrc.compiler.graph", name) for name in modules])) == 3


# --- style -----------------------------------------------------------------------------------


def function_lengths(path: Path) -> Iterator[int]:
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def test_functions_are_short(record_property: Callable[[str, object], None]) -> None:
    lengths = [length for path in python_files() for length in function_lengths(path)]
    median, short = statistics.median(lengths), sum(n <= 30 for n in lengths) / len(lengths)
    record_property(
        "measured",
        f"{len(lengths)} functions, median {median:g} lines, {short:.1%} of at most 30, "
        f"longest {max(lengths)}",
    )
    assert median <= 8
    assert short >= 0.9


def test_files_are_short(record_property: Callable[[str, object], None]) -> None:
    lines = {
        path.as_posix(): len((ROOT / path).read_text(encoding="utf-8").splitlines())
        for path in python_files()
    }
    longest = max(lines, key=lambda name: lines[name])
    record_property(
        "measured",
        f"{len(lines)} files, {sum(lines.values())} lines, longest {longest} ({lines[longest]})",
    )
    assert lines[longest] <= 600


# --- packaging -------------------------------------------------------------------------------


def test_every_package_is_listed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = project["tool"]["setuptools"]["packages"]
    inits = (path for path in python_files() if path.name == "__init__.py")
    assert listed == sorted(module_name(path) for path in inits if in_package(path))


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for path in files():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, tree / path)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, "-w", tmp_path, tree], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = {Path(name) for name in zipfile.ZipFile(wheel).namelist()}
    assert {path.parts[0] for path in names if ".dist-info" not in path.parts[0]} == {"asrc"}
    shipped = {path.relative_to("asrc") for path in names if path.parts[0] == "asrc"}
    assert shipped == {path for path in files() if in_package(path)}


@pytest.mark.parametrize("command", [["--help"], ["check", "models/rnnt.asr"]])
def test_light_commands_stay_light(command: list[str], tmp_path: Path) -> None:
    """Stand-ins end the process when imported, so no `except ImportError` hides an import."""
    for name in HEAVY:
        stand_in = f"import os\nos.write(2, b'{name} was imported')\nos._exit(86)\n"
        (tmp_path / f"{name}.py").write_text(stand_in)
    done = subprocess.run(
        [sys.executable, "-c", "from asrc.cli.main import main; main()", *command],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# --- privacy ---------------------------------------------------------------------------------

# Written so that this file does not match itself.
PRIVATE = re.compile(
    r"(?<![\w.])/(?:ho[m]e/\w|Use[r]s/\w|ro[o]t/|wor[k]/|opt/pyp[i]|tmp/[w]/)"
    r"|\b[A-Z]:\\Use[r]s\\"
    r"|pyp[i]\.org|pythonhoste[d]\.org|registry\.npm[j]s|deb\.debia[n]\.org|--(?:extra-)?index-ur[l]"
)


def test_no_machine_paths_or_registry_hosts() -> None:
    found = []
    for path in files():
        text = (ROOT / path).read_text(encoding="utf-8", errors="replace")
        found += [f"{path}: {match.group()}" for match in PRIVATE.finditer(text)]
    assert found == []


def test_the_privacy_pattern_matches() -> None:
    samples = ("cd /" + "root/x", "see https://" + "pypi" + ".org/simple", "'/" + "home/me'")
    assert all(PRIVATE.search(sample) for sample in samples)
    assert not PRIVATE.search("encoder/root/x, models/home/x, ../work/x")
