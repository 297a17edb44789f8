"""The reference evaluator in time: shifts, windows, rates, inner axes, the log-mel front end."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from asrc.compiler.types import Finite, Label, Static, Stream
from asrc.compiler.units import Quantity
from asrc.tests.builders import PCM, Builder, ms
from asrc.tests.compiler.evaluation import (
    CHARS,
    Array,
    flag,
    frames,
    noise,
    run,
    tokens,
)

NAN = math.nan
GAP = [True, True, False, True, True, False]
"""Frame 2 is skipped and the last one is padding."""


def gapped(count: int = 1) -> tuple[Array, list[bool]]:
    """Frames 1, 2, .. with NaN where none is there."""
    data = np.repeat(np.arange(1.0, 7.0)[:, None], count, 1)
    data[[2, 5]] = NAN
    return data, GAP


def column(found: Array) -> list[float]:
    return [round(float(v), 9) for v in found.reshape(-1)]


# --- shifts ---


@pytest.mark.parametrize(
    ("op", "k", "wanted"),
    [("delay", 1, [0, 1, 0, 4]), ("delay", 2, [0, 0, 2, 0]), ("ahead", 1, [2, 0, 5, 0])],
)
def test_shifts_read_absent_frames_as_zero(op: str, k: int, wanted: list[float]) -> None:
    b = Builder()
    b("y", op, frames(b, "x", 1), frames=k)
    found = run(b, x=gapped())
    assert found.present("y") == GAP
    assert column(found["y"][GAP]) == wanted


def test_shifts_and_windows_may_start_from_a_learned_value() -> None:
    b = Builder()
    x = frames(b, "x", 1)
    b("start", "constant", value=9)
    b("y", "delay", x, "start", frames=1)
    b("w", "window", x, "start", past=1, future=1)
    found = run(b.graph(y="y", w="w"), x=gapped())
    assert column(found["y"][GAP]) == [9, 1, 9, 4]
    assert found["w"][GAP, 0].tolist() == [[9, 1, 2], [1, 2, 9], [9, 4, 5], [4, 5, 9]]


def test_a_delay_of_a_window_starts_every_tap_from_the_learned_value() -> None:
    b = Builder()
    b("w", "window", frames(b, "x", 2), past=1, future=0)
    b("start", "weight", dims=(2,))
    b("y", "delay", "w", "start", frames=1)
    found = run(b, x=noise(3, 2))
    start = found.weights["start.value"]
    assert np.array_equal(found["y"][0], np.stack([start, start], -1))
    assert np.array_equal(found["y"][1], found["w"][0])


@pytest.mark.parametrize(
    ("past", "future", "by"), [(2, 0, 1), (1, 1, 1), (0, 2, 1), (2, 1, 2), (2, -1, 1), (-1, 3, 1)]
)
def test_window_taps_are_oldest_first(past: int, future: int, by: int) -> None:
    b = Builder()
    b("y", "window", frames(b, "x", 1), past=past, future=future, by=by)
    data, there = gapped()
    found = run(b, x=(data, there))
    for t in range(6):
        for m in range(past + future + 1):
            s = t + (m - past) * by
            wanted = data[s, 0] if 0 <= s < 6 and there[s] else 0
            assert not there[t] or found["y"][t, 0, m] == wanted
    assert found.present("y") == there


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, None])
def test_in_chunk_stops_at_the_end_of_the_frames_own_chunk(chunk: int | None) -> None:
    b = Builder()
    length = None if chunk is None else ms(10 * chunk)
    b("y", "window", frames(b, "x", 1), past=1, future=2, by=2, in_chunk=True, chunk=length)
    data = noise(9, 1)
    found = run(b, x=data)["y"]
    for t in range(9):
        for m, offset in enumerate((-2, 0, 2, 4)):
            s = t + offset
            inside = 0 <= s < 9 and (chunk is None or s // chunk <= t // chunk)
            assert found[t, 0, m] == (data[s, 0] if inside else 0)


# --- rates ---


def test_stride_keeps_the_last_frame_of_each_whole_slot() -> None:
    b = Builder()
    b("y", "stride", frames(b, "x", 1), factor=3)
    found = run(b, x=(np.arange(8.0), [True] * 5 + [False] + [True] * 2))
    assert found.present("y") == [True, False]
    assert found["y"][0] == 2


def test_upsample_repeats() -> None:
    b = Builder()
    b("y", "upsample", frames(b, "x", 1), factor=2)
    found = run(b, x=([1, NAN, 3], [True, False, True]))
    assert found.present("y") == [True, True, False, False, True, True]
    assert column(found["y"][[0, 1, 4, 5]]) == [1, 1, 3, 3]


def test_streams_of_one_period_and_different_length_meet_where_both_are() -> None:
    b = Builder()
    x = frames(b, "x", 1)
    b("slow", "stride", x, factor=2)
    b("y", "add", b("again", "upsample", "slow", factor=2), x)
    found = run(b, x=[1, 2, 3, 4, 5])
    assert column(found["y"][:4]) == [3, 4, 7, 8]
    assert found.present("y") == [True] * 4 + [False]


def test_a_joint_sees_every_frame_against_every_label() -> None:
    b = Builder()
    b("e", "lattice", frames(b, "x", 2))
    b("p", "embed", tokens(b, "prev"), n=2)
    b("y", "add", "e", "p")
    found = run(b, x=(noise(3, 2), 2), prev=([1, 4, 0, 5], 3))
    rows = found.weights["p.weight"][[1, 4, 0]]
    for t in range(2):
        np.testing.assert_allclose(found["y"][t, :3], noise(3, 2)[t] + rows)
    assert np.array_equal(found.present("y"), np.outer([1, 1, 0], [1, 1, 1, 0]))


def test_means_and_maxima_of_a_stream_skip_absent_frames() -> None:
    b = Builder()
    x = frames(b, "x", 1)
    b("mean", "mean", x)
    b("max", "max", x)
    b("y", "sub", x, "mean")
    found = run(b.graph(max="max", y="y"), x=gapped())
    assert (found["mean"].tolist(), found["max"].tolist()) == ([3.0], [5.0])
    assert column(found["y"][GAP]) == [-2, -1, 1, 2]
    assert found.present("y") == GAP


def test_of_nothing_there_is_no_mean() -> None:
    b = Builder()
    x = frames(b, "x", 1)
    b("y", "add", b("mean", "mean", x), b("max", "max", x))
    assert run(b, x=(np.zeros((3, 1)), 0)).present("y") is False
    assert run(b, x=np.zeros((0, 1))).present("y") is False


# --- inner axes ---


def test_unfold_cuts_bands_into_overlapping_pieces_and_collect_makes_them_taps() -> None:
    b = Builder()
    b("u", "unfold", frames(b, "x", 2, 7), axis="f", size=3, step=2)
    b("y", "collect", "u")
    data = noise(4, 2, 7)
    found = run(b, x=(data, 3))
    for n, start in enumerate((0, 2, 4)):
        assert np.array_equal(found["u"][:3, n], data[:3, :, start : start + 3])
        assert np.array_equal(found["y"][:3, ..., n], data[:3, :, start : start + 3])
    assert found.present("u") == [[True] * 3] * 3 + [[False] * 3]
    assert found.present("y") == [True] * 3 + [False]


def test_unfold_of_a_window_keeps_the_taps() -> None:
    b = Builder()
    b("w", "window", frames(b, "x", 4), past=1, future=0)
    b("y", "unfold", "w", axis="f", size=2, step=1)
    data = noise(3, 4)
    assert np.array_equal(run(b, x=data)["y"][2, 1], data[1:3, 1:3].T)


LENGTHS = [4, 0, 2]


def phrases() -> tuple[Array, list[int]]:
    """Three phrases of characters, NaN after the end of each."""
    data = noise(3, 5, 2)
    for row, length in zip(data, LENGTHS, strict=True):
        row[length:] = NAN
    return data, LENGTHS


def test_aggregates_of_an_inner_axis_skip_its_padding() -> None:
    b = Builder()
    x = frames(b, "x", 2, clock=CHARS)
    ops = ("last", "first", "mean", "max", "collect")
    for op in ops:
        b(op, op, x)
    data, lengths = phrases()
    found = run(b.graph(**{op: op for op in ops}), x=(data, lengths))
    for p in (0, 2):
        there = data[p, : lengths[p]]
        assert np.array_equal(found["last"][p], there[-1])
        assert np.array_equal(found["first"][p], there[0])
        np.testing.assert_allclose(found["mean"][p], there.sum(0) / len(there))
        assert np.array_equal(found["max"][p], there.max(0))
        assert np.array_equal(found["collect"][p, :, : lengths[p]], there.T)
        assert not found["collect"][p, :, lengths[p] :].any()
    assert all(found.present(op) == [True, False, True] for op in ops)


def test_shifts_run_along_the_inner_axis() -> None:
    b = Builder()
    x = frames(b, "x", 2, clock=CHARS)
    b("y", "add", b("d", "delay", x, frames=1), b("a", "ahead", x, frames=2))
    data, lengths = phrases()
    found = run(b, x=(data, lengths))
    np.testing.assert_allclose(found["y"][0, :4], [data[0, 2], data[0, 0] + data[0, 3],
                                                   data[0, 1], data[0, 2]])  # fmt: skip


@pytest.mark.parametrize("count", [0, 2])
def test_append_adds_an_entry_that_is_always_there(count: int) -> None:
    b = Builder()
    x = frames(b, "x", 2, clock=Finite("phrases", 3, Static()))
    b("y", "append", x, b("none", "weight", dims=(1, 2)))
    found = run(b, x=(noise(3, 2), count))
    assert found.present("y") == [n < count for n in range(3)] + [True]
    assert np.array_equal(found["y"][3], found.weights["none.value"][0])


def test_an_empty_phrase_gets_no_entry() -> None:
    b = Builder()
    b("y", "append", frames(b, "x", 2, clock=CHARS), b("end", "weight", dims=(2,)))
    assert np.array(run(b, x=phrases()).present("y"))[:, -1].tolist() == [True, False, True]


# --- the switch ---


def test_a_switch_never_reads_the_other_branch() -> None:
    b = Builder()
    b("y", "switch", flag(b, "g"), frames(b, "on", 1), frames(b, "off", 1))
    present = [True, False, True, False]
    found = run(b, g=([1, 0, 0, 1], [True] * 4), on=([1, NAN, NAN, NAN], present),
                off=([NAN, 2, 3, 4], [False, True, True, True]))  # fmt: skip
    assert found.present("y") == [True, True, True, False]
    assert column(found["y"][:3]) == [1, 2, 3]


def test_frames_that_a_branch_skips_are_absent_to_its_windows() -> None:
    b = Builder()
    x, g = frames(b, "x", 1), flag(b, "g")
    b("slow", "abs", x)
    b("w", "window", "slow", past=1, future=0)
    b("s", "depthwise", "w", bias=False)
    b("y", "switch", g, "s", x)
    found = run(b, x=[1, 2, 3, 4], g=[True, False, True, True])
    assert found.present("slow") == [True, False, True, True]
    assert found["w"][[0, 2, 3], 0].tolist() == [[0, 1], [0, 3], [3, 4]]
    assert found["y"][1] == 2


def test_a_flag_that_holds_for_the_whole_utterance() -> None:
    b = Builder()
    x, g = frames(b, "x", 1), flag(b, "g", Static())
    b("y", "switch", g, b("a", "exp", x), b("b", "relu", x))
    found = run(b, x=[-1, 2], g=False)
    assert column(found["y"]) == [0, 2]
    assert found.present("a") == [False, False]


# --- log-mel ---


def mel(hertz: float) -> float:
    return 2595 * math.log10(1 + hertz / 700)


def energies(samples: Array, bins: int, low: float, high: float, rate: int) -> list[float]:
    """By the definition: a sum over samples for each line, one over lines for each bin."""
    count, size = len(samples), 2 ** math.ceil(math.log2(len(samples)))
    hann = [math.sin(math.pi * n / count) ** 2 for n in range(count)]
    power = []
    for line in range(size // 2 + 1):
        angles = [2 * math.pi * line * n / size for n in range(count)]
        real = sum(h * v * math.cos(a) for h, v, a in zip(hann, samples, angles, strict=True))
        imag = sum(h * v * math.sin(a) for h, v, a in zip(hann, samples, angles, strict=True))
        power.append(real**2 + imag**2)
    step, found = (mel(high) - mel(low)) / (bins + 1), []
    for n in range(1, bins + 1):
        centre = mel(low) + n * step
        shares = (1 - abs(mel(k * rate / size) - centre) / step for k in range(len(power)))
        found.append(sum(max(0.0, s) * p for s, p in zip(shares, power, strict=True)))
    return found


@pytest.mark.parametrize("high", [0, 3000])
def test_logmel_by_its_definition(high: int) -> None:
    b = Builder()
    clock = Stream(Fraction(1, 8000))
    top = Quantity(Fraction(high), "rate") if high else None
    b("y", "logmel", frames(b, "x", 1, clock=clock), bins=5, window=ms(5), hop=ms(2), high=top)
    audio = noise(100)
    found = run(b, x=audio)["y"]
    assert found.shape == ((100 - 40) // 16 + 1, 5)
    for i in (0, 3):
        samples = audio[16 * i : 16 * i + 40]
        wanted = np.log(energies(samples, 5, 20, high or 4000, 8000))
        np.testing.assert_allclose(found[i], wanted, atol=1e-10)


def test_logmel_frames_whose_window_is_not_complete_do_not_exist() -> None:
    b = Builder()
    b("audio", "input", type=PCM)
    b("y", "logmel", "audio", bins=4, window=ms(25), hop=ms(10))
    assert run(b, audio=np.zeros(399))["y"].shape == (0, 4)
    found = run(b, audio=(np.r_[np.zeros(560), [NAN] * 400], 560))
    assert found.present("y") == [True, True, False, False]
    assert np.allclose(found["y"][:2], math.log(1e-10))


def test_logmel_of_several_channels_is_that_of_each() -> None:
    one, three = Builder(), Builder()
    for b, channels in ((one, 1), (three, 3)):
        x = frames(b, "x", channels, clock=Stream(Fraction(1, 16000)))
        b("y", "logmel", x, bins=6, window=ms(25), hop=ms(10))
    audio = noise(800, 3)
    found = run(three, x=audio)["y"]
    assert found.shape == (3, 3, 6)
    for c in range(3):
        np.testing.assert_allclose(found[:, c], run(one, x=audio[:, c])["y"])


def test_labels_have_shifts_too() -> None:
    b = Builder()
    b("y", "delay", frames(b, "x", 1, clock=Label()), frames=1)
    assert column(run(b, x=[1, 2, 3])["y"]) == [0, 1, 2]
