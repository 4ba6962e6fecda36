"""Sweeps over the matrix of scaled cosines, one tile at a time, so that it never exists as a whole.

A pairwise loss is a function of the logits ``l_ij = scale * cos(a_i, b_j)``. Its forward pass visits the tiles of
``Tiles`` and keeps sums; its backward pass visits them again through ``Tiles.gradients``, which asks for the loss's
derivative on each tile and turns it into derivatives of the rows and of the scale. Both sides carry the factor
``sqrt(scale) / norm`` per row, so normalisation costs no copy of the embeddings and both sides are alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

CPU_SIDE = 512  # with one thread; a tile of float32 is 1 MiB: it stays in the cache between the passes over it
ACCELERATOR_SIDE = 4096  # large enough that starting kernels costs nothing against running them


class Tile(NamedTuple):
    """A rectangle of the matrix.

    Attributes:
        rows: which rows of ``a``.
        columns: which rows of ``b``.
        a: (r, D) scaled rows of ``a``.
        b: (c, D) scaled rows of ``b``.
        logits: (r, c), in a buffer that the next tile overwrites.
    """

    rows: slice
    columns: slice
    a: Tensor
    b: Tensor
    logits: Tensor

    def pairs(self, offset: int) -> tuple[Tensor, slice]:
        """The logits of the pairs (i, i + offset) that lie in the tile, as a view, and the rows i they belong to."""
        shift = self.rows.start + offset - self.columns.start
        if not -len(self.logits) < shift < self.logits.shape[1]:
            return self.logits.new_empty(0), slice(0, 0)
        diagonal = self.logits.diagonal(shift)
        first = self.rows.start + max(0, -shift)
        return diagonal, slice(first, first + len(diagonal))


class Gradients(NamedTuple):
    """Derivatives with respect to the raw rows of ``a`` and ``b`` (both shares summed in ``a`` for one set), scale."""

    a: Tensor | None
    b: Tensor | None
    scale: Tensor


class Tiles:
    """The tiles of ``scale * cos(a_i, b_j)``, or of its upper triangle for one set of rows.

    A row of norm 0 has no direction: its cosines are 0 and it receives no gradient.
    """

    def __init__(self, a: Tensor, b: Tensor, scale: float, *, shift: float = 0.0, one_set: bool = False) -> None:
        """Prepare the sweep.

        Args:
            a: (N, D) float32 or float64, any norms.
            b: (M, D) likewise; ``a`` again for one set.
            scale: positive.
            shift: added to every logit; the derivative of the scale does not count it.
            one_set: visit only tiles on and above the diagonal; those above it stand for their mirror image as well.
        """
        self.scale = scale
        self.shift = shift
        self.one_set = one_set
        self._a, self._b = a, b
        self._factor_a = row_factors(a, scale)
        self._factor_b = self._factor_a if one_set else row_factors(b, scale)
        self._side = _side(a, b)

    def visit(self) -> Iterator[Tile]:
        """Yield the tiles; each overwrites the one before."""
        side_a, side_b = min(self._side, len(self._a)), min(self._side, len(self._b))
        left, right = self._a.new_empty(side_a, self._a.shape[1]), self._b.new_empty(side_b, self._b.shape[1])
        space = self._a.new_empty(side_a * side_b)
        for rows in blocks(len(self._a), side_a):
            a = torch.mul(self._a[rows], self._factor_a[rows], out=left[: rows.stop - rows.start])
            for columns in blocks(len(self._b), side_b):
                if self.one_set and columns.start < rows.start:
                    continue
                if self.one_set and columns.start == rows.start:
                    b = a
                else:
                    b = right[: columns.stop - columns.start]
                    torch.mul(self._b[columns], self._factor_b[columns], out=b)
                logits = space[: len(a) * len(b)].view(len(a), len(b))
                if self.shift:
                    logits.fill_(self.shift).addmm_(a, b.t())
                else:
                    torch.mm(a, b.t(), out=logits)
                yield Tile(rows, columns, a, b, logits)

    def gradients(self, slope: Callable[[Tile], Tensor], *, need_a: bool, need_b: bool) -> Gradients:
        """Sweep once more and collect the derivatives of the rows and of the scale.

        Args:
            slope: (r, c) derivative of the loss with respect to the logits of a tile; for one set, that of l_ij plus
                that of l_ji. It may overwrite the tile's logits.
            need_a: whether the derivative of ``a`` is wanted. That of the scale needs one of the two.
            need_b: whether the derivative of ``b`` is wanted.
        """
        need_a = need_a or self.one_set or not need_b
        sum_a = torch.zeros_like(self._a, memory_format=torch.contiguous_format) if need_a else None
        if self.one_set:
            sum_b = sum_a
        else:
            sum_b = torch.zeros_like(self._b, memory_format=torch.contiguous_format) if need_b else None
        for tile in self.visit():
            g = slope(tile)
            if sum_a is not None:
                sum_a[tile.rows].addmm_(g, tile.b)
            if sum_b is not None and not (self.one_set and tile.rows == tile.columns):
                sum_b[tile.columns].addmm_(g.t(), tile.a)
        total = self._a.new_zeros(())
        if sum_a is not None:
            total = through_norm(sum_a, self._a, self._factor_a, self.scale)
        if sum_b is not None and not self.one_set:
            total = through_norm(sum_b, self._b, self._factor_b, self.scale)
        # total = sum of slope * (logits - shift); one set has counted every pair from both its ends
        return Gradients(sum_a, sum_b, total / (2 * self.scale if self.one_set else self.scale))


def blocks(length: int, side: int) -> list[slice]:
    """Slices of at most ``side`` that cover ``range(length)``."""
    return [slice(start, min(start + side, length)) for start in range(0, length, side)]


def _side(a: Tensor, b: Tensor) -> int:
    """Longer tiles for more threads, up to a sixteenth of the matrix.

    Threads meet after every operation on a tile. Where one of them has to wait for a processor, that is milliseconds
    each time: on a busy machine the number of tiles decides the time.
    """
    if a.device.type != "cpu":
        return ACCELERATOR_SIDE
    return max(CPU_SIDE, min(CPU_SIDE * min(torch.get_num_threads(), 4), max(len(a), len(b)) // 4))


def row_factors(rows: Tensor, scale: float) -> Tensor:
    """(N, 1) numbers that bring rows to the norm sqrt(scale), 0 for a row without direction."""
    norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    return torch.where(norms == 0, 0.0, scale**0.5 / norms)


def through_norm(grads: Tensor, rows: Tensor, factors: Tensor, scale: float) -> Tensor:
    """Turn derivatives of the scaled rows into those of the raw rows, in place.

    Args:
        grads: (N, D) derivatives with respect to ``factors * rows``; overwritten.
        rows: (N, D) raw rows.
        factors: (N, 1) from ``row_factors``.
        scale: the squared norm of ``factors * rows``.

    Returns:
        () the sum of ``grads * factors * rows``.
    """
    total = rows.new_zeros(())
    for part in blocks(len(rows), CPU_SIDE if rows.device.type == "cpu" else ACCELERATOR_SIDE):
        scaled = rows[part] * factors[part]
        along = torch.linalg.vecdot(scaled, grads[part]).unsqueeze(1)
        total += along.sum()
        grads[part].addcmul_(scaled, along, value=-1 / scale).mul_(factors[part])
    return total
