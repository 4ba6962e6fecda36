"""Which rows make batch t, and the loaders that read them.

The training stream is one sequence of batches over the whole run; an epoch is a length of it. Position p of the
stream belongs to batch p // batch_size. Which rows stand together is the order's to say, see ``batching``.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler

from counterpoint.data.base import Draw, Rows
from counterpoint.data.batching import order
from counterpoint.keys import derive
from counterpoint.settings import Batching, Shuffled
from counterpoint.types import Batch

_DRAW = 13
_AHEAD = 2


class StreamSampler(Sampler[list[Draw]]):
    """Batches of a run, batch t a function of (rows, seed, t) alone; to resume, start at t.

    Args:
        rows: what is drawn from; only ``ids`` and, by the class, ``labels`` are read.
        batch_size: rows of a batch over all ranks together.
        epochs: length of the run; an epoch is ``steps_per_epoch`` batches: n // batch_size, at least one, of the n
            rows that are drawn.
        seed: decides everything.
        start: the first batch to yield, counted from the beginning of the run.
        rank: which slice of every batch to yield.
        world: number of slices.
        batches: which rows stand together.

    Raises:
        ValueError: if there are under two recordings or under two rows a batch (no negatives), ranks cannot share a
            batch evenly, or ``batches`` cannot be had of these rows.
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
        batches: Batching = Shuffled(),  # noqa: B008
    ) -> None:
        assert 0 <= rank < world, (rank, world)
        _check_batch(batch_size, epochs, world)
        _check_recordings(rows)
        self._order = order(batches, rows, batch_size, seed)
        self._batch, self._seed, self._start = batch_size, seed, start
        self._share = slice(rank * batch_size // world, (rank + 1) * batch_size // world)
        self.steps_per_epoch = max(1, self._order.count // batch_size)
        self._total = epochs * self.steps_per_epoch

    def __len__(self) -> int:
        """Batches of the whole run, those before ``start`` included, as a trainer counts them."""
        return self._total

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this rank's slice of every batch from ``start`` on."""
        batches = self._order.batches(self._start)
        for step in range(self._start, self._total):
            rows = next(batches)[self._share]
            positions = np.arange(step * self._batch, (step + 1) * self._batch)[self._share]
            keys = derive(positions, _DRAW + (self._seed << 8))
            yield [Draw(row, key) for row, key in zip(rows.tolist(), keys.tolist(), strict=True)]


def stream_length(
    rows: Rows,
    batch_size: int,
    epochs: int,
    batches: Batching = Shuffled(),  # noqa: B008
    classes: Sequence[str] = (),
) -> tuple[int, int]:
    """Batches of a whole run and of one of its epochs.

    Args:
        rows: what is drawn from.
        batch_size: rows of a batch.
        epochs: of the run.
        batches: which rows stand together.
        classes: names of the classes, for messages.

    Raises:
        ValueError: as ``StreamSampler``.
    """
    _check_recordings(rows)
    order(batches, rows, batch_size, 0, classes)  # refuses as the sampler would, by the names of the classes
    sampler = StreamSampler(rows, batch_size=batch_size, epochs=epochs, seed=0, batches=batches)
    return len(sampler), sampler.steps_per_epoch


def _check_recordings(rows: Rows) -> None:
    recordings = len(np.unique(rows.ids))
    if recordings < 2:
        raise ValueError(
            f"recordings to train on: {recordings}; contrast needs at least two, because the "
            "negatives are windows of other recordings: add recordings, or enlarge the training share"
        )


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
