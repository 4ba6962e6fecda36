"""Tables: the same content through three formats, tolerant names, refused ambiguity, bombs, damage."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data import tables
from counterpoint.data.tables import VIBRATION_COLUMNS, check_unique, match, read_table

HEADER = ["Id", "Name", "Label", "Sample_rate", "Sample_lenth", "note"]
RECORDS = [
    [1, "CWRU", 0, 12000.0, 8192, None],
    [2, "CWRU", 3, 48000.5, 9000, None],
    [7, "é ü", 1, None, 100, "x,y"],
]
WANTED = {
    "Id": [1, 2, 7],
    "Name": ["CWRU", "CWRU", "é ü"],
    "Label": [0, 3, 1],
    "Sample_rate": [12000.0, 48000.5, None],
    "Sample_lenth": [8192, 9000, 100],
    "note": [None, None, "x,y"],
}


def write_csv(path: Path, records: list[list[object]] | None = None) -> Path:
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *(records or RECORDS)])
    return path


def write_xlsx(path: Path) -> Path:
    import openpyxl

    book = openpyxl.Workbook()
    for record in [HEADER, *RECORDS]:
        book.active.append(record)
    book.save(path)
    return path


def write_parquet(path: Path) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({name: [record[at] for record in RECORDS] for at, name in enumerate(HEADER)}), path)
    return path


WRITERS = {"t.csv": write_csv, "t.xlsx": write_xlsx, "t.parquet": write_parquet}


@pytest.mark.parametrize("name", WRITERS)
def test_same_table_through_every_format(tmp_path: Path, name: str) -> None:
    table = read_table(WRITERS[name](tmp_path / name))
    assert table.columns == WANTED
    assert [type(cell) for cell in table.columns["Label"]] == [int] * 3
    assert table.rows == [2, 3, 4]
    assert len(table) == 3
    assert "row 4, column 'Label'" in table.place(2, "Label")


def test_cells_of_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        ",Id,a,b,c,d\n0,007,1.0,1,nan,NA\n1,12,2.0,0.5,,1\n\n2,1_0,,1e3,NaN,2\n",
        encoding="utf-8-sig",
        newline="",
    )
    table = read_table(path)
    assert table.columns == {
        "Id": ["007", "12", "1_0"],  # an identifier's zeros are part of it
        "a": [1, 2, None],
        "b": [1.0, 0.5, 1000.0],
        "c": [None, None, None],
        "d": ["NA", "1", "2"],  # a word, not an empty cell
    }
    assert table.rows == [2, 3, 5]  # the blank row counts as one for whoever looks at the file


def test_semicolons_and_empty_excel_rows(tmp_path: Path) -> None:
    import openpyxl

    (tmp_path / "t.csv").write_text("Id;Label\n1;2\n")
    assert read_table(tmp_path / "t.csv").columns == {"Id": [1], "Label": [2]}
    book = openpyxl.Workbook()
    book.active.append(["Id", "Label"])
    book.active["A4"], book.active["B4"] = "007", 5
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    assert (table.columns, table.rows) == ({"Id": ["007"], "Label": [5]}, [4])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(10**17), 10**17) | st.none(), min_size=1, max_size=20))
def test_integers_survive(tmp_path_factory: pytest.TempPathFactory, cells: list[int | None]) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text("k,x\n" + "".join(f"r,{'' if cell is None else cell}\n" for cell in cells))
    assert read_table(path).columns["x"] == cells


@pytest.mark.parametrize(
    "spelling",
    ["Sample_lenth", "Sample_length", "sample length", "SAMPLE-LENGTH", "Length", " Sample_Length "],
)
def test_spellings_match(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "t.csv").write_text(f"ID,{spelling},extra\n1,2,3\n")
    found = match(read_table(tmp_path / "t.csv"), VIBRATION_COLUMNS, ("Id", "Sample_length"))
    assert found == {"Id": "ID", "Sample_length": spelling.strip()}


def test_ambiguous_and_missing_columns(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Id,Sample_lenth,Length\n1,2,3\n")
    table = read_table(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"'Sample_lenth' and 'Length' could both be 'Sample_length'"):
        match(table, VIBRATION_COLUMNS)
    with pytest.raises(ValueError, match=r"no column for Label; the table has Id, Sample_lenth, Length"):
        match(table, {"Label": ()}, ("Label",))


def test_identifiers_are_unique(tmp_path: Path) -> None:
    table = read_table(write_csv(tmp_path / "t.csv", [[1, *"abcde"], [2, *"abcde"], [1, *"abcde"]]))
    with pytest.raises(ValueError, match=r"1 stands in rows 2 and 4"):
        check_unique(table, "Id")
    table = read_table(write_csv(tmp_path / "u.csv", [[1, *"abcde"], ["", *"abcde"]]))
    with pytest.raises(ValueError, match=r"row 3, column 'Id': empty"):
        check_unique(table, "Id")
    check_unique(read_table(write_csv(tmp_path / "v.csv")), "Id")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("Id,a\n1,2\n3\n", "row 3: 1 cells under 2 columns"),
        ("Id,a\n1,2,9\n", "row 2: 3 cells under 2 columns"),
        ("Id,a,Id\n1,2,3\n", "column 'Id' stands twice"),
        ("", "no column names"),
        ('Id,a\n"1,2\n', "not a readable CSV"),
        ("Id,a\n\xff\n", "not UTF-8 text"),
    ],
)
def test_bad_csv(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message) as error:
        read_table(path)
    assert str(path) in str(error.value)


def test_wrong_kind_and_absent(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ValueError, match=r"not '.json'"):
        read_table(tmp_path / "t.json")
    with pytest.raises(ValueError, match="no such table"):
        read_table(tmp_path / "absent.csv")


def test_bombs_are_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": np.zeros(tables.MAX_CELLS + 1, np.int8)}), tmp_path / "b.parquet")
    assert (tmp_path / "b.parquet").stat().st_size < 100_000
    with pytest.raises(ValueError, match="a table may have"):
        read_table(tmp_path / "b.parquet")

    pq.write_table(pa.table({"x": [[1], [2]]}), tmp_path / "nested.parquet")
    with pytest.raises(ValueError, match="column 'x': a list"):
        read_table(tmp_path / "nested.parquet")

    write_xlsx(tmp_path / "b.xlsx")
    with zipfile.ZipFile(tmp_path / "b.xlsx", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/more.bin", bytes(2_000_000))
    monkeypatch.setattr(tables, "MAX_BYTES", 1_000_000)
    with pytest.raises(ValueError, match="once decompressed"):
        read_table(tmp_path / "b.xlsx")


def test_one_long_string_repeated_is_held_once(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"x": ["a" * 10_000] * 3000}), tmp_path / "t.parquet")  # 30 MB if copied
    cells = read_table(tmp_path / "t.parquet").columns["x"]
    assert len(cells) == 3000
    assert len({id(cell) for cell in cells}) <= 10


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """A cut, a run of zeros or flipped bytes."""
    at = int(rng.integers(len(whole)))
    match rng.integers(3):
        case 0:
            return whole[:at]
        case 1:
            return whole[:at] + bytes(min(64, len(whole) - at)) + whole[at + 64 :]
    flipped = bytearray(whole)
    for place in rng.integers(len(whole), size=8):
        flipped[place] ^= int(rng.integers(1, 256))
    return bytes(flipped)


@pytest.mark.parametrize("name", WRITERS)
def test_damage_is_a_value_error_or_nothing(tmp_path: Path, name: str) -> None:
    whole = WRITERS[name](tmp_path / name).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        (tmp_path / name).write_bytes(damaged(whole, rng))
        try:
            read_table(tmp_path / name)
        except ValueError as error:
            refused += name in str(error)
    assert refused > 10
