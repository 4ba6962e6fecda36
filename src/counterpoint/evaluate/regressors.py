"""Regressors: simple estimates of a target from frozen embeddings, learned on one split and scored on another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Float
from counterpoint.evaluate.neighbours import Metric, nearest
from counterpoint.evaluate.probes import standardise
from counterpoint.evaluate.regression import Estimated, Targets
from counterpoint.evaluate.results import Kind

PENALTIES = tuple(10.0**power for power in range(-2, 6))
"""Of ridge regression on standardised columns, from which a cross-validation chooses."""


class Measured(NamedTuple):
    """Embeddings of rows, and their targets.

    Attributes:
        rows: N of them.
        targets: (N,), NaN where unknown.
        name: of the target.
    """

    rows: Embeddings
    targets: Float
    name: str

    def known(self) -> Measured:
        """The rows whose target is known."""
        here = np.isfinite(self.targets)
        return Measured(self.rows.take(here), self.targets[here], self.name)


class Regressor(ABC):
    """Base of all regressors: what a simple regression makes of embeddings it did not shape.

    Attributes:
        name: what stands in tables.
    """

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def predict(self, train: Measured, test: Embeddings) -> Float:
        """(N,) estimates of the test rows, learned from train rows whose targets are all known."""

    def evaluate(
        self,
        train: Measured,
        test: Measured,
        *,
        name: str = "",
        kind: Kind = "model",
        fold: str = "",
        seed: int = 0,
    ) -> Estimated:
        """Estimate the test rows whose target is known.

        Args:
            train: rows to learn from; those without a target are dropped.
            test: rows to score; those without a target are dropped.
            name: in place of the regressor's own.
            kind: whether the embeddings were learned.
            fold: of the data, for the record.
            seed: of the run, for the record.

        Raises:
            ValueError: no target in one of the two, or they are not of one width.
        """
        name = name or self.name
        if train.rows.values.shape[1] != test.rows.values.shape[1]:
            raise ValueError(
                f"{name}: train has width {train.rows.values.shape[1]} and test {test.rows.values.shape[1]}; "
                "embed both with one model"
            )
        train, test = train.known(), test.known()
        for side, split in (("train", train), ("test", test)):
            if len(split.targets) == 0:
                raise ValueError(f"{name}: no row in {side} of fold {fold!r} has a target {train.name!r}; fill some")
        predicted = self.predict(train, test.rows)
        truth = Targets(test.targets, test.rows.groups, test.rows.domains, test.rows.ids, test.name)
        return Estimated(name, kind, predicted, truth, float(train.targets.mean()), fold, seed)


@final
@dataclass(frozen=True, kw_only=True)
class MeanRegressor(Regressor):
    """The mean of the training targets, whatever the row."""

    @property
    def name(self) -> str:
        return "training mean"

    def predict(self, train: Measured, test: Embeddings) -> Float:
        """See ``Regressor.predict``."""
        return np.full(len(test), float(train.targets.mean()))


@final
@dataclass(frozen=True, kw_only=True)
class RidgeRegressor(Regressor):
    """Ridge regression on standardised columns.

    Args:
        penalty: of the squared weights; ``grouped-cv`` takes the one of 0.01 to 100 000 with the least squared error in
            a cross-validation inside the training rows that keeps groups whole, of equal ones the strongest.
    """

    penalty: float | Literal["grouped-cv"] = "grouped-cv"

    def __post_init__(self) -> None:
        if isinstance(self.penalty, float | int) and self.penalty <= 0:
            raise ValueError(f"RidgeRegressor.penalty is {self.penalty}; use a positive number, or 'grouped-cv'")

    @property
    def name(self) -> str:
        return "ridge regression"

    def predict(self, train: Measured, test: Embeddings) -> Float:
        """See ``Regressor.predict``; scaling and penalty come from the train rows alone."""
        penalty = self._chosen(train) if self.penalty == "grouped-cv" else float(self.penalty)
        found: Float = _ridge(train.rows.values, train.targets, test.values, (penalty,))[0]
        return found

    def _chosen(self, train: Measured) -> float:
        strongest = PENALTIES[::-1]
        errors = np.zeros(len(strongest))
        for fit, held in grouped_folds(train):
            values = train.rows.values
            predicted = _ridge(values[fit], train.targets[fit], values[held], strongest)
            errors += ((predicted - train.targets[held]) ** 2).sum(1)
        return strongest[int(errors.argmin())] if errors.any() else 1.0


@final
@dataclass(frozen=True, kw_only=True)
class KNNRegressor(Regressor):
    """Mean target of the nearest train rows.

    Args:
        k: neighbours; all train rows where there are fewer.
        metric: the distance.
        scale: ``standard`` standardises every dimension by the train rows first.
    """

    k: int = 5
    metric: Metric = "cosine"
    scale: Literal["none", "standard"] = "none"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"KNNRegressor.k is {self.k}; use at least 1")

    @property
    def name(self) -> str:
        return f"{self.k}-NN"

    def predict(self, train: Measured, test: Embeddings) -> Float:
        """See ``Regressor.predict``."""
        store: NDArray[np.floating[Any]] = train.rows.values
        queries: NDArray[np.floating[Any]] = test.values
        if self.scale == "standard":
            store, queries = standardise(store, queries)
        _, found = nearest(queries, store, min(self.k, len(store)), self.metric)
        return np.asarray(train.targets[found].mean(1), np.float64)


@final
@dataclass(frozen=True, kw_only=True)
class BoostingRegressor(Regressor):
    """Gradient-boosted trees on binned columns, scikit-learn's ``HistGradientBoostingRegressor``.

    Args:
        trees: how many.
        rate: share of each tree that is added.
        leaves: most leaves of a tree.
        seed: of the binning.
    """

    trees: int = 200
    rate: float = 0.05
    leaves: int = 15
    seed: int = 0

    @property
    def name(self) -> str:
        return "gradient boosting"

    def predict(self, train: Measured, test: Embeddings) -> Float:
        """See ``Regressor.predict``; every tree is grown, none is stopped by held-out rows of the same groups."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        model = HistGradientBoostingRegressor(
            max_iter=self.trees,
            learning_rate=self.rate,
            max_leaf_nodes=self.leaves,
            # Twenty rows a leaf, as it would have it, leave small tables whole.
            min_samples_leaf=min(20, max(2, len(train.targets) // 10)),
            early_stopping=False,
            random_state=self.seed,
        )
        fitted, asked = standardise(train.rows.values, test.values)
        return np.asarray(model.fit(fitted, train.targets).predict(asked), np.float64)


def grouped_folds(train: Measured) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Inner folds of (fitted, held out) row numbers that keep groups whole; none where there is one group."""
    from sklearn.model_selection import GroupKFold

    groups = train.rows.groups
    folds = min(5, len(np.unique(groups)))
    return [] if folds < 2 else list(GroupKFold(folds).split(groups, groups=groups))


def _ridge(
    fitted: NDArray[np.floating[Any]],
    targets: Float,
    asked: NDArray[np.floating[Any]],
    penalties: tuple[float, ...],
) -> Float:
    """(P, N) estimates under each penalty, of one decomposition."""
    known, rows = standardise(fitted, asked)
    left, size, right = np.linalg.svd(known, full_matrices=False)
    shares = size / (size**2 + np.array(penalties)[:, None])
    level = targets.mean()
    return np.asarray((shares * (left.T @ (targets - level))) @ right @ rows.T + level, np.float64)
