from __future__ import annotations

import importlib
import itertools
import math
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from counterpoint.losses import siglip, siglip_from_logits
from losses_inputs import assert_same, at, keys_of, number, open_clip, rows

CRITERIA = {
    "none": [],
    "one": keys_of(13)[:1],
    "two": keys_of(13),
    "all of one class": [torch.zeros(13, dtype=torch.int64)],
}
NUMBERS = [(5.0, -2.0), (10.0, -10.0), (90.0, -16.0), (3.0, 70.0)]


@pytest.fixture(params=["direct", "tiled"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test once through each way of computing, with tiles small enough to have several and a ragged last."""
    if request.param == "tiled":
        monkeypatch.setattr(importlib.import_module("counterpoint.losses.siglip"), "DIRECT_LIMIT", 0)
        monkeypatch.setattr(importlib.import_module("counterpoint.losses.tiles"), "CPU_SIDE", 5)
    return str(request.param)


def loop(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor, keys: list[Tensor]) -> Tensor:
    terms = []
    for i, j in itertools.product(range(len(a)), repeat=2):
        y = 1 if i == j or any(int(k[i]) == int(k[j]) != -1 for k in keys) else -1
        z = scale * functional.cosine_similarity(a[i], b[j], dim=0) + bias
        terms.append(torch.log1p(torch.exp(-y * z)))
    return torch.stack(terms).sum() / len(a)


def cosines(a: Tensor, b: Tensor) -> Tensor:
    return functional.normalize(a) @ functional.normalize(b).T


@pytest.mark.parametrize("numbers", NUMBERS, ids=str)
@pytest.mark.parametrize("criteria", CRITERIA)
def test_it_is_the_naive_loop(path: str, criteria: str, numbers: tuple[float, float]) -> None:
    a, b, scale, bias = rows(13, seed=1), rows(13, seed=2), number(numbers[0]), number(numbers[1])
    keys = CRITERIA[criteria]
    assert_same(siglip(a, b, scale, bias, positives=keys), loop(a, b, scale, bias, keys), [a, b, scale, bias])
    given_matrix = siglip_from_logits(scale * cosines(a, b) + bias, positives=keys)
    assert_same(given_matrix, loop(a, b, scale, bias, keys), [a, b, scale, bias])


@pytest.mark.parametrize("count", [12, 700])
def test_it_is_open_clips(count: int) -> None:
    a, b, scale, bias = rows(count, 16, 1), rows(count, 16, 2), number(10.0), number(-10.0)
    theirs = open_clip().SigLipLoss()(functional.normalize(a), functional.normalize(b), scale, bias)
    assert_same(siglip(a, b, scale, bias), theirs, [a, b, scale, bias], tolerance=1e-6)


def test_gradcheck(path: str) -> None:
    inputs, keys = (rows(7, 3, seed=1), rows(7, 3, seed=2), number(3.0), number(-1.0)), keys_of(7)
    assert torch.autograd.gradcheck(lambda *x: siglip(*x, positives=keys), inputs)
    assert torch.autograd.gradcheck(lambda *x: siglip(*x), inputs)
    assert torch.autograd.gradcheck(lambda x: siglip_from_logits(x, positives=keys_of(6)), (rows(6, 6, seed=3),))


def test_values_worked_by_hand(path: str) -> None:
    scale, none = number(math.log(3)), number(0.0)
    # one pair alone: e^z = 3
    assert float(siglip(at([0]), at([0]), scale, none)) == pytest.approx(math.log(4 / 3), abs=1e-12)
    # each anchor has its pair, ln(4/3), and one other at a right angle, ln 2
    assert float(siglip(at([0, 90]), at([0, 90]), scale, none)) == pytest.approx(math.log(8 / 3), abs=1e-12)
    # with e^bias = 2: ln(7/6) and ln 3; where the two belong together: ln(7/6) and ln(3/2)
    bias = number(math.log(2))
    assert float(siglip(at([0, 90]), at([0, 90]), scale, bias)) == pytest.approx(math.log(7 / 2), abs=1e-12)
    together = [torch.tensor([4, 4])]
    loss = siglip(at([0, 90]), at([0, 90]), scale, bias, positives=together)
    assert float(loss) == pytest.approx(math.log(7 / 4), abs=1e-12)
    # all equal: a pair and N - 1 others
    loss = siglip(at([30] * 9), at([30] * 9), scale, none)
    assert float(loss) == pytest.approx(math.log(4 / 3) + 8 * math.log(4), abs=1e-12)


@pytest.mark.parametrize("numbers", [(10.0, -10.0), (14.0, -9.0), (117.0, -16.0), (1000.0, 5.0)], ids=str)
@pytest.mark.parametrize("count", [40, 600])
@pytest.mark.parametrize("keyed", [False, True])
def test_float32_agrees_with_float64_at_every_scale(numbers: tuple[float, float], count: int, keyed: bool) -> None:
    a, b, keys = rows(count, 8, 1), rows(count, 8, 2), [torch.arange(count) % (count // 3)] if keyed else []
    exact_inputs = [a, b, number(numbers[0]), number(numbers[1])]
    loose_inputs = [x.detach().float().requires_grad_() for x in exact_inputs]
    exact, loose = (siglip(x[0], x[1], x[2], x[3], positives=keys) for x in (exact_inputs, loose_inputs))
    assert float(loose) == pytest.approx(float(exact), rel=1e-5)
    pairs = zip(torch.autograd.grad(loose, loose_inputs), torch.autograd.grad(exact, exact_inputs), strict=True)
    for found, wanted in pairs:
        tolerance = 2e-6 * max(numbers[0], 10.0) * float(wanted.abs().max())
        torch.testing.assert_close(found.double(), wanted, rtol=0, atol=tolerance)


def test_a_tiny_loss_keeps_its_digits(path: str) -> None:
    a, scale, bias = torch.eye(12, requires_grad=True), number(60.0, torch.float32), number(-30.0, torch.float32)
    loss = siglip(a, a.detach(), scale, bias)
    assert float(loss) == pytest.approx(12 * math.exp(-30), rel=1e-4)
    for_scale, for_bias = torch.autograd.grad(loss, [scale, bias])
    assert float(for_scale) == pytest.approx(-math.exp(-30), rel=1e-4)
    assert float(for_bias) == pytest.approx(10 * math.exp(-30), rel=1e-4)


def optimised(keys: Tensor, steps: int = 300) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Free rows and numbers, moved downhill from random places."""
    a, b = (rows(len(keys), 8, seed).detach().requires_grad_() for seed in (1, 2))
    log_scale, bias = number(math.log(10)), number(-10.0)
    descent = torch.optim.Adam([a, b, log_scale, bias], lr=0.05)
    for _ in range(steps):
        descent.zero_grad()
        siglip(a, b, log_scale.exp(), bias, positives=[keys]).backward()  # type: ignore[no-untyped-call]
        descent.step()
    return a.detach(), b.detach(), log_scale.exp().detach(), bias.detach()


def test_its_minimum_is_at_the_right_pairs(path: str) -> None:
    a, b, scale, bias = optimised(torch.full((8,), -1))
    lowest = float(siglip(a, b, scale, bias))
    assert lowest < 0.2
    assert cosines(a, b).argmax(1).tolist() == list(range(8))
    for i, j in itertools.combinations(range(8), 2):
        swapped = torch.arange(8)
        swapped[[i, j]] = torch.tensor([j, i])
        assert float(siglip(a, b[swapped], scale, bias)) > lowest + 1.0


def test_a_perfect_answer_costs_nothing_and_any_other_pairing_costs() -> None:
    same, scale, bias = torch.eye(4, dtype=torch.float64), number(40.0), number(-20.0)
    losses = {order: float(siglip(same, same[list(order)], scale, bias)) for order in itertools.permutations(range(4))}
    assert losses[0, 1, 2, 3] == pytest.approx(4 * math.log1p(math.exp(-20)))
    for order, loss in losses.items():
        wrong = sum(i != j for i, j in enumerate(order))
        assert loss == pytest.approx(wrong * 2 * 20 / 4, abs=1e-6)  # what is not where it should be, and what is there


def test_rows_of_one_key_are_drawn_together(path: str) -> None:
    keys = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    a, b, scale, bias = optimised(keys)
    found, same = cosines(a, b), keys[:, None] == keys
    assert float(found[same].min()) > float(found[~same].max()) + 0.5
    assert float(siglip(a, b, scale, bias, positives=[keys])) < 0.2


def test_gradients_of_one_input_alone_of_a_multiple_and_twice(path: str) -> None:
    inputs = [rows(12, seed=1), rows(12, seed=2), number(4.0), number(-3.0)]
    keys = keys_of(12)
    loss = siglip(inputs[0], inputs[1], inputs[2], inputs[3], positives=keys)
    full = torch.autograd.grad(loss, inputs, retain_graph=True)
    for again, once in zip(torch.autograd.grad(-3 * loss, inputs), full, strict=True):
        torch.testing.assert_close(again, -3 * once, rtol=1e-12, atol=1e-12)
    for index in range(4):
        x = [x.detach().requires_grad_(i == index) for i, x in enumerate(inputs)]
        (alone,) = torch.autograd.grad(siglip(x[0], x[1], x[2], x[3], positives=keys), x[index])
        torch.testing.assert_close(alone, full[index], rtol=1e-12, atol=1e-12)
    with torch.no_grad():
        assert float(siglip(inputs[0], inputs[1], inputs[2], inputs[3], positives=keys)) == float(loss)


@pytest.mark.parametrize("exchange", ["gather", "ring"])
def test_one_process_has_nothing_to_exchange(path: str, exchange: Literal["gather", "ring"]) -> None:
    a, b, scale, bias = rows(13, seed=1), rows(13, seed=2), number(5.0), number(-4.0)
    assert torch.equal(siglip(a, b, scale, bias, exchange=exchange), siglip(a, b, scale, bias))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(path: str, dtype: torch.dtype) -> None:
    a, b, keys = rows(12, seed=1, dtype=dtype), rows(12, seed=2, dtype=dtype), keys_of(12)
    scale, bias = number(14.0, torch.float32), number(-10.0, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = siglip(a, b, scale, bias, positives=keys)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(siglip(a.float(), b.float(), scale, bias, positives=keys)), rel=1e-6)
    assert a.grad is not None
    assert a.grad.dtype == dtype


def test_a_row_without_direction_has_cosine_0_and_no_gradient(path: str) -> None:
    a, b, scale, bias, keys = rows(12, seed=1).detach(), rows(12, seed=2), number(5.0), number(-4.0), keys_of(12)
    a[3] = 0
    a.requires_grad_()
    loss = siglip(a, b, scale, bias, positives=keys)
    logits = scale * cosines(a, b) + bias
    assert float(loss) == pytest.approx(float(siglip_from_logits(logits, positives=keys)), abs=1e-12)
    (grad,) = torch.autograd.grad(loss, a)
    assert grad.isfinite().all()
    assert grad[3].eq(0).all()


def test_not_a_number_comes_out(path: str) -> None:
    a, b, scale, bias = rows(12, seed=1).detach(), rows(12, seed=2), number(5.0), number(-4.0)
    a[3, 0] = torch.nan
    assert siglip(a, b, scale, bias).isnan()
    assert siglip(a, b, scale, bias, positives=keys_of(12)).isnan()
    assert siglip(b, b, number(math.nan), bias).isnan()
    assert siglip(b, b, scale, number(math.nan)).isnan()


def test_errors_say_what_to_do() -> None:
    a, b, scale, bias = rows(4, seed=1), rows(4, seed=2), number(5.0), number(-5.0)
    with pytest.raises(ValueError, match=r"siglip: .*\(4, 6\) and \(3, 6\)"):
        siglip(a, b[:3], scale, bias)
    with pytest.raises(ValueError, match="siglip: there is no row"):
        siglip(a[:0], b[:0], scale, bias)
    with pytest.raises(ValueError, match=r"siglip: positives\[0\] must be int64 of shape \(4,\)"):
        siglip(a, b, scale, bias, positives=[torch.zeros(4)])
    with pytest.raises(ValueError, match=r"must be positive, it is -1\.0"):
        siglip(a, b, number(-1.0), bias)
    with pytest.raises(ValueError, match=r"siglip_from_logits: .*\(4, 6\)"):
        siglip_from_logits(torch.zeros(4, 6))
    with pytest.raises(ValueError, match="siglip_from_logits: there is no row"):
        siglip_from_logits(torch.zeros(0, 0))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 20), seed=st.integers(0, 10**6), keyed=st.booleans())
def test_the_order_of_the_rows_and_of_the_sides_does_not_matter(count: int, seed: int, keyed: bool) -> None:
    a, b, scale, bias = rows(count, 4, seed), rows(count, 4, seed + 1), number(6.0), number(-3.0)
    keys = [torch.arange(count) // 2, torch.arange(count) % 3 - 1] if keyed else []
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    plain, inputs = siglip(a, b, scale, bias, positives=keys), [a, b, scale, bias]
    mixed = siglip(a[order], b[order], scale, bias, positives=[k[order] for k in keys])
    assert_same(mixed, plain, inputs, tolerance=1e-10)
    swapped, again = (siglip(*sides, scale, bias, positives=keys) for sides in ((b, a), (a, b)))
    assert_same(swapped, again, inputs, tolerance=1e-10)
