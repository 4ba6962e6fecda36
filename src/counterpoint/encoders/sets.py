"""Attention over ragged sets and sequences: flat elements in and out, borders from a plan that all layers share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.ragged import Ragged


class Heads(nn.Module):
    """Projections of multi-head attention; what attends to what is the caller's."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads: {heads} do not divide the width {dim}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def queries(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., H, D / H)."""
        return _split(self.query(x), self.heads)

    def keys_values(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., 2 H, D / H), keys before values."""
        return _split(self.key_value(x), 2 * self.heads)


class Residual(nn.Module):
    """What follows attention: the residual sum and a perceptron, each normalised first."""

    def __init__(self, dim: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.network = nn.Sequential(
            nn.Linear(dim, expansion * dim), nn.GELU(), nn.Linear(expansion * dim, dim), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, attended: Tensor) -> Tensor:
        """Both (..., D)."""
        x = x + self.dropout(attended)
        out: Tensor = x + self.network(self.norm(x))
        return out


class InducedSetAttention(nn.Module):
    """ISAB of the Set Transformer (Lee et al. 2019, arXiv 1810.00825).

    A few learned points read each set, and the events of the set read the points: linear in the size of a set,
    equivariant to the order of its events.
    """

    def __init__(self, dim: int, heads: int, points: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.randn(points, dim) * dim**-0.5)
        self.norm = nn.LayerNorm(dim)
        self.read, self.after_read = Heads(dim, heads), Residual(dim, 1, dropout)
        self.write, self.after_write = Heads(dim, heads), Residual(dim, 1, dropout)

    def forward(self, x: Tensor, sets: Ragged) -> Tensor:
        """(E, D) -> (E, D)."""
        normed = self.norm(x)
        summary = self._summaries(normed, sets)
        told = sets.split(self.write.keys_values(summary).transpose(1, 2))
        asked = sets.blocked(self.write.queries(normed))
        found = []
        for queries, keys_values in zip(asked, told, strict=True):
            keys, values = keys_values.chunk(2, 1)
            attended = attend(queries.transpose(1, 2), keys, values)
            found.append(attended.transpose(1, 2).flatten(2))
        return self.after_write(x, self.write.out(sets.flat(found)))  # type: ignore[no-any-return]

    def _summaries(self, normed: Tensor, sets: Ragged) -> Tensor:
        """What the points read in each set (S', points, D), sets in the order of the blocks."""
        queries = self.read.queries(self.points).transpose(0, 1)
        told = sets.blocked(self.read.keys_values(normed))
        found = []
        for block, keys_values in zip(sets.blocks, told, strict=True):
            keys, values = keys_values.transpose(1, 2).chunk(2, 1)
            attended = attend(queries.expand(len(block.members), -1, -1, -1), keys, values, block.mask)
            found.append(attended.transpose(1, 2).flatten(2))
        return self.after_read(self.points, self.read.out(torch.cat(found)))  # type: ignore[no-any-return]


class SetPooling(nn.Module):
    """Pooling by attention (PMA, Lee et al. 2019): one learned query reads the events of a set."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, dim) * dim**-0.5)
        self.norm = nn.LayerNorm(dim)
        self.read, self.after = Heads(dim, heads), Residual(dim, 1, dropout)

    def forward(self, x: Tensor, sets: Ragged) -> Tensor:
        """(E, D) -> (S, D). A softmax with one query is a segment sum, which needs no blocks."""
        keys, values = self.read.keys_values(self.norm(x)).chunk(2, 1)
        scores = (keys * self.read.queries(self.seed)).sum(-1) * keys.shape[-1] ** -0.5
        owner, empty = sets.owner, scores.new_full((len(sets), scores.shape[1]), -torch.inf)
        top = empty.scatter_reduce(0, owner.unsqueeze(1).expand_as(scores), scores.detach(), "amax")
        weights = (scores - top[owner]).exp()
        total = weights.new_zeros(len(sets), scores.shape[1]).index_add(0, owner, weights)
        summed = values.new_zeros(len(sets), *values.shape[1:]).index_add(0, owner, values * weights.unsqueeze(-1))
        return self.after(self.seed, self.read.out((summed / total.unsqueeze(-1)).flatten(1)))  # type: ignore[no-any-return]


class CausalLayer(nn.Module):
    """A Transformer layer over ragged sequences in which a position sees itself and what came before."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.read, self.after = Heads(dim, heads), Residual(dim, 4, dropout)

    def forward(self, x: Tensor, rows: Ragged) -> Tensor:
        """(S, D) -> (S, D). Padding stands behind the last position, where causality alone hides it."""
        normed = self.norm(x)
        joined = torch.cat([self.read.queries(normed), self.read.keys_values(normed)], 1)
        found = []
        for part in rows.blocked(joined):
            queries, keys, values = part.transpose(1, 2).chunk(3, 1)
            attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
            found.append(attended.transpose(1, 2).flatten(2))
        return self.after(x, self.read.out(rows.flat(found)))  # type: ignore[no-any-return]


def _split(x: Tensor, heads: int) -> Tensor:
    """(..., H d) -> (..., H, d)."""
    return x.view(*x.shape[:-1], heads, -1)


def attend(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of (n, H, Q, d) on (n, H, L, d) -> (n, H, Q, d).

    Args:
        queries: of each set.
        keys: of each set.
        values: of each set.
        mask: (n, L) bool of the keys, True = real; None when all are.
    """
    seen = None if mask is None else mask[:, None, None, :]
    return F.scaled_dot_product_attention(queries, keys, values, attn_mask=seen)
