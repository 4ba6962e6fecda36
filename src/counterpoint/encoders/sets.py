"""Attention over ragged sets and sequences: flat elements in and out, borders from a plan that all layers share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from counterpoint.ragged import Block, Ragged


class Heads(nn.Module):
    """Projections of multi-head attention; what attends to what is the caller's.

    Where a few learned points attend or are attended to, a product of two projections is cheaper than both: a score
    is x' (Wq' Wk) y, and what a head adds to the result is (Wo Wv) y. A key's bias shifts all scores of a query alike
    and takes no part.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads: {heads} do not divide the width {dim}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def joined(self, x: Tensor) -> Tensor:
        """(n, D) -> (n, 3 H, D / H): queries, keys, values."""
        weight = torch.cat([self.query.weight, self.key_value.weight])
        bias = torch.cat([self.query.bias, self.key_value.bias])
        return F.linear(x, weight, bias).view(len(x), 3 * self.heads, -1)

    def asked(self, points: Tensor) -> Tensor:
        """(Q, D) -> (H Q, D): times what is attended to, the scores of all heads of the points."""
        queries = self.query(points).view(len(points), self.heads, -1).transpose(0, 1)
        scores: Tensor = (queries @ self._keys()).flatten(0, 1)
        return scores

    def asking(self) -> tuple[Tensor, Tensor]:
        """Weight (H D, D) and bias (H D,) of what asks: times what is attended to, its scores in every head."""
        keys, weight = self._keys().transpose(1, 2), self.query.weight.view(self.heads, -1, self.query.in_features)
        return (keys @ weight).flatten(0, 1), (keys @ self.query.bias.view(self.heads, -1, 1)).flatten()

    def told(self) -> tuple[Tensor, Tensor]:
        """Weight (H, D, D) and bias (H, D) of what each head adds to the result from what it attends to."""
        dim = self.out.in_features
        out = self.out.weight.view(dim, self.heads, -1).transpose(0, 1)
        values = self.key_value.weight[dim:].view(self.heads, -1, dim)
        bias = (out @ self.key_value.bias[dim:].view(self.heads, -1, 1)).squeeze(2)
        return out @ values, bias + self.out.bias / self.heads

    def gathered(self, x: Tensor) -> Tensor:
        """(n, H D), what each head attended to on average, -> (n, D)."""
        weight, bias = self.told()
        return F.linear(x, weight.transpose(0, 1).flatten(1), bias.sum(0))

    def _keys(self) -> Tensor:
        """(H, D / H, D), over the root of D / H."""
        dim = self.out.in_features
        keys: Tensor = self.key_value.weight[:dim].view(self.heads, -1, dim) * (dim / self.heads) ** -0.5
        return keys


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
        x = sets.lay(x)
        normed = self.norm(x)
        scores = F.linear(normed, self.read.asked(self.points))
        weight, bias = self.read.told()
        values = F.linear(normed, weight.flatten(0, 1), bias.flatten())
        read = _Read.apply(scores, values, sets.blocks, self.read.heads)  # type: ignore[no-untyped-call]
        summary = self.after_read(self.points, read)
        queries = F.linear(normed, *self.write.asking())
        found = _Write.apply(queries, summary.to(queries.dtype), sets.blocks)  # type: ignore[no-untyped-call]
        out: Tensor = self.after_write(x, self.write.gathered(found))
        return sets.lift(out)


class SetPooling(nn.Module):
    """Pooling by attention (PMA, Lee et al. 2019): one learned query reads the events of a set."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.seed = nn.Parameter(torch.randn(1, dim) * dim**-0.5)
        self.norm = nn.LayerNorm(dim)
        self.read, self.after = Heads(dim, heads), Residual(dim, 1, dropout)

    def forward(self, x: Tensor, sets: Ragged) -> Tensor:
        """(E, D) -> (S, D)."""
        normed = self.norm(sets.lay(x))
        scores = F.linear(normed, self.read.asked(self.seed))
        read = _Read.apply(scores, normed.to(scores.dtype), sets.blocks, 1)  # type: ignore[no-untyped-call]
        return sets.home(self.after(self.seed, self.read.gathered(read.flatten(1))))


class CausalLayer(nn.Module):
    """A Transformer layer over ragged sequences in which a position sees itself and what came before."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.read, self.after = Heads(dim, heads), Residual(dim, 4, dropout)

    def forward(self, x: Tensor, rows: Ragged) -> Tensor:
        """(S, D) -> (S, D). Padding stands behind the last position, where causality alone hides it."""
        found = []
        for part in rows.blocked(self.read.joined(self.norm(x))):
            queries, keys, values = part.transpose(1, 2).chunk(3, 1)
            attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
            found.append(attended.transpose(1, 2).flatten(2))
        return self.after(x, self.read.out(rows.flat(found)))  # type: ignore[no-any-return]


