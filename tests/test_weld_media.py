"""Files of weld runs, one modality at a time: resampling against independent references, damage by name."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from counterpoint.data.weld import AudioConfig, PhotoConfig, SensorConfig, VideoConfig
from counterpoint.data.weld.audio import FLOOR, AudioFiles, mel_bands, mel_power, pooled
from counterpoint.data.weld.media import PhotoFiles, VideoFiles, fitted, read_frames, read_photo
from counterpoint.data.weld.medium import UnreadableFile
from counterpoint.data.weld.sensor import COLUMNS, SensorFiles, read_trace, resampled

Array = np.ndarray[Any, Any]
HEADER = (
    "Date,Time,Part No,Pressure,CO2 Weld Flow,Feed,Primary Weld Current,Wire Consumed,Secondary Weld Voltage,Remarks "
)


def write_table(path: Path, values: Array, step: float = 0.11, began: datetime = datetime(2022, 8, 17, 7, 50)) -> Path:
    """As published: a header that ends in a space, rows that end before the remarks."""
    lines = [HEADER]
    for at, row in enumerate(values.tolist()):
        moment = began + timedelta(seconds=step * at)
        clock = f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}"
        lines.append(",".join([f"{moment.month}/{moment.day}/{moment.year}", clock, path.stem, *map(repr, row)]))
    path.write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    return path


def write_sound(path: Path, samples: Array, rate: int = 16000) -> Path:
    soundfile.write(path, samples, rate, subtype="PCM_16", format="FLAC")
    return path


def write_video(path: Path, levels: Sequence[int], size: tuple[int, int] = (48, 32), rate: int = 30) -> Path:
    """A frame a level of grey; lossless, so that a frame can be told by its level."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "gray"
        for level in levels:
            frame = av.VideoFrame.from_ndarray(np.full(size[::-1], level, dtype=np.uint8), format="gray")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_photo(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    path.parent.mkdir(exist_ok=True, parents=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=90)
    return path


def tone(rate: int, frequency: float, seconds: float = 1.0, level: float = 0.5) -> Array:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 60), st.integers(3, 16))
def test_a_dense_trace_becomes_means_over_spans_of_time(seed: int, rows: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.02, 0.3, rows))
    values = rng.normal(size=(rows, 2))
    edges = np.linspace(times[0], times[-1], length + 1)
    fine = [np.linspace(low, high, 4001) for low, high in pairwise(edges)]
    expected = [[np.interp((s[1:] + s[:-1]) / 2, times, column).mean() for column in values.T] for s in fine]
    np.testing.assert_allclose(resampled(times, values, length), expected, atol=1e-5)


def test_a_sparse_trace_is_read_off_its_line_and_what_is_too_fast_is_averaged_away() -> None:
    times = np.array([0.0, 1.0, 4.0])
    line = resampled(times, np.array([[0.0], [1.0], [4.0]]), 8)[:, 0]
    np.testing.assert_allclose(line, (np.arange(8) + 0.5) / 2, atol=1e-12)
    flicker = np.where(np.arange(1001) % 2, 1.0, -1.0)[:, None]
    assert np.abs(resampled(np.arange(1001.0), flicker, 50)).max() < 0.03
    assert np.abs(flicker[::20]).min() == 1.0  # what skipping rows would have made of it


def test_a_table_is_read_by_its_own_time_stamps(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(30, 6)).round(2)
    path = write_table(tmp_path / "a.csv", values, began=datetime(2022, 12, 31, 23, 59, 59))
    trace = read_trace(path, COLUMNS)
    assert trace.stamped
    np.testing.assert_allclose(trace.times, 0.11 * np.arange(30), atol=1.1e-3)
    np.testing.assert_array_equal(trace.values, values)
    picked = read_trace(path, ["primary weld current", "Feed"])
    np.testing.assert_array_equal(picked.values, values[:, [3, 2]])
    plain = tmp_path / "b.csv"
    plain.write_text("Feed,Pressure\n1,2\n3,4\n5,6\n", encoding="utf-8")
    trace = read_trace(plain, ["Pressure"])
    assert (trace.stamped, trace.times.tolist(), trace.values[:, 0].tolist()) == (False, [0, 1, 2], [2, 4, 6])


