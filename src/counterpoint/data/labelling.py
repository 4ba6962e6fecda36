"""The columns of the recordings as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.splits import Value, text
from counterpoint.keys import Int

_ONE_HOT = 64


class Labelling(NamedTuple):
    """Columns of n recordings.

    Attributes:
        labels: (n,) index of the class, ``UNLABELLED`` where there is none.
        groups: (n,) index of the group.
        domains: (n,) index of the domain, 0 where there is none.
        metadata: (n, m) what is known without the signal.
        targets: (n,) number to be predicted, NaN where unknown; None where there is none.
        metadata_names: (m,) what they are called; () where nobody said.
    """

    labels: Int
    groups: Int
    domains: Int
    metadata: NDArray[np.float64]
    targets: NDArray[np.float64] | None = None
    metadata_names: tuple[str, ...] = ()

    @property
    def alike(self) -> NDArray[Any]:
        """(n,) what a split keeps alike in its parts: labels, or targets where nothing is labelled."""
        return self.labels if self.targets is None or (self.labels >= 0).any() else self.targets


def ordered(values: Sequence[str]) -> tuple[str, ...]:
    """Distinct values save "", as numbers where all are numbers."""
    distinct = sorted(set(values) - {""})
    numbers = {value: _number(value) for value in distinct}
    if not any(np.isnan(number) for number in numbers.values()):
        distinct.sort(key=numbers.__getitem__)
    return tuple(distinct)


def indices(values: Sequence[str], names: Sequence[str]) -> Int:
    """Position of every value among the names; -1 for those that are none of them."""
    place = {name: at for at, name in enumerate(names)}
    return np.array([place.get(value, -1) for value in values], dtype=np.int64)


def metadata_of(
    columns: Mapping[str, Sequence[Value | None]], names: Sequence[str], count: int
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Some columns of ``count`` recordings as numbers (n, m), as ``measured``, and what each of the m is called.

    Raises:
        ValueError: as ``measured``.
    """
    parts, called = [np.empty((count, 0))], list[str]()
    for name in names:
        cells = columns[name]
        parts.append(measured(name, cells))
        several = parts[-1].shape[1] > 1
        called += [f"{name} = {value}" for value in ordered([text(cell) for cell in cells])] if several else [name]
    return np.concatenate(parts, 1), tuple(called)


def measured(name: str, column: Sequence[Value | None]) -> NDArray[np.float64]:
    """A column (n,) as numbers (n, k): itself, NaN where empty; of texts, one column a value, 1 where it is that.

    Raises:
        ValueError: if it has more texts than tell anything.
    """
    cells = [text(cell) for cell in column]
    numbers = np.array([_number(cell) for cell in cells], dtype=np.float64)
    if all(cell == "" or number == number for cell, number in zip(cells, numbers, strict=True)):
        return numbers[:, None]
    values = ordered(cells)
    if len(values) > _ONE_HOT:
        raise ValueError(f"columns.metadata: {name!r} has {len(values)} different texts; at most {_ONE_HOT}")
    one_hot: NDArray[np.float64] = (np.array(cells)[:, None] == np.array(values)[None, :]).astype(np.float64)
    return one_hot


def target_numbers(column: Sequence[Value | None], place: Callable[[int], str]) -> NDArray[np.float64]:
    """(n,) the numbers of a column to be predicted, NaN where it is empty.

    Args:
        column: as read.
        place: file, row and column of a cell, for messages.

    Raises:
        ValueError: if a cell is no finite number.
    """
    found = np.full(len(column), np.nan)
    for row, cell in enumerate(map(text, column)):
        if cell and not np.isfinite(_number(cell)):
            raise ValueError(f"{place(row)}: {cell!r} is no finite number (columns.target)")
        found[row] = _number(cell or "nan")
    return found


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
