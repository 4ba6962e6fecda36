"""Classification as an objective: a linear classifier on the fused embedding, or on that of one modality."""

from __future__ import annotations

import math
from typing import Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.fusion.base import only
from counterpoint.model import FUSED
from counterpoint.objectives.base import Objective
from counterpoint.types import UNLABELLED, Batch, Encoded, Loss, ObjectiveSpec, Prediction


@final
class CrossEntropy(Objective):
    """A linear classifier on the fused embedding, or beside it on that of a modality. Unlabelled rows do not count.

    Read of a modality, it is an auxiliary head, a term of ``WeightedSum`` beside the head of the fused embedding. Rows
    that lack the modality do not count in it; where no row of a batch has it, loss and accuracy are 0.
    """

    views = 1
    classes_needed = 2

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        modality: str = FUSED,
        label_smoothing: float = 0.0,
        weights: Literal["none", "balanced"] = "none",
    ) -> None:
        """Build the classifier.

        Args:
            spec: what the model returns, and the names of the classes, at least two.
            modality: output of the model that is read: ``fused``, or one of the modalities.
            label_smoothing: share of the target spread over all classes.
            weights: ``balanced`` weighs the classes of each batch by the inverse of their counts.

        Raises:
            ValueError: if there is nothing to tell apart, or the model has no such output.
        """
        super().__init__()
        if len(spec.classes) < 2:
            raise ValueError(f"CrossEntropy needs two classes or more, the data have {list(spec.classes)}")
        if modality not in spec.dims:
            raise ValueError(
                f"CrossEntropy.modality: there is no output {modality!r}; there are {', '.join(spec.dims)}"
            )
        self.modality = modality
        self.classifier = nn.Linear(spec.dims[modality], len(spec.classes))
        self.label_smoothing = label_smoothing
        self.weights = weights

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Mean cross-entropy over views and labelled rows."""
        labels = batch.labels.repeat(len(views))
        known = labels != UNLABELLED
        if not bool(known.any()):
            raise ValueError("a batch has no labelled row; CrossEntropy cannot learn from it")
        known = known & torch.cat([self._present(view) for view in views])
        logits, labels = torch.cat([self.logits(view) for view in views])[known], labels[known]
        if self.modality != FUSED and not len(labels):
            # Of no row, and yet it has gradients, of 0, so that no process waits for them.
            nothing = logits.sum()
            return Loss(nothing, {"loss": nothing.detach(), "accuracy": nothing.detach()})
        weight = self._class_weights(labels) if self.weights == "balanced" else None
        value = F.cross_entropy(logits, labels, weight=weight, label_smoothing=self.label_smoothing)
        accuracy = (logits.detach().argmax(1) == labels).float().mean()
        return Loss(value, {"loss": value.detach(), "accuracy": accuracy})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """The value ln K of a classifier that learned nothing."""
        return {"collapse": torch.tensor(math.log(self.classifier.out_features))}

    def predict(self, encoded: dict[str, Encoded]) -> Prediction:
        """Class probabilities, (B, K); of a row that lacks the modality what they are without any."""
        return Prediction(self.logits(encoded).softmax(-1))

    def heads(self, encoded: dict[str, Encoded]) -> dict[str, Prediction]:
        """The one head, NaN in rows that lack its modality."""
        probabilities = self.predict(encoded).probabilities
        return {"": Prediction(probabilities.masked_fill(~self._present(encoded).unsqueeze(1), math.nan))}

    def logits(self, encoded: dict[str, Encoded]) -> Tensor:
        """(B, K) before the softmax."""
        found: Tensor = self.classifier(only(encoded[self.modality].pooled, self._present(encoded)))
        return found

    def _present(self, encoded: dict[str, Encoded]) -> Tensor:
        """(B,) rows that have what is read; the fusion has refused those that have nothing."""
        part = encoded[self.modality]
        return part.mask.any(1) if self.modality != FUSED else part.mask.new_ones(part.mask.shape[0])

    def _class_weights(self, labels: Tensor) -> Tensor:
        counts = torch.bincount(labels, minlength=self.classifier.out_features).float()
        return torch.where(counts > 0, counts.sum() / counts.clamp_min(1), 0.0)
