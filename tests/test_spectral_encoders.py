"""Encoders of spectra: scans that are missing, their order and batch-mates leave no trace; what they look at."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from counterpoint import config
from counterpoint.encoders.base import Encoder, check_kind
from counterpoint.encoders.patch import Blocks
from counterpoint.encoders.scan_pooling import ScanPooling, laid, listed
from counterpoint.encoders.spectral import SpectralConv, SpectralMLP, SpectralTransformer
from counterpoint.recipe import Recipe, import_roles, read
from counterpoint.types import Encoded, SignalSpec, Spectra, SpectraSpec
from toys import ToneData

POINTS, SCANS = 50, 4
SPEC = SpectraSpec(SCANS, tuple(400.0 + 3 * place for place in range(POINTS)), "cm-1")
SMALL = Blocks(depth=1, heads=2, dropout=0.1)
KINDS: dict[str, Callable[..., Encoder]] = {
    "SpectralTransformer": partial(SpectralTransformer, dim=8, patch=8, filters=3, queries=2, blocks=SMALL),
    "SpectralConv": partial(SpectralConv, dim=8, width=4, stages=2),
    "SpectralMLP": partial(SpectralMLP, dim=8, hidden=6, patch=8),
    "linear": partial(SpectralMLP, dim=8, hidden=None, patch=8, scans="mean"),
}
TOKENS = {"SpectralTransformer": 7, "SpectralConv": 7, "SpectralMLP": 7, "linear": 7}
MASKS = torch.tensor(
    [[True] * 4, [True, False, True, False], [False] * 4, [False, False, False, True], [True, True, False, False]]
)


def made(kind: str, dtype: torch.dtype = torch.float64) -> Encoder:
    torch.manual_seed(0)
    return KINDS[kind](SPEC).to(dtype).eval()


def world(absent: float = 0.0, seed: int = 1) -> Spectra:
    """Five specimens with 4, 2, 0, 1 and 2 scans; where there is none stands the number ``absent``."""
    values = torch.randn(5, SCANS, POINTS, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Spectra(torch.where(MASKS[..., None], values, absent), MASKS)


def same(a: Encoded, b: Encoded) -> None:
    torch.testing.assert_close(a.pooled, b.pooled, atol=1e-6, rtol=0)
    torch.testing.assert_close(a.tokens, b.tokens, atol=1e-6, rtol=0)
    assert torch.equal(a.mask, b.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_shapes_and_rows_without_a_scan(kind: str) -> None:
    encoder = made(kind)
    found = encoder(world())
    assert found.tokens.shape == (5, TOKENS[kind], 8)
    assert found.pooled.shape == (5, encoder.dim)
    assert torch.equal(found.mask, MASKS.any(1, keepdim=True).expand(-1, TOKENS[kind]))
    assert not found.tokens[2].any()
    assert not found.pooled[2].any()
    assert (found.pooled[[0, 1, 3, 4]].abs().amax(1) > 1e-3).all()
    centres = encoder.centres
    assert len(centres) == TOKENS[kind]
    assert SPEC.axis[0] <= centres[0] < centres[-1] <= SPEC.axis[-1]
    whole = encoder(Spectra(world().values, None))
    assert bool(whole.mask.all())
    same(Encoded(*(part[:1] for part in whole[:3])), Encoded(*(part[:1] for part in found[:3])))


@pytest.mark.parametrize("absent", [7.0, math.inf, math.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_where_no_scan_was_made_does_not_matter(kind: str, absent: float) -> None:
    encoder = made(kind)
    clean, dirty = encoder(world()), encoder(world(absent))
    assert torch.equal(clean.pooled, dirty.pooled)
    assert torch.equal(clean.tokens, dirty.tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_order_padding_and_batch_mates_change_nothing(kind: str) -> None:
    encoder, spectra = made(kind), world()
    whole = encoder(spectra)
    shuffle = torch.tensor([2, 0, 3, 1])
    same(encoder(Spectra(spectra.values[:, shuffle], MASKS[:, shuffle])), whole)
    more = Spectra(F.pad(spectra.values, (0, 0, 0, 3), value=9.0), F.pad(MASKS, (0, 3)))
    same(encoder(more), whole)
    for row in range(5):
        own = Encoded(*(part[row : row + 1] for part in whole[:3]))
        same(encoder(Spectra(spectra.values[row : row + 1], MASKS[row : row + 1])), own)
        if MASKS[row].any():
            same(encoder(Spectra(spectra.values[row : row + 1, MASKS[row]], None)), own)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_without_any_scan_is_zeros_and_has_gradients(kind: str) -> None:
    encoder = made(kind).train()
    found = encoder(Spectra(torch.full((2, SCANS, POINTS), math.nan).double(), torch.zeros(2, SCANS, dtype=torch.bool)))
    assert not found.pooled.any()
    assert not found.mask.any()
    (found.pooled.sum() + found.tokens.sum()).backward()
    assert all(one.grad is None or not one.grad.any() for one in encoder.parameters())
    assert encoder(Spectra(torch.zeros(2, 0, POINTS).double())).pooled.shape == (2, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences_and_none_reaches_what_is_missing(kind: str) -> None:
    encoder = made(kind)
    values = world(math.nan).values.requires_grad_()
    found = encoder(Spectra(values, MASKS))
    (found.pooled.square().sum() + found.tokens.square().sum()).backward()
    assert values.grad is not None
    assert not values.grad[~MASKS].any()
    assert bool((values.grad[MASKS].abs().amax(1) > 0).all())
    assert all(one.grad is not None and one.grad.isfinite().all() for one in encoder.parameters() if one.numel())
    few = world().values[:2, :2, :].clone().requires_grad_()
    mask = torch.tensor([[True, True], [False, True]])

    def told(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = encoder(Spectra(values, mask))
        return out.pooled, out.tokens

    assert torch.autograd.gradcheck(told, (few,), fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_one_in_sum_and_make_the_embedding(kind: str) -> None:
    encoder, spectra = made(kind), world(math.nan)
    found = encoder.attend(spectra)
    assert set(found) == ({"scans", "axis"} if kind in ("SpectralTransformer", "SpectralConv") else {"scans"})
    here = MASKS.any(1).double()
    torch.testing.assert_close(found["scans"].sum(1), here)
    assert torch.equal(found["scans"] > 0, MASKS)
    # A specimen is the weighed sum of what each of its scans would be alone.
    alone = [encoder(Spectra(spectra.values[:, [scan]], MASKS[:, [scan]])) for scan in range(SCANS)]
    encoded = encoder(spectra)
    for part in ("pooled", "tokens"):
        each = torch.stack([getattr(one, part) for one in alone], 1)
        torch.testing.assert_close(torch.einsum("bs,bs...->b...", found["scans"], each), getattr(encoded, part))
    if "axis" in found:
        torch.testing.assert_close(found["axis"].sum(1), here)
        assert found["axis"].shape == (5, TOKENS[kind])
        other = encoder.attend(world(seed=2))["axis"]
        assert ((other - found["axis"])[here > 0].abs().amax(1) > 1e-4).all(), "it follows what is looked at"


def test_the_embedding_of_a_scan_is_the_weighed_sum_of_its_patches() -> None:
    encoder = made("SpectralTransformer")
    one = Spectra(world().values[:1, :1])
    tokens = encoder(one).tokens
    weights = encoder.pool.patches.weights(tokens)
    assert weights.shape == (1, 7, 2), "two questions"
    torch.testing.assert_close(encoder.attend(one)["axis"], weights.mean(2))
    expected = torch.cat([weights[0, :, i] @ tokens[0, :, 4 * i : 4 * i + 4] for i in range(2)])
    torch.testing.assert_close(encoder(one).pooled[0], expected)


@pytest.mark.parametrize("kind", ["SpectralTransformer", "SpectralConv"])
def test_a_band_means_what_it_means_by_its_place(kind: str) -> None:
    """The same band well inside the axis, moved by whole patches, is embedded elsewhere."""
    encoder = made(kind)
    place = torch.arange(POINTS, dtype=torch.float64)
    bands = torch.stack([torch.exp(-(((place - centre) / 2) ** 2)) for centre in (17.0, 33.0)])[:, None]
    found = encoder(Spectra(bands)).pooled
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_tokens_of_the_perceptron_are_its_stretches_alone() -> None:
    encoder = made("SpectralMLP")
    spectra = world()
    only = spectra.values[:1, :1].clone()
    only[..., :8] = 0.0
    only[..., 16:] = 0.0
    torch.testing.assert_close(encoder(Spectra(only)).pooled, encoder(Spectra(spectra.values[:1, :1])).tokens[:, 1])
    flat = made("linear")
    layer = flat.enter
    torch.testing.assert_close(flat(Spectra(spectra.values)).pooled, layer(spectra.values).mean(1))


def test_missing_scans_cost_nothing() -> None:
    scans = listed(world(math.nan), SPEC)
    assert scans.values.shape == (9, POINTS)
    assert bool(scans.values.isfinite().all())
    values = world().values
    assert torch.equal(laid(scans.values, scans), values), "and go back to where they came from"
    whole = listed(Spectra(values), SPEC)
    assert torch.equal(laid(whole.values, whole), values)


def test_the_mean_of_scans_is_their_mean() -> None:
    pool, scans = ScanPooling(3, "mean").double(), listed(world(), SPEC)
    embedded = torch.randn(9, 3, dtype=torch.float64)
    found = pool(embedded[:, None].expand(9, 2, 3), embedded, scans).pooled
    torch.testing.assert_close(found[0], embedded[:4].mean(0))
    torch.testing.assert_close(found[1], embedded[4:6].mean(0))
    assert not found[2].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(kind: str, dtype: torch.dtype) -> None:
    spectra = world(math.nan)
    single = Spectra(spectra.values.float(), MASKS)
    exact = made(kind, torch.float32)(single).pooled
    with torch.autocast("cpu", dtype=dtype):
        rough = made(kind, torch.float32)(single)
    half = made(kind, dtype)(Spectra(spectra.values.to(dtype), MASKS))
    assert half.pooled.dtype == dtype
    for found in (rough, half):
        assert bool(found.pooled.isfinite().all())
        assert bool(found.tokens.isfinite().all())
        torch.testing.assert_close(found.pooled.float(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize("kind", ["SpectralTransformer", "SpectralMLP"])
def test_a_graph_of_any_batch_and_any_number_of_scans(kind: str) -> None:
    encoder = made(kind)
    rows, scans = torch.export.Dim("rows", min=1, max=512), torch.export.Dim("scans", min=1, max=64)

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, values: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            pooled: torch.Tensor = self.encoder(Spectra(values, mask)).pooled
            return pooled

    with torch.no_grad():
        shapes = ({0: rows, 1: scans}, {0: rows, 1: scans})
        graph = torch.export.export(Pooled(), tuple(world()), dynamic_shapes=shapes).module()
        values, mask = torch.randn(3, 6, POINTS).double(), torch.rand(3, 6) > 0.4
        torch.testing.assert_close(graph(values, mask), encoder(Spectra(values, mask)).pooled)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: SpectralTransformer(SPEC, dim=9, queries=3),
            "dim is 9; choose an even width divisible by the 4 heads",
        ),
        (lambda: SpectralTransformer(SPEC, dim=8, queries=3), "queries is 3; choose a number that divides dim, 8"),
        (lambda: SpectralTransformer(SPEC, patch=51), "patch is 51; choose from 1 to the 50 points"),
        (lambda: SpectralTransformer(SPEC, kernels=(3, 4)), r"kernels is \[3, 4\]; choose odd lengths"),
        (lambda: SpectralConv(SPEC, kernel=4), "kernel is 4; choose an odd length"),
        (lambda: SpectralConv(SPEC, stages=0), "stages is 0; choose at least 1"),
        (lambda: SpectralMLP(SPEC, dropout=1.0), "dropout is 1.0; choose from 0 to under 1"),
        (lambda: SpectralMLP(SPEC)(Spectra(torch.zeros(2, 3, 49))), r"\(2, 3, 49\); the encoder was built for"),
        (lambda: SpectralMLP(SPEC)(Spectra(torch.zeros(2, 3, 50), torch.ones(2, 2).bool())), "a mask of shape"),
        (lambda: check_kind("encoders.x", SignalSpec(1, 9, 1.0), SpectralConv), "SpectralConv reads spectra"),
    ],
)
def test_what_does_not_fit_is_named(made: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


def test_a_recipe_spells_every_encoder(tmp_path: Path) -> None:
    import_roles()
    choices = [
        {"type": "SpectralTransformer", "dim": 16, "patch": 5, "kernels": [3, 5], "blocks": {"depth": 1, "heads": 2}},
        {"type": "SpectralConv", "dim": 16, "norm": "layer", "scans": "mean"},
        {"type": "SpectralMLP", "hidden": None},
    ]
    for choice in choices:
        values = {"data": ToneData.__name__, "encoders": {"spectra": choice}, "objective": "InfoNCE"}
        path = tmp_path / "recipe.yaml"
        path.write_text(config.dump(config.load(values, Recipe)))
        encoder = read(path).encoders["spectra"](SPEC)
        assert type(encoder).__name__ == choice["type"]
        assert encoder.dim == choice.get("dim", 64)
