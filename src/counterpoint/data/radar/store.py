"""Clips as arrays: read when they are first asked for, normalised, and kept in memory as far as that is allowed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, final

import numpy as np

from counterpoint.data.features.dropout import Bool
from counterpoint.data.radar.arrays import Header, UnreadableClip, read
from counterpoint.data.radar.normalise import Array, Normalise, normalised
from counterpoint.keys import Int


class Place(NamedTuple):
    """A clip on disk.

    Attributes:
        name: its id.
        path: its file.
        headers: view -> what the file says of it.
    """

    name: str
    path: Path
    headers: dict[str, Header]


class _Kept:
    """Clips in memory, and the bytes that may still be added."""

    def __init__(self, room: int) -> None:
        self._arrays: dict[tuple[int, str], Array] = {}
        self._room = room

    def get(self, clip: int, view: str) -> Array | None:
        return self._arrays.get((clip, view))

    def add(self, clip: int, view: str, values: Array) -> None:
        if values.nbytes <= self._room:
            self._room -= values.nbytes
            self._arrays[clip, view] = values


@final
class ClipStore:
    """The views of n clips.

    To read and decompress a clip of 512 bins and 200 frames takes 6 ms, its logarithm 3 ms, and it is asked for once an
    epoch: what is read is kept, as float16, until the memory is full, and from then on read anew. What was read before
    the loader's processes were started, they share.

    Args:
        clips: where they are; each has the same bins a view.
        views: names of the views that are used.
        how: how magnitudes are normalised.
        memory: bytes that may be kept.

    Attributes:
        clips: as given.
        views: as given.
        how: as given.
        bins: of each view.
        frames: (n,) of each clip.
        present: (n, V) which views each clip has.
    """

    def __init__(self, clips: Sequence[Place], views: Sequence[str], how: Normalise, memory: int) -> None:
        self.clips, self.views, self.how = clips, tuple(views), how
        self.bins = {name: next((c.headers[name].bins for c in clips if name in c.headers), 0) for name in views}
        self.frames: Int = np.array([next(iter(clip.headers.values())).frames for clip in clips], dtype=np.int64)
        self.present: Bool = np.array([[name in clip.headers for name in views] for clip in clips], dtype=np.bool_)
        self._kept = _Kept(memory)
        self._digests: dict[int, str] = {}

    def only(self, views: Sequence[str]) -> ClipStore:
        """Some of the views, of the same clips; what is kept is shared."""
        seen = copy.copy(self)
        seen.views, seen.bins = tuple(views), {name: self.bins[name] for name in views}
        seen.present = self.present[:, [self.views.index(name) for name in views]]
        return seen

    def having(self, view: str) -> Bool:
        """(n,) which clips have a view."""
        having: Bool = self.present[:, self.views.index(view)]
        return having

    def read(self, clip: int, view: str) -> Array:
        """A view of a clip that has it, (T, C), normalised and whole.

        Raises:
            ValueError: if the file turns out to be damaged; what headers do not show is seen here first.
        """
        kept = self._kept.get(clip, view)
        if kept is not None:
            return kept
        place = self.clips[clip]
        try:
            values = normalised(read(place.path, view), self.how)
        except UnreadableClip as error:
            raise ValueError(
                f"{place.path}: clip {place.name}, {error}; files.check: samples finds such clips at the start"
            ) from error
        self._kept.add(clip, view, values)
        return values

    def digest(self, clip: int) -> str:
        """SHA-256 of the file of a clip, read once."""
        if clip not in self._digests:
            with self.clips[clip].path.open("rb") as file:
                self._digests[clip] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[clip]

    def contents(self) -> list[str]:
        """A digest a clip of the bytes of its views: clips that have the same are the same, whatever their files.

        Archives carry a checksum of every array, so only clips whose checksums agree are read.
        """
        checks = [
            " ".join(
                f"{name} {head.bins} {head.frames} {head.check:08x}" for name, head in sorted(clip.headers.items())
            )
            for clip in self.clips
        ]
        paths: dict[str, set[Path]] = {}
        for check, clip in zip(checks, self.clips, strict=True):
            paths.setdefault(check, set()).add(clip.path)
        return [
            check if len(paths[check]) == 1 else f"{check} {_bytes(clip)}"
            for check, clip in zip(checks, self.clips, strict=True)
        ]


def _bytes(clip: Place) -> str:
    joined = hashlib.sha256()
    for name in sorted(clip.headers):
        joined.update(read(clip.path, name).tobytes())
    return joined.hexdigest()
