"""Which of three forms the stays of a folder have, and which of its columns mean what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from counterpoint.data.clinical.long_table import LongTable
from counterpoint.data.clinical.physionet2012 import PhysioNet2012
from counterpoint.data.clinical.stay_folder import StayFolder
from counterpoint.data.clinical.stays import Stays
from counterpoint.data.splits import text
from counterpoint.data.tables import Table, match, read_table

Reader = LongTable | PhysioNet2012 | StayFolder
Unit = Literal["seconds", "minutes", "hours", "days"]
_STAY = (
    *("ts_id", "stay_id", "icustay_id", "patientunitstayid", "hadm_id", "encounter_id", "admission_id", "visit_id"),
    *("record_id", "case_id", "stay", "patient_id", "subject_id", "pid", "id"),
)
_MINUTES = ("minute", "minutes", "time_minutes", "minutes_since_admission", "offset_minutes", "minute_offset")
_PLAIN_TIMES = ("time", "t", "offset")
_UNITS: dict[str, Unit] = {"minute": "minutes", "hour": "hours", "second": "seconds", "day": "days"}
_TIME = {name.replace("minute", one): unit for one, unit in _UNITS.items() for name in _MINUTES}
_VARIABLE = ("variable", "variable_name", "parameter", "feature", "measurement", "concept", "item", "item_id", "name")
_VALUE = ("valuenum", "value", "numeric_value", "measurement_value", "result")
PATIENT = ("subject_id", "patient_id", "person_id", "patient", "mrn")
"""Spellings of the column that says which stays are of one person."""
OUTCOMES = (
    *("in_hospital_mortality", "in_hospital_death", "hospital_mortality", "hospital_expire_flag", "icu_mortality"),
    *("mortality", "death", "died", "dead", "expired", "outcome", "label", "target"),
)
"""Spellings of the column of outcomes, the likeliest first."""
_TABLES = (".csv", ".parquet", ".txt", ".xlsx")
_TEXT = ["Time", "Parameter", "Value"]
_LOOKED_AT = 20
"""Files whose first rows are read to tell which form a folder has."""


@dataclass(frozen=True)
class Layout:
    """Stays that were found in a folder.

    Attributes:
        form: which form they have, for people.
        reader: that read them.
        stays: what it read.
        source: name of the cells that say which file or folder a stay is from.
        notes: what was assumed, and what was left aside.
    """

    form: str
    reader: Reader
    stays: Stays
    source: str
    notes: Sequence[str] = ()


def find(folder: Path) -> Layout | None:
    """Read the stays of a folder; None where it has none of the forms.

    Raises:
        ValueError: it has, but cannot be read.
    """
    return _divided(folder) or _texts(folder) or _tables(folder)


def spelt(names: Sequence[str], spellings: Sequence[str], path: Path = Path()) -> str:
    """The first of the columns ``names`` that is spelt in one of the ways, the likeliest way first; "" for none."""
    table = Table(path, {name: [] for name in names}, [])
    return next((found[way] for way in spellings if (found := match(table, {way: ()}))), "")


def near_misses(folder: Path) -> list[str]:
    """What the tables of a folder lack to be tables of events, those that lack one thing of four or all."""
    lines = []
    for path in _files(folder, (".csv", ".parquet")):
        roles = _roles(path)
        if not _header(path):
            lines.append(f"{path} is not a readable {path.suffix}; write it again")
        lacking = [role for role, column in roles.items() if not column]
        if len(lacking) == 1:
            found = ", ".join(f"{role} {column!r}" for role, column in roles.items() if column)
            lines.append(f"{path} comes near: it has {found}, and no column for the {lacking[0]}; rename it")
    return lines[:3]


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in suffixes)


def _header(path: Path) -> list[str]:
    """Column names of a table; none where the file is no readable text or Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix.lower() == ".parquet":
            return list(pq.ParquetFile(path).schema_arrow.names)
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline(100_000)
    except (pa.ArrowException, OSError, UnicodeDecodeError):
        return []
    names = line.split(max(",;\t", key=line.count))
    return [name.strip().strip('"') for name in names]


def _roles(path: Path) -> dict[str, str]:
    """Role -> column that has it, "" where none has."""
    names = _header(path)
    ways = {"stay": _STAY, "time": (*_TIME, *_PLAIN_TIMES), "variable": _VARIABLE, "value": _VALUE}
    return {role: spelt(names, spellings, path) for role, spellings in ways.items()}


def _divided(folder: Path) -> Layout | None:
    """``{train,valid,test}/<ts_id>.parquet``."""
    parts = [folder / name for name in ("train", "valid", "test")]
    files = [path for part in parts if part.is_dir() for path in sorted(part.glob("*.parquet"))[:_LOOKED_AT]]
    names = next((header for path in files if (header := _header(path))), [])
    if not all(spelt(names, [name]) for name in ("variable", "value", "minute")):
        return None
    reader = StayFolder(folder=folder)
    return Layout("stays in small files, divided into train, valid and test", reader, reader.read(), "split")


