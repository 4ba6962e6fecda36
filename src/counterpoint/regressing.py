"""Runs about a target: what they refuse before training, how their cells are judged, and what their reports hold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from counterpoint.data.base import Data, SplitName
from counterpoint.embed import Asked, ask, embed
from counterpoint.evaluate.intervals import Float, figure, signed
from counterpoint.evaluate.metrics import LOWER_IS_BETTER, METRICS, TARGET_METRICS, spoken
from counterpoint.evaluate.regression import Estimated, Targets, by_group, load_estimates, save_estimates, shown
from counterpoint.evaluate.regressors import Measured
from counterpoint.evaluate.results import difference, json_table, known
from counterpoint.evaluate.target_baselines import target_baselines, target_values
from counterpoint.evaluate.verdict import OWN_HEAD
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import Objective
from counterpoint.recipe import Recipe, build, keep_features, load
from counterpoint.scores import Fold, cell_folder, own_head, summarise

LOG = logging.getLogger("counterpoint")
KEPT = "estimates"
"""Folder of a run with the estimates of the baselines, and the file of a cell with its own."""
_REFUSED = {
    "transfer": "it fine-tunes classifiers",
    "few_shot": "it trains on few labels of each class",
    "detection": "it tells defects from the normal class",
    "modalities": "it compares probabilities; spectra and table alone are among the baselines",
    "retrieval": "it is judged by class or recording; leave it to a run about classes",
    "zero_shot": "it describes classes by sentences",
    "threshold": "it is set on the probability of a class",
    "attributions": "they are of the probability of a class",
}


def about_target(recipe: Recipe) -> bool:
    """Whether a run is about the target of its data, which the metric that decides says."""
    return recipe.evaluation.metric in TARGET_METRICS


def check(recipe: Recipe, data: Data, objective: Objective) -> None:
    """Refuse, before anything is trained, what does not go with the metric that decides.

    Raises:
        ValueError: a metric of classes where there is a target alone, and the other way round; evaluation that a
            target has none of; a fold whose splits have too few targets. Each names the remedy.
    """
    metric, evaluation, plain = recipe.evaluation.metric, recipe.evaluation, Evaluation()
    classes, targets = (", ".join(names) for names in (METRICS, TARGET_METRICS))
    told = f"evaluation.metric is {metric}, which scores"
    if not about_target(recipe):
        alone = f"the data have no classes, but the target {data.target!r}" if not data.classes else ""
        alone = alone or f"the objective learns the target {data.target!r}"
        if data.target and (not data.classes or (objective.estimates and not objective.classes_needed)):
            raise ValueError(f"{told} classes, and {alone}: set evaluation.metric to one of {targets}")
        if evaluation.regressors != plain.regressors:
            raise ValueError(f"evaluation.regressors: {told} classes; set it to one of {targets}, or leave them out")
        return
    if not data.target:
        raise ValueError(
            f"{told} a target, and the data have none: name its column with data.columns.target, or set "
            f"evaluation.metric to one of {classes}"
        )
    if objective.classes_needed > 1 and not objective.estimates:
        raise ValueError(
            f"{told} a target, and the objective tells classes apart: set the objective to Regression, or "
            f"evaluation.metric to one of {classes}"
        )
    for name, reason in _REFUSED.items():
        if getattr(evaluation, name) is not None:
            raise ValueError(f"evaluation.{name}: {reason}, and this run is about a target; leave it out")
    if evaluation.evaluators != plain.evaluators:
        raise ValueError(f"evaluation.evaluators: {told} a target, and they tell classes; set evaluation.regressors")
    if evaluation.by_group is not None and evaluation.by_group.how == "vote":
        raise ValueError("evaluation.by_group.how: there is no vote on a target; set it to mean")
    for fold in data.folds:
        _check_fold(data, fold, objective)


def _check_fold(data: Data, fold: str, objective: Objective) -> None:
    least: dict[SplitName, int] = {"train": 2, "valid": 1 if objective.estimates else 0, "test": 2}
    for split, count in least.items():
        values = _targets(data, fold, split)
        found = values[np.isfinite(values)]
        if len(found) < count and (len(values) or split != "valid"):
            raise ValueError(
                f"fold {fold!r}: {len(found)} of {len(values)} {split} rows have a target {data.target!r}, and "
                f"{count} are needed; fill the column, or change data.split"
            )
        if split == "train" and not np.ptp(found):
            raise ValueError(
                f"fold {fold!r}: the target {data.target!r} is {found[0]:g} in all {len(found)} training rows that "
                "have one, so there is nothing to learn: name another column with data.columns.target"
            )


def judge(recipe: Recipe, data: Data, folder: Path) -> dict[str, Any]:
    """Estimates of every cell and of the baselines of every fold, and the scores of the run, as ``summarise`` has them.

    Args:
        recipe: of the run.
        data: its data.
        folder: of the run; baselines that stand there are read.
    """
    judged: list[Estimated] = []
    for fold in data.folds:
        judged += _baselines(data, fold, recipe, folder)
        for seed in recipe.seeds:
            LOG.info("evaluating fold %s with seed %d", fold, seed)
            judged += _cell(recipe, data, fold, seed, cell_folder(folder, fold, seed))
    return scored(recipe, judged, data.names)


def _baselines(data: Data, fold: str, recipe: Recipe, folder: Path) -> list[Estimated]:
    path = folder / KEPT / f"{fold}.parquet"
    if not path.is_file():
        hand = Fold(data, fold, recipe.fused)
        values = (_targets(data, fold, "train"), _targets(data, fold, "test"))
        save_estimates(path, target_baselines(hand.train, hand.test, values, target=data.target, fold=fold))
    return load_estimates(path)


def _cell(recipe: Recipe, data: Data, fold: str, seed: int, cell: Path) -> list[Estimated]:
    """Estimates of a cell: its own head where it has one, every regressor, and the same model before any training."""
    model, objective = load(cell, data, recipe)
    found: dict[SplitName, Asked] = {}
    splits: tuple[SplitName, ...] = ("train", "valid", "test")
    for split in splits:
        rows = data.evaluation(fold, split)
        if len(rows):
            found[split] = ask(model, objective, data, keep_features(recipe, model, rows))
            found[split].embeddings.save(cell / "embeddings" / split)
    untrained, _ = build(recipe, data, seed)
    measured, before = {}, {}
    for split in ("train", "test"):
        values = _targets(data, fold, split)
        measured[split] = Measured(found[split].embeddings, values, data.target)
        raw = embed(untrained, data, keep_features(recipe, untrained, data.evaluation(fold, split)))
        before[split] = Measured(raw, values, data.target)
    results = _own(recipe, found["test"], measured["train"], measured["test"], fold, seed)
    for regressor in recipe.evaluation.regressors:
        name = f"{recipe.title}, {regressor.name}"
        results.append(regressor.evaluate(measured["train"], measured["test"], name=name, fold=fold, seed=seed))
    first = recipe.evaluation.regressors[0]
    name = f"untrained encoder, {first.name}"
    results.append(first.evaluate(before["train"], before["test"], name=name, kind="baseline", fold=fold, seed=seed))
    save_estimates(cell / f"{KEPT}.parquet", results)
    return results


def _own(recipe: Recipe, asked: Asked, train: Measured, test: Measured, fold: str, seed: int) -> list[Estimated]:
    """What the objective itself estimates of the test rows; nothing where it learns no target."""
    if asked.estimates is None:
        return []
    here, tested = np.isfinite(test.targets), test.known()
    rows = tested.rows
    truth = Targets(tested.targets, rows.groups, rows.domains, rows.ids, test.name)
    level = float(np.nanmean(train.targets))
    return [Estimated(own_head(recipe), "model", asked.estimates[here], truth, level, fold, seed)]


def _targets(data: Data, fold: str, split: SplitName) -> Float:
    rows = data.evaluation(fold, split)
    return target_values(rows.targets, len(rows))


def scored(recipe: Recipe, judged: Sequence[Estimated], names: Sequence[str]) -> dict[str, Any]:
    """The numbers of a run about a target, under the keys that every run has; those of classes are empty.

    Args:
        recipe: of the run.
        judged: of all answers, over all folds and seeds.
        names: of the recordings by id.
    """
    settings, metric = recipe.evaluation.by_group, recipe.evaluation.metric
    every = list(judged)
    judged = by_group(every) if settings and settings.decides == "groups" else every
    rows, folds = json_table(judged), list(dict.fromkeys(result.fold for result in judged))
    per_fold = [rows] if len(folds) == 1 else [json_table([r for r in judged if r.fold == f]) for f in folds]
    own, first = own_head(recipe), f"{recipe.title}, {recipe.evaluation.regressors[0].name}"
    answer = own if any(result.name == own for result in judged) else first
    sentence = verdict(metric, answer, judged, rows)
    if judged is not every:
        sentence += " Every answer is of a whole group, by the mean of its rows."
    drawn = shown([result for result in every if result.name == answer], names)
    return summarise(recipe, [], []) | {
        "chance": {name: score["chance"] for name, score in rows[0]["scores"].items()},
        "rows": rows,
        "folds": [{"fold": fold, "rows": table} for fold, table in zip(folds, per_fold, strict=True)],
        "by_group": _grouped(metric, answer, every, settings.decides) if settings else {},
        "regression": {"metric": metric, "verdict": sentence} | drawn,
        "verdict": sentence,
    }


def verdict(metric: str, answer: str, judged: Sequence[Estimated], rows: Sequence[dict[str, Any]]) -> str:
    """A headline and two sentences: the share of the variance explained, and the gap to the best baseline.

    Args:
        metric: the score that decides.
        answer: name of the answer to judge.
        judged: of all answers.
        rows: their score table.
    """
    by_name = {row["name"]: row for row in rows}
    own, best = by_name[answer], _best(rows, metric)
    if best is None or own["scores"][metric]["value"] is None:
        return (
            f"There is no verdict: the {spoken(metric)} of the test rows is undefined, their targets are all the same."
        )
    sign = -1 if metric in LOWER_IS_BETTER else 1
    ours, theirs = ([r for r in judged if r.name == name] for name in (answer, best["name"]))
    gap = difference(ours, theirs, metric)
    least = gap.low if sign > 0 else -gap.high
    what = "model" if answer.endswith(OWN_HEAD) else "encoder"
    head = {
        1: f"The {what} beats every baseline",
        0: f"The {what} is not distinguishable from the best baseline",
        -1: f"The {what} does NOT beat the baselines",
    }[1 if least > 0 else -1 if sign * gap.value <= 0 else 0]
    target = next(result.truth.name for result in judged)
    less = ", of which less is better," if sign < 0 else ""
    reached = "" if metric == "r2" else f"reaches {_told(own, metric)} {spoken(metric)}{less} and "
    level = figure(own["scores"][metric]["chance"])
    return (
        f"{head}. {answer}, {reached}explains {_told(own, 'r2')} of the variance of {target} on {own['groups']} groups "
        f"of recordings it was not trained on (the training mean: {spoken(metric)} {level}), against "
        f"{_told(best, metric)}{'' if metric == 'r2' else f' {spoken(metric)}'} by the best baseline, {best['name']}: "
        f"a difference of {signed(gap)}{'' if metric == 'r2' else f' in {spoken(metric)}'}."
    )


def _best(rows: Sequence[dict[str, Any]], metric: str) -> dict[str, Any] | None:
    """The best baseline."""
    sign = -1 if metric in LOWER_IS_BETTER else 1
    simple = [row for row in rows if row["kind"] == "baseline" and row["scores"][metric]["value"] is not None]
    return max(simple, key=lambda row: sign * row["scores"][metric]["value"], default=None)


def _grouped(metric: str, answer: str, every: Sequence[Estimated], decides: str) -> dict[str, Any]:
    """Every answer by group, as ``by_group.group_scores`` has it."""
    found = by_group(every)
    table = json_table(found)
    mine = [result for result in found if result.name == answer]
    (by_row,) = json_table([result for result in every if result.name == answer])
    best, gap = _best(table, metric), {}
    if best is not None:
        own = difference(mine, [result for result in found if result.name == best["name"]], metric)
        gap = {"metric": metric, "value": known(own.value), "low": known(own.low), "high": known(own.high)}
        gap["text"] = signed(own)
    return {
        "how": "mean",
        "decides": decides,
        "metric": metric,
        "answer": answer,
        "groups": len(np.unique(np.concatenate([result.truth.groups for result in mine]))),
        "left_out": 0,
        "chance": {name: score["chance"] for name, score in table[0]["scores"].items()},
        "rows": table,
        "by_row": by_row["scores"][metric],
        "best": best["name"] if best is not None else None,
        "difference": gap,
    }


def target_lines(scores: Mapping[str, Any]) -> list[str]:
    """What is printed beside the table: the groups that are furthest off."""
    worst = scores["regression"].get("residuals", [])[:3]
    told = (f"{one['name']} by {figure(one['absolute'])}" for one in worst)
    return [f"Furthest off, by mean absolute error: {'; '.join(told)}."] if worst else []


def _told(row: Mapping[str, Any], metric: str) -> str:
    score = row["scores"][metric]
    if score["value"] is None:
        return "an undefined share" if metric == "r2" else "undefined"
    if score["low"] is None:
        return f"{figure(score['value'])} (one group, no interval)"
    return f"{figure(score['value'])} [{figure(score['low'])}, {figure(score['high'])}]"
