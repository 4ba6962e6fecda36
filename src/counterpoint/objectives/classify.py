"""Classification as an objective: a linear classifier on the fused embedding."""

from __future__ import annotations

import math
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.model import FUSED
from counterpoint.objectives.base import Objective
from counterpoint.types import UNLABELLED, Batch, Encoded, Loss, ObjectiveSpec, Prediction


@final
class CrossEntropy(Objective):
    """A linear classifier on the fused embedding. Rows without a label do not count."""

    views = 1
    classes_needed = 2

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        label_smoothing: float = 0.0,
        weights: Literal["none", "balanced"] = "none",
    ) -> None:
        """Build the classifier.

        Args:
            spec: what the model returns, and the names of the classes, at least two.
            label_smoothing: share of the target spread over all classes.
            weights: ``balanced`` weighs the classes of each batch by the inverse of their counts.

        Raises:
            ValueError: if there is nothing to tell apart.
        """
        super().__init__()
        if len(spec.classes) < 2:
            raise ValueError(f"CrossEntropy needs two classes or more, the data have {list(spec.classes)}")
        self.classifier = nn.Linear(spec.dims[FUSED], len(spec.classes))
        self.label_smoothing = label_smoothing
        self.weights = weights

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Mean cross-entropy over views and labelled rows."""
        labels = batch.labels.repeat(len(views))
        known = labels != UNLABELLED
        if not bool(known.any()):
            raise ValueError("a batch has no labelled row; CrossEntropy cannot learn from it")
        logits = self.classifier(torch.cat([view[FUSED].pooled for view in views]))[known]
        labels = labels[known]
        weight = self._class_weights(labels) if self.weights == "balanced" else None
        value = F.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return Loss(value, {"loss": value.detach(), "accuracy": accuracy})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """The value ln K of a classifier that learned nothing."""
        return {"collapse": torch.tensor(math.log(self.classifier.out_features))}

    def predict(self, encoded: dict[str, Encoded]) -> Prediction:
        """Class probabilities, (B, K)."""
        return Prediction(self.classifier(encoded[FUSED].pooled).softmax(-1))

    def _class_weights(self, labels: Tensor) -> Tensor:
        counts = torch.bincount(labels, minlength=self.classifier.out_features).float()
        return torch.where(counts > 0, counts.sum() / counts.clamp_min(1), 0.0)
