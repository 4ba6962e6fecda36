"""Which kind of folder it is, recordings or stays, and what is said and written of it."""

from __future__ import annotations

from pathlib import Path

from counterpoint.start import clinical, layouts, vibration

_KINDS = """
Recordings: one metadata table (.csv, .xlsx or .parquet, a row a recording) and one HDF5 file (.h5 or .hdf5, a dataset a
  recording). A folder of the .mat files of Case Western becomes that by `counterpoint data import cwru`.
Stays as text: set-a/<RecordID>.txt with the first row Time,Parameter,Value, and Outcomes-a.txt beside set-a.
Stays as small files: train, valid, test with <ts_id>.parquet (variable, value, minute), beside stats.csv and oc.csv.
Stays in long tables: .parquet or .csv with a row an event: a stay (ts_id, stay_id, record_id ...), a time (minute,
  hours ...), a variable (variable, parameter ...) and a value; a table with a row a stay beside them, the outcome."""


def describe(folder: Path) -> str:
    """Say what a folder holds and how it is understood, a line a fact.

    Raises:
        ValueError: it is of no kind that is known, or its files contradict each other.
    """
    stays = _stays(folder)
    return vibration.describe(folder) if stays is None else clinical.describe(stays)


def recipe_for(folder: Path, cache: Path) -> str:
    """A recipe in YAML for what a folder holds.

    Args:
        folder: what `describe` describes.
        cache: where the flat store of recordings goes; stays need none.

    Raises:
        ValueError: as `describe`.
    """
    stays = _stays(folder)
    return vibration.recipe_for(folder, cache) if stays is None else clinical.recipe_for(stays)


def write_recipe(folder: Path, path: Path) -> None:
    """Write `recipe_for` a folder to a file that is not there yet.

    Raises:
        ValueError: if it is.
    """
    if path.exists():
        raise ValueError(f"{path} is there already; choose another name or delete it")
    text = recipe_for(folder, path.parent / "cache")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _stays(folder: Path) -> layouts.Layout | None:
    """The stays of a folder; None where it holds recordings.

    Raises:
        ValueError: it holds neither.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder; give the one that holds the recordings or the stays")
    files = sorted(path.name for path in folder.iterdir())
    if any(name.lower().endswith(vibration.SIGNALS) for name in files):
        return None
    found = layouts.find(folder)
    if found is None:
        listed = ", ".join(files[:8]) + (" ..." if len(files) > 8 else "") or "nothing"
        near = "".join(f"\n{line}" for line in layouts.near_misses(folder))
        raise ValueError(f"{folder} holds {listed}; that is none of the kinds of folders known:{_KINDS}{near}")
    return found
