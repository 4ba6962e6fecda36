"""Evaluators of the field of spectra: principal components or partial least squares and a simple classifier."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Float, Int
from counterpoint.evaluate.metrics import classification_statistics
from counterpoint.evaluate.probes import Boosting, Evaluator, fit_predict
from counterpoint.evaluate.results import whole

_USUAL = 10
"""Latent variables of PLS-DA where nothing can be held out to choose them by."""


@final
@dataclass(frozen=True, kw_only=True)
class PcaSvm(Evaluator):
    """Support vector machine with a radial kernel on principal components, each brought to unit variance.

    Without that last step the first components, which are mostly background and thickness of the sample, decide alone:
    on the Raman spectra of saliva of Bertazioli et al. (2024) it is worth 0.12 of balanced accuracy.

    Args:
        components: principal components, of the training rows; fewer where there are fewer rows or columns.
        C: inverse of the penalty.
    """

    gives: ClassVar[Literal["probabilities", "order"]] = "order"

    components: int = 20
    C: float = 1.0

    def __post_init__(self) -> None:
        _refuse_none("PcaSvm", self.components)
        if self.C <= 0:
            raise ValueError(f"PcaSvm.C is {self.C}; use a positive number, such as 1.0")

    @property
    def name(self) -> str:
        return f"PCA{self.components}-SVM"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``; margins, which are no probabilities, by a logistic function or a softmax."""
        train = train.labelled()
        return fit_predict(_Margins(self.C), train, test, *principal(train, test, self.components))


@final
@dataclass(frozen=True, kw_only=True)
class PcaLda(Evaluator):
    """Linear discriminant analysis on principal components, or on the columns themselves.

    Args:
        components: principal components, of the training rows; fewer where there are fewer rows or columns. ``all``
            for the columns as they are, where these are components already: of whitened ones, all of which vary alike,
            the first ten principal components are any ten.
    """

    components: int | Literal["all"] = 10

    def __post_init__(self) -> None:
        _refuse_none("PcaLda", 1 if self.components == "all" else self.components)

    @property
    def name(self) -> str:
        return "LDA" if self.components == "all" else f"PCA{self.components}-LDA"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``; where rows of a class do not differ, which leaves nothing to fit, their shares."""
        from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

        train = train.labelled()
        if self.components == "all":
            fitted, asked = (side.values.astype(np.float64) for side in (train, test))
        else:
            fitted, asked = principal(train, test, self.components)
        sizes = np.bincount(train.labels, minlength=len(train.classes)).astype(np.float64)
        sums = np.zeros((len(sizes), fitted.shape[1]))
        np.add.at(sums, train.labels, fitted)
        within = fitted - (sums / np.maximum(sizes, 1.0)[:, None])[train.labels]
        if len(train) <= np.count_nonzero(sizes) or np.abs(within).max() < 1e-9:
            return np.tile(sizes / sizes.sum(), (len(test), 1))
        return fit_predict(LinearDiscriminantAnalysis(), train, test, fitted, asked)


@final
@dataclass(frozen=True, kw_only=True)
class PcaBoosting(Evaluator):
    """Gradient-boosted trees on principal components: on a thousand columns they take minutes and see no more.

    Args:
        components: principal components, of the training rows; fewer where there are fewer rows or columns.
        trees: as ``Boosting``.
        seed: of the trees.
    """

    components: int = 20
    trees: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _refuse_none("PcaBoosting", self.components)

    @property
    def name(self) -> str:
        return f"PCA{self.components}, gradient boosting"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``."""
        train = train.labelled()
        fitted, asked = (side.astype(np.float32) for side in principal(train, test, self.components))
        trees = Boosting(trees=self.trees, seed=self.seed)
        return trees.predict(replace(train, values=fitted), replace(test, values=asked))


