"""Reading windows: straight from HDF5, or from one flat memory-mapped file made of it once.

HDF5 is a format to keep recordings in; a batch of windows out of it costs a chunk look-up each. In the flat store
(time-major, channels last, float32) a window is one number, its start, and a batch is one gather.

Layout of the store: the signals one after the other, a JSON index, then 48 bytes: length of the index (8, little
endian), its SHA-256 (32), ``CPSTORE1``. The index holds the SHA-256 of every signal.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import mmap
import os
import secrets
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.hdf5 import Hdf5Signals
from counterpoint.data.keys import Int
from counterpoint.data.signals import Float, SignalConfig, pick_channels, resample, resampled_length, statistics

_MAGIC = b"CPSTORE1"
_TRAILER = 8 + 32 + len(_MAGIC)
_BLOCK = 1 << 22
_KINDS = ("zscore", "minmax", "robust")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recording:
    """One dataset of an HDF5 file.

    Attributes:
        file: the HDF5 file.
        key: name of the dataset in it.
        rate: samples a second, 0.0 where unknown.
        length: samples in the file.
        channels: channels in the file.
    """

    file: Path
    key: str
    rate: float
    length: int
    channels: int

    def kept(self, config: SignalConfig) -> int:
        """Samples that remain after resampling and truncation."""
        length = self.length
        if config.rate is not None:
            length = resampled_length(length, self.rate, config.rate)
        return length if config.max_length is None else min(length, config.max_length)


class Source(ABC):
    """Base of what windows are read from. A recording is one signal, or under ``channels: each`` several.

    Attributes:
        recordings: (n,) position of the recording each signal comes from, ascending.
        lengths: (n,) samples of each signal.
        channels: C, of every signal.
        rejected: position of a recording that cannot be used -> why; no signal comes from it.
    """

    recordings: Int
    lengths: Int
    channels: int
    rejected: dict[int, str]

    @abstractmethod
    def gather(self, signals: Int, starts: Int, length: int) -> Tensor:
        """Windows (n, length, C) float32 of ``signals`` (n,) from ``starts`` (n,)."""

    @abstractmethod
    def statistics(self, kind: str) -> Tensor:
        """Offset and divisor (2, n, C) of every whole signal for one kind of normalisation."""

    @abstractmethod
    def digests(self) -> list[str]:
        """SHA-256 of the samples of every signal, to find recordings that stand twice."""


@final
class HDF5Source(Source):
    """Windows read lazily from HDF5: only their own samples leave the file.

    Args:
        recordings: what to read; all of one rate if ``config.rate`` is set.
        config: channels and truncation; the rate must be the recordings' own.
        scan: read every recording once to find those that are unreadable or not finite.

    Raises:
        ValueError: if a recording would have to be resampled.
    """

    def __init__(self, recordings: Sequence[Recording], config: SignalConfig, *, scan: bool = True) -> None:
        for recording in recordings:
            if config.rate is not None and recording.rate != config.rate:
                raise ValueError(
                    f"{recording.file}, dataset {recording.key!r}: recorded at {recording.rate:g} Hz, asked for at "
                    f"{config.rate:g} Hz; resampling is done once, into a store: set loading.cache to a folder"
                )
        self._all, self._config = list(recordings), config
        self._files = {path: Hdf5Signals(path) for path in sorted({r.file for r in recordings})}
        self.rejected = {}
        if scan:
            reasons = ((at, self._files[r.file].scan(r.key)) for at, r in enumerate(recordings))
            self.rejected = {at: reason for at, reason in reasons if reason}
        kept = [at for at in range(len(recordings)) if at not in self.rejected]
        parts = [recordings[at].channels if config.channels == "each" else 1 for at in kept]
        self.recordings = np.repeat(np.asarray(kept, dtype=np.int64), parts)
        self._channel = np.concatenate([np.arange(part) for part in parts] or [np.empty(0, np.int64)])
        self.lengths = np.array([recordings[at].kept(config) for at in self.recordings], dtype=np.int64)
        every = config.channels == "require" and kept
        self.channels = recordings[kept[0]].channels if every else 1
        self._statistics: dict[str, Tensor] = {}

    def gather(self, signals: Int, starts: Int, length: int) -> Tensor:
        """One partial read a window, in the order of the file.

        Raises:
            ValueError: if a window holds a number that is not finite.
        """
        out = np.empty((len(signals), length, self.channels), dtype=np.float32)
        for row in np.lexsort((starts, signals)):
            out[row] = self._read(int(signals[row]), int(starts[row]), length)
        if not np.isfinite(out).all():
            row = int(np.flatnonzero(~np.isfinite(out).all((1, 2)))[0])
            recording = self._all[self.recordings[signals[row]]]
            raise ValueError(
                f"{recording.file}, dataset {recording.key!r}: not finite within samples {starts[row]} to "
                f"{starts[row] + length}; set loading.check to samples so that such recordings are found at the start"
            )
        return torch.from_numpy(out)

    def statistics(self, kind: str) -> Tensor:
        """Reads every signal once, one at a time, at the first call of a kind."""
        if kind not in self._statistics:
            rows = [statistics(values, kind) for values in self._signals()]  # type: ignore[arg-type]
            table = np.stack(rows, 1) if rows else np.empty((2, 0, self.channels))
            self._statistics[kind] = torch.from_numpy(table.astype(np.float32))
        return self._statistics[kind]

    def digests(self) -> list[str]:
        """Reads every signal once, one at a time."""
        return [hashlib.sha256(values.tobytes()).hexdigest() for values in self._signals()]

    def _signals(self) -> Iterator[Float]:
        for signal, length in enumerate(self.lengths):
            yield self._read(signal, 0, int(length))

    def _read(self, signal: int, start: int, length: int) -> Float:
        recording = self._all[self.recordings[signal]]
        values = self._files[recording.file].read(recording.key, start, length)
        return pick_channels(values, self._config.channels)[self._channel[signal]]


@final
class FlatStore(Source):
    """A store made by ``build``, memory-mapped. Every signal's digest is checked when it is opened.

    Args:
        path: the store.

    Raises:
        ValueError: if the store is damaged; the message names the first signal that is.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        index = _index(path)
        _verify(path, index)
        self._load(index)

    def _load(self, index: dict[str, Any]) -> None:
        self.recordings = np.array(index["recordings"], dtype=np.int64)
        self.lengths = np.array(index["lengths"], dtype=np.int64)
        self.channels = int(index["channels"])
        self.rejected = {int(at): reason for at, reason in index["rejected"].items()}
        self._offsets = np.cumsum(self.lengths) - self.lengths
        self._digests = list(index["digests"])
        self._statistics = {kind: torch.tensor(index["statistics"][kind]) for kind in _KINDS}
        total = int(self.lengths.sum()) * self.channels
        if not total:
            self._flat = torch.empty(0)
            return
        with self._path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), total * 4, access=mmap.ACCESS_READ)
        # Windows lie anywhere: the default read-ahead fetches many times the bytes that are used.
        self._map.madvise(mmap.MADV_RANDOM)
        with warnings.catch_warnings():  # the map is read-only and nothing writes to it
            warnings.simplefilter("ignore", UserWarning)
            self._flat = torch.from_numpy(np.frombuffer(self._map, dtype=np.float32))
        self._ahead = total * 4 > os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2

    def __getstate__(self) -> dict[str, Any]:
        """A store travels to a worker as its path; what the parent has checked is not checked again."""
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Map the file again."""
        self._path = state["path"]
        self._load(_index(self._path))

    def gather(self, signals: Int, starts: Int, length: int) -> Tensor:
        """One ``index_select`` over the overlapping windows of the whole store."""
        assert ((starts >= 0) & (starts + length <= self.lengths[signals])).all(), "window outside its signal"
        begin = self._offsets[signals] + starts
        if not len(begin):
            return torch.empty(0, length, self.channels)
        if self._ahead:
            self._advise(begin, length)
        wide = length * self.channels
        places = len(self._flat) // self.channels - length + 1
        windows = self._flat.as_strided((places, wide), (self.channels, 1))
        out = torch.empty(len(begin), wide)
        torch.index_select(windows, 0, torch.from_numpy(begin), out=out)
        return out.view(len(begin), length, self.channels)

    def _advise(self, begin: Int, length: int) -> None:
        """Ask the disk for the whole batch at once, where the store is too large to stay in memory."""
        step = self.channels * 4
        for start in np.sort(begin).tolist():
            first = start * step // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, first, (start + length) * step - first)

    def statistics(self, kind: str) -> Tensor:
        """From the index."""
        return self._statistics[kind]

    def digests(self) -> list[str]:
        """From the index."""
        return self._digests


def flat_store(folder: Path, recordings: Sequence[Recording], config: SignalConfig, sources: dict[Path, str]) -> FlatStore:
    """Open the store of these recordings in ``folder``; make it where it is missing or damaged.

    Several processes may do so at once: each writes its own file and the last rename wins, all being equal.

    Args:
        folder: where stores are kept.
        recordings: what goes in, in this order.
        config: rate, truncation and channels; normalisation is not part of a store.
        sources: SHA-256 of every HDF5 file.

    Raises:
        ValueError: if the disk has no room, naming the path, what is needed and what is free.
    """
    path = folder / f"{_key(recordings, config, sources)}.store"
    if path.exists():
        try:
            return FlatStore(path)
        except ValueError as error:
            _log.warning("%s; it is made again", error)
    folder.mkdir(parents=True, exist_ok=True)
    build(path, recordings, config)
    return FlatStore(path)
