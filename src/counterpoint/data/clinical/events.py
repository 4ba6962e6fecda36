"""Events between the file and the model: which are kept, how they make sets, and the flat store they are read from."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.clinical.stays import Stays
from counterpoint.data.splits import text
from counterpoint.keys import Int

_LEVELS = 64

Normalise = Literal["zscore", "robust", "quantile", "given"]


@dataclass(frozen=True, kw_only=True)
class EventConfig:
    """What is done to events.

    Args:
        normalise: each variable by its training stays: mean and standard deviation; median and the spread of the
            middle half; its quantiles onto those of a normal distribution; or mean and standard deviation as
            ``stats.csv`` gives them.
        clip: standardised values beyond this many standard deviations are set to it, and counted; none for no limit.
        max_sequence_length: the largest number of sets; longer stays lose whole sets.
        keep: which of their sets stay.
        horizon_hours: only events before this hour are used; none for all.
        resolution_minutes: events of one step of this length are one set, where the source numbers no sets.
        negative_time: what becomes of events before admission.
        duplicates: of several events with the same stay, minute and variable: drop exact copies, keep all, the
            first or the last in the file, or refuse them.
        categorical: variables whose levels become variables of their own, such as ``ICUType=2``, with the value 0.
        variables: the variables to use, in their order; empty for all there are.
    """

    normalise: Normalise = "zscore"
    clip: float | None = 5.0
    max_sequence_length: int | None = None
    keep: Literal["newest", "oldest"] = "newest"
    horizon_hours: float | None = None
    resolution_minutes: float = 1.0
    negative_time: Literal["keep", "drop", "refuse"] = "keep"
    duplicates: Literal["drop_copies", "keep", "first", "last", "refuse"] = "drop_copies"
    categorical: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            ValueError: naming the one that does not fit.
        """
        for name in ("clip", "max_sequence_length", "resolution_minutes"):
            number = getattr(self, name)
            if number is not None and number <= 0:
                raise ValueError(f"events.{name} must be above 0, not {number}")

    def is_level(self, variable: str) -> bool:
        """Whether a variable is a level of a categorical one."""
        name, sign, _ = variable.rpartition("=")
        return bool(sign) and name in self.categorical


class EventStore(NamedTuple):
    """The events of n stays, flat: what batches are gathered from.

    Attributes:
        values: (E,) float32 as recorded; 0 for levels of categorical variables.
        codes: (E,) int32 index of the variable; ascending inside a set.
        minutes: (E,) float64.
        times: (S,) float32 hours of the first event of each set.
        sets: (S + 1,) offsets of sets into events.
        rows: (n + 1,) offsets of stays into sets.
    """

    values: NDArray[np.float32]
    codes: NDArray[np.int32]
    minutes: NDArray[np.float64]
    times: NDArray[np.float32]
    sets: Int
    rows: Int

    @property
    def owners(self) -> Int:
        """(E,) which stay each event is of."""
        return np.repeat(np.arange(len(self.rows) - 1), np.diff(self.sets[self.rows]))

    def take(self, rows: Int) -> EventStore:
        """The stays ``rows`` (m,), in that order."""
        starts, ends = self.rows[rows], self.rows[rows + 1]
        return self.cut(starts, ends)

    def cut(self, starts: Int, ends: Int) -> EventStore:
        """Stays that are the sets ``starts`` (m,) to before ``ends`` (m,)."""
        sets = spans(starts, ends)
        events = spans(self.sets[sets], self.sets[sets + 1])
        return EventStore(
            self.values[events],
            self.codes[events],
            self.minutes[events],
            self.times[sets],
            offsets(self.sets[sets + 1] - self.sets[sets]),
            offsets(ends - starts),
        )


def offsets(sizes: Int) -> Int:
    """(n + 1,) where each of n runs begins, and where the last ends."""
    found = np.zeros(len(sizes) + 1, dtype=np.int64)
    np.cumsum(sizes, out=found[1:])
    return found


def spans(starts: Int, ends: Int) -> Int:
    """All whole numbers from each start to before its end, one span after another."""
    sizes = ends - starts
    before = offsets(sizes)
    return np.repeat(starts - before[:-1], sizes) + np.arange(before[-1])


