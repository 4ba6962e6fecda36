"""The role of an objective: the encoded views of a batch in, a loss out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from counterpoint.types import Batch, Encoded, Loss, Prediction


class Objective(nn.Module, ABC):
    """Base of all objectives.

    A constructor takes an ``ObjectiveSpec`` as its one positional argument, because model and data decide it, and
    everything a recipe may set as keyword-only arguments.

    Attributes:
        views: how many views of a row the objective needs.
        pairs: outputs of the model that it compares with each other, by name: ``("fused", "text")``.
        classes_needed: how many classes the training rows must have for it to learn anything.
    """

    views: int = 2
    pairs: tuple[tuple[str, str], ...] = ()
    classes_needed: int = 0

    def plan(self, batches: int) -> None:
        """Told, before training, of how many batches it will be; objectives that change on the way need to know."""

    @abstractmethod
    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """The loss of a batch, with the scalars that cost nothing to know."""

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """Scalars too dear for every step; asked for when a row of the log is due, without gradient."""
        return {}

    def predict(self, encoded: dict[str, Encoded]) -> Prediction | None:
        """Class probabilities (B, K) of the encoded rows; None from an objective that predicts nothing."""
        return None

    def project(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        """The outputs in ``pairs``, brought to the space in which they are compared."""
        return {}

    def similarity(self, a: Encoded, b: Encoded) -> Tensor:
        """Similarities (Na, Nb) of rows in that space, each of which hangs on its two rows alone."""
        raise ValueError(f"{type(self).__name__} compares no modalities with each other")
