"""Baselines: what lies under the bands, estimated scan by scan and taken away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np

from counterpoint.data.spectra.pretreatment.base import Fitted, Float, Pretreatment, library

Method = Literal["asls", "airpls", "arpls", "polynomial", "linear", "rubberband"]

_DEFAULTS: dict[Method, dict[str, float]] = {
    "asls": {"smoothness": 1e5, "asymmetry": 0.01, "iterations": 20},
    "airpls": {"smoothness": 1e5, "iterations": 50},
    "arpls": {"smoothness": 1e5, "iterations": 50},
    "polynomial": {"order": 2},
    "linear": {},
    "rubberband": {},
}
"""Method -> the settings it has."""


@final
@dataclass(frozen=True, kw_only=True)
class Baseline(Pretreatment):
    """Take away what lies under the bands: fluorescence, scatter, drift.

    ``asls`` (Eilers and Boelens, 2005), ``airpls`` (Zhang et al., Analyst 135, 2010) and ``arpls`` (Baek et al.,
    Analyst 140, 2015) draw a smooth line that is pulled less by points above it than by points below. ``polynomial``
    takes away the polynomial that fits the whole scan, which is called detrending; ``linear`` the straight line between
    its ends; ``rubberband`` the lower convex hull. All go by points, not by the distances between them, so an uneven
    axis wants ``Interpolate`` first.

    Args:
        method: how the line is drawn.
        smoothness: of asls, airpls and arpls; 1e5 where it is not given. It grows with the fourth power of the number
            of points over which the line may bend.
        asymmetry: of asls, the weight of points above the line, between 0 and 0.5; 0.01 where it is not given.
        order: of polynomial; 2 where it is not given.
        iterations: of asls, airpls and arpls, at most; 20, 50 and 50 where it is not given.
    """

    learns: ClassVar[bool] = False
    method: Method = "asls"
    smoothness: float | None = None
    asymmetry: float | None = None
    order: int | None = None
    iterations: int | None = None

    def __post_init__(self) -> None:
        known = _DEFAULTS[self.method]
        given = {
            "smoothness": self.smoothness,
            "asymmetry": self.asymmetry,
            "order": self.order,
            "iterations": self.iterations,
        }
        for name, value in given.items():
            if value is not None and name not in known:
                raise ValueError(
                    f"{name} is {value:g}, but the method {self.method} has "
                    f"{'only ' + ', '.join(known) if known else 'no settings'}; leave {name} out"
                )
        self._check()

    def _check(self) -> None:
        if self.smoothness is not None and self.smoothness <= 0:
            raise ValueError(f"smoothness is {self.smoothness:g}; it must be above 0")
        if self.asymmetry is not None and not 0 < self.asymmetry < 0.5:
            raise ValueError(f"asymmetry is {self.asymmetry:g}; it must lie between 0 and 0.5")
        if self.order is not None and not 0 <= self.order <= 8:
            raise ValueError(f"order is {self.order}; give 0 to 8")
        if self.iterations is not None and self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}; wants one at least")

    def _fit(self, values: Float, axis: Float) -> Fitted:
        if self.order is not None and self.order >= len(axis):
            raise ValueError(f"{self}: a polynomial of order {self.order} goes through all {len(axis)} points")
        estimator = self._estimator().fit(values[:1])
        if "iterations" in _DEFAULTS[self.method]:
            # The library begins at weights of the first scan it was fitted on, to save steps; a scan's line would then
            # depend on another scan.
            estimator.w_init_ = np.ones(len(axis))
        return Fitted(str(self), axis, axis, estimator.transform)

    def _estimator(self) -> Any:
        baseline, known = library("baseline"), _DEFAULTS[self.method]
        if self.method == "polynomial":
            return baseline.PolynomialCorrection(order=int(known["order"] if self.order is None else self.order))
        if self.method == "linear":
            return baseline.LinearCorrection()
        if self.method == "rubberband":
            return baseline.RubberbandCorrection()
        steps = int(known["iterations"] if self.iterations is None else self.iterations)
        limits = {"nr_iterations": steps, "max_iter_after_warmstart": steps}
        smoothness = known["smoothness"] if self.smoothness is None else self.smoothness
        if self.method == "airpls":
            return baseline.AirPls(lam=smoothness, **limits)
        if self.method == "arpls":
            return baseline.ArPls(lam=smoothness, **limits)
        asymmetry = known["asymmetry"] if self.asymmetry is None else self.asymmetry
        return baseline.AsLs(lam=smoothness, penalty=asymmetry, **limits)
