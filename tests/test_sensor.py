"""The Transformer over sensor channels: levels, gaps, phases, and what may change nothing."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from counterpoint.encoders.patch import Blocks
from counterpoint.encoders.sensor import SensorTransformer
from counterpoint.types import Signal, SignalSpec

SPEC = SignalSpec(channels=3, length=32, rate=0.0)
Small = partial(SensorTransformer, dim=16, patch=4, blocks=Blocks(depth=2, heads=2))


def build(spec: SignalSpec = SPEC, **chosen: Any) -> SensorTransformer:
    torch.manual_seed(0)
    return Small(spec, **chosen).double().eval()


def values(rows: int, length: int = 32) -> Tensor:
    return torch.randn(rows, length, 3, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("pooling", ["mean", "attention"])
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(0, 32), min_size=2, max_size=5))
def test_padding_and_batch_mates_change_nothing(pooling: str, lengths: list[int]) -> None:
    encoder = build(pooling=pooling)
    batch = values(len(lengths))
    mask = torch.arange(32) < torch.tensor(lengths).unsqueeze(1)
    out = encoder(Signal(batch.masked_fill(~mask.unsqueeze(2), float("nan")), mask))
    for row, length in enumerate(lengths):
        assert int(out.mask[row].sum()) == -(-length // 4)
        if length == 0:
            assert out.pooled[row].eq(0).all()
            assert out.tokens[row].eq(0).all()
            continue
        alone = encoder(Signal(batch[row : row + 1, :length]))
        same(out.pooled[row], alone.pooled[0])
        same(out.tokens[row, : alone.tokens.shape[1]], alone.tokens[0])


def test_a_missing_row_trains_nothing_and_spoils_nothing() -> None:
    encoder = build(blocks=Blocks(depth=1, heads=2)).train()
    mask = torch.tensor([[True] * 32, [False] * 32])
    encoder(Signal(values(2).masked_fill(~mask.unsqueeze(2), float("nan")), mask)).pooled.sum().backward()
    with_it = {name: weight.grad.clone() for name, weight in encoder.named_parameters() if weight.grad is not None}
    encoder.zero_grad()
    encoder(Signal(values(2)[:1])).pooled.sum().backward()
    for name, weight in encoder.named_parameters():
        if weight.grad is not None:
            same(with_it[name], weight.grad)


def test_a_gap_is_not_a_level_of_zero() -> None:
    encoder = build()
    batch = values(1)
    batch[:, 9:11] = 0.0
    mask = torch.ones(1, 32, dtype=torch.bool)
    mask[:, 9:11] = False
    gap, level = encoder(Signal(batch, mask)), encoder(Signal(batch))
    assert gap.mask.all()
    assert (gap.pooled - level.pooled).abs().max() > 1e-3
    other = batch.clone()
    other[:, 9:11] = 7.0
    same(encoder(Signal(other, mask)).pooled, gap.pooled)


def test_levels_and_phases_are_seen() -> None:
    encoder, batch = build(), values(1)
    assert (encoder(Signal(batch + 1.0)).pooled - encoder(Signal(batch)).pooled).abs().max() > 1e-2
    early, late = torch.zeros(2, 1, 32, 3, dtype=torch.float64)
    early[:, 4:8], late[:, 24:28] = 1.0, 1.0
    assert (encoder(Signal(early)).pooled - encoder(Signal(late)).pooled).abs().max() > 1e-3


def test_it_learns_when_something_happened() -> None:
    """Bumps in the first or in the second half: the same values, told apart by their place alone."""
    torch.manual_seed(0)
    encoder, head = Small(SPEC), nn.Linear(16, 2)
    generator = torch.Generator().manual_seed(3)
    starts = torch.randint(0, 13, (96,), generator=generator)
    labels = torch.arange(96) % 2
    batch = torch.zeros(96, 32, 3)
    for row, start in enumerate((starts + 16 * labels).tolist()):
        batch[row, start : start + 3] = 1.0
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(encoder(Signal(batch[:64])).pooled), labels[:64]).backward()
        optimizer.step()
    with torch.no_grad():
        found = head(encoder.eval()(Signal(batch[64:])).pooled).argmax(1)
    assert (found == labels[64:]).float().mean() > 0.9


def test_sizes() -> None:
    encoder = SensorTransformer(SignalSpec(6, 256, 0.0))
    assert encoder.dim == 256
    assert sum(weight.numel() for weight in encoder.parameters()) == pytest.approx(3.2e6, rel=0.05)
    out = encoder(Signal(torch.randn(2, 256, 6)))
    assert out.tokens.shape == (2, 64, 256)
    assert out.pooled.shape == (2, 256)
    assert Small(SPEC._replace(length=30))(Signal(torch.randn(2, 30, 3))).tokens.shape == (2, 8, 16)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="32 samples and met 40"):
        build()(Signal(values(1, 40)))
    with pytest.raises(ValueError, match="dim is 15"):
        build(dim=15)
    with pytest.raises(ValueError, match=r"patch is 40; choose from 1 to the 32"):
        build(patch=40)
    with pytest.raises(ValueError, match="3 channels"):
        build()(Signal(torch.zeros(1, 32, 2, dtype=torch.float64)))