def lines_of(path: Path, change: dict[int, str], extra: Sequence[str] = ()) -> Path:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in change.items():
        lines[number - 1] = line
    path.write_text("\n".join([*lines, *extra]) + "\n", encoding="utf-8")
    return path


GOOD_ROW = "8/17/2022,07:50:09.000,x,1,2,3,4,5,6"


@pytest.mark.parametrize(
    ("change", "extra", "message"),
    [
        ({}, [HEADER, GOOD_ROW], "header stands twice: again in row 12"),
        ({5: "8/17/2022,07:50:00.300,x,1,2"}, [], "row cut short or too long: row 5 has 5 cells"),
        ({5: GOOD_ROW + ",,,,"}, [], "row 5 has 13 cells"),
        ({5: GOOD_ROW.replace(",4,", ",nan,")}, [], "'nan' in row 5, column 'Primary Weld Current'"),
        ({5: GOOD_ROW.replace(",4,", ",,")}, [], "not a finite number: '' in row 5"),
        ({4: GOOD_ROW}, [], "time runs back: in row 5"),
        ({4: GOOD_ROW.replace("07:50", "7h50")}, [], "not a time stamp: '8/17/2022 7h50:09.000' in row 4"),
        ({1: HEADER.replace("Feed", "Speed")}, [], "column missing: Feed"),
    ],
)
def test_a_damaged_table_is_refused_by_row(
    tmp_path: Path, change: dict[int, str], extra: list[str], message: str
) -> None:
    path = lines_of(write_table(tmp_path / "a.csv", np.ones((10, 6))), change, extra)
    with pytest.raises(UnreadableFile, match=message):
        read_trace(path, COLUMNS)


@pytest.mark.parametrize(
    "content", [b"", HEADER.encode(), f"{HEADER}\n{GOOD_ROW}".encode(), b"\xff\xfe\x00\x01", b'"a']
)
def test_a_table_without_a_course_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(UnreadableFile):
        SensorFiles(SensorConfig()).check([path])


def test_the_part_number_can_be_no_channel() -> None:
    with pytest.raises(ValueError, match="'Part No' is no measurement"):
        SensorConfig(columns=["Feed", "Part No"])


