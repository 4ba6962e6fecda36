"""Ragged sequences laid end to end: who belongs to which, and those of about one length taken together.

A batch of sequences travels as flat elements (N, ...) with offsets (G + 1,). Linear layers work on the flat elements;
only what looks across the elements of a sequence needs the borders, and it gets them as a plan: sequences of about
one length side by side in a padded block, computed once a batch and used by every layer. An element's result never
depends on the padding, which is masked, nor on what else is in the batch.
"""

from __future__ import annotations

import operator
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
        order, _, lengths, counts = self._plan
        found = []
        for members, length in zip(torch.split(order, counts), lengths, strict=True):
            steps = torch.arange(length, device=order.device) if length > EXACT else None
            mask = None if steps is None else steps < self.lengths[members].unsqueeze(1)
            found.append(Block(members, length, mask))
        return found

    @cached_property
    def laid(self) -> Ragged:
        """The same sequences in the order of the blocks, padded as there: what ``lay`` makes of elements are its own.

        A computation that lives on it gathers nothing, in any layer.
        """
        return _Laid(self)

    def lay(self, flat: Tensor) -> Tensor:
        """Flat elements (N, ...) as places (P, ...), block after block; a padded place repeats an element."""
        laid: Tensor = _Lay.apply(flat, *self._moves)  # type: ignore[no-untyped-call]
        return laid

    def lift(self, places: Tensor) -> Tensor:
        """The real elements (N, ...) of places (P, ...), in their flat order."""
        lifted: Tensor = _Lift.apply(places, *self._moves)  # type: ignore[no-untyped-call]
        return lifted

    def home(self, members: Tensor) -> Tensor:
        """(G, ...), a row a sequence, of (G', ...), a row each that is not empty in the order of the blocks."""
        return members.new_zeros(len(self), *members.shape[1:]).index_copy(0, self._plan.order, members)

    def blocked(self, flat: Tensor) -> list[Tensor]:
        """Flat elements (N, ...) as blocks (n, L, ...); a padded place repeats an element and passes no gradient."""
        parts = torch.split(self.lay(flat), [len(block.members) * block.length for block in self.blocks])
        return [part.view(-1, block.length, *flat.shape[1:]) for part, block in zip(parts, self.blocks, strict=True)]

    def flat(self, blocks: list[Tensor]) -> Tensor:
        """The real elements (N, ...) of the blocks (n, L, ...), in their flat order."""
        return self.lift(torch.cat([block.flatten(0, 1) for block in blocks]))

    def padded(self, flat: Tensor) -> Tensor:
        """(G, longest, ...) of flat elements (N, ...), zeros where a sequence has ended."""
        out = flat.new_zeros(len(self) * self.longest, *flat.shape[1:]).index_copy(0, self._columns, flat)
        return out.view(len(self), self.longest, *flat.shape[1:])

    def unpadded(self, padded: Tensor) -> Tensor:
        """The real elements (N, ...) of (G, longest, ...)."""
        found: Tensor = _Take.apply(padded.flatten(0, 1), self._columns)  # type: ignore[no-untyped-call]
        return found

    def mean(self, flat: Tensor) -> Tensor:
        """(G, ...) mean over each sequence of flat elements (N, ...); 0 for one that has none."""
        total = flat.new_zeros(len(self), *flat.shape[1:]).index_add(0, self.owner, flat)
        count = self.lengths.clamp_min(1).to(flat.dtype)
        return total / count.view(-1, *[1] * (flat.ndim - 1))

    @cached_property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """(K,) and (K,): every two elements of one sequence, in both orders and each with itself."""
        sizes = self.lengths[self.owner]
        first = torch.repeat_interleave(torch.arange(len(sizes), device=sizes.device), sizes)
        runs = sizes.cumsum(0) - sizes
        second = torch.arange(len(first), device=sizes.device) + (self.offsets[self.owner] - runs)[first]
        return first, second

    @cached_property
    def _columns(self) -> Tensor:
        """(N,) where each element stands in a padded layout, laid flat."""
        return self.owner * self.longest + self.place

    @cached_property
    def _plan(self) -> _Plan:
        rounded = _rounded(self.lengths)
        order = torch.argsort(rounded, stable=True)
        found, counts = torch.unique_consecutive(rounded[order], return_counts=True)
        lengths, numbers = torch.stack([found, counts]).tolist()
        if lengths and lengths[0] == 0:
            order, lengths, numbers = order[numbers[0] :], lengths[1:], numbers[1:]
        return _Plan(order, rounded[order], lengths, numbers)

    @cached_property
    def _moves(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Which element each place holds (P,), where each element stands (N,), and which places are real (P,)."""
        order, widths, lengths, counts = self._plan
        device, total = order.device, sum(map(operator.mul, lengths, counts))
        owner = torch.repeat_interleave(torch.arange(len(order), device=device), widths, output_size=total)
        places = torch.arange(total, device=device)
        step, start = places - (widths.cumsum(0) - widths)[owner], self.offsets[order][owner]
        origin = torch.empty(len(self.owner), dtype=torch.int64, device=device)
        if all(length <= EXACT for length in lengths):
            source = start + step
            return source, origin.index_copy_(0, source, places), None
        real = step < self.lengths[order][owner]
        source = start + torch.where(real, step, 0)
        return source, origin.index_copy_(0, source[real], places[real]), real


class _Plan(NamedTuple):
    """The order of the blocks.

    Attributes:
        order: (G',) the sequences that are not empty, block after block.
        widths: (G',) places of each.
        lengths: places of a sequence, a block.
        counts: sequences, a block.
    """

    order: Tensor
    widths: Tensor
    lengths: list[int]
    counts: list[int]


class _Laid(Ragged):
    """Sequences whose elements are the places of another's blocks."""

    def __init__(self, of: Ragged) -> None:
        plan = of._plan
        super().__init__(torch.cat([plan.widths.new_zeros(1), plan.widths.cumsum(0)]))
        members = torch.split(torch.arange(len(plan.order), device=plan.order.device), plan.counts)
        self._blocks = [block._replace(members=own) for block, own in zip(of.blocks, members, strict=True)]

    @cached_property
    def blocks(self) -> list[Block]:
        return self._blocks

    @cached_property
    def laid(self) -> Ragged:
        return self

    def lay(self, flat: Tensor) -> Tensor:
        return flat

    def lift(self, places: Tensor) -> Tensor:
        return places

    def home(self, members: Tensor) -> Tensor:
        return members


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


class _Take(torch.autograd.Function):
    """Rows by index, each at most once, so that their gradients need no sum."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor) -> Tensor:
        ctx.save_for_backward(index)
        ctx.shape = rows.shape
        return rows.index_select(0, index)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (index,) = ctx.saved_tensors
        return gradients[0].new_zeros(ctx.shape).index_copy_(0, index, gradients[0]), None


def _rounded(lengths: Tensor) -> Tensor:
    """Lengths above ``EXACT`` rounded up to ``STEPS`` an octave."""
    octave = lengths.clamp_min(1).double().log2().floor()
    step = (2.0**octave / STEPS).clamp_min(1).long()
    up = (lengths + step - 1) // step * step
    return torch.where(lengths <= EXACT, lengths, up)
