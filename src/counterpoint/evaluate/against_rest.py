"""Scores of every class against all others together: specificity, areas under curves, recall at few false alarms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from counterpoint.evaluate.intervals import Float, Statistic, combine_all
from counterpoint.evaluate.ranking import Ranking, divide
from counterpoint.evaluate.results import Result, known

SCORES = ("specificity", "auroc", "auprc", "recall_at_fpr")
_At = Callable[[Float], Float]


def against_rest(main: Sequence[Result], fpr: float, *, resamples: int = 1000) -> dict[str, Any]:
    """What an answer says of each class, by the probability it gives it.

    Means over folds and seeds, since probabilities of different models are not on one scale; the average is over the
    classes that a fold has. A score that a class lacks rows for is None, and so is the interval of one group.

    Args:
        main: results of one answer.
        fpr: the largest share of the other rows that may be called the class, of ``recall_at_fpr``: the recall at the
            best threshold that keeps to it on the test rows themselves.
        resamples: how many draws of groups.

    Returns:
        A JSON-able dict: ``fpr``; ``classes`` and ``average``, each with ``name`` and for each of ``SCORES`` value,
        low, high and the groups that have rows of the class.
    """
    classes = main[0].truth.classes
    cells = [_statistics(result, fpr) for result in main]
    asked = [[cell[score][k] for cell in cells] for k in range(len(classes) + 1) for score in SCORES]
    found = iter(combine_all(asked, resamples=resamples))
    lines = []
    for k, name in enumerate([*classes, "macro average"]):
        having = [r.truth.groups if k == len(classes) else r.truth.groups[r.truth.labels == k] for r in main]
        groups = len(np.unique(np.concatenate(having)))
        line: dict[str, Any] = {"name": name}
        for score in SCORES:
            value, low, high, _ = next(found)
            ends = {"low": known(low), "high": known(high)} if groups > 1 else {"low": None, "high": None}
            line[score] = {"value": known(value), **ends, "groups": groups}
        lines.append(line)
    return {"fpr": fpr, "classes": lines[:-1], "average": lines[-1]}


def _statistics(result: Result, fpr: float) -> dict[str, list[Statistic]]:
    """By score, a statistic a class and last their mean."""
    groups, owner = np.unique(result.truth.groups, return_inverse=True)
    labels, predicted, width = result.truth.labels, result.predictions, len(result.truth.classes)
    ats: dict[str, list[_At]] = {score: [] for score in SCORES}
    for k in range(width):
        ranking = Ranking(result.probabilities[:, k], labels == k, owner, len(groups))
        right = np.bincount(owner, (labels != k) & (predicted != k), len(groups)).astype(np.float64)
        others = np.bincount(owner, labels != k, len(groups)).astype(np.float64)
        ats["specificity"].append(partial(_share, right, others))
        ats["auroc"].append(ranking.auroc)
        ats["auprc"].append(ranking.average_precision)
        ats["recall_at_fpr"].append(partial(ranking.recall_at, fpr=fpr))
    for of_class in ats.values():
        of_class.append(partial(_mean, tuple(of_class)))
    return {score: [Statistic(groups, at) for at in every] for score, every in ats.items()}


def _share(part: Float, whole: Float, draws: Float) -> Float:
    return divide(draws @ part, draws @ whole)


def _mean(ats: Sequence[_At], draws: Float) -> Float:
    """(R,) over the classes for which a draw has both sides."""
    scores = np.stack([at(draws) for at in ats], 1)
    present = np.isfinite(scores)
    return divide(np.where(present, scores, 0.0).sum(1), present.sum(1).astype(np.float64))
