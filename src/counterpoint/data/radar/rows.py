"""Clips as rows: the views of a batch cut at one place a clip, a caption beside them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.data.base import Draw, Rows
from counterpoint.data.features.dropout import Bool, RunViews
from counterpoint.data.labelling import Labelling
from counterpoint.data.radar.frames import Cuts, Frames, cuts
from counterpoint.data.radar.normalise import Scale
from counterpoint.data.radar.store import ClipStore
from counterpoint.keys import Int, derive, uniforms
from counterpoint.types import Batch, Features, Modality, Signal, Text

TEXT = "text"
_CAPTION = 83


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is shown of a clip.

    Attributes:
        frames: lengths.
        views: how many times a clip is drawn, and what is left out.
        drawn: whether place and caption are drawn by key, or are the middle and the first.
        captions: of all clips; None where they are not shown.
    """

    frames: Frames
    views: RunViews
    drawn: bool
    captions: Sequence[tuple[str, ...]] | None


@final
class RadarRows(Rows):
    """One row a clip.

    Args:
        store: the arrays of all clips.
        scales: view -> how it is standardised.
        clips: (n,) which clips.
        columns: of all clips.
        shown: what is shown of them.
    """

    def __init__(
        self, store: ClipStore, scales: Mapping[str, Scale], clips: Int, columns: Labelling, shown: Shown
    ) -> None:
        self._store, self._scales, self._shown = store, scales, shown
        self.ids = clips
        self.labels, self.groups = columns.labels[clips], columns.groups[clips]
        self.domains, self.metadata = columns.domains[clips], columns.metadata[clips]
        self.lengths = cuts(store.frames[clips], shown.frames, None).lengths
        self._unread: frozenset[str] = frozenset()

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Cut every view of every clip at the place its key says, and choose a caption."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        keys = np.array([draw.key for draw in draws], dtype=np.int64)
        views = [self._view(self.ids[rows], keys, view) for view in range(self._shown.views.count)]
        columns = (self.labels, self.groups, self.domains, self.ids)
        return Batch(views, *(torch.from_numpy(column[rows]) for column in columns))

    def content(self, modality: str) -> list[str]:
        """See ``Rows.content``: the file, how it is cut, normalised and standardised in this fold; or the caption."""
        self._check(modality)
        if modality == TEXT:
            return [one and hashlib.sha256(one.encode()).hexdigest() for one in self._first(self.ids)]
        scale = "".join(part.tobytes().hex() for part in self._scales[modality])
        settings = f"{modality} {self._shown.frames} {self._store.how} {scale}"
        having = self._store.having(modality)[self.ids]
        return [
            hashlib.sha256(f"{settings}\n{self._store.digest(clip)}".encode()).hexdigest() if has else ""
            for clip, has in zip(self.ids.tolist(), having.tolist(), strict=True)
        ]

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        """See ``Rows.recorded``: the middle of what is longer than the longest."""
        self._check(modality)
        clips = self.ids[rows]
        if modality == TEXT:
            return Text(tuple(self._first(clips)))
        places = cuts(self._store.frames[clips], self._shown.frames, None)
        return self._signal(modality, clips, places, self._store.having(modality)[clips])

    def without(self, modalities: Sequence[str]) -> Rows:
        """See ``Rows.without``.

        Raises:
            ValueError: for views that are cropped at random, and captions that are drawn from several.
        """
        for name in modalities:
            self._check(name)
            if self._random(name):
                what = "draws one of several captions" if name == TEXT else "crops clips at random"
                raise ValueError(f"training {what}, so features of {name} cannot be cached; leave trainer.cache out")
        rows = copy.copy(self)
        rows._unread = self._unread | set(modalities)
        return rows

    def _check(self, modality: str) -> None:
        known = [*self._store.views, *([] if self._shown.captions is None else [TEXT])]
        if modality not in known:
            raise ValueError(f"no modality {modality!r}; there are {', '.join(known)}")

    def _random(self, modality: str) -> bool:
        if not self._shown.drawn:
            return False
        if modality == TEXT and self._shown.captions is not None:
            return any(len(self._shown.captions[clip]) > 1 for clip in self.ids)
        recorded = self._store.frames[self.ids]
        return bool((cuts(recorded, self._shown.frames, None).lengths < recorded).any())

    def _view(self, clips: Int, keys: Int, view: int) -> dict[str, Modality]:
        present = self._store.present[clips]
        kept = self._shown.views.kept(present, keys, view) if self._store.views else present
        places = cuts(self._store.frames[clips], self._shown.frames, keys if self._shown.drawn else None, view)
        found: dict[str, Modality] = {}
        for at, name in enumerate(self._store.views):
            own = kept[:, at]
            found[name] = _mark(own) if name in self._unread else self._signal(name, clips, places, own)
        if self._shown.captions is not None:
            sentences = self._sentences(clips, keys, view)
            having = np.array([sentence != "" for sentence in sentences], dtype=np.bool_)
            found[TEXT] = _mark(having) if TEXT in self._unread else Text(tuple(sentences))
        return found

    def _signal(self, name: str, clips: Int, places: Cuts, own: Bool) -> Signal:
        """One view (B, L, C), padded to the longest clip of the batch, empty where a row does not show it."""
        longest = int(places.lengths.max())
        values: NDArray[np.float32] = np.zeros((len(clips), longest, self._store.bins[name]), dtype=np.float32)
        mask = np.zeros((len(clips), longest), dtype=np.bool_)
        for row in np.flatnonzero(own).tolist():
            start, length = int(places.starts[row]), int(places.lengths[row])
            whole = self._store.read(int(clips[row]), name)
            values[row, :length] = self._scales[name].standardised(whole[start : start + length])
            mask[row, :length] = True
        return Signal(torch.from_numpy(values), torch.from_numpy(mask))

    def _first(self, clips: Int) -> list[str]:
        assert self._shown.captions is not None
        return [next(iter(self._shown.captions[clip]), "") for clip in clips]

    def _sentences(self, clips: Int, keys: Int, view: int) -> list[str]:
        """The first caption of each clip, or one that its key draws."""
        if not self._shown.drawn:
            return self._first(clips)
        assert self._shown.captions is not None
        shares = uniforms(derive(keys, _CAPTION + 16 * view), 1)[:, 0]
        known = [self._shown.captions[clip] for clip in clips]
        return [some[int(share * len(some))] if some else "" for some, share in zip(known, shares, strict=True)]


def _mark(shown: Bool) -> Features:
    """What stands for a modality that is not read: which rows show it."""
    return Features(torch.empty(len(shown), 1, 0), torch.from_numpy(shown[:, None]))
