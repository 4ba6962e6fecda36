"""What attributions come to: their mean size by class along an axis, with the mean of what was there, and by column."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Data
from counterpoint.explain.tables import Told, along, axis
from counterpoint.types import Spec

POINTS = 240
"""Places of an axis that are shown; of longer ones neighbours are taken together."""

Wide = NDArray[np.float64]


def totals(told: Sequence[Told], data: Data) -> list[dict[str, Any]]:
    """What a report shows, a modality each, by the class that was predicted; of an estimate all together.

    Sizes are summed over scans or channels, so they are of whole rows, and averaged over the rows of the class; of
    neighbours that are taken together the mean is shown.

    Returns:
        A JSON-able dict each: name, kind, unit, places, columns, classes, each of which with name, rows, attribution
        (n,), and mean (n,) of what the rows had there, null where none had anything.
    """
    found = []
    for name in told[0].values if told else ():
        spec = data.specs[name]
        length = max(along(spec, one.values[name]).shape[1] for one in told)
        where = axis(spec, length)
        groups = _groups(length, len(where.columns) > 0)
        classes = [
            {"name": label, "rows": len(own), **_class(own, name, spec, length, groups)}
            for label in dict(sorted((one.target, one.answer) for one in told)).values()
            if (own := [one for one in told if one.answer == label])
        ]
        places = [round(float(where.places[group].mean()), 6) for group in groups]
        shown = {"name": name, "kind": where.kind, "unit": where.unit, "places": places}
        found.append(shown | {"columns": list(where.columns), "classes": classes})
    return found


def _class(told: Sequence[Told], name: str, spec: Spec, length: int, groups: Sequence[slice]) -> dict[str, Any]:
    """Mean size of the attributions at each place, and mean of the values that were real there."""
    size, value, count = np.zeros(length), np.zeros(length), np.zeros(length)
    for one in told:
        own, seen, real = (along(spec, part[name]).astype(np.float64) for part in (one.values, one.seen, one.real))
        reach = slice(0, own.shape[1])
        size[reach] += np.abs(own).sum(0)
        value[reach] += (seen * real).sum(0)
        count[reach] += real.sum(0)
    means = [_mean(value[group].sum(), count[group].sum()) for group in groups]
    return {"attribution": [float(size[group].mean()) / len(told) for group in groups], "mean": means}


def _mean(total: float, count: float) -> float | None:
    return float(total / count) if count else None


def _groups(length: int, apart: bool) -> list[slice]:
    """Places that are taken together: about as many neighbours each; columns stand apart."""
    count = length if apart else min(length, POINTS)
    edges = np.linspace(0, length, count + 1).round().astype(int).tolist()
    return [slice(low, high) for low, high in itertools.pairwise(edges)]
