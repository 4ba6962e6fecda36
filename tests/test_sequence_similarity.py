"""Similarities of sequences against loops over pairs, cells and paths; what may and may not change them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from counterpoint.config.build import keywords
from counterpoint.objectives.sequence_similarity import SINGLE, Comparison, Kind, SequenceSimilarity, aligned
from counterpoint.types import Encoded

KINDS: tuple[Kind, ...] = get_args(Kind)
WIDTH = 5
kinds = pytest.mark.parametrize("kind", KINDS)


def compare(kind: Kind, **more: Any) -> Comparison:
    return Comparison(SequenceSimilarity(kind=kind, **more))


def sequences(lengths: list[int], most: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Encoded:
    """Rows of so many real tokens; behind them stands what is not a number."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randn(len(lengths), most, WIDTH, generator=draw, dtype=torch.float64).to(dtype)
    mask = torch.arange(most) < torch.tensor(lengths).unsqueeze(1)
    pooled = torch.randn(len(lengths), WIDTH, generator=draw, dtype=torch.float64).to(dtype)
    return Encoded(tokens.masked_fill(~mask.unsqueeze(2), math.nan), mask, pooled)


def rows(encoded: Encoded, which: list[int]) -> Encoded:
    return Encoded(encoded.tokens[which], encoded.mask[which], encoded.pooled[which])


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def paths(length: int, width: int) -> Iterator[list[tuple[int, int, int]]]:
    """Every monotone path as (row, column, weight), from the first pair of elements to the last."""

    def on(row: int, column: int, before: list[tuple[int, int, int]]) -> Iterator[list[tuple[int, int, int]]]:
        if (row, column) == (length - 1, width - 1):
            yield before
        for down, right in ((1, 0), (0, 1), (1, 1)):
            if row + down < length and column + right < width:
                step = (row + down, column + right, down + right)
                yield from on(row + down, column + right, [*before, step])

    yield from on(0, 0, [(0, 0, 2)])


def by_paths(cosines: Tensor, smoothing: float) -> Tensor:
    length, width = cosines.shape
    total = length + width
    found = []
    for path in paths(length, width):
        assert sum(weight for *_, weight in path) == total
        found.append(sum(weight * cosines[row, column] for row, column, weight in path) / smoothing)
    return smoothing * torch.stack(found).exp().mean().log() / total  # type: ignore[arg-type]


def by_cells(cosines: Tensor, smoothing: float) -> Tensor:
    """The recursion of soft dynamic time warping a cell at a time, with costs 1 - cosine."""
    length, width = cosines.shape
    cost, infinite = 1 - cosines, torch.tensor(math.inf, dtype=cosines.dtype)
    table = {(-1, -1): torch.zeros((), dtype=cosines.dtype)}
    count = {(-1, -1): 1}
    for row in range(length):
        for column in range(width):
            steps = [((row - 1, column), 1), ((row, column - 1), 1), ((row - 1, column - 1), 2)]
            reached = [table.get(at, infinite) + weight * cost[row, column] for at, weight in steps]
            table[row, column] = -smoothing * torch.stack([-one / smoothing for one in reached]).logsumexp(0)
            count[row, column] = sum(count.get(at, 0) for at, _ in steps)
    soft = table[length - 1, width - 1] + smoothing * math.log(count[length - 1, width - 1])
    return 1 - soft / (length + width)


def naive(kind: Kind, a: Encoded, b: Encoded, i: int, j: int, settings: SequenceSimilarity) -> Tensor:
    """One number from two rows, by loops."""
    x = F.normalize(a.tokens[i][a.mask[i]], dim=1)
    y = F.normalize(b.tokens[j][b.mask[j]], dim=1)
    if len(x) == 0 or len(y) == 0:
        return torch.zeros((), dtype=torch.float64)
    if kind == "global":
        return F.cosine_similarity(a.pooled[i], b.pooled[j], dim=0)
    if kind == "temporal":
        return by_cells(x @ y.t(), settings.smoothing)
    if kind == "combined":
        parts = torch.stack([naive(one, a, b, i, j, settings) for one in SINGLE])
        weights = torch.tensor(settings.weights, dtype=torch.float64)
        return (parts * weights).sum() / weights.sum()
    found = []
    for these, those in ((x, y), (y, x)):
        if kind == "attention":
            for token in these:
                weights = (settings.sharpness * those @ token).softmax(0)
                found.append(F.cosine_similarity(token, (weights.unsqueeze(1) * those).sum(0), dim=0) / len(these) / 2)
            continue
        half = settings.window // 2
        windows = [[one[max(0, t - half) : t + half + 1].mean(0) for t in range(len(one))] for one in (these, those)]
        for window in windows[0]:
            best = max(float(F.cosine_similarity(window, other, dim=0)) for other in windows[1])
            found.append(torch.tensor(best, dtype=torch.float64) / len(these) / 2)
    return torch.stack(found).sum()


