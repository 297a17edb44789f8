"""The contract finds what it is there to find: a small model, broken on purpose in one way each.

Checks look at the same values from different sides, so that some mistakes fail several: what a
batch does to an utterance makes it differ from its stream as well. Each test says which, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from weakref import WeakKeyDictionary

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from asrc.backends.torch import contract, field, past
from asrc.backends.torch.contract import CHECKS, in_turn, run_contract, singly
from asrc.backends.torch.initialise import initialise
from asrc.backends.torch.lowered import Lowered
from asrc.backends.torch.reach import Reach
from asrc.backends.torch.session import Session
from asrc.backends.torch.stepmodule import Feed
from asrc.backends.torch.streams import Block, Streams
from asrc.backends.torch.trial import Trial
from asrc.compiler.facts import Facts
from asrc.compiler.source import Source
from asrc.dsl.check import read_model

WINDOW = """asr 1
model windows
use std.transducer (StatelessPredictor, Joint)
input audio: pcm @ 8kHz
input prev: token[6]
net encoder(audio) {
  mel = audio |> logmel(bins=8, window=25ms, hop=10ms) |> cmvn
  out mel[t-PAST..t+NEXT] |> stride(4) |> dense(16) |> swish |> dense(12)
}
net predictor(prev) { out prev |> StatelessPredictor(12, context=LABELS) }
net joint(e=encoder, p=predictor) { out Joint(e, p, 7) }
"""

MEMORY = WINDOW.replace("|> swish", "|> Lstm(16)")
MEMORY = MEMORY.replace("use std.transducer", "use std.rnn (Lstm)\nuse std.transducer")

Outcome = dict[str, str]
"""What a check that failed says, by its name."""


def model(text: str = MEMORY, past: int = 3, ahead: int = 1, labels: int = 2) -> Facts:
    text = text.replace("PAST", str(past)).replace("NEXT", str(ahead))
    found = read_model(Source("windows.asr", text.replace("LABELS", str(labels))), {})
    assert found.facts is not None, found.diagnostics
    return found.facts


def lowered(facts: Facts) -> Lowered:
    found = Lowered(facts)
    initialise(found, seed=1)
    return found.eval()


def broken(subject: Lowered) -> Outcome:
    findings = run_contract(Trial.of(subject))
    names = zip(CHECKS, findings, strict=True)
    return {name: finding.words for name, finding in names if not finding.ok}


def encoder_dense(subject: Lowered) -> nn.Module:
    """The first layer behind the window."""
    return subject.leaves["encoder.dense"]


def hooked(subject: Lowered, change: Callable[[Tensor], Tensor]) -> Lowered:
    encoder_dense(subject).register_forward_hook(lambda module, given, made: change(made))
    return subject


def test_a_whole_model_keeps_it() -> None:
    assert broken(lowered(model())) == {}
    assert broken(lowered(model(WINDOW))) == {}


@pytest.mark.parametrize("ahead", ["x[t..t+1] |> depthwise", "x[t+1]", "x[t..t+3] |> dense(12)"])
def test_an_lstm_that_begins_amid_a_step_keeps_it(ahead: str) -> None:
    """Of the first step's frames some are before the start: it runs frame by frame."""
    text = MEMORY.replace(
        "out mel[t-PAST..t+NEXT] |> stride(4) |> dense(16)",
        f"x = mel |> stride(4) |> upsample(2) |> dense(16)\n  out {ahead}",
    )
    subject = lowered(model(text))
    assert subject.step("frames").scanned
    assert broken(subject) == {}


# --- the receptive field ----------------------------------------------------------------------


def claimed(monkeypatch: pytest.MonkeyPatch, facts: Facts) -> None:
    """The facts of another model about what is read."""
    for module in (field, past):
        monkeypatch.setattr(module, "Reach", lambda _: Reach(facts))


@pytest.mark.parametrize(
    ("claim", "words"),
    [
        ({"ahead": 0}, "sees `audio` after frame"),
        ({"past": 2}, "sees `audio` before frame"),
        ({"past": 4}, "does not read `audio` as early as inferred"),
        ({"labels": 1}, "sees `prev` before frame"),
        ({"labels": 3}, "does not read `prev` as early as inferred"),
    ],
    ids=str,
)
def test_a_field_that_is_not_as_inferred(
    monkeypatch: pytest.MonkeyPatch, claim: dict[str, int], words: str
) -> None:
    subject = lowered(model(WINDOW))
    claimed(monkeypatch, model(WINDOW, **claim))
    found = broken(subject)
    assert found.keys() == {"field"}
    assert words in found["field"]


def test_a_whole_utterance_that_reads_one_frame_more() -> None:
    """Streams cannot follow, and the field is not as inferred either."""
    found = broken(hooked(lowered(model()), lambda x: x + 0.01 * torch.roll(x, -1, 1)))
    assert "sees `audio` after frame" in found["field"]
    assert found.keys() == set(CHECKS) - {"counts"}


