"""The embedding map: training and test rows of one cell, projected to two dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.report.folder import Cell
from counterpoint.types import UNLABELLED

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LIMIT = 3000
"""Points on the map."""
SIDE = 560.0
MARGIN = 14.0
COLOURS = 16
"""Categories told apart: eight colours, filled and hollow. What comes after them is grey."""
GREY = 16


class Category(NamedTuple):
    """An entry of a legend: its place in the palette and how many of the shown points it has."""

    name: str
    slot: int
    points: int


class Point(NamedTuple):
    """A row in pixels, its split (0 train, 1 test) and its place in the palette when coloured by label."""

    x: float
    y: float
    split: int
    slot: int


@dataclass(frozen=True)
class Map:
    """A map ready to be drawn.

    Attributes:
        cell: whose embeddings it shows.
        points: in the order drawn.
        legends: colouring -> its categories.
        explained: share of the variance on each of the two axes.
        total: rows before any were left out.
        height: of the picture, which is ``SIDE`` wide.
        facts: for the tooltips: names, and by colouring the category of every point.
    """

    cell: str
    points: list[Point]
    legends: dict[str, list[Category]]
    explained: tuple[float, float]
    total: int
    height: float
    facts: dict[str, Any]


def embedding_map(cell: Cell) -> Map:
    """Project the training and test rows of a cell on the two principal axes of its training rows.

    Args:
        cell: whose ``embeddings/`` to read.

    Raises:
        ValueError: embeddings are missing or the splits do not fit together.
    """
    train, test = (_load(cell, split) for split in ("train", "test"))
    if train.values.shape[1] != test.values.shape[1] or train.classes != test.classes:
        raise ValueError(
            f"{cell.path / 'embeddings'}: train has width {train.values.shape[1]} and classes "
            f"{train.classes}, test {test.values.shape[1]} and {test.classes}; "
            "write both again with `counterpoint evaluate`"
        )
    splits = np.repeat([0, 1], [len(train), len(test)])
    labels = np.concatenate([train.labels, test.labels])
    flat, explained = project(train.values, np.concatenate([train.values, test.values]))
    kept = stratified(np.stack([splits, labels], 1), LIMIT)
    names = [rows.names[i] for rows in (train, test) for i in rows.ids.tolist()]
    groups, domains = (
        np.concatenate([getattr(rows, name) for rows in (train, test)]) for name in ("groups", "domains")
    )
    places = {
        "label": _categories(labels[kept], train.classes),
        "group": _categories(groups[kept], ()),
        "domain": _categories(domains[kept], ()),
    }
    fitted, height = _fit(flat)
    slots = [places["label"][0][k].slot for k in places["label"][1]]
    return Map(
        cell=cell.name,
        points=[
            Point(round(x, 1), round(y, 1), split, slot)
            for (x, y), split, slot in zip(fitted[kept].tolist(), splits[kept].tolist(), slots, strict=True)
        ],
        legends={mode: legend for mode, (legend, _) in places.items()},
        explained=explained,
        total=len(labels),
        height=height,
        facts={"names": [names[i] for i in kept], "of": {mode: of for mode, (_, of) in places.items()}},
    )


def project(basis: NDArray[np.float32], rows: NDArray[np.float32]) -> tuple[Float, tuple[float, float]]:
    """PCA: (M, D) rows on the two main axes of the (N, D) basis, and the share of its variance on each.

    Signs are fixed (the largest loading is positive), so that the same embeddings give the same picture.
    """
    mean = basis.mean(0, dtype=np.float64)
    centred = basis - mean
    _, variances, axes = np.linalg.svd(centred.T @ centred)
    axes, total = axes[:2], float(variances.sum())
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    flat = np.zeros((len(rows), 2))
    flat[:, : len(axes)] = (rows - mean) @ axes.T
    shares = [float(value) / total if total else 0.0 for value in (*variances[:2], 0.0)]
    return flat, (shares[0], shares[1])


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


def _load(cell: Cell, split: str) -> Embeddings:
    path = cell.path / "embeddings" / f"{split}.parquet"
    if not path.is_file():
        raise ValueError(f"{path}: missing, and a report needs it; `counterpoint evaluate` writes it")
    return Embeddings.load(path)


def _categories(codes: Int, names: Sequence[str]) -> tuple[list[Category], list[int]]:
    """Legend of (n,) codes, and the entry each belongs to; codes below zero are grey and come last."""
    found, counts = np.unique(codes, return_counts=True)
    order = sorted(range(len(found)), key=lambda i: (found[i] <= UNLABELLED, found[i]))
    legend = []
    for place, i in enumerate(order):
        code = int(found[i])
        unknown = code <= UNLABELLED
        name = "unlabelled" if unknown else names[code] if names else str(code)
        # Classes keep their own colour when one of them has no point on the map.
        slot = GREY if unknown else min(code if names else place, GREY)
        legend.append(Category(name, slot, int(counts[i])))
    entry = {int(found[i]): place for place, i in enumerate(order)}
    return legend, [entry[int(code)] for code in codes]


def _fit(flat: Float) -> tuple[Float, float]:
    """(n, 2) coordinates in pixels, both axes on one scale, and the height of the picture that leaves."""
    low, high = flat.min(0), flat.max(0)
    span = float((high - low).max()) or 1.0
    scale = (SIDE - 2 * MARGIN) / span
    height = max(0.5 * SIDE, float(high[1] - low[1]) * scale + 2 * MARGIN)
    centred = (flat - (low + high) / 2) * scale
    return np.stack([SIDE / 2 + centred[:, 0], height / 2 - centred[:, 1]], 1), round(height, 1)
