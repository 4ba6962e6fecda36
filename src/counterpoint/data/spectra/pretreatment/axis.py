"""Which part of the axis is kept, and at which points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, final

import numpy as np

from counterpoint.data.spectra.pretreatment.base import Fitted, Float, Pretreatment

Method = Literal["linear", "cubic", "pchip"]


@final
@dataclass(frozen=True, kw_only=True)
class Crop(Pretreatment):
    """Keep a part of the axis, both ends included.

    Args:
        low: where it begins, in the unit of the axis.
        high: where it ends.
    """

    learns: ClassVar[bool] = False
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low:g} and high {self.high:g}; low must be the smaller")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        kept = slice(int(np.searchsorted(axis, self.low)), int(np.searchsorted(axis, self.high, "right")))
        if len(axis[kept]) < 2:
            raise ValueError(
                f"{self}: leaves {len(axis[kept])} of the {len(axis)} points from {axis[0]:g} to {axis[-1]:g}; keep two"
            )
        return Fitted(str(self), axis, axis[kept].copy(), partial(_cut, kept))


def _cut(kept: slice, values: Float) -> Float:
    return values[:, kept].copy()


@final
@dataclass(frozen=True, kw_only=True)
class Interpolate(Pretreatment):
    """Bring scans to an axis of even steps, within the measured one.

    Args:
        start: first point, in the unit of the axis.
        stop: last point, where a whole number of steps reaches it.
        step: between points.
        method: ``cubic`` spline, ``linear``, or ``pchip``, which is smooth and does not overshoot.
    """

    learns: ClassVar[bool] = False
    start: float
    stop: float
    step: float
    method: Method = "cubic"

    def __post_init__(self) -> None:
        if self.step <= 0 or not self.start + self.step <= self.stop:
            raise ValueError(f"{self.start:g} to {self.stop:g} in steps of {self.step:g}: wants two points at least")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        # A hair of rounding in the number of steps must not lose the last point.
        count = int(np.floor((self.stop - self.start) / self.step * (1 + 1e-12) + 1e-9)) + 1
        points: Float = self.start + self.step * np.arange(count, dtype=np.float64)
        hair = 1e-9 * (axis[-1] - axis[0])
        if points[0] < axis[0] - hair or points[-1] > axis[-1] + hair:
            raise ValueError(
                f"{self}: points from {points[0]:g} to {points[-1]:g} lie outside the measured axis, which goes from "
                f"{axis[0]:g} to {axis[-1]:g}; nothing is known there"
            )
        return Fitted(
            str(self), axis, points, partial(_interpolated, self.method, axis, np.clip(points, *axis[[0, -1]]))
        )


def _interpolated(method: Method, axis: Float, points: Float, values: Float) -> Float:
    from scipy.interpolate import CubicSpline, PchipInterpolator, make_interp_spline

    makers = {"linear": partial(make_interp_spline, k=1), "cubic": CubicSpline, "pchip": PchipInterpolator}
    read: Float = makers[method](axis, values, axis=1)(points)
    return read
