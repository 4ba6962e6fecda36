"""Writing of SIMULATED weld runs in the layout of the Intel Robotic Welding Multimodal Dataset, marked as simulated."""

from __future__ import annotations

import csv
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np

from counterpoint.data.synthetic.weld_pictures import FRAME_RATE, Pixels, photos, video
from counterpoint.data.synthetic.weld_process import CATEGORIES, Float, Run
from counterpoint.data.synthetic.weld_traces import AUDIO_RATE, COLUMNS, sensor_trace, sound
from counterpoint.data.whole import whole_folder

SENSOR_HEADER = ("Date", "Time", "Part No", *COLUMNS, "Remarks ")
"""As in the real set, trailing space and all; its rows end before the remarks."""
MANIFEST_HEADER = (
    "CATEGORY",
    "WELD_TYPE",
    "THICKNESS_MM",
    "STEEL_TYPE",
    "SAMPLES",
    "CURRENT_A",
    "VOLTAGE_V",
    "GAS_BAR",
    "ROBOT_SPEED_CPM",
    "DIRECTORY",
    "SUBDIRS",
    "SPLIT",
    "simulated",
)
"""Columns of the real set, and the mark."""
_QUALITY = 85


class Sizes(NamedTuple):
    """What the recordings measure: seconds, and (width, height) of video and photographs in pixels."""

    seconds: float
    video: tuple[int, int]
    photo: tuple[int, int]

    def check(self) -> None:
        """Refuse what cannot be written.

        Raises:
            ValueError: less than a second, a side below 16 pixels, or an odd side of the video.
        """
        if self.seconds < 1.0:
            raise ValueError(f"seconds={self.seconds}: a run wants one at least")
        if min(*self.video, *self.photo) < 16 or self.video[0] % 2 or self.video[1] % 2:
            raise ValueError(f"{self}: pictures want 16 pixels a side at least, video an even number of them")


def write_welds(folder: Path, runs: list[Run], sizes: Sizes) -> Path:
    """Write runs; the folder appears complete or not at all.

    Args:
        folder: to be made; may exist when empty.
        runs: to render and write, at least one.
        sizes: of what is recorded.

    Returns:
        The folder.

    Raises:
        ValueError: the folder holds something already, the sizes cannot be written, or the packages for media miss.
    """
    sizes.check()
    try:
        with whole_folder(folder) as partial:
            _manifest(partial / "manifest.csv", runs)
            for run in runs:
                _write_run(partial / run.directory / run.name, run, sizes)
    except ImportError as error:
        raise ValueError(f"{error}: weld runs want the extra `media`: pip install counterpoint[media]") from error
    return folder


def _manifest(path: Path, runs: list[Run]) -> None:
    samples: dict[str, int] = {}
    for run in runs:
        samples[run.directory] = samples.get(run.directory, 0) + 1
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MANIFEST_HEADER)
        for run in runs:
            joint, thickness, steel, current, voltage, gas, speed = run.settings
            nominal = (
                joint,
                f"{thickness:g}",
                steel,
                samples[run.directory],
                f"{current:g}",
                voltage,
                gas,
                f"{speed:g}",
            )
            name = CATEGORIES[run.code].name
            writer.writerow((name, *nominal, run.directory, run.name, run.split, "true"))


def _write_run(folder: Path, run: Run, sizes: Sizes) -> None:
    folder.mkdir(parents=True)
    began = _began(run)
    _sensor(folder / f"{run.name}.csv", run, sizes.seconds, began)
    _audio(folder / f"{run.name}.flac", sound(run, sizes.seconds))
    _video(folder / f"{run.name}.avi", video(run, sizes.seconds, sizes.video))
    if run.photographed:
        _photos(folder / "images", photos(run, sizes.photo), began)


def _began(run: Run) -> datetime:
    month, day, year, serial, _ = (int(part) for part in run.name.split("-"))
    hours = np.random.default_rng((*run.key, 9)).uniform(6.0, 7.0) + serial / 200.0
    return datetime(2000 + year, month, day) + timedelta(hours=float(hours))


def _sensor(path: Path, run: Run, seconds: float, began: datetime) -> None:
    trace = sensor_trace(run, seconds)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(SENSOR_HEADER)
        for time, row in zip(trace.time.tolist(), trace.values.tolist(), strict=True):
            at = began + timedelta(seconds=time)
            clock = f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}"
            date = f"{at.month}/{at.day}/{at.year}"
            writer.writerow((date, clock, run.name, *(f"{value:.2f}" for value in row)))


def _audio(path: Path, samples: Float) -> None:
    import soundfile

    soundfile.write(path, samples, AUDIO_RATE, subtype="PCM_16", format="FLAC")


def _video(path: Path, frames: Pixels) -> None:
    import av

    with av.open(str(path), "w") as container:
        _, height, width = frames.shape
        stream = container.add_stream("mpeg4", rate=FRAME_RATE)
        stream.height, stream.width = height, width
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.options = {"qscale": "3", "flags": "+bitexact+qscale", "global_quality": "354"}
        # Brightness in the range of television, and below it the two planes of colour at a quarter of the size: none.
        planes = np.full((height * 3 // 2, width), 128, np.uint8)
        for values in frames:
            planes[:height] = np.rint(16.0 + values * (219.0 / 255.0))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
        container.mux(stream.encode())


def _photos(folder: Path, views: Pixels, began: datetime) -> None:
    from PIL import Image

    folder.mkdir()
    for number, view in enumerate(views):
        name = f"{began:%Y%m%d_%H%M%S}_{7 * number + 1:03d}.jpg"
        Image.fromarray(view).save(folder / name, quality=_QUALITY)
