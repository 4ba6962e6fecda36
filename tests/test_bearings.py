"""The simulated bearings: closed-form rates, the rate in the signal, determinism, the layout, the difficulty."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoint.data.synthetic.bearings import (
    FAULTS,
    SKF_6205,
    Bearing,
    Geometry,
    draw_bearing,
    generate,
    simulate_recording,
)
from counterpoint.data.tables import VIBRATION_COLUMNS, check_unique, match, read_table
from counterpoint.data.vibration.hdf5 import Hdf5Signals

RATE, SECONDS, RPM = 12_000.0, 8.0, 1797.0


def test_orders_of_published_bearings() -> None:
    """Multiples of the shaft's rate that the CWRU Bearing Data Center gives for its two bearings."""
    fan_end = Geometry(balls=8, ball_diameter=0.2656, pitch_diameter=1.122)  # SKF 6203
    drive, fan = SKF_6205.orders, fan_end.orders
    assert (drive.inner, drive.outer) == pytest.approx((5.4152, 3.5848), abs=1e-4)
    assert drive.ball == pytest.approx(4.7135, abs=1e-3)
    assert drive.cage == pytest.approx(0.39828, abs=1e-4)
    assert (fan.inner, fan.outer, fan.ball, fan.cage) == pytest.approx((4.9469, 3.0530, 3.9874, 0.3817), abs=2e-3)


@pytest.mark.parametrize("angle", [0.0, 15.0, 40.0])
def test_orders_agree_with_each_other(angle: float) -> None:
    orders = Geometry(balls=12, ball_diameter=7.0, pitch_diameter=40.0, contact_angle=angle).orders
    assert orders.outer + orders.inner == pytest.approx(12)  # a ball passes one race or the other
    assert orders.outer == pytest.approx(12 * orders.cage)


@pytest.mark.parametrize(("balls", "ball", "pitch"), [(0, 1.0, 2.0), (8, 2.0, 2.0), (8, 0.0, 2.0)])
def test_impossible_geometry(balls: int, ball: float, pitch: float) -> None:
    with pytest.raises(ValueError, match="diameter"):
        Geometry(balls, ball, pitch)


