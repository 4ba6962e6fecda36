"""What the documents of a run folder are made of: scores with intervals, rows of tables, differences."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Part(BaseModel):
    """Part of a JSON file of the run folder; keys it does not know are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def _known(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


Known = Annotated[float | None, AfterValidator(_known)]
"""A number, or null where it cannot be known; not a number counts as null."""


class Interval(Part):
    """A score, its 95 % interval, groups behind it and spread over seeds; null where it cannot be known."""

    value: Known
    low: Known
    high: Known
    groups: int
    spread: Known = None
    chance: Known = None


class Row(Part):
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
    unseen: list[str] = Field(default_factory=list)


class Fold(Part):
    """The rows of one division of the recordings."""

    fold: str
    rows: list[Row]


class Difference(Part):
    """Model minus baseline on the same groups, in numbers and as a reader meets it."""

    metric: str
    value: Known
    low: Known = None
    high: Known = None
    text: str
