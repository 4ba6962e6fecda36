"""What clinicians' scores are made of: plain statistics of every variable of a row, without parameters."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from counterpoint.encoders.base import Encoder
from counterpoint.ragged import Ragged
from counterpoint.types import Encoded, Events, EventSpec

KINDS = ("mean", "deviation", "least", "largest", "first", "last", "count", "recency", "early", "late")
"""What is known of a variable; the embedding holds all variables of one kind, then all of the next."""


@final
class EventStatistics(Encoder):
    """Ten numbers a variable: nothing is learned, and the embedding is known before any training.

    Mean, standard deviation, least, largest, first and last value, ln(1 + count), hours from the last event of the
    variable to the end of the row as a share of its length, and the mean before and within the last ``late`` hours. A
    variable that a row lacks is 0 in all of them. Beside a learned branch of ``Parallel`` it keeps what a linear
    classifier can use at once, so that the learned one need not learn it again.
    """

    reads: ClassVar = (EventSpec,)

    def __init__(self, spec: EventSpec, /, *, late: float = 12.0) -> None:
        """Size the embedding.

        Args:
            spec: of the modality.
            late: hours before the last set of a row that count as late.

        Raises:
            ValueError: if ``late`` is no positive number.
        """
        super().__init__()
        if not late > 0:
            raise ValueError(f"EventStatistics.late is {late}; it must be above 0 hours")
        self.variables, self.late = len(spec.variables), late
        self.dim = len(KINDS) * self.variables

    def forward(self, events: Events) -> Encoded:
        """One token a row."""
        sets, rows = Ragged(events.sets), Ragged(events.rows)
        cells = _Cells(events, sets.owner, rows.owner[sets.owner], len(rows), self.variables)
        edges = _edges(events.times, rows)
        late = (events.times > edges[1][rows.owner] - self.late)[sets.owner]
        span = (edges[1] - edges[0]).clamp_min(1e-6).unsqueeze(1)
        mean, known = cells.mean(), cells.counts > 0
        recency = torch.where(known, (edges[1].unsqueeze(1) - cells.moment("amax")) / span, 0.0)
        found = [
            mean,
            (cells.mean(events.values.square()) - mean.square()).clamp_min(0).sqrt(),
            cells.extreme("amin"),
            cells.extreme("amax"),
            cells.at_edge("amin"),
            cells.at_edge("amax"),
            cells.counts.log1p(),
            recency,
            cells.mean(chosen=~late),
            cells.mean(chosen=late),
        ]
        pooled = torch.stack(found, 1).flatten(1)
        return Encoded(pooled.unsqueeze(1), (rows.lengths > 0).unsqueeze(1), pooled)


class _Cells:
    """The events by row and variable.

    Args:
        events: E of them.
        owner: (E,) the set of each.
        row: (E,) the row of each.
        count: B.
        variables: V.
    """

    def __init__(self, events: Events, owner: Tensor, row: Tensor, count: int, variables: int) -> None:
        self.values, self.shape = events.values, (count, variables)
        self.index = row * variables + events.codes
        self.times = events.times[owner].to(events.values.dtype)
        self.counts = self._sum(torch.ones_like(self.values))

    def mean(self, values: Tensor | None = None, chosen: Tensor | None = None) -> Tensor:
        """(B, V) mean of the values, or of other (E,) numbers, or of those chosen (E,); 0 where there is none."""
        numbers = self.values if values is None else values
        if chosen is None:
            return self._sum(numbers) / self.counts.clamp_min(1)
        weight = chosen.to(numbers.dtype)
        return self._sum(numbers * weight) / self._sum(weight).clamp_min(1)

    def extreme(self, kind: str) -> Tensor:
        """(B, V) least (``amin``) or largest (``amax``) value; 0 where there is none."""
        return self._reduce(self.values, kind)

    def moment(self, kind: str) -> Tensor:
        """(B, V) hour of the first or last event; 0 where there is none."""
        return self._reduce(self.times, kind)

    def at_edge(self, kind: str) -> Tensor:
        """(B, V) mean value of the events at the first or last moment."""
        edge = self.moment(kind).flatten()[self.index]
        return self.mean(chosen=self.times == edge)

    def _sum(self, numbers: Tensor) -> Tensor:
        flat = numbers.new_zeros(self.shape[0] * self.shape[1])
        return flat.index_add(0, self.index, numbers).view(self.shape)

    def _reduce(self, numbers: Tensor, kind: str) -> Tensor:
        flat = numbers.new_zeros(self.shape[0] * self.shape[1])
        return flat.scatter_reduce(0, self.index, numbers, kind, include_self=False).view(self.shape)


def _edges(times: Tensor, rows: Ragged) -> tuple[Tensor, Tensor]:
    """(B,) hour of the first and of the last set; 0 for rows without sets."""
    present, none = rows.lengths > 0, times.new_zeros(len(rows))
    first, last = none.clone(), none.clone()
    first[present] = times[rows.offsets[:-1][present]]
    last[present] = times[rows.offsets[1:][present] - 1]
    return first, last
