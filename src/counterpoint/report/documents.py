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
    calibration: Calibration | None = None
    shots: list[Shot] = []
    verdict: str
    findings: list[str]
    command: str

    @field_validator("confusion", "calibration", mode="before")
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
