"""Contrastive objectives: a projection head, a temperature, and InfoNCE or supervised contrast over all ranks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from counterpoint import losses
from counterpoint.losses.gather import rank, world_size
from counterpoint.model import FUSED
from counterpoint.objectives.base import Objective
from counterpoint.types import UNLABELLED, Batch, Encoded, Loss, ObjectiveSpec


class ContrastHead(nn.Module):
    """What contrastive objectives share: a projection head and a temperature.

    The head is SimCLR's (Chen et al. 2020, arXiv 2002.05709): two layers, dropped after pre-training
    together with what contrast distorts.
    """

    def __init__(self, dim: int, width: int, temperature: float, tempering: Literal["fixed", "learned"]) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; it must be above 0 (0.07 is usual)")
        self.project = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, width))
        log_scale = torch.tensor(math.log(1 / temperature))
        self.log_scale = nn.Parameter(log_scale, requires_grad=tempering == "learned")

    def scale(self) -> Tensor:
        """1 / temperature, kept under 100 as in CLIP so that a learned one cannot run away."""
        return self.log_scale.clamp(max=math.log(100.0)).exp()

    def forward(self, view: dict[str, Encoded]) -> Tensor:
        """Project the fused embedding, (B, D) -> (B, width)."""
        projected: Tensor = self.project(view[FUSED].pooled)
        return projected

    def diagnose(self, views: list[dict[str, Encoded]], apart: Sequence[Tensor]) -> dict[str, Tensor]:
        """Accuracy, similarities, alignment, uniformity and effective rank of this process's rows."""
        return self.describe(self(views[0]), self(views[1]), apart)

    def describe(self, a: Tensor, b: Tensor, apart: Sequence[Tensor]) -> dict[str, Tensor]:
        """The same of projections (P, width) that are paired already; NaN where there is no pair."""
        if len(a):
            stats = losses.contrast_stats(a, b, exclude=apart)._asdict()
        else:
            stats = dict.fromkeys(losses.ContrastStats._fields, a.new_full((), math.nan))
        return stats | {"temperature": 1 / self.scale().detach()}


@final
class InfoNCE(Objective):
    """InfoNCE between two views of a row (van den Oord et al. 2018, arXiv 1807.03748), over all ranks.

    Negatives are the other rows of the batch, except those a row shares an id with: a window of the same
    recording is never a negative.
    """

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        temperature: float = 0.07,
        tempering: Literal["fixed", "learned"] = "fixed",
        projection: int = 128,
        direction: Literal["two-way", "one-way"] = "two-way",
        exclude: Sequence[Literal["label", "domain", "group"]] = (),
        hard_negatives: float = 0.0,
    ) -> None:
        """Build the head.

        Args:
            spec: what the model returns.
            temperature: what similarities are divided by.
            tempering: whether the temperature stays or is learned.
            projection: width of the space the loss is computed in.
            direction: both ways averaged, or from the first view to the second alone.
            exclude: also drop negatives that share the anchor's label, domain or group.
            hard_negatives: concentration of the weights on hard negatives; 0 weighs all alike.
        """
        super().__init__()
        self.head = ContrastHead(spec.dims[FUSED], projection, temperature, tempering)
        self.direction = direction
        self.exclude = tuple(exclude)
        self.hard_negatives = hard_negatives

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Loss of the pairs (view 0, view 1)."""
        value = losses.info_nce(
            self.head(views[0]),
            self.head(views[1]),
            self.head.scale(),
            direction=self.direction,
            exclude=self._kept_apart(batch),
            hard_negative_weight=self.hard_negatives,
        )
        return Loss(value, {"loss": value.detach()})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """Contrastive statistics, and the loss when nothing is told apart: the mean of ln(1 + negatives).

        That is ln N, less what is excluded, with the batch's N over all ranks.
        """
        keys = self._kept_apart(batch)
        collapse = negative_counts(keys).add(1).log().mean()
        return self.head.diagnose(views, keys) | {"collapse": collapse}

    def _kept_apart(self, batch: Batch) -> list[Tensor]:
        """Keys, (B,) each: rows that share one are no negatives of each other."""
        columns = {"label": batch.labels, "domain": batch.domains, "group": batch.groups}
        return [batch.ids, *(columns[name] for name in self.exclude)]


def negative_counts(keys: Sequence[Tensor]) -> Tensor:
    """Negatives (B,) of each of this process's rows over all ranks: those that share none of the keys, -1 aside."""
    apart = torch.ones(len(keys[0]), len(keys[0]) * world_size(), dtype=torch.bool, device=keys[0].device)
    for own in keys:
        apart &= (own.unsqueeze(1) != losses.gather_rows(own)) | (own == UNLABELLED).unsqueeze(1)
    # A row is never its own negative, whether or not it has a key.
    apart[torch.arange(len(apart)), torch.arange(len(apart)) + rank() * len(apart)] = False
    return apart.sum(1)


