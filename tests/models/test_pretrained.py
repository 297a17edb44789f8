"""The trained models of the repository hear the recordings of the demonstration."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import asrc
from asrc.compiler.artefact import write_artefact
from asrc.compiler.graph import Graph
from asrc.runtime.calibration import graph_inputs
from asrc.runtime.compiled import compiled, read_compiled
from asrc.runtime.language import closed_language, read_sentences
from asrc.runtime.recogniser import read_recogniser
from asrc.training.cache import AudioCache
from asrc.training.manifest import read_manifest
from asrc.training.recognise import Recognised, recognise_as_stream

MODELS = Path(asrc.__file__).parent / "models"
PRETRAINED = sorted(path.parent.name for path in MODELS.glob("pretrained/*/recogniser.json"))
COMMANDS = [name for name in PRETRAINED if name.startswith("commands-")]

HEARD = {
    "commands-conformer": {
        "dictate-forhelp",
        "digits-7",
        "digits-oh",
        "letters-w",
        "phonetic-f_p",
    },
    "commands-rnnt": {
        "auth-thankyou",
        "dictate-forhelp",
        "digits-oh",
        "phonetic-f_p",
        "vm-star-cancel",
    },
    "talkie-rnnt": {"auth-thankyou"},
}
"""What each is known to get right of the demonstration; the last learnt other speech than that."""


@pytest.mark.parametrize("name", PRETRAINED)
def test_it_hears_the_demonstration(name: str) -> None:
    recogniser = read_recogniser(MODELS / "pretrained" / name)
    utterances = read_manifest(MODELS / "demo/demo.jsonl")
    heard = list(recognise_as_stream(recogniser, utterances, AudioCache(recogniser.rate)))
    right = {
        h.utterance.id for h in heard if isinstance(h, Recognised) and h.text == h.utterance.text
    }
    assert right >= HEARD[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_compiled_it_hears_them_too(name: str, tmp_path: Path) -> None:
    """In integers, weights of 32 values a tensor, also within the closed language."""
    recogniser = read_recogniser(MODELS / "pretrained" / name)
    utterances = read_manifest(MODELS / "demo/demo.jsonl")
    cache = AudioCache(recogniser.rate)
    heard = [(cache.read(one), one.text) for one in utterances]
    write_artefact(
        tmp_path / "a.asrc",
        compiled(recogniser, graph_inputs(recogniser.lowered, recogniser.vocabulary, heard), 5),
    )
    language = closed_language(
        recogniser.vocabulary, read_sentences(MODELS / "commands/sentences.txt")
    )
    found = recognise_as_stream(
        read_compiled(tmp_path / "a.asrc"), utterances, cache, beam=4, scorer=language
    )
    right = {
        h.utterance.id for h in found if isinstance(h, Recognised) and h.text == h.utterance.text
    }
    assert len(right & HEARD[name]) >= len(HEARD[name]) - 1


@pytest.mark.parametrize("name", PRETRAINED)
def test_its_graph_is_that_of_the_recipe(name: str) -> None:
    """The model file beside the recipe still says what was trained."""
    recogniser = read_recogniser(MODELS / "pretrained" / name)
    settings = {"vocab": str(recogniser.vocabulary.size)}
    model = asrc.load(MODELS / name.split("-")[0] / recogniser.card["model"], settings)
    pipeline = recogniser.card["pipeline"]
    facts = model.results[pipeline].facts if pipeline else model.facts
    assert facts is not None
    assert structure(facts.graph) == structure(recogniser.facts.graph)


def structure(graph: Graph) -> list[tuple[object, ...]]:
    return [(node.path, node.op, node.inputs, dict(node.attrs), node.owner) for node in graph]


def test_all_together_are_small() -> None:
    size = sum(path.stat().st_size for path in MODELS.glob("pretrained/*/*"))
    assert size < 10 * 2**20
    assert all(torch.isfinite(x).all() for n in PRETRAINED for x in _tensors(n))


def _tensors(name: str) -> list[torch.Tensor]:
    return [*read_recogniser(MODELS / "pretrained" / name).lowered.tensors().values()]
