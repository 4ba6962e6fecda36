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
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from counterpoint.evaluate.metrics import LOWER_IS_BETTER
from counterpoint.report.charts import Chart
from counterpoint.report.curves import training_charts
from counterpoint.report.documents import Account, Scores
from counterpoint.report.embedding_map import Map, embedding_map
from counterpoint.report.folder import Run, read_run
from counterpoint.report.tables import (
    TableRow,
    fold_tables,
    gain,
    heat,
    leaders,
    reliability_chart,
    score_table,
    shot_tables,
    transfer_chart,
    transfer_table,
)
from counterpoint.report.wording import score_text, share_text, size_text, words

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
    compared, reliability = transfer_chart(scores), None
    if scores.calibration is not None and scores.calibration.bins:
        reliability = reliability_chart(scores.calibration)
    every = [*charts, *(chart for chart in (compared, reliability) if chart is not None)]
    headline, detail = headline_of(scores.verdict)
    return _template().render(
        run=run,
        scores=scores,
        account=account,
        headline=headline,
        detail=detail,
        leaders=leaders(scores),
        table=score_table(scores.rows, scores.metrics, scores.chance),
        detection=_detection(scores),
        folds=fold_tables(scores),
        transfer=transfer_table(scores),
        transfer_chart=compared,
        reliability=reliability,
        shots=shot_tables(scores),
        sections=_sections(scores),
        charts=charts,
        map=shown,
        data=_plotted(every, shown),
        confusion=heat(scores.confusion) if scores.confusion else [],
        counts=flat(account.counts),
        reasons=reasons(account),
        listed=LISTED,
    )


SECTIONS = {
    "verdict": "Verdict",
    "scores": "Scores",
    "detection": "Detection",
    "retrieval": "Retrieval",
    "folds": "Folds",
    "calibration": "Calibration",
    "modalities": "Modalities",
    "shots": "Few labels",
    "transfer": "Transfer",
    "training": "Training",
    "map": "Map",
    "confusion": "Confusion",
    "data": "Data",
    "findings": "Findings",
    "reproduce": "Reproduce",
}
"""Section -> its name in the bar, in the order of the page."""


def _sections(scores: Scores) -> dict[str, str]:
    """The sections of this run's page: those that are only there for some runs are left out of the others."""
    absent = {"calibration"} if scores.calibration is None or not scores.calibration.bins else set()
    absent |= {"shots"} if not scores.shots else set()
    absent |= {"detection"} if scores.detection is None else set()
    absent |= {"modalities"} if scores.modalities is None else set()
    absent |= {"retrieval"} if scores.retrieval is None else set()
    return {name: title for name, title in SECTIONS.items() if name not in absent}


DETECTION = ("auroc", "auprc", "balanced_accuracy")
"""Scores of detection that the page shows; the last is of a threshold, the others are not."""


def _detection(scores: Scores) -> list[TableRow]:
    """The table of detection; empty where nobody asked."""
    found = scores.detection
    return [] if found is None else score_table(found.rows, DETECTION, found.chance)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("counterpoint.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"score": score_text, "size": size_text, "words": words, "share": share_text}
    environment.tests["known"] = math.isfinite
    environment.tests["lower"] = LOWER_IS_BETTER.__contains__
    script, style = (_asset(name) for name in ("report.js", "report.css"))
    # Written by this package and never by a run, so they go in as they are; no other script may run.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    environment.globals |= {"script": Markup(script), "style": Markup(style), "digest": digest, "gain": gain}
    return environment.get_template("report.html.j2")


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


def _asset(name: str) -> str:
    return files("counterpoint.report").joinpath("templates", name).read_text(encoding="utf-8")
