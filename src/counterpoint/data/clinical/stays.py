"""Stays of patients: the role of what reads them, the one table of events they become, and what was left out of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.splits import Value, text
from counterpoint.keys import Int

MODALITY = "events"
SHOWN = 5
"""How many examples stand in the account of what was left out."""
_VALUES = 8

Float = NDArray[np.float64]
Cells = dict[str, list[Value | None]]


class EventAccount:
    """What was found in the events and is no reason to refuse a stay: counted by kind, with examples."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._stays: dict[str, set[str]] = {}
        self._examples: dict[str, list[str]] = {}

    def note(self, kind: str, count: int, stays: Iterable[str], examples: Sequence[str]) -> None:
        """Add to the account.

        Args:
            kind: what was found and what became of it.
            count: how many more of them.
            stays: in which stays.
            examples: some of them, spelt out.
        """
        if count:
            self._counts[kind] = self._counts.get(kind, 0) + count
            self._stays.setdefault(kind, set()).update(stays)
            kept = self._examples.setdefault(kind, [])
            kept += examples[: SHOWN - len(kept)]

    def copy(self) -> EventAccount:
        """The same, to add to."""
        other = EventAccount()
        for kind, count in self._counts.items():
            other.note(kind, count, self._stays[kind], self._examples[kind])
        return other

    def report(self) -> dict[str, dict[str, Any]]:
        """JSON-able: kind -> count, in how many stays, examples."""
        return {
            kind: {"count": count, "stays": len(self._stays[kind]), "examples": list(self._examples[kind])}
            for kind, count in self._counts.items()
        }


@dataclass(frozen=True)
class Stays:
    """All stays of a reader, n of them with E events, each stay's in one piece.

    Attributes:
        names: (n,) of the stays.
        files: (n,) where the events of each stand.
        cells: column of the outcome tables -> (n,) cells; and where each stay comes from.
        variables: by code.
        stay: (E,) index of the stay, ascending.
        minutes: (E,) since admission, to a thousandth.
        codes: (E,) index of the variable.
        values: (E,) float32.
        lines: (E,) row of the file, as a person counts them.
        sets: (E,) number of the set as the source has it; None where time alone decides.
        rejected: stay -> why it cannot be used.
        given: variable -> mean and standard deviation, where the source states them.
        sources: files and folders that were read.
        account: what was left out so far.
    """

    names: Sequence[str]
    files: Sequence[Path]
    cells: Cells
    variables: tuple[str, ...]
    stay: Int
    minutes: Float
    codes: Int
    values: NDArray[np.float32]
    lines: Int
    sets: Int | None = None
    rejected: Mapping[int, str] = field(default_factory=dict)
    given: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sources: Sequence[Path] = ()
    account: EventAccount = field(default_factory=EventAccount)

    def note(self, kind: str, events: Int) -> None:
        """Enter events, by index, in the account, the first few spelt out."""
        stays = [self.names[at] for at in np.unique(self.stay[events])]
        self.account.note(kind, len(events), stays, [self.spell(int(at)) for at in events[:SHOWN]])

    def spell(self, event: int) -> str:
        """One event for people: file, row, stay, variable, value and time."""
        at = self.stay[event]
        return (
            f"{self.files[at]}, row {self.lines[event]}, stay {self.names[at]}: "
            f"{self.variables[self.codes[event]]!r} = {self.values[event]:g} at minute {self.minutes[event]:g}"
        )

    def columns(self, events: Int | NDArray[np.bool_]) -> dict[str, Any]:
        """The columns of some events, by name."""
        found: dict[str, Any] = {
            name: getattr(self, name)[events] for name in ("stay", "minutes", "codes", "values", "lines")
        }
        return found | {"sets": None if self.sets is None else self.sets[events]}


class StayReader(ABC):
    """Base of all that reads stays.

    Attributes:
        outcome: the column of outcomes that a published form has; "" where there is no such custom.
    """

    outcome = ""

    @abstractmethod
    def read(self) -> Stays:
        """Read everything.

        Raises:
            ValueError: naming file, row and remedy, for what leaves the whole unusable.
        """


def describe_stays(stays: StayReader | Stays) -> str:
    """Say what a reader finds or found, a line a fact."""
    stays = stays.read() if isinstance(stays, StayReader) else stays
    sizes = np.bincount(stays.stay, minlength=len(stays.names))
    lines = [
        f"{', '.join(map(str, stays.sources))}: {len(stays.names)} stays, {len(stays.stay)} events, "
        f"{int(np.median(sizes))} a stay in the middle and {int(sizes.max())} at most"
    ]
    if len(stays.minutes):
        hours = (stays.minutes.min() / 60, stays.minutes.max() / 60)
        lines.append(f"time: {hours[0]:g} to {hours[1]:g} hours since admission")
    events = np.bincount(stays.codes, minlength=len(stays.variables))
    pairs = np.unique(stays.codes * len(stays.names) + stays.stay)
    having = np.bincount(pairs // max(1, len(stays.names)), minlength=len(stays.variables))
    lines.append("variables, events and stays that have them:")
    lines += [
        f"  {name}: {count} in {stay}"
        for name, count, stay in zip(stays.variables, events.tolist(), having.tolist(), strict=True)
    ]
    for name, column in stays.cells.items():
        counts = Counter(text(cell) or "(empty)" for cell in column)
        if len(counts) <= _VALUES:
            lines.append(f"{name}: " + ", ".join(f"{cell} x {count}" for cell, count in counts.most_common()))
        else:
            lines.append(f"{name}: {len(counts)} different cells")
    for kind, found in stays.account.report().items():
        lines.append(f"{kind}: {found['count']} in {found['stays']} stays, such as {found['examples'][0]}")
    unusable = [f"{stays.names[at]} ({why})" for at, why in stays.rejected.items()]
    if unusable:
        lines.append(f"cannot be used: {len(unusable)} stays, such as {'; '.join(unusable[:SHOWN])}")
    return "\n".join(lines)
