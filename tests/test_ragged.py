"""Plans of ragged sequences, against plain loops."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoint.ragged import EXACT, Ragged

lengths = st.lists(st.integers(0, 70), min_size=1, max_size=12)


def world(sizes: list[int]) -> tuple[Ragged, Tensor]:
    offsets = torch.tensor([0, *torch.tensor(sizes).cumsum(0).tolist()])
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(int(offsets[-1]), 3, generator=generator, dtype=torch.float64, requires_grad=True)
    return Ragged(offsets), flat


@settings(max_examples=60, deadline=None)
@given(lengths)
def test_blocks_hold_every_element_once_where_it_belongs(sizes: list[int]) -> None:
    ragged, flat = world(sizes)
    if not len(flat):
        assert ragged.blocks == []
        return
    seen = []
    for block, part in zip(ragged.blocks, ragged.blocked(flat), strict=True):
        assert part.shape[:2] == (len(block.members), block.length)
        for row, member in enumerate(block.members.tolist()):
            start, size = int(ragged.offsets[member]), sizes[member]
            assert torch.equal(part[row, :size], flat[start : start + size])
            assert size <= block.length <= size * 1.25
            if block.mask is None:
                assert size == block.length
            else:
                assert block.mask[row].tolist() == [place < size for place in range(block.length)]
            seen.append(member)
        assert (block.mask is None) == (block.length <= EXACT)
    assert sorted(seen) == [member for member, size in enumerate(sizes) if size]
    assert torch.equal(ragged.flat(ragged.blocked(flat)), flat)


@settings(max_examples=30, deadline=None)
@given(lengths)
def test_gradients_go_home_and_padding_sends_none(sizes: list[int]) -> None:
    ragged, flat = world(sizes)
    if not len(flat):
        return
    weight = torch.randn(flat.shape, generator=torch.Generator().manual_seed(1), dtype=flat.dtype)
    (ragged.flat([part.square() for part in ragged.blocked(flat)]) * weight).sum().backward()
    assert flat.grad is not None
    assert torch.allclose(flat.grad, 2 * flat.detach() * weight)


@settings(max_examples=30, deadline=None)
@given(lengths)
def test_owner_place_mask_padded_and_mean(sizes: list[int]) -> None:
    ragged, flat = world(sizes)
    owners = [member for member, size in enumerate(sizes) for _ in range(size)]
    assert ragged.owner.tolist() == owners
    assert ragged.place.tolist() == [place for size in sizes for place in range(size)]
    assert ragged.longest == max(sizes)
    padded, mean = ragged.padded(flat), ragged.mean(flat)
    assert padded.shape == (len(sizes), max(sizes), 3)
    for member, size in enumerate(sizes):
        part = flat[int(ragged.offsets[member]) : int(ragged.offsets[member + 1])]
        assert torch.equal(padded[member, :size], part)
        assert (padded[member, size:] == 0).all()
        assert ragged.mask[member].sum() == size
        expected = part.mean(0) if size else torch.zeros(3, dtype=flat.dtype)
        assert torch.allclose(mean[member], expected)
