"""Hand features of signals, vectors, pictures, spectra and tables; what is absent is marked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from counterpoint.evaluate.features import full_windows
from counterpoint.types import Images, Signal, Spectra, Table, TableSpec

Float = NDArray[np.float64]
Windows = Callable[[Float], Float]
SHORTEST = 16
"""Elements of the shortest signal that has a spectrum; of a shorter one the values themselves are the features."""
MAP = 16
"""Channels from which on a signal is a map, as a spectrogram is: what its channels hold over time is its features."""
_GRID = 4


def of_windows(signal: Signal, place: str, features: Windows) -> Float:
    """(B, F) features of whole windows; where the signal has a mask, zeros for rows without it and a column for which.

    Args:
        signal: each row whole or absent.
        place: its name, for messages.
        features: of (B, L, C) windows.

    Raises:
        ValueError: a row is padded, or no row has the modality.
    """
    if signal.mask is None:
        return features(full_windows(signal, place))
    present = signal.mask.any(1).cpu()
    if not bool(present.any()):
        # The width is that of one window of zeros.
        empty = Signal(torch.zeros_like(signal.values[:1]))
        return np.zeros((len(present), features(full_windows(empty, place)).shape[1] + 1))
    own = features(full_windows(Signal(signal.values[present], signal.mask[present]), place))
    return _spread(own, present.numpy())


def of_maps(signal: Signal) -> Float:
    """(B, 4 C + 1) of maps of any length: mean, deviation, largest value and mean step of each channel, and presence.

    Padding changes nothing; a row without the modality is zeros.
    """
    values, real = _parts(signal)
    present = real.max(1, keepdims=True)
    pairs = np.logical_and(real[:, 1:], real[:, :-1])
    steps = np.abs(np.diff(values, axis=1)) * pairs[:, :, None]
    largest = np.where(present, np.where(real[:, :, None], values, -np.inf).max(1), 0.0)
    return np.concatenate([of_vectors(signal)[:, :-1], largest, steps.sum(1) / _count(pairs), present], 1)


def _parts(signal: Signal) -> tuple[Float, NDArray[np.bool_]]:
    """Values (B, L, C), 0 where nothing is, and which (B, L) are real."""
    values = signal.values.detach().cpu().double().numpy()
    if signal.mask is None:
        return values, np.ones(values.shape[:2], dtype=np.bool_)
    real = np.asarray(signal.mask.cpu().numpy(), np.bool_)
    return np.where(real[:, :, None], values, 0.0), real


def _count(real: NDArray[np.bool_]) -> Float:
    """(B, 1) how many of each row are real, at least 1 to divide by."""
    counts: Float = np.maximum(real.sum(1, keepdims=True), 1).astype(np.float64)
    return counts


def of_vectors(signal: Signal) -> Float:
    """(B, C) mean over the real elements, (B, C) their standard deviation where there are several, and presence."""
    values, real = _parts(signal)
    weight = (real / _count(real))[:, :, None]
    mean = (values * weight).sum(1)
    parts = [mean, real.max(1, keepdims=True).astype(np.float64)]
    if values.shape[1] > 1:
        parts.insert(1, np.sqrt((((values - mean[:, None]) ** 2) * weight).sum(1)))
    return np.concatenate(parts, 1)


def of_pictures(images: Images) -> Float:
    """(B, F) brightness on a grid of 4 by 4: mean and standard deviation over the real pictures, and presence."""
    rows, count = images.values.shape[:2]
    grid = F.adaptive_avg_pool2d(images.values.flatten(0, 1).float().mean(1, keepdim=True), _GRID)
    return of_vectors(Signal(grid.reshape(rows, count, -1), images.mask))


def of_spectra(spectra: Spectra, place: str) -> Float:
    """(B, W + 1) mean of the scans that were made, as the reader treats them, and presence.

    A row without a scan is NaN, to be filled with what is usual in training: a spectrum of zeros would be the farthest
    of all rows.

    Args:
        spectra: of a batch.
        place: its name, for messages.

    Raises:
        ValueError: a scan is not finite.
    """
    values = spectra.values.detach().cpu().double().numpy()
    made = np.ones(values.shape[:2], dtype=np.bool_) if spectra.mask is None else spectra.mask.cpu().numpy()
    present = made.any(1, keepdims=True)
    mean = np.where(made[:, :, None], values, 0.0).sum(1) / _count(made)
    if not np.isfinite(mean).all():
        bad = int((~np.isfinite(mean).all(1)).sum())
        raise ValueError(
            f"{place}: the scans of {bad} rows of a batch are not finite; the reader or a treatment did it"
        )
    return np.concatenate([np.where(present, mean, np.nan), present], 1)


def of_table(table: Table, spec: TableSpec) -> Float:
    """(B, F') of a row of a table: its numbers, NaN where unknown; a column a level; a column a column for unknown."""
    values = table.values.detach().cpu().double().numpy()
    known = np.ones(values.shape, dtype=np.bool_) if table.mask is None else table.mask.cpu().numpy()
    parts: list[NDArray[Any]] = []
    for place, levels in enumerate(spec.levels):
        column, there = values[:, place : place + 1], known[:, place : place + 1]
        level = np.logical_and(column == np.arange(len(levels)), there)
        parts.append(level if levels else np.where(there, column, np.nan))
    return np.concatenate([*parts, ~known], 1, dtype=np.float64)


def column_medians(values: Float) -> Float:
    """(F,) medians of what is known of each column of (N, F), 0 where nothing is."""
    known = np.isfinite(values)
    columns = zip(values.T, known.T, strict=True)
    return np.array([np.median(column[real]) if real.any() else 0.0 for column, real in columns])


def _spread(features: Float, present: NDArray[np.bool_]) -> Float:
    """Rows of those present, zeros elsewhere, and a column that says which."""
    out = np.zeros((len(present), features.shape[1] + 1))
    out[present, :-1], out[present, -1] = features, 1.0
    return out
