"""Splits keep groups on one side."""

from __future__ import annotations

import warnings
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data.splits import ByColumn, ByGroup, ByValue, Fold, GroupedKFold, LeaveOut, text

# Twelve bearings of three classes, each run at four loads.
BEARING = np.repeat([f"bearing {i:02d}" for i in range(12)], 4)
LOAD = [0, 1, 2, 3] * 12
LABEL = np.repeat(np.arange(12) % 3, 4)


def groups_of(fold: Fold, groups: np.ndarray) -> list[set[object]]:
    return [set(groups[rows].tolist()) for rows in fold]


def test_by_group_keeps_bearings_whole_and_classes_in_proportion() -> None:
    fold = ByGroup(test=0.25, valid=0.25, seed=1).divide({}, BEARING, LABEL)["main"]
    assert sorted(np.concatenate(fold).tolist()) == list(range(48))
    assert [len(names) for names in groups_of(fold, BEARING)] == [6, 3, 3]
    for rows, each in zip(fold, (8, 4, 4), strict=True):
        assert np.bincount(LABEL[rows]).tolist() == [each] * 3


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 3)), min_size=1, max_size=80),
    test=st.floats(0.05, 0.5),
    valid=st.sampled_from([0.0, 0.1, 0.3]),
    seed=st.integers(0, 5),
)
def test_no_group_ever_crosses(rows: list[tuple[int, int]], test: float, valid: float, seed: int) -> None:
    groups, labels = np.array(rows).T
    split = ByGroup(test=test, valid=valid, seed=seed)
    if len(set(groups)) < 2 + (valid > 0):
        with pytest.raises(ValueError, match="nothing is left for the"):
            split.divide({}, groups, labels)
        return
    fold = split.divide({}, groups, labels)["main"]
    assert sorted(np.concatenate(fold).tolist()) == list(range(len(rows)))
    for one, other in combinations(groups_of(fold, groups), 2):
        assert not one & other
    assert len(fold.train) > 0
    assert len(fold.test) > 0
    assert (len(fold.valid) > 0) == (valid > 0)


def test_seeds_draw_other_groups_and_a_seed_always_the_same() -> None:
    tests = [tuple(ByGroup(seed=seed).divide({}, BEARING, LABEL)["main"].test.tolist()) for seed in range(20)]
    assert len(set(tests)) > 10
    again = ByGroup(seed=3).divide({}, BEARING, LABEL)["main"].test.tolist()
    assert tuple(again) == tests[3]


def test_two_groups_are_one_to_train_and_one_to_test() -> None:
    fold = ByGroup(test=0.2, valid=0.0).divide({}, np.array(["a", "a", "b"]), np.zeros(3, int))["main"]
    assert sorted([len(fold.train), len(fold.test)]) == [1, 2]
    assert len(fold.valid) == 0


def test_by_value_refuses_known_bearings_at_another_load_unless_told() -> None:
    split = {"column": "load", "train": [0, 1, 2], "test": [3]}
    with pytest.raises(ValueError, match=r"group 'bearing \d\d' \(\d+ in all\) is in both train and test"):
        ByValue(**split).divide({"load": LOAD}, BEARING, LABEL)  # type: ignore[arg-type]
    fold = ByValue(**split, shared_groups="report").divide({"load": LOAD}, BEARING, LABEL)["main"]  # type: ignore[arg-type]
    assert set(np.array(LOAD)[fold.test]) == {3}
    assert set(np.array(LOAD)[np.concatenate([fold.train, fold.valid])]) == {0, 1, 2}
    train, valid, _ = groups_of(fold, BEARING)
    assert valid
    assert not train & valid


def test_by_value_leaves_out_rows_of_neither_side_and_needs_no_validation() -> None:
    sites = ["a", "a", "b", "c", None]
    fold = ByValue(column="site", train=["a"], test=["c"], valid=0).divide(
        {"site": sites}, np.arange(5), np.zeros(5, int)
    )["main"]
    assert [rows.tolist() for rows in fold] == [[0, 1], [], [3]]


def test_values_are_matched_as_text_whatever_the_table_holds() -> None:
    assert [text(cell) for cell in (1, 1.0, "1", " 1 ", None, float("nan"), 1.5)] == [
        "1", "1", "1", "1", "", "", "1.5",
    ]  # fmt: skip
    fold = ByValue(column="load", train=["0"], test=[1.0], valid=0).divide(
        {"load": [0.0, 1, "1"]}, np.arange(3), np.zeros(3, int)
    )["main"]
    assert fold.test.tolist() == [1, 2]


def test_leave_out_makes_a_fold_a_value() -> None:
    folds = LeaveOut(column="site", valid=0).divide({"site": ["a", "b", None, "a"]}, np.arange(4), np.zeros(4, int))
    assert {name: [rows.tolist() for rows in fold] for name, fold in folds.items()} == {
        "site=a": [[1, 2], [], [0, 3]],
        "site=b": [[0, 2, 3], [], [1]],
    }
    some = LeaveOut(column="load", values=[3], shared_groups="report").divide({"load": LOAD}, BEARING, LABEL)
    assert list(some) == ["load=3"]
    with pytest.raises(ValueError, match=r"fold load=0: group 'bearing \d\d'"):
        LeaveOut(column="load").divide({"load": LOAD}, BEARING, LABEL)


