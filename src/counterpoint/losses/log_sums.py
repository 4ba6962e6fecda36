"""Logarithms of sums of exponentials over the other rows: the engine under InfoNCE and SupCon.

Both are functions of ``log sum_j exp(l_ij)`` with ``l_ij = scale * cos(a_i, b_j)`` over an anchor's candidates
*without* its own pair. The pair is left out of the sum, inside its tile, so that ``softplus(sum - pair)`` and its
gradient keep their relative accuracy when the loss is tiny; a sum that holds the pair would cancel against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from counterpoint.losses.gather import gather_rows, world_size
from counterpoint.losses.tiles import Tile, Tiles

EMPTY = -1e30
"""Logarithm of a sum without terms. Finite, so that differences and gradients of it are never NaN."""

BARE_EXP_LIMIT = {torch.float32: 75.0, torch.float64: 600.0}
"""Largest scale up to which exp(l) and sums of it need no maximum subtracted: cosines bound |l| by the scale."""


DIRECT_LIMIT = 256
"""Up to this many rows plain operations on the whole matrix are the fastest, and it is smaller than a tile."""


LOG2_E = math.log2(math.e)


class LogSums(NamedTuple):
    """What one sweep gives.

    Attributes:
        rows: (N,) of anchor a_i over its candidates in b, ``EMPTY`` where it has none.
        columns: (M,) of anchor b_j over its candidates in a; (0,) when not asked for.
        pairs: (N,) logits of the pairs (a_i, b_{i + offset}).
    """

    rows: Tensor
    columns: Tensor
    pairs: Tensor


class Sweep(NamedTuple):
    """What a sweep looks at.

    Attributes:
        columns: whether sums along the columns are wanted too.
        one_set: whether a and b are the same rows; columns then follow by symmetry and are not returned.
        offset: the pair of row i is column i + offset.
        keys_a: (K, N) int, and
        keys_b: (K, M) int: where any of the K agrees, the candidate is left out. Nothing is left out when K = 0.
    """

    columns: bool
    one_set: bool
    offset: int
    keys_a: Tensor
    keys_b: Tensor

    def hide(self, tile: Tile, value: float) -> None:
        """Write ``value`` over the logits of the candidates that share a key with the anchor."""
        for row_keys, column_keys in zip(self.keys_a, self.keys_b, strict=True):
            same = row_keys[tile.rows].unsqueeze(1) == column_keys[tile.columns]
            tile.logits.masked_fill_(same, value)


def log_sums(a: Tensor, b: Tensor, scale: Tensor, sweep: Sweep) -> LogSums:
    """Compute the sums, exactly and differentiably, without the N x M matrix.

    Args:
        a: (N, D) float32 or float64, any norms; a row of norm 0 has cosine 0 with everything and gets no gradient.
        b: (M, D) of the same dtype; ``a`` itself when ``sweep.one_set``.
        scale: () positive, of the same dtype.
        sweep: see there.

    Raises:
        ValueError: the scale is not positive.
    """
    value = check_scale(scale)
    assert a.dtype == b.dtype == scale.dtype
    assert a.dtype in BARE_EXP_LIMIT
    assert not sweep.one_set or (a is b and sweep.offset == 0 and not sweep.columns)
    bare = value < BARE_EXP_LIMIT[a.dtype]  # False for NaN, which goes the safe way and comes out
    if max(len(a), len(b)) <= DIRECT_LIMIT:
        return _direct(a, b, scale, sweep, bare)
    return _tiled(a, b, scale, _Plan(value, LOG2_E if bare else 1.0, not bare, sweep))


def own_sums(a: Tensor, others: Tensor, scale: Tensor, sweep: Sweep) -> LogSums:
    """The same for the anchors of this rank, ``a`` and rows ``offset .. offset + B`` of ``others``, (B,) each.

    Sums along the rows are complete; those along the columns are put together from the shares of all ranks.
    """
    found = log_sums(a, others, scale, sweep)
    if not sweep.columns or world_size() == 1:
        return found
    shares = gather_rows(found.columns.unsqueeze(0))
    columns = shares[:, sweep.offset : sweep.offset + len(a)].logsumexp(0)
    return found._replace(columns=columns.clamp_min(EMPTY))


def check_scale(scale: Tensor) -> float:
    """The scale as a number; NaN is let through, so that it shows in the loss."""
    value = float(scale.detach())
    if value <= 0:
        raise ValueError(f"scale = 1 / temperature must be positive, it is {value}")
    return value


def _direct(a: Tensor, b: Tensor, scale: Tensor, sweep: Sweep, bare: bool) -> LogSums:
    """The same by plain operations on the whole matrix; fewer of them where bare exponentials do."""
    left = directions(a)
    logits = scale * (left @ (left if sweep.one_set else directions(b)).t())
    pairs = logits.diagonal(sweep.offset)[: len(a)]
    none = logits.new_empty(0)
    if bare and len(a) > 1 and len(sweep.keys_a) == 0:  # every sum has terms, so its logarithm has a gradient
        others = torch.ones_like(logits)
        others.diagonal(sweep.offset)[: len(a)].zero_()
        e = logits.exp() * others
        return LogSums(e.sum(1).log(), e.sum(0).log() if sweep.columns else none, pairs)
    hidden = torch.zeros_like(logits, dtype=torch.bool)
    hidden.diagonal(sweep.offset)[: len(a)].fill_(True)
    for row_keys, column_keys in zip(sweep.keys_a, sweep.keys_b, strict=True):
        hidden |= row_keys.unsqueeze(1) == column_keys
    logits = logits.masked_fill(hidden, EMPTY)
    return LogSums(logits.logsumexp(1), logits.logsumexp(0) if sweep.columns else none, pairs)


def directions(rows: Tensor) -> Tensor:
    """(N, D) rows of norm 1; a row of norm 0 stays as it is and gets no gradient through here."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    result: Tensor = rows / norms.masked_fill(norms == 0, torch.inf)
    return result


