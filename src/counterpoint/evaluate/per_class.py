"""Precision, recall and F1 of every class under one answer, with intervals by group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from counterpoint.evaluate.intervals import Float, Int, Statistic, combine_all
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Result, known

_Scores: TypeAlias = Callable[[Float], Float]
SCORES = ("precision", "recall", "f1")


class _Counts(NamedTuple):
    """Rows of all folds and seeds together, by group and class.

    Attributes:
        groups: (G,) the distinct groups.
        hits: (G, K) rows of a class that were predicted as it.
        truths: (G, K) rows of a class.
        predicted: (G, K) rows predicted as a class.
    """

    groups: Int
    hits: Float
    truths: Float
    predicted: Float


def per_class(main: Sequence[Result], *, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Scores of every class, from the same counts as the confusion matrix: rows of all folds and seeds together.

    A score that has nothing to divide by is None: the precision of a class that is never predicted, the recall of one
    without rows. Averages leave it out, as scikit-learn's with ``zero_division=nan``. A class whose rows stand in one
    group alone has no interval: a resample either has all of it or nothing.

    Args:
        main: results of one answer.
        resamples: how many draws of groups.
        seed: of the draws.

    Returns:
        A JSON-able dict: ``evaluator``; ``classes`` and ``averages`` (macro, and weighted by rows), a line each with
        name, rows a seed, and for each of ``SCORES`` value, low, high and the groups that have such rows;
        ``never_predicted``, the names of the classes with rows that are not predicted once.
    """
    counts, classes = _counted(main), main[0].truth.classes
    width = len(classes)
    functions = _functions(counts)
    ats: list[_Scores] = [partial(_one, function, k) for k in range(width) for function in functions]
    ats += [partial(_macro, function) for function in functions]
    ats += [partial(_weighted, function, counts.truths) for function in functions]
    found = combine_all([[Statistic(counts.groups, at)] for at in ats], resamples=resamples, seed=seed)
    seeds = len({result.seed for result in main})
    rows = (counts.truths.sum(0) / seeds).round().astype(int).tolist()
    owners = [int((counts.truths[:, k] > 0).sum()) for k in range(width)]
    names = [*classes, "macro average", "weighted average"]
    lines: list[dict[str, Any]] = []
    for place, name in enumerate(names):
        own = found[place * len(SCORES) : (place + 1) * len(SCORES)]
        groups = owners[place] if place < width else len(counts.groups)
        total = rows[place] if place < width else sum(rows)
        scores = {
            score: {
                "value": known(estimate.value),
                "low": known(estimate.low) if groups > 1 else None,
                "high": known(estimate.high) if groups > 1 else None,
                "groups": groups,
            }
            for score, estimate in zip(SCORES, own, strict=True)
        }
        lines.append({"name": name, "rows": total, **scores})
    silent = (counts.predicted.sum(0) == 0) & (counts.truths.sum(0) > 0)
    return {
        "evaluator": main[0].name,
        "classes": lines[:width],
        "averages": lines[width:],
        "never_predicted": [name for name, never in zip(classes, silent, strict=True) if never],
    }


def confusion(main: Sequence[Result]) -> dict[str, Any]:
    """How many rows of each class were predicted as each, of all folds and seeds together; JSON-able."""
    classes = list(main[0].truth.classes)
    counts = [[0] * len(classes) for _ in classes]
    for result in main:
        for label, prediction in zip(result.truth.labels.tolist(), result.predictions.tolist(), strict=True):
            counts[label][prediction] += 1
    return {"evaluator": main[0].name, "classes": classes, "counts": counts}


def _counted(main: Sequence[Result]) -> _Counts:
    labels, predictions, groups = (
        np.concatenate(columns)
        for columns in zip(*((r.truth.labels, r.predictions, r.truth.groups) for r in main), strict=True)
    )
    distinct, owner = np.unique(groups, return_inverse=True)
    counted = np.zeros((3, len(distinct), len(main[0].truth.classes)))
    hit = labels == predictions
    np.add.at(counted[0], (owner[hit], labels[hit]), 1)
    np.add.at(counted[1], (owner, labels), 1)
    np.add.at(counted[2], (owner, predictions), 1)
    return _Counts(distinct, *counted)


def _functions(counts: _Counts) -> list[Callable[[Float, slice], Float]]:
    """Precision, recall and F1 of some classes: (R, G) draws -> (R, classes), NaN where undefined."""
    _, hits, truths, predicted = counts

    def precision(draws: Float, some: slice) -> Float:
        return divide(draws @ hits[:, some], draws @ predicted[:, some])

    def recall(draws: Float, some: slice) -> Float:
        return divide(draws @ hits[:, some], draws @ truths[:, some])

    def f1(draws: Float, some: slice) -> Float:
        return divide(2 * (draws @ hits[:, some]), draws @ (truths + predicted)[:, some])

    return [precision, recall, f1]


def _one(function: Callable[[Float, slice], Float], k: int, draws: Float) -> Float:
    return function(draws, slice(k, k + 1))[:, 0]


def _macro(function: Callable[[Float, slice], Float], draws: Float) -> Float:
    scores = function(draws, slice(None))
    return _mean(scores, np.ones_like(scores))


def _weighted(function: Callable[[Float, slice], Float], truths: Float, draws: Float) -> Float:
    return _mean(function(draws, slice(None)), draws @ truths)


def _mean(scores: Float, weights: Float) -> Float:
    """(R, K) to (R,): the weighted mean of the scores that are defined."""
    defined = np.isfinite(scores)
    weights = np.where(defined, weights, 0.0)
    return divide((np.where(defined, scores, 0.0) * weights).sum(1), weights.sum(1))
