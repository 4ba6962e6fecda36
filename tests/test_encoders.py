"""Signal encoders and front ends: what padding, batch-mates and order may and may not change."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.frontend import EnvelopeSpectrum, LogSpectrogram
from counterpoint.encoders.patch import Blocks, PatchTransformer
from counterpoint.encoders.patchtst import PatchTST
from counterpoint.encoders.resnet import GroupNorm, ResNet1d
from counterpoint.types import Encoded, Signal, SignalSpec

SPEC = SignalSpec(channels=2, length=128, rate=1000.0)
Make = Callable[..., Encoder]

SMALL = Blocks(depth=2, heads=2)
Patch = partial(PatchTransformer, dim=16, patch=8, blocks=SMALL)
Res = partial(ResNet1d, dim=16, width=8, stages=3, blocks=1, kernel=3)
SPECTROGRAM = partial(LogSpectrogram, window=16, hop=8)

MASKED: dict[str, Make] = {
    "patch-mean": Patch,
    "patch-cls": partial(Patch, pooling="cls"),
    "patch-attention": partial(Patch, pooling="attention"),
    "patch-overlap": partial(Patch, overlap=5),
    "patch-spectrogram": partial(Patch, patch=2, frontend=SPECTROGRAM),
    "patch-envelope": partial(Patch, frontend=EnvelopeSpectrum),
    "resnet-group": Res,
    "resnet-layer": partial(Res, norm="layer"),
    "resnet-spectrogram": partial(Res, frontend=SPECTROGRAM),
    "resnet-envelope": partial(Res, frontend=partial(EnvelopeSpectrum, share=0.5)),
}
EVERY: dict[str, Make] = {
    **MASKED,
    "patchtst": partial(PatchTST, dim=16, depth=2, heads=2, patch=8, overlap=4),
}
masked = pytest.mark.parametrize("make", MASKED.values(), ids=MASKED.keys())
needs_transformers = pytest.mark.skipif(find_spec("transformers") is None, reason="the extra hf is not installed")
every = pytest.mark.parametrize(
    "make",
    [
        pytest.param(make, id=name, marks=needs_transformers if name == "patchtst" else ())
        for name, make in EVERY.items()
    ],
)


def build(make: Make, dtype: torch.dtype = torch.float64, spec: SignalSpec = SPEC) -> Encoder:
    torch.manual_seed(0)
    return make(spec).to(dtype).eval()


def signal(rows: int, length: int = 128, dtype: torch.dtype = torch.float64, channels: int = 2) -> Signal:
    generator = torch.Generator().manual_seed(rows * 1000 + length)
    return Signal(torch.randn(rows, length, channels, generator=generator, dtype=torch.float64).to(dtype))


def padded(values: Tensor, extra: int, fill: float = float("nan")) -> Signal:
    """The values with ``extra`` samples of padding behind them, by default not even numbers."""
    rows, length, channels = values.shape
    mask = torch.arange(length + extra).expand(rows, -1) < length
    return Signal(torch.cat([values, values.new_full((rows, extra, channels), fill)], 1), mask)


def same(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@every
def test_shapes_and_meaning_of_the_output(make: Make) -> None:
    encoder = build(make, torch.float32)
    out = encoder(signal(5, dtype=torch.float32))
    assert isinstance(out, Encoded)
    assert out.tokens.shape == (5, out.mask.shape[1], encoder.dim)
    assert out.pooled.shape == (5, encoder.dim)
    assert out.mask.dtype == torch.bool
    assert out.mask.all()
    assert out.pooled.dtype == torch.float32
    spread = out.pooled.std(0).mean()
    assert spread > 1e-3, "rows come out alike"


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_a_row_alone_equals_the_row_in_a_batch(make: Make, dtype: torch.dtype, tolerance: float) -> None:
    encoder, batch = build(make, dtype), signal(6, dtype=dtype)
    encoder.train()
    together = encoder(batch)
    for row in range(6):
        alone = encoder(Signal(batch.values[row : row + 1]))
        same(alone.pooled, together.pooled[row : row + 1], tolerance)
        same(alone.tokens, together.tokens[row : row + 1], tolerance)


@masked
def test_batch_mates_and_order_change_nothing_with_ragged_rows(make: Make) -> None:
    encoder, batch = build(make), signal(5)
    lengths = torch.tensor([128, 3, 77, 0, 128])
    mask = torch.arange(128) < lengths.unsqueeze(1)
    together = encoder(Signal(batch.values, mask))
    order = torch.tensor([3, 1, 4, 0, 2])
    same(encoder(Signal(batch.values[order], mask[order])).pooled, together.pooled[order])
    others = batch.values.clone()
    others[1:] = 1e3
    same(encoder(Signal(others, mask)).pooled[0], together.pooled[0])


@masked
@pytest.mark.parametrize("length", [1, 7, 50, 100, 128])
def test_padding_changes_nothing(make: Make, length: int) -> None:
    encoder, real = build(make), signal(3, length)
    bare = encoder(real)
    behind = encoder(padded(real.values, 128 - length))
    same(behind.pooled, bare.pooled)
    count = bare.tokens.shape[1]
    if not behind.mask.all():
        assert behind.mask[:, :count].all()
        assert not behind.mask[:, count:].any()
    same(behind.tokens[:, :count], bare.tokens)
    assert (behind.tokens[:, count:] == 0).all()


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_padding_changes_nothing_whatever_the_sizes(data: st.DataObject) -> None:
    patch = data.draw(st.integers(1, 20), label="patch")
    overlap = data.draw(st.integers(0, patch - 1), label="overlap")
    length = data.draw(st.integers(1, 90), label="length")
    extra = data.draw(st.integers(0, 60), label="extra")
    kernel = data.draw(st.sampled_from([1, 3, 5]), label="kernel")
    norm = data.draw(st.sampled_from(["group", "layer"]), label="norm")
    real = signal(2, length)
    for make in (
        partial(Patch, patch=patch, overlap=overlap, pooling="cls"),
        partial(Res, kernel=kernel, norm=norm),
    ):
        encoder = build(make)
        bare, behind = encoder(real), encoder(padded(real.values, extra))
        same(behind.pooled, bare.pooled)
        assert behind.mask.sum() == bare.mask.sum()


@masked
def test_an_all_true_mask_equals_no_mask(make: Make) -> None:
    encoder, batch = build(make), signal(3)
    with_mask = encoder(Signal(batch.values, torch.ones(3, 128, dtype=torch.bool)))
    same(with_mask.pooled, encoder(batch).pooled)


@every
def test_a_missing_row_is_finite_and_zero_and_trains(make: Make) -> None:
    encoder, batch = build(make), signal(3)
    encoder.train()
    values = batch.values.clone()
    values[1] = float("nan")
    mask = torch.ones(3, 128, dtype=torch.bool)
    mask[1] = False
    out = encoder(Signal(values, mask))
    assert not out.mask[1].any()
    assert (out.pooled[1] == 0).all()
    assert (out.tokens[1] == 0).all()
    same(out.pooled[[0, 2]], encoder(Signal(batch.values[[0, 2]])).pooled)
    out.pooled.square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all(), name


@every
def test_every_parameter_learns(make: Make) -> None:
    encoder = build(make, torch.float32)
    encoder.train()
    weights = torch.randn(encoder.dim, generator=torch.Generator().manual_seed(1))
    (encoder(signal(4, dtype=torch.float32)).pooled @ weights).sum().backward()
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad and parameter.numel():
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
            assert parameter.grad.abs().max() > 0, name


@every
def test_order_in_time_matters(make: Make) -> None:
    encoder, batch = build(make), signal(2)
    turned = batch.values.view(2, 16, 8, 2).flip(1).flatten(1, 2)
    moved = (encoder(Signal(turned)).pooled - encoder(batch).pooled).norm(dim=1)
    assert (moved > 1e-3 * encoder(batch).pooled.norm(dim=1)).all()


@masked
def test_lengths_beyond_the_specified_one(make: Make) -> None:
    encoder, longer = build(make), signal(2, 300)
    if isinstance(getattr(encoder, "frontend", None), EnvelopeSpectrum):
        with pytest.raises(ValueError, match="sized for 128 samples and met 300"):
            encoder(longer)
        return
    bare = encoder(longer)
    assert bare.pooled.isfinite().all()
    same(encoder(padded(longer.values, 41)).pooled, bare.pooled)


@every
def test_a_wrong_shape_is_named(make: Make) -> None:
    encoder = build(make, torch.float32)
    with pytest.raises(ValueError, match=r"\(2, 128, 3\).*2 channels"):
        encoder(signal(2, channels=3, dtype=torch.float32))


def test_a_mask_of_another_length_is_named() -> None:
    with pytest.raises(ValueError, match=r"\(2, 5\)"):
        build(Patch)(Signal(signal(2).values, torch.ones(2, 5, dtype=torch.bool)))


@pytest.mark.parametrize(("make", "millions"), [(PatchTransformer, 0.54), (ResNet1d, 0.73)])
def test_default_sizes_and_scales(make: Make, millions: float) -> None:
    encoder = build(make, torch.float32, SignalSpec(2, 1024, 12_000.0))
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(millions, rel=0.1)
    tokens = encoder(signal(4, 1024, torch.float32)).tokens
    assert float(tokens.std().detach()) == pytest.approx(1.0, rel=0.05)
    assert encoder.dim == 128


def test_dropout_acts_in_training_alone() -> None:
    encoder, batch = build(partial(Patch, blocks=Blocks(depth=2, heads=2, dropout=0.5))), signal(2)
    same(encoder(batch).pooled, encoder(batch).pooled)
    encoder.train()
    assert not torch.allclose(encoder(batch).pooled, encoder(batch).pooled)


def test_bfloat16_autocast_runs_and_stays_close() -> None:
    for make in (Patch, Res, MASKED["patch-spectrogram"], MASKED["resnet-envelope"]):
        encoder, batch = build(make, torch.float32), signal(3, 90, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            low = encoder(padded(batch.values, 38)).pooled
        torch.testing.assert_close(low.float(), encoder(batch).pooled, atol=0.15, rtol=0.1)


def test_masked_group_norm_equals_group_norm_of_the_real_part() -> None:
    norm = GroupNorm(16).double()
    torch.nn.init.normal_(norm.weight)
    values = signal(2, 30, channels=16).values.transpose(1, 2)
    mask = (torch.arange(30) < 21).expand(2, -1)
    reference = torch.nn.functional.group_norm(values[:, :, :21], 4, norm.weight, norm.bias)
    same(norm(values, mask)[:, :, :21], reference)


@pytest.mark.parametrize(
    ("make", "named_value"),
    [
        (lambda: Blocks(depth=0), "depth 0"),
        (lambda: Blocks(dropout=1.0), "dropout is 1.0"),
        (lambda: PatchTransformer(SPEC, dim=30), "dim is 30"),
        (lambda: PatchTransformer(SPEC, dim=15, blocks=Blocks(heads=5)), "dim is 15"),
        (lambda: PatchTransformer(SPEC, patch=8, overlap=8), "overlap 8"),
        (lambda: ResNet1d(SPEC, kernel=4), "kernel is 4"),
        (lambda: ResNet1d(SPEC, stages=0), "stages is 0"),
    ],
)
def test_settings_that_do_not_fit_are_refused(make: Callable[[], object], named_value: str) -> None:
    with pytest.raises(ValueError, match=named_value):
        make()
