"""Comparing runs: read, cut to common rows, judge, and write tables, pictures and a page."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from counterpoint.comparison.entrants import enter
from counterpoint.comparison.page import render as render_page
from counterpoint.comparison.page import verdict
from counterpoint.comparison.pictures import bars, overlay, write_pictures
from counterpoint.comparison.scoring import Judged, Line, Pair, judge
from counterpoint.comparison.sharing import Shared, share
from counterpoint.evaluate.results import render


def compare(folders: Sequence[Path], out: Path) -> str:
    """Compare runs on the test rows they share.

    Args:
        folders: of two runs or more that were evaluated.
        out: a folder for ``model_comparison.csv``, ``paired_differences.csv``, ``comparison.html`` and pictures.

    Returns:
        The table of scores, the paired differences in words and the verdict.

    Raises:
        ValueError: for runs that cannot be compared: other classes, labels or groups, or no common rows.
    """
    shared = share(enter(folders))
    judged = judge(shared)
    names = [entrant.name for entrant in shared.entrants]
    charts, bar_charts = overlay(shared, judged), [bars(judged, names, metric) for metric in judged.metrics]
    out.mkdir(parents=True, exist_ok=True)
    _write(out / "model_comparison.csv", Line, judged.lines)
    _write(out / "paired_differences.csv", Pair, judged.pairs)
    write_pictures(out, charts, bar_charts)
    page = out / "comparison.html"
    page.write_text(render_page(shared, judged, charts, bar_charts), encoding="utf-8")
    return "\n".join([*told(shared, judged), f"Page: {page}"])


def told(shared: Shared, judged: Judged) -> list[str]:
    """What is printed of a comparison."""
    lines = [render(judged.table, judged.metrics), ""]
    lines.append(
        f"On {shared.rows} shared rows of {shared.recordings} recordings and {shared.groups} groups, folds "
        f"{', '.join(shared.folds)}; scored by {shared.judged}."
    )
    for entrant, left in zip(shared.entrants, shared.left_out, strict=True):
        if left:
            lines.append(f"{entrant.name}: {left} of its {entrant.rows} test rows are left out, the others lack them.")
    lines += [pair.told for pair in judged.pairs]
    return [*lines, " ".join(verdict(shared, judged))]


def _write(path: Path, kind: type[NamedTuple], rows: Sequence[Any]) -> None:
    """A CSV file with a column a field; what is not known is empty."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(kind._fields)
        writer.writerows(rows)
    scratch.replace(path)
