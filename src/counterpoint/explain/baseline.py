"""Where the way of integrated gradients begins: zero, or the mean of the training rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from counterpoint.data.base import Draw, Rows
from counterpoint.explain.gradients import CONTINUOUS, real
from counterpoint.types import Modality, Signal, Spectra

ROWS = 512
"""Training rows, evenly spread, that a mean is taken of."""
_BATCH = 64


def means(rows: Rows, names: Sequence[str]) -> dict[str, Tensor]:
    """Mean of the real values of each modality over training rows.

    Of signals by sample and channel (L, C), as long as the longest; of spectra by point, over all scans (1, W); of
    tables by column (F,). Where no row has a value it is 0.
    """
    index = np.unique(np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).round().astype(np.int64)).tolist()
    sums: dict[str, tuple[Tensor, Tensor]] = {}
    for start in range(0, len(index), _BATCH):
        view = rows.__getitems__([Draw(row, row) for row in index[start : start + _BATCH]]).views[0]
        for name in names:
            total, count = _summed(view[name])
            if name in sums:
                total, count = (_added(one, other) for one, other in zip(sums[name], (total, count), strict=True))
            sums[name] = total, count
    return {name: (total / count.clamp_min(1)).float() for name, (total, count) in sums.items()}


def ends(
    kind: Literal["zero", "mean"], modality: Modality, moved: Tensor, mean: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(1, ...) where the way ends, which is the row, and where it begins; what is not moved is the same in both.

    Args:
        kind: of baseline.
        modality: (1, ...) the row.
        moved: which of its values move.
        mean: of the training rows, as ``means`` has it; of no use for zero.
    """
    assert isinstance(modality, CONTINUOUS)
    # What is not real may hold anything, NaN too.
    values = modality.values.masked_fill(~real(modality), 0.0)
    start = torch.zeros_like(values)
    if kind == "mean":
        assert mean is not None
        if isinstance(modality, Signal):
            mean = F.pad(mean, (0, 0, 0, max(0, values.shape[1] - len(mean))))[: values.shape[1]]
        start = start + mean.to(values)
    return values, torch.where(moved, start, values)


def _summed(modality: Modality) -> tuple[Tensor, Tensor]:
    assert isinstance(modality, CONTINUOUS)
    values, known = modality.values.double(), real(modality)
    over = (0, 1) if isinstance(modality, Spectra) else (0,)
    keep = values.masked_fill(~known, 0.0).sum(over), known.double().sum(over)
    return (keep[0].unsqueeze(0), keep[1].unsqueeze(0)) if isinstance(modality, Spectra) else keep


def _added(one: Tensor, other: Tensor) -> Tensor:
    """Sums of signals may be of different lengths."""
    length = max(len(one), len(other))
    lead = [0, 0] * (one.ndim - 1)
    return F.pad(one, (*lead, 0, length - len(one))) + F.pad(other, (*lead, 0, length - len(other)))
