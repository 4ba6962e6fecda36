"""Scans in an ``.npz`` file: an array of spectra and, a value a scan, arrays of what is known of them."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED
from counterpoint.data.spectra.axis import Points, check_regular, regular
from counterpoint.data.spectra.scans import Naming, Scans, ScanSource, Sheet, gathered
from counterpoint.data.splits import Value
from counterpoint.data.tables import MAX_BYTES

Arrays = Mapping[str, NDArray[Any]]


@final
@dataclass(frozen=True, kw_only=True)
class ScanArrays(ScanSource):
    """An ``.npz`` file with the spectra of all scans in one array. Pickled objects are never opened.

    Every other array with a value a scan is a column, under its name.

    Args:
        file: the ``.npz``.
        spectra: name of the array (scans, points).
        id: name of the array (scans,) with the id of the scan, or of its specimen; empty where every scan is one.
        pattern: regular expression of a whole id, with the groups (?P<specimen>...) and (?P<scan>...); empty where the
            id is the specimen's.
        axis: name of the array (points,); empty for ``start`` and ``step``, or for numbers from 0.
        start: the first point of an axis that no array holds.
        step: from one point to the next.
        unit: of the axis, for people, such as cm-1.
    """

    file: Path
    spectra: str = "spectra"
    id: str = "specimen"
    pattern: str = ""
    axis: str = ""
    start: float | None = None
    step: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        """Check axis and pattern.

        Raises:
            ValueError: naming the setting.
        """
        check_regular("scans", self.start, self.step)
        if self.axis and self.start is not None:
            raise ValueError(
                f"scans: the axis is the array {self.axis!r} or begins at {self.start:g}; give one of the two"
            )
        Naming(self.id, self.pattern, 1).check()

    def read(self) -> Scans:
        """See ``ScanSource.read``."""
        arrays = _arrays(self.file)
        for name in filter(None, (self.spectra, self.id, self.axis)):
            if name not in arrays:
                raise ValueError(f"{self.file}: no array {name!r}; there are {', '.join(arrays)}")
        values = arrays[self.spectra]
        if values.ndim != 2 or values.dtype.kind not in "fiu" or 0 in values.shape:
            raise ValueError(
                f"{self.file}: {self.spectra!r} is {values.dtype} of shape {values.shape}; spectra are numbers of "
                "shape (scans, points)"
            )
        count, width = values.shape
        if self.id and arrays[self.id].shape != (count,):
            raise ValueError(
                f"{self.file}: {self.id!r} has shape {arrays[self.id].shape} and {self.spectra!r} {count} scans; every "
                "scan has an id"
            )
        with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and the scan goes to the quarantine
            plain = values.astype(np.float32)
        cells = {name: _cells(array) for name, array in arrays.items() if array.shape == (count,) and name != self.axis}
        sheet = Sheet(self.file, self._points(arrays, width), plain, cells, list(range(1, count + 1)))
        return gathered([sheet], Naming(self.id, self.pattern, 1), self.unit)

    def _points(self, arrays: Arrays, width: int) -> Points:
        if not self.axis:
            return regular(width, self.start, self.step)
        axis = arrays[self.axis]
        if axis.shape != (width,) or axis.dtype.kind not in "fiu":
            raise ValueError(
                f"{self.file}: {self.axis!r} is {axis.dtype} of shape {axis.shape} and the spectra have {width} "
                "points; an axis has a number for each"
            )
        return axis.astype(np.float64)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays, their sizes checked before any is decoded; objects, which would run code, are refused."""
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give the path of an .npz with an array of spectra")
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(entry.file_size for entry in members.infolist())
    except DAMAGED as error:
        raise ValueError(f"{path}: not a readable .npz ({error})") from error
    if size > 4 * MAX_BYTES:
        raise ValueError(f"{path}: {size:,} bytes once decompressed; arrays of scans may have {4 * MAX_BYTES:,}")
    found = {}
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            try:
                found[name] = arrays[name]
            except DAMAGED as error:
                raise ValueError(f"{path}: array {name!r} cannot be read ({error})") from error
    return found


def _cells(array: NDArray[Any]) -> list[Value | None]:
    if array.dtype.kind == "S":
        array = np.char.decode(array, "utf-8", "replace")
    if array.dtype.kind == "b":
        array = array.astype(np.int64)
    return [None if cell in ("", None) or cell != cell else cell for cell in array.tolist()]
