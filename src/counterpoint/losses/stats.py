"""Numbers that tell whether a contrastive run learns, collapses or cheats; no gradient, bounded cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class ContrastStats(NamedTuple):
    """Scalars of one batch; ``_asdict()`` gives what a log takes. Similarities are cosines.

    Attributes:
        top1: share of anchors a_i whose pair b_i is more similar to them than every negative.
        top1_chance: what guessing gives, the mean of 1 / candidates; 1 / N without exclusions.
        positive_similarity: mean over the pairs.
        negative_similarity: mean over all negatives that count.
        gap: the former minus the latter; 0 when nothing is told apart.
        norm_a: mean norm of the rows of ``a`` before normalisation.
        norm_b: the same of ``b``.
        alignment: mean squared distance of the pairs; 0 is perfect (Wang & Isola 2020, alpha = 2).
        uniformity: log of the mean of exp(-2 |x - y|^2) over pairs of different rows of one side, mean of both sides;
            0 when all rows coincide, about -4 when spread evenly in many dimensions (Wang & Isola 2020, t = 2).
        effective_rank: exp of the entropy of the singular values of the normalised rows of ``a``, from 1 (all rows
            on one line) to min(N, D) (Roy & Vetterli 2007).
        feature_std: standard deviation over the rows of a normalised feature, mean over the features of ``a``; 0 when
            collapsed, about 1 / sqrt(D) when healthy (Chen & He 2021).
    """

    top1: Tensor
    top1_chance: Tensor
    positive_similarity: Tensor
    negative_similarity: Tensor
    gap: Tensor
    norm_a: Tensor
    norm_b: Tensor
    alignment: Tensor
    uniformity: Tensor
    effective_rank: Tensor
    feature_std: Tensor


@torch.no_grad()
def contrast_stats(a: Tensor, b: Tensor, *, exclude: Sequence[Tensor] = (), limit: int = 1024) -> ContrastStats:
    """Describe paired embeddings as ``info_nce`` sees them, on this rank's rows alone.

    Args:
        a: (B, D) rows of one side, any norms.
        b: (B, D) rows of the other side; b[i] belongs to a[i].
        exclude: int64 (B,) keys as in ``info_nce``: rows that share one other than -1 are no negatives of each other.
        limit: use the first ``limit`` rows, so that the cost has a bound whatever the batch.

    Returns:
        Scalars () on the device of ``a``. Those over negatives are NaN when there is none.

    Raises:
        ValueError: shapes that do not pair up.
    """
    if a.ndim != 2 or a.shape != b.shape or len(a) == 0:
        raise ValueError(f"contrast_stats: a and b must both be (rows, width), not {(*a.shape,)} and {(*b.shape,)}")
    with torch.autocast(a.device.type, enabled=False):
        dtype = torch.promote_types(a.dtype, torch.float32)
        a, b = a[:limit].to(dtype), b[:limit].to(dtype)
        negative = ~torch.eye(len(a), dtype=torch.bool, device=a.device)
        for keys in exclude:
            own = keys[:limit].to(a.device)
            negative &= (own.unsqueeze(1) != own) | (own == -1)
        x, y = functional.normalize(a), functional.normalize(b)
        cosines = x @ y.t()
        positives, counts = cosines.diagonal(), negative.sum(1)
        negatives = (cosines * negative).sum() / counts.sum()
        beaten = positives > cosines.masked_fill(~negative, -torch.inf).amax(1)
        return ContrastStats(
            top1=beaten.to(dtype).mean(),
            top1_chance=(1 / (counts + 1).to(dtype)).mean(),
            positive_similarity=positives.mean(),
            negative_similarity=negatives,
            gap=positives.mean() - negatives,
            norm_a=a.norm(dim=1).mean(),
            norm_b=b.norm(dim=1).mean(),
            alignment=(x - y).square().sum(1).mean(),
            uniformity=(_uniformity(x) + _uniformity(y)) / 2,
            effective_rank=_effective_rank(x),
            feature_std=x.std(0, correction=0).mean(),
        )


def _uniformity(unit: Tensor) -> Tensor:
    different = ~torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    squared = (2 - 2 * unit @ unit.t()).clamp_min(0.0)
    return ((-2 * squared).exp() * different).sum().div(len(unit) * (len(unit) - 1)).log()


def _effective_rank(unit: Tensor) -> Tensor:
    singular: Tensor = torch.linalg.svdvals(unit)
    entropy: Tensor = torch.special.entr(singular / singular.sum()).sum()
    return entropy.exp()
