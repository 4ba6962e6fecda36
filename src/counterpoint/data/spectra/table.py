"""The table beside the scans: a row a specimen, columns of numbers and of levels, on the scale of the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.features.dropout import Bool
from counterpoint.data.labelling import ordered
from counterpoint.data.spectra.axis import mend, shown
from counterpoint.data.spectra.scans import plain
from counterpoint.data.splits import text
from counterpoint.data.tables import Table, check_unique, read_table
from counterpoint.keys import Int
from counterpoint.types import UNLABELLED

Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class TableSource:
    """A table with a row a specimen.

    Args:
        file: ``.csv``, ``.parquet`` or ``.xlsx``.
        id: column with the specimen.
        features: columns to learn from; empty for all that are not the id, the label, the target, a group or a domain.
        categorical: column of levels -> cell -> name of the level, in the order of the levels; {} for all cells there
            are. A cell that is none of them, or that no training row has, is unknown. All other features are numbers.
        missing: cells that stand for one that is empty, such as NA or -1.
        allow: features that may tell the label one to one; any other that does is refused.
    """

    file: Path
    id: str = "id"
    features: list[str] = field(default_factory=list)
    categorical: dict[str, dict[str, str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)


class SpecimenTable(NamedTuple):
    """The table as read.

    Attributes:
        table: its cells.
        id: the column of ``ids``.
        ids: (n,) specimen of every row.
    """

    table: Table
    id: str
    ids: list[str]

    def place(self, row: int, column: str) -> str:
        """Where a cell stands, for messages."""
        return self.table.place(row, column)


class Encoded(NamedTuple):
    """Features of n rows.

    Attributes:
        columns: (F,) names.
        levels: (F,) names of the levels, empty of numbers.
        values: (n, F) numbers and indices of levels, NaN where unknown.
        strange: column -> how many cells are none of its levels.
    """

    columns: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    values: Numbers
    strange: dict[str, int]

    def take(self, rows: Int) -> Encoded:
        """Some rows; -1 is a row of which nothing is known."""
        values = np.where((rows >= 0)[:, None], self.values[rows], np.nan)
        return self._replace(values=values)

    def scaled(self, train: Int) -> tuple[NDArray[np.float32], Bool]:
        """Numbers less their mean over the training rows, by their standard deviation; levels as they are.

        Args:
            train: rows that alone decide means, deviations and which levels are known.

        Returns:
            Values (n, F), 0 where unknown, and the mask (n, F), True = known.
        """
        values, mask = np.zeros(self.values.shape, dtype=np.float32), ~np.isnan(self.values)
        for at, levels in enumerate(self.levels):
            column, known = self.values[:, at], mask[:, at]
            sample = column[train][known[train]]
            if levels:
                mask[:, at] = known & np.isin(column, sample)
                values[:, at] = np.where(mask[:, at], column, 0.0)
            elif len(sample):
                # The mean of a constant is off by rounding, which would be blown up to full scale.
                spread = sample.std() if sample.max() > sample.min() else np.inf
                values[:, at] = np.where(known, (column - sample.mean()) / spread, 0.0)
            else:
                mask[:, at] = False
        return values, mask


def read_specimens(source: TableSource) -> SpecimenTable:
    """Read the table.

    Raises:
        ValueError: if a column is absent, or an id is empty or stands twice.
    """
    table = read_table(source.file, [source.id])
    if source.id in table.columns:
        # As the ids of scans are spelled, so that the two meet.
        ids = [plain(cell) if isinstance(cell, str) else cell for cell in table.columns[source.id]]
        table = replace(table, columns=table.columns | {source.id: ids})
    strangers = [name for name in source.allow if name not in table.columns]
    wanted = [source.id, *source.features, *source.categorical, *strangers]
    for name in wanted:
        if name not in table.columns:
            raise ValueError(f"{source.file}: no column {name!r}; the table has {shown(list(table.columns))}")
    check_unique(table, source.id)
    return SpecimenTable(table, source.id, [text(cell) for cell in table.columns[source.id]])


def encode(source: TableSource, read: SpecimenTable, known: Sequence[str]) -> Encoded:
    """The features of all rows.

    Args:
        source: which columns.
        read: the table.
        known: columns that are something else than a feature.

    Raises:
        ValueError: if there is none, or a cell is neither a number nor a level.
    """
    names = source.features or [name for name in read.table.columns if name not in {source.id, "simulated", *known}]
    if not names or (twice := sorted({name for name in names if names.count(name) > 1})):
        raise ValueError(
            f"{source.file}: table.features "
            + (
                f"names {twice[0]!r} twice"
                if names
                else f"leave no column to learn from; it has {shown(list(read.table.columns))}"
            )
        )
    for name in source.categorical:
        if name not in names:
            raise ValueError(
                f"{source.file}: table.categorical names {name!r}, which is no feature; add it to table.features"
            )
    missing = {text(cell) for cell in source.missing} | {""}
    columns, levels, strange = [], [], {}
    for name in names:
        cells = ["" if (cell := text(one)) in missing else cell for one in read.table.columns[name]]
        if name in source.categorical:
            mapping = source.categorical[name] or {cell: cell for cell in ordered(cells)}
            own = tuple(dict.fromkeys(mapping.values()))
            columns.append(_levels(cells, mapping, own))
            levels.append(own)
            if count := sum(cell not in mapping for cell in cells if cell):
                strange[name] = count
        else:
            columns.append(_numbers(read.table, name, cells))
            levels.append(())
    return Encoded(tuple(names), tuple(levels), np.stack(columns, 1), strange)


def _levels(cells: Sequence[str], mapping: Mapping[str, str], levels: Sequence[str]) -> Numbers:
    place = {name: float(at) for at, name in enumerate(levels)}
    return np.array([place[mapping[cell]] if cell in mapping else np.nan for cell in cells], dtype=np.float64)


def _numbers(table: Table, name: str, cells: Sequence[str]) -> Numbers:
    found = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        try:
            found[row] = float(cell or "nan")
        except ValueError:
            said = f"{table.place(row, name)}: {cell!r} is no number; "
            if mend(cell) != "mend it":
                raise ValueError(said + mend(cell)) from None
            raise ValueError(
                f"{said}list {name} in table.categorical if its cells are "
                "levels, the cell in table.missing if it says that nothing is known, or leave it out of table.features"
            ) from None
    return found


def infinite(encoded: Encoded) -> dict[int, str]:
    """Row -> which of its numbers is infinite."""
    rows, columns = np.nonzero(np.isinf(encoded.values))
    found: dict[int, str] = {}
    for row, at in zip(rows.tolist(), columns.tolist(), strict=True):
        found.setdefault(row, f"not finite: {encoded.columns[at]} is {encoded.values[row, at]:g}")
    return found


def refuse_answers(
    encoded: Encoded, labels: Int, targets: Numbers, classes: Sequence[str], source: TableSource
) -> None:
    """Refuse features that are the answer under another name: one value for every class, or a multiple of the target.

    Args:
        encoded: features of n specimens.
        labels: (n,) their classes.
        targets: (n,) what is to be predicted of them, NaN where that is not known.
        classes: names of the classes.
        source: with the columns that are allowed to be it.

    Raises:
        ValueError: naming the column, and which value is which class.
    """
    for at, name in enumerate(encoded.columns):
        column, levels = encoded.values[:, at], encoded.levels[at]
        if name in source.allow:
            continue
        remedy = "leave it out of table.features, or, if it is known before the answer is, list it in table.allow"
        if pairs := _one_to_one(column, labels):
            told = ", ".join(
                f"{levels[int(value)] if levels else f'{value:g}'} is {classes[of]}" for value, of in pairs
            )
            raise ValueError(f"{source.file}, column {name!r}: it is the label under another name ({told}); {remedy}")
        both = ~np.isnan(column) & ~np.isnan(targets)
        if not levels and _same_line(column[both], targets[both]):
            raise ValueError(f"{source.file}, column {name!r}: it is the target on another scale; {remedy}")


def _one_to_one(column: Numbers, labels: Int) -> list[tuple[float, int]]:
    """The value of every class, where values and classes are in one-to-one correspondence; else nothing."""
    known = ~np.isnan(column) & (labels != UNLABELLED)
    pairs = set(zip(column[known].tolist(), labels[known].tolist(), strict=True))
    count = len(pairs)
    alike = len({value for value, _ in pairs}) == count == len({label for _, label in pairs})
    return sorted(pairs) if alike and count > 1 and known.sum() > count else []


def _same_line(column: Numbers, targets: Numbers) -> bool:
    if len(column) < 4 or np.ptp(column) == 0 or np.ptp(targets) == 0:  # three points may lie on a line by chance
        return False
    return bool(abs(np.corrcoef(column, targets)[0, 1]) > 1 - 1e-9)
