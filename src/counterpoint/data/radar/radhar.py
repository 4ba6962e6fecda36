"""Import of RadHAR: activities before a 77 GHz radar, cut to windows of two seconds in three views.

Singh, Sandha, Garcia, Srivastava, "RadHAR: Human Activity Recognition from Point Clouds Generated through a
Millimeter-wave Radar", mmNets 2019: an IWR1443 and five activities, about 30 frames a second.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED, fingerprint
from counterpoint.data.radar.radhar_captions import Sentences, counts, dealt, divided, read_sentences
from counterpoint.data.radar.radhar_text import maps_of, read_points
from counterpoint.data.whole import whole_folder

Maps = dict[str, NDArray[np.float32]]

VIEWS = {"range_time": "range", "doppler_time": "doppler", "azimuth_time": "azimuth"}
RATE = 30.0
"""Frames a second, about: they come in pairs, 60 ms from pair to pair."""
CAPTIONS = 4
"""Sentences a clip is given."""
_CLIPS = "clips"
_SIXTH = 6


@dataclass(frozen=True, kw_only=True)
class ClipWindows:
    """How recordings are cut.

    Args:
        frames: of a clip.
        stride: from clip to clip of a test recording; with the default there are 547.
        train_stride: the same of the recordings to train on, from which validation is taken.
    """

    frames: int = 60
    stride: int = 60
    train_stride: int = 60

    def __post_init__(self) -> None:
        """Check that they are above 0.

        Raises:
            ValueError: naming them.
        """
        if min(self.frames, self.stride, self.train_stride) < 1:
            raise ValueError(f"{self}: frames and strides are above 0")


class Recording(NamedTuple):
    """One recording.

    Attributes:
        number: names it, and its clips.
        part: Train or Test, as published.
        activity: its class.
        source: its name in the repository.
        read: its views (T, bins), magnitudes.
    """

    number: str
    part: str
    activity: str
    source: str
    read: Callable[[], Maps]


_STANDARD = ClipWindows()


def import_radhar(
    source: Path, destination: Path, *, captions: Path | None = None, windows: ClipWindows = _STANDARD
) -> Path:
    """Write clips with ``train.json``, ``val.json`` and ``test.json``, the layout that ``RadarClips`` reads.

    The repository's Test is the test. Of the training recordings of every activity each sixth is for validation.
    ``import.json`` beside them has digests of the sources and notes; ``captions.json`` the sentences of each part.

    Args:
        source: a folder with ``maps_186rec.npz`` (``NNN_range``, ``NNN_doppler``, ``NNN_azimuth``, logarithms of
            magnitudes; ``split``, ``activity``, ``filename``), or with ``Train/ACTIVITY/*.txt`` and
            ``Test/ACTIVITY/*.txt``, point clouds as the repository has them.
        destination: the folder to make.
        captions: annotations of KIT-ML, whose sentences are paired with the clips by activity.
        windows: how recordings are cut.

    Returns:
        The destination.

    Raises:
        ValueError: nothing to import, something that cannot be read, or a destination that holds something.
    """
    with whole_folder(destination) as partial_:
        archives = sorted(source.glob("maps_*.npz"))
        recordings = _from_maps(archives[0]) if archives else _from_text(source)
        sentences = divided(read_sentences(captions)) if captions is not None else None
        (partial_ / _CLIPS).mkdir()
        splits = _write(partial_, recordings, windows, sentences)
        files = [archives[0]] if archives else [source / recording.source for recording in recordings]
        account = {
            "sources": [fingerprint(path) for path in [*files, *([captions] if captions else [])]],
            "notes": _notes(windows, sentences),
            "windows": {"frames": windows.frames, "stride": windows.stride, "train_stride": windows.train_stride},
            "counts": {part: Counter(one["label"] for one in entries.values()) for part, entries in splits.items()},
        }
        _dump(partial_ / "import.json", account)
        if sentences is not None:
            _dump(partial_ / "captions.json", sentences)
    return destination


def _from_maps(archive: Path) -> list[Recording]:
    try:
        with np.load(archive, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        columns = [arrays[name].tolist() for name in ("split", "activity", "filename")]
    except DAMAGED as error:
        raise ValueError(f"{archive}: not the view maps of RadHAR ({error})") from error
    numbers = sorted(name.removesuffix("_range") for name in arrays if name.endswith("_range"))
    sizes = [len(column) for column in columns]
    if not numbers or set(sizes) != {len(numbers)}:
        raise ValueError(
            f"{archive}: {len(numbers)} recordings, and {sizes} of split, activity, filename; each has one of each"
        )
    return [
        Recording(number, _part(archive, part), str(activity), str(name), partial(_maps_of, archive, arrays, number))
        for number, part, activity, name in zip(numbers, *columns, strict=True)
    ]


def _maps_of(archive: Path, arrays: dict[str, NDArray[Any]], number: str) -> Maps:
    """The published maps are log(1 + x), as the reader may take of x: their magnitudes."""
    try:
        return {view: np.expm1(arrays[f"{number}_{name}"].astype(np.float32)) for view, name in VIEWS.items()}
    except (LookupError, TypeError, ValueError) as error:
        raise ValueError(f"{archive}: recording {number} cannot be read ({error})") from error


def _from_text(source: Path) -> list[Recording]:
    """PART/ACTIVITY/FILE, numbered in the order of these names."""
    found = sorted(
        path
        for folder in (source.iterdir() if source.is_dir() else [])
        if folder.name in {"Train", "Test"}
        for path in folder.glob("*/*")
        if re.search(r"\.txt(\.gz)?$", path.name)
    )
    if not found:
        raise ValueError(
            f"{source} holds no RadHAR; give the folder that has maps_186rec.npz, or the repository's folder Data, "
            "which has Train/ACTIVITY/*.txt and Test/ACTIVITY/*.txt"
        )
    return [
        Recording(
            f"{at:03d}", path.parts[-3], path.parts[-2], path.relative_to(source).as_posix(), partial(_points, path)
        )
        for at, path in enumerate(found)
    ]


