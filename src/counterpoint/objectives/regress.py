"""Regression as an objective: a linear head on the fused embedding, or on that of one modality, for a target."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.fusion.base import only
from counterpoint.model import FUSED
from counterpoint.objectives.base import Objective
from counterpoint.types import Batch, Encoded, Loss, ObjectiveSpec


@final
class Regression(Objective):
    """A linear head for the target, on the fused embedding or beside it on that of a modality.

    The target is standardised by the training rows of the fold, whose mean and deviation are kept in the checkpoint.
    Rows whose target is unknown do not count, nor, where a modality is read, those that lack it; a batch that has no
    other has a loss of 0. Read of a modality, it is an auxiliary head, a term of ``WeightedSum``.
    """

    views = 1
    estimates = True
    mean: Tensor
    scale: Tensor
    level: Tensor

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        modality: str = FUSED,
        loss: Literal["mse", "mae", "huber"] = "mse",
        delta: float = 1.0,
    ) -> None:
        """Build the head.

        Args:
            spec: what the model returns, and the name of the target.
            modality: output of the model that is read: ``fused``, or one of the modalities.
            loss: of the standardised target: squared, absolute, or Huber's (1964), squared near 0 and absolute beyond.
            delta: where ``huber`` turns from the one to the other, in standard deviations of the target.

        Raises:
            ValueError: if the data have no target, the model no such output, or delta is not above 0.
        """
        super().__init__()
        if not spec.target:
            raise ValueError(
                "Regression needs a target and the data have none: name its column with data.columns.target"
            )
        if modality not in spec.dims:
            raise ValueError(f"Regression.modality: there is no output {modality!r}; there are {', '.join(spec.dims)}")
        if not delta > 0:
            raise ValueError(f"Regression.delta is {delta}; it is above 0, in standard deviations of the target")
        self.modality, self.loss, self.delta, self.target = modality, loss, delta, spec.target
        self.head = nn.Linear(spec.dims[modality], 1)
        # 0 is no deviation: it stands for not known yet.
        for name, value in {"mean": 0.0, "scale": 0.0, "level": 0.0}.items():
            self.register_buffer(name, torch.tensor(value))

    def fit_targets(self, targets: NDArray[np.float64] | None) -> None:
        """Learn mean and deviation, and the loss of the mean as an answer.

        Raises:
            ValueError: if fewer than two training rows have a target, or all have the same one.
        """
        known = np.zeros(0) if targets is None else targets[np.isfinite(targets)]
        if len(known) < 2:
            raise ValueError(
                f"{len(known)} training rows have a target {self.target!r}, and two are needed: fill the column, or "
                "enlarge the training share"
            )
        mean, scale = float(known.mean()), float(known.std())
        if not scale > 1e-7 * float(np.abs(known).max()):
            raise ValueError(
                f"the target {self.target!r} is {known[0]:g} in all {len(known)} training rows that have one, so there "
                "is nothing to learn: name another column with data.columns.target"
            )
        self.mean.fill_(mean)
        self.scale.fill_(scale)
        standard = torch.from_numpy((known - mean) / scale)
        self.level.fill_(float(self._penalty(torch.zeros_like(standard), standard)))

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Mean loss over views and rows whose target is known.

        Raises:
            ValueError: if ``fit_targets`` was not called, or the batch brings no targets.
        """
        if batch.targets is None or not bool(self.scale):
            raise ValueError("Regression has learned no target yet: call fit_targets with those of the training rows")
        targets = batch.targets.repeat(len(views))
        known = torch.isfinite(targets) & torch.cat([self._present(view) for view in views])
        answers = torch.cat([self.standardised(view) for view in views])
        if not bool(known.any()):
            # Of no row, and yet it has gradients, of 0, so that no process waits for them.
            nothing = answers[known].sum()
            return Loss(nothing, {"loss": nothing.detach(), "mae": nothing.detach()})
        answers, standard = answers[known], ((targets[known] - self.mean) / self.scale).to(answers.dtype)
        value = self._penalty(answers, standard)
        error = (answers.detach() - standard).abs().mean() * self.scale
        return Loss(value, {"loss": value.detach(), "mae": error})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """The loss of the training mean as the answer to every row."""
        return {"collapse": self.level}

    def estimate(self, encoded: dict[str, Encoded]) -> Tensor:
        """See ``Objective.estimate``; of a row that lacks the modality what the target is without any."""
        return self.standardised(encoded) * self.scale + self.mean

    def standardised(self, encoded: dict[str, Encoded]) -> Tensor:
        """(B,) in standard deviations from the mean of the training rows."""
        found: Tensor = self.head(only(encoded[self.modality].pooled, self._present(encoded)))
        # Half precision would round targets to three digits.
        return found.squeeze(-1).to(torch.promote_types(found.dtype, torch.float32))

    def _penalty(self, answers: Tensor, standard: Tensor) -> Tensor:
        match self.loss:
            case "mse":
                return F.mse_loss(answers, standard)
            case "mae":
                return F.l1_loss(answers, standard)
            case "huber":
                return F.huber_loss(answers, standard, delta=self.delta)

    def _present(self, encoded: dict[str, Encoded]) -> Tensor:
        """(B,) rows that have what is read; the fusion has refused those that have nothing."""
        part = encoded[self.modality]
        return part.mask.any(1) if self.modality != FUSED else part.mask.new_ones(len(part.mask))
