"""The scans of simulated specimens: bands, fluorescence, counting noise, and what goes wrong with a few."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.synthetic.spectra_truth import Float, Planted

AXIS: Float = np.arange(400.0, 1801.0, 4.0)
"""In cm-1."""
LIMIT = 65535
"""Counts at which the detector is full."""
RATIO = (-0.7, 0.7)
"""Logarithm of the ratio of the bands at 853 and 830 where the doublet leans low, and high."""
RATIO_SPREAD = 0.12
PIGMENT_SPREAD = 0.35
"""Of the logarithm of the carotenoid bands."""

Kind = Literal["ring", "protein", "lipid", "pigment", "low", "high"]


class Band(NamedTuple):
    """A band of every specimen.

    Attributes:
        centre: in cm-1.
        width: full, at half of the height, in cm-1.
        height: in those of the band at 1003 cm-1.
        kind: what its height goes with. ``low`` and ``high`` are the doublet, which shares one sum.
    """

    centre: float
    width: float
    height: float
    kind: Kind


BANDS = (
    Band(621, 10, 0.12, "ring"),
    Band(758, 12, 0.25, "protein"),
    Band(830, 14, 0.80, "low"),
    Band(853, 14, 0.80, "high"),
    Band(940, 18, 0.30, "protein"),
    Band(1003, 9, 1.00, "ring"),
    Band(1031, 10, 0.25, "ring"),
    Band(1082, 20, 0.30, "lipid"),
    Band(1157, 14, 0.45, "pigment"),
    Band(1207, 22, 0.25, "protein"),
    Band(1262, 34, 0.45, "protein"),
    Band(1301, 24, 0.40, "lipid"),
    Band(1338, 26, 0.45, "protein"),
    Band(1448, 24, 0.85, "lipid"),
    Band(1518, 15, 0.60, "pigment"),
    Band(1585, 14, 0.25, "ring"),
    Band(1657, 34, 0.90, "protein"),
    Band(1740, 16, 0.15, "lipid"),
)

_FEWEST, _MOST, _SOUND = 3, 8, 2
"""Scans of a specimen; the first two are always sound."""
_SATURATED, _EMPTY, _ABSENT = 0.015, 0.01, 0.03


class Scans(NamedTuple):
    """N scans of all specimens, in their order.

    Attributes:
        specimen: (N,) row of the specimen.
        number: (N,) of the scan, from 1; one that was never written leaves a gap.
        counts: (N, W) from 0 to ``LIMIT``, whole.
        empty: (N,) the row was written without a spectrum.
        saturated: (N,) the detector was full over a part of the axis.
    """

    specimen: NDArray[np.int64]
    number: NDArray[np.int64]
    counts: NDArray[np.int64]
    empty: NDArray[np.bool_]
    saturated: NDArray[np.bool_]


def shape(band: Band, points: Float) -> Float:
    """A band of height 1 at (...,) points: half Gaussian, half Lorentzian."""
    away = 2.0 * (points - band.centre) / band.width
    found: Float = 0.5 * np.exp(-np.log(2.0) * away**2) + 0.5 / (1.0 + away**2)
    return found


def simulate_scans(planted: Planted, rng: np.random.Generator) -> Scans:
    """Scans of specimens: 3 to 8 each, a few of them saturated, empty or never written, at least two sound."""
    clean, glow = _specimens(planted, rng)
    counts = rng.integers(_FEWEST, _MOST + 1, len(clean))
    specimen = np.repeat(np.arange(len(clean)), counts)
    number = np.arange(len(specimen)) - np.repeat(np.cumsum(counts) - counts, counts) + 1
    fate = np.where(number > _SOUND, rng.random(len(specimen)), 1.0)
    saturated, empty = fate < _SATURATED, (fate >= _SATURATED) & (fate < _SATURATED + _EMPTY)
    absent = (fate >= _SATURATED + _EMPTY) & (fate < _SATURATED + _EMPTY + _ABSENT)
    gain = 4000.0 * np.exp(0.25 * rng.normal(size=len(specimen)))
    bleached = 0.94 ** (number - 1) * np.exp(0.1 * rng.normal(size=len(specimen)))
    light = gain[:, None] * (clean[specimen] + bleached[:, None] * glow[specimen])
    # Whoever forgets to shorten the exposure fills the detector at the brightest places.
    light *= np.where(saturated, 2.0 * LIMIT / light.max(1), 1.0)[:, None]
    noisy = rng.poisson(light) + rng.normal(0.0, 5.0, light.shape).round()
    written = np.clip(noisy, 0, LIMIT).astype(np.int64)
    kept = ~absent
    return Scans(specimen[kept], number[kept], written[kept], empty[kept], saturated[kept])


def _specimens(planted: Planted, rng: np.random.Generator) -> tuple[Float, Float]:
    """(n, W) bands and (n, W) fluorescence of specimens, in heights of the band at 1003 cm-1."""
    count = len(planted.leaning)
    ratio = np.where(planted.leaning, RATIO[1], RATIO[0]) + RATIO_SPREAD * rng.normal(size=count)
    lean = 1.0 / (1.0 + np.exp(-ratio))
    heights: dict[Kind, Float] = {
        "ring": np.ones(count),
        "protein": np.exp(0.12 * rng.normal(size=count)),
        "lipid": np.exp(0.20 * rng.normal(size=count)),
        "pigment": np.exp(PIGMENT_SPREAD * planted.pigment),
        "low": 1.0 - lean,
        "high": lean,
    }
    points = AXIS + rng.normal(0.0, 0.7, (count, 1))
    bands = np.sum([band.height * heights[band.kind][:, None] * shape(band, points) for band in BANDS], axis=0)
    level, middle = np.exp(0.7 + 0.35 * rng.normal(size=(2, count, 1)))[0], rng.normal(1000.0, 150.0, (count, 1))
    fall = np.exp(-(AXIS - AXIS[0]) / rng.normal(1500.0, 150.0, (count, 1)))
    glow = level * (0.6 * fall + 0.4 * np.exp(-0.5 * ((AXIS - middle) / 350.0) ** 2))
    return bands, glow
