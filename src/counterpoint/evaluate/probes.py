"""Evaluators: simple classifiers on frozen embeddings, trained on one split and scored on another."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, final

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Float, Int
from counterpoint.evaluate.metrics import classification_statistics
from counterpoint.evaluate.neighbours import Metric, nearest
from counterpoint.evaluate.results import Kind, Result, unseen_classes, whole
from counterpoint.types import Estimate


class Evaluator(ABC):
    """Base of all evaluators: what a simple classifier makes of embeddings it did not shape.

    Attributes:
        name: what stands in tables and file names.
        gives: whether its numbers are meant as probabilities, or only put rows in an order, as distances do.
    """

    gives: ClassVar[Literal["probabilities", "order"]] = "probabilities"

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """(N, K) probabilities of the test rows over all classes, learned from the labelled train rows."""

    def evaluate(
        self,
        train: Embeddings,
        test: Embeddings,
        *,
        name: str = "",
        kind: Kind = "model",
        fold: str = "",
        seed: int = 0,
    ) -> Result:
        """Predict the labelled test rows and keep the predictions.

        Args:
            train: rows to learn from; unlabelled ones are dropped.
            test: rows to score; unlabelled ones are dropped.
            name: in place of the evaluator's own.
            kind: whether the embeddings were learned.
            fold: of the data, for the record.
            seed: of the run, for the record.

        Raises:
            ValueError: no labelled row in one of the two, or they do not share classes and width.
        """
        name = name or self.name
        if train.classes != test.classes or train.values.shape[1] != test.values.shape[1]:
            raise ValueError(
                f"{name}: train has classes {train.classes} and width {train.values.shape[1]}, "
                f"test {test.classes} and {test.values.shape[1]}; embed both with one model and one table"
            )
        train, test = train.labelled(), test.labelled()
        for side, split in (("train", train), ("test", test)):
            if len(split) == 0:
                raise ValueError(f"{name}: no labelled row in {side} of fold {fold!r}; label some or drop evaluators")
        unseen = unseen_classes(train.truth, test.truth)
        return Result(name, kind, self.predict(train, test), test.truth, unseen, fold, seed)

    def __call__(self, train: Embeddings, test: Embeddings) -> dict[str, Estimate]:
        """Scores of the test rows by name, with intervals by group."""
        return self.evaluate(train, test).estimates()


@final
@dataclass(frozen=True, kw_only=True)
class LinearProbe(Evaluator):
    """Logistic regression on standardised embeddings.

    Args:
        C: inverse of the L2 penalty; ``grouped-cv`` takes the best of 0.001 to 100 in a cross-validation inside the
            training rows that keeps groups whole.
        iterations: most steps of the solver.
        best: what ``grouped-cv`` takes for best; of classes of very different size, take ``auroc``.
        clip: standardised dimensions beyond this many standard deviations are set to it, in train and test, so that
            a few far values do not decide; none for no limit.
    """

    C: float | Literal["grouped-cv"] = 1.0
    iterations: int = 1000
    best: Literal["balanced_accuracy", "auroc"] = "balanced_accuracy"
    clip: float | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"LinearProbe.clip is {self.clip}; use a positive number of standard deviations")
        if isinstance(self.C, float | int) and self.C <= 0:
            raise ValueError(f"LinearProbe.C is {self.C}; use a positive number, such as 1.0, or 'grouped-cv'")

    @property
    def name(self) -> str:
        return "logistic regression"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``; scaling and penalty come from the train rows alone."""
        train = train.labelled()
        penalty = self._chosen(train) if self.C == "grouped-cv" else float(self.C)
        return self._fitted(train, test, penalty)

    def _fitted(self, train: Embeddings, test: Embeddings, penalty: float) -> Float:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(C=penalty, max_iter=self.iterations)
        limit = np.inf if self.clip is None else self.clip
        sides = (np.clip(side, -limit, limit) for side in standardise(train.values, test.values))
        return fit_predict(model, train, test, *sides)

    def _chosen(self, train: Embeddings) -> float:
        """The penalty with the best score over the inner folds, of equal ones the strongest."""
        from sklearn.model_selection import StratifiedGroupKFold

        folds = min(5, len(np.unique(train.groups)), int(np.bincount(train.labels).max()))
        if folds < 2:
            raise ValueError("LinearProbe: 'grouped-cv' needs two groups in train, there is one; set C to a number")
        with warnings.catch_warnings():
            # It warns of classes with fewer rows than folds; those are still learned from in the other folds.
            warnings.simplefilter("ignore", UserWarning)
            inner = list(StratifiedGroupKFold(folds).split(train.values, train.labels, train.groups))
        best, chosen = -1.0, 1.0
        for penalty in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0):
            predicted = np.empty((len(train), len(train.classes)))
            for fit, held in inner:
                predicted[held] = self._fitted(train.take(fit), train.take(held), penalty)
            score = whole(classification_statistics(predicted, train.truth)[self.best])
            if score > best:
                best, chosen = score, penalty
        return chosen


