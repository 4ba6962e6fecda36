"""Scores of every class against scikit-learn, and what is said where one is undefined."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import classification_report, f1_score, precision_recall_fscore_support

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Statistic, bootstrap
from counterpoint.evaluate.per_class import SCORES, per_class
from counterpoint.evaluate.results import Result

Int = NDArray[np.int64]
CLASSES = ("Good", "Burnthrough", "Porosity", "Warping")


def result(labels: Int, predictions: Int, groups: Int, *, seed: int = 0, fold: str = "a") -> Result:
    rows = np.arange(len(labels))
    truth = Truth(labels, groups, rows, rows, CLASSES)
    return Result("head", "model", np.eye(len(CLASSES))[predictions], truth, (), fold, seed)


def drawn(seed: int, rows: int = 200, groups: int = 20) -> Result:
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 4, rows)
    predictions = np.where(generator.random(rows) < 0.6, labels, generator.integers(0, 4, rows))
    return result(labels, predictions, generator.integers(0, groups, rows), seed=seed)


def values(found: dict[str, object], part: str) -> list[list[float]]:
    lines = json.loads(json.dumps(found, allow_nan=False))[part]
    return [[np.nan if line[s]["value"] is None else line[s]["value"] for s in SCORES] for line in lines]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=40))
def test_classes_and_averages_are_those_of_sklearn(rows: list[tuple[int, int, int]]) -> None:
    labels, predictions, groups = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    found = per_class([result(labels, predictions, groups)], resamples=2)
    options = {"labels": range(4), "zero_division": np.nan}
    *expected, support = precision_recall_fscore_support(labels, predictions, **options)
    np.testing.assert_allclose(values(found, "classes"), np.stack(expected, 1))
    assert [line["rows"] for line in found["classes"]] == support.tolist()
    averages = [
        list(precision_recall_fscore_support(labels, predictions, average=average, **options)[:3])
        for average in ("macro", "weighted")
    ]
    if not set(labels) & set(predictions):
        # Weights that are all 0: scikit-learn weighs all alike instead, and no class with rows has a precision.
        averages[1][0] = np.nan
    np.testing.assert_allclose(values(found, "averages"), averages)
    assert [line["rows"] for line in found["averages"]] == [len(labels)] * 2
    never = [CLASSES[k] for k in range(4) if k in labels and k not in predictions]
    assert found["never_predicted"] == never


def test_folds_and_seeds_are_pooled_and_rows_are_of_one_seed() -> None:
    first, second = drawn(0), drawn(1)
    again = result(first.truth.labels, second.predictions, first.truth.groups, seed=1)
    found = per_class([first, again], resamples=50)
    labels = np.concatenate([first.truth.labels] * 2)
    predictions = np.concatenate([first.predictions, second.predictions])
    report = classification_report(labels, predictions, target_names=CLASSES, output_dict=True)
    for line in found["classes"]:
        told = report[line["name"]]
        assert [line[s]["value"] for s in SCORES] == pytest.approx(
            [told["precision"], told["recall"], told["f1-score"]]
        )
        assert line["rows"] == told["support"] / 2
    for line in found["averages"]:
        assert line["f1"]["value"] == pytest.approx(report[line["name"].replace("average", "avg")]["f1-score"])
    assert sum(line["rows"] for line in found["classes"]) == 200


def test_intervals_are_those_of_resampled_groups() -> None:
    made = drawn(3)
    labels, predictions, groups = made.truth.labels, made.predictions, made.truth.groups

    def rescored(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([f1_score(labels == 2, predictions == 2, sample_weight=draw[groups] + 0.0) for draw in counts])

    expected = bootstrap(Statistic(np.unique(groups), rescored), resamples=200, seed=5)
    found = per_class([made], resamples=200, seed=5)["classes"][2]["f1"]
    assert [found["value"], found["low"], found["high"]] == pytest.approx(expected[:3])
    assert found["low"] < found["value"] < found["high"]
    assert found["groups"] == len(np.unique(groups[labels == 2]))


def test_a_class_never_predicted_has_no_precision_and_one_group_no_interval() -> None:
    labels = np.array([0, 0, 1, 1, 2, 2, 0, 1])
    predictions = np.array([0, 1, 1, 1, 0, 1, 0, 1])
    groups = np.array([0, 1, 2, 3, 4, 4, 5, 5])
    found = per_class([result(labels, predictions, groups)])
    good, _, porosity, warping = found["classes"]
    assert found["never_predicted"] == ["Porosity"]
    assert porosity["precision"]["value"] is None
    assert porosity["recall"]["value"] == porosity["f1"]["value"] == 0.0
    assert (porosity["recall"]["low"], porosity["f1"]["high"], porosity["f1"]["groups"]) == (None, None, 1)
    assert good["recall"]["low"] is not None
    assert [warping[s]["value"] for s in SCORES] == [None] * 3
    macro = found["averages"][0]
    assert macro["precision"]["value"] == pytest.approx(np.mean([2 / 3, 3 / 5]))
    assert macro["recall"]["value"] == pytest.approx(np.mean([2 / 3, 1, 0]))
