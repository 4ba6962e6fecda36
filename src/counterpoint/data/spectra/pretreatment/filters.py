"""Filters along the axis: smoothing and derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, final

from counterpoint.data.spectra.pretreatment.base import Fitted, Float, Pretreatment, check_window, library


@final
@dataclass(frozen=True, kw_only=True)
class SavitzkyGolay(Pretreatment):
    """Fit a polynomial in a sliding window and take its value or its derivative (Savitzky and Golay, 1964).

    Derivatives are by points, not by the unit of the axis. At the ends stands the polynomial of the outermost window.

    Args:
        window: points of the window, odd.
        order: of the polynomial, below the window.
        derivative: 0 smooths; 1 takes away offsets, 2 slopes as well.
    """

    learns: ClassVar[bool] = False
    window: int = 11
    order: int = 2
    derivative: int = 0

    def __post_init__(self) -> None:
        if self.window < 3 or self.window % 2 == 0:
            raise ValueError(f"window is {self.window}; it must be odd and at least 3")
        if not 0 <= self.order < self.window:
            raise ValueError(f"order is {self.order}; it must lie from 0 to below the window of {self.window}")
        if not 0 <= self.derivative <= self.order:
            raise ValueError(f"derivative is {self.derivative}; it must lie from 0 to the order, {self.order}")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        check_window(self, self.window, axis)
        return Fitted(str(self), axis, axis, partial(_savitzky_golay, self.window, self.order, self.derivative))


def _savitzky_golay(window: int, order: int, derivative: int, values: Float) -> Float:
    from scipy.signal import savgol_filter

    filtered: Float = savgol_filter(values, window, order, deriv=derivative, axis=1)
    return filtered


@final
@dataclass(frozen=True, kw_only=True)
class Smooth(Pretreatment):
    """Smooth scans.

    Args:
        method: ``whittaker``, a penalty on curvature (Eilers, Analytical Chemistry 75, 2003), or ``median`` of a
            sliding window, which takes spikes of cosmic rays away and leaves edges.
        smoothness: of whittaker; 10 where it is not given.
        window: of median, odd; 5 where it is not given.
    """

    learns: ClassVar[bool] = False
    method: Literal["whittaker", "median"] = "whittaker"
    smoothness: float | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        foreign = "window" if self.method == "whittaker" else "smoothness"
        given = self.window if self.method == "whittaker" else self.smoothness
        if given is not None:
            raise ValueError(f"{foreign} is {given:g}, but the method {self.method} has none; leave {foreign} out")
        if self.smoothness is not None and self.smoothness <= 0:
            raise ValueError(f"smoothness is {self.smoothness:g}; it must be above 0")
        if self.window is not None and (self.window < 3 or self.window % 2 == 0):
            raise ValueError(f"window is {self.window}; it must be odd and at least 3")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        if self.method == "median":
            window = 5 if self.window is None else self.window
            check_window(self, window, axis)
            return Fitted(str(self), axis, axis, partial(_median, window))
        estimator = library("smooth").WhittakerSmooth(lam=10.0 if self.smoothness is None else self.smoothness)
        return Fitted(str(self), axis, axis, estimator.fit(values[:1]).transform)


def _median(window: int, values: Float) -> Float:
    from scipy.ndimage import median_filter

    filtered: Float = median_filter(values, size=(1, window), mode="nearest")
    return filtered
