"""What a run says beside its scores: answers by group, the threshold, where it fails, whether heads agree."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import field_validator

from counterpoint.report.parts import Difference, Interval, Known, Part, Row


class GroupScores(Part):
    """Every answer by group; ``by_row`` is the main one's by row, ``left_out`` groups of several classes."""

    how: Literal["mean", "vote"]
    decides: Literal["rows", "groups"]
    metric: str
    answer: str
    groups: int
    left_out: int
    chance: dict[str, float]
    rows: list[Row]
    by_row: Interval
    best: str | None = None
    difference: Difference | None = None

    @field_validator("difference", mode="before")
    @classmethod
    def _empty_is_absent(cls, difference: Any) -> Any:
        return difference or None


class OperatingPoint(Part):
    """Scores of the test rows at one way to set the threshold."""

    name: str
    recall: Interval
    specificity: Interval
    precision: Interval
    f1: Interval
    balanced_accuracy: Interval
    false_positive_rate: Interval


class SplitCurve(Part):
    """Scores of a split at every threshold."""

    recall: list[Known]
    specificity: list[Known]
    f1: list[Known]


class ThresholdCurve(Part):
    """Scores over thresholds."""

    threshold: list[float]
    valid: SplitCurve
    test: SplitCurve


class ThresholdScores(Part):
    """The threshold chosen on validation rows, its spread over folds and seeds, and what it comes to."""

    answer: str
    criterion: str
    fpr: float
    positive: str
    value: float
    least: float
    most: float
    spread: Known = None
    points: list[OperatingPoint]
    curve: ThresholdCurve


class WrongRow(Part):
    """A wrong test row; ``wrong`` of ``seeds`` trainings are wrong about it."""

    name: str
    group: int | str
    fold: str
    true: str
    predicted: str
    probability: float
    wrong: int
    seeds: int


class ErrorRate(Part):
    """The share of wrong rows in one part of the test rows."""

    name: str
    rows: int
    groups: int
    value: float
    low: Known = None
    high: Known = None


class ErrorParts(Part):
    """The test rows cut by one column; ``parts`` is how many there are, ``lines`` the worst of them."""

    name: str
    parts: int
    lines: list[ErrorRate]


class Errors(Part):
    """Where the main answer fails."""

    answer: str
    rows: int
    wrong: int
    rate: float
    top: list[WrongRow]
    parts: list[ErrorParts]


class HeadScore(Part):
    """How often one head is right."""

    name: str
    accuracy: Interval


class HeadPair(Part):
    """What two heads agree on, and how often each is right where they do and where they do not."""

    first: str
    second: str
    rows: int
    agree: Interval
    kappa: Interval
    accuracy_agree: Interval
    first_disagree: Interval
    second_disagree: Interval


class Agreement(Part):
    """The heads of the objective, one by one and in pairs."""

    heads: list[HeadScore]
    pairs: list[HeadPair]
