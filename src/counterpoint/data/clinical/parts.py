"""What the sources of stays hold, brought into one table: outcomes joined by name, what is no measurement left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.clinical.stays import SHOWN, Cells, EventAccount, Float, Stays
from counterpoint.data.splits import Value, text
from counterpoint.data.tables import Table, check_unique, match, read_table
from counterpoint.keys import Int


class Part(NamedTuple):
    """What one source holds, as read: n stays, E events.

    Attributes:
        label: what tells the source from others: the name of a table or a folder.
        names: (n,) of the stays.
        files: (n,) where the events of each stand.
        variables: by code; "" where the source names none.
        stay: (E,) index of the stay.
        minutes: (E,) NaN where the source has no number.
        codes: (E,) index of the variable.
        values: (E,) NaN where the source has no number.
        lines: (E,) row of the file, as a person counts them.
        sets: (E,) number of the set; None where time alone decides.
        rejected: stay -> why it cannot be used.
    """

    label: str
    names: Sequence[str]
    files: Sequence[Path]
    variables: Sequence[str]
    stay: Int
    minutes: Float
    codes: Int
    values: NDArray[Any]
    lines: Int
    sets: Int | None = None
    rejected: Mapping[int, str] = {}


class Cleaning(NamedTuple):
    """What is left out of the events of every source.

    Attributes:
        missing: values that stand for one that is not there.
        ignore: variables that are no measurement.
        known: the variables there may be; empty for all.
    """

    missing: Sequence[float] = ()
    ignore: Sequence[str] = ()
    known: Sequence[str] = ()


def assemble(parts: Sequence[Part], column: str, outcomes: Sequence[Path], key: str, cleaning: Cleaning) -> Stays:
    """Sources to one table.

    Args:
        parts: the sources, at least one.
        column: name of the cells that say which source a stay is from.
        outcomes: tables with a row a stay.
        key: their column that names the stay.
        cleaning: what is left out.

    Raises:
        ValueError: a stay stands in two sources or in two rows of outcomes.
    """
    account = EventAccount()
    names = _names(parts)
    cells = _outcomes(outcomes, key, names, account)
    cells[column] = [part.label for part in parts for _ in part.names]
    variables = sorted({name for part in parts for name in part.variables})
    place = {name: at for at, name in enumerate(variables)}
    first = np.cumsum([0, *(len(part.names) for part in parts)])[:-1].tolist()
    numbers = [np.array([place[name] for name in part.variables], dtype=np.int64) for part in parts]
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is left out as such
        values = np.concatenate([part.values.astype(np.float32) for part in parts])
    sets = [part.sets for part in parts if part.sets is not None]
    assert len(sets) in (0, len(parts)), "numbered sets in some parts only"
    whole = Stays(
        names,
        [file for part in parts for file in part.files],
        cells,
        tuple(variables),
        np.concatenate([part.stay + at for part, at in zip(parts, first, strict=True)]),
        # What 7 minutes are as hours, and back, is not 7.
        np.round(np.concatenate([part.minutes for part in parts]), 3),
        np.concatenate([number[part.codes] for part, number in zip(parts, numbers, strict=True)]),
        values,
        np.concatenate([part.lines for part in parts]),
        np.concatenate(sets) if sets else None,
        {at + row: why for part, at in zip(parts, first, strict=True) for row, why in part.rejected.items()},
        account=account,
    )
    return _cleaned(whole, cleaning)


def _cleaned(stays: Stays, cleaning: Cleaning) -> Stays:
    """Without events that are no measurement, each kind of which is entered in the account."""

    def is_of(names: Sequence[str]) -> NDArray[np.bool_]:
        return np.isin(np.array(stays.variables, dtype=np.str_), list(names))[stays.codes]

    signs = ", ".join(f"{number:g}" for number in cleaning.missing)
    finds = [
        ("ignored variable, left out", is_of(cleaning.ignore)),
        ("variable not named, left out", is_of([""])),
        ("time is no finite number, left out", ~np.isfinite(stays.minutes)),
        ("value is no finite number, left out", ~np.isfinite(stays.values)),
        (f"value that stands for a missing one ({signs}), left out", np.isin(stays.values, cleaning.missing)),
    ]
    if cleaning.known:
        finds.append(("variable unknown, left out", ~is_of(cleaning.known)))
    kept = np.ones(len(stays.stay), dtype=np.bool_)
    for kind, found in finds:
        stays.note(kind, np.flatnonzero(found & kept))
        kept &= ~found
    left = [name for name in stays.variables if name not in {"", *cleaning.ignore}]
    left = [name for name in left if not cleaning.known or name in cleaning.known]
    place = np.array([left.index(name) if name in left else -1 for name in stays.variables], dtype=np.int64)
    columns = stays.columns(kept)
    return replace(stays, **columns | {"codes": place[columns["codes"]], "variables": tuple(left)})


def _names(parts: Sequence[Part]) -> list[str]:
    """Names of all stays.

    Raises:
        ValueError: one of them stands twice.
    """
    seen: dict[str, str] = {}
    for part in parts:
        for name, file in zip(part.names, part.files, strict=True):
            if name in seen:
                raise ValueError(
                    f"stay {name} stands in {seen[name]} and in {file}; leave one out, or give one another name"
                )
            seen[name] = str(file)
    return list(seen)


def _outcomes(paths: Sequence[Path], key: str, names: Sequence[str], account: EventAccount) -> Cells:
    """Column -> cell of every stay, None for those without a row."""
    cells: Cells = {}
    place = {name: at for at, name in enumerate(names)}
    rows: dict[str, str] = {}
    for path in paths:
        table = read_table(path)
        found = match(table, {key: ()}, [key])[key]
        check_unique(table, found)
        stays = [text(cell) for cell in table.columns[found]]
        for row, stay in enumerate(stays):
            if stay in rows:
                raise ValueError(f"{table.place(row, found)}: stay {stay} stands in {rows[stay]} as well; drop one row")
            rows[stay] = str(path)
        _fill(cells, table, [place.get(stay, -1) for stay in stays], len(names))
    lone = [name for name in rows if name not in place]
    account.note("outcome without events, left out", len(lone), lone, [f"{rows[n]}: stay {n}" for n in lone[:SHOWN]])
    bare = [name for name in names if name not in rows] if paths else []
    where = ", ".join(map(str, paths))
    account.note("stay without an outcome, unlabelled", len(bare), bare, [f"{where}: no {n}" for n in bare[:SHOWN]])
    return cells


def _fill(cells: Cells, table: Table, places: Sequence[int], count: int) -> None:
    """Enter the cells of a table at the stays they belong to."""
    for name, column in table.columns.items():
        whole: list[Value | None] = cells.setdefault(name, [None] * count)
        for at, cell in zip(places, column, strict=True):
            if at >= 0:
                whole[at] = cell
