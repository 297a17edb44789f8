"""Codebooks for coded streams: lengths of codes, limits that hold, and what they cost."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asrc.backends.nna.codebook import fitted, snapped
from asrc.backends.nna.coding import code_counts, coded_bits
from asrc.tests.backends.nna import models
from asrc.tests.backends.nna.test_codebook import sqnr


def used(codes: np.ndarray) -> np.ndarray:
    return np.unique(codes, return_counts=True)[1]


@pytest.mark.parametrize(
    ("counts", "bits"),
    [
        ([5], 1.0),
        ([3, 3], 1.0),  # an index a bit wide
        ([8, 4, 4], 1.5),  # 0, 10, 11: the unary part ends at two
        ([4, 4, 4, 4], 2.0),  # unary would take 2.5
        ([12, 2, 1, 1], 23 / 16),  # 0, 10, 110, 1110
        ([1] * 8, 3.0),
        ([7] * 6 + [0], 16 / 6),  # one low bit, and 0, 10, 11
    ],
)
def test_lengths_of_codes(counts: list[int], bits: float) -> None:
    assert coded_bits(np.array(counts)) == pytest.approx(bits)


def plain(counts: list[int]) -> int:
    return max(1, (sum(n > 0 for n in counts) - 1).bit_length())


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=32).filter(any))
def test_no_code_is_shorter_than_its_entropy(counts: list[int]) -> None:
    shares = np.array([n for n in counts if n]) / sum(counts)
    entropy = -sum(p * log2(p) for p in shares)
    assert entropy - 1e-9 <= coded_bits(np.array(counts)) <= plain(counts)


@given(
    st.sampled_from(
        [
            (1, 0.9),
            (2, 0.9),
            (2, 1.3),
            (2, 1.7),
            (2, 1.8),
            (2, 1.95),
            (3, 2.0),
            (4, 3.0),
            (5, 3.5),
            (5, 4.0),
            (6, 4.0),
            (7, 4.5),
        ]
    ),
    st.sampled_from(["normal", "laplace", "uniform"]),
    st.sampled_from(["row", "tensor"]),
    st.integers(0, 99),
)
def test_a_limit_holds(limit: tuple[int, float], kind: str, per: str, seed: int) -> None:
    bits, coded = limit
    weight = getattr(np.random.default_rng(seed), kind)(size=(24, 192)).astype(np.float32)
    scales, book = fitted(weight, bits, per, coded)
    codes = snapped(weight, scales, book)
    bits_of = coded_bits(*code_counts(codes))
    assert bits_of <= coded + 1e-3  # in float32 a weight may be another's neighbour
    assert len(used(codes)) <= 1 << bits


@pytest.mark.parametrize("coded", [1.8, 1.95])
@pytest.mark.parametrize("inputs", [144, 200, 24])
def test_a_limit_of_two_bits_counts_the_zeros_that_fill_a_row(inputs: int, coded: float) -> None:
    weight = np.random.default_rng(2).standard_normal((64, inputs)).astype(np.float32)
    codes = snapped(weight, *fitted(weight, 2, coded=coded))
    filled = np.pad(codes, ((0, 0), (0, -inputs % 32)))
    assert coded_bits(used(filled)) <= coded + 1e-3
    assert len(used(filled)) == 4


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=32).filter(any), st.integers(0, 9999))
def test_no_code_of_runs_is_shorter_than_its_entropy(others: list[int], zeros: int) -> None:
    shares = np.array([n for n in [*others, zeros] if n]) / (sum(others) + zeros)
    entropy = -sum(p * log2(p) for p in shares)
    counts = np.array([*others, zeros])
    assert entropy - 1e-9 <= coded_bits(counts, zeros) <= coded_bits(counts)


@pytest.mark.parametrize(
    ("bits", "coded", "apart"),
    [
        (1, 0.99, 0.01),
        (1, 0.6, 0.01),
        (2, 0.99, 0.01),
        (2, 1.2, 0.03),
        (2, 1.45, 0.03),
        (3, 1.6, 0.03),
        (5, 4, 0.03),
    ],
)
def test_the_count_is_that_of_the_coder(bits: int, coded: float, apart: float) -> None:
    """Vela's own encoder takes as many bits, but for its headers."""
    codec = pytest.importorskip("ethosu.mlw_codec")
    weight = np.random.default_rng(4).laplace(size=(256, 512)).astype(np.float32)
    codes = snapped(weight, *fitted(weight, bits, coded=coded)).astype(np.int16)
    stream = 8 * len(codec.encode(codes.ravel().tolist())) / codes.size
    assert stream == pytest.approx(coded_bits(*code_counts(codes)), abs=apart)
    assert stream <= coded + 0.005