def _points(path: Path) -> Maps:
    return maps_of(read_points(path))


def _part(archive: Path, part: Any) -> str:
    if part not in {"Train", "Test"}:
        raise ValueError(f"{archive}: split holds {part!r}; a recording is of Train or of Test")
    return str(part)


def _parts(recordings: Sequence[Recording]) -> dict[str, str]:
    """Number -> train, val or test: of the training recordings of an activity each sixth, and one at least, is val."""
    parts = {one.number: "test" for one in recordings if one.part == "Test"}
    training: dict[str, list[str]] = defaultdict(list)
    for one in recordings:
        if one.part == "Train":
            training[one.activity].append(one.number)
    for activity, numbers in training.items():
        if len(numbers) < 2:
            raise ValueError(f"Train has {len(numbers)} recording of {activity}; two are needed, one to choose by")
        chosen = set(numbers[min(2, len(numbers) - 1) :: _SIXTH])
        parts |= {number: "val" if number in chosen else "train" for number in numbers}
    return parts


def _write(
    folder: Path, recordings: Sequence[Recording], windows: ClipWindows, sentences: Sentences | None
) -> dict[str, dict[str, dict[str, Any]]]:
    """Write clips and split files, and return the latter."""
    parts = _parts(recordings)
    splits: dict[str, dict[str, dict[str, Any]]] = {"train": {}, "val": {}, "test": {}}
    for recording in recordings:
        part, maps = parts[recording.number], recording.read()
        frames = _frames(recording, maps)
        stride = windows.stride if part == "test" else windows.train_stride
        for start in range(0, frames - windows.frames + 1, stride):
            name = f"{recording.number}_{start:04d}"
            reach, speed, angle = (np.ascontiguousarray(maps[view][start : start + windows.frames].T) for view in VIEWS)
            path = folder / _CLIPS / f"{name}.npz"
            np.savez_compressed(path, range_time=reach, doppler_time=speed, azimuth_time=angle)
            splits[part][name] = {
                "filefolder": _CLIPS,
                "fileindex": name,
                "captions": [],
                "label": recording.activity,
                "group": recording.number,
                "recording": recording.source,
                "start": start,
            }
    for part, entries in splits.items():
        if not entries:
            raise ValueError(f"no clip for {part}; recordings have {windows.frames} frames at least, or cut shorter")
        if sentences is not None:
            _caption(entries, sentences[part])
        _dump(folder / f"{part}.json", entries)
    return splits


def _frames(recording: Recording, maps: Maps) -> int:
    lengths = {view: len(own) for view, own in maps.items()}
    if len(set(lengths.values())) > 1 or not all(np.isfinite(own).all() for own in maps.values()):
        raise ValueError(f"recording {recording.number}, {recording.source}: views of {lengths} frames, or not finite")
    return next(iter(lengths.values()))


def _caption(entries: dict[str, dict[str, Any]], sentences: dict[str, list[str]]) -> None:
    seen: Counter[str] = Counter()
    for entry in entries.values():
        activity = entry["label"]
        if activity not in sentences:
            raise ValueError(f"no sentences are known for {activity!r}; leave captions out, or rename the activity")
        entry["captions"] = dealt(sentences[activity], seen[activity], CAPTIONS)
        seen[activity] += 1


def _notes(windows: ClipWindows, sentences: Sentences | None) -> list[str]:
    notes = [
        f"RadHAR: clips of {windows.frames} frames, about {windows.frames / RATE:g} s; the test is the repository's "
        "Test, validation are whole recordings of its Train; who moves is not published, so a person may be in all"
    ]
    if sentences is not None:
        notes.append(
            "captions are of KIT-ML and paired with the clips by activity, not recorded with them: beyond the activity "
            "they say nothing of the clip. Sentences of train, val and test are different ones, if at times alike but "
            f"for left and right ({counts(sentences)}), and each clip has up to {CAPTIONS}"
        )
    return notes


def _dump(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