@final
class SupCon(Objective):
    """Supervised contrast, L_out of Khosla et al. 2020 (arXiv 2004.11362), over all views, rows and ranks.

    By label or group one view a row is enough: other rows of the class are the positives.
    """

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        temperature: float = 0.07,
        tempering: Literal["fixed", "learned"] = "fixed",
        projection: int = 128,
        positives: Literal["label", "group", "id"] = "label",
    ) -> None:
        """Build the head.

        Args:
            spec: what the model returns, and the names of the classes.
            temperature: what similarities are divided by.
            tempering: whether the temperature stays or is learned.
            projection: width of the space the loss is computed in.
            positives: what makes two windows a positive pair; ``id`` is NT-Xent (SimCLR) and needs no label.

        Raises:
            ValueError: if positives are labels and the data have fewer than two classes.
        """
        super().__init__()
        if positives == "label" and len(spec.classes) < 2:
            raise ValueError(
                f"SupCon by label needs two classes or more, the training data have {list(spec.classes)}: "
                "every window would be every other's positive; set positives: id or bring labels"
            )
        self.head = ContrastHead(spec.dims[FUSED], projection, temperature, tempering)
        self.positives = positives
        self.views = 2 if positives == "id" else 1
        self.classes_needed = 2 if positives == "label" else 0

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Loss of all views of the batch as one set."""
        keys = self._keys(batch).repeat(len(views))
        value = losses.sup_con(torch.cat([self.head(view) for view in views]), keys, self.head.scale())
        return Loss(value, {"loss": value.detach()})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """Contrastive statistics, and the value ln(N-1) of a loss that learned nothing.

        The pairs are the first two views of the rows; of a single view, each row and the next of its class, with rows
        of other classes as negatives. Where a process has no such pair, they are NaN.
        """
        candidates = len(views) * len(batch.ids) * world_size() - 1
        collapse = batch.ids.new_tensor(candidates, dtype=torch.float32).log()
        if len(views) > 1:
            return self.head.diagnose(views, [batch.ids]) | {"collapse": collapse}
        keys, z = self._keys(batch), self.head(views[0])
        anchors, partners = _pairs(keys)
        return self.head.describe(z[anchors], z[partners], [keys[anchors]]) | {"collapse": collapse}

    def _keys(self, batch: Batch) -> Tensor:
        columns = {"label": batch.labels, "group": batch.groups, "id": batch.ids}
        return columns[self.positives]


def _pairs(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Each row that shares its key with another, beside the next that does; rows of key -1 have no partner."""
    order = torch.argsort(keys, stable=True)
    ranked = keys[order]
    _, numbers, counts = torch.unique(ranked, return_inverse=True, return_counts=True)
    first, many = (counts.cumsum(0) - counts)[numbers], counts[numbers]
    following = first + (torch.arange(len(keys), device=keys.device) - first + 1) % many
    paired = (many > 1) & (ranked != UNLABELLED)
    return order[paired], order[following[paired]]
