"""Which runs there are and what is known of them: from the manifest, or from the folders themselves."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from counterpoint.data.labelling import Labelling, indices, measured, ordered
from counterpoint.data.splits import Value, text
from counterpoint.data.tables import Table, match, read_table

CLASSES = {
    "00": "Good",
    "01": "Excessive_Penetration",
    "02": "Burnthrough",
    "03": "Porosity",
    "04": "Porosity_w_Excessive_Penetration",
    "05": "Undercut",
    "06": "Overlap",
    "07": "Lack_of_Fusion",
    "08": "Excessive_Convexity",
    "09": "Spatter",
    "10": "Warping",
    "11": "Crater_Cracks",
}
"""Suffix of the run's name -> class, of the Intel Robotic Welding Multimodal Dataset."""
NOMINAL = ("WELD_TYPE", "THICKNESS_MM", "STEEL_TYPE", "CURRENT_A", "VOLTAGE_V", "GAS_BAR", "ROBOT_SPEED_CPM")
"""Columns of the manifest that were set before the run."""
_TELLING = {"category", "directory", "subdirs", "split", "partno", "run"}
_MARKS = (".csv", ".avi", ".flac")
_PARTS = {"val": "valid"}


@dataclass(frozen=True, kw_only=True)
class WeldLabels:
    """What the names and the manifest say of a run.

    Args:
        classes: what the name of a run ends in -> class, in the order of the classes.
        metadata: columns of the manifest for the baseline that sees no recording; left out without a manifest.
        domain: column of the manifest with the operating condition; empty for none.
    """

    classes: dict[str, str] = field(default_factory=lambda: dict(CLASSES))
    metadata: list[str] = field(default_factory=lambda: list(NOMINAL))
    domain: str = ""

    def __post_init__(self) -> None:
        """Check that there are classes, and that no column holds them.

        Raises:
            ValueError: naming the column.
        """
        if not self.classes:
            raise ValueError("labels.classes is empty; give what the names of the runs end in, such as '00': Good")
        for name in self.metadata:
            if _plain(name) in _TELLING:
                raise ValueError(f"labels.metadata: {name!r} names the class or the split; leave it out")


class Catalogue(NamedTuple):
    """The runs, a row each.

    Attributes:
        names: DIRECTORY/RUN.
        directories: the configuration folder, which stays on one side of a split.
        folders: where the files are.
        rows: of the manifest, as a person counts them; 0 without one.
        labels: name of the class.
        cells: column of the manifest -> cells; DIRECTORY and RUN always.
    """

    names: list[str]
    directories: list[str]
    folders: list[Path]
    rows: list[int]
    labels: list[str]
    cells: dict[str, list[Value | None]]

    def keep(self, index: Sequence[int]) -> Catalogue:
        """The rows of ``index``."""
        return Catalogue(
            [self.names[row] for row in index],
            [self.directories[row] for row in index],
            [self.folders[row] for row in index],
            [self.rows[row] for row in index],
            [self.labels[row] for row in index],
            {name: [column[row] for row in index] for name, column in self.cells.items()},
        )

    def numbered(self, labels: WeldLabels) -> Labelling:
        """The columns as numbers."""
        known = [measured(name, self.cells[name]) for name in labels.metadata if name in self.cells]
        domains = [text(cell) for cell in self.cells[labels.domain]] if labels.domain else [""] * len(self.names)
        return Labelling(
            indices(self.labels, list(dict.fromkeys(labels.classes.values()))),
            indices(self.directories, ordered(self.directories)),
            np.maximum(indices(domains, ordered(domains)), 0),
            np.concatenate([np.empty((len(self.names), 0)), *known], 1),
        )


