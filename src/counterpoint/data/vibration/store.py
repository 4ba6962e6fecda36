"""The flat store: all recordings in one memory-mapped file, made of HDF5 once.

HDF5 is a format to keep recordings in; a batch of windows out of it costs a chunk look-up each. In the store
(time-major, channels last, float32) a window is one number, its start, and a batch is one gather.

Layout: the signals one after the other, a JSON index, then 48 bytes: length of the index (8, little endian),
its SHA-256 (32), ``CPSTORE1``. The index holds the SHA-256 of every signal.
"""

from __future__ import annotations

import hashlib
import json
import logging
import mmap
import os
import secrets
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.vibration.hdf5 import Hdf5Signals
from counterpoint.data.vibration.signals import Normalise, SignalConfig, pick_channels, resample, statistics
from counterpoint.data.vibration.sources import Recording, Source
from counterpoint.keys import Int

_MAGIC = b"CPSTORE1"
_TRAILER = 8 + 32 + len(_MAGIC)
_BLOCK, _PIECE = 1 << 22, 1 << 16
_KINDS: tuple[Normalise, ...] = ("zscore", "minmax", "robust")
_log = logging.getLogger(__name__)


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
        self._overlapping: dict[int, Tensor] = {}
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
        windows = self._overlapping.get(length)
        if windows is None:
            places = len(self._flat) // self.channels - length + 1
            windows = self._flat.as_strided((places, length * self.channels), (self.channels, 1))
            self._overlapping[length] = windows
        out = torch.empty(len(begin), windows.shape[1])
        torch.index_select(windows, 0, torch.from_numpy(begin), out=out)
        return out.view(len(begin), length, self.channels)

    def _advise(self, begin: Int, length: int) -> None:
        """Ask the disk for the whole batch at once, where the store is too large to stay in memory."""
        step = self.channels * 4
        for start in np.sort(begin).tolist():
            first = start * step // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(mmap.MADV_WILLNEED, first, (start + length) * step - first)

    def statistics(self, kind: Normalise) -> Tensor:
        """From the index."""
        return self._statistics[kind]

    def digests(self) -> list[str]:
        """From the index."""
        return self._digests


def flat_store(
    folder: Path, recordings: Sequence[Recording], config: SignalConfig, sources: dict[Path, str]
) -> FlatStore:
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


def build(path: Path, recordings: Sequence[Recording], config: SignalConfig) -> None:
    """Write the store: to a file beside it, to the disk, then under its name, so that it is whole or absent.

    Raises:
        ValueError: if the disk has no room.
    """
    many = config.channels in ("each", "require")
    needed = sum(4 * recording.kept(config) * (recording.channels if many else 1) for recording in recordings)
    free = shutil.disk_usage(path.parent).free
    if needed > free:
        raise ValueError(f"{path.parent}: the store needs {needed:,} bytes, {free:,} are free; choose another cache")
    partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        with partial.open("wb") as file:
            index = _write_signals(file, recordings, config)
            text = json.dumps(index).encode()
            file.write(text + len(text).to_bytes(8, "little") + hashlib.sha256(text).digest() + _MAGIC)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _write_signals(file: BinaryIO, recordings: Sequence[Recording], config: SignalConfig) -> dict[str, Any]:
    """Write every usable recording, one in memory at a time, and return the index."""
    index: dict[str, Any] = {"channels": 1, "recordings": [], "lengths": [], "digests": [], "rejected": {}}
    index["statistics"] = {kind: [[], []] for kind in _KINDS}
    readers = {path: Hdf5Signals(path) for path in {recording.file for recording in recordings}}
    for at, recording in enumerate(recordings):
        reader = readers[recording.file]
        reason = reader.scan(recording.key)
        if reason:
            index["rejected"][str(at)] = reason
            continue
        kept = recording.kept(config)
        values = reader.read(recording.key, 0, recording.length if config.rate is not None else kept)
        for signal in pick_channels(values, config.channels):
            if config.rate is not None:
                signal = resample(signal, recording.rate, config.rate)
            signal = np.ascontiguousarray(signal[:kept])
            assert len(signal) == kept, (len(signal), kept)
            data = signal.tobytes()
            # One large write becomes one large page of the cache, which a single window then maps whole.
            for start in range(0, len(data), _PIECE):
                file.write(data[start : start + _PIECE])
            index["channels"] = signal.shape[1]
            index["recordings"].append(at - len(index["rejected"]))
            index["lengths"].append(kept)
            index["digests"].append(hashlib.sha256(data).hexdigest())
            for kind in _KINDS:
                for column, numbers in zip(index["statistics"][kind], statistics(signal, kind), strict=True):
                    column.append(numbers.tolist())
    for reader in readers.values():
        reader.close()
    return index


def _key(recordings: Sequence[Recording], config: SignalConfig, sources: Mapping[Path, str]) -> str:
    """Name of the store: what it is made of and how."""
    made_of = [[sources[r.file], r.key, r.rate if config.rate is not None else 0.0] for r in recordings]
    how = [_MAGIC.decode(), config.rate, config.max_length, config.channels]
    return hashlib.sha256(json.dumps([how, made_of]).encode()).hexdigest()[:32]


def _index(path: Path) -> dict[str, Any]:
    """Read the index of a store.

    Raises:
        ValueError: if it is truncated or damaged.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TRAILER))
        trailer = file.read()
        length = int.from_bytes(trailer[:8], "little")
        if len(trailer) < _TRAILER or not trailer.endswith(_MAGIC) or length > size - _TRAILER:
            raise ValueError(f"{path}: not a whole store ({size:,} bytes)")
        file.seek(size - _TRAILER - length)
        text = file.read(length)
    if hashlib.sha256(text).digest() != trailer[8:40]:
        raise ValueError(f"{path}: the index of the store is damaged")
    index: dict[str, Any] = json.loads(text)
    if sum(index["lengths"]) * index["channels"] * 4 != size - _TRAILER - length:
        raise ValueError(f"{path}: the store has not the size its index says")
    return index


def _verify(path: Path, index: dict[str, Any]) -> None:
    """Compare every signal with its digest; read as a stream, so that memory stays small.

    Raises:
        ValueError: naming the first signal that differs.
    """
    with path.open("rb") as file:
        for signal, (length, expected) in enumerate(zip(index["lengths"], index["digests"], strict=True)):
            digest, left = hashlib.sha256(), length * index["channels"] * 4
            while left:
                block = file.read(min(left, _BLOCK))
                digest.update(block)
                left -= len(block)
            if digest.hexdigest() != expected:
                raise ValueError(f"{path}: signal {signal} of the store is damaged")
