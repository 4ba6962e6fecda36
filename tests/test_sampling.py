"""Which rows make a batch, and how batches are read."""

from __future__ import annotations

import threading
import traceback
from collections import Counter
from itertools import chain, islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data.base import Draw, Rows
from counterpoint.data.sampling import PassSampler, StreamSampler, loader
from counterpoint.keys import uniforms
from counterpoint.types import Batch, Signal


class Noise(Rows):
    """Rows of numbers that hang on row and key; ``bad`` is the row that cannot be read."""

    def __init__(self, ids: list[int] | np.ndarray, bad: int = -1) -> None:
        self.ids = np.asarray(ids)
        self.labels = self.groups = self.domains = np.zeros_like(self.ids)
        self.metadata = np.zeros((len(self.ids), 0))
        self.bad = bad
        self.reads = 0

    def __getitems__(self, draws: list[Draw]) -> Batch:
        self.reads += 1
        rows = np.array([draw.row for draw in draws])
        if self.bad in rows:
            raise OSError(f"row {self.bad} cannot be read")
        values = uniforms(np.array([draw.key for draw in draws]), 4) + rows[:, None]
        columns = (self.labels, self.groups, self.domains, self.ids)
        return Batch(
            [{"noise": Signal(torch.from_numpy(values)[..., None])}],
            *(torch.from_numpy(c[rows]) for c in columns),
        )


def batches(rows: Rows, batch: int, epochs: int, **more: int) -> list[list[Draw]]:
    return list(StreamSampler(rows, batch_size=batch, epochs=epochs, seed=3, **more))


rows_of = st.lists(st.integers(0, 12), min_size=2, max_size=60).filter(lambda ids: len(set(ids)) > 1)


@settings(max_examples=60, deadline=None)
@given(ids=rows_of, batch=st.integers(2, 40), start=st.integers(0, 30))
def test_a_run_resumed_at_t_goes_on_as_the_run_that_was_not_interrupted(ids: list[int], batch: int, start: int) -> None:
    rows = Noise(ids)
    whole = batches(rows, batch, 15)
    assert batches(rows, batch, 15, start=start) == whole[start:]


