"""Augmentations of a batch of windows. Each row's randomness is decided by the row's key alone.

So a row comes out the same whatever its batch-mates, its place in the batch, the worker or the rank. The name
of the class is part of every draw: adding a transform to a list leaves what the others draw as it was, and
two transforms of one class in one list draw the same.

Every element of a window counts as real: transforms belong before padding.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf, log, pi
from typing import final

import torch
from torch import Tensor

from counterpoint.keys import Int, normal, uniform


class Transform(ABC):
    """Base of all transforms: a frozen dataclass whose fields are its settings."""

    @abstractmethod
    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        """Transform (B, L, C) float values, row i by ``keys[i]``; shape and dtype stay, the input is kept."""


@final
@dataclass(frozen=True)
class Jitter(Transform):
    """Add white noise.

    Args:
        std: its standard deviation, in units of the signal.
    """

    std: float = 0.05

    def __post_init__(self) -> None:
        _require(self, "std", self.std, 0.0)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        return values + _noise(self, values, keys).mul_(self.std)


@final
@dataclass(frozen=True)
class AdditiveNoise(Transform):
    """Add white noise at a signal-to-noise ratio drawn a row, each channel measured by its own variance.

    Args:
        low: lowest ratio in dB.
        high: highest ratio in dB.
    """

    low: float = 10.0
    high: float = 30.0

    def __post_init__(self) -> None:
        _require_order(self, self.low, self.high)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        ratio = _uniform(self, values, keys, 1, self.low, self.high)
        variance = (values - values.mean(1, keepdim=True)).square_().mean(1, keepdim=True)
        scale = variance.sqrt() * _gain(-ratio).unsqueeze(2)
        return values + _noise(self, values, keys).mul_(scale)


@final
@dataclass(frozen=True)
class Scale(Transform):
    """Multiply a row, all channels alike.

    Args:
        low: smallest factor, above 0.
        high: largest factor.
    """

    low: float = 0.8
    high: float = 1.25

    def __post_init__(self) -> None:
        _require_order(self, self.low, self.high)
        _require(self, "low", self.low, 1e-6)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        return values * _uniform(self, values, keys, 1, self.low, self.high).unsqueeze(2)


@final
@dataclass(frozen=True)
class Flip(Transform):
    """Turn the sign of a row, as a sensor mounted the other way round does.

    Args:
        probability: share of the rows that are turned.
    """

    probability: float = 0.5

    def __post_init__(self) -> None:
        _require(self, "probability", self.probability, 0.0, 1.0)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        turned = _uniform(self, values, keys, 1) < self.probability
        return values * torch.where(turned, -1.0, 1.0).to(values).unsqueeze(2)


@final
@dataclass(frozen=True)
class ChannelDrop(Transform):
    """Set channels to zero, never all of a row.

    Args:
        probability: chance of each channel.
    """

    probability: float = 0.2

    def __post_init__(self) -> None:
        _require(self, "probability", self.probability, 0.0, 1.0)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        draws = _uniform(self, values, keys, values.shape[2])
        kept = (draws >= self.probability) | (draws == draws.max(1, keepdim=True).values)
        return values * kept.to(values.dtype).unsqueeze(1)


@final
@dataclass(frozen=True)
class TimeMask(Transform):
    """Set spans of time to zero in all channels; spans may overlap.

    Args:
        share: share of the window that the spans cover together where they do not overlap.
        spans: how many.
    """

    share: float = 0.15
    spans: int = 2

    def __post_init__(self) -> None:
        _require(self, "share", self.share, 0.0, 1.0)
        _require(self, "spans", self.spans, 1)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        kept = _outside(_uniform(self, values, keys, self.spans), values.shape[1], self.share)
        return values * kept.unsqueeze(2)


@final
@dataclass(frozen=True)
class FrequencyMask(Transform):
    """Remove bands of frequency from all channels; bands may overlap.

    Args:
        share: share of the spectrum that the bands cover together where they do not overlap.
        spans: how many.
    """

    share: float = 0.1
    spans: int = 2

    def __post_init__(self) -> None:
        _require(self, "share", self.share, 0.0, 1.0)
        _require(self, "spans", self.spans, 1)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        draws = _uniform(self, values, keys, self.spans)
        return _filtered(values, _outside(draws, values.shape[1] // 2 + 1, self.share).unsqueeze(1))


@final
@dataclass(frozen=True)
class Equaliser(Transform):
    """Weigh the spectrum by a smooth random curve, as another path from source to sensor does.

    Each channel draws its own curve: gains in dB at equally spaced frequencies, joined by half cosines.

    Args:
        gain_db: the largest gain or loss in dB.
        knots: frequencies at which a gain is drawn, the lowest 0 and the highest half the sampling rate.
    """

    gain_db: float = 6.0
    knots: int = 6

    def __post_init__(self) -> None:
        _require(self, "gain_db", self.gain_db, 0.0)
        _require(self, "knots", self.knots, 2)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        rows, length, channels = values.shape
        gains = _uniform(self, values, keys, channels * self.knots, -self.gain_db, self.gain_db)
        place = torch.linspace(0, self.knots - 1, length // 2 + 1, dtype=values.dtype, device=values.device)
        distance = (place - torch.arange(self.knots).to(values).unsqueeze(1)).abs().clamp_max(1.0)
        curves = gains.view(rows, channels, self.knots) @ (0.5 + 0.5 * torch.cos(pi * distance))
        return _filtered(values, _gain(curves))


@final
@dataclass(frozen=True)
class Resample(Transform):
    """Play a row faster or slower by linear interpolation, keeping the window's length.

    A row played faster runs out of samples and goes on mirrored.

    Args:
        low: slowest speed, above 0; under 1 stretches the signal.
        high: fastest speed, at most 2.
    """

    low: float = 0.95
    high: float = 1.05

    def __post_init__(self) -> None:
        _require_order(self, self.low, self.high)
        _require(self, "low", self.low, 1e-6)
        _require(self, "high", self.high, 1e-6, 2.0)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        last = values.shape[1] - 1
        speed = _uniform(self, values, keys, 1, self.low, self.high).double()
        place = last - (last - torch.arange(last + 1, device=values.device) * speed).abs()
        left = place.long()
        weight = (place - left).to(values.dtype).unsqueeze(2)
        return torch.lerp(_picked(values, left), _picked(values, (left + 1).clamp_max(last)), weight)


@final
@dataclass(frozen=True)
class Shift(Transform):
    """Move a row in time, what leaves at the end coming back at the start.

    Args:
        share: largest move as a share of the window.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        _require(self, "share", self.share, 0.0, 1.0)

    def __call__(self, values: Tensor, keys: Int) -> Tensor:
        length = values.shape[1]
        offset = (_uniform(self, values, keys, 1).double() * (self.share * length)).long()
        return _picked(values, (torch.arange(length, device=values.device) - offset) % length)


