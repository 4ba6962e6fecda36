"""Chamfer distance and Gaussian divergence against plain loops, sampling and gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from counterpoint.losses import chamfer, gaussian_kl
from counterpoint.ragged import Ragged


def naive(predicted: Tensor, target: Tensor) -> float:
    """The distance of one pair of sets, (P, D) and (T, D), point by point."""
    there = [min(float((p - t).square().sum()) for t in target) for p in predicted]
    back = [min(float((p - t).square().sum()) for p in predicted) for t in target]
    return sum(there) / len(there) + sum(back) / len(back)


def flat(predicted: Tensor, target: Tensor, sizes: list[int]) -> Tensor:
    """Chamfer distances of ragged sets laid end to end, (N, D) each."""
    sets = Ragged(torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()]))
    first, second = sets.pairs
    squared = (predicted[first] - target[second]).square().sum(1)
    return chamfer(squared, first, second, sets.owner, len(sizes))


def points(sizes: list[int], seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, sum(sizes), 3, generator=generator, dtype=torch.float64)
    return both[0], both[1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(0, 100))
def test_chamfer_is_the_naive_one_whatever_the_order(sizes: list[int], seed: int) -> None:
    predicted, target = points(sizes, seed)
    found = flat(predicted, target, sizes)
    start = 0
    for row, size in enumerate(sizes):
        part = slice(start, start + size)
        start += size
        assert float(found[row]) == pytest.approx(naive(predicted[part], target[part]), abs=1e-12)
        turned = predicted.clone()
        turned[part] = predicted[part].flip(0)
        assert torch.allclose(flat(turned, target, sizes), found, atol=1e-12)


def test_hand_worked() -> None:
    predicted, target = torch.tensor([[0.0], [3.0]]), torch.tensor([[1.0], [7.0]])
    # 0 -> 1: 1, 3 -> 1: 4, mean 2.5; 1 -> 0: 1, 7 -> 3: 16, mean 8.5.
    assert flat(predicted, target, [2]).tolist() == [11.0]
    assert flat(target, target, [2]).tolist() == [0.0]
    # Apart, each has but the other to be nearest to.
    assert flat(predicted, target, [1, 1]).tolist() == [2.0, 32.0]


def test_chamfer_gradient() -> None:
    predicted, target = points([3, 1, 4], 7)
    predicted.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: flat(p, t, [3, 1, 4]), (predicted, target))


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
