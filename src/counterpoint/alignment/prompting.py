"""Classes by prompts: what sentences say of the test rows of a cell, and what is asked that cannot be answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from counterpoint.alignment.outputs import outputs, similarity_of, text_pair, told
from counterpoint.data.base import Data
from counterpoint.embed import Subset
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.results import Result
from counterpoint.evaluate.zero_shot import ZERO_SHOT
from counterpoint.recipe import Recipe, build, keep_features, load
from counterpoint.types import UNLABELLED


def check(recipe: Recipe, data: Data) -> None:
    """Refuse, before anything is trained, retrieval and prompts that the objective and the data cannot answer.

    Raises:
        ValueError: naming the objective, the modality or the class.
    """
    retrieval, zero_shot = recipe.evaluation.retrieval, recipe.evaluation.zero_shot
    if zero_shot is not None:
        zero_shot.check(data.classes)
    if retrieval is None and zero_shot is None:
        return
    model, objective = build(recipe, data, recipe.seeds[0])
    if zero_shot is not None:
        text_pair(objective, data)
    if retrieval is not None:
        if not objective.pairs:
            raise ValueError(
                f"evaluation.retrieval: {type(objective).__name__} compares no outputs of the model with each other; "
                "take an objective that has pairs, such as CLIP, or leave retrieval out"
            )
        for names in retrieval.shown:
            strange = [name for name in names if name not in model.fused]
            if strange:
                raise ValueError(
                    f"evaluation.retrieval.shown: {strange[0]!r} is none of the fused modalities, which are "
                    f"{', '.join(model.fused)}"
                )


def judge_zero_shot(recipe: Recipe, data: Data, fold: str, seed: int, cell: Path) -> list[Result]:
    """What prompts say of the labelled test rows; none where the recipe does not ask.

    Args:
        recipe: the cell was trained with.
        data: its data.
        fold: its fold.
        seed: its seed.
        cell: its folder.
    """
    settings = recipe.evaluation.zero_shot
    if settings is None:
        return []
    model, objective = load(cell, data, recipe)
    text, other, text_first = text_pair(objective, data)
    rows = data.evaluation(fold, "test")
    rows = Subset(rows, np.flatnonzero(rows.labels != UNLABELLED))
    sides = outputs(model, objective, keep_features(recipe, model, rows), data.names).sides
    sentences, owners = settings.sentences(data.classes)
    prompts = told(model, objective, text, sentences)
    ordered = (prompts, sides[other]) if text_first else (sides[other], prompts)
    with torch.inference_mode():
        scores = similarity_of(objective)(*ordered).double().cpu().numpy()
    probabilities = settings.probabilities(scores.T if text_first else scores, owners, len(data.classes))
    truth = Truth(rows.labels, rows.groups, rows.domains, rows.ids, data.classes)
    return [Result(ZERO_SHOT, "model", probabilities, truth, (), fold, seed)]
