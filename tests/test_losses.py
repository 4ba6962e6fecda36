from __future__ import annotations

import importlib
import math
from typing import Any, Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning import losses as metric_losses  # type: ignore[import-untyped]
from torch import Tensor
from torch.nn import functional

from counterpoint.losses import info_nce, sup_con
from losses_inputs import assert_same, at, keys_of, number, open_clip, rows

DIRECTIONS: list[Literal["one-way", "two-way"]] = ["one-way", "two-way"]
PATHS = ["direct", "tiled", "tiled-safe", "direct-safe"]


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test once through each way of computing, with tiles small enough to have several and a ragged last."""
    name = str(request.param)
    if name.startswith("tiled"):
        for module, limit in (("log_sums", "DIRECT_LIMIT"), ("sup_con", "DIRECT_LIMIT")):
            monkeypatch.setattr(importlib.import_module(f"counterpoint.losses.{module}"), limit, 0)
        for module in ("tiles", "class_sums"):
            monkeypatch.setattr(importlib.import_module(f"counterpoint.losses.{module}"), "CPU_SIDE", 5)
    if name.endswith("safe"):
        limits = {torch.float32: 0.0, torch.float64: 0.0}
        monkeypatch.setattr(importlib.import_module("counterpoint.losses.log_sums"), "BARE_EXP_LIMIT", limits)
    return name


def loop_one_way(a: Tensor, b: Tensor, scale: Tensor, keys: list[Tensor], beta: float) -> Tensor:
    cosines = functional.normalize(a) @ functional.normalize(b).T
    losses = []
    for i in range(len(a)):
        shared = [any(int(k[i]) == int(k[j]) != -1 for k in keys) for j in range(len(a))]
        logits = [scale * cosines[i, j] for j in range(len(a)) if j != i and not shared[j]]
        if not logits:
            losses.append(0 * scale)
            continue
        total = sum((beta * x).exp() for x in logits)
        weights = [len(logits) * (beta * x).exp() / total for x in logits]
        negatives = sum(w * x.exp() for w, x in zip(weights, logits, strict=True))
        positive = (scale * cosines[i, i]).exp()
        losses.append(-(positive / (positive + negatives)).log())
    return torch.stack(losses).mean()


def loop_sup_con(z: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    logits = scale * functional.normalize(z) @ functional.normalize(z).T
    losses = []
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if int(labels[j]) == int(labels[i]) != -1]
        if positives:
            denominator = torch.stack([logits[i, j] for j in others]).exp().sum()
            terms = [(logits[i, p].exp() / denominator).log() for p in positives]
            losses.append(-torch.stack(terms).mean())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("beta", [0.0, 0.5])
@pytest.mark.parametrize("excluding", [False, True])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_info_nce_is_the_naive_loop(
    path: str, direction: Literal["one-way", "two-way"], excluding: bool, beta: float
) -> None:
    a, b, scale = rows(13, seed=1), rows(13, seed=2), number(5.0)
    keys = keys_of(13) if excluding else []
    expected = loop_one_way(a, b, scale, keys, beta)
    if direction == "two-way":
        expected = (expected + loop_one_way(b, a, scale, keys, beta)) / 2
    ours = info_nce(a, b, scale, direction=direction, exclude=keys, hard_negative_weight=beta)
    assert_same(ours, expected, [a, b, scale])


def test_sup_con_is_the_naive_loop(path: str) -> None:
    z, scale = rows(13), number(5.0)
    labels = torch.tensor([4, 2, 2, -1, 4, 9, 4, 2, 0, 0, -1, 4, 7])
    assert_same(sup_con(z, labels, scale), loop_sup_con(z, labels, scale), [z, scale])


def test_gradcheck(path: str) -> None:
    a, b, scale, keys = rows(7, 3, seed=1), rows(7, 3, seed=2), number(3.0), keys_of(7)
    labels = torch.tensor([1, 1, 0, -1, 0, 1, 5])
    assert torch.autograd.gradcheck(lambda x, y, s: info_nce(x, y, s, exclude=keys), (a, b, scale))
    assert torch.autograd.gradcheck(lambda x, y, s: info_nce(x, y, s, hard_negative_weight=0.7), (a, b, scale))
    assert torch.autograd.gradcheck(lambda x, y, s: info_nce(x, y, s, direction="one-way"), (a, b, scale))
    assert torch.autograd.gradcheck(lambda x, s: sup_con(x, labels, s), (a, scale))


def test_gradient_of_one_input_alone(path: str) -> None:
    a, b, scale = rows(12, seed=1), rows(12, seed=2), number(4.0)
    full = torch.autograd.grad(info_nce(a, b, scale), [a, b, scale])
    for index in range(3):
        inputs = [x.detach().requires_grad_(i == index) for i, x in enumerate((a, b, scale))]
        (alone,) = torch.autograd.grad(info_nce(inputs[0], inputs[1], inputs[2]), inputs[index])
        torch.testing.assert_close(alone, full[index], rtol=1e-12, atol=1e-12)


def test_values_worked_by_hand(path: str) -> None:
    scale = number(math.log(3))
    # logits: log 3 on the pair, 0 on the other row
    assert info_nce(at([0, 90]), at([0, 90]), scale).item() == pytest.approx(math.log(4 / 3), abs=1e-12)
    # pairs opposite (-log 3), the negative at a right angle
    assert float(info_nce(at([0, 90]), at([180, 270]), scale)) == pytest.approx(math.log(4), abs=1e-12)
    # all equal: ln N and ln(N - 1)
    assert float(info_nce(at([30] * 9), at([30] * 9), scale)) == pytest.approx(math.log(9), abs=1e-12)
    assert float(sup_con(at([30] * 8), torch.arange(8) % 2, scale)) == pytest.approx(math.log(7), abs=1e-12)
    # two classes at right angles: one positive with e^l = 3, two negatives with 1
    assert float(sup_con(at([0, 0, 90, 90]), torch.tensor([5, 5, 8, 8]), scale)) == pytest.approx(math.log(5 / 3))


def test_hard_negative_weights_worked_by_hand(path: str) -> None:
    cosines = torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64).log() / 2
    b = torch.stack((cosines, (1 - cosines**2).sqrt()), dim=1)
    loss = info_nce(at([0, 0, 0]), b, number(2.0), direction="one-way", hard_negative_weight=1.0)
    # e^l is 3, 2, 1 for every anchor; the negatives weigh 2 e^l / sum: (2, 1) -> 10/3, (3, 1) -> 5, (3, 2) -> 26/5
    expected = (math.log(1 + 10 / 9) + math.log(1 + 5 / 2) + math.log(1 + 26 / 5)) / 3
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def test_nt_xent_is_sup_con_on_ids(path: str) -> None:
    a, b, ids = rows(9, seed=1), rows(9, seed=2), torch.arange(9) + 40
    z, labels = torch.cat([a, b]), torch.cat([ids, ids])
    theirs = metric_losses.NTXentLoss(temperature=0.2)(z, labels)
    assert_same(sup_con(z, labels, number(5.0)), theirs, [a, b], tolerance=1e-6)


def test_sup_con_is_that_of_pytorch_metric_learning(path: str) -> None:
    z, labels = rows(17), torch.arange(17) * 5 % 4
    theirs = metric_losses.SupConLoss(temperature=0.1)(z, labels)
    assert_same(sup_con(z, labels, number(10.0)), theirs, [z], tolerance=1e-6)


@pytest.mark.parametrize("count", [12, 700])
def test_info_nce_is_open_clips(count: int) -> None:
    a, b, scale = rows(count, 16, 1), rows(count, 16, 2), number(14.0)
    theirs: Any = open_clip().ClipLoss()(functional.normalize(a), functional.normalize(b), scale)
    assert_same(info_nce(a, b, scale), theirs, [a, b, scale], tolerance=1e-6)


def test_a_tiny_loss_keeps_its_digits(path: str) -> None:
    a, scale = torch.eye(12, requires_grad=True), number(60.0, torch.float32)
    loss = info_nce(a, a.detach(), scale)
    expected = 11 * math.exp(-60)
    assert float(loss) == pytest.approx(expected, rel=1e-4)
    assert float(torch.autograd.grad(loss, scale)[0]) == pytest.approx(-expected, rel=1e-4)
    labels = torch.arange(24) % 12
    assert float(sup_con(torch.cat([a, a]), labels, scale)) == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize("scale", [1.0, 30.0, 74.0, 100.0, 1000.0])
@pytest.mark.parametrize("count", [40, 600])
def test_float32_agrees_with_float64_at_every_scale(scale: float, count: int) -> None:
    a, b, labels = rows(count, 8, 1), rows(count, 8, 2), torch.arange(count) % 7
    left, right = (x.detach().float().requires_grad_() for x in (a, b))
    for exact, loose in (
        (info_nce(a, b, number(scale)), info_nce(left, right, number(scale, torch.float32))),
        (sup_con(a, labels, number(scale)), sup_con(left, labels, number(scale, torch.float32))),
    ):
        assert float(loose) == pytest.approx(float(exact), rel=1e-5)
        (wanted,), (found,) = torch.autograd.grad(exact, a), torch.autograd.grad(loose, left)
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-6 * scale * float(wanted.abs().max()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(path: str, dtype: torch.dtype) -> None:
    a, b, scale = rows(12, seed=1, dtype=dtype), rows(12, seed=2, dtype=dtype), number(14.0, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(a, b, scale)
        same = sup_con(a, torch.arange(12) // 2, scale)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(info_nce(a.float(), b.float(), scale)), rel=1e-6)
    assert float(same) == pytest.approx(float(sup_con(a.float(), torch.arange(12) // 2, scale)), rel=1e-6)
    assert a.grad is not None
    assert a.grad.dtype == dtype


def test_a_row_without_direction_stays_finite(path: str) -> None:
    a, b, scale = rows(12, seed=1).detach(), rows(12, seed=2), number(5.0)
    a[3] = 0
    a.requires_grad_()
    for loss in (info_nce(a, b, scale), sup_con(a, torch.arange(12) % 3, scale)):
        (grad,) = torch.autograd.grad(loss, a)
        assert grad.isfinite().all()
        assert grad[3].eq(0).all()


def test_not_a_number_comes_out(path: str) -> None:
    a, b = rows(12, seed=1).detach(), rows(12, seed=2)
    a[3, 0] = torch.nan
    assert info_nce(a, b, number(5.0)).isnan()
    assert sup_con(a, torch.arange(12) % 3, number(5.0)).isnan()
    assert info_nce(b, b, number(math.nan)).isnan()


def test_errors_say_what_to_do() -> None:
    a, b, scale, same = rows(4, seed=1), rows(4, seed=2), number(5.0), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"\(4, 6\) and \(3, 6\)"):
        info_nce(a, b[:3], scale)
    with pytest.raises(ValueError, match="at least two rows"):
        info_nce(a[:1], b[:1], scale)
    with pytest.raises(ValueError, match=r"leaves no negative .* 4 rows"):
        info_nce(a, b, scale, exclude=[same])
    with pytest.raises(ValueError, match=r"exclude\[1\] must be int64"):
        info_nce(a, b, scale, exclude=[torch.arange(4), same.float()])
    with pytest.raises(ValueError, match=r"must be positive, it is -1\.0"):
        info_nce(a, b, number(-1.0))
    with pytest.raises(ValueError, match="hard_negative_weight"):
        info_nce(a, b, scale, hard_negative_weight=-1.0)
    with pytest.raises(ValueError, match="none of the 4 rows"):
        sup_con(a, torch.tensor([0, 1, -1, -1]), scale)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 20), seed=st.integers(0, 10**6), beta=st.sampled_from([0.0, 1.0]))
def test_the_order_of_the_rows_does_not_matter(count: int, seed: int, beta: float) -> None:
    a, b, scale = rows(count, 4, seed), rows(count, 4, seed + 1), number(6.0)
    keys, order = torch.arange(count) // 2, torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    exclude = [keys] if count > 2 else []
    plain = info_nce(a, b, scale, exclude=exclude, hard_negative_weight=beta)
    mixed = info_nce(a[order], b[order], scale, exclude=[k[order] for k in exclude], hard_negative_weight=beta)
    assert_same(mixed, plain, [a, b, scale], tolerance=1e-10)
    assert_same(sup_con(a[order], keys[order], scale), sup_con(a, keys, scale), [a, scale], tolerance=1e-10)
