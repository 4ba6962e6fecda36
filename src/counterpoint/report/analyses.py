"""The table of answers by group and the chart of scores over thresholds."""

from __future__ import annotations

import numpy as np

from counterpoint.report.charts import Chart, Series, Style, line_chart
from counterpoint.report.documents import Scores
from counterpoint.report.documents_analyses import ThresholdScores
from counterpoint.report.tables import TableRow, score_table

LINES = ("recall", "specificity", "f1")
"""Scores that are drawn over thresholds."""


def group_table(scores: Scores) -> list[TableRow]:
    """Answers by group under the metrics of the main table; empty where nobody asked."""
    found = scores.by_group
    return [] if found is None else score_table(found.rows, scores.metrics, found.chance)


def threshold_charts(found: ThresholdScores | None) -> list[Chart]:
    """Recall, specificity and F1 over all thresholds, of the test and of the validation rows."""
    if found is None:
        return []
    styles: dict[str, Style] = {"test": "solid", "valid": "dashed"}
    lines = []
    for place, name in enumerate(LINES):
        for split, style in styles.items():
            y = np.array(getattr(getattr(found.curve, split), name), np.float64)
            there = np.isfinite(y)
            if there.any():
                x = np.array(found.curve.threshold)[there]
                lines.append(Series(f"{name}, {split}", place, style, x, y[there]))
    note = "Means over folds and seeds; dashed lines are the validation rows, on which the threshold is chosen."
    return [line_chart("Scores by threshold", note, lines, unit="threshold", bounds=(0.0, 1.0))] if lines else []
