"""95 % intervals by resampling groups, for one score, a mean over folds and seeds, and a paired difference.

Windows of one bearing are not independent, so whole groups are drawn with replacement (cluster bootstrap).
The draw is not stratified by class: where each bearing has one fault, strata would hold one group each and
the interval would have no width. A class that no drawn group carries is left out of that resample's macro
average.

The percentiles are widened for few groups as in Hesterberg (2015, arXiv:1411.5279, "expanded percentile"):
the plain percentile interval is too narrow by about sqrt((G - 1) / G) and ignores the t tail. With one group
there is no interval: NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoint.types import Estimate

Float = NDArray[np.float64]
Int = NDArray[np.int64]

_CELLS = 2_000_000
"""Cells of (resamples, groups) counts handled at a time."""


@dataclass(frozen=True)
class Statistic:
    """A score as a function of how often each group is drawn.

    Args:
        groups: (G,) the distinct groups, sorted.
        at: (R, G) counts of draws -> (R,) scores, NaN where a draw leaves the score undefined.
    """

    groups: Int
    at: Callable[[Float], Float]


def bootstrap(statistic: Statistic, *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Score with its interval.

    Args:
        statistic: the score.
        resamples: how many draws of groups.
        seed: of the draws.
    """
    return combine([statistic], resamples=resamples, seed=seed)


def combine(statistics: Sequence[Statistic], *, resamples: int = 1000, seed: int = 0) -> Estimate:
    """Mean of several scores, such as those of folds and seeds, with a joint interval.

    Groups of all scores are drawn together: a group that several folds or seeds test is drawn for all of them
    at once, since that it is hard is one observation and not several. A score counts by the share of its
    groups drawn, so that folds of one group each are resampled as folds.

    Args:
        statistics: at least one.
        resamples: how many draws of groups.
        seed: of the draws.
    """
    groups = _union(statistics)
    return _estimate(lambda counts: _mean(statistics, groups, counts), len(groups), resamples, seed)


def paired_difference(
    first: Sequence[Statistic], second: Sequence[Statistic], *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean of ``first`` minus mean of ``second``, both under the same draws of groups.

    Raises:
        ValueError: the two were not tested on the same groups.
    """
    groups = _union(first)
    if not np.array_equal(groups, _union(second)):
        raise ValueError(
            f"a paired difference needs scores of the same groups; one has {len(groups)} groups, the other "
            f"{len(_union(second))}, and they are not the same; compare runs of the same split"
        )

    def difference(counts: Float) -> Float:
        return _mean(first, groups, counts) - _mean(second, groups, counts)

    return _estimate(difference, len(groups), resamples, seed)


def signed(estimate: Estimate) -> str:
    """A difference as a reader meets it: with its sign and, where there is one, its interval."""
    if not np.isfinite(estimate.low):
        return f"{estimate.value:+.3f} (one group, no interval)"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _union(statistics: Sequence[Statistic]) -> Int:
    if not statistics:
        raise ValueError("nothing to combine: no score was given")
    return np.unique(np.concatenate([statistic.groups for statistic in statistics]))


def _mean(statistics: Sequence[Statistic], groups: Int, counts: Float) -> Float:
    """(R,) mean over the scores, each weighted by the share of its groups drawn."""
    total = np.zeros(len(counts))
    weight = np.zeros(len(counts))
    for statistic in statistics:
        drawn = counts[:, np.searchsorted(groups, statistic.groups)]
        scores = statistic.at(drawn)
        share = np.where(np.isfinite(scores), drawn.mean(1), 0.0)
        total += share * np.where(np.isfinite(scores), scores, 0.0)
        weight += share
    mean = np.full(len(counts), np.nan)
    np.divide(total, weight, out=mean, where=weight > 0)
    return mean


def _estimate(at: Callable[[Float], Float], groups: int, resamples: int, seed: int) -> Estimate:
    value = float(at(np.ones((1, groups)))[0])
    if groups < 2:
        return Estimate(value, np.nan, np.nan, groups)
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // groups)
    scores = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        scores.append(at(generator.multinomial(groups, np.full(groups, 1 / groups), size).astype(np.float64)))
    drawn = np.concatenate(scores)
    drawn = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or drawn.size == 0:
        return Estimate(value, np.nan, np.nan, groups)
    tail = _tail(groups)
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(value, float(low), float(high), groups)


def _tail(groups: int) -> float:
    """Share of the resamples to leave out at each end, 0.025 for many groups, less for few."""
    from scipy.special import ndtr, stdtrit

    return float(ndtr(-np.sqrt(groups / (groups - 1)) * stdtrit(groups - 1, 0.975)))
