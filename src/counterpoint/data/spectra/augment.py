"""Augmentations of the scans of one specimen: what another session of the same instrument might have measured.

All randomness is drawn from the generator that is given, so a sample is a function of its key alone. The axis, its
resolution and hidden spans are of the instrument and alike for all scans of the specimen; noise, gain, baseline and
mixing are of each scan. (The augmenters of chemotools take no ``numpy.random.Generator`` and treat each row apart.)

Sizes are relative to the standard deviation of a scan over its points, so that one setting suits counts as well as what
pretreatments make of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class SpectralAugmentation(ABC):
    """Base of all augmentations of scans: a frozen dataclass whose fields are its settings."""

    @abstractmethod
    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        """Change (S, W) finite scans of one specimen over (W,) ascending axis; the shape stays, the input is kept."""


def augmented(
    augmentations: Sequence[SpectralAugmentation], values: Float, axis: Float, generator: np.random.Generator
) -> Float:
    """Change scans by augmentations in their order.

    Args:
        augmentations: none is possible; the scans then stay as they are.
        values: (S, W) the scans of one specimen that were made; 0 of them is possible.
        axis: (W,) ascending.
        generator: where all randomness comes from.
    """
    for augmentation in augmentations if len(values) else ():
        values = augmentation(values, axis, generator)
    return values


@final
@dataclass(frozen=True, kw_only=True)
class SpectralNoise(SpectralAugmentation):
    """Add white noise.

    Args:
        std: its standard deviation, in those of the scan.
    """

    std: float = 0.02

    def __post_init__(self) -> None:
        _require("std", self.std)

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        return values + self.std * _spread(values) * generator.standard_normal(values.shape)


@final
@dataclass(frozen=True, kw_only=True)
class BaselineDrift(SpectralAugmentation):
    """Add a smooth baseline a scan: Legendre polynomials along the axis, each as large as a normal number.

    Args:
        offset: standard deviation of the level, in those of the scan.
        slope: of the line, at the ends of the axis.
        curvature: of the parabola, at the ends of the axis.
    """

    offset: float = 0.1
    slope: float = 0.1
    curvature: float = 0.1

    def __post_init__(self) -> None:
        _require("offset", self.offset)
        _require("slope", self.slope)
        _require("curvature", self.curvature)

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        along = 2.0 * (axis - axis[0]) / (axis[-1] - axis[0]) - 1.0
        basis = np.stack([np.ones_like(along), along, 1.5 * along**2 - 0.5])
        weights = generator.standard_normal((len(values), 3)) * [self.offset, self.slope, self.curvature]
        drifted: Float = values + _spread(values) * (weights @ basis)
        return drifted


@final
@dataclass(frozen=True, kw_only=True)
class Gain(SpectralAugmentation):
    """Multiply each scan; the logarithm of the factor is uniform.

    Args:
        low: smallest factor, above 0.
        high: largest factor.
    """

    low: float = 0.8
    high: float = 1.25

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; wants 0 < low <= high")

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        return values * np.exp(generator.uniform(np.log(self.low), np.log(self.high), (len(values), 1)))


@final
@dataclass(frozen=True, kw_only=True)
class AxisWarp(SpectralAugmentation):
    """Shift and stretch the axis by less than a point or by several, as calibration drifts between sessions.

    Scans are read by a cubic spline; beyond their ends they hold the last value.

    Args:
        shift: largest, to either side, in the unit of the axis.
        stretch: largest share by which the axis grows or shrinks about its middle, below 0.5.
    """

    shift: float = 2.0
    stretch: float = 0.001

    def __post_init__(self) -> None:
        _require("shift", self.shift)
        _require("stretch", self.stretch, 0.5)

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        from scipy.interpolate import CubicSpline

        shift, stretch = generator.uniform(-1.0, 1.0, 2) * [self.shift, self.stretch]
        middle = (axis[0] + axis[-1]) / 2.0
        read = middle + (axis - middle - shift) / (1.0 + stretch)
        warped: Float = CubicSpline(axis, values, axis=1)(np.clip(read, axis[0], axis[-1]))
        return warped


@final
@dataclass(frozen=True, kw_only=True)
class Broadening(SpectralAugmentation):
    """Broaden bands by a Gaussian, as a wider slit does.

    Args:
        most: largest standard deviation, in the unit of the axis; the axis is taken as even.
    """

    most: float = 3.0

    def __post_init__(self) -> None:
        _require("most", self.most)

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        from scipy.ndimage import gaussian_filter1d

        points = generator.uniform(0.0, self.most) * (len(axis) - 1) / (axis[-1] - axis[0])
        if points < 1e-3:  # of no width scipy makes no numbers
            return values.copy()
        broadened: Float = gaussian_filter1d(values, points, axis=1, mode="nearest")
        return broadened


@final
@dataclass(frozen=True, kw_only=True)
class SpanMask(SpectralAugmentation):
    """Hide spans of the axis: a straight line bridges each, so that no other band can be leant on alone.

    Args:
        share: share of the points that the spans hide together where they do not overlap, below 1.
        spans: how many.
    """

    share: float = 0.1
    spans: int = 2

    def __post_init__(self) -> None:
        _require("share", self.share, 1.0)
        if self.spans < 1:
            raise ValueError(f"spans is {self.spans}; wants one at least")

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        count = len(axis)
        # The ends stay, for a bridge wants two of them.
        length = min(round(self.share * count / self.spans), count - 2)
        starts = 1 + np.floor(generator.random(self.spans) * (count - 1 - length)).astype(np.int64)
        kept = np.ones(count, dtype=np.bool_)
        for start in starts:
            kept[start : start + length] = False
        masked = values.copy()
        for row, scan in enumerate(values):
            masked[row, ~kept] = np.interp(axis[~kept], axis[kept], scan[kept])
        return masked


@final
@dataclass(frozen=True, kw_only=True)
class ScanMix(SpectralAugmentation):
    """Mix each scan with another of the same specimen; a specimen of one scan stays as it is.

    Args:
        most: largest share of the other scan, up to 1.
    """

    most: float = 0.5

    def __post_init__(self) -> None:
        _require("most", self.most, 1.0)

    def __call__(self, values: Float, axis: Float, generator: np.random.Generator) -> Float:
        share = generator.uniform(0.0, self.most, (len(values), 1))
        return (1.0 - share) * values + share * values[generator.permutation(len(values))]


def _spread(values: Float) -> Float:
    """(S, 1) standard deviation of each scan over its points."""
    spread: Float = values.std(1, keepdims=True)
    return spread


def _require(name: str, value: float, most: float = np.inf) -> None:
    if not 0.0 <= value <= most or not np.isfinite(value):
        raise ValueError(f"{name} is {value:g}; it must lie from 0" + (f" to {most:g}" if most < np.inf else " up"))