def envelope_spectrum(x: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequency and magnitude of the envelope of the band from ``low`` to ``high`` Hz, averaged over seconds."""
    spectrum = np.fft.fft(x)
    frequency = np.fft.fftfreq(len(x), 1 / RATE)
    spectrum[(frequency < low) | (frequency > high)] = 0.0
    envelope = np.abs(np.fft.ifft(2 * spectrum))
    second = min(int(RATE), len(x))
    parts = [envelope[start : start + second] for start in range(0, len(x) - second + 1, second // 2)]
    magnitudes = [np.abs(np.fft.rfft((part - part.mean()) * np.hanning(second))) for part in parts]
    return np.fft.rfftfreq(second, 1 / RATE), np.mean(magnitudes, axis=0)


@pytest.mark.parametrize("fault", ["inner", "outer", "ball"])
@pytest.mark.parametrize("seed", range(5))
def test_envelope_peaks_at_the_rate_of_the_fault(fault: str, seed: int) -> None:
    bearing = Bearing(fault, strikes_db=6.0, resonance=2500.0 + 500.0 * seed, damping=0.05, slip=0.01)  # type: ignore[arg-type]
    x = simulate_recording(bearing, rpm=RPM, load=0, seconds=SECONDS, rate=RATE, seed=seed)[:, 0].astype(float)
    frequency, magnitude = envelope_spectrum(x, bearing.resonance - 800, bearing.resonance + 800)
    expected = getattr(SKF_6205.orders, fault) * RPM / 60
    band = frequency > 40  # above the shaft and the cage, which modulate
    peak = frequency[band][np.argmax(magnitude[band])]
    assert abs(peak - expected) <= 1.0  # one bin
    others = {SKF_6205.orders._asdict()[name] * RPM / 60 for name in ("inner", "outer", "ball") if name != fault}
    assert all(abs(peak - other) > 5 for other in others)


def test_sound_bearing_has_no_rate() -> None:
    """Nothing stands out at any of the rates, though it knocks and rings as loudly as a faulty one."""
    rates = [order * RPM / 60 for order in SKF_6205.orders[:3]]
    for seed in range(4):
        sound = Bearing("normal", strikes_db=6.0, knocks_db=6.0)
        x = simulate_recording(sound, rpm=RPM, load=0, seconds=SECONDS, rate=RATE, seed=seed)[:, 0].astype(float)
        frequency, magnitude = envelope_spectrum(x, 2200, 3800)
        floor = np.median(magnitude[(frequency > 40) & (frequency < 300)])
        assert max(magnitude[np.abs(frequency - rate) <= 1.0].max() for rate in rates) < 2 * floor


def test_power_is_as_asked() -> None:
    """Strikes of +10 dB make eleven times the power of the noise, and each hp a decibel more."""

    def power(fault: str, load: int) -> float:
        bearing = Bearing(fault, strikes_db=10.0, knocks_db=-60.0, noise=1.0)  # type: ignore[arg-type]
        x = simulate_recording(bearing, rpm=RPM, load=load, seconds=20.0, rate=RATE, seed=3)[:, 0].astype(float)
        spectrum = np.abs(np.fft.rfft(x)) ** 2
        spectrum[np.fft.rfftfreq(len(x), 1 / RATE) < 200] = 0.0  # the shaft
        return float(spectrum.sum() / len(x) ** 2 * 2)

    assert power("outer", 0) / power("normal", 0) == pytest.approx(11, rel=0.05)
    assert power("outer", 3) / power("normal", 3) == pytest.approx(1 + 10**1.3, rel=0.05)


def test_recording_is_a_function_of_its_arguments() -> None:
    bearing = draw_bearing("inner", 2, np.random.default_rng(0), RATE)

    def record(seed: int, rpm: float = RPM) -> np.ndarray:
        return simulate_recording(bearing, rpm=rpm, load=1, seconds=0.5, rate=RATE, seed=seed)

    assert record(1).shape == (6000, 1)
    assert record(1).dtype == np.float32
    np.testing.assert_array_equal(record(1), record(1))
    assert not np.array_equal(record(1), record(2))
    assert not np.array_equal(record(1), record(1, 1750.0))


def test_resonance_must_fit_the_rate() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        simulate_recording(Bearing("outer", 0.0), rpm=RPM, load=0, seconds=1.0, rate=5000.0, seed=0)


def test_fleet(tmp_path: Path) -> None:
    folder = generate(tmp_path / "a", seed=5, bearings=9, loads=(0, 3), seconds=0.5)
    table = read_table(folder / "metadata.csv")
    check_unique(table, "Id")
    assert {"Id", "Label", "Domain_id", "Sample_rate", "Sample_length"} <= match(table, VIBRATION_COLUMNS).keys()
    assert len(table) == 18
    assert table.columns["Name"] == ["simulated bearings"] * 18
    assert set(table.columns["Label"]) == set(FAULTS)
    assert table.columns["Domain_id"] == [0, 3] * 9
    by_bearing: dict[object, set[object]] = {}
    for bearing, label in zip(table.columns["bearing"], table.columns["Label"], strict=True):
        by_bearing.setdefault(bearing, set()).add(label)
    assert len(by_bearing) == 9
    assert all(len(labels) == 1 for labels in by_bearing.values())
    signals = Hdf5Signals(folder / "signals.h5")
    assert {signals.shape(key) for key in signals.keys()} == {(6000, 1)}  # noqa: SIM118
    assert all(signals.scan(key) == "" for key in signals.keys())  # noqa: SIM118

    again = generate(tmp_path / "b", seed=5, bearings=9, loads=(0, 3), seconds=0.5)
    other = generate(tmp_path / "c", seed=6, bearings=9, loads=(0, 3), seconds=0.5)
    assert (again / "metadata.csv").read_bytes() == (folder / "metadata.csv").read_bytes()
    same = Hdf5Signals(again / "signals.h5").read("7", 0, 6000)
    np.testing.assert_array_equal(same, signals.read("7", 0, 6000))
    assert not np.array_equal(Hdf5Signals(other / "signals.h5").read("7", 0, 6000), same)


def test_fleet_wants_every_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a bearing of each class"):
        generate(tmp_path / "a", bearings=3)
    with pytest.raises(ValueError, match="a load at least"):
        generate(tmp_path / "a", loads=())


@pytest.mark.nightly
def test_fleet_is_hard_but_not_hopeless(tmp_path: Path) -> None:
    """On bearings never seen: spectral bands alone are near chance, the envelope helps, neither saturates."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.metrics import f1_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    folder = generate(tmp_path / "a")
    table, signals = read_table(folder / "metadata.csv"), Hdf5Signals(folder / "signals.h5")
    bands, envelopes, labels, groups = [], [], [], []
    for row, key in enumerate(table.columns["Id"]):
        for start in range(0, 48_000 - 4096, 12_000):
            x = signals.read(str(key), start, 4096)[:, 0].astype(float)
            x = (x - x.mean()) / x.std()
            power = np.abs(np.fft.rfft(x * np.hanning(4096))) ** 2
            bands.append([np.log(part.mean()) for part in np.array_split(power[1:], 32)])
            frequency, magnitude = envelope_spectrum(x, 1000, 5900)
            kept = magnitude[(frequency > 5) & (frequency < 345)]
            envelopes.append(kept / kept.sum())
            labels.append(table.columns["Label"][row])
            groups.append(table.columns["bearing"][row])
    folds = StratifiedGroupKFold(6, shuffle=True, random_state=0)
    scores = [
        f1_score(labels, cross_val_predict(forest, np.asarray(x), labels, groups=groups, cv=folds), average="macro")
        for x in (bands, envelopes)
        for forest in [RandomForestClassifier(100, random_state=0)]
    ]
    assert scores[0] < 0.5
    assert 0.55 < scores[1] < 0.95
