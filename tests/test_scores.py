"""What is said of a run: shares of the labels, gains, and a verdict that does not flatter."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from counterpoint.embed import embed, embed_and_predict
from counterpoint.evaluate.calibration import reliability
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, METRICS, MetricName
from counterpoint.evaluate.results import Result, load_results
from counterpoint.evaluate.verdict import shot_lines, transfer_lines
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CrossEntropy, InfoNCE
from counterpoint.recipe import Recipe, build, train_cell
from counterpoint.scores import (
    Fold,
    cell_folder,
    judge_cell,
    judge_fold,
    judge_shots,
    shots_file,
    summarise,
    transfer_name,
)
from counterpoint.settings import FewShot, Monitor, Trainer, Transfer
from counterpoint.transfer import label_share
from toys import OneLayer, ToneData

RECIPE = Recipe(
    data=ToneData,
    encoders={"tone": OneLayer},
    objective=partial(InfoNCE, temperature=0.1),
)
TRANSFER = replace(RECIPE, evaluation=Evaluation(transfer=Transfer(fractions=(0.1,))))
MODEL = "InfoNCE, logistic regression"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=200).filter(lambda rows: max(rows) >= 0), st.integers(0, 99))
def test_shares_are_stratified_and_nested(labels: list[int], seed: int) -> None:
    column = np.array(labels)
    small, large, whole = (label_share(column, share, seed) for share in (0.05, 0.4, 1.0))
    assert set(small) <= set(large) <= set(whole)
    assert set(whole) == set(np.flatnonzero(column >= 0))
    for label in set(labels) - {-1}:
        count = labels.count(label)
        assert (column[large] == label).sum() == max(1, round(0.4 * count))


def result(name: str, right: float, kind: Any = "model", seed: int = 0, groups: int = 20) -> Result:
    """Twenty rows a group in two classes, a share of each group's rows right."""
    labels = np.tile([0, 1], groups * 10)
    owners = np.repeat(np.arange(groups), 20)
    wrong = np.tile(np.arange(20) >= round(20 * right), groups)
    probabilities = np.eye(2)[np.where(wrong, 1 - labels, labels)]
    return Result(name, kind, probabilities, Truth(labels, owners, owners, owners, ("a", "b")), (), "all", seed)


@pytest.mark.parametrize(
    ("model", "baseline", "head"),
    [(0.9, 0.6, "beats every baseline"), (0.6, 0.9, "does NOT beat"), (0.6, 0.6, "does NOT beat")],
)
def test_the_verdict_says_what_the_scores_say(model: float, baseline: float, head: str) -> None:
    found = summarise(RECIPE, [result(MODEL, model), result("hand", baseline, "baseline")], [])
    assert head in found["verdict"].split(". ")[0]
    assert f"{model - baseline:+.3f}" in found["verdict"]
    assert "20 groups" in found["verdict"]
    assert found["chance"]["balanced_accuracy"] == 0.5
    counts = np.array(found["confusion"]["counts"])
    assert counts.trace() / counts.sum() == pytest.approx(model)


def test_one_group_has_no_interval_and_says_so() -> None:
    found = summarise(RECIPE, [result(MODEL, 0.9, groups=1), result("hand", 0.6, "baseline", groups=1)], [])
    assert "no interval" in found["verdict"]
    assert "nan" not in found["verdict"]
    assert "beats" not in found["verdict"].split(". ")[0]


def judged_by(metric: MetricName) -> Recipe:
    return replace(RECIPE, evaluation=Evaluation(metric=metric))


def graded(name: str, strength: float, kind: Any = "model", positives: int = 30) -> Result:
    """200 stays, a group each, with probabilities that know the outcome as well as ``strength`` says."""
    generator = np.random.default_rng(5)
    labels = (np.arange(200) < positives).astype(np.int64)
    logits = generator.normal(size=200) + strength * (2 * labels - 1) - 1
    risk = 1 / (1 + np.exp(-logits))
    index = np.arange(200)
    truth = Truth(labels, index, index, index, ("survived", "died"))
    return Result(name, kind, np.stack([1 - risk, risk], 1), truth, (), "all", 0)


