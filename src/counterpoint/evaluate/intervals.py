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

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

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
    return combine_all([statistics], resamples=resamples, seed=seed)[0]


def combine_all(scores: Sequence[Sequence[Statistic]], *, resamples: int = 1000, seed: int = 0) -> list[Estimate]:
    """``combine`` of each of several; those over the same groups share their draws, which cost more than a score.

    Args:
        scores: statistics to combine, for each estimate asked.
        resamples: how many draws of groups.
        seed: of the draws.
    """
    alike: dict[bytes, list[int]] = {}
    unions = [_union(statistics) for statistics in scores]
    for index, groups in enumerate(unions):
        alike.setdefault(groups.tobytes(), []).append(index)
    found: dict[int, Estimate] = {}
    for indices in alike.values():
        groups = unions[indices[0]]
        means = [partial(_mean, scores[index], groups) for index in indices]
        found |= zip(indices, _estimates(means, len(groups), resamples, seed), strict=True)
    return [found[index] for index in range(len(scores))]


def paired_difference(
    first: Sequence[Statistic], second: Sequence[Statistic], *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """Mean of ``first`` minus mean of ``second``, both under the same draws of groups.

    Raises:
        ValueError: the two were not tested on the same groups.
    """
    groups = _same_groups(first, second)
    return _estimates([partial(_difference, first, second, groups)], len(groups), resamples, seed)[0]


class Paired(NamedTuple):
    """A paired difference, and how surprising it is if there is none."""

    difference: Estimate
    p: float


def paired_test(
    first: Sequence[Statistic], second: Sequence[Statistic], *, resamples: int = 1000, seed: int = 0
) -> Paired:
    """The paired difference with a two-sided p: the level at which its interval would just reach 0.

    The interval is widened for few groups, and so is p: both turn at the same place. It is never under what as many
    resamples can show, and NaN where there is no interval.

    Raises:
        ValueError: as ``paired_difference``.
    """
    from scipy.special import ndtri, stdtr

    groups = _same_groups(first, second)
    count = len(groups)
    difference = partial(_difference, first, second, groups)
    drawn = [difference(counts) for counts in _draws(count, resamples, seed)] if count > 1 else []
    estimate = _estimate(float(difference(np.ones((1, count)))[0]), drawn, count)
    if not np.isfinite(estimate.low):
        return Paired(estimate, np.nan)
    known = np.concatenate(drawn)
    known = known[np.isfinite(known)]
    least = min(int((known <= 0).sum()), int((known >= 0).sum()))
    share = min(0.5, (least + 1) / (known.size + 1))
    return Paired(estimate, 2 * float(stdtr(count - 1, ndtri(share) * np.sqrt((count - 1) / count))))


def band(
    curve: Callable[[Float], Float], groups: int, *, resamples: int = 200, seed: int = 0
) -> tuple[Float, Float, Float]:
    """A curve with its pointwise 95 % interval.

    Args:
        curve: (R, G) counts of draws -> (R, P) heights, NaN where a draw leaves one undefined.
        groups: how many there are.
        resamples: how many draws of groups.
        seed: of the draws.

    Returns:
        (P,) heights of all rows, and the (P,) ends of the interval, NaN where there is none.
    """
    value = curve(np.ones((1, groups)))[0]
    unknown = np.full(len(value), np.nan)
    if groups < 2:
        return value, unknown, unknown
    drawn = np.concatenate([curve(counts) for counts in _draws(groups, resamples, seed)])
    known = np.isfinite(drawn).any(0) & np.isfinite(value)
    if not known.any():
        return value, unknown, unknown
    low, high = unknown.copy(), unknown.copy()
    tail = _tail(groups)
    low[known], high[known] = np.nanquantile(drawn[:, known], [tail, 1 - tail], axis=0)
    return value, low, high


def figure(value: float) -> str:
    """A score as a reader meets it: three decimals, of errors in the unit of a target as many digits as tell."""
    size = abs(value)
    return f"{value:,.0f}" if size >= 1000 else f"{value:.2g}" if 0 < size < 0.0005 else f"{value:.3f}"


def signed(estimate: Estimate) -> str:
    """A difference as a reader meets it: with its sign and, where there is one, its interval."""
    if not np.isfinite(estimate.value):
        return "undefined"
    if not np.isfinite(estimate.low):
        return f"{estimate.value:+.3f} (one group, no interval)"
    return f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"


def _union(statistics: Sequence[Statistic]) -> Int:
    if not statistics:
        raise ValueError("nothing to combine: no score was given")
    return np.unique(np.concatenate([statistic.groups for statistic in statistics]))


def _same_groups(first: Sequence[Statistic], second: Sequence[Statistic]) -> Int:
    groups = _union(first)
    if not np.array_equal(groups, _union(second)):
        raise ValueError(
            f"a paired difference needs scores of the same groups; one has {len(groups)} groups, the other "
            f"{len(_union(second))}, and they are not the same; compare runs of the same split"
        )
    return groups


def _difference(first: Sequence[Statistic], second: Sequence[Statistic], groups: Int, counts: Float) -> Float:
    """(R,) mean of the first minus mean of the second."""
    return _mean(first, groups, counts) - _mean(second, groups, counts)


def _mean(statistics: Sequence[Statistic], groups: Int, counts: Float) -> Float:
    """(R,) mean over the scores, each weighted by the share of its groups drawn."""
    total = np.zeros(len(counts))
    weight = np.zeros(len(counts))
    every = counts.mean(1)
    for statistic in statistics:
        # The groups of a statistic are among the union, so as many are the same ones, and need not be gathered.
        drawn, share = counts, every
        if len(statistic.groups) < len(groups):
            drawn = counts[:, np.searchsorted(groups, statistic.groups)]
            share = drawn.mean(1)
        scores = statistic.at(drawn)
        known = np.isfinite(scores)
        total += np.where(known, share * scores, 0.0)
        weight += np.where(known, share, 0.0)
    mean = np.full(len(counts), np.nan)
    np.divide(total, weight, out=mean, where=weight > 0)
    return mean


def _estimates(scores: Sequence[Callable[[Float], Float]], groups: int, resamples: int, seed: int) -> list[Estimate]:
    """Each score with its interval, all under the same draws."""
    values = [float(at(np.ones((1, groups)))[0]) for at in scores]
    drawn: list[list[Float]] = [[] for _ in scores]
    if groups > 1:
        for counts in _draws(groups, resamples, seed):
            for at, own in zip(scores, drawn, strict=True):
                own.append(at(counts))
    return [_estimate(value, own, groups) for value, own in zip(values, drawn, strict=True)]


def _draws(groups: int, resamples: int, seed: int) -> Iterator[Float]:
    """(R, G) counts, some draws at a time, laid out a group after the other as sparse products want them."""
    generator = np.random.default_rng(seed)
    step = max(1, _CELLS // groups)
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        yield np.asfortranarray(generator.multinomial(groups, np.full(groups, 1 / groups), size), np.float64)


def _estimate(value: float, parts: Sequence[Float], groups: int) -> Estimate:
    drawn = np.concatenate(parts) if parts else np.zeros(0)
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
