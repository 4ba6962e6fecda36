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


LOSS = _Panel("Loss", ("loss",), "Lower is better.")
ACTIVE = _Panel("Active units", ("active_units",), "Latent dimensions that tell rows apart. At 0 none does: collapse.")
PANELS = (
    _Panel("Reconstruction", ("reconstruction",), "Distance of the rebuilt sets from the real ones. Lower is better."),
    _Panel(
        "KL divergence", ("kl",), "Nats a set, before weight and free bits. At 0 the latent says nothing: collapse."
    ),
    ACTIVE,
    _Panel("Mutual information", ("mutual_information",), "Nats the latents tell of which set it is, estimated."),
    _Panel("Outcome", ("outcome",), "Cross-entropy of the outcome head. Lower is better."),
    _Panel("Accuracy", ("top1", "accuracy"), "Share of rows that find their own partner first.", (0.0, 1.0)),
    _Panel("Effective rank", ("effective_rank",), "Dimensions in use. Falling towards 1 is collapse."),
    _Panel("Alignment", ("alignment",), "Distance between two views of a row. Lower is closer."),
    _Panel("Uniformity", ("uniformity",), "Spread over the sphere. Lower is more even, 0 is one point."),
    _Panel("Gradient norm", ("grad_norm",), "Before clipping."),
    _Panel("Learning rate", ("lr",), "Of what no part names."),
)


def training_charts(cells: Sequence[Cell]) -> list[Chart]:
    """A chart for everything the cells logged; none for what none of them did."""
    return [chart for panel in (LOSS, *PANELS) if (chart := _chart(panel, cells)) is not None]


def _chart(panel: _Panel, cells: Sequence[Cell]) -> Chart | None:
    series = [line for index, cell in enumerate(cells) for line in _lines(panel, index, cell, len(cells))]
    if not series:
        return None
    note, references = panel.note, _references(panel, cells)
    if panel is LOSS and references:
        note += " At the named line the model tells nothing apart."
    return line_chart(panel.title, note, series, references=references, bounds=panel.bounds)


def _references(panel: _Panel, cells: Sequence[Cell]) -> list[Reference]:
    if panel is LOSS:
        return _collapse(cells)
    return _width(cells) if panel is ACTIVE else []


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
    """Steps and finite values of the first column named like ``starts``, the earlier ones preferred.

    A column is preferred whose name is the whole one, so that ``kl`` is not taken for ``kl_weight``; else the first
    to start with it, as where a loss is logged by modality.
    """
    for start in starts:
        for name in sorted((name for name in cell.log if name.startswith(start)), key=lambda name: name != start):
            values = cell.log[name]
            real = np.isfinite(values)
            if real.any():
                return cell.log["step"][real], values[real]
    return np.empty(0), np.empty(0)


def _width(cells: Sequence[Cell]) -> list[Reference]:
    """How many latent dimensions there are."""
    logged = [_column(cell, [f"{prefix}latent_width" for prefix in ("train/", "valid/", "")])[1] for cell in cells]
    widths = sorted({float(values[-1]) for values in logged if len(values)}, reverse=True)
    return [Reference(width, f"all {width:g}") for width in widths]


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
