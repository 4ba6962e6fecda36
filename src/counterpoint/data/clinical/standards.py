"""Values of variables to one scale: statistics of the training stays alone, and what they make of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from counterpoint.data.clinical.events import EventConfig, EventStore, Normalise, offsets
from counterpoint.data.clinical.stays import Float
from counterpoint.keys import Int

_POINTS = 1001
_SPREAD = 1.3489795003921634
"""Between the quartiles of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Standardised:
    """The values of a store on the scale of one fold.

    Attributes:
        values: (E,) float32.
        clipped: (E,) indices of those that were set to the limit.
        scaled: (V,) which variables have a scale; the values of all others are 0.
        absent: variables that no training stay has.
        flat: variables that have one value in all training stays.
    """

    values: NDArray[np.float32]
    clipped: Int
    scaled: NDArray[np.bool_]
    absent: tuple[str, ...]
    flat: tuple[str, ...]


def standardise(
    store: EventStore,
    variables: Sequence[str],
    train: Int,
    config: EventConfig,
    given: Mapping[str, tuple[float, float]],
) -> Standardised:
    """Standardise all values by the stays ``train`` (m,).

    Args:
        store: all events.
        variables: by code.
        train: the stays that the statistics are of.
        config: kind of normalisation, limit.
        given: variable -> mean and standard deviation, for the kind ``given``.

    Raises:
        ValueError: the kind is ``given`` and a variable is not.
    """
    known = np.zeros(len(store.rows) - 1, dtype=np.bool_)
    known[train] = True
    order = np.argsort(store.codes.astype(np.min_scalar_type(len(variables))), kind="stable")
    ends = offsets(np.bincount(store.codes, minlength=len(variables)))
    training, values = known[store.owners][order], store.values[order].astype(np.float64)
    scaled = np.zeros(len(variables), dtype=np.bool_)
    absent, flat = [], []
    for code, name in enumerate(variables):
        part = slice(ends[code], ends[code + 1])
        sample = values[part][training[part]]
        found = None
        if not config.is_level(name):
            kind = config.normalise
            found = _given(values[part], name, given) if kind == "given" else _learned(values[part], sample, kind)
        scaled[code] = found is not None
        values[part] = 0.0 if found is None else found
        if not len(sample):
            absent.append(name)
        elif found is None and not config.is_level(name):
            flat.append(name)
    back = np.empty_like(values)
    back[order] = values
    clip = np.inf if config.clip is None else config.clip
    beyond = np.flatnonzero(np.abs(back) > clip)
    return Standardised(np.clip(back, -clip, clip).astype(np.float32), beyond, scaled, tuple(absent), tuple(flat))


def _given(values: Float, name: str, given: Mapping[str, tuple[float, float]]) -> Float | None:
    if name not in given:
        raise ValueError(
            f"events.normalise is given, but there is no mean and standard deviation of {name!r}; add its row to "
            "stats.csv, or choose zscore, robust or quantile"
        )
    mean, std = given[name]
    return (values - mean) / std if std > 0 else None


def _learned(values: Float, sample: Float, kind: Normalise) -> Float | None:
    """Values of one variable by those of its training stays; None where these tell no scale."""
    if not len(sample) or sample.min() == sample.max():
        return None
    if kind == "quantile":
        return _normal(values, sample)
    middle, spread = sample.mean(), sample.std()
    if kind == "robust":
        quarter, middle, three = np.quantile(sample, [0.25, 0.5, 0.75])
        # Where more than half of the values are one value, its neighbours are far away.
        spread = (three - quarter) / _SPREAD if three > quarter else spread
    found: Float = (values - middle) / spread
    return found


def _normal(values: Float, sample: Float) -> Float:
    """The share of the sample below each value, as the number with that share of a normal distribution below it."""
    shares = np.linspace(0.0, 1.0, min(_POINTS, len(sample)))
    points = np.quantile(sample, shares)
    # A value that many have takes up a span of shares, and gets the middle of it.
    low, high = np.interp(values, points, shares), -np.interp(-values, -points[::-1], -shares[::-1])
    least = 0.5 / len(sample)
    found: Float = ndtri(np.clip((low + high) / 2, least, 1 - least))
    return found