@pytest.mark.parametrize("kind", ["normal", "laplace"])
def test_at_equal_bits_it_has_less_noise_than_lloyd_max(kind: str) -> None:
    """An entropy-constrained quantiser of a Gaussian is 1 to 2 dB ahead at 4 bits (Gish and Pierce
    1968: 0.25 bits above the rate-distortion bound, Lloyd-Max 0.6 at 16 values)."""
    weight = getattr(np.random.default_rng(3), kind)(size=(64, 1024)).astype(np.float32)
    scales, book = fitted(weight, 4)
    fixed = snapped(weight, scales, book)
    bits = coded_bits(used(fixed))
    scales2, book2 = fitted(weight, 5, coded=bits)
    found = snapped(weight, scales2, book2)
    assert coded_bits(used(found)) <= bits + 1e-3
    assert sqnr(weight, found, scales2) > sqnr(weight, fixed, scales) + 0.7


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("shape", "kind"), [((16, 3), "row"), ((256, 3), "row"), ((11, 5), "tensor")]
)
@pytest.mark.parametrize("coded", [1.2, 2.0, 2.5, 3.0, 4.0])
def test_few_weights_have_no_more_noise_than_lloyd_max(
    shape: tuple[int, int], kind: str, coded: float
) -> None:
    """Many of them are the largest of their rows, and scales might run away."""
    for seed in range(8):
        weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        plain = fitted(weight, int(coded), kind, int(coded))
        scales, book = fitted(weight, 5, kind, coded)
        codes = snapped(weight, scales, book)
        assert coded_bits(*code_counts(codes)) <= coded + 1e-3
        noise = sqnr(weight, codes, np.broadcast_to(scales, len(weight)))
        least = sqnr(weight, snapped(weight, *plain), np.broadcast_to(plain[0], len(weight)))
        assert noise >= least - 1e-6


def test_a_limit_that_cannot_be_met_costs_no_signal() -> None:
    """Of plus and minus one a coded stream takes a bit each, and three values would as well."""
    weight = np.random.default_rng(0).choice(np.float32([-1, 1]), (8, 64))
    codes = snapped(weight, *fitted(weight, 1, coded=0.99))
    assert set(np.unique(codes).tolist()) == {codes.min(), -codes.min()}


def same(one: tuple[np.ndarray, np.ndarray | None], other: object) -> bool:
    assert isinstance(other, tuple)
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_loose_limit_changes_nothing() -> None:
    weight = np.random.default_rng(5).standard_normal((32, 256)).astype(np.float32)
    assert same(fitted(weight, 3), fitted(weight, 3, coded=3))


def barely_trained(shape: tuple[int, int], spread: float = 0.5) -> np.ndarray:
    """Weights that are drawn evenly and have moved a little: all centroids are as often used."""
    chance = np.random.default_rng(7)
    drawn = chance.uniform(-1, 1, shape) + spread * chance.standard_normal(shape)
    return drawn.astype(np.float32)


@pytest.mark.parametrize(("bits", "spread"), [(2, 0.5), (3, 0.25), (4, 0.25), (5, 0.25)])
def test_a_stream_with_its_headers_is_no_wider_than_the_index(bits: int, spread: float) -> None:
    """Where Lloyd-Max centroids are all as common, no code is shorter than theirs; it costs a
    little signal to make some rarer."""
    codec = pytest.importorskip("ethosu.mlw_codec")
    weight = barely_trained((256, 512), spread)
    plain, found = (
        (snapped(weight, *made), made[0])
        for made in (fitted(weight, bits, coded=bits), fitted(weight, bits))
    )
    assert coded_bits(*code_counts(plain[0])) == bits
    before, after = (
        8 * len(codec.encode(codes.astype(np.int16).ravel().tolist())) / codes.size
        for codes, _ in (plain, found)
    )
    assert after < bits < before
    assert sqnr(weight, *found) > sqnr(weight, *plain) - 1.0


