"""What the tables of outcomes say of stays: labels, groups, domains, metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from counterpoint.data.clinical.events import EventStore
from counterpoint.data.clinical.stays import Cells, Stays
from counterpoint.data.labelling import Labelling, indices, measured, ordered
from counterpoint.data.splits import Value, text


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is to be predicted of a stay.

    Args:
        column: of the outcome tables; empty for the one that the published form has.
        names: cell -> name of the class, in the order of the classes, the one to be found last; empty for all
            cells there are, in order.
    """

    column: str = ""
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StayColumns:
    """Which columns of the outcome tables mean what else.

    Args:
        group: columns that together name what must stay on one side of a split, such as the patient of several
            stays; empty for the stay itself.
        domain: the site or the unit; empty for none.
        metadata: columns for the baseline that sees no event.
    """

    group: list[str] = field(default_factory=list)
    domain: str = ""
    metadata: list[str] = field(default_factory=list)


def _column(cells: Cells, name: str, files: Sequence[Path] = ()) -> Sequence[Value | None]:
    if name not in cells:
        where = f" of {', '.join(map(str, files))}" if files else ""
        raise ValueError(f"no column {name!r} in the outcomes{where}; there are {', '.join(cells)}; name one of them")
    return cells[name]


def labels_of(stays: Stays, outcome: Outcome, usual: str) -> tuple[list[str], dict[int, str]]:
    """Name of the class of every stay, "" where there is none; and the stays whose cell is no class.

    Args:
        stays: with their cells.
        outcome: what is to be predicted.
        usual: column where the outcome names none; without it, or without any table of outcomes, nothing is labelled.
    """
    column = outcome.column or usual
    if not column or (not outcome.column and len(stays.cells) == 1):
        return [""] * len(stays.names), {}
    cells = [text(cell) for cell in _column(stays.cells, column, stays.sources)]
    if not outcome.names:
        return cells, {}
    known = ", ".join(outcome.names)
    refused = {
        row: f"label outside the classes: {column} is {cell!r}, none of {known}"
        for row, cell in enumerate(cells)
        if cell and cell not in outcome.names
    }
    return [outcome.names.get(cell, "") for cell in cells], refused


def groups_of(cells: Cells, names: Sequence[str], columns: Sequence[str]) -> list[str]:
    """Name of the group of every stay: its own where no column or an empty cell says."""
    joined = ["/".join(map(text, row)) for row in zip(*(_column(cells, name) for name in columns), strict=True)]
    return [group if group.strip("/") else name for group, name in zip(joined or names, names, strict=True)]


def labelled(
    store: EventStore,
    labels: Sequence[str],
    classes: Sequence[str],
    groups: Sequence[str],
    cells: Cells,
    columns: StayColumns,
) -> Labelling:
    """Number the names, and measure what is known without the values: events, sets, hours from first to last."""
    sets = np.diff(store.rows)
    events = np.diff(store.sets[store.rows])
    hours = store.times[store.rows[1:] - 1] - store.times[store.rows[:-1]]
    plain = np.stack([events, sets, hours], 1).astype(np.float64)
    domains = [text(cell) for cell in _column(cells, columns.domain)] if columns.domain else [""] * len(sets)
    return Labelling(
        indices(labels, classes),
        indices(groups, ordered(groups)),
        np.maximum(indices(domains, ordered(domains)), 0),
        np.concatenate([plain, *(measured(name, _column(cells, name)) for name in columns.metadata)], 1),
    )
