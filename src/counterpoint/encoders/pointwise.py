"""The same small network at each element of a signal."""

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
