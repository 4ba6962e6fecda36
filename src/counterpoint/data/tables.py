"""Tables of recordings: one row a recording, read from ``.csv``, ``.parquet`` or ``.xlsx``.

Columns are matched to the names the program uses without regard to case, spaces, ``_`` and ``-``; what could
mean two things is refused. Sizes are checked before anything is decoded.
"""

from __future__ import annotations

import csv
import math
import re
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from counterpoint.data.ledger import DAMAGED

Cell = str | int | float | None

MAX_BYTES = 512 * 2**20
"""No table may take more than this once decompressed."""
MAX_CELLS = 20_000_000
"""Rows times columns of the largest table that is read."""

VIBRATION_COLUMNS: dict[str, tuple[str, ...]] = {
    "Id": ("recording_id",),
    "Dataset_id": (),
    "Name": ("dataset_name",),
    "File": ("file_name",),
    "Label": (),
    "Label_Description": ("label_name",),
    "RUL_label": ("RUL",),
    "Domain_id": ("domain",),
    "Fault_level": (),
    "Sample_rate": ("sampling_rate", "sampling_frequency", "fs"),
    "Sample_length": ("Sample_lenth", "length"),
    "Channels": ("channel", "n_channels"),
}
"""Columns of a PHM-Vibench metadata table and the other spellings in circulation."""

# A number written with leading zeros, or more digits than a float carries, is an identifier: it stays text.
_INT = re.compile(r"[+-]?(0|[1-9]\d{0,17})")
_FLOAT = re.compile(r"[+-]?((0|[1-9]\d{0,17})(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?")


@dataclass(frozen=True)
class Table:
    """A table in memory, column by column.

    Attributes:
        path: where it was read.
        columns: name -> cells; integers where all of a column are; None where a cell is empty or NaN.
        rows: the row number of each record as a user sees it in the file (the header is row 1).
    """

    path: Path
    columns: dict[str, list[Cell]]
    rows: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    def place(self, index: int, column: str) -> str:
        """Where a cell stands, for messages: file, row and column."""
        return f"{self.path}, row {self.rows[index]}, column {column!r}"


