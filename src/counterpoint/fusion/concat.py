"""Concatenation of the modalities' embeddings."""

from __future__ import annotations

from typing import final

import torch

from counterpoint.fusion.base import Fusion, only, presence
from counterpoint.types import Encoded


@final
class Concat(Fusion):
    """Concatenation of the pooled embeddings; of a single modality, that modality itself.

    An absent modality contributes zeros. The fused tokens are the pooled embeddings, one token a row, because token
    widths differ between modalities.
    """

    def __init__(self, dims: dict[str, int], /) -> None:
        """Size the fusion by the modalities' widths."""
        super().__init__()
        self.names = tuple(dims)
        self.dim = sum(dims.values())

    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Concatenate in the order of the modalities' names in the recipe.

        Raises:
            NothingPresentError: if a row has none of several modalities.
        """
        parts = {name: encoded[name] for name in self.names}
        if len(parts) == 1:
            return parts[self.names[0]]
        present = presence(parts)
        pooled = torch.cat([only(part.pooled, present[:, i]) for i, part in enumerate(parts.values())], dim=-1)
        return Encoded(pooled.unsqueeze(1), present.any(1, keepdim=True), pooled)
