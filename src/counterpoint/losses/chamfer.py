"""Chamfer distance between ragged sets of points, and the divergence of Gaussians: what a set VAE is trained by."""

from __future__ import annotations

import torch
from torch import Tensor


def chamfer(predicted: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Symmetric Chamfer distance of n pairs of sets of up to L points each (Fan et al. 2017, arXiv 1612.00603).

    The squared distance of every point to the nearest of the other set, averaged over the set, both ways added. Points
    that are not real are nobody's nearest and do not count.

    Args:
        predicted: (n, L, P).
        target: (n, L, P); both sets of a pair have the same real places.
        mask: (n, L) bool, True = real, at least one a set; None when all are.

    Returns:
        (n,) distance of each pair.
    """
    assert predicted.shape == target.shape, (predicted.shape, target.shape)
    difference = predicted.unsqueeze(2) - target.unsqueeze(1)
    distance = difference.square().sum(-1)
    if mask is None:
        return distance.amin(2).mean(1) + distance.amin(1).mean(1)
    away = distance.masked_fill(~(mask.unsqueeze(2) & mask.unsqueeze(1)), torch.inf)
    nearest = [torch.where(mask, away.amin(side), 0.0).sum(1) / mask.sum(1) for side in (2, 1)]
    return nearest[0] + nearest[1]


def gaussian_kl(mean: Tensor, log_variance: Tensor, prior_mean: Tensor, prior_log_variance: Tensor) -> Tensor:
    """KL divergence in nats, a dimension, of diagonal Gaussians N(mean, exp(log_variance)) from a prior.

    Args:
        mean: (..., Z).
        log_variance: (..., Z).
        prior_mean: (..., Z), or a shape that broadcasts to it.
        prior_log_variance: as ``prior_mean``.

    Returns:
        (..., Z), never negative but for rounding.
    """
    ratio = log_variance - prior_log_variance
    shift = (mean - prior_mean).square() * (-prior_log_variance).exp()
    return 0.5 * (ratio.exp() + shift - 1 - ratio)
