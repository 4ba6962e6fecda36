"""Modalities whose tokens look at each other's, pooled and weighed by a gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.fusion.base import Fusion, only, presence
from counterpoint.types import Encoded


@final
class CrossAttentionFusion(Fusion):
    """Every token of a modality attends to the tokens of each other one, both ways; a gate weighs what they come to.

    Two-way co-attention as in ViLBERT (Lu et al. 2019, arXiv 1908.02265): projection of all tokens to one width,
    cross-attention and a perceptron a layer (residual, normalised before), the mean over the real tokens of a modality
    plus its own embedding, and a softmax over the modalities a row has, as in ``Gated``. What an absent modality would
    be found at is 0, so a row that lacks one is fused as if there had never been such a modality. Of one modality
    alone the tokens are projected and pooled.

    Attention over a single token is 1 whatever it is and tells nothing: give encoders that return several, such as a
    token a column (``FeatureTokens``) or a patch (``SpectralTransformer``).
    """

    def __init__(
        self, dims: dict[str, int], /, *, dim: int = 256, heads: int = 8, layers: int = 1, dropout: float = 0.1
    ) -> None:
        """Build projections, attentions and gate.

        Args:
            dims: width of each modality.
            dim: width of the fused tokens and embedding.
            heads: of each cross-attention; they divide ``dim``.
            layers: of cross-attention.
            dropout: share of attention weights and of hidden units dropped in training.

        Raises:
            ValueError: if a setting is out of range.
        """
        super().__init__()
        if min(dim, heads, layers) < 1 or dim % heads or not 0 <= dropout < 1:
            raise ValueError(
                f"CrossAttentionFusion: dim {dim}, heads {heads} and layers {layers} are each at least 1, heads divide "
                f"dim, and dropout, {dropout}, is a share from 0 to below 1"
            )
        self.names = tuple(dims)
        self.dim = dim
        self.enter = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim)) for width in dims.values())
        self.lead = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dim), nn.GELU(), nn.Dropout(dropout))
            for width in dims.values()
        )
        self.layers = nn.ModuleList(CrossLayer(len(dims), dim, heads, dropout) for _ in range(layers))
        self.leave = nn.ModuleList(nn.LayerNorm(dim) for _ in dims)
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1))
        self.norm = nn.LayerNorm(dim)

    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Fuse to (B, dim), with the tokens of all modalities one after the other.

        Raises:
            NothingPresentError: if a row has no modality.
        """
        masks, present = self._masks(encoded)
        streams = self._entered(encoded)
        for layer in self.layers:
            streams = layer(streams, masks)
        seen = self._summaries(streams, encoded, present)
        pooled = self.norm((self._gates(seen, present).unsqueeze(-1) * seen).sum(1))
        mask = torch.cat(masks, 1)
        return Encoded(only(torch.cat(streams, 1), mask), mask, pooled)

    def attend(self, encoded: dict[str, Encoded]) -> dict[str, Tensor]:
        """Attention weights of the last layer by direction, and the gates.

        ``"spectra>table"`` (B, heads, P, F) is how each token of ``spectra`` weighs those of ``table``: 1 in sum over
        the real tokens of ``table``, 0 where either is not real. ``"gates"`` (B, M) are the weights of the modalities
        in their order, 1 in sum over those a row has.
        """
        masks, present = self._masks(encoded)
        streams, found = self._entered(encoded), dict[str, Tensor]()
        for layer in self.layers:
            weights = layer.weights(streams, masks)  # type: ignore[operator]
            found = {f"{self.names[a]}>{self.names[b]}": one for (a, b), one in weights.items()}
            streams = layer(streams, masks)
        return found | {"gates": self._gates(self._summaries(streams, encoded, present), present)}

    def _masks(self, encoded: dict[str, Encoded]) -> tuple[list[Tensor], Tensor]:
        parts = {name: encoded[name] for name in self.names}
        return [part.mask for part in parts.values()], presence(parts)

    def _entered(self, encoded: dict[str, Encoded]) -> list[Tensor]:
        """The tokens of each modality at the width of the fusion, whatever stood where they are not real."""
        return [
            enter(only(encoded[name].tokens, encoded[name].mask))
            for name, enter in zip(self.names, self.enter, strict=True)
        ]

    def _summaries(self, streams: Sequence[Tensor], encoded: dict[str, Encoded], present: Tensor) -> Tensor:
        """(B, M, dim): each modality's mean over its real tokens, with its embedding; 0 where it is absent."""
        found = []
        for place, (name, stream) in enumerate(zip(self.names, streams, strict=True)):
            mask = encoded[name].mask
            mean = only(stream, mask).sum(1) / mask.sum(1, keepdim=True).clamp_min(1).to(stream.dtype)
            lead = self.lead[place](only(encoded[name].pooled, present[:, place]))
            found.append(self.leave[place](mean + lead))
        return only(torch.stack(found, 1), present)

    def _gates(self, seen: Tensor, present: Tensor) -> Tensor:
        scores: Tensor = self.score(seen).squeeze(-1)
        return scores.masked_fill(~present, -torch.inf).softmax(1)


