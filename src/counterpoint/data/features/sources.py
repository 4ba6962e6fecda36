"""Where features are read from: an array of an ``.npz`` or ``.npy`` file, or columns of a table."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED
from counterpoint.data.splits import text
from counterpoint.data.tables import MAX_BYTES, Cell, Table, check_unique, read_table

Float = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FeatureSource:
    """Features of one modality.

    Args:
        file: ``.npz`` or ``.npy`` with an array (runs, features) or (runs, tokens, features); or a ``.csv``,
            ``.parquet`` or ``.xlsx`` table with a row a run.
        array: name of the array in an ``.npz`` file.
        id: names of the arrays, or of the columns, that together name the runs, as in the table of runs; empty where
            row i belongs to row i of that table.
        columns: of a table, those that are features; empty for all but the ids.
    """

    file: Path
    array: str = ""
    id: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)


class Gathered(NamedTuple):
    """Features in the order of the runs.

    Attributes:
        values: (n, T, C); NaN where a run has none.
        spare: rows of the source that belong to no run.
    """

    values: Float
    spare: int


def gather(modality: str, source: FeatureSource, ids: Sequence[str]) -> Gathered:
    """Read one modality.

    Args:
        modality: its name, for messages.
        source: where it is.
        ids: (n,) of the runs.

    Raises:
        ValueError: if the file cannot be read, has another number of rows, or holds what is no number.
    """
    values, names = _array(source) if source.file.suffix.lower() in {".npz", ".npy"} else _table(source)
    if names is None:
        if len(values) != len(ids):
            raise ValueError(
                f"{source.file}: {modality} has {len(values)} rows and the table of runs {len(ids)}; give "
                f"features.{modality}.id, the name of what holds the ids"
            )
        return Gathered(values, 0)
    place = {name: at for at, name in enumerate(names)}
    rows = np.array([place.get(name, -1) for name in ids], dtype=np.int64)
    if not (rows >= 0).any():
        raise ValueError(f"{source.file}: no id of {modality} is that of a run; the first is {next(iter(names), '')!r}")
    found = np.where((rows >= 0)[:, None, None], values[rows], np.float32(np.nan))
    return Gathered(found, len(names) - int((rows >= 0).sum()))


def _array(source: FeatureSource) -> tuple[Float, list[str] | None]:
    path = source.file
    if source.columns:
        raise ValueError(f"{path}: columns are of a table; an array is used whole")
    if path.suffix.lower() == ".npy":
        if source.array or source.id:
            raise ValueError(f"{path}: an .npy file holds one array without a name; leave array and id out")
        return _floats(path, path.stem, _load(path, "")), None
    if not source.array:
        raise ValueError(f"{path}: array is empty; it is one of {', '.join(_names(path))}")
    values = _floats(path, source.array, _load(path, source.array))
    if not source.id:
        return values, None
    cells: dict[str, list[Cell]] = {}
    for name in source.id:
        column = _load(path, name)
        if column.shape != values.shape[:1] or column.dtype.kind not in "Uiuf":
            raise ValueError(
                f"{path}: {name!r} is {column.dtype} of shape {column.shape}; ids are {len(values)} texts or numbers"
            )
        cells[name] = column.tolist()
    return values, joined_ids(Table(path, cells, list(range(1, len(values) + 1))), source.id)


def joined_ids(table: Table, columns: Sequence[str]) -> list[str]:
    """The ids (n,) of the rows: the cells of the columns, joined by "/".

    Raises:
        ValueError: if one is empty or stands twice.
    """
    joined = ["/".join(map(text, cells)) for cells in zip(*(table.columns[name] for name in columns), strict=True)]
    name = "/".join(columns)
    check_unique(Table(table.path, {name: [one.strip("/") or None for one in joined]}, table.rows), name)
    return joined


def _names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as members:
            return [name.removesuffix(".npy") for name in members.namelist()]
    except DAMAGED as error:
        raise ValueError(f"{path}: not a readable .npz ({error})") from error


def _load(path: Path, name: str) -> NDArray[np.generic]:
    """An array, its size checked before it is decoded; objects, which would run code, are refused."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of an .npz, .npy or a table")
    if name and name not in (known := _names(path)):
        raise ValueError(f"{path}: no array {name!r}; there are {', '.join(known)}")
    try:
        if not name:
            _check_size(path, path.stat().st_size)
            whole: NDArray[np.generic] = np.load(path, allow_pickle=False)
            return whole
        with zipfile.ZipFile(path) as members:
            _check_size(path, members.getinfo(f"{name}.npy").file_size)
        with np.load(path, allow_pickle=False) as arrays:
            part: NDArray[np.generic] = arrays[name]
        return part
    except DAMAGED as error:
        raise ValueError(f"{path}: array {name or path.stem!r} cannot be read ({error})") from error


def _check_size(path: Path, size: int) -> None:
    if size > 4 * MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes once decompressed; an array of features may have {4 * MAX_BYTES:,}")


def _floats(path: Path, name: str, values: NDArray[np.generic]) -> Float:
    """(n, T, C) float32; a plain table of features is one token a run."""
    if values.dtype.kind not in "fiub" or values.ndim not in (2, 3) or 0 in values.shape:
        raise ValueError(
            f"{path}: {name!r} is {values.dtype} of shape {values.shape}; features are numbers of shape "
            "(runs, features) or (runs, tokens, features)"
        )
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused by the reader
        plain: Float = values.astype(np.float32)
    return plain if plain.ndim == 3 else plain[:, None]


def _table(source: FeatureSource) -> tuple[Float, list[str] | None]:
    if source.array:
        raise ValueError(f"{source.file}: array is of an .npz file; of a table, name the columns")
    table = read_table(source.file)
    for name in [*source.columns, *source.id]:
        if name not in table.columns:
            raise ValueError(f"{source.file}: no column {name!r}; there are {', '.join(table.columns)}")
    used = source.columns or [name for name in table.columns if name not in source.id]
    for name in used:
        for row, cell in enumerate(table.columns[name]):
            if isinstance(cell, str):
                raise ValueError(
                    f"{table.place(row, name)}: {cell!r} is no number; list the columns that are features, or mend it"
                )
    names = joined_ids(table, source.id) if source.id else None
    columns = [np.array(table.columns[name], dtype=np.float64) for name in used]
    if not columns or not len(table):
        raise ValueError(f"{source.file}: no features; the table has {len(table)} rows and {len(columns)} such columns")
    with np.errstate(over="ignore"):
        return np.stack(columns, 1).astype(np.float32)[:, None], names
