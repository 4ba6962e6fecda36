"""The dense rival of the benchmark is the same function as ours; and what lets ours do without gathering."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import sequences
from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.encoders.sets import InducedSetAttention, SetPooling
from counterpoint.objectives import SetVAE
from counterpoint.ragged import Ragged
from counterpoint.types import Events, ObjectiveSpec
from sets_world import SPEC, Row, pack, stay

ROWS = [stay(seed) for seed in range(9)]
lengths = st.lists(st.integers(0, 70), min_size=1, max_size=12)


def small() -> sequences.Network:
    """The benchmark's network in double precision, tiny, at a KL that counts."""
    network = sequences.Network(SPEC, "cpu")
    torch.manual_seed(0)
    encoder = SetSequence(
        SPEC, dim=16, latent=8, sets=SetLayers(dim=12, heads=2, points=3), sequence=SequenceLayers(heads=2)
    )
    spec = ObjectiveSpec({"events": encoder.dim}, {"events": encoder.latent}, (), {"events": SPEC})
    network.encoder, network.objective = encoder, SetVAE(spec, width=24)
    network.dense = sequences.Dense(network.encoder, network.objective).double().train()
    return network


def outcome(network: sequences.Network, prepared: list[Events] | sequences.Padded) -> dict[str, torch.Tensor]:
    loss = network.step("", prepared)
    named = network.dense.named_parameters()
    return {"loss": loss} | {name: part.grad.clone() for name, part in named if part.grad is not None}


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [ROWS[0], [], ROWS[1]]], ids=["many", "one", "with an empty one"])
def test_dense_and_packed_are_one_function(rows: list[Row]) -> None:
    network, events = small(), pack(rows)
    packed, dense = outcome(network, [events]), outcome(network, sequences.pad(events))
    assert packed.keys() == dense.keys()
    assert len(packed) > 50
    for name, ours in packed.items():
        assert torch.allclose(ours, dense[name], atol=1e-9, rtol=0), name
    # The bias of a key moves nothing: all else has a gradient that is not zero.
    assert all((found != 0).any() for found in packed.values())


def test_a_stay_at_a_time_adds_up_to_the_batch() -> None:
    network, keys = small(), list(range(len(ROWS)))
    together = outcome(network, [pack(ROWS, keys)])
    alone = outcome(network, [pack([row], [key]) for row, key in zip(ROWS, keys, strict=True)])
    for name, ours in together.items():
        assert torch.allclose(ours, alone[name], atol=1e-9, rtol=0), name


def test_batches_are_taken_as_they_stand() -> None:
    events = pack(ROWS)
    taken = sequences.Stays(events, SPEC).take([4, 0, 7])
    expected = pack([ROWS[4], ROWS[0], ROWS[7]], events.keys[[4, 0, 7]].tolist())
    for ours, theirs in zip(taken, expected, strict=True):
        assert torch.equal(ours, theirs)


@settings(max_examples=40, deadline=None)
@given(lengths)
def test_places_of_laid_sequences_hold_what_blocks_hold(sizes: list[int]) -> None:
    ragged = Ragged(torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()]))
    flat = torch.arange(sum(sizes))
    laid, places = ragged.laid, ragged.lay(flat)
    assert int(laid.offsets[-1]) == len(places)
    assert torch.equal(ragged.lift(places), flat)
    for block, other, part in zip(ragged.blocks, laid.blocks, ragged.blocked(flat), strict=True):
        assert block.length == other.length
        assert torch.equal(part, torch.stack([places[laid.offsets[m] : laid.offsets[m + 1]] for m in other.members]))
    firsts = ragged.home(places[laid.offsets[:-1]])
    assert firsts.tolist() == [int(ragged.offsets[g]) if size else 0 for g, size in enumerate(sizes)]


@settings(max_examples=40, deadline=None)
@given(lengths)
def test_pairs_and_unpadded(sizes: list[int]) -> None:
    ragged = Ragged(torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()]))
    owners = [g for g, size in enumerate(sizes) for _ in range(size)]
    expected = [(i, j) for i in range(len(owners)) for j in range(len(owners)) if owners[i] == owners[j]]
    assert list(zip(*(side.tolist() for side in ragged.pairs), strict=True)) == expected
    flat = torch.randn(len(owners), 2, dtype=torch.float64, requires_grad=True)
    back = ragged.unpadded(ragged.padded(flat))
    assert torch.equal(back, flat)
    back.square().sum().backward()
    assert flat.grad is not None
    assert torch.equal(flat.grad, 2 * flat.detach())


def test_layers_give_the_same_on_elements_and_on_places() -> None:
    torch.manual_seed(0)
    layer, pool = InducedSetAttention(12, 2, 4).double(), SetPooling(12, 3).double()
    events = pack(ROWS[:3])
    sets = Ragged(events.sets)
    x = torch.randn(len(events.values), 12, dtype=torch.float64)
    on_places = layer(sets.lay(x), sets.laid)
    assert torch.allclose(layer(x, sets), sets.lift(on_places), atol=1e-12)
    assert torch.allclose(pool(layer(x, sets), sets), sets.home(pool(on_places, sets.laid)), atol=1e-12)
