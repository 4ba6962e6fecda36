"""The order of rows: what it is, and the plain one, all of them at random, one row of each recording a round."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import lru_cache
from typing import final

import numpy as np

from counterpoint.keys import Int, derive, uniforms

_ORDER, _TURN = 11, 12


class Order(ABC):
    """An endless sequence of batches, batch t a function of (rows, seed, t) alone.

    Attributes:
        count: rows that are drawn; an epoch is as many.
        note: what a person should know of it before training; empty if there is nothing.
    """

    count: int
    note: str = ""

    @abstractmethod
    def batches(self, start: int) -> Iterator[Int]:
        """Rows (batch,) of batch ``start`` and of all that follow, entered anywhere at bounded cost."""


@final
class InRounds(Order):
    """The order of ``Shuffled``: epoch after epoch, each dealt out in rounds, one row of each recording a round.

    Every n positions hold every one of n rows once: what does not fill the last batch of an epoch begins the next, so
    that no batch is uneven and no row is dropped. A round that begins inside a batch begins with recordings the batch
    does not have: no batch has a recording twice while the recordings that have rows left are enough to fill it.

    Args:
        ids: (n,) recording of every row.
        batch: rows of a batch.
        seed: decides everything.
    """

    def __init__(self, ids: Int, batch: int, seed: int) -> None:
        self._batch, self._seed, self.count = batch, seed, len(ids)
        self._ids = np.unique(ids, return_inverse=True)[1]
        counts = np.bincount(self._ids)
        self._sizes = [int((counts > turn).sum()) for turn in range(int(counts.max()))]
        self._borders = np.concatenate([[0], np.cumsum(self._sizes)])
        self.epoch = lru_cache(maxsize=2)(self._shuffled)

    def batches(self, start: int) -> Iterator[Int]:
        """Rows (batch,) of batch ``start`` and of all that follow."""
        layer = self._first_layer(start)
        begun = self._offset(layer) % self._batch
        number = self._offset(layer) // self._batch
        pending = np.empty(0, dtype=np.int64)
        while True:
            rows = self._layer(layer)
            if begun:  # the head belongs to a batch before ``start``: only the tail is of use
                rows, number, begun = rows[self._batch - begun :], number + 1, 0
            else:
                rows = self._unlike(rows, pending)
            pending = np.concatenate([pending, rows])
            while len(pending) >= self._batch:
                if number >= start:
                    yield pending[: self._batch]
                pending, number = pending[self._batch :], number + 1
            layer += 1

    def _first_layer(self, start: int) -> int:
        """The latest round to begin from so that batch ``start`` comes out as in a run from the first.

        It is one that begins with a batch, whose order hangs on no other; or, before the round of ``start``,
        one of two batches or more, whose tail does not, because only its first ``batch`` rows change places.
        """
        epoch, within = divmod(start * self._batch, len(self._ids))
        layer = epoch * len(self._sizes) + int(np.searchsorted(self._borders, within, side="right")) - 1
        while self._offset(layer) % self._batch:
            layer -= 1
            if self._sizes[layer % len(self._sizes)] >= 2 * self._batch:
                break
        return layer

    def _offset(self, layer: int) -> int:
        epoch, turn = divmod(layer, len(self._sizes))
        return epoch * len(self._ids) + int(self._borders[turn])

    def _layer(self, layer: int) -> Int:
        epoch, turn = divmod(layer, len(self._sizes))
        return self.epoch(epoch)[self._borders[turn] : self._borders[turn + 1]]

    def _shuffled(self, epoch: int) -> Int:
        """Rows of an epoch, round after round, each round in random order."""
        rows = np.arange(len(self._ids))
        own = derive(rows, _TURN + (self._seed << 8))
        by_id = np.lexsort((uniforms(derive(own, epoch), 1)[:, 0], self._ids))
        first = np.searchsorted(self._ids[by_id], self._ids[by_id])
        turns = np.empty_like(rows)
        turns[by_id] = rows - first
        order = uniforms(derive(derive(rows, _ORDER + (self._seed << 8)), epoch), 1)[:, 0]
        shuffled: Int = np.lexsort((order, turns))
        return shuffled

    def _unlike(self, rows: Int, pending: Int) -> Int:
        """Reorder the first rows so that those that complete a begun batch are of recordings it has not."""
        room = self._batch - len(pending)
        if not len(pending):
            return rows
        head, begun = rows[: self._batch], np.zeros(self._sizes[0], dtype=bool)
        begun[self._ids[pending]] = True
        fresh = np.flatnonzero(~begun[self._ids[head]])[:room]
        return np.concatenate([head[fresh], np.delete(head, fresh), rows[self._batch :]])
