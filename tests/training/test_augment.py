"""SpecAugment hides bands and stretches within the valid frames, drawn by utterance and epoch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.training.augment import SpecAugment, spec_augment


def masked(
    ids: list[str], frames: list[int], options: SpecAugment, epoch: int = 0, channels: int = 16
) -> torch.Tensor:
    """Ones where nothing is hidden."""
    features = torch.ones(len(ids), max(frames) + 3, channels)
    return spec_augment(features, torch.tensor(frames), ids, epoch, options)


@given(
    frames=st.lists(st.integers(0, 60), min_size=1, max_size=4),
    bands=st.integers(0, 3),
    stretches=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_what_is_hidden(frames: list[int], bands: int, stretches: int, seed: int) -> None:
    """Rows and columns only, no more of them than asked for, and no padding."""
    options = SpecAugment(bands, 5, stretches, 8, portion=0.5, seed=seed)
    for found, count in zip(masked([*"abcd"][: len(frames)], frames, options), frames, strict=True):
        assert found[count:].eq(1).all()
        hidden = found[:count].eq(0)
        columns, rows = hidden.all(dim=0), hidden.all(dim=1)
        if count:
            assert torch.equal(hidden, columns[None, :] | rows[:, None])
            assert columns.sum() <= max(5 * bands, 0) or rows.all()
            assert rows.sum() <= min(8, count // 2) * stretches or columns.all()


def test_masks_belong_to_the_utterance() -> None:
    """Neither the neighbours in the batch nor the padding matter."""
    options = SpecAugment(seed=1)
    batch = masked(["a", "b", "c"], [40, 90, 60], options)
    for number, (id, count) in enumerate([("a", 40), ("b", 90), ("c", 60)]):
        alone = masked([id], [count], options)
        assert torch.equal(alone[0, :count], batch[number, :count])


def test_epochs_seeds_and_utterances_differ() -> None:
    one = masked(["a"], [90], SpecAugment(), epoch=0)
    assert torch.equal(one, masked(["a"], [90], SpecAugment(), epoch=0))
    for other in (
        masked(["a"], [90], SpecAugment(), epoch=1),
        masked(["b"], [90], SpecAugment(), epoch=0),
        masked(["a"], [90], SpecAugment(seed=1), epoch=0),
    ):
        assert not torch.equal(one, other)


def test_every_width_is_as_likely() -> None:
    """A band of 0 to 4 channels: one in five hides nothing, two channels on average."""
    ids = [f"u{number}" for number in range(2_000)]
    found = masked(ids, [1] * 2_000, SpecAugment(1, 4, 0, 0))[:, 0].eq(0).sum(dim=1)
    assert torch.bincount(found).tolist() == pytest.approx([400] * 5, rel=0.2)


def test_the_fill() -> None:
    features = torch.full((1, 50, 3), 9.0)
    options = SpecAugment(0, 0, 2, 20, portion=1.0)
    mean = torch.tensor([1.0, 2.0, 3.0])
    found = spec_augment(features, torch.tensor([50]), ["a"], 0, options, fill=mean)
    hidden = found[0].ne(9).any(dim=1)
    assert hidden.any()
    assert torch.equal(found[0][hidden], mean.expand(int(hidden.sum()), 3))


def test_gradients_pass_where_nothing_is_hidden() -> None:
    features = torch.ones(1, 40, 8, requires_grad=True)
    found = spec_augment(features, torch.tensor([40]), ["a"], 0, SpecAugment())
    found.sum().backward()
    assert features.grad is not None
    assert torch.equal(features.grad, found.detach())


def test_an_empty_batch() -> None:
    found = spec_augment(
        torch.ones(0, 7, 8), torch.zeros(0, dtype=torch.int64), [], 0, SpecAugment()
    )
    assert found.shape == (0, 7, 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bands": -1},
        {"longest": -5},
        {"portion": 1.5},
        {"seed": -1},
        {"warp": 1.0},
        {"colour": -0.1},
    ],
)
def test_options_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(AsrcError, match="E1008"):
        SpecAugment(**wrong)


def test_a_warp_moves_a_tone_and_a_colour_tilts() -> None:
    """A ridge at channel 20 moves by at most two of them; what is flat follows a smooth curve."""
    ids = [f"u{number}" for number in range(200)]
    ridge = 1 - (torch.arange(40) - 20).abs() / 40
    tones = ridge.expand(200, 3, 40)
    frames = torch.full((200,), 3)
    moved = spec_augment(tones, frames, ids, 0, SpecAugment(0, 0, 0, 0, warp=0.1))
    peaks = moved[:, 0].argmax(dim=1)
    assert set(peaks.tolist()) == {18, 19, 20, 21, 22}
    assert torch.equal(moved[:, 0], moved[:, 2])
    flat = spec_augment(torch.ones(200, 3, 40), frames, ids, 0, SpecAugment(0, 0, 0, 0, colour=0.5))
    heights = flat[:, 0] - 1
    assert 0.5 < heights.abs().max() < 0.5 * (1 + 1 / 2 + 1 / 3)
    assert heights.mean(dim=1).abs().max() < 1e-6
    assert heights.diff(dim=1).abs().max() < 0.5 * 3 * torch.pi / 40


def test_a_varied_utterance_keeps_its_padding_and_its_chance() -> None:
    options = SpecAugment(0, 0, 0, 0, warp=0.2, colour=0.5, seed=3)
    features = torch.randn(2, 30, 16, generator=torch.Generator().manual_seed(0))
    batch = spec_augment(features, torch.tensor([30, 12]), ["a", "b"], 4, options)
    alone = spec_augment(features[1:, :12], torch.tensor([12]), ["b"], 4, options)
    assert torch.equal(batch[1, :12], alone[0])
    assert torch.equal(batch[1, 12:], features[1, 12:])
    assert not torch.equal(
        batch, spec_augment(features, torch.tensor([30, 12]), ["a", "b"], 5, options)
    )
