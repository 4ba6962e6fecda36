"""Rows as if some of their modalities had not been recorded: hidden by their masks, never by values of 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoint.data.base import Draw, Rows
from counterpoint.types import Batch, Events, Features, Images, Modality, Signal, Spectra, Table, Text

_READ = 64


def hidden(modality: Modality) -> Modality:
    """The same modality of the same rows, none of which has it; what stood there is gone as well."""
    match modality:
        case Text(sentences):
            return Text(("",) * len(sentences))
        case Events():
            # No set, so no event either: a row lacks what its offsets leave empty.
            none, codes, times = modality.values[:0], modality.codes[:0], modality.times[:0]
            rows = torch.zeros_like(modality.rows)
            return Events(none, codes, times, modality.sets.new_zeros(1), rows, modality.keys)
        case Signal(values) | Images(values) | Spectra(values) | Table(values) | Features(values):
            mask = torch.zeros(values.shape[:2], dtype=torch.bool, device=values.device)
            return type(modality)(torch.zeros_like(values), mask)


def shown(modality: Modality) -> Tensor:
    """(B,) which rows have a modality."""
    match modality:
        case Text(sentences):
            return torch.tensor([sentence != "" for sentence in sentences], dtype=torch.bool)
        case Events():
            return modality.rows.diff() > 0
        case (
            Signal(values, mask)
            | Images(values, mask)
            | Spectra(values, mask)
            | Table(values, mask)
            | Features(values, mask)
        ):
            whole = torch.ones(len(values), dtype=torch.bool, device=values.device)
            return whole if mask is None else mask.any(1)


def present(rows: Rows, modalities: Sequence[str]) -> NDArray[np.bool_]:
    """(n, M) which rows have which modalities, found by reading all of them."""
    found = [np.empty((0, len(modalities)), dtype=np.bool_)]
    for start in range(0, len(rows), _READ):
        batch = rows.__getitems__([Draw(row, row) for row in range(start, min(start + _READ, len(rows)))])
        found.append(torch.stack([shown(batch.views[0][name]) for name in modalities], 1).numpy())
    return np.concatenate(found)


@final
class Hidden(Rows):
    """Rows without some of their modalities: their views have them under their names, absent from every row.

    It takes any rows, also those that read features from a cache, and may itself be cached: what is kept is of the
    recordings and does not hang on what a view hides.
    """

    def __init__(self, rows: Rows, modalities: Sequence[str]) -> None:
        """Hide ``modalities`` in every view of ``rows``."""
        self.rows, self.modalities = rows, tuple(modalities)
        self.labels, self.groups, self.domains = rows.labels, rows.groups, rows.domains
        self.ids, self.metadata = rows.ids, rows.metadata
        self.lengths, self.targets = rows.lengths, rows.targets

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read the rows and hide.

        Raises:
            ValueError: if a modality is none of theirs.
        """
        batch = self.rows.__getitems__(draws)
        for name in self.modalities:
            if name not in batch.views[0]:
                raise ValueError(f"cannot hide {name!r}; the rows have {', '.join(batch.views[0])}")
        views = [view | {name: hidden(view[name]) for name in self.modalities} for view in batch.views]
        return batch._replace(views=views)

    def content(self, modality: str) -> list[str]:
        """See ``Rows.content``; of the recordings, hidden or not."""
        return self.rows.content(modality)

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        """See ``Rows.recorded``; hidden or not."""
        return self.rows.recorded(modality, rows)

    def without(self, modalities: Sequence[str]) -> Rows:
        """See ``Rows.without``."""
        return Hidden(self.rows.without(modalities), self.modalities)
