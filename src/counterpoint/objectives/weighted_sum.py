"""A weighted sum of objectives, whose weights may rise or fall as the training goes on."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from counterpoint.config import Factory
from counterpoint.objectives.base import Objective, narrowed
from counterpoint.types import Batch, Encoded, Loss, ObjectiveSpec, Prediction

_NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, kw_only=True)
class Term:
    """One objective of a sum.

    Args:
        objective: what is minimised.
        weight: of its loss, above 0.
        schedule: ``ramp_up`` raises the weight from 0 in even steps, ``ramp_down`` lowers it to 0.
        over: share of the training that the ramp takes, from its first batch on; afterwards the weight stays.
    """

    objective: Factory[Objective]
    weight: float = 1.0
    schedule: Literal["constant", "ramp_up", "ramp_down"] = "constant"
    over: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"weight is {self.weight}; it must be above 0, or the term left out")
        if not 0 < self.over <= 1:
            raise ValueError(f"over is {self.over}; it is a share of the training, above 0 and at most 1")

    def factor(self, step: Tensor, batches: int) -> Tensor:
        """Factor () on the weight at a batch of the training; 1 where the length of the training is not known.

        Args:
            step: () batches before this one.
            batches: of the whole training; 0 if it is not known.
        """
        if self.schedule == "constant" or not batches:
            return torch.ones_like(step, dtype=torch.float64)
        risen = (step.double() / max(1, round(self.over * batches))).clamp(max=1.0)
        return risen if self.schedule == "ramp_up" else 1 - risen


@final
class WeightedSum(Objective):
    """Several objectives on the same views, their losses weighed and added.

    The log has every value of a term under its name, ``ce/accuracy``. ``loss`` in it is the sum at full weights
    whatever the schedule, so that it compares over the run and checkpoints can be chosen by it; what is minimised is
    the sum at the weights of the moment, ``NAME/weight`` in the log. A term whose weight is 0 is still computed.

    With ``balance: uncertainty`` the weights are learned (Kendall, Gal & Cipolla 2018, "Multi-task learning using
    uncertainty to weigh losses", arXiv 1705.07115): a term of weight w and loss L comes as exp(-s) w L + s / 2, its
    log-variance s a weight of the objective that starts at 0, and a ramp multiplies the whole of it. The loss of a
    term must be above 0, or its s falls without end. ``optimizer.parts: {objective.log_variances: {rate: 10}}`` lets
    them move faster than the rest.
    """

    def __init__(
        self, spec: ObjectiveSpec, /, *, terms: dict[str, Term], balance: Literal["fixed", "uncertainty"] = "fixed"
    ) -> None:
        """Build the terms.

        Args:
            spec: what the model returns, and the names of the classes.
            terms: name -> objective and weight.
            balance: ``fixed`` keeps the weights as they are set, ``uncertainty`` learns them from there on.

        Raises:
            ValueError: if there is no term, or a name that a log cannot hold.
        """
        super().__init__()
        strange = [name for name in terms if not _NAME.fullmatch(name)]
        if not terms or strange:
            raise ValueError(
                f"WeightedSum.terms: {strange[0]!r} is no name for the log; use letters, digits, _ and -"
                if strange
                else "WeightedSum.terms is empty; give at least one objective"
            )
        self.terms = dict(terms)
        self.objectives = nn.ModuleList(term.objective(spec) for term in terms.values())
        self.views = max(objective.views for objective in self._parts())
        self.pairs = next((objective.pairs for objective in self._parts() if objective.pairs), ())
        self.classes_needed = max(objective.classes_needed for objective in self._parts())
        self.estimates = any(objective.estimates for objective in self._parts())
        self.balance = balance
        if balance == "uncertainty":
            self.log_variances = nn.Parameter(torch.zeros(len(terms)))
        self.batches = 0
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    @classmethod
    def within(cls, outputs: Collection[str], settings: dict[str, Any]) -> dict[str, Any] | None:
        """The terms that are left, each with what is left of it; the weights of those stay as they are."""
        left = {name: (term, narrowed(term.objective, outputs)) for name, term in settings["terms"].items()}
        terms = {name: replace(term, objective=made) for name, (term, made) in left.items() if made is not None}
        return settings | {"terms": terms} if terms else None

    def plan(self, batches: int) -> None:
        """Size the ramps, and tell the terms."""
        self.batches = batches
        for objective in self._parts():
            objective.plan(batches)

    def fit_targets(self, targets: NDArray[np.float64] | None) -> None:
        """See ``Objective.fit_targets``."""
        for objective in self._parts():
            objective.fit_targets(targets)

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Sum of the terms at the weights of this batch of the training, which the call counts."""
        value, full = torch.zeros((), device=self.steps.device), []
        logs: dict[str, Tensor] = {}
        for index, ((name, term), objective) in enumerate(zip(self.terms.items(), self._parts(), strict=True)):
            loss = objective(views, batch)
            factor = term.factor(self.steps, self.batches)
            weight = term.weight * factor
            if self.balance == "uncertainty":
                spread = self.log_variances[index]
                value = value + factor.to(spread.dtype) * spread / 2
                weight = weight * torch.exp(-spread)
            value = value + weight.to(loss.value.dtype) * loss.value
            full.append(term.weight * loss.value.detach())
            logs |= {f"{name}/{key}": found for key, found in loss.logs.items()}
            logs[f"{name}/weight"] = weight.detach()
        if self.training:
            self.steps += 1
        return Loss(value, {"loss": torch.stack(full).sum()} | logs)

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """What the terms say: as it is where one alone says it, under the term's name where several do.

        ``collapse``, the loss that means nothing is told apart, is the sum at full weights where every term has one.
        """
        said = {
            name: objective.diagnose(views, batch) for name, objective in zip(self.terms, self._parts(), strict=True)
        }
        often = Counter(key for found in said.values() for key in found)
        merged = {
            key if often[key] == 1 and key != "collapse" else f"{name}/{key}": value
            for name, found in said.items()
            for key, value in found.items()
        }
        if often["collapse"] == len(said):
            sums = [self.terms[name].weight * found["collapse"].to(self.steps.device) for name, found in said.items()]
            merged["collapse"] = torch.stack([value.float() for value in sums]).sum()
        return merged

    def predict(self, encoded: dict[str, Encoded]) -> Prediction | None:
        """Class probabilities (B, K) of the first term that predicts."""
        found = (objective.predict(encoded) for objective in self._parts())
        return next((prediction for prediction in found if prediction is not None), None)

    def estimate(self, encoded: dict[str, Encoded]) -> Tensor | None:
        """The target (B,) by the first term that estimates it."""
        found = (objective.estimate(encoded) for objective in self._parts())
        return next((values for values in found if values is not None), None)

    def heads(self, encoded: dict[str, Encoded]) -> dict[str, Prediction]:
        """Those of all terms; of a term that has terms itself, ``NAME/INNER``."""
        return {
            f"{name}/{inner}" if inner else name: prediction
            for name, objective in zip(self.terms, self._parts(), strict=True)
            for inner, prediction in objective.heads(encoded).items()
        }

    def project(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        """Of the first term that compares modalities."""
        return next((o.project(encoded) for o in self._parts() if o.pairs), {})

    def similarity(self, a: Encoded, b: Encoded) -> Tensor:
        """Of the first term that compares modalities."""
        comparing = [objective for objective in self._parts() if objective.pairs]
        return comparing[0].similarity(a, b) if comparing else super().similarity(a, b)

    def _parts(self) -> list[Objective]:
        return list(self.objectives)  # type: ignore[arg-type]
