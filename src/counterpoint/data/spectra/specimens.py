"""What is known of a specimen: what its scans and its row of the table say, which must agree."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from counterpoint.data.spectra.axis import shown
from counterpoint.data.spectra.scans import MISSING, Scans, plain
from counterpoint.data.spectra.table import SpecimenTable
from counterpoint.data.splits import Value, text

_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class SpecimenColumns:
    """Which columns mean what. Each may stand in the scans, in the table or in both, which then must agree.

    ``specimen`` and ``scan``, as the ids of the scans have them, are columns as well.

    Args:
        label: the class; specimens with an empty cell are unlabelled; empty for none.
        table_label: its name in the table, where that is another one.
        names: cell -> name of the class, in the order of the classes; empty for all cells there are, in order.
        target: a number to be predicted; empty for none.
        group: columns that together name what must stay on one side of a split; empty for the specimen itself.
        domain: the operating condition, such as an instrument or a site; empty for none.
        metadata: columns for the baseline that sees neither scan nor table.
    """

    label: str = ""
    table_label: str = ""
    names: dict[str, str] = field(default_factory=dict)
    target: str = ""
    group: list[str] = field(default_factory=list)
    domain: str = ""
    metadata: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Refuse a cell that is named twice, or that stands for an empty one.

        Raises:
            ValueError: naming it.
        """
        if len(self.cells) < len(self.names):
            raise ValueError(f"columns.names has a cell twice, in two spellings: {', '.join(self.names)}; keep one")
        if strange := sorted(set(self.names) & set(MISSING)):
            raise ValueError(
                f"columns.names: {strange[0]!r} stands for an empty cell, of which no class is known; call it "
                "otherwise in the files"
            )

    def meaning(self, cell: str) -> str:
        """Name of the class that a cell means; a cell that means none as it is."""
        return self.cells.get(plain(cell), cell)

    @property
    def cells(self) -> dict[str, str]:
        """``names`` by what ``plain`` makes of each cell, as the cells of the files are read."""
        return {plain(cell): name for cell, name in self.names.items()}

    @property
    def special(self) -> list[str]:
        """Columns that are no feature unless they are named as one."""
        return [self.label, self.table_label, self.target, *self.group, self.domain]


class Specimens(Mapping[str, list[Value | None]]):
    """Specimens and, column by column, what is said of them.

    Args:
        names: (n,) of the specimens.
        scans: what was scanned; None for nothing.
        table: the table; None for none.
    """

    def __init__(self, names: list[str], scans: Scans | None, table: SpecimenTable | None) -> None:
        self.names = names
        self._scans, self._table = scans, table
        place = {name: at for at, name in enumerate(names)}
        self.members: list[list[int]] = [[] for _ in names]
        for scan, specimen in enumerate([] if scans is None else scans.specimens):
            if specimen in place:
                self.members[place[specimen]].append(scan)
        rows = {} if table is None else {name: row for row, name in enumerate(table.ids)}
        self.rows = [rows.get(name, -1) for name in names]

    def take(self, kept: list[int]) -> Specimens:
        """Some of them."""
        return Specimens([self.names[at] for at in kept], self._scans, self._table)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __iter__(self) -> Iterator[str]:
        own = {} if self._scans is None else {"specimen": 0, "scan": 0} | dict.fromkeys(self._scans.cells)
        yield from own | ({} if self._table is None else dict.fromkeys(self._table.table.columns))

    def __getitem__(self, column: str) -> list[Value | None]:
        """One cell a specimen.

        Raises:
            KeyError: no such column.
            ValueError: what was said of a specimen differs.
        """
        return self.agreed(column, "one specimen stays on one side of a split: take another column, or mend the cells")

    def __contains__(self, column: object) -> bool:
        return any(column == name for name in self)

    @property
    def sources(self) -> list[Path]:
        """Every file that was read."""
        tables = [] if self._table is None else [self._table.table.path]
        return list(dict.fromkeys([*(() if self._scans is None else self._scans.sources), *tables]))

    def every(self, column: str) -> list[Value | None]:
        """All cells of a column, of the scans and of the table; none where it is absent."""
        scanned = [] if self._scans is None else self._scans.cells.get(column, [])
        return [*scanned, *([] if self._table is None else self._table.table.columns.get(column, []))]

    def agreed(
        self, column: str, remedy: str, other: str = "", meaning: Callable[[str], str] = str
    ) -> list[Value | None]:
        """What all that is said of each specimen comes to; None where nothing is.

        Args:
            column: in the scans, and in the table unless ``other`` names it there.
            remedy: how the message ends.
            other: name of the column in the table.
            meaning: of a cell; cells that mean the same agree.

        Raises:
            KeyError: no such column.
            ValueError: naming both places, and the specimens.
        """
        if column not in self and other not in self:
            raise KeyError(column)
        found: list[Value | None] = []
        clashes: list[tuple[int, str]] = []
        for at in range(len(self.names)):
            said: dict[str, tuple[Value, str]] = {}
            for cell, place in self._said(at, column, other or column):
                said.setdefault(meaning(text(cell)), (cell, place))
            cells = list(said.values())
            found.append(cells[0][0] if cells else None)
            if len(cells) > 1:
                (one, first), (two, second) = cells[:2]
                clashes.append((at, f"is {text(one)!r} in {first} and {text(two)!r} in {second}"))
        if clashes:
            at, told = clashes[0]
            names = [self.names[at] for at, _ in clashes]
            more = f" ({len(names)} such specimens: {', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
            raise ValueError(f"specimen {self.names[at]}: {column!r} {told}{more * (len(names) > 1)}; {remedy}")
        return found

    def _said(self, at: int, column: str, other: str) -> Iterator[tuple[Value, str]]:
        """Cells that are not empty, with their places."""
        if self._scans is not None:
            own = {"specimen": self._scans.specimens, "scan": self._scans.numbers}.get(column)
            cells = own or self._scans.cells.get(column)
            for scan in self.members[at] if cells else []:
                assert cells is not None
                if text(cell := cells[scan]) not in MISSING:
                    assert cell is not None
                    yield cell, self._scans.place(scan)
        row = self.rows[at]
        if self._table is not None and row >= 0 and other in self._table.table.columns:
            cell = self._table.table.columns[other][row]
            if text(cell) not in MISSING:
                assert cell is not None
                yield cell, self._table.place(row, other)

    def where(self, at: int, column: str = "") -> tuple[str, int]:
        """File and row that a specimen is known from: its first scan, or the table where that alone has the column."""
        scanned = self._scans is not None and self.members[at]
        tabled = self._table is not None and self.rows[at] >= 0
        if tabled and not (scanned and self._scans and (not column or column in self._scans.cells)):
            assert self._table is not None
            return str(self._table.table.path), self._table.table.rows[self.rows[at]]
        assert self._scans is not None
        first = self.members[at][0]
        return str(self._scans.files[first]), self._scans.rows[first]


