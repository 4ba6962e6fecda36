"""Rows of all ranks in one tensor, with a gradient that finds its way back."""

from __future__ import annotations

from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import FunctionCtx


def world_size() -> int:
    """Number of ranks; 1 where ``torch.distributed`` is not initialised."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this rank; 0 where ``torch.distributed`` is not initialised."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather_rows(rows: Tensor) -> Tensor:
    """Stack the rows of all ranks in the order of the ranks.

    The backward pass *sums* over the ranks what each of them asks of a row. So a loss that is the mean over a rank's
    own rows has, after the gradient averaging of ``DistributedDataParallel``, the gradient of one process that holds
    all rows. Without ``torch.distributed``, or with one rank, the tensor is returned as it is.

    Args:
        rows: (B, ...), the same shape on every rank; any dtype.

    Returns:
        (world * B, ...); the rows of this rank are ``[rank * B : (rank + 1) * B]``.

    Raises:
        ValueError: the ranks hold different numbers of rows (raised on all of them).
    """
    if world_size() == 1:
        return rows
    check_equal(rows)
    return cast(Tensor, _Gather.apply(rows))  # type: ignore[no-untyped-call]


def pass_on(rows: Tensor) -> Tensor:
    """Send rows to the next rank of the ring and take those of the one before; no gradient."""
    rows = rows.contiguous()
    came = torch.empty_like(rows)
    following, previous = (rank() + 1) % world_size(), (rank() - 1) % world_size()
    both = [dist.P2POp(dist.isend, rows, following), dist.P2POp(dist.irecv, came, previous)]
    for request in dist.batch_isend_irecv(both):
        request.wait()
    return came


def check_equal(rows: Tensor) -> None:
    """Raise ValueError on all ranks unless each brings as many rows."""
    mine = torch.tensor([len(rows)], device=rows.device)
    sizes = [torch.empty_like(mine) for _ in range(world_size())]
    dist.all_gather(sizes, mine)
    counts = [int(size) for size in sizes]
    if len(set(counts)) > 1:
        raise ValueError(
            f"gather_rows: every rank must bring the same number of rows, but by rank there are {counts}; "
            "use a global batch size that the number of ranks divides, and drop the last incomplete batch"
        )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, rows: Tensor) -> Tensor:
        gathered = rows.new_empty((world_size(), *rows.shape))
        dist.all_gather(list(gathered.unbind(0)), rows.contiguous())
        return gathered.flatten(0, 1)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> Tensor:
        # all_reduce and a slice instead of reduce_scatter: gloo knows it in every release
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]