def _tiled(a: Tensor, b: Tensor, scale: Tensor, plan: _Plan) -> LogSums:
    return LogSums(*_LogSums.apply(a, b, scale, plan))  # type: ignore[no-untyped-call]


class _Plan(NamedTuple):
    """What the passes know beforehand.

    Attributes:
        scale: as a number.
        unit: what the tiles hold is ``unit * l``: LOG2_E for bare exponentials, since 2^x costs half of e^x; else 1.
        safe: whether bare exponentials could overflow.
        sweep: as asked for.
    """

    scale: float
    unit: float
    safe: bool
    sweep: Sweep


class _LogSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, plan: _Plan) -> tuple[Tensor, Tensor, Tensor]:
        sweep = plan.sweep
        rows = a.new_full((len(a),), -torch.inf if plan.safe else 0.0)
        columns = rows.new_full((len(b) if sweep.columns else 0,), -torch.inf if plan.safe else 0.0)
        pairs = torch.zeros_like(rows)
        add = _add_safely if plan.safe else _add_exp
        with torch.autocast(a.device.type, enabled=False):
            for tile in Tiles(a, b, plan.scale * plan.unit, one_set=sweep.one_set).visit():
                diagonal, owners = tile.pairs(sweep.offset)
                pairs[owners] = diagonal
                diagonal.fill_(-torch.inf)
                sweep.hide(tile, -torch.inf)
                add(tile, rows, rows if sweep.one_set else columns, sweep)
        for sums in (rows, columns):
            (sums if plan.safe else sums.log_()).clamp_(min=EMPTY)
        pairs /= plan.unit
        ctx.plan = plan
        ctx.save_for_backward(a, b, rows, columns)
        return rows, columns, pairs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor, None]:
        a, b, rows, columns = ctx.saved_tensors
        plan: _Plan = ctx.plan
        for_rows, for_columns, for_pairs = (grad / plan.unit for grad in grads)
        sweep = plan.sweep
        if sweep.one_set:
            columns, for_columns = rows, for_rows
        slope_of = _safe_slope if plan.safe else _bare_slope
        slope = slope_of(_Side(rows, for_rows), _Side(columns, for_columns))

        def with_pairs(tile: Tile) -> Tensor:
            sweep.hide(tile, -torch.inf)
            result = slope(tile)
            diagonal, owners = tile._replace(logits=result).pairs(sweep.offset)
            diagonal.copy_(for_pairs[owners])
            return result

        with torch.autocast(a.device.type, enabled=False):
            tiles = Tiles(a, b, plan.scale * plan.unit, one_set=sweep.one_set)
            found = tiles.gradients(with_pairs, need_a=ctx.needs_input_grad[0], need_b=ctx.needs_input_grad[1])
        return found.a, None if sweep.one_set else found.b, found.scale * plan.unit, None


class _Side(NamedTuple):
    """Log-sums of one direction and the derivative of the loss with respect to them; both empty when not used."""

    sums: Tensor
    grads: Tensor


def _mirrors(tile: Tile, sweep: Sweep) -> bool:
    """Whether the tile has sums to give along its columns."""
    return sweep.columns or (sweep.one_set and tile.rows != tile.columns)


def _add_exp(tile: Tile, rows: Tensor, columns: Tensor, sweep: Sweep) -> None:
    e = tile.logits.exp2_()
    rows[tile.rows] += e.sum(1)
    if _mirrors(tile, sweep):
        columns[tile.columns] += e.sum(0)


def _add_safely(tile: Tile, rows: Tensor, columns: Tensor, sweep: Sweep) -> None:
    part = rows[tile.rows]
    torch.logaddexp(part, tile.logits.logsumexp(1), out=part)
    if _mirrors(tile, sweep):
        part = columns[tile.columns]
        torch.logaddexp(part, tile.logits.logsumexp(0), out=part)


def _bare_slope(row: _Side, column: _Side) -> Callable[[Tile], Tensor]:
    """exp(l_ij) * (u_i + v_j) with u = gradient / sum: one exponential serves both directions."""
    u, v = (side.grads * torch.exp(-side.sums.masked_fill(side.sums == EMPTY, torch.inf)) for side in (row, column))
    space = u.new_empty(0)

    def slope(tile: Tile) -> Tensor:
        nonlocal space
        e = tile.logits.exp2_()
        if len(v) == 0:
            return e.mul_(u[tile.rows].unsqueeze(1))
        if len(space) < e.numel():
            space = e.new_empty(e.numel())
        weights = torch.add(u[tile.rows].unsqueeze(1), v[tile.columns], out=space[: e.numel()].view_as(e))
        return weights.mul_(e)

    return slope


def _safe_slope(row: _Side, column: _Side) -> Callable[[Tile], Tensor]:
    """The same with the sum inside the exponential, where it cannot overflow; one exponential a direction."""
    r, c = (side.sums.masked_fill(side.sums == EMPTY, torch.inf) for side in (row, column))

    def slope(tile: Tile) -> Tensor:
        total = (tile.logits - r[tile.rows].unsqueeze(1)).exp_().mul_(row.grads[tile.rows].unsqueeze(1))
        if len(c):
            total += (tile.logits - c[tile.columns]).exp_().mul_(column.grads[tile.columns])
        return total

    return slope
