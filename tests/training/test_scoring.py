"""Word errors: counts, alignments, intervals, tables, the page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.compiler.diagnostics import AsrcError
from asrc.training.bootstrap import difference_interval, interval
from asrc.training.delay import Delay, summarise_delays, word_delays
from asrc.training.scoring import Counts, Report, Transcript, compare, report, score
from asrc.training.scoring_page import page, write_page
from asrc.training.scoring_text import alignment_lines, as_json, as_text

WORDS = st.lists(st.sampled_from("a b c d".split()), max_size=6).map(" ".join)


def small() -> Report:
    """Three utterances: one right, one with all kinds of errors, one that was not said."""
    return report(
        [
            Transcript("u1", "turn it on", "turn it on", {"noise": "none"}),
            Transcript("u2", "turn the light off", "turn a light off now", {"noise": "0dB"}),
            Transcript("u3", "", "hello", {"noise": "0dB", "room": "hall"}),
        ]
    )


# --- counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("a b c", "a b c", Counts(hits=3)),
        ("a b c", "a x c", Counts(hits=2, substitutions=1)),
        ("a b c", "a c", Counts(hits=2, deletions=1)),
        ("a c", "a b c", Counts(hits=2, insertions=1)),
        ("a b", "", Counts(deletions=2)),
        ("", "a b", Counts(insertions=2)),
        ("", "", Counts()),
        ("  a   b ", "a\tb", Counts(hits=2)),
    ],
)
def test_counts(reference: str, hypothesis: str, counts: Counts) -> None:
    assert score(Transcript("u", reference, hypothesis)).counts == counts


def levenshtein(first: list[str], second: list[str]) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


@given(reference=WORDS, hypothesis=WORDS)
def test_alignments_are_shortest_and_spell_both_texts(reference: str, hypothesis: str) -> None:
    scored = score(Transcript("u", reference, hypothesis))
    assert " ".join(e.reference for e in scored.edits if e.reference) == reference
    assert " ".join(e.hypothesis for e in scored.edits if e.hypothesis) == hypothesis
    assert scored.counts.errors == levenshtein(reference.split(), hypothesis.split())
    kinds = [edit.kind for edit in scored.edits]
    assert kinds.count("hit") == scored.counts.hits
    assert kinds.count("insertion") == scored.counts.insertions
    assert all((e.kind == "hit") == (e.reference == e.hypothesis) for e in scored.edits)


def test_a_report_adds_up() -> None:
    """The rate is that of all words together, not the mean of rates."""
    found = small()
    assert found.total.counts == Counts(hits=6, substitutions=1, insertions=2)
    assert found.total.counts.rate == pytest.approx(3 / 7)
    assert (found.total.utterances, found.total.correct) == (3, 1)
    noise = found.classes["noise"]
    assert {value: s.counts.errors for value, s in noise.items()} == {"none": 0, "0dB": 3}
    assert found.classes["room"][""].utterances == 2
    assert found.classes["room"]["hall"].counts.rate is None
    assert found.classes["room"]["hall"].interval is None


def test_nothing_to_score() -> None:
    with pytest.raises(AsrcError, match="E1005"):
        report([])


def test_nothing_was_said() -> None:
    """Insertions count even where there is no rate."""
    found = report([Transcript("u", "", "wake up")])
    assert found.total.counts.insertions == 2
    assert found.total.counts.rate is None
    assert "-" in as_text(found)
    assert json.loads(json.dumps(as_json(found), allow_nan=False))["total"]["wer"] is None


def test_worst_first() -> None:
    """Most errors, then the highest rate; what is right is not among them."""
    texts = [
        ("one of five", "a b c d e", "a b c d x"),
        ("one of one", "a", "b"),
        ("none", "a", "a"),
    ]
    found = report([Transcript(*text) for text in (*texts, ("two", "a b c d e f g", "b c d e f"))])
    assert [one.transcript.id for one in found.worst(9)] == ["two", "one of one", "one of five"]
    assert len(found.worst(1)) == 1


# --- intervals -------------------------------------------------------------------------------


def simulated(seed: int, utterances: int = 150) -> tuple[list[int], list[int]]:
    """Utterances of 3 to 12 words, each word wrong with a probability of 10 %."""
    generator = np.random.default_rng(seed)
    words = generator.integers(3, 13, utterances)
    return generator.binomial(words, 0.1).tolist(), words.tolist()


def test_intervals_hold_the_true_rate_as_often_as_they_say() -> None:
    """95 % intervals miss 0.1 in about 5 % of 300 experiments."""
    ends = [interval(*simulated(seed), draws=400) for seed in range(300)]
    missed = sum(not low <= 0.1 <= high for low, high in (e for e in ends if e))
    assert 4 <= missed <= 32


def test_intervals_are_as_wide_as_theory_says() -> None:
    """For many utterances 1.96 standard errors of a ratio to either side (Cochran, 1977)."""
    errors, words = (np.array(values) for values in simulated(0, 2000))
    rate = errors.sum() / words.sum()
    spread = np.sqrt(((errors - rate * words) ** 2).sum()) / words.sum()
    ends = interval(errors.tolist(), words.tolist(), draws=8000)
    assert ends == pytest.approx((rate - 1.96 * spread, rate + 1.96 * spread), abs=0.12 * spread)


def test_intervals_are_seeded() -> None:
    errors, words = simulated(0)
    assert interval(errors, words, seed=1) == interval(errors, words, seed=1)
    assert interval(errors, words, seed=1) != interval(errors, words, seed=2)


def test_intervals_do_not_depend_on_how_many_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors, words = simulated(0)
    whole = interval(errors, words)
    monkeypatch.setattr("asrc.training.bootstrap.DRAWN_AT_ONCE", 1000)
    assert interval(errors, words) == whole


def test_intervals_without_words() -> None:
    assert interval([], []) is None
    assert interval([1, 2], [0, 0]) is None
    assert interval([0, 1], [5, 0]) is not None


def test_pairing_narrows_the_difference() -> None:
    """A system that errs on the same utterances and a little more is seen to be worse."""
    errors, words = simulated(0)
    worse = [min(n, e + (i % 8 == 0)) for i, (e, n) in enumerate(zip(errors, words, strict=True))]
    ends = difference_interval(worse, errors, words)
    assert ends is not None
    assert 0 < ends[0] < ends[1]
    shuffled = np.random.default_rng(0).permutation(worse).tolist()
    apart = difference_interval(shuffled, errors, words)
    assert apart is not None
    assert apart[1] - apart[0] > 1.5 * (ends[1] - ends[0])


def test_comparing_reports() -> None:
    good = [Transcript(f"u{i}", "a b c d", "a b c d") for i in range(40)]
    bad = [Transcript(f"u{i}", "a b c d", "a b c x" if i % 2 else "a b c d") for i in range(40)]
    ends = compare(report(bad), report(list(reversed(good))))
    assert ends is not None
    assert 0 < ends[0] < 0.125 < ends[1]
    with pytest.raises(AsrcError, match="not of the same utterances"):
        compare(report(good), report(good[1:]))


# --- text and JSON ---------------------------------------------------------------------------


def test_the_table() -> None:
    lines = as_text(small(), worst=0).splitlines()
    assert re.split(r" {2,}", lines[0].strip())[:4] == ["utterances", "correct", "words", "WER"]
    assert lines[1].split()[:6] == ["all", "3", "33.3", "%", "7", "42.86"]
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "all", "noise 0dB", "noise none", "room (none)", "room hall",
    ]  # fmt: skip
    assert len({len(line) for line in lines}) == 1


def test_alignments_as_text() -> None:
    assert "\n".join(alignment_lines(small().utterances[1])) == (
        "u2: 2 errors in 4 words\n"
        "  reference  turn the light off *\n"
        "  hypothesis turn a   light off now\n"
        "                  S             I"
    )


def test_json_says_the_same() -> None:
    data = json.loads(json.dumps(as_json(small()), allow_nan=False))
    assert data["total"]["words"] == 7
    assert data["total"]["wer"] == pytest.approx(3 / 7)
    assert data["total"]["interval"][0] <= 3 / 7 <= data["total"]["interval"][1]
    assert data["classes"]["noise"]["0dB"]["insertions"] == 2
    assert data["utterances"][1]["hypothesis"] == "turn a light off now"


# --- the page --------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def sources(self) -> list[str | None]:
        return [attrs["src"] for tag, attrs in self.tags if tag == "audio"]


def read(found: Report, folder: Path, most: int = 500, embed: int = 0) -> Reader:
    return Reader(page(found, folder, title="A < B", most=most, embed=embed))


def test_the_page_shows_tables_and_alignments(tmp_path: Path) -> None:
    reader = read(small(), tmp_path)
    tags = [tag for tag, _ in reader.tags]
    text = "".join(reader.words)
    assert tags.count("tr") == 1 + 5
    assert tags.count("article") == 3
    assert "42.86" in text
    assert text.index("u2") < text.index("u3") < text.index("u1")
    assert "A < B" in text
    assert not {"script", "link"} & set(tags)


def test_everything_on_the_page_is_escaped(tmp_path: Path) -> None:
    """Texts, names and classes are data, whatever they hold."""
    evil = "<script>\"&'"
    said = Transcript(evil, evil, f"{evil} {evil}x", {evil: evil}, tmp_path / 'a"b<c>.wav')
    missed = Transcript("v", f"{evil}y", "")
    reader = read(report([said, missed]), tmp_path)
    assert {tag for tag, _ in reader.tags}.isdisjoint({"script"})
    assert "".join(reader.words).count(evil) >= 6
    assert reader.sources() == ["a%22b%3Cc%3E.wav"]


def test_audio_is_linked_or_embedded(tmp_path: Path) -> None:
    clip = tmp_path / "clips/one 1.wav"
    clip.parent.mkdir()
    clip.write_bytes(b"RIFF1234")
    found = report(
        [
            Transcript("whole", "a", "a", audio=clip, seconds=1.5),
            Transcript("part", "a", "a", audio=clip, start=2.0, seconds=1.5),
            Transcript("missing", "a", "a", audio=tmp_path / "none.flac"),
            Transcript("silent", "a", "a"),
        ]
    )
    linked = read(found, tmp_path / "pages").sources()
    assert linked == [
        "../clips/one%201.wav#t=0.000,1.500",
        "../clips/one%201.wav#t=2.000,3.500",
        "../none.flac",
    ]
    embedded = read(found, tmp_path / "pages", embed=8).sources()
    assert embedded[0] is not None
    assert re.fullmatch(r"data:audio/(x-)?wav;base64,UklGRjEyMzQ=", embedded[0])
    assert embedded[1:] == linked[1:]


def test_the_page_is_written(tmp_path: Path) -> None:
    write_page(tmp_path / "new/score.html", small(), most=2)
    text = (tmp_path / "new/score.html").read_text(encoding="utf-8")
    assert "2 of 3 utterances" in text
    (tmp_path / "file").touch()
    with pytest.raises(AsrcError, match="E0008"):
        write_page(tmp_path / "file/score.html", small())


# --- emission delay --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("heard", "times", "wanted"),
    [
        ("turn light off now", [0.5, 1.0, 1.6, 1.9], [0.2, 0.1, 0.3]),
        ("um turn the light off", [0.1, 0.5, 0.8, 1.0, 1.6], [0.2, 0.3, 0.1, 0.3]),
        ("turn the flight off", [0.5, 0.8, 1.0, 1.2], [0.2, 0.3, -0.1]),
    ],
)
def test_delays_of_words_recognised_right(
    heard: str, times: list[float], wanted: list[float]
) -> None:
    delays = word_delays("turn the light off".split(), [0.3, 0.5, 0.9, 1.3], heard.split(), times)
    assert delays == pytest.approx(wanted)


def test_delays_without_words() -> None:
    assert word_delays([], [], ["a"], [1.0]) == []
    assert summarise_delays([]) == Delay(0, None, None)
    with pytest.raises(ValueError, match="one time"):
        word_delays(["a"], [], [], [])


def test_percentiles() -> None:
    delay = summarise_delays(i / 10 for i in range(11))
    assert (delay.count, delay.p50, delay.p90) == (11, pytest.approx(0.5), pytest.approx(0.9))
