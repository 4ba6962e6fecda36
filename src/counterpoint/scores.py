"""Scores of a run: every evaluator on every cell, the baselines on every fold, and one verdict in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoint.data.base import Data
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.embed import embed
from counterpoint.evaluate.baselines import HandFeatures, baselines, hand_features
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import signed
from counterpoint.evaluate.results import (
    Result,
    difference,
    load_results,
    save_results,
    score_table,
)
from counterpoint.recipe import Recipe, build, load
from counterpoint.transfer import transfer_cell

METRIC = "balanced_accuracy"
"""The score that decides the verdict: it does not reward answering with the most common class."""


def cell_folder(folder: Path, fold: str, seed: int) -> Path:
    """Where one fold with one seed is kept."""
    return folder / "cells" / f"{fold}-seed{seed}"


def embed_cell(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> dict[str, Embeddings]:
    """Embed the splits of a cell with its model, and keep them in its folder."""
    cell = cell_folder(folder, fold, seed)
    model, _ = load(cell, data, recipe)
    found = {}
    for split in ("train", "valid", "test"):
        rows = data.evaluation(fold, split)
        if len(rows):
            found[split] = embed(model, data, rows)
            found[split].save(cell / "embeddings" / split)
    return found


def judge_cell(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> list[Result]:
    """Results of every evaluator on the embeddings of a cell, and of the same model before any training."""
    cell = cell_folder(folder, fold, seed)
    found = embed_cell(recipe, data, fold, seed, folder)
    untrained, _ = build(recipe, data, seed)
    before = {s: embed(untrained, data, data.evaluation(fold, s)) for s in ("train", "test")}
    results = []
    for evaluator in recipe.evaluation.evaluators:
        name = f"{_title(recipe)}, {evaluator.name}"
        results.append(evaluator.evaluate(found["train"], found["test"], name=name, fold=fold, seed=seed))
    first = recipe.evaluation.evaluators[0]
    name = f"untrained encoder, {first.name}"
    results.append(first.evaluate(before["train"], before["test"], name=name, kind="baseline", fold=fold, seed=seed))
    save_results(cell / "predictions.parquet", results)
    return results


def judge_fold(data: Data, fold: str, folder: Path) -> list[Result]:
    """Results of the baselines on a fold, read from the run folder where they stand there."""
    path = folder / "baselines" / f"{fold}.parquet"
    if not path.is_file():
        results = baselines(_features(data, fold, "train"), _features(data, fold, "test"), fold=fold)
        save_results(path, results)
    return load_results(path)


def judge_transfer(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> list[Result]:
    """Results of fine-tuning on shares of the labels, from the pre-trained weights and from scratch."""
    answers = transfer_cell(recipe, data, fold, seed, cell_folder(folder, fold, seed))
    results = []
    for (fraction, start), probabilities in answers.items():
        known = probabilities.labelled()
        name = transfer_name(fraction, start)
        results.append(Result(name, "model", known.values.astype(float), known.truth, (), fold, seed))
    return results


def transfer_name(fraction: float, start: str) -> str:
    """What a fine-tuned answer is called: ``pretrained, 1 % of labels``."""
    return f"{start}, {100 * fraction:g} % of labels"


def summarise(recipe: Recipe, judged: Sequence[Result], transferred: Sequence[Result]) -> dict[str, Any]:
    """The numbers of a run as its report and its table need them.

    Args:
        recipe: of the run.
        judged: of evaluators and baselines, over all folds and seeds; empty where nothing is labelled.
        transferred: of fine-tuning; may be empty.

    Returns:
        A JSON-able dict: metric, chance, rows, folds, transfer, gains, confusion, verdict.
    """
    if not judged:
        unknown = (
            "No recording is labelled, so nothing can be scored. The encoder was trained; see its curves and its map."
        )
        empty: dict[str, Any] = {"chance": {}, "rows": [], "folds": [], "transfer": [], "gains": [], "confusion": {}}
        return {"metric": METRIC, **empty, "verdict": unknown}
    rows = _table(judged)
    folds = list(dict.fromkeys(result.fold for result in judged))
    per_fold = [{"fold": f, "rows": _table([r for r in judged if r.fold == f])} for f in folds]
    main = [r for r in judged if r.name == f"{_title(recipe)}, {recipe.evaluation.evaluators[0].name}"]
    return {
        "metric": METRIC,
        "chance": {name: score["chance"] for name, score in rows[0]["scores"].items()},
        "rows": rows,
        "folds": per_fold,
        "transfer": _transfer_rows(recipe, transferred),
        "gains": _gains(recipe, transferred),
        "confusion": _confusion(main),
        "verdict": _verdict(main, judged, rows),
    }


def _title(recipe: Recipe) -> str:
    objective = recipe.objective
    return str(getattr(objective, "func", objective).__name__)


def _table(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The score table with the number of groups beside every score."""
    return [
        {**row, "scores": {name: {**score, "groups": row["groups"]} for name, score in row["scores"].items()}}
        for row in score_table(results)
    ]


