"""Classification scores as functions of how often each group is drawn: a thousand draws cost milliseconds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Float, Int, Statistic

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc")
_CELLS = 4_000_000
"""Cells of (resamples, rows) weights handled at a time."""


def classification_statistics(probabilities: Float, truth: Truth) -> dict[str, Statistic]:
    """The four scores of (N, K) probabilities, definitions as in scikit-learn.

    ``accuracy``; ``balanced_accuracy``, the mean recall of the classes present; ``macro_f1``, over the
    classes present in truth or prediction; ``auroc``, one class against the rest, mean over the classes that
    have both.

    Args:
        probabilities: (N, K), or any scores that rank; a row's prediction is its first largest.
        truth: of the same rows, all labelled.
    """
    groups, owner = np.unique(truth.groups, return_inverse=True)
    predicted = probabilities.argmax(1)
    width = probabilities.shape[1]
    counted = np.zeros((3, len(groups), width))
    hit = predicted == truth.labels
    np.add.at(counted[0], (owner[hit], truth.labels[hit]), 1)
    np.add.at(counted[1], (owner, truth.labels), 1)
    np.add.at(counted[2], (owner, predicted), 1)

    def accuracy(counts: Float) -> Float:
        return _divide((counts @ counted[0]).sum(1), (counts @ counted[1]).sum(1))

    def balanced_accuracy(counts: Float) -> Float:
        return _present_mean(_divide(counts @ counted[0], counts @ counted[1]))

    def macro_f1(counts: Float) -> Float:
        return _present_mean(_divide(2 * (counts @ counted[0]), counts @ (counted[1] + counted[2])))

    def auroc(counts: Float) -> Float:
        return _macro_auroc(probabilities, truth.labels, owner, counts)

    scores = (accuracy, balanced_accuracy, macro_f1, auroc)
    return {name: Statistic(groups, score) for name, score in zip(METRICS, scores, strict=True)}


def chance(labels: Int) -> dict[str, float]:
    """What an answer that looks at nothing reaches on (N,) labels.

    The most common class for accuracy and macro-F1, 1 / K of the classes present for balanced accuracy, 0.5
    for AUROC.
    """
    _, sizes = np.unique(labels, return_counts=True)
    share = float(sizes.max() / sizes.sum())
    values = (share, 1 / len(sizes), 2 * share / (1 + share) / len(sizes), 0.5)
    return dict(zip(METRICS, values, strict=True))


def _divide(numerator: Float, denominator: Float) -> Float:
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _present_mean(scores: Float) -> Float:
    """(R, K) to (R,): the mean over the classes a draw has."""
    present = np.isfinite(scores)
    return _divide(np.where(present, scores, 0.0).sum(1), present.sum(1).astype(np.float64))


def _macro_auroc(probabilities: Float, labels: Int, owner: Int, counts: Float) -> Float:
    columns = [probabilities[:, k] for k in range(probabilities.shape[1])]
    curves = [_auroc(s, labels == k, owner, counts) for k, s in enumerate(columns) if (labels == k).any()]
    return _present_mean(np.stack(curves, 1))


def _auroc(scores: Float, positive: NDArray[np.bool_], owner: Int, counts: Float) -> Float:
    """(R,) area under the curve, a tie counting half, NaN where a draw lacks one side."""
    groups = counts.shape[1]
    won = _wins_by_row if groups**2 > 4 * len(scores) else _wins_by_group
    ours = np.bincount(owner[positive], minlength=groups).astype(np.float64)
    theirs = np.bincount(owner[~positive], minlength=groups).astype(np.float64)
    return _divide(won(scores, positive, owner, counts), (counts @ ours) * (counts @ theirs))


def _wins_by_group(scores: Float, positive: NDArray[np.bool_], owner: Int, counts: Float) -> Float:
    """Won pairs as a quadratic form of the counts: cheap for many rows of few groups."""
    groups = counts.shape[1]
    wins = np.zeros((groups, groups))
    _, level = np.unique(scores, return_inverse=True)
    ours, theirs = level[positive], level[~positive]
    owner_ours, owner_theirs = owner[positive], owner[~positive]
    for group in np.unique(owner_ours):
        held = np.bincount(ours[owner_ours == group], minlength=int(level.max()) + 1)
        beats = held.sum() - np.cumsum(held) + held / 2
        wins[group] = np.bincount(owner_theirs, weights=beats[theirs], minlength=groups)
    return np.asarray(np.einsum("rg,rg->r", counts @ wins, counts), np.float64)


def _wins_by_row(scores: Float, positive: NDArray[np.bool_], owner: Int, counts: Float) -> Float:
    """Won pairs by one sorted pass over the rows: cheap for many groups."""
    order = np.argsort(scores, kind="stable")
    first = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))
    won = np.empty(len(counts))
    step = max(1, _CELLS // len(scores))
    for start in range(0, len(counts), step):
        weights = counts[start : start + step][:, owner[order]]
        ours = np.add.reduceat(weights * positive[order], first, axis=1)
        theirs = np.add.reduceat(weights * ~positive[order], first, axis=1)
        won[start : start + step] = (ours * (np.cumsum(theirs, 1) - theirs / 2)).sum(1)
    return won
