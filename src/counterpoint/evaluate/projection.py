"""Embeddings in two dimensions: PCA, t-SNE and, where it is installed, UMAP; and the choice of the rows shown."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LIMIT = 1500
"""Rows on a map: t-SNE of as many takes seconds."""
PERPLEXITY = 30.0
NEIGHBOURS = 15
SEED = 0
_WIDTH = 50
"""Dimensions that t-SNE and UMAP start from; PCA leaves as many, as van der Maaten and Hinton (2008) do."""
FEWEST = 5
"""Rows without which neighbours mean nothing."""


def project(basis: NDArray[np.float32], rows: NDArray[np.float32]) -> tuple[Float, tuple[float, float]]:
    """PCA: (M, D) rows on the two main axes of the (N, D) basis, and the share of its variance on each.

    Signs are fixed (the largest loading is positive), so that the same embeddings give the same picture.
    """
    mean, axes, variances = _axes(basis)
    axes, total = axes[:2], float(variances.sum())
    flat = np.zeros((len(rows), 2))
    flat[:, : len(axes)] = (rows - mean) @ axes.T
    shares = [float(value) / total if total else 0.0 for value in (*variances[:2], 0.0)]
    return flat, (shares[0], shares[1])


def tsne(rows: NDArray[np.float32]) -> Float:
    """t-SNE of (N, D) rows, (N, 2): neighbours stay neighbours (van der Maaten and Hinton 2008), seeded."""
    from sklearn.manifold import TSNE

    reach = min(PERPLEXITY, (len(rows) - 1) / 3)
    found = TSNE(2, perplexity=reach, init="pca", random_state=SEED, max_iter=500).fit_transform(_narrowed(rows))
    return np.asarray(found, np.float64)


def umap(rows: NDArray[np.float32]) -> Float:
    """UMAP of (N, D) rows, (N, 2): a graph of neighbours laid out flat (McInnes et al. 2018), seeded.

    Raises:
        ModuleNotFoundError: umap-learn is not installed.
    """
    library = importlib.import_module("umap")
    reach = min(NEIGHBOURS, len(rows) - 1)
    return np.asarray(library.UMAP(n_neighbors=reach, random_state=SEED).fit_transform(_narrowed(rows)), np.float64)


def layouts() -> dict[str, Callable[[NDArray[np.float32]], Float]]:
    """The projections that are computed once and kept, by name: those whose library is there."""
    found: dict[str, Callable[[NDArray[np.float32]], Float]] = {"tsne": tsne}
    return found | ({"umap": umap} if importlib.util.find_spec("umap") else {})


def stratified(strata: Int, limit: int) -> Int:
    """Indices of at most ``limit`` of (N, S) rows: every stratum in proportion and none lost.

    They come by the first column, training rows first, and inside it shuffled, so that no class is always drawn
    over another. The same rows give the same choice.
    """
    random = np.random.default_rng(0)
    order = random.permutation(len(strata))
    _, owner, sizes = np.unique(strata[order], axis=0, return_inverse=True, return_counts=True)
    if len(order) > limit:
        quotas = np.maximum(1, sizes * max(0, limit - len(sizes)) // len(order))
        rank = np.empty(len(order), np.int64)
        for stratum in range(len(sizes)):
            members = owner.reshape(-1) == stratum
            rank[members] = np.arange(sizes[stratum])
        order = order[rank < quotas[owner.reshape(-1)]][:limit]
    return order[np.argsort(strata[order, 0], kind="stable")]


def _narrowed(rows: NDArray[np.float32]) -> Float:
    """(N, D) rows on at most ``_WIDTH`` of their main axes."""
    mean, axes, _ = _axes(rows)
    return np.asarray((rows - mean) @ axes[:_WIDTH].T, np.float64)


def _axes(basis: NDArray[np.float32]) -> tuple[Float, Float, Float]:
    """(D,) mean, (D, D) main axes of (N, D) rows, and the (D,) variance along each, largest first."""
    mean = basis.mean(0, dtype=np.float64)
    centred = basis - mean
    _, variances, axes = np.linalg.svd(centred.T @ centred)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return mean, axes * signs[:, None], variances
