"""Batches balanced by class: what stands in them, where they are entered, who shares them, what is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint import config, run
from counterpoint.checkpoint import load
from counterpoint.config import ConfigError
from counterpoint.data.base import Data, Draw, Rows, SplitName
from counterpoint.data.batching import InRounds, Order, histogram, order
from counterpoint.data.sampling import StreamSampler, stream_length
from counterpoint.objectives import CrossEntropy, InfoNCE, SupCon, Term, WeightedSum
from counterpoint.recipe import Recipe, import_roles, train_cell
from counterpoint.settings import Batching, ClassBalanced, Hardware, Monitor, Shuffled, Trainer
from counterpoint.types import UNLABELLED, Batch, SignalSpec, Spec
from toys import LENGTH, OneLayer, Tones


class Labelled(Rows):
    """Rows that have labels and recordings and cannot be read."""

    def __init__(self, labels: Sequence[int], ids: Sequence[int] | None = None) -> None:
        self.labels = np.asarray(labels, dtype=np.int64)
        self.ids = np.arange(len(labels)) if ids is None else np.asarray(ids)
        self.groups = self.domains = np.zeros_like(self.ids)
        self.metadata = np.zeros((len(self.ids), 0))

    def __getitems__(self, draws: list[Draw]) -> Batch:
        raise AssertionError("nothing is to be read")


def batches(rows: Rows, kind: ClassBalanced, count: int, seed: int = 3, **more: int) -> list[list[Draw]]:
    size = kind.classes * kind.rows
    drawn = int((rows.labels != UNLABELLED).sum())
    epochs = -(-count // max(1, drawn // size))
    sampler = StreamSampler(rows, batch_size=size, epochs=epochs, seed=seed, batches=kind, **more)
    return list(sampler)[: max(0, count - more.get("start", 0))]


@st.composite
def worlds(draw: st.DrawFn) -> tuple[Labelled, ClassBalanced]:
    """Rows of up to 7 classes, some unlabelled, some classes of a single row, recordings of several rows."""
    classes = draw(st.integers(2, 7))
    sizes = draw(st.lists(st.integers(1, 12), min_size=classes, max_size=classes))
    unlabelled = draw(st.integers(0, 5))
    labels = np.repeat(np.arange(-1, classes) * 3, [unlabelled, *sizes])  # indices with gaps: classes without rows
    labels[:unlabelled] = UNLABELLED
    recordings = np.arange(len(labels))
    if draw(st.booleans()):
        recordings = np.asarray(draw(st.lists(st.integers(0, 9), min_size=len(labels), max_size=len(labels))))
        recordings[0], recordings[-1] = 0, 1
    place = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(labels))
    kind = ClassBalanced(classes=draw(st.integers(2, classes)), rows=draw(st.integers(1, 6)))
    return Labelled(labels[place].tolist(), recordings[place].tolist()), kind


@settings(max_examples=40, deadline=None)
@given(world=worlds())
def test_every_batch_has_p_classes_of_k_rows(world: tuple[Labelled, ClassBalanced]) -> None:
    rows, kind = world
    for draws in batches(rows, kind, 25):
        drawn = [draw.row for draw in draws]
        counts = Counter(rows.labels[drawn].tolist())
        assert UNLABELLED not in counts
        assert sorted(counts.values()) == [kind.rows] * kind.classes
        for row, times in Counter(drawn).items():
            members = np.flatnonzero(rows.labels == rows.labels[row])
            apart = len(set(rows.ids[members])) == len(members) >= kind.rows
            assert times <= (1 if apart else -(-kind.rows // len(members)) + 1)
        for begin in range(0, len(drawn), kind.classes):
            dealt = rows.labels[drawn[begin : begin + kind.classes]].tolist()
            assert len(set(dealt)) == kind.classes, "every round has every class of the batch once"


@settings(max_examples=40, deadline=None)
@given(world=worlds(), start=st.integers(0, 25))
def test_a_run_resumed_at_t_goes_on_as_if_never_interrupted(world: tuple[Labelled, ClassBalanced], start: int) -> None:
    rows, kind = world
    assert batches(rows, kind, 25, start=start) == batches(rows, kind, 25)[start:]


@settings(max_examples=30, deadline=None)
@given(world=worlds())
def test_classes_and_the_rows_of_a_class_take_turns(world: tuple[Labelled, ClassBalanced]) -> None:
    rows, kind = world
    drawn = np.array([[draw.row for draw in draws] for draws in batches(rows, kind, 40)])
    chosen = rows.labels[drawn[:, : kind.classes]].ravel()
    present = np.unique(rows.labels[rows.labels != UNLABELLED])
    for begin in range(0, len(chosen) - len(present) + 1, len(present)):
        assert sorted(chosen[begin : begin + len(present)]) == present.tolist()
    for label in present:
        members = np.flatnonzero(rows.labels == label)
        own = [row for batch in drawn for row in batch if rows.labels[row] == label]
        for begin in range(0, len(own) - len(members) + 1, len(members)):
            assert sorted(own[begin : begin + len(members)]) == members.tolist()


@pytest.mark.parametrize("world", [2, 4])
@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(8, 30), min_size=2, max_size=4))
def test_ranks_share_a_batch(world: int, sizes: list[int]) -> None:
    labels = np.repeat(np.arange(-1, len(sizes)), [3, *sizes])
    rows, kind = Labelled(labels.tolist()), ClassBalanced(classes=2, rows=8)
    whole = batches(rows, kind, 12)
    ranks = [batches(rows, kind, 12, rank=rank, world=world) for rank in range(world)]
    for t, draws in enumerate(whole):
        shares = [ranked[t] for ranked in ranks]
        assert list(chain(*shares)) == draws
        assert {len(share) for share in shares} == {16 // world}
        assert len({draw.row for draw in draws}) == 16, "ranks have no row in common"
        for share in shares:
            counts = Counter(rows.labels[[draw.row for draw in share]].tolist())
            assert set(counts.values()) == {8 // world}, "and each has all classes of the batch"


def test_a_batch_has_different_recordings_of_a_class_where_it_can() -> None:
    rows = Labelled(np.tile([0, 1, 2], 40).tolist(), (np.arange(120) // 10).tolist())
    for draws in batches(rows, ClassBalanced(classes=3, rows=4), 30):
        for label in range(3):
            ids = [rows.ids[draw.row] for draw in draws if rows.labels[draw.row] == label]
            assert len(set(ids)) == 4


def test_order_hangs_on_the_seed_and_keys_are_unique() -> None:
    rows, kind = Labelled(np.arange(60) % 3), ClassBalanced(classes=2, rows=5)
    runs = [batches(rows, kind, 90, seed=seed) for seed in (0, 1)]
    assert runs[0] != runs[1]
    keys = [draw.key for run in runs for draws in run for draw in draws]
    assert len(set(keys)) == len(keys) == 1800
    assert len({tuple(sorted(draw.row for draw in draws)) for draws in runs[0]}) == 90
    classes = [tuple(sorted({int(rows.labels[draw.row]) for draw in draws})) for draws in runs[0]]
    assert set(classes) == {(0, 1), (0, 2), (1, 2)}, "all pairs of classes meet"


def test_a_long_run_is_entered_anywhere_at_bounded_cost() -> None:
    rows = Labelled(np.arange(1000) % 12)
    sampler = StreamSampler(
        rows, batch_size=35, epochs=10**7, seed=3, start=10**8, batches=ClassBalanced(classes=5, rows=7)
    )
    assert len(next(iter(sampler))) == 35


def test_an_epoch_is_as_many_rows_as_are_labelled() -> None:
    rows = Labelled([0] * 50 + [1] * 30 + [UNLABELLED] * 40)
    assert stream_length(rows, 16, 3, ClassBalanced(classes=2, rows=8)) == (15, 5)
    assert stream_length(rows, 16, 3) == (21, 7)


NAMES = ("Good", "Porosity", "Spatter")


@pytest.mark.parametrize(
    ("labels", "kind", "parts"),
    [
        (
            [0] * 576,
            ClassBalanced(classes=2, rows=8),
            [
                "576 training rows all that are labelled are of one",
                "Good 576, Porosity 0, Spatter 0, unlabelled 0",
                r"no negative.*ln\(N - 1\)",
            ],
        ),
        ([0] * 5 + [-1] * 3, ClassBalanced(classes=2, rows=1), ["Good 5, Porosity 0, Spatter 0, unlabelled 3"]),
        ([-1] * 9, ClassBalanced(classes=2, rows=1), ["of the 9 training rows 9 are unlabelled", "unlabelled 9"]),
        (
            [0, 0, 1, 1],
            ClassBalanced(classes=3, rows=2),
            ["classes is 3 and the training rows have 2: Good 2, Porosity 2, Spatter 0", "set classes to 2 at most"],
        ),
    ],
)
def test_what_cannot_be_balanced_is_refused_with_the_histogram(
    labels: list[int], kind: ClassBalanced, parts: list[str]
) -> None:
    with pytest.raises(ValueError, match=".*".join(parts)):
        stream_length(Labelled(labels), kind.classes * kind.rows, 1, kind, NAMES)
    with pytest.raises(ValueError, match=r"class 0|unlabelled 9"):
        StreamSampler(Labelled(labels), batch_size=kind.classes * kind.rows, epochs=1, seed=0, batches=kind)


def test_the_histogram_and_the_note() -> None:
    labels = np.array([0, 0, 0, 2, UNLABELLED])
    assert histogram(labels, NAMES) == "Good 3, Porosity 0, Spatter 1, unlabelled 1"
    assert histogram(labels) == "class 0 3, class 2 1, unlabelled 1"
    note = order(ClassBalanced(classes=2, rows=2), Labelled(labels.tolist()), 4, 0, NAMES).note
    assert note == (
        "1 rows without a label are never drawn; fewer rows than the 2 of a batch, which repeat in it: Spatter has 1"
    )
    assert order(ClassBalanced(classes=2, rows=1), Labelled([0, 1]), 2, 0).note == ""


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: ClassBalanced(classes=1, rows=4), "classes is 1, at least 2"),
        (lambda: ClassBalanced(classes=2, rows=0), "rows is 0, at least 1"),
        (
            lambda: Trainer(batch_size=64, batches=ClassBalanced(classes=4, rows=8)),
            "batch_size is 64, and trainer.batches draws 4 classes x 8 rows: set trainer.batch_size to 32",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(made: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


@final
@dataclass(frozen=True)
class InTurn(Batching):
    """A batching of one's own: rows in order."""

    def check(self, batch_size: int) -> None: ...


