"""A Transformer over patches of a signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import Frontend, Waveform, frames, zeroed
from counterpoint.types import Encoded, Signal, SignalSpec


@dataclass(frozen=True)
class Blocks:
    """The stack of a Transformer.

    Args:
        depth: blocks.
        heads: attention heads of a block; they divide the width.
        expansion: hidden width of the perceptron as a multiple of the width; 2 as PatchTST was published.
        dropout: share of activations and of attention weights dropped in training.
    """

    depth: int = 4
    heads: int = 4
    expansion: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if min(self.depth, self.heads, self.expansion) < 1:
            raise ValueError(
                f"Blocks: depth {self.depth}, heads {self.heads} and expansion {self.expansion} must be at least 1"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"Blocks: dropout is {self.dropout}; choose from 0 to under 1")


FOUR_BLOCKS = Blocks()


@final
class PatchTransformer(Encoder):
    """Patches of all channels together, a sinusoidal position each, pre-norm attention blocks, one embedding.

    Nie et al., "A Time Series is Worth 64 Words" (2023), except that channels share a patch, which makes one
    sequence of a signal instead of one a channel, and that patches do not overlap unless asked to.
    Positions are computed, not learned: windows longer than ``spec.length`` are encoded too.
    Samples where the mask is False count as zeros inside a partly real patch; patches without a real sample
    are left out of attention and pooling; a row without one has an embedding of zeros.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        dim: int = 128,
        patch: int = 16,
        overlap: int = 0,
        pooling: Literal["mean", "cls", "attention"] = "mean",
        blocks: Blocks = FOUR_BLOCKS,
        frontend: Callable[..., Frontend] = Waveform,
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding; even and divisible by the heads.
            patch: elements (samples, or what the front end makes of them) a patch.
            overlap: elements that two neighbouring patches share, under ``patch``.
            pooling: how tokens become one embedding: their mean, a token of its own, or learned weights.
            blocks: the stack of attention blocks.
            frontend: what is cut into patches: the waveform or a spectrum.

        Raises:
            ValueError: where the width does not fit the heads, or the overlap not the patch.
        """
        super().__init__()
        if dim < 2 or dim % 2 or dim % blocks.heads:
            raise ValueError(
                f"PatchTransformer: dim is {dim}; choose an even width divisible by the {blocks.heads} heads"
            )
        if patch < 1 or not 0 <= overlap < patch:
            raise ValueError(
                f"PatchTransformer: patch is {patch} and overlap {overlap}; choose patch >= 1 and 0 <= overlap < patch"
            )
        self.dim, self.patch, self.stride = dim, patch, patch - overlap
        self.pooling = pooling
        self.frontend = frontend(spec)
        self.embed = nn.Linear(patch * self.frontend.spec.channels, dim)
        self.blocks = nn.ModuleList(Block(dim, blocks) for _ in range(blocks.depth))
        self.norm = nn.LayerNorm(dim)
        # The class token, or the question that attention pooling asks of every token.
        self.query = nn.Parameter(torch.randn(0 if pooling == "mean" else 1, dim) * 0.02)

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, L, C) into (B, ceil(L / stride) or fewer, D) tokens and (B, D)."""
        cut = frames(self.frontend(signal), self.patch, self.stride)
        rows, count = cut.values.shape[:2]
        tokens: Tensor = self.embed(cut.values) + positions(count, self.dim, self.embed.weight)
        mask, lead = cut.mask, 0
        if self.pooling == "cls":
            lead = 1
            tokens = torch.cat([self.query.expand(rows, 1, -1).to(tokens.dtype), tokens], 1)
        tokens = self.norm(self._attend(tokens, mask, lead))
        first, tokens = tokens[:, 0], zeroed(tokens[:, lead:], mask)
        if mask is None:
            mask = torch.ones(rows, count, dtype=torch.bool, device=tokens.device)
        if self.pooling == "cls":
            pooled = first.masked_fill(~mask.any(1, keepdim=True), 0.0)
        elif self.pooling == "attention":
            pooled = attention_pool(tokens, mask, self.query[0])
        else:
            pooled = masked_mean(tokens, mask)
        return Encoded(tokens, mask, pooled)

    def _attend(self, tokens: Tensor, mask: Tensor | None, lead: int) -> Tensor:
        keys = None
        if mask is not None:
            # A row without a real token attends to its padding: finite, and zeroed afterwards.
            mask = mask | ~mask.any(1, keepdim=True)
            keys = F.pad(mask, (lead, 0), value=True)[:, None, None, :]
        for block in self.blocks:
            tokens = block(tokens, keys)
        return tokens


class Block(nn.Module):
    """Pre-norm attention and perceptron, each added to what came in."""

    def __init__(self, dim: int, shape: Blocks) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, shape.dropout
        hidden = shape.expansion * dim
        self.norms = nn.ModuleList([nn.LayerNorm(dim), nn.LayerNorm(dim)])
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)
        self.perceptron = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(self, tokens: Tensor, keys: Tensor | None) -> Tensor:
        """(B, n, D) tokens; (B, 1, 1, n) True where a token may be attended to, None for everywhere."""
        dropout = self.dropout if self.training else 0.0
        qkv = self.qkv(self.norms[0](tokens)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=keys, dropout_p=dropout)
        tokens = tokens + F.dropout(self.out(mixed.transpose(1, 2).flatten(2)), dropout)
        return tokens + F.dropout(self.perceptron(self.norms[1](tokens)), dropout)


def positions(count: int, dim: int, like: Tensor) -> Tensor:
    """(count, dim) sines and cosines of the place in the sequence (Vaswani et al., 2017)."""
    place = torch.arange(count, device=like.device, dtype=torch.float32).unsqueeze(1)
    octave = torch.arange(dim // 2, device=like.device, dtype=torch.float32) / (dim // 2)
    angle = place * torch.pow(10_000.0, -octave)
    return torch.cat([angle.sin(), angle.cos()], 1).to(like.dtype)


def attention_pool(tokens: Tensor, mask: Tensor, query: Tensor) -> Tensor:
    """(B, D): tokens weighted by the softmax of their product with one query; 0 for a row without a token."""
    scores = (tokens @ query.to(tokens.dtype)) * tokens.shape[-1] ** -0.5
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    weights = scores.softmax(1) * mask.to(tokens.dtype)
    return torch.einsum("bn,bnd->bd", weights, tokens)
