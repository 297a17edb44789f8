"""The real packages, where they are: installed, or in the folder that ASRC_PACKAGES names."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.training.corpora import asterisk, commands, drascula, fotaq, making, saytime, talkie
from asrc.training.corpora.clips import Clip
from asrc.training.corpora.commands import Options
from asrc.training.corpora.grammar import sentences
from asrc.training.corpora.packages import Shelf
from asrc.training.corpora.recipes import recipes
from asrc.training.corpora.voices import DEV, TRAIN
from asrc.training.manifest import read_manifest

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    given = os.environ.get("ASRC_PACKAGES")
    return Shelf(Path(given) if given else None, tmp_path_factory.mktemp("packages"))


def present(work: Callable[..., list[Clip]], shelf: Shelf) -> list[Clip]:
    """The clips, or a skipped test where the package is not there."""
    try:
        return work(shelf)
    except AsrcError as error:
        if "is missing" in error.diagnostics[0].message:
            pytest.skip(error.diagnostics[0].message)
        raise


@pytest.mark.parametrize(
    ("work", "hours", "speakers"),
    [
        (asterisk.clips, 0.40, 1),
        (saytime.clips, 0.0067, 1),
        (fotaq.clips, 4.53, 74),
        (drascula.clips, 0.77, 10),
    ],
    ids=["asterisk", "saytime", "fotaq", "drascula"],
)
def test_every_clip_decodes(
    shelf: Shelf, work: Callable[..., list[Clip]], hours: float, speakers: int
) -> None:
    found = present(work, shelf)
    seconds = sum(len(clip.read()) / clip.rate for clip in found)
    assert seconds / 3600 == pytest.approx(hours, rel=0.02)
    assert len({clip.speaker for clip in found}) == speakers
    assert len({clip.name for clip in found}) == len(found)


def test_talkie_is_what_it_was(shelf: Shelf, tmp_path: Path) -> None:
    present(fotaq.clips, shelf)
    present(drascula.clips, shelf)
    talkie.build(tmp_path, shelf)
    counts = {path.stem: len(read_manifest(path)) for path in tmp_path.glob("*.jsonl")}
    assert counts == {
        "train": 6673, "dev": 187, "test": 260,
        "train-open": 4444, "dev-open": 260, "test-open": 359,
    }  # fmt: skip


def test_commands_with_real_voices(shelf: Shelf, tmp_path: Path) -> None:
    present(asterisk.clips, shelf)
    present(saytime.clips, shelf)
    try:
        commands.build(tmp_path, shelf, Options(hours=0.05))
    except AsrcError as error:
        pytest.skip(error.diagnostics[0].message)
    test, train = (read_manifest(tmp_path / f"{name}.jsonl") for name in ("test", "train"))
    assert len(test) == 543
    assert Counter(one.speaker for one in test).keys() == {"allison", "dawson"}
    assert all(one.duration > 0.5 for one in train)


@pytest.mark.parametrize("families", [TRAIN, DEV], ids=["train", "dev"])
def test_the_same_recipe_gives_the_same_bytes_in_another_process(
    tmp_path: Path, families: tuple[object, ...]
) -> None:
    some = list(recipes(sentences(0, 24), families, "t", 0))
    try:
        here = making.made(tmp_path / "here", some, 1)
    except AsrcError as error:
        pytest.skip(error.diagnostics[0].message)
    there = making.made(tmp_path / "there", some, 2)
    assert [one.audio.read_bytes() for one in here] == [one.audio.read_bytes() for one in there]
