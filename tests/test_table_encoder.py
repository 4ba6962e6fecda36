"""Encoders of a table's row: what is unknown leaves no trace, a token a column, a gate that selects among them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from counterpoint import config
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.patch import Blocks
from counterpoint.encoders.table import Columns, FeatureTokens, TableMLP
from counterpoint.recipe import Recipe, import_roles, read
from counterpoint.types import Encoded, Table, TableSpec
from toys import ToneData

SPEC = TableSpec(("age", "sex", "bmi", "site", "dose"), ((), ("f", "m"), (), ("a", "b", "c"), ()))
KNOWN = torch.tensor(
    [[1, 1, 1, 1, 1], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 1, 1, 1, 0]], dtype=torch.bool
)
KINDS: dict[str, Callable[..., Encoder]] = {
    "FeatureTokens": partial(FeatureTokens, dim=8, blocks=Blocks(depth=2, heads=2, dropout=0.1)),
    "gate alone": partial(FeatureTokens, dim=8, blocks=None),
    "TableMLP": partial(TableMLP, dim=8, hidden=6),
    "linear": partial(TableMLP, dim=8, hidden=None),
}


def made(kind: str, spec: TableSpec = SPEC, dtype: torch.dtype = torch.float64) -> Encoder:
    torch.manual_seed(0)
    return KINDS[kind](spec).to(dtype).eval()


def world(absent: float = 0.0, seed: int = 1) -> Table:
    draw = torch.Generator().manual_seed(seed)
    values = torch.randn(5, 5, generator=draw, dtype=torch.float64)
    values[:, 1] = torch.randint(0, 2, (5,), generator=draw)
    values[:, 3] = torch.randint(0, 3, (5,), generator=draw)
    return Table(torch.where(KNOWN, values, absent), KNOWN)


def same(a: Encoded, b: Encoded) -> None:
    torch.testing.assert_close(a.pooled, b.pooled, atol=1e-6, rtol=0)
    torch.testing.assert_close(a.tokens, b.tokens, atol=1e-6, rtol=0)
    assert torch.equal(a.mask, b.mask)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_a_column_and_rows_that_know_nothing(kind: str) -> None:
    encoder = made(kind)
    found = encoder(world())
    assert found.tokens.shape == (5, 5, 8)
    assert torch.equal(found.mask, KNOWN)
    assert not found.tokens[~KNOWN].any()
    assert (found.tokens[KNOWN].abs().amax(1) > 1e-4).all()
    assert not found.pooled[2].any()
    assert (found.pooled[[0, 1, 3, 4]].abs().amax(1) > 1e-4).all()
    same(encoder(Table(world().values[:1], None)), Encoded(*(part[:1] for part in found[:3])))


@pytest.mark.parametrize("absent", [1.0, 99.0, math.inf, math.nan])
@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_where_a_column_is_unknown_does_not_matter(kind: str, absent: float) -> None:
    encoder = made(kind)
    clean, dirty = encoder(world()), encoder(world(absent))
    assert torch.equal(clean.pooled, dirty.pooled)
    assert torch.equal(clean.tokens, dirty.tokens)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_alone_is_the_row_in_a_batch(kind: str) -> None:
    encoder, table = made(kind), world()
    whole = encoder(table)
    for row in range(5):
        own = slice(row, row + 1)
        same(encoder(Table(table.values[own], KNOWN[own])), Encoded(*(part[own] for part in whole[:3])))


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_column_is_one_that_the_table_never_had(kind: str) -> None:
    """The encoder of the table without 'bmi', with the same weights elsewhere, embeds such rows alike."""
    whole = made(kind)
    rest = TableSpec(("age", "sex", "site", "dose"), ((), ("f", "m"), ("a", "b", "c"), ()))
    smaller = made(kind, rest)
    kept = [0, 1, 3, 4]
    weights = dict(whole.state_dict())
    for name in ("columns.weight", "names"):
        if name in weights:
            weights[name] = weights[name][kept]
    smaller.load_state_dict(weights)
    table = world()
    known = KNOWN.clone()
    known[:, 2] = False
    found = smaller(Table(table.values[:, kept], known[:, kept]))
    expected = whole(Table(table.values, known))
    torch.testing.assert_close(found.pooled, expected.pooled, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.tokens, expected.tokens[:, kept], atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_column_matters_and_the_levels_of_a_category_are_apart(kind: str) -> None:
    encoder, table = made(kind), world()
    row = Table(table.values[:1], None)
    base = encoder(row).pooled
    for column in range(5):
        moved = row.values.clone()
        moved[:, column] = 1 - moved[:, column] if column == 1 else (moved[:, column] + 1) % 3
        assert (encoder(Table(moved)).pooled - base).abs().max() > 1e-4, SPEC.columns[column]


def test_numbers_and_levels_are_what_they_should_be() -> None:
    torch.manual_seed(0)
    columns = Columns("Test", SPEC, 4).double()
    values = torch.tensor([[0.5, 1.0, -2.0, 2.0, 0.0]], dtype=torch.float64)
    found, known = columns(Table(values))
    assert bool(known.all())
    for column in (0, 2, 4):
        torch.testing.assert_close(found[0, column], values[0, column] * columns.weight[column])
    # Levels of 'sex' stand first, those of 'site' behind them.
    torch.testing.assert_close(found[0, 1], columns.levels[1])
    torch.testing.assert_close(found[0, 3], columns.levels[2 + 2])


@pytest.mark.parametrize("kind", ["FeatureTokens", "gate alone"])
def test_the_gate_is_one_in_sum_over_what_is_known_and_makes_the_embedding(kind: str) -> None:
    encoder, table = made(kind), world(math.nan)
    shares = encoder.attend(table)["columns"]
    torch.testing.assert_close(shares.sum(1), KNOWN.any(1).double())
    assert torch.equal(shares > 0, KNOWN)
    even = KNOWN.double() / KNOWN.sum(1, keepdim=True).clamp_min(1)
    several = KNOWN.sum(1) > 1
    assert ((shares - even)[several].abs().amax(1) > 1e-3).all()
    other = encoder.attend(world(seed=3))["columns"]
    assert ((shares - other)[several].abs().amax(1) > 1e-4).all(), "it follows the values"
    found = encoder(table)
    torch.testing.assert_close(found.pooled, torch.einsum("bf,bfd->bd", shares, found.tokens))
    assert made("TableMLP").attend(table) == {}


def test_the_gate_learns_which_of_twenty_columns_tells() -> None:
    torch.manual_seed(1)
    encoder = FeatureTokens(TableSpec(tuple(f"c{i}" for i in range(20)), ((),) * 20), dim=8, blocks=None)
    head = torch.nn.Linear(8, 1)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=2e-2)
    values = torch.randn(256, 20)
    for _ in range(100):
        loss = (head(encoder(Table(values)).pooled).squeeze(1) - values[:, 1].sign()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    shares = encoder.attend(Table(torch.randn(64, 20)))["columns"].mean(0)
    assert shares.argmax() == 1
    assert shares[1] > 4 / 20, shares


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_differences_and_none_reaches_what_is_unknown(kind: str) -> None:
    encoder = made(kind)
    numbers = world(math.nan).values[:, [0, 2, 4]].requires_grad_()
    rest = world().values

    def told(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = rest.index_copy(1, torch.tensor([0, 2, 4]), numbers)
        found = encoder(Table(values, KNOWN))
        return found.pooled, found.tokens

    pooled, tokens = told(numbers)
    (pooled.square().sum() + tokens.square().sum()).backward()
    assert numbers.grad is not None
    known = KNOWN[:, [0, 2, 4]]
    assert not numbers.grad[~known].any()
    assert (numbers.grad[known] != 0).all()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in encoder.parameters())
    assert torch.autograd.gradcheck(told, (world().values[:, [0, 2, 4]].requires_grad_(),), fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_finite_and_near(kind: str, dtype: torch.dtype) -> None:
    table = world(math.nan)
    exact = made(kind, dtype=torch.float32)(Table(table.values.float(), KNOWN)).pooled
    with torch.autocast("cpu", dtype=dtype):
        rough = made(kind, dtype=torch.float32)(Table(table.values.float(), KNOWN))
    half = made(kind, dtype=dtype)(Table(table.values.to(dtype), KNOWN))
    for found in (rough, half):
        assert bool(found.pooled.isfinite().all())
        assert bool(found.tokens.isfinite().all())
        torch.testing.assert_close(found.pooled.float(), exact, atol=0.05, rtol=0.05)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: FeatureTokens(SPEC, dim=10), "dim is 10; choose at least 1 divisible by the 4 heads"),
        (lambda: FeatureTokens(TableSpec((), ())), "the table has no column"),
        (lambda: TableMLP(SPEC, dropout=1.0), "dropout is 1.0, a share"),
        (lambda: TableMLP(SPEC)(Table(torch.zeros(2, 4))), r"\(2, 4\); the encoder was built for \(rows, 5 columns\)"),
        (lambda: TableMLP(SPEC)(Table(torch.zeros(2, 5), torch.ones(2, 4).bool())), "does not fit a table"),
        (
            lambda: TableMLP(SPEC)(Table(torch.tensor([[0.0] * 5, [0.0, 2.0, 0.0, 0.0, 0.0]]))),
            r"row 1 of the batch has 2 in column 'sex', whose levels are 0 to 1 \(f, m\).*masked as unknown",
        ),
        (lambda: FeatureTokens(SPEC)(Table(torch.tensor([[0.0, 0, 0, -1, 0]]))), "has -1 in column 'site'"),
    ],
)
def test_what_does_not_fit_is_named(made: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made()


def test_a_recipe_spells_both(tmp_path: Path) -> None:
    import_roles()
    for choice in (
        {"type": "FeatureTokens", "dim": 16, "blocks": {"depth": 1, "heads": 2}},
        {"type": "FeatureTokens", "dim": 3, "blocks": None},
        {"type": "TableMLP", "dim": 5, "hidden": 4},
    ):
        values = {"data": ToneData.__name__, "encoders": {"table": choice}, "objective": "InfoNCE"}
        path = tmp_path / "recipe.yaml"
        path.write_text(config.dump(config.load(values, Recipe)))
        assert read(path).encoders["table"](SPEC).dim == choice["dim"]
