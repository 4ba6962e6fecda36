"""The picture of a run about a target: estimates against truth."""

from __future__ import annotations

import numpy as np

from counterpoint.report.charts import Chart, Series, line_chart
from counterpoint.report.documents_target import TargetScores


def target_charts(found: TargetScores | None) -> list[Chart]:
    """A dot a test row, with the line on which estimate and truth are the same."""
    if found is None or not found.points:
        return []
    points = sorted(found.points, key=lambda point: point.true)
    true, predicted = (np.array([getattr(point, name) for point in points]) for name in ("true", "predicted"))
    ends = np.array([min(true.min(), predicted.min()), max(true.max(), predicted.max())])
    series = [Series("estimate is truth", 1, "guide", ends, ends), Series("estimate", 0, "dots", true, predicted)]
    note = "A dot a test row, the mean over seeds. Above the line the estimate is too high, below it too low."
    return [line_chart(f"Estimated {found.target}", note, series, unit=f"true {found.target}")]
