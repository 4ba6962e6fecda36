"""The role of sources of scans: spectra of one axis, each with its specimen, its place in a file and other columns."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.spectra.axis import Points, ascending, shown, told
from counterpoint.data.splits import Value, text

Float = NDArray[np.float32]
_NUMBERED = re.compile(r"(?P<stem>.+)[-_ #](?P<number>\d{1,3})(\.\w+)?")
_WHOLE = re.compile(r"([+-]?(0|[1-9]\d*))\.0*")
MISSING = ("", "NA", "N/A", "NaN", "nan", "null")
"""Cells that say that nothing is known, in every column that is no feature."""
_STEMS = 5
"""So many stems of ids, of two scans each or more, are no classes or sites but specimens."""


def plain(cell: str) -> str:
    """A cell so that "1", "1.0" and "1." are one value, whatever program wrote it."""
    stripped = cell.strip()
    whole = _WHOLE.fullmatch(stripped)
    return whole[1] if whole else stripped


class Sheet(NamedTuple):
    """The spectra of one file.

    Attributes:
        path: the file.
        axis: (W,) in any order.
        values: (n, W); NaN where nothing is recorded.
        cells: the other columns.
        rows: (n,) as a person counts them.
    """

    path: Path
    axis: Points
    values: Float
    cells: dict[str, list[Value | None]]
    rows: list[int]


class Scans(NamedTuple):
    """All scans of a source.

    Attributes:
        values: (N, W).
        axis: (W,), ascending.
        unit: of the axis.
        specimens: (N,) what was scanned.
        numbers: (N,) which scan of the specimen it is.
        files: (N,) where it stands.
        rows: (N,) in that file.
        cells: the other columns that all files have.
        sources: every file that was read.
    """

    values: Float
    axis: Points
    unit: str
    specimens: list[str]
    numbers: list[str]
    files: list[Path]
    rows: list[int]
    cells: dict[str, list[Value | None]]
    sources: tuple[Path, ...]

    def name(self, at: int) -> str:
        """Specimen and number of a scan."""
        return f"{self.specimens[at]}/{self.numbers[at]}"

    def place(self, at: int) -> str:
        """Where a scan stands, for messages."""
        return f"{self.files[at]}, row {self.rows[at]}"


class ScanSource(ABC):
    """Base of all places that scans are read from."""

    @abstractmethod
    def read(self) -> Scans:
        """Read everything.

        Raises:
            ValueError: naming file, row and remedy.
        """


class Naming(NamedTuple):
    """How scans are told apart.

    Attributes:
        column: with their ids; empty where specimens are blocks of consecutive rows.
        pattern: of the ids, with the groups ``specimen`` and ``scan``; empty where an id is the specimen's.
        block: rows of a specimen, where there are no ids.
    """

    column: str
    pattern: str
    block: int

    def check(self) -> None:
        """Refuse a pattern that names no specimen, and a block beside ids.

        Raises:
            ValueError: naming the setting.
        """
        if self.block < 1 or (self.column and self.block > 1):
            raise ValueError(
                f"scans.block is {self.block} and scans.id {self.column!r}; a block is 1 or more, without ids"
            )
        if not self.pattern:
            return
        try:
            known = re.compile(self.pattern).groupindex
        except re.error as error:
            raise ValueError(f"scans.pattern {self.pattern!r} is no regular expression: {error}") from error
        if "specimen" not in known or set(known) - {"specimen", "scan"} or not self.column:
            raise ValueError(
                f"scans.pattern {self.pattern!r} is of the ids (scans.id) and has the group (?P<specimen>...) and, "
                "where the id says which scan it is, (?P<scan>...)"
            )


def gathered(sheets: Sequence[Sheet], naming: Naming, unit: str) -> Scans:
    """All files as one.

    Raises:
        ValueError: if their axes differ, an id does not match, or a scan stands twice.
    """
    parts: list[Sheet] = []
    for sheet in sheets:
        if not len(sheet.values):
            raise ValueError(f"{sheet.path}: no scans; a row a scan follows the header")
        axis, values = ascending(sheet.axis, sheet.values, sheet.path)
        if parts and (len(axis) != len(parts[0].axis) or not np.allclose(axis, parts[0].axis, rtol=1e-6, atol=0)):
            raise ValueError(
                f"{sheet.path}: {told(axis)}, and {parts[0].path}: {told(parts[0].axis)}; scans share one axis: "
                "bring the files to the same points first"
            )
        parts.append(sheet._replace(axis=axis, values=values))
    columns = [name for name in parts[0].cells if all(name in part.cells for part in parts)]
    cells = {name: [cell for part in parts for cell in part.cells[name]] for name in columns}
    files, rows = [part.path for part in parts for _ in part.rows], [row for part in parts for row in part.rows]
    names = [name for part in parts for name in _specimens(part, naming, len(parts) > 1)]
    specimens, numbers = [specimen for specimen, _ in names], _numbered(names)
    values = np.concatenate([part.values for part in parts]) if len(parts) > 1 else parts[0].values
    found = Scans(values, parts[0].axis, unit, specimens, numbers, files, rows, cells, tuple(s.path for s in sheets))
    _refuse_doubles(found)
    if naming.column and not naming.pattern:
        _refuse_numbered(found)
    return found


def _specimens(sheet: Sheet, naming: Naming, several: bool) -> list[tuple[str, str]]:
    """Specimen and number of every scan; the number is "" where nothing says it."""
    count = len(sheet.rows)
    if not naming.column:
        if count % naming.block:
            raise ValueError(
                f"{sheet.path}: {count} rows are no whole number of blocks of {naming.block}; a specimen is a block of "
                "consecutive rows (scans.block) where no column names it (scans.id)"
            )
        start = f"{sheet.path.stem}/" if several else ""
        return [(f"{start}{at // naming.block + 1}", "") for at in range(count)]
    if naming.column not in sheet.cells:
        raise ValueError(f"{sheet.path}: no column {naming.column!r} (scans.id); it has {shown(list(sheet.cells))}")
    found = []
    for row, cell in zip(sheet.rows, sheet.cells[naming.column], strict=True):
        own = text(cell)
        if not own:
            raise ValueError(f"{sheet.path}, row {row}, column {naming.column!r}: empty; every scan names its specimen")
        match = re.fullmatch(naming.pattern or "(?P<specimen>.*)", own, re.DOTALL)
        parts = match.groupdict(default="") if match else {}
        if not parts.get("specimen"):
            raise ValueError(
                f"{sheet.path}, row {row}, column {naming.column!r}: id {own!r} does not match the pattern "
                f"{naming.pattern!r} (scans.pattern), so it is not known what was scanned; mend the id or the pattern"
            )
        found.append((parts["specimen"], parts.get("scan", "")))
    return found


def _numbered(names: Sequence[tuple[str, str]]) -> list[str]:
    """The number of every scan: as its id has it, or in the order in which the scans of a specimen come."""
    count: Counter[str] = Counter()
    numbers = []
    for specimen, number in names:
        count[specimen] += 1
        numbers.append(number or str(count[specimen]))
    return numbers


def _refuse_doubles(scans: Scans) -> None:
    first: dict[str, int] = {}
    for at in range(len(scans.rows)):
        other = first.setdefault(scans.name(at), at)
        if other != at:
            raise ValueError(
                f"scan {scans.numbers[at]} of specimen {scans.specimens[at]} stands in {scans.place(other)} and in "
                f"{scans.place(at)}; remove one, or mend scans.pattern"
            )


def _refuse_numbered(scans: Scans) -> None:
    """Refuse ids that all differ and seem to number the scans of fewer specimens, as these would be cut apart."""
    if len(set(scans.specimens)) < len(scans.specimens):
        return
    stems = [match["stem"] for name in scans.specimens if (match := _NUMBERED.fullmatch(name))]
    count = len(set(stems))
    if len(stems) == len(scans.specimens) and count >= _STEMS and len(stems) >= 2 * count:
        first = next(at for at, stem in enumerate(stems) if stem in stems[:at])
        one, two = scans.specimens[stems.index(stems[first])], scans.specimens[first]
        raise ValueError(
            f"{scans.place(first)}: ids {one!r} and {two!r} seem to be scans of one specimen, {stems[first]!r}, which "
            f"a split must not cut apart ({len(stems)} ids of {count} such); set scans.pattern to (?P<specimen>...) "
            "and (?P<scan>...), or to (?P<specimen>.*) if every id is a specimen of its own"
        )
