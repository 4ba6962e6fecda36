"""What pre-training is worth: fine-tuning on shares of the labels against the same model from scratch.

From scratch is without this run's pre-training. Published backbones are part of the recipe, so both models start from
them; what differs is what the run trained on top of them, or the whole model where there is none.
"""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Data, Rows
from counterpoint.data.sampling import stream_length
from counterpoint.embed import Subset, predict
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.model import Model
from counterpoint.objectives import CrossEntropy
from counterpoint.rates import OBJECTIVE, applicable
from counterpoint.recipe import Recipe, build, keep_features, load
from counterpoint.settings import Checkpoints, Monitor, Optimizer, Part, Trainer, Transfer
from counterpoint.types import UNLABELLED

LOG = logging.getLogger("counterpoint")
Start = Literal["pretrained", "scratch"]
STARTS: tuple[Start, ...] = ("pretrained", "scratch")


def label_share(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Rows of a share of the labels, stratified, at least one a class; a smaller share is within a larger.

    Args:
        labels: (n,) class index or ``UNLABELLED``.
        fraction: above 0, at most 1.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels[labels != UNLABELLED]):
        rows = generator.permutation(np.flatnonzero(labels == label))
        chosen.append(rows[: max(1, round(fraction * len(rows)))])
    return np.sort(np.concatenate(chosen))


def transfer_cell(
    recipe: Recipe, data: Data, fold: str, seed: int, cell: Path
) -> dict[tuple[float, Start], Embeddings]:
    """Class probabilities on the test split for every share of the labels and both starts.

    What was computed before is read from ``cell/transfer``.

    Args:
        recipe: the cell was trained with; its ``evaluation.transfer`` says what to do.
        data: its data.
        fold: its fold.
        seed: its seed.
        cell: its folder.
    """
    settings = recipe.evaluation.transfer
    assert settings is not None
    rows, test = data.evaluation(fold, "train"), data.evaluation(fold, "test")
    results: dict[tuple[float, Start], Embeddings] = {}
    for fraction in settings.fractions:
        subset = Subset(rows, label_share(rows.labels, fraction, seed))
        for start in STARTS:
            stem = cell / "transfer" / f"{start}-{fraction:g}"
            if not stem.with_name(stem.name + ".parquet").is_file():
                LOG.info("fine-tuning, %s, on %g %% of the labels", start, 100 * fraction)
                model, classifier = _fine_tune(recipe, settings, data, subset, start, seed, cell)
                predict(model, classifier, data, keep_features(recipe, model, test)).save(stem)
            results[fraction, start] = Embeddings.load(stem)
    return results


def _fine_tune(
    recipe: Recipe, settings: Transfer, data: Data, rows: Rows, start: Start, seed: int, cell: Path
) -> tuple[Model, CrossEntropy]:
    from counterpoint.fit import fit
    from counterpoint.task import Task

    model, classifier = build(recipe, data, seed, CrossEntropy)
    assert isinstance(classifier, CrossEntropy)
    if start == "pretrained":
        model.load_state_dict(load(cell, data, recipe)[0].state_dict())
    rows = keep_features(recipe, model, rows)
    trainer = _trainer(recipe, settings, rows)
    task = Task(
        model,
        classifier,
        applicable(tuning(settings, recipe.optimizer, start), model, classifier),
        total_steps=stream_length(rows, trainer.batch_size, trainer.epochs)[0],
        names=data.names,
    )
    scratch = cell / "transfer" / "unfinished"
    shutil.rmtree(scratch, ignore_errors=True)
    nothing = Subset(rows, np.zeros(0, np.int64))
    fit(task, rows, nothing, settings=trainer, seed=seed, folder=scratch)
    shutil.rmtree(scratch)
    # Training in float64 is of the training alone; what is embedded is float32.
    return model.float(), classifier.float()


def tuning(settings: Transfer, before: Optimizer, start: Start) -> Optimizer:
    """Rates of a fine-tuning: parts keep the factors they had, and the whole model waits as ``freeze`` says.

    The objective's parts are left out, for the classifier is another.
    """
    pretrained = start == "pretrained"
    lr = settings.classifier_lr if pretrained else settings.lr
    factor, waits = (settings.encoder_lr / lr, settings.freeze) if pretrained else (1.0, 0.0)
    factors = {"encoders": 1.0, "fusion": 1.0}
    factors |= {name: part.rate for name, part in before.parts.items() if name.split(".")[0] != OBJECTIVE}
    scaled = {name: own * factor for name, own in factors.items()}
    parts = {name: Part(rate, waits if rate else 0.0) for name, rate in scaled.items()}
    return Optimizer(lr=lr, weight_decay=before.weight_decay, parts=parts)


def _trainer(recipe: Recipe, settings: Transfer, rows: Rows) -> Trainer:
    """One process, no validation (nothing is selected), as many passes as the least steps ask for."""
    per_epoch = max(1, len(rows) // settings.batch_size)
    return Trainer(
        epochs=max(settings.epochs, -(-settings.min_steps // per_epoch)),
        batch_size=settings.batch_size,
        clip_norm=recipe.trainer.clip_norm,
        hardware=replace(recipe.trainer.hardware, devices=1, num_nodes=1, strategy="auto"),
        checkpoints=Checkpoints(keep_last=1),
        monitor=Monitor(log_every=50),
    )
