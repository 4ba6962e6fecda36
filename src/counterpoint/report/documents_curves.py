"""What ``curves.json`` holds: ROC and precision-recall curves, and histograms of probabilities."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from counterpoint.report.parts import Known, Part


class Curve(Part):
    """Points of a curve with a pointwise 95 % interval by group, null where there is none."""

    x: list[float]
    y: list[float]
    low: list[Known]
    high: list[Known]


class AnswerCurves(Part):
    """The curves of one answer."""

    name: str
    kind: Literal["model", "baseline"]
    roc: Curve
    pr: Curve


class Histogram(Part):
    """How the probability of a class is spread over its own rows and over all others: shares of equal bins."""

    name: str
    rows: int
    own: list[float]
    others: list[float]


class Curves(Part):
    """Curves of the main answer and the best baseline; histograms of the main answer, if it gives probabilities."""

    classes: list[str] = Field(default_factory=list)
    answers: list[AnswerCurves] = Field(default_factory=list)
    histograms: list[Histogram] = Field(default_factory=list)
