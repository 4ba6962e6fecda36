"""A small world of patients with scans and a table, written to files as an instrument and a clinic would."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PATIENTS, SCANS, POINTS = 24, 3, 12
PATTERN = r"(?P<specimen>P\d+)-(?P<scan>\d+)"


def spectra(seed: int = 0) -> NDArray[np.float32]:
    """(72, 12): three scans a patient, those of every other patient with a band."""
    chance = np.random.default_rng(seed)
    values = chance.normal(5.0, 1.0, (PATIENTS, 1, POINTS)) + chance.normal(0.0, 0.1, (PATIENTS, SCANS, POINTS))
    values[::2, :, 4] += 4.0
    return values.reshape(-1, POINTS).astype(np.float32)


def ids() -> list[str]:
    return [f"P{1000 + patient}-{scan + 1}" for patient in range(PATIENTS) for scan in range(SCANS)]


def groups() -> list[str]:
    return [("DM", "CTRL")[patient % 2] for patient in range(PATIENTS) for _ in range(SCANS)]


def scan_columns(values: NDArray[np.float32] | None = None, headers: Sequence[str] = ()) -> dict[str, list[Any]]:
    """Columns of the table of scans."""
    values = spectra() if values is None else values
    names = headers or [f"w{point}" for point in range(values.shape[1])]
    wide = {name: values[:, at].tolist() for at, name in enumerate(names)}
    return {"Sample": ids(), "Group": groups(), **wide}


def clinic_columns() -> dict[str, list[Any]]:
    """Columns of the table of patients."""
    chance = np.random.default_rng(1)
    return {
        "PatientID": [f"P{1000 + patient}" for patient in range(PATIENTS)],
        "Age": chance.integers(30, 80, PATIENTS).tolist(),
        "BMI": chance.normal(27.0, 4.0, PATIENTS).round(2).tolist(),
        "Sex": [("f", "m", "m")[patient % 3] for patient in range(PATIENTS)],
        "Group": [("DM", "CTRL")[patient % 2] for patient in range(PATIENTS)],
    }


def write(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """Write columns to a ``.csv``, ``.parquet`` or ``.xlsx``; None is an empty cell."""
    records = list(zip(*columns.values(), strict=True))
    if path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(columns)
            table.writerows([["" if cell is None else cell for cell in record] for record in records])
    elif path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({name: list(column) for name, column in columns.items()}), path)
    else:
        import openpyxl

        book = openpyxl.Workbook()
        for record in [tuple(columns), *records]:
            book.active.append(record)
        book.save(path)
    return path
