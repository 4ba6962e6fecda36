"""Baselines of a target: the training mean, metadata, and simple regressions on hand features of what was recorded."""

from __future__ import annotations

import numpy as np

from counterpoint.evaluate.baselines import SUMMARY, HandFeatures, metadata_sides
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Float
from counterpoint.evaluate.latent_regressors import PcaBoostingRegressor, PlsRegressor
from counterpoint.evaluate.regression import Estimated
from counterpoint.evaluate.regressors import (
    BoostingRegressor,
    MeanRegressor,
    Measured,
    Regressor,
    RidgeRegressor,
)
from counterpoint.evaluate.spectral_baselines import COMPONENTS, SPECTRA, TABLE, beside

Answer = tuple[str, Regressor, Embeddings, Embeddings]
"""A name, and what answers on features of train and test rows."""


def target_baselines(
    train: HandFeatures,
    test: HandFeatures,
    targets: tuple[Float, Float],
    *,
    target: str,
    fold: str = "",
    seed: int = 0,
) -> list[Estimated]:
    """Estimate the target on one fold by every simple answer.

    The training mean; metadata alone (left out where there are no columns); of spectra PLS regression, ridge and trees
    on principal components, of tables ridge and trees, and both on the two together; of anything else ridge and trees
    on summary statistics.

    Args:
        train: of the train split.
        test: of the split to score.
        targets: of the rows of both, NaN where unknown.
        target: its name.
        fold: of the data, for the record.
        seed: of the trees, and for the record.

    Raises:
        ValueError: one of the splits has no target.
    """
    answers: list[Answer] = [(MeanRegressor().name, MeanRegressor(), train.sets[SUMMARY], test.sets[SUMMARY])]
    if train.metadata.shape[1]:
        answers.append(("metadata, ridge regression", RidgeRegressor(), *metadata_sides(train, test)))
    answers += _answers(train, test, seed)
    return [
        regressor.evaluate(
            Measured(fitted, targets[0], target),
            Measured(scored, targets[1], target),
            name=name,
            kind="baseline",
            fold=fold,
            seed=seed,
        )
        for name, regressor, fitted, scored in answers
    ]


def _answers(train: HandFeatures, test: HandFeatures, seed: int) -> list[Answer]:
    """Regressions on each feature set."""
    ridge, trees = RidgeRegressor(), BoostingRegressor(trees=100, seed=seed)
    plain: list[Regressor] = [ridge, trees]
    spectral: list[Regressor] = [PlsRegressor(), ridge, PcaBoostingRegressor(seed=seed)]
    chosen = [(SPECTRA, spectral), (TABLE, plain)]
    own = sum(train.sets[name].values.shape[1] for name, _ in chosen if name in train.sets)
    if train.sets[SUMMARY].values.shape[1] != own:
        # More than spectra and tables, which have answers of their own.
        chosen.append((SUMMARY, plain))
    answers = [
        (f"{name}, {regressor.name}", regressor, train.sets[name], test.sets[name])
        for name, regressors in chosen
        if name in train.sets
        for regressor in regressors
    ]
    if SPECTRA in train.sets and TABLE in train.sets:
        both = beside(train.sets, test.sets)
        title = f"{SPECTRA} (PCA{COMPONENTS}) and {TABLE}"
        answers += [(f"{title}, {regressor.name}", regressor, *both) for regressor in plain]
    return answers


def target_values(values: Float | None, rows: int) -> Float:
    """(n,) targets of a split, all unknown where its data have none."""
    return np.full(rows, np.nan) if values is None else values
