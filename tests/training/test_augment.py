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


@pytest.mark.parametrize("wrong", [{"bands": -1}, {"longest": -5}, {"portion": 1.5}, {"seed": -1}])
def test_options_that_cannot_be(wrong: dict[str, float]) -> None:
    with pytest.raises(AsrcError, match="E1008"):
        SpecAugment(**wrong)
