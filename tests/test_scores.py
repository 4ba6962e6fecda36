"""What is said of a run: shares of the labels, gains, and a verdict that does not flatter."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.results import Result
from counterpoint.objectives import InfoNCE
from counterpoint.recipe import Evaluation, Recipe
from counterpoint.scores import summarise, transfer_name
from counterpoint.settings import Transfer
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


def test_gains_compare_the_same_groups() -> None:
    transferred = [
        result(transfer_name(0.1, start), right, seed=seed)
        for start, right in (("pretrained", 0.8), ("scratch", 0.7))
        for seed in (0, 1)
    ]
    found = summarise(TRANSFER, [result(MODEL, 0.9), result("hand", 0.6, "baseline")], transferred)
    (gain,) = found["gains"]
    assert gain["value"] == pytest.approx(0.1)
    assert [point["start"] for point in found["transfer"]] == ["pretrained", "scratch"]
