"""Weld runs as rows: files decoded a batch at a time, the slow channels standardised by the training runs."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.data.base import Draw, Rows
from counterpoint.data.features.dropout import Bool, RunViews
from counterpoint.data.labelling import Labelling
from counterpoint.data.weld.medium import Medium, Recorded, UnreadableFile
from counterpoint.keys import Int
from counterpoint.types import Batch, Features, Images, ImageSpec, Modality, Signal

Float = NDArray[np.float32]


class Scale(NamedTuple):
    """How levels are standardised: offset and divisor (C,), infinite where a level never changes."""

    offset: NDArray[np.float64]
    divisor: NDArray[np.float64]


def scale_of(levels: Float) -> Scale:
    """Mean and standard deviation of (n, L, C) over runs and time."""
    wide = levels.reshape(-1, levels.shape[2]).astype(np.float64)
    return Scale(wide.mean(0), np.where(wide.max(0) > wide.min(0), wide.std(0), np.inf))


class RunFiles:
    """The files of n usable runs, by modality.

    Args:
        media: modality -> what reads it.
        files: modality -> files of each run; none where the run lacks it.
        levels: modality -> (n, L, C) of modalities that are small and read once.
    """

    def __init__(
        self, media: Mapping[str, Medium], files: Mapping[str, Sequence[Sequence[Path]]], levels: Mapping[str, Float]
    ) -> None:
        self.media, self.files, self.levels = media, files, levels
        self.present: Bool = np.array([[len(some) > 0 for some in files[name]] for name in media], dtype=np.bool_).T
        self._digests: dict[Path, str] = {}

    def only(self, modalities: Sequence[str]) -> RunFiles:
        """Some of the modalities, of the same runs."""
        seen = RunFiles(
            {name: self.media[name] for name in modalities},
            {name: self.files[name] for name in modalities},
            {name: levels for name, levels in self.levels.items() if name in modalities},
        )
        seen._digests = self._digests
        return seen

    def having(self, modality: str) -> Bool:
        """(n,) which runs have a modality."""
        having: Bool = self.present[:, list(self.media).index(modality)]
        return having

    def read(self, modality: str, run: int) -> Recorded:
        """One modality of one run.

        Raises:
            ValueError: if a file turns out to be damaged; what headers do not show is seen here first.
        """
        if modality in self.levels:
            values = self.levels[modality][run]
            return Recorded(values, np.ones(len(values), dtype=np.bool_))
        files = self.files[modality][run]
        try:
            return self.media[modality].read(files)
        except UnreadableFile as error:
            raise ValueError(
                f"{files[0]} ({modality}): {error}; loading.check: samples finds such files at the start"
            ) from error

    def digest(self, modality: str, run: int) -> str:
        """SHA-256 of the names and bytes of the files of one modality; "" where the run lacks it."""
        files = self.files[modality][run]
        if not files:
            return ""
        joined = hashlib.sha256()
        for path in files:
            joined.update(f"{path.name} {self.of_file(path)}\n".encode())
        return joined.hexdigest()

    def of_file(self, path: Path) -> str:
        """SHA-256 of a file, read once."""
        if path not in self._digests:
            with path.open("rb") as file:
                self._digests[path] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._digests[path]


@final
class WeldRows(Rows):
    """One row a run.

    Args:
        source: the files of all runs.
        scales: modality -> how its levels are standardised.
        runs: (n,) which runs.
        columns: of all runs.
        views: how many, and what is left out of them.
    """

    def __init__(
        self, source: RunFiles, scales: Mapping[str, Scale], runs: Int, columns: Labelling, views: RunViews
    ) -> None:
        self._source, self._scales, self._views = source, scales, views
        self.ids = runs
        self.labels, self.groups = columns.labels[runs], columns.groups[runs]
        self.domains, self.metadata = columns.domains[runs], columns.metadata[runs]
        self._unread: frozenset[str] = frozenset()

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Decode every modality that a view of the batch shows, each once."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        keys = np.array([draw.key for draw in draws], dtype=np.int64)
        runs = self.ids[rows]
        kept = [self._views.kept(self._source.present[runs], keys, view) for view in range(self._views.count)]
        views: list[dict[str, Modality]] = [{} for _ in kept]
        for at, name in enumerate(self._source.media):
            shown = np.stack([view[:, at] for view in kept])
            if name in self._unread:
                for view, own in zip(views, shown, strict=True):
                    view[name] = Features(torch.empty(len(runs), 1, 0), torch.from_numpy(own[:, None]))
                continue
            values, mask = self._gathered(name, runs, np.flatnonzero(shown.any(0)))
            for view, own in zip(views, shown, strict=True):
                view[name] = self._modality(name, values, mask, own)
        columns = (self.labels, self.groups, self.domains, self.ids)
        return Batch(views, *(torch.from_numpy(column[rows]) for column in columns))

    def content(self, modality: str) -> list[str]:
        """See ``Rows.content``: files, what reads them, and how levels are standardised in this fold."""
        if modality not in self._source.media:
            raise ValueError(f"no modality {modality!r}; there are {', '.join(self._source.media)}")
        settings = self._source.media[modality].settings
        if modality in self._scales:
            settings += "".join(column.tobytes().hex() for column in self._scales[modality])
        files = [self._source.digest(modality, int(run)) for run in self.ids]
        return [own and hashlib.sha256(f"{settings}\n{own}".encode()).hexdigest() for own in files]

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        """See ``Rows.recorded``."""
        runs = self.ids[rows]
        having = self._source.having(modality)[runs]
        values, mask = self._gathered(modality, runs, np.flatnonzero(having))
        return self._modality(modality, values, mask, having)

    def without(self, modalities: Sequence[str]) -> Rows:
        """See ``Rows.without``; nothing here changes from draw to draw but what is left out."""
        rows = copy.copy(self)
        rows._unread = self._unread | set(modalities)
        return rows

    def _gathered(self, name: str, runs: Int, wanted: Int) -> tuple[NDArray[Any], Bool]:
        """Values (B, L, ...) and mask (B, L), empty but for the rows wanted."""
        spec = self._source.media[name].spec
        picture = isinstance(spec, ImageSpec)
        shape = (spec.frames, 3, spec.height, spec.width) if isinstance(spec, ImageSpec) else _shape(spec)
        values = np.zeros((len(runs), *shape), dtype=np.uint8 if picture else np.float32)
        mask = np.zeros((len(runs), shape[0]), dtype=np.bool_)
        for row in wanted.tolist():
            values[row], mask[row] = self._source.read(name, int(runs[row]))
        if name in self._scales:
            scale = self._scales[name]
            values = np.where(mask[:, :, None], (values - scale.offset) / scale.divisor, 0.0).astype(np.float32)
        return values, mask

    def _modality(self, name: str, values: NDArray[Any], mask: Bool, own: Bool) -> Modality:
        """What one view shows of it; a copy only where that is less than was decoded."""
        hidden = mask.any(1) & ~own
        if hidden.any():
            values, mask = values.copy(), mask.copy()
            values[hidden], mask[hidden] = 0, False
        kind = Images if isinstance(self._source.media[name].spec, ImageSpec) else Signal
        return kind(torch.from_numpy(values), torch.from_numpy(mask))


def _shape(spec: Any) -> tuple[int, int]:
    return spec.length, spec.channels
