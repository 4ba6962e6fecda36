"""Spectra as a fold sees them: every pretreatment fitted on the training scans of that fold alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.spectra.axis import Points
from counterpoint.data.spectra.pretreatment import Pretreatment, chain
from counterpoint.data.spectra.scans import Float, Scans
from counterpoint.keys import Int

_HELD = 2
"""Folds kept: the one at work, and the one before it."""


class Treated(NamedTuple):
    """All scans on the scale of one fold.

    Attributes:
        values: (N, W').
        axis: (W',).
    """

    values: Float
    axis: Points


class Treatment:
    """Pretreatments of all scans, by fold.

    Args:
        scans: all of them.
        usable: (N,) which of them are looked at; the others are 0.
        pretreatments: one after the other.
        train: fold -> its training scans.
    """

    def __init__(
        self,
        scans: Scans,
        usable: NDArray[np.bool_],
        pretreatments: Sequence[Pretreatment],
        train: Mapping[str, Int],
    ) -> None:
        self._scans, self._usable, self._pretreatments, self._train = (
            scans,
            np.flatnonzero(usable),
            pretreatments,
            train,
        )
        self._held: dict[str, Treated] = {}

    def of(self, fold: str) -> Treated:
        """The scans of a fold.

        Raises:
            ValueError: if nothing is there to fit on, or a pretreatment does not suit the scans.
        """
        if fold not in self._held:
            while len(self._held) >= _HELD:
                self._held.pop(next(iter(self._held)))
            self._held[fold] = self._treated(fold)
        return self._held[fold]

    def _treated(self, fold: str) -> Treated:
        scans, usable = self._scans, self._usable
        if not self._pretreatments:
            return Treated(scans.values, scans.axis)
        train = self._train[fold]
        if not len(train):
            raise ValueError(f"fold {fold!r}: no training specimen has a scan; leave scans out, or divide otherwise")
        try:
            fitted = chain(self._pretreatments, scans.values[train].astype(np.float64), scans.axis)
            values = fitted.apply(scans.values[usable].astype(np.float64))
        except ValueError as error:
            raise ValueError(f"fold {fold!r}, pretreatments of the {len(usable)} usable scans: {error}") from error
        whole = np.zeros((len(scans.rows), len(fitted.axis)), dtype=np.float32)
        whole[usable] = values
        return Treated(whole, fitted.axis)
