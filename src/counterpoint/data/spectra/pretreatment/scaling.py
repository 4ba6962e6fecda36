"""Scales: of a point over the training scans, or of a scan over its points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal, final

import numpy as np

from counterpoint.data.spectra.pretreatment.base import Fitted, Float, Pretreatment, Scaled
from counterpoint.data.spectra.pretreatment.scatter import standard_scans

How = Literal["max", "area", "vector", "minmax"]


@final
@dataclass(frozen=True, kw_only=True)
class Standardise(Pretreatment):
    """Bring to mean 0 and standard deviation 1.

    Args:
        each: ``point`` over the training scans, where one that never moves is centred alone; ``scan`` over its points,
            which is SNV; ``whole``: every point is centred over the training scans and all are divided by one
            deviation, so that bands keep their sizes beside each other.
    """

    each: Literal["point", "scan", "whole"] = "point"

    def _fit(self, values: Float, axis: Float) -> Fitted:
        from sklearn.preprocessing import StandardScaler

        if self.each == "scan":
            return Fitted(str(self), axis, axis, Scaled(standard_scans))
        if len(values) < 2:
            raise ValueError(f"{self}: one training scan has no spread; wants two at least")
        if self.each == "whole":
            mean = values.mean(0)
            deviation = float(np.sqrt(((values - mean) ** 2).mean())) or 1.0
            return Fitted(str(self), axis, axis, partial(_shifted, mean, deviation))
        return Fitted(str(self), axis, axis, StandardScaler().fit(values).transform)


@final
@dataclass(frozen=True, kw_only=True)
class Normalise(Pretreatment):
    """Divide each scan by its size; a scan of zeros stays so.

    Args:
        how: ``max``, its largest absolute value; ``area`` under its absolute values, along the axis; ``vector``, its
            Euclidean length; ``minmax`` brings its smallest value to 0 and its largest to 1, a flat scan to zeros.
    """

    learns: ClassVar[bool] = False
    how: How = "vector"

    def _fit(self, values: Float, axis: Float) -> Fitted:
        return Fitted(str(self), axis, axis, partial(_normalised, self.how, axis))


def _shifted(mean: Float, deviation: float, values: Float) -> Float:
    return (values - mean) / deviation


def _normalised(how: How, axis: Float, values: Float) -> Float:
    from sklearn.preprocessing import minmax_scale, normalize

    if how == "area":
        area = np.trapezoid(np.abs(values), axis, axis=1)[:, None]
        return values / np.where(area > 0, area, 1.0)
    found: Float
    if how == "minmax":
        found = Scaled(partial(minmax_scale, axis=1))(values)
    else:
        found = normalize(values, norm="l2" if how == "vector" else "max")
    return found
