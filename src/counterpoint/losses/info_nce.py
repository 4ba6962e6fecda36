"""InfoNCE over paired rows: one-way, two-way (CLIP), with exclusions and hard-negative weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses.gather import gather_rows, world_size
from counterpoint.losses.log_sums import EMPTY, LogSums, Sweep, own_sums
from counterpoint.losses.sharing import Sharing, check_keys, check_pairs, computing_dtype, share
from counterpoint.losses.tiles import blocks

Direction = Literal["one-way", "two-way"]


def info_nce(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    *,
    direction: Direction = "two-way",
    exclude: Sequence[Tensor] = (),
    hard_negative_weight: float = 0.0,
) -> Tensor:
    """Contrast each row with its pair among the rows of the other side (van den Oord et al. 2018; CLIP, 2021).

    With ``l_ij = scale * cos(a_i, b_j)`` the loss of anchor i is ``log(1 + exp(n_i - l_ii))``, where ``n_i`` is the
    logarithm of the sum of ``exp(l_ij)`` over the negatives of i. All other rows of the global batch are negatives,
    those of the other ranks included. It is the cross-entropy of the pair among N candidates: ln N when all
    similarities are equal. Rows are normalised inside; float16 and bfloat16 are computed in float32. The matrix of
    logits is never stored.

    With ``hard_negative_weight`` = beta > 0 (Robinson et al. 2021, "Contrastive learning with hard negative samples",
    with tau_plus = 0), negative j of anchor i counts with ``w_ij = M_i exp(beta l_ij) / sum_k exp(beta l_ik)``, over
    the M_i negatives of i: mean 1, larger for the harder ones, so that
    ``exp(n_i) = M_i * sum_j exp((1 + beta) l_ij) / sum_j exp(beta l_ij)``. As in the authors' program the weights
    are part of the function: the gradient goes through them. It takes two sweeps instead of one.

    Args:
        a: (B, D) rows of one side, on every rank as many.
        b: (B, D) rows of the other side; b[i] belongs to a[i].
        scale: one number > 0, 1 / temperature. Its gradient is exact.
        direction: "one-way" takes the anchors from ``a`` alone, "two-way" is the mean over both sides.
        exclude: int64 (B,) keys, a tensor a criterion (id, label, group). A row that shares any of them with the anchor
            is no negative of it; -1 is shared with nobody. The true pair always stays.
        hard_negative_weight: beta >= 0; 0 weighs all negatives alike.

    Returns:
        () mean over the anchors. An anchor whose negatives are all excluded has the loss 0. Under
        ``torch.distributed``, the mean over this rank's anchors: averaged over the ranks, values and gradients are
        those of one process with the whole batch.

    Raises:
        ValueError: shapes that do not pair up, fewer than two rows in all, not a negative left in the whole batch,
            a scale or weight out of range.
    """
    _check(a, b, exclude, hard_negative_weight)
    dtype = computing_dtype(a, b)
    a, b, scale = a.to(dtype), b.to(dtype), scale.reshape(()).to(a.device, dtype)
    if len(a) * world_size() < 2:
        raise ValueError(f"info_nce: {len(a)} row has no negative; the batch must hold at least two rows")
    sharing = share(exclude, len(a), a.device)
    _check_negatives(sharing)
    sweep = Sweep(direction == "two-way", False, sharing.offset, sharing.own, sharing.everyone)
    with torch.autocast(a.device.type, enabled=False):
        others = gather_rows(b)
        if hard_negative_weight == 0.0:
            found = own_sums(a, others, scale, sweep)
        else:
            found = _hard_sums(a, others, scale, sweep, hard_negative_weight)
        sums = torch.stack((found.rows, found.columns)) if direction == "two-way" else found.rows
        # the threshold is where log1p(exp(x)) is x in float64; the default, 20, would cost 9 digits
        return functional.softplus(sums - found.pairs, threshold=40.0).mean()


def _hard_sums(a: Tensor, others: Tensor, scale: Tensor, sweep: Sweep, beta: float) -> LogSums:
    upper = own_sums(a, others, scale * (1 + beta), sweep)
    lower = own_sums(a, others, scale * beta, sweep)
    counts = _negatives(sweep.keys_a, sweep.keys_b, sweep.offset, len(a), len(others)).to(a.dtype)
    some, logs = counts > 0, counts.clamp_min(1).log()  # who shares a key is mutual: one count serves rows and columns
    rows = torch.where(some, upper.rows - lower.rows + logs, EMPTY)
    columns = upper.columns
    if sweep.columns:
        columns = torch.where(some, upper.columns - lower.columns + logs, EMPTY)
    return LogSums(rows, columns, upper.pairs / (1 + beta))


def _check(a: Tensor, b: Tensor, exclude: Sequence[Tensor], hard_negative_weight: float) -> None:
    check_pairs("info_nce", a, b)
    check_keys("info_nce", "exclude", exclude, len(a))
    if not (hard_negative_weight >= 0.0 and math.isfinite(hard_negative_weight)):
        raise ValueError(f"info_nce: hard_negative_weight must be >= 0 and finite, it is {hard_negative_weight}")


def _check_negatives(sharing: Sharing) -> None:
    """Raise on every rank alike, from the gathered keys; the first block of rows settles it in any sane batch."""
    anchors, candidates = sharing.all_as_anchors(), sharing.everyone
    count = anchors.shape[1]
    for part in blocks(count, 64):
        if _negatives(anchors[:, part], candidates, part.start, part.stop - part.start, count).any():
            return
    raise ValueError(
        f"info_nce: exclude leaves no negative to any of the {count} rows; draw batches of more groups, "
        "or exclude by fewer criteria"
    )


def _negatives(own: Tensor, everyone: Tensor, offset: int, rows: int, columns: int) -> Tensor:
    """(rows,) how many candidates are left to each anchor; its pair is not one."""
    counts = torch.full((rows,), columns - 1, device=own.device)
    if len(own) == 0:
        return counts
    for part in blocks(rows, 512):
        shared = (own[:, part].unsqueeze(2) == everyone.unsqueeze(1)).any(0)
        shared.diagonal(offset + part.start).fill_(False)
        counts[part] -= shared.sum(1)
    return counts
