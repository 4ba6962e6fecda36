"""What a latent variable tells: active units and mutual information, by which a posterior collapse is seen."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from counterpoint.types import Latent

ACTIVE = 0.01
"""Variance over the data above which the mean of a latent dimension counts as active (Burda et al. 2016)."""
_MOST = 512
"""Sets that the mutual information is estimated from; it can show no more than the logarithm of their number."""


def active_units(mean: Tensor) -> Tensor:
    """How many latent dimensions move with the data (Burda, Grosse, Salakhutdinov 2016, arXiv 1509.00519).

    Args:
        mean: (S, Z) means of the posterior.
    """
    return (mean.float().var(0) > ACTIVE).sum().float()


def mutual_information(latent: Latent) -> Tensor:
    """Estimate of I(x; z) in nats under the posterior (Hoffman and Johnson 2016, "ELBO surgery").

    The mean of log q(z | x) - log q(z), with q(z) the mixture of the posteriors of up to 512 sets, taken evenly.

    Args:
        latent: (S, Z) each.
    """
    count = len(latent.mean)
    if count == 0:
        return latent.mean.new_zeros((), dtype=torch.float32)
    step = max(1, count // _MOST)
    mean, log_variance, sample = (part[::step][:_MOST].float() for part in latent)
    if torch.equal(mean, sample):
        # In evaluation the encoder gives means; the estimate is about samples.
        noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0)).to(mean)
        sample = mean + (0.5 * log_variance).exp() * noise
    precision = (-log_variance).exp()
    # (z - m)^2 / v expanded, so that no (S, S, Z) tensor is ever held.
    squared = sample.square() @ precision.T - 2 * sample @ (mean * precision).T + (mean.square() * precision).sum(1)
    log_density = -0.5 * (squared + log_variance.sum(1) + mean.shape[1] * math.log(2 * math.pi))
    mixture = log_density.logsumexp(1) - math.log(len(mean))
    return (log_density.diagonal() - mixture).mean()