def event_store(stays: Stays, config: EventConfig) -> tuple[EventStore, tuple[str, ...], dict[int, str]]:
    """Choose events, make sets of them and lay them flat.

    What is left out enters ``stays.account``.

    Args:
        stays: as read.
        config: what to do.

    Returns:
        The store of all stays; the variables by code; and stay -> why it cannot be used: by its reader, or because
        it has no event left.

    Raises:
        ValueError: where duplicates or events before admission are to be refused and there are some; a variable
            that the settings name is in no stay, or has too many levels.
    """
    count = np.bincount(stays.stay, minlength=len(stays.names))
    stays = _levels(_chosen(stays, config.variables), config.categorical)
    stays = _timely(stays, config)
    stays, first = _distinct(*_ordered(stays, config.resolution_minutes), config)
    starts = np.flatnonzero(first)
    sets = np.append(starts, len(first))
    sizes = np.bincount(stays.stay[starts], minlength=len(stays.names))
    earliest = np.minimum.reduceat(stays.minutes, starts) if len(starts) else np.empty(0)
    store = EventStore(
        stays.values,
        stays.codes.astype(np.int32),
        stays.minutes,
        (earliest / 60).astype(np.float32),
        sets,
        offsets(sizes),
    )
    reasons = dict(stays.rejected)
    for row in np.flatnonzero(sizes == 0).tolist():
        reasons.setdefault(row, f"empty: none of its {count[row]} events is used" if count[row] else "empty: no events")
    for row in np.unique(stays.stay[starts][1:][(np.diff(stays.stay[starts]) == 0) & (np.diff(earliest) < 0)]).tolist():
        reasons.setdefault(row, "set_index against time: a later set has an earlier event")
    return _shortened(store, stays, config), stays.variables, reasons


def _without(stays: Stays, kind: str, found: NDArray[np.bool_]) -> Stays:
    if not found.any():
        return stays
    stays.note(kind, np.flatnonzero(found))
    return replace(stays, **stays.columns(~found))


def _chosen(stays: Stays, variables: list[str]) -> Stays:
    """With the chosen variables alone, coded by their order."""
    if not variables:
        return stays
    place = {name: at for at, name in enumerate(variables)}
    absent = [name for name in variables if name not in stays.variables]
    if len(absent) == len(variables):
        raise ValueError(
            f"events.variables: no event is of {', '.join(absent)}; there are {', '.join(stays.variables)}"
        )
    numbers = np.array([place.get(name, -1) for name in stays.variables], dtype=np.int64)
    stays = _without(stays, "variable not chosen, left out", numbers[stays.codes] < 0)
    return replace(stays, codes=numbers[stays.codes], variables=tuple(variables))


def _levels(stays: Stays, categorical: list[str]) -> Stays:
    """With a variable a level in place of every categorical one, its value 0."""
    names: list[str] = []
    codes, values = np.empty_like(stays.codes), stays.values.copy()
    unknown = [name for name in categorical if name not in stays.variables]
    if unknown:
        raise ValueError(f"events.categorical: no variable {unknown[0]!r}; there are {', '.join(stays.variables)}")
    numbers = np.full(len(stays.variables), -1, dtype=np.int64)
    for code, name in enumerate(stays.variables):
        if name not in categorical:
            numbers[code] = len(names)
            names.append(name)
            continue
        at = np.flatnonzero(stays.codes == code)
        levels, which = np.unique(stays.values[at], return_inverse=True)
        if len(levels) > _LEVELS:
            raise ValueError(f"events.categorical: {name!r} has {len(levels)} levels; at most {_LEVELS}")
        codes[at], values[at] = len(names) + which, 0.0
        names += [f"{name}={text(level)}" for level in levels.tolist()]
    plain = numbers[stays.codes]
    return replace(stays, codes=np.where(plain < 0, codes, plain), values=values, variables=tuple(names))


