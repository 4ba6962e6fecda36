"""What the pictures of a run are drawn from: curves of the main answer and the best baseline, layouts of the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from counterpoint.evaluate.by_group import ByGroup, group_deciding
from counterpoint.evaluate.curves import curves, histograms
from counterpoint.evaluate.detection import Detection, deciding
from counterpoint.evaluate.embeddings import write_whole
from counterpoint.evaluate.metrics import LOWER_IS_BETTER
from counterpoint.evaluate.projection import FEWEST, layouts
from counterpoint.evaluate.results import Result
from counterpoint.report.embedding_map import LAYOUTS, chosen, kept_layouts
from counterpoint.report.folder import Cell


def curves_of(scores: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """The curves and histograms of a run; empty where nothing was classified.

    Args:
        scores: of the run: which answer is the main one, and whether defects or groups decide.
        results: all predictions of the run.

    Returns:
        ``classes``; ``answers``, each with ``name``, ``kind``, ``roc`` and ``pr`` (see ``curves.curves``); and
        ``histograms`` of the main answer, empty where its numbers are not meant as probabilities.
    """
    main = (scores.get("confusion") or {}).get("evaluator")
    if not main or not results:
        return {}
    seen = deciding(
        detection_of(scores), [result for result in results if result.name in {main, best_baseline(scores)}]
    )
    seen = group_deciding(groups_of(scores), seen)
    ours = [result for result in seen if result.name == main]
    if not ours:
        return {}
    answers = []
    for name in dict.fromkeys([main, best_baseline(scores)]):
        members = [result for result in seen if result.name == name]
        if members and (found := curves(members)):
            answers.append({"name": name, "kind": members[0].kind, **found})
    shown = histograms(ours) if scores.get("calibration") else []
    return {"classes": list(ours[0].truth.classes), "answers": answers, "histograms": shown}


def detection_of(scores: dict[str, Any]) -> Detection | None:
    """How defects are told apart in a run, None where nobody asked."""
    found = scores.get("detection")
    return Detection(normal=found["normal"], decides=found.get("decides", "classes")) if found else None


def groups_of(scores: dict[str, Any]) -> ByGroup | None:
    """How rows of a group are pooled in a run, None where nobody asked."""
    found = scores.get("by_group")
    return ByGroup(how=found["how"], decides=found["decides"]) if found else None


def best_baseline(scores: dict[str, Any]) -> str | None:
    """Name of the strongest baseline by the deciding score."""
    metric = scores["metric"]
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    values = {
        row["name"]: sign * row["scores"][metric]["value"]
        for row in scores["rows"]
        if row["kind"] == "baseline" and row["scores"].get(metric, {}).get("value") is not None
    }
    return max(values, key=lambda name: values[name]) if values else None


def write_layouts(cell: Cell) -> None:
    """Lay the rows of the map out by every projection whose library is there, unless it was done of the same rows."""
    import pyarrow as pa

    shown = chosen(cell)
    asked = layouts()
    if len(shown.kept) < FEWEST or set(kept_layouts(cell, shown)) >= set(asked):
        return
    columns: dict[str, Any] = {"row": shown.kept}
    for name, layout in asked.items():
        flat = layout(shown.values[shown.kept])
        columns |= {f"{name}_x": flat[:, 0], f"{name}_y": flat[:, 1]}
    table = pa.table(columns).replace_schema_metadata({"embeddings": shown.digest})
    write_whole(table, cell.path / LAYOUTS)