@kinds
@pytest.mark.parametrize("window", [1, 3, 5])
def test_every_entry_is_what_two_rows_give_by_loops(kind: Kind, window: int) -> None:
    made = SequenceSimilarity(kind=kind, window=window, weights=(0.5, 1.0, 2.0, 0.25), smoothing=0.3)
    a, b = sequences([4, 1, 7, 0], 7, 0), sequences([3, 5, 1], 6, 1)
    found = Comparison(made).double()(a, b)
    expected = torch.stack([torch.stack([naive(kind, a, b, i, j, made) for j in range(3)]) for i in range(4)])
    if kind == "global":
        expected[3] = 0.0
    # Weights of the mean are kept in single precision.
    same(found, expected.detach(), 1e-7 if kind == "combined" else 1e-10)
    assert found[:3].std() > 1e-3
    assert found.abs().max() <= 1


@kinds
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_scores_are_symmetric_and_of_two_rows_alone(kind: Kind, data: st.DataObject) -> None:
    lengths = st.lists(st.integers(1, 6), min_size=1, max_size=4)
    a, b = sequences(data.draw(lengths), 6, 0), sequences(data.draw(lengths), 6, 1)
    comparison = compare(kind)
    whole = comparison(a, b)
    same(comparison(b, a), whole.t())
    i = data.draw(st.integers(0, len(a.mask) - 1))
    j = data.draw(st.integers(0, len(b.mask) - 1))
    same(comparison(rows(a, [i]), rows(b, [j])), whole[i, j].view(1, 1))
    chunked = compare(kind, chunk=data.draw(st.integers(1, 6)))
    same(chunked(a, b), whole)


@kinds
def test_padding_anywhere_changes_nothing(kind: Kind) -> None:
    a, b = sequences([4, 2], 4, 0), sequences([3, 5], 5, 1)
    whole = compare(kind)(a, b)
    # Gaps before, between and behind the tokens, in another place for each row.
    places = torch.tensor([[1, 2, 5, 8], [0, 6, 7, 9]])
    tokens = torch.full((2, 10, WIDTH), math.nan, dtype=torch.float64)
    mask = torch.zeros(2, 10, dtype=torch.bool)
    for row in range(2):
        tokens[row, places[row]], mask[row, places[row]] = a.tokens[row], a.mask[row]
    same(compare(kind)(Encoded(tokens, mask, a.pooled), b), whole)


@kinds
def test_rows_without_a_token_are_like_nothing_and_get_no_gradient(kind: Kind) -> None:
    a, b = sequences([4, 0, 2], 4, 0), sequences([0, 3], 3, 1)
    leaves = [part.requires_grad_() for part in (a.tokens, a.pooled, b.tokens, b.pooled)]
    found = compare(kind)(a, b)
    assert found[1].eq(0).all()
    assert found[:, 0].eq(0).all()
    assert found[0, 1] != 0
    (found * torch.arange(1.0, 7.0).view(3, 2)).sum().backward()
    for leaf in leaves:
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        assert gradient.isfinite().all()
        assert gradient[1 if leaf is leaves[0] or leaf is leaves[1] else 0].eq(0).all()


@kinds
@pytest.mark.parametrize("chunk", [2, 100])
def test_gradients_are_those_of_finite_differences(kind: Kind, chunk: int) -> None:
    comparison = compare(kind, chunk=chunk, weighting="learned").double()
    a, b = sequences([3, 2], 3, 0), sequences([2, 4], 4, 1)
    masks = (a.mask, b.mask)
    clean = [part.masked_fill(part.isnan(), 0.0).requires_grad_() for part in (a.tokens, a.pooled, b.tokens, b.pooled)]

    def score(first: Tensor, one: Tensor, second: Tensor, other: Tensor, *logits: Tensor) -> Tensor:
        found: Tensor = comparison(Encoded(first, masks[0], one), Encoded(second, masks[1], other))
        return found

    logits = [comparison.logits] if kind == "combined" else []
    assert torch.autograd.gradcheck(score, (*clean, *logits))