def _timely(stays: Stays, config: EventConfig) -> Stays:
    """Without events past the horizon or, where so set, before admission."""
    early = stays.minutes < 0
    if config.negative_time == "refuse" and early.any():
        raise ValueError(
            f"{stays.spell(int(np.argmax(early)))}: before admission, as {int(early.sum())} events are; set "
            "events.negative_time to keep or drop"
        )
    if config.negative_time == "drop":
        stays = _without(stays, "before admission, left out", early)
    else:
        stays.note("before admission, kept", np.flatnonzero(early))
    if config.horizon_hours is None:
        return stays
    return _without(stays, "at or after horizon_hours, left out", stays.minutes >= 60 * config.horizon_hours)


def _ordered(stays: Stays, resolution: float) -> tuple[Stays, NDArray[np.bool_]]:
    """In the order of stay, set, variable, time, file; and (E,) which events are the first of their set."""
    steps = np.floor(stays.minutes / resolution) if stays.sets is None else stays.sets
    same = np.diff(stays.stay) == 0
    if not ((np.diff(steps) >= 0) | ~same).all() or not ((np.diff(stays.minutes) >= 0) | ~same).all():
        order = np.lexsort((stays.minutes, steps, stays.stay))
        stays, steps = replace(stays, **stays.columns(order)), steps[order]
    first = _changes(stays.stay) | _changes(steps)
    # Inside a set a fixed order, so that files that differ in it alone are the same.
    order = np.argsort((np.cumsum(first) - 1) * len(stays.variables) + stays.codes, kind="stable")
    return replace(stays, **stays.columns(order)), first


def _changes(cells: NDArray[np.generic]) -> NDArray[np.bool_]:
    """(E,) True where a cell differs from the one before it."""
    found = np.ones(len(cells), dtype=np.bool_)
    found[1:] = cells[1:] != cells[:-1]
    return found


def _distinct(stays: Stays, first: NDArray[np.bool_], config: EventConfig) -> tuple[Stays, NDArray[np.bool_]]:
    """By the policy on duplicates; both answers as ``_ordered`` has them."""
    fresh = first | _changes(stays.codes) | _changes(stays.minutes)
    if fresh.all():
        return stays, first
    if config.duplicates == "refuse":
        raise ValueError(
            f"{stays.spell(int(np.argmin(fresh)))}: the same minute and variable stand above it, as for "
            f"{int((~fresh).sum())} events; set events.duplicates to drop_copies, keep, first or last"
        )
    cluster = np.cumsum(fresh) - 1
    among = np.flatnonzero(np.bincount(cluster)[cluster] > 1)
    order = among[np.lexsort((stays.values[among], cluster[among]))]
    copies = np.zeros(len(fresh), dtype=np.bool_)
    copies[order[1:]] = (np.diff(cluster[order]) == 0) & (np.diff(stays.values[order]) == 0)
    others = ~fresh & ~copies
    drop = {
        "keep": np.zeros_like(fresh),
        "drop_copies": copies,
        "first": ~fresh,
        "last": np.append(~fresh[1:], False),
    }[config.duplicates]
    verdict = "kept" if config.duplicates == "keep" else "left out"
    stays.note(f"exact copy of an event, {verdict}", np.flatnonzero(copies))
    verdict = f"the {config.duplicates} kept" if config.duplicates in ("first", "last") else "all kept"
    stays.note(f"another value at the same minute, {verdict}", np.flatnonzero(others))
    number = np.cumsum(first)[~drop]
    return replace(stays, **stays.columns(~drop)), _changes(number)


def _shortened(store: EventStore, stays: Stays, config: EventConfig) -> EventStore:
    """With at most so many sets a stay."""
    most, sizes = config.max_sequence_length, np.diff(store.rows)
    if most is None or sizes.max(initial=0) <= most:
        return store
    over = np.maximum(sizes - most, 0)
    starts, ends = store.rows[:-1], store.rows[1:]
    lost, kept = ((starts, starts + over), (starts + over, ends))
    if config.keep == "oldest":
        lost, kept = ((ends - over, ends), (starts, ends - over))
    sets = spans(*lost)
    stays.note(f"beyond max_sequence_length, the {config.keep} kept", spans(store.sets[sets], store.sets[sets + 1]))
    return store.cut(*kept)
