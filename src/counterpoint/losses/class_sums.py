"""sums of normalised rows by class: similarities summed over whole classes in O(N D), without a mask."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from counterpoint.losses.tiles import CPU_SIDE, blocks, row_factors, through_norm


def class_sums(z: Tensor, classes: Tensor, count: int, weights: Tensor | None = None) -> Tensor:
    """Sum the rows of each class, each brought to norm 1 first, without a normalised copy of the rows.

    Args:
        z: (N, D) float32 or float64, any norms; a row of norm 0 adds nothing and gets no gradient.
        classes: (N,) int64 of 0 .. count - 1.
        count: C.
        weights: (N,) what each row counts; 1 without. They get no gradient.

    Returns:
        (C, D).
    """
    return cast(Tensor, _ClassSums.apply(z, classes, count, weights))  # type: ignore[no-untyped-call]


class _ClassSums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, classes: Tensor, count: int, weights: Tensor | None) -> Tensor:
        factors = row_factors(z, 1.0)
        weighted = factors if weights is None else factors * weights.unsqueeze(1)
        sums = z.new_zeros(count, z.shape[1])
        for part in blocks(len(z), CPU_SIDE):
            sums.index_add_(0, classes[part], z[part] * weighted[part])
        ctx.save_for_backward(z, classes, factors, weights)
        return sums

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        z, classes, factors, weights = ctx.saved_tensors
        found = grads[0].index_select(0, classes)
        if weights is not None:
            found.mul_(weights.unsqueeze(1))
        through_norm(found, z, factors, 1.0)
        return found, None, None, None
