"""Two-way cross-attention: what is absent never existed, weights are those of the attention and follow the input."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from counterpoint.fusion import CrossAttentionFusion, NothingPresentError
from counterpoint.fusion.cross_attention import Look
from counterpoint.types import Encoded
from test_attention import LACKING, ROWS, expected, read, trained
from test_recipes import command

DIMS = {"spectra": 12, "table": 8, "notes": 10}
LENGTHS = {"spectra": 7, "table": 5, "notes": 4}
PATTERNS = [pattern for pattern in product((False, True), repeat=3) if any(pattern)]


def made(names: tuple[str, ...] = tuple(DIMS), layers: int = 2) -> CrossAttentionFusion:
    torch.manual_seed(0)
    dims = {name: DIMS[name] for name in names}
    return CrossAttentionFusion(dims, dim=16, heads=4, layers=layers).double().eval()


def world(patterns: list[tuple[bool, ...]], absent: float = 0.0, seed: int = 1) -> dict[str, Encoded]:
    """A row a pattern; present modalities have 1 real token or more, all else holds the number ``absent``."""
    draw, found = torch.Generator().manual_seed(seed), {}
    for i, (name, dim) in enumerate(DIMS.items()):
        tokens = torch.randn(len(patterns), LENGTHS[name], dim, generator=draw, dtype=torch.float64)
        pooled = torch.randn(len(patterns), dim, generator=draw, dtype=torch.float64)
        here = torch.tensor([pattern[i] for pattern in patterns])[:, None]
        counts = torch.randint(1, LENGTHS[name] + 1, (len(patterns), 1), generator=draw)
        mask = (torch.arange(LENGTHS[name]) < counts) & here
        found[name] = Encoded(torch.where(mask[..., None], tokens, absent), mask, torch.where(here, pooled, absent))
    return found


def rows(encoded: dict[str, Encoded], which: list[int], names: tuple[str, ...] = tuple(DIMS)) -> dict[str, Encoded]:
    return {name: Encoded(*(part[which] for part in encoded[name][:3])) for name in names}


def smaller(whole: CrossAttentionFusion, names: tuple[str, ...]) -> CrossAttentionFusion:
    """The fusion of some of the modalities, with the weights that the whole one has for them."""
    part = made(names)
    at = [whole.names.index(name) for name in names]
    for own, other in ((part.enter, whole.enter), (part.lead, whole.lead), (part.leave, whole.leave)):
        for module, place in zip(own, at, strict=True):
            module.load_state_dict(other[place].state_dict())
    part.score.load_state_dict(whole.score.state_dict())
    part.norm.load_state_dict(whole.norm.state_dict())
    for layer, full in zip(part.layers, whole.layers, strict=True):
        for own, other in ((layer.norms, full.norms), (layer.perceptrons, full.perceptrons)):
            for module, place in zip(own, at, strict=True):
                module.load_state_dict(other[place].state_dict())
        for module, (a, b) in zip(layer.looks, layer.directions, strict=True):
            module.load_state_dict(full.looks[full.directions.index((at[a], at[b]))].state_dict())
    return part


@pytest.mark.parametrize("pattern", [pattern for pattern in PATTERNS if not all(pattern)])
def test_a_modality_that_is_absent_never_existed(pattern: tuple[bool, ...]) -> None:
    whole, encoded = made(), world([pattern] * 3, math.nan)
    names = tuple(name for name, here in zip(DIMS, pattern, strict=True) if here)
    part = smaller(whole, names)
    found, alone = whole(encoded), part(rows(encoded, [0, 1, 2], names))
    torch.testing.assert_close(found.pooled, alone.pooled, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.tokens[found.mask], alone.tokens[alone.mask], atol=1e-6, rtol=0)
    gates = whole.attend(encoded)["gates"]
    at = [whole.names.index(name) for name in names]
    torch.testing.assert_close(gates[:, at], part.attend(rows(encoded, [0, 1, 2], names))["gates"])


def test_every_pattern_is_finite_and_no_gradient_reaches_what_is_absent() -> None:
    fusion, encoded = made().train(), world(PATTERNS, math.nan)
    leaves = {name: (part.tokens.requires_grad_(), part.pooled.requires_grad_()) for name, part in encoded.items()}
    out = fusion(encoded)
    assert out.pooled.shape == (7, 16)
    assert out.tokens.shape == (7, 16, 16)
    assert torch.equal(out.mask, torch.cat([part.mask for part in encoded.values()], 1))
    assert not out.tokens[~out.mask].any()
    (out.pooled.square() * torch.arange(16)).sum().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in fusion.parameters())
    for name, part in encoded.items():
        tokens, pooled = leaves[name]
        assert tokens.grad is not None
        assert pooled.grad is not None
        assert not tokens.grad[~part.mask].any()
        assert bool((tokens.grad[part.mask].abs().amax(1) > 0).all())
        assert not pooled.grad[~part.mask.any(1)].any()
        assert bool((pooled.grad[part.mask.any(1)].abs().amax(1) > 0).all())


@pytest.mark.parametrize("absent", [7.0, math.inf, math.nan])
def test_rows_order_and_what_stands_where_nothing_is_change_nothing(absent: float) -> None:
    fusion = made()
    clean, dirty = fusion(world(PATTERNS)), fusion(world(PATTERNS, absent))
    assert torch.equal(clean.pooled, dirty.pooled)
    assert torch.equal(clean.tokens, dirty.tokens)
    encoded = world(PATTERNS)
    for row in range(len(PATTERNS)):
        torch.testing.assert_close(fusion(rows(encoded, [row])).pooled[0], clean.pooled[row], atol=1e-6, rtol=0)
    shuffle = torch.randperm(LENGTHS["table"], generator=torch.Generator().manual_seed(3))
    table = encoded["table"]
    moved = encoded | {"table": Encoded(table.tokens[:, shuffle], table.mask[:, shuffle], table.pooled)}
    torch.testing.assert_close(fusion(moved).pooled, clean.pooled, atol=1e-6, rtol=0)
    weights = fusion.attend(moved)["spectra>table"]
    torch.testing.assert_close(weights, fusion.attend(encoded)["spectra>table"][..., shuffle])


def test_weights_are_over_several_tokens_one_in_sum_and_differ_between_inputs() -> None:
    fusion, encoded = made(layers=1), world(PATTERNS, math.nan)
    found = fusion.attend(encoded)
    directions = [f"{a}>{b}" for a in DIMS for b in DIMS if a != b]
    assert list(found) == [*directions, "gates"]
    other = fusion.attend(
        {name: part._replace(tokens=world(PATTERNS, seed=2)[name].tokens) for name, part in encoded.items()}
    )
    for direction in directions:
        a, b = direction.split(">")
        weights = found[direction]
        assert weights.shape == (7, 4, LENGTHS[a], LENGTHS[b])
        real = encoded[a].mask[:, None, :, None] & encoded[b].mask[:, None, None, :]
        assert not weights[~real.expand_as(weights)].any()
        asked = encoded[a].mask & encoded[b].mask.any(1, keepdim=True)
        torch.testing.assert_close(weights.sum(-1), asked[:, None].expand(-1, 4, -1).double())
        several = asked & (encoded[b].mask.sum(1, keepdim=True) > 1)
        assert bool(several.any())
        chosen = weights.transpose(1, 2)[several]
        assert (chosen.amax(-1) < 1).all(), "no weight is the constant 1 of a single key"
        assert ((chosen - other[direction].transpose(1, 2)[several]).abs().amax((1, 2)) > 1e-3).all()
        assert (chosen.amax(-1) - 1 / (chosen > 0).sum(-1) > 1e-4).all(), "nor are all alike"


def test_the_attention_is_that_of_torch() -> None:
    torch.manual_seed(0)
    own = Look(16, 4, 0.0).double()
    reference = nn.MultiheadAttention(16, 4, batch_first=True).double()
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.cat([own.query.weight, own.key.weight, own.value.weight]))
        reference.in_proj_bias.copy_(torch.cat([own.query.bias, own.key.bias, own.value.bias]))
        reference.out_proj.load_state_dict(own.out.state_dict())
    asking, asked = torch.randn(6, 3, 16).double(), torch.randn(6, 5, 16).double()
    mask = torch.arange(5) < torch.tensor([1, 2, 3, 4, 5, 5])[:, None]
    expected, weights = reference(asking, asked, asked, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(own.weights(asking, asked, mask), weights)
    torch.testing.assert_close(own(asking, asked, mask), expected)


def test_a_layer_by_hand() -> None:
    """Residual beside what is found, the perceptron after it, the mean of tokens with the embedding, and the gates."""
    fusion = made(("spectra", "table"), layers=1)
    encoded = rows(world([(True, True, False)] * 4), [0, 1, 2, 3], ("spectra", "table"))
    layer, x = fusion.layers[0], []
    for place, part in enumerate(encoded.values()):
        x.append(F.linear(F.layer_norm(part.tokens, part.tokens.shape[2:]), *fusion.enter[place][1].parameters()))
    even = [F.layer_norm(one, (16,)) for one in x]
    masks = [part.mask for part in encoded.values()]
    seen = []
    for place in (0, 1):
        told = x[place] + layer.looks[place](even[place], even[1 - place], masks[1 - place])
        told = told + layer.perceptrons[place](told)
        mean = torch.stack([one[mask].mean(0) for one, mask in zip(told, masks[place], strict=True)])
        pooled = list(encoded.values())[place].pooled
        seen.append(F.layer_norm(mean + fusion.lead[place](pooled), (16,)))
    both = torch.stack(seen, 1)
    gates = fusion.score(both).squeeze(2).softmax(1)
    torch.testing.assert_close(fusion.attend(encoded)["gates"], gates)
    expected = F.layer_norm((gates[..., None] * both).sum(1), (16,))
    torch.testing.assert_close(fusion(encoded).pooled, expected)


def test_gates_are_one_in_sum_over_the_modalities_a_row_has() -> None:
    fusion = made()
    gates = fusion.attend(world(PATTERNS))["gates"]
    torch.testing.assert_close(gates.sum(1), torch.ones(7).double())
    assert torch.equal(gates > 0, torch.tensor(PATTERNS))


def test_gradients_are_those_of_differences() -> None:
    fusion = made(("spectra", "table"), layers=1)
    encoded = rows(world([(True, True, False), (True, False, False)]), [0, 1], ("spectra", "table"))

    def told(tokens: torch.Tensor, pooled: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        spectra = Encoded(tokens, encoded["spectra"].mask, pooled)
        table = Encoded(other, encoded["table"].mask, encoded["table"].pooled)
        found: torch.Tensor = fusion({"spectra": spectra, "table": table}).pooled
        return found

    leaves = [encoded["spectra"].tokens, encoded["spectra"].pooled, encoded["table"].tokens]
    assert torch.autograd.gradcheck(told, [leaf.clone().requires_grad_() for leaf in leaves], fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(dtype: torch.dtype) -> None:
    encoded = world(PATTERNS, math.nan)
    exact = made()(encoded).pooled
    single = {name: Encoded(one.tokens.float(), one.mask, one.pooled.float()) for name, one in encoded.items()}
    with torch.autocast("cpu", dtype=dtype):
        rough = made().float()(single).pooled
    whole = {name: Encoded(one.tokens.to(dtype), one.mask, one.pooled.to(dtype)) for name, one in encoded.items()}
    half = made().to(dtype)(whole).pooled
    for found in (rough, half):
        assert bool(found.isfinite().all())
        assert F.cosine_similarity(found.double(), exact).min() > 0.99


def test_rows_with_nothing_and_settings_out_of_range_are_named() -> None:
    nothing = (False,) * 3
    with pytest.raises(NothingPresentError, match=r"rows 1, 2 of the batch have none.*spectra, table, notes") as caught:
        made()(world([PATTERNS[0], nothing, nothing]))
    assert caught.value.rows == [1, 2]
    with pytest.raises(ValueError, match=r"dim 10, heads 4 and layers 1.*heads divide dim"):
        CrossAttentionFusion(DIMS, dim=10, heads=4)
    with pytest.raises(ValueError, match=r"dropout, 1.0, is a share"):
        CrossAttentionFusion(DIMS, dropout=1.0)


def test_a_modality_without_any_token_in_the_batch_is_absent() -> None:
    fusion, encoded = made(), world([(True, True, False)] * 2)
    none = Encoded(torch.zeros(2, 0, 10).double(), torch.zeros(2, 0, dtype=torch.bool), torch.zeros(2, 10).double())
    torch.testing.assert_close(fusion(encoded | {"notes": none}).pooled, fusion(encoded).pooled)


def test_the_command_writes_directions_and_gates(tmp_path: Path) -> None:
    recipe = trained(tmp_path, {"type": "CrossAttentionFusion", "dim": 8, "heads": 2})
    out = tmp_path / "weights.parquet"
    said = command("attention", tmp_path / "run", "--out", out)
    found, known = read(out)
    assert known["fusion"] == "CrossAttentionFusion"
    weights = expected(tmp_path, recipe)
    having = ROWS - len(LACKING)
    names = {name for _, name, _ in found}
    assert names == {"vibration", "sound", "vibration>sound", "sound>vibration"}
    for (row, name, query), (own, real) in found.items():
        if ">" in name:
            assert row not in LACKING
            assert own.sum() == pytest.approx(1, abs=1e-5)
            np.testing.assert_allclose(own, weights[name][row].mean(0)[query], atol=1e-6)
            assert real.all()
        else:
            place = ["vibration", "sound"].index(name)
            assert own.tolist() == pytest.approx([weights["gates"][row, place].item()], abs=1e-6)
    assert sum(name == "vibration" for _, name, _ in found) == ROWS
    assert sum(name == "sound>vibration" for _, name, _ in found) == 3 * having
    assert f"vibration>sound: {having} rows, up to 3 tokens, over " in said
    assert f"sound: {having} rows, gate " in said
    assert "2 have no other modality beside it: the weight is 1 and tells nothing" in said
