"""Writing of SIMULATED radar clips: an npz a clip, three split files, and a file that says what they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.data.synthetic import radar_signal as signal
from counterpoint.data.synthetic.radar_signal import Views
from counterpoint.data.whole import whole_folder

SPLITS = ("train", "val", "test")
_VAL, _TEST = 0.08, 0.22
_NOTE = "simulated by counterpoint: no radar measured anything here"
ACCOUNT = "import.json"
"""What says of the whole folder that it is simulated, how and from what; the reader repeats its notes."""


class Clip(NamedTuple):
    """One clip to be written.

    Attributes:
        folder: it lies in.
        name: of its file, and its id.
        group: person or motion, which one split has to itself.
        label: class of what is done; empty where nobody says.
        captions: sentences, at least one.
        views: makes what the radar sees.
    """

    folder: str
    name: str
    group: str
    label: str
    captions: tuple[str, ...]
    views: Callable[[], Views]


def write_clips(folder: Path, clips: Iterable[Clip], groups: Sequence[str], about: dict[str, Any]) -> Path:
    """Write clips; the folder appears complete or not at all.

    Args:
        folder: to be made; may exist when empty.
        clips: in any order.
        groups: of all clips in the order they are dealt to train, val and test: 70, 8 and 22 in a hundred of them.
        about: what else the file on the simulation says.

    Returns:
        The folder.

    Raises:
        ValueError: the folder holds something already, or there are fewer than three groups.
    """
    split = dealt(groups)
    with whole_folder(folder) as partial:
        entries: dict[str, dict[str, Any]] = {name: {} for name in SPLITS}
        for clip in clips:
            _write_views(partial / clip.folder / f"{clip.name}.npz", clip.views())
            entries[split[clip.group]][clip.name] = _entry(clip)
        for name in SPLITS:
            (partial / f"{name}.json").write_text(json.dumps(entries[name], indent=1) + "\n", encoding="utf-8")
        text = json.dumps({"simulated": True, "notes": [_NOTE], **about, "radar": _radar()}, indent=1)
        (partial / ACCOUNT).write_text(text + "\n", encoding="utf-8")
    return folder


def dealt(groups: Sequence[str]) -> dict[str, str]:
    """Group -> split: the first to training, the last to the test."""
    count = len(groups)
    if count < len(SPLITS):
        raise ValueError(f"{count} persons or motions: train, val and test share none, so there want to be 3 at least")
    val, test = (max(1, round(share * count)) for share in (_VAL, _TEST))
    train = count - val - test
    return dict(zip(groups, ["train"] * train + ["val"] * val + ["test"] * test, strict=True))


def _entry(clip: Clip) -> dict[str, Any]:
    entry: dict[str, Any] = {"filefolder": clip.folder, "fileindex": clip.name, "captions": list(clip.captions)}
    if clip.label:
        entry["label"] = clip.label
    return entry | {"group": clip.group, "simulated": True}


def _write_views(path: Path, views: Views) -> None:
    """Half precision, 1 in 2000, is finer than the noise; noise does not compress, so nothing is compressed."""
    path.parent.mkdir(exist_ok=True)
    np.savez(path, **{name: view.astype(np.float16) for name, view in views._asdict().items()})


def _radar() -> dict[str, float]:
    return {
        "carrier_hz": signal.CARRIER,
        "slope_hz_per_s": signal.SLOPE,
        "samples": signal.SAMPLES,
        "sample_rate_hz": signal.SAMPLE_RATE,
        "chirps": signal.CHIRPS,
        "chirp_interval_s": signal.CHIRP_INTERVAL,
        "antennas": signal.ANTENNAS,
        "metres_per_range_bin": signal.METRES_PER_BIN,
        "metres_per_second_per_doppler_bin": signal.SPEED_PER_BIN,
        "sine_per_azimuth_bin": signal.SINE_PER_BIN,
        "seconds_per_frame": signal.SECONDS_PER_FRAME,
    }
