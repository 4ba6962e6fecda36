"""Scans in tables, a row a scan: ``.csv`` and Parquet through Arrow, ``.xlsx`` for what a person typed."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, final

import numpy as np

from counterpoint.data.spectra.axis import AxisColumns, Points, mend
from counterpoint.data.spectra.scans import MISSING, Naming, Scans, ScanSource, Sheet, gathered, plain
from counterpoint.data.splits import Value
from counterpoint.data.tables import MAX_BYTES, read_table

if TYPE_CHECKING:
    import pyarrow as pa

_BLOCK = 2**25


@final
@dataclass(frozen=True, kw_only=True)
class ScanTable(ScanSource):
    r"""Tables with a row a scan: ``.csv``, ``.parquet`` or ``.xlsx``.

    Args:
        files: one or several, with the same axis.
        id: column that names the scan, or its specimen; empty where specimens are blocks of rows.
        pattern: regular expression of a whole id with the groups (?P<specimen>...) and (?P<scan>...), such as
            (?P<specimen>P\d+)-(?P<scan>\d+) for P1000-3; empty where the id is the specimen's.
        block: consecutive rows that are scans of one specimen, where no column names it.
        axis: the columns of the spectrum.
    """

    files: list[Path]
    id: str = ""
    pattern: str = ""
    block: int = 1
    axis: AxisColumns = field(default_factory=AxisColumns)

    def __post_init__(self) -> None:
        """Check files and pattern.

        Raises:
            ValueError: naming the setting.
        """
        if not self.files or len(set(self.files)) < len(self.files):
            raise ValueError(f"scans.files is {[str(path) for path in self.files]}; give each file once, at least one")
        Naming(self.id, self.pattern, self.block).check()

    def read(self) -> Scans:
        """See ``ScanSource.read``."""
        sheets = [_read(path, self.axis) for path in self.files]
        return gathered(sheets, Naming(self.id, self.pattern, self.block), self.axis.unit)


def _read(path: Path, axis: AxisColumns) -> Sheet:
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of a .csv, .parquet or .xlsx with a row a scan")
    match path.suffix.lower():
        case ".csv" | ".txt":
            return csv_sheet(path, axis)
        case ".parquet":
            return _parquet_sheet(path, axis)
        case ".xlsx":
            return _typed_sheet(path, axis)
    raise ValueError(
        f"{path}: scans are in a .csv, .parquet or .xlsx file, not {path.suffix or 'one without suffix'!r}"
    )


def csv_sheet(path: Path, axis: AxisColumns) -> Sheet:
    """The spectra of a ``.csv`` file.

    Raises:
        ValueError: naming file, row, column and the cell that is no number.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow

    header, delimiter = _header(path)
    places, points = axis.find(header, path)
    # Columns by position: a file may have several without a name, as programs write an index along.
    names = [str(at) for at in range(len(header))]
    types = {name: pa.string() for name in names}
    numbers = types | {str(at): pa.float32() for at in places}
    read = arrow.ReadOptions(column_names=names, skip_rows=1, block_size=_BLOCK)
    parse = arrow.ParseOptions(delimiter=delimiter)
    lines = _lines(path)

    def table(column_types: dict[str, pa.DataType]) -> pa.Table:
        convert = arrow.ConvertOptions(
            column_types=column_types, null_values=[*MISSING], strings_can_be_null=True, quoted_strings_can_be_null=True
        )
        try:
            return arrow.read_csv(path, read, parse, convert)
        except pa.ArrowInvalid as error:
            if "conversion error" in str(error):
                raise _NoNumberError from error
            raise ValueError(f"{path}: {_ragged(path, delimiter, len(header)) or error}") from error

    try:
        found = table(numbers)
    except _NoNumberError:
        raise ValueError(_no_number(path, header, places, table(types), lines)) from None
    return _sheet(path, found, header, places, points, lines)


class _NoNumberError(Exception):
    """A cell of a spectrum is no number."""


