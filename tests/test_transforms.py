"""Augmentations: settings, statistics, and randomness that is the row's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.keys import normal, uniform
from counterpoint.transforms import (
    AdditiveNoise,
    ChannelDrop,
    Equaliser,
    Flip,
    FrequencyMask,
    Jitter,
    Resample,
    Scale,
    Shift,
    TimeMask,
    Transform,
)

ALL: list[Transform] = [
    AdditiveNoise(),
    ChannelDrop(),
    Equaliser(),
    Flip(),
    FrequencyMask(),
    Jitter(),
    Resample(),
    Scale(),
    Shift(),
    TimeMask(),
]


def named(transform: Transform) -> str:
    return type(transform).__name__


def windows(rows: int, length: int = 256, channels: int = 2, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(rows, length, channels, generator=torch.Generator().manual_seed(3), dtype=dtype)


def keys(rows: int, start: int = 0) -> np.ndarray:
    return np.arange(start, start + rows, dtype=np.int64)


def test_every_transform_is_tested() -> None:
    assert {type(t) for t in ALL} == set(Transform.__subclasses__())


@pytest.mark.parametrize("transform", ALL, ids=named)
def test_a_row_depends_on_its_own_key_alone(transform: Transform) -> None:
    values, key = windows(12), keys(12, -5)
    together = transform(values, key)
    order = np.random.default_rng(0).permutation(12)
    # A mean over another memory layout may differ in its last bit, a draw may not.
    torch.testing.assert_close(transform(values[order], key[order]), together[order], rtol=1e-5, atol=1e-6)
    for row in range(12):
        alone = transform(values[row : row + 1], key[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transform", ALL, ids=named)
def test_same_key_same_result_and_input_kept(transform: Transform) -> None:
    values = windows(8)
    before = values.clone()
    first = transform(values, keys(8))
    assert torch.equal(first, transform(values, keys(8)))
    assert torch.equal(values, before)
    assert not torch.equal(first, transform(values, keys(8, 1000)))


@pytest.mark.parametrize("transform", ALL, ids=named)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(3, 257, 1), (1, 64, 3), (2, 1, 2)])
def test_shape_and_dtype_stay(transform: Transform, dtype: torch.dtype, shape: tuple[int, int, int]) -> None:
    out = transform(windows(*shape, dtype=dtype), keys(shape[0]))
    assert out.shape == shape
    assert out.dtype == dtype
    assert out.isfinite().all()
    assert out.is_contiguous()


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=6, unique=True), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_keyed_numbers_are_a_function_of_key_and_purpose(chosen: list[int], count: int) -> None:
    key = np.array(chosen, dtype=np.int64)
    drawn = uniform(key, count, "a")
    assert drawn.shape == (len(chosen), count)
    assert ((drawn > 0) & (drawn < 1)).all()
    np.testing.assert_array_equal(drawn[::-1], uniform(key[::-1], count, "a"))
    np.testing.assert_array_equal(drawn, uniform(key, count + 3, "a")[:, :count])
    longer = uniform(key, 64, "a")
    assert (longer != uniform(key, 64, "b")).mean() > 0.9
    assert (longer[0] != longer[1]).mean() > 0.9


def test_keyed_numbers_are_spread_and_uncorrelated() -> None:
    drawn = uniform(keys(2000), 64, "spread").astype(np.float64)
    counts, _ = np.histogram(drawn, bins=64, range=(0, 1))
    expected = drawn.size / 64
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert 25 < chi_square < 125  # 63 degrees of freedom: mean 63, standard deviation 11
    centred = (drawn - 0.5) * np.sqrt(12)
    limit = 5 / np.sqrt(drawn.size)
    assert abs(centred.mean()) < limit
    assert abs((centred[1:] * centred[:-1]).mean()) < limit  # neighbouring keys
    assert abs((centred[:, 1:] * centred[:, :-1]).mean()) < limit  # neighbouring numbers
    other = (uniform(keys(2000), 64, "other").astype(np.float64) - 0.5) * np.sqrt(12)
    assert abs((centred * other).mean()) < limit


def test_normal_numbers_have_the_moments_of_a_normal_distribution() -> None:
    drawn = normal(keys(500), 401, "n").double()
    assert drawn.shape == (500, 401)
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.var() - 1) < 0.02
    assert abs(drawn.pow(3).mean()) < 0.04
    assert abs(drawn.pow(4).mean() - 3) < 0.1


def test_transforms_draw_independently_of_each_other() -> None:
    ones = torch.ones(4000, 1, 1, dtype=torch.float64)
    turned = Flip(0.5)(ones, keys(4000)).flatten()
    factor = Scale(1.0, 2.0)(ones, keys(4000)).flatten()
    assert abs(np.corrcoef(turned, factor)[0, 1]) < 0.08


def test_jitter_has_the_stated_deviation() -> None:
    noise = Jitter(0.3)(torch.zeros(50, 400, 2), keys(50))
    assert noise.std() == pytest.approx(0.3, rel=0.02)


@pytest.mark.parametrize("ratio", [-5.0, 0.0, 20.0])
def test_additive_noise_has_the_stated_ratio_in_each_channel(ratio: float) -> None:
    values = windows(20, 4000, dtype=torch.float64) * torch.tensor([1.0, 50.0]) + 7.0
    noise = AdditiveNoise(ratio, ratio)(values, keys(20)) - values
    measured = 10 * torch.log10(values.var(1) / noise.var(1))
    assert measured.sub(ratio).abs().max() < 0.5


def test_additive_noise_leaves_a_silent_channel_silent() -> None:
    assert torch.equal(AdditiveNoise()(torch.zeros(2, 50, 1), keys(2)), torch.zeros(2, 50, 1))


def test_scale_and_flip_treat_a_row_alike() -> None:
    values = windows(3000, 4, dtype=torch.float64)
    factor = Scale(0.5, 2.0)(values, keys(3000)) / values
    assert torch.allclose(factor, factor[:, :1, :1])
    assert factor.min() >= 0.5
    assert factor.max() <= 2.0
    assert factor.mean() == pytest.approx(1.25, abs=0.05)
    sign = Flip(0.3)(values, keys(3000)) / values
    assert set(sign.flatten().tolist()) == {-1.0, 1.0}
    assert (sign[:, 0, 0] < 0).double().mean() == pytest.approx(0.3, abs=0.04)


def test_channel_drop_leaves_at_least_one() -> None:
    kept = ChannelDrop(0.6)(torch.ones(3000, 2, 3), keys(3000))[:, 0]
    assert kept.sum(1).min() == 1
    # Three channels each dropped with chance p, one brought back when all are: (3(1-p) + p^3) / 3 kept.
    assert kept.mean() == pytest.approx((3 * 0.4 + 0.6**3) / 3, abs=0.02)
    assert (ChannelDrop(1.0)(torch.ones(50, 2, 3), keys(50))[:, 0].sum(1) == 1).all()
    assert torch.equal(ChannelDrop(1.0)(torch.ones(5, 2, 1), keys(5)), torch.ones(5, 2, 1))


def test_time_mask_zeroes_spans_of_all_channels() -> None:
    masked = TimeMask(0.2, 1)(torch.ones(500, 100, 2), keys(500))
    assert torch.equal(masked[..., 0], masked[..., 1])
    assert ((masked[..., 0] == 0).sum(1) == 20).all()
    borders = (masked[:, 1:, 0] != masked[:, :-1, 0]).sum(1)
    assert set(borders.tolist()) <= {1, 2}
    assert (masked[:, :, 0].mean(0)[10:90] < 1).all(), "some part of the window is never masked"
    assert (TimeMask(0.3, 3)(torch.ones(99, 100, 1), keys(99)) == 0).sum(1).max() <= 30
    assert (TimeMask(1.0, 1)(torch.ones(3, 10, 1), keys(3)) == 0).all()


def test_frequency_mask_removes_the_stated_share_of_bins() -> None:
    values = windows(40, 512, dtype=torch.float64)
    before = torch.fft.rfft(values, dim=1).abs()
    after = torch.fft.rfft(FrequencyMask(0.25, 1)(values, keys(40)), dim=1).abs()
    gone = after < 1e-9
    assert (gone.sum(1) == round(0.25 * 257)).all()
    torch.testing.assert_close(after[~gone], before[~gone])


def test_equaliser_stays_within_its_gain_and_is_smooth() -> None:
    values = windows(40, 512, dtype=torch.float64)
    before = torch.fft.rfft(values, dim=1)[:, 1:-1]
    after = torch.fft.rfft(Equaliser(6.0, 5)(values, keys(40)), dim=1)[:, 1:-1]
    ratio = after / before
    assert ratio.imag.abs().max() < 1e-6
    gain = 20 * torch.log10(ratio.real)
    assert gain.abs().max() <= 6.0 + 1e-6
    assert gain.std(1).min() > 0.1
    steepest = 12.0 * np.pi / 2 * 4 / 256  # a half cosine over the whole range between two knots
    assert gain.diff(dim=1).abs().max() <= steepest * 1.01
    assert not torch.allclose(gain[..., 0], gain[..., 1])
    torch.testing.assert_close(Equaliser(0.0)(values, keys(40)), values)


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_resample_moves_a_tone_by_the_speed(speed: float) -> None:
    time = torch.arange(4096, dtype=torch.float64)
    tone = torch.sin(2 * np.pi * 0.01 * time)[None, :, None]
    played = Resample(speed, speed)(tone, keys(1))
    expected = torch.sin(2 * np.pi * 0.01 * speed * time)[None, :, None]
    inside = int(4095 / max(speed, 1.0))
    assert (played - expected)[:, :inside].abs().max() < 1e-3


def test_resample_draws_speeds_in_its_range() -> None:
    ramp = torch.arange(101, dtype=torch.float64)[None, :, None].repeat(2000, 1, 1)
    speeds = Resample(0.8, 1.0)(ramp, keys(2000))[:, 100, 0] / 100
    assert speeds.min() >= 0.8 - 1e-6
    assert speeds.max() <= 1.0
    assert speeds.mean() == pytest.approx(0.9, abs=0.01)


def test_shift_is_circular_and_reaches_every_offset() -> None:
    values = windows(400, 16)
    moved = Shift()(values, keys(400))
    offsets = set()
    for before, after in zip(values, moved, strict=True):
        fits = [o for o in range(16) if torch.equal(torch.roll(before, o, 0), after)]
        assert len(fits) == 1
        offsets.update(fits)
    assert offsets == set(range(16))
    assert torch.equal(Shift(0.0)(values, keys(400)), values)


@pytest.mark.parametrize(
    ("make", "named_value"),
    [
        (lambda: Jitter(-0.1), "std is -0.1"),
        (lambda: Jitter(float("nan")), "std is nan"),
        (lambda: AdditiveNoise(20, 10), "low 20 to high 10"),
        (lambda: AdditiveNoise(0, float("inf")), "high inf"),
        (lambda: Scale(0.0, 1.0), "low is 0.0"),
        (lambda: Scale(2.0, 1.0), "low 2.0"),
        (lambda: Flip(1.5), "probability is 1.5"),
        (lambda: ChannelDrop(-1), "probability is -1"),
        (lambda: TimeMask(1.1), "share is 1.1"),
        (lambda: TimeMask(0.1, 0), "spans is 0"),
        (lambda: FrequencyMask(-0.1), "share is -0.1"),
        (lambda: Equaliser(-1.0), "gain_db is -1.0"),
        (lambda: Equaliser(1.0, 1), "knots is 1"),
        (lambda: Resample(0.0, 1.0), "low is 0.0"),
        (lambda: Resample(1.0, 3.0), "high is 3.0"),
        (lambda: Shift(2.0), "share is 2.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make: object, named_value: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=named_value):
        make()