class _Read(torch.autograd.Function):
    """Points read sets: from (P, H Q) scores and (P, H W) values of places to (S', Q, W), summed over heads.

    All heads of a block are one product of matrices, and nothing is copied on the way.
    """

    @staticmethod
    def forward(ctx: Any, scores: Tensor, values: Tensor, blocks: list[Block], heads: int) -> Tensor:
        sizes = scores.shape[1] // heads, values.shape[1] // heads
        weights, out = torch.empty_like(scores), values.new_empty(sum(len(block.members) for block in blocks), *sizes)
        for block, places, sets in _walk(blocks):
            shape = (len(block.members), block.length * heads, -1)
            seen = scores[places].view(shape[0], block.length, -1)
            if block.mask is not None:
                seen = seen.masked_fill(~block.mask.unsqueeze(2), -torch.inf)
            torch.softmax(seen, 1, out=weights[places].view(seen.shape))
            torch.bmm(weights[places].view(shape).transpose(1, 2), values[places].view(shape), out=out[sets])
        ctx.save_for_backward(weights, values)
        ctx.blocks, ctx.heads = blocks, heads
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        weights, values = ctx.saved_tensors
        to_scores, to_values = torch.empty_like(weights), torch.empty_like(values)
        for block, places, sets in _walk(ctx.blocks):
            shape = (len(block.members), block.length * ctx.heads, -1)
            flat, gradient = (len(block.members), block.length, -1), gradients[0][sets]
            torch.bmm(weights[places].view(shape), gradient, out=to_values[places].view(shape))
            found = torch.bmm(values[places].view(shape), gradient.transpose(1, 2)).view(flat)
            _through_softmax(weights[places].view(flat), found, 1, to_scores[places].view(flat))
        return to_scores, to_values, None, None


class _Write(torch.autograd.Function):
    """Places read the points of their set: from queries (P, H D) and points (S', Q, D) to (P, H D), a head apart."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, points: Tensor, blocks: list[Block]) -> Tensor:
        heads = queries.shape[1] // points.shape[2]
        out, weights = torch.empty_like(queries), queries.new_empty(len(queries), heads * points.shape[1])
        for block, places, sets in _walk(blocks):
            shape = (len(block.members), block.length * heads, -1)
            scores = torch.bmm(queries[places].view(shape), points[sets].transpose(1, 2))
            torch.softmax(scores, 2, out=weights[places].view(shape))
            torch.bmm(weights[places].view(shape), points[sets], out=out[places].view(shape))
        ctx.save_for_backward(queries, points, weights)
        ctx.blocks = blocks
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, points, weights = ctx.saved_tensors
        heads = queries.shape[1] // points.shape[2]
        to_queries, to_points = torch.empty_like(queries), torch.empty_like(points)
        given = gradients[0].contiguous()
        for block, places, sets in _walk(ctx.blocks):
            shape = (len(block.members), block.length * heads, -1)
            shares, gradient = weights[places].view(shape), given[places].view(shape)
            found = torch.bmm(gradient, points[sets].transpose(1, 2))
            _through_softmax(shares, found, 2, found)
            torch.bmm(found, points[sets], out=to_queries[places].view(shape))
            torch.bmm(shares.transpose(1, 2), gradient, out=to_points[sets])
            to_points[sets].baddbmm_(found.transpose(1, 2), queries[places].view(shape))
        return to_queries, to_points, None


def _walk(blocks: list[Block]) -> Iterator[tuple[Block, slice, slice]]:
    """Every block with its places and its sets."""
    place = members = 0
    for block in blocks:
        ends = place + len(block.members) * block.length, members + len(block.members)
        yield block, slice(place, ends[0]), slice(members, ends[1])
        place, members = ends


def _through_softmax(weights: Tensor, gradient: Tensor, dim: int, out: Tensor) -> None:
    """The gradient of a softmax's input into ``out``, from that of its output, which is overwritten."""
    gradient.mul_(weights)
    torch.addcmul(gradient, weights, gradient.sum(dim, keepdim=True), value=-1, out=out)
