"""Filling of a cache: what it lacks is decoded and encoded, several processes at once if there are."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoint.cache.records import Record, Records
from counterpoint.data.base import Rows
from counterpoint.encoders.pretrained.base import Pretrained
from counterpoint.types import Modality, moved

LOG = logging.getLogger("counterpoint")


class Column(NamedTuple):
    """One cached modality of some rows.

    Attributes:
        name: of the modality.
        encoder: what computes the features.
        keys: of the record of every row.
    """

    name: str
    encoder: Pretrained
    keys: list[str]


def fill(rows: Rows, column: Column, records: Records, batch_size: int) -> None:
    """Compute what the cache lacks, a bar on the terminal meanwhile."""
    first = {key: row for row, key in reversed(list(enumerate(column.keys)))}
    missing = [row for key, row in first.items() if not records.has(key)]
    if not missing:
        return
    LOG.info("%s: features of %d of %d recordings are computed", column.name, len(missing), len(first))
    records.clear_unfinished()
    begin = secrets.randbelow(len(missing))  # or processes that start together would all compute the same
    missing = missing[begin:] + missing[:begin]
    with _on_accelerator(column.encoder), _bar(column.name, len(missing)) as advance:
        batches = [missing[at : at + batch_size] for at in range(0, len(missing), batch_size)]
        for batch, (left, modality) in zip(batches, _decoded(rows, column, records, batches), strict=True):
            if modality is not None:
                _encode(rows, column, records, left, modality, replace=False)
            advance(len(batch))


def compute(rows: Rows, column: Column, records: Records, some: list[int], *, replace: bool = False) -> None:
    """Compute the features of some rows and write their records.

    Raises:
        ValueError: naming the recording whose features cannot be kept.
    """
    _encode(rows, column, records, some, rows.recorded(column.name, some), replace)


def _decoded(
    rows: Rows, column: Column, records: Records, batches: list[list[int]]
) -> Iterator[tuple[list[int], Modality | None]]:
    """What nobody has computed by now of each batch, one decoded ahead; None where nothing is left of it."""

    def read(batch: list[int]) -> tuple[list[int], Modality | None]:
        left = [row for row in batch if not records.has(column.keys[row])]
        return left, rows.recorded(column.name, left) if left else None

    with ThreadPoolExecutor(1, thread_name_prefix="decode") as pool:
        ahead = pool.submit(read, batches[0])
        for following in [*batches[1:], None]:
            ready = ahead.result()
            if following is not None:
                ahead = pool.submit(read, following)
            yield ready


def _encode(rows: Rows, column: Column, records: Records, some: list[int], modality: Modality, replace: bool) -> None:
    place = device_of(column.encoder)
    with torch.no_grad():
        features = column.encoder.backbone(moved(modality, place))
    for row, tokens, mask in zip(some, features.tokens.cpu(), features.mask.cpu(), strict=True):
        try:
            records.write(column.keys[row], Record(tokens, mask), replace=replace)
        except FloatingPointError as error:
            raise ValueError(f"{column.name} of recording {rows.ids[row]}: {error}") from error


def device_of(encoder: Pretrained) -> torch.device:
    """Where its frozen part is."""
    return next(encoder.model.parameters()).device


@contextmanager
def _on_accelerator(encoder: Pretrained) -> Iterator[None]:
    """Have the encoder on the accelerator of this process, if there is one, and back afterwards."""
    before, accelerator = device_of(encoder), torch.accelerator.current_accelerator()
    if accelerator is None or before.type != "cpu":
        yield
        return
    count = max(1, torch.accelerator.device_count())
    encoder.to(torch.device(accelerator.type, int(os.environ.get("LOCAL_RANK", "0")) % count))
    try:
        yield
    finally:
        encoder.to(before)


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, nothing elsewhere; advanced by what is yielded."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(f"features of {name}", total=total)
        yield lambda count: progress.update(task, advance=count)
