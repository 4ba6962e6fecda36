"""Pretreatments against scipy, the library's own classes and naive formulas; what they learn, and refuse."""

from __future__ import annotations

import pickle
import sys
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.interpolate import CubicSpline
from scipy.signal import savgol_filter
from scipy.sparse.linalg import spsolve

from counterpoint import config
from counterpoint.data.spectra.pretreatment import (
    EMSC,
    MSC,
    RNV,
    SNV,
    Baseline,
    Crop,
    Interpolate,
    Normalise,
    Pretreatment,
    PrincipalComponents,
    SavitzkyGolay,
    Smooth,
    Standardise,
    chain,
    flat,
)

Float = NDArray[np.float64]

EVERY: list[Pretreatment] = [
    Crop(low=500, high=900),
    Interpolate(start=450, stop=1150, step=7.5),
    Interpolate(start=450, stop=1150, step=7.5, method="linear"),
    Interpolate(start=450, stop=1150, step=7.5, method="pchip"),
    Baseline(),
    Baseline(method="airpls", smoothness=1e4),
    Baseline(method="arpls", iterations=10),
    Baseline(method="polynomial", order=3),
    Baseline(method="linear"),
    Baseline(method="rubberband"),
    SavitzkyGolay(),
    SavitzkyGolay(window=15, order=3, derivative=2),
    Smooth(),
    Smooth(method="median", window=7),
    SNV(),
    RNV(),
    MSC(),
    EMSC(),
    Standardise(),
    Standardise(each="scan"),
    Standardise(each="whole"),
    PrincipalComponents(count=5),
    PrincipalComponents(count=3, scores="plain"),
    Normalise(how="max"),
    Normalise(how="area"),
    Normalise(how="vector"),
    Normalise(how="minmax"),
]
AXIS: Float = np.linspace(400.0, 1200.0, 161)


def scans(count: int = 12, seed: int = 0, axis: Float = AXIS) -> Float:
    """Four bands of varying heights on a slope and an offset, with noise."""
    rng = np.random.default_rng(seed)
    bands = np.exp(-0.5 * ((axis - np.array([[520.0], [700.0], [860.0], [1010.0]])) / 18.0) ** 2)
    heights = rng.uniform(1.0, 3.0, (count, 4))
    along = (axis - axis[0]) / (axis[-1] - axis[0])
    under = rng.uniform(2.0, 5.0, (count, 1)) - rng.uniform(0.0, 2.0, (count, 1)) * along
    values: Float = rng.uniform(0.5, 2.0, (count, 1)) * (heights @ bands + under)
    return values + 0.02 * rng.normal(size=values.shape)


