"""Long signals, one recording an id: vibration above all, and whatever else is a table and an HDF5 file."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final
from zlib import crc32

import numpy as np

from counterpoint.data.audit import audit, content_values
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.labelling import ordered
from counterpoint.data.ledger import Ledger, Quarantine, fingerprint
from counterpoint.data.splits import ByGroup, Split, text
from counterpoint.data.vibration.recordings import (
    MODALITY,
    Catalogue,
    Collection,
    Columns,
    read_catalogue,
)
from counterpoint.data.vibration.signals import SignalConfig
from counterpoint.data.vibration.sources import HDF5Source, Source
from counterpoint.data.vibration.store import flat_store
from counterpoint.data.vibration.views import PairRows, Views, WindowReader, WindowRows
from counterpoint.data.vibration.windows import EvenlySpaced, Windows
from counterpoint.keys import Int
from counterpoint.types import SignalSpec


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How recordings are read.

    Args:
        cache: folder of the flat store, made once and then mapped into memory; none reads windows from HDF5.
        check: without a cache, read every recording once at the start to find bad ones, or headers alone, and
            stop when a window turns out not to be finite.
        quarantine: what becomes of bad recordings.
    """

    cache: Path | None = None
    check: Literal["samples", "headers"] = "samples"
    quarantine: Quarantine = field(default_factory=Quarantine)


