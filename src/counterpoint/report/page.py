"""The page: what each section shows, made from a run folder, and the rendering of it."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from counterpoint.report.charts import Chart, Series, line_chart
from counterpoint.report.curves import training_charts
from counterpoint.report.embedding_map import Map, embedding_map
from counterpoint.report.folder import Account, Confusion, Interval, Row, Run, Scores, TransferPoint, read_run

LISTED = 300
"""Rows a list of the page spells out; the run folder has them all."""
BAR = 120.0
"""Width in pixels of the bar beside a score."""
STARTS = ("pretrained", "scratch")


class Bar(NamedTuple):
    """A score in a small picture: interval, value and chance in pixels; NaN where unknown."""

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


class Heat(NamedTuple):
    """A cell of the confusion matrix: a count and its share of the true class."""

    count: int
    share: float


def write_report(folder: Path) -> Path:
    """Write ``report.html`` from the files of a run folder.

    Args:
        folder: that `train` and `evaluate` have written.

    Returns:
        The page: one file that needs no network.

    Raises:
        ValueError: a file or a key is missing or makes no sense; the message names it and the remedy.
    """
    text = render(read_run(folder))
    path = folder / "report.html"
    scratch = path.with_suffix(".tmp")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)
    return path


def render(run: Run) -> str:
    """The page of a run."""
    environment = Environment(
        loader=PackageLoader("counterpoint.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": score_text, "size": size_text, "words": words, "share": share_text}
    script, style = (_asset(name) for name in ("report.js", "report.css"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    charts = training_charts(run.cells)
    shown = embedding_map(run.cells[0])
    headline, detail = headline_of(run.scores.verdict)
    return environment.get_template("report.html.j2").render(
        run=run,
        scores=run.scores,
        account=run.account,
        headline=headline,
        detail=detail,
        leaders=leaders(run.scores),
        table=score_table(run.scores.rows, run.scores.metrics, run.scores.chance),
        folds=fold_tables(run.scores),
        transfer=transfer_table(run.scores),
        transfer_chart=transfer_chart(run.scores),
        charts=charts,
        map=shown,
        data=_plotted(charts, shown),
        confusion=heat(run.scores.confusion) if run.scores.confusion else [],
        counts=flat(run.account.counts),
        reasons=reasons(run.account),
        listed=LISTED,
        # Written by this package and never by a run, so they go in as they are.
        script=Markup(script),
        style=Markup(style),
        digest=digest,
    )


def headline_of(verdict: str) -> tuple[str, str]:
    """The first sentence of a verdict, and the rest."""
    first, *rest = re.split(r"(?<=[.!?])\s+(?=[A-Z])", verdict.strip(), maxsplit=1)
    return first, rest[0] if rest else ""


def score_table(rows: Sequence[Row], metrics: Sequence[str], chance: dict[str, float]) -> list[TableRow]:
    """Rows of scores, the best value of each metric marked, and what chance reaches below them."""
    best = {metric: max(_values(rows, metric), default=math.nan) for metric in metrics}
    ranges = {metric: _range(rows, metric, chance) for metric in metrics}
    unknown = Interval(value=None, low=None, high=None, groups=0)
    table = []
    for row in rows:
        entries = {}
        for metric in metrics:
            score = row.scores.get(metric, unknown)
            bar = _bar(score, chance.get(metric, math.nan), ranges[metric])
            entries[metric] = Entry(score, score.value == best[metric], bar)
        table.append(TableRow(row.name, row.kind, entries))
    last = {}
    for metric in metrics:
        value = chance.get(metric)
        level = Interval(value=value, low=None, high=None, groups=0)
        last[metric] = Entry(level, False, _bar(level, chance.get(metric, math.nan), ranges[metric]))
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

    The main evaluator is the one the confusion matrix is of, else the first: choosing the best one by its test score
    would flatter the model.
    """
    models = [row for row in scores.rows if row.kind == "model"]
    named = scores.confusion.evaluator if scores.confusion else ""
    main = [row for row in models if row.name == named] or models
    baselines = [row for row in scores.rows if row.kind == "baseline" and _values([row], scores.metric)]
    strongest = sorted(baselines, key=lambda row: -_values([row], scores.metric)[0])
    return [("Model", row) for row in main[:1]] + [("Strongest baseline", row) for row in strongest[:1]]