@pytest.mark.parametrize(
    ("weight", "bits"),
    [
        (barely_trained((127, 512)), 4),  # few weights
        (barely_trained((512, 128), spread=9.0), 4),  # nearly normal: shorter as they are
        (barely_trained((512, 128), spread=0.0), 5),  # even: they would be as common elsewhere
        (barely_trained((512, 128)), 1),  # two values
        (barely_trained((512, 128)), 6),  # more than a stream can name
        (barely_trained((512, 136)), 1),  # of two values none may be zero
        (np.random.default_rng(0).integers(-8, 8, (512, 128)).astype(np.float32), 4),  # 16 values
    ],
)
def test_centroids_that_stay(weight: np.ndarray, bits: int) -> None:
    assert same(fitted(weight, bits), fitted(weight, bits, coded=bits))


@pytest.mark.parametrize(("bits", "costs"), [(2, 0.7), (3, 0.25), (4, 0.1), (5, 0.05)])
def test_a_value_is_zero_where_zeros_fill_a_row(bits: int, costs: float) -> None:
    """144 inputs take the room of 160; zeros would be one value more, such as a 33rd."""
    codec = pytest.importorskip("ethosu.mlw_codec")
    weight = np.random.default_rng(1).standard_normal((256, 144)).astype(np.float32)
    streams, noise = [], []
    for coded in (bits, None):
        scales, book = fitted(weight, bits, coded=coded)
        codes = snapped(weight, scales, book)
        assert len(used(codes)) == 1 << bits
        filled = np.pad(codes, ((0, 0), (0, 16))).astype(np.int16)
        streams.append(8 * len(codec.encode(filled.ravel().tolist())) / codes.size)
        noise.append(sqnr(weight, codes, scales))
    assert (codes == 0).any()
    assert streams[1] < streams[0] - 0.2
    assert noise[1] > noise[0] - costs


def test_all_tensors_of_four_values_are_held_alike() -> None:
    """Where only some were, training in integers did worse."""
    for shape in ((8, 9), (128, 144), (256, 512)):
        weight = barely_trained(shape)
        assert same(fitted(weight, 2), fitted(weight, 2, coded=1.993))
        assert not same(fitted(weight, 2), fitted(weight, 2, coded=2))


def test_zero_is_no_value_where_rows_are_whole() -> None:
    """Nor where it was not asked for, or in filters, whose rows are of several taps."""
    weight = np.random.default_rng(1).standard_normal((256, 160)).astype(np.float32)
    assert same(fitted(weight, 4), fitted(weight, 4, coded=4))
    filters, taps = weight[:, :144].reshape(256, 48, 3), weight[:, :31]
    assert same(fitted(filters, 4), fitted(filters, 4, coded=4))
    assert same(fitted(taps, 4, inputs=False), fitted(taps, 4, coded=4))
    assert not same(fitted(taps, 4), fitted(taps, 4, coded=4))


def test_a_part_of_many_weights_tells_the_stream_of_all() -> None:
    weight = barely_trained((1024, 1024))
    codes = snapped(weight, *fitted(weight, 4))
    assert coded_bits(*code_counts(codes)) < 4 - 0.005


@pytest.mark.parametrize("seed", [3, 4])
def test_a_limit_for_many_weights_costs_no_more_than_for_few(seed: int) -> None:
    """A part decides; that all take a little more is no reason for half as many values."""
    weight = np.random.default_rng(seed).standard_normal((1024, 1024)).astype(np.float32)
    scales, book = fitted(weight, 4, coded=3.5)
    codes = snapped(weight, scales, book)
    assert coded_bits(*code_counts(codes)) <= 3.5
    assert sqnr(weight, codes, scales) > 18.2


def test_which_codebooks_of_a_model_have_a_zero() -> None:
    """Of products with inputs that fill no row; a filter's taps are none."""
    found, numbers = models.quantised("ahead", bits=4)
    seen = set()
    for node in found.graph:
        if (book := numbers.get(f"{node.path}.codebook")) is None:
            continue
        weight = numbers[f"{node.path}.weight"]
        filled = node.op == "dense" and weight.shape[1] % 32 != 0
        seen.add((node.op, filled))
        if filled:
            assert 0.0 in book, node.path
        else:
            made = numbers[f"{node.path}.scale"], book
            assert same(made, fitted(weight, 4, coded=4)), node.path
    assert {("dense", True), ("depthwise", False)} <= seen
