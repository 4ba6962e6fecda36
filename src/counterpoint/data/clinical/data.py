"""Stays of patients: irregular events and an outcome, from published forms or long tables to batches."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, final
from zlib import crc32

import numpy as np

from counterpoint.data.audit import audit, content_values
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.clinical.events import EventConfig, event_store
from counterpoint.data.clinical.outcomes import Outcome, StayColumns, groups_of, labelled, labels_of
from counterpoint.data.clinical.standards import Standardised, standardise
from counterpoint.data.clinical.stays import MODALITY, SHOWN, Cells, StayReader
from counterpoint.data.clinical.views import EventViews, StayRows
from counterpoint.data.labelling import ordered
from counterpoint.data.ledger import Ledger, Quarantine, fingerprint
from counterpoint.data.splits import ByGroup, Split, text
from counterpoint.keys import Int
from counterpoint.types import EventSpec

_PLAIN = EventViews()
_YES = {"true", "yes", "1"}


@final
class Clinical(Data):
    """Stays with events at irregular times, a row a stay.

    Stays that are empty or unreadable, or whose label is none of those there may be, go to the quarantine. A stay
    without a label is unlabelled.
    """

    def __init__(
        self,
        *,
        stays: StayReader,
        outcome: Outcome = Outcome(),  # noqa: B008
        columns: StayColumns = StayColumns(),  # noqa: B008
        events: EventConfig = EventConfig(),  # noqa: B008
        views: EventViews = EventViews(),  # noqa: B008
        split: Split = ByGroup(),  # noqa: B008
        quarantine: Quarantine = Quarantine(),  # noqa: B008
    ) -> None:
        """Read all events and make sets of them.

        Args:
            stays: where they are, in which form.
            outcome: what is to be predicted.
            columns: group, domain and metadata.
            events: which events are used, and how their values are standardised.
            views: what training sees of a stay.
            split: who is trained on and who is tested on.
            quarantine: what becomes of stays that cannot be used.

        Raises:
            ValueError: naming file, row and remedy.
        """
        self._config, self._views, self._columns = events, views, columns
        self._ledger = Ledger(quarantine)
        read = stays.read()
        self._column = outcome.column or stays.outcome
        store, variables, reasons = event_store(read, events)
        labels, refused = labels_of(read, outcome, stays.outcome)
        reasons = refused | reasons
        for row, reason in sorted(reasons.items()):
            self._ledger.reject(read.names[row], read.files[row], 0, MODALITY, reason)
        self._ledger.settle(len(read.names))
        kept = np.array([row for row in range(len(read.names)) if row not in reasons], dtype=np.int64)
        self._sources, self._account, self._given = read.sources, read.account, read.given
        self._files = [read.files[row] for row in kept]
        self._store = store.take(kept) if reasons else store
        self.names = tuple(read.names[row] for row in kept)
        self._labels = [labels[row] for row in kept]
        self._cells: Cells = {name: [column[row] for row in kept] for name, column in read.cells.items()}
        self.classes = tuple(dict.fromkeys(outcome.names.values())) or ordered(self._labels)
        sizes = np.diff(self._store.sets)
        longest = int(np.diff(self._store.rows).max())
        self.specs = {MODALITY: EventSpec(variables, longest, int(sizes.max()))}
        self._variables = variables
        self._groups = groups_of(self._cells, self.names, columns.group)
        self._labelling = labelled(self._store, self._labels, self.classes, self._groups, self._cells, columns)
        self._folds = split.divide(self._cells, np.array(self._groups), self._labelling.labels)
        self.folds = tuple(self._folds)
        self._scales: dict[str, Standardised] = {}

    def training(self, fold: str, split: SplitName) -> Rows:
        """One row a stay of the split.

        Raises:
            ValueError: if there is no such fold, or under two stays to train on.
        """
        rows = self._part(fold, split)
        if split == "train" and len(rows) < 2:
            raise ValueError(
                f"fold {fold!r} has {len(rows)} stay to train on; at least two are needed: add stays, or enlarge "
                "the training share"
            )
        return self._rows(fold, rows, self._views, None)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """One row a stay of the split, whole."""
        rows = self._part(fold, split)
        keys = np.array([crc32(self.names[row].encode()) for row in rows], dtype=np.int64)
        return self._rows(fold, rows, _PLAIN, keys)

    def _rows(self, fold: str, rows: Int, views: EventViews, keys: Int | None) -> Rows:
        scale = self._scale(fold)
        return StayRows(self._store, scale.values, scale.scaled, rows, self._labelling, views, keys)

    def audit(self, fold: str) -> list[str]:
        """Ids, groups and identical events shared by the splits."""
        return audit(self._fold(fold), {"id": self.names, "group": self._groups, "content": self._contents})

    def report(self) -> dict[str, Any]:
        """Sources, counts, columns, classes, folds and the quarantine; and what was found in the events."""
        labels, store = Counter(self._labels), self._store
        quarantine = self._ledger.report()
        return {
            "simulated": any(text(cell).lower() in _YES for cell in self._cells.get("simulated", [])),
            "sources": self._fingerprints,
            "columns": {"outcome": self._column, **asdict(self._columns)},
            "counts": {
                "stays": len(self.names),
                "events": len(store.values),
                "sets": len(store.times),
                "variables": len(self._variables),
                "groups": len(set(self._groups)),
                "unlabelled": labels[""],
                "quarantined": quarantine["rejected"],
            },
            **self._divided(labels),
            "quarantine": quarantine["rejections"],
            "events": self._found(),
        }

    def _found(self) -> dict[str, dict[str, Any]]:
        """The account of the events, with what each fold adds to it."""
        account, store = self._account.copy(), self._store
        for fold in self.folds:
            scale = self._scale(fold)
            where = f"fold {fold}: " if len(self.folds) > 1 else ""
            owners = store.owners[scale.clipped]
            account.note(
                f"{where}value beyond {self._config.clip} standard deviations, set to that",
                len(owners),
                [self.names[at] for at in np.unique(owners)],
                [self._spell(int(event)) for event in scale.clipped[:SHOWN]],
            )
            zero = "" if self._config.normalise == "given" else ", its values set to 0"
            for kind, names in (("no training stay has", scale.absent), ("has one value in training", scale.flat)):
                codes = [self._variables.index(name) for name in names]
                events = np.isin(store.codes, codes)
                stays = [self.names[at] for at in np.unique(store.owners[events])]
                account.note(f"{where}variable that {kind}{zero}", len(names), stays, names)
        return account.report()

    def _spell(self, event: int) -> str:
        store = self._store
        owner = store.owners[event]
        return (
            f"{self._files[owner]}, stay {self.names[owner]}: {self._variables[store.codes[event]]!r} = "
            f"{store.values[event]:g} at minute {store.minutes[event]:g}"
        )

    def _scale(self, fold: str) -> Standardised:
        if fold not in self._scales:
            train = self._fold(fold).train
            self._scales[fold] = standardise(self._store, self._variables, train, self._config, self._given)
        return self._scales[fold]

    @cached_property
    def _fingerprints(self) -> list[dict[str, Any]]:
        return [_fingerprint(path) for path in self._sources]

    @cached_property
    def _contents(self) -> list[str]:
        store = self._store
        borders = store.sets[store.rows]
        columns = (store.minutes, store.codes, store.values)
        digests = [
            hashlib.sha256(b"".join(column[first:last].tobytes() for column in columns)).hexdigest()
            for first, last in pairwise(borders)
        ]
        # Two stays of a few descriptors and nothing else may be alike by chance.
        long = np.diff(store.rows) > 1
        return [value if some else "" for value, some in zip(content_values(self.names, digests), long, strict=True)]


def _fingerprint(path: Path) -> dict[str, Any]:
    """Of a file; or of a folder: bytes of all files, and the digest of their names and digests."""
    if not path.is_dir():
        return fingerprint(path)
    files = [fingerprint(file) for file in sorted(path.rglob("*")) if file.is_file()]
    listed = "".join(f"{Path(file['path']).relative_to(path).as_posix()} {file['sha256']}\n" for file in files)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return {"path": str(path), "bytes": sum(file["bytes"] for file in files), "sha256": digest}
