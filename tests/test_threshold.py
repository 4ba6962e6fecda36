"""Thresholds chosen on validation rows, against scikit-learn and an exhaustive search."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score, precision_score, recall_score, roc_curve

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.ranking import Ranking
from counterpoint.evaluate.results import Result
from counterpoint.evaluate.threshold import (
    Criterion,
    Threshold,
    check,
    choose,
    operating,
    statistics_at,
    threshold_lines,
)
from judged_world import drawn

CRITERIA: tuple[Criterion, ...] = ("youden", "balanced_accuracy", "f1", "recall_at_fpr")


def worth(criterion: Criterion, scores: Any, labels: Any, threshold: float, fpr: float) -> float:
    """The criterion at a threshold, by scikit-learn."""
    called = (scores >= threshold).astype(int)
    if criterion == "f1":
        return float(f1_score(labels, called, zero_division=0))
    if criterion == "recall_at_fpr":
        allowed = recall_score(1 - labels, 1 - called) >= 1 - fpr - 1e-12
        return float(recall_score(labels, called)) if allowed else -1.0
    return float(balanced_accuracy_score(labels, called))


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.6, 0.9, 1.0]), st.booleans()), min_size=2, max_size=25),
    st.sampled_from(CRITERIA),
    st.sampled_from([0.05, 0.2, 0.5]),
)
def test_no_other_threshold_is_better(rows: list[tuple[float, bool]], criterion: Criterion, fpr: float) -> None:
    scores = np.array([score for score, _ in rows])
    labels = np.array([int(positive) for _, positive in rows])
    labels[0], labels[1] = 0, 1
    chosen = choose(Threshold(criterion=criterion, fpr=fpr), scores, labels == 1)
    best = worth(criterion, scores, labels, chosen, fpr)
    every = [worth(criterion, scores, labels, other, fpr) for other in [*np.unique(scores), 0.05, 0.3, 0.55, 0.8, 1.1]]
    assert best >= max(every) - 1e-9
    assert np.isfinite(chosen)


def test_the_threshold_lies_between_scores_and_near_a_half_where_several_are_as_good() -> None:
    scores, labels = np.array([0.1, 0.2, 0.7, 0.9]), np.array([0, 0, 1, 1])
    assert choose(Threshold(), scores, labels == 1) == pytest.approx(0.45)
    # Nothing is told apart: every threshold is as good, and 0.5 stays nearly where it is.
    even = choose(Threshold(), np.array([0.4, 0.4, 0.58, 0.58]), np.array([0, 1, 0, 1]) == 1)
    assert even == pytest.approx(0.49)


def test_scores_at_a_threshold_are_those_of_sklearn() -> None:
    result, threshold = drawn(0), 0.37
    labels, called = result.truth.labels, (result.probabilities[:, 1] >= 0.37).astype(int)
    found = statistics_at(result, threshold)
    values = {name: float(one.at(np.ones((1, len(one.groups))))[0]) for name, one in found.items()}
    assert values["recall"] == pytest.approx(recall_score(labels, called))
    assert values["specificity"] == pytest.approx(recall_score(1 - labels, 1 - called))
    assert values["precision"] == pytest.approx(precision_score(labels, called))
    assert values["f1"] == pytest.approx(f1_score(labels, called))
    assert values["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, called))
    assert values["false_positive_rate"] == pytest.approx(1 - values["specificity"])
    # A draw of groups is the rows of those groups, as often as each is drawn.
    counts = np.random.default_rng(0).integers(0, 3, len(found["f1"].groups))
    rows = np.repeat(np.arange(len(labels)), counts[np.searchsorted(found["f1"].groups, result.truth.groups)])
    drawn_f1 = float(found["f1"].at(counts[None].astype(np.float64))[0])
    assert drawn_f1 == pytest.approx(f1_score(labels[rows], called[rows]))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.05, 0.1, 0.3]), st.integers(1, 30))
def test_recall_at_a_rate_is_that_of_the_roc_curve(seed: int, fpr: float, levels: int) -> None:
    generator = np.random.default_rng(seed)
    scores, labels = generator.integers(0, levels, 60) / levels, generator.integers(0, 2, 60)
    labels[:2] = 0, 1
    owner = generator.integers(0, 9, 60)
    ranking = Ranking(scores, labels == 1, owner, 9)
    counts = np.stack([np.ones(9), generator.integers(0, 3, 9).astype(np.float64)])
    found = ranking.recall_at(counts, fpr)
    for got, draw in zip(found, counts, strict=True):
        rows = np.repeat(np.arange(60), draw[owner].astype(int))
        if len(set(labels[rows].tolist())) < 2:
            assert np.isnan(got)
            continue
        across, up, _ = roc_curve(labels[rows], scores[rows], drop_intermediate=False)
        assert got == pytest.approx(up[across <= fpr + 1e-12].max())


def cells(strength: float) -> list[Result]:
    """The answer on rows of two folds under two seeds."""
    return [
        replace(drawn(10 * fold + seed, strength=strength), fold=f"f{fold}", seed=seed)
        for fold in (0, 1)
        for seed in (0, 1)
    ]


def test_every_cell_is_judged_at_its_own_threshold_of_its_validation_rows() -> None:
    test = cells(0.8)
    valid = [replace(one, probabilities=np.roll(one.probabilities, 7, 0)) for one in cells(1.5)]
    asked = Threshold(criterion="f1", fpr=0.1)
    found = json.loads(json.dumps(operating(asked, valid, test, resamples=200), allow_nan=False))
    chosen = [choose(asked, one.probabilities[:, 1], one.truth.labels == 1) for one in valid]
    assert [cell["threshold"] for cell in found["cells"]] == pytest.approx(chosen)
    assert found["value"] == pytest.approx(np.mean(chosen))
    assert (found["least"], found["most"]) == pytest.approx((min(chosen), max(chosen)))
    assert found["spread"] == pytest.approx(np.std(chosen, ddof=1))
    at_chosen, at_half, at_rate = found["points"]
    for point, thresholds in ((at_chosen, chosen), (at_half, [0.5] * 4)):
        sides = zip(test, thresholds, strict=True)
        recalls = [recall_score(one.truth.labels, one.probabilities[:, 1] >= value) for one, value in sides]
        assert point["recall"]["value"] == pytest.approx(np.mean(recalls))
        assert point["specificity"]["low"] < point["specificity"]["value"] < point["specificity"]["high"]
    limits = [
        choose(Threshold(criterion="recall_at_fpr", fpr=0.1), o.probabilities[:, 1], o.truth.labels == 1) for o in valid
    ]
    false = [float((o.probabilities[o.truth.labels == 0, 1] >= v).mean()) for o, v in zip(test, limits, strict=True)]
    assert at_rate["false_positive_rate"]["value"] == pytest.approx(np.mean(false))
    assert at_rate["name"] == "chosen for false positives of 10 %"
    lines = threshold_lines({"threshold": found})
    assert lines[0].startswith(f"Threshold of b by f1 on validation rows: {np.mean(chosen):.3f} ± ")
    assert len(lines) == 4


def test_the_test_rows_never_take_part_in_the_choice() -> None:
    valid, test = cells(1.0), cells(1.0)
    other = [replace(one, probabilities=one.probabilities[::-1].copy()) for one in cells(0.1)]
    first, second = (operating(Threshold(), valid, side, resamples=2) for side in (test, other))
    assert first["cells"] == second["cells"]
    assert first["curve"]["valid"] == second["curve"]["valid"]
    assert first["points"] != second["points"]


def test_the_curve_has_both_splits_at_every_threshold() -> None:
    valid, test = cells(1.0), cells(0.5)
    curve = operating(Threshold(), valid, test, resamples=2)["curve"]
    assert curve["threshold"][::50] == [0.0, 0.5, 1.0]
    for split, results in (("valid", valid), ("test", test)):
        expected = [recall_score(one.truth.labels, one.probabilities[:, 1] >= 0.3) for one in results]
        assert curve[split]["recall"][30] == pytest.approx(np.mean(expected), abs=1e-6)
        assert curve[split]["recall"][0] == 1.0
        assert curve[split]["specificity"][0] == 0.0
        assert curve[split]["precision"][100] is None


def test_one_class_among_rows_has_no_recall_and_no_complaint() -> None:
    index = np.arange(6)
    truth = Truth(np.zeros(6, np.int64), index, index, index, ("a", "b"))
    alone = Result("model", "model", np.tile([0.8, 0.2], (6, 1)), truth, (), "f0", 0)
    valid = [replace(one, fold="f0") for one in cells(1.0)[:1]]
    found = operating(Threshold(), valid, [alone], resamples=20)
    assert found["points"][0]["recall"]["value"] is None
    assert found["spread"] is None
    assert "recall undefined" in threshold_lines({"threshold": found})[1]
    json.dumps(found, allow_nan=False)


def test_what_cannot_be_chosen_is_refused_with_the_remedy() -> None:
    both, one, none = np.array([0, 1, -1]), np.array([1, 1]), np.array([], dtype=np.int64)
    check(Threshold(), ("well", "ill"), {"a": both})
    check(None, ("well",), {"a": none})
    with pytest.raises(ValueError, match=r"fold 'b' are 0 well, 2 ill.*share that data.split keeps for validation"):
        check(Threshold(), ("well", "ill"), {"a": both, "b": one})
    with pytest.raises(ValueError, match=r"fold 'a' are 0 well, 0 ill"):
        check(Threshold(), ("well", "ill"), {"a": none})
    with pytest.raises(ValueError, match="of two classes and there are a, b, c"):
        check(Threshold(), ("a", "b", "c"), {"a": both})
    with pytest.raises(ValueError, match=r"threshold.fpr is 0"):
        Threshold(fpr=0)
