"""Batches of rows of about one length: every row once, at random still, less padding, the same however it is read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cached_world import Arrays, Toy, write
from counterpoint import run
from counterpoint.cache import cached
from counterpoint.data.base import Draw, Rows
from counterpoint.data.clinical import Clinical, LongTable, Outcome
from counterpoint.data.clinical.views import EventViews
from counterpoint.data.features.dropout import RunViews
from counterpoint.data.features.rows import Block, FeatureRows
from counterpoint.data.hiding import Hidden
from counterpoint.data.labelling import Labelling
from counterpoint.data.radar.data import RadarClips
from counterpoint.data.radar.frames import Frames
from counterpoint.data.sampling import StreamSampler, loader, stream_length
from counterpoint.data.synthetic import stays
from counterpoint.embed import Subset
from counterpoint.objectives import InfoNCE
from counterpoint.recipe import Recipe
from counterpoint.settings import LengthGrouped, Shuffled, Trainer
from counterpoint.types import Batch, Events, Signal, SignalSpec
from test_radar import entry, listed, ramp, save
from toys import OneLayer, ToneData

Int = NDArray[np.int64]


class Long(Rows):
    """Rows of the given lengths that show row and key, padded to the longest of their batch."""

    def __init__(self, lengths: Int | list[int] | None, ids: Int | None = None) -> None:
        self.lengths = None if lengths is None else np.asarray(lengths, dtype=np.int64)
        self.ids = np.arange(40 if lengths is None else len(lengths)) if ids is None else ids
        self.labels = self.groups = self.domains = np.zeros_like(self.ids)
        self.metadata = np.zeros((len(self.ids), 0))

    def __getitems__(self, draws: list[Draw]) -> Batch:
        assert self.lengths is not None
        rows = np.array([draw.row for draw in draws])
        mask = np.arange(self.lengths[rows].max()) < self.lengths[rows, None]
        values = np.where(mask, rows[:, None] + np.array([draw.key % 1009 for draw in draws])[:, None] / 1009, 0.0)
        columns = (self.labels, self.groups, self.domains, self.ids)
        signal = Signal(torch.from_numpy(values)[..., None], torch.from_numpy(mask))
        return Batch([{"one": signal}], *(torch.from_numpy(column[rows]) for column in columns))


def lognormal(count: int, seed: int = 0) -> Int:
    return np.random.default_rng(seed).lognormal(4, 0.8, count).astype(np.int64) + 1


def batches(rows: Rows, batch: int, epochs: int, pool: int = 4, **more: int) -> list[list[Draw]]:
    kind = LengthGrouped(pool=pool)
    return list(StreamSampler(rows, batch_size=batch, epochs=epochs, seed=more.pop("seed", 3), batches=kind, **more))


def drawn(some: list[list[Draw]]) -> Int:
    return np.array([[draw.row for draw in draws] for draws in some])


def padding(lengths: Int, some: Int) -> float:
    """Share of places of padded batches (t, B) that are padding."""
    found = lengths[some]
    return float(1 - found.sum() / (found.max(1) * found.shape[1]).sum())


lengths_of = st.lists(st.integers(1, 50), min_size=2, max_size=60).filter(lambda some: len(set(some)) > 1)


@settings(max_examples=60, deadline=None)
@given(lengths=lengths_of, batch=st.integers(2, 40), pool=st.integers(2, 6))
def test_every_row_comes_once_in_every_epoch(lengths: list[int], batch: int, pool: int) -> None:
    positions = drawn(batches(Long(lengths), batch, 12, pool)).ravel()
    n = len(lengths)
    for begin in range(0, len(positions) - n + 1, n):
        assert sorted(positions[begin : begin + n]) == list(range(n))


@settings(max_examples=60, deadline=None)
@given(lengths=lengths_of, batch=st.integers(2, 40), start=st.integers(0, 30))
def test_a_run_resumed_at_t_goes_on_as_if_never_interrupted(lengths: list[int], batch: int, start: int) -> None:
    whole = batches(Long(lengths), batch, 15)
    assert batches(Long(lengths), batch, 15, start=start) == whole[start:]


def test_a_long_run_is_entered_anywhere_at_bounded_cost() -> None:
    kind = LengthGrouped()
    sampler = StreamSampler(Long(lognormal(1000)), batch_size=64, epochs=10**7, seed=3, start=3 * 10**7, batches=kind)
    assert len(next(iter(sampler))) == 64


@settings(max_examples=40, deadline=None)
@given(lengths=lengths_of, batch=st.integers(2, 40), seed=st.integers(0, 5))
def test_no_batch_has_a_row_twice_where_there_are_enough(lengths: list[int], batch: int, seed: int) -> None:
    for draws in batches(Long(lengths), batch, 12, seed=seed):
        if len(lengths) >= 2 * batch:
            assert len({draw.row for draw in draws}) == batch


def test_rows_of_one_recording_are_kept_apart() -> None:
    """Rows of one recording are of one length, so that sorting alone would put them side by side."""
    ids = np.tile(np.arange(50), 4)
    rows = Long(lognormal(50)[ids], ids)
    some = ids[drawn(batches(rows, 10, 20, pool=10))]
    assert np.mean([len(set(batch)) == 10 for batch in some.tolist()]) > 0.95


def test_batches_are_of_about_one_length_and_come_in_random_order() -> None:
    rows = Long(lognormal(1024))
    assert rows.lengths is not None
    grouped, shuffled = (
        drawn(list(StreamSampler(rows, batch_size=32, epochs=4, seed=3, batches=kind)))
        for kind in (LengthGrouped(), Shuffled())
    )
    assert padding(rows.lengths, grouped) < 0.28 < 0.6 < padding(rows.lengths, shuffled)
    best = padding(rows.lengths, np.argsort(rows.lengths).reshape(32, 32))
    assert padding(rows.lengths, grouped) < 1.7 * best, "beside sorting all rows, which leaves nothing to chance"
    assert 0.28 < padding(rows.lengths, drawn(batches(rows, 32, 4, pool=4))) < 0.5, "a small pool pads more"
    means = rows.lengths[grouped].mean(1)
    assert abs(np.corrcoef(np.arange(128), means)[0, 1]) < 0.25, "neither ascending nor descending over the run"
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.25, "nor from batch to batch"
    places = np.corrcoef(np.tile(np.arange(32), 128), rows.lengths[grouped].ravel())[0, 1]
    assert abs(places) < 0.05, "nor within a batch, which ranks share in slices"


def test_who_meets_whom_changes_with_epoch_and_seed() -> None:
    rows = Long(lognormal(256))
    runs = [drawn(batches(rows, 16, 2, seed=seed)) for seed in (0, 1)]
    sets = [{frozenset(batch) for batch in part.tolist()} for run in runs for part in (run[:16], run[16:])]
    for one in range(4):
        assert not any(sets[one] & sets[other] for other in range(one + 1, 4))
    keys = [draw.key for seed in (0, 1) for draws in batches(rows, 16, 2, seed=seed) for draw in draws]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_a_batch(world: int) -> None:
    rows = Long(lognormal(400))
    whole = batches(rows, 16, 10)
    shares = [batches(rows, 16, 10, rank=rank, world=world) for rank in range(world)]
    for t, draws in enumerate(whole):
        assert [draw for share in shares for draw in share[t]] == draws
    assert rows.lengths is not None
    work = [rows.lengths[drawn(share)].sum() for share in shares]
    assert max(work) < 1.1 * min(work), "no rank has all that is long"


@pytest.mark.parametrize("kind", [LengthGrouped(), Shuffled()], ids=["grouped", "shuffled"])
def test_workers_change_nothing(kind: LengthGrouped | Shuffled) -> None:
    rows = Long(lognormal(60))
    sampler = partial(StreamSampler, rows, batch_size=8, epochs=2, seed=3, batches=kind)
    alone, several = (list(loader(rows, sampler(start=3), workers)) for workers in (0, 2))
    assert len(alone) == len(several) == 11
    for one, other in zip(alone, several, strict=True):
        for ours, theirs in zip(one.views[0]["one"], other.views[0]["one"], strict=True):
            assert torch.equal(ours, theirs)
        assert all(torch.equal(*columns) for columns in zip(one[1:5], other[1:5], strict=True))


@pytest.mark.parametrize("lengths", [None, [7] * 40])
def test_rows_of_one_length_are_refused(lengths: list[int] | None) -> None:
    with pytest.raises(ValueError, match=r"all 40 training rows, Long, are of one length.*trainer.batches: Shuffled"):
        stream_length(Long(lengths), 8, 1, LengthGrouped())


def test_a_recipe_is_refused_before_training_with_the_name_of_its_reader() -> None:
    recipe = Recipe(
        data=ToneData,
        encoders={"tone": OneLayer},
        objective=InfoNCE,
        trainer=Trainer(epochs=1, batch_size=4, batches=LengthGrouped()),
    )
    with pytest.raises(ValueError, match=r"fold 'all': LengthGrouped.*48 training rows, Tones, are of one length"):
        run.check(recipe)
    with pytest.raises(ValueError, match=r"LengthGrouped\.pool is 1; it is at least 2"):
        LengthGrouped(pool=1)


def test_rows_made_of_rows_know_their_lengths(tmp_path: Path) -> None:
    rows = Long([3, 1, 4, 1, 5])
    assert Subset(rows, np.array([4, 0])).lengths.tolist() == [5, 3]  # type: ignore[union-attr]
    assert Subset(Long(None), np.array([4, 0])).lengths is None
    assert Hidden(rows, ["one"]).lengths is rows.lengths
    arrays = Arrays(write(tmp_path / "arrays", 3), 3)
    arrays.lengths = np.array([6, 2, 6])
    kept = cached(arrays, {"sound": Toy(SignalSpec(3, 6, 0.0))}, tmp_path / "cache", batch_size=2)
    assert kept is not arrays
    assert kept.lengths is arrays.lengths


def share(rows: Rows, kind: LengthGrouped | Shuffled, real: Callable[[Batch], torch.Tensor]) -> float:
    """Padding in the batches of an epoch as they are collated, each no longer than its longest row."""
    sampler = StreamSampler(rows, batch_size=8, epochs=3, seed=0, batches=kind)
    found = [real(batch) for batch in islice(loader(rows, sampler), len(sampler))]
    assert all(mask.any(0).all() for mask in found), "no place is padding in every row"
    return 1 - sum(int(mask.sum()) for mask in found) / sum(mask.numel() for mask in found)


def test_clips_of_a_radar(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(4, 60, 80)
    entries = {f"{number:06d}": entry(f"{number:06d}", label=str(number % 2)) for number in range(80)}
    for name, length in zip(entries, frames.tolist(), strict=True):
        save(tmp_path, name, ramp(length, int(name)))
    names = list(entries)
    for part, some in (("train", names[:64]), ("val", names[64:72]), ("test", names[72:])):
        listed(tmp_path, **{part: {name: entries[name] for name in some}})
    data = RadarClips(root=tmp_path, frames=Frames(longest=48, shortest=4, unit=4), normalise="none")
    rows = data.training("main", "train")
    assert rows.lengths is not None
    assert rows.lengths.tolist() == np.minimum(frames[:64] // 4 * 4, 48).tolist()

    def real(batch: Batch) -> torch.Tensor:
        signal = batch.views[0]["range_time"]
        assert isinstance(signal, Signal)
        assert signal.mask is not None
        assert signal.mask.sum(1).tolist() == rows.lengths[batch.ids].tolist()  # type: ignore[index]
        return signal.mask

    assert share(rows, LengthGrouped(), real) < 0.15 < 0.35 < share(rows, Shuffled(), real)


def test_sets_of_stays(tmp_path: Path) -> None:
    folder = stays.generate(tmp_path / "icu", stays=120)
    table = LongTable(tables={"all": folder / "events.parquet"}, outcomes=[folder / "outcomes.csv"], stay="record_id")
    data = Clinical(stays=table, outcome=Outcome(), views=EventViews(drop_sets=0.1))
    rows, whole = data.training("main", "train"), data.evaluation("main", "train")
    assert rows.lengths is not None
    for kind in (LengthGrouped(), Shuffled()):
        sampler = StreamSampler(whole, batch_size=8, epochs=1, seed=0, batches=kind)
        for draws in sampler:
            events = whole.__getitems__(draws).views[0]["events"]
            assert isinstance(events, Events)
            assert events.rows.diff().tolist() == whole.lengths[[draw.row for draw in draws]].tolist()  # type: ignore[index]

    def real(batch: Batch) -> torch.Tensor:
        """The mask of the tokens, a token a set."""
        events = batch.views[0]["events"]
        assert isinstance(events, Events)
        sizes = events.rows.diff()
        return torch.arange(int(sizes.max())) < sizes.unsqueeze(1)

    assert share(rows, LengthGrouped(), real) < 0.7 * share(rows, Shuffled(), real)


def test_features_of_several_tokens_are_cut_to_the_longest_of_their_batch() -> None:
    random = np.random.default_rng(0)
    lengths, short = random.integers(1, 30, 64), random.integers(1, 10, 64)
    values = np.where(np.arange(30)[:, None] < lengths[:, None, None], random.normal(size=(64, 30, 2)), np.nan)
    other = np.where(np.arange(30)[:, None] < short[:, None, None], random.normal(size=(64, 30, 3)), np.nan)
    blocks = {
        "a": Block.of(values.astype(np.float32)),
        "b": Block.of(other.astype(np.float32)),
        "single": Block.of(random.normal(size=(64, 1, 2)).astype(np.float32)),
    }
    blocks["b"].mask[5] = False
    number = np.arange(64)
    columns = Labelling(number % 2, number, 0 * number, np.zeros((64, 1)))
    rows = FeatureRows(blocks, np.arange(64), columns, RunViews())
    assert rows.lengths is not None
    assert rows.lengths.tolist() == np.maximum(lengths, np.where(np.arange(64) == 5, 0, short)).tolist()

    def real(batch: Batch) -> torch.Tensor:
        signals = [batch.views[0][name] for name in "ab"]
        masks = [signal.mask for signal in signals if isinstance(signal, Signal) and signal.mask is not None]
        assert masks[0].shape == masks[1].shape, "so that a fusion may lay them side by side"
        return masks[0] | masks[1]

    assert share(rows, LengthGrouped(), real) < 0.15 < 0.35 < share(rows, Shuffled(), real)
    assert FeatureRows({"single": blocks["single"]}, np.arange(64), columns, RunViews()).lengths is None
