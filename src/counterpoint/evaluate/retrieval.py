"""Retrieval over a whole gallery: where the right answer stands, whatever ties, and what chance would reach.

A query is compared with every row of the gallery. Right are all rows that share its key: its own row, and others that
have the very same caption. What counts is the best of them.

Equal similarities are no order. Where the best right answer ties with wrong ones, every order of the tied rows is as
likely, and what is counted is the expectation over these orders: a model to which all rows are alike has the scores of
chance, whichever row happens to come first. Similarities that differ by less than float32 can tell are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoint.evaluate.intervals import Float, Int, Statistic
from counterpoint.evaluate.ranking import divide
from counterpoint.types import Encoded

Similarity = Callable[[Encoded, Encoded], Tensor]
"""(Na, Nb) of two ``Encoded``, each entry of which hangs on its two rows alone."""

_QUERIES = 256
"""Queries whose similarities with the whole gallery are held at a time."""
_TOKENS = 16_000_000
"""Pairs of tokens compared at a time."""
_ROUNDING = 1e-6
"""Similarities closer than this share of a query's largest are equal."""
_CELLS = 4_000_000
"""Cells of (resamples, queries) held at a time."""


@dataclass(frozen=True)
class Retrieval:
    """Find the right row of a whole gallery, both ways, for every pair of outputs that the objective compares.

    Args:
        ks: among how many first answers the right one is looked for.
        shown: besides all of them, which of the fused modalities alone are shown of the test rows: ``[[range_time],
            [doppler_time]]`` are two more conditions.
        gallery: rows of the gallery, a fixed random choice of the test rows that have both sides, so that sizes
            compare with those of others; 0 for all test rows.
        right: ``caption``: a row is right for itself and for all rows of an equal caption. ``class``: it is right for
            all rows of its class, as where captions were only paired with a class.
    """

    ks: tuple[int, ...] = (1, 5, 10)
    shown: list[list[str]] = field(default_factory=list)
    gallery: int = 0
    right: Literal["caption", "class"] = "caption"

    def __post_init__(self) -> None:
        if not self.ks or min(self.ks) < 1 or list(self.ks) != sorted(set(self.ks)):
            raise ValueError(f"retrieval.ks is {list(self.ks)}; give different numbers from 1, ascending")
        if self.gallery < 0 or self.gallery == 1:
            raise ValueError(f"retrieval.gallery is {self.gallery}; give at least 2 rows, or 0 for all")
        if not all(self.shown):
            raise ValueError("retrieval.shown has an empty list; name at least one modality in each")


@dataclass(frozen=True)
class Standing:
    """Where the best right answer of each of Q queries stands in a gallery.

    Args:
        above: (Q,) wrong rows that are more similar than the best right one.
        wrong: (Q,) wrong rows that tie with it.
        tied: (Q,) right rows that tie with it, itself included.
        right: (Q,) right rows in all.
        gallery: rows of the gallery.
    """

    above: Int
    wrong: Int
    tied: Int
    right: Int
    gallery: int

    def hits(self, k: int) -> Float:
        """(Q,) probability that a right answer is among the first ``k``: 0 or 1 unless ties cross the border."""
        found = np.empty(len(self.above))
        for above, wrong, tied, rows in self._kinds():
            found[rows] = first_right(wrong, tied)[: max(0, k - above)].sum()
        return found

    def reciprocal(self) -> Float:
        """(Q,) expectation of one over the rank."""
        found = np.empty(len(self.above))
        for above, wrong, tied, rows in self._kinds():
            first = first_right(wrong, tied)
            found[rows] = (first / (above + np.arange(1, len(first) + 1))).sum()
        return found

    def ranks(self) -> Float:
        """(Q,) expectation of the rank, from 1."""
        return self.above + (self.wrong + self.tied + 1) / (self.tied + 1)

    def chance(self, ks: Sequence[int]) -> dict[str, float]:
        """What an order drawn at random reaches with as many right rows, by the names of ``statistics``."""
        random = np.zeros(self.gallery)
        for count in np.unique(self.right):
            first = first_right(self.gallery - int(count), int(count))
            random[: len(first)] += first * (self.right == count).mean()
        reached = np.cumsum(random)
        ranks = np.arange(1, self.gallery + 1)
        levels = {recall_name(k): float(reached[min(k, self.gallery) - 1]) for k in ks}
        median = [ranks[np.searchsorted(reached, 0.5 + side)] for side in (-1e-9, 1e-9)]
        return levels | {"MedR": float(np.mean(median)), "MRR": float((random / ranks).sum())}

    def _kinds(self) -> list[tuple[int, int, int, NDArray[np.int64]]]:
        """Every (above, wrong, tied) that occurs, with the queries of which it is true."""
        kinds, owner = np.unique(np.stack([self.above, self.wrong, self.tied], 1), axis=0, return_inverse=True)
        order = np.argsort(owner.ravel(), kind="stable")
        ends = np.cumsum(np.bincount(owner.ravel(), minlength=len(kinds)))[:-1]
        parts = np.split(order, ends)
        return [(int(a), int(w), int(t), rows) for (a, w, t), rows in zip(kinds, parts, strict=True)]


@lru_cache(maxsize=512)
def first_right(wrong: int, right: int) -> Float:
    """(wrong + 1,) probability that the first right row is at place 1, 2, ... of all in an order drawn at random."""
    places = np.arange(wrong)
    # No right row at place j, given none before: one less wrong row is left of one less row in all.
    passed = np.cumprod(np.concatenate([[1.0], (wrong - places) / (wrong + right - places)]))
    return passed * right / (wrong + right - np.arange(wrong + 1))