def _features(data: Data, fold: str, split: Any) -> HandFeatures:
    rows = data.evaluation(fold, split)
    batches = loader(rows, PassSampler(rows, batch_size=256))
    return hand_features(rows, batches, classes=data.classes, names=data.names)


def _transfer_rows(recipe: Recipe, results: Sequence[Result]) -> list[dict[str, Any]]:
    table = {row["name"]: row["scores"] for row in _table(results)} if results else {}
    fractions = recipe.evaluation.transfer.fractions if recipe.evaluation.transfer else ()
    return [
        {"fraction": fraction, "start": start, "scores": table[transfer_name(fraction, start)]}
        for fraction in fractions
        for start in ("pretrained", "scratch")
    ]


def _gains(recipe: Recipe, results: Sequence[Result]) -> list[dict[str, Any]]:
    """Macro-F1 of pre-trained minus scratch at each share of the labels, on the same groups."""
    gains = []
    for fraction in recipe.evaluation.transfer.fractions if recipe.evaluation.transfer else ():
        sides = [[r for r in results if r.name == transfer_name(fraction, s)] for s in ("pretrained", "scratch")]
        gain = difference(sides[0], sides[1], "macro_f1")
        gains.append({"fraction": fraction, "metric": "macro_f1", "value": gain.value, "text": signed(gain)})
    return gains


def _confusion(main: Sequence[Result]) -> dict[str, Any]:
    classes = list(main[0].truth.classes)
    counts = [[0] * len(classes) for _ in classes]
    for result in main:
        for label, prediction in zip(result.truth.labels.tolist(), result.predictions.tolist(), strict=True):
            counts[label][prediction] += 1
    return {"evaluator": main[0].name, "classes": classes, "counts": counts}


def _verdict(main: Sequence[Result], judged: Sequence[Result], rows: Sequence[dict[str, Any]]) -> str:
    """A headline and two sentences for a manager: against the best baseline, with the interval of the difference."""
    own = next(row for row in rows if row["name"] == main[0].name)
    simple = [row for row in rows if row["kind"] == "baseline"]
    best = max(simple, key=lambda row: row["scores"][METRIC]["value"] or 0.0)
    # A baseline without a seed stands for every seed; a model's seeds are pooled on the same groups.
    gap = difference(main, [r for r in judged if r.name == best["name"]], METRIC)
    score, other = own["scores"][METRIC], best["scores"][METRIC]
    head = {
        1: "The encoder beats every baseline",
        0: "The encoder is not distinguishable from the best baseline",
        -1: "The encoder does NOT beat the baselines",
    }[1 if gap.low > 0 else -1 if gap.value <= 0 else 0]
    return (
        f"{head}. The first evaluator, {main[0].name}, reaches {_interval(score)} balanced accuracy on "
        f"{own['groups']} groups it was not trained on (chance {score['chance']:.3f}). The best baseline, "
        f"{best['name']}, reaches {_interval(other)}: a difference of {signed(gap)}."
    )


def _interval(score: Any) -> str:
    if score["low"] is None:
        return f"{score['value']:.3f} (one group, no interval)"
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"
