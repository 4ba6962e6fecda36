"""Attributions of the first cell of a run: integrated gradients of its test rows, kept, checked and summed up."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from counterpoint.data.base import Data, Draw, Rows
from counterpoint.embed import device
from counterpoint.evaluate.attributing import METHOD, Attributions, chosen
from counterpoint.explain.baseline import ends, means
from counterpoint.explain.gradients import Integrated, Question, answered, captum, integrated, moving, unfit
from counterpoint.explain.tables import Told, write_tables
from counterpoint.explain.totals import totals
from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.recipe import Recipe, build, keep_features, load
from counterpoint.scores import cell_folder
from counterpoint.snapshot import read_json, write_json
from counterpoint.types import moved

LOG = logging.getLogger("counterpoint")
FOLDER, SUMMARY = "attributions", "summary.json"
RANDOMISED = 8
"""Rows that are also attributed to a model of random weights."""


class Asked(NamedTuple):
    """A model, what it is asked about, and how."""

    model: Model
    objective: Objective
    data: Data
    settings: Attributions
    names: tuple[str, ...]
    answers: tuple[str, ...]
    means: dict[str, Tensor]


def check(recipe: Recipe, data: Data, model: Model, objective: Objective) -> None:
    """Raise, before anything is trained, where attributions are asked for and cannot be had.

    Raises:
        ValueError: if the objective predicts nothing, or no modality can be integrated over.
        ModuleNotFoundError: where ``captum`` is not installed.
    """
    if recipe.evaluation.attributions is not None:
        captum()
        fold = next((fold for fold in data.folds if len(data.evaluation(fold, "test"))), None)
        if fold is not None:
            _possible(model.eval(), objective.eval(), data, data.evaluation(fold, "test"))
            model.train(), objective.train()


def attributed(recipe: Recipe, data: Data, folder: Path, settings: Attributions) -> dict[str, Any]:
    """Attribute test rows of the first cell, or read what stands in the run folder.

    Args:
        recipe: of the run.
        data: its data.
        folder: of the run.
        settings: how many rows and steps, and from where.

    Returns:
        What a report shows, as ``totals`` has it, with method, completeness, sanity and what was left out.

    Raises:
        ValueError: if the objective predicts nothing, or no modality can be integrated over.
    """
    path = folder / FOLDER / SUMMARY
    if path.is_file():
        found: dict[str, Any] = read_json(path)
        return found
    fold, seed = data.folds[0], recipe.seeds[0]
    LOG.info("attributing test rows of fold %s, seed %d", fold, seed)
    model, objective = load(cell_folder(folder, fold, seed), data, recipe)
    place = device()
    model, objective = model.to(place).eval(), objective.to(place).eval()
    rows = keep_features(recipe, model, data.evaluation(fold, "test"))
    if not len(rows):
        return {}
    left, answers = _possible(model, objective, data, rows)
    names = tuple(name for name in model.encoders if name not in left)
    train = data.evaluation(fold, "train")
    mean = means(train if len(train) else rows, names) if settings.baseline == "mean" else {}
    asked = Asked(model, objective, data, settings, names, answers, {name: one.to(place) for name, one in mean.items()})
    told = [_told(asked, rows, int(row)) for row in chosen(rows.labels, settings.rows)]
    write_tables(folder / FOLDER, told, data, rows)
    random = build(recipe, data, seed + 1)
    sanity = _sanity(asked._replace(model=random[0].to(place).eval(), objective=random[1].to(place).eval()), rows, told)
    errors, spans = [one.found.error for one in told], [abs(one.found.score - one.found.start) for one in told]
    summary = {
        "method": METHOD,
        "of": "the predicted probability" if answers == data.classes else f"the estimate of {answers[0]}",
        "fold": fold,
        "seed": seed,
        "rows": len(told),
        "steps": settings.steps,
        "baseline": settings.baseline,
        "completeness": {"largest": max(errors), "mean": float(np.mean(errors)), "span": float(np.mean(spans))},
        "sanity": sanity,
        "left_out": left,
        "modalities": totals(told, data),
    }
    write_json(path, summary)
    return summary


def _possible(model: Model, objective: Objective, data: Data, rows: Rows) -> tuple[dict[str, str], tuple[str, ...]]:
    """Modalities that are left out, with the reason, and the answers; a ValueError where nothing can be attributed."""
    place = next(model.parameters(), torch.zeros(())).device
    view = {n: moved(m, place) for n, m in rows.__getitems__([Draw(0, 0)]).views[0].items()}
    with torch.no_grad():
        encoded = model(view)
        found, classes = answered(objective, encoded), objective.predict(encoded) is not None
    if found is None:
        raise ValueError(
            f"evaluation.attributions: {type(objective).__name__} predicts nothing, so there is no answer to "
            "attribute; leave it out, or take an objective that predicts, such as CrossEntropy"
        )
    left = {n: unfit(encoder, data.specs[n], view[n]) for n, encoder in model.encoders.items()}  # type: ignore[arg-type]
    left = {name: reason for name, reason in left.items() if reason}
    if len(left) == len(model.encoders):
        told = "; ".join(f"{name}, {reason}" for name, reason in left.items())
        raise ValueError(f"evaluation.attributions: no modality can be attributed: {told}; leave it out")
    return left, (data.classes if classes else (data.target,))


def _told(asked: Asked, rows: Rows, row: int, target: int | None = None) -> Told:
    """Attributions of one row, of the class the model chose or of ``target``."""
    place = next(asked.model.parameters()).device
    view = {n: moved(m, place) for n, m in rows.__getitems__([Draw(row, row)]).views[0].items()}
    question = Question(asked.model, asked.objective, view, asked.names)
    which = {name: moving(asked.data.specs[name], view[name]) for name in asked.names}
    ways = [ends(asked.settings.baseline, view[n], which[n], asked.means.get(n)) for n in asked.names]
    inputs, starts = [way[0] for way in ways], [way[1] for way in ways]
    with torch.no_grad():
        question.target = int(question.answers(*inputs)[0].argmax()) if target is None else target
    found = integrated(question, inputs, starts, asked.settings.steps)
    values = {
        name: one.masked_fill(~which[name], 0.0)[0].cpu().numpy()
        for name, one in zip(asked.names, found.values, strict=True)
    }
    seen = {name: one[0].cpu().numpy() for name, one in zip(asked.names, inputs, strict=True)}
    real = {name: one[0].cpu().numpy() for name, one in which.items()}
    return Told(row, question.target, asked.answers[question.target], Integrated((), *found[1:]), values, seen, real)


def _sanity(random: Asked, rows: Rows, told: Sequence[Told]) -> dict[str, float | None]:
    """Rank correlation of the sizes of attributions with those of random weights, the mean over rows, by modality.

    Adebayo et al., "Sanity Checks for Saliency Maps" (2018, arXiv 1810.03292): what does not change when the weights
    are random does not hang on what was learned.
    """
    few = told[:: max(1, len(told) // RANDOMISED)][:RANDOMISED]
    pairs = [(one, _told(random, rows, one.row, one.target)) for one in few]
    found: dict[str, float | None] = {}
    for name in random.names:
        alike = [_alike(one.values[name][one.real[name]], other.values[name][one.real[name]]) for one, other in pairs]
        known = [one for one in alike if np.isfinite(one)]
        found[name] = float(np.mean(known)) if known else None
    return found


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    one, other = np.abs(one), np.abs(other)
    if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)
