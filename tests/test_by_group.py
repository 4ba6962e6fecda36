"""One answer a group, against naive loops over groups and scores by scikit-learn."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from counterpoint.evaluate.by_group import ByGroup, How, check, group_deciding, group_lines, group_scores, pooled
from counterpoint.evaluate.chemometrics import PcaLda, PcaSvm
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.results import Result, json_table
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CrossEntropy
from counterpoint.recipe import Recipe
from counterpoint.scores import summarise
from judged_world import drawn
from toys import OneLayer, ToneData

HOWS: tuple[How, ...] = ("mean", "vote")


def naive(result: Result, how: How) -> dict[int, tuple[int, np.ndarray[Any, Any]]]:
    """Group -> its label and its pooled probabilities, of groups of one class."""
    found = {}
    for group in sorted(set(result.truth.groups.tolist())):
        own = [row for row, other in enumerate(result.truth.groups.tolist()) if other == group]
        labels = {int(result.truth.labels[row]) for row in own}
        if len(labels) > 1:
            continue
        mean = sum(result.probabilities[row] for row in own) / len(own)
        votes = np.zeros_like(mean)
        for row in own:
            votes[int(np.argmax(result.probabilities[row]))] += 1 / len(own)
        found[group] = (labels.pop(), mean if how == "mean" else votes)
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 4), st.integers(1, 60), st.booleans())
def test_groups_are_pooled_as_by_hand(seed: int, classes: int, rows: int, mixed: bool) -> None:
    result = drawn(seed, classes=classes, rows=rows, groups=12)
    if mixed:
        labels = np.random.default_rng(seed).integers(0, classes, rows)
        result = replace(result, truth=result.truth._replace(labels=labels))
    for how in HOWS:
        expected, found = naive(result, how), pooled([result], how)
        assert found.left_out == len(set(result.truth.groups.tolist())) - len(expected)
        if not expected:
            assert found.results == []
            continue
        (got,) = found.results
        assert got.truth.groups.tolist() == got.truth.ids.tolist() == list(expected)
        assert got.truth.labels.tolist() == [label for label, _ in expected.values()]
        np.testing.assert_allclose(got.probabilities, np.stack([p for _, p in expected.values()]), atol=1e-8)
        np.testing.assert_allclose(got.probabilities.sum(1), 1.0)


def test_a_draw_of_votes_goes_to_the_larger_mean() -> None:
    probabilities = np.array([[0.55, 0.45], [0.1, 0.9], [0.9, 0.1], [0.45, 0.55]])
    groups = np.array([1, 1, 2, 2])
    truth = Truth(np.array([1, 1, 0, 0]), groups, groups, groups, ("a", "b"))
    (found,) = pooled([Result("x", "model", probabilities, truth)], "vote").results
    np.testing.assert_allclose(found.probabilities, 0.5, atol=1e-8)
    assert found.predictions.tolist() == [1, 0]


def test_scores_by_group_are_those_of_sklearn_and_every_answer_has_one() -> None:
    model = [drawn(seed) for seed in (0, 1)]
    weak = [replace(drawn(7, strength=0.1), name="hand", kind="baseline")]
    found = group_scores(ByGroup(), [*weak, *model], "model", "balanced_accuracy")
    by_name = {row["name"]: row["scores"] for row in found["rows"]}
    by_hand = []
    for result in model:
        groups = naive(result, "mean").values()
        labels, values = [label for label, _ in groups], np.stack([p for _, p in groups])
        by_hand.append((balanced_accuracy_score(labels, values.argmax(1)), roc_auc_score(labels, values[:, 1])))
    assert by_name["model"]["balanced_accuracy"]["value"] == pytest.approx(np.mean([one for one, _ in by_hand]))
    assert by_name["model"]["auroc"]["value"] == pytest.approx(np.mean([one for _, one in by_hand]))
    (row,) = json_table(model)
    assert found["by_row"] == row["scores"]["balanced_accuracy"]
    assert found["groups"] == len(set(model[0].truth.groups.tolist()))
    assert (found["best"], found["left_out"]) == ("hand", 0)
    gap = by_name["model"]["balanced_accuracy"]["value"] - by_name["hand"]["balanced_accuracy"]["value"]
    assert found["difference"]["value"] == pytest.approx(gap)
    assert found["difference"]["low"] < gap < found["difference"]["high"]
    (line,) = group_lines({"by_group": found})
    assert f"balanced accuracy {by_name['model']['balanced_accuracy']['value']:.3f} [" in line
    json.dumps(found, allow_nan=False)


def test_groups_of_several_classes_are_counted_once_over_seeds_and_told() -> None:
    truth = drawn(0).truth
    assert truth.groups[0] == truth.groups[1]
    labels = truth.labels.copy()
    labels[0] = 1 - labels[1]
    mixed = [replace(drawn(seed), truth=truth._replace(labels=labels)) for seed in (0, 1)]
    found = group_scores(ByGroup(how="vote"), mixed, "model", "balanced_accuracy")
    assert found["left_out"] == 1
    assert found["best"] is None
    (line,) = group_lines({"by_group": found})
    assert "a vote of its rows" in line
    assert line.endswith("Left out, their rows being of several classes: 1 groups.")


def test_where_groups_decide_the_verdict_and_all_tables_are_about_them() -> None:
    recipe = Recipe(data=ToneData, encoders={"tone": OneLayer}, objective=CrossEntropy)
    model = replace(drawn(0), name="CrossEntropy, its own head")
    hand = replace(drawn(3, strength=0.2), name="hand", kind="baseline")
    asked = {
        decides: summarise(replace(recipe, evaluation=Evaluation(by_group=ByGroup(decides=decides))), [hand, model], [])
        for decides in ("rows", "groups")
    }
    groups = len(set(model.truth.groups.tolist()))
    assert sum(map(sum, asked["rows"]["confusion"]["counts"])) == len(model.truth.labels)
    assert sum(map(sum, asked["groups"]["confusion"]["counts"])) == groups
    assert asked["rows"]["by_group"]["rows"] == asked["groups"]["rows"] == asked["groups"]["by_group"]["rows"]
    assert asked["groups"]["rows"] != asked["rows"]["rows"]
    assert [row["rows"] for row in asked["groups"]["rows"]] == [groups, groups]
    assert asked["groups"]["verdict"].endswith("Every answer is of a whole group, by the mean of its rows.")
    assert "whole group" not in asked["rows"]["verdict"]
    # Errors stay about rows: a person looks at recordings.
    assert asked["groups"]["errors"] == asked["rows"]["errors"]
    off = summarise(recipe, [hand, model], [])
    assert (off["by_group"], off["threshold"], off["agreement"]) == ({}, {}, {})
    assert group_deciding(None, [model]) == [model]


def test_a_fold_without_a_group_of_one_class_is_refused() -> None:
    good, mixed = np.array([0, 0, 1, 1]), np.array([0, 1, -1, -1])
    groups = np.array([1, 1, 2, 2])
    check(ByGroup(), {"a": (good, groups)})
    check(None, {"a": (mixed, groups)})
    with pytest.raises(ValueError, match="fold 'b' has no test group whose rows are all of one class"):
        check(ByGroup(), {"a": (good, groups), "b": (mixed, groups)})


# Real recordings


def embedded(values: np.ndarray[Any, Any], labels: Any, groups: Any) -> Embeddings:
    """Rows of real spectra with their classes by name."""
    names, label = np.unique(labels, return_inverse=True)
    owner, rows = np.unique(groups, return_inverse=True)[1], np.arange(len(values))
    classes, recordings = tuple(str(name) for name in names), tuple(map(str, rows))
    return Embeddings(values.astype(np.float32), label, owner, np.zeros_like(rows), rows, classes, recordings)


def cross_validated(rows: Embeddings, evaluator: PcaSvm | PcaLda) -> list[Result]:
    parts = StratifiedGroupKFold(5).split(rows.values, rows.labels, rows.groups)
    return [
        evaluator.evaluate(rows.take(fit), rows.take(held), name="answer", fold=str(place))
        for place, (fit, held) in enumerate(parts)
    ]


def test_saliva_by_scan_and_by_patient_is_as_the_usual_pipeline_has_it(data_root: Path) -> None:
    """Whitened PCA20 and SVM of the same folds reach .758 a scan and .808 a patient in an independent computation."""
    kept = np.load(data_root / "spectra" / "saliva_covid" / "covid_dataset.npz")
    scans = kept["spectra"].astype(np.float64)
    scored = (scans - scans.mean(1, keepdims=True)) / scans.std(1, keepdims=True)
    results = cross_validated(embedded(scored, kept["label"], kept["patient"]), PcaSvm())
    found = group_scores(ByGroup(how="vote"), results, "answer", "balanced_accuracy")
    assert found["groups"] == 101
    assert found["by_row"]["value"] == pytest.approx(0.758, abs=0.01)
    assert found["rows"][0]["scores"]["balanced_accuracy"]["value"] == pytest.approx(0.808, abs=0.015)


def test_mayonnaise_is_told_apart_by_lda(data_root: Path) -> None:
    """First derivative of SNV, samples in triplicates: one of 162 spectra is wrong in the usual pipeline."""
    from scipy.signal import savgol_filter

    table = np.genfromtxt(data_root / "spectra" / "mayonnaise_nir" / "mayonnaise.csv", delimiter=",", dtype=str)
    scans = np.char.strip(table[1:, 2:], '"').astype(np.float64)
    scored = (scans - scans.mean(1, keepdims=True)) / scans.std(1, keepdims=True)
    values = savgol_filter(scored, 7, 2, deriv=1, axis=1)
    results = cross_validated(embedded(values, table[1:, 0], np.arange(len(values)) // 3), PcaLda())
    right = sum(int((result.predictions == result.truth.labels).sum()) for result in results)
    assert right / len(values) == pytest.approx(161 / 162)