class CrossLayer(nn.Module):
    """Every modality looks at every other, all at once, and a perceptron follows."""

    def __init__(self, modalities: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.directions = [(a, b) for a in range(modalities) for b in range(modalities) if a != b]
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(modalities))
        self.looks = nn.ModuleList(Look(dim, heads, dropout) for _ in self.directions)
        self.perceptrons = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(dim),
                nn.Linear(dim, 2 * dim),
                nn.GELU(),
                nn.Dropout(dropout),
                nn.Linear(2 * dim, dim),
                nn.Dropout(dropout),
            )
            for _ in range(modalities)
        )

    def forward(self, streams: Sequence[Tensor], masks: Sequence[Tensor]) -> list[Tensor]:
        """Tokens (B, L, dim) of each modality, with (B, L) which of them are real -> the same, having looked."""
        even = [norm(stream) for norm, stream in zip(self.norms, streams, strict=True)]
        found = list(streams)
        for (a, b), look in zip(self.directions, self.looks, strict=True):
            there = masks[a] & masks[b].any(1, keepdim=True)
            found[a] = found[a] + only(look(even[a], even[b], masks[b]), there)
        return [stream + perceptron(stream) for stream, perceptron in zip(found, self.perceptrons, strict=True)]

    def weights(self, streams: Sequence[Tensor], masks: Sequence[Tensor]) -> dict[tuple[int, int], Tensor]:
        """Attention (B, heads, La, Lb) of each direction, 0 where a token of either side is not real."""
        even = [norm(stream) for norm, stream in zip(self.norms, streams, strict=True)]
        return {
            (a, b): look.weights(even[a], even[b], masks[b]).masked_fill(  # type: ignore[operator]
                ~masks[a][:, None, :, None], 0.0
            )
            for (a, b), look in zip(self.directions, self.looks, strict=True)
        }


class Look(nn.Module):
    """Multi-head attention of the tokens of one modality over those of another."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = nn.Linear(dim, dim), nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, asking: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """(B, La, dim) and (B, Lb, dim) -> (B, La, dim); of no meaning for rows without a token that is asked."""
        weights = F.dropout(self.weights(asking, asked, mask), self.dropout, self.training)
        found = weights @ self._split(self.value(asked))
        told: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return F.dropout(told, self.dropout, self.training)

    def weights(self, asking: Tensor, asked: Tensor, mask: Tensor) -> Tensor:
        """(B, heads, La, Lb), 1 in sum over the tokens where ``mask`` (B, Lb) is True, 0 elsewhere."""
        query, key = self._split(self.query(asking)), self._split(self.key(asked))
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        real = mask[:, None, None, :]
        # A finite floor keeps a row without tokens from 0 / 0, whose NaN would come back through the gradient.
        weights: Tensor = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(-1)
        return weights.masked_fill(~real, 0.0)

    def _split(self, values: Tensor) -> Tensor:
        """(B, L, dim) -> (B, heads, L, dim / heads)."""
        return values.view(*values.shape[:2], self.heads, values.shape[2] // self.heads).transpose(1, 2)
