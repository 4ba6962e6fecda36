"""The scores of a run as flat tables, a line a score: ``metrics.csv`` and ``metrics.json``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoint.snapshot import write_json

COLUMNS = ("table", "answer", "kind", "metric", "value", "low", "high", "spread", "chance", "groups")
"""``table`` is ``all folds``, ``fold <name>``, ``detection`` or ``by_group``; what is not known is empty."""


def write_tables(folder: Path, scores: dict[str, Any]) -> list[Path]:
    """Write both files from what ``scores.json`` holds.

    Args:
        folder: of the run.
        scores: of the run.
    """
    lines = list(metric_lines(scores))
    main = (scores.get("confusion") or {}).get("evaluator") or (scores.get("regression") or {}).get("answer")
    about = {"name": scores["name"], "metric": scores["metric"], "main": main, "verdict": scores["verdict"]}
    about |= {"simulated": scores["simulated"], "scores": lines}
    write_json(folder / "metrics.json", about)
    path = folder / "metrics.csv"
    scratch = path.with_suffix(".tmp")
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="")
        writer.writeheader()
        writer.writerows(lines)
    scratch.replace(path)
    return [folder / "metrics.json", path]


def metric_lines(scores: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A line for each score of each answer: over all folds, by fold where there are several, of detection, by group."""
    tables = [("all folds", scores["rows"], scores["chance"])]
    if len(scores["folds"]) > 1:
        tables += [(f"fold {fold['fold']}", fold["rows"], {}) for fold in scores["folds"]]
    for name in ("detection", "by_group"):
        if found := scores.get(name):
            tables.append((name, found["rows"], found["chance"]))
    for table, rows, chance in tables:
        for row in rows:
            for metric, score in row["scores"].items():
                known = {"chance": chance.get(metric)} | {key: score.get(key) for key in COLUMNS[4:] if key in score}
                yield {"table": table, "answer": row["name"], "kind": row["kind"], "metric": metric} | known
