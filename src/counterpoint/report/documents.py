"""The JSON files of a run folder as the report understands them; what older runs lack is left out of the page."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from counterpoint.report.documents_account import Account, EventKind, Rejection, Source
from counterpoint.report.documents_analyses import Agreement, Errors, GroupScores, ThresholdScores
from counterpoint.report.documents_classes import (
    Bin,
    Calibration,
    ClassScores,
    Confusion,
    DefectScore,
    DetectionScores,
    PerClass,
)
from counterpoint.report.documents_compared import (
    Found,
    ModalityAnswer,
    ModalityScores,
    RetrievalScores,
    Shot,
    TransferPoint,
)
from counterpoint.report.documents_explained import AttentionScores, AttributionScores
from counterpoint.report.documents_target import TargetScores
from counterpoint.report.parts import Difference, Fold, Interval, Known, Part, Row


class Scores(Part):
    """What `evaluate` writes to ``scores.json``."""

    name: str
    simulated: bool
    metric: str
    chance: dict[str, float]
    rows: list[Row]
    folds: list[Fold]
    transfer: list[TransferPoint] = Field(default_factory=list)
    confusion: Confusion | None = None
    per_class: PerClass | None = None
    detection: DetectionScores | None = None
    modalities: ModalityScores | None = None
    retrieval: RetrievalScores | None = None
    regression: TargetScores | None = None
    calibration: Calibration | None = None
    shots: list[Shot] = Field(default_factory=list)
    by_group: GroupScores | None = None
    threshold: ThresholdScores | None = None
    errors: Errors | None = None
    agreement: Agreement | None = None
    attributions: AttributionScores | None = None
    attention: AttentionScores | None = None
    verdict: str
    findings: list[str]
    command: str

    @model_validator(mode="before")
    @classmethod
    def _empty_is_absent(cls, document: Any) -> Any:
        """Whatever a run did not ask for is an empty mapping in the file and None here."""
        if not isinstance(document, dict):
            return document
        optional = {name for name, field in cls.model_fields.items() if field.default is None}
        return {name: value for name, value in document.items() if value != {} or name not in optional}

    @field_validator("calibration")
    @classmethod
    def _without_bins_is_absent(cls, calibration: Calibration | None) -> Calibration | None:
        return calibration if calibration and calibration.bins else None

    @property
    def metrics(self) -> list[str]:
        """Names of the metrics any row has, the main one first."""
        names = dict.fromkeys([self.metric, *(name for row in self.rows for name in row.scores)])
        return list(names)


__all__ = [
    "Account",
    "Bin",
    "Calibration",
    "ClassScores",
    "Confusion",
    "DefectScore",
    "DetectionScores",
    "Difference",
    "EventKind",
    "Fold",
    "Found",
    "Interval",
    "Known",
    "ModalityAnswer",
    "ModalityScores",
    "PerClass",
    "Rejection",
    "RetrievalScores",
    "Row",
    "Scores",
    "Shot",
    "Source",
    "TargetScores",
    "TransferPoint",
]
