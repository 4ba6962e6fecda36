"""Pictures of a comparison: bars with intervals and curves over each other, for the page and as SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from counterpoint.comparison.scoring import Judged
from counterpoint.comparison.sharing import Shared
from counterpoint.evaluate.curves import curves
from counterpoint.evaluate.metrics import LOWER_IS_BETTER
from counterpoint.report.charts import Chart, Scale, Tick, number, round_step
from counterpoint.report.documents_curves import Curve
from counterpoint.report.ranking import ranking_charts
from counterpoint.report.templating import template
from counterpoint.report.wording import words

LEFT, RIGHT, TOP, STEP = 8.0, 392.0, 10.0, 34.0
"""Edges of the bars and the height of one with its name above it, in pixels of a picture 400 wide."""


class Strip(NamedTuple):
    """One bar: its name, its run by number, its top, and score and interval in pixels, None where unknown."""

    name: str
    kind: str
    run: int
    top: float
    value: float | None
    low: float | None
    high: float | None
    text: str


class Bars(NamedTuple):
    """Bars of one score, from zero."""

    metric: str
    title: str
    note: str
    height: float
    strips: list[Strip]
    ticks: list[Tick]
    chance: float


def bars(judged: Judged, names: Sequence[str], metric: str) -> Bars:
    """Bars of every answer on one score.

    Args:
        judged: all scores.
        names: of the runs, in their order.
        metric: which score.
    """
    scores = [row["scores"][metric] for row in judged.table]
    reached = [end for score in scores for end in (score["value"], score["high"], score["chance"]) if end is not None]
    top = max([*reached, 1e-9])
    axis = Scale(0.0, 1.0 if 0.25 < top <= 1.0 else _above(top), LEFT, RIGHT)
    chance = max(score["chance"] for score in scores)
    strips = []
    for place, ((run, _), row, score) in enumerate(zip(judged.owners, judged.table, scores, strict=True)):
        ends = (score["value"], score["low"], score["high"])
        value, low, high = (None if end is None else axis.tick(end, "").at for end in ends)
        interval = "" if score["low"] is None else f" [{score['low']:.3f}, {score['high']:.3f}]"
        text = "undefined" if score["value"] is None else f"{score['value']:.3f}{interval}"
        strips.append(Strip(row["name"], row["kind"], names.index(run), TOP + STEP * place, value, low, high, text))
    lower = " Lower is better." if metric in LOWER_IS_BETTER else ""
    return Bars(
        metric,
        words(metric),
        f"Whiskers are 95 % intervals by group; the upright line is chance.{lower}",
        TOP + STEP * len(strips) + 26,
        strips,
        axis.ticks(5),
        axis.tick(chance, "").at,
    )


def _above(top: float) -> float:
    """A round end above every bar."""
    step = round_step(top / 4)
    return float(number(step * (1 + top // step), step).replace(",", ""))


def overlay(shared: Shared, judged: Judged) -> list[Chart]:
    """ROC and precision-recall curves of the main answers over each other; none where no fold has both sides."""
    named = []
    for entrant, results in zip(shared.entrants, shared.results, strict=True):
        if found := curves([one for one in results if one.name == entrant.answer]):
            named.append((entrant.name, Curve.model_validate(found["roc"]), Curve.model_validate(found["pr"])))
    chance = judged.table[0]["scores"]["auprc"]["chance"]
    return ranking_charts(named, {"auprc": chance})


def write_pictures(folder: Path, charts: Sequence[Chart], bar_charts: Sequence[Bars]) -> list[Path]:
    """Write every picture as an SVG file that needs nothing beside it.

    Args:
        folder: where to.
        charts: ROC, then precision and recall; or none.
        bar_charts: one a score.
    """
    names = dict(zip(("roc.svg", "precision_recall.svg"), charts, strict=False))
    texts = {name: template("curves.svg.j2").render(c=chart) for name, chart in names.items()}
    texts |= {f"bars_{one.metric}.svg": template("bars.svg.j2").render(c=one) for one in bar_charts}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]
