"""Charts of how well probabilities order the rows, and of how they are spread over the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from counterpoint.report.charts import Chart, Float, Reference, Series, line_chart
from counterpoint.report.documents_curves import Curve, Curves, Histogram

CLASSES = 24
"""Histograms of as many classes are drawn; ``curves.json`` has them all."""


def ranking_charts(named: Sequence[tuple[str, Curve, Curve]], chance: Mapping[str, float]) -> list[Chart]:
    """The ROC curves and the precision-recall curves; none where there is no curve.

    Args:
        named: of each answer its name, its ROC and its precision-recall curve.
        chance: metric -> what an answer that looks at nothing reaches; of ``auprc`` the level of the second chart.
    """
    if not named:
        return []
    diagonal = np.array([0.0, 1.0])
    guide = Series("chance", len(named), "guide", diagonal, diagonal)
    roc = [_series(name, place, one, 0.0) for place, (name, one, _) in enumerate(named)]
    pr = [_series(name, place, one) for place, (name, _, one) in enumerate(named)]
    level = [Reference(chance["auprc"], f"chance {chance['auprc']:.3f}")] if "auprc" in chance else []
    shades = "Shades are pointwise 95 % intervals by group." if any(line.band for line in roc) else ""
    return [
        line_chart(
            "ROC",
            f"The dotted line is chance. {shades}".strip(),
            [guide, *roc],
            unit="false positive rate",
            bounds=(0.0, 1.0),
        ),
        line_chart(
            "Precision and recall", shades, pr, unit="recall", bounds=(0.0, 1.0), references=level, x_marks=_MARKS
        ),
    ]


_MARKS = [(share, f"{share:g}") for share in (0.2, 0.4, 0.6, 0.8, 1.0)]


def histogram_charts(curves: Curves) -> list[Chart]:
    """The probability of each class over its own rows and over the others."""
    return [_histogram(one) for one in curves.histograms[:CLASSES]]


def _histogram(one: Histogram) -> Chart:
    edges = np.linspace(0.0, 1.0, len(one.own) + 1)
    lines = [
        Series(name, place, "step", np.repeat(edges, 2)[1:-1], np.repeat(np.array(shares), 2))
        for place, (name, shares) in enumerate(((f"rows of {one.name}", one.own), ("all other rows", one.others)))
    ]
    top = max([0.1, *one.own, *one.others])
    return line_chart(
        f"Probability of {one.name}",
        f"Share of rows by the probability they were given; {one.rows:,} are of this class.",
        lines,
        unit="probability",
        bounds=(0.0, min(1.0, 1.05 * top)),
    )


def _series(name: str, place: int, curve: Curve, start: float | None = None) -> Series:
    """A curve as a line, from a first point at 0 where a height is given for it."""
    first: list[float] = [] if start is None else [start]
    x, y, low, high = (_column(first, values) for values in (curve.x, curve.y, curve.low, curve.high))
    # Of one group alone there is no interval, and the first point by itself makes no shade.
    band = (low, high) if np.isfinite(low[len(first) :]).any() else None
    return Series(name, place, "solid" if place == 0 else "dashed", x, y, band=band)


def _column(first: Sequence[float], values: Sequence[float | None]) -> Float:
    return np.array([*first, *values], np.float64)
