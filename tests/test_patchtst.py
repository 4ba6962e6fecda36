"""What is particular to PatchTST; what it shares with the other encoders is tested with them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.patchtst import PatchTST, PretrainedPatchTST
from counterpoint.types import Signal, SignalSpec

library = pytest.importorskip("transformers", reason="the extra hf is not installed")

SPEC = SignalSpec(channels=2, length=128, rate=1000.0)
SMALL = partial(PatchTST, dim=16, depth=2, heads=2, patch=8, overlap=4)


def build(make: Callable[..., Encoder], dtype: torch.dtype = torch.float64, spec: SignalSpec = SPEC) -> Encoder:
    torch.manual_seed(0)
    return make(spec).to(dtype).eval()


def signal(rows: int, length: int = 128, dtype: torch.dtype = torch.float64, channels: int = 2) -> Signal:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    return Signal(torch.randn(rows, length, channels, generator=generator, dtype=torch.float64).to(dtype))


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_patchtst_refuses_what_it_cannot_honour() -> None:
    with pytest.raises(ValueError, match="dim 30"):
        PatchTST(SPEC, dim=30)
    with pytest.raises(ValueError, match="patch is 128"):
        PatchTST(SPEC, patch=128)
    encoder = build(SMALL)
    with pytest.raises(ValueError, match="partly real"):
        encoder(Signal(signal(2).values, torch.arange(128).expand(2, -1) < 100))
    with pytest.raises(ValueError, match="128 samples and met 64"):
        encoder(signal(2, 64))


def test_patchtst_averages_channels_that_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    both, one = build(SMALL), build(SMALL, spec=SPEC._replace(channels=1))
    one.load_state_dict(both.state_dict())
    batch = signal(3)
    each = [one(Signal(batch.values[:, :, c : c + 1])).tokens for c in range(2)]
    same(both(batch).tokens, (each[0] + each[1]) / 2)


def test_pretrained_patchtst_brings_its_weights_and_sizes(tmp_path: Path) -> None:
    fresh = build(SMALL, torch.float32)
    assert isinstance(fresh.model, library.PatchTSTModel)
    fresh.model.save_pretrained(tmp_path)
    loaded = build(partial(PretrainedPatchTST, source=str(tmp_path)), torch.float32)
    batch = signal(3, dtype=torch.float32)
    assert loaded.dim == 16
    same(loaded(batch).pooled, fresh(batch).pooled, 1e-6)
    more = build(partial(PretrainedPatchTST, source=str(tmp_path)), torch.float32, SPEC._replace(channels=3))
    assert more(signal(2, channels=3, dtype=torch.float32)).pooled.shape == (2, 16)
    with pytest.raises(ValueError, match="trained on 128 samples and the data bring 64"):
        PretrainedPatchTST(SPEC._replace(length=64), source=str(tmp_path))
    with pytest.raises(ValueError, match="nothing to load"):
        PretrainedPatchTST(SPEC, source=str(tmp_path / "absent"))
