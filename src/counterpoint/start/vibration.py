"""What a folder of recordings holds, a metadata table and an HDF5 file, and a recipe for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from counterpoint.data.splits import text
from counterpoint.data.tables import VIBRATION_COLUMNS, Table, match, read_table
from counterpoint.data.vibration.hdf5 import Hdf5Signals

TABLES = (".csv", ".xlsx", ".parquet")
SIGNALS = (".h5", ".hdf5")
WINDOW = 2048
"""Samples of a window where the recordings are long enough."""


@dataclass(frozen=True)
class Collected:
    """A table and an HDF5 file that belong together, and what was understood of them.

    Attributes:
        table: as read.
        signals: path of the HDF5 file.
        columns: canonical name -> the table's own.
        shapes: (L, C) by id, of the datasets that are there.
    """

    table: Table
    signals: Path
    columns: dict[str, str]
    shapes: dict[str, tuple[int, int]]

    def cells(self, name: str) -> list[str]:
        """The cells of a canonical column as text; empty where there is no such column."""
        return [text(cell) for cell in self.table.columns[self.columns[name]]] if name in self.columns else []

    def rates(self) -> dict[str, float]:
        """Samples a second by id, of the rows that say so."""
        cells = zip(self.cells("Id"), self.cells("Sample_rate"), strict=False)
        return {key: float(rate) for key, rate in cells if rate and key in self.shapes}


def collect(folder: Path) -> Collected:
    """Find the table and the HDF5 file of a folder.

    Raises:
        ValueError: if either is missing or there are several.
    """
    table = read_table(_only(folder, TABLES, "metadata table"))
    path = _only(folder, SIGNALS, "HDF5 file")
    wanted = {name: VIBRATION_COLUMNS.get(name, ()) for name in ("Id", "Label", "Domain_id", "Sample_rate", "bearing")}
    columns = match(table, wanted, ["Id"])
    with Hdf5Signals(path) as signals:
        present = set(signals.keys())
        ids = [text(cell) for cell in table.columns[columns["Id"]]]
        shapes = {key: signals.shape(key) for key in ids if key in present}
    if not shapes:
        raise ValueError(f"{path} has no dataset that the column {columns['Id']!r} of {table.path} names")
    return Collected(table, path, columns, shapes)


def _only(folder: Path, suffixes: Sequence[str], what: str) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise ValueError(
            f"{folder} should hold one {what} ({', '.join(suffixes)}) and holds {listed}; for a folder of MATLAB "
            "files use `counterpoint data import cwru`, for several collections write the recipe by hand"
        )
    return found[0]


def describe(folder: Path) -> str:
    """Say what a folder holds and how its columns are understood, a line a fact."""
    found = collect(folder)
    lengths = sorted(length for length, _ in found.shapes.values())
    lines = [
        f"{found.table.path}: {len(found.table)} recordings",
        "columns: " + ", ".join(f"{name} = {own!r}" for name, own in found.columns.items()),
        f"{found.signals}: {len(found.shapes)} of them are there, {lengths[0]} to {lengths[-1]} samples long",
        "channels: " + _counted([str(channels) for _, channels in found.shapes.values()]),
    ]
    absent = [key for key in found.cells("Id") if key not in found.shapes]
    if absent:
        lines.append(f"absent from the HDF5 file: {', '.join(absent[:8])}{' ...' if len(absent) > 8 else ''}")
    for name in ("Sample_rate", "Label", "Domain_id"):
        cells = found.cells(name)
        lines.append(f"{name}: {_counted(cells) if cells else 'no such column'}")
    groups = found.cells("bearing")
    lines.append(
        f"groups: {len(set(groups))} of column {found.columns['bearing']!r}"
        if groups
        else "groups: none named, so each recording is its own; if one machine was recorded several times, name the "
        "column that tells machines apart in data.columns.group"
    )
    return "\n".join(lines)


def _counted(cells: Sequence[str]) -> str:
    counts = Counter(cell or "(empty)" for cell in cells).most_common()
    shown = ", ".join(f"{value} x {count}" for value, count in counts[:8])
    return shown + (f", and {len(counts) - 8} more values" if len(counts) > 8 else "")


def recipe_for(folder: Path, cache: Path) -> str:
    """A recipe in YAML for the recordings of a folder.

    Args:
        folder: what `describe` describes.
        cache: where the flat store goes.
    """
    found = collect(folder)
    rates = found.rates()
    rate = min(rates.values(), default=0.0)
    # Recordings of several rates are brought to the lowest, which makes the faster ones shorter.
    lengths = [length * rate / rates[key] if rates.get(key) else length for key, (length, _) in found.shapes.items()]
    window = min(WINDOW, int(min(lengths)) // 2)
    group = [found.columns["bearing"]] if "bearing" in found.columns else [found.columns["Id"]]
    data = {
        "type": "Vibration",
        "collections": [{"metadata": str(found.table.path.absolute()), "signals": str(found.signals.absolute())}],
        "columns": {"group": group},
        "signal": {"rate": rate} if len(set(rates.values())) > 1 else {},
        "split": {"type": "ByGroup", "test": 0.3, "valid": 0.1},
        "views": {
            "windows": {"type": "Disjoint", "length": window},
            "pairs_per_recording": 4,
            "augment": [
                {"type": "Resample", "low": 0.97, "high": 1.03},
                {"type": "Equaliser", "gain_db": 4, "knots": 12},
                {"type": "AdditiveNoise", "low": 20, "high": 40},
                "Flip",
            ],
        },
        "evaluation": {"type": "EvenlySpaced", "length": window, "count": 16},
        "loading": {"cache": str(cache.absolute())},
    }
    rest = {
        "encoders": {"vibration": _encoder(window)},
        "objective": {"type": "InfoNCE", "temperature": 0.3, "exclude": ["group"]},
        "trainer": {"epochs": 50, "batch_size": 64},
        "evaluation": {
            "evaluators": [{"type": "LinearProbe", "C": 0.1}, {"type": "KNN", "k": 5}],
            "transfer": {"fractions": [0.01, 0.1, 1.0]},
        },
    }
    return yaml.safe_dump({"data": {key: value for key, value in data.items() if value}, **rest}, sort_keys=False)


def _encoder(window: int) -> object:
    """Modulation and band powers where windows are long enough to show them, else a patched Transformer."""
    bands, rates = 4, 60  # what ModulationSpectrum shows by default
    if window // 2 // bands < rates:
        return {"type": "PatchTransformer", "patch": max(1, min(16, window // 8))}
    return {
        "type": "Parallel",
        "branches": [
            {"type": "PointwiseMLP", "dim": 128, "frontend": "ModulationSpectrum"},
            {"type": "PointwiseMLP", "dim": 64, "frontend": "BandPowers"},
        ],
    }