@pytest.mark.parametrize("n", [300, 1000, 1001, 4096])
def test_a_long_run_is_entered_anywhere_at_the_cost_of_its_last_epochs(n: int) -> None:
    rows = Noise(np.arange(n))
    whole = batches(rows, 64, 12)
    for start in (1, 17, len(whole) // 2, len(whole) - 1):
        assert batches(rows, 64, 12, start=start) == whole[start:]
    sampler = StreamSampler(rows, batch_size=64, epochs=10**7, seed=3, start=3 * 10**7)
    assert len(next(iter(sampler))) == 64  # at once, not after a thirty million batches


@settings(max_examples=60, deadline=None)
@given(ids=rows_of, batch=st.integers(2, 40))
def test_every_row_comes_once_in_every_n_positions(ids: list[int], batch: int) -> None:
    drawn = [draw.row for draws in batches(Noise(ids), batch, 12) for draw in draws]
    n = len(ids)
    for begin in range(0, len(drawn) - n + 1, n):
        assert sorted(drawn[begin : begin + n]) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(recordings=st.integers(2, 40), repeats=st.integers(1, 4), batch=st.integers(2, 40))
def test_a_batch_has_as_many_recordings_as_it_can(recordings: int, repeats: int, batch: int) -> None:
    rows = Noise(np.tile(np.arange(recordings), repeats))
    for draws in batches(rows, batch, 12):
        assert len({rows.ids[draw.row] for draw in draws}) == min(batch, recordings)


def test_order_differs_by_epoch_and_seed_and_is_uniform() -> None:
    rows = Noise(np.arange(8))
    runs = [list(StreamSampler(rows, batch_size=8, epochs=300, seed=seed)) for seed in (0, 1)]
    orders = [[tuple(draw.row for draw in draws) for draws in run] for run in runs]
    assert len(set(orders[0])) > 290
    assert orders[0] != orders[1]
    firsts = Counter(order[0] for run in orders for order in run)
    assert sum((firsts[row] - 75) ** 2 / 75 for row in range(8)) < 27  # chi-square, 7 degrees: 0.9997


def test_keys_are_unique_to_seed_and_position() -> None:
    rows = Noise(np.arange(50))
    keys = [
        draw.key
        for seed in (0, 1, 2)
        for draws in StreamSampler(rows, batch_size=10, epochs=200, seed=seed)
        for draw in draws
    ]
    assert len(set(keys)) == len(keys) == 30_000
    assert min(keys) >= 0


@pytest.mark.parametrize("world", [1, 2, 4])
def test_ranks_take_disjoint_equal_slices_of_every_batch(world: int) -> None:
    rows = Noise(np.arange(37))
    whole = batches(rows, 12, 9)
    ranks = [batches(rows, 12, 9, rank=rank, world=world) for rank in range(world)]
    assert all(len(draws) == 12 // world for run in ranks for draws in run)
    assert [list(chain(*slices)) for slices in zip(*ranks, strict=True)] == whole


def test_an_epoch_is_a_length_and_the_remainder_flows_on() -> None:
    sampler = StreamSampler(Noise(np.arange(37)), batch_size=12, epochs=9, seed=3)
    assert sampler.steps_per_epoch == 3
    assert len(sampler) == len(list(sampler)) == 27
    resumed = StreamSampler(Noise(np.arange(37)), batch_size=12, epochs=9, seed=3, start=20)
    assert len(resumed) == 27  # a trainer that resumes counts from the beginning of the run
    assert len(list(resumed)) == 7


@pytest.mark.parametrize(
    ("ids", "batch", "world", "message"),
    [
        ([5, 5, 5], 4, 1, "recordings to train on: 1"),
        ([], 4, 1, "recordings to train on: 0"),
        ([1, 2], 1, 1, "at least 2, not 1"),
        ([1, 2], 6, 4, "4 ranks cannot share it evenly; the nearest that fits is 8"),
    ],
)
def test_what_cannot_be_contrasted_is_refused(ids: list[int], batch: int, world: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StreamSampler(Noise(np.array(ids, dtype=np.int64)), batch_size=batch, epochs=1, seed=0, world=world)


def test_a_pass_has_every_row_once_in_order() -> None:
    sampler = PassSampler(Noise(np.arange(7)), batch_size=3)
    assert list(sampler) == [
        [Draw(0, 0), Draw(1, 1), Draw(2, 2)],
        [Draw(3, 3), Draw(4, 4), Draw(5, 5)],
        [Draw(6, 6)],
    ]
    assert len(sampler) == len(loader(Noise(np.arange(7)), sampler)) == 3


def test_batches_are_bit_equal_for_any_number_of_workers() -> None:
    rows = Noise(np.arange(41))
    runs = []
    for workers in (0, 2):
        sampler = StreamSampler(rows, batch_size=8, epochs=2, seed=1, start=3)
        runs.append(list(loader(rows, sampler, workers)))
    assert len(runs[0]) == 7
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one.views[0]["noise"].values, other.views[0]["noise"].values)
        assert torch.equal(one.ids, other.ids)


def test_an_error_while_reading_ahead_comes_at_its_batch_with_its_own_traceback() -> None:
    rows = Noise(np.arange(20), bad=9)
    stream = iter(loader(rows, PassSampler(rows, batch_size=4)))
    assert [next(stream).ids.tolist() for _ in range(2)] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with pytest.raises(OSError, match="row 9 cannot be read") as caught:
        next(stream)
    assert "__getitems__" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_leaving_the_loop_stops_the_thread_and_the_reading() -> None:
    rows = Noise(np.arange(1000))
    stream = iter(loader(rows, PassSampler(rows, batch_size=4)))
    assert len(list(islice(stream, 2))) == 2
    del stream
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]
    assert rows.reads <= 5


def test_the_sampler_runs_ahead_of_the_consumer_by_a_few_batches_only() -> None:
    rows = Noise(np.arange(1000))
    stream = iter(loader(rows, PassSampler(rows, batch_size=4)))
    next(stream)
    assert 1 <= rows.reads <= 4
    with pytest.raises(ValueError, match="workers must be at least 0"):
        loader(rows, PassSampler(rows, batch_size=4), -1)