class _InTurn(Order):
    def __init__(self, rows: Rows, batch: int) -> None:
        self.count, self._batch = len(rows), batch

    def batches(self, start: int) -> Any:
        while True:
            yield np.arange(start * self._batch, (start + 1) * self._batch) % self.count
            start += 1


def test_a_batching_of_ones_own_registers_its_order() -> None:
    rows = Labelled([0, 1, 0, 1, 0])
    with pytest.raises(TypeError, match=r"InTurn: register its order"):
        order(InTurn(), rows, 2, 0)
    order.register(InTurn, lambda batching, rows, batch, seed, names=(): _InTurn(rows, batch))
    sampler = StreamSampler(rows, batch_size=2, epochs=2, seed=0, batches=InTurn(), start=1)
    assert [[draw.row for draw in draws] for draws in sampler] == [[2, 3], [4, 0], [1, 2]]
    assert isinstance(order(Shuffled(), rows, 2, 0), InRounds)


RECIPE: dict[str, Any] = {
    "data": {"type": "ToneData"},
    "encoders": {"tone": {"type": "OneLayer"}},
    "objective": {"type": "SupCon"},
    "trainer": {"batch_size": 12, "batches": {"type": "ClassBalanced", "classes": 2, "rows": 6}},
}


def test_a_recipe_chooses_the_batches() -> None:
    import_roles()
    recipe = config.load(RECIPE, Recipe)
    assert recipe.trainer.batches == ClassBalanced(classes=2, rows=6)
    assert config.load({**RECIPE, "trainer": {}}, Recipe).trainer.batches == Shuffled()
    assert "batches:\n    type: ClassBalanced\n    classes: 2\n    rows: 6\n" in config.dump(recipe)
    with pytest.raises(ConfigError, match=r"batch_size is 64, and trainer.batches draws 2 classes x 6 rows"):
        config.load(RECIPE, Recipe, ["trainer.batch_size=64"])
    with pytest.raises(ConfigError, match=r"trainer.batches.type: unknown Batching 'ClasBalanced'.*ClassBalanced"):
        config.load(RECIPE, Recipe, ["trainer.batches.type=ClasBalanced"])