def list_runs(root: Path, manifest: Path | None, labels: WeldLabels) -> tuple[Catalogue, dict[int, str]]:
    """List the runs.

    Args:
        root: holds DIRECTORY/RUN/.
        manifest: the table; none for ``manifest.csv`` in the root, or without that the folders themselves.
        labels: the classes.

    Returns:
        The runs, and of those that cannot be used why: absent from the disk, or with a class that is unknown or that
        name and manifest do not agree on.

    Raises:
        ValueError: there is no run, one is listed twice, or a path leads out of the root.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: no such folder; give the one that holds DIRECTORY/RUN/")
    path = manifest or root / "manifest.csv"
    listed = manifest is not None or path.is_file()
    catalogue = _from_manifest(root, path, labels) if listed else _from_folders(root)
    if not catalogue.names:
        raise ValueError(f"{path if listed else root}: no run; a run is a folder that holds RUN.csv, .avi or .flac")
    _check_once(catalogue, path)
    for name in [labels.domain, *(labels.metadata if listed else [])]:
        if name and name not in catalogue.cells:
            raise ValueError(f"{path}: no column {name!r}; there are {', '.join(catalogue.cells)}")
    reasons, found = {}, []
    for row, name in enumerate(catalogue.names):
        category = text(catalogue.cells["CATEGORY"][row]) if "CATEGORY" in catalogue.cells else ""
        label, reason = _label(name, category, labels.classes)
        if not catalogue.folders[row].is_dir():
            reason = "listed and not on disk"
        if reason:
            reasons[row] = reason
        found.append(label)
    return catalogue._replace(labels=found), reasons


def _label(name: str, category: str, classes: dict[str, str]) -> tuple[str, str]:
    """Class by the end of the name, cross-checked; or why there is none."""
    suffix = name.rsplit("-", 1)[-1]
    if suffix not in classes:
        return "", f"class unknown: the name ends in {suffix!r}, none of {', '.join(classes)}"
    label = classes[suffix]
    if category and _word(category) not in {_word(one) for one in classes.values()}:
        return "", f"class unknown: CATEGORY is {category!r}, none of {', '.join(classes.values())}"
    if category and _word(category) != _word(label):
        return "", f"class in dispute: the name ends in {suffix} ({label}), CATEGORY is {category}"
    return label, ""


def _word(category: str) -> str:
    """Spelling apart: case, spaces, ``_``, ``/``; "with" is "w"."""
    return re.sub(r"[^a-z]", "", re.sub(r"\bwith\b", "w", category.lower().replace("_", " ")))


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]", "", name).casefold()


def _from_manifest(root: Path, path: Path, labels: WeldLabels) -> Catalogue:
    table = read_table(path)
    wanted = dict.fromkeys((*NOMINAL, "CATEGORY", "DIRECTORY", "SUBDIRS", "SPLIT", "simulated"), ())
    found = match(table, wanted, ("DIRECTORY", "SUBDIRS"))
    places = [(at, place) for at in range(len(table)) for place in _places(root, table, at, found)]
    columns = {name: table.columns[name] for name in table.columns} | {
        name: table.columns[actual] for name, actual in found.items()
    }
    cells: dict[str, list[Value | None]] = {name: [column[at] for at, _ in places] for name, column in columns.items()}
    directories = [text(table.columns[found["DIRECTORY"]][at]) for at, _ in places]
    folders = [folder for _, folder in places]
    names = [f"{directory}/{folder.name}" for directory, folder in zip(directories, folders, strict=True)]
    cells |= {"DIRECTORY": list(directories), "RUN": [folder.name for folder in folders]}
    if "SPLIT" in cells:
        cells["SPLIT"] = [_PARTS.get(text(cell).lower(), text(cell).lower()) for cell in cells["SPLIT"]]
    return Catalogue(names, directories, folders, [table.rows[at] for at, _ in places], [], cells)


def _places(root: Path, table: Table, at: int, found: dict[str, str]) -> list[Path]:
    """Folders of the runs that a row of the manifest lists: RUN, DIRECTORY/RUN, or a list of either."""
    directory, cell = (text(table.columns[found[name]][at]) for name in ("DIRECTORY", "SUBDIRS"))
    where = table.place(at, found["SUBDIRS"])
    if not directory or not cell:
        raise ValueError(f"{where}: {directory!r} and {cell!r} name no run; both DIRECTORY and SUBDIRS are needed")
    runs = [cell]
    if cell.startswith("["):
        try:
            runs = [str(run) for run in json.loads(cell.replace("'", '"'))]
        except ValueError as error:
            raise ValueError(f"{where}: {cell!r} is no list of runs ({error})") from error
    folders = []
    for run in runs:
        plain = run.replace("\\", "/").strip("/")
        folder = root / (plain if plain.startswith(f"{directory}/") else f"{directory}/{plain}")
        # Names alone, not links on disk, so that a run that is absent is not taken for one that leads out.
        if run.startswith("/") or ".." in Path(plain).parts or not folder.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{where}: {run!r} leads out of {root}; runs stay under it")
        folders.append(folder)
    return folders


def _from_folders(root: Path) -> Catalogue:
    folders = []
    for place, inner, files in os.walk(root):
        inner.sort()
        folder = Path(place)
        if any(f"{folder.name}{mark}" in files for mark in _MARKS):
            folders.append(folder)
            inner.clear()
    directories = [
        folder.parent.name if folder.parent == root else folder.parent.relative_to(root).as_posix()
        for folder in folders
    ]
    names = [f"{directory}/{folder.name}" for directory, folder in zip(directories, folders, strict=True)]
    cells: dict[str, list[Value | None]] = {"DIRECTORY": list(directories), "RUN": [folder.name for folder in folders]}
    return Catalogue(names, directories, folders, [0] * len(folders), [], cells)


def _check_once(catalogue: Catalogue, path: Path) -> None:
    first: dict[str, int] = {}
    for row, name in zip(catalogue.rows, catalogue.names, strict=True):
        if name in first:
            raise ValueError(f"{path}: run {name} is listed twice, in rows {first[name]} and {row}; remove one of them")
        first[name] = row