def read_table(path: Path, texts: Collection[str] = ()) -> Table:
    """Read a table of recordings.

    Args:
        path: a ``.csv`` or ``.txt`` (UTF-8; comma, semicolon or tab), ``.parquet`` or ``.xlsx`` file (its first sheet).
        texts: columns whose cells stay as they are written in a ``.csv``, though they may spell numbers: of ids 12.1
            and 12.10 are two.

    Raises:
        ValueError: the file is absent, too large, damaged or of another kind; a column name is doubled; a row
            is longer or shorter than the header.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such table; give the path of a .csv, .parquet or .xlsx file")
    match path.suffix.lower():
        case ".csv" | ".txt":
            return _assemble(path, _csv_records(path), parse=True, texts=texts)
        case ".xlsx":
            return _assemble(path, _xlsx_records(path), parse=False)
        case ".parquet":
            return _read_parquet(path)
    raise ValueError(f"{path}: a table is a .csv, .parquet or .xlsx file, not {path.suffix or 'one without suffix'!r}")


def match(table: Table, wanted: Mapping[str, tuple[str, ...]], required: Iterable[str] = ()) -> dict[str, str]:
    """Find the columns of a table that carry the names the program uses.

    Names are compared without case, spaces, ``_``, ``-`` and ``.``.

    Args:
        table: the table.
        wanted: canonical name -> further spellings of it; the canonical name itself always counts.
        required: canonical names that must be found.

    Returns:
        Canonical name -> name of the column, for what the table has.

    Raises:
        ValueError: two columns match one name, or a required name matches none.
    """
    found: dict[str, str] = {}
    for canonical, synonyms in wanted.items():
        spellings = {_plain(name) for name in (canonical, *synonyms)}
        hits = [column for column in table.columns if _plain(column) in spellings]
        if len(hits) > 1:
            names = " and ".join(repr(hit) for hit in hits)
            raise ValueError(f"{table.path}: columns {names} could both be {canonical!r}; rename or drop one of them")
        if hits:
            found[canonical] = hits[0]
    missing = [name for name in required if name not in found]
    if missing:
        raise ValueError(f"{table.path}: no column for {', '.join(missing)}; the table has {', '.join(table.columns)}")
    return found


def check_unique(table: Table, column: str) -> None:
    """Refuse an identifier that is empty or stands in two rows; ``1`` and ``"1"`` are one identifier.

    Raises:
        ValueError: naming the rows.
    """
    seen: dict[str, int] = {}
    for index, cell in enumerate(table.columns[column]):
        if cell is None:
            raise ValueError(f"{table.place(index, column)}: empty; every recording needs an identifier of its own")
        first = seen.setdefault(str(cell), index)
        if first != index:
            raise ValueError(
                f"{table.path}, column {column!r}: {cell!r} stands in rows {table.rows[first]} and "
                f"{table.rows[index]}; every recording needs an identifier of its own"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]", "", name).casefold()


def _assemble(
    path: Path, records: Iterator[tuple[int, list[object]]], *, parse: bool, texts: Collection[str] = ()
) -> Table:
    """Header and records to columns; ``parse`` where cells, but those of ``texts``, may spell numbers."""
    _, header = next(records, (1, []))
    names = _header(path, header)
    cells: list[list[object]] = [[] for _ in header]
    rows: list[int] = []
    for number, record in records:
        while len(record) > len(header) and record[-1] in ("", None):
            record = record[:-1]
        if not parse:  # a sheet leaves out the empty cells that end a row
            record += [None] * (len(header) - len(record))
        if len(record) != len(header):
            raise ValueError(f"{path}, row {number}: {len(record)} cells under {len(header)} columns")
        if (len(rows) + 1) * len(header) > MAX_CELLS:
            raise ValueError(f"{path}, row {number}: more than {MAX_CELLS:,} cells; split the table")
        rows.append(number)
        for column, cell in zip(cells, record, strict=True):
            column.append(cell)
    return Table(path, {name: _typed(cells[at], parse=parse and name not in texts) for at, name in names.items()}, rows)


def _header(path: Path, header: list[object]) -> dict[int, str]:
    """Position -> name; columns without a name (an index a program wrote along) are left out."""
    names = {at: str(name).strip() for at, name in enumerate(header) if name is not None and str(name).strip()}
    if not names:
        raise ValueError(f"{path}, row 1: no column names; the first row of a table names its columns")
    doubled = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
    if doubled:
        raise ValueError(f"{path}, row 1: column {doubled[0]!r} stands twice; rename or drop one of them")
    return names


def _typed(cells: list[object], *, parse: bool) -> list[Cell]:
    """One type a column: int where every cell is integral, float where every cell is a number, else text."""
    plain = [_cell(cell) for cell in cells]
    if parse:
        texts = [cell for cell in plain if isinstance(cell, str)]
        if all(_INT.fullmatch(text) for text in texts):
            return [int(cell) if isinstance(cell, str) else cell for cell in plain]
        if all(_FLOAT.fullmatch(text) and math.isfinite(float(text)) for text in texts):
            plain = [float(cell) if isinstance(cell, str) else cell for cell in plain]
    integral = [int(cell) if isinstance(cell, float) and _integral(cell) else cell for cell in plain]
    kinds = {type(cell) for cell in integral if cell is not None}
    if kinds <= {int}:
        return integral
    if kinds <= {int, float}:
        return [None if cell is None else float(cell) for cell in integral]
    return [None if cell is None else str(cell) for cell in integral]


def _cell(cell: object) -> Cell:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return None
    if isinstance(cell, int | float):
        return int(cell) if isinstance(cell, int) else cell
    text = str(cell).strip()
    return None if text == "" or text.casefold() == "nan" else text


def _integral(number: float) -> bool:
    return number.is_integer() and abs(number) < 2**53


def _csv_records(path: Path) -> Iterator[tuple[int, list[object]]]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size:,} bytes; a table may have {MAX_BYTES:,}")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            delimiter = max(",;\t", key=first.count)
            for number, record in enumerate(csv.reader(file, delimiter=delimiter, strict=True), start=1):
                if record:
                    yield number, list(record)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path}: not a readable CSV ({error})") from error


def _xlsx_records(path: Path) -> Iterator[tuple[int, list[object]]]:
    import openpyxl

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"{size:,} bytes once decompressed; a table may have {MAX_BYTES:,}")
        book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what the file claims of its extent is not to be trusted
            for number, record in enumerate(sheet.iter_rows(values_only=True), start=1):
                if number * max(len(record), 1) > MAX_CELLS:
                    raise ValueError(f"row {number}: more than {MAX_CELLS:,} cells; split the table")
                if any(cell is not None for cell in record):
                    yield number, list(record)
        finally:
            book.close()
    except DAMAGED as error:
        raise ValueError(f"{path}: not a readable .xlsx ({error})") from error


def _read_parquet(path: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        meta = file.metadata
        size = sum(meta.row_group(group).total_byte_size for group in range(meta.num_row_groups))
        if size > MAX_BYTES or meta.num_rows * meta.num_columns > MAX_CELLS:
            found = f"{meta.num_rows:,} rows, {meta.num_columns} columns, {size:,} bytes once decoded"
            raise ValueError(f"{path}: {found}; a table may have {MAX_CELLS:,} cells and {MAX_BYTES:,} bytes")
        nested = [field.name for field in file.schema_arrow if pa.types.is_nested(field.type)]
        if nested:
            raise ValueError(f"{path}, column {nested[0]!r}: a list or record; a table has one value a cell")
        # Text stays as its dictionary, so that one long string repeated a million times is held once.
        texts = [field.name for field in file.schema_arrow if pa.types.is_string(field.type)]
        read = pq.ParquetFile(path, read_dictionary=texts).read()
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a readable .parquet ({error})") from error
    names = _header(path, list(read.column_names))
    columns = {name: _typed(_decoded(read.column(at)), parse=False) for at, name in names.items()}
    return Table(path, columns, list(range(2, meta.num_rows + 2)))


def _decoded(column: object) -> list[object]:
    """Cells of one Arrow column; equal strings of a dictionary share one object."""
    import pyarrow as pa

    cells: list[object] = []
    for chunk in column.chunks:  # type: ignore[attr-defined]
        if pa.types.is_dictionary(chunk.type):
            words = chunk.dictionary.to_pylist()
            cells += [None if at is None else words[at] for at in chunk.indices.to_pylist()]
        else:
            cells += chunk.to_pylist()
    return cells