@final
class Vibration(Data):
    """Recordings of one or several collections, in windows.

    Two windows of one recording are two views. Recordings that are absent, empty, too short for the windows,
    not finite or unreadable go to the quarantine.
    """

    def __init__(
        self,
        *,
        collections: list[Collection],
        columns: Columns = Columns(),  # noqa: B008
        select: dict[str, list[str | int | float]] = {},  # noqa: B006
        views: Views = Views(),  # noqa: B008
        evaluation: Windows = EvenlySpaced(length=1024, count=8),  # noqa: B008
        signal: SignalConfig = SignalConfig(),  # noqa: B008
        split: Split = ByGroup(),  # noqa: B008
        loading: Loading = Loading(),
    ) -> None:
        """Read tables and headers, and open the source of the samples.

        Args:
            collections: tables with their HDF5 files; classes are matched by name over all of them.
            columns: which columns mean what.
            select: column -> values; only rows that have one of them in each of these columns are used.
            views: how two views of a recording are cut and augmented.
            evaluation: which windows of a recording are embedded and scored.
            signal: rate, truncation, channels, normalisation.
            split: who is trained on and who is tested on.
            loading: cache, checks and quarantine.

        Raises:
            ValueError: naming file, row and remedy.
        """
        self._collections, self._signal = collections, signal
        self._views, self._windows, self._loading = views, evaluation, loading
        self._ledger = Ledger(loading.quarantine)
        catalogue, total, self._matched = read_catalogue(collections, columns, select, self._ledger)
        if not catalogue.names:
            self._ledger.settle(total)
        self._rate = _shared_rate(catalogue, signal)
        self._widths, self._width = views.widths(self._rate), evaluation.width(self._rate)
        catalogue = catalogue.reject(self._ledger, self._too_short(catalogue))
        self._table, self._source = self._open(catalogue)
        self._ledger.settle(total)
        self._reader = WindowReader(self._source, signal, MODALITY)
        self.names = tuple(self._table.names)
        self.classes = tuple(columns.classes) or ordered(self._table.labels)
        self.group_names = ordered(self._table.groups)
        longest = max(int(self._widths.max()), self._width)
        self.specs = {MODALITY: SignalSpec(self._source.channels, longest, self._rate)}
        self._columns_of = self._table.labelling(self.classes, columns.metadata)
        self._folds = split.divide(self._table.cells, np.array(self._table.groups), self._columns_of.labels)
        self.folds = tuple(self._folds)

    def training(self, fold: str, split: SplitName) -> Rows:
        """One row a signal and repeat of the split, two views each.

        Raises:
            ValueError: if there is no such fold, or under two recordings to train on.
        """
        rows = self._part(fold, split)
        if split == "train" and len(rows) < 2:
            raise ValueError(
                f"fold {fold!r} has {len(rows)} recording to train on; at least two are needed, because the "
                "negatives are windows of other recordings: add recordings, or enlarge the training share"
            )
        return PairRows(self._reader, self._signals(rows), self._columns_of, self._views, self._widths)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """One row a window of the split, in the order of the recordings."""
        signals = self._signals(self._part(fold, split))
        source = self._source
        names = (self.names[row] for row in source.recordings[signals])
        # The key hangs on the recording's name, so that its windows stay when others come or go.
        keys = np.array([crc32(name.encode()) for name in names], dtype=np.int64)
        starts = self._windows.starts(source.lengths[signals], self._width, keys)
        which, column = np.nonzero(starts >= 0)
        return WindowRows(self._reader, signals[which], starts[which, column], self._columns_of, self._width)

    def audit(self, fold: str) -> list[str]:
        """Ids, groups and identical samples shared by the splits; reads all samples where no cache is set."""
        traits = {"id": self._table.names, "group": self._table.groups, "content": self._contents}
        return audit(self._fold(fold), traits)

    def report(self) -> dict[str, Any]:
        """Sources, counts, columns, classes, folds and the quarantine; and whether a simulator made them."""
        labels = Counter(self._table.labels)
        quarantine = self._ledger.report()
        return {
            "simulated": any("simulated" in text(cell).lower() for cell in self._table.cells.get("Name", [])),
            "sources": list(self._fingerprints.values()),
            "columns": {str(c.metadata): found for c, found in zip(self._collections, self._matched, strict=True)},
            "counts": {
                "recordings": len(self.names),
                "signals": len(self._source.lengths),
                "samples": int(self._source.lengths.sum()),
                "groups": len(set(self._table.groups)),
                "unlabelled": labels[""],
                "quarantined": len(quarantine["rejections"]),
                "windows without spread": self._reader.flat,
            },
            **self._divided(labels),
            "quarantine": quarantine["rejections"],
        }

    def _too_short(self, catalogue: Catalogue) -> dict[int, str]:
        widest = int(self._widths.max())
        needed = max(self._views.windows.shortest_pair(widest), self._windows.shortest(self._width))
        reasons = {}
        for row, recording in enumerate(catalogue.recordings):
            if self._signal.rate is not None and not recording.rate:
                reasons[row] = "rate missing: it is needed to resample"
            elif recording.kept(self._signal) < needed:
                kept = recording.kept(self._signal)
                reasons[row] = f"too short: {kept} samples, the windows need {needed}"
        return reasons

    def _open(self, catalogue: Catalogue) -> tuple[Catalogue, Source]:
        """The source of the samples, and the catalogue without what it could not read."""
        if self._signal.channels == "require":
            _require_channels(catalogue)
        source: Source
        if self._loading.cache is None:
            scan = self._loading.check == "samples"
            source = HDF5Source(catalogue.recordings, self._signal, scan=scan)
        else:
            digests = {Path(path): entry["sha256"] for path, entry in self._fingerprints.items()}
            source = flat_store(self._loading.cache, catalogue.recordings, self._signal, digests)
        return catalogue.reject(self._ledger, source.rejected), source

    def _signals(self, rows: Int) -> Int:
        return np.flatnonzero(np.isin(self._source.recordings, rows))

    @cached_property
    def _fingerprints(self) -> dict[str, dict[str, Any]]:
        paths = (path for entry in self._collections for path in (entry.metadata, entry.signals))
        return {str(path): fingerprint(path) for path in dict.fromkeys(paths)}

    @cached_property
    def _contents(self) -> list[str]:
        joined = [hashlib.sha256() for _ in self.names]
        for recording, digest in zip(self._source.recordings, self._source.digests(), strict=True):
            joined[recording].update(digest.encode())
        return content_values(self.names, [digest.hexdigest() for digest in joined])


def _shared_rate(catalogue: Catalogue, signal: SignalConfig) -> float:
    if signal.rate is not None:
        return signal.rate
    rates = {recording.rate for recording in catalogue.recordings}
    return rates.pop() if len(rates) == 1 else 0.0


def _require_channels(catalogue: Catalogue) -> None:
    counts = Counter(recording.channels for recording in catalogue.recordings)
    if len(counts) > 1:
        usual = counts.most_common(1)[0][0]
        row = next(at for at, r in enumerate(catalogue.recordings) if r.channels != usual)
        recording = catalogue.recordings[row]
        raise ValueError(
            f"{recording.file}, dataset {recording.key!r} (row {catalogue.rows[row]} of the table): "
            f"{recording.channels} channels where most have {usual}; set signal.channels to first, mean or "
            "each, or leave such rows out by select"
        )
