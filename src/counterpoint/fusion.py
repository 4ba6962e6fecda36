"""Fusions: the encoded modalities of a row in, one ``Encoded`` out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import final

import torch
from torch import nn

from counterpoint.types import Encoded


class Fusion(nn.Module, ABC):
    """Base of all fusions.

    A constructor takes the widths of the modalities, name -> D, as its one positional argument and everything
    a recipe may set as keyword-only arguments.

    Attributes:
        dim: width of the fused embedding.
    """

    dim: int

    @abstractmethod
    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Fuse the modalities of each row, looking only at those whose mask has a True."""


@final
class Concat(Fusion):
    """Concatenation of the pooled embeddings; of a single modality, that modality itself.

    An absent modality contributes zeros, as its encoder pools nothing. The fused tokens are the pooled
    embeddings, one token a row, because token widths differ between modalities.
    """

    def __init__(self, dims: dict[str, int], /) -> None:
        """Size the fusion by the modalities' widths."""
        super().__init__()
        self.dim = sum(dims.values())

    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Concatenate in the order of the modalities' names in the recipe."""
        parts = list(encoded.values())
        if len(parts) == 1:
            return parts[0]
        pooled = torch.cat([part.pooled for part in parts], dim=-1)
        present = torch.stack([part.mask.any(1) for part in parts]).any(0)
        return Encoded(pooled.unsqueeze(1), present.unsqueeze(1), pooled)
