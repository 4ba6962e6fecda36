"""Regressors of the field of spectra: partial least squares, and trees on principal components."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.chemometrics import principal
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Float
from counterpoint.evaluate.regressors import BoostingRegressor, Measured, Regressor, grouped_folds

_USUAL = 10
"""Latent variables of PLS where nothing can be held out to choose them by."""


@final
@dataclass(frozen=True, kw_only=True)
class PlsRegressor(Regressor):
    """Partial least squares regression. Columns are centred and not scaled, as is usual for spectra.

    Wold, Sjöström and Eriksson (2001, Chemometrics and Intelligent Laboratory Systems 58).

    Args:
        components: latent variables; ``grouped-cv`` takes the number of 1 to ``most`` with the least squared error in a
            cross-validation inside the training rows that keeps groups whole, of equal ones the least.
        most: of them; fewer where there are fewer rows or columns.
    """

    components: int | Literal["grouped-cv"] = "grouped-cv"
    most: int = 20

    def __post_init__(self) -> None:
        for name, count in (("components", self.components), ("most", self.most)):
            if isinstance(count, int) and count < 1:
                raise ValueError(f"PlsRegressor.{name} is {count}; use at least 1")

    @property
    def name(self) -> str:
        return "PLS regression"

    def predict(self, train: Measured, test: Embeddings) -> Float:
        """See ``Regressor.predict``."""
        chosen = self._chosen(train) if self.components == "grouped-cv" else int(self.components)
        found: Float = _pls(train.rows.values, train.targets, test.values, chosen)[-1]
        return found

    def _chosen(self, train: Measured) -> int:
        """The best number of latent variables: one regression a fold has all the smaller ones within it."""
        errors = np.zeros(self.most)
        for fit, held in grouped_folds(train):
            predicted = _pls(train.rows.values[fit], train.targets[fit], train.rows.values[held], self.most)
            errors += ((predicted - train.targets[held]) ** 2).sum(1)
        return int(errors.argmin()) + 1 if errors.any() else min(_USUAL, self.most)


@final
@dataclass(frozen=True, kw_only=True)
class PcaBoostingRegressor(Regressor):
    """Gradient-boosted trees on principal components: on a thousand columns they take minutes and see no more.

    Args:
        components: principal components, of the training rows; fewer where there are fewer rows or columns.
        trees: as ``BoostingRegressor``.
        seed: of the trees.
    """

    components: int = 20
    trees: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if self.components < 1:
            raise ValueError(f"PcaBoostingRegressor.components is {self.components}; use at least 1")

    @property
    def name(self) -> str:
        return f"PCA{self.components}, gradient boosting"

    def predict(self, train: Measured, test: Embeddings) -> Float:
        """See ``Regressor.predict``."""
        fitted, asked = (side.astype(np.float32) for side in principal(train.rows, test, self.components))
        trees = BoostingRegressor(trees=self.trees, seed=self.seed)
        return trees.predict(train._replace(rows=replace(train.rows, values=fitted)), replace(test, values=asked))


def _pls(fitted: NDArray[np.floating[Any]], targets: Float, asked: NDArray[np.floating[Any]], components: int) -> Float:
    """(P, N) estimates by the first 1, 2, ... latent variables."""
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.exceptions import ConvergenceWarning

    rows, level = fitted.astype(np.float64), targets.mean()
    count = min(components, max(1, len(rows) - 1), rows.shape[1])
    if not np.ptp(targets):
        return np.full((components, len(asked)), level)
    with warnings.catch_warnings():
        # Rows with fewer directions than asked for leave nothing to iterate on; their latent variables are 0.
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.simplefilter("ignore", UserWarning)
        model = PLSRegression(count, scale=False).fit(rows, targets[:, None])
    scores = (asked - rows.mean(0)) @ np.nan_to_num(model.x_rotations_)
    steps = np.cumsum(scores * np.nan_to_num(model.y_loadings_[0]), 1).T + level
    return np.asarray(np.concatenate([steps, np.repeat(steps[-1:], components - count, 0)]), np.float64)
