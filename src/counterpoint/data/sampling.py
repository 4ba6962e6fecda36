"""Which rows make batch t, and the loaders that read them.

The training stream is one sequence of batches over the whole run; an epoch is a length of it. Position p of
the stream belongs to batch p // batch_size, and every n positions hold every one of n rows once: what does
not fill the last batch of an epoch begins the next, so that no batch is uneven and no row is dropped.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from counterpoint.data.base import Draw, Rows
from counterpoint.keys import Int, derive, uniforms
from counterpoint.types import Batch

_ORDER, _TURN, _DRAW = 11, 12, 13
_AHEAD = 2


class StreamSampler(Sampler[list[Draw]]):
    """Batches of a run, batch t a function of (rows, seed, t) alone; to resume, start at t.

    Rows of one recording (equal ``ids``) are dealt out in rounds, one of each recording a round, and a round
    that begins inside a batch begins with recordings the batch does not have: no batch has a recording twice
    while the recordings that have rows left are enough to fill it.

    Args:
        rows: what is drawn from; only ``ids`` is read.
        batch_size: rows of a batch over all ranks together.
        epochs: length of the run; an epoch is ``steps_per_epoch`` batches: n // batch_size, at least one.
        seed: decides everything.
        start: the first batch to yield, counted from the beginning of the run.
        rank: which slice of every batch to yield.
        world: number of slices.

    Raises:
        ValueError: if there are under two recordings or under two rows a batch (no negatives), or ranks
            cannot share a batch evenly.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        assert 0 <= rank < world, (rank, world)
        _check_batch(batch_size, epochs, world)
        recordings = np.unique(rows.ids)
        if len(recordings) < 2:
            raise ValueError(
                f"recordings to train on: {len(recordings)}; contrast needs at least two, because the "
                "negatives are windows of other recordings: add recordings, or enlarge the training share"
            )
        self._stream = _Stream(np.asarray(rows.ids, dtype=np.int64), batch_size, seed)
        self._batch, self._seed, self._start = batch_size, seed, start
        self._share = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        self.steps_per_epoch = max(1, len(rows.ids) // batch_size)
        self._total = epochs * self.steps_per_epoch

    def __len__(self) -> int:
        """Batches of the whole run, those before ``start`` included, as a trainer counts them."""
        return self._total

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this rank's slice of every batch from ``start`` on."""
        batches = self._stream.batches(self._start)
        for step in range(self._start, self._total):
            rows = next(batches)[self._share]
            positions = np.arange(step * self._batch, (step + 1) * self._batch)[self._share]
            keys = derive(positions, _DRAW + (self._seed << 8))
            yield [Draw(row, key) for row, key in zip(rows.tolist(), keys.tolist(), strict=True)]


def stream_length(rows: Rows, batch_size: int, epochs: int) -> tuple[int, int]:
    """Batches of a whole run and of one of its epochs.

    Raises:
        ValueError: as ``StreamSampler``.
    """
    sampler = StreamSampler(rows, batch_size=batch_size, epochs=epochs, seed=0)
    return len(sampler), sampler.steps_per_epoch


def _check_batch(batch_size: int, epochs: int, world: int) -> None:
    if batch_size < 2:
        raise ValueError(f"batch_size must be at least 2, not {batch_size}: a row alone has no negatives")
    if batch_size % world:
        raise ValueError(
            f"batch_size {batch_size} is of all ranks together and {world} ranks cannot share it "
            f"evenly; the nearest that fits is {max(world, round(batch_size / world) * world)}"
        )
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, not {epochs}")


class _Stream:
    """The endless order of rows: epoch after epoch, each of ``layers`` rounds."""

    def __init__(self, ids: Int, batch: int, seed: int) -> None:
        self._batch, self._seed = batch, seed
        self._ids = np.unique(ids, return_inverse=True)[1]
        counts = np.bincount(self._ids)
        self._sizes = [int((counts > turn).sum()) for turn in range(int(counts.max()))]
        self._borders = np.concatenate([[0], np.cumsum(self._sizes)])
        self._epoch = lru_cache(maxsize=2)(self._shuffled)

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
        return self._epoch(epoch)[self._borders[turn] : self._borders[turn + 1]]

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


class PassSampler(Sampler[list[Draw]]):
    """Every row once, in order, for evaluation; the last batch may be shorter. A row's key is its number.

    Args:
        rows: what is passed through.
        batch_size: rows of a batch.
    """

    def __init__(self, rows: Rows, *, batch_size: int) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self._count, self._batch = len(rows.ids), batch_size

    def __len__(self) -> int:
        return math.ceil(self._count / self._batch)

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield the batches."""
        for start in range(0, self._count, self._batch):
            yield [Draw(row, row) for row in range(start, min(start + self._batch, self._count))]


class Prefetched:
    """Batches read ahead by one thread, which is all that a memory-mapped store needs.

    An error of the thread is raised where its batch would have come, with its own traceback. Leaving the loop
    stops the thread.
    """

    def __init__(self, rows: Rows, sampler: StreamSampler | PassSampler) -> None:
        self._rows, self._sampler = rows, sampler

    def __len__(self) -> int:
        return len(self._sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches of one run through the sampler."""
        pool = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        waiting: deque[Future[Batch]] = deque()
        try:
            for draws in self._sampler:
                waiting.append(pool.submit(self._rows.__getitems__, draws))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def loader(rows: Rows, sampler: StreamSampler | PassSampler, workers: int = 0) -> Prefetched | DataLoader[Batch]:
    """Read the batches of a sampler; the same batches whatever the number of workers.

    Args:
        rows: what is read.
        sampler: which batches, and how many.
        workers: 0 for one thread; more for as many processes, which live as long as the loader and open files
            themselves. They pay where a batch costs much computing, not where it is read from a store.
    """
    if workers < 0:
        raise ValueError(f"workers must be at least 0, not {workers}")
    if workers == 0:
        return Prefetched(rows, sampler)
    return DataLoader(
        rows,
        batch_sampler=sampler,
        num_workers=workers,
        persistent_workers=True,
        collate_fn=_as_read,
        # Or the loader would seed its workers from the global generator, and dropout would draw other numbers.
        generator=torch.Generator(),
    )


def _as_read(batch: Any) -> Any:
    return batch
