"""Exact nearest neighbours by tiles: no (queries, store) matrix is ever held."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Metric = Literal["cosine", "euclidean", "manhattan"]
Float = NDArray[np.float64]
Int = NDArray[np.int64]

_TILE = 4_000_000
"""Most scores of a tile of queries, and most values of its candidates."""
_BLOCK = 32
"""Columns folded into one maximum before the selection."""
_SPARE = 4
"""Candidates beyond k that are measured again in float64."""


def nearest(
    queries: NDArray[np.floating[Any]], store: NDArray[np.floating[Any]], k: int, metric: Metric
) -> tuple[Float, Int]:
    """The k nearest rows of the store, nearest first, of equally near ones the earliest first.

    Candidates come from float32 scores; the k + 4 best are measured again in float64, so the answer depends
    neither on the tiling nor on the rounding of a product. Ties among more than k + 4 rows keep whichever
    were candidates.

    Args:
        queries: (Q, D).
        store: (N, D).
        k: how many, at most N.
        metric: ``cosine`` is one minus the cosine; a row of zeros is at distance 1 of every other.

    Returns:
        distances (Q, k) float64 and indices (Q, k) into the store.

    Raises:
        ValueError: k is not between 1 and N, or the widths differ.
    """
    if not 1 <= k <= len(store):
        raise ValueError(f"k={k} neighbours asked of a store of {len(store)} rows; use 1 to {len(store)}")
    if queries.shape[1] != store.shape[1]:
        raise ValueError(f"queries are {queries.shape[1]} wide, the store {store.shape[1]}")
    asked, kept = _prepared(queries, store, metric)
    candidates = min(len(store), k + _SPARE)
    step = max(1, min(_TILE // len(store), _TILE // (candidates * store.shape[1]), len(queries)))
    buffer = torch.empty(step, len(store))
    distances = np.empty((len(queries), k))
    indices = np.empty((len(queries), k), np.int64)
    for start in range(0, len(queries), step):
        rows = slice(start, start + step)
        scores = _scores(asked[rows], kept, metric, buffer)
        found = _top(scores, candidates).numpy()
        distances[rows], indices[rows] = _measured(queries[rows], store, found, k, metric)
    return distances, indices


def _prepared(
    queries: NDArray[np.floating[Any]], store: NDArray[np.floating[Any]], metric: Metric
) -> tuple[Tensor, Tensor]:
    """Float32 copies: unit rows for cosine, centred rows otherwise, which keeps the products small."""
    if metric == "cosine":
        asked, kept = (torch.from_numpy(np.ascontiguousarray(x, np.float32)) for x in (queries, store))
        return F.normalize(asked, eps=1e-30), F.normalize(kept, eps=1e-30)
    centre = store.mean(0, dtype=np.float64)
    asked, kept = (torch.from_numpy((x - centre).astype(np.float32)) for x in (queries, store))
    return asked, kept


def _scores(queries: Tensor, store: Tensor, metric: Metric, buffer: Tensor) -> Tensor:
    """(T, N) scores of which the largest belongs to the nearest, in the buffer where that is possible."""
    if metric == "manhattan":
        return -torch.cdist(queries, store, p=1.0)
    scores = torch.mm(queries, store.T, out=buffer[: len(queries)])
    return scores if metric == "cosine" else scores.sub_(store.square().sum(1) / 2)


def _top(scores: Tensor, k: int) -> Tensor:
    """(T, k) columns of the largest scores of (T, N).

    The k largest lie in the k blocks with the largest maxima, so only those blocks are sorted through: a
    maximum over strided columns is one vectorised pass, a selection over all N is not.
    """
    rows, columns = scores.shape
    blocks = columns // _BLOCK
    if blocks <= 2 * k:
        return scores.topk(k, 1).indices
    whole = blocks * _BLOCK
    maxima = scores[:, :whole].view(rows, _BLOCK, blocks).amax(1)
    best = maxima.topk(k, 1).indices
    inside = (best.unsqueeze(1) + blocks * torch.arange(_BLOCK).view(1, -1, 1)).reshape(rows, -1)
    rest = torch.arange(whole, columns).expand(rows, -1)
    candidates = torch.cat([inside, rest], 1)
    return candidates.gather(1, scores.gather(1, candidates).topk(k, 1).indices)


def _measured(
    queries: NDArray[np.floating[Any]], store: NDArray[np.floating[Any]], found: Int, k: int, metric: Metric
) -> tuple[Float, Int]:
    """Distances of (T, M) candidates in float64, the k least by (distance, index)."""
    found = np.sort(found, axis=1)
    asked = queries.astype(np.float64)[:, None]
    kept = store[found].astype(np.float64)
    # Differences, not products: equal rows come out at exactly 0 and duplicates at exactly the same distance.
    if metric == "cosine":
        empty = _to_unit(asked) | _to_unit(kept)
        kept -= asked
        distances = np.where(empty, 1.0, np.einsum("tmd,tmd->tm", kept, kept) / 2)
    elif metric == "euclidean":
        kept -= asked
        distances = np.sqrt(np.einsum("tmd,tmd->tm", kept, kept))
    else:
        distances = np.abs(kept - asked).sum(-1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, 1), np.take_along_axis(found, order, 1)


def _to_unit(rows: Float) -> NDArray[np.bool_]:
    """Scale rows in place to length one; which have no direction and stay 0."""
    norms = np.sqrt(np.einsum("tmd,tmd->tm", rows, rows))
    empty = norms == 0
    rows /= np.where(empty, 1.0, norms)[..., None]
    return np.asarray(empty)
