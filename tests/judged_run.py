"""A made-up run folder with predictions in it, as evaluation leaves them: what products are made from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.results import Result, json_table, save_results
from report_run import CLASSES, METRICS, write_run

MAIN, BASELINE, UNTRAINED = "linear probe", "random kernels + logistic regression", "untrained encoder"
FOLDS = ("load 0", "load 1", "load 2")


def truth(fold: str, classes: Sequence[str] = CLASSES, rows: int = 90) -> Truth:
    """Rows of 15 groups; every second recording is cut into two rows."""
    rng = np.random.default_rng(len(fold) + 10 * int(fold[-1]))
    groups = rng.integers(0, 15, rows) + 20 * int(fold[-1])
    labels = np.where(rng.random(rows) < 0.5, groups % len(classes), rng.integers(0, len(classes), rows))
    return Truth(labels, groups, groups % 3, np.arange(rows) * 2 // 3, tuple(classes))


def result(name: str, kind: str, skill: float, fold: str, seed: int, classes: Sequence[str] = CLASSES) -> Result:
    """Probabilities that lean to the true class, with ties."""
    known = truth(fold, classes)
    rng = np.random.default_rng([seed, int(100 * skill), int(fold[-1])])
    shape = (len(known.labels), len(classes))
    scores = np.round(skill * np.eye(len(classes))[known.labels] + rng.standard_normal(shape), 1)
    odds = np.exp(scores)
    return Result(
        name, "model" if kind == "model" else "baseline", odds / odds.sum(1, keepdims=True), known, (), fold, seed
    )


def write_judged(
    folder: Path, skill: float = 1.5, seeds: Sequence[int] = (0, 1), classes: Sequence[str] = CLASSES
) -> Path:
    """A run folder whose ``scores.json`` is that of its predictions."""
    write_run(folder, rows=200)
    every = []
    for fold in FOLDS:
        simple = [result(BASELINE, "baseline", 0.8, fold, 0, classes)]
        save_results(folder / "baselines" / f"{fold}.parquet", simple)
        every += simple
        for seed in seeds:
            told = [result(MAIN, "model", skill, fold, seed, classes)]
            told += [result(UNTRAINED, "baseline", 0.3, fold, seed, classes)]
            save_results(folder / "cells" / f"{fold}-seed{seed}" / "predictions.parquet", told)
            every += told
    rows = json_table(every)
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    chance = {metric: rows[0]["scores"][metric]["chance"] for metric in METRICS}
    changed = {"rows": rows, "chance": chance, "detection": {}, "name": folder.name}
    (folder / "scores.json").write_text(json.dumps(scores | changed), encoding="utf-8")
    return folder
