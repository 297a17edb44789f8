"""Who computes what, and what nobody does."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.placement import HOST, place
from asrc.compiler.source import Source
from asrc.dsl.check import read_model
from asrc.passes.fold_norm import FoldNorm
from asrc.passes.quantize import Quantize
from asrc.tests.backends.nna.models import HEAD, ends, facts


def model(text: str) -> Facts:
    found = read_model(Source("m.asr", f"{HEAD}{text}\n"), {})
    assert found.facts is not None, found.diagnostics
    return found.facts


def test_the_boundary_of_a_transducer() -> None:
    found = facts("planes")
    placement = place(found)
    assert {found.graph[path].op for path in placement.host} == HOST.keys()
    (features,) = placement.needs(ends(found).frames)
    assert found.graph[features].op == "cmvn"
    (row,) = placement.needs(ends(found).labels)
    assert found.graph[row].op == "embed"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("softplus", "no `softplus`"),
        ("convf(4, kernel=3) |> convf(4, kernel=3, groups=2)", "it has groups"),
        ("exp |> softplus", "no `exp`"),
        ("convf(4, kernel=3) |> tanh |> layernorm", "it works on planes"),
        ("dense(1) |> layernorm |> dense(4)", "always its bias"),
    ],
)
def test_what_neither_side_has(text: str, named: str) -> None:
    found = model(
        f"net n(audio) {{ out audio |> logmel(bins=8, window=25ms, hop=10ms) |> {text} }}"
    )
    with pytest.raises(AsrcError) as error:
        place(found)
    assert {d.code for d in error.value.diagnostics} == {"E0701"}
    assert named in error.value.diagnostics[0].message


PLANES = "net main(audio) {\n x = audio |> logmel(bins=8, window=25ms, hop=10ms)\n"
FOLD, BITS = FoldNorm("batchnorm"), Quantize()


@pytest.mark.parametrize(
    ("statements", "passes", "help"),
    [
        ("out x |> Conv2d(3) |> batchnorm", [], "`fold_norm(batchnorm)` before folds it"),
        ("out x |> Conv2d(3) |> batchnorm", [BITS, FOLD], "before `main.Conv2d.convf` has bits"),
        ("out x |> Conv2d(3) |> relu |> batchnorm", [FOLD], "right behind a `dense`"),
        ("y = x |> Conv2d(3)\n out concat(y, y |> batchnorm)", [FOLD], "that nothing else reads"),
    ],
)
def test_what_folds_a_norm_of_planes(
    statements: str, passes: Sequence[FoldNorm | Quantize], help: str
) -> None:
    """What helps is said, and does."""
    graph = model(f"{PLANES} {statements}\n}}").graph
    for each in passes:
        graph, _ = each.run(graph, None)
    with pytest.raises(AsrcError) as error:
        place(Facts(graph))
    (told,) = error.value.diagnostics
    assert help in told.help[0]
    if not passes:
        place(Facts(FOLD.run(graph, None)[0]))


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ("out x[t-2..t] |> relu", "`main.relu` reads it"),
        ("out x |> convf(4, kernel=3) |> flatten |> relu |> dense(4)", "reads it"),
    ],
)
def test_windows_and_planes_are_seen_by_weights_alone(statements: str, named: str) -> None:
    mel = "audio |> logmel(bins=8, window=25ms, hop=10ms)"
    found = model(f"net main(audio) {{\n x = {mel}\n {statements}\n}}")
    with pytest.raises(AsrcError) as error:
        place(found)
    assert any(named in d.message for d in error.value.diagnostics)
