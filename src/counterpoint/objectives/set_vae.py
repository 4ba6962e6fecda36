"""The set VAE: rebuild every set from its latent, keep the latent near its prior, and predict the outcome if asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.losses import chamfer, gaussian_kl
from counterpoint.model import FUSED
from counterpoint.objectives.base import Objective
from counterpoint.objectives.latent import active_units, mutual_information
from counterpoint.ragged import Ragged
from counterpoint.types import (
    UNLABELLED,
    Batch,
    Encoded,
    Events,
    EventSpec,
    Latent,
    Loss,
    ObjectiveSpec,
    Prediction,
)


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """What KL costs.

    Args:
        beta: weight of the KL divergence, in units of reconstruction a nat.
        warm_up: share of the training over which the weight rises from 0 to beta.
        free_bits: nats a latent dimension may diverge at no cost, on average over the sets of a row
            (Kingma et al. 2016, arXiv 1606.04934).
        prior: N(0, I), or a Gaussian predicted from the sets before: what makes the Transformer learn what comes next.
    """

    beta: float = 0.01
    warm_up: float = 0.3
    free_bits: float = 0.002
    prior: Literal["autoregressive", "standard"] = "autoregressive"

    def __post_init__(self) -> None:
        for name in ("beta", "warm_up", "free_bits"):
            if getattr(self, name) < 0:
                raise ValueError(f"divergence.{name} is {getattr(self, name)}; it must be at least 0")
        if self.warm_up > 1:
            raise ValueError(f"divergence.warm_up is {self.warm_up}; it is a share of the training, 0 to 1")


@dataclass(frozen=True, kw_only=True)
class OutcomeLoss:
    """A linear head that predicts the class of a row from its fused embedding.

    Args:
        weight: of its cross-entropy beside the reconstruction.
        class_weights: class -> how much its rows count; 1 for the others.
        dropout: share of the embedding dropped before the head in training.
    """

    weight: float = 1.0
    class_weights: dict[str, float] = field(default_factory=dict)
    dropout: float = 0.0


class _Flat(NamedTuple):
    """A view laid out flat, set after set."""

    events: Events
    sets: Ragged
    rows: Ragged
    context: Tensor
    latent: Latent


@final
class SetVAE(Objective):
    """Chamfer reconstruction of every set + beta * KL + weight * cross-entropy of the outcome.

    After SetVAE (Kim et al. 2021, arXiv 2103.15619) and sequential VAEs (Chung et al. 2015, arXiv 1506.02216): set s is
    decoded from a sample of its own latent and from the token before it, which has seen the past alone. Every term is
    a mean over rows of a mean over the sets of the row, so that a row weighs the same in any batch. Rows without a
    label count in all terms but the outcome's.
    """

    views = 1

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        modality: str = "events",
        divergence: Divergence = Divergence(),
        outcome: OutcomeLoss | None = None,
        width: int = 128,
        variable_weight: float = 1.0,
    ) -> None:
        """Build decoder, prior and head.

        Args:
            spec: what model and data bring.
            modality: which one is rebuilt.
            divergence: what KL costs.
            outcome: the head; absent for training without labels.
            width: of the decoder's and the prior's hidden layers.
            variable_weight: squared distance between two different variables, over 2, beside the squared distance
                between values in standard deviations.

        Raises:
            ValueError: if the modality is not of events, its encoder has no latent variable, or there is nothing to
                predict.
        """
        super().__init__()
        events = spec.specs.get(modality)
        if not isinstance(events, EventSpec):
            raise ValueError(
                f"SetVAE.modality is {modality!r}; of the data's modalities {sorted(spec.specs)} those of irregular "
                "events can be rebuilt"
            )
        self.modality, self.divergence = modality, divergence
        self.variable_weight = variable_weight
        dim, latent = spec.dims[modality], spec.latents[modality]
        if not latent:
            raise ValueError(f"SetVAE: the encoder of {modality!r} has no latent variable; use SetSequence")
        self.start = nn.Parameter(torch.zeros(dim))
        self.decoder = SetDecoder(len(events.variables), events.events, latent, dim, width)
        self.prior = nn.Sequential(nn.Linear(dim + 1, width), nn.GELU(), nn.Linear(width, 2 * latent))
        self.head = None if outcome is None else OutcomeHead(spec, outcome)
        self.rise = 0
        self.steps: Tensor
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def plan(self, batches: int) -> None:
        """Size the warm-up."""
        self.rise = round(self.divergence.warm_up * batches)

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Mean over the views of the loss of each."""
        beta = self._beta()
        parts = [self._view(view, sample, batch, beta) for view, sample in zip(views, batch.views, strict=True)]
        value = torch.stack([part.value for part in parts]).mean()
        logs = {name: torch.stack([part.logs[name] for part in parts]).mean() for name in parts[0].logs}
        return Loss(value, logs | {"loss": value.detach(), "beta": beta})

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """What shows a posterior collapse: active units of how many, and what the latents tell of the sets."""
        latent = self._flat(views[0], batch.views[0][self.modality]).latent
        width = latent.mean.new_tensor(float(latent.mean.shape[1]))
        return {
            "active_units": active_units(latent.mean),
            "latent_width": width,
            "mutual_information": mutual_information(latent),
        }

    def predict(self, encoded: dict[str, Encoded]) -> Prediction | None:
        """Class probabilities (B, K) of the head; None without one."""
        return None if self.head is None else Prediction(self.head(encoded[FUSED]).softmax(-1))

    def _beta(self) -> Tensor:
        """The weight of the KL at this batch of the training, which the call counts."""
        counted = self.steps.double()
        rise = (counted / self.rise).clamp(max=1.0) if self.rise else torch.ones_like(counted)
        if self.training:
            self.steps += 1
        return self.divergence.beta * rise

    def _view(self, view: dict[str, Encoded], sample: object, batch: Batch, beta: Tensor) -> Loss:
        flat = self._flat(view, sample[self.modality])  # type: ignore[index]
        rebuilt = flat.rows.mean(self._distances(flat)).mean()
        divergence = flat.rows.mean(self._divergences(flat))
        kl = divergence.clamp_min(self.divergence.free_bits).sum(1).mean()
        logs = {"reconstruction": rebuilt.detach(), "kl": divergence.detach().sum(1).mean()}
        value = rebuilt + beta.to(kl.dtype) * kl
        if self.head is not None:
            outcome = self.head.loss(view[FUSED], batch.labels)
            value = value + self.head.weight * outcome
            logs["outcome"] = outcome.detach()
        return Loss(value, logs)

    def _flat(self, view: dict[str, Encoded], events: object) -> _Flat:
        """A view laid out flat, with the token before every set."""
        encoded = view[self.modality]
        assert isinstance(events, Events)
        assert encoded.latent is not None
        rows = Ragged(events.rows)
        tokens = torch.cat([self.start.to(encoded.tokens.dtype).unsqueeze(0), rows.unpadded(encoded.tokens)])
        # Place 0 of them is the start; token s - 1 is at place s.
        before = torch.where(rows.place > 0, torch.arange(len(rows.place), device=tokens.device), 0)
        latent = Latent(*(rows.unpadded(part) for part in encoded.latent))
        return _Flat(events, Ragged(events.sets), rows, tokens.index_select(0, before), latent)

    def _distances(self, flat: _Flat) -> Tensor:
        """(S,) Chamfer distance of every set from what the decoder makes of its latent."""
        variables, values = self.decoder(flat.latent.sample, flat.context, flat.sets)
        shares, real = variables.softmax(-1), flat.events
        first, second = flat.sets.pairs
        # From shares p to the one-hot vector of variable v: |p|^2 + 1 - 2 p_v.
        place = first * shares.shape[1] + real.codes.index_select(0, second)
        apart = (shares.square().sum(1) + 1).index_select(0, first) - 2 * shares.flatten().index_select(0, place)
        shift = values.index_select(0, first) - real.values.index_select(0, second)
        squared = self.variable_weight * apart + shift.square()
        return chamfer(squared, first, second, flat.sets.owner, len(flat.sets))

    def _divergences(self, flat: _Flat) -> Tensor:
        """(S, Z) KL of every posterior from its prior, in nats a dimension."""
        latent = flat.latent
        if self.divergence.prior == "standard":
            zero = latent.mean.new_zeros(())
            return gaussian_kl(latent.mean, latent.log_variance, zero, zero)
        times = flat.events.times
        gap = torch.where(flat.rows.place > 0, times - torch.cat([times[:1], times[:-1]]), 0.0).clamp_min(0).log1p()
        mean, log_variance = self.prior(torch.cat([flat.context, gap.unsqueeze(1)], 1)).chunk(2, 1)
        return gaussian_kl(latent.mean, latent.log_variance, mean, log_variance)


