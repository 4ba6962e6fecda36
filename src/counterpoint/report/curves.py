"""The training curves of a run: which values of the log are shown, and what their picture says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from counterpoint.report.charts import Chart, Float, Reference, Series, line_chart, thin
from counterpoint.report.folder import Cell

POINTS = 16_000
"""Points of one chart, shared by its lines."""


class _Panel(NamedTuple):
    """A chart of the log: the columns it may show, best first, without ``train/`` or ``valid/``."""

    title: str
    columns: tuple[str, ...]
    note: str
    bounds: tuple[float, float] | None = None


LOSS = _Panel("Loss", ("loss",), "Lower is better. At the named line the model tells nothing apart.")
PANELS = (
    _Panel("Accuracy", ("top1", "accuracy"), "Share of rows that find their own partner first.", (0.0, 1.0)),
    _Panel("Effective rank", ("effective_rank",), "Dimensions in use. Falling towards 1 is collapse."),
    _Panel("Alignment", ("alignment",), "Distance between two views of a row. Lower is closer."),
    _Panel("Uniformity", ("uniformity",), "Spread over the sphere. Lower is more even, 0 is one point."),
    _Panel("Gradient norm", ("grad_norm",), "Before clipping."),
    _Panel("Learning rate", ("lr",), "Of the objective."),
)


def training_charts(cells: Sequence[Cell]) -> list[Chart]:
    """A chart for everything the cells logged; none for what none of them did."""
    return [chart for panel in (LOSS, *PANELS) if (chart := _chart(panel, cells)) is not None]


def _chart(panel: _Panel, cells: Sequence[Cell]) -> Chart | None:
    series = [line for index, cell in enumerate(cells) for line in _lines(panel, index, cell, len(cells))]
    if not series:
        return None
    references = _collapse(cells) if panel is LOSS else []
    return line_chart(panel.title, panel.note, series, references=references, bounds=panel.bounds)


def _lines(panel: _Panel, index: int, cell: Cell, cells: int) -> list[Series]:
    limit = max(40, min(400, POINTS // (2 * cells)))
    lines = []
    for prefix, style, suffix in (
        ("train/", "solid", ""),
        ("valid/", "dashed", " (validation)"),
        ("", "solid", ""),
    ):
        x, y = _column(cell, [prefix + name for name in panel.columns])
        if len(x):
            x, y = thin(x, y, limit)
            lines.append(Series(cell.name + suffix, index, "dashed" if style == "dashed" else "solid", x, y))
    return lines


def _column(cell: Cell, starts: Sequence[str]) -> tuple[Float, Float]:
    """Steps and finite values of the first column to start with one of ``starts``, the earlier ones preferred."""
    for start in starts:
        for name, values in cell.log.items():
            real = np.isfinite(values)
            if name.startswith(start) and real.any():
                return cell.log["step"][real], values[real]
    return np.empty(0), np.empty(0)


def _collapse(cells: Sequence[Cell]) -> list[Reference]:
    """The losses that mean nothing is learned; two where validation has batches of another size."""
    found: dict[float, str] = {}
    for prefix, where in (("train/", ""), ("valid/", " in validation")):
        for cell in cells:
            values = cell.log.get(f"{prefix}collapse", np.empty(0))
            value = float(np.nanmedian(values)) if np.isfinite(values).any() else math.nan
            if math.isfinite(value) and all(abs(value - other) > 0.01 * abs(other) for other in found):
                found[value] = f"nothing learned{where}: {_logarithm(value)}"
    return [Reference(value, text) for value, text in sorted(found.items(), reverse=True)]


def _logarithm(value: float) -> str:
    size = math.exp(min(value, 50.0))
    whole = size > 1.5 and abs(size - round(size)) < 1e-3 * size
    return f"ln {round(size):,} = {value:.2f}" if whole else f"{value:.2f}"
