"""A gated sum: one weight a modality and row, which the embeddings themselves decide."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

from counterpoint.fusion.base import Fusion, only, presence
from counterpoint.types import Encoded


@final
class Gated(Fusion):
    """Sum of the projected embeddings of the modalities, weighed by a softmax over those a row has.

    The gate is that of attention pooling (Ilse, Tomczak, Welling 2018, arXiv 1802.04712): a score from the projected
    embedding of each modality. The fused tokens are the projected embeddings, one a modality.
    """

    def __init__(self, dims: dict[str, int], /, *, dim: int = 512, dropout: float = 0.1) -> None:
        """Build the projections and the gate.

        Args:
            dims: width of each modality.
            dim: width of the fused embedding.
            dropout: share of the projected embeddings dropped in training.

        Raises:
            ValueError: if a setting is out of range.
        """
        super().__init__()
        if dim < 1 or not 0 <= dropout < 1:
            raise ValueError(f"Gated: dim is {dim}, at least 1; dropout is {dropout}, a share from 0 to below 1")
        self.names = tuple(dims)
        self.dim = dim
        self.project = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim), nn.GELU(), nn.Dropout(dropout))
            for width in dims.values()
        )
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))
        self.norm = nn.LayerNorm(dim)

    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Fuse to (B, dim), with tokens (B, M, dim).

        Raises:
            NothingPresentError: if a row has no modality.
        """
        tokens, present = self._projected(encoded)
        pooled = self.norm((self._gates(tokens, present).unsqueeze(-1) * tokens).sum(1))
        return Encoded(tokens, present, pooled)

    def attend(self, encoded: dict[str, Encoded]) -> dict[str, Tensor]:
        """Weight (B,) of each modality; 0 where it is absent, and 1 in sum over them."""
        gates = self._gates(*self._projected(encoded))
        return {name: gates[:, i] for i, name in enumerate(self.names)}

    def _projected(self, encoded: dict[str, Encoded]) -> tuple[Tensor, Tensor]:
        parts = {name: encoded[name] for name in self.names}
        present = presence(parts)
        projected = [
            project(only(part.pooled, present[:, i]))
            for i, (project, part) in enumerate(zip(self.project, parts.values(), strict=True))
        ]
        return only(torch.stack(projected, dim=1), present), present

    def _gates(self, tokens: Tensor, present: Tensor) -> Tensor:
        scores: Tensor = self.score(tokens).squeeze(-1)
        return scores.masked_fill(~present, -torch.inf).softmax(1)
