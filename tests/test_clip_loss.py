from __future__ import annotations

import importlib
import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from counterpoint.losses import clip, clip_from_logits, info_nce
from losses_inputs import assert_same, at, keys_of, number, open_clip, rows

CRITERIA = {
    "none": [],
    "one": keys_of(13)[:1],
    "two": keys_of(13),
    "three, not transitive": [*keys_of(13), torch.arange(13) * 3 % 7],
    "all of one class": [torch.zeros(13, dtype=torch.int64)],
}


@pytest.fixture(params=["direct", "tiled", "tiled-safe"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test once through each way of computing, with tiles small enough to have several and a ragged last."""
    name = str(request.param)
    if name.startswith("tiled"):
        monkeypatch.setattr(importlib.import_module("counterpoint.losses.log_sums"), "DIRECT_LIMIT", 0)
        for module in ("tiles", "class_sums"):
            monkeypatch.setattr(importlib.import_module(f"counterpoint.losses.{module}"), "CPU_SIDE", 5)
    if name.endswith("safe"):
        limits = {torch.float32: 0.0, torch.float64: 0.0}
        monkeypatch.setattr(importlib.import_module("counterpoint.losses.log_sums"), "BARE_EXP_LIMIT", limits)
    return name


def positives_of(i: int, count: int, keys: list[Tensor]) -> list[int]:
    return [j for j in range(count) if j == i or any(int(k[i]) == int(k[j]) != -1 for k in keys)]


def loop(a: Tensor, b: Tensor, scale: Tensor, keys: list[Tensor]) -> Tensor:
    losses = []
    for anchors, candidates in ((a, b), (b, a)):
        for i in range(len(a)):
            logits = [scale * functional.cosine_similarity(anchors[i], c, dim=0) for c in candidates]
            total = torch.stack([x.exp() for x in logits]).sum()
            logs = [(logits[p].exp() / total).log() for p in positives_of(i, len(a), keys)]
            losses.append(-torch.stack(logs).mean())
    return torch.stack(losses).mean()


def cosines(a: Tensor, b: Tensor) -> Tensor:
    return functional.normalize(a) @ functional.normalize(b).T


@pytest.mark.parametrize("criteria", CRITERIA)
def test_it_is_the_naive_loop(path: str, criteria: str) -> None:
    a, b, scale, keys = rows(13, seed=1), rows(13, seed=2), number(5.0), CRITERIA[criteria]
    assert_same(clip(a, b, scale, positives=keys), loop(a, b, scale, keys), [a, b, scale])


@pytest.mark.parametrize("criteria", CRITERIA)
def test_of_a_given_matrix(criteria: str) -> None:
    a, b, scale, keys = rows(13, seed=1), rows(13, seed=2), number(5.0), CRITERIA[criteria]
    given_matrix = clip_from_logits(scale * cosines(a, b), positives=keys)
    assert_same(given_matrix, loop(a, b, scale, keys), [a, b, scale])


def test_of_a_given_matrix_whose_impossible_pairs_are_minus_infinity() -> None:
    logits = torch.tensor([[math.log(3), -math.inf], [0.0, math.log(2)]], requires_grad=True)
    loss = clip_from_logits(logits)
    assert float(loss) == pytest.approx((math.log(3 / 2) + math.log(4 / 3)) / 4)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_without_positives_it_is_info_nce_both_ways(path: str) -> None:
    a, b, scale = rows(13, seed=1), rows(13, seed=2), number(5.0)
    assert torch.equal(clip(a, b, scale), info_nce(a, b, scale))
    nobody = [torch.arange(13), torch.full((13,), -1)]
    assert torch.equal(clip(a, b, scale, positives=nobody), info_nce(a, b, scale))


@pytest.mark.parametrize("count", [12, 700])
def test_it_is_open_clips(count: int) -> None:
    a, b, scale = rows(count, 16, 1), rows(count, 16, 2), number(14.0)
    theirs = open_clip().ClipLoss()(functional.normalize(a), functional.normalize(b), scale)
    assert_same(clip(a, b, scale), theirs, [a, b, scale], tolerance=1e-6)


def test_gradcheck(path: str) -> None:
    a, b, scale, keys = rows(7, 3, seed=1), rows(7, 3, seed=2), number(3.0), keys_of(7)
    assert torch.autograd.gradcheck(lambda x, y, s: clip(x, y, s, positives=keys), (a, b, scale))
    assert torch.autograd.gradcheck(lambda x, y, s: clip(x, y, s), (a, b, scale))
    logits = rows(6, 6, seed=3)
    assert torch.autograd.gradcheck(lambda x: clip_from_logits(x, positives=keys_of(6)), (logits,))


def test_values_worked_by_hand(path: str) -> None:
    scale = number(math.log(3))
    # e^l is 3 on the pair, 1 on the other row
    assert float(clip(at([0, 90]), at([0, 90]), scale)) == pytest.approx(math.log(4 / 3), abs=1e-12)
    # two rows of one key see (3, 3, 1), both 3 are right: ln 7 - ln 3; the third sees (1, 1, 3)
    same = at([0, 0, 90])
    expected = (2 * math.log(7 / 3) + math.log(5 / 3)) / 3
    keys = torch.tensor([5, 5, -1])
    assert float(clip(same, same, scale, positives=[keys])) == pytest.approx(expected, abs=1e-12)
    # rows at 0 and 180 are both right for each other, with e^l = 3 and 1/3: the mean logit is 0
    apart = at([0, 180])
    together = [torch.tensor([5, 5])]
    assert float(clip(apart, apart, scale, positives=together)) == pytest.approx(math.log(10 / 3), abs=1e-12)
    # first and second share one thing, second and third another: 2, 3 and 2 positives
    chain = [torch.tensor([1, 1, 2]), torch.tensor([3, 4, 4])]
    logs = [math.log(7) - math.log(3), math.log(7) - 2 / 3 * math.log(3), math.log(5) - math.log(3) / 2]
    assert float(clip(same, same, scale, positives=chain)) == pytest.approx(sum(logs) / 3, abs=1e-12)
    # all equal: ln N, whoever belongs together
    for keys in (torch.arange(9), torch.arange(9) // 3):
        assert float(clip(at([30] * 9), at([30] * 9), scale, positives=[keys])) == pytest.approx(math.log(9), abs=1e-12)


@pytest.mark.parametrize("scale", [1.0, 30.0, 74.0, 100.0, 1000.0])
@pytest.mark.parametrize("count", [40, 600])
def test_float32_agrees_with_float64_at_every_scale(scale: float, count: int) -> None:
    a, b, keys = rows(count, 8, 1), rows(count, 8, 2), [torch.arange(count) % (count // 3), torch.arange(count) // 2]
    left, right = (x.detach().float().requires_grad_() for x in (a, b))
    exact = clip(a, b, number(scale), positives=keys)
    loose = clip(left, right, number(scale, torch.float32), positives=keys)
    assert float(loose) == pytest.approx(float(exact), rel=1e-5)
    (wanted,), (found,) = torch.autograd.grad(exact, a), torch.autograd.grad(loose, left)
    torch.testing.assert_close(found.double(), wanted, rtol=0, atol=2e-6 * scale * float(wanted.abs().max()))


def test_a_tiny_loss_keeps_its_digits(path: str) -> None:
    # one pair of rows shares a key, the others tell apart what they should: e^-60 each, beside ln 2 of the two
    directions = torch.eye(12)
    directions[1] = directions[0]
    directions.requires_grad_()
    scale, keys = number(60.0, torch.float32), torch.tensor([7, 7, *[-1] * 10])
    loss = clip(directions, directions.detach(), scale, positives=[keys])
    assert float(loss) == pytest.approx(math.log(2) / 6, rel=1e-5)
    (grad,) = torch.autograd.grad(loss, directions)
    assert float(grad[2:].abs().max()) < 60 * 12 * math.exp(-60)


def optimised(keys: Tensor, steps: int = 300) -> tuple[Tensor, Tensor, float]:
    """Free rows, moved downhill from random places."""
    a, b = (rows(len(keys), 8, seed).detach().requires_grad_() for seed in (1, 2))
    descent = torch.optim.Adam([a, b], lr=0.05)
    for _ in range(steps):
        descent.zero_grad()
        loss = clip(a, b, number(20.0), positives=[keys])
        loss.backward()  # type: ignore[no-untyped-call]
        descent.step()
    return a, b, float(loss)


def test_its_minimum_is_where_rows_of_one_key_are_equally_near_and_others_far() -> None:
    keys = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    a, b, loss = optimised(keys)
    assert math.log(2) <= loss < math.log(2) + 1e-3  # ln P is the floor with P positives
    found, same = cosines(a, b), keys[:, None] == keys
    for key in range(4):
        block = found[keys == key][:, keys == key]
        assert float(block.max() - block.min()) < 1e-2
    assert float(found[same].min()) > float(found[~same].max()) + 0.2


def test_without_keys_descent_finds_the_pairs() -> None:
    a, b, loss = optimised(torch.full((8,), -1))
    assert loss < 1e-3
    assert cosines(a, b).argmax(1).tolist() == list(range(8))
    ordered = float(clip(a, b, number(20.0)))
    for i, j in itertools.combinations(range(8), 2):
        swapped = torch.arange(8)
        swapped[[i, j]] = torch.tensor([j, i])
        assert float(clip(a, b[swapped], number(20.0))) > ordered + 1.0


def test_positives_are_pulled_and_exclusions_are_let_be() -> None:
    a, b, keys = at([0, 60, 120]).requires_grad_(), at([0, 60, 120]), [torch.tensor([1, 1, 2])]
    (pulled,) = torch.autograd.grad(clip(a, b, number(2.0), positives=keys), a)
    (pushed,) = torch.autograd.grad(clip(a, b, number(2.0)), a)
    (left,) = torch.autograd.grad(info_nce(a, b, number(2.0), exclude=keys), a)
    towards = at([90])[0]  # the second row lies at 60 degrees, so this is its way
    assert float(-pulled[0] @ towards) > float(-left[0] @ towards) > float(-pushed[0] @ towards)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(path: str, dtype: torch.dtype) -> None:
    a, b, scale = rows(12, seed=1, dtype=dtype), rows(12, seed=2, dtype=dtype), number(14.0, torch.float32)
    keys = keys_of(12)
    with torch.autocast("cpu", torch.bfloat16):
        loss = clip(a, b, scale, positives=keys)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(clip(a.float(), b.float(), scale, positives=keys)), rel=1e-6)
    assert a.grad is not None
    assert a.grad.dtype == dtype


def test_a_row_without_direction_has_cosine_0_and_no_gradient(path: str) -> None:
    a, b, scale, keys = rows(12, seed=1).detach(), rows(12, seed=2), number(5.0), keys_of(12)
    a[3] = 0
    a.requires_grad_()
    loss = clip(a, b, scale, positives=keys)
    logits = scale * cosines(a, b)
    assert float(loss) == pytest.approx(float(clip_from_logits(logits, positives=keys)), abs=1e-12)
    (grad,) = torch.autograd.grad(loss, a)
    assert grad.isfinite().all()
    assert grad[3].eq(0).all()


def test_not_a_number_comes_out(path: str) -> None:
    a, b = rows(12, seed=1).detach(), rows(12, seed=2)
    a[3, 0] = torch.nan
    assert clip(a, b, number(5.0)).isnan()
    assert clip(a, b, number(5.0), positives=keys_of(12)).isnan()
    assert clip(b, b, number(math.nan)).isnan()


def test_errors_say_what_to_do() -> None:
    a, b, scale = rows(4, seed=1), rows(4, seed=2), number(5.0)
    with pytest.raises(ValueError, match=r"clip: .*\(4, 6\) and \(3, 6\)"):
        clip(a, b[:3], scale)
    with pytest.raises(ValueError, match="clip: 1 row has nothing to be told apart from"):
        clip(a[:1], b[:1], scale)
    with pytest.raises(ValueError, match=r"clip: positives\[1\] must be int64 of shape \(4,\)"):
        clip(a, b, scale, positives=[torch.arange(4), torch.arange(3)])
    with pytest.raises(ValueError, match=r"must be positive, it is -1\.0"):
        clip(a, b, number(-1.0))
    with pytest.raises(ValueError, match=r"clip_from_logits: .*\(4, 6\)"):
        clip_from_logits(torch.zeros(4, 6))
    with pytest.raises(ValueError, match=r"clip_from_logits: positives\[0\] must be int64"):
        clip_from_logits(torch.zeros(4, 4), positives=[torch.zeros(4)])
    with pytest.raises(ValueError, match="clip_from_logits: 1 row"):
        clip_from_logits(torch.zeros(1, 1))


@settings(max_examples=25, deadline=None)
@given(count=st.integers(2, 20), seed=st.integers(0, 10**6), keyed=st.booleans())
def test_the_order_of_the_rows_and_of_the_sides_does_not_matter(count: int, seed: int, keyed: bool) -> None:
    a, b, scale = rows(count, 4, seed), rows(count, 4, seed + 1), number(6.0)
    keys = [torch.arange(count) // 2, torch.arange(count) % 3 - 1] if keyed else []
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    plain = clip(a, b, scale, positives=keys)
    mixed = clip(a[order], b[order], scale, positives=[k[order] for k in keys])
    assert_same(mixed, plain, [a, b, scale], tolerance=1e-10)
    assert_same(clip(b, a, scale, positives=keys), clip(a, b, scale, positives=keys), [a, b, scale], tolerance=1e-10)
