"""Scatter corrections: offset and scale of a scan, which tell of the optics more than of the specimen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np

from counterpoint.data.spectra.pretreatment.base import Fitted, Float, Pretreatment, Scaled, flat, library


@final
@dataclass(frozen=True, kw_only=True)
class SNV(Pretreatment):
    """Standard normal variate: each scan less its mean, by its standard deviation (Barnes et al., 1989).

    A flat scan becomes zeros.
    """

    learns: ClassVar[bool] = False

    def _fit(self, values: Float, axis: Float) -> Fitted:
        return Fitted(str(self), axis, axis, Scaled(standard_scans))


def standard_scans(values: Float) -> Float:
    """(n, W) scans, none of them flat, each to mean 0 and standard deviation 1 over its points."""
    from sklearn.preprocessing import StandardScaler

    found: Float = StandardScaler().fit_transform(values.T).T
    return found


@final
@dataclass(frozen=True, kw_only=True)
class RNV(Pretreatment):
    """Robust normal variate: SNV by a percentile and the points below it, which bands hardly move (Guo et al., 1999).

    A flat scan becomes zeros.

    Args:
        percentile: above 0, below 100.
    """

    learns: ClassVar[bool] = False
    percentile: float = 25.0

    def __post_init__(self) -> None:
        if not 0 < self.percentile < 100:
            raise ValueError(f"percentile is {self.percentile:g}; it must lie between 0 and 100")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        estimator = library("scatter").RobustNormalVariate(percentile=self.percentile, epsilon=0.0).fit(values[:1])
        return Fitted(str(self), axis, axis, Scaled(_Robust(estimator, str(self))))


@dataclass(frozen=True, eq=False)
class _Robust:
    estimator: Any
    name: str

    def __call__(self, values: Float) -> Float:
        # The library looks for a deviation of exactly 0, which rounding rarely leaves.
        point = np.percentile(values, self.estimator.percentile, axis=1)
        if flat(np.stack([values.min(1), point], 1)).any():
            raise ValueError(
                f"{self.name}: in some scan the points below the percentile are all of one value, so it has no scale; "
                "choose a larger percentile, or SNV"
            )
        found: Float = self.estimator.transform(values)
        return found


@final
@dataclass(frozen=True, kw_only=True)
class MSC(Pretreatment):
    """Multiplicative scatter correction: each scan less the offset and by the slope of its line on a reference.

    The reference is of the training scans (Martens et al., 1983; Geladi et al., 1985). A flat scan becomes zeros. One
    that is unlike the reference has a slope near 0 and becomes huge: take away baselines first.

    Args:
        reference: mean or median of the training scans.
    """

    reference: Literal["mean", "median"] = "mean"

    def _fit(self, values: Float, axis: Float) -> Fitted:
        # The library's own MSC makes a matrix of W x W; its EMSC without a slope is the same without it.
        return _extended(self, self.reference, 0, values, axis)


@final
@dataclass(frozen=True, kw_only=True)
class EMSC(Pretreatment):
    """Extended MSC: a polynomial along the axis is taken away as well (Martens and Stark, 1991).

    The reference is of the training scans. A flat scan becomes zeros.

    Args:
        order: of the polynomial.
        reference: mean or median of the training scans.
    """

    order: int = 2
    reference: Literal["mean", "median"] = "mean"

    def __post_init__(self) -> None:
        if not 0 <= self.order <= 8:
            raise ValueError(f"order is {self.order}; give 0 to 8")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        if self.order + 2 > len(axis):
            raise ValueError(f"{self}: {self.order + 2} unknowns a scan are too many for {len(axis)} points")
        return _extended(self, self.reference, self.order, values, axis)


def _extended(pretreatment: Pretreatment, reference: str, order: int, values: Float, axis: Float) -> Fitted:
    estimator = library("scatter").ExtendedMultiplicativeScatterCorrection(method=reference, order=order).fit(values)
    if flat(estimator.reference_[None])[0]:
        raise ValueError(f"{pretreatment}: the {reference} of the training scans is flat, so no scan has a slope on it")
    return Fitted(str(pretreatment), axis, axis, Scaled(estimator.transform))
