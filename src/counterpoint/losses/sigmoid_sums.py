"""sums of log-sigmoids over all pairs of rows: the engine under SigLIP.

The loss is one number, so that its derivatives are known up to a factor while it is computed: one sweep over the tiles
gives value and derivatives, with one exponential an entry, where losses over rows have to sweep twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses.gather import gather_rows, pass_on
from counterpoint.losses.log_sums import LOG2_E
from counterpoint.losses.sharing import Sharing, shared
from counterpoint.losses.tiles import Tile, Tiles

LINEAR = {torch.float32: 20.0, torch.float64: 40.0}
"""Beyond this z, softplus(z) is z and sigmoid(z) is 1 to the last digit. Four exp of it can be multiplied."""


class Columns(NamedTuple):
    """How the columns are spread over the ranks.

    Attributes:
        sharing: keys of the rows and of the columns of all ranks.
        place: which part of the columns ``b`` is, out of
        parts: 1 when ``b`` holds all columns; with more, the parts go round the ring of the ranks.
    """

    sharing: Sharing
    place: int
    parts: int

    def part(self, step: int) -> Sharing:
        """Keys of the part that is here after as many steps of the ring."""
        width = self.sharing.everyone.shape[1] // self.parts
        first = (self.place - step) % self.parts * width
        keys = self.sharing.everyone[:, first : first + width]
        return Sharing(self.sharing.own, keys, self.sharing.offset - first)


def sigmoid_sum(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, columns: Columns) -> Tensor:
    """``-sum log sigmoid(y_ij (scale * cos(a_i, b_j) + bias))`` over these rows and the columns of all ranks, exactly.

    Args:
        a: (B, D) float32 or float64, any norms; a row of norm 0 has cosine 0 with everything and gets no gradient.
        b: (M, D) of the same dtype.
        scale: () positive, of the same dtype.
        bias: () of the same dtype.
        columns: see there. In a ring, the derivative of ``b`` is summed over the ranks on its way home.

    Returns:
        () of the same dtype.
    """
    assert a.dtype == b.dtype == scale.dtype == bias.dtype
    assert a.dtype in LINEAR
    plan = _Plan(float(scale.detach()), float(bias.detach()), columns, torch.is_grad_enabled())
    return cast(Tensor, _SigmoidSum.apply(a, b, scale, bias, plan))  # type: ignore[no-untyped-call]


class _Plan(NamedTuple):
    """What the passes know beforehand: the numbers, the columns, and whether anything is to be learned."""

    scale: float
    bias: float
    columns: Columns
    learning: bool


class _Found(NamedTuple):
    """The sum and its derivatives; None for rows nobody asked about."""

    value: Tensor
    a: Tensor | None
    b: Tensor | None
    scale: Tensor
    bias: Tensor


class _SigmoidSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, plan: _Plan) -> Tensor:
        if not plan.learning:
            return _value(a, b, plan)
        ctx.plan = plan
        ctx.save_for_backward(a, b)
        ctx.found = _sweep(a, b, plan, ctx.needs_input_grad)
        return cast(Tensor, ctx.found.value)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        a, b = ctx.saved_tensors
        factor = grads[0]
        found, ctx.found = ctx.found, None  # used up here: its rows become the gradients, without a copy
        if ctx.plan.columns.parts > 1 and not _alike(factor):
            found, factor = _round(a, b, ctx.plan, float(factor)), torch.ones_like(factor)
        elif found is None:  # a second backward pass over the same graph
            found = _sweep(a, b, ctx.plan, ctx.needs_input_grad)
        rows = (None if grad is None else grad.mul_(factor) for grad in (found.a, found.b))
        return *rows, found.scale * factor, found.bias * factor, None


def _alike(factor: Tensor) -> bool:
    """Whether all ranks weigh their loss alike; else the shares of a row in the ring cannot be weighed at its home."""
    factors = gather_rows(factor.reshape(1))
    return bool((factors == factors[0]).all())


def _value(a: Tensor, b: Tensor, plan: _Plan) -> Tensor:
    """The sum alone."""
    total = a.new_zeros(())
    with torch.autocast(a.device.type, enabled=False):
        for step in range(plan.columns.parts):
            b = pass_on(b) if step else b
            part = _Part(a, b, plan, step)
            for tile in part.tiles.visit():
                part.slope(tile)
            total += part.value
    return total


def _sweep(a: Tensor, b: Tensor, plan: _Plan, needed: Sequence[bool]) -> _Found:
    """The sum and its derivatives."""
    if plan.columns.parts > 1:
        return _round(a, b, plan, 1.0)
    return _Part(a, b, plan, 0).derive(need_a=needed[0], need_b=needed[1])


def _round(a: Tensor, b: Tensor, plan: _Plan, weight: float) -> _Found:
    """Once round the ring: the rows of each rank come by, with what the ranks before have asked of them.

    Args:
        a: these rows.
        b: the columns that are at home here.
        plan: see there.
        weight: what the derivatives are multiplied by.
    """
    ours, asked = torch.zeros_like(a), torch.zeros_like(b)
    numbers = a.new_zeros(3)
    for step in range(plan.columns.parts):
        if step:
            b, asked = pass_on(b), pass_on(asked)
        found = _Part(a, b, plan, step).derive(need_a=True, need_b=True)
        assert found.a is not None
        assert found.b is not None
        ours.add_(found.a, alpha=weight)
        asked.add_(found.b, alpha=weight)
        numbers += torch.stack((found.value, found.scale * weight, found.bias * weight))
    value, scale, bias = numbers
    return _Found(value, ours, pass_on(asked), scale, bias)


class _Part:
    """The sum over these rows and one part of the columns; the tiles hold ``z / ln 2``, as 2^x costs half of e^x."""

    def __init__(self, a: Tensor, b: Tensor, plan: _Plan, step: int) -> None:
        self.tiles = Tiles(a, b, plan.scale * LOG2_E, shift=plan.bias * LOG2_E)
        self.value, self.bias = a.new_zeros(()), a.new_zeros(())
        self._sharing = plan.columns.part(step)
        # -y z is at most this; positives of a tile without company are taken out of it before
        self._most = plan.scale + (abs(plan.bias) if len(self._sharing.own) else plan.bias)
        self._space = a.new_empty(0)

    def derive(self, *, need_a: bool, need_b: bool) -> _Found:
        """Sweep, with derivatives."""
        with torch.autocast(self.value.device.type, enabled=False):
            found = self.tiles.gradients(self.slope, need_a=need_a, need_b=need_b)
        # slope is that of z, the tiles hold z / ln 2
        for grad in (found.a, found.b):
            if grad is not None:
                grad.div_(LOG2_E)
        return _Found(self.value, found.a, found.b, found.scale, self.bias)

    def slope(self, tile: Tile) -> Tensor:
        """Add the tile to the sum and overwrite it with the derivatives, -y sigmoid(-y z)."""
        signs = self._signs(tile)
        if signs is not None:
            slopes = self._sigmoids(tile.logits.mul_(signs)).mul_(signs)
        else:
            pairs = tile.pairs(self._sharing.offset)[0]
            against = pairs / -LOG2_E  # -z
            pairs.fill_(-torch.inf)
            slopes = self._sigmoids(tile.logits)
            self.value += functional.softplus(against, threshold=40.0).sum()
            pairs.copy_(-against.sigmoid())
        self.bias += slopes.sum()
        return slopes

    def _sigmoids(self, x: Tensor) -> Tensor:
        """Add softplus(z) to the sum and overwrite x = z / ln 2 with sigmoid(z), by a single exponential."""
        limit = LINEAR[x.dtype]
        if not self._most <= limit:  # NaN goes the careful way, and comes out
            self.value += torch.relu(x - limit * LOG2_E).sum() / LOG2_E
            x.clamp_(max=limit * LOG2_E)
        e = x.exp2_()
        if len(self._space) < e.numel():
            self._space = e.new_empty(e.numel())
        self.value += _log1p_sum(e.view(-1), self._space)
        return e.div_(torch.add(e, 1, out=self._space[: e.numel()].view_as(e)))

    def _signs(self, tile: Tile) -> Tensor | None:
        """(r, c) of -y; None where no positives but pairs are in the tile."""
        keys = self._sharing
        if len(keys.own) == 0:
            return None
        same = shared(keys.own[:, tile.rows], keys.everyone[:, tile.columns])
        if not same.any():
            return None
        tile._replace(logits=same).pairs(keys.offset)[0].fill_(True)
        return same.to(tile.logits.dtype).mul_(-2).add_(1)


def _log1p_sum(e: Tensor, space: Tensor) -> Tensor:
    """Sum of log(1 + e) with one logarithm for four: (1 + u)(1 + v) = 1 + (u + v + u v) keeps the digits of a tiny u.

    Args:
        e: (n,) >= 0.
        space: (n or more,) overwritten.
    """
    quarter = len(e) // 4
    u, v = e[: 4 * quarter].view(2, -1)
    t = torch.add(u, v, out=space[: 2 * quarter]).addcmul_(u, v)
    u, v = t.view(2, -1)
    t = torch.add(u, v, out=space[2 * quarter : 3 * quarter]).addcmul_(u, v)
    return t.log1p_().sum() + e[4 * quarter :].log1p().sum()