def test_only_what_is_ordered_sees_the_order_of_time() -> None:
    a, b = sequences([8, 8], 8, 0), sequences([5, 6], 6, 1)
    order = torch.tensor([5, 2, 7, 0, 3, 6, 1, 4])
    shuffled = a._replace(tokens=a.tokens[:, order])
    for kind, seen in {"global": False, "attention": False, "temporal": True, "combined": True}.items():
        change = (compare(kind)(shuffled, b) - compare(kind)(a, b)).abs().min()
        assert bool(change > 1e-4) == seen, kind
    change = (compare("local", window=1)(shuffled, b) - compare("local", window=1)(a, b)).abs().max()
    assert change < 1e-12
    assert (compare("local", window=3)(shuffled, b) - compare("local", window=3)(a, b)).abs().min() > 1e-4
    itself = compare("temporal", smoothing=0.01)(a, a).diagonal()
    assert (itself > compare("temporal", smoothing=0.01)(shuffled, a).diagonal() + 0.1).all(), "in order is best"
    slow = a._replace(tokens=a.tokens.repeat_interleave(2, 1), mask=a.mask.repeat_interleave(2, 1))
    assert compare("temporal", smoothing=0.001)(slow, a).diagonal().min() > 0.98, "at half the speed it is still it"


@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 5), width=st.integers(1, 5), smoothing=st.floats(0.05, 5.0), seed=st.integers(0, 1000))
def test_the_alignment_is_the_mean_over_all_paths(length: int, width: int, smoothing: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    cosines = torch.rand(2, 6, 7, generator=draw, dtype=torch.float64) * 2 - 1
    found = aligned(cosines, torch.tensor([length, 6]), torch.tensor([width, 1]), smoothing)
    same(found[0], by_paths(cosines[0, :length, :width], smoothing), 1e-9)
    same(found[0], by_cells(cosines[0, :length, :width], smoothing), 1e-9)
    same(found[1], by_cells(cosines[1, :, :1], smoothing), 1e-9)


def test_the_alignment_is_bounded_by_its_cosines_and_sharpens_to_the_best_path() -> None:
    draw = torch.Generator().manual_seed(0)
    cosines = torch.rand(1, 5, 4, generator=draw, dtype=torch.float64) * 2 - 1
    five, four = torch.tensor([5]), torch.tensor([4])
    for value in (-1.0, 0.3, 1.0):
        same(aligned(torch.full_like(cosines, value), five, four, 0.1), torch.tensor([value], dtype=torch.float64))
    best = max(sum(weight * float(cosines[0, r, c]) for r, c, weight in path) / 9 for path in paths(5, 4))
    assert aligned(cosines, five, four, 1e-3).item() == pytest.approx(best, abs=2e-3)
    assert aligned(cosines, five, four, 0.3).item() < best
    long = aligned(torch.zeros(1, 62, 64), torch.tensor([62]), torch.tensor([64]), 0.1)
    assert long.item() == pytest.approx(0.0, abs=1e-5), "single precision over long sequences"


def test_weights_are_shares_fixed_or_learned() -> None:
    fixed = compare("combined", weights=(2.0, 0.0, 1.0, 1.0))
    assert fixed.weights() == pytest.approx({"global": 0.5, "local": 0.0, "attention": 0.25, "temporal": 0.25})
    assert not [weight for weight in fixed.parameters() if weight.requires_grad]
    a, b = sequences([3, 3], 3), sequences([2, 2], 2, 1)
    only = compare("combined", weights=(0.0, 0.0, 0.0, 3.0))(a, b)
    same(only, compare("temporal")(a, b))
    learned = compare("combined", weighting="learned").double()
    learned(a, b).square().sum().backward()
    assert learned.logits.grad is not None
    assert learned.logits.grad.abs().sum() > 0
    assert compare("temporal").weights() == {"temporal": 1.0}


@kinds
def test_half_precision_is_computed_in_single(kind: Kind) -> None:
    a, b = sequences([3, 2], 3, dtype=torch.float32), sequences([2, 4], 4, 1, torch.float32)
    plain = compare(kind)(a, b)
    with torch.autocast("cpu", torch.bfloat16):
        same(compare(kind)(a, b), plain, 0.0)
    half = [Encoded(one.tokens.bfloat16(), one.mask, one.pooled.bfloat16()) for one in (a, b)]
    found = compare(kind)(*half)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, atol=0.03, rtol=0)


@pytest.mark.parametrize(
    ("given_settings", "message"),
    [
        ({"window": 4}, "window is 4, an odd number"),
        ({"chunk": 0}, "chunk is 0, at least 1"),
        ({"smoothing": 0.0}, "smoothing 0.0; both must be above 0"),
        ({"weights": (0.0, 0.0, 0.0, 0.0)}, "one of them above it"),
        ({"weights": (1.0, 0.0, 1.0, 1.0), "weighting": "learned"}, "learned ones must start above 0"),
    ],
)
def test_settings_out_of_range_are_refused(given_settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SequenceSimilarity(**given_settings)


def test_a_recipe_may_set_all_of_it() -> None:
    made = SequenceSimilarity(**keywords(SequenceSimilarity, {"kind": "combined", "weights": [1.0, 2.0, 0.5, 1.0]}))
    assert made.weights == (1.0, 2.0, 0.5, 1.0)