def stand(queries: Encoded, gallery: Encoded, similarity: Similarity, query_keys: Int, gallery_keys: Int) -> Standing:
    """Compare every query with the whole gallery, some queries at a time.

    Args:
        queries: Q rows.
        gallery: N rows.
        similarity: of the two, in this order.
        query_keys: (Q,) what a right answer shares.
        gallery_keys: (N,) the same of the gallery.

    Raises:
        ValueError: a query without a right answer, or a similarity that is not finite.
    """
    count, parts = len(gallery_keys), []
    for start in range(0, len(query_keys), _QUERIES):
        rows = slice(start, start + _QUERIES)
        scores = _row_of_tiles(part(queries, rows), gallery, similarity, count)
        right = query_keys[rows, None] == gallery_keys
        if not right.any(1).all():
            raise ValueError(f"retrieval: query {start + int((~right.any(1)).argmax())} has no right answer to find")
        best = np.where(right, scores, -np.inf).max(1, keepdims=True)
        close = np.abs(scores - best) <= _ROUNDING * np.abs(scores).max(1, keepdims=True)
        above = (scores > best) & ~close
        columns = (above, close & ~right, close & right, right)
        parts.append(np.stack([column.sum(1) for column in columns]))
    above_, wrong, tied, right_ = np.concatenate(parts, 1).astype(np.int64)
    return Standing(above_, wrong, tied, right_, count)


def statistics(standing: Standing, groups: Int, ks: Sequence[int]) -> dict[str, Statistic]:
    """Recall at each k, the median rank and the mean reciprocal rank; groups of queries are drawn, the gallery stays.

    Args:
        standing: of the queries.
        groups: (Q,) of which group each query is.
        ks: how many answers are looked at.
    """
    names, owner = np.unique(groups, return_inverse=True)
    sizes = np.bincount(owner, minlength=len(names)).astype(np.float64)

    def mean(values: Float) -> Statistic:
        sums = np.bincount(owner, values, len(names))
        return Statistic(names, lambda counts: divide(counts @ sums, counts @ sizes))

    found = {recall_name(k): mean(standing.hits(k)) for k in ks}
    found["MedR"] = Statistic(names, _median(standing.ranks(), owner))
    return found | {"MRR": mean(standing.reciprocal())}


def recall_name(k: int) -> str:
    """``R@10``, the share of the queries whose right answer is among the first ten."""
    return f"R@{k}"


def part(encoded: Encoded, rows: slice | Tensor) -> Encoded:
    """Some rows."""
    return Encoded(encoded.tokens[rows], encoded.mask[rows], encoded.pooled[rows])


def joined(parts: Sequence[Encoded]) -> Encoded:
    """Rows of several batches, in float32 on the CPU; tokens are padded to those of the longest."""
    longest = max(one.tokens.shape[1] for one in parts)

    def padded(values: Tensor) -> Tensor:
        whole = values.new_zeros(values.shape[0], longest, *values.shape[2:])
        whole[:, : values.shape[1]] = values
        return whole.cpu()

    return Encoded(
        torch.cat([padded(one.tokens).float() for one in parts]),
        torch.cat([padded(one.mask) for one in parts]),
        torch.cat([one.pooled.float().cpu() for one in parts]),
    )


def of_vectors(values: NDArray[np.floating]) -> Encoded:
    """(N, D) vectors as ``Encoded``: a row is its one token."""
    pooled = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    return Encoded(pooled.unsqueeze(1), torch.ones(len(pooled), 1, dtype=torch.bool), pooled)


def cosine(a: Encoded, b: Encoded) -> Tensor:
    """(Na, Nb) cosines of the pooled embeddings; a row of zeros is at 0 of every other."""
    sides = (torch.nn.functional.normalize(side.pooled, dim=-1) for side in (a, b))
    return next(sides) @ next(sides).T


def _row_of_tiles(queries: Encoded, gallery: Encoded, similarity: Similarity, count: int) -> Float:
    """(Q, N) float64 similarities."""
    cells = queries.tokens.shape[0] * queries.tokens.shape[1] * gallery.tokens.shape[1]
    step = max(1, _TOKENS // max(1, cells))
    with torch.inference_mode():
        tiles = [similarity(queries, part(gallery, slice(s, s + step))).cpu() for s in range(0, count, step)]
    scores = torch.cat(tiles, 1).double().numpy()
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise ValueError(f"retrieval: {bad} similarities are not finite; the encoder diverged or read NaN")
    return scores


def _median(ranks: Float, owner: Int) -> Callable[[Float], Float]:
    """The median rank of the queries of the groups drawn, of an even number the mean of the middle two."""
    order = np.argsort(ranks, kind="stable")
    levels, owners = ranks[order], owner[order]
    step = max(1, _CELLS // len(ranks))

    def at(counts: Float) -> Float:
        found = np.full(len(counts), np.nan)
        for start in range(0, len(counts), step):
            drawn = np.cumsum(counts[start : start + step][:, owners], 1)
            half = drawn[:, -1:] / 2
            middle = levels[np.minimum((drawn < half).sum(1), len(levels) - 1)]
            after = levels[np.minimum((drawn <= half).sum(1), len(levels) - 1)]
            found[start : start + step] = np.where(half[:, 0] > 0, (middle + after) / 2, np.nan)
        return found

    return at
