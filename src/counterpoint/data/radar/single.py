"""A single clip from a file, as the clips of a collection are read: normalised, cut in the middle, standardised."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.radar.arrays import UnreadableClip, look, read
from counterpoint.data.radar.normalise import Normalise, Scale, normalised

if TYPE_CHECKING:
    from counterpoint.data.radar.data import RadarClips

_SETTINGS, _SCALES = "reading.json", "scales.npz"


@dataclass(frozen=True)
class Reading:
    """All that decides how a clip is read; it needs neither the collection nor torch.

    Args:
        how: how magnitudes are normalised.
        longest: frames; what is longer is cut.
        shortest: frames; what is shorter is refused.
        unit: lengths are multiples of it.
        scales: view -> how its bins are standardised.
    """

    how: Normalise
    longest: int
    shortest: int
    unit: int
    scales: dict[str, Scale]

    @classmethod
    def of(cls, data: RadarClips, fold: str) -> Reading:
        """How a reader evaluates the clips of a fold."""
        frames, store = data._frames, data._store
        scales = {name: data._scale(fold, name) for name in store.views}
        return cls(store.how, frames.longest, frames.shortest, frames.unit, scales)

    def save(self, folder: Path) -> None:
        """Write two files to a folder."""
        settings = [self.how, self.longest, self.shortest, self.unit, list(self.scales)]
        (folder / _SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
        np.savez(
            folder / _SCALES,
            **{f"{name}.{key}": one for name, s in self.scales.items() for key, one in s._asdict().items()},
        )

    @classmethod
    def load(cls, folder: Path) -> Reading:
        """Read what ``save`` wrote."""
        how, longest, shortest, unit, views = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        with np.load(folder / _SCALES, allow_pickle=False) as held:
            scales = {name: Scale(*(held[f"{name}.{key}"] for key in Scale._fields)) for name in views}
        return cls(how, longest, shortest, unit, scales)

    def read(self, path: Path) -> dict[str, NDArray[np.float32]]:
        """The views (T, C) that a file has.

        Raises:
            ValueError: naming the file, the array and what is wrong with it.
        """
        try:
            headers = look(path, list(self.scales))
            lengths = {head.frames for head in headers.values()}
            odd = [name for name, head in headers.items() if head.bins != len(self.scales[name].offset)]
            if odd:
                expected = len(self.scales[odd[0]].offset)
                raise UnreadableClip(odd[0], f"{headers[odd[0]].bins} bins, where {expected} were trained on")
            if len(lengths) > 1 or min(lengths) < self.shortest:
                told = ", ".join(f"{name} {head.frames}" for name, head in headers.items())
                raise UnreadableClip("clip", f"frames are {told}; all views have as many, at least {self.shortest}")
            return {name: self._view(normalised(read(path, name), self.how), name) for name in headers}
        except UnreadableClip as error:
            raise ValueError(f"{path}: {error}") from error

    def _view(self, values: NDArray[np.floating], name: str) -> NDArray[np.float32]:
        length = min(len(values) // self.unit * self.unit, self.longest)
        start = (len(values) - length) // 2
        return self.scales[name].standardised(values[start : start + length])