def _header(path: Path) -> tuple[list[str], str]:
    if path.stat().st_size > 4 * MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes; a table of scans may have {4 * MAX_BYTES:,}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    delimiter = max(",;\t", key=first.count)
    return _distinct(path, next(csv.reader([first], delimiter=delimiter), [])), delimiter


def _distinct(path: Path, header: Sequence[str]) -> list[str]:
    names = [name.strip() for name in header]
    named = [name for name in names if name]
    if not named:
        raise ValueError(f"{path}, row 1: no column names; the first row names the columns")
    if len(set(named)) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise ValueError(f"{path}, row 1: column {twice!r} stands twice; rename or drop one of them")
    return names


def _lines(path: Path) -> list[int]:
    """The line of every row; empty lines are no rows."""
    with path.open("rb") as file:
        return [number for number, line in enumerate(file, start=1) if line.strip()][1:]


def _ragged(path: Path, delimiter: str, width: int) -> str:
    """The first row with more or fewer cells than the header."""
    with path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
        for number, record in enumerate(csv.reader(file, delimiter=delimiter), start=1):
            if record and len(record) != width:
                return f"row {number}: {len(record)} cells under {width} columns; every spectrum has the whole axis"
    return ""


def _no_number(path: Path, header: Sequence[str], places: Sequence[int], table: pa.Table, lines: Sequence[int]) -> str:
    for at in places:
        for row, cell in enumerate(table.column(at).to_pylist()):
            try:
                float(cell or "nan")
            except ValueError:
                place = f"{path}, row {lines[row]}, column {header[at]!r}"
                return f"{place}: {cell!r} is no number; {mend(cell)}, or leave it empty"
    raise AssertionError("Arrow found a cell that is no number and this did not")


def _sheet(
    path: Path, table: pa.Table, header: Sequence[str], places: Sequence[int], points: Points, lines: Sequence[int]
) -> Sheet:
    """An Arrow table as a sheet; cells that are empty are NaN in spectra and None elsewhere."""
    columns = [np.asarray(table.column(at).to_numpy(), dtype=np.float32) for at in places]
    spectra = set(places)
    others = {name: table.column(at).to_pylist() for at, name in enumerate(header) if name and at not in spectra}
    cells = {name: [_plain(cell) for cell in column] for name, column in others.items()}
    return Sheet(path, points, np.ascontiguousarray(np.stack(columns).T), cells, list(lines))


def _plain(cell: object) -> Value | None:
    """A cell so that 1, 1.0 and "1.0" are one value, whatever format they come from."""
    if cell is None or isinstance(cell, float):
        return cell
    if isinstance(cell, int):
        return int(cell)
    return plain(str(cell)) or None


def _parquet_sheet(path: Path, axis: AxisColumns) -> Sheet:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        meta, schema = file.metadata, file.schema_arrow
        size = sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
        if size > 4 * MAX_BYTES:
            raise ValueError(f"{path}: {size:,} bytes once decoded; a table of scans may have {4 * MAX_BYTES:,}")
        header = _distinct(path, schema.names)
        places, points = axis.find(header, path)
        types = schema.types
        for at in places:
            if not (pa.types.is_floating(types[at]) or pa.types.is_integer(types[at])):
                raise ValueError(f"{path}, column {header[at]!r}: {types[at]} is no number; a spectrum is numbers")
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable .parquet ({error})") from error
    return _sheet(path, table, header, places, points, range(2, meta.num_rows + 2))


def _typed_sheet(path: Path, axis: AxisColumns) -> Sheet:
    table = read_table(path)
    header = list(table.columns)
    places, points = axis.find(header, path)
    columns = []
    for name in (header[at] for at in places):
        for row, cell in enumerate(table.columns[name]):
            if isinstance(cell, str):
                raise ValueError(f"{table.place(row, name)}: {cell!r} is no number; mend it, or leave it empty")
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and the scan goes to the quarantine
            columns.append(np.array(table.columns[name], dtype=np.float64).astype(np.float32))
    spectra = {header[at] for at in places}
    cells: dict[str, list[Value | None]] = {n: list(cells) for n, cells in table.columns.items() if n not in spectra}
    return Sheet(path, points, np.stack(columns, 1), cells, table.rows)
