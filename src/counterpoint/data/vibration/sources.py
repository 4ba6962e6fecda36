"""What windows are read from: the role, and the reader that goes straight to HDF5."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.vibration.hdf5 import Hdf5Signals
from counterpoint.data.vibration.signals import (
    Float,
    Normalise,
    SignalConfig,
    pick_channels,
    resampled_length,
    statistics,
)
from counterpoint.keys import Int


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
        recordings: (n,) which recording each signal comes from, counted from 0 among those not rejected; ascending.
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
    def statistics(self, kind: Normalise) -> Tensor:
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
                    f"{recording.file}, dataset {recording.key!r}: at {recording.rate:g} Hz, wanted at "
                    f"{config.rate:g} Hz; resampling is done once, into a store: set loading.cache to a path"
                )
        self._config = config
        self._files = {path: Hdf5Signals(path) for path in sorted({r.file for r in recordings})}
        self.rejected = {}
        if scan:
            reasons = ((at, self._files[r.file].scan(r.key)) for at, r in enumerate(recordings))
            self.rejected = {at: reason for at, reason in reasons if reason}
        self._usable = [recording for at, recording in enumerate(recordings) if at not in self.rejected]
        parts = [recording.channels if config.channels == "each" else 1 for recording in self._usable]
        self.recordings = np.repeat(np.arange(len(parts)), parts)
        self._channel = np.concatenate([np.arange(part) for part in parts] or [np.empty(0, np.int64)])
        self.lengths = np.repeat(np.array([r.kept(config) for r in self._usable], dtype=np.int64), parts)
        every = config.channels == "require" and self._usable
        self.channels = self._usable[0].channels if every else 1
        self._statistics: dict[Normalise, Tensor] = {}

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
            recording = self._usable[self.recordings[signals[row]]]
            raise ValueError(
                f"{recording.file}, dataset {recording.key!r}: not finite within samples {starts[row]} to "
                f"{starts[row] + length}; loading.check: samples finds such recordings at the start"
            )
        return torch.from_numpy(out)

    def statistics(self, kind: Normalise) -> Tensor:
        """Reads every signal once, one at a time, at the first call of a kind."""
        if kind not in self._statistics:
            rows = [statistics(values, kind) for values in self._signals()]
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
        recording = self._usable[self.recordings[signal]]
        values = self._files[recording.file].read(recording.key, start, length)
        picked: Float = pick_channels(values, self._config.channels)[int(self._channel[signal])]
        return picked
