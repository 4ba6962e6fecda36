"""Chamfer distance and Gaussian divergence against plain loops, sampling and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from counterpoint.losses import chamfer, gaussian_kl


def naive(predicted: Tensor, target: Tensor) -> float:
    """The distance of one pair of sets, (P, D) and (T, D), point by point."""
    there = [min(float((p - t).square().sum()) for t in target) for p in predicted]
    back = [min(float((p - t).square().sum()) for p in predicted) for t in target]
    return sum(there) / len(there) + sum(back) / len(back)


def points(sizes: list[int], seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, len(sizes), max(sizes), 3, generator=generator, dtype=torch.float64)
    return both[0], both[1], torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 100))
def test_chamfer_is_the_naive_one_whatever_the_padding_holds(sizes: list[int], seed: int) -> None:
    predicted, target, mask = points(sizes, seed)
    found = chamfer(predicted, target, mask)
    for row, size in enumerate(sizes):
        assert float(found[row]) == pytest.approx(naive(predicted[row, :size], target[row, :size]), abs=1e-12)
    wild = torch.where(mask.unsqueeze(-1), predicted, 1e6)
    assert torch.equal(chamfer(wild, target, mask), found)
    if bool(mask.all()):
        order = torch.randperm(max(sizes), generator=torch.Generator().manual_seed(seed))
        assert torch.allclose(chamfer(predicted[:, order], target), found)


def test_hand_worked() -> None:
    predicted = torch.tensor([[[0.0], [3.0]]])
    target = torch.tensor([[[1.0], [7.0]]])
    # 0 -> 1: 1, 3 -> 1: 4, mean 2.5; 1 -> 0: 1, 7 -> 3: 16, mean 8.5.
    assert chamfer(predicted, target).tolist() == [11.0]
    assert chamfer(target, target).tolist() == [0.0]


def test_chamfer_gradient() -> None:
    predicted, target, mask = points([3, 1, 4], 7)
    predicted.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: chamfer(p, t, mask), (predicted, target))
    chamfer(predicted, target, mask).sum().backward()
    assert predicted.grad is not None
    assert (predicted.grad[~mask] == 0).all()


def test_gaussian_kl_is_that_of_torch_and_its_gradient_is_right() -> None:
    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True) for _ in range(4)]
    mean, log_variance, prior_mean, prior_log_variance = parts
    ours = gaussian_kl(mean, log_variance, prior_mean, prior_log_variance)
    theirs = kl_divergence(
        Normal(mean, (0.5 * log_variance).exp()), Normal(prior_mean, (0.5 * prior_log_variance).exp())
    )
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.autograd.gradcheck(gaussian_kl, tuple(parts))
    zero = torch.zeros(())
    assert (gaussian_kl(torch.zeros(3, 2), torch.zeros(3, 2), zero, zero) == 0).all()
