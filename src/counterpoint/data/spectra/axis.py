"""The axis of spectra: which columns of a file are its points, and where they lie."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
_SHOWN = 6
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class AxisColumns:
    """Which columns hold the points of a spectrum, and where these lie on its axis.

    Without ``prefix`` and ``first`` they are the columns whose headers are numbers, which are then the axis. Descending
    axes are turned round, with their spectra.

    Args:
        prefix: what the headers begin with; a number follows, which is the axis: w0, w1, ... or nm1100, nm1102, ...
        first: header of the first column, where a range of columns is meant.
        last: header of the last column of that range.
        start: the first point of the axis, in place of what the headers say; the points count from 0 without either.
        step: from one point to the next, with ``start``.
        unit: of the axis, for people, such as cm-1.
    """

    prefix: str = ""
    first: str = ""
    last: str = ""
    start: float | None = None
    step: float | None = None
    unit: str = ""

    def __post_init__(self) -> None:
        """Check that one way is chosen.

        Raises:
            ValueError: if there are two, or half of one.
        """
        if bool(self.first) != bool(self.last) or (self.first and self.prefix):
            raise ValueError("axis: give prefix, or first and last, or neither where the headers are numbers")
        check_regular("axis", self.start, self.step)

    def find(self, header: Sequence[str], path: Path) -> tuple[list[int], Points]:
        """Positions of the columns, and the point of the axis each stands for.

        Args:
            header: of the file.
            path: the file, for messages.

        Raises:
            ValueError: if there are no such columns.
        """
        numbers = [_number(name.removeprefix(self.prefix)) if name.startswith(self.prefix) else None for name in header]
        if self.first:
            for name in (self.first, self.last):
                if name not in header:
                    raise ValueError(f"{path}: no column {name!r} (axis.first, axis.last); it has {shown(header)}")
            places = list(range(header.index(self.first), header.index(self.last) + 1))
            if not places:
                raise ValueError(f"{path}: column {self.first!r} comes after {self.last!r}; exchange first and last")
        else:
            places = [at for at, number in enumerate(numbers) if number is not None]
            if not places:
                meant = f"no column is {self.prefix!r} and a number" if self.prefix else "no header is a number"
                commas = any(_COMMA.fullmatch(name.removeprefix(self.prefix)) for name in header)
                raise ValueError(
                    f"{path}: {meant}; the columns are {shown(header)}. "
                    + ("Save" + mend("0,5")[4:] if commas else "Set axis.prefix, or axis.first and axis.last")
                )
        named = [number for at in places if (number := numbers[at]) is not None]
        if self.start is None and len(named) == len(places):
            return places, np.array(named)
        return places, regular(len(places), self.start, self.step)


def check_regular(name: str, start: float | None, step: float | None) -> None:
    """Refuse a start without a step, and a step that is none.

    Raises:
        ValueError: naming the setting.
    """
    if (start is None) != (step is None) or step == 0:
        raise ValueError(f"{name}: start is {start} and step {step}; give both, step not 0, or neither")


def regular(count: int, start: float | None, step: float | None) -> Points:
    """The points of an axis of even steps, 0, 1, 2, ... where nothing else is said."""
    return (start or 0.0) + np.arange(count, dtype=np.float64) * (1.0 if step is None else step)


def ascending(axis: Points, values: NDArray[np.float32], path: Path) -> tuple[Points, NDArray[np.float32]]:
    """Axis (W,) and spectra (n, W) in ascending order.

    Raises:
        ValueError: if two points are one, or a point is not finite.
    """
    order = np.argsort(axis, kind="stable")
    axis = axis[order]
    if not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
        twice = axis[:-1][np.diff(axis) <= 0]
        found = f"{twice[0]:g} stands twice" if len(twice) else "a point is not finite"
        raise ValueError(f"{path}: the axis of the spectra is no axis, {found}; every point needs a place of its own")
    return axis, np.ascontiguousarray(values[:, order])


def told(axis: Points) -> str:
    """An axis for people."""
    return f"{len(axis)} points from {axis[0]:g} to {axis[-1]:g}"


def shown(names: Sequence[str]) -> str:
    """The first and the last of many names."""
    if len(names) <= 2 * _SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:_SHOWN])}, ..., {', '.join(names[-2:])} ({len(names)} in all)"


def mend(cell: str) -> str:
    """What is to be done about a cell that is no number."""
    return "save the file with decimal points, not commas" if _COMMA.fullmatch(cell.strip()) else "mend it"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in text else None