@final
@dataclass(frozen=True, kw_only=True)
class PlsDa(Evaluator):
    """Partial least squares discriminant analysis: PLS2 regression on the classes as columns of 0 and 1.

    Barker and Rayens (2003, J. Chemometrics 17). Columns are centred and not scaled, as is usual for spectra.

    Args:
        components: latent variables; ``grouped-cv`` takes the number of 1 to ``most`` with the best balanced accuracy
            in a cross-validation inside the training rows that keeps groups whole, of equal ones the least.
        most: of them; fewer where there are fewer rows or columns.
    """

    gives: ClassVar[Literal["probabilities", "order"]] = "order"

    components: int | Literal["grouped-cv"] = "grouped-cv"
    most: int = 20

    def __post_init__(self) -> None:
        _refuse_none("PlsDa", self.most if self.components == "grouped-cv" else self.components)

    @property
    def name(self) -> str:
        return "PLS-DA"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``; what is regressed, which is no probability, by a softmax."""
        train = train.labelled()
        chosen = self._chosen(train) if self.components == "grouped-cv" else int(self.components)
        fitted, asked = (side.values.astype(np.float64) for side in (train, test))
        return fit_predict(_Regressed(chosen), train, test, fitted, asked)

    def _chosen(self, train: Embeddings) -> int:
        """The best number of latent variables: one regression a fold has all the smaller ones within it."""
        inner = _grouped_folds(train)
        if not inner:
            return min(_USUAL, self.most)
        predicted = np.zeros((self.most, len(train), len(train.classes)))
        for fit, held in inner:
            seen, part = np.unique(train.labels[fit]), train.values[fit].astype(np.float64)
            if len(seen) == 1:
                predicted[:, held, seen] = 1.0
                continue
            model = _Regressed(self.most).fit(part, train.labels[fit])
            rows = train.values[held].astype(np.float64)
            for count in range(1, self.most + 1):
                predicted[count - 1][np.ix_(held, seen)] = model.regressed(rows, count)
        scores = [whole(classification_statistics(values, train.truth)["balanced_accuracy"]) for values in predicted]
        return int(np.argmax(np.round(scores, 12))) + 1


def principal(train: Embeddings, test: Embeddings, components: int) -> tuple[Float, Float]:
    """Scores (N, P) of both on the principal components of the train rows, of unit variance in train.

    A component that is nothing but rounding is left out, since unit variance would make it noise; where none is left,
    a column of zeros stands for them.
    """
    from sklearn.decomposition import PCA

    fitted = train.values.astype(np.float64)
    if not np.ptp(fitted, axis=0).any():
        # Rows that are all the same have no direction.
        return np.zeros((len(train), 1)), np.zeros((len(test), 1))
    # Randomised for wide tables, to within rounding of the leading components; the generator is fixed.
    model = PCA(min(components, *fitted.shape), random_state=0).fit(fitted)
    deviation = np.sqrt(model.explained_variance_)
    real = deviation > 1e-6 * max(float(np.abs(fitted).max()), 1e-300)
    sides = (model.transform(side.values.astype(np.float64))[:, real] / deviation[real] for side in (train, test))
    return next(sides), next(sides)


class _Margins:
    """A support vector machine whose margins stand for probabilities."""

    classes_: Int

    def __init__(self, penalty: float) -> None:
        from sklearn.svm import SVC

        self._model = SVC(C=penalty)

    def fit(self, X: Float, y: Int) -> Self:
        """Learn (N, D) rows of (N,) classes."""
        self._model.fit(X, y)
        self.classes_ = self._model.classes_
        return self

    def predict_proba(self, X: Float) -> Float:
        """(N, K) of the classes seen."""
        margins = self._model.decision_function(X)
        return _softmax(np.stack([-margins / 2, margins / 2], 1) if margins.ndim == 1 else margins)


class _Regressed:
    """PLS regression on columns of 0 and 1, from which every smaller number of latent variables can be read."""

    classes_: Int

    def __init__(self, components: int) -> None:
        self.components = components

    def fit(self, X: Float, y: Int) -> Self:
        """Learn (N, D) rows of (N,) classes."""
        from sklearn.cross_decomposition import PLSRegression
        from sklearn.exceptions import ConvergenceWarning

        self.classes_, self.found = np.unique(y), 0
        target = (y[:, None] == self.classes_).astype(np.float64)
        self._middle, self._level = X.mean(0), target.mean(0)
        if not np.ptp(X, axis=0).any():
            return self
        # Rank of the centred rows; what is beyond it is rounding.
        self.found = min(self.components, max(1, len(X) - 1), X.shape[1])
        with warnings.catch_warnings():
            # Rows with fewer directions than asked for leave nothing to iterate on; their latent variables are 0.
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", UserWarning)
            self._model = PLSRegression(self.found, scale=False).fit(X, target)
        return self

    def regressed(self, X: Float, components: int) -> Float:
        """(N, K) by the first latent variables alone."""
        if not self.found:
            return np.tile(self._level, (len(X), 1))
        some = slice(0, min(components, self.found))
        slope = np.nan_to_num(self._model.x_rotations_[:, some]) @ np.nan_to_num(self._model.y_loadings_[:, some]).T
        return np.asarray((X - self._middle) @ slope + self._level, np.float64)

    def predict_proba(self, X: Float) -> Float:
        """(N, K) of the classes seen."""
        return _softmax(self.regressed(X, self.components))


def _softmax(values: Float) -> Float:
    raised = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(raised / raised.sum(1, keepdims=True), np.float64)


def _grouped_folds(train: Embeddings) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """Inner folds of (fitted, held out) row numbers that keep groups whole; none where there is one group."""
    from sklearn.model_selection import StratifiedGroupKFold

    folds = min(5, len(np.unique(train.groups)), int(np.bincount(train.labels).max()))
    if folds < 2:
        return []
    with warnings.catch_warnings():
        # It warns of classes with fewer rows than folds; those are still learned from in the other folds.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(StratifiedGroupKFold(folds).split(train.values, train.labels, train.groups))
    return [(fit, held) for fit, held in parts if len(fit) and len(held)]


def _refuse_none(name: str, components: int) -> None:
    if components < 1:
        raise ValueError(f"{name}: {components} components; use at least 1")
