"""CLIP's symmetric cross-entropy between two modalities, with several positives a row where rows share a key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses.class_sums import class_sums
from counterpoint.losses.gather import gather_rows, world_size
from counterpoint.losses.log_sums import Sweep, own_sums
from counterpoint.losses.sharing import (
    NO_CANDIDATE,
    Sharing,
    check_columns,
    check_keys,
    check_pairs,
    computing_dtype,
    share,
)

Gathering = Literal["local", "global"]


def clip(
    a: Tensor, b: Tensor, scale: Tensor, *, positives: Sequence[Tensor] = (), gather: Gathering = "local"
) -> Tensor:
    """Match the rows of two modalities both ways (Radford et al. 2021, arXiv 2103.00020).

    With ``l_ij = scale * cos(a_i, b_j)`` the loss of anchor a_i is ``log sum_j exp(l_ij)`` over all rows j of the
    global batch minus the mean of ``l_ip`` over its positives p; that of anchor b_j goes over the columns. Without keys
    the pair is the only positive, and the value is that of ``info_nce`` and of open_clip's ``ClipLoss``.

    With keys, the rows that share one with the anchor (clips of one caption, recordings of one group) are its
    positives beside its pair: cross-entropy against targets spread evenly over them. They stay among the candidates,
    so the loss cannot fall below ln P with P positives. ``info_nce(exclude=...)`` instead takes such rows out of the
    sum: there they are neither pulled nor pushed and only the pair is.

    Rows are normalised inside; float16 and bfloat16 are computed in float32. The matrix of logits is never stored.

    Args:
        a: (B, D) rows of one modality, on every rank as many; a row of norm 0 has cosine 0 with everything.
        b: (B, D) rows of the other; b[i] belongs to a[i].
        scale: one number > 0, 1 / temperature. Its gradient is exact. CLIP's limit of 100 is the caller's.
        positives: int64 (B,) keys, a tensor a criterion (caption, group); rows that share any of them are positives of
            each other; -1 is shared with nobody.
        gather: what a rank of several returns. "local" is the mean over its own anchors (open_clip's ``local_loss``
            with ``gather_with_grad``); "global" the mean over those of all ranks, the same number everywhere, at the
            price of exchanging it. Each rank computes the rows of its own anchors alone either way, and the gradients,
            averaged over the ranks, are those of one process with the whole batch.

    Returns:
        () the mean over anchors of both modalities.

    Raises:
        ValueError: shapes that do not pair up, keys that do not fit, fewer than two rows in all, a scale <= 0.
    """
    check_pairs("clip", a, b)
    _check_rows("clip", len(a))
    check_keys("clip", "positives", positives, len(a))
    dtype = computing_dtype(a, b)
    a, b, scale = a.to(dtype), b.to(dtype), scale.reshape(()).to(a.device, dtype)
    sharing = share(positives, len(a), a.device)
    sweep = Sweep(True, False, sharing.offset, sharing.own[:0], sharing.everyone[:0])
    with torch.autocast(a.device.type, enabled=False):
        others = gather_rows(b)
        found = own_sums(a, others, scale, sweep)
        # the threshold is where log1p(exp(x)) is x in float64; the default, 20, would cost 9 digits
        loss = functional.softplus(torch.stack((found.rows, found.columns)) - found.pairs, threshold=40.0).mean()
        if len(sharing.own):
            loss = loss + _company(a, b, others, scale, found.pairs, sharing)
        return _over_ranks(loss, gather)


def clip_from_logits(logits: Tensor, *, positives: Sequence[Tensor] = (), gather: Gathering = "local") -> Tensor:
    """``clip`` of similarities that come from elsewhere, as from sequences; plain operations on the whole matrix.

    Args:
        logits: (B, world * B) scaled similarities of this rank's rows with the columns of all ranks, in the order of
            the ranks (as ``gather_rows`` stacks them): column ``rank * B + i`` belongs to row i.
        positives: as in ``clip``.
        gather: as in ``clip``.

    Returns:
        () as ``clip``.

    Raises:
        ValueError: a matrix of another shape, keys that do not fit, fewer than two columns.
    """
    check_columns("clip_from_logits", logits)
    _check_rows("clip_from_logits", len(logits))
    check_keys("clip_from_logits", "positives", positives, len(logits))
    logits = logits.to(computing_dtype(logits))
    sharing = share(positives, len(logits), logits.device)
    own = slice(sharing.offset, sharing.offset + len(logits))
    same = sharing.positives()
    targets = logits.masked_fill(~same, 0.0)  # who shares with whom is mutual: one count serves rows and columns
    rows, columns = logits.logsumexp(1), gather_rows(logits.logsumexp(0, keepdim=True))[:, own].logsumexp(0)
    pulled = (targets.sum(1) + gather_rows(targets.sum(0, keepdim=True))[:, own].sum(0)) / same.sum(1)
    return _over_ranks((rows + columns - pulled).mean() / 2, gather)


def _check_rows(loss: str, rows: int) -> None:
    if rows * world_size() < 2:
        raise ValueError(f"{loss}: {rows} row has nothing to be told apart from; the batch must hold at least two rows")


def _over_ranks(loss: Tensor, gather: Gathering) -> Tensor:
    """The mean of all ranks for "global": its gradient to this rank's own loss, summed over the ranks, is 1."""
    return loss if gather == "local" else gather_rows(loss.reshape(1)).mean()


