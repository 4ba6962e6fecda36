"""What a run says of single classes: confusion, scores by class, calibration, detection of defects."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator

from counterpoint.report.parts import Difference, Interval, Known, Part, Row


class Confusion(Part):
    """Counts of (true class, predicted class) under one evaluator."""

    evaluator: str
    classes: list[str]
    counts: list[list[int]]


class ClassScores(Part):
    """Precision, recall and F1 of one class, or an average over classes; ``rows`` are of one seed."""

    name: str
    rows: int
    precision: Interval
    recall: Interval
    f1: Interval


class RestScores(Part):
    """Scores of one class against all others, or their average."""

    name: str
    specificity: Interval
    auroc: Interval
    auprc: Interval
    recall_at_fpr: Interval


class AgainstRest(Part):
    """Scores of every class against all others; ``fpr`` is the rate that recalls are told at."""

    fpr: float
    classes: list[RestScores]
    average: RestScores


class PerClass(Part):
    """Scores of every class under one answer, their averages, and which classes were never predicted."""

    evaluator: str
    classes: list[ClassScores]
    averages: list[ClassScores]
    never_predicted: list[str] = Field(default_factory=list)
    against_rest: AgainstRest | None = None


class Bin(Part):
    """Rows of about one predicted probability, and how often what was predicted came true."""

    predicted: float
    observed: float
    low: Known = None
    high: Known = None
    rows: int


class Calibration(Part):
    """What the probabilities of one answer are worth.

    Attributes:
        name: of the answer.
        positive: the class whose probability it is.
        bins: by predicted probability, ascending, each with about as many rows.
    """

    name: str
    positive: str
    bins: list[Bin]


class DefectScore(Part):
    """How well one kind of defect is told from normal rows; ``rows`` are of one seed."""

    name: str
    rows: int
    auroc: Interval


class DetectionScores(Part):
    """Whether a row is a defect at all, of all answers, and by kind of defect for the main one.

    Attributes:
        normal: the class that is no defect.
        decides: what the main table is about; if it is defects, that table has all the answers already.
        answer: the main one.
        chance: by metric.
        rows: all answers.
        best: name of the best baseline.
        difference: of the main answer and the best baseline.
        classes: kinds of defect.
    """

    normal: str
    decides: Literal["classes", "defects"] = "classes"
    answer: str
    chance: dict[str, float]
    rows: list[Row]
    best: str | None = None
    difference: Difference | None = None
    classes: list[DefectScore] = Field(default_factory=list)

    @field_validator("difference", mode="before")
    @classmethod
    def _empty_is_absent(cls, difference: Any) -> Any:
        return difference or None
