"""Rows whose modalities are replaced by what frozen encoders make of them, read from a cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from counterpoint.cache.filling import Column, compute, device_of, fill
from counterpoint.cache.records import DamagedRecord, Precision, Record, Records
from counterpoint.data.base import Draw, Rows
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.pretrained.base import Pretrained
from counterpoint.types import Batch, Events, Features, Modality, Text

LOG = logging.getLogger("counterpoint")
_TRIED = 4


@final
class CachedRows(Rows):
    """Rows of which some modalities are features read from a cache.

    A record that is damaged or gone is named in the log, computed again and counted.

    Attributes:
        rebuilt: records that had to be computed again while reading.
    """

    def __init__(self, rows: Rows, columns: Sequence[Column], records: Records) -> None:
        """Put the columns in the place of the modalities of their names."""
        self._rows, self._columns, self._records = rows, tuple(columns), records
        self._bare = rows.without([column.name for column in columns])
        self.labels, self.groups, self.domains = rows.labels, rows.groups, rows.domains
        self.ids, self.metadata = rows.ids, rows.metadata
        self.lengths, self.targets = rows.lengths, rows.targets
        self.rebuilt = 0

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read what is not cached as ever, and the records of the rest; each view hides what it would have hidden."""
        batch = self._bare.__getitems__(draws)
        views = [dict(view) for view in batch.views]
        for column in self._columns:
            held = _padded([self._record(column, draw.row) for draw in draws])
            for view in views:
                shown = view[column.name]
                assert isinstance(shown, Features), f"{column.name} was to be left out"
                view[column.name] = Features(held.tokens, held.mask & shown.mask)
        return batch._replace(views=views)

    def _record(self, column: Column, row: int) -> Record:
        key = column.keys[row]
        try:
            return self._records.read(key)
        except FileNotFoundError:
            complaint = f"{self._records.path(key)}: gone"
        except DamagedRecord as error:
            complaint = str(error)
        what = f"{complaint}; it held the features of {column.name} of recording {self.ids[row]}"
        if get_worker_info() is not None and device_of(column.encoder).type != "cpu":
            raise ValueError(f"{what}; remove it and start again, or set trainer.hardware.workers: 0")
        LOG.warning("%s; computed again", what)
        self.rebuilt += 1
        compute(self._rows, column, self._records, [row], replace=True)
        return self._records.read(key)


def cached(
    rows: Rows,
    encoders: Mapping[str, Encoder],
    folder: Path,
    *,
    batch_size: int,
    dtype: Precision = "float16",
) -> Rows:
    """Rows that bring ``Features`` in place of every modality whose encoder is frozen; nothing of it is decoded again.

    What the cache lacks is computed first, on the accelerator if there is one. Several processes may do so at once:
    each begins elsewhere and leaves out what another has finished.

    Args:
        rows: to train on or to embed.
        encoders: of the model, by modality. Those that are not ``Pretrained`` or have blocks that are trained go on
            reading the modality itself.
        folder: of the cache; any number of models, data sets and processes may share it.
        batch_size: recordings that are decoded and encoded at a time.
        dtype: of the records; see ``Records``.

    Returns:
        The rows themselves where no encoder is frozen.

    Raises:
        ValueError: if the rows keep no digests of a modality, change it at random, or the disk refuses.
    """
    frozen = {name: one for name, one in encoders.items() if isinstance(one, Pretrained) and one.cacheable}
    if not frozen or not len(rows):
        return rows
    records, columns = Records(folder, dtype), []
    for name, encoder in frozen.items():
        content = rows.content(name)
        refuse_random(rows, name, content, [other for other in encoders if other != name])
        content = _complete(rows, name, content)
        fingerprint = encoder.fingerprint()
        columns.append(Column(name, encoder, [records.key(fingerprint, one) for one in content]))
    for column in columns:
        fill(rows, column, records, batch_size)
    return CachedRows(rows, columns, records)


def refuse_random(rows: Rows, name: str, content: list[str], others: list[str]) -> None:
    """Refuse a modality that changes from draw to draw: kept features would stop the change without a word.

    ``Rows.without`` refuses what it knows to change; this looks, at one recording drawn under several keys.

    Args:
        rows: to look at.
        name: of the modality.
        content: a digest a row, "" where it lacks the modality.
        others: modalities that need not be read for it.

    Raises:
        ValueError: naming the modality.
    """
    row = next((at for at, one in enumerate(content) if one), None)
    if row is None:
        return
    batch = (rows.without(others) if others else rows).__getitems__([Draw(row, key) for key in range(_TRIED)])
    values, mask = _parts(name, rows.recorded(name, [row]))
    for view in batch.views:
        drawn, real = _parts(name, view[name])
        for one, own in zip(drawn, real, strict=True):
            if own.any() and not (torch.equal(own, mask[0]) and torch.equal(one[own], values[0][own])):
                raise ValueError(
                    f"trainer.cache: the {name} of recording {rows.ids[row]} is another each time it is drawn, and "
                    f"features that are kept would always be of the same; switch off the random augmentation of "
                    f"{name}, or leave out trainer.cache"
                )


def _complete(rows: Rows, name: str, content: list[str]) -> list[str]:
    """Digests, also of the rows that lack the modality: of its shape, which decides the shape of their features."""
    if "" not in content:
        return content
    values, mask = _parts(name, rows.recorded(name, [content.index("")]))
    assert not mask.any(), f"{name} of row {content.index('')} is there and has no digest"
    return [one or f"missing {tuple(values.shape[1:])}" for one in content]


def _padded(some: Sequence[Record]) -> Features:
    """Records as (B, L, D), filled up to the longest."""
    length, width = max(len(one.mask) for one in some), some[0].tokens.shape[1]
    tokens = torch.zeros(len(some), length, width, dtype=some[0].tokens.dtype)
    mask = torch.zeros(len(some), length, dtype=torch.bool)
    for row, one in enumerate(some):
        tokens[row, : len(one.mask)], mask[row, : len(one.mask)] = one.tokens, one.mask
    return Features(tokens, mask)


def _parts(name: str, modality: Modality) -> tuple[Tensor, Tensor]:
    """Values (B, L, ...) and mask (B, L) of what a frozen encoder reads."""
    assert not isinstance(modality, Events | Text | Features), f"{name} is {type(modality).__name__}"
    values, mask = modality
    return values, torch.ones(values.shape[:2], dtype=torch.bool) if mask is None else mask
