"""Features of simulated welds made by hand for the marks of the classes: what a learned representation starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.synthetic.weld_process import Modality
from counterpoint.data.synthetic.weld_traces import AUDIO_RATE

Float = NDArray[np.float64]
_BANDS = ((60, 450), (600, 1700), (2000, 2800), (2900, 3800), (4500, 6500), (6800, 8300))
_HOP = 240


def _thirds(values: Float) -> list[float]:
    return [float(part.mean()) for part in np.array_split(values, 3)]


def _smooth(values: Float) -> Float:
    return np.convolve(values, np.ones(3) / 3.0, "valid")


def sensor(values: NDArray[Any]) -> Float:
    """Current, voltage and feed of three thirds of the welding against their level, extremes, unrest, the end."""
    current, voltage, feed = values[:, 3], values[:, 5], values[:, 2]
    level = np.median(current[current > 20.0])
    burning = np.flatnonzero(current > 0.675 * level)
    on = np.arange(burning[0], burning[-1] + 1)
    filling = (current[on[-1] + 1 :] > 0.05 * level).sum()
    c, u, f = (part[on] / np.median(part[on]) for part in (current, voltage, feed))
    inner = slice(3, -3)
    unrest = np.log([u[inner].std(), _smooth(u[inner]).std(), c[inner].std()])
    return np.array([*_thirds(c), *_thirds(u), *_thirds(f), _smooth(c).min(), _smooth(u).max(), *unrest, filling])


def audio(wave: NDArray[Any]) -> Float:
    """Quantiles of the power of six bands over the welding, against their medians, and peaks while it cools."""
    frames = wave[: len(wave) // _HOP * _HOP].reshape(-1, _HOP)
    power = np.abs(np.fft.rfft(frames * np.hanning(_HOP), axis=1)) ** 2
    hertz = np.fft.rfftfreq(_HOP, 1.0 / AUDIO_RATE)
    bands = np.stack([power[:, (hertz >= low) & (hertz < high)].mean(1) for low, high in _BANDS], 1)
    level = np.log(bands + 1e-9)
    loud = np.convolve(level.mean(1), np.ones(15) / 15.0, "same")
    on = np.flatnonzero(loud > (loud.max() + loud.min()) / 2.0)
    arc = level[on[0] + 3 : on[-1] - 25]
    cooling = level[min(on[-1] + 15, len(level) - 10) :]
    cooling = np.sort(cooling - np.median(cooling, 0), 0)
    spread = np.quantile(arc, [0.03, 0.9, 0.97, 0.995], axis=0) - np.median(arc, 0)
    return np.concatenate([spread.ravel(), cooling[-max(1, len(cooling) // 10) :].mean(0), cooling[-1]])


def video(frames: NDArray[Any]) -> Float:
    """Length, height and place of the pool over three thirds of the welding, darkest frames, sparks."""
    values = np.clip(frames.astype(np.float64) - 10.0, 0.0, None)
    light = values.mean((1, 2))
    on = np.flatnonzero(light > 0.35 * np.median(light[light > 0.3 * light.max()]))
    values, light = values[on[0] + 1 : on[-1]], light[on[0] + 1 : on[-1]]
    height, width = values.shape[1:]
    steady = np.median(values[:20], 0)
    y, x = (round(float(where.mean())) for where in np.nonzero(steady >= 0.9 * steady.max()))
    bright, rows = light > 0.5 * np.median(light), np.arange(height)
    behind = values[:, max(0, y - 2) : y + 14, : max(2, x - 8)].mean(1)
    column = values[:, :, max(0, x - 22) : x - 8].mean(2)
    middle = (column * rows).sum(1) / column.sum(1)
    tall = np.sqrt((column * (rows - middle[:, None]) ** 2).sum(1) / column.sum(1))
    core = (values > 180.0).sum(2)
    place = (core * rows).sum(1) / np.maximum(core.sum(1), 1)
    found: list[float] = []
    for course in (behind.sum(1) / light, behind[:, : max(1, x - 24)].sum(1) / light, tall, middle, place):
        parts = zip(np.array_split(course, 3), np.array_split(bright, 3), strict=True)
        first, second, third = (part[lit].mean() if lit.any() else 0.0 for part, lit in parts)
        found += [first, second - first, third - first]
    down, across = np.mgrid[:height, :width]
    far = ((down - y) ** 2 + (across - x) ** 2 > 14**2) & (down < y - 2)
    sparks = (values[:, far] > 80.0).sum(1)
    dark = np.quantile(light, [0.02, 0.1]) / np.median(light)
    return np.array([*found, *dark, np.log1p(sparks.mean()), np.log1p(np.quantile(sparks, 0.9))])


def photos(views: NDArray[Any]) -> Float:
    """Profiles across the seam, straightened by the outline of the plate, averaged over the views."""
    return np.mean([_photo(view.astype(np.float64)) for view in views], 0)


def _photo(view: Float) -> Float:
    bright, red = _straightened(view)
    inner = slice(8, -8)

    def profiles(values: Float) -> tuple[Float, Float]:
        """(11,) change along the seam and mean of each strip across it."""
        parts = np.stack([part.mean(1) for part in np.array_split(values[:, inner], 3, axis=1)])
        return (parts[2] - parts[0]).reshape(11, 3).mean(1), parts.mean(0).reshape(11, 3).mean(1)

    low = np.quantile(bright[:, inner], 0.03, axis=1).reshape(11, 3).min(1)
    dip = low - np.median(bright[:, inner], 1).reshape(11, 3).mean(1)
    end = [
        bright[10:23, 74:90].min() - bright[10:23, 20:60].mean(),
        bright[8:25, 72:84].mean() - bright[8:25, 50:66].mean(),
    ]
    return np.concatenate([*profiles(bright), *profiles(red), dip, end])


def _straightened(view: Float) -> tuple[Float, Float]:
    """(33, 90) brightness and redness across and along the seam, against those of the plate."""
    y, x = np.nonzero(view.mean(2) > 32.0)
    points = np.stack([x, y], 1)
    middle = points.mean(0)
    axis = np.linalg.eigh(np.cov((points - middle).T))[1][:, 1]
    axis = axis * np.sign(axis[0])
    scale = np.ptp((points - middle) @ axis) * 0.975 / 1.24
    across = np.linspace(-0.15, 0.15, 61)
    along, down = np.meshgrid(np.linspace(-0.56, 0.56, 90), across)
    place = middle + scale * (along[..., None] * axis + down[..., None] * np.array([-axis[1], axis[0]]))
    place = np.clip(np.rint(place).astype(int), 0, [view.shape[1] - 1, view.shape[0] - 1])
    seen = view[place[..., 1], place[..., 0]]
    bright = seen.mean(2) / np.median(seen.mean(2)[np.abs(across) > 0.12])
    red = (seen[..., 0] - seen[..., 2]) / np.median(seen.mean(2)[np.abs(across) > 0.12])
    bead = np.clip(bright[:, 8:-8].mean(1) - 1.15, 0.0, None) + 1e-9
    row = int(np.clip(round(float((bead * np.arange(61)).sum() / bead.sum())), 16, 44))
    part = slice(row - 16, row + 17)
    return bright[part], (red - np.median(red[np.abs(across) > 0.13]))[part]


FEATURES: dict[Modality, Callable[[NDArray[Any]], Float]] = {
    "sensor": sensor,
    "audio": audio,
    "video": video,
    "photos": photos,
}