@pytest.mark.filterwarnings("ignore:At least one mel filter")
def test_mel_power_is_that_of_the_audio_spectrogram_transformer() -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    samples = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=128,
        min_frequency=20,
        max_frequency=8000,
        sampling_rate=16000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    expected = spectrogram(
        samples.astype(np.float64),
        window_function(400, "hann", periodic=False),
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=2.0,
        center=False,
        preemphasis=0.97,
        mel_filters=filters,
        mel_floor=0.0,
        remove_dc_offset=True,
    ).T
    np.testing.assert_allclose(mel_power(samples, 16000, 128), expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(("count", "frames"), [(100, 10), (37, 10), (7, 20), (1, 3)])
def test_pooling_shares_every_frame_out(count: int, frames: int) -> None:
    power = np.random.default_rng(count).uniform(size=(count, 3))
    fine = np.repeat(power, frames, axis=0)  # a share of n / frames is then a whole number of rows
    expected = fine.reshape(frames, count, 3).mean(1)
    np.testing.assert_allclose(pooled(power, frames), expected, rtol=1e-9)
    np.testing.assert_allclose(pooled(power, frames).mean(0), power.mean(0), rtol=1e-9)


@pytest.mark.parametrize("rate", [16000, 44100, 48000, 192000])
def test_a_tone_stands_in_its_band_at_any_rate_and_one_beyond_it_does_not_fold_back(tmp_path: Path, rate: int) -> None:
    medium = AudioFiles(AudioConfig(mels=40, frames=20))
    heard = medium.read([write_sound(tmp_path / "a.flac", tone(rate, 1000.0), rate)])
    assert heard.values.shape == (20, 40)
    assert heard.mask.all()
    reference = medium.read([write_sound(tmp_path / "b.flac", tone(16000, 1000.0))])
    middle = slice(2, -2)  # a resampler rings at the ends
    band = int(mel_bands(16000, 40)[round(1000 / 16000 * 512)].argmax())
    assert (heard.values[middle].argmax(1) == band).all()
    np.testing.assert_allclose(heard.values[middle, band], reference.values[middle, band], atol=0.02)
    if rate > 40000:
        high = medium.read([write_sound(tmp_path / "c.flac", tone(rate, 15000.0), rate)])
        assert high.values[middle].max() < heard.values[middle, band].min() - 9  # 40 dB


def test_stereo_is_averaged_and_silence_is_the_floor(tmp_path: Path) -> None:
    medium = AudioFiles(AudioConfig(mels=8, frames=4))
    wave = tone(16000, 500.0)
    mono = medium.read([write_sound(tmp_path / "a.flac", wave)]).values
    both = medium.read([write_sound(tmp_path / "b.flac", np.stack([wave, wave], 1))]).values
    np.testing.assert_allclose(both, mono, atol=1e-6)
    opposed = medium.read([write_sound(tmp_path / "c.flac", np.stack([wave, -wave], 1))]).values
    assert opposed.max() < mono.max() - 10
    silent = medium.read([write_sound(tmp_path / "d.flac", np.zeros(16000))]).values
    np.testing.assert_allclose(silent, np.log(FLOOR), rtol=1e-6)


def test_frames_are_those_on_display_at_even_moments(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", range(0, 200, 2))
    recorded = VideoFiles(VideoConfig(frames=8, size=16)).read([path])
    assert recorded.values.shape == (8, 3, 16, 16)
    assert recorded.values.dtype == np.uint8
    middles = ((np.arange(8) + 0.5) / 8 * 100).astype(int)
    assert np.abs(recorded.values[:, 0, 8, 8].astype(int) - 2 * middles).max() <= 1
    few = VideoFiles(VideoConfig(frames=4, size=16)).read([write_video(tmp_path / "b.avi", [50, 200])])
    assert [round(level / 50) for level in few.values[:, 0, 8, 8]] == [1, 1, 4, 4]


def test_frames_are_chosen_by_time_stamp_not_by_number(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1000)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 32, 32, "gray", Fraction(1, 1000)
        for at, moment in enumerate([0, 10, 20, 30, 1000, 2000, 3000, 4000]):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32), 20 * at, dtype=np.uint8), format="gray")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    found = read_frames(path, [0.0, 0.1, 0.5, 0.9])
    assert [round(int(frame[16, 16, 0]) / 20) for frame in found] == [0, 3, 5, 7]


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (97, 64), (30, 20)])
def test_fitting_is_antialiased_and_keeps_the_middle(size: tuple[int, int]) -> None:
    width, height = size
    smooth = np.random.default_rng(0).uniform(0, 255, (height // 8 + 2, width // 8 + 2, 3)).astype(np.uint8)
    pixels = np.array(Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC))
    scale = 64 / min(size)
    whole = Image.fromarray(pixels).resize((round(width * scale), round(height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - 64) // 2, (whole.height - 64) // 2
    expected = np.array(whole.crop((left, top, left + 64, top + 64))).transpose(2, 0, 1)
    assert np.abs(fitted(pixels, 64, "crop").astype(int) - expected).max() <= 2
    stretched = np.array(Image.fromarray(pixels).resize((64, 64), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(fitted(pixels, 64, "stretch").astype(int) - stretched).max() <= 2


def test_fewer_photographs_are_masked_and_of_more_the_ends_are_kept(tmp_path: Path) -> None:
    medium = PhotoFiles(PhotoConfig(count=3, size=16))
    for number in range(2):
        write_photo(tmp_path / "few" / "images" / f"{number}.jpg", number)
    recorded = medium.read(medium.files(tmp_path / "few"))
    assert recorded.mask.tolist() == [True, True, False]
    assert recorded.values[:2].any()
    assert not recorded.values[2].any()
    for number in range(7):
        write_photo(tmp_path / "many" / "images" / f"{number}.JPG", number)
    assert [path.name for path in medium.files(tmp_path / "many")] == ["0.JPG", "3.JPG", "6.JPG"]
    assert medium.files(tmp_path) == []
    pixels = read_photo(tmp_path / "few" / "images" / "0.jpg")
    np.testing.assert_array_equal(recorded.values[0], fitted(pixels, 16, "crop"))


def files_of(folder: Path) -> dict[str, tuple[Any, Path]]:
    """A whole file of each medium and what reads it."""
    rng = np.random.default_rng(0)
    return {
        "sound": (
            AudioFiles(AudioConfig(frames=8, mels=16)),
            write_sound(folder / "a.flac", rng.normal(0, 0.1, 24000)),
        ),
        "video": (VideoFiles(VideoConfig(frames=4, size=16)), write_video(folder / "a.avi", range(0, 240, 4))),
        "photo": (PhotoFiles(PhotoConfig(size=16)), write_photo(folder / "a.jpg", size=(200, 160))),
    }


@pytest.mark.parametrize("kind", ["sound", "video", "photo"])
def test_a_truncated_file_is_found_by_its_end_alone(tmp_path: Path, kind: str) -> None:
    medium, path = files_of(tmp_path)[kind]
    medium.check([path])
    content = path.read_bytes()
    for share in (0.0, 0.01, 0.3, 0.6, 0.9, 0.98):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UnreadableFile):
            medium.check([path])
        with pytest.raises(UnreadableFile):
            medium.read([path])


@pytest.mark.parametrize("kind", ["sound", "video", "photo"])
def test_changed_bytes_end_in_a_reason_or_in_the_right_shape(tmp_path: Path, kind: str) -> None:
    medium, path = files_of(tmp_path)[kind]
    content = path.read_bytes()
    shape = medium.read([path]).values.shape
    rng, refused = np.random.default_rng(1), 0
    for _ in range(40):
        damaged = bytearray(content)
        for at in rng.integers(0, min(len(content), 4000), 6):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert medium.read([path]).values.shape == shape
        except UnreadableFile:
            refused += 1
    assert refused > 0


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("side", [9_000, 30_000, 2**31 - 1])
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path, side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b""))
    with pytest.raises(UnreadableFile, match=r"too large|exceeds limit"):
        PhotoFiles(PhotoConfig()).check([tmp_path / "a.png"])


def test_a_recording_that_would_swell_is_refused(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.flac", np.zeros(30_000), rate=1)
    with pytest.raises(UnreadableFile, match="too long: 30,000 samples at 1 Hz"):
        AudioFiles(AudioConfig()).read([path])


@pytest.mark.parametrize(("kind", "module"), [("sound", "soundfile"), ("video", "av"), ("photo", "PIL.Image")])
def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, module: str) -> None:
    medium, path = files_of(tmp_path)[kind]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"pip install 'counterpoint\[media\]'"):
        medium.read([path])


def test_every_published_run_is_read_at_its_level(data_root: Path) -> None:
    weld = data_root / "weld"
    sensor, audio, photos = SensorFiles(SensorConfig()), AudioFiles(AudioConfig()), PhotoFiles(PhotoConfig())
    runs = sorted(path for path in (weld / "intel_raw_good5").iterdir() if path.is_dir())
    assert len(runs) == 5
    for run in runs:
        levels = sensor.read(sensor.files(run)).values
        assert levels.shape == (256, 6)
        assert 100 < levels[:, 3].max() < 400
        heard = audio.read(audio.files(run)).values
        assert heard.shape == (256, 128)
        assert heard.std(0).max() > 1
        assert len(photos.files(run)) == 5
        photos.check(photos.files(run))
    assert photos.read(photos.files(runs[0])).values.shape == (5, 3, 224, 224)
    tables = sorted((weld / "intel_csv_12classes").glob("*.csv"))
    current = {path.stem.rsplit("-", 1)[1]: sensor.read([path]).values[:, 3].max() for path in tables}
    assert len(tables) == len(sensor.unstamped) == 12
    assert current["05"] > 1.5 * current["02"]  # undercut at about 330 A, burnthrough at about 170 A
    video = VideoFiles(VideoConfig()).read([next((weld / "intel_csv_12classes").glob("*.avi"))])
    assert video.values.shape == (32, 3, 224, 224)
    assert video.values.mean((1, 2, 3)).max() > 2 * video.values[0].mean()  # the arc is struck after the start
