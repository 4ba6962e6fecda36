"""Hand features of windows: what a learned representation has to beat.

All functions take (B, L, C) windows of equal length and return (B, F) float64 with F the same for equal (L,
C), so they run batch by batch. Nothing here is fitted: a feature of a window depends on that window alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from counterpoint.types import Signal

Float = NDArray[np.float64]

_SHORTEST = 16
_TINY = 1e-12
_KERNEL_LENGTH = 9
_CELLS = 1_000_000
"""Responses (windows, kernels, samples) held at a time, few enough to stay in cache."""


def full_windows(signal: Signal, place: str) -> Float:
    """The (B, L, C) values of a signal without gaps, as float64.

    Args:
        signal: a modality of a batch.
        place: its name, for the message.

    Raises:
        ValueError: the signal is ragged, too short or not finite.
    """
    if signal.mask is not None and not bool(signal.mask.all()):
        rows = int((~signal.mask.all(1)).sum())
        raise ValueError(
            f"{place}: hand features want windows of equal length, {rows} rows are padded or missing; "
            "evaluate on windows no longer than the shortest recording"
        )
    if signal.values.shape[1] < _SHORTEST:
        raise ValueError(
            f"{place}: windows of {signal.values.shape[1]} samples are too short for hand features; "
            f"use at least {_SHORTEST}"
        )
    values = signal.values.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        rows = int((~np.isfinite(values).all((1, 2))).sum())
        raise ValueError(f"{place}: {rows} windows hold NaN or infinity; let the reader quarantine them")
    return values


def log_band_powers(values: NDArray[np.floating[Any]], *, bands: int = 32) -> Float:
    """Log of the mean power in equal bands from above 0 Hz to Nyquist.

    Args:
        values: (B, L, C) windows.
        bands: how many; no more than the L // 2 bins there are.

    Returns:
        (B, C * bands) natural logarithms of power, Hann window, mean taken off first.
    """
    length = values.shape[1]
    taper = np.hanning(length)[None, :, None]
    centred = values - values.mean(1, keepdims=True)
    power = np.abs(np.fft.rfft(centred * taper, axis=1)[:, 1:]) ** 2 / np.sum(taper**2)
    bands = min(bands, power.shape[1])
    edges = np.linspace(0, power.shape[1], bands + 1).round().astype(np.int64)
    means = np.add.reduceat(power, edges[:-1], axis=1) / np.diff(edges)[None, :, None]
    return _flat(np.log(means + _TINY))


def envelope_spectrum(values: NDArray[np.floating[Any]], *, bins: int = 59) -> Float:
    """Lowest bins of the spectrum of the envelope, where the impacts of a damaged bearing repeat.

    The envelope is the magnitude of the analytic signal. Its amplitudes are relative to the standard
    deviation of the window, so the feature tells how strongly the level is modulated and not how high it is;
    they stay linear, since the few lines that a fault raises stand out of the floor and their logarithms do
    not.

    Args:
        values: (B, L, C) windows.
        bins: how many from the first above 0 Hz, each rate / L Hz wide; no more than L // 2.

    Returns:
        (B, C * bins) amplitudes; 0 for a constant window.
    """
    length = values.shape[1]
    spectrum = np.fft.fft(values - values.mean(1, keepdims=True), axis=1)
    one_sided = np.zeros((1, length, 1))
    one_sided[:, 0] = 1.0
    one_sided[:, 1 : (length + 1) // 2] = 2.0
    if length % 2 == 0:
        one_sided[:, length // 2] = 1.0
    envelope = np.abs(np.fft.ifft(spectrum * one_sided, axis=1))
    amplitudes = np.abs(np.fft.rfft(envelope, axis=1))[:, 1 : bins + 1] * (2.0 / length)
    return _flat(amplitudes / _steady(values.std(1))[:, None])


def moments(values: NDArray[np.floating[Any]]) -> Float:
    """Statistics of the amplitudes: seven a channel.

    Args:
        values: (B, L, C) windows.

    Returns:
        (B, C * 7): mean, standard deviation, root mean square, skewness, kurtosis (3 for a Gaussian), crest
            factor
        (peak / RMS), mean magnitude / RMS. Ratios of a constant window are 0.
    """
    mean, std = values.mean(1), values.std(1)
    # What is left of a mean that was taken off in float32 is rounding, and scaling would make a feature of
    # it.
    mean = np.where(np.abs(mean) < 1e-5 * std, 0.0, mean)
    steady = _steady(std)
    centred = (values - mean[:, None]) / steady[:, None]
    rms = np.sqrt((values**2).mean(1))
    level = _steady(rms)
    magnitude = np.abs(values)
    columns = [
        mean,
        std,
        rms,
        (centred**3).mean(1),
        (centred**4).mean(1),
        magnitude.max(1) / level,
        magnitude.mean(1) / level,
    ]
    return _flat(np.stack(columns, 1))


def summary_statistics(values: NDArray[np.floating[Any]]) -> Float:
    """(B, C * 98) for L >= 118: log band powers, envelope spectrum and moments side by side."""
    return np.concatenate([log_band_powers(values), envelope_spectrum(values), moments(values)], 1)


class _Group(NamedTuple):
    """Kernels of one dilation: (K, C, 9) weights, (K,) biases, and how many of them see no padding."""

    dilation: int
    weights: Tensor
    biases: Tensor
    unpadded: int


@dataclass(frozen=True)
class RandomKernels:
    """Random convolution kernels pooled to the share of positive values and the maximum.

    ROCKET (Dempster, Petitjean, Webb 2020, arXiv:1910.13051) with two simplifications of MiniRocket
    (Dempster, Schmidt, Webb 2021, arXiv:2012.08791): every kernel has length 9, and dilations are powers of
    two, so that kernels of a dilation are one convolution. Nothing is learned. Windows are z-scored a
    channel, as the paper does; the level which that takes away comes back as the logarithm of the standard
    deviation.

    Args:
        kernels: how many; two features each.
        seed: of the kernels, which depend on it and on the number of channels and samples alone.
    """

    kernels: int = 400
    seed: int = 0

    def __call__(self, values: NDArray[np.floating[Any]]) -> Float:
        """Transform (B, L, C) windows into (B, 2 * kernels + C) features."""
        _, length, channels = values.shape
        deviation = values.std(1)
        scored = (values - values.mean(1, keepdims=True)) / _steady(deviation)[:, None]
        windows = torch.from_numpy(np.ascontiguousarray(scored.transpose(0, 2, 1), dtype=np.float32))
        groups = self._groups(length, channels)
        step = max(1, _CELLS // (length * max(len(group.biases) for group in groups)))
        parts = []
        with torch.no_grad():
            for start in range(0, len(windows), step):
                tile = windows[start : start + step]
                parts.append(torch.cat([_pool(tile, group) for group in groups], 1))
        # Rounded, so that windows which come z-scored have one level and not a rounding error for a feature.
        level = np.round(np.log(deviation + _TINY), 5)
        return np.concatenate([torch.cat(parts).double().numpy(), level], 1)

    def _groups(self, length: int, channels: int) -> list[_Group]:
        """Draw the kernels: normal weights with their mean taken off, biases uniform in (-1, 1)."""
        draw = torch.Generator().manual_seed(self.seed)
        reach = max(0, int(np.log2((length - 1) / (_KERNEL_LENGTH - 1))))
        groups = []
        for exponent, share in enumerate(np.array_split(np.arange(self.kernels), reach + 1)):
            if share.size == 0:
                continue
            weights = torch.randn(len(share), channels, _KERNEL_LENGTH, generator=draw)
            weights -= weights.mean(-1, keepdim=True)
            # A kernel sees one channel at least, on average half of them.
            seen = torch.rand(len(share), channels, generator=draw) < 0.5
            seen[torch.arange(len(share)), torch.randint(channels, (len(share),), generator=draw)] = True
            weights *= seen.unsqueeze(-1)
            biases = torch.rand(len(share), generator=draw) * 2 - 1
            groups.append(_Group(2**exponent, weights, biases, len(share) // 2))
        return groups


def _pool(windows: Tensor, group: _Group) -> Tensor:
    """Convolve (B, C, L) with K kernels and pool over time to (B, 2 K).

    The columns are gathered and multiplied, which is several times faster on CPU than a dilated convolution.
    Half of the kernels pool only where they lie inside the window, half also where they reach into zeros
    beyond its ends.
    """
    margin = (_KERNEL_LENGTH - 1) // 2 * group.dilation
    rows, channels, length = windows.shape
    padded = F.pad(windows, (margin, margin))
    strides = (padded.stride(0), padded.stride(1), group.dilation, 1)
    columns = padded.as_strided((rows, channels, _KERNEL_LENGTH, length), strides).flatten(1, 2)
    kernels = group.weights.flatten(1).expand(rows, -1, -1)
    response = torch.baddbmm(group.biases.unsqueeze(1), kernels, columns)
    inner, outer = response[:, : group.unpadded, margin : length - margin], response[:, group.unpadded :]
    # A response of exactly 0 counts half, which lets one pass over the signs tell the share.
    shares = [(part.sign().mean(-1) + 1) / 2 for part in (inner, outer)]
    return torch.cat([*shares, inner.amax(-1), outer.amax(-1)], 1)


def _steady(scale: Float) -> Float:
    """A scale to divide by: infinite where it vanishes, so that the ratio is 0."""
    return np.where(scale > _TINY, scale, np.inf)


def _flat(features: Float) -> Float:
    """(B, F, C) to (B, C * F), a channel after the other."""
    return np.ascontiguousarray(features.transpose(0, 2, 1)).reshape(len(features), -1)
