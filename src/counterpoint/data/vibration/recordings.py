"""What the tables of a collection say of its recordings, and which of them can be used at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import reduce
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from counterpoint.data.labelling import Labelling, indices, metadata_of, ordered
from counterpoint.data.ledger import Ledger
from counterpoint.data.splits import Value, text
from counterpoint.data.tables import VIBRATION_COLUMNS, Table, check_unique, match, read_table
from counterpoint.data.vibration.hdf5 import Hdf5Signals, Unreadable
from counterpoint.data.vibration.sources import Recording

MODALITY = "vibration"


@dataclass(frozen=True, kw_only=True)
class Collection:
    """A table, one row a recording, and the HDF5 file with a dataset a recording, named by its Id.

    Args:
        metadata: the table: .csv, .parquet or .xlsx.
        signals: the HDF5 file.
        name: stands before the ids, groups and domains where several collections are used together; empty for
            the name of the table's file.
    """

    metadata: Path
    signals: Path
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which columns of the tables mean what; spelling may differ in case, spaces and underscores.

    A column that is left at its default may be missing, save that of the ids.

    Args:
        id: name of the recording, and of its dataset in the HDF5 file.
        label: the class; rows with an empty cell are unlabelled.
        classes: the classes there may be, in their order; empty for all that the tables hold.
        unlabelled: keep unlabelled rows, or treat them as bad recordings.
        group: columns that together name what must stay on one side of a split: the bearing, not the file.
        domain: the operating condition.
        rate: samples a second.
        metadata: further columns for the baseline that sees no signal.
    """

    id: str = "Id"
    label: str = "Label"
    classes: list[str] = field(default_factory=list)
    unlabelled: Literal["keep", "refuse"] = "keep"
    group: list[str] = field(default_factory=lambda: ["Id"])
    domain: str = "Domain_id"
    rate: str = "Sample_rate"
    metadata: list[str] = field(default_factory=list)


class Catalogue(NamedTuple):
    """The usable recordings, a row each.

    Attributes:
        names: id, with its collection before it where there are several.
        rows: row of the table, as a person counts them.
        recordings: where the samples are.
        labels: name of the class, "" where unlabelled.
        groups: name of the group.
        domains: name of the domain, "" where there is none.
        cells: column of the tables -> cells.
    """

    names: list[str]
    rows: list[int]
    recordings: list[Recording]
    labels: list[str]
    groups: list[str]
    domains: list[str]
    cells: dict[str, list[Value | None]]

    def keep(self, index: Sequence[int]) -> Catalogue:
        """The rows of ``index``."""
        return Catalogue(
            [self.names[row] for row in index],
            [self.rows[row] for row in index],
            [self.recordings[row] for row in index],
            [self.labels[row] for row in index],
            [self.groups[row] for row in index],
            [self.domains[row] for row in index],
            {name: [column[row] for row in index] for name, column in self.cells.items()},
        )

    def join(self, other: Catalogue) -> Catalogue:
        """The rows of both; a column that one table lacks is empty for its rows."""
        return Catalogue(
            self.names + other.names,
            self.rows + other.rows,
            self.recordings + other.recordings,
            self.labels + other.labels,
            self.groups + other.groups,
            self.domains + other.domains,
            {
                name: self.cells.get(name, [None] * len(self.names)) + other.cells.get(name, [None] * len(other.names))
                for name in (self.cells | other.cells)
            },
        )

    def labelling(self, classes: Sequence[str], metadata: Sequence[str]) -> Labelling:
        """The columns as numbers.

        Args:
            classes: the classes in their order.
            metadata: columns to add to rate, length and channels, which are known without the signal.
        """
        known = [(r.rate or np.nan, float(r.length), float(r.channels)) for r in self.recordings]
        plain = np.array(known, dtype=np.float64).reshape(-1, 3)
        more, called = metadata_of(self.cells, metadata, len(self.names))
        return Labelling(
            indices(self.labels, classes),
            indices(self.groups, ordered(self.groups)),
            np.maximum(indices(self.domains, ordered(self.domains)), 0),
            np.concatenate([plain, more], 1),
            metadata_names=("rate", "length", "channels", *called),
        )

    def reject(self, ledger: Ledger, reasons: Mapping[int, str]) -> Catalogue:
        """Enter bad rows in the ledger and return the others."""
        for row, reason in reasons.items():
            ledger.reject(self.names[row], self.recordings[row].file, self.rows[row], MODALITY, reason)
        return self.keep([row for row in range(len(self.names)) if row not in reasons])


