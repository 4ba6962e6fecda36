"""Classification scores as functions of how often each group is drawn: a thousand draws cost milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias, get_args

import numpy as np

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Float, Int, Statistic
from counterpoint.evaluate.ranking import Ranking, divide

_Score: TypeAlias = Callable[[Float], Float]
MetricName = Literal["accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc", "brier", "calibration_error"]
METRICS: tuple[MetricName, ...] = get_args(MetricName)
TargetMetric = Literal["r2", "rmse", "mae"]
"""Scores of estimates of a target that may decide; see ``regression``."""
TARGET_METRICS: tuple[TargetMetric, ...] = get_args(TargetMetric)
Deciding: TypeAlias = Literal[MetricName, TargetMetric]
LOWER_IS_BETTER = frozenset({"brier", "calibration_error", "rmse", "mae", "mse"})
_OF_THE_PREDICTED = frozenset({"accuracy", "balanced_accuracy", "macro_f1"})
BINS = 10
"""Bins of the calibration error and of the reliability diagram."""


def classification_statistics(probabilities: Float, truth: Truth) -> dict[str, Statistic]:
    """The scores of (N, K) probabilities by name.

    Of two classes the last is the positive one: ``auroc``, ``auprc`` and ``brier`` are of its probability, as
    scikit-learn's ``roc_auc_score``, ``average_precision_score`` and ``brier_score_loss``.

    - ``accuracy``; ``balanced_accuracy``, the mean recall of the classes present; ``macro_f1``, over the classes
      present in truth or prediction.
    - ``auroc``, ``auprc``: of more than two classes the mean of each against the rest, over the classes that have
      both sides (``auprc``: that have rows).
    - ``brier``: mean squared error of the probability; of more than two classes half the sum over the classes, which
      for two is the same and keeps the range at 0 to 1.
    - ``calibration_error``: expected calibration error (Naeini et al. 2015) over ten bins of equally many rows, by
      the probability of the positive class, of more than two classes by that of the predicted class, whose being
      right is then what is predicted. Equal probabilities share a bin. Bins are those of all rows, whatever the
      draw. The absolute value makes noise of the draws an error too: intervals lean upward.

    Args:
        probabilities: (N, K); a row's prediction is its first largest.
        truth: of the same rows, all labelled.
    """
    groups, owner = np.unique(truth.groups, return_inverse=True)
    scores = _counting(probabilities, truth.labels, owner, len(groups))
    scores |= _ranking(probabilities, truth.labels, owner, len(groups))
    scores |= _calibrating(probabilities, truth.labels, owner, len(groups))
    return {name: Statistic(groups, scores[name]) for name in METRICS}


def _counting(probabilities: Float, labels: Int, owner: Int, groups: int) -> dict[str, _Score]:
    """Scores of the predicted class, from counts by group and class of hits, truths and predictions."""
    predicted = probabilities.argmax(1)
    counted = np.zeros((3, groups, probabilities.shape[1]))
    hit = predicted == labels
    np.add.at(counted[0], (owner[hit], labels[hit]), 1)
    np.add.at(counted[1], (owner, labels), 1)
    np.add.at(counted[2], (owner, predicted), 1)
    hits, truths, either = counted[0], counted[1], counted[1] + counted[2]

    def accuracy(counts: Float) -> Float:
        return divide(counts @ hits.sum(1), counts @ truths.sum(1))

    def balanced_accuracy(counts: Float) -> Float:
        return _present_mean(divide(counts @ hits, counts @ truths))

    def macro_f1(counts: Float) -> Float:
        return _present_mean(divide(2 * (counts @ hits), counts @ either))

    return {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy, "macro_f1": macro_f1}


def _ranking(probabilities: Float, labels: Int, owner: Int, groups: int) -> dict[str, _Score]:
    """Areas under the curves: of the positive class of two, else of each class present against the rest."""
    width = probabilities.shape[1]
    asked = [1] if width == 2 else np.unique(labels).tolist()
    rankings = [Ranking(probabilities[:, k], labels == k, owner, groups) for k in asked]

    def auroc(counts: Float) -> Float:
        return _present_mean(np.stack([ranking.auroc(counts) for ranking in rankings], 1))

    def auprc(counts: Float) -> Float:
        return _present_mean(np.stack([ranking.average_precision(counts) for ranking in rankings], 1))

    return {"auroc": auroc, "auprc": auprc}


def _calibrating(probabilities: Float, labels: Int, owner: Int, groups: int) -> dict[str, _Score]:
    """Scores of the probabilities themselves, from sums by group."""
    sizes = np.bincount(owner, minlength=groups).astype(np.float64)
    errors = np.bincount(owner, _squared_errors(probabilities, labels), groups)
    predicted, true = confidence(probabilities, labels)
    excess = np.zeros((groups, BINS))
    np.add.at(excess, (owner, equal_mass_bins(predicted)), predicted - true)

    def brier(counts: Float) -> Float:
        return divide(counts @ errors, counts @ sizes)

    def calibration_error(counts: Float) -> Float:
        return divide(np.abs(counts @ excess).sum(1), counts @ sizes)

    return {"brier": brier, "calibration_error": calibration_error}


def chance(labels: Int, classes: int) -> dict[str, float]:
    """What an answer that looks at nothing reaches: the shares of the classes in (N,) labels, for every row.

    The most common class for accuracy and macro-F1, 1 / K of the classes present for balanced accuracy, 0.5 for
    AUROC, the prevalence for AUPRC (of the positive class; of more than two, the mean of those present), the variance
    of the label for Brier, and 0 for the calibration error, which a constant that knows the prevalence does not make.

    Args:
        labels: of the rows scored.
        classes: how many are declared.
    """
    sizes = np.bincount(labels, minlength=classes)
    shares = sizes[sizes > 0] / sizes.sum()
    most, present = float(shares.max()), len(shares)
    prevalence = float(sizes[1] / sizes.sum()) if classes == 2 else 1 / present
    brier = float(1 - (shares**2).sum()) / 2
    values = (most, 1 / present, 2 * most / (1 + most) / present, 0.5, prevalence, brier, 0.0)
    return dict(zip(METRICS, values, strict=True))


def headline(metric: str) -> tuple[str, ...]:
    """The scores to tell in short: the one that decides, and those that say most beside it."""
    if metric in TARGET_METRICS:
        return tuple(dict.fromkeys((metric, *TARGET_METRICS)))
    beside = ("balanced_accuracy", "macro_f1") if metric in _OF_THE_PREDICTED else ("auroc", "auprc", "brier")
    return tuple(dict.fromkeys((metric, *beside)))


def spoken(metric: str) -> str:
    """A score's name within a sentence."""
    known = {"macro_f1": "macro-F1", "auroc": "AUROC", "auprc": "AUPRC", "brier": "Brier score"}
    known |= {"r2": "R2", "rmse": "RMSE", "mae": "MAE", "mse": "MSE"}
    return known.get(metric, metric.replace("_", " "))


