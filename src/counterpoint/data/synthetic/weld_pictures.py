"""SIMULATED video of the arc and photographs of the finished seam of weld runs."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.synthetic.weld_process import Float, Run

Pixels = NDArray[np.uint8]
FRAME_RATE = 30
PHOTOS = 5
_BLACK = 10.0
"""What the camera of the real set shows where there is no light."""
_STREAK = 4
"""Pixels a spark travels while the shutter is open."""


class _Pool(NamedTuple):
    """(t,) what the arc and the melt behind it look like in each frame, in shares of the frame's height."""

    light: Float
    length: Float
    height: Float
    shift: Float


def video(run: Run, seconds: float, size: tuple[int, int]) -> Pixels:
    """Black and white frames of a camera that travels with the torch.

    Args:
        run: welded.
        seconds: of the recording.
        size: width and height.

    Returns:
        (t, height, width), 30 a second.
    """
    rng, width, height = run.chance("video"), *size
    frames = round(seconds * FRAME_RATE)
    place = run.course.place((np.arange(frames) + 0.5) / frames)
    pool = _pool(run, rng, place)
    light, length, tall, shift = (part[:, None, None].astype(np.float32) for part in pool)
    x = ((np.arange(width, dtype=np.float32) - run.station.arc[0] * width) / height)[None, None, :]
    y = np.arange(height, dtype=np.float32)[None, :, None] / height - np.float32(run.station.arc[1]) - shift
    radius = np.float32(0.055 * math.sqrt(run.settings.current / 185.0))
    core = np.exp(-0.5 * (x / radius) ** 2) * np.exp(-0.5 * (y / radius) ** 2)
    halo = np.exp(-np.hypot(x, y) / 0.16)
    behind = np.exp(-np.where(x < 0.0, -x / length, x / np.float32(0.05)))
    melt = behind * np.exp(-0.5 * ((y - 0.06) / tall) ** 2)
    gain = np.float32(run.station.exposure) * light
    values = (gain * (420.0 * core + 60.0 * halo + 190.0 * melt)).astype(np.float32, copy=False)
    _add_sparks(values, rng, run, place, pool.shift)
    values += (_BLACK + rng.normal(0.0, 1.5, (1, height, width))).astype(np.float32)
    return np.clip(values, 0.0, 255.0).astype(np.uint8)


def _pool(run: Run, rng: np.random.Generator, place: Float) -> _Pool:
    course, mark, count = run.course, run.marks.video, len(place)
    lit = ((place > 0.0) & (place < 1.03)).astype(np.float64)
    light = lit * (1.0 + 0.10 * rng.normal(size=count))
    length = 0.16 * run.settings.heat**0.5 * np.exp(rng.normal(0.0, 0.05) + rng.normal(0.0, 0.06, count))
    height = 0.045 * np.exp(rng.normal(0.0, 0.05) + rng.normal(0.0, 0.05, count))
    shift = rng.normal(0.0, 0.004, count) + 0.01 * math.sqrt(0.5) * rng.normal() * place
    if mark == "long pool":
        length = length * (1.0 + 0.65 * course.severity * course.growth(place))
    elif mark == "tall pool":
        height = height * (1.0 + 0.65 * course.severity * course.growth(place))
    elif mark == "dark":
        light = light * (1.0 - np.clip(0.85 * course.severity * course.episodes(place), 0.0, 0.97))
    elif mark == "drift":
        shift = shift - 0.07 * course.severity * course.growth(place)
    return _Pool(light, length, height, shift)


def _add_sparks(values: NDArray[np.float32], rng: np.random.Generator, run: Run, place: Float, shift: Float) -> None:
    """Draw sparks into frames; every arc throws some."""
    frames, height, width = values.shape
    rate = 1.2 * ((place > 0.0) & (place < 1.0))
    if run.marks.video == "sparks":
        rate = rate * (1.0 + 7.0 * run.course.severity * run.course.episodes(place))
    count = rng.poisson(rate)
    frame = np.repeat(np.arange(frames), count)
    angle = rng.uniform(0.05 * math.pi, 0.95 * math.pi, len(frame))
    away, bright = rng.uniform(0.1, 0.6, len(frame)) * height, rng.uniform(120.0, 255.0, len(frame))
    left, top = run.station.arc[0] * width, (run.station.arc[1] + shift[frame]) * height
    for step in range(_STREAK):
        x = np.rint(left + (away + step) * np.cos(angle)).astype(np.int64)
        y = np.rint(top - (away + step) * np.sin(angle)).astype(np.int64)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        np.maximum.at(values, (frame[inside], y[inside], x[inside]), bright[inside])


class _Seam(NamedTuple):
    """One view of the plate in the coordinates of its seam.

    Attributes:
        along: (h, w) place on the seam, 0 where it begins and 1 where it ends.
        across: (h, w) distance from its middle, in lengths of the seam, positive below.
    """

    along: Float
    across: Float


