"""Operating point of two classes: a threshold chosen on validation rows, and what it comes to on test rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.intervals import Float, Int, Statistic, combine_all
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Result, known
from counterpoint.evaluate.rival import with_interval

Criterion = Literal["youden", "balanced_accuracy", "f1", "recall_at_fpr"]
SCORES = ("recall", "specificity", "precision", "f1", "balanced_accuracy", "false_positive_rate")
GRID = 101
"""Thresholds of the curve, evenly spaced from 0 to 1."""
_EVEN = 0.5
Bool: TypeAlias = NDArray[np.bool_]

_Counts: TypeAlias = tuple[Float, Float, Float, Float]
"""Right and missed positives, false and right negatives, each (..., R) or a number."""


@dataclass(frozen=True)
class Threshold:
    """Also judge at a threshold of the probability, chosen on the validation rows of each fold and seed.

    A row is positive, of the second class, from the threshold on. The test rows never take part in the choice.

    Args:
        criterion: what is largest at the threshold. ``youden`` (recall + specificity - 1) and ``balanced_accuracy``
            choose alike; ``f1`` of the positive class; ``recall_at_fpr``, the recall where at most the share ``fpr`` of
            the negative rows is called positive.
        fpr: the largest false positive rate, of ``recall_at_fpr`` and of the recall told at a set rate.
    """

    criterion: Criterion = "youden"
    fpr: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(f"evaluation.threshold.fpr is {self.fpr}; it is a share above 0 and below 1")


def set_rate(settings: Threshold | None) -> float:
    """The false positive rate that recalls are told at, also where no threshold is asked for."""
    return (settings or Threshold()).fpr


class Point(NamedTuple):
    """A threshold, and for which fold and seed it was chosen."""

    fold: str
    seed: int
    value: float


def check(settings: Threshold | None, classes: Sequence[str], validation: Mapping[str, Int]) -> None:
    """Refuse, before anything is trained, what leaves nothing to choose a threshold on.

    Args:
        settings: of the recipe; None where nothing is asked.
        classes: that are told apart.
        validation: (n,) labels of the validation rows by fold, -1 where not known.

    Raises:
        ValueError: more than two classes, or a fold whose validation rows lack one of them.
    """
    if settings is None:
        return
    if len(classes) != 2:
        raise ValueError(
            f"evaluation.threshold is of two classes and there are {', '.join(classes) or 'none'}; leave it out, let "
            "the data map labels to two, or let evaluation.detection decide about defects"
        )
    for fold, labels in validation.items():
        counts = np.bincount(labels[labels >= 0], minlength=2)
        if not counts.all():
            told = ", ".join(f"{count} {name}" for count, name in zip(counts.tolist(), classes, strict=True))
            raise ValueError(
                f"evaluation.threshold: the validation rows of fold {fold!r} are {told}, and a threshold is chosen on "
                "rows of both classes, never on the test rows; set the share that data.split keeps for validation "
                "(valid), or raise it"
            )


def choose(settings: Threshold, scores: Float, positive: Bool) -> float:
    """The threshold with the best criterion on some rows, of equal ones the nearest to 0.5.

    Candidates lie halfway between neighbouring scores, so that a test row a little off falls on its own side; below
    them all and above them all are two more.

    Args:
        settings: the criterion.
        scores: (N,) probability of the positive class.
        positive: (N,) which rows are, at least one, and one not.
    """
    levels = np.unique(scores)
    middle = np.maximum((levels[1:] + levels[:-1]) / 2, np.nextafter(levels[:-1], np.inf))
    candidates = np.concatenate([[min(0.0, levels[0])], middle, [max(1.0, np.nextafter(levels[-1], np.inf))]])
    counts = _counted(scores, positive, candidates)
    found = {name: function(counts) for name, function in FUNCTIONS.items()}
    if settings.criterion == "f1":
        worth = np.nan_to_num(found["f1"])
    elif settings.criterion == "recall_at_fpr":
        worth = np.where(found["false_positive_rate"] <= settings.fpr, found["recall"], -1.0)
    else:
        worth = found["balanced_accuracy"]
    best = candidates[worth >= worth.max() - 1e-12]
    return float(best[np.abs(best - _EVEN).argmin()])


def _counted(scores: Float, positive: Bool, thresholds: Float) -> _Counts:
    """Counts (T,) of rows at or above each threshold and below it."""
    ours, theirs = np.sort(scores[positive]), np.sort(scores[~positive])
    hits, false = (len(side) - np.searchsorted(side, thresholds, side="left") for side in (ours, theirs))
    counts = (hits, len(ours) - hits, false, len(theirs) - false)
    return tuple(count.astype(np.float64) for count in counts)  # type: ignore[return-value]


FUNCTIONS: dict[str, Callable[[_Counts], Float]] = {
    "recall": lambda c: divide(c[0], c[0] + c[1]),
    "specificity": lambda c: divide(c[3], c[2] + c[3]),
    "precision": lambda c: divide(c[0], c[0] + c[2]),
    "f1": lambda c: divide(2 * c[0], 2 * c[0] + c[1] + c[2]),
    "balanced_accuracy": lambda c: (divide(c[0], c[0] + c[1]) + divide(c[3], c[2] + c[3])) / 2,
    "false_positive_rate": lambda c: divide(c[2], c[2] + c[3]),
}
"""Scores of counts, NaN where there is nothing to divide by."""


def statistics_at(result: Result, threshold: float) -> dict[str, Statistic]:
    """The scores of the rows of a result at a threshold, to be resampled by group."""
    names, owner = np.unique(result.truth.groups, return_inverse=True)
    called, positive = result.probabilities[:, 1] >= threshold, result.truth.labels == 1
    sides = (called & positive, ~called & positive, called & ~positive, ~called & ~positive)
    sums = [np.bincount(owner, side, len(names)) for side in sides]

    def at(function: Callable[[_Counts], Float], draws: Float) -> Float:
        return function(tuple(draws @ part for part in sums))  # type: ignore[arg-type]

    return {name: Statistic(names, partial(at, function)) for name, function in FUNCTIONS.items()}


def operating(
    settings: Threshold | None, valid: Sequence[Result], main: Sequence[Result], *, resamples: int = 1000
) -> dict[str, Any]:
    """What the thresholds chosen on validation rows come to on the test rows of the same folds and seeds.

    Scores are means over folds and seeds, as those of the table are.

    Args:
        settings: of the recipe; None where nothing is asked.
        valid: the main answer on validation rows.
        main: on test rows.
        resamples: how many draws of groups.

    Returns:
        A JSON-able dict, empty without settings: ``answer``, ``criterion``, ``fpr``, ``positive`` (a class),
        ``value``, the mean, ``least``, ``most`` and ``spread`` of the thresholds by fold and seed, ``cells`` with each;
        ``points``: at the threshold chosen, at 0.5, and at that chosen for the largest recall at ``fpr``, a line each
        with ``name`` and ``SCORES``; ``curve``: ``threshold``, and for ``valid`` and ``test`` the scores at each.
    """
    if settings is None:
        return {}
    points = thresholds(settings, valid)
    limited = thresholds(Threshold(criterion="recall_at_fpr", fpr=settings.fpr), valid)
    lines = {"chosen on validation rows": points, "0.5": [point._replace(value=_EVEN) for point in points]}
    if settings.criterion != "recall_at_fpr":
        lines[f"chosen for false positives of {100 * settings.fpr:g} %"] = limited
    values = np.array([point.value for point in points])
    return {
        "answer": main[0].name,
        "criterion": settings.criterion,
        "fpr": settings.fpr,
        "positive": main[0].truth.classes[1],
        "value": float(values.mean()),
        "least": float(values.min()),
        "most": float(values.max()),
        "spread": float(values.std(ddof=1)) if len(values) > 1 else None,
        "cells": [{"fold": point.fold, "seed": point.seed, "threshold": point.value} for point in points],
        "points": [{"name": name} | _scores(main, chosen, resamples) for name, chosen in lines.items()],
        "curve": _curve(valid, main),
    }


def thresholds(settings: Threshold, valid: Sequence[Result]) -> list[Point]:
    """The threshold of every fold and seed, by its validation rows."""
    return [
        Point(result.fold, result.seed, choose(settings, result.probabilities[:, 1], result.truth.labels == 1))
        for result in valid
    ]


def _scores(main: Sequence[Result], points: Sequence[Point], resamples: int) -> dict[str, Any]:
    """Scores of the test rows, each fold and seed at its own threshold."""
    by_cell = {(point.fold, point.seed): point.value for point in points}
    found = [statistics_at(result, by_cell[result.fold, result.seed]) for result in main]
    estimates = combine_all([[one[name] for one in found] for name in SCORES], resamples=resamples)
    return {
        name: {
            "value": known(estimate.value),
            "low": known(estimate.low),
            "high": known(estimate.high),
            "groups": estimate.groups,
        }
        for name, estimate in zip(SCORES, estimates, strict=True)
    }


def _curve(valid: Sequence[Result], main: Sequence[Result]) -> dict[str, Any]:
    """Mean scores over folds and seeds at evenly spaced thresholds, by split."""
    grid = np.linspace(0.0, 1.0, GRID)
    curve: dict[str, Any] = {"threshold": [round(value, 6) for value in grid.tolist()]}
    for split, results in (("valid", valid), ("test", main)):
        counts = [_counted(r.probabilities[:, 1], r.truth.labels == 1, grid) for r in results]
        curve[split] = {}
        for name, function in FUNCTIONS.items():
            every = np.stack([function(one) for one in counts])
            defined = np.isfinite(every)
            mean = divide(np.where(defined, every, 0.0).sum(0), defined.sum(0).astype(np.float64))
            curve[split][name] = [known(round(value, 6)) for value in mean.tolist()]
    return curve


def threshold_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of it: the threshold, and what it comes to beside 0.5."""
    found = scores["threshold"]
    if not found:
        return []
    spread = "" if found["spread"] is None else f" ± {found['spread']:.3f} over {len(found['cells'])} trainings"
    lines = [
        f"Threshold of {found['positive']} by {found['criterion']} on validation rows: {found['value']:.3f}{spread} "
        f"({found['answer']})."
    ]
    for point in found["points"]:
        told = ", ".join(f"{name.replace('_', ' ')} {with_interval(point[name])}" for name in SCORES[:4])
        lines.append(f"  at the threshold {point['name']}: {told}.")
    return lines
