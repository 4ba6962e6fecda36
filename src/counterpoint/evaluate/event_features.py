"""Hand features of irregular events: six numbers a variable, and the last value of each alone.

All functions return (B, F) float64 with F a multiple of the number of variables, so they run batch by batch. Nothing
here is fitted: values come standardised, so a variable that a row lacks is 0, the mean of the training rows, and its
count tells that it is lacking. The order of the events within a set changes nothing: where a set holds a variable
twice, its first and last values are the mean of the two.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from counterpoint.types import Events

Float = NDArray[np.float64]
Int = NDArray[np.int64]


class _Cells(NamedTuple):
    """Every event with the place of its row and variable in a table of ``rows`` by ``variables``.

    Attributes:
        values: (E,) standardised.
        cells: (E,) index into the flat table.
        moments: (E,) index of the set.
        shape: rows and variables.
    """

    values: Float
    cells: Int
    moments: Int
    shape: tuple[int, int]

    def table(self, flat: Float) -> Float:
        """A flat table as (rows, variables)."""
        return flat.reshape(self.shape)

    def counts(self) -> Float:
        """How often each row has each variable."""
        return self.table(np.bincount(self.cells, minlength=self.shape[0] * self.shape[1]).astype(np.float64))

    def means(self, chosen: NDArray[np.bool_] | None = None) -> Float:
        """Mean of the values of each cell, or of some of them; 0 where there is none."""
        cells, values = (self.cells, self.values) if chosen is None else (self.cells[chosen], self.values[chosen])
        size = self.shape[0] * self.shape[1]
        counts = np.bincount(cells, minlength=size)
        return self.table(np.bincount(cells, values, size) / np.maximum(counts, 1))

    def extremes(self, ufunc: np.ufunc, start: float) -> Float:
        """Least or largest value of each cell; 0 where there is none."""
        found = np.full(self.shape[0] * self.shape[1], start)
        ufunc.at(found, self.cells, self.values)
        return self.table(np.where(np.isfinite(found), found, 0.0))

    def at_edge(self, ufunc: np.ufunc, start: int) -> Float:
        """Value of each cell in the first or last set that has it; 0 where none has."""
        edge = np.full(self.shape[0] * self.shape[1], start)
        ufunc.at(edge, self.cells, self.moments)
        return self.means(self.moments == edge[self.cells])


def last_values(events: Events, variables: int, place: str) -> Float:
    """(B, V) the last value of every variable.

    Args:
        events: a modality of a batch.
        variables: V.
        place: its name, for the message.

    Raises:
        ValueError: a value is not finite.
    """
    return _cells(events, variables, place).at_edge(np.maximum, -1)


def event_statistics(events: Events, variables: int, place: str) -> Float:
    """(B, 6 V): mean, least, largest, last and first value of every variable, and ln(1 + count).

    Args:
        events: a modality of a batch.
        variables: V.
        place: its name, for the message.

    Raises:
        ValueError: a value is not finite.
    """
    cells = _cells(events, variables, place)
    columns = [
        cells.means(),
        cells.extremes(np.minimum, np.inf),
        cells.extremes(np.maximum, -np.inf),
        cells.at_edge(np.maximum, -1),
        cells.at_edge(np.minimum, len(events.times)),
        np.log1p(cells.counts()),
    ]
    return np.concatenate(columns, 1)


def _cells(events: Events, variables: int, place: str) -> _Cells:
    values = events.values.detach().cpu().double().numpy()
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise ValueError(f"{place}: {bad} events hold NaN or infinity; let the reader drop them")
    codes, sets, rows = (_whole(part) for part in (events.codes, events.sets, events.rows))
    moments = np.repeat(np.arange(len(sets) - 1), np.diff(sets))
    owners = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
    return _Cells(values, owners[moments] * variables + codes, moments, (len(rows) - 1, variables))


def _whole(column: Tensor) -> Int:
    return np.asarray(column.detach().cpu().numpy(), np.int64)
