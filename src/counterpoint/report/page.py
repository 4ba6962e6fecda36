"""The page: what each section shows, made from a run folder, and the rendering of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from counterpoint.report.analyses import group_table, threshold_charts
from counterpoint.report.charts import Chart
from counterpoint.report.curves import training_charts
from counterpoint.report.documents import Account, Scores
from counterpoint.report.embedding_map import Map, embedding_map
from counterpoint.report.explained import attention_bars, attention_charts, attribution_bars, attribution_charts
from counterpoint.report.folder import Run, read_run
from counterpoint.report.ranking import histogram_charts, ranking_charts
from counterpoint.report.tables import (
    TableRow,
    fold_tables,
    heat,
    leaders,
    reliability_chart,
    score_table,
    shot_tables,
    transfer_chart,
    transfer_table,
)
from counterpoint.report.target import target_charts
from counterpoint.report.templating import template

LISTED = 300
"""Rows a list of the page spells out; the run folder has them all."""


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
    scores, account = run.scores, run.account
    charts, shown = training_charts(run.cells), embedding_map(run.cells[0])
    pictures = charts_of(run)
    every = [*charts, *(chart for found in pictures.values() for chart in found)]
    headline, detail = headline_of(scores.verdict)
    return template("report.html.j2", ("page.js", "report.js")).render(
        run=run,
        scores=scores,
        account=account,
        headline=headline,
        detail=detail,
        leaders=leaders(scores),
        table=score_table(scores.rows, scores.metrics, scores.chance),
        detection=_detection(scores),
        group_table=group_table(scores),
        folds=fold_tables(scores),
        transfer=transfer_table(scores),
        shots=shot_tables(scores),
        sections=_sections(run),
        charts=charts,
        pictures=pictures,
        bars={"attributions": attribution_bars(scores.attributions), "attention": attention_bars(scores.attention)},
        at=lambda chart: next(place for place, one in enumerate(every) if one is chart),
        map=shown,
        data=_plotted(every, shown),
        confusion=heat(scores.confusion) if scores.confusion else [],
        counts=flat(account.counts),
        reasons=reasons(account),
        listed=LISTED,
    )


def charts_of(run: Run) -> dict[str, list[Chart]]:
    """The line charts of the sections by name, without those of the training; a template draws them by ``at``."""
    scores = run.scores
    compared = transfer_chart(scores)
    return {
        "transfer": [] if compared is None else [compared],
        "regression": target_charts(scores.regression),
        "threshold": threshold_charts(scores.threshold),
        "calibration": [reliability_chart(scores.calibration)] if scores.calibration else [],
        "ranking": ranking_charts([(one.name, one.roc, one.pr) for one in run.curves.answers], scores.chance),
        "probabilities": histogram_charts(run.curves),
        "attributions": attribution_charts(scores.attributions),
        "attention": attention_charts(scores.attention),
    }


SECTIONS = {
    "verdict": "Verdict",
    "scores": "Scores",
    "regression": "Estimates",
    "detection": "Detection",
    "retrieval": "Retrieval",
    "by_group": "By group",
    "folds": "Folds",
    "ranking": "ROC and PR",
    "probabilities": "Probabilities",
    "threshold": "Threshold",
    "calibration": "Calibration",
    "modalities": "Modalities",
    "agreement": "Agreement",
    "attributions": "Attributions",
    "attention": "Attention",
    "shots": "Few labels",
    "transfer": "Transfer",
    "training": "Training",
    "map": "Map",
    "confusion": "Confusion",
    "errors": "Errors",
    "data": "Data",
    "findings": "Findings",
    "reproduce": "Reproduce",
}
"""Section -> its name in the bar, in the order of the page; each is drawn by ``sections/<section>.html.j2``."""

OPTIONAL = (
    "agreement",
    "attention",
    "attributions",
    "by_group",
    "calibration",
    "detection",
    "errors",
    "modalities",
    "regression",
    "retrieval",
    "shots",
    "threshold",
)
"""Sections that stand on the page where the scores have the key of the same name, and something under it."""


def _sections(run: Run) -> dict[str, str]:
    """The sections of this run's page: those that are only there for some runs are left out of the others."""
    absent = {name for name in OPTIONAL if not getattr(run.scores, name)}
    absent |= {"confusion", "transfer"} if run.scores.regression else set()
    absent |= set() if run.curves.answers else {"ranking"}
    absent |= set() if run.curves.histograms else {"probabilities"}
    return {name: title for name, title in SECTIONS.items() if name not in absent}


DETECTION = ("auroc", "auprc", "balanced_accuracy")
"""Scores of detection that the page shows; the last is of a threshold, the others are not."""


def _detection(scores: Scores) -> list[TableRow]:
    """The table of detection; empty where nobody asked."""
    found = scores.detection
    return [] if found is None else score_table(found.rows, DETECTION, found.chance)


def headline_of(verdict: str) -> tuple[str, str]:
    """The first sentence of a verdict, and the rest."""
    first, *rest = re.split(r"(?<=[.!?])\s+(?=[A-Z])", verdict.strip(), maxsplit=1)
    return first, rest[0] if rest else ""


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


def _plotted(charts: Sequence[Chart], shown: Map) -> dict[str, Any]:
    """What the script needs beside the pictures: the values behind the pixels."""
    return {"charts": [chart.values for chart in charts], "map": shown.facts}