@pytest.mark.parametrize("metric", METRICS)
def test_the_metric_chosen_decides_whichever_way_it_points(metric: MetricName) -> None:
    good, bad = graded(MODEL, 2.0), graded("hand", 0.1, "baseline")
    found = summarise(judged_by(metric), [good, bad], [])
    assert found["metric"] == metric
    values = [row["scores"][metric]["value"] for row in found["rows"]]
    swapped = summarise(judged_by(metric), [graded(MODEL, 0.1), graded("hand", 2.0, "baseline")], [])
    if metric == "calibration_error":
        assert "less is better" in found["verdict"]
        return
    assert "beats every baseline" in found["verdict"].split(". ")[0]
    assert "does NOT beat" in swapped["verdict"].split(". ")[0]
    assert f"{values[1] - values[0]:+.3f} [" in found["verdict"]
    assert ("less is better" in found["verdict"]) == (metric in LOWER_IS_BETTER)


def test_the_best_baseline_is_the_least_where_less_is_better() -> None:
    rivals = [graded("strong", 1.5, "baseline"), graded("weak", 0.1, "baseline")]
    for metric in ("brier", "auprc"):
        found = summarise(judged_by(metric), [graded(MODEL, 2.0), *rivals], [])
        assert "The best baseline, strong, reaches" in found["verdict"]


def test_the_prevalence_is_told_beside_auprc() -> None:
    verdict = summarise(judged_by("auprc"), [graded(MODEL, 2.0), graded("hand", 0.1, "baseline")], [])["verdict"]
    assert "AUPRC on 200 groups of recordings it was not trained on (prevalence 0.150)" in verdict


def test_an_undefined_score_gives_no_verdict() -> None:
    alone = [graded(MODEL, 2.0, positives=0), graded("hand", 0.1, "baseline", positives=0)]
    found = summarise(judged_by("auroc"), alone, [])
    assert found["verdict"] == "There is no verdict: the AUROC of the test rows is undefined, they lack a class."
    json.dumps(found, allow_nan=False)


def test_the_own_head_stands_first_and_decides() -> None:
    head, probe = graded("InfoNCE, its own head", 2.0), graded(MODEL, 0.1)
    found = summarise(judged_by("auroc"), [head, probe, graded("hand", 0.5, "baseline")], [])
    assert [row["name"] for row in found["rows"]] == ["hand", "InfoNCE, its own head", MODEL]
    assert found["verdict"].startswith("The model beats every baseline. InfoNCE, its own head, reaches")
    assert found["confusion"]["evaluator"] == found["calibration"]["name"] == "InfoNCE, its own head"


def test_reliability_says_how_often_what_was_predicted_came_true() -> None:
    generator = np.random.default_rng(0)
    risk = generator.uniform(size=4000)
    labels = (generator.random(4000) < risk**2).astype(np.int64)
    index = np.arange(4000)
    truth = Truth(labels, index, index, index, ("survived", "died"))
    halves = [
        Result(MODEL, "model", np.stack([1 - risk, risk], 1)[rows], Truth(*(c[rows] for c in truth[:4]), truth.classes))
        for rows in (slice(0, 1500), slice(1500, 4000))
    ]
    bins = reliability(halves)
    assert [found["rows"] for found in bins] == [400] * 10
    for found, rows in zip(bins, np.array_split(np.argsort(risk), 10), strict=True):
        assert found["predicted"] == pytest.approx(risk[rows].mean())
        assert found["observed"] == pytest.approx(labels[rows].mean())
        assert found["low"] is not None
        assert found["high"] is not None
        # The normal interval of a share of independent rows, for want of a better reference.
        half = 1.96 * np.sqrt(found["observed"] * (1 - found["observed"]) / 400)
        if found["observed"] > 0.05:
            assert found["low"] == pytest.approx(found["observed"] - half, abs=0.012)
            assert found["high"] == pytest.approx(found["observed"] + half, abs=0.012)
        assert found["low"] <= np.mean(risk[rows] ** 2) <= found["high"]


def test_a_bin_whose_rows_agree_has_the_exact_bound_and_one_group_none() -> None:
    index = np.arange(50)
    labels = np.zeros(50, np.int64)
    constant = np.tile([0.9, 0.1], (50, 1))
    truth = Truth(labels, index, index, index, ("survived", "died"))
    (found,) = reliability([Result(MODEL, "model", constant, truth)])
    assert (found["observed"], found["low"], found["rows"]) == (0.0, 0.0, 50)
    assert found["high"] == pytest.approx(binomtest(0, 50).proportion_ci(0.95, method="exact").high)
    one = truth._replace(groups=np.zeros(50, np.int64), labels=index % 2)
    (alone,) = reliability([Result(MODEL, "model", constant, one)])
    assert (alone["observed"], alone["low"], alone["high"]) == (0.5, None, None)