@pytest.mark.parametrize("pretreatment", EVERY, ids=str)
def test_every_one_keeps_the_contract(pretreatment: Pretreatment) -> None:
    values, new = scans(), scans(5, seed=1)
    before = values.copy(), new.copy()
    fitted = pretreatment.fit(values, AXIS)
    treated = fitted.apply(new)
    assert treated.shape == (5, len(fitted.axis))
    assert treated.dtype == np.float64
    assert np.isfinite(treated).all()
    assert (np.diff(fitted.axis) > 0).all()
    assert fitted.apply(new[:0]).shape == (0, len(fitted.axis))
    np.testing.assert_array_equal(values, before[0])
    np.testing.assert_array_equal(new, before[1])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).apply(new), treated)
    singly = np.concatenate([fitted.apply(new[row : row + 1]) for row in range(5)])
    np.testing.assert_allclose(singly, treated, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("pretreatment", EVERY, ids=str)
def test_only_those_that_learn_depend_on_the_training_scans(pretreatment: Pretreatment) -> None:
    new = scans(4, seed=9)
    one, other = (pretreatment.fit(scans(10, seed=seed), AXIS).apply(new) for seed in (1, 2))
    same = np.array_equal(one, other)
    assert same == (not pretreatment.learns or pretreatment == Standardise(each="scan"))


@pytest.mark.parametrize("pretreatment", EVERY, ids=str)
def test_a_recipe_can_name_it_and_write_it_back(pretreatment: Pretreatment) -> None:
    plain = yaml.safe_load(config.dump(pretreatment))
    assert config.load(plain, Pretreatment) == pretreatment  # type: ignore[type-abstract]


def test_savitzky_golay_is_scipys_and_the_librarys() -> None:
    from chemotools.derivative import SavitzkyGolay as Theirs

    values = scans()
    ours = SavitzkyGolay(window=13, order=3, derivative=1).fit(values, AXIS).apply(values)
    np.testing.assert_allclose(ours, savgol_filter(values, 13, 3, deriv=1, axis=1, mode="interp"), atol=1e-12)
    theirs = Theirs(window_length=13, polyorder=3, deriv=1, mode="interp").fit_transform(values)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_a_derivative_is_that_of_a_polynomial_to_the_last_point() -> None:
    place = np.arange(len(AXIS), dtype=np.float64)
    cubic = (2.0 - 0.3 * place + 0.01 * place**2 - 1e-4 * place**3)[None]
    for derivative, expected in ((0, cubic[0]), (1, -0.3 + 0.02 * place - 3e-4 * place**2), (2, 0.02 - 6e-4 * place)):
        fitted = SavitzkyGolay(window=9, order=3, derivative=derivative).fit(cubic, AXIS)
        np.testing.assert_allclose(fitted.apply(cubic)[0], expected, atol=1e-8)


def test_interpolation_is_scipys_and_takes_both_ends() -> None:
    values = scans()
    fitted = Interpolate(start=400, stop=1200, step=3.2).fit(values, AXIS)
    np.testing.assert_allclose(fitted.axis, np.linspace(400, 1200, 251))
    expected = np.stack([CubicSpline(AXIS, row)(fitted.axis) for row in values])
    np.testing.assert_allclose(fitted.apply(values), expected, atol=1e-12)
    linear = Interpolate(start=401, stop=1199, step=1, method="linear").fit(values, AXIS)
    expected = np.stack([np.interp(linear.axis, AXIS, row) for row in values])
    np.testing.assert_allclose(linear.apply(values), expected, atol=1e-12)
    same = Interpolate(start=400, stop=1200, step=5).fit(values, AXIS)
    np.testing.assert_allclose(same.apply(values), values, atol=1e-12)


def test_steps_in_decimals_lose_no_point() -> None:
    axis = np.linspace(0.0, 1.0, 50)
    values = np.sin(6 * axis)[None]
    for step, count in ((0.1, 11), (0.05, 21), (0.3, 4)):
        assert len(Interpolate(start=0, stop=1, step=step).fit(values, axis).axis) == count


def test_a_crop_keeps_both_ends() -> None:
    fitted = Crop(low=500, high=600).fit(scans(), AXIS)
    np.testing.assert_array_equal(fitted.axis, np.arange(500.0, 601.0, 5.0))
    values = scans()
    np.testing.assert_array_equal(fitted.apply(values), values[:, (AXIS >= 500) & (AXIS <= 600)])


def test_snv_is_its_formula_and_standardising_scans_is_the_same() -> None:
    values = scans()
    expected = (values - values.mean(1, keepdims=True)) / values.std(1, keepdims=True)
    np.testing.assert_allclose(SNV().fit(values, AXIS).apply(values), expected, atol=1e-12)
    np.testing.assert_allclose(Standardise(each="scan").fit(values, AXIS).apply(values), expected, atol=1e-12)


def test_rnv_is_its_formula() -> None:
    values = scans()
    expected = np.empty_like(values)
    for row, scan in enumerate(values):
        point = np.percentile(scan, 30)
        expected[row] = (scan - point) / scan[scan <= point].std()
    np.testing.assert_allclose(RNV(percentile=30).fit(values, AXIS).apply(values), expected, rtol=1e-9)


@pytest.mark.parametrize("reference", ["mean", "median"])
def test_msc_is_a_line_on_the_reference_of_the_training_scans(reference: Any) -> None:
    from chemotools.scatter import MultiplicativeScatterCorrection

    values, new = scans(), scans(3, seed=4)
    middle = values.mean(0) if reference == "mean" else np.median(values, 0)
    expected = np.empty_like(new)
    for row, scan in enumerate(new):
        slope, offset = np.polyfit(middle, scan, 1)
        expected[row] = (scan - offset) / slope
    ours = MSC(reference=reference).fit(values, AXIS).apply(new)
    np.testing.assert_allclose(ours, expected, rtol=1e-7)
    np.testing.assert_allclose(ours, MultiplicativeScatterCorrection(method=reference).fit(values).transform(new))


def test_emsc_undoes_scale_and_polynomial() -> None:
    values = scans()
    middle, along = values.mean(0), np.linspace(-1, 1, len(AXIS))
    made = np.array([[2.0], [0.3]]) * middle + np.array([[1.0], [-4.0]]) + np.array([[3.0], [0.5]]) * along**2 - along
    fitted = EMSC(order=2).fit(values, AXIS)
    np.testing.assert_allclose(fitted.apply(made), np.stack([middle, middle]), atol=1e-9)


def test_standardised_points_have_the_scale_of_the_training_scans() -> None:
    values, new = scans(30), scans(3, seed=1)
    expected = (new - values.mean(0)) / values.std(0)
    np.testing.assert_allclose(Standardise().fit(values, AXIS).apply(new), expected, rtol=1e-9)
    values[:, 7] = 4.0
    np.testing.assert_allclose(Standardise().fit(values, AXIS).apply(new)[:, 7], new[:, 7] - 4.0)


def test_sizes_are_one() -> None:
    uneven = np.sort(np.random.default_rng(0).uniform(400, 1200, 80))
    values = scans(axis=uneven) - 4.0
    treated = {how: Normalise(how=how).fit(values, uneven).apply(values) for how in ("max", "area", "vector", "minmax")}  # type: ignore[arg-type]
    np.testing.assert_allclose(np.abs(treated["max"]).max(1), 1.0)
    np.testing.assert_allclose(np.trapezoid(np.abs(treated["area"]), uneven, axis=1), 1.0)
    np.testing.assert_allclose((treated["vector"] ** 2).sum(1), 1.0)
    np.testing.assert_allclose(treated["minmax"].min(1), 0.0, atol=1e-12)
    np.testing.assert_allclose(treated["minmax"].max(1), 1.0)
    for how in ("max", "area", "vector"):
        ratio = treated[how] / values
        np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-9)


