"""Rows of specimens: their scans, padded to the longest of a batch, and their row of the table."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.data.base import Draw, Rows
from counterpoint.data.features.dropout import Bool, RunViews
from counterpoint.data.labelling import Labelling
from counterpoint.data.spectra.augment import SpectralAugmentation, augmented
from counterpoint.data.spectra.scans import Float
from counterpoint.data.spectra.treatment import Treated
from counterpoint.keys import Int, derive, uniforms
from counterpoint.types import Batch, Features, Modality, Spectra, Table

SPECTRA, TABLE = "spectra", "table"
_SCANS, _AUGMENT = 81, 91


@dataclass(frozen=True, kw_only=True)
class ScanViews:
    """What training sees of a specimen.

    Args:
        count: views a specimen; objectives that contrast two views need two.
        scans: scans of each view, drawn at random; those of a specimen that has no more are all shown; none for all.
        augmentations: of the scans of each view, one after the other, after the pretreatments.
        modality_dropout: share of the modalities left out of each view, each on its own; the last one of a row stays.
    """

    count: Literal[1, 2] = 1
    scans: int | None = None
    augmentations: list[SpectralAugmentation] = field(default_factory=list)
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: naming the setting.
        """
        if self.scans is not None and self.scans < 1:
            raise ValueError(f"views.scans is {self.scans}; a view has 1 or more, or none to show all")
        self.dropout.__post_init__()

    @property
    def dropout(self) -> RunViews:
        """Count and modality dropout, as of runs."""
        return RunViews(count=self.count, modality_dropout=self.modality_dropout)

    def chosen(self, has: Bool, keys: Int, view: int) -> Bool:
        """Which scans a view of each row shows.

        Args:
            has: (B, S) which there are.
            keys: (B,) of the draws.
            view: number of the view.

        Returns:
            (B, S), a part of ``has``.
        """
        if self.scans is None or has.shape[1] <= self.scans:
            return has
        numbers = np.where(has, uniforms(derive(keys, _SCANS + view), has.shape[1]), 2.0)
        last = np.sort(numbers, 1)[:, [self.scans - 1]]
        shown: Bool = has & (numbers <= last)
        return shown


class Specimen(NamedTuple):
    """What a fold sees of all specimens.

    Attributes:
        treated: all scans; None where there are none to see.
        table: (n, F) features of the table; None where there is none to see.
        known: (n, F) which of them are known.
    """

    treated: Treated | None
    table: Float | None
    known: Bool | None