def _texts(folder: Path) -> Layout | None:
    """``set-a/<RecordID>.txt`` with the outcomes beside ``set-a``; or ``set-a`` itself."""
    if _is_set(folder):
        folders, beside = [folder], [folder, folder.absolute().parent]
    else:
        folders = [path for path in sorted(folder.glob("set-*")) if path.is_dir() and _is_set(path)]
        beside = [folder]
    if not folders:
        return None
    stays = {path.stem for part in folders for path in part.glob("*.txt")}
    tables = [path for where in beside for path in sorted(where.glob("Outcomes*.txt"))]
    reader = PhysioNet2012(folders=folders, outcomes=[path for path in tables if _names_some(path, stays)])
    return Layout("stays as the PhysioNet Challenge of 2012 has them", reader, reader.read(), "folder")


def _is_set(folder: Path) -> bool:
    files = [path for path in sorted(folder.glob("*.txt"))[:_LOOKED_AT] if not path.stem.startswith("Outcomes")]
    return any(_header(path) == _TEXT for path in files)


def _names_some(path: Path, stays: set[str]) -> bool:
    """Whether a table of outcomes has a row of one of the stays."""
    table = read_table(path)
    column = spelt(list(table.columns), ["RecordID"], path)
    return bool(column) and any(text(cell) in stays for cell in table.columns[column])


def _tables(folder: Path) -> Layout | None:
    """One or several tables with a row an event."""
    roles = {path: found for path in _files(folder, (".csv", ".parquet")) if all((found := _roles(path)).values())}
    if not roles:
        return None
    first, columns = next(iter(roles.items()))
    for path, others in roles.items():
        if others != columns:
            raise ValueError(
                f"{first} has the columns {', '.join(columns.values())}, and {path} has {', '.join(others.values())}; "
                "name them alike, or write the recipe by hand"
            )
    unit = next((unit for name, unit in _TIME.items() if spelt([columns["time"]], [name])), None)
    outcomes, notes = _outcomes(folder, set(roles), columns["stay"])
    if unit is None:
        notes.append(f"the column {columns['time']!r} names no unit: taken as minutes, else set data.stays.unit")
    reader = LongTable(
        tables=_named(list(roles)),
        outcomes=outcomes,
        stay=columns["stay"],
        time=columns["time"],
        unit=unit or "minutes",
        variable=columns["variable"],
        value=columns["value"],
    )
    raw = reader.read()
    missing = [-1.0] if _means_missing(raw) else []
    ignore = [name for name in raw.variables if spelt([name], _STAY)]
    if missing or ignore:
        reader = replace(reader, missing=missing, ignore=ignore)
        raw = reader.read()
    return Layout("stays in long tables, a row an event", reader, raw, "table", notes)


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    """Name -> table: what follows the last ``_`` or ``-`` where all else is alike, as in ``events_a``."""
    parts = [path.stem.replace("-", "_").rpartition("_") for path in paths]
    alike = len(paths) > 1 and len({first for first, _, _ in parts}) == 1 and len({last for *_, last in parts}) > 1
    keys = [last for *_, last in parts] if alike else [path.stem for path in paths]
    return dict(zip(keys if len(set(keys)) == len(paths) else map(str, paths), paths, strict=True))


def _outcomes(folder: Path, used: set[Path], stay: str) -> tuple[list[Path], list[str]]:
    """The tables with a row a stay and an outcome; and what is to be said of the others."""
    found: dict[Path, Table] = {}
    notes = []
    for path, reason in _candidates(folder, used, stay):
        if reason:
            notes.append(f"{path} is not used: {reason}")
        else:
            found[path] = read_table(path)
    columns = {name: None for table in found.values() for name in table.columns}
    outcome = spelt(list(columns), OUTCOMES)
    # Without a usual name one table may still have the outcome; of several none is preferred.
    chosen = [path for path, table in found.items() if outcome in table.columns or len(found) == 1]
    lack = f"no column {outcome!r}" if outcome else f"no column with a usual name of an outcome, such as {OUTCOMES[0]}"
    notes += [f"{path} is not used: it has {lack}" for path in found if path not in chosen]
    return chosen, notes


def _candidates(folder: Path, used: set[Path], stay: str) -> Iterator[tuple[Path, str]]:
    """Tables that may have outcomes, each with why it has not, or ""."""
    for path in _files(folder, _TABLES):
        names = list(read_table(path).columns) if path.suffix.lower() == ".xlsx" else _header(path)
        key = spelt(names, [stay], path)
        if path in used or (path.suffix.lower() == ".txt" and not key):
            continue
        if not key:
            yield path, f"it has no column {stay!r}"
            continue
        cells = [text(cell) for cell in read_table(path).columns[key]]
        yield path, "" if len(set(cells)) == len(cells) else "it has several rows a stay, and they are no events"


def _means_missing(stays: Stays) -> bool:
    """Whether -1 stands for a value that is not there.

    It does where some variable goes beyond 1 and has no other negative value, and none that has others has -1 too.
    """
    count = len(stays.variables)
    marks = np.bincount(stays.codes[stays.values == -1], minlength=count) > 0
    others = np.bincount(stays.codes[(stays.values < 0) & (stays.values != -1)], minlength=count) > 0
    beyond = np.bincount(stays.codes[stays.values > 1], minlength=count) > 0
    return bool((marks & beyond & ~others).any() and not (marks & others).any())
