"""The role of an encoder: one modality in, ``Encoded`` out."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from counterpoint.types import Encoded, Signal


class Encoder(nn.Module, ABC):
    """Base of all encoders.

    A constructor takes the ``SignalSpec`` of its modality as its one positional argument, because the data
    decide it, and everything a recipe may set as keyword-only arguments with defaults.

    Attributes:
        dim: D, the width of the tokens and of the pooled embedding.
    """

    dim: int

    @abstractmethod
    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, L, C) values, looking only at elements whose mask is True."""


def masked_mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Mean of (B, L, D) tokens over the real ones of (B, L); 0 for a row that has none."""
    weights = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weights).sum(1) / weights.sum(1).clamp_min(1.0)
