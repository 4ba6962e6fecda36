"""The six slow channels of a weld run: a table of time stamps and levels, brought to an even grid over the run."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.weld.medium import Medium, Recorded, UnreadableFile, of_run
from counterpoint.types import SignalSpec

Float = NDArray[np.float64]
COLUMNS = ("Pressure", "CO2 Weld Flow", "Feed", "Primary Weld Current", "Wire Consumed", "Secondary Weld Voltage")
NOT_LEVELS = ("date", "time", "partno", "remarks")
"""Columns of the files that are no measurement; the part number ends in the class."""
MAX_BYTES = 64 * 2**20
_DATES = ("%m/%d/%Y", "%Y-%m-%d", "%d.%m.%Y")
_CLOCKS = ("%H:%M:%S.%f", "%H:%M:%S")


@dataclass(frozen=True, kw_only=True)
class SensorConfig:
    """How the slow channels are read.

    Args:
        length: points a run, evenly spaced from its first time stamp to its last.
        columns: of the files, in order.
    """

    length: int = 256
    columns: list[str] = field(default_factory=lambda: list(COLUMNS))

    def __post_init__(self) -> None:
        """Check length and columns.

        Raises:
            ValueError: if there are none, or a column is no measurement.
        """
        if self.length < 2 or not self.columns:
            raise ValueError(
                f"sensor: length {self.length} and {len(self.columns)} columns; give 2 points and a column"
            )
        for name in self.columns:
            if _plain(name) in NOT_LEVELS:
                raise ValueError(f"sensor.columns: {name!r} is no measurement, and the part number holds the class")


class Trace(NamedTuple):
    """A table as it stands.

    Attributes:
        times: (n,) seconds since the first row; row numbers where the file has no time stamps.
        values: (n, C) levels.
        stamped: whether the file has time stamps.
    """

    times: Float
    values: Float
    stamped: bool


@final
class SensorFiles(Medium):
    """``RUN.csv`` as (length, C), levels as measured. Tables are small: each is read once and kept.

    Args:
        config: length and columns.

    Attributes:
        unstamped: files without time stamps, whose rows are taken to be evenly spaced.
    """

    def __init__(self, config: SensorConfig) -> None:
        self._config = config
        self._kept: dict[Path, Recorded] = {}
        self.unstamped: set[Path] = set()
        self.spec = SignalSpec(len(config.columns), config.length, 0.0)
        self.settings = f"sensor 1: {config}"

    def files(self, folder: Path) -> list[Path]:
        """The table."""
        return of_run(folder, ".csv")

    def check(self, files: Sequence[Path]) -> None:
        """Read the table."""
        self.read(files)

    def read(self, files: Sequence[Path]) -> Recorded:
        """Read and resample."""
        path = files[0]
        if path not in self._kept:
            trace = read_trace(path, self._config.columns)
            values = resampled(trace.times, trace.values, self._config.length)
            self._kept[path] = Recorded(values.astype(np.float32), np.ones(len(values), dtype=np.bool_))
            if not trace.stamped:
                self.unstamped.add(path)
        return self._kept[path]


def read_trace(path: Path, columns: Sequence[str]) -> Trace:
    """Read a table of slow channels, with or without Date and Time; a row may end before its remarks.

    Args:
        path: a comma-separated file.
        columns: which levels; compared without regard to case and spaces.

    Raises:
        UnreadableFile: a column is missing, the header stands twice, a row is cut short, a cell is no finite number,
            time runs back, or there are under two moments.
    """
    header, rows = _rows(path)
    place = {_plain(name): at for at, name in reversed(list(enumerate(header)))}
    missing = [name for name in columns if _plain(name) not in place]
    if missing:
        raise UnreadableFile(f"column missing: {', '.join(missing)}; the file has {', '.join(header)}")
    places = [place[_plain(name)] for name in columns]
    needed, values = max(places) + 1, np.empty((len(rows), len(columns)))
    for at, (number, row) in enumerate(rows):
        if row[: len(header)] == header[: len(row)]:
            raise UnreadableFile(f"header stands twice: again in row {number}")
        if not needed <= len(row) <= len(header):
            raise UnreadableFile(f"row cut short or too long: row {number} has {len(row)} cells, {len(header)} columns")
        values[at] = [_number(row[cell], header[cell], number) for cell in places]
    stamped = "time" in place
    times = _times(rows, place) if stamped else np.arange(len(rows), dtype=np.float64)
    if len(rows) < 2 or not times[-1] > times[0]:
        raise UnreadableFile(f"too short: {len(rows)} rows, at least two moments are needed")
    return Trace(times, values, stamped)


def resampled(times: Float, values: Float, length: int) -> Float:
    """Bring levels to the middles of ``length`` equal spans from the first moment to the last.

    Where the rows are denser than the spans, a point is the mean over its span of the line through the levels, which
    keeps what is faster than the spans from folding back; where they are sparser, it is the line itself.

    Args:
        times: (n,) ascending.
        values: (n, C).
        length: how many points.

    Returns:
        (length, C).
    """
    edges = np.linspace(times[0], times[-1], length + 1)
    if len(times) <= length:
        middles = (edges[1:] + edges[:-1]) / 2
        return np.stack([np.interp(middles, times, column) for column in values.T], 1)
    knots = np.sort(np.concatenate([times, edges[1:-1]]), kind="stable")
    levels = np.stack([np.interp(knots, times, column) for column in values.T], 1)
    steps = np.diff(knots)[:, None] * (levels[1:] + levels[:-1]) / 2
    area = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(steps, 0)])
    at_edges = area[np.searchsorted(knots, edges)]
    means: Float = np.diff(at_edges, axis=0) / np.diff(edges)[:, None]
    return means


def _rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows with their numbers, blank rows left out."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableFile(f"too large: {path.stat().st_size:,} bytes, at most {MAX_BYTES:,}")
        with path.open(newline="", encoding="utf-8-sig") as file:
            found = [(number, row) for number, row in enumerate(csv.reader(file, strict=True), 1) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFile(f"unreadable: {error}") from error
    if not found:
        raise UnreadableFile("empty")
    return [name.strip() for name in found[0][1]], [(n, [cell.strip() for cell in row]) for n, row in found[1:]]


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]", "", name).casefold()


def _number(cell: str, column: str, row: int) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise UnreadableFile(f"not a finite number: {cell!r} in row {row}, column {column!r}")
    return number


def _times(rows: Sequence[tuple[int, list[str]]], place: dict[str, int]) -> Float:
    """Seconds since the first row."""
    date = place.get("date")
    moments = [_moment("" if date is None else row[date], row[place["time"]], number) for number, row in rows]
    times = np.array([(moment - moments[0]).total_seconds() for moment in moments])
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        raise UnreadableFile(f"time runs back: in row {rows[back[0] + 1][0]}")
    return times


def _moment(date: str, clock: str, row: int) -> datetime:
    day = _first(_DATES, date) if date else datetime(2000, 1, 1)
    time = _first(_CLOCKS, clock)
    if day is None or time is None:
        raise UnreadableFile(f"not a time stamp: {f'{date} {clock}'.strip()!r} in row {row}")
    return datetime.combine(day.date(), time.time())


def _first(forms: Sequence[str], cell: str) -> datetime | None:
    """The moment a cell spells in the first form it has."""
    for form in forms:
        try:
            return datetime.strptime(cell, form)
        except ValueError:
            continue
    return None