def _company(a: Tensor, b: Tensor, others: Tensor, scale: Tensor, pairs: Tensor, sharing: Sharing) -> Tensor:
    """() mean over the anchors of ``l_ii`` less the mean of ``l_ip`` over all positives, in O(N D) and without a mask.

    The positives of a row are the rows of its classes, one a criterion, less those in two of them, and so on: sums
    over them are sums over classes with signs. Classes of one row are left out (as class 0, with the weight 0), so
    that the digits of a tiny loss are not lost in differences; what they would add is made up for in the pairs.
    """
    classes, own = _classes(sharing), slice(sharing.offset, sharing.offset + len(a))
    counts = torch.stack([sign * joint.bincount()[joint[own]] for sign, joint in classes]).sum(0).to(a.dtype)
    used, pulled = torch.zeros_like(pairs), scale.new_zeros(())
    everyone = gather_rows(a)
    for sign, joint in classes:
        mine, count = _without_singles(joint)
        weights = sign * (mine[own] > 0) / counts
        used += weights
        for anchors, candidates in ((a, others), (b, everyone)):
            ours, theirs = class_sums(anchors, mine[own], count, weights), class_sums(candidates, mine, count)
            pulled = pulled + (ours * theirs).sum()
    return (torch.dot(1 - 1 / counts + used, pairs) - scale * pulled / 2) / len(a)


def _classes(sharing: Sharing) -> list[tuple[int, Tensor]]:
    """Numbers (N,) of the classes by each selection of criteria, each with the sign it has in sums over positives.

    A row is always in its own classes: without a key, it is in one by itself.
    """
    count = sharing.everyone.shape[1]
    alone = torch.arange(count, 2 * count, device=sharing.everyone.device)
    keys = torch.where(sharing.everyone == NO_CANDIDATE, alone, sharing.everyone)
    found = []
    for size in range(1, len(keys) + 1):
        for chosen in combinations(keys, size):
            joint = torch.zeros_like(alone)
            for key in chosen:
                joint = (joint * (2 * count) + key).unique(return_inverse=True)[1]
            found.append(((-1) ** (size + 1), joint))
    return found


def _without_singles(joint: Tensor) -> tuple[Tensor, int]:
    """The same classes as 1, 2, ..., those of one row all as 0, and how many numbers there are."""
    several = joint.bincount() > 1
    numbers = several.cumsum(0) * several
    return numbers[joint], int(several.sum()) + 1
