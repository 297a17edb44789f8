"""`mask`: every form, on every clock, and what it refuses."""

from __future__ import annotations

from fractions import Fraction

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.compiler.facts import Facts
from asrc.compiler.graph import Attr, Graph, Node
from asrc.compiler.units import Quantity
from asrc.passes.mask import Mask, misaligned_chunks
from tests.builders import Builder, conformer, frontend, ms, recurrent, words

Context = Quantity | int | None


def masked(graph: Graph, mask: Mask) -> Graph:
    return mask.run(graph, None)[0]


def options(node: Node) -> tuple[Attr, ...]:
    return tuple(node.attrs[n] for n in ("mask", "chunk", "left", "right"))


def attention(graph: Graph, layer: int = 1) -> tuple[Attr, ...]:
    return options(graph[f"encoder.body.{layer}.Attn.attend"])


def lookahead(graph: Graph) -> Fraction | None:
    seconds = Facts(graph).lookahead(graph.outputs["encoder"])
    return None if seconds is None else seconds * 1000


@pytest.mark.parametrize(
    ("mask", "wanted", "milliseconds"),
    [
        (Mask("encoder", "full"), ("full", None, None, None), None),
        (Mask("encoder", "causal"), ("causal", None, None, None), 15),
        (Mask("encoder", "causal", left=64), ("causal", None, 64, None), 15),
        (Mask("encoder", chunk=ms(320)), ("chunk", ms(320), None, None), 295),
        (Mask("encoder", chunk=ms(640), left=ms(80)), ("chunk", ms(640), ms(80), None), 615),
        (Mask("encoder", left=ms(2560), right=ms(40)), ("limited", None, ms(2560), ms(40)), 95),
        (Mask("encoder", right=2), ("limited", None, None, 2), 175),
        (Mask("encoder", left=4, right=0), ("limited", None, 4, 0), 15),
    ],
)
def test_every_form(mask: Mask, wanted: tuple[Attr, ...], milliseconds: int | None) -> None:
    graph = masked(conformer(2), mask)
    assert attention(graph, 1) == attention(graph, 2) == wanted
    assert lookahead(graph) == milliseconds


@pytest.mark.parametrize(("future", "milliseconds"), [(0, 295), (1, 3855), (7, 4095)])
def test_right_context_spills_over_chunks(future: int, milliseconds: int) -> None:
    """The three figures of the design study, for twelve layers and 320ms chunks."""
    graph = masked(conformer(12, future), Mask("encoder", chunk=ms(320), left=ms(2560)))
    assert lookahead(graph) == milliseconds


def test_state_of_the_streaming_conformer() -> None:
    graph = masked(conformer(12), Mask("encoder", chunk=ms(320), left=ms(2560)))
    assert sum(held.values or 0 for held in Facts(graph).held_frame) == 441_744


def test_only_what_is_selected_changes() -> None:
    before = conformer(3)
    after = masked(before, Mask("encoder.body.2", "causal"))
    changed = [n.path for n in after if n != before[n.path]]
    assert changed == ["encoder.body.2.Attn.attend"]
    assert masked(before, Mask("encoder.body.*.Attn", "causal")) == masked(
        before, Mask("encoder", "causal")
    )


def test_a_later_mask_takes_the_place_of_an_earlier_one() -> None:
    once = masked(conformer(1), Mask("encoder", "full"))
    twice = masked(
        masked(conformer(1), Mask("encoder", chunk=ms(320), left=4)), Mask("encoder", "full")
    )
    assert once == twice


def test_windows_in_chunk_stop_at_the_same_edges() -> None:
    graph = masked(conformer(12, 7, in_chunk=True), Mask("encoder", chunk=ms(320), left=ms(2560)))
    assert graph["encoder.body.3.Conv.window"].attrs["chunk"] == ms(320)
    assert lookahead(graph) == 295
    offline = masked(graph, Mask("encoder", "full"))
    assert offline["encoder.body.3.Conv.window"].attrs["chunk"] is None
    plain = masked(conformer(1, 7), Mask("encoder", chunk=ms(320)))
    assert plain["encoder.body.1.Conv.window"].attrs["chunk"] is None


def test_a_window_in_chunk_is_enough() -> None:
    graph = masked(conformer(1, 7, in_chunk=True), Mask("encoder.body.1.Conv", chunk=ms(320)))
    assert graph["encoder.body.1.Conv.window"].attrs["chunk"] == ms(320)
    assert attention(graph) == attention(conformer(1))


# --- other clocks --------------------------------------------------------------------------------