def equal_mass_bins(values: Float) -> Int:
    """(N,) bin 0 to 9 of each value, so that bins hold equally many rows; equal values share a bin."""
    _, level, sizes = np.unique(values, return_inverse=True, return_counts=True)
    middle = (np.cumsum(sizes) - sizes / 2) / len(values)
    return np.asarray(np.floor(middle * BINS)[level], np.int64)


def confidence(probabilities: Float, labels: Int) -> tuple[Float, Float]:
    """(N,) probability of what is predicted of each row, and (N,) whether it came true.

    Of two classes: the positive class; of more: that the predicted class is right.
    """
    if probabilities.shape[1] == 2:
        return probabilities[:, 1], (labels == 1).astype(np.float64)
    predicted = probabilities.argmax(1)
    return probabilities[np.arange(len(labels)), predicted], (predicted == labels).astype(np.float64)


def _squared_errors(probabilities: Float, labels: Int) -> Float:
    truth = np.eye(probabilities.shape[1])[labels]
    if probabilities.shape[1] == 2:
        return np.asarray((probabilities[:, 1] - truth[:, 1]) ** 2, np.float64)
    return np.asarray(((probabilities - truth) ** 2).sum(1) / 2, np.float64)


def _present_mean(scores: Float) -> Float:
    """(R, K) to (R,): the mean over the classes a draw has."""
    present = np.isfinite(scores)
    return divide(np.where(present, scores, 0.0).sum(1), present.sum(1).astype(np.float64))
