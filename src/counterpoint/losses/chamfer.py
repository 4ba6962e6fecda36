"""Chamfer distance between ragged sets of points, and the divergence of Gaussians: what a set VAE is trained by."""

from __future__ import annotations

import torch
from torch import Tensor


def chamfer(squared: Tensor, first: Tensor, second: Tensor, owner: Tensor, sets: int) -> Tensor:
    """Symmetric Chamfer distance of pairs of ragged sets (Fan et al. 2017, arXiv 1612.00603).

    The squared distance of every point to the nearest of the other set, averaged over the set, both ways added. The
    two sets of a pair have equally many points, N over all pairs, and travel flat.

    Args:
        squared: (K,) squared distance of every point of one set from every point of the other.
        first: (K,) which point of the one set, of N.
        second: (K,) which point of the other, of N.
        owner: (N,) the pair that each point belongs to.
        sets: S, the number of pairs.

    Returns:
        (S,) distance of each pair.
    """
    far = squared.new_full(owner.shape, torch.inf)
    nearest = far.scatter_reduce(0, first, squared, "amin") + far.scatter_reduce(0, second, squared, "amin")
    empty = squared.new_zeros(sets)
    return empty.index_add(0, owner, nearest) / empty.index_add(0, owner, torch.ones_like(nearest))


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
