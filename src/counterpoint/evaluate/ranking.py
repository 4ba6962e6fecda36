"""Areas under curves of a ranking as functions of how often each group is drawn.

Both areas need, at each score that a positive row has, how much stands above it. Rows are sorted once into the
segments between those scores; a draw of groups is then a product with a sparse matrix and a running sum, so the cost
of a draw follows the rows and not their square.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.intervals import Float, Int

_CELLS = 4_000_000
"""Cells of (segments, resamples) held at a time."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Scores of N rows, some of them positive, some not.

    Args:
        scores: (N,) higher is more likely positive.
        positive: (N,) which rows are.
        owner: (N,) index of the group of each row.
        groups: how many groups there are.
    """

    scores: Float
    positive: NDArray[np.bool_]
    owner: Int
    groups: int

    def auroc(self, counts: Float) -> Float:
        """(R,) area under the ROC curve, a tie counting half, NaN where a draw lacks one side.

        Args:
            counts: (R, G) how often each group is drawn.
        """
        won = self._won_by_group if self.groups**2 <= 4 * len(self.scores) else self._won_by_level
        ours, theirs = (counts @ self._size(side) for side in (self.positive, ~self.positive))
        return divide(won(counts), ours * theirs)

    def average_precision(self, counts: Float) -> Float:
        """(R,) sum of the precision at each level of recall, weighted by the recall it adds; NaN without positives.

        As scikit-learn's ``average_precision_score``: tied rows enter together, nothing is interpolated.

        Args:
            counts: (R, G) how often each group is drawn.
        """
        found = np.empty(len(counts))
        for part in self._parts(len(counts)):
            hits, misses, _ = self._above(counts[part])
            level = np.cumsum(hits, 0)
            precision = np.zeros_like(level)
            np.divide(level, level + np.cumsum(misses, 0), out=precision, where=level > 0)
            found[part] = np.einsum("pr,pr->r", hits, precision)
        return divide(found, counts @ self._size(self.positive))

    def recall_at(self, counts: Float, fpr: float) -> Float:
        """(R,) the largest recall of a threshold above which at most the share ``fpr`` of the others lies.

        Tied rows enter together; nothing is interpolated. NaN where a draw lacks one side.

        Args:
            counts: (R, G) how often each group is drawn.
            fpr: false positive rate.
        """
        found = np.empty(len(counts))
        ours, theirs = (counts @ self._size(side) for side in (self.positive, ~self.positive))
        for part in self._parts(len(counts)):
            hits, misses, _ = self._above(counts[part])
            # A product such as 0.05 * 20 may fall short of the whole number it is.
            allowed = np.cumsum(misses, 0) <= fpr * theirs[part] + 1e-9
            found[part] = np.where(allowed, np.cumsum(hits, 0), 0.0).max(0, initial=0.0)
        return np.where(theirs > 0, divide(found, ours), np.nan)

    def _size(self, side: NDArray[np.bool_]) -> Float:
        return np.bincount(self.owner[side], minlength=self.groups).astype(np.float64)

    def _won_by_level(self, counts: Float) -> Float:
        """Pairs that the positive row wins: cheap for many groups."""
        won = np.empty(len(counts))
        for part in self._parts(len(counts)):
            hits, misses, ties = self._above(counts[part])
            below = (counts[part] @ self._size(~self.positive)) - np.cumsum(misses, 0)
            if ties is not None:
                below += ties / 2
            won[part] = np.einsum("pr,pr->r", hits, below)
        return won

    def _won_by_group(self, counts: Float) -> Float:
        """Pairs that the positive row wins as a quadratic form of the counts: cheap for many rows of few groups."""
        return np.asarray(np.einsum("rg,rg->r", counts @ self._wins, counts), np.float64)

    @cached_property
    def _wins(self) -> Float:
        """(G, G) pairs that a positive row of one group wins against the others of another."""
        wins = np.zeros((self.groups, self.groups))
        _, level = np.unique(self.scores, return_inverse=True)
        ours, theirs = level[self.positive], level[~self.positive]
        owners, others = self.owner[self.positive], self.owner[~self.positive]
        for group in np.unique(owners):
            held = np.bincount(ours[owners == group], minlength=int(level.max()) + 1)
            beats = held.sum() - np.cumsum(held) + held / 2
            wins[group] = np.bincount(others, weights=beats[theirs], minlength=self.groups)
        return wins

    def _parts(self, draws: int) -> list[slice]:
        step = max(1, _CELLS // max(1, self._segments[0].shape[0]))
        return [slice(start, start + step) for start in range(0, draws, step)]

    def _above(self, counts: Float) -> tuple[Float, Float, Float | None]:
        """(P, R) drawn rows of each segment: positive ones, others, and those others that tie; None where none does."""
        drawn = counts.T
        hits, misses, ties = self._segments
        return hits @ drawn, misses @ drawn, ties @ drawn if ties.nnz else None

    @cached_property
    def _segments(self) -> tuple[Any, Any, Any]:
        """Sparse (P, G) sizes: positives at each of their P scores, best first; others from there up; ties of those.

        Others below the last positive are in no segment: nothing that is asked depends on them.
        """
        from scipy.sparse import csr_matrix

        levels = np.unique(self.scores[self.positive])[::-1]
        place = np.searchsorted(-levels, -self.scores, side="left")
        other = ~self.positive & (place < len(levels))
        tied = other.copy()
        tied[other] = levels[place[other]] == self.scores[other]

        def sizes(rows: NDArray[np.bool_]) -> Any:
            cells = (np.ones(int(rows.sum())), (place[rows], self.owner[rows]))
            return csr_matrix(cells, shape=(len(levels), self.groups))

        return sizes(self.positive), sizes(other), sizes(tied)


def divide(numerator: Float, denominator: Float) -> Float:
    """The ratio, NaN where there is nothing to divide by."""
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
