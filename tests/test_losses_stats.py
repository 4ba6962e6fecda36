from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses import contrast_stats


def test_values_worked_by_hand() -> None:
    a = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    b = torch.tensor([[2.0, 0.0], [1.0, 0.0]])
    stats = contrast_stats(a, b)
    # cosines: pairs 1 and 0, negatives 1 (row 0 with b_1) and 0 (row 1 with b_0): no pair beats its negative
    assert stats.top1.item() == 0.0
    assert stats.top1_chance.item() == 0.5
    assert stats.positive_similarity.item() == 0.5
    assert stats.negative_similarity.item() == 0.5
    assert stats.gap.item() == 0.0
    assert (stats.norm_a.item(), stats.norm_b.item()) == (2.0, 1.5)
    assert stats.alignment.item() == 1.0  # squared distances 0 and 2
    assert stats.uniformity.item() == pytest.approx((-4.0 + 0.0) / 2)  # squared distances 2 and 0, times -2
    assert stats.effective_rank.item() == pytest.approx(2.0)
    assert stats.feature_std.item() == pytest.approx(0.5)


def test_naive_loops_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(20, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    keys = torch.arange(20) // 3 - 1
    stats = contrast_stats(a, b, exclude=[keys])
    x, y = functional.normalize(a), functional.normalize(b)
    wins, negatives = [], []
    for i in range(20):
        others = [float(x[i] @ y[j]) for j in range(20) if j != i and (keys[i] != keys[j] or keys[i] == -1)]
        wins.append(all(float(x[i] @ y[i]) > other for other in others))
        negatives += others
    assert stats.top1.item() == pytest.approx(sum(wins) / 20)
    assert stats.negative_similarity.item() == pytest.approx(sum(negatives) / len(negatives))

    def uniformity(unit: Tensor) -> float:
        return float(torch.pdist(unit).square().mul(-2).exp().mean().log())

    assert stats.uniformity.item() == pytest.approx((uniformity(x) + uniformity(y)) / 2)
    singular = torch.linalg.svdvals(x)
    shares = [float(s / singular.sum()) for s in singular]
    assert stats.effective_rank.item() == pytest.approx(math.exp(-sum(s * math.log(s) for s in shares)))


def test_collapse_shows() -> None:
    collapsed = torch.ones(50, 8)
    stats = contrast_stats(collapsed, collapsed)
    assert stats.top1.item() == 0.0  # a tie is no win
    assert stats.gap.item() == pytest.approx(0.0, abs=1e-6)
    assert stats.effective_rank.item() == pytest.approx(1.0, abs=1e-2)
    assert stats.feature_std.item() == pytest.approx(0.0, abs=1e-6)
    assert stats.uniformity.item() == pytest.approx(0.0, abs=1e-5)
    healthy = contrast_stats(*[torch.randn(500, 8, generator=torch.Generator().manual_seed(0))] * 2)
    assert healthy.top1.item() == 1.0
    assert healthy.feature_std.item() == pytest.approx(1 / math.sqrt(8), rel=0.05)


def test_cost_is_bounded_and_no_gradient_is_kept() -> None:
    a = torch.randn(3000, 4, requires_grad=True)
    stats = contrast_stats(a, a, limit=100)
    first = contrast_stats(a[:100], a[:100])
    assert not stats.top1.requires_grad
    assert stats.top1_chance.item() == pytest.approx(0.01)
    assert stats == first


def test_shapes_must_pair_up() -> None:
    with pytest.raises(ValueError, match=r"\(4, 2\) and \(5, 2\)"):
        contrast_stats(torch.zeros(4, 2), torch.zeros(5, 2))