class SetDecoder(nn.Module):
    """Rebuilds a set of known size: slot j of it, told latent and context, says which variable and which value."""

    def __init__(self, variables: int, largest: int, latent: int, context: int, width: int) -> None:
        super().__init__()
        self.slots = nn.Parameter(torch.randn(largest, width) * width**-0.5)
        self.enter = nn.Linear(latent + context + 1, width)
        self.network = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.leave = nn.Linear(width, variables + 1)

    def forward(self, latent: Tensor, context: Tensor, sets: Ragged) -> tuple[Tensor, Tensor]:
        """(S, Z) and (S, D) -> logits of the variables (E, V) and values (E,)."""
        size = sets.lengths.to(latent.dtype).log().unsqueeze(1)
        told = self.enter(torch.cat([latent, context, size], 1))
        out = self.leave(self.network(told.index_select(0, sets.owner) + self.slots.index_select(0, sets.place)))
        return out[:, :-1], out[:, -1]


class OutcomeHead(nn.Module):
    """Dropout and a linear classifier."""

    def __init__(self, spec: ObjectiveSpec, outcome: OutcomeLoss) -> None:
        super().__init__()
        strange = sorted(set(outcome.class_weights) - set(spec.classes))
        if len(spec.classes) < 2 or strange:
            raise ValueError(
                f"SetVAE.outcome needs two classes or more, the data have {list(spec.classes)}"
                if not strange
                else f"SetVAE.outcome.class_weights: no class {strange[0]!r}; there are {', '.join(spec.classes)}"
            )
        self.weight = outcome.weight
        self.dropout = nn.Dropout(outcome.dropout)
        self.classifier = nn.Linear(spec.dims[FUSED], len(spec.classes))
        self.class_weights: Tensor
        weights = [outcome.class_weights.get(name, 1.0) for name in spec.classes]
        self.register_buffer("class_weights", torch.tensor(weights))

    def forward(self, encoded: Encoded) -> Tensor:
        """Logits (B, K)."""
        logits: Tensor = self.classifier(self.dropout(encoded.pooled))
        return logits

    def loss(self, encoded: Encoded, labels: Tensor) -> Tensor:
        """Weighted cross-entropy of the labelled rows, over all rows, so that a row weighs the same in any batch."""
        weight = self.class_weights.to(encoded.pooled.dtype)
        found = F.cross_entropy(self(encoded), labels, weight=weight, ignore_index=UNLABELLED, reduction="none")
        return found.mean()
