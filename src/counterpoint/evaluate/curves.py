"""ROC and precision-recall curves with bands by group, and how probabilities are spread over the classes.

A curve is the mean of those of the folds and seeds (vertical averaging, Fawcett 2006), and of more than two classes
first the mean of each class against the rest. So the area under it is the score of the table, which a curve of pooled
rows does not have: probabilities of different models are not on one scale (Forman and Scholz 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.intervals import Float, Int, band
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Result, known

GRID = 101
"""Points of a curve, evenly spaced from 0 to 1."""
BINS = 20
"""Bins of a histogram of probabilities."""
_CELLS = 4_000_000
"""Cells of (resamples, rows) held at a time."""


@dataclass(frozen=True, eq=False)
class Operating:
    """What every threshold on the scores of N rows comes to, under draws of groups.

    Args:
        scores: (N,) higher is more likely positive.
        positive: (N,) which rows are.
        owner: (N,) index of the group of each row.
    """

    scores: Float
    positive: NDArray[np.bool_]
    owner: Int

    def roc(self, counts: Float, grid: Float) -> Float:
        """(R, P) true positive rate at each false positive rate of the grid, straight between thresholds.

        Args:
            counts: (R, G) how often each group is drawn.
            grid: (P,) false positive rates.
        """
        found = np.full((len(counts), len(grid)), np.nan)
        for place, (hits, misses) in self._running(counts):
            if hits[-1] and misses[-1]:
                across, up = np.r_[0.0, misses / misses[-1]], np.r_[0.0, hits / hits[-1]]
                found[place] = np.interp(grid, across, up)
        return found

    def precision(self, counts: Float, grid: Float) -> Float:
        """(R, P) precision of the highest threshold that reaches each recall of the grid; nothing is interpolated.

        Args:
            counts: (R, G) how often each group is drawn.
            grid: (P,) recalls above 0.
        """
        found = np.full((len(counts), len(grid)), np.nan)
        for place, (hits, misses) in self._running(counts):
            if hits[-1]:
                reached = np.searchsorted(hits / hits[-1], grid - 1e-9)
                found[place] = (hits / np.maximum(hits + misses, 1e-300))[reached]
        return found

    def _running(self, counts: Float) -> Any:
        """Of each draw its place, and the positive and the other rows at or above each threshold, best first."""
        order, ends = self._order
        owner, positive = self.owner[order], self.positive[order]
        step = max(1, _CELLS // max(1, len(order)))
        for start in range(0, len(counts), step):
            drawn = counts[start : start + step][:, owner]
            hits = np.cumsum(np.where(positive, drawn, 0.0), 1)[:, ends]
            misses = np.cumsum(np.where(positive, 0.0, drawn), 1)[:, ends]
            yield from zip(range(start, start + len(drawn)), zip(hits, misses, strict=True), strict=True)

    @cached_property
    def _order(self) -> tuple[Int, Int]:
        """Rows by falling score, and the last of each run of equal scores."""
        order = np.argsort(-self.scores, kind="stable")
        return order, np.flatnonzero(np.r_[np.diff(self.scores[order]) != 0, True])


def curves(results: Sequence[Result], *, resamples: int = 200, seed: int = 0) -> dict[str, Any]:
    """The curves of one answer over its folds and seeds; JSON-able.

    Args:
        results: of the answer, at least one.
        resamples: how many draws of groups.
        seed: of the draws.

    Returns:
        ``roc`` and ``pr``, each ``x`` (false positive rate or recall), ``y``, ``low`` and ``high``, None where unknown.
        Empty where no fold has both sides.
    """
    groups = np.unique(np.concatenate([result.truth.groups for result in results]))
    pieces = [_piece(result, groups) for result in results]
    grids = {"roc": np.linspace(0.0, 1.0, GRID), "pr": np.linspace(0.0, 1.0, GRID)[1:]}
    found: dict[str, Any] = {}
    for kind, grid in grids.items():

        def curve(counts: Float, kind: str = kind, grid: Float = grid) -> Float:
            return _mean([(_average(kind, one, counts[:, own], grid), counts[:, own]) for own, one in pieces])

        y, low, high = band(curve, len(groups), resamples=resamples, seed=seed)
        if not np.isfinite(y).all():
            return {}
        ends = {"x": grid, "y": y, "low": low, "high": high}
        found[kind] = {name: [_short(value) for value in values.tolist()] for name, values in ends.items()}
    return found


def _piece(result: Result, groups: Int) -> tuple[Int, list[Operating]]:
    """The places of its groups among all, and one ranking a class asked, as the scores of the table have them."""
    own, owner = np.unique(result.truth.groups, return_inverse=True)
    labels, width = result.truth.labels, result.probabilities.shape[1]
    asked = [1] if width == 2 else np.unique(labels).tolist()
    rankings = [Operating(result.probabilities[:, k], labels == k, owner) for k in asked]
    return np.searchsorted(groups, own), rankings


def _average(kind: str, rankings: Sequence[Operating], counts: Float, grid: Float) -> Float:
    """(R, P) mean over the classes that a draw has."""
    stack = np.stack([one.roc(counts, grid) if kind == "roc" else one.precision(counts, grid) for one in rankings])
    present = np.isfinite(stack)
    return divide(np.where(present, stack, 0.0).sum(0), present.sum(0).astype(np.float64))


def _mean(pieces: Sequence[tuple[Float, Float]]) -> Float:
    """(R, P) mean over folds and seeds, each weighted by the share of its groups drawn, as scores are."""
    total = np.zeros(pieces[0][0].shape)
    weight = np.zeros_like(total)
    for curve, counts in pieces:
        present = np.isfinite(curve)
        share = np.where(present, counts.mean(1)[:, None], 0.0)
        total += share * np.where(present, curve, 0.0)
        weight += share
    return divide(total, weight)


def histograms(results: Sequence[Result]) -> list[dict[str, Any]]:
    """How the probability of each class is spread over rows of that class and over all others; JSON-able.

    Rows of all folds and seeds are pooled. Of two classes only the positive one: the other mirrors it.

    Args:
        results: of one answer.

    Returns:
        For each class its ``name``, ``rows``, ``own`` and ``others``: shares of ``BINS`` equal bins from 0 to 1.
    """
    probabilities = np.concatenate([result.probabilities for result in results])
    labels = np.concatenate([result.truth.labels for result in results])
    classes = results[0].truth.classes
    asked = [1] if len(classes) == 2 else range(len(classes))
    found = []
    for k in asked:
        own = labels == k
        sides = (_shares(probabilities[rows, k]) for rows in (own, ~own))
        found.append({"name": classes[k], "rows": int(own.sum()), **dict(zip(("own", "others"), sides, strict=True))})
    return found


def _shares(values: Float) -> list[float]:
    counts, _ = np.histogram(values, BINS, (0.0, 1.0))
    return [_short(float(share)) or 0.0 for share in counts / max(1, len(values))]


def _short(value: float) -> float | None:
    """Six digits are more than a picture shows."""
    return known(float(f"{value:.6g}"))
