"""Classes by prompts: what sentences say of the test rows of a cell, and what is asked that cannot be answered."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from counterpoint.alignment.outputs import outputs, similarity_of, text_pair, told
from counterpoint.data.base import Data, SplitName
from counterpoint.embed import Subset
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.results import Result, save_results
from counterpoint.evaluate.zero_shot import ZERO_SHOT
from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.recipe import Recipe, keep_features, load
from counterpoint.types import UNLABELLED, Text, TextSpec


def check(recipe: Recipe, data: Data, model: Model, objective: Objective) -> None:
    """Refuse, before anything is trained, what the objective and the data cannot answer for want of sentences.

    Raises:
        ValueError: naming the objective, the modality, the class, or the split that has no sentence.
    """
    retrieval, zero_shot = recipe.evaluation.retrieval, recipe.evaluation.zero_shot
    if zero_shot is not None:
        zero_shot.check(data.classes)
    texts = [name for name in recipe.encoders if isinstance(data.specs.get(name), TextSpec)]
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
    for fold in data.folds if texts else ():
        for split in ("train", "valid", "test") if retrieval is not None else ("train", "valid"):
            _refuse_silence(objective, data, fold, split)


def _refuse_silence(objective: Objective, data: Data, fold: str, split: SplitName) -> None:
    """Raise ValueError if no row of a split has the text that the objective compares with something."""
    rows = data.evaluation(fold, split)
    for pair in objective.pairs if len(rows) else ():
        for place, name in enumerate(pair):
            if isinstance(data.specs.get(name), TextSpec):
                told = rows.recorded(name, list(range(len(rows))))
                if isinstance(told, Text) and not any(sentence.strip() for sentence in told.sentences):
                    raise ValueError(
                        f"fold {fold!r}: none of the {len(rows)} rows of {split} has {name}, which "
                        f"{type(objective).__name__} compares with {pair[1 - place]}; caption them, or choose another "
                        "split"
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
    results = [Result(ZERO_SHOT, "model", probabilities, truth, (), fold, seed)]
    save_results(cell / "zero_shot.parquet", results)
    return results
