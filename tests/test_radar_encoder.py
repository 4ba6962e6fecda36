"""Radar views and their fusion in time: what padding, batch-mates and missing views may and may not change."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.config.build import keywords
from counterpoint.config.signature import choices
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.radar import RadarEncoder
from counterpoint.fusion import Concat, Fusion, Gated, NothingPresentError, TimeFusion, TokenAttention
from counterpoint.model import Model, build_model
from counterpoint.types import Encoded, Signal, SignalSpec

SPEC = SignalSpec(channels=6, length=64, rate=20.0)
BINS = {"range_time": 6, "doppler_time": 5, "azimuth_time": 4}
Small = partial(RadarEncoder, dim=16, width=8, heads=2, dropout=0.0)
encoders = pytest.mark.parametrize("depth", [0, 2])
FUSIONS: dict[str, Callable[..., Fusion]] = {
    "Concat": Concat,
    "Gated": partial(Gated, dim=16),
    "TokenAttention": partial(TokenAttention, queries=2, dim=16, heads=2, hidden=16),
    "layer": partial(TimeFusion, dim=16, heads=2),
    "attention": partial(TimeFusion, how="attention", dim=16, heads=2),
}
fusions = pytest.mark.parametrize("fusion", FUSIONS)
timed = pytest.mark.parametrize("fusion", ["layer", "attention"])


def encoder(depth: int = 2, dtype: torch.dtype = torch.float64, **more: Any) -> RadarEncoder:
    torch.manual_seed(0)
    return Small(SPEC, depth=depth, **more).to(dtype).eval()


def clips(rows: int, length: int, channels: int = 6, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    return torch.randn(rows, length, channels, generator=generator, dtype=torch.float64).to(dtype)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@encoders
@settings(max_examples=25, deadline=None)
@given(length=st.integers(1, 70), extra=st.integers(0, 40), stride=st.sampled_from([1, 2, 4, 8, 16]))
def test_padding_changes_nothing_whatever_it_holds(depth: int, length: int, extra: int, stride: int) -> None:
    made, values = encoder(depth, stride=stride), clips(3, length)
    plain = made(Signal(values))
    count = math.ceil(length / stride)
    assert plain.tokens.shape == (3, count, 16)
    assert plain.mask.all()
    mask = torch.arange(length + extra).expand(3, -1) < length
    padded = made(Signal(torch.cat([values, values.new_full((3, extra, 6), math.nan)], 1), mask))
    same(padded.pooled, plain.pooled)
    same(padded.tokens[:, :count], plain.tokens)
    assert padded.mask.sum(1).tolist() == [count] * 3
    assert padded.tokens[:, count:].eq(0).all()


@encoders
def test_rows_of_many_lengths_are_each_what_they_are_alone(depth: int) -> None:
    made, lengths = encoder(depth, torch.float32), [64, 17, 0, 33, 1]
    values = clips(5, 64, dtype=torch.float32)
    mask = torch.arange(64) < torch.tensor(lengths).unsqueeze(1)
    whole = made(Signal(values, mask))
    for row, length in enumerate(lengths):
        if length == 0:
            assert not whole.mask[row].any()
            assert whole.pooled[row].eq(0).all()
            continue
        single = made(Signal(values[row : row + 1, :length]))
        torch.testing.assert_close(whole.pooled[row], single.pooled[0], rtol=1e-6, atol=1e-6)
    assert whole.pooled.std(0).mean() > 1e-3


@encoders
def test_the_order_of_time_and_every_bin_are_seen(depth: int) -> None:
    made, values = encoder(depth), clips(2, 64)
    out = made(Signal(values))
    assert (made(Signal(values.flip(1))).pooled - out.pooled).abs().max() > 1e-3
    for channel in range(6):
        other = values.clone()
        other[:, :, channel] += 1.0
        assert (made(Signal(other)).pooled - out.pooled).abs().max() > 1e-3
    # Without blocks, a token far from a frame does not know of it; with them every token does.
    shifted = values.clone()
    shifted[:, 0] += 1.0
    far = (made(Signal(shifted)).tokens - out.tokens)[:, -1].abs().max()
    assert bool(far > 1e-6) or depth == 0


def test_gradients_of_masked_rows_are_finite_and_reach_all_weights() -> None:
    made = encoder(1).train()
    mask = torch.arange(64) < torch.tensor([64, 20, 0]).unsqueeze(1)
    out = made(Signal(clips(3, 64).masked_fill(~mask.unsqueeze(2), math.nan), mask))
    (out.pooled.square().sum() + out.tokens.square().sum()).backward()
    for name, weight in made.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
        assert weight.grad.abs().sum() > 0, name


def test_the_default_size_is_quick_on_one_core() -> None:
    made, values = RadarEncoder(SignalSpec(256, 192, 20.0)), torch.randn(64, 192, 256)
    signal, best = Signal(values, torch.ones(64, 192, dtype=torch.bool)), math.inf
    for _ in range(3):
        start = time.process_time()
        made(signal).pooled.square().sum().backward()
        best = min(best, time.process_time() - start)
    assert best < 1.5, "0.3 s of one core, with room for a slow machine"


def model(fusion: str) -> Model:
    torch.manual_seed(0)
    specs = {name: SignalSpec(bins, 64, 20.0) for name, bins in BINS.items()}
    return build_model(specs, dict.fromkeys(specs, partial(Small, depth=1)), FUSIONS[fusion]).double().eval()


def views(patterns: list[tuple[bool, ...]], length: int = 64) -> dict[str, Signal]:
    """A row a pattern: which views it has; those it lacks hold no numbers."""
    found = {}
    for i, (name, bins) in enumerate(BINS.items()):
        here = torch.tensor([pattern[i] for pattern in patterns]).unsqueeze(1).expand(-1, length)
        values = clips(len(patterns), length, bins)
        found[name] = Signal(values.masked_fill(~here.unsqueeze(2), math.nan), here)
    return found


@fusions
def test_rows_may_lack_any_views_but_not_all(fusion: str) -> None:
    made = model(fusion)
    patterns = [pattern for pattern in product((True, False), repeat=3) if any(pattern)]
    whole = views(patterns)
    out = made(whole)["fused"]
    assert out.pooled.isfinite().all()
    assert out.tokens.isfinite().all()
    for row in range(len(patterns)):
        single = made({name: Signal(*(part[row : row + 1] for part in one)) for name, one in whole.items()})["fused"]  # type: ignore[union-attr]
        same(single.pooled[0], out.pooled[row], 1e-9)
    with pytest.raises(NothingPresentError):
        made(views([(True, True, True), (False, False, False)]))


@timed
def test_fused_tokens_keep_the_order_of_time(fusion: str) -> None:
    made = model(fusion).fusion
    generator = torch.Generator().manual_seed(0)
    parts = {}
    for name in BINS:
        tokens = torch.randn(2, 8, 16, generator=generator, dtype=torch.float64)
        parts[name] = Encoded(tokens, torch.ones(2, 8, dtype=torch.bool), tokens.mean(1))
    out = made(parts)
    assert out.tokens.shape == (2, 8, 16)
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    turned = made({name: part._replace(tokens=part.tokens[:, order]) for name, part in parts.items()})
    same(turned.tokens, out.tokens[:, order])
    same(turned.pooled, out.pooled)
    moved = {name: part._replace(tokens=part.tokens.clone()) for name, part in parts.items()}
    moved["doppler_time"].tokens[:, 5, :4] += 1.0
    changed = (made(moved).tokens - out.tokens).abs().amax((0, 2)) > 1e-9
    assert changed.tolist() == [i == 5 for i in range(8)], "moment by moment"
    weights = made.attend(parts)
    same(torch.stack(list(weights.values())).sum(0), torch.ones(2, dtype=torch.float64))


@timed
def test_what_a_view_lacks_leaves_no_trace_and_gets_no_gradient(fusion: str) -> None:
    made = model(fusion).fusion
    generator = torch.Generator().manual_seed(0)
    masks = {"range_time": [1, 1, 1, 0, 0, 0], "doppler_time": [0, 0, 0, 0, 0, 0], "azimuth_time": [0, 1, 1, 1, 0, 0]}
    drawn = {name: torch.randn(1, 6, 16, generator=generator, dtype=torch.float64) for name in BINS}

    def parts(fill: float) -> dict[str, Encoded]:
        found = {}
        for name, real in masks.items():
            mask = torch.tensor([real], dtype=torch.bool)
            tokens = torch.where(mask.unsqueeze(2), drawn[name], fill).requires_grad_()
            found[name] = Encoded(tokens, mask, torch.full((1, 16), fill, dtype=torch.float64))
        return found

    clean, dirty = parts(0.0), parts(math.nan)
    out = made(dirty)
    same(out.tokens, made(clean).tokens)
    assert out.mask.tolist() == [[True] * 4 + [False] * 2]
    same(out.pooled, out.tokens[:, :4].mean(1))
    out.pooled.square().sum().backward()
    for name, part in dirty.items():
        assert part.tokens.grad is not None
        assert part.tokens.grad[~part.mask].eq(0).all()
        assert part.tokens.grad[part.mask].ne(0).any() or name == "doppler_time"
    assert all(weight.grad is None or weight.grad.isfinite().all() for weight in made.parameters())
    weights = made.attend(dirty)
    assert weights["doppler_time"].item() == 0.0
    assert sum(weight.item() for weight in weights.values()) == pytest.approx(1.0)


def test_a_recipe_may_choose_them() -> None:
    assert choices(Encoder)["RadarEncoder"] is RadarEncoder
    assert choices(Fusion)["TimeFusion"] is TimeFusion
    assert TimeFusion({"a": 3}, **keywords(TimeFusion, {"how": "attention", "dim": 8})).dim == 8
    assert RadarEncoder(SPEC, **keywords(RadarEncoder, {"depth": 0, "stride": 4})).dim == 256


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: encoder(stride=6), "stride is 6; choose a power of 2"),
        (lambda: encoder(kernel=4), "kernel 4 odd"),
        (lambda: encoder(depth=-1), "depth -1 at least 0"),
        (lambda: Small(SPEC, dim=15), "dim 15 must be even"),
        (lambda: encoder()(Signal(clips(2, 8, channels=5))), "built for .*6 channels"),
        (lambda: TimeFusion({"a": 4}, dim=10, heads=4), "dim is 10 and heads 4"),
    ],
)
def test_what_does_not_fit_is_refused(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


@timed
def test_views_of_unequal_strides_are_refused(fusion: str) -> None:
    parts = {}
    for name, length in zip(BINS, (8, 8, 4), strict=True):
        tokens = torch.zeros(1, length, 16, dtype=torch.float64)
        parts[name] = Encoded(tokens, torch.ones(1, length, dtype=torch.bool), tokens[:, 0])
    with pytest.raises(ValueError, match=r"'azimuth_time': 4.* tokens and cannot be laid side by side"):
        model(fusion).fusion(parts)