class Recorded(Tones):
    """Tones that write down the labels of every batch that is read."""

    def __init__(self, labels: Sequence[int], views: int = 2) -> None:
        super().__init__(len(labels), repeats=2, views=views)
        self.labels = np.tile(np.asarray(labels, dtype=np.int64), 2)
        self.read: list[list[int]] = []

    def __getitems__(self, draws: list[Draw]) -> Batch:
        self.read.append([int(self.labels[draw.row]) for draw in draws])
        return super().__getitems__(draws)


@final
class LabelledTones(Data):
    """Tones of two folds: both classes in the first, in the second what a test asks for."""

    def __init__(self, *, labels: Sequence[int] = (0,) * 8, views: int = 2) -> None:
        self.specs: dict[str, Spec] = {"tone": SignalSpec(1, LENGTH, 1.0)}
        self.classes, self.folds = ("Good", "Porosity"), ("first", "official")
        self.names = tuple(f"tone-{i}" for i in range(8))
        self.rows = {"first": Recorded([0] * 6 + [1] * 2, views), "official": Recorded(labels, views)}

    def training(self, fold: str, split: SplitName) -> Rows:
        return self.rows[fold] if split == "train" else Recorded([0] * 8 if fold == "official" else [0, 1] * 4, 1)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        return Tones(8, repeats=1, views=1)

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        return {"counts": {}, "classes": {}, "sources": []}


