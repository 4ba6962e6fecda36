"""Where windows are cut from a recording: four strategies, one role.

Two windows drawn independently do overlap: with probability 1 - (1 - W / (L - W))^2 for windows of W in a
recording of L, a quarter of all pairs at L = 8 W. ``Disjoint`` is the strategy that never does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from counterpoint.keys import Int, derive, uniforms

_INDEX, _START = 1, 2


@dataclass(frozen=True, kw_only=True)
class Windows(ABC):
    """Base of all strategies.

    Args:
        length: width of a window in samples. Give this or ``seconds``.
        seconds: width of a window in seconds; needs recordings of one rate.
    """

    length: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Check that the width is given once and is positive.

        Raises:
            ValueError: if none or both of ``length`` and ``seconds`` are set, or the one set is not positive.
        """
        given = [value for value in (self.length, self.seconds) if value is not None]
        if len(given) != 1 or not given[0] > 0:
            raise ValueError(
                f"{type(self).__name__}: set exactly one of length (samples) and seconds, above 0, "
                f"not length={self.length}, seconds={self.seconds}"
            )

    def width(self, rate: float) -> int:
        """Width of a window in samples.

        Args:
            rate: samples a second, 0.0 where recordings do not share one.

        Raises:
            ValueError: if the width is in seconds and there is no rate.
        """
        if self.length is not None:
            return self.length
        assert self.seconds is not None
        if not rate > 0:
            raise ValueError(
                f"{type(self).__name__}: seconds={self.seconds} has no meaning while the recordings "
                "share no rate; set signal.rate so that all are resampled to it, or give length in samples"
            )
        return max(1, round(self.seconds * rate))

    @abstractmethod
    def shortest(self, width: int) -> int:
        """Samples of the shortest recording that ``starts`` can serve."""

    @abstractmethod
    def shortest_pair(self, width: int) -> int:
        """Samples of the shortest recording that ``pairs`` can serve."""

    @abstractmethod
    def starts(self, lengths: Int, width: int, keys: Int) -> Int:
        """Starts (n, K) of every window, -1 where a recording has fewer than K.

        Args:
            lengths: (n,) samples, each at least ``shortest(width)``.
            width: samples a window.
            keys: (n,) decide what is random.
        """

    @abstractmethod
    def pairs(self, lengths: Int, widths: Int, keys: Int) -> Int:
        """Starts (n, 2) of two views a recording.

        Args:
            lengths: (n,) samples, each at least ``shortest_pair(widths.max())``.
            widths: (n, 2) samples of either view.
            keys: (n,) decide what is random.
        """


def _at_least_one(name: str, values: dict[str, int]) -> None:
    for field, value in values.items():
        if value < 1:
            raise ValueError(f"{name}: {field} must be at least 1, not {value}")


def _two_of(counts: Int, keys: Int) -> Int:
    """Two distinct indices (n, 2) below counts (n,), every ordered pair equally likely."""
    random = uniforms(derive(keys, _INDEX), 2)
    first = (random[:, 0] * counts).astype(np.int64)
    second = (random[:, 1] * (counts - 1)).astype(np.int64)
    return np.stack([first, second + (second >= first)], 1)


@final
@dataclass(frozen=True, kw_only=True)
class Random(Windows):
    """Independent uniform starts; windows may overlap.

    Args:
        length: width of a window in samples. Give this or ``seconds``.
        seconds: width of a window in seconds; needs recordings of one rate.
        count: windows a recording when all are wanted.
    """

    count: int = 1

    def __post_init__(self) -> None:
        """Check the count."""
        super().__post_init__()
        _at_least_one("Random", {"count": self.count})

    def shortest(self, width: int) -> int:
        """One window."""
        return width

    def shortest_pair(self, width: int) -> int:
        """One window, which both views may then share."""
        return width

    def starts(self, lengths: Int, width: int, keys: Int) -> Int:
        """``count`` starts, uniform on 0 .. L - W."""
        return self._draw(lengths, np.full((len(lengths), self.count), width), keys)

    def pairs(self, lengths: Int, widths: Int, keys: Int) -> Int:
        """Two starts, uniform and independent."""
        return self._draw(lengths, widths, keys)

    def _draw(self, lengths: Int, widths: Int, keys: Int) -> Int:
        room = lengths[:, None] - widths + 1
        starts: Int = (uniforms(derive(keys, _START), widths.shape[1]) * room).astype(np.int64)
        return starts


