"""The reader of spectra and tables: specimens with several scans and a row of features, divided by whole groups."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, final

import numpy as np

from counterpoint.data.audit import audit, content_values
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.features.dropout import Bool
from counterpoint.data.labelling import Labelling, indices, metadata_of, ordered
from counterpoint.data.ledger import Ledger, Quarantine, fingerprint
from counterpoint.data.spectra.admission import Unmatched, admit
from counterpoint.data.spectra.coffee import Coffee
from counterpoint.data.spectra.pretreatment import Pretreatment
from counterpoint.data.spectra.rows import SPECTRA, TABLE, ScanViews, Specimen, SpectraRows
from counterpoint.data.spectra.scan_arrays import ScanArrays
from counterpoint.data.spectra.scan_table import ScanTable
from counterpoint.data.spectra.scans import ScanSource
from counterpoint.data.spectra.specimens import (
    SpecimenColumns,
    Specimens,
    account_of,
    check_columns,
    groups_of,
    targets_of,
)
from counterpoint.data.spectra.table import TableSource, encode, read_specimens, refuse_answers
from counterpoint.data.spectra.treatment import Treatment
from counterpoint.data.splits import ByGroup, Split, text
from counterpoint.keys import Int
from counterpoint.types import SpectraSpec, TableSpec

__all__ = ["Coffee", "ScanArrays", "ScanTable", "SpectraLoading", "SpectraTables"]
_PLAIN = ScanViews()
_YES = {"true", "yes", "1"}


@dataclass(frozen=True, kw_only=True)
class SpectraLoading:
    """What becomes of bad scans and of specimens that scans or table lack.

    Args:
        saturated: share of the points, three at least, that stand at exactly the maximum of a scan whose detector was
            at its limit; such scans go to the quarantine.
        unmatched: a specimen without a row of the table, or without scans, is kept and lacks that modality, is left
            out, or stops the run; the account counts both kinds.
        quarantine: what becomes of scans and specimens that cannot be used.
    """

    saturated: float = 0.01
    unmatched: Unmatched = "mask"
    quarantine: Quarantine = Quarantine()  # noqa: RUF009

    def __post_init__(self) -> None:
        """Check the share.

        Raises:
            ValueError: if it is none.
        """
        if not 0 < self.saturated <= 1:
            raise ValueError(f"loading.saturated is {self.saturated}; a share lies above 0 and not above 1")


@final
class SpectraTables(Data):
    """Specimens or patients, each with several scans of its spectrum, a row of a table, or both.

    Modalities are ``spectra`` and ``table``. Scans that are constant, saturated or not finite go to the quarantine;
    specimens go there whose label is none of the classes, or none of whose scans is left.
    """

    def __init__(
        self,
        *,
        scans: ScanSource | None = None,
        table: TableSource | None = None,
        columns: SpecimenColumns = SpecimenColumns(),  # noqa: B008
        rows: Literal["specimen", "scan"] = "specimen",
        pretreatments: list[Pretreatment] = [],  # noqa: B006
        views: ScanViews = ScanViews(),  # noqa: B008
        split: Split = ByGroup(),  # noqa: B008
        loading: SpectraLoading = SpectraLoading(),
    ) -> None:
        """Read everything.

        Args:
            scans: where spectra are read from; none for a table alone.
            table: where features are read from; none for spectra alone.
            columns: what the columns of both mean.
            rows: a row is a specimen with all its scans, or one scan. Specimens are divided either way.
            pretreatments: of the scans, one after the other, each fitted on the training scans of the fold.
            views: what training sees of a specimen.
            split: who is trained on and who is tested on.
            loading: bad scans, unmatched specimens and the quarantine.

        Raises:
            ValueError: naming file, row and remedy.
        """
        if scans is None and table is None:
            raise ValueError("data has neither scans nor a table; give at least one of them")
        if scans is None and (rows == "scan" or pretreatments):
            raise ValueError("data has no scans; set rows to specimen, and leave pretreatments out")
        self._columns, self._rows, self._views = columns, rows, views
        self._settings = {"scans": scans, "table": table, "pretreatments": pretreatments, "loading": loading}
        self._ledgers = {kind: Ledger(loading.quarantine) for kind in ("scans", "specimens")}
        found = None if scans is None else scans.read()
        read = None if table is None else read_specimens(table)
        check_columns(columns, Specimens([], found, read))
        features = None if table is None or read is None else encode(table, read, columns.special)
        self._admitted = admit(found, read, features, columns, loading.saturated, loading.unmatched, self._ledgers)
        specimens, labels = self._admitted.specimens, self._admitted.labels
        self.names, self._labels = tuple(specimens.names), labels
        self.classes = tuple(dict.fromkeys(columns.names.values())) or ordered(labels)
        self._groups = groups_of(specimens, columns.group)
        self.group_names = ordered(self._groups)
        self.target, self._targets = columns.target, np.array(targets_of(specimens, columns.target), dtype=np.float64)
        self._labelling = self._numbered()
        self._features = None if features is None else features.take(np.array(specimens.rows, dtype=np.int64))
        if table is not None and self._features is not None:
            refuse_answers(self._features, self._labelling.labels, self._targets, self.classes, table)
        alike = self._targets if columns.target and not self.classes else self._labelling.labels
        self._folds = split.divide(specimens, np.array(self._groups), alike)
        self.folds, self._whole = tuple(self._folds), dict(self._folds)
        self._treatment = self._treating(pretreatments)
        self.specs = self._specs()

    def _numbered(self) -> Labelling:
        columns, specimens = self._columns, self._admitted.specimens
        domains = [text(cell) for cell in specimens[columns.domain]] if columns.domain else [""] * len(self.names)
        metadata, called = metadata_of(specimens, columns.metadata, len(self.names))
        return Labelling(
            indices(self._labels, self.classes),
            indices(self._groups, self.group_names),
            np.maximum(indices(domains, ordered(domains)), 0),
            metadata,
            metadata_names=called,
        )

    def _treating(self, pretreatments: Sequence[Pretreatment]) -> Treatment | None:
        scans, members = self._admitted.scans, self._admitted.members
        if scans is None:
            return None
        usable = np.zeros(len(scans.rows), dtype=np.bool_)
        usable[[scan for own in members for scan in own]] = True
        train = {
            name: np.array(sorted(scan for specimen in fold.train for scan in members[specimen]), dtype=np.int64)
            for name, fold in self._folds.items()
        }
        return Treatment(scans, usable, pretreatments, train)

    def _specs(self) -> dict[str, Any]:
        specs: dict[str, Any] = {}
        if self._treatment is not None:
            axis = self._treatment.of(self.folds[0]).axis
            most = 1 if self._rows == "scan" else max(map(len, self._admitted.members))
            assert self._admitted.scans is not None
            specs[SPECTRA] = SpectraSpec(most, tuple(axis.tolist()), self._admitted.scans.unit)
        if self._features is not None:
            specs[TABLE] = TableSpec(self._features.columns, self._features.levels)
        return specs

    def training(self, fold: str, split: SplitName) -> Rows:
        """One row a specimen, or a scan, of the split.

        Raises:
            ValueError: if there is no such fold, or under two specimens to train on.
        """
        part = self._part(fold, split)
        if split == "train" and len(part) < 2:
            raise ValueError(
                f"fold {fold!r} has {len(part)} specimen to train on; add specimens, or enlarge the training share"
            )
        return self._made(fold, part, self._views)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """One row a specimen, or a scan, of the split, with all it has."""
        return self._made(fold, self._part(fold, split), _PLAIN)

    def _made(self, fold: str, part: Int, views: ScanViews) -> Rows:
        self._fold(fold)
        treated = self._treatment.of(fold) if self._treatment and SPECTRA in self.specs else None
        table, known = None, None
        if TABLE in self.specs:
            assert self._features is not None
            table, known = self._features.scaled(self._whole[fold].train)
        source = Specimen(treated, table, known)
        members = self._admitted.members
        if self._rows == "scan":
            pairs = [(specimen, [scan]) for specimen in part.tolist() for scan in members[specimen] or [-1]]
        else:
            pairs = [(specimen, members[specimen]) for specimen in part.tolist()]
        widest = max((len(own) for _, own in pairs), default=0)
        scans = np.full((len(pairs), max(1, widest)), -1, dtype=np.int64)
        for row, (_, own) in enumerate(pairs):
            scans[row, : len(own)] = own
        specimens = np.array([specimen for specimen, _ in pairs], dtype=np.int64)
        targets = self._targets if self.target else None
        return SpectraRows(source, specimens, scans, self._labelling, targets, views)

    def only(self, modalities: Sequence[str], beside: Sequence[str] = ()) -> Data:
        """See ``Data.only``; pretreatments and features stay fitted on the same training specimens."""
        return self._through(modalities, beside, self._having)

    @property
    def _having(self) -> dict[str, Bool]:
        """Modality -> (n,) which specimens have it."""
        having = {SPECTRA: np.array([len(own) > 0 for own in self._admitted.members], dtype=np.bool_)}
        if self._features is not None:
            having[TABLE] = np.logical_not(np.isnan(self._features.values).all(1))
        return having

    def audit(self, fold: str) -> list[str]:
        """Ids and groups of specimens, and identical scans, shared by the splits."""
        parts = self._fold(fold)
        members, scans = self._admitted.members, self._admitted.scans
        found = audit(parts, {"id": self.names, "group": self._groups})
        if scans is None or SPECTRA not in self.specs:
            return found
        scanned = [np.array([scan for row in rows for scan in members[row]], dtype=np.int64) for rows in parts]
        return found + audit(type(parts)(*scanned), {"content": self._contents})

    def report(self) -> dict[str, Any]:
        """Sources, counts, columns, classes and the cells that mean them, folds and the quarantine."""
        usable = self._usable.tolist()
        admitted, labels = self._admitted, Counter(self._labels[row] for row in usable)
        quarantine = {kind: ledger.report() for kind, ledger in self._ledgers.items()}
        scans = [len(admitted.members[row]) for row in usable]
        return {
            "simulated": any(text(cell).lower() in _YES for cell in admitted.specimens.every("simulated")),
            "sources": self._fingerprints,
            "columns": asdict(self._columns),
            "settings": {name: _told(setting) for name, setting in self._settings.items()},
            "counts": {
                "specimens": len(usable),
                "scans": sum(scans),
                "fewest scans of a specimen": min(scans, default=0),
                "most": max(scans, default=0),
                **{f"with {name}": int(self._having[name][usable].sum()) for name in self.specs},
                "groups": len({self._groups[row] for row in usable}),
                **admitted.counts,
                **self._cells_lacking(usable),
                **self._left_out(),
                "unlabelled": labels[""],
                **({"without a target": int(np.isnan(self._targets[usable]).sum())} if self.target else {}),
                "scans quarantined": quarantine["scans"]["rejected"],
                "quarantined": quarantine["specimens"]["rejected"],
            },
            **self._divided(labels),
            "labels": account_of(admitted.specimens, self._columns),
            "quarantine": [one for kind in quarantine.values() for one in kind["rejections"]],
        }

    def _cells_lacking(self, usable: Sequence[int]) -> dict[str, int]:
        """Cells of the table that are empty, and such as are no level of their column."""
        if self._features is None:
            return {}
        empty = int(np.isnan(self._features.values[usable]).sum())
        return {"unknown cells of the table": empty, "of them no level": sum(self._features.strange.values())}

    @cached_property
    def _fingerprints(self) -> list[dict[str, Any]]:
        return [fingerprint(path) for path in self._admitted.specimens.sources]

    @cached_property
    def _contents(self) -> list[str]:
        """Which scan first had the same points, for every scan."""
        scans = self._admitted.scans
        assert scans is not None
        digests = [hashlib.sha256(values.tobytes()).hexdigest() for values in scans.values]
        return content_values([scans.name(scan) for scan in range(len(digests))], digests)


def _told(setting: Any) -> Any:
    """A setting that JSON can hold, with the name of what was chosen."""
    if isinstance(setting, list):
        return [_told(one) for one in setting]
    if setting is None:
        return None
    plain: dict[str, Any] = json.loads(json.dumps(asdict(setting), default=str))
    return {"type": type(setting).__name__} | plain
