"""What a run says of what its model answers by: attributions, attention and gates."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from counterpoint.report.parts import Known, Part


class ClassAttribution(Part):
    """Rows that were given one class: mean size of the attributions at each place, and mean of what was there."""

    name: str
    rows: int
    attribution: list[float]
    mean: list[Known]


class ModalityAttribution(Part):
    """Attributions of one modality along its axis, or by column."""

    name: str
    kind: Literal["signal", "spectra", "table"]
    unit: str
    places: list[float]
    columns: list[str] = Field(default_factory=list)
    classes: list[ClassAttribution]


class Completeness(Part):
    """By how much attributions miss the change of the probability, and how large that is on average."""

    largest: float
    mean: float
    span: float


class AttributionScores(Part):
    """Attributions of some test rows; ``sanity`` is the rank correlation with those of random weights."""

    method: str
    of: str
    fold: str
    seed: int
    rows: int
    steps: int
    baseline: Literal["zero", "mean"]
    completeness: Completeness
    sanity: dict[str, Known] = Field(default_factory=dict)
    left_out: dict[str, str] = Field(default_factory=dict)
    modalities: list[ModalityAttribution]


class ClassWeights(Part):
    """Mean weights over the test rows of one class."""

    name: str
    rows: int
    weights: list[float]


class Weighed(Part):
    """What an encoder or the fusion weighs: scans, stretches of an axis, columns, tokens, or a modality as a whole."""

    what: str
    part: str
    modality: str
    asking: str = ""
    unit: str = ""
    places: list[float]
    columns: list[str] = Field(default_factory=list)
    classes: list[ClassWeights]


class AttentionScores(Part):
    """Mean weights by class over the test rows of one cell."""

    fold: str
    seed: int
    weights: list[Weighed]

    @property
    def gates(self) -> list[Weighed]:
        """Of modalities as a whole."""
        return [one for one in self.weights if one.part == "gate"]
