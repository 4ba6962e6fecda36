"""The embedding map: training and test rows of one cell, laid out in two dimensions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.projection import LIMIT, project, stratified
from counterpoint.report.folder import Cell
from counterpoint.types import UNLABELLED

Float = NDArray[np.float64]
Int = NDArray[np.int64]

LAYOUTS = "layouts.parquet"
"""Where a cell keeps the layouts of its map that take long to compute."""
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


class Shown(NamedTuple):
    """The rows of a cell, and the (n,) places of those on its map among the training rows and, after them, the test."""

    train: Embeddings
    test: Embeddings
    kept: Int

    @property
    def values(self) -> NDArray[np.float32]:
        """(N, D) of both splits."""
        return np.concatenate([self.train.values, self.test.values])

    @property
    def digest(self) -> str:
        """Tells other embeddings from these."""
        return hashlib.sha256(np.ascontiguousarray(self.values).tobytes()).hexdigest()


class Point(NamedTuple):
    """A row in pixels, its split (0 train, 1 test) and its place in the palette when coloured by label."""

    x: float
    y: float
    split: int
    slot: int


@dataclass(frozen=True)
class Map:
    """A map ready to be drawn, by PCA at first.

    Attributes:
        cell: whose embeddings it shows.
        points: in the order drawn.
        legends: colouring -> its categories.
        explained: share of the variance on each of the two axes.
        total: rows before any were left out.
        height: of the picture, which is ``SIDE`` wide.
        facts: names, by colouring the category of every point, and by layout its place.
    """

    cell: str
    points: list[Point]
    legends: dict[str, list[Category]]
    explained: tuple[float, float]
    total: int
    height: float
    facts: dict[str, Any]


def embedding_map(cell: Cell) -> Map:
    """Lay out the training and test rows of a cell: on the two principal axes of its training rows, and as kept.

    Args:
        cell: whose ``embeddings/`` to read.

    Raises:
        ValueError: as ``chosen``.
    """
    shown = chosen(cell)
    kept, parts = shown.kept, (shown.train, shown.test)
    splits = np.repeat([0, 1], [len(rows) for rows in parts])[kept]
    labels, groups, domains = (
        np.concatenate([getattr(rows, name) for rows in parts])[kept] for name in ("labels", "groups", "domains")
    )
    names = [rows.names[i] for rows in parts for i in rows.ids.tolist()]
    flat, explained = project(shown.train.values, shown.values[kept])
    places, height = _fit({"pca": flat} | kept_layouts(cell, shown))
    colours = {
        "label": _categories(labels, shown.train.classes),
        "group": _categories(groups, ()),
        "domain": _categories(domains, ()),
    }
    slots = [colours["label"][0][k].slot for k in colours["label"][1]]
    of = {mode: entries for mode, (_, entries) in colours.items()}
    return Map(
        cell=cell.name,
        points=[
            Point(x, y, split, slot) for (x, y), split, slot in zip(places["pca"], splits.tolist(), slots, strict=True)
        ],
        legends={mode: legend for mode, (legend, _) in colours.items()},
        explained=explained,
        total=len(shown.values),
        height=height,
        facts={"names": [names[i] for i in kept], "of": of, "places": places},
    )


def chosen(cell: Cell) -> Shown:
    """The rows of a cell that its map shows.

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
    return Shown(train, test, stratified(np.stack([splits, labels], 1), LIMIT))


def kept_layouts(cell: Cell, shown: Shown) -> dict[str, Float]:
    """(n, 2) layouts of the rows shown that evaluation kept, by name; those of other embeddings are left alone."""
    import pyarrow.parquet as pq

    path = cell.path / LAYOUTS
    if not path.is_file():
        return {}
    table = pq.read_table(path)
    about = table.schema.metadata or {}
    if about.get(b"embeddings", b"").decode() != shown.digest:
        return {}
    if not np.array_equal(table["row"].to_numpy(), shown.kept):
        return {}
    names = [name.removesuffix("_x") for name in table.column_names if name.endswith("_x")]
    return {name: np.stack([table[f"{name}_{axis}"].to_numpy() for axis in "xy"], 1) for name in names}


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


def _fit(layouts: dict[str, Float]) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """(n, 2) coordinates in pixels, both axes of a layout on one scale, and the height of the picture that leaves."""
    spans = {name: flat.max(0) - flat.min(0) for name, flat in layouts.items()}
    scales = {name: (SIDE - 2 * MARGIN) / (float(span.max()) or 1.0) for name, span in spans.items()}
    tallest = max(float(span[1]) * scales[name] for name, span in spans.items())
    height = max(0.5 * SIDE, tallest + 2 * MARGIN)
    places = {}
    for name, flat in layouts.items():
        centred = (flat - (flat.min(0) + flat.max(0)) / 2) * scales[name]
        pixels = np.stack([SIDE / 2 + centred[:, 0], height / 2 - centred[:, 1]], 1)
        places[name] = [(round(x, 1), round(y, 1)) for x, y in pixels.tolist()]
    return places, round(height, 1)
