"""The page of a comparison, in the style of the report: one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence

from counterpoint.comparison.pictures import Bars
from counterpoint.comparison.scoring import Judged, Pair
from counterpoint.comparison.sharing import Shared
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, spoken
from counterpoint.report.charts import Chart
from counterpoint.report.parts import Interval, Row
from counterpoint.report.tables import score_table
from counterpoint.report.templating import template

SECTIONS = {
    "verdict": "Verdict",
    "scores": "Scores",
    "differences": "Differences",
    "bars": "Bars",
    "ranking": "ROC and PR",
    "rows": "Shared rows",
}


def render(shared: Shared, judged: Judged, charts: Sequence[Chart], bar_charts: Sequence[Bars]) -> str:
    """The text of the page."""
    rows = [
        Row(
            name=row["name"],
            kind=row["kind"],
            scores={
                name: Interval(
                    value=score["value"],
                    low=score["low"],
                    high=score["high"],
                    groups=row["groups"],
                    spread=score["spread"],
                    chance=score["chance"],
                )
                for name, score in row["scores"].items()
            },
        )
        for row in judged.table
    ]
    metrics = list(dict.fromkeys([judged.metric, *judged.table[0]["scores"]]))
    chance = {name: score["chance"] for name, score in judged.table[0]["scores"].items()}
    headline, detail = verdict(shared, judged)
    return template("comparison.html.j2", ("page.js",)).render(
        shared=shared,
        judged=judged,
        headline=headline,
        detail=detail,
        table=score_table(rows, metrics, chance),
        metrics=metrics,
        charts=charts,
        bars=bar_charts,
        sections={name: title for name, title in SECTIONS.items() if name != "ranking" or charts},
        data={"charts": [chart.values for chart in charts]},
        simulated=[entrant.name for entrant in shared.entrants if entrant.simulated],
        others=sorted({entrant.metric for entrant in shared.entrants} - {judged.metric}),
    )


def verdict(shared: Shared, judged: Judged) -> tuple[str, str]:
    """Which run is best on the deciding score, and whether that is settled against every other."""
    ranked = sorted(
        (line for line in judged.lines if line.metric == judged.metric and line.rank is not None),
        key=lambda line: line.rank or 0,
    )
    if not ranked:
        return (
            "There is no verdict.",
            f"The {spoken(judged.metric)} of the shared rows is undefined: they lack a class.",
        )
    best = ranked[0].run
    own = [pair for pair in judged.pairs if pair.metric == judged.metric and best in (pair.first, pair.second)]
    beaten = [_other(pair, best) for pair in own if pair.settled]
    open_ = [_other(pair, best) for pair in own if not pair.settled]
    less = ", of which less is better," if judged.metric in LOWER_IS_BETTER else ""
    score = f"{ranked[0].value:.3f}" if ranked[0].value is not None else "undefined"
    head = f"{best} has the best {spoken(judged.metric)}, {score}" + (
        f", and is better than {_and(beaten)}." if beaten and not open_ else "."
    )
    told = [f"Runs are ranked by {spoken(judged.metric)}{less} on the {shared.rows:,} test rows they share."]
    if open_:
        told.append(f"It is not told apart from {_and(open_)}: the order is not settled.")
    if open_ and beaten:
        told.append(f"It is better than {_and(beaten)}.")
    return head, " ".join(told)


def _other(pair: Pair, run: str) -> str:
    return pair.second if pair.first == run else pair.first


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
