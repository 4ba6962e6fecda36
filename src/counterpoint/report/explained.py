"""Pictures of what a model answers by: attributions and attention along an axis, and bars of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from counterpoint.report.charts import Chart, Float, Scale, Series, Tick, line_chart
from counterpoint.report.documents_explained import (
    AttentionScores,
    AttributionScores,
    ModalityAttribution,
    Weighed,
)

BARS = 40
"""Columns that are drawn, the largest first; the files have them all."""
_LEFT, _RIGHT, _STEP = 8.0, 386.0, 34


class Strip(NamedTuple):
    """A bar with its name above it; the fields after ``text`` are where it ends and where an interval would."""

    name: str
    kind: str
    run: int
    top: int
    text: str
    value: float | None
    low: float | None = None
    high: float | None = None


class Bars(NamedTuple):
    """Bars under each other, as the template draws them; ``chance`` is where they begin."""

    title: str
    note: str
    height: int
    ticks: list[Tick]
    chance: float
    strips: list[Strip]


def attribution_charts(found: AttributionScores | None) -> list[Chart]:
    """Of each modality that has an axis: mean size of the attributions by class, and under it what the rows had."""
    charts = []
    for one in found.modalities if found else ():
        if one.kind == "table" or len(one.places) < 2:
            continue
        x, unit = np.array(one.places), _unit(one)
        sizes = [(c.name, np.array(c.attribution)) for c in one.classes]
        note = f"Mean size of the attribution of {one.name} over the rows that were given the class."
        charts.append(line_chart(f"{one.name}: attribution", note, _series(x, sizes), unit=unit))
        means = [(c.name, np.array([np.nan if v is None else v for v in c.mean], np.float64)) for c in one.classes]
        means = [(name, y) for name, y in means if np.isfinite(y).any()]
        if means:
            what = "Mean spectrum" if one.kind == "spectra" else "Mean signal"
            charts.append(line_chart(f"{one.name}: mean", f"{what} of the same rows.", _series(x, means), unit=unit))
    return charts


def attribution_bars(found: AttributionScores | None) -> list[Bars]:
    """Of each table: mean size of the attribution of its columns."""
    bars = []
    for one in found.modalities if found else ():
        if one.kind == "table":
            counts = np.array([c.rows for c in one.classes], np.float64)
            sizes = np.average([c.attribution for c in one.classes], axis=0, weights=counts)
            note = f"Mean size of the attribution over {int(counts.sum())} rows."
            bars.append(_bars(f"{one.name}: attribution by column", note, one.columns, sizes.tolist()))
    return bars


def attention_charts(found: AttentionScores | None) -> list[Chart]:
    """Weights along an axis, over scans or over tokens, a line a class."""
    charts = []
    for one in found.weights if found else ():
        if one.part != "gate" and not one.columns and len(one.places) > 1:
            lines = [(c.name, np.array(c.weights)) for c in one.classes]
            unit = one.unit or ("scan" if one.part == "scans" else "token")
            note = "Mean weight over the test rows of the class."
            charts.append(line_chart(one.what, note, _series(np.array(one.places), lines), unit=unit))
    return charts


def attention_bars(found: AttentionScores | None) -> list[Bars]:
    """Weights of the columns of a table, the mean over classes by their rows."""
    return [_weights(one) for one in (found.weights if found else ()) if one.columns]


def _weights(one: Weighed) -> Bars:
    counts = [c.rows for c in one.classes]
    mean = np.average([c.weights for c in one.classes], axis=0, weights=counts)
    return _bars(one.what, f"Mean weight over {sum(counts)} test rows.", one.columns, mean.tolist())


def _series(x: Float, lines: Sequence[tuple[str, Float]]) -> list[Series]:
    """A line a class, without the places where it is not known."""
    known = [(name, np.isfinite(y), y) for name, y in lines]
    return [Series(name, place, "solid", x[there], y[there]) for place, (name, there, y) in enumerate(known)]


def _bars(title: str, note: str, names: Sequence[str], sizes: Sequence[float]) -> Bars:
    order = np.argsort(sizes, kind="stable")[::-1][:BARS].tolist()
    scale = Scale(0.0, max(*sizes, 1e-9), _LEFT, _RIGHT)
    ends = scale(np.array([sizes[i] for i in order]))
    strips = [
        Strip(names[i], "model", 0, 10 + _STEP * place, f"{sizes[i]:.3g}", float(end))
        for place, (i, end) in enumerate(zip(order, ends, strict=True))
    ]
    more = f" The {BARS} largest of {len(names)} columns." if len(names) > BARS else ""
    return Bars(title, note + more, 10 + _STEP * len(strips) + 26, scale.ticks(4), _LEFT, strips)


def _unit(one: ModalityAttribution) -> str:
    return one.unit or "point"
