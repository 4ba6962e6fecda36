"""A variational encoder of stays: every set of events becomes a Gaussian, and a causal Transformer runs over them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.sets import CausalLayer, InducedSetAttention, SetPooling
from counterpoint.encoders.variables import LearnedVariables, Variables
from counterpoint.keys import hashed_normal
from counterpoint.ragged import Ragged
from counterpoint.types import Encoded, Events, EventSpec, Latent

Pooling = Literal["mean", "last"]


@dataclass(frozen=True, kw_only=True)
class SetLayers:
    """The encoder of one set.

    Args:
        dim: width of the events.
        depth: layers of induced set attention.
        heads: of the attention.
        points: inducing points a layer.
    """

    dim: int = 64
    depth: int = 2
    heads: int = 2
    points: int = 16


@dataclass(frozen=True, kw_only=True)
class SequenceLayers:
    """The causal Transformer over the sets of a stay.

    Args:
        depth: layers.
        heads: of the attention.
        longest_hours: the slowest wave of the encoding of time; the fastest has a period of 0.1 hours.
    """

    depth: int = 2
    heads: int = 4
    longest_hours: float = 1000.0


@final
class SetSequence(Encoder):
    """Events -> sets -> latent Gaussians -> a token a set, which has seen its own and all earlier sets.

    After SetVAE (Kim et al. 2021, arXiv 2103.15619) and the Set Transformer (Lee et al. 2019, arXiv 1810.00825). The
    order of the events of a set does not matter, the order of the sets does. Nothing is padded but inside attention,
    where a mask hides it. In training a token is inferred from a sample of the posterior, whose noise is a function of
    the row's key; otherwise from its mean.
    """

    reads: ClassVar = (EventSpec,)

    def __init__(
        self,
        spec: EventSpec,
        /,
        *,
        dim: int = 128,
        latent: int = 256,
        sets: SetLayers = SetLayers(),
        sequence: SequenceLayers = SequenceLayers(),
        variables: Callable[..., Variables] = LearnedVariables,
        pooling: Pooling = "mean",
        dropout: float = 0.0,
    ) -> None:
        """Build the layers.

        Args:
            spec: of the modality.
            dim: D, width of the tokens.
            latent: Z, width of the latent Gaussians.
            sets: the encoder of one set.
            sequence: the Transformer over sets.
            variables: how a variable looks to the encoder.
            pooling: the embedding of a stay: the mean of its tokens, or the last one.
            dropout: share of units dropped in training.
        """
        super().__init__()
        self.dim, self.latent = dim, latent
        self.embed = EventEmbedding(spec, sets.dim, variables)
        self.layers = nn.ModuleList(
            InducedSetAttention(sets.dim, sets.heads, sets.points, dropout) for _ in range(sets.depth)
        )
        self.pool = SetPooling(sets.dim, sets.heads, dropout)
        self.norm = nn.LayerNorm(sets.dim)
        self.posterior = nn.Linear(sets.dim, 2 * latent)
        self.enter = nn.Linear(latent, dim)
        self.clock = Clock(dim, sequence.longest_hours)
        self.sequence = nn.ModuleList(CausalLayer(dim, sequence.heads, dropout) for _ in range(sequence.depth))
        self.leave = nn.LayerNorm(dim)
        self.pooling = pooling

    def forward(self, events: Events) -> Encoded:
        """Encode into one token a set; a row without sets has no token and pools to 0."""
        sets, rows = Ragged(events.sets), Ragged(events.rows)
        laid = sets.laid
        x = self.embed(sets.lay(events.codes), sets.lay(events.values))
        for layer in self.layers:
            x = layer(x, laid)
        mean, log_variance = self.posterior(sets.home(self.norm(self.pool(x, laid)))).chunk(2, -1)
        sample = mean
        if self.training:
            noise = hashed_normal(events.keys[rows.owner], rows.place, mean.shape[1])
            sample = mean + (0.5 * log_variance).exp() * noise.to(mean.dtype)
        h = self.enter(sample) + self.clock(events.times, rows)
        for layer in self.sequence if len(h) else ():  # no row of the batch may have a set
            h = layer(h, rows)
        h = self.leave(h)
        pooled = rows.mean(h) if self.pooling == "mean" else _last(h, rows)
        latent = Latent(rows.padded(mean), rows.padded(log_variance), rows.padded(sample))
        return Encoded(rows.padded(h), rows.mask, pooled, latent)


class EventEmbedding(nn.Module):
    """An event as a vector: that of its variable plus what its value makes of the variable.

    A value of 0, the mean, adds nothing of size, yet the variable stays to be seen.
    """

    def __init__(self, spec: EventSpec, dim: int, variables: Callable[..., Variables]) -> None:
        super().__init__()
        self.variables = variables(spec, dim)
        self.slope = nn.Linear(dim, dim)
        self.shape = nn.Sequential(nn.Linear(dim + 1, dim), nn.GELU(), nn.Linear(dim, dim))

    def forward(self, codes: Tensor, values: Tensor) -> Tensor:
        """(E,) and (E,) -> (E, D). What hangs on the variable alone is computed a variable, not an event."""
        table = self.variables()
        first, activation, last = self.shape
        assert isinstance(first, nn.Linear)
        slope, shape = self.slope(table), F.linear(table, first.weight[:, :-1], first.bias)
        value = values.unsqueeze(1)
        bent = last(activation(shape.index_select(0, codes) + value * first.weight[:, -1]))
        x: Tensor = table.index_select(0, codes) + value * slope.index_select(0, codes) + bent
        return x


class Clock(nn.Module):
    """When a set happened, and how long after the one before: waves of hours, and the logarithm of the gap."""

    def __init__(self, dim: int, longest: float, waves: int = 16) -> None:
        super().__init__()
        self.frequency: Tensor
        periods = torch.logspace(math.log10(0.1), math.log10(longest), waves)
        self.register_buffer("frequency", 2 * math.pi / periods)
        self.project = nn.Linear(2 * waves + 1, dim)

    def forward(self, times: Tensor, rows: Ragged) -> Tensor:
        """(S,) hours -> (S, D)."""
        before = torch.cat([times[:1], times[:-1]])
        gap = torch.where(rows.place > 0, times - before, 0.0).clamp_min(0).log1p()
        phase = times.unsqueeze(1) * self.frequency
        projected: Tensor = self.project(torch.cat([phase.sin(), phase.cos(), gap.unsqueeze(1)], 1))
        return projected


def _last(h: Tensor, rows: Ragged) -> Tensor:
    """(B, D) the last token of each row; 0 for a row without any."""
    out = h.new_zeros(len(rows), h.shape[1])
    present = rows.lengths > 0
    out[present] = h[rows.offsets[1:][present] - 1]
    return out
