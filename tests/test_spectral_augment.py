"""Augmentations of scans: a function of the generator, in their order, each against what it says it does."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterpoint import config
from counterpoint.data.spectra.augment import (
    AxisWarp,
    BaselineDrift,
    Broadening,
    Gain,
    ScanMix,
    SpanMask,
    SpectralAugmentation,
    SpectralNoise,
    augmented,
)

Float = NDArray[np.float64]

EVERY: list[SpectralAugmentation] = [
    SpectralNoise(),
    BaselineDrift(),
    Gain(),
    AxisWarp(),
    Broadening(),
    SpanMask(),
    ScanMix(),
]
STILL: list[SpectralAugmentation] = [
    SpectralNoise(std=0),
    BaselineDrift(offset=0, slope=0, curvature=0),
    Gain(low=1, high=1),
    AxisWarp(shift=0, stretch=0),
    Broadening(most=0),
    SpanMask(share=0),
    ScanMix(most=0),
]
AXIS: Float = np.linspace(400.0, 1200.0, 201)


def band(centre: float, width: float = 20.0) -> Float:
    found: Float = np.exp(-0.5 * ((AXIS - centre) / width) ** 2)
    return found


def scans(count: int = 5, seed: int = 0) -> Float:
    rng = np.random.default_rng(seed)
    return rng.uniform(0.5, 2.0, (count, 3)) @ np.stack([band(560), band(800, 30), band(1010, 12)]) + rng.normal(
        size=(count, 1)
    )


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda augmentation: type(augmentation).__name__)
def test_every_one_is_a_function_of_the_generator(augmentation: SpectralAugmentation) -> None:
    values = scans()
    before, state = values.copy(), np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (augmentation(values, AXIS, chance(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(first, values)
    assert first.shape == values.shape
    assert first.dtype == np.float64
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("augmentation", STILL, ids=lambda augmentation: type(augmentation).__name__)
def test_of_no_size_it_changes_nothing(augmentation: SpectralAugmentation) -> None:
    np.testing.assert_allclose(augmentation(scans(), AXIS, chance()), scans(), atol=1e-12)


@pytest.mark.parametrize("augmentation", EVERY, ids=lambda augmentation: type(augmentation).__name__)
def test_one_scan_is_enough_and_a_flat_one_stays_finite(augmentation: SpectralAugmentation) -> None:
    assert augmentation(scans(1), AXIS, chance()).shape == (1, 201)
    assert np.isfinite(augmentation(np.zeros((2, 201)), AXIS, chance())).all()
    assert augmentation(scans(2)[:, :5], AXIS[:5], chance()).shape == (2, 5)


@pytest.mark.parametrize("augmentation", [*EVERY, *STILL], ids=str)
def test_a_recipe_can_name_it_and_write_it_back(augmentation: SpectralAugmentation) -> None:
    plain = yaml.safe_load(config.dump(augmentation))
    assert config.load(plain, SpectralAugmentation) == augmentation  # type: ignore[type-abstract]


def test_they_come_in_their_order_and_draw_one_after_the_other() -> None:
    values, generator = scans(), chance(7)
    expected = Gain()(BaselineDrift()(values, AXIS, generator), AXIS, generator)
    np.testing.assert_array_equal(augmented([BaselineDrift(), Gain()], values, AXIS, chance(7)), expected)
    assert not np.allclose(augmented([Gain(), BaselineDrift()], values, AXIS, chance(7)), expected)
    np.testing.assert_array_equal(augmented([], values, AXIS, chance()), values)
    assert augmented(EVERY, values[:0], AXIS, chance()).shape == (0, 201)


def test_noise_has_the_size_of_each_scan() -> None:
    values = np.concatenate([scans(1), 100.0 * scans(1)])
    added = np.concatenate([SpectralNoise(std=0.1)(values, AXIS, chance(seed)) - values for seed in range(100)], 1)
    np.testing.assert_allclose(added.std(1), 0.1 * values.std(1), rtol=0.03)
    assert abs(np.corrcoef(added)[0, 1]) < 0.03


def test_drift_is_a_parabola_whose_parts_have_their_sizes() -> None:
    values = scans(1)
    uneven = 400.0 + 800.0 * np.linspace(0, 1, 201) ** 1.5
    along = (uneven - 800.0) / 400.0
    settings_ = BaselineDrift(offset=0.3, slope=0.2, curvature=0.1)
    parts = []
    for seed in range(400):
        added = (settings_(values, uneven, chance(seed)) - values)[0] / values.std()
        fit = np.polynomial.legendre.legfit(along, added, 2)
        np.testing.assert_allclose(np.polynomial.legendre.legval(along, fit), added, atol=1e-9)
        parts.append(fit)
    np.testing.assert_allclose(np.std(parts, 0), [0.3, 0.2, 0.1], rtol=0.15)


def test_gain_is_a_factor_between_its_ends() -> None:
    values = scans(200)
    ratio = Gain(low=0.5, high=2.0)(values, AXIS, chance()) / values
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape))
    assert 0.5 <= ratio.min() < 0.55
    assert 1.85 < ratio.max() <= 2.0
    assert abs(np.log(ratio[:, 0]).mean()) < 0.1


def test_a_warp_moves_bands_by_less_than_a_point_and_all_scans_alike() -> None:
    values = np.stack([band(600), band(800), band(1000)])
    moved, shifts = [], []
    for seed in range(60):
        warped = AxisWarp(shift=3.0, stretch=0.005)(values, AXIS, chance(seed))
        centres = (warped * AXIS).sum(1) / warped.sum(1)
        shift, stretch = np.polyfit([-200.0, 0.0, 200.0], centres - [600.0, 800.0, 1000.0], 1)[::-1]
        assert abs(shift) <= 3.0 + 1e-6
        assert abs(stretch) <= 0.005 + 1e-6
        np.testing.assert_allclose(centres, 800.0 + shift + (1 + stretch) * np.array([-200.0, 0.0, 200.0]), atol=1e-4)
        np.testing.assert_allclose(warped.max(1), 1.0, atol=6e-3)  # a top may fall between two points
        moved.append(abs(shift))
        shifts.append(shift)
    assert min(moved) < 1.0 < max(moved)
    assert min(shifts) < 0 < max(shifts)


def test_beyond_its_ends_a_scan_holds() -> None:
    values = np.linspace(1.0, 2.0, 201)[None]
    warped = AxisWarp(shift=40.0, stretch=0.0)(values, AXIS, chance(3))
    assert warped.min() >= 1.0 - 1e-9
    assert warped.max() <= 2.0 + 1e-9
    assert (np.diff(warped[0]) == 0.0).any()


def test_broadening_adds_to_the_width_and_keeps_the_area() -> None:
    widths = []
    for seed in range(40):
        broad = Broadening(most=30.0)(band(800)[None], AXIS, chance(seed))[0]
        assert broad.sum() == pytest.approx(band(800).sum(), rel=1e-6)
        widths.append(float(np.sqrt(((AXIS - 800.0) ** 2 * broad).sum() / broad.sum())))
    assert min(widths) >= 20.0 - 1e-3
    assert max(widths) <= np.hypot(20.0, 30.0) * 1.02
    assert max(widths) > 32.0


def test_spans_are_bridged_in_all_scans_alike() -> None:
    values = scans(4) + np.random.default_rng(0).normal(size=(4, 201))
    for seed in range(30):
        masked = SpanMask(share=0.2, spans=2)(values, AXIS, chance(seed))
        hidden = (masked != values).any(0)
        np.testing.assert_array_equal(hidden, (masked != values).all(0))
        assert 20 <= hidden.sum() <= 40
        assert not hidden[[0, -1]].any()
        edges = np.flatnonzero(np.diff(np.concatenate([[0], hidden, [0]])))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            bridge = masked[:, start - 1 : stop + 1]
            np.testing.assert_allclose(np.diff(bridge, 2, axis=1), 0.0, atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 7), st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_mixed_scans_are_convex_combinations_of_two(count: int, most: float, seed: int) -> None:
    weights = ScanMix(most=most)(np.eye(count, 9), np.arange(9.0), chance(seed))[:, :count]
    np.testing.assert_allclose(weights.sum(1), 1.0)
    assert (weights >= 0).all()
    assert ((weights > 0).sum(1) <= 2).all()
    assert (np.diag(weights) >= 1.0 - most - 1e-12).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 6), st.integers(8, 60), st.integers(0, 2**63), st.permutations(EVERY))
def test_any_order_on_any_shape_stays_finite(
    count: int, width: int, seed: int, order: list[SpectralAugmentation]
) -> None:
    axis = np.cumsum(np.random.default_rng(width).uniform(0.5, 4.0, width))
    values = np.random.default_rng(count).normal(size=(count, width))
    one, again = (augmented(order, values, axis, chance(seed)) for _ in range(2))
    assert one.shape == (count, width)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, again)


def test_equal_keys_give_equal_scans_whatever_was_drawn_before() -> None:
    draws = [augmented(EVERY, scans(), AXIS, chance(seed)) for seed in (5, 6, 5)]
    np.testing.assert_array_equal(draws[0], draws[2])
    assert all(not np.allclose(one, other) for one, other in pairwise(draws))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectralNoise(std=-0.1), "std is -0.1"),
        (lambda: BaselineDrift(slope=-1), "slope is -1"),
        (lambda: Gain(low=0), "0 < low <= high"),
        (lambda: Gain(low=2, high=1), "0 < low <= high"),
        (lambda: AxisWarp(shift=-1), "shift is -1"),
        (lambda: AxisWarp(stretch=0.6), "stretch is 0.6; it must lie from 0 to 0.5"),
        (lambda: Broadening(most=float("nan")), "most is nan"),
        (lambda: SpanMask(share=1.5), "share is 1.5"),
        (lambda: SpanMask(spans=0), "one at least"),
        (lambda: ScanMix(most=1.1), "most is 1.1"),
    ],
)
def test_settings_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