def test_by_column_takes_the_table_at_its_word_but_for_groups() -> None:
    parts = ["train", "Test", "valid", None, "train"]
    fold = ByColumn(column="split").divide({"split": parts}, np.arange(5), np.zeros(5, int))["main"]
    assert [rows.tolist() for rows in fold] == [[0, 4], [2], [1]]
    with pytest.raises(ValueError, match=r"group '7' \(1 in all\) is in both train and test"):
        ByColumn(column="split").divide({"split": parts}, np.array([7, 7, 1, 2, 3]), np.zeros(5, int))
    with pytest.raises(ValueError, match="split holds 'holdout'; it may hold train, valid, test"):
        ByColumn(column="split").divide({"split": ["train", "holdout"]}, np.arange(2), np.zeros(2, int))


def test_by_column_cuts_validation_from_training_when_asked() -> None:
    parts = ["train"] * 40 + ["test"] * 8
    fold = ByColumn(column="split", valid=0.3).divide({"split": parts}, BEARING, LABEL)["main"]
    assert fold.test.tolist() == list(range(40, 48))
    train, valid, _ = groups_of(fold, BEARING)
    assert len(valid) == 3
    assert not train & valid


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ByGroup(test=0.8, valid=0.2), "must leave a share to train on"),
        (lambda: ByGroup(test=0.0), "must leave a share"),
        (lambda: ByValue(column="load", train=[0, 1], test=[1.0]), "load 1 is in both train and test"),
        (lambda: LeaveOut(column="load", valid=1.0), "from 0 to below 1, not 1.0"),
    ],
)
def test_splits_that_cannot_be_are_refused_when_made(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_columns_and_values_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match="no column 'lod'; the table has load"):
        LeaveOut(column="lod").divide({"load": LOAD}, BEARING, LABEL)
    with pytest.raises(ValueError, match="load is never '4'; it is one of 0, 1, 2, 3"):
        ByValue(column="load", train=[0], test=[4]).divide({"load": LOAD}, BEARING, LABEL)


def parts_of(folds: dict[str, Fold], rows: int) -> list[int]:
    """Sizes of the test parts, once it is clear that they are a partition and the rest is trained on."""
    tested = np.concatenate([fold.test for fold in folds.values()])
    assert sorted(tested.tolist()) == list(range(rows))
    assert all(sorted([*fold.train, *fold.valid, *fold.test]) == list(range(rows)) for fold in folds.values())
    return [len(fold.test) for fold in folds.values()]


@pytest.mark.parametrize(
    "labels",
    [np.full(60, -1), np.arange(60), np.full(60, np.nan), np.r_[np.full(58, -1), 0, 1]],
    ids=["unlabelled", "a class a row", "no target", "two labels"],
)
def test_parts_of_rows_that_no_class_divides(labels: np.ndarray) -> None:
    groups = np.repeat(np.arange(20), 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        folds = GroupedKFold(folds=4, valid=0.2, seed=1).divide({}, groups, labels)
    assert list(folds) == [f"part={number}" for number in (1, 2, 3, 4)]
    assert max(parts_of(folds, 60)) <= 18, "15 each, to a group"
    for fold in folds.values():
        assert not set(groups[fold.train]) & set(groups[fold.valid])
        assert not set(groups[fold.test]) & {*groups[fold.train], *groups[fold.valid]}


def test_parts_have_the_spread_of_a_continuous_target() -> None:
    rng = np.random.default_rng(0)
    means = rng.permutation(np.repeat(np.arange(4), 15))
    groups, target = np.repeat(np.arange(60), 2), np.repeat(means, 2) + 0.1 * rng.random(120)
    target[7] = np.nan
    folds = GroupedKFold(folds=5, valid=0.25).divide({}, groups, target)
    assert max(parts_of(folds, 120)) <= 26
    for fold in folds.values():
        for rows in (fold.test, fold.valid):
            quarters = np.bincount(np.repeat(means, 2)[rows], minlength=4)
            assert quarters.max() - quarters.min() <= 2, quarters
    held = ByGroup(test=0.25, valid=0.25).divide({}, groups, target)["main"].test
    quarters = np.bincount(np.repeat(means, 2)[held], minlength=4)
    assert quarters.max() - quarters.min() <= 2, "other splits draw by the quarters too"


def test_too_many_parts_are_refused() -> None:
    with pytest.raises(ValueError, match="folds is 5, from 2 to the 4 groups there are"):
        GroupedKFold().divide({}, np.arange(8) % 4, np.zeros(8))
    with pytest.raises(ValueError, match="folds is 1, from 2"):
        GroupedKFold(folds=1).divide({}, np.arange(8) % 4, np.zeros(8))
