"""Writing of SIMULATED spectra and of the table beside them, marked as simulated, with the truth apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.data.synthetic.spectra_scans import AXIS, BANDS, Scans
from counterpoint.data.synthetic.spectra_truth import FLIPPED, HIGH, Planted, bayes_rates
from counterpoint.data.whole import whole_folder

CLASSES = ("CTRL", "DM")
"""Names of the label, negative first."""
FIRST_ID = 1000


class Specimens(NamedTuple):
    """n simulated specimens.

    Attributes:
        planted: what decides label and target.
        scans: of all of them.
        covariates: column -> (n,) cells as they are written; "" where nobody asked.
    """

    planted: Planted
    scans: Scans
    covariates: dict[str, list[str]]

    @property
    def ids(self) -> list[str]:
        """(n,) names of the specimens."""
        return [f"P{FIRST_ID + row}" for row in range(len(self.planted.age))]

    @property
    def labels(self) -> list[str]:
        """(n,) names of their classes."""
        return [CLASSES[int(positive)] for positive in self.planted.positive]


def write_spectra(folder: Path, specimens: Specimens) -> Path:
    """Write specimens; the folder appears complete or not at all.

    Args:
        folder: to be made; may exist when empty.
        specimens: to write.

    Raises:
        ValueError: the folder holds something already.
    """
    with whole_folder(folder) as partial:
        _scans(partial / "spectra.csv", specimens)
        _clinical(partial / "clinical.csv", specimens)
        text = json.dumps(_truth(specimens), indent=1)
        (partial / "truth.json").write_text(text + "\n", encoding="utf-8", newline="\n")
    return folder


def _scans(path: Path, specimens: Specimens) -> None:
    scans, ids, labels = specimens.scans, specimens.ids, specimens.labels
    blank = [""] * len(AXIS)
    rows = (
        (f"{ids[row]}-{number}", labels[row], "yes", *(blank if empty else counts))
        for row, number, empty, counts in zip(
            scans.specimen.tolist(), scans.number.tolist(), scans.empty.tolist(), scans.counts.tolist(), strict=True
        )
    )
    _table(path, ("Sample", "Group", "simulated", *(f"{point:g}" for point in AXIS)), rows)


def _clinical(path: Path, specimens: Specimens) -> None:
    target = [f"{50.0 + 10.0 * value:.3f}" for value in specimens.planted.target.tolist()]
    columns = {"PatientID": specimens.ids, **specimens.covariates, "Group": specimens.labels, "target": target}
    columns["simulated"] = ["yes"] * len(target)
    _table(path, tuple(columns), zip(*columns.values(), strict=True))


def _table(path: Path, header: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _truth(specimens: Specimens) -> dict[str, Any]:
    planted = specimens.planted
    by_kind = {kind: [band.centre for band in BANDS if band.kind in kinds] for kind, kinds in _TELLING.items()}
    told = zip(
        planted.leaning.tolist(),
        planted.inflamed.tolist(),
        planted.flipped.tolist(),
        np.round(planted.pigment, 6).tolist(),
        np.round(planted.age, 6).tolist(),
        strict=True,
    )
    names = ("leaning", "inflamed", "flipped", "pigment", "age")
    return {
        "simulated": True,
        "label": f"{CLASSES[1]} where exactly one of `leaning` and `inflamed` is true, unless `flipped`",
        "shares": {"leaning": HIGH, "inflamed": HIGH, "flipped": FLIPPED},
        "told_by": {"leaning": "spectra", "pigment": "spectra", "inflamed": "crp", "age": "age"},
        "bands": by_kind,
        "bayes": bayes_rates(),
        "specimens": {
            name: dict(zip(names, values, strict=True)) for name, values in zip(specimens.ids, told, strict=True)
        },
    }


_TELLING = {"leaning": ("low", "high"), "pigment": ("pigment",)}
