"""Stays in a folder of small Parquet files, divided into train, valid and test."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, final

import numpy as np

from counterpoint.data.clinical.long_table import encoded, numbers, read_columns
from counterpoint.data.clinical.parts import Cleaning, Part, assemble
from counterpoint.data.clinical.stays import Float, StayReader, Stays
from counterpoint.data.splits import text
from counterpoint.data.tables import match, read_table
from counterpoint.keys import Int

_SPLITS = ("train", "valid", "test")
_READERS = 4


@final
@dataclass(frozen=True, kw_only=True)
class StayFolder(StayReader):
    """``{train,valid,test}/<ts_id>.parquet`` with the columns variable, value, minute; ``oc.csv``; ``stats.csv``.

    ``oc.csv`` (ts_id, in_hospital_mortality) may lack, then no stay is labelled. ``stats.csv`` (variable, mean, std)
    names the variables there may be, and serves ``normalise: given``. The cells ``split`` name the subfolder, so that
    ``ByColumn(column: split)`` divides by it.

    Args:
        folder: that holds them.
        sets: which events are one set: those of one minute, or those of one ``set_index``, a column of the files.
    """

    folder: Path
    sets: Literal["minute", "set_index"] = "minute"
    outcome = "in_hospital_mortality"

    def read(self) -> Stays:
        """Read all files.

        Raises:
            ValueError: none is there; ``stats.csv`` is not usable; a stay stands in two subfolders.
        """
        folders = [self.folder / name for name in _SPLITS if (self.folder / name).is_dir()]
        files = {folder: sorted(folder.glob("*.parquet")) for folder in folders}
        if not any(files.values()):
            raise ValueError(f"{self.folder}: no .parquet files under {', '.join(_SPLITS)}")
        given = _statistics(self.folder / "stats.csv")
        tables = [path for path in (self.folder / "oc.csv",) if path.is_file()]
        parts = [self._part(folder.name, paths) for folder, paths in files.items()]
        stays = assemble(parts, "split", tables, "ts_id", Cleaning(known=list(given)))
        stats = [self.folder / "stats.csv"] if given else []
        return replace(stays, given=given, sources=[*folders, *tables, *stats])

    def _part(self, label: str, files: list[Path]) -> Part:
        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(self._events, files))
        names = sorted({name for events in found if isinstance(events, _Events) for name in events.variables})
        place = {name: at for at, name in enumerate(names)}
        empty = _Events(np.empty(0, np.int64), [], np.empty(0), np.empty(0), np.empty(0, np.int64))
        columns = [events if isinstance(events, _Events) else empty for events in found]
        sizes = [len(events.codes) for events in columns]
        numbered = [np.array([place[n] for n in e.variables], dtype=np.int64)[e.codes] for e in columns]

        def joined(parts: list[np.ndarray]) -> np.ndarray:
            return np.concatenate([np.empty(0, np.int64), *parts])

        return Part(
            label,
            [path.stem for path in files],
            files,
            names,
            np.repeat(np.arange(len(files)), sizes),
            joined([events.minutes for events in columns]),
            joined(numbered).astype(np.int64),
            joined([events.values for events in columns]),
            joined([np.arange(2, size + 2) for size in sizes]).astype(np.int64),
            joined([events.sets for events in columns]).astype(np.int64) if self.sets == "set_index" else None,
            {at: events for at, events in enumerate(found) if isinstance(events, str)},
        )

    def _events(self, path: Path) -> _Events | str:
        """The events of one file, or why there are none."""
        wanted = ["variable", "value", "minute"] + (["set_index"] if self.sets == "set_index" else [])
        try:
            columns = read_columns(path, wanted)
        except ValueError as error:
            return "unreadable: " + str(error).removeprefix(f"{path}: ")
        codes, variables = encoded(columns["variable"])
        sets = numbers(columns["set_index"]) if self.sets == "set_index" else np.zeros(len(codes))
        if not np.isfinite(sets).all():
            row = int(np.argmin(np.isfinite(sets))) + 2
            return f"unreadable: no set_index in row {row}"
        return _Events(codes, variables, numbers(columns["minute"]), numbers(columns["value"]), sets.astype(np.int64))


class _Events(NamedTuple):
    """The events of one file; see ``Part``."""

    codes: Int
    variables: list[str]
    minutes: Float
    values: Float
    sets: Int


def _statistics(path: Path) -> dict[str, tuple[float, float]]:
    """Variable -> mean and standard deviation; nothing where there is no such file."""
    if not path.is_file():
        return {}
    table = read_table(path)
    found = match(table, dict.fromkeys(("variable", "mean", "std"), ()), ["variable", "mean", "std"])
    given: dict[str, tuple[float, float]] = {}
    for row in range(len(table)):
        name, mean, std = (text(table.columns[found[column]][row]) for column in ("variable", "mean", "std"))
        try:
            middle, spread = float(mean), float(std)
        except ValueError:
            middle = spread = float("nan")
        if not (math.isfinite(middle) and 0 <= spread < math.inf) or name in given or not name:
            raise ValueError(
                f"{table.place(row, found['variable'])}: {name!r} has mean {mean!r} and std {std!r}; a row is to name "
                "another variable than those above it, its mean and a standard deviation of 0 or more"
            )
        given[name] = (middle, spread)
    return given