def naive_asls(scan: Float, smoothness: float, asymmetry: float, steps: int) -> Float:
    """Eilers and Boelens, as published."""
    count = len(scan)
    second = sparse.diags([1.0, -2.0, 1.0], [0, 1, 2], shape=(count - 2, count))
    penalty = smoothness * (second.T @ second)
    weights = np.ones(count)
    for _ in range(steps):
        line = spsolve((sparse.diags(weights) + penalty).tocsc(), weights * scan)
        weights = np.where(scan > line, asymmetry, 1.0 - asymmetry)
    found: Float = scan - line
    return found


def test_asls_is_the_published_one_whatever_it_was_fitted_on() -> None:
    values = scans(3, seed=5)
    fitted = Baseline(smoothness=1e4, asymmetry=0.02, iterations=30).fit(scans(2, seed=6) * 50.0, AXIS)
    expected = np.stack([naive_asls(scan, 1e4, 0.02, 30) for scan in values])
    np.testing.assert_allclose(fitted.apply(values), expected, atol=1e-8)


def test_smoothing_by_whittaker_is_its_linear_system() -> None:
    values = scans(3)
    second = np.diff(np.eye(len(AXIS)), 2, axis=0)
    expected = np.linalg.solve(np.eye(len(AXIS)) + 25.0 * second.T @ second, values.T).T
    np.testing.assert_allclose(Smooth(smoothness=25.0).fit(values, AXIS).apply(values), expected, atol=1e-9)


def test_a_median_takes_away_a_spike() -> None:
    values = np.tile(np.linspace(0.0, 1.0, len(AXIS)), (2, 1))
    spiked = values.copy()
    spiked[0, 40] += 100.0
    smoothed = Smooth(method="median").fit(spiked, AXIS).apply(spiked)
    np.testing.assert_allclose(smoothed[:, 2:-2], values[:, 2:-2], atol=0.02)


@pytest.mark.parametrize("method", ["asls", "airpls", "arpls", "rubberband"])
def test_a_baseline_leaves_the_bands(method: Any) -> None:
    bands = np.exp(-0.5 * ((AXIS - np.array([[600.0], [900.0]])) / 12.0) ** 2).sum(0)
    under = 5.0 - 2.0 * (AXIS - 400.0) / 800.0
    left = Baseline(method=method).fit((bands + under)[None], AXIS).apply((bands + under)[None])[0]
    np.testing.assert_allclose(left, bands, atol=0.08)


@pytest.mark.parametrize(("method", "order"), [("polynomial", 3), ("linear", 1)])
def test_a_polynomial_on_top_changes_nothing(method: Any, order: int) -> None:
    values = scans(4)
    along = np.linspace(-1, 1, len(AXIS))
    extra = np.polynomial.polynomial.polyval(along, np.random.default_rng(0).normal(size=order + 1))
    fitted = Baseline(method=method, order=order if method == "polynomial" else None).fit(values, AXIS)
    np.testing.assert_allclose(fitted.apply(values + extra), fitted.apply(values), atol=1e-8)


