"""Windows of signals as rows: two augmented views to train on, one fixed view to embed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor

from counterpoint.data.base import Draw, Rows
from counterpoint.data.labelling import Labelling
from counterpoint.data.vibration.signals import SignalConfig, apply, window_statistics
from counterpoint.data.vibration.sources import Source
from counterpoint.data.vibration.windows import Disjoint, Windows
from counterpoint.keys import Int, derive, uniforms
from counterpoint.transforms import Transform
from counterpoint.types import Batch, Signal

_SCALE, _AUGMENT = 31, 32


@dataclass(frozen=True, kw_only=True)
class Views:
    """How two views of a recording come about.

    Args:
        windows: where they are cut.
        pairs_per_recording: pairs of each recording in an epoch.
        scales: factors on the width of a window, one drawn a view; shorter views are padded and masked.
        augment: what is done to each view, in this order.
    """

    windows: Windows = field(default_factory=lambda: Disjoint(length=1024))
    pairs_per_recording: int = 1
    scales: list[float] = field(default_factory=lambda: [1.0])
    augment: list[Transform] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: naming the one that does not fit.
        """
        if self.pairs_per_recording < 1:
            raise ValueError(f"views.pairs_per_recording must be at least 1, not {self.pairs_per_recording}")
        if not self.scales or min(self.scales) <= 0:
            raise ValueError(f"views.scales must be one or more numbers above 0, not {self.scales}")

    def widths(self, rate: float) -> Int:
        """Width in samples at every scale."""
        width = self.windows.width(rate)
        return np.array([max(1, round(width * scale)) for scale in self.scales], dtype=np.int64)


class WindowReader:
    """Windows out of a source, normalised and augmented.

    Attributes:
        flat: windows read so far, in this process, with a channel that had no spread and became zeros.
    """

    def __init__(self, source: Source, config: SignalConfig, modality: str) -> None:
        self.source, self.config, self.modality = source, config, modality
        self.flat = 0

    def read(self, signals: Int, starts: Int, width: int) -> Tensor:
        """Normalised windows (n, width, C)."""
        values = self.source.gather(signals, starts, width)
        kind = self.config.normalise
        if kind == "none":
            return values
        if self.config.scope == "recording":
            offset, divisor = self.source.statistics(kind)[:, torch.from_numpy(signals)].unsqueeze(2)
        else:
            offset, divisor = window_statistics(values, kind)
        values, flat = apply(values, offset, divisor)
        self.flat += int(flat.sum())
        return values

    def views(
        self, signals: Int, starts: Int, widths: Int, keys: Int, augment: Sequence[Transform], longest: int
    ) -> Signal:
        """Normalised, augmented windows, padded to the longest; no mask where all are as long."""
        parts = []
        for width in np.unique(widths):
            at = np.flatnonzero(widths == width)
            values = self.read(signals[at], starts[at], int(width))
            for transform in augment:
                values = transform(values, keys[at])
            parts.append((at, values))
        if len(parts) == 1 and parts[0][1].shape[1] == longest:
            return Signal(parts[0][1])
        padded = torch.zeros(len(signals), longest, self.source.channels)
        for at, values in parts:
            padded[torch.from_numpy(at), : values.shape[1]] = values
        return Signal(padded, torch.arange(longest) < torch.from_numpy(widths).unsqueeze(1))


class _SignalRows(Rows):
    """Rows that are windows of signals; ``signals`` (n,) says of which."""

    def __init__(self, reader: WindowReader, signals: Int, columns: Labelling) -> None:
        self._reader, self._signals = reader, signals
        self.ids = reader.source.recordings[signals]
        self.labels, self.groups = columns.labels[self.ids], columns.groups[self.ids]
        self.domains, self.metadata = columns.domains[self.ids], columns.metadata[self.ids]
        self.metadata_names = columns.metadata_names

    def _batch(self, rows: Int, views: list[Signal]) -> Batch:
        columns = (self.labels, self.groups, self.domains, self.ids)
        return Batch(
            [{self._reader.modality: view} for view in views],
            *(torch.from_numpy(column[rows]) for column in columns),
        )


@final
class PairRows(_SignalRows):
    """One row a signal and repeat: two windows of it, cut, scaled and augmented by the key of the draw.

    Args:
        reader: of the windows.
        signals: (n,) which signals.
        columns: of the recordings.
        views: how the two are cut.
        widths: width in samples at every scale.
    """

    def __init__(self, reader: WindowReader, signals: Int, columns: Labelling, views: Views, widths: Int) -> None:
        super().__init__(reader, np.repeat(signals, views.pairs_per_recording), columns)
        self._views, self._widths = views, widths

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read both views in one go."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        keys = np.array([draw.key for draw in draws], dtype=np.int64)
        signals, longest = self._signals[rows], int(self._widths.max())
        widths = np.full((len(rows), 2), longest)
        if len(self._widths) > 1:
            widths = self._widths[(uniforms(derive(keys, _SCALE), 2) * len(self._widths)).astype(np.int64)]
        starts = self._views.windows.pairs(self._reader.source.lengths[signals], widths, keys)
        both = self._reader.views(
            np.concatenate([signals, signals]),
            starts.T.reshape(-1),
            widths.T.reshape(-1),
            np.concatenate([derive(keys, _AUGMENT + view) for view in range(2)]),
            self._views.augment,
            longest,
        )
        if both.mask is None and len(set(self._widths.tolist())) > 1:
            both = both._replace(mask=torch.ones(both.values.shape[:2], dtype=torch.bool))
        return self._batch(rows, [_half(both, slice(0, len(rows))), _half(both, slice(len(rows), None))])


def _half(signal: Signal, rows: slice) -> Signal:
    return Signal(signal.values[rows], None if signal.mask is None else signal.mask[rows])


@final
class WindowRows(_SignalRows):
    """One row a window, the same at every call.

    Args:
        reader: of the windows.
        signals: (n,) which signals.
        starts: (n,) where their windows begin.
        columns: of the recordings.
        width: of a window, in samples.
    """

    def __init__(self, reader: WindowReader, signals: Int, starts: Int, columns: Labelling, width: int) -> None:
        super().__init__(reader, signals, columns)
        self._starts, self._width = starts, width

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read one view."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        values = self._reader.read(self._signals[rows], self._starts[rows], self._width)
        return self._batch(rows, [Signal(values)])
