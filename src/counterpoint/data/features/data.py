"""The reader of features that were extracted beforehand: a table of runs, an array or a table a modality."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.audit import audit, content_values
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.features.dropout import RunViews
from counterpoint.data.features.rows import Block, FeatureRows, standardised
from counterpoint.data.features.sources import FeatureSource, gather, joined_ids
from counterpoint.data.labelling import Labelling, indices, metadata_of, ordered, target_numbers
from counterpoint.data.ledger import Ledger, Quarantine, fingerprint
from counterpoint.data.splits import ByGroup, Split, Value, text
from counterpoint.data.tables import Table, read_table
from counterpoint.keys import Int

_PLAIN = RunViews()
_YES = {"true", "yes", "1"}


@dataclass(frozen=True, kw_only=True)
class RunColumns:
    """Which columns of the table of runs mean what.

    Args:
        id: columns that together name the run.
        label: the class; rows with an empty cell are unlabelled; empty for none.
        names: cell -> name of the class, in the order of the classes; empty for all cells there are, in order.
        group: columns that together name what must stay on one side of a split; empty for the run itself.
        domain: the operating condition; empty for none.
        metadata: columns for the baseline that sees no feature.
        target: a number to be predicted; empty for none.
    """

    id: list[str] = field(default_factory=lambda: ["id"])
    label: str = "label"
    names: dict[str, str] = field(default_factory=dict)
    group: list[str] = field(default_factory=list)
    domain: str = ""
    metadata: list[str] = field(default_factory=list)
    target: str = ""


@final
class FeatureTables(Data):
    """Runs with a vector, or a sequence of tokens, of each modality.

    A run that is not in a source, or has nothing but NaN there, lacks the modality. Runs that are partly not finite,
    lack every modality or have a label outside the classes go to the quarantine.
    """

    def __init__(
        self,
        *,
        runs: Path,
        features: dict[str, FeatureSource],
        columns: RunColumns = RunColumns(),
        views: RunViews = RunViews(),  # noqa: B008
        normalise: Literal["zscore", "none"] = "zscore",
        clip: float | None = None,
        split: Split = ByGroup(),  # noqa: B008
        quarantine: Quarantine = Quarantine(),  # noqa: B008
    ) -> None:
        """Read everything.

        Args:
            runs: the table: .csv, .parquet or .xlsx, a row a run.
            features: modality -> where its features are.
            columns: of the table of runs.
            views: what training sees of a run.
            normalise: zscore: every feature by the mean and standard deviation of the training runs of the fold.
            clip: standardised features are kept within this many standard deviations; none for no limit.
            split: who is trained on and who is tested on.
            quarantine: what becomes of runs that cannot be used.

        Raises:
            ValueError: naming file, row and remedy.
        """
        _check_settings(features, normalise, clip)
        self._runs, self._features, self._columns = runs, features, columns
        self._views, self._normalise, self._clip = views, normalise, clip
        self._ledger = Ledger(quarantine)
        table = read_table(runs)
        _check_columns(table, columns)
        ids = joined_ids(table, columns.id)
        gathered = {name: gather(name, source, ids) for name, source in features.items()}
        self._spare = {name: found.spare for name, found in gathered.items()}
        blocks = {name: Block.of(found.values) for name, found in gathered.items()}
        rejected = self._reject(table, ids, blocks)
        self._ledger.settle(len(ids))
        kept = np.array([row for row in range(len(ids)) if row not in rejected], dtype=np.int64)
        self._blocks = {name: block.take(kept) for name, block in blocks.items()}
        self.names = tuple(ids[row] for row in kept)
        cells = {name: [column[row] for row in kept] for name, column in table.columns.items()}
        self._labels = [columns.names.get(cell, cell) for cell in _texts(cells, columns.label, len(kept))]
        self.classes = tuple(dict.fromkeys(columns.names.values())) or ordered(self._labels)
        self.specs = {name: block.spec for name, block in self._blocks.items()}
        joined = zip(*(_texts(cells, name, len(kept)) for name in columns.group or columns.id), strict=True)
        self._groups = ["/".join(parts) for parts in joined]
        self.group_names = ordered(self._groups)
        self._cells: dict[str, list[Value | None]] = cells
        self._labelling = self._numbered()._replace(targets=self._targets(table, kept))
        self._folds = split.divide(cells, np.array(self._groups), self._labelling.alike)
        self.folds = tuple(self._folds)
        self._scaled: dict[str, dict[str, Block]] = {}

    def _reject(self, table: Table, ids: Sequence[str], blocks: dict[str, Block]) -> set[int]:
        """Enter what cannot be used in the ledger, and say which runs that are."""
        rejected = set()
        for name, block in blocks.items():
            for row, reason in block.bad().items():
                rejected.add(row)
                self._ledger.reject(ids[row], self._features[name].file, table.rows[row], name, reason)
        present = np.concatenate([block.mask for block in blocks.values()], 1).sum(1) > 0
        labels = _texts(table.columns, self._columns.label, len(ids))
        for row, label in enumerate(labels):
            reason = "" if present[row] else "no features: absent from every source"
            if label and self._columns.names and label not in self._columns.names:
                reason = f"label outside the classes: {label!r} is none of {', '.join(self._columns.names)}"
            if reason:
                rejected.add(row)
                self._ledger.reject(ids[row], self._runs, table.rows[row], "run", reason)
        return rejected

    def _numbered(self) -> Labelling:
        columns, count = self._columns, len(self.names)
        domains = _texts(self._cells, columns.domain, count)
        metadata, called = metadata_of(self._cells, columns.metadata, count)
        return Labelling(
            indices(self._labels, self.classes),
            indices(self._groups, self.group_names),
            np.maximum(indices(domains, ordered(domains)), 0),
            metadata,
            metadata_names=called,
        )

    def _targets(self, table: Table, kept: Int) -> NDArray[np.float64] | None:
        """Targets of the runs that are kept; None where no column has them."""
        self.target = name = self._columns.target
        return target_numbers(table.columns[name], lambda row: table.place(row, name))[kept] if name else None

    def training(self, fold: str, split: SplitName) -> Rows:
        """One row a run of the split.

        Raises:
            ValueError: if there is no such fold, or under two runs to train on.
        """
        rows = self._part(fold, split)
        if split == "train" and len(rows) < 2:
            raise ValueError(f"fold {fold!r} has {len(rows)} run to train on; add runs, or enlarge the training share")
        return FeatureRows(self._scale(fold), rows, self._labelling, self._views)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """One row a run of the split, with all the modalities it has."""
        return FeatureRows(self._scale(fold), self._part(fold, split), self._labelling, _PLAIN)

    def only(self, modalities: Sequence[str], beside: Sequence[str] = ()) -> Data:
        """See ``Data.only``; features are standardised by the same training runs."""
        seen = self._through(modalities, beside, {name: block.present for name, block in self._blocks.items()})
        seen._blocks, seen._scaled = {name: self._blocks[name] for name in seen.specs}, {}
        seen.__dict__.pop("_contents", None)
        return seen

    def audit(self, fold: str) -> list[str]:
        """Ids, groups and identical features shared by the splits."""
        return audit(self._fold(fold), {"id": self.names, "group": self._groups, "content": self._contents})

    def report(self) -> dict[str, Any]:
        """Sources, counts, columns, classes, folds and the quarantine."""
        usable = self._usable.tolist()
        labels, quarantine = Counter(self._labels[row] for row in usable), self._ledger.report()
        counts = {f"with {name}": int(block.present[usable].sum()) for name, block in self._blocks.items()}
        counts |= {f"rows of {name} without a run": spare for name, spare in self._spare.items() if spare}
        return {
            "simulated": any(text(cell).lower() in _YES for cell in self._cells.get("simulated", [])),
            "sources": self._fingerprints,
            "columns": asdict(self._columns),
            "counts": {
                "runs": len(usable),
                **counts,
                "groups": len({self._groups[row] for row in usable}),
                **self._left_out(),
                "unlabelled": labels[""],
                "quarantined": quarantine["rejected"],
            },
            **self._divided(labels),
            "clipped": {fold: self._clipped(fold) for fold in self.folds},
            "quarantine": quarantine["rejections"],
        }

    def _clipped(self, fold: str) -> dict[str, int]:
        """How many features of each modality stand at the limit."""
        if self._clip is None:
            return {}
        return {name: int((np.abs(block.values) >= self._clip).sum()) for name, block in self._scale(fold).items()}

    def _scale(self, fold: str) -> dict[str, Block]:
        train = self._fold(fold).train
        if self._normalise == "none":
            return self._blocks
        if fold not in self._scaled:
            self._scaled[fold] = {
                name: standardised(name, block, train, self._clip) for name, block in self._blocks.items()
            }
        return self._scaled[fold]

    @cached_property
    def _fingerprints(self) -> list[dict[str, Any]]:
        files = dict.fromkeys([self._runs, *(source.file for source in self._features.values())])
        return [fingerprint(path) for path in files]

    @cached_property
    def _contents(self) -> list[str]:
        digests = [hashlib.sha256() for _ in self.names]
        for block in self._blocks.values():
            for digest, values, mask in zip(digests, block.values, block.mask, strict=True):
                digest.update(mask.tobytes() + values.tobytes())
        return content_values(self.names, [digest.hexdigest() for digest in digests])


def _check_settings(features: dict[str, FeatureSource], normalise: str, clip: float | None) -> None:
    if not features:
        raise ValueError("features is empty; give at least one modality with its file")
    if clip is not None and (clip <= 0 or normalise == "none"):
        raise ValueError(f"clip is {clip}; it is above 0, and of standardised features (normalise: zscore)")


def _check_columns(table: Table, columns: RunColumns) -> None:
    wanted = [*columns.id, columns.label, columns.domain, columns.target, *columns.group, *columns.metadata]
    for name in filter(None, wanted):
        if name not in table.columns:
            raise ValueError(f"{table.path}: no column {name!r}; the table has {', '.join(table.columns)}")
    if not columns.id:
        raise ValueError("columns.id is empty; name the columns that together name a run")
    for name in columns.group:
        for row, cell in enumerate(table.columns[name]):
            if cell is None:
                raise ValueError(f"{table.place(row, name)}: empty; a run without a group may stand on either side")


def _texts(cells: dict[str, Any], column: str, count: int) -> list[str]:
    return [text(cell) for cell in cells[column]] if column else [""] * count
