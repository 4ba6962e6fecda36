"""Windows from HDF5 and from the flat store; what is done to a signal on the way."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import multiprocessing
import pickle
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from counterpoint.data.ledger import fingerprint
from counterpoint.data.vibration import store as store_module
from counterpoint.data.vibration.signals import (
    SignalConfig,
    apply,
    pick_channels,
    resample,
    resampled_length,
    statistics,
    window_statistics,
)
from counterpoint.data.vibration.sources import HDF5Source, Recording, Source
from counterpoint.data.vibration.store import FlatStore, flat_store

SHAPES = {"a": (500, 2), "b": (700, 1), "c": (64, 3), "d": (901, 2)}


def write(path: Path, signals: dict[str, np.ndarray]) -> Path:
    with h5py.File(path, "w") as file:
        for key, values in signals.items():
            file.create_dataset(key, data=values, chunks=(min(100, len(values)), values.shape[1]))
    return path


def described(path: Path, signals: dict[str, np.ndarray], rate: float = 1000.0) -> list[Recording]:
    return [Recording(path, key, rate, *values.shape) for key, values in signals.items()]


@pytest.fixture
def signals() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {key: random.normal(size=shape) for key, shape in SHAPES.items()}


@pytest.fixture
def file(tmp_path: Path, signals: dict[str, np.ndarray]) -> Path:
    return write(tmp_path / "signals.h5", signals)


def stored(folder: Path, recordings: list[Recording], config: SignalConfig) -> FlatStore:
    digests = {path: fingerprint(path)["sha256"] for path in {r.file for r in recordings}}
    return flat_store(folder, recordings, config, digests)


def both(folder: Path, recordings: list[Recording], config: SignalConfig) -> list[Source]:
    return [HDF5Source(recordings, config), stored(folder, recordings, config)]


@pytest.mark.parametrize("channels", ["first", "mean", "each", "require"])
@pytest.mark.parametrize("max_length", [None, 80])
def test_both_sources_give_the_windows_a_slice_gives(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray], channels: str, max_length: int | None
) -> None:
    if channels == "require":
        signals = {key: signals[key] for key in ("a", "d")}
    expected: list[np.ndarray] = []
    for values in (v[:max_length].astype(np.float32) for v in signals.values()):
        if channels == "first":
            expected.append(values[:, :1])
        elif channels == "mean":
            expected.append(values.mean(1, keepdims=True))
        elif channels == "each":
            expected += [values[:, c : c + 1] for c in range(values.shape[1])]
        else:
            expected.append(values)
    config = SignalConfig(channels=channels, max_length=max_length)  # type: ignore[arg-type]
    random = np.random.default_rng(1)
    for source in both(tmp_path / "cache", described(file, signals), config):
        assert source.lengths.tolist() == [len(values) for values in expected]
        assert source.channels == expected[0].shape[1]
        which = random.integers(0, len(expected), 50)
        starts = (random.random(50) * (source.lengths[which] - 31 + 1)).astype(np.int64)
        windows = source.gather(which, starts, 31)
        reference = np.stack([expected[w][s : s + 31] for w, s in zip(which, starts, strict=True)])
        np.testing.assert_allclose(windows.numpy(), reference, rtol=1e-6, atol=1e-6 if channels == "mean" else 0)
        assert windows.dtype == torch.float32
        assert source.gather(which[:0], starts[:0], 31).shape == (0, 31, source.channels)
        at = np.concatenate(
            [np.full(1 if channels != "each" else v.shape[1], i) for i, v in enumerate(signals.values())]
        )
        assert source.recordings.tolist() == at.tolist()


def test_sources_agree_on_statistics_and_digests(tmp_path: Path, file: Path, signals: dict[str, np.ndarray]) -> None:
    direct, flat = both(tmp_path / "cache", described(file, signals), SignalConfig())
    assert direct.digests() == flat.digests()
    assert direct.digests()[0] == hashlib.sha256(signals["a"][:, 0].astype(np.float32).tobytes()).hexdigest()
    for kind in ("zscore", "minmax", "robust"):
        assert torch.equal(direct.statistics(kind), flat.statistics(kind))  # type: ignore[arg-type]
        assert direct.statistics(kind).shape == (2, 4, 1)  # type: ignore[arg-type]


def test_only_the_samples_of_a_window_are_read(
    file: Path, signals: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = HDF5Source(described(file, signals), SignalConfig(), scan=False)
    asked: list[tuple[str, int, int]] = []
    reader = next(iter(source._files.values()))
    read = reader.read
    monkeypatch.setattr(reader, "read", lambda *what: asked.append(what) or read(*what))
    source.gather(np.array([3, 0]), np.array([10, 20]), 5)
    assert asked == [("a", 20, 5), ("d", 10, 5)]


def test_a_store_is_made_once_and_again_for_other_data_or_processing(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray]
) -> None:
    folder, recordings = tmp_path / "cache", described(file, signals)
    stored(folder, recordings, SignalConfig())
    (path,) = folder.iterdir()
    before = path.stat().st_mtime_ns
    stored(folder, recordings, SignalConfig(normalise="robust", scope="recording"))
    assert [p.stat().st_mtime_ns for p in folder.iterdir()] == [before]
    for number, config in enumerate(
        [SignalConfig(channels="mean"), SignalConfig(max_length=60), SignalConfig(rate=500.0)], start=2
    ):
        stored(folder, recordings, config)
        assert len(list(folder.iterdir())) == number
    with h5py.File(file, "a") as opened:
        opened["a"][3, 0] = 7.0
    changed = stored(folder, recordings, SignalConfig())
    assert len(list(folder.iterdir())) == 5
    assert changed.gather(np.array([0]), np.array([3]), 1).item() == 7.0


def test_every_flipped_byte_and_every_truncation_is_found_and_the_store_made_again(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    folder, recordings = tmp_path / "cache", described(file, signals)
    stored(folder, recordings, SignalConfig())
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    random = np.random.default_rng(2)
    # Everywhere, and at each part of the trailer.
    places = [*random.integers(0, len(whole), 40).tolist(), *range(len(whole) - 48, len(whole), 5), len(whole) - 1]
    for place in places:
        flipped = bytearray(whole)
        flipped[place] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"damaged|not a whole store|not the size"):
            FlatStore(path)
        with caplog.at_level(logging.WARNING):
            stored(folder, recordings, SignalConfig())
        assert "it is made again" in caplog.messages[-1]
        assert path.read_bytes() == whole
    for length in (0, 10, 47, 48, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"damaged|not a whole store|not the size"):
            FlatStore(path)


def test_without_the_digests_a_flipped_sample_would_go_unseen(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path / "cache", described(file, signals), SignalConfig())
    (path,) = (tmp_path / "cache").iterdir()
    flipped = bytearray(path.read_bytes())
    flipped[2] ^= 64
    path.write_bytes(flipped)
    with pytest.raises(ValueError, match="signal 0 of the store is damaged"):
        FlatStore(path)
    monkeypatch.setattr(store_module, "_verify", lambda path, index: None)
    FlatStore(path)


def test_an_interrupted_build_leaves_nothing_behind(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        stored(tmp_path / "cache", described(file, signals), SignalConfig())
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(ValueError, match=r"cache: the store needs 8,660 bytes, 10 are free"):
        stored(tmp_path / "cache", described(file, signals), SignalConfig())


def _build(folder: Path, recordings: list[Recording]) -> str:
    return hashlib.sha256(stored(folder, recordings, SignalConfig()).gather(*WHERE).numpy().tobytes()).hexdigest()


WHERE = (np.array([0, 1, 3]), np.array([5, 600, 800]), 100)


def test_processes_that_build_at_once_all_get_the_whole_store(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray]
) -> None:
    recordings = described(file, signals)
    expected = hashlib.sha256(HDF5Source(recordings, SignalConfig()).gather(*WHERE).numpy().tobytes()).hexdigest()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        got = pool.starmap(_build, [(tmp_path / "cache", recordings)] * 8, chunksize=1)
    assert got == [expected] * 8
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".store"]


def test_a_store_travels_by_its_path(tmp_path: Path, file: Path, signals: dict[str, np.ndarray]) -> None:
    store = stored(tmp_path / "cache", described(file, signals), SignalConfig())
    message = pickle.dumps(store)
    assert len(message) < 2000
    assert torch.equal(pickle.loads(message).gather(*WHERE), store.gather(*WHERE))


def test_a_store_larger_than_memory_asks_the_disk_ahead_and_reads_the_same(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = stored(tmp_path / "cache", described(file, signals), SignalConfig())
    expected = store.gather(*WHERE)
    monkeypatch.setattr(store, "_ahead", True)
    assert torch.equal(store.gather(*WHERE), expected)


def test_bad_recordings_are_named_with_their_reason_by_both_sources(tmp_path: Path) -> None:
    signals = {"good": np.ones((50, 1)), "nan": np.ones((50, 1)), "inf": np.ones((50, 1)), "last": np.ones((9, 1))}
    signals["nan"][[7, 9]] = np.nan
    signals["inf"][49] = -np.inf
    recordings = described(write(tmp_path / "bad.h5", signals), signals)
    for source in both(tmp_path / "cache", recordings, SignalConfig()):
        assert source.rejected == {
            1: "2 non-finite values, first at sample 7",
            2: "1 non-finite values, first at sample 49",
        }
        assert source.recordings.tolist() == [0, 1]
    again = stored(tmp_path / "cache", recordings, SignalConfig())
    assert set(again.rejected) == {1, 2}  # the store remembers what it left out


def test_unscanned_recordings_stop_at_the_window_that_is_not_finite(tmp_path: Path) -> None:
    signals = {"nan": np.ones((50, 1))}
    signals["nan"][30] = np.nan
    source = HDF5Source(described(write(tmp_path / "bad.h5", signals), signals), SignalConfig(), scan=False)
    assert source.gather(np.array([0]), np.array([0]), 30).sum() == 30
    with pytest.raises(ValueError, match=r"bad.h5, dataset 'nan': not finite within samples 21 to 31"):
        source.gather(np.array([0, 0]), np.array([0, 21]), 10)


def test_mixed_rates_need_the_store_and_the_error_says_so(
    tmp_path: Path, file: Path, signals: dict[str, np.ndarray]
) -> None:
    recordings = described(file, signals)
    recordings[1] = dataclasses.replace(recordings[1], rate=4000.0)
    with pytest.raises(ValueError, match=r"dataset 'b': at 4000 Hz, wanted at 1000 Hz; .*set loading\.cache"):
        HDF5Source(recordings, SignalConfig(rate=1000.0))
    store = stored(tmp_path / "cache", recordings, SignalConfig(rate=1000.0))
    assert store.lengths.tolist() == [500, 175, 64, 901]


@pytest.mark.parametrize(("rate", "target"), [(48_000.0, 12_000.0), (12_000.0, 25_600.0), (97_656.25, 12_000.0)])
def test_resampling_keeps_a_tone_and_its_offset_and_drops_what_is_too_fast(rate: float, target: float) -> None:
    seconds = 0.5
    time = np.arange(int(rate * seconds)) / rate
    tone = (3 + np.sin(2 * np.pi * 900 * time)).astype(np.float32)
    fast = np.sin(2 * np.pi * 0.48 * rate * time).astype(np.float32)
    values = np.stack([tone, tone + (fast if target < rate else 0)], 1)
    got = resample(values, rate, target)
    assert len(got) == resampled_length(len(values), rate, target) == pytest.approx(target * seconds, abs=1)
    expected = 3 + np.sin(2 * np.pi * 900 * np.arange(len(got)) / target)
    inner = slice(len(got) // 20, -len(got) // 20)
    np.testing.assert_allclose(got[inner], np.stack([expected] * 2, 1)[inner], atol=0.01)


def test_a_rate_no_small_ratio_reaches_is_met_closely() -> None:
    assert resampled_length(10_000_000, 12_000.1, 25_600.0) == pytest.approx(10_000_000 * 25_600 / 12_000.1, abs=2)


HAND = np.array([[1.0], [2.0], [3.0], [4.0], [10.0]], dtype=np.float32)
WORKED = {  # mean 4, std sqrt(10); min 1, range 9; median 3, quartiles 2 and 4
    "none": [1.0, 2.0, 3.0, 4.0, 10.0],
    "zscore": [-3 / 10**0.5, -2 / 10**0.5, -1 / 10**0.5, 0.0, 6 / 10**0.5],
    "minmax": [0.0, 1 / 9, 2 / 9, 3 / 9, 1.0],
    "robust": [-1.0, -0.5, 0.0, 0.5, 3.5],
}


@pytest.mark.parametrize("kind", WORKED)
def test_normalisations_worked_by_hand(kind: str) -> None:
    window = torch.from_numpy(HAND)[None]
    for offset, divisor in (
        window_statistics(window, kind),  # type: ignore[arg-type]
        torch.from_numpy(statistics(HAND, kind)).float()[:, None, None],  # type: ignore[arg-type]
    ):
        values, flat = apply(window, offset, divisor)
        np.testing.assert_allclose(values[0, :, 0].numpy(), WORKED[kind], rtol=1e-6, atol=1e-6)
        assert not flat.any()


@pytest.mark.parametrize("length", [1, 2, 3, 5, 64, 101])
def test_window_statistics_are_those_of_numpy_on_each_window(length: int) -> None:
    values = np.random.default_rng(length).normal(3, 7, size=(6, length, 2)).astype(np.float32)
    for kind in ("zscore", "minmax", "robust"):
        offset, divisor = window_statistics(torch.from_numpy(values), kind)  # type: ignore[arg-type]
        expected = np.stack([statistics(window, kind) for window in values], 1)  # type: ignore[arg-type]
        np.testing.assert_allclose(offset.squeeze(1), expected[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(divisor.squeeze(1), expected[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["zscore", "minmax", "robust"])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 1e-30])
def test_a_constant_becomes_zeros_and_is_told(kind: str, value: float) -> None:
    values = torch.full((3, 1000, 2), value)
    values[1, :, 1] = torch.linspace(-1, 1, 1000)
    normal, flat = apply(values, *window_statistics(values, kind))  # type: ignore[arg-type]
    assert torch.isfinite(normal).all()
    assert (normal[[0, 2]] == 0).all()
    assert normal[1, :, 1].abs().max() > 0.4
    assert flat.tolist() == [True, True, True]
    assert statistics(values[0].numpy(), kind)[1].tolist() == [0.0, 0.0]  # type: ignore[arg-type]


def test_channel_policies_by_hand() -> None:
    values = np.array([[1.0, 3.0], [5.0, 9.0]], dtype=np.float32)
    assert [v.tolist() for v in pick_channels(values, "first")] == [[[1.0], [5.0]]]
    assert [v.tolist() for v in pick_channels(values, "mean")] == [[[2.0], [7.0]]]
    assert [v.tolist() for v in pick_channels(values, "each")] == [[[1.0], [5.0]], [[3.0], [9.0]]]
    assert [v.tolist() for v in pick_channels(values, "require")] == [values.tolist()]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"normalise": "zscroe"}, "signal.normalise: 'zscroe' is none of none, zscore, minmax, robust"),
        ({"scope": "file"}, "signal.scope: 'file' is none of recording, window"),
        ({"channels": "all"}, "signal.channels: 'all' is none of first, mean, each, require"),
        ({"rate": 0.0}, "signal.rate must be positive"),
        ({"max_length": -1}, "signal.max_length must be positive"),
    ],
)
def test_unknown_words_and_impossible_numbers_are_errors(setting: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SignalConfig(**setting)  # type: ignore[arg-type]
