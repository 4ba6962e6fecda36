"""which rows of a batch belong together: pairs, and rows that share a key, over all ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from counterpoint.losses.gather import gather_rows, rank, world_size

NO_KEY = -1
NO_ANCHOR, NO_CANDIDATE = -1, -2
"""What stands for "no key" on either side; they differ, so that they equal nothing."""


class Sharing(NamedTuple):
    """Keys of all ranks as 0, 1, ... a criterion, so that 32 bits hold them: compare ``own`` with ``everyone``.

    Attributes:
        own: (K, B) int32 of this rank's rows as anchors.
        everyone: (K, N) int32 of all rows as candidates.
        offset: row i of this rank is row ``offset + i`` of all, and the pair of column ``offset + i``.
    """

    own: Tensor
    everyone: Tensor
    offset: int

    def all_as_anchors(self) -> Tensor:
        """(K, N) int32 of all rows as anchors."""
        return self.everyone.masked_fill(self.everyone == NO_CANDIDATE, NO_ANCHOR)

    def positives(self) -> Tensor:
        """(B, N) bool: the pair, and whoever shares any key."""
        found = shared(self.own, self.everyone)
        found.diagonal(self.offset)[: len(found)].fill_(True)
        return found


def shared(anchors: Tensor, candidates: Tensor) -> Tensor:
    """(r, c) bool: whether any of the keys (K, r) and (K, c) agrees."""
    found = torch.zeros(anchors.shape[1], candidates.shape[1], dtype=torch.bool, device=anchors.device)
    for mine, theirs in zip(anchors, candidates, strict=True):
        found |= mine.unsqueeze(1) == theirs
    return found


def share(keys: Sequence[Tensor], rows: int, device: torch.device) -> Sharing:
    """Bring the keys of all ranks together; a criterion that no two rows share, as ids often are, is left out.

    Args:
        keys: int64 (B,) each, a tensor a criterion, as many on every rank; -1 is shared with nobody.
        rows: B.
        device: where the rows are.
    """
    offset = rank() * rows
    numbers = []
    for row in gather_rows(torch.stack(tuple(keys), dim=1).to(device)).t() if keys else ():
        known = row != NO_KEY
        number = row.unique(return_inverse=True)[1]
        if (number[known].bincount() > 1).any():
            numbers.append(number.masked_fill(~known, NO_CANDIDATE))
    if not numbers:
        none = torch.empty(0, rows * world_size(), dtype=torch.int32, device=device)
        return Sharing(none[:, :rows], none, offset)
    everyone = torch.stack(numbers).to(torch.int32)
    own = everyone[:, offset : offset + rows]
    return Sharing(own.masked_fill(own == NO_CANDIDATE, NO_ANCHOR), everyone, offset)


def computing_dtype(*tensors: Tensor) -> torch.dtype:
    """The dtype to compute in: float64 if one tensor is, else float32."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def check_pairs(loss: str, a: Tensor, b: Tensor) -> None:
    """Raise ValueError unless both are (rows, width) alike."""
    if a.ndim != 2 or a.shape != b.shape:
        raise ValueError(f"{loss}: a and b must both be (rows, width), they are {(*a.shape,)} and {(*b.shape,)}")


def check_keys(loss: str, name: str, keys: Sequence[Tensor], rows: int) -> None:
    """Raise ValueError unless every tensor of keys is int64 (rows,)."""
    for index, column in enumerate(keys):
        if column.shape != (rows,) or column.dtype != torch.int64:
            raise ValueError(
                f"{loss}: {name}[{index}] must be int64 of shape ({rows},), it is {column.dtype} of {(*column.shape,)}"
            )


def check_columns(loss: str, logits: Tensor) -> None:
    """Raise ValueError unless these are this rank's rows by the columns of all ranks."""
    world = world_size()
    if logits.ndim != 2 or logits.shape[1] != world * len(logits):
        raise ValueError(
            f"{loss}: logits must be this rank's rows by the columns of all {world} ranks, (B, {world} * B), "
            f"they are {(*logits.shape,)}"
        )