SCALE = st.floats(0.05, 50.0)
OFFSET = st.floats(-100.0, 100.0)


@settings(max_examples=30, deadline=None)
@given(SCALE, OFFSET, st.sampled_from([SNV(), RNV(), MSC(), EMSC(), Normalise(how="minmax")]))
def test_scatter_corrections_do_not_see_scale_and_offset(scale: float, offset: float, treatment: Pretreatment) -> None:
    values = scans(4)
    fitted = treatment.fit(values, AXIS)
    np.testing.assert_allclose(fitted.apply(scale * values + offset), fitted.apply(values), rtol=1e-6, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(OFFSET, st.floats(-5.0, 5.0), st.integers(1, 2))
def test_derivatives_do_not_see_offsets_nor_second_ones_slopes(offset: float, slope: float, derivative: int) -> None:
    values = scans(3)
    fitted = SavitzkyGolay(window=9, order=3, derivative=derivative).fit(values, AXIS)
    moved = values + offset + (slope * np.arange(len(AXIS)) if derivative == 2 else 0.0)
    np.testing.assert_allclose(fitted.apply(moved), fitted.apply(values), atol=1e-8)


@settings(max_examples=20, deadline=None)
@given(SCALE, st.sampled_from(["asls", "airpls", "arpls", "polynomial", "linear", "rubberband"]))
def test_baselines_go_with_the_scale(scale: float, method: Any) -> None:
    values = scans(2)
    fitted = Baseline(method=method).fit(values, AXIS)
    np.testing.assert_allclose(fitted.apply(scale * values), scale * fitted.apply(values), rtol=1e-3, atol=scale * 1e-3)


def test_a_flat_scan_becomes_zeros() -> None:
    values = scans(6)
    values[2] = 0.1
    assert flat(values).tolist() == [False, False, True, False, False, False]
    for treatment in (SNV(), RNV(), MSC(), EMSC(), Normalise(how="minmax"), Standardise(each="scan")):
        treated = treatment.fit(values, AXIS).apply(values)
        np.testing.assert_array_equal(treated[2], 0.0)
        others = treatment.fit(values, AXIS).apply(values[[0, 1, 3, 4, 5]])
        np.testing.assert_allclose(np.delete(treated, 2, 0), others, rtol=1e-9)
    np.testing.assert_array_equal(Normalise().fit(values, AXIS).apply(0.0 * values), 0.0)


def test_a_chain_is_its_steps_in_their_order_fitted_on_the_training_scans_alone() -> None:
    train, test = scans(20), scans(6, seed=3)
    steps = [Crop(low=450, high=1150), SNV(), SavitzkyGolay(window=7, order=2, derivative=1), MSC(), Standardise()]
    fitted = chain(steps, train, AXIS)
    seen = train[:, (AXIS >= 450) & (AXIS <= 1150)]
    seen = (seen - seen.mean(1, keepdims=True)) / seen.std(1, keepdims=True)
    seen = savgol_filter(seen, 7, 2, deriv=1, axis=1)
    middle = seen.mean(0)
    lines = np.stack([np.polyfit(middle, row, 1) for row in seen])
    seen = (seen - lines[:, 1:]) / lines[:, :1]
    seen = (seen - seen.mean(0)) / seen.std(0)
    np.testing.assert_allclose(fitted.apply(train), seen, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(fitted.axis, AXIS[(AXIS >= 450) & (AXIS <= 1150)])
    beside = np.concatenate([test, 1e3 * scans(4, seed=8)])
    np.testing.assert_allclose(fitted.apply(beside)[:6], fitted.apply(test), rtol=1e-9)
    back = chain(steps[::-1], train, AXIS)
    assert back.apply(test).shape == fitted.apply(test).shape
    assert not np.allclose(back.apply(test), fitted.apply(test))


def test_an_empty_chain_leaves_scans_as_they_are() -> None:
    fitted = chain([], scans(), AXIS)
    np.testing.assert_array_equal(fitted.apply(scans(2, seed=1)), scans(2, seed=1))
    np.testing.assert_array_equal(fitted.axis, AXIS)


@pytest.mark.parametrize(
    ("pretreatment", "message"),
    [
        (Crop(low=1300, high=1500), r"leaves 0 of the 161 points from 400 to 1200"),
        (Crop(low=401, high=404), r"leaves 0 of the 161 points"),
        (Interpolate(start=390, stop=1000, step=10), r"390 to 1000 lie outside the measured axis.*400 to 1200"),
        (Interpolate(start=500, stop=1300, step=10), r"500 to 1300 lie outside"),
        (SavitzkyGolay(window=163), r"window of 163 points is longer than the axis, which has 161 from 400 to 1200"),
        (Smooth(method="median", window=201), r"window of 201 points is longer"),
    ],
    ids=str,
)
def test_what_does_not_suit_the_axis(pretreatment: Pretreatment, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pretreatment.fit(scans(), AXIS)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop(low=5, high=5), "low must be the smaller"),
        (lambda: Interpolate(start=1, stop=2, step=0), "two points"),
        (lambda: Interpolate(start=1, stop=2, step=3), "two points"),
        (lambda: Baseline(method="rubberband", smoothness=10), "smoothness is 10, but the method rubberband has no"),
        (lambda: Baseline(method="asls", order=2), "order is 2, but the method asls has only smoothness, asymmetry"),
        (lambda: Baseline(smoothness=0), "above 0"),
        (lambda: Baseline(asymmetry=0.5), "between 0 and 0.5"),
        (lambda: Baseline(method="arpls", iterations=0), "one at least"),
        (lambda: Baseline(method="polynomial", order=9), "0 to 8"),
        (lambda: SavitzkyGolay(window=10), "odd"),
        (lambda: SavitzkyGolay(window=5, order=5), "below the window"),
        (lambda: SavitzkyGolay(order=2, derivative=3), "from 0 to the order, 2"),
        (lambda: Smooth(window=5), "whittaker has none"),
        (lambda: Smooth(method="median", smoothness=5), "median has none"),
        (lambda: Smooth(method="median", window=4), "odd"),
        (lambda: RNV(percentile=0), "between 0 and 100"),
        (lambda: EMSC(order=-1), "0 to 8"),
    ],
)
def test_settings_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_what_cannot_be_treated() -> None:
    values = scans()
    with pytest.raises(ValueError, match="does not ascend: point 1 at 405 is followed by 405"):
        chain([], values, np.where(AXIS == 410.0, 405.0, AXIS))
    with pytest.raises(ValueError, match="does not ascend: point 0 at 1200"):
        SNV().fit(values, AXIS[::-1])
    with pytest.raises(ValueError, match="two points at least"):
        SNV().fit(values[:, :1], AXIS[:1])
    with pytest.raises(ValueError, match="do not fit an axis of 161 points"):
        SNV().fit(values[:, 1:], AXIS)
    with pytest.raises(ValueError, match="no training scan"):
        SNV().fit(values[:0], AXIS)
    with pytest.raises(ValueError, match="no spread"):
        Standardise().fit(values[:1], AXIS)
    with pytest.raises(ValueError, match="fitted on scans of 161 points, but is given 150"):
        SNV().fit(values, AXIS).apply(values[:, :150])
    with pytest.raises(ValueError, match="mean of the training scans is flat"):
        MSC().fit(np.ones_like(values), AXIS)
    values[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"scan 3 of 12 has nan at 425 before SNV"):
        SNV().fit(values, AXIS)