def read_catalogue(
    collections: Sequence[Collection], columns: Columns, chosen: Mapping[str, Sequence[Value]], ledger: Ledger
) -> tuple[Catalogue, int, list[dict[str, str]]]:
    """Read tables and headers.

    Args:
        collections: what to read.
        columns: which columns mean what.
        chosen: column -> values; a row is used where every one of these columns has one of its values.
        ledger: where recordings go that are absent, unreadable or empty, or have no usable rate or label.

    Returns:
        The catalogue, the number of rows before any was refused, and the columns matched in each table.

    Raises:
        ValueError: if a table is not usable, two rows share an id, or the choice leaves nothing.
    """
    prefixes = _prefixes(collections)
    parts, total, matched = [], 0, []
    for collection, prefix in zip(collections, prefixes, strict=True):
        table = read_table(collection.metadata)
        found = _match(table, columns, chosen)
        check_unique(table, found[columns.id])
        part = _choose(_part(table, found, columns, collection.signals, prefix), chosen)
        total += len(part.names)
        part, unreadable = _headers(part, collection.signals)
        parts.append(part.reject(ledger, _unusable(part, columns) | unreadable))
        matched.append(found)
    if not total:
        raise ValueError(
            f"no row of {', '.join(str(c.metadata) for c in collections)} is left by select: {_spelt(chosen)}"
        )
    return reduce(Catalogue.join, parts), total, matched


def _prefixes(collections: Sequence[Collection]) -> list[str]:
    if not collections:
        raise ValueError("collections is empty; give at least one table with its HDF5 file")
    if len(collections) == 1:
        return [f"{collections[0].name}/" if collections[0].name else ""]
    names = [collection.name or collection.metadata.stem for collection in collections]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ValueError(f"two collections are called {doubled[0]!r}; give each a name of its own")
    return [f"{name}/" for name in names]


def _match(table: Table, columns: Columns, chosen: Mapping[str, Sequence[Value]]) -> dict[str, str]:
    """Column as the configuration spells it -> as the table does."""
    defaults = {entry.name: entry.default for entry in fields(Columns)}
    optional = {name for name in ("label", "domain", "rate") if getattr(columns, name) in ("", defaults[name])}
    plain = [columns.id, columns.label, columns.domain, columns.rate]
    wanted = dict.fromkeys(name for name in (*plain, *columns.group, *columns.metadata, *chosen) if name)
    spare = {getattr(columns, name) for name in optional} - {*columns.group, *columns.metadata, *chosen}
    synonyms = {name: VIBRATION_COLUMNS.get(name, ()) for name in wanted}
    return match(table, synonyms, [name for name in wanted if name not in spare])


def _part(table: Table, found: dict[str, str], columns: Columns, signals: Path, prefix: str) -> Catalogue:
    """All rows of one table, their recordings still without shapes."""

    def column(name: str) -> list[str]:
        return [text(cell) for cell in table.columns[found[name]]] if name in found else [""] * len(table)

    keys, rates = column(columns.id), [_rate(cell) for cell in column(columns.rate)]
    groups = zip(*map(column, columns.group or [columns.id]), strict=True)
    cells: dict[str, list[Value | None]] = {name: list(column) for name, column in table.columns.items()}
    cells |= {name: cells[actual] for name, actual in found.items()}
    cells["collection"] = [prefix.removesuffix("/")] * len(table)
    return Catalogue(
        [prefix + key for key in keys],
        table.rows,
        [Recording(signals, key, rate, 0, 0) for key, rate in zip(keys, rates, strict=True)],
        column(columns.label),
        [prefix + "/".join(names) for names in groups],
        [prefix + name if name else "" for name in column(columns.domain)],
        cells,
    )


def _choose(part: Catalogue, chosen: Mapping[str, Sequence[Value]]) -> Catalogue:
    allowed = {name: {text(value) for value in values} for name, values in chosen.items()}
    rows = range(len(part.names))
    return part.keep([r for r in rows if all(text(part.cells[n][r]) in allowed[n] for n in allowed)])


def _rate(cell: str) -> float:
    """Samples a second, 0.0 where the cell is empty, NaN where it makes no sense."""
    try:
        rate = float(cell or 0)
    except ValueError:
        return float("nan")
    return rate if 0 <= rate < float("inf") else float("nan")


def _headers(part: Catalogue, signals: Path) -> tuple[Catalogue, dict[int, str]]:
    """Fill in the shapes; say which rows have none."""
    recordings, reasons = [], {}
    with Hdf5Signals(signals) as file:
        present = set(file.keys())
        for row, recording in enumerate(part.recordings):
            shape = (0, 0)
            if recording.key.split("/")[0] not in present:
                reasons[row] = f"absent: no dataset {recording.key!r} in the file"
            else:
                try:
                    shape = file.shape(recording.key)
                except Unreadable as error:
                    reasons[row] = f"unreadable: {error}"
            recordings.append(replace(recording, length=shape[0], channels=shape[1]))
    return part._replace(recordings=recordings), reasons


def _unusable(part: Catalogue, columns: Columns) -> dict[int, str]:
    reasons = {}
    for row, (recording, label) in enumerate(zip(part.recordings, part.labels, strict=True)):
        if recording.length * recording.channels == 0:
            reasons[row] = "empty"
        elif recording.rate != recording.rate:
            reasons[row] = f"rate is no positive number: {text(part.cells[columns.rate][row])!r}"
        elif columns.classes and label and label not in columns.classes:
            reasons[row] = f"label outside the classes: {label!r} is none of {', '.join(columns.classes)}"
        elif not label and columns.unlabelled == "refuse":
            reasons[row] = "label missing"
    return reasons


def _spelt(chosen: Mapping[str, Sequence[Value]]) -> str:
    return "; ".join(f"{name} in {', '.join(map(text, values))}" for name, values in chosen.items()) or "(none)"