@final
@dataclass(frozen=True, kw_only=True)
class KNN(Evaluator):
    """Vote of the nearest train rows; exact, by tiles.

    A draw of votes goes to the class with the least index, of equally near rows the earliest count.

    Args:
        k: neighbours; all train rows where there are fewer.
        metric: the distance.
        weights: every neighbour counts one, or one over its distance; neighbours at distance 0 then count
            alone.
        scale: ``standard`` standardises every dimension by the train rows first, for hand features of many
            units.
    """

    k: int = 5
    metric: Metric = "cosine"
    weights: Literal["uniform", "distance"] = "uniform"
    scale: Literal["none", "standard"] = "none"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"KNN.k is {self.k}; use at least 1")

    @property
    def name(self) -> str:
        return f"{self.k}-NN"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``."""
        train = train.labelled()
        store: NDArray[np.floating[Any]] = train.values
        queries: NDArray[np.floating[Any]] = test.values
        if self.scale == "standard":
            store, queries = standardise(store, queries)
        distances, found = nearest(queries, store, min(self.k, len(store)), self.metric)
        votes = np.ones_like(distances)
        if self.weights == "distance":
            touching = distances == 0
            votes = np.where(touching, 1.0, 1.0 / np.where(touching, 1.0, distances))
            votes = np.where(touching.any(1, keepdims=True), touching, votes)
        total = np.zeros((len(queries), len(train.classes)))
        np.add.at(total, (np.arange(len(queries))[:, None], train.labels[found]), votes)
        return np.asarray(total / total.sum(1, keepdims=True), np.float64)


@final
@dataclass(frozen=True, kw_only=True)
class RandomForest(Evaluator):
    """Random forest on standardised embeddings, so that columns constant but for rounding cannot be cut.

    Args:
        trees: how many.
        seed: of the forest.
    """

    trees: int = 300
    seed: int = 0

    @property
    def name(self) -> str:
        return "random forest"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``."""
        from sklearn.ensemble import RandomForestClassifier

        train = train.labelled()
        model = RandomForestClassifier(self.trees, random_state=self.seed, n_jobs=torch.get_num_threads())
        return fit_predict(model, train, test, *standardise(train.values, test.values))


@final
@dataclass(frozen=True, kw_only=True)
class Boosting(Evaluator):
    """Gradient-boosted trees on binned columns, scikit-learn's ``HistGradientBoostingClassifier``.

    The default size of a tree was the best in a cross-validation of set a of PhysioNet 2012 by average precision.

    Args:
        trees: how many, a class each for more than two classes.
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

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``; every tree is grown, none is stopped by held-out rows of the same groups."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        train = train.labelled()
        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            learning_rate=self.rate,
            max_leaf_nodes=self.leaves,
            # Twenty rows a leaf, as it would have it, leave small tables whole.
            min_samples_leaf=min(20, max(2, len(train) // 10)),
            early_stopping=False,
            random_state=self.seed,
        )
        return fit_predict(model, train, test, *standardise(train.values, test.values))


def standardise(train: NDArray[np.floating[Any]], test: NDArray[np.floating[Any]]) -> tuple[Float, Float]:
    """Both by mean and deviation of the train rows, in float64; a column constant in train is 0 in both."""
    fitted = train.astype(np.float64)
    mean, deviation = fitted.mean(0), fitted.std(0)
    # Below the rounding of float32 a column is constant, whatever its deviation says.
    scale = np.where(deviation > 1e-6 * np.abs(fitted).max(0), deviation, np.inf)
    return (fitted - mean) / scale, (test - mean) / scale


class Classifier(Protocol):
    """The part of a scikit-learn classifier that is used."""

    classes_: Int

    def fit(self, X: Any, y: Any) -> Any: ...

    def predict_proba(self, X: Any) -> Any: ...


def fit_predict(
    model: Classifier,
    train: Embeddings,
    test: Embeddings,
    fitted: NDArray[np.floating[Any]],
    asked: NDArray[np.floating[Any]],
) -> Float:
    """(N, K) probabilities with 0 for classes that training lacks; one class alone needs no model."""
    seen = np.unique(train.labels)
    probabilities = np.zeros((len(test), len(train.classes)))
    if len(seen) == 1:
        probabilities[:, seen] = 1.0
        return probabilities
    model.fit(fitted, train.labels)
    probabilities[:, seen] = model.predict_proba(asked)
    return probabilities