def transfer_table(scores: Scores) -> list[tuple[float, dict[str, Interval]]]:
    """By label share, the main score from the pre-trained weights and from scratch."""
    shares = sorted({point.fraction for point in scores.transfer})
    return [
        (share, {p.start: p.scores[scores.metric] for p in _measured(scores) if p.fraction == share}) for share in shares
    ]


def transfer_chart(scores: Scores) -> Chart | None:
    """The main score against the share of labels; None where nothing was fine-tuned."""
    lines = []
    for index, start in enumerate(STARTS):
        points = sorted((p for p in _measured(scores) if p.start == start), key=lambda p: p.fraction)
        if points:
            x = np.array([point.fraction for point in points])
            found = [point.scores[scores.metric] for point in points]
            y, low, high = (
                np.array([getattr(s, end) for s in found], np.float64) for end in ("value", "low", "high")
            )
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


def heat(confusion: Confusion) -> list[list[Heat]]:
    """Every count with its share of the true class."""
    return [[Heat(count, count / max(1, sum(row))) for count in row] for row in confusion.counts]


def reasons(account: Account) -> list[tuple[str, int]]:
    """Quarantined signals by reason, details after the first comma or colon left out, most frequent first."""
    kinds = (" ".join(re.sub(r"\d+", " ", re.split(r"[:,]", bad.reason)[0]).split()) for bad in account.quarantine)
    return Counter(kinds).most_common()


def flat(counts: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and value of every count, those of nested mappings under a joined name."""
    for name, value in counts.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}, ")
        else:
            yield f"{prefix}{name}", value


def score_text(value: float | None) -> str:
    """A score as a reader meets it."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.3f}"


def size_text(size: int) -> str:
    """Bytes in the unit that fits."""
    value, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):  # noqa: B007
        if value < 1000:
            break
        value /= 1000
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def share_text(share: float) -> str:
    """A share in per cent, no more digits than it has."""
    return f"{100 * share:.3g} %"


def words(name: str) -> str:
    """A column's or a metric's name in words."""
    known = {"auroc": "AUROC", "macro_f1": "macro F1"}
    return known.get(name, name.replace("_", " "))


def _measured(scores: Scores) -> list[TransferPoint]:
    return [p for p in scores.transfer if scores.metric in p.scores and p.scores[scores.metric].value is not None]


def _values(rows: Sequence[Row], metric: str) -> list[float]:
    return [v for row in rows if metric in row.scores and (v := row.scores[metric].value) is not None]


def _range(rows: Sequence[Row], metric: str, chance: dict[str, float]) -> tuple[float, float]:
    """Ends of the bars of a metric: 0 to 1 unless a value lies outside."""
    scores = [row.scores[metric] for row in rows if metric in row.scores]
    ends = [end for score in scores for end in (score.value, score.low, score.high) if end is not None]
    ends.append(chance.get(metric, 0.0))
    return min(0.0, *ends), max(1.0, *ends)


def _bar(score: Interval, chance: float, ends: tuple[float, float]) -> Bar:
    low, high = ends
    numbers = [math.nan if end is None else end for end in (score.low, score.value, score.high, chance)]
    return Bar(*(round((number - low) / (high - low) * (BAR - 8) + 4, 1) for number in numbers))


def _plotted(charts: Sequence[Chart], shown: Map) -> dict[str, Any]:
    """What the script needs beside the pictures: the values behind the pixels."""
    return {"charts": [chart.values for chart in charts], "map": shown.facts}


def _asset(name: str) -> str:
    return files("counterpoint.report").joinpath("templates", name).read_text(encoding="utf-8")
