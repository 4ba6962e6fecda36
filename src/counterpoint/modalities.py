"""What each modality of a fused embedding is worth: a model of it alone, and the fused model without it."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.data.base import Data, Rows
from counterpoint.data.hiding import Hidden, present
from counterpoint.embed import Subset, embed, embed_and_predict
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.results import Result, load_results, save_results, unseen_classes
from counterpoint.evaluate.verdict import OWN_HEAD
from counterpoint.evaluate.worth import title, worth
from counterpoint.evaluation import Evaluation
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.objectives.base import narrowed
from counterpoint.rates import applicable
from counterpoint.recipe import Recipe, build, keep_features, load, plan, train_cell
from counterpoint.types import UNLABELLED

LOG = logging.getLogger("counterpoint")


class Alone(NamedTuple):
    """A recipe and its data, seen through one of the fused modalities."""

    recipe: Recipe
    data: Data


class _Cell(NamedTuple):
    """A trained model with what its rows are called and judged by."""

    recipe: Recipe
    data: Data
    fold: str
    seed: int
    model: Model
    objective: Objective


def fused(recipe: Recipe) -> list[str]:
    """Modalities that make the embedding of a recipe."""
    return list(recipe.fused or recipe.encoders)


def alone(recipe: Recipe, data: Data, modality: str) -> Alone:
    """What trains a model that embeds by one modality: everything as it was, less the other fused ones.

    Modalities that were encoded beside the embedding stay beside it, as the sentences of a clip do; what of the
    objective compares or reads a modality that is gone is left out. One process trains it.

    Args:
        recipe: of the fused model.
        data: its data.
        modality: one of those fused.

    Raises:
        ValueError: if the reader cannot show one modality alone, or nothing is left of the objective.
    """
    others = set(fused(recipe)) - {modality}
    kept = {name: encoder for name, encoder in recipe.encoders.items() if name not in others}
    beside = [name for name in kept if name != modality]
    objective = narrowed(recipe.objective, {*kept, FUSED})
    if objective is None:
        raise ValueError(
            f"evaluation.modalities.alone: every part of the objective compares or reads modalities that are not there "
            f"where {modality} is alone; set it to off, or add a term that reads the embedding"
        )
    hardware = replace(recipe.trainer.hardware, devices=1, num_nodes=1, strategy="auto")
    own = replace(
        recipe,
        encoders=kept,
        objective=objective,
        fused=[modality] if beside else [],
        trainer=replace(recipe.trainer, hardware=hardware),
        evaluation=Evaluation(recipe.evaluation.evaluators, recipe.evaluation.metric),
    )
    return Alone(own, data.only([modality], beside))


def check(recipe: Recipe, data: Data) -> None:
    """Refuse, before anything is trained, what could not be trained on one modality alone.

    Raises:
        ValueError: naming the modality, and the reader, the objective or the fold.
    """
    settings = recipe.evaluation.modalities
    if settings is None or settings.alone == "off" or not data.classes:
        return
    for modality in fused(recipe):
        own, seen = alone(recipe, data, modality)
        for fold in seen.folds:
            try:
                plan(own, seen, fold, seen.training(fold, "train"))
            except ValueError as error:
                raise ValueError(f"evaluation.modalities.alone: {modality}: {error}") from error


def judge_modalities(recipe: Recipe, data: Data, fold: str, seed: int, cell: Path) -> list[Result]:
    """Results of each modality alone and of the fused model without each, read where they stand in the cell.

    Args:
        recipe: the cell was trained with.
        data: its data.
        fold: its fold.
        seed: its seed.
        cell: its folder, with the embeddings of the fused model.
    """
    settings, results = recipe.evaluation.modalities, list[Result]()
    if settings is not None and settings.alone == "trained":
        for modality in fused(recipe):
            own, seen = alone(recipe, data, modality)
            results += _judge_alone(own, seen, modality, fold, seed, cell / "alone" / modality)
    if settings is not None and settings.missing == "scored":
        results += _judge_without(recipe, data, fold, seed, cell)
    return results


def _judge_alone(recipe: Recipe, data: Data, modality: str, fold: str, seed: int, folder: Path) -> list[Result]:
    """Results of a modality alone, its model trained first where the folder lacks one."""
    path, trained = folder / "predictions.parquet", folder / "trained.json"
    if not trained.is_file():
        path.unlink(missing_ok=True)
        LOG.info("training on %s alone, fold %s with seed %d", modality, fold, seed)
        settings = applicable(recipe.optimizer, *build(recipe, data, seed))
        task = train_cell(replace(recipe, optimizer=settings), data, fold, seed, folder)
        trained.write_text(json.dumps({"position": task.position}), encoding="utf-8")
    if path.is_file():
        return load_results(path)
    cell = _Cell(recipe, data, fold, seed, *load(folder, data, recipe))
    learned = embed(cell.model, data, keep_features(recipe, cell.model, data.evaluation(fold, "train")))
    test = keep_features(recipe, cell.model, data.evaluation(fold, "test"))
    return _keep(path, _answer(cell, title(modality, "alone"), learned, test))


def _judge_without(recipe: Recipe, data: Data, fold: str, seed: int, cell: Path) -> list[Result]:
    """Results of the fused model with each modality hidden, on the test rows that have another."""
    modalities = fused(recipe)
    paths = {modality: cell / "without" / f"{modality}.parquet" for modality in modalities}
    results = [result for path in paths.values() if path.is_file() for result in load_results(path)]
    missing = [modality for modality, path in paths.items() if not path.is_file()]
    if not missing:
        return results
    whole = _Cell(recipe, data, fold, seed, *load(cell, data, recipe))
    learned = Embeddings.load(cell / "embeddings" / "train")
    test = keep_features(recipe, whole.model, data.evaluation(fold, "test"))
    having = present(test, modalities)
    for modality in missing:
        others = np.delete(having, modalities.index(modality), axis=1).any(1)
        rows = Hidden(Subset(test, np.flatnonzero(others)), [modality])
        results += _keep(paths[modality], _answer(whole, title(modality, "without"), learned, rows))
    return results


def _answer(cell: _Cell, name: str, learned: Embeddings, rows: Rows) -> list[Result]:
    """What a model says of test rows, judged as the main answer is: by its own head, else by the first evaluator.

    Args:
        cell: the model.
        name: how that of the answer begins.
        learned: its embeddings of whole training rows.
        rows: to test on; without a labelled one there is no answer.
    """
    recipe, data, fold, seed, model, objective = cell
    if not (rows.labels != UNLABELLED).any():
        return []
    found, predicted = embed_and_predict(model, objective, data, rows)
    if predicted is None:
        first = recipe.evaluation.evaluators[0]
        return [first.evaluate(learned, found, name=f"{name}, {first.name}", fold=fold, seed=seed)]
    own = predicted.labelled()
    unseen = unseen_classes(learned.truth, own.truth)
    return [Result(f"{name}{OWN_HEAD}", "model", own.values.astype(float), own.truth, unseen, fold, seed)]


def _keep(path: Path, results: list[Result]) -> list[Result]:
    if results:
        save_results(path, results)
    return results


def forget(folder: Path) -> None:
    """Drop what a run folder keeps of such answers, so that they are given again; trained models stay."""
    for without in folder.glob("cells/*/without"):
        shutil.rmtree(without)
    for predictions in folder.glob("cells/*/alone/*/predictions.parquet"):
        predictions.unlink()


def modality_scores(
    recipe: Recipe, main: Sequence[Result], judged: Sequence[Result], rows: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """What ``worth`` says of a run; empty where its recipe does not ask."""
    if recipe.evaluation.modalities is None:
        return {}
    return worth(fused(recipe), main, judged, rows, recipe.evaluation.metric)