@final
class SpectraRows(Rows):
    """One row a specimen, or one a scan.

    Args:
        source: what the fold sees.
        specimens: (R,) of each row.
        scans: (R, S) its scans, from the left; -1 for none.
        columns: of all specimens.
        targets: (n,) of all specimens; None where there are none.
        views: how many, and what they show.
    """

    def __init__(
        self,
        source: Specimen,
        specimens: Int,
        scans: Int,
        columns: Labelling,
        targets: NDArray[np.float64] | None,
        views: ScanViews,
    ) -> None:
        self._source, self._scans, self._views, self._dropout = source, scans, views, views.dropout
        self.ids = specimens
        self.labels, self.groups = columns.labels[specimens], columns.groups[specimens]
        self.domains, self.targets = columns.domains[specimens], None if targets is None else targets[specimens]
        counts = (scans >= 0).sum(1)
        self.metadata, self.metadata_names = columns.metadata[specimens], columns.metadata_names
        present = {}
        if source.treated is not None:
            present[SPECTRA] = counts > 0
            self.lengths = counts if len(np.unique(counts)) > 1 else None
            self.metadata = np.concatenate([counts[:, None].astype(np.float64), self.metadata], 1)
            self.metadata_names = ("number of scans", *self.metadata_names)
        if source.known is not None:
            present[TABLE] = source.known[specimens].any(1)
        self._names = list(present)
        self._present: Bool = np.stack(list(present.values()), 1)
        self._unread: frozenset[str] = frozenset()

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Gather scans and features of all rows, a view at a time."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        keys = np.array([draw.key for draw in draws], dtype=np.int64)
        views = [self._view(rows, keys, view) for view in range(self._views.count)]
        columns = (self.labels, self.groups, self.domains, self.ids)
        labels, groups, domains, ids = (torch.from_numpy(column[rows]) for column in columns)
        return Batch(views, labels, groups, domains, ids, self.targets_of(rows))

    def content(self, modality: str) -> list[str]:
        """See ``Rows.content``: the scans as the fold sees them."""
        at = self._names.index(self._known(modality))
        found = []
        for row, own in enumerate(self._present[:, at]):
            parts = self.recorded(modality, [row]) if own else ()
            digest = hashlib.sha256(
                b"".join(part.numpy().tobytes() for part in parts if isinstance(part, torch.Tensor))
            )
            found.append(digest.hexdigest() if own else "")
        return found

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        """See ``Rows.recorded``."""
        name, places = self._known(modality), np.array(rows, dtype=np.int64)
        return self._spectra(places, self._scans[places] >= 0) if name == SPECTRA else self._table(places)

    def without(self, modalities: Sequence[str]) -> Rows:
        """See ``Rows.without``; scans that are drawn or augmented cannot be left out."""
        if SPECTRA in modalities and (self._views.scans is not None or self._views.augmentations):
            raise ValueError(
                "views.scans and views.augmentations change the spectra at random; features of them cannot be cached: "
                "leave trainer.cache out, or the two"
            )
        rows = copy.copy(self)
        rows._unread = self._unread | set(modalities)
        return rows

    def _known(self, modality: str) -> str:
        if modality not in self._names:
            raise ValueError(f"no modality {modality!r}; there are {', '.join(self._names)}")
        return modality

    def _view(self, rows: Int, keys: Int, view: int) -> dict[str, Modality]:
        kept = self._dropout.kept(self._present[rows], keys, view)
        found: dict[str, Modality] = {}
        for at, name in enumerate(self._names):
            if name in self._unread:
                found[name] = Features(torch.empty(len(rows), 1, 0), torch.from_numpy(kept[:, [at]]))
            elif name == SPECTRA:
                has = self._views.chosen(self._scans[rows] >= 0, keys, view) & kept[:, [at]]
                found[name] = self._spectra(rows, has, derive(keys, _AUGMENT + view))
            else:
                found[name] = self._table(rows, kept[:, at])
        return found

    def _spectra(self, rows: Int, shown: Bool, keys: Int | None = None) -> Spectra:
        """Those scans of each row that are shown, from the left; augmented where there are keys."""
        treated = self._source.treated
        assert treated is not None
        width = max(1, int(shown.sum(1).max()))
        left = np.argsort(~shown, 1, kind="stable")[:, :width]
        mask = np.take_along_axis(shown, left, 1)
        scans = np.take_along_axis(self._scans[rows], left, 1)
        values = treated.values[np.where(mask, scans, 0)]
        values[~mask] = 0
        if keys is not None and self._views.augmentations:
            for row, key in enumerate(keys.tolist()):
                if mask[row, 0]:
                    own = values[row, mask[row]].astype(np.float64)
                    chance = np.random.default_rng(key)
                    values[row, mask[row]] = augmented(self._views.augmentations, own, treated.axis, chance)
        return Spectra(torch.from_numpy(values), torch.from_numpy(mask))

    def _table(self, rows: Int, kept: Bool | None = None) -> Table:
        assert self._source.table is not None
        assert self._source.known is not None
        specimens = self.ids[rows]
        mask = self._source.known[specimens]
        if kept is not None:
            mask = mask & kept[:, None]
        values = np.where(mask, self._source.table[specimens], np.float32(0))
        return Table(torch.from_numpy(values), torch.from_numpy(mask))
