"""The JSON files of a run folder as the report understands them; what older runs lack is left out of the page."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, field_validator


class _Part(BaseModel):
    """Part of a JSON file of the run folder; keys it does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _known(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


Known = Annotated[float | None, AfterValidator(_known)]
"""A number, or null where it cannot be known; not a number counts as null."""


class Interval(_Part):
    """A score, its 95 % interval, groups behind it and spread over seeds; null where it cannot be known."""

    value: Known
    low: Known
    high: Known
    groups: int
    spread: Known = None
    chance: Known = None


class Row(_Part):
    """An evaluator on the model's embeddings, or a baseline, with its scores by metric.

    Attributes:
        name: as a reader meets it.
        kind: whether it uses what was learned.
        scores: by metric.
        unseen: classes of the test split that training lacked.
    """

    name: str
    kind: Literal["model", "baseline"]
    scores: dict[str, Interval]
    unseen: list[str] = []


class Fold(_Part):
    """The rows of one division of the recordings."""

    fold: str
    rows: list[Row]


class TransferPoint(_Part):
    """Fine-tuning on a share of the labels, from the pre-trained weights or from scratch."""

    fraction: float
    start: Literal["pretrained", "scratch"]
    scores: dict[str, Interval]


class Confusion(_Part):
    """Counts of (true class, predicted class) under one evaluator."""

    evaluator: str
    classes: list[str]
    counts: list[list[int]]


class ClassScores(_Part):
    """Precision, recall and F1 of one class, or an average over classes; ``rows`` are of one seed."""

    name: str
    rows: int
    precision: Interval
    recall: Interval
    f1: Interval


class PerClass(_Part):
    """Scores of every class under one answer, their averages, and which classes were never predicted."""

    evaluator: str
    classes: list[ClassScores]
    averages: list[ClassScores]
    never_predicted: list[str] = []


class Bin(_Part):
    """Rows of about one predicted probability, and how often what was predicted came true."""

    predicted: float
    observed: float
    low: Known = None
    high: Known = None
    rows: int


class Calibration(_Part):
    """What the probabilities of one answer are worth.

    Attributes:
        name: of the answer.
        positive: the class whose probability it is.
        bins: by predicted probability, ascending, each with about as many rows.
    """

    name: str
    positive: str
    bins: list[Bin]


class Difference(_Part):
    """Model minus baseline on the same groups, in numbers and as a reader meets it."""

    metric: str
    value: Known
    low: Known = None
    high: Known = None
    text: str


class DefectScore(_Part):
    """How well one kind of defect is told from normal rows; ``rows`` are of one seed."""

    name: str
    rows: int
    auroc: Interval


class DetectionScores(_Part):
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
    classes: list[DefectScore] = []

    @field_validator("difference", mode="before")
    @classmethod
    def _empty_is_absent(cls, difference: Any) -> Any:
        return difference or None


class ModalityAnswer(Row):
    """What one modality is worth: of it alone, or of the fused model without it.

    Attributes:
        modality: which.
        left_out: test rows of the fused answer that it has none for.
        difference: the fused answer minus it, on the rows of both.
    """

    modality: str
    left_out: int
    difference: Difference


class ModalityScores(_Part):
    """The fused answer beside those of single modalities and those without one; ``best`` is best alone."""

    fused: Row
    alone: list[ModalityAnswer] = []
    without: list[ModalityAnswer] = []
    best: str | None = None


class Found(_Part):
    """What one answer found in galleries of ``sizes`` rows; rows that lack a side neither ask nor are found."""

    query: str
    gallery: str
    shown: str
    name: str
    kind: Literal["model", "baseline"]
    sizes: list[int]
    different: int
    queries: int
    left_out: int
    lacking: int
    scores: dict[str, Interval]

    @property
    def asked(self) -> str:
        """As a reader meets it."""
        return f"{self.query} → {self.gallery}" + (f", {self.shown} alone" if self.shown else "")


class RetrievalScores(_Part):
    """All that was looked for in galleries, the answers to a question one after another."""

    rows: list[Found]


class Shot(_Part):
    """Answers that were given few labels, the same ones each.

    Attributes:
        labels: how many.
        repeats: draws of them that the scores are means of.
        answers: on the embeddings, and the baseline.
        difference: of the two on the main metric.
    """

    labels: int
    repeats: int
    answers: list[Row]
    difference: Difference | None = None


class Scores(_Part):
    """What `evaluate` writes to ``scores.json``."""

    name: str
    simulated: bool
    metric: str
    chance: dict[str, float]
    rows: list[Row]
    folds: list[Fold]
    transfer: list[TransferPoint] = []
    confusion: Confusion | None = None
    per_class: PerClass | None = None
    detection: DetectionScores | None = None
    modalities: ModalityScores | None = None
    retrieval: RetrievalScores | None = None
    calibration: Calibration | None = None
    shots: list[Shot] = []
    verdict: str
    findings: list[str]
    command: str

    @field_validator("confusion", "per_class", "detection", "modalities", "retrieval", "calibration", mode="before")
    @classmethod
    def _empty_is_absent(cls, confusion: Any) -> Any:
        return confusion or None

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics any row has, the main one first."""
        names = dict.fromkeys([self.metric, *(name for row in self.rows for name in row.scores)])
        return list(names)


class Source(_Part):
    """A file that was read."""

    path: str
    bytes: int
    sha256: str


class Rejection(_Part):
    """A recording that could not be used."""

    recording: str
    file: str
    row: int | None
    modality: str
    reason: str


class EventKind(_Part):
    """Events of one kind that a reader of events dropped, kept or changed, and some of them."""

    count: int
    stays: int
    examples: list[Any] = []


class Account(_Part):
    """What the data reader writes to ``data.json``."""

    sources: list[Source]
    counts: dict[str, Any]
    classes: dict[str, int]
    columns: dict[str, Any]
    quarantine: list[Rejection]
    audit: dict[str, list[str]]
    events: dict[str, EventKind] = {}
