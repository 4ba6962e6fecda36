"""Learned query tokens that look at the tokens of every modality, one cross-attention each."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.fusion.base import Fusion, only, presence
from counterpoint.types import Encoded


@final
class TokenAttention(Fusion):
    """Learned query tokens attend to each modality; what they find is concatenated, mixed and brought to length 1.

    Queries shared by the modalities, one cross-attention a modality (residual, layer norm), concatenation, an MLP,
    layer norm, L2. What the queries find in an absent modality is 0, so a row does not depend on what others of its
    batch lack, nor on the values that stand where a modality is absent. The order of tokens within a modality does
    not matter: what is to know of time must have learned it in its encoder.
    """

    def __init__(
        self,
        dims: dict[str, int],
        /,
        *,
        queries: int = 4,
        dim: int = 512,
        heads: int = 8,
        hidden: int = 1024,
        dropout: float = 0.1,
    ) -> None:
        """Build queries, attentions and MLP.

        Args:
            dims: width of each modality.
            queries: learned query tokens.
            dim: width of the queries and of the fused embedding.
            heads: of each cross-attention; they divide ``dim``.
            hidden: width between the two layers of the MLP, which reads modalities x queries x dim.
            dropout: share of attention weights and of hidden units dropped in training.

        Raises:
            ValueError: if a setting is out of range.
        """
        super().__init__()
        if min(queries, dim, heads, hidden) < 1 or dim % heads or not 0 <= dropout < 1:
            raise ValueError(
                f"TokenAttention: queries {queries}, dim {dim}, heads {heads} and hidden {hidden} are each at least 1, "
                f"heads divide dim, and dropout, {dropout}, is a share from 0 to below 1"
            )
        self.names = tuple(dims)
        self.dim = dim
        # Small beside what is found, or all rows would begin almost alike; the attention normalises them.
        self.queries = nn.Parameter(torch.randn(queries, dim) * dim**-0.5)
        self.attentions = nn.ModuleList(CrossAttention(width, dim, heads, dropout) for width in dims.values())
        self.mix = nn.Sequential(
            nn.Linear(len(dims) * queries * dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )
        self.norm = nn.LayerNorm(dim)

    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Fuse to unit vectors (B, dim), with tokens (B, modalities x queries, dim).

        Raises:
            NothingPresentError: if a row has no modality.
        """
        parts = {name: encoded[name] for name in self.names}
        present = presence(parts)
        found = [
            only(attention(self.queries, part), present[:, i : i + 1].expand(-1, len(self.queries)))
            for i, (attention, part) in enumerate(zip(self.attentions, parts.values(), strict=True))
        ]
        tokens = torch.cat(found, dim=1)
        pooled = F.normalize(self.norm(self.mix(tokens.flatten(1))), dim=-1)
        return Encoded(tokens, present.repeat_interleave(len(self.queries), dim=1), pooled)

    def attend(self, encoded: dict[str, Encoded]) -> dict[str, Tensor]:
        """Attention weights (B, heads, queries, L) of each modality, without dropout.

        They are 1 in sum over the real tokens of a modality, and 0 on all others. Over a single token they are 1 and
        tell nothing.
        """
        return {
            name: attention.weights(self.queries, encoded[name])  # type: ignore[operator]
            for name, attention in zip(self.names, self.attentions, strict=True)
        }


class CrossAttention(nn.Module):
    """Queries of one width over the tokens of a modality of another."""

    def __init__(self, width: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim))
        # Encoders differ in the scale of their tokens by orders of magnitude.
        self.even = nn.LayerNorm(width)
        self.key, self.value = nn.Linear(width, dim), nn.Linear(width, dim)
        self.out, self.norm = nn.Linear(dim, dim), nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, encoded: Encoded) -> Tensor:
        """Queries (Q, dim) -> (B, Q, dim) of what they found; of no meaning for rows without a token."""
        tokens = self._tokens(encoded)
        found = self.dropout(self._weigh(queries, tokens, encoded.mask)) @ self._split(self.value(tokens))
        updated: Tensor = self.norm(queries + self.out(found.transpose(1, 2).flatten(2)))
        return updated

    def weights(self, queries: Tensor, encoded: Encoded) -> Tensor:
        """Attention (B, heads, Q, L), all 0 for rows without a token."""
        return self._weigh(queries, self._tokens(encoded), encoded.mask)

    def _tokens(self, encoded: Encoded) -> Tensor:
        even: Tensor = self.even(only(encoded.tokens, encoded.mask))
        return even

    def _weigh(self, queries: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        query, key = self._split(self.query(queries).unsqueeze(0)), self._split(self.key(tokens))
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        real = mask[:, None, None, :]
        # A finite floor keeps a row without tokens from 0 / 0, whose NaN would come back through the gradient.
        scores = scores.masked_fill(~real, torch.finfo(scores.dtype).min)
        weights: Tensor = scores.softmax(-1).masked_fill(~real, 0.0)
        return weights

    def _split(self, values: Tensor) -> Tensor:
        """(B, N, dim) -> (B, heads, N, dim / heads)."""
        return values.view(*values.shape[:2], self.heads, values.shape[2] // self.heads).transpose(1, 2)
