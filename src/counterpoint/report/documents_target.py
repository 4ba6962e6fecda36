"""What a run about a target says: estimates against truth, and the groups that are furthest off."""

from __future__ import annotations

from counterpoint.report.parts import Part


class Estimate(Part):
    """A test row: what is true of its target, and the mean of what was estimated of it."""

    name: str
    group: int
    fold: str
    true: float
    predicted: float


class Residual(Part):
    """The errors of a group: their mean, estimate minus truth, and the mean of their sizes."""

    group: int
    name: str
    rows: int
    error: float
    absolute: float


class TargetScores(Part):
    """Estimates of the main answer; ``points`` are as many as are drawn, ``residuals`` the groups furthest off."""

    metric: str
    target: str
    answer: str
    rows: int
    groups: int
    verdict: str
    points: list[Estimate]
    residuals: list[Residual]
