"""Stays as rows: views with events hidden or blurred to train on, one whole view to embed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from counterpoint.data.base import Draw, Rows
from counterpoint.data.clinical.events import EventStore, offsets, spans
from counterpoint.data.clinical.stays import MODALITY
from counterpoint.data.labelling import Labelling
from counterpoint.keys import Int, derive, uniform
from counterpoint.types import Batch, Events

_VIEW, _KEY = 41, 51


@dataclass(frozen=True, kw_only=True)
class EventViews:
    """How the views of a stay come about.

    Args:
        count: views a stay; contrastive objectives need two.
        drop_events: share of the events hidden in each view.
        drop_sets: share of the sets hidden in each view.
        noise: standard deviation of what is added to standardised values; levels of categorical variables have none.
    """

    count: Literal[1, 2] = 1
    drop_events: float = 0.0
    drop_sets: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: naming the one that does not fit.
        """
        for name in ("drop_events", "drop_sets"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"views.{name} is a share from 0 to below 1, not {getattr(self, name)}")
        if self.noise < 0:
            raise ValueError(f"views.noise must not be below 0, not {self.noise}")


@final
class StayRows(Rows):
    """One row a stay.

    Args:
        store: the events.
        values: (E,) standardised values, in place of those of the store.
        blurred: (V,) by code, which variables noise may be added to.
        stays: (n,) which stays.
        columns: of all stays.
        views: how many, and what is done to them.
        keys: (n,) of the randomness of rows that are the same at every call; None for that of the draw.
    """

    def __init__(
        self,
        store: EventStore,
        values: NDArray[np.float32],
        blurred: NDArray[np.bool_],
        stays: Int,
        columns: Labelling,
        views: EventViews,
        keys: Int | None = None,
    ) -> None:
        self._store, self._values, self._blurred = store, values, blurred
        self._views, self._keys = views, keys
        self.ids = stays
        self.labels, self.groups = columns.labels[stays], columns.groups[stays]
        self.domains, self.metadata = columns.domains[stays], columns.metadata[stays]
        # Of what is padded: a token a set. Views that hide sets are about as long.
        self.lengths = np.diff(store.rows)[stays]

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Gather the events of all rows, a view at a time."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        keys = np.array([draw.key for draw in draws], dtype=np.int64) if self._keys is None else self._keys[rows]
        views = [self._view(self.ids[rows], derive(keys, _VIEW + view)) for view in range(self._views.count)]
        columns = (self.labels, self.groups, self.domains, self.ids)
        return Batch([{MODALITY: view} for view in views], *(torch.from_numpy(column[rows]) for column in columns))

    def _view(self, stays: Int, keys: Int) -> Events:
        store, views = self._store, self._views
        starts, ends = store.rows[stays], store.rows[stays + 1]
        sets = spans(starts, ends)
        events = spans(store.sets[starts], store.sets[ends])
        sizes, rows = store.sets[sets + 1] - store.sets[sets], offsets(ends - starts)
        if views.drop_sets or views.drop_events:
            shown = _shown(rows, sizes, keys, views)
            events, sizes = events[shown], np.add.reduceat(shown.astype(np.int64), offsets(sizes)[:-1])
            sets, sizes, counts = sets[sizes > 0], sizes[sizes > 0], np.add.reduceat(sizes > 0, rows[:-1])
            rows = offsets(counts)
        values, codes = self._values[events], store.codes[events].astype(np.int64)
        borders = offsets(sizes)
        if views.noise:
            lengths = np.diff(borders[rows])
            blur = ndtri(uniform(keys, int(lengths.max()), "blur")[_within(lengths)])
            values += views.noise * blur.astype(np.float32) * self._blurred[codes]
        return Events(
            torch.from_numpy(values),
            torch.from_numpy(codes),
            torch.from_numpy(store.times[sets]),
            torch.from_numpy(borders),
            torch.from_numpy(rows),
            torch.from_numpy(derive(keys, _KEY)),
        )


def _shown(rows: Int, sizes: Int, keys: Int, views: EventViews) -> NDArray[np.bool_]:
    """(E,) which events are left; of every row one at least.

    Args:
        rows: (B + 1,) offsets into sets.
        sizes: (S,) events of each set.
        keys: (B,) of the randomness.
        views: shares to hide.
    """
    counts = np.diff(rows)
    shown = np.repeat(_drawn(counts, keys, views.drop_sets, "sets"), sizes)
    events = np.diff(offsets(sizes)[rows])
    numbers = uniform(keys, int(events.max()), "events")[_within(events)]
    numbers[~shown] = -1.0
    highest = np.repeat(np.maximum.reduceat(numbers, offsets(events)[:-1]), events)
    kept: NDArray[np.bool_] = shown & ((numbers >= views.drop_events) | (numbers == highest))
    return kept


def _drawn(counts: Int, keys: Int, share: float, purpose: str) -> NDArray[np.bool_]:
    """Of ``counts`` (B,) things a row, laid flat, which are not hidden; the one with the highest number never is."""
    numbers = uniform(keys, int(counts.max()), purpose)[_within(counts)]
    highest = np.repeat(np.maximum.reduceat(numbers, offsets(counts)[:-1]), counts)
    drawn: NDArray[np.bool_] = (numbers >= share) | (numbers == highest)
    return drawn


def _within(counts: Int) -> NDArray[np.bool_]:
    """(B, most) where a row has a place, row by row."""
    within: NDArray[np.bool_] = np.arange(counts.max()) < counts[:, None]
    return within
