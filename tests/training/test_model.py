"""The model in training: its losses are those of its parts, and padding changes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from asrc.backends.torch.initialise import initialise
from asrc.compiler.diagnostics import AsrcError
from asrc.tests.models.helpers import load
from asrc.tests.training.tiny import build
from asrc.training.augment import SpecAugment
from asrc.training.dataset import Batch
from asrc.training.losses import rnnt_loss
from asrc.training.model import TrainedModel
from asrc.training.pruning import joint_on
from asrc.training.recipe import Losses


def model(losses: Losses, augment: SpecAugment | None = None) -> TrainedModel:
    found = TrainedModel(build(4), losses, augment)
    initialise(found.lowered, seed=1)
    return found


def batch() -> Batch:
    source = torch.Generator().manual_seed(0)
    audio = 0.1 * torch.randn(3, 8000, generator=source)
    targets = torch.tensor([[1, 2, 3], [2, 1, 0], [3, 0, 0]])
    return Batch(
        audio, torch.tensor([8000, 6500, 4000]), targets, torch.tensor([3, 2, 1]), ("a", "b", "c")
    )


def test_the_loss_is_that_of_the_log_probabilities() -> None:
    trained = model(Losses(ctc=0.0)).eval()
    given = batch()
    whole = trained.lowered.facts.graph
    assert all(node.op != "log_softmax" for node in whole)
    start = given.targets.new_zeros(3, 1)
    values = trained.lowered(
        {
            "audio": given.audio,
            "audio_length": given.samples,
            "prev": torch.cat([start, given.targets], 1),
            "prev_length": given.labels + 1,
        }
    )
    logs = values["joint"].log_softmax(-1)
    frames = values["encoder_length"]
    wanted = rnnt_loss(
        logs, given.targets, frames, given.labels, blank=4, reduction="sum", normalised=True
    )
    assert trained(given).transducer.item() == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("losses", [Losses(), Losses(pruned=2), Losses(fastemit=0.01)])
def test_padding_changes_no_loss_and_no_gradient(losses: Losses) -> None:
    trained = model(losses, SpecAugment(2, 2, 1, 4, 0.2))
    short = batch()
    wider = torch.nn.functional.pad(short.audio, (0, 3000), value=float("nan"))
    wider[1, 6500:], wider[2, 4000:] = float("nan"), float("inf")
    longer = torch.nn.functional.pad(short.targets, (0, 2), value=3)
    found = [
        gradients(trained, each) for each in (short, replace(short, audio=wider, targets=longer))
    ]
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-5, msg=name)


def gradients(trained: TrainedModel, given: Batch) -> dict[str, torch.Tensor]:
    trained.train().zero_grad(set_to_none=True)
    trained.begin(given, epoch=2, update=5)
    parts = trained(given)
    (parts.transducer + parts.ctc).backward()
    return {n: p.grad.clone() for n, p in trained.named_parameters() if p.grad is not None}


def test_a_window_of_all_states_is_the_whole_joint() -> None:
    trained = model(Losses(pruned=4)).eval()
    given = batch()
    start = given.targets.new_zeros(3, 1)
    values = trained.lowered(
        {
            "audio": given.audio,
            "audio_length": given.samples,
            "prev": torch.cat([start, given.targets], 1),
            "prev_length": given.labels + 1,
        }
    )
    time = values["encoder"].shape[1]
    ranges = torch.arange(4).expand(3, time, 4)
    found = joint_on(ranges, values, trained.lowered.parts["lattice"], trained.roles)
    torch.testing.assert_close(found, values["joint"])


def test_masks_and_dropout_belong_to_the_utterance() -> None:
    """The same utterance in another batch has the same loss; another epoch has another."""
    trained = model(Losses(ctc=0.0), SpecAugment(2, 3, 2, 10, 0.3)).train()
    for module in trained.lowered.leaves.values():
        if type(module).__name__ == "BatchNorm":
            module.eval()
    whole = batch()
    alone = Batch(
        whole.audio[1:2], whole.samples[1:2], whole.targets[1:2], whole.labels[1:2], ("b",)
    )
    others = Batch(
        whole.audio[::2], whole.samples[::2], whole.targets[::2], whole.labels[::2], ("a", "c")
    )

    def loss(given: Batch, epoch: int) -> float:
        trained.begin(given, epoch, 0)
        return trained(given).transducer.item()

    assert loss(whole, 1) == pytest.approx(loss(alone, 1) + loss(others, 1), rel=1e-5)
    assert loss(alone, 1) != pytest.approx(loss(alone, 2), rel=1e-3)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tdt", "several heads"),
        ("bifocal", "it reads `keyword` as well"),
        ("biasing", "it reads `history`, `letters`, `pieces`, `vectors` as well"),
        ("biasing_joint", "it reads `pieces` as well"),
        ("dual_attention", "it reads `pieces`, `wake`, `wake_words` as well"),
    ],
)
def test_a_model_that_needs_more_than_audio_and_labels(name: str, says: str) -> None:
    facts = load(f"small/{name}").facts
    with pytest.raises(AsrcError, match=f"E1008.*{says}"):
        TrainedModel(facts, Losses(), None)