def transducer() -> Graph:
    """Self-attention over frames and over labels, and attention to a catalogue."""
    b = Builder()
    x = frontend(b, 8)
    b("encoder.attend", "attend", x, x, x, heads=2)
    b("prev", "input", type=words(10))
    y = b("predictor.embed", "embed", "prev", n=8)
    b("predictor.attend", "attend", y, y, y, heads=2)
    keys = b("encoder.positions", "positions", n=8)
    b("encoder.cross", "attend", "encoder.attend", keys, keys, heads=2)
    return b.graph(encoder="encoder.cross", predictor="predictor.attend")


def test_over_labels_causal_takes_a_count() -> None:
    graph = masked(transducer(), Mask("predictor", "causal", left=4))
    assert options(graph["predictor.attend"]) == ("causal", None, 4, None)
    assert Facts(graph).types["predictor.attend"].dims == (8,)
    with_time = masked(transducer(), Mask("predictor", "causal", left=ms(40)))
    with pytest.raises(AsrcError, match="E0206"):
        Facts(with_time).types  # noqa: B018


def test_attention_to_a_catalogue_keeps_its_mask() -> None:
    graph = masked(transducer(), Mask("encoder", chunk=ms(40)))
    assert options(graph["encoder.attend"])[0] == "chunk"
    assert graph["encoder.cross"] == transducer()["encoder.cross"]


# --- refusals ------------------------------------------------------------------------------------


def code(error: AsrcError) -> str:
    (found,) = error.diagnostics
    return found.code


@pytest.mark.parametrize(
    ("mode", "chunk", "left", "right"),
    [
        (None, None, None, None),
        (None, None, 4, None),
        ("full", None, 4, None),
        ("full", ms(320), None, None),
        ("causal", ms(320), None, None),
        ("causal", None, 4, 4),
        (None, ms(320), None, 4),
    ],
)
def test_contradictions(
    mode: str | None, chunk: Quantity | None, left: Context, right: Context
) -> None:
    with pytest.raises(AsrcError) as caught:
        Mask("encoder", mode, chunk, left, right)
    assert code(caught.value) == "E0805"


@pytest.mark.parametrize(
    ("graph", "mask"),
    [
        (recurrent(), Mask("encoder", "causal")),
        (conformer(1), Mask("encoder.body.1.Ffn", "full")),
        (transducer(), Mask("predictor", chunk=ms(40))),
        (conformer(1), Mask("decoder", "full")),
    ],
)
def test_nothing_to_mask(graph: Graph, mask: Mask) -> None:
    with pytest.raises(AsrcError) as caught:
        mask.run(graph, None)
    assert code(caught.value) == "E0803"


def test_a_chunk_must_hold_whole_frames() -> None:
    graph = masked(conformer(1), Mask("encoder", chunk=ms(330)))
    with pytest.raises(AsrcError, match="E0204"):
        Facts(graph).types  # noqa: B018


# --- chunk sizes that meet -----------------------------------------------------------------------


def chunks(*sizes: int, in_chunk: bool = False) -> Graph:
    graph = conformer(len(sizes), 7 if in_chunk else 0, in_chunk=in_chunk)
    for layer, size in enumerate(sizes, 1):
        graph = masked(graph, Mask(f"encoder.body.{layer}", chunk=ms(size)))
    return graph


@pytest.mark.parametrize("sizes", [(320, 320), (320, 640), (640, 160), (320,), (480, 240, 960)])
def test_chunks_that_fit_into_each_other(sizes: tuple[int, ...]) -> None:
    assert list(misaligned_chunks(chunks(*sizes))) == []


def test_chunks_that_do_not_line_up() -> None:
    (found,) = misaligned_chunks(chunks(320, 480, 480))
    assert found.code == "W0311"
    assert found.severity == "warning"
    assert found.message == (
        "chunks of 320ms at `encoder.body.1.Attn.attend` and of 480ms at"
        " `encoder.body.2.Attn.attend` do not line up"
    )
    assert len(found.labels) == 2
    assert len(list(misaligned_chunks(chunks(320, 480, 800)))) == 3


def test_chunks_on_separate_paths_never_meet() -> None:
    b = Builder()
    x = frontend(b, 8)
    b("one", "attend", x, x, x, heads=2, mask="chunk", chunk=ms(20))
    b("two", "attend", x, x, x, heads=2, mask="chunk", chunk=ms(30))
    assert list(misaligned_chunks(b.graph(one="one", two="two"))) == []
    b("both", "window", "one", past=1, future=1, in_chunk=True, chunk=ms(30))
    assert len(list(misaligned_chunks(b.graph(one="both", two="two")))) == 1
