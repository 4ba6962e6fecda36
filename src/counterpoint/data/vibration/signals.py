"""What is done to a signal between the file and the model: channels, rate, truncation, normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Normalise = Literal["none", "zscore", "minmax", "robust"]
Scope = Literal["recording", "window"]
Channels = Literal["first", "mean", "each", "require"]
Float = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SignalConfig:
    """How every recording is brought to one form.

    Args:
        rate: samples a second all recordings are resampled to; none keeps each at its own.
        max_length: samples kept of each recording, from its start, after resampling; none keeps all.
        channels: what to do with several channels: keep the first, average them, take each as a signal of its
            own, or require that all recordings have the same number and keep them.
        normalise: zscore: (x - mean) / standard deviation; minmax: (x - min) / (max - min); robust:
            (x - median) / interquartile range; each channel by itself. A divisor of 0 gives zeros.
        scope: take these statistics from the whole recording or from the window.
    """

    rate: float | None = None
    max_length: int | None = None
    channels: Channels = "first"
    normalise: Normalise = "zscore"
    scope: Scope = "window"

    def __post_init__(self) -> None:
        """Check every word and number.

        Raises:
            ValueError: naming the field, the value and what would fit.
        """
        words = (("channels", Channels), ("normalise", Normalise), ("scope", Scope))
        for name, choices in words:
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"signal.{name}: {getattr(self, name)!r} is none of {', '.join(get_args(choices))}")
        for name in ("rate", "max_length"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"signal.{name} must be positive, not {value}")


def pick_channels(values: Float, channels: Channels) -> list[Float]:
    """Apply the channel policy to (L, C): one array (L, C'), or C of (L, 1) under ``each``."""
    if channels == "first":
        return [values[:, :1]]
    if channels == "mean":
        return [values.mean(1, keepdims=True, dtype=np.float64).astype(np.float32)]
    if channels == "each":
        return [values[:, [channel]] for channel in range(values.shape[1])]
    return [values]


def resampled_length(length: int, rate: float, target: float) -> int:
    """Samples that ``resample`` makes of ``length``."""
    ratio = _ratio(rate, target)
    return -(-length * ratio.numerator // ratio.denominator)


def _ratio(rate: float, target: float) -> Fraction:
    """The ratio of rates, its terms kept small enough for a filter: off by less than 1e-8 of itself."""
    return (Fraction(target) / Fraction(rate)).limit_denominator(10_000)


def resample(values: Float, rate: float, target: float) -> Float:
    """Bring (L, C) from ``rate`` to ``target`` samples a second by a polyphase low-pass filter.

    Ends are extended by their line, so that an offset makes no step there.
    """
    if rate == target:
        return values
    from scipy.signal import resample_poly

    ratio = _ratio(rate, target)
    resampled = resample_poly(values.astype(np.float64), ratio.numerator, ratio.denominator, axis=0, padtype="line")
    return np.ascontiguousarray(resampled, dtype=np.float32)


def statistics(values: Float, normalise: Normalise) -> NDArray[np.float64]:
    """Offset and divisor (2, C) of (L, C); a divisor of 0 marks a channel to be set to zeros."""
    wide = values.astype(np.float64)
    low, high = wide.min(0), wide.max(0)
    if normalise == "none":
        return np.stack([np.zeros_like(low), np.ones_like(low)])
    if normalise == "minmax":
        return np.stack([low, high - low])
    if normalise == "zscore":
        # The mean of a constant is off by rounding, which would be blown up to full scale.
        return np.stack([wide.mean(0), np.where(high > low, wide.std(0), 0.0)])
    quarter, median, three = np.quantile(wide, [0.25, 0.5, 0.75], axis=0)
    return np.stack([median, three - quarter])


def window_statistics(values: Tensor, normalise: Normalise) -> tuple[Tensor, Tensor]:
    """Offsets and divisors (n, 1, C) of windows (n, W, C), as ``statistics`` of each."""
    # Along the last dimension torch reduces ten to forty times as fast as along the middle one.
    rows = values.transpose(1, 2).contiguous()
    offset, divisor = _row_statistics(rows, normalise)
    return offset.transpose(1, 2), divisor.transpose(1, 2)


def _row_statistics(rows: Tensor, normalise: Normalise) -> tuple[Tensor, Tensor]:
    low, high = rows.amin(2, keepdim=True), rows.amax(2, keepdim=True)
    if normalise == "none":
        return torch.zeros_like(low), torch.ones_like(low)
    if normalise == "minmax":
        return low, high - low
    if normalise == "zscore":
        mean = rows.mean(2, keepdim=True)
        spread = torch.linalg.vector_norm(rows - mean, dim=2, keepdim=True) * rows.shape[2] ** -0.5
        return mean, spread * (high > low)
    ordered = rows.sort(2).values
    quarter, median, three = (_quantile(ordered, share) for share in (0.25, 0.5, 0.75))
    return median, three - quarter


def _quantile(ordered: Tensor, share: float) -> Tensor:
    """Quantile (..., 1) of sorted (..., W), interpolated; torch's own stops at 16 M numbers."""
    place = share * (ordered.shape[-1] - 1)
    low = int(place)
    high = min(low + 1, ordered.shape[-1] - 1)
    return ordered[..., low : low + 1].lerp(ordered[..., high : high + 1], place - low)


def apply(values: Tensor, offset: Tensor, divisor: Tensor) -> tuple[Tensor, Tensor]:
    """Normalise (n, W, C) by (n, 1, C): the result and which rows (n,) have a channel without spread."""
    flat = divisor == 0
    factor = divisor.masked_fill(flat, torch.inf).reciprocal()
    return (values - offset).mul_(factor), flat.any(2).squeeze(1)
