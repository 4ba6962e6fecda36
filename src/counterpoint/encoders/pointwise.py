"""Encoders made of small parts: a network at each element, and several encoders side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import Frontend, Waveform, zeroed
from counterpoint.types import Encoded, Signal, SignalSpec


@final
class PointwiseMLP(Encoder):
    """The same two-layer network at every element, then the mean: Deep Sets (Zaheer et al. 2017).

    Blind to the order of the elements, as it should be where they are bands and the band in which a machine rings says
    nothing of its state.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        dim: int = 128,
        hidden: int = 256,
        dropout: float = 0.0,
        frontend: Callable[..., Frontend] = Waveform,
    ) -> None:
        """Size the network.

        Args:
            spec: the modality.
            dim: width of tokens and embedding.
            hidden: width of the layer between.
            dropout: share of hidden units dropped in training.
            frontend: whose elements are read.
        """
        super().__init__()
        self.dim = dim
        self.frontend = frontend(spec)
        self.network = nn.Sequential(
            nn.Linear(self.frontend.spec.channels, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, L, C) into a token an element of the front end, and their mean."""
        seen: Signal = self.frontend(signal)
        mask = seen.mask
        if mask is None:
            mask = torch.ones(seen.values.shape[:2], dtype=torch.bool, device=seen.values.device)
        tokens = zeroed(self.network(seen.values), mask)
        return Encoded(tokens, mask, masked_mean(tokens, mask))


@final
class Parallel(Encoder):
    """Several encoders of one signal side by side; their embeddings are concatenated.

    A branch is a token, which fills its own part of the width and is zero elsewhere; the embedding is their sum.
    """

    def __init__(self, spec: SignalSpec, /, *, branches: list[Callable[..., Encoder]]) -> None:
        """Build the branches.

        Args:
            spec: the modality.
            branches: at least one encoder.

        Raises:
            ValueError: if there is none.
        """
        super().__init__()
        if not branches:
            raise ValueError("Parallel: branches is empty; give at least one encoder")
        self.branches = nn.ModuleList([branch(spec) for branch in branches])
        self.widths = [int(branch.dim) for branch in self.branches]  # type: ignore[arg-type]
        self.dim = sum(self.widths)

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, L, C) into a token a branch, and (B, D) of all of them."""
        encoded: list[Encoded] = [branch(signal) for branch in self.branches]
        tokens, start = [], 0
        for part, width in zip(encoded, self.widths, strict=True):
            tokens.append(nn.functional.pad(part.pooled, (start, self.dim - start - width)))
            start += width
        stacked = torch.stack(tokens, 1)
        return Encoded(stacked, torch.stack([part.mask.any(1) for part in encoded], 1), stacked.sum(1))
