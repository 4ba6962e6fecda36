"""The log of a training: rows of named numbers, kept with the state and written as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

Record = dict[str, float]


def write_log(history: Sequence[Record], path: Path) -> None:
    """Write rows as CSV, a column for every value that any row has, atomically."""
    columns = list(dict.fromkeys(name for record in history for name in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(history)
    scratch = path.with_suffix(".tmp")
    scratch.write_text(text.getvalue(), encoding="utf-8")
    scratch.replace(path)


def read_log(path: Path) -> list[Record]:
    """Read what `write_log` wrote; a blank is a value that the row does not have."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items() if value} for row in csv.DictReader(file)]
