"""SigLIP's sigmoid loss between two modalities: every pair of rows is a question answered by yes or no."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses.gather import check_equal, gather_rows, rank, world_size
from counterpoint.losses.log_sums import DIRECT_LIMIT, check_scale, directions
from counterpoint.losses.sharing import check_columns, check_keys, check_pairs, computing_dtype, share
from counterpoint.losses.sigmoid_sums import Columns, sigmoid_sum

Exchange = Literal["gather", "ring"]


def siglip(
    a: Tensor,
    b: Tensor,
    scale: Tensor,
    bias: Tensor,
    *,
    positives: Sequence[Tensor] = (),
    exchange: Exchange = "gather",
) -> Tensor:
    """Tell pairs from all other rows, each by itself (Zhai et al. 2023, arXiv 2303.15343).

    With ``z_ij = scale * cos(a_i, b_j) + bias`` the loss is ``-sum_ij log sigmoid(y_ij z_ij) / N`` over all rows i and
    j of the global batch, y = +1 on pairs and on rows that share a key, -1 elsewhere. It is a mean over anchors and a
    *sum* over candidates. The paper starts from scale = 10 and bias = -10.

    Rows are normalised inside; float16 and bfloat16 are computed in float32. The matrix is never stored.

    Args:
        a: (B, D) rows of one modality, on every rank as many; a row of norm 0 has cosine 0 with everything.
        b: (B, D) rows of the other; b[i] belongs to a[i].
        scale: one number > 0. Its gradient is exact.
        bias: one number. Its gradient is exact.
        positives: int64 (B,) keys, a tensor a criterion (caption, group); rows that share any of them are positives of
            each other; -1 is shared with nobody.
        exchange: how the rows of ``b`` reach the other ranks. "gather" brings all to all at once; in a "ring" each rank
            holds the rows of one other at a time, which bounds memory whatever the number of ranks. Same results.

    Returns:
        () mean over this rank's anchors: averaged over the ranks, values and gradients are those of one process with
        the whole batch.

    Raises:
        ValueError: shapes that do not pair up, keys that do not fit, no row, a scale <= 0.
    """
    check_pairs("siglip", a, b)
    _check_rows("siglip", len(a))
    check_keys("siglip", "positives", positives, len(a))
    check_scale(scale)
    dtype = computing_dtype(a, b)
    a, b = a.to(dtype), b.to(dtype)
    scale, bias = (number.reshape(()).to(a.device, dtype) for number in (scale, bias))
    with torch.autocast(a.device.type, enabled=False):
        if world_size() == 1 and len(a) <= DIRECT_LIMIT:
            return siglip_from_logits(scale * (directions(a) @ directions(b).t()) + bias, positives=positives)
        sharing = share(positives, len(a), a.device)
        if exchange == "gather" or world_size() == 1:
            return sigmoid_sum(a, gather_rows(b), scale, bias, Columns(sharing, 0, 1)) / len(a)
        check_equal(b)
        return sigmoid_sum(a, b, scale, bias, Columns(sharing, rank(), world_size())) / len(a)


def siglip_from_logits(logits: Tensor, *, positives: Sequence[Tensor] = ()) -> Tensor:
    """``siglip`` of similarities that come from elsewhere, as from sequences; plain operations on the whole matrix.

    Args:
        logits: (B, world * B) ``scale * similarity + bias`` of this rank's rows with the columns of all ranks, in the
            order of the ranks (as ``gather_rows`` stacks them): column ``rank * B + i`` belongs to row i.
        positives: as in ``siglip``.

    Returns:
        () as ``siglip``.

    Raises:
        ValueError: a matrix of another shape, keys that do not fit, no row.
    """
    check_columns("siglip_from_logits", logits)
    _check_rows("siglip_from_logits", len(logits))
    check_keys("siglip_from_logits", "positives", positives, len(logits))
    logits = logits.to(computing_dtype(logits))
    same = share(positives, len(logits), logits.device).positives()
    # the threshold is where log1p(exp(x)) is x in float64; the default, 20, would cost 9 digits
    return functional.softplus(torch.where(same, -logits, logits), threshold=40.0).sum() / len(logits)


def _check_rows(loss: str, rows: int) -> None:
    if rows == 0:
        raise ValueError(f"{loss}: there is no row; every rank must bring at least one")
