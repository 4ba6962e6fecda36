"""Reliability: how often what was predicted came true, bin by bin, with intervals by group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.intervals import Float, Int, Statistic, bootstrap
from counterpoint.evaluate.metrics import BINS, confidence, equal_mass_bins
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Result, known


class Bin(TypedDict):
    """Rows of similar probability: its mean, the share of the positive class with interval, and how many; JSON-able."""

    predicted: float
    observed: float
    low: float | None
    high: float | None
    rows: int


def reliability(results: Sequence[Result], *, resamples: int = 1000, seed: int = 0) -> list[Bin]:
    """Ten bins of equally many rows by the probability of the positive class, the least probable first.

    Of more than two classes it is the probability of the predicted class, which comes true where that class is right.

    Rows of all folds and seeds are pooled; a row under several seeds counts as often, and its group is drawn for all
    of them at once. Fewer bins where many probabilities are equal. Where every row of a bin agrees, resampling has no
    width, and the exact bound of as many independent groups stands in its place (Clopper and Pearson 1934).

    Args:
        results: of one answer.
        resamples: how many draws of groups.
        seed: of the draws.
    """
    sides = [confidence(result.probabilities, result.truth.labels) for result in results]
    predicted = np.concatenate([given for given, _ in sides])
    positive = np.concatenate([true == 1 for _, true in sides])
    groups = np.concatenate([result.truth.groups for result in results])
    owner = equal_mass_bins(predicted)
    return [
        _bin(predicted[rows], positive[rows], groups[rows], resamples, seed)
        for rows in (owner == index for index in range(BINS))
        if rows.any()
    ]


def _bin(predicted: Float, positive: NDArray[np.bool_], groups: Int, resamples: int, seed: int) -> Bin:
    observed = float(positive.mean())
    distinct, owner = np.unique(groups, return_inverse=True)
    if len(distinct) > 1 and observed in (0.0, 1.0):
        bound = 0.025 ** (1 / len(distinct))
        low, high = (0.0, 1 - bound) if observed == 0 else (bound, 1.0)
    else:
        sums, sizes = np.bincount(owner, positive), np.bincount(owner).astype(np.float64)

        def share(counts: Float) -> Float:
            return divide(counts @ sums, counts @ sizes)

        _, low, high, _ = bootstrap(Statistic(distinct, share), resamples=resamples, seed=seed)
    return {
        "predicted": float(predicted.mean()),
        "observed": observed,
        "low": known(low),
        "high": known(high),
        "rows": len(predicted),
    }