def test_a_scan_without_a_scale_below_the_percentile_is_named_for_what_it_is() -> None:
    values = scans()
    values[4] = np.maximum(values[4], np.median(values[4]))
    with pytest.raises(ValueError, match="larger percentile, or SNV"):
        RNV().fit(values, AXIS).apply(values)


@pytest.mark.parametrize("treatment", [Baseline(), MSC(), EMSC(), RNV(), Smooth()], ids=str)
def test_where_the_library_is_not_installed_the_extra_is_named(
    treatment: Pretreatment, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "chemotools"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "chemotools", None)
    with pytest.raises(ValueError, match=r"pip install 'counterpoint\[spectra\]'"):
        treatment.fit(scans(), AXIS)
    assert SNV().fit(scans(), AXIS).apply(scans()).shape == (12, 161)


@pytest.mark.parametrize("treatment", [*EVERY[4:10], SNV(), MSC(), SavitzkyGolay(derivative=1)], ids=str)
def test_real_scans_come_out_finite(treatment: Pretreatment, data_root: Any) -> None:
    found = np.load(data_root / "spectra" / "saliva_covid" / "covid_dataset.npz")
    values, axis = found["spectra"][::50], found["raman_shift"]
    fitted = treatment.fit(values[:25], axis)
    assert np.isfinite(fitted.apply(values)).all()
