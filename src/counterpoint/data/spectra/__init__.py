"""Specimens seen by several scans and a row of a table, from files of instruments to batches.

Names are imported when they are first asked for: what lists files or draws pictures does without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from counterpoint.data.spectra.axis import AxisColumns
    from counterpoint.data.spectra.coffee import Coffee
    from counterpoint.data.spectra.data import SpectraLoading, SpectraTables
    from counterpoint.data.spectra.rows import ScanViews
    from counterpoint.data.spectra.scan_arrays import ScanArrays
    from counterpoint.data.spectra.scan_table import ScanTable
    from counterpoint.data.spectra.scans import Scans, ScanSource
    from counterpoint.data.spectra.specimens import SpecimenColumns
    from counterpoint.data.spectra.table import TableSource

__all__ = [
    "AxisColumns",
    "Coffee",
    "ScanArrays",
    "ScanSource",
    "ScanTable",
    "ScanViews",
    "Scans",
    "SpecimenColumns",
    "SpectraLoading",
    "SpectraTables",
    "TableSource",
]

_HOMES = {
    "AxisColumns": "axis",
    "Coffee": "coffee",
    "ScanArrays": "scan_arrays",
    "ScanSource": "scans",
    "ScanTable": "scan_table",
    "ScanViews": "rows",
    "Scans": "scans",
    "SpecimenColumns": "specimens",
    "SpectraLoading": "data",
    "SpectraTables": "data",
    "TableSource": "table",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