def check_columns(columns: SpecimenColumns, specimens: Specimens) -> None:
    """Refuse a setting that names a column that is not there.

    Raises:
        ValueError: naming the setting, and the columns there are.
    """
    single = {name: [getattr(columns, name)] for name in ("label", "table_label", "target", "domain")}
    for setting, names in (single | {"group": columns.group, "metadata": columns.metadata}).items():
        for name in filter(None, names):
            if name not in specimens:
                raise ValueError(f"columns.{setting}: no column {name!r}; there are {shown(list(specimens))}")


def labels_of(specimens: Specimens, columns: SpecimenColumns) -> tuple[list[str], dict[int, str]]:
    """Name of the class of every specimen, "" where there is none; and those whose cell is no class.

    Raises:
        ValueError: if a specimen has two classes.
    """
    if not (columns.label or columns.table_label):
        return [""] * len(specimens.names), {}
    cells = specimens.agreed(
        columns.label or columns.table_label,
        "a specimen has one class: mend the cells, or say with columns.names which of them mean the same",
        columns.table_label,
        columns.meaning,
    )
    labels = [text(cell) for cell in cells]
    if not columns.names:
        return labels, {}
    known = ", ".join(columns.names)
    strange = {
        at: f"label outside the classes: {cell!r} is none of {known}"
        for at, cell in enumerate(labels)
        if cell and plain(cell) not in columns.cells
    }
    return [columns.meaning(cell) if cell and at not in strange else "" for at, cell in enumerate(labels)], strange


def targets_of(specimens: Specimens, column: str) -> list[float]:
    """The number to be predicted of every specimen, NaN where there is none.

    Raises:
        ValueError: if a cell is no finite number.
    """
    if not column:
        return [math.nan] * len(specimens.names)
    found = []
    for at, cell in enumerate(specimens.agreed(column, "a specimen has one target: mend the cells")):
        try:
            number = float(text(cell) or "nan")
        except ValueError:
            number = math.inf
        if math.isinf(number):
            file, row = specimens.where(at, column)
            raise ValueError(
                f"{file}, row {row}, column {column!r}: {text(cell)!r} is no finite number (columns.target)"
            )
        found.append(number)
    return found


def groups_of(specimens: Specimens, columns: list[str]) -> list[str]:
    """Name of the group of every specimen.

    Raises:
        ValueError: if a cell is empty, or the scans of a specimen have several.
    """
    parts = [[text(cell) for cell in specimens[name]] for name in columns] or [specimens.names]
    for name, cells in zip(columns, parts, strict=False):
        if "" in cells:
            file, row = specimens.where(cells.index(""), name)
            raise ValueError(
                f"{file}, row {row}, column {name!r}: empty; a specimen without a group may stand on either side"
            )
    return ["/".join(part) for part in zip(*parts, strict=True)]


def account_of(specimens: Specimens, columns: SpecimenColumns) -> dict[str, dict[str, int]]:
    """Class -> cell that means it -> how many specimens say so."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    if columns.label or columns.table_label:
        name = columns.label or columns.table_label
        for cell in specimens.agreed(name, "", columns.table_label, columns.meaning):
            own = found[columns.meaning(text(cell)) or "unlabelled"]
            own[text(cell)] = own.get(text(cell), 0) + 1
    return dict(found)