def _uniform(
    transform: Transform, values: Tensor, keys: Int, count: int, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """(B, count) between low and high, of the dtype and on the device of the values."""
    draws = torch.from_numpy(uniform(keys, count, type(transform).__name__)).to(values)
    return low + (high - low) * draws


def _noise(transform: Transform, values: Tensor, keys: Int) -> Tensor:
    """White noise of unit variance in the shape of the values."""
    return normal(keys, values.shape[1:].numel(), type(transform).__name__).view(values.shape).to(values)


def _gain(decibels: Tensor) -> Tensor:
    return torch.exp(decibels * (log(10.0) / 20.0))


def _outside(draws: Tensor, length: int, share: float) -> Tensor:
    """(B, length): 1, and 0 in spans that lie anywhere, one a draw, together ``share`` of the length."""
    span = round(share * length / draws.shape[1])
    start = (draws.double() * (length - span + 1)).int().unsqueeze(2)
    place = torch.arange(length, device=draws.device, dtype=torch.int32)
    return ((place < start) | (place >= start + span)).all(1).to(draws.dtype)


def _picked(values: Tensor, index: Tensor) -> Tensor:
    """(B, L, C) values at the (B, L) places in time."""
    starts = torch.arange(len(values), device=index.device).unsqueeze(1) * values.shape[1]
    return values.flatten(0, 1).index_select(0, (index + starts).view(-1)).view(values.shape)


def _filtered(values: Tensor, gains: Tensor) -> Tensor:
    """(B, L, C) values with their spectrum weighed by (B, C or 1, L // 2 + 1) gains."""
    spectrum = torch.fft.rfft(values.transpose(1, 2), dim=2)
    filtered: Tensor = torch.fft.irfft(spectrum * gains, n=values.shape[1], dim=2)
    return filtered.transpose(1, 2).contiguous()


def _require(transform: Transform, name: str, value: float, low: float, high: float = inf) -> None:
    if not low <= value <= high or value == inf:
        fits = f"from {low} to {high}" if high < inf else f"at least {low}, finite"
        raise ValueError(f"{type(transform).__name__}: {name} is {value}; choose {fits}")


def _require_order(transform: Transform, low: float, high: float) -> None:
    if not -inf < low <= high < inf:
        raise ValueError(f"{type(transform).__name__}: low {low} to high {high} is empty; choose low <= high")
