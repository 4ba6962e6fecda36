"""The tables of a report: scores beside baselines and chance, folds, transfer, confusion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from counterpoint.evaluate.metrics import LOWER_IS_BETTER
from counterpoint.report.charts import Chart, Series, line_chart
from counterpoint.report.documents import Calibration, Confusion, Difference, Interval, Row, Scores, TransferPoint
from counterpoint.report.wording import share_text, words

WIDE, NARROW, CROWDED = 200.0, 120.0, 84.0
"""Width in pixels of the bars of the main metric, of the others, and of the others where there are many."""
MANY = 4
EDGE = 4.0
STARTS = ("pretrained", "scratch")


class Bar(NamedTuple):
    """A score in a small picture: its width, then interval, value and chance in pixels; NaN where unknown."""

    width: float
    low: float
    value: float
    high: float
    chance: float


class Entry(NamedTuple):
    """A cell of a table of scores."""

    score: Interval
    best: bool
    bar: Bar


class TableRow(NamedTuple):
    """A row of a table of scores; ``kind`` is model, baseline or chance."""

    name: str
    kind: str
    entries: dict[str, Entry]
    unseen: Sequence[str] = ()


class Heat(NamedTuple):
    """A cell of the confusion matrix: a count and its share of the true class."""

    rows: int
    share: float


class ShotTable(NamedTuple):
    """Answers that were given the same few labels, with the difference between model and baseline."""

    labels: int
    repeats: int
    metrics: Sequence[str]
    rows: list[TableRow]
    difference: Difference | None


def score_table(
    rows: Sequence[Row], metrics: Sequence[str], chance: dict[str, float], *, beside: Sequence[Row] = ()
) -> list[TableRow]:
    """Rows of scores, the best value of each metric marked, and what chance reaches below them.

    Args:
        rows: of the table.
        metrics: its columns.
        chance: metric -> what an answer that looks at nothing reaches.
        beside: rows of other tables that share the ends of the bars.
    """
    best = {metric: _best(rows, metric) for metric in metrics}
    others = NARROW if len(metrics) <= MANY else CROWDED
    rulers = {
        metric: _ruler([*rows, *beside], metric, chance.get(metric), others if place else WIDE)
        for place, metric in enumerate(metrics)
    }
    unknown = Interval(value=None, low=None, high=None, groups=0)
    table = []
    for row in rows:
        found = {metric: row.scores.get(metric, unknown) for metric in metrics}
        entries = {m: Entry(score, score.value == best[m], rulers[m].bar(score)) for m, score in found.items()}
        table.append(TableRow(row.name, row.kind, entries, row.unseen))
    levels = {metric: Interval(value=chance.get(metric), low=None, high=None, groups=0) for metric in metrics}
    last = {metric: Entry(level, False, rulers[metric].bar(level)) for metric, level in levels.items()}
    return [*table, TableRow("chance", "chance", last)]


def fold_tables(scores: Scores) -> dict[str, list[tuple[str, list[TableRow]]]]:
    """By metric, every fold with its rows in the order of the first fold."""
    return {
        metric: [(fold.fold, score_table(fold.rows, [metric], {})[:-1]) for fold in scores.folds]
        for metric in scores.metrics
        if any(_values(fold.rows, metric) for fold in scores.folds)
    }


def leaders(scores: Scores) -> list[tuple[str, Row]]:
    """The model under its main evaluator, and the baseline that is strongest on the main metric.

    The main evaluator is the one the confusion matrix or the estimates are of, else the first: choosing the best one by
    its test score would flatter the model.
    """
    models = [row for row in scores.rows if row.kind == "model"]
    named = scores.confusion.evaluator if scores.confusion else scores.regression.answer if scores.regression else ""
    main = [row for row in models if row.name == named] or models
    baselines = [row for row in scores.rows if row.kind == "baseline" and _values([row], scores.metric)]
    sign = 1.0 if scores.metric in LOWER_IS_BETTER else -1.0
    strongest = sorted(baselines, key=lambda row: sign * _values([row], scores.metric)[0])
    return [("Model", row) for row in main[:1]] + [("Strongest baseline", row) for row in strongest[:1]]


def transfer_table(scores: Scores) -> list[tuple[float, dict[str, Interval]]]:
    """By label share, the main score from the pre-trained weights and from scratch."""
    shares = sorted({point.fraction for point in scores.transfer})
    return [
        (share, {p.start: p.scores[scores.metric] for p in _measured(scores) if p.fraction == share})
        for share in shares
    ]


def transfer_chart(scores: Scores) -> Chart | None:
    """The main score against the share of labels; None where nothing was fine-tuned."""
    lines = []
    for index, start in enumerate(STARTS):
        points = sorted((p for p in _measured(scores) if p.start == start), key=lambda p: p.fraction)
        if points:
            x = np.array([point.fraction for point in points])
            found = [point.scores[scores.metric] for point in points]
            y, low, high = (np.array([getattr(s, end) for s in found], np.float64) for end in ("value", "low", "high"))
            name = "pre-trained" if start == "pretrained" else "from scratch"
            lines.append(Series(name, index, "solid" if index == 0 else "dashed", x, y, (low, high)))
    if not lines:
        return None
    marks = sorted({float(share) for line in lines for share in line.x})
    return line_chart(
        f"{words(scores.metric)} by label share".capitalize(),
        "Whiskers are 95 % intervals.",
        lines,
        unit="share of the labels",
        x_kind="log" if marks[-1] / marks[0] > 5 else "linear",
        x_marks=[(share, share_text(share)) for share in marks],
    )


def gain(metric: str, pretrained: Interval, scratch: Interval) -> str:
    """By how much the pre-trained start is better, signed; a dash where one of them is unknown."""
    if pretrained.value is None or scratch.value is None:
        return "–"
    above = pretrained.value - scratch.value
    return f"{-above if metric in LOWER_IS_BETTER else above:+.3f}"


def shot_tables(scores: Scores) -> list[ShotTable]:
    """A table for every number of labels, fewest first; their bars share their ends."""
    every = [row for shot in scores.shots for row in shot.answers]
    metrics = [metric for metric in scores.metrics if any(metric in row.scores for row in every)]
    return [
        ShotTable(
            shot.labels,
            shot.repeats,
            metrics,
            score_table(shot.answers, metrics, scores.chance, beside=every)[:-1],
            shot.difference,
        )
        for shot in sorted(scores.shots, key=lambda shot: shot.labels)
    ]


def reliability_chart(calibration: Calibration) -> Chart:
    """Observed share against predicted probability, with the diagonal on which they are the same."""
    bins = sorted(calibration.bins, key=lambda bin: bin.predicted)
    x, y, low, high = (
        np.array([getattr(bin, end) for bin in bins], np.float64) for end in ("predicted", "observed", "low", "high")
    )
    top = min(1.0, math.ceil(10 * float(np.nanmax([x, y, high])) - 1e-9) / 10) or 0.1
    diagonal = Series("perfect calibration", 1, "guide", np.array([0.0, top]), np.array([0.0, top]))
    return line_chart(
        f"How often {calibration.positive} came true",
        "Below the diagonal the probabilities are too high, above it too low. Whiskers are 95 % intervals.",
        [diagonal, Series("observed", 0, "solid", x, y, (low, high))],
        unit="predicted probability",
        bounds=(0.0, top),
    )


def heat(confusion: Confusion) -> list[list[Heat]]:
    """Every count with its share of the true class."""
    return [[Heat(count, count / max(1, sum(row))) for count in row] for row in confusion.counts]


def _measured(scores: Scores) -> list[TransferPoint]:
    return [p for p in scores.transfer if scores.metric in p.scores and p.scores[scores.metric].value is not None]


def _best(rows: Sequence[Row], metric: str) -> float:
    values = _values(rows, metric)
    if not values:
        return math.nan
    return min(values) if metric in LOWER_IS_BETTER else max(values)


def _values(rows: Sequence[Row], metric: str) -> list[float]:
    return [v for row in rows if metric in row.scores and (v := row.scores[metric].value) is not None]


class _Ruler(NamedTuple):
    """What the bars of a column share: the scores at their ends, their width, and chance."""

    low: float
    high: float
    width: float
    chance: float

    def bar(self, score: Interval) -> Bar:
        """The picture of a score."""
        room = (self.width - 2 * EDGE) / (self.high - self.low)
        ends = [math.nan if end is None else end for end in (score.low, score.value, score.high)]
        return Bar(self.width, *(round(EDGE + (end - self.low) * room, 1) for end in (*ends, self.chance)))


def _ruler(rows: Sequence[Row], metric: str, chance: float | None, width: float) -> _Ruler:
    """From a tenth below the lowest end of the column to a tenth above its highest."""
    scores = [row.scores[metric] for row in rows if metric in row.scores]
    ends = [end for score in scores for end in (score.value, score.low, score.high, chance) if end is not None]
    low, high = math.floor(10 * min(ends, default=0.0)) / 10, math.ceil(10 * max(ends, default=1.0)) / 10
    return _Ruler(low, max(high, low + 0.1), width, math.nan if chance is None else chance)
