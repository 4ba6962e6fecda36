"""Real spectra that need no file: coffee of three origins, as the package chemotools carries them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import final

from counterpoint.data.spectra.axis import AxisColumns
from counterpoint.data.spectra.scan_table import csv_sheet
from counterpoint.data.spectra.scans import Naming, Scans, ScanSource, gathered
from counterpoint.data.tables import read_table


@final
@dataclass(frozen=True, kw_only=True)
class Coffee(ScanSource):
    """60 infrared spectra (ATR-FTIR) of ground coffee of three origins, 1841 points, a scan a specimen.

    They come with the package chemotools, which does not say where the points lie: the axis is their number. The column
    ``origin`` is the class: Ethiopia, Brasil or Vietnam, 20 specimens each.
    """

    def read(self) -> Scans:
        """See ``ScanSource.read``."""
        folder = _folder()
        sheet = csv_sheet(folder / "coffee_spectra.csv", AxisColumns())
        origins = read_table(folder / "coffee_labels.csv")
        if len(origins) != len(sheet.rows):
            raise ValueError(
                f"{origins.path}: {len(origins)} origins for {len(sheet.rows)} spectra; install chemotools anew"
            )
        sheet = sheet._replace(cells={"origin": list(origins.columns["labels"])})
        return gathered([sheet], Naming("", "", 1), "point")._replace(sources=(sheet.path, origins.path))


def _folder() -> Path:
    """Where the package keeps its data; the package itself is not imported, as it would bring much along."""
    found = find_spec("chemotools")
    if found is None or not found.submodule_search_locations:
        raise ValueError(
            "Coffee: the package chemotools, which holds the spectra, is absent; install counterpoint[spectra]"
        )
    folder = Path(next(iter(found.submodule_search_locations))) / "datasets" / "data"
    if not (folder / "coffee_spectra.csv").is_file():
        raise ValueError(f"Coffee: this version of chemotools has no {folder / 'coffee_spectra.csv'}; install another")
    return folder
