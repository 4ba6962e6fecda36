"""Rows of about one length in a batch: pools of the shuffled rows, sorted by length, batches in random order."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Rows
from counterpoint.data.rounds import InRounds, Order
from counterpoint.keys import Int, derive, uniforms

_PLACE, _BATCH = 15, 16


@final
class ByLength(Order):
    """The order of ``LengthGrouped``.

    Every n positions hold every one of n rows once. The batches that lie inside an epoch are grouped, as the
    ``LengthGroupedSampler`` of the ``transformers`` library groups its megabatches; the batch that completes an epoch
    and begins the next is not. Pools are of another order every epoch, so who meets whom changes. An epoch is arranged
    by (rows, seed, epoch) alone, so batch t is entered at the cost of one or two epochs' sorting.

    Rows of one recording are of one length, and a pool that holds several of them puts their first rows before their
    second: a batch has a recording twice only where there is no other way, or where two such runs meet.

    Args:
        rows: what is drawn from.
        batch: rows of a batch.
        pool: batches of a pool.
        seed: decides everything.

    Raises:
        ValueError: if the rows are all of one length.
    """

    def __init__(self, rows: Rows, batch: int, pool: int, seed: int) -> None:
        lengths = rows.lengths
        if lengths is None or len(np.unique(lengths)) < 2:
            raise ValueError(
                f"LengthGrouped puts rows of about one length together, and all {len(rows.ids)} training rows, "
                f"{type(rows).__name__}, are of one length: there is nothing to group; set trainer.batches: Shuffled"
            )
        self._ids = np.unique(np.asarray(rows.ids, dtype=np.int64), return_inverse=True)[1]
        self._lengths: Int = np.asarray(lengths, dtype=np.int64)
        self._rounds = InRounds(self._ids, batch, seed)
        self._batch, self._pool, self._seed, self.count = batch, pool, seed, len(self._ids)
        self._epoch = lru_cache(maxsize=2)(self._arranged)

    def batches(self, start: int) -> Iterator[Int]:
        """Rows (batch,) of batch ``start`` and of all that follow."""
        epoch, begun = divmod(start * self._batch, self.count)
        pending = self._epoch(epoch)[begun:]
        while True:
            while len(pending) < self._batch:
                epoch += 1
                pending = np.concatenate([pending, self._epoch(epoch)])
            yield pending[: self._batch]
            pending = pending[self._batch :]

    def _arranged(self, epoch: int) -> Int:
        """All rows in the order of an epoch: what completes a begun batch, batches by length, what begins the next."""
        shuffled = self._rounds.epoch(epoch)
        head, tail = self._ends(epoch)
        body, rest = shuffled[: self.count - tail], shuffled[self.count - tail :]
        if head and epoch:
            begun = self._rounds.epoch(epoch - 1)[self.count - self._ends(epoch - 1)[1] :]
            fresh = np.flatnonzero(~np.isin(self._ids[body], self._ids[begun]))[:head]
            body = np.concatenate([body[fresh], np.delete(body, fresh)])
        return np.concatenate([body[:head], self._grouped(body[head:], epoch), rest])

    def _ends(self, epoch: int) -> tuple[int, int]:
        """How many rows of an epoch stand in the batch that was begun before it, and in the one it leaves begun."""
        head = min(self.count, -epoch * self.count % self._batch)
        return head, (self.count - head) % self._batch

    def _grouped(self, rows: Int, epoch: int) -> Int:
        """Whole batches by length, each and all of them in random order."""
        count, size = len(rows) // self._batch, self._batch * self._pool
        parts = [rows[at : at + size] for at in range(0, len(rows), size)]
        batches = np.concatenate([rows[:0], *(self._sorted(part) for part in parts)]).reshape(count, self._batch)
        # Ranks share a batch in slices, and none of them is to have all that is long.
        within = self._numbers(_PLACE, count * self._batch, epoch).reshape(batches.shape).argsort(1)
        batches = np.take_along_axis(batches, within, 1)
        return batches[self._numbers(_BATCH, count, epoch).argsort()].ravel()

    def _sorted(self, pool: Int) -> Int:
        """By length, the first rows of every recording before the second; rows of one length stay in random order."""
        by_id = np.argsort(self._ids[pool], kind="stable")
        ids = self._ids[pool][by_id]
        turns = np.empty_like(pool)
        turns[by_id] = np.arange(len(pool)) - np.searchsorted(ids, ids)
        return pool[np.lexsort((self._lengths[pool], turns))]

    def _numbers(self, purpose: int, count: int, epoch: int) -> NDArray[np.float64]:
        """(count,) from 0 to 1, another for each purpose and epoch."""
        own = derive(np.arange(count), purpose + (self._seed << 8))
        numbers: NDArray[np.float64] = uniforms(derive(own, epoch), 1)[:, 0]
        return numbers