def photos(run: Run, size: tuple[int, int]) -> Pixels:
    """Colour photographs of the finished seam, (5, height, width, 3), from five places."""
    rng = run.chance("photos")
    # The blemishes of the plate are the same in all its photographs.
    ground, ripple = rng.normal(0.0, 1.0, (24, 48)), float(rng.uniform(0.0, 6.3))
    views = []
    for _ in range(PHOTOS):
        seam = _view(rng, size)
        shade, tint = _bead(run, seam, ripple), _tint(run, seam)
        rows = np.clip((seam.across + 0.3) / 0.6 * 24, 0, 23).astype(np.int64)
        columns = np.clip((seam.along + 0.15) / 1.3 * 48, 0, 47).astype(np.int64)
        plate = 70.0 * run.station.tone * (1.0 + 0.06 * ground[rows, columns])
        colour = np.stack([1.0 + 0.15 * tint, 1.0 - 0.30 * tint, 1.0 - 0.45 * tint], -1)
        red = {"Fe410": (1.10, 0.95, 0.88), "BSK46": (1.0, 1.0, 1.0)}[run.settings.steel]
        values = (plate * shade)[..., None] * colour * np.array(red)
        values = np.where(_label(seam)[..., None], 210.0, values)
        outside = (seam.along < -0.12) | (seam.along > 1.12) | (np.abs(seam.across) > 0.28)
        values = np.where(outside[..., None], 16.0, values)
        noise = rng.normal(0.0, 3.0, values.shape)
        views.append(np.clip(values * np.exp(rng.normal(0.0, 0.05)) + noise, 0.0, 255.0).astype(np.uint8))
    return np.stack(views)


def _view(rng: np.random.Generator, size: tuple[int, int]) -> _Seam:
    width, height = size
    turn, scale = rng.normal(0.0, 0.06), 0.68 * np.exp(rng.normal(0.0, 0.03))
    middle = np.array([0.5, 0.5 * height / width]) + rng.normal(0.0, 0.015, 2)
    x = np.arange(width)[None, :] / width - middle[0]
    y = np.arange(height)[:, None] / width - middle[1]
    along = (x * math.cos(turn) + y * math.sin(turn)) / scale + 0.5
    return _Seam(along, (y * math.cos(turn) - x * math.sin(turn)) / scale)


def _label(seam: _Seam) -> NDArray[np.bool_]:
    """The sticker below the seam; blank, where that of the real set bears the run's name and with it the class."""
    on: NDArray[np.bool_] = (np.abs(seam.along - 0.5) < 0.2) & (seam.across > 0.17) & (seam.across < 0.25)
    return on


def _half_width(run: Run, along: Float) -> Float:
    """Of the bead, in lengths of the seam."""
    width = np.full_like(along, 0.045 * run.settings.heat**0.3)
    if run.marks.photos == "roll":
        width *= 1.0 + 0.40 * run.course.severity * run.course.growth(along)
    elif run.marks.photos == "ridge":
        width *= 1.0 - 0.15 * min(run.course.severity, 1.5) * run.course.growth(along)
    return width


def _tint(run: Run, seam: _Seam) -> Float:
    """0 to 1: colours of the oxide beside the seam, as far as the plate became hot."""
    reach = 0.055 * run.settings.heat**0.3 * np.ones_like(seam.along)
    if run.marks.photos == "tint":
        reach = reach * (1.0 + 0.75 * run.course.severity * run.course.growth(seam.along))
    ends = np.clip(np.maximum(-seam.along, seam.along - 1.0), 0.0, None)
    bead = (np.abs(seam.across) < _half_width(run, seam.along)) & (ends == 0.0)
    tint: Float = np.where(bead, 0.25, 1.0) * np.exp(-0.5 * (seam.across**2 + ends**2) / reach**2)
    return tint


def _bead(run: Run, seam: _Seam, ripple: float) -> Float:
    """Brightness of plate and bead, 1 on the bare plate: what faces the lamp is bright."""
    course, mark = run.course, run.marks.photos
    across = seam.across / _half_width(run, seam.along)
    on = (np.abs(across) < 1.0) & (seam.along > 0.0) & (seam.along < 1.0)
    tall = 1.0 + (0.9 * course.severity * course.growth(seam.along) if mark == "ridge" else 0.0)
    ripples = 0.10 * np.sin(2.0 * np.pi * 40.0 * seam.along + ripple + 2.0 * across**2)
    crest = 0.35 * tall * np.exp(-0.5 * (across / 0.35) ** 2)
    shade = np.where(on, 1.45 + crest + ripples - 0.25 * run.station.lamp * tall * across, 1.0)
    inside = course.episodes(seam.along) * ((seam.along > 0.0) & (seam.along < 1.0))
    if mark == "grooves":
        shade *= 1.0 - 0.65 * min(course.severity, 1.4) * inside * np.exp(-0.5 * ((np.abs(across) - 1.1) / 0.22) ** 2)
    elif mark == "roll":
        edge = np.exp(-0.5 * ((across - 1.15) / 0.12) ** 2) * ((seam.along > 0.0) & (seam.along < 1.0))
        shade *= 1.0 - np.clip(0.5 * course.severity * course.growth(seam.along), 0.0, 0.9) * edge
    elif mark == "holes":
        away = (seam.along[..., None] - course.centres) ** 2 + seam.across[..., None] ** 2
        shade *= 1.0 - 0.9 * np.exp(-((away / (0.026 * course.severity**0.5) ** 2) ** 2)).max(-1)
    return shade * _crater(run, seam)


def _crater(run: Run, seam: _Seam) -> Float:
    """Factor at the end of the seam: a shallow dip in any run, a deep one with cracks where it was not filled."""
    x, y = seam.along - 0.985, seam.across
    away = np.sqrt(x**2 + y**2)
    if run.marks.photos != "crater":
        return 1.0 - 0.15 * np.exp(-0.5 * (away / 0.02) ** 2)
    severity = min(run.course.severity, 1.6)
    rays = np.abs(np.sin(2.5 * np.arctan2(y, x))) < 0.35
    cracks = 0.35 * severity * rays * (away < 0.05 * severity)
    factor: Float = np.clip(1.0 - 0.55 * severity * np.exp(-0.5 * (away / 0.024) ** 2) - cracks, 0.05, 1.0)
    return factor