@final
@dataclass(frozen=True, kw_only=True)
class Disjoint(Windows):
    """Random starts, no two windows of a recording sharing a sample; every such placing equally likely.

    Args:
        length: width of a window in samples. Give this or ``seconds``.
        seconds: width of a window in seconds; needs recordings of one rate.
        count: windows a recording when all are wanted.
    """

    count: int = 2

    def __post_init__(self) -> None:
        """Check the count."""
        super().__post_init__()
        _at_least_one("Disjoint", {"count": self.count})

    def shortest(self, width: int) -> int:
        """Room for all windows side by side."""
        return width * self.count

    def shortest_pair(self, width: int) -> int:
        """Room for two windows side by side."""
        return width * 2

    def starts(self, lengths: Int, width: int, keys: Int) -> Int:
        """``count`` starts at least W apart, in random order."""
        return self._draw(lengths, np.full((len(lengths), self.count), width), keys)

    def pairs(self, lengths: Int, widths: Int, keys: Int) -> Int:
        """Two starts with no sample in common."""
        return self._draw(lengths, widths, keys)

    def _draw(self, lengths: Int, widths: Int, keys: Int) -> Int:
        """Lay the windows side by side in random order and spread the slack over the gaps between them.

        The k ends of gaps are a sorted k-subset of range(slack + k) less its ranks: one subset a placing, so
        uniform subsets are uniform placings. Sorting k numbers drawn with replacement would not be uniform.
        """
        count = widths.shape[1]
        order = np.argsort(uniforms(derive(keys, _INDEX), count), axis=1)
        laid = np.take_along_axis(widths, order, 1)
        slack = lengths - laid.sum(1)
        gaps = _subsets(slack + count, uniforms(derive(keys, _START), count)) - np.arange(count)
        before = np.cumsum(laid, 1) - laid
        starts = np.empty_like(laid)
        np.put_along_axis(starts, order, gaps + before, 1)
        return starts


def _subsets(sizes: Int, random: NDArray[np.float64]) -> Int:
    """Sorted uniform subsets (n, k) of range(size), by Floyd's algorithm over all rows at once."""
    count = random.shape[1]
    chosen = np.full(random.shape, -1, dtype=np.int64)
    for step in range(count):
        top = sizes - count + step
        pick = (random[:, step] * (top + 1)).astype(np.int64)
        taken = (chosen[:, :step] == pick[:, None]).any(1)
        chosen[:, step] = np.where(taken, top, pick)
    return np.sort(chosen, 1)


@final
@dataclass(frozen=True, kw_only=True)
class Sequential(Windows):
    """Window i starts at i * stride, as many as fit. A pair is two different windows of that grid.

    Args:
        length: width of a window in samples. Give this or ``seconds``.
        seconds: width of a window in seconds; needs recordings of one rate.
        stride: samples between two starts.
    """

    stride: int

    def __post_init__(self) -> None:
        """Check the stride."""
        super().__post_init__()
        _at_least_one("Sequential", {"stride": self.stride})

    def shortest(self, width: int) -> int:
        """One window."""
        return width

    def shortest_pair(self, width: int) -> int:
        """Two windows of the grid."""
        return width + self.stride

    def starts(self, lengths: Int, width: int, keys: Int) -> Int:
        """0, stride, 2 stride, ...; no key is used."""
        counts = (lengths - width) // self.stride + 1
        index = np.arange(counts.max(initial=0))
        return np.where(index < counts[:, None], index * self.stride, -1)

    def pairs(self, lengths: Int, widths: Int, keys: Int) -> Int:
        """Two different places of the grid that the wider view fits."""
        return _two_of((lengths - widths.max(1)) // self.stride + 1, keys) * self.stride


@final
@dataclass(frozen=True, kw_only=True)
class EvenlySpaced(Windows):
    """``count`` windows from the first sample to the last: round(i * (L - W) / (count - 1)).

    Halves round to even, as in Python; a count of 1 starts at 0.

    Args:
        length: width of a window in samples. Give this or ``seconds``.
        seconds: width of a window in seconds; needs recordings of one rate.
        count: windows a recording.
    """

    count: int

    def __post_init__(self) -> None:
        """Check the count."""
        super().__post_init__()
        _at_least_one("EvenlySpaced", {"count": self.count})

    def shortest(self, width: int) -> int:
        """One window."""
        return width

    def shortest_pair(self, width: int) -> int:
        """As many samples more than a window as keep any two places apart."""
        return width + max(self.count - 1, 1)

    def starts(self, lengths: Int, width: int, keys: Int) -> Int:
        """The ``count`` places; no key is used."""
        index = np.broadcast_to(np.arange(self.count), (len(lengths), self.count))
        return self._place(lengths[:, None] - width, index)

    def pairs(self, lengths: Int, widths: Int, keys: Int) -> Int:
        """Two different places, each view reaching the last sample in the last place.

        Raises:
            ValueError: if ``count`` is 1.
        """
        if self.count < 2:
            raise ValueError("EvenlySpaced: a pair needs count of at least 2, not 1")
        index = _two_of(np.full(len(lengths), self.count), keys)
        return self._place(lengths[:, None] - widths, index)

    def _place(self, room: Int, index: Int) -> Int:
        return np.rint(index * room / max(self.count - 1, 1)).astype(np.int64)
