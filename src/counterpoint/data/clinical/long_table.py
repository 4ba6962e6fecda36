"""Stays in long tables, a row an event: Parquet or CSV."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np

from counterpoint.data.clinical.parts import Cleaning, Part, assemble
from counterpoint.data.clinical.stays import Float, StayReader, Stays
from counterpoint.data.splits import text
from counterpoint.data.tables import Table, match
from counterpoint.keys import Int

_MINUTES = {"seconds": 1 / 60, "minutes": 1.0, "hours": 60.0, "days": 1440.0}
_SINGLE = 2
"""Decimals of a minute that hours in single precision still carry after a hundred days."""


@final
@dataclass(frozen=True, kw_only=True)
class LongTable(StayReader):
    """Tables with a row an event: stay, time, variable, value.

    The cells ``table`` say which table a stay is from, so that ``ByValue(column: table)`` divides by them.

    Args:
        tables: name -> .parquet or .csv file; a list is named by its files.
        outcomes: tables with a row a stay, which name it in a column spelt as ``stay``.
        stay: column of the name of the stay.
        time: column of the time since admission.
        unit: of the time.
        variable: column of the name of the variable.
        value: column of the value.
        missing: values that stand for one that is not there.
        ignore: variables that are no measurement.
    """

    tables: dict[str, Path] | list[Path]
    outcomes: list[Path] = field(default_factory=list)
    stay: str = "ts_id"
    time: str = "minute"
    unit: Literal["seconds", "minutes", "hours", "days"] = "minutes"
    variable: str = "variable"
    value: str = "value"
    missing: list[float] = field(default_factory=list)
    ignore: list[str] = field(default_factory=list)

    def read(self) -> Stays:
        """Read all tables.

        Raises:
            ValueError: a file is absent, damaged or lacks a column; a stay has no name or stands in two tables.
        """
        paths = self.tables if isinstance(self.tables, dict) else {path.stem: path for path in self.tables}
        if not paths or len(paths) < len(self.tables):
            raise ValueError("LongTable: tables must be one or more files, each with a name of its own")
        parts = [self._part(label, path) for label, path in paths.items()]
        cleaning = Cleaning(self.missing, self.ignore)
        stays = assemble(parts, "table", self.outcomes, self.stay, cleaning)
        return replace(stays, sources=[*paths.values(), *self.outcomes])

    def _part(self, label: str, path: Path) -> Part:
        columns = read_columns(path, [self.stay, self.time, self.variable, self.value])
        stay, names = encoded(columns[self.stay])
        if "" in names:
            row = int(np.flatnonzero(stay == names.index(""))[0]) + 2
            raise ValueError(f"{path}, row {row}, column {self.stay!r}: no stay is named; name it or drop the row")
        codes, variables = encoded(columns[self.variable])
        minutes = numbers(columns[self.time]) * _MINUTES[self.unit]
        if str(columns[self.time].type) == "float":
            minutes = np.round(minutes, _SINGLE)
        lines = np.arange(2, len(stay) + 2)
        values = numbers(columns[self.value])
        part = Part(label, names, [path] * len(names), variables, stay, minutes, codes, values, lines)
        if (np.diff(stay) >= 0).all():
            return part
        order = np.argsort(stay, kind="stable")
        return part._replace(
            stay=stay[order], minutes=minutes[order], codes=codes[order], values=values[order], lines=lines[order]
        )


def read_columns(path: Path, wanted: list[str]) -> dict[str, Any]:
    """Columns of a Parquet or CSV file as Arrow arrays, those of a CSV as text, under the names asked for.

    Raises:
        ValueError: the file is absent, damaged or lacks a column.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    if not path.is_file():
        raise ValueError(f"{path}: no such table; give the path of a .parquet or .csv file")
    try:
        if path.suffix.lower() == ".parquet":
            file = pq.ParquetFile(path)
            found = _found(path, file.schema_arrow.names, wanted)
            table = file.read(columns=list(found.values()))
        else:
            with path.open(encoding="utf-8-sig") as head:
                line = head.readline()
            delimiter = max(",;\t", key=line.count)
            names = [name.strip().strip('"') for name in line.split(delimiter)]
            found = _found(path, names, wanted)
            table = pyarrow.csv.read_csv(
                path,
                pa.csv.ReadOptions(column_names=names, skip_rows=1),
                pa.csv.ParseOptions(delimiter=delimiter),
                pa.csv.ConvertOptions(
                    column_types=dict.fromkeys(found.values(), pa.string()), include_columns=list(found.values())
                ),
            )
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not a readable {path.suffix or 'table'} ({error})") from error
    columns = {name: table.column(actual) for name, actual in found.items()}
    for name, column in columns.items():
        if pa.types.is_nested(column.type) or pa.types.is_temporal(column.type):
            raise ValueError(f"{path}, column {name!r}: cells of type {column.type}; they must be numbers or text")
    return columns


def _found(path: Path, names: list[str], wanted: list[str]) -> dict[str, str]:
    return match(Table(path, {name: [] for name in names}, []), dict.fromkeys(wanted, ()), wanted)


def encoded(column: Any) -> tuple[Int, list[str]]:
    """Index (E,) of every cell among the distinct texts, in the order of each chunk; "" is empty."""
    import pyarrow as pa
    import pyarrow.compute as pc

    distinct: dict[str, int] = {}
    parts = []
    for chunk in column.chunks:
        chunk = chunk if pa.types.is_dictionary(chunk.type) else pc.dictionary_encode(chunk)
        # A chunk's dictionary may hold words that it never uses; only those met are numbered.
        index = pc.fill_null(chunk.indices, len(chunk.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        words = [text(cell) for cell in [*chunk.dictionary.to_pylist(), None]]
        places = np.zeros(len(words), dtype=np.int64)
        for number in np.flatnonzero(np.bincount(index)):
            places[number] = distinct.setdefault(words[number], len(distinct))
        parts.append(places[index])
    return np.concatenate([np.empty(0, np.int64), *parts]), list(distinct)


def numbers(column: Any) -> Float:
    """Cells (E,) as float64, NaN where one is no number."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        cells = pc.cast(column, pa.float64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        codes, words = encoded(column)
        return np.array([_number(word) for word in words])[codes]
    whole: Float = pc.fill_null(cells, np.nan).to_numpy()
    return whole


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("nan")
