"""Who goes where when whole groups are dealt to parts of given shares, the parts as alike as can be."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.keys import Int, derive, uniforms

_TIE = 21


def strata(labels: NDArray[Any]) -> Int:
    """Classes as they are; of a continuous target (n,) its quarters, and one of its own for rows without it (NaN)."""
    if labels.dtype.kind != "f":
        return labels.astype(np.int64)
    known = np.isfinite(labels)
    found = np.full(len(labels), -1, dtype=np.int64)
    if known.any():
        found[known] = np.searchsorted(np.quantile(labels[known], (0.25, 0.5, 0.75)), labels[known])
    return found


def cut_valid(rows: Int, groups: NDArray[Any], labels: NDArray[Any], share: float, seed: int) -> tuple[Int, Int]:
    """Divide rows into train and valid by group."""
    if not share or not len(rows):
        return rows, rows[:0]
    part = deal(groups[rows], labels[rows], [1 - share, share], seed)
    return rows[part == 0], rows[part == 1]


def deal(groups: NDArray[Any], labels: NDArray[Any], shares: list[float], seed: int) -> Int:
    """Part (n,) of every row. Groups go one by one where they are missed most, the large ones first.

    What a part lacks of a class is measured against its share of that class; a group goes to the part where
    it lowers the summed squared lack most, each class weighing the same. Groups of about one size (within a
    factor of two) come in random order. A part that gets nothing is given the smallest group of the largest.
    """
    names, group = np.unique(groups, return_inverse=True)
    _, label = np.unique(strata(labels), return_inverse=True)
    table = np.zeros((len(names), int(label.max(initial=0)) + 1))
    np.add.at(table, (group, label), 1.0)
    sizes, wanted = table.sum(1), np.outer(shares, table.sum(0))
    weight = 1 / table.sum(0) ** 2
    random = uniforms(derive(np.arange(len(names)), _TIE + (seed << 8)), 1)[:, 0]
    part = np.zeros(len(names), dtype=np.int64)
    allowed = np.flatnonzero(shares)
    for number in np.lexsort((random, -np.floor(np.log2(sizes)))):
        gain = ((2 * wanted * table[number] - table[number] ** 2) * weight).sum(1)[allowed]
        # The last of equals: with two groups, one is to be left for testing.
        part[number] = allowed[np.flatnonzero(gain >= gain.max() - 1e-9)[-1]]
        wanted[part[number]] -= table[number]
    for empty in np.setdiff1d(allowed, part):
        largest = np.flatnonzero(part == np.bincount(part).argmax())
        if len(largest) > 1:
            part[largest[sizes[largest].argmin()]] = empty
    dealt: Int = part[group]
    return dealt