def recipe(objective: Any, batching: Batching, **data: Any) -> Recipe:
    trainer = Trainer(
        epochs=2,
        batch_size=8,
        batches=batching,
        hardware=Hardware(accelerator="cpu"),
        monitor=Monitor(log_every=1),
    )
    encoders: Any = {"tone": OneLayer}
    return Recipe(data=partial(LabelledTones, **data), encoders=encoders, objective=objective, trainer=trainer)


BALANCED = ClassBalanced(classes=2, rows=4)
SUM = partial(WeightedSum, terms={"nce": Term(objective=InfoNCE), "con": Term(objective=SupCon)})


@pytest.mark.parametrize(
    ("objective", "batching", "who"),
    [
        (SupCon, Shuffled(), "SupCon"),
        (CrossEntropy, Shuffled(), "CrossEntropy"),
        (SUM, Shuffled(), "WeightedSum"),
        (InfoNCE, BALANCED, "ClassBalanced"),
    ],
)
def test_one_class_to_train_on_is_refused_before_a_step(
    tmp_path: Path, objective: Any, batching: Batching, who: str
) -> None:
    wanted = recipe(objective, batching)
    message = rf"fold 'official': {who} tells classes apart and of the 16 training rows .*Good 16, Porosity 0, unlab"
    with pytest.raises(ValueError, match=message):
        run.check(wanted)
    data = wanted.data()
    with pytest.raises(ValueError, match=message):
        train_cell(wanted, data, "official", 0, tmp_path / "cell")
    assert not list(tmp_path.iterdir())
    if who == "ClassBalanced":
        with pytest.raises(ValueError, match=message):
            run.train(wanted, tmp_path / "run")
        assert not list(tmp_path.iterdir()), "the first fold is not trained in vain"


def test_what_needs_no_label_takes_one_class() -> None:
    for objective in (InfoNCE, partial(SupCon, positives="id")):
        assert "first batch: loss" in run.check(recipe(objective, Shuffled()))


def test_views_are_counted() -> None:
    labels = (0, 1) * 4
    assert "first batch" in run.check(recipe(SupCon, BALANCED, labels=labels, views=1))
    with pytest.raises(ValueError, match=r"InfoNCE compares 2 views of a row and the data bring 1"):
        run.check(recipe(InfoNCE, Shuffled(), labels=labels, views=1))


def test_training_draws_balanced_batches(tmp_path: Path) -> None:
    wanted = recipe(SupCon, BALANCED, labels=(0, 0, 0, 0, 0, 0, 1, -1))
    data = wanted.data()
    assert isinstance(data, LabelledTones)
    said = run.check(wanted)
    assert "fold official: the validation rows have one class or none, Good 16, Porosity 0, unlabelled 0" in said
    assert "fold first: the validation" not in said
    assert "fold official: 2 rows without a label are never drawn; fewer rows than the 4 of a batch" in said
    task = train_cell(wanted, data, "official", 0, tmp_path)
    assert task.position == len(data.rows["official"].read) == 2
    assert all(Counter(labels) == {0: 4, 1: 4} for labels in data.rows["official"].read)
    assert load(next((tmp_path / "checkpoints").glob("last-*")))["counterpoint"]["position"] >= 1
