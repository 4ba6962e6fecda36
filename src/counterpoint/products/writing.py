"""All products of a run folder, written from what evaluation left in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counterpoint.products.pictures import curves_of, write_layouts
from counterpoint.products.predictions import (
    gather,
    gather_estimates,
    recording_names,
    write_estimates,
    write_predictions,
)
from counterpoint.products.tables import write_tables
from counterpoint.report.folder import read_run
from counterpoint.snapshot import read_json, write_json


def write_products(folder: Path) -> list[Path]:
    """Write ``predictions.parquet``, ``metrics.json``, ``metrics.csv``, ``curves.json`` and the layouts of the map.

    Args:
        folder: of a run, with its ``scores.json``.

    Returns:
        The files at the root of the folder. Predictions and curves are left out where nothing is labelled.

    Raises:
        ValueError: a file of the run is missing or makes no sense; the message names it and the remedy.
    """
    run = read_run(folder)
    scores: dict[str, Any] = read_json(folder / "scores.json")
    written = write_tables(folder, scores)
    results, estimates = gather(folder), gather_estimates(folder)
    groups: list[str] = read_json(folder / "data.json").get("group_names", [])
    if results:
        written.append(write_predictions(folder, results, recording_names(run.cells[0]), groups))
    elif estimates:
        written.append(write_estimates(folder, estimates, recording_names(run.cells[0]), groups))
    else:
        (folder / "predictions.parquet").unlink(missing_ok=True)
    path = folder / "curves.json"
    write_json(path, curves_of(scores, results))
    write_layouts(run.cells[0])
    return [*written, path]
