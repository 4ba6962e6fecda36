"""The role of a pretreatment: what is done to scans before anything is learned of them, fitted on training scans."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A pretreatment that has seen the training scans.

    Attributes:
        name: of the pretreatment with its settings, for people.
        before: (W,) axis of the scans it takes.
        axis: (W',) axis of the scans it gives.
        treat: what it does to (n, W) finite scans, n at least 1. It can be pickled, and leaves its argument alone.
    """

    name: str
    before: Float
    axis: Float
    treat: Callable[[Float], Float]

    def apply(self, values: Float) -> Float:
        """Treat (n, W) scans; the result is (n, W'), each row of its own row alone.

        Raises:
            ValueError: the scans have another number of points, or one is not all numbers, before or after.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.before):
            raise ValueError(
                f"{self.name}: was fitted on scans of {len(self.before)} points, but is given {values.shape[-1]}; "
                "bring all scans to one axis first"
            )
        if not len(values):
            return np.empty((0, len(self.axis)))
        _finite(values, self.before, f"before {self.name}")
        treated = np.asarray(self.treat(values), dtype=np.float64)
        _finite(treated, self.axis, f"after {self.name}")
        return treated


@dataclass(frozen=True, eq=False)
class FittedChain:
    """Pretreatments in their order, each fitted on what those before it make of the training scans.

    Attributes:
        steps: the pretreatments.
        before: (W,) axis of the scans it takes.
        axis: (W',) axis of the scans it gives.
    """

    steps: tuple[Fitted, ...]
    before: Float
    axis: Float

    def apply(self, values: Float) -> Float:
        """Treat (n, W) scans; the result is (n, W').

        Raises:
            ValueError: as ``Fitted.apply``.
        """
        for step in self.steps:
            values = step.apply(values)
        return values


class Pretreatment(ABC):
    """Base of all pretreatments: a frozen dataclass whose fields are its settings.

    Attributes:
        learns: whether what it does to a scan depends on the training scans; the folds can share what does not.
    """

    learns: ClassVar[bool] = True

    def fit(self, values: Float, axis: Float) -> Fitted:
        """Learn what there is to learn of the training scans.

        Args:
            values: (n, W) training scans, n at least 1, and no others.
            axis: (W,) ascending.

        Raises:
            ValueError: the axis does not ascend, a scan is not all numbers, or the settings do not suit the axis.
        """
        values, axis = np.asarray(values, dtype=np.float64), np.asarray(axis, dtype=np.float64)
        check_axis(axis)
        if values.ndim != 2 or values.shape[1] != len(axis):
            raise ValueError(f"{self}: scans of shape {values.shape} do not fit an axis of {len(axis)} points")
        if not len(values):
            raise ValueError(f"{self}: there is no training scan to fit it on")
        _finite(values, axis, f"before {self}")
        return self._fit(values, axis)

    @abstractmethod
    def _fit(self, values: Float, axis: Float) -> Fitted:
        """As ``fit``, of what has been checked."""


def chain(pretreatments: Sequence[Pretreatment], values: Float, axis: Float) -> FittedChain:
    """Fit pretreatments in their order, each on what those before it make of the training scans.

    Args:
        pretreatments: none is possible; the scans then stay as they are.
        values: (n, W) training scans, n at least 1, and no others.
        axis: (W,) ascending.

    Raises:
        ValueError: as ``Pretreatment.fit``.
    """
    axis = np.asarray(axis, dtype=np.float64)
    check_axis(axis)
    steps, before = [], axis
    for pretreatment in pretreatments:
        step = pretreatment.fit(values, axis)
        values, axis = step.apply(values), step.axis
        steps.append(step)
    return FittedChain(tuple(steps), before, axis)


def check_axis(axis: Float) -> None:
    """Refuse an axis that does not ascend.

    Raises:
        ValueError: naming the first two points out of order.
    """
    if axis.ndim != 1 or len(axis) < 2 or not np.isfinite(axis).all():
        raise ValueError(f"an axis wants two points at least, all of them numbers; this one has shape {axis.shape}")
    wrong = np.flatnonzero(np.diff(axis) <= 0)
    if len(wrong):
        place = int(wrong[0])
        raise ValueError(
            f"the axis does not ascend: point {place} at {axis[place]:g} is followed by {axis[place + 1]:g}; "
            "sort the columns of the spectra, and leave out those that are there twice"
        )


def check_window(pretreatment: Pretreatment, window: int, axis: Float) -> None:
    """Refuse a window that is longer than the axis.

    Raises:
        ValueError: naming both.
    """
    if window > len(axis):
        raise ValueError(
            f"{pretreatment}: a window of {window} points is longer than the axis, which has {len(axis)} "
            f"from {axis[0]:g} to {axis[-1]:g}; make it shorter"
        )


def flat(values: Float) -> NDArray[np.bool_]:
    """(n,) which of (n, W) scans are one value throughout, up to rounding: they have no scale."""
    spread = values.max(1) - values.min(1)
    unlike: NDArray[np.bool_] = spread <= values.shape[1] * np.finfo(np.float64).eps * np.abs(values).max(1)
    return unlike


@dataclass(frozen=True, eq=False)
class Scaled:
    """What a function makes of the scans that have a scale; a flat one becomes zeros.

    Attributes:
        function: of (n, W) scans, none of them flat.
    """

    function: Callable[[Float], Float]

    def __call__(self, values: Float) -> Float:
        """(n, W) of (n, W)."""
        told = ~flat(values)
        treated = np.zeros_like(values)
        if told.any():
            treated[told] = self.function(values[told])
        return treated


def library(module: str) -> ModuleType:
    """A module of chemotools, the library of the field.

    Raises:
        ValueError: it is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(f"chemotools.{module}")
    except ImportError as error:
        raise ValueError(
            f"{error}: this pretreatment wants the extra `spectra`: pip install 'counterpoint[spectra]'"
        ) from error


def _finite(values: Float, axis: Float, when: str) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, place = wrong[0]
        raise ValueError(
            f"scan {row} of {len(values)} has {values[row, place]} at {axis[place]:g} {when}; leave such scans out"
        )