def test_reliability_of_more_than_two_classes_is_that_of_the_predicted_one() -> None:
    labels = np.tile([0, 1, 2], 20)
    index = np.arange(60)
    truth = Truth(labels, index, index, index, ("a", "b", "c"))
    said = np.where((index < 12)[:, None], np.roll(np.eye(3), 1, 1)[labels], np.eye(3)[labels])
    probabilities = np.where((index < 30)[:, None], 0.9 * said + 0.1 / 3, 0.6 * said + 0.4 / 3)
    made = Result(MODEL, "model", probabilities, truth)
    found = summarise(RECIPE, [made, replace(made, name="hand", kind="baseline")], [])["calibration"]
    assert (found["name"], found["positive"]) == (MODEL, "the predicted class")
    # The surer half was right of 18 in 30, the other always.
    assert [(one["rows"], one["observed"]) for one in found["bins"]] == [(30, 1.0), (30, 0.6)]
    assert [one["predicted"] for one in found["bins"]] == pytest.approx([0.6 + 0.4 / 3, 0.9 + 0.1 / 3])


def test_a_pass_that_also_predicts_embeds_the_same() -> None:
    data = ToneData()
    model, classifier = build(replace(RECIPE, objective=CrossEntropy), data, 0)
    rows = data.evaluation("all", "test")
    embedded, probabilities = embed_and_predict(model, classifier, data, rows, batch_size=7)
    np.testing.assert_array_equal(embedded.values, embed(model, data, rows, batch_size=7).values)
    assert probabilities is not None
    pooled = torch.from_numpy(embedded.values)
    expected = classifier.get_submodule("classifier")(pooled).softmax(-1).detach().numpy()
    np.testing.assert_allclose(probabilities.values, expected, atol=1e-6)
    _, silent = build(RECIPE, data, 0)
    assert embed_and_predict(model, silent, data, rows)[1] is None


def test_a_cell_is_judged_by_its_head_its_evaluators_and_few_labels(tmp_path: Path) -> None:
    evaluation = Evaluation(metric="auroc", few_shot=FewShot(labels=(8, 16), repeats=3))
    trainer = Trainer(epochs=1, batch_size=12, monitor=Monitor(log_every=1))
    recipe = replace(RECIPE, objective=CrossEntropy, trainer=trainer, evaluation=evaluation)
    data, fold = ToneData(), Fold(ToneData(), "all")
    train_cell(recipe, data, "all", 0, cell_folder(tmp_path, "all", 0))
    judged = judge_fold(fold, tmp_path) + judge_cell(recipe, data, "all", 0, tmp_path)
    names = [result.name for result in judged if result.kind == "model"]
    assert names == ["CrossEntropy, its own head", "CrossEntropy, logistic regression", "CrossEntropy, 5-NN"]
    shots = judge_shots(recipe, fold, 0, tmp_path)
    assert len(shots) == 2 * 3 * 2
    found = json.loads(json.dumps(summarise(recipe, judged, [], shots), allow_nan=False))
    assert [row["labels"] for row in found["shots"]] == [8, 16]
    assert [answer["name"] for answer in found["shots"][0]["answers"]] == [
        "CrossEntropy, logistic regression",
        "summary statistics, logistic regression",
    ]
    assert found["folds"] == [{"fold": "all", "rows": found["rows"]}]
    assert sum(one["rows"] for one in found["calibration"]["bins"]) == 24
    assert "CrossEntropy, its own head" in found["verdict"]
    lines = shot_lines(found)
    assert len(lines) == 2
    assert lines[0].startswith("With 8 labels: AUROC ")
    stored = load_results(shots_file(cell_folder(tmp_path, "all", 0)))
    assert [result.name for result in stored] == [result.name for result in shots]


def test_gains_compare_the_same_groups() -> None:
    transferred = [
        result(transfer_name(0.1, start), right, seed=seed)
        for start, right in (("pretrained", 0.8), ("scratch", 0.7))
        for seed in (0, 1)
    ]
    found = summarise(TRANSFER, [result(MODEL, 0.9), result("hand", 0.6, "baseline")], transferred)
    (gain,) = found["gains"]
    assert gain["value"] == pytest.approx(0.1)
    assert gain["metric"] == "balanced_accuracy"
    assert [point["start"] for point in found["transfer"]] == ["pretrained", "scratch"]
    (line,) = transfer_lines(found)
    assert line.startswith(
        "Fine-tuned on 10 % of the labels: balanced accuracy 0.800 pre-trained, 0.700 from scratch, +0.100 ["
    )
