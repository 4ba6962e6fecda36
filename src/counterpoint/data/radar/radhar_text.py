"""RadHAR's point clouds: text as the ROS driver of the radar prints it, and the view maps made of it."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED
from counterpoint.keys import Int

Float = NDArray[np.float64]

REACH = 6.0
"""Metres that the range bins divide; the radar was set to see as far as 5.6."""
RANGE_BINS, DOPPLER_BINS, AZIMUTH_BINS = 32, 16, 32
MAX_BYTES = 2**28
_FIELDS = ("point_id", "range", "doppler_bin", "bearing", "intensity")
_FIELD = re.compile(rf"^ *({'|'.join(_FIELDS)}): *(\S+) *$", re.MULTILINE)


class Points(NamedTuple):
    """Detected points of a recording, in the order of time.

    Attributes:
        frame: (P,) number of the frame.
        distance: (P,) metres.
        doppler: (P,) bin 0 to 15, 8 where nothing moves.
        bearing: (P,) degrees, 0 straight ahead.
        intensity: (P,) decibels.
    """

    frame: Int
    distance: Float
    doppler: Int
    bearing: Float
    intensity: Float


def read_points(path: Path) -> Points:
    """Read a recording; a new frame begins where ``point_id`` does not increase.

    A last point that is cut short is left out.

    Args:
        path: ``.txt``, or ``.txt.gz``.

    Raises:
        ValueError: a point lacks a field, or holds what is no number; or there are none.
    """
    blocks = [found for found in map(_FIELD.findall, _text(path).split("\n---")) if found]
    if blocks and len(blocks[-1]) < len(_FIELDS):
        blocks.pop()
    if not blocks:
        raise ValueError(f"{path}: no points; RadHAR's files have point_id, range, doppler_bin, ... a point")
    values = np.empty((len(blocks), len(_FIELDS)))
    for number, block in enumerate(blocks):
        cells = dict(block)
        if len(block) != len(_FIELDS) or len(cells) != len(_FIELDS):
            raise ValueError(
                f"{path}: point {number + 1} has {', '.join(name for name, _ in block)}; each has {', '.join(_FIELDS)}"
            )
        try:
            values[number] = [float(cells[name]) for name in _FIELDS]
        except ValueError as error:
            raise ValueError(f"{path}: point {number + 1}: {error}") from error
    _check(path, values)
    order = values[:, 0]
    frame = np.cumsum(np.concatenate([[False], order[1:] <= order[:-1]]))
    return Points(frame.astype(np.int64), values[:, 1], values[:, 2].astype(np.int64), values[:, 3], values[:, 4])


def _text(path: Path) -> str:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as stream:
                raw = stream.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as plain:
                raw = plain.read(MAX_BYTES + 1)
        if len(raw) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        return raw.decode("utf-8")
    except DAMAGED as error:
        raise ValueError(f"{path}: not a readable text file ({error})") from error


def _check(path: Path, values: Float) -> None:
    _, distance, doppler, bearing, intensity = values.T
    bad = ~np.isfinite(values).all(1)
    bad |= (distance < 0) | ~np.isin(doppler, np.arange(DOPPLER_BINS)) | (np.abs(bearing) > 90) | (intensity > 200)
    if bad.any():
        first = int(np.argmax(bad))
        told = ", ".join(f"{name} {value:g}" for name, value in zip(_FIELDS, values[first], strict=True))
        raise ValueError(
            f"{path}: point {first + 1}: {told}; range is 0 and above, doppler_bin 0 to {DOPPLER_BINS - 1}, bearing "
            "within 90 degrees and intensity in decibels"
        )


def maps_of(points: Points) -> dict[str, NDArray[np.float32]]:
    """Views (T, bins) of T frames: in each bin the sum of the points' amplitudes, 10 ** (intensity / 20).

    Range is 32 bins of 6 / 32 m, points beyond left out; Doppler the radar's own 16 bins; azimuth 32 bins of 180 / 32
    degrees from -90. The logarithm log(1 + x) of these maps is what is published as view maps of the same recordings,
    to the precision of their float16.
    """
    amplitude = 10 ** (points.intensity / 20)
    reach = np.floor(points.distance / REACH * RANGE_BINS).astype(np.int64)
    angle = np.floor((points.bearing + 90) / 180 * AZIMUTH_BINS).astype(np.int64).clip(0, AZIMUTH_BINS - 1)
    places = {
        "range_time": (reach, RANGE_BINS),
        "doppler_time": (points.doppler, DOPPLER_BINS),
        "azimuth_time": (angle, AZIMUTH_BINS),
    }
    maps = {}
    for view, (place, bins) in places.items():
        total = np.zeros((int(points.frame[-1]) + 1, bins))
        inside = place < bins
        np.add.at(total, (points.frame[inside], place[inside]), amplitude[inside])
        maps[view] = total.astype(np.float32)
    return maps
