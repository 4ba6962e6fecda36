"""Ragged sequences laid end to end: who belongs to which, and those of about one length taken together.

A batch of sequences travels as flat elements (N, ...) with offsets (G + 1,). Linear layers work on the flat elements;
only what looks across the elements of a sequence needs the borders, and it gets them as a plan: sequences of about
one length side by side in a padded block, computed once a batch and used by every layer. An element's result never
depends on the padding, which is masked, nor on what else is in the batch.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

EXACT = 16
"""Up to this length every length has a block of its own, without padding."""
STEPS = 4
"""Lengths above are rounded up to one of so many an octave: a block holds a fifth of padding at most."""


class Block(NamedTuple):
    """Sequences of about one length, side by side.

    Attributes:
        members: (n,) which sequences.
        length: L, the places of each.
        mask: (n, L) bool, True = real; None where nothing is padded.
    """

    members: Tensor
    length: int
    mask: Tensor | None


class Ragged:
    """The borders of a batch of sequences.

    Args:
        offsets: (G + 1,) int64: sequence g holds the elements ``offsets[g]:offsets[g + 1]``; it may hold none.
    """

    def __init__(self, offsets: Tensor) -> None:
        self.offsets = offsets
        self.lengths = offsets.diff()

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def longest(self) -> int:
        """Elements of the longest sequence."""
        return int(self.lengths.max()) if len(self) else 0

    @cached_property
    def owner(self) -> Tensor:
        """(N,) the sequence of every element."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.offsets.device), self.lengths)

    @cached_property
    def place(self) -> Tensor:
        """(N,) the position of every element in its sequence."""
        return torch.arange(len(self.owner), device=self.offsets.device) - self.offsets[self.owner]

    @cached_property
    def mask(self) -> Tensor:
        """(G, longest) bool, True = real."""
        return torch.arange(self.longest, device=self.offsets.device) < self.lengths.unsqueeze(1)

    @cached_property
    def blocks(self) -> list[Block]:
        """Every sequence that is not empty, in the block of its length, short ones first."""
        rounded = _rounded(self.lengths)
        found = []
        for length in torch.unique(rounded[self.lengths > 0]).tolist():
            members = torch.nonzero((rounded == length) & (self.lengths > 0)).squeeze(1)
            mask = torch.arange(length, device=rounded.device) < self.lengths[members].unsqueeze(1)
            found.append(Block(members, length, None if length <= EXACT else mask))
        return found

    def blocked(self, flat: Tensor) -> list[Tensor]:
        """Flat elements (N, ...) as blocks (n, L, ...); a padded place repeats an element and passes no gradient."""
        laid: Tensor = _Lay.apply(flat, *self._moves)  # type: ignore[no-untyped-call]
        parts = torch.split(laid, [len(block.members) * block.length for block in self.blocks])
        return [part.view(-1, block.length, *flat.shape[1:]) for part, block in zip(parts, self.blocks, strict=True)]

    def flat(self, blocks: list[Tensor]) -> Tensor:
        """The real elements (N, ...) of the blocks (n, L, ...), in their flat order."""
        joined = torch.cat([block.flatten(0, 1) for block in blocks])
        lifted: Tensor = _Lift.apply(joined, *self._moves)  # type: ignore[no-untyped-call]
        return lifted

    def split(self, members: Tensor) -> list[Tensor]:
        """(G', ...), a row a sequence in the order of the blocks, as one part (n, ...) a block."""
        return list(torch.split(members, [len(block.members) for block in self.blocks]))

    def padded(self, flat: Tensor) -> Tensor:
        """(G, longest, ...) of flat elements (N, ...), zeros where a sequence has ended."""
        out = flat.new_zeros(len(self), self.longest, *flat.shape[1:])
        return out.index_put((self.owner, self.place), flat)

    def mean(self, flat: Tensor) -> Tensor:
        """(G, ...) mean over each sequence of flat elements (N, ...); 0 for one that has none."""
        total = flat.new_zeros(len(self), *flat.shape[1:]).index_add(0, self.owner, flat)
        count = self.lengths.clamp_min(1).to(flat.dtype)
        return total / count.view(-1, *[1] * (flat.ndim - 1))

    @cached_property
    def _moves(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Which element each place holds (P,), where each element stands (N,), and which places are real (P,)."""
        sources, masks = [], []
        for block in self.blocks:
            steps = torch.arange(block.length, device=self.offsets.device)
            mask = steps.expand(len(block.members), -1) < self.lengths[block.members].unsqueeze(1)
            sources.append((self.offsets[block.members].unsqueeze(1) + torch.where(mask, steps, 0)).flatten())
            masks.append(mask.flatten())
        if not sources:
            nothing = self.offsets.new_zeros(0)
            return nothing, nothing, None
        source, real = torch.cat(sources), torch.cat(masks)
        origin = torch.empty(len(self.owner), dtype=torch.int64, device=source.device)
        origin[source[real]] = torch.nonzero(real).squeeze(1)
        return source, origin, None if bool(real.all()) else real


class _Lay(torch.autograd.Function):
    """Elements to places. Both directions are gathers: no element is summed over, so nothing depends on an order."""

    @staticmethod
    def forward(ctx: Any, flat: Tensor, source: Tensor, origin: Tensor, real: Tensor | None) -> Tensor:
        ctx.save_for_backward(origin)
        return flat.index_select(0, source)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (origin,) = ctx.saved_tensors
        return gradients[0].index_select(0, origin), None, None, None


class _Lift(torch.autograd.Function):
    """Places to elements; a padded place is nobody's and gets no gradient."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, source: Tensor, origin: Tensor, real: Tensor | None) -> Tensor:
        ctx.save_for_backward(source, real)
        return places.index_select(0, origin)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        source, real = ctx.saved_tensors
        laid = gradients[0].index_select(0, source)
        if real is not None:
            laid = laid.masked_fill(~real.view(-1, *[1] * (laid.ndim - 1)), 0.0)
        return laid, None, None, None


def _rounded(lengths: Tensor) -> Tensor:
    """Lengths above ``EXACT`` rounded up to ``STEPS`` an octave."""
    octave = lengths.clamp_min(1).double().log2().floor()
    step = (2.0**octave / STEPS).clamp_min(1).long()
    up = (lengths + step - 1) // step * step
    return torch.where(lengths <= EXACT, lengths, up)
