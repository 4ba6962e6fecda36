"""What a run says beside its main table: transfer, few labels, single modalities, retrieval."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from counterpoint.report.parts import Difference, Interval, Part, Row


class TransferPoint(Part):
    """Fine-tuning on a share of the labels, from the pre-trained weights or from scratch."""

    fraction: float
    start: Literal["pretrained", "scratch"]
    scores: dict[str, Interval]


class Shot(Part):
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


class ModalityScores(Part):
    """The fused answer beside those of single modalities and those without one; ``best`` is best alone."""

    fused: Row
    alone: list[ModalityAnswer] = Field(default_factory=list)
    without: list[ModalityAnswer] = Field(default_factory=list)
    best: str | None = None


class Found(Part):
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


class RetrievalScores(Part):
    """All that was looked for in galleries, the answers to a question one after another."""

    rows: list[Found]
