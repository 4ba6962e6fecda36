"""SupCon and NT-Xent: all rows of one set against each other."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses.class_sums import class_sums
from counterpoint.losses.gather import gather_rows, rank, world_size
from counterpoint.losses.log_sums import EMPTY, Sweep, check_scale, directions, log_sums
from counterpoint.losses.sharing import computing_dtype

UNLABELLED = -1
DIRECT_LIMIT = 512  # up to this many rows a mask of positives costs less than sums of classes


def sup_con(z: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """Pull rows of one class together, push all others apart (Khosla et al. 2020, "L_out").

    With ``l_ij = scale * cos(z_i, z_j)`` the loss of anchor i is ``log sum_{j != i} exp(l_ij)`` minus the mean of
    ``l_ip`` over its positives p, the other rows of its class in the global batch. It is ln(N - 1) when all
    similarities are equal, and cannot fall below ln(P - 1) with P rows a class. Rows are normalised inside; float16
    and bfloat16 are computed in float32. Neither logits nor masks of N x N are stored: one half of the symmetric
    matrix is swept in tiles, the positives enter through the sums of the classes.

    Rows without a positive are no anchors: the mean is over those that have one. Rows labelled -1 (not known) are
    nobody's positive and no anchor, but stand among the negatives of the others.

    NT-Xent (Chen et al. 2020, SimCLR) of two views is this loss with the ids of the recordings as labels::

        sup_con(torch.cat([a, b]), torch.cat([ids, ids]), scale)

    Args:
        z: (B, D) rows, on every rank as many.
        labels: (B,) int64 class of each row.
        scale: one number > 0, 1 / temperature. Its gradient is exact.

    Returns:
        () mean over the anchors. Under ``torch.distributed`` the share of this rank: averaged over the ranks, values
        and gradients are those of one process with the whole batch.

    Raises:
        ValueError: shapes that do not fit, a scale out of range, or not one row with a positive.
    """
    if z.ndim != 2 or labels.shape != z.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            "sup_con: z must be (rows, width) and labels int64 (rows,), they are "
            f"{(*z.shape,)} and {labels.dtype} {(*labels.shape,)}"
        )
    dtype = computing_dtype(z)
    z, scale, labels = z.to(dtype), scale.reshape(()).to(z.device, dtype), labels.to(z.device)
    with torch.autocast(z.device.type, enabled=False):
        if world_size() == 1 and len(z) <= DIRECT_LIMIT:
            return _direct(z, labels, scale)
        return _tiled(z, labels, scale)


def _direct(z: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """By plain operations on the whole matrix and a mask of positives."""
    check_scale(scale)
    rows = directions(z)
    with torch.no_grad():
        myself = torch.eye(len(z), dtype=torch.bool, device=z.device)
        others = labels.masked_fill(labels == UNLABELLED, UNLABELLED - 1)
        weights = (labels.unsqueeze(1) == others).to(z.dtype).fill_diagonal_(0.0)
        positives = weights.sum(1, keepdim=True)
        anchors = int(positives.count_nonzero())
        _check_anchors(anchors, len(z))
        weights /= positives.clamp_min_(1.0) * anchors
    # the diagonal is finite so that it vanishes under a weight of 0
    logs = functional.log_softmax((scale * (rows @ rows.t())).masked_fill(myself, EMPTY), dim=1)
    return -torch.dot(logs.flatten(), weights.flatten())


def _tiled(z: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    everyone = gather_rows(labels)
    names, numbers, counts = cast(
        tuple[Tensor, Tensor, Tensor], torch.unique(everyone, return_inverse=True, return_counts=True)
    )
    own = numbers[rank() * len(z) : (rank() + 1) * len(z)]
    pulling = (names != UNLABELLED) & (counts >= 2)
    anchors = int((counts * pulling).sum())
    _check_anchors(anchors, len(everyone))
    pushed = (_log_sums_over_others(z, scale) * pulling[own]).sum()
    pulled = (_pull(z, own, len(names)) * pulling / (counts - 1).clamp_min(1)).sum()
    return (pushed - scale * pulled) * world_size() / anchors


def _check_anchors(anchors: int, rows: int) -> None:
    if anchors == 0:
        raise ValueError(
            f"sup_con: none of the {rows} rows shares its label with another, so there is nothing to pull; "
            "draw batches of several rows a class"
        )


def _log_sums_over_others(z: Tensor, scale: Tensor) -> Tensor:
    """(B,) log of the sum of exp(l_ij) over all rows j but i itself."""
    alone = world_size() == 1
    no_keys = torch.empty(0, 0, dtype=torch.int32, device=z.device)
    sweep = Sweep(False, alone, 0 if alone else rank() * len(z), no_keys, no_keys)
    return log_sums(z, z if alone else gather_rows(z), scale, sweep).rows


def _pull(z: Tensor, classes: Tensor, count: int) -> Tensor:
    """(C,) sum of cosines over all ordered pairs of a class whose first member is a row of this rank.

    It is <sum of own rows, sum of all rows> less what each row has with itself: O(N D), no mask.
    """
    own = class_sums(z, classes, count)
    total = own if world_size() == 1 else gather_rows(own.unsqueeze(0)).sum(0)
    directed = (z.detach() != 0).any(1).to(z.dtype)  # a row of norm 0 has cosine 0 with itself too
    with_self = z.new_zeros(count).index_add_(0, classes, directed)
    with_all: Tensor = torch.linalg.vecdot(own, total)
    return with_all - with_self
