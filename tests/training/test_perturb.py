"""Perturbed audio: the same draw for the same seed, epoch and utterance, at the level asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asrc.compiler.diagnostics import AsrcError
from asrc.tests.runtime.sounds import RATE, tone, write
from asrc.tests.training.speech import utterance
from asrc.training.acoustics import (
    add_noise,
    change_gain,
    change_speed,
    power,
    reverberate,
    within_full_scale,
)
from asrc.training.perturb import Perturbation, Perturber
from asrc.training.randomness import generator, uniform

SPEEDS = (0.9, 1.0, 1.1)


def hiss(seconds: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(5).uniform(-0.3, 0.3, round(seconds * RATE))
    return noise.astype(np.float32)


# --- sound -----------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", SPEEDS)
def test_speed_changes_length_and_pitch(factor: float) -> None:
    changed = change_speed(tone(1.0, pitch=400), factor)
    assert changed.dtype == np.float32
    assert len(changed) == round(RATE / factor)
    wanted = tone(1 / factor, pitch=400 * factor)
    assert np.abs(changed - wanted[: len(changed)])[1_000:-1_000].max() < 1e-3
    two = change_speed(np.stack([tone(), tone()]), factor)
    assert two.shape == (2, round(RATE / 2 / factor))


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_is_as_loud_as_asked(snr: float) -> None:
    speech = tone()
    mixed = add_noise(speech, hiss(0.5), snr)
    assert 10 * np.log10(power(speech) / power(mixed - speech)) == pytest.approx(snr, abs=0.01)
    assert np.array_equal(add_noise(speech, np.zeros_like(speech), snr), speech)
    assert np.array_equal(add_noise(0 * speech, hiss(0.5), snr), 0 * speech)


def test_a_room_keeps_length_level_and_time() -> None:
    click = np.zeros(800, np.float32)
    click[100] = 0.5
    response = np.zeros(400, np.float32)
    response[[37, 137]] = 0.8, 0.4  # direct sound and one echo, 100 samples later
    heard = reverberate(click, response)
    assert heard.shape == click.shape
    assert power(heard) == pytest.approx(power(click))
    assert np.abs(heard).argmax() == 100
    assert heard[200] == pytest.approx(heard[100] / 2, rel=1e-4)
    assert np.array_equal(reverberate(np.stack([click, click]), response)[1], heard)


def test_a_room_is_a_convolution() -> None:
    speech, response = hiss(0.1), hiss(0.02) * np.exp(-np.arange(320) / 40).astype(np.float32)
    response[0] = 1.0
    direct = np.convolve(speech, response)[: len(speech)]
    direct *= np.sqrt(power(speech) / power(direct))
    assert np.abs(reverberate(speech, response) - direct).max() < 1e-6


def test_gain_and_full_scale() -> None:
    assert np.allclose(change_gain(tone(), 6.0206), 2 * tone(), atol=1e-5)
    assert within_full_scale(tone(level=0.9)).max() == tone(level=0.9).max()
    assert np.allclose(within_full_scale(tone(level=2.0)), tone(level=1.0), atol=1e-6)


# --- chance ----------------------------------------------------------------------------------


def everything(folder: Path) -> Perturbation:
    write(folder / "noise.wav", hiss(3.0))
    write(folder / "short.wav", hiss(0.1))
    write(folder / "room.wav", hiss(0.05))
    return Perturbation(
        speeds=SPEEDS,
        rooms=(folder / "room.wav",),
        noises=(folder / "noise.wav", folder / "short.wav"),
        gain=(-6.0, 6.0),
        seed=7,
    )


def test_the_same_draw_again(tmp_path: Path) -> None:
    options = everything(tmp_path)
    one, other = Perturber(options, RATE), Perturber(options, RATE)
    found = [one(tone(), f"u{n}", 2) for n in range(20)]
    again = [other(tone(), f"u{n}", 2) for n in reversed(range(20))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))
    assert all(a.dtype == np.float32 and np.abs(a).max() <= 1 for a in found)
    assert len({a.tobytes() for a in found}) == 20
    assert not np.array_equal(one(tone(), "u0", 3), found[0])
    assert not np.array_equal(Perturber(replace(options, seed=8), RATE)(tone(), "u0", 2), found[0])


def test_kinds_of_chance_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Whether there is noise does not change which speed an utterance gets."""
    both = Perturber(everything(tmp_path), RATE)
    only = Perturber(Perturbation(speeds=SPEEDS, seed=7), RATE)
    for number in range(20):
        samples = both(tone(), f"u{number}", 0)
        assert samples.shape == only(tone(), f"u{number}", 0).shape


def test_lengths_are_known_beforehand(tmp_path: Path) -> None:
    perturber = Perturber(everything(tmp_path), RATE)
    for number in range(20):
        one = utterance(f"u{number}", 0.5)
        samples = perturber(tone(), one.id, 4)
        assert samples.shape[-1] == round(perturber.seconds(one, 4) * RATE)


def test_speeds_and_odds_are_as_asked(tmp_path: Path) -> None:
    perturber = Perturber(Perturbation(speeds=SPEEDS), RATE)
    drawn = [perturber.speed(f"u{number}", 0) for number in range(3_000)]
    assert all(abs(drawn.count(speed) - 1_000) < 100 for speed in SPEEDS)
    noisy = Perturber(
        Perturbation(noises=(write(tmp_path / "n.wav", hiss()),), noise_odds=0.25), RATE
    )
    changed = [not np.array_equal(noisy(tone(0.1), f"u{n}", 0), tone(0.1)) for n in range(400)]
    assert 70 <= sum(changed) <= 130


def test_by_default_nothing_happens() -> None:
    assert np.array_equal(Perturber(Perturbation(), RATE)(tone(), "a", 0), tone())


def test_chance_is_even() -> None:
    drawn = [uniform(0, 0, f"u{number}", "test") for number in range(4_000)]
    counts, _ = np.histogram(drawn, 10, (0, 1))
    assert counts.min() > 330
    assert counts.max() < 470
    assert uniform(0, 0, "a", "one") != uniform(0, 0, "a", "two")
    assert generator(0, 0, "a", "one").random() == generator(0, 0, "a", "one").random()


# --- mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"speeds": ()},
        {"speeds": (1.0, 0.0)},
        {"room_odds": 1.5},
        {"noise_odds": float("nan")},
        {"snr": (20.0, 5.0)},
        {"gain": (0.0, float("inf"))},
        {"seed": -1},
    ],
)
def test_options_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(AsrcError, match="E1008"):
        Perturbation(**wrong)


def test_noise_that_is_not_there(tmp_path: Path) -> None:
    for options in (
        Perturbation(noises=(tmp_path / "none.wav",)),
        Perturbation(rooms=(tmp_path / "none.wav",)),
    ):
        with pytest.raises(AsrcError, match=r"E1001.*none\.wav"):
            Perturber(options, RATE)
