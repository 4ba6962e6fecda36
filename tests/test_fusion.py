"""Fusions: what is absent leaves no trace, whatever stands there and whoever else is in the batch."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import nn

from counterpoint.fusion import Concat, Fusion, Gated, NothingPresentError, TokenAttention
from counterpoint.fusion.token_attention import CrossAttention
from counterpoint.types import Encoded

DIMS = {"video": 12, "photos": 8, "audio": 10, "sensor": 6}
LENGTHS = {"video": 7, "photos": 5, "audio": 4, "sensor": 9}
PATTERNS = [pattern for pattern in product((False, True), repeat=4) if any(pattern)]
KINDS = ["Concat", "Gated", "TokenAttention"]


def made(kind: str) -> Fusion:
    torch.manual_seed(0)
    if kind == "Concat":
        return Concat(DIMS).eval()
    if kind == "Gated":
        return Gated(DIMS, dim=16).eval()
    return TokenAttention(DIMS, queries=3, dim=16, heads=4, hidden=20).eval()


def world(patterns: list[tuple[bool, ...]], absent: float = 0.0, seed: int = 1) -> dict[str, Encoded]:
    """A row a pattern; present modalities have 1 real token or more, all else holds the number ``absent``."""
    draw = torch.Generator().manual_seed(seed)
    found = {}
    for i, (name, dim) in enumerate(DIMS.items()):
        length = LENGTHS[name]
        tokens = torch.randn(len(patterns), length, dim, generator=draw)
        counts = torch.randint(1, length + 1, (len(patterns), 1), generator=draw)
        here = torch.tensor([pattern[i] for pattern in patterns])
        mask = (torch.arange(length) < counts) & here[:, None]
        pooled = torch.where(mask[..., None], tokens, 0.0).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
        tokens = torch.where(mask[..., None], tokens, absent)
        found[name] = Encoded(tokens, mask, torch.where(here[:, None], pooled, absent))
    return found


def taken(encoded: dict[str, Encoded], rows: list[int]) -> dict[str, Encoded]:
    return {name: Encoded(part.tokens[rows], part.mask[rows], part.pooled[rows]) for name, part in encoded.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_is_fused_to_finite_numbers_with_finite_gradients(kind: str) -> None:
    fusion = made(kind).train()
    encoded = world(PATTERNS, math.nan)
    pooled = {name: part.pooled.clone().requires_grad_() for name, part in encoded.items()}
    tokens = {name: part.tokens.clone().requires_grad_() for name, part in encoded.items()}
    out = fusion({name: Encoded(tokens[name], part.mask, pooled[name]) for name, part in encoded.items()})
    assert len(PATTERNS) == 15
    assert out.pooled.shape == (15, fusion.dim)
    assert out.mask.shape == out.tokens.shape[:2]
    assert bool(out.mask.any(1).all())
    assert bool(out.pooled.isfinite().all())
    assert bool(out.tokens.isfinite().all())
    (out.pooled.square() * torch.arange(fusion.dim)).sum().backward()
    leaves = [*fusion.parameters(), *pooled.values(), *tokens.values()]
    gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
    assert len(gradients) > 3
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)
    for i, part in enumerate(encoded.values()):
        gone = torch.tensor([not pattern[i] for pattern in PATTERNS])
        for leaf in (list(pooled.values())[i], list(tokens.values())[i]):
            assert leaf.grad is None or not leaf.grad[gone].any(), "no gradient reaches what is absent"
        assert bool((part.mask.any(1) == ~gone).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_is_the_row_in_a_batch(kind: str) -> None:
    fusion, encoded = made(kind), world(PATTERNS)
    whole = fusion(encoded).pooled
    for row in range(len(PATTERNS)):
        alone = taken(encoded, [row])
        torch.testing.assert_close(fusion(alone).pooled[0], whole[row], atol=1e-6, rtol=0)
        # Nor does it matter how far others of the batch made it be padded.
        trimmed = {
            name: Encoded(part.tokens[:, : int(part.mask.sum())], part.mask[:, : int(part.mask.sum())], part.pooled)
            for name, part in alone.items()
        }
        torch.testing.assert_close(fusion(trimmed).pooled[0], whole[row], atol=1e-6, rtol=0)


@pytest.mark.parametrize("absent", [7.0, math.inf, math.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_where_nothing_is_does_not_matter(kind: str, absent: float) -> None:
    fusion = made(kind)
    clean, dirty = fusion(world(PATTERNS)), fusion(world(PATTERNS, absent))
    assert torch.equal(clean.pooled, dirty.pooled)
    assert torch.equal(clean.tokens, dirty.tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_present_does_matter(kind: str) -> None:
    fusion = made(kind)
    here = [(True,) * 4] * 3
    one, other = world(here, seed=1), world(here, seed=2)
    base = fusion(one).pooled
    for name in DIMS:
        assert ((fusion(one | {name: other[name]}).pooled - base).abs().amax(1) > 1e-3).all(), name


@pytest.mark.parametrize("kind", KINDS)
def test_rows_with_nothing_are_named(kind: str) -> None:
    nothing = (False,) * 4
    with pytest.raises(
        NothingPresentError, match=r"rows 1, 3 of the batch have none.*video, photos, audio, sensor"
    ) as e:
        made(kind)(world([PATTERNS[0], nothing, PATTERNS[5], nothing]))
    assert isinstance(e.value, ValueError)
    assert e.value.rows == [1, 3]
    with pytest.raises(NothingPresentError, match="rows 0, 1, 2, 3, 4, 5, 6, 7 and 3 more of"):
        made(kind)(world([nothing] * 11))


def test_the_order_of_tokens_within_a_modality_does_not_matter() -> None:
    fusion, encoded = made("TokenAttention"), world([(True,) * 4] * 5)
    whole = fusion(encoded).pooled
    shuffle = torch.randperm(LENGTHS["audio"], generator=torch.Generator().manual_seed(3))
    audio = encoded["audio"]
    moved = encoded | {"audio": Encoded(audio.tokens[:, shuffle], audio.mask[:, shuffle], audio.pooled)}
    torch.testing.assert_close(fusion(moved).pooled, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(fusion.attend(moved)["audio"], fusion.attend(encoded)["audio"][..., shuffle])


def test_attention_is_one_in_sum_over_real_tokens_and_follows_the_input() -> None:
    fusion = made("TokenAttention").train()  # the weights that are told are those without dropout
    encoded, other = world(PATTERNS, math.nan), world(PATTERNS, seed=2)
    found = fusion.attend(encoded)
    assert list(found) == list(DIMS)
    for i, (name, weights) in enumerate(found.items()):
        part = encoded[name]
        assert weights.shape == (15, 4, 3, LENGTHS[name])
        assert not weights[~part.mask[:, None, None, :].expand_as(weights)].any()
        expected = torch.tensor([float(pattern[i]) for pattern in PATTERNS])
        torch.testing.assert_close(weights.sum(-1), expected[:, None, None].expand(15, 4, 3))
        assert (weights >= 0).all()
        many = part.mask.sum(1) > 1
        assert bool(many.any())
        again = fusion.attend(encoded | {name: Encoded(other[name].tokens, part.mask, part.pooled)})[name]
        assert ((again - weights)[many].abs().amax((1, 2, 3)) > 1e-3).all(), "attention follows what is looked at"
        even = part.mask.float() / part.mask.sum(1, keepdim=True).clamp_min(1)
        assert ((weights - even[:, None, None])[many].abs().amax((1, 2, 3)) > 1e-3).all(), "and is not a plain mean"


def test_the_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    own = CrossAttention(12, 16, 4, 0.0)
    reference = nn.MultiheadAttention(16, 4, kdim=12, vdim=12, batch_first=True)
    with torch.no_grad():
        reference.q_proj_weight.copy_(own.query[1].weight)
        reference.k_proj_weight.copy_(own.key.weight)
        reference.v_proj_weight.copy_(own.value.weight)
        reference.in_proj_bias.copy_(torch.cat([own.query[1].bias, own.key.bias, own.value.bias]))
        reference.out_proj.load_state_dict(own.out.state_dict())
    part = world([(True,) * 4] * 6)["video"]
    queries = torch.randn(3, 16)
    tokens = own.even(part.tokens)
    expected, weights = reference(
        own.query[0](queries).expand(6, -1, -1),
        tokens,
        tokens,
        key_padding_mask=~part.mask,
        average_attn_weights=False,
    )
    torch.testing.assert_close(own.weights(queries, part), weights)
    torch.testing.assert_close(own(queries, part), own.norm(queries + expected))


def test_a_gate_is_one_in_sum_over_the_modalities_a_row_has() -> None:
    fusion, encoded = made("Gated"), world(PATTERNS)
    gates = torch.stack(list(fusion.attend(encoded).values()), 1)
    torch.testing.assert_close(gates.sum(1), torch.ones(15))
    assert torch.equal(gates > 0, torch.tensor(PATTERNS))
    assert ((fusion.attend(world(PATTERNS, seed=2))["video"] - gates[:, 0]).abs()[gates[:, 0] % 1 > 0] > 0).all()
    out = fusion(encoded)
    torch.testing.assert_close(out.pooled, fusion.norm(torch.einsum("bm,bmd->bd", gates, out.tokens)))


def test_shapes_of_token_attention_and_what_it_refuses() -> None:
    fusion = TokenAttention({"video": 1024, "photos": 768, "audio": 768, "sensor": 256})
    assert [tuple(layer.weight.shape) for layer in (fusion.mix[0], fusion.mix[3])] == [(1024, 8192), (512, 1024)]
    assert 10e6 < sum(p.numel() for p in fusion.parameters()) < 30e6
    out = made("TokenAttention")(world(PATTERNS))
    torch.testing.assert_close(out.pooled.norm(dim=1), torch.ones(15))
    assert torch.equal(out.mask, torch.tensor(PATTERNS).repeat_interleave(3, 1))
    assert not out.tokens[~out.mask].any()
    with pytest.raises(ValueError, match=r"dim 10, heads 4.*heads divide dim"):
        TokenAttention(DIMS, dim=10, heads=4)
    with pytest.raises(ValueError, match="dropout is 1"):
        Gated(DIMS, dropout=1.0)


def test_a_modality_without_any_token_in_the_batch_is_absent() -> None:
    fusion, encoded = made("TokenAttention"), world([(True, True, True, False)] * 2)
    none = Encoded(torch.zeros(2, 0, 6), torch.zeros(2, 0, dtype=torch.bool), torch.zeros(2, 6))
    torch.testing.assert_close(fusion(encoded | {"sensor": none}).pooled, fusion(encoded).pooled)


def test_one_modality_needs_no_concatenation() -> None:
    part = world([(True,) * 4] * 2)["audio"]
    fusion = Concat({"audio": 10})
    assert fusion({"audio": part}) is part
    assert fusion.attend({"audio": part}) == {}


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_has_its_own_floor(kind: str) -> None:
    fusion, encoded = made(kind), world(PATTERNS, math.nan)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = fusion(encoded).pooled
    exact = fusion(encoded).pooled
    assert bool(rough.isfinite().all())
    assert torch.nn.functional.cosine_similarity(rough.float(), exact).min() > 0.99
