"""Scores of runs on the rows they share, their ranks, and a paired test of each two of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from counterpoint.comparison.sharing import Shared
from counterpoint.evaluate.intervals import paired_test, signed
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, METRICS, headline, spoken
from counterpoint.evaluate.results import Result, TableRow, known, score_table
from counterpoint.types import Estimate

LEVEL = 0.05


class Line(NamedTuple):
    """A score of one answer of one run; ``rank`` among the main answers, None of baselines."""

    run: str
    answer: str
    kind: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    spread: float | None
    chance: float
    groups: int
    rank: int | None


class Pair(NamedTuple):
    """Main answers of two runs on one score.

    Attributes:
        metric: the score.
        first: a run.
        second: another.
        value: first minus second.
        low: of its 95 % interval; None of one group.
        high: of it.
        p: two-sided, of the paired bootstrap by group.
        holm: the same, corrected for all pairs on this score (Holm 1979).
    """

    metric: str
    first: str
    second: str
    value: float | None
    low: float | None
    high: float | None
    p: float | None
    holm: float | None

    @property
    def settled(self) -> bool:
        """Whether one of the two is better, the number of pairs taken into account."""
        return self.holm is not None and self.holm < LEVEL

    @property
    def text(self) -> str:
        """As a reader meets the difference."""
        value, low, high = (math.nan if end is None else end for end in (self.value, self.low, self.high))
        return signed(Estimate(value, low, high, 0))

    @property
    def told(self) -> str:
        """A sentence."""
        better, worse = (self.first, self.second) if self._ahead else (self.second, self.first)
        if self.p is None or self.holm is None:
            return f"{spoken(self.metric)}: {self.first} minus {self.second}: {self.text}."
        end = f"({self.first} minus {self.second}: {self.text}, p {_p(self.p)}, Holm {_p(self.holm)})."
        if self.settled:
            return f"{spoken(self.metric)}: {better} is better than {worse} {end}"
        return f"{spoken(self.metric)}: {self.first} and {self.second} are not told apart {end}"

    @property
    def _ahead(self) -> bool:
        return (self.value or 0.0) > 0 if self.metric not in LOWER_IS_BETTER else (self.value or 0.0) < 0


class Judged(NamedTuple):
    """Everything that is said of runs.

    Attributes:
        metric: the score that decides: of the first run.
        table: a row a run and answer, over all shared rows.
        owners: run and answer of each row.
        lines: every score, flat.
        pairs: on the score that decides and those told beside it.
    """

    metric: str
    table: list[TableRow]
    owners: list[tuple[str, str]]
    lines: list[Line]
    pairs: list[Pair]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The score that decides, and those told beside it."""
        return headline(self.metric)


def judge(shared: Shared) -> Judged:
    """Score runs on common ground."""
    metric = shared.entrants[0].metric
    named: list[list[Result]] = []
    for entrant, results in zip(shared.entrants, shared.results, strict=True):
        named.append([replace(one, name=title(entrant.name, one.name)) for one in results])
    main = [
        [one for one in own if one.name == title(entrant.name, entrant.answer)]
        for entrant, own in zip(shared.entrants, named, strict=True)
    ]
    rows = {row["name"]: row for row in score_table([one for own in named for one in own])}
    asked = {
        title(entrant.name, answer): (entrant.name, answer)
        for entrant in shared.entrants
        for answer in (entrant.answer, entrant.baseline)
        if answer
    }
    table, lines = [rows[name] for name in asked if name in rows], list[Line]()
    ranks = {one: _ranks([rows[own[0].name] for own in main], one) for one in METRICS}
    for row in table:
        run, answer = asked[row["name"]]
        for one in METRICS:
            score = row["scores"][one]
            told = (score["value"], score["low"], score["high"], score["spread"], score["chance"], row["groups"])
            lines.append(Line(run, answer, row["kind"], one, *told, ranks[one].get(row["name"])))
    names = [entrant.name for entrant in shared.entrants]
    pairs = [pair for one in headline(metric) for pair in _pairs(names, main, one)]
    owners = [asked[row["name"]] for row in table]
    return Judged(metric, table, owners, lines, pairs)


def title(run: str, answer: str) -> str:
    """What an answer of a run is called."""
    return f"{run} \N{MIDDLE DOT} {answer}"


def _ranks(rows: Sequence[TableRow], metric: str) -> dict[str, int]:
    """1 for the best; equal scores share the better rank, undefined ones have none."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    values = {row["name"]: sign * value for row in rows if (value := row["scores"][metric]["value"]) is not None}
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def _pairs(names: Sequence[str], main: Sequence[Sequence[Result]], metric: str) -> list[Pair]:
    statistics = [[result.statistics()[metric] for result in own] for own in main]
    sides = list(itertools.combinations(range(len(names)), 2))
    tested = [paired_test(statistics[i], statistics[j]) for i, j in sides]
    corrected = holm([one.p for one in tested])
    pairs = []
    for (i, j), (gap, level), least in zip(sides, tested, corrected, strict=True):
        ends = known(gap.value), known(gap.low), known(gap.high)
        pairs.append(Pair(metric, names[i], names[j], *ends, known(level), known(least)))
    return pairs


def holm(levels: Sequence[float]) -> list[float]:
    """p-values corrected step by step for how many there are (Holm 1979); NaN stays and does not count."""
    found = np.full(len(levels), np.nan)
    real = [place for place in np.argsort(levels).tolist() if np.isfinite(levels[place])]
    least = 0.0
    for rank, place in enumerate(real):
        least = max(least, min(1.0, (len(real) - rank) * levels[place]))
        found[place] = least
    return [float(level) for level in found]


def _p(level: float) -> str:
    return f"{level:.3f}" if level >= 0.001 else "< 0.001"