# --- batches ----------------------------------------------------------------------------------


def test_a_mean_over_the_padded_batch() -> None:
    found = broken(hooked(lowered(model()), lambda x: x + 0.01 * x.mean(0, keepdim=True)))
    assert found.keys() == set(CHECKS) - {"counts"}


def test_padding_that_leaks() -> None:
    """Zero times the sum of all samples: nothing, but for padding that is no number."""
    subject = lowered(model())

    def leak(module: nn.Module, given: tuple[dict[str, Tensor]], made: dict[str, Tensor]) -> None:
        made["encoder"] = made["encoder"] + 0 * given[0]["audio"].sum(1, keepdim=True)

    subject.register_forward_hook(leak)
    assert broken(subject).keys() == {"padding"}


# --- streams ----------------------------------------------------------------------------------


def test_state_that_is_not_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    def restart(self: Streams, streams: Tensor) -> None:
        never = torch.full_like(self.age, 1 << 60)
        self.ends = {n: torch.where(streams, never, end) for n, end in self.ends.items()}

    monkeypatch.setattr(Streams, "restart", restart)
    assert broken(lowered(model())).keys() == {"batch"}


def without_last(block: Block) -> Block:
    """The last frame of each stream is not there."""
    later = block.there.flip(1).cumsum(1).flip(1)
    return Block(block.data, block.there & (later > 1), block.first)


def test_a_flush_that_drops_the_last_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other checks' utterances end where look-ahead owes nothing."""
    finish = Session.finish

    def short(self: Session, streams: Tensor | None = None) -> dict[str, Block]:
        return {name: without_last(block) for name, block in finish(self, streams).items()}

    monkeypatch.setattr(Session, "finish", short)
    found = broken(lowered(model()))
    assert found.keys() == {"flush"}
    assert "frames instead of" in found["flush"]


def test_frames_after_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second flush gives the last frames again."""
    finish = Session.finish
    last: WeakKeyDictionary[Session, dict[str, Block]] = WeakKeyDictionary()

    def again(self: Session, streams: Tensor | None = None) -> dict[str, Block]:
        if self not in last:
            last[self] = finish(self, streams)
        return finish(self, streams) if streams is not None else last[self]

    monkeypatch.setattr(Session, "finish", again)
    assert broken(lowered(model())) == {"flush": "frames come after the end"}


def test_a_long_step_that_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Much audio in one push runs in long steps."""
    step = Streams.step

    def wrong(
        self: Streams, feeds: dict[str, Tensor], multiple: int = 1, moving: Tensor | None = None
    ) -> dict[str, Block]:
        found = step(self, feeds, multiple, moving)
        scale = 1.01 if multiple > 1 else 1
        return {n: Block(b.data * scale, b.there, b.first) for n, b in found.items()}

    monkeypatch.setattr(Streams, "step", wrong)
    found = broken(lowered(model()))
    assert found.keys() == {"streaming", "flush", "batch"}


def cuts(feed: Feed) -> list[int]:
    """Until the rest is pushed."""
    return list(islice(singly(feed), 2 * contract.NEAR + 10))


@pytest.mark.parametrize("start", [0, -240])
def test_single_samples_fill_two_steps(start: int) -> None:
    first = start % 960 or 960
    found = cuts(Feed("audio", start, 960, 960))
    begin = found[: found.index(1 << 40)]
    assert set(begin) == {0, 1}
    assert sum(begin) == first + 960 + 1


def test_a_long_step_has_them_at_its_ends() -> None:
    found = cuts(Feed("audio", 0, 5120, 5120))
    half = contract.NEAR // 2
    wanted = [*[1] * half, 5120 - 2 * half, *[1] * half]
    assert found[: 2 * len(wanted) + 1] == [*wanted, *wanted, 1]


def test_inputs_take_their_sizes_in_turn() -> None:
    slow: Iterator[int] = chain([1, 2, 3])
    assert list(in_turn([slow, iter([10, 20, 30])])) == [1, 10, 2, 20, 3, 30]


# --- counts -----------------------------------------------------------------------------------


def test_a_parameter_too_many() -> None:
    subject = lowered(model())
    encoder_dense(subject).register_parameter("extra", nn.Parameter(torch.zeros(1)))
    found = broken(subject)
    assert found.keys() == {"counts"}
    assert "parameters" in found["counts"]


def test_products_too_many() -> None:
    """As many again as the layer has outputs, for nothing."""
    subject = hooked(lowered(model()), lambda x: x + functional.linear(x, torch.zeros(16, 16)))
    found = broken(subject)
    assert found.keys() == {"counts"}
    assert "products" in found["counts"]
