"""Hand features of irregular events: six numbers a variable, and the last value of each alone.

They are some of those of ``EventStatistics``, in float64. Nothing is fitted: values come standardised, so a variable
that a row lacks is 0, the mean of the training rows, and its count tells that it is lacking. The order of the events
within a set changes nothing: where a set holds a variable twice, its first and last values are the mean of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counterpoint.encoders.event_statistics import KINDS, EventStatistics
from counterpoint.types import Events, EventSpec

Float = NDArray[np.float64]
SIX = ("mean", "least", "largest", "last", "first", "count")


def last_values(events: Events, spec: EventSpec, place: str) -> Float:
    """(B, V) the last value of every variable.

    Args:
        events: a modality of a batch.
        spec: of the modality.
        place: its name, for the message.

    Raises:
        ValueError: a value is not finite.
    """
    return _chosen(events, spec, place, ("last",))


def event_statistics(events: Events, spec: EventSpec, place: str) -> Float:
    """(B, 6 V): mean, least, largest, last and first value of every variable, and ln(1 + count).

    Args:
        events: a modality of a batch.
        spec: of the modality.
        place: its name, for the message.

    Raises:
        ValueError: a value is not finite.
    """
    return _chosen(events, spec, place, SIX)


def _chosen(events: Events, spec: EventSpec, place: str, kinds: Sequence[str]) -> Float:
    bad = int((~events.values.isfinite()).sum())
    if bad:
        raise ValueError(f"{place}: {bad} events hold NaN or infinity; let the reader drop them")
    exact = events._replace(values=events.values.double(), times=events.times.double())
    found = EventStatistics(spec)(exact).pooled.unflatten(1, (len(KINDS), -1))
    chosen = found[:, [KINDS.index(kind) for kind in kinds]].flatten(1)
    return np.asarray(chosen.cpu().numpy(), np.float64)
