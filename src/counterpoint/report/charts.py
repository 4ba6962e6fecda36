"""Line charts as geometry: scales, ticks and paths in the pixels of a 400 x 250 picture that templates draw."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Kind = Literal["linear", "log"]
Style = Literal["solid", "dashed", "guide", "step", "dots"]

WIDTH, HEIGHT = 400.0, 250.0
LEFT, RIGHT, TOP, BOTTOM = 50.0, 386.0, 12.0, 212.0
"""Edges of the plotting area, pixels from the top left corner."""


class Tick(NamedTuple):
    """A mark on an axis: where, in pixels, and what stands beside it."""

    at: float
    text: str


@dataclass(frozen=True)
class Scale:
    """From values between ``low`` and ``high`` to pixels between ``start`` and ``end``."""

    low: float
    high: float
    start: float
    end: float
    kind: Kind = "linear"

    def __call__(self, values: Float) -> Float:
        """(n,) values to (n,) pixels."""
        low, high = self.low, self.high
        if self.kind == "log":
            values, low, high = np.log(values), math.log(low), math.log(high)
        pixels: Float = self.start + (values - low) / (high - low) * (self.end - self.start)
        return pixels

    def tick(self, value: float, text: str) -> Tick:
        """A mark at a value."""
        return Tick(round(float(self(np.array([value]))[0]), 1), text)

    def ticks(self, count: int) -> list[Tick]:
        """About ``count`` marks at round values."""
        step = round_step((self.high - self.low) / count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [self.tick(k * step, number(k * step, step)) for k in range(first, last + 1)]


class Series(NamedTuple):
    """One line.

    Attributes:
        name: in legends and tooltips.
        cell: what the legend switches on and off together.
        style: dashed for validation; a guide is what the others are compared with; a step is of a histogram;
            dots have no line.
        x: (n,) ascending.
        y: (n,).
        spread: (n,) low and (n,) high ends of the intervals, NaN where unknown; None where there are none.
        band: the same of a line with so many points that a shade is drawn instead of whiskers.
    """

    name: str
    cell: int
    style: Style
    x: Float
    y: Float
    spread: tuple[Float, Float] | None = None
    band: tuple[Float, Float] | None = None


class Reference(NamedTuple):
    """A named horizontal line."""

    value: float
    text: str


class Line(NamedTuple):
    """A series in pixels.

    Attributes:
        name: in tooltips.
        cell: what the legend switches.
        style: of the path.
        path: as SVG writes it.
        dots: (x, y) of the last point, or of all where there are intervals.
        whiskers: (x, low, high) of the intervals.
        band: the outline of the shade as SVG writes it; empty without one.
    """

    name: str
    cell: int
    style: str
    path: str
    dots: list[tuple[float, float]]
    whiskers: list[tuple[float, float, float]]
    band: str = ""


@dataclass(frozen=True)
class Chart:
    """A line chart ready to be drawn.

    Attributes:
        title: above the picture.
        note: a sentence on how to read it.
        unit: name of the horizontal axis.
        x_ticks: marks of the horizontal axis.
        y_ticks: marks of the vertical axis.
        lines: in the order drawn.
        references: horizontal lines, named.
        values: the plotted values, for tooltips.
    """

    title: str
    note: str
    unit: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]
    references: list[Tick]
    values: list[dict[str, Any]]


def line_chart(
    title: str,
    note: str,
    series: Sequence[Series],
    *,
    unit: str = "step",
    references: Sequence[Reference] = (),
    bounds: tuple[float, float] | None = None,
    x_kind: Kind = "linear",
    x_marks: Sequence[tuple[float, str]] = (),
) -> Chart:
    """Lay a chart out.

    Args:
        title: above the picture.
        note: how to read it.
        series: the lines, at least one, each with at least one finite point.
        unit: name of the horizontal axis.
        references: named horizontal lines; the vertical axis reaches them.
        bounds: ends of the vertical axis; from the values where None.
        x_kind: of the horizontal axis.
        x_marks: (value, text) of its ticks; round values where empty.
    """
    assert series, title
    assert all(len(line.x) for line in series), title
    xs = np.concatenate([line.x for line in series])
    ys = [line.y for line in series] + [end for line in series for end in line.spread or ()]
    values = np.concatenate([*ys, np.array([reference.value for reference in references])])
    x = Scale(*_apart(float(xs.min()), float(xs.max()), x_kind), LEFT, RIGHT, x_kind)
    y = Scale(*(bounds or _padded(float(np.nanmin(values)), float(np.nanmax(values)))), BOTTOM, TOP)
    return Chart(
        title=title,
        note=note,
        unit=unit,
        x_ticks=[x.tick(value, text) for value, text in x_marks] or x.ticks(5),
        y_ticks=y.ticks(5),
        lines=[_line(s, x, y) for s in series],
        references=[y.tick(reference.value, reference.text) for reference in references],
        values=[_values(s) for s in series],
    )


def _line(series: Series, x: Scale, y: Scale) -> Line:
    across, down = x(series.x), y(series.y)
    path = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))
    dots = [(round(float(a), 1), round(float(b), 1)) for a, b in zip(across, down, strict=True)]
    if series.spread is None:
        last = dots[-1:] if series.style in ("solid", "dashed") and series.band is None else []
        last = dots if series.style == "dots" else last
        return Line(series.name, series.cell, series.style, path, last, [], _outline(series, across, y))
    low, high = y(series.spread[0]), y(series.spread[1])
    ends = np.stack([across, low, high], 1).round(1)
    whiskers = [(float(a), float(b), float(c)) for a, b, c in ends[np.isfinite(ends).all(1)]]
    return Line(series.name, series.cell, series.style, path, dots, whiskers)


def _outline(series: Series, across: Float, y: Scale) -> str:
    """Along the low ends of a band and back along the high ones, where both are known."""
    if series.band is None:
        return ""
    low, high = series.band
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return ""
    there = zip(across[known], y(low[known]), strict=True)
    back = zip(across[known][::-1], y(high[known])[::-1], strict=True)
    return "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in [*there, *back]) + "Z"


def _values(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "cell": series.cell,
        "x": [float(f"{value:.6g}") for value in series.x],
        "y": [float(f"{value:.4g}") for value in series.y],
    }


def thin(x: Float, y: Float, limit: int) -> tuple[Float, Float]:
    """At most ``limit`` of (n,) points: the smallest and largest of every stretch, so that no spike is lost."""
    if len(x) <= limit:
        return x, y
    edges = np.linspace(0, len(x), limit // 2 + 1).astype(int)
    kept = [a + index for a, b in itertools.pairwise(edges) for index in (y[a:b].argmin(), y[a:b].argmax())]
    kept[0], kept[-1] = 0, len(x) - 1
    rows = np.unique(kept)
    return x[rows], y[rows]


def round_step(raw: float) -> float:
    """The nearest larger of 1, 2, 2.5, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(raw))
    return float(next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9)))


def number(value: float, step: float) -> str:
    """A value with the digits that a ``step`` between marks asks for."""
    if abs(value) < step / 2:
        return "0"
    if step < 1e-3:
        return f"{value:.1e}".replace("e-0", "e-")
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    digits += round(step * 10**digits, 6) % 1 != 0  # 0.25 needs one more than 0.2
    return f"{value:,.{digits}f}"


def _apart(low: float, high: float, kind: Kind) -> tuple[float, float]:
    """Ends that differ, so that a single point has a place."""
    if high > low:
        return low, high
    return (low / 2, high * 2) if kind == "log" else (low - 0.5, high + 0.5)


def _padded(low: float, high: float) -> tuple[float, float]:
    """Ends a little beyond the values; zero stays an end where it is near."""
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 0.5
    return (0.0 if 0 <= low <= 3 * margin else low - margin), high + margin
