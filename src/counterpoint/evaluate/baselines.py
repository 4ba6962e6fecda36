"""Simple answers on the same rows, which stand in every table beside the model's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Rows
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.features import RandomKernels, full_windows, summary_statistics
from counterpoint.evaluate.intervals import Float
from counterpoint.evaluate.probes import KNN, Evaluator, LinearProbe, RandomForest, fit_predict, standardise
from counterpoint.evaluate.results import Result
from counterpoint.types import Batch

_KERNELS = RandomKernels()


@dataclass(frozen=True)
class HandFeatures:
    """All that the baselines look at of the rows of a split.

    Args:
        metadata: (N, M), NaN where unknown; M may be 0.
        summary: band powers, envelope spectrum and moments of the windows.
        kernels: random convolution kernels of the windows.
    """

    metadata: NDArray[np.float64]
    summary: Embeddings
    kernels: Embeddings


def hand_features(
    rows: Rows,
    batches: Iterable[Batch],
    *,
    classes: tuple[str, ...],
    names: tuple[str, ...],
    kernels: RandomKernels = _KERNELS,
) -> HandFeatures:
    """Features of all rows of a split, a batch in memory at a time.

    Args:
        rows: of ``Data.evaluation``.
        batches: of all those rows in their order, one view each.
        classes: names of the classes.
        names: of the recordings by id.
        kernels: the random kernels, the same for every split.

    Raises:
        ValueError: the batches are not those of the rows in order, or a signal is irregular, padded or not
            finite.
    """
    summary: list[Float] = []
    responses: list[Float] = []
    ids: list[NDArray[np.int64]] = []
    for batch in batches:
        view = batch.views[0]
        windows = [full_windows(view[modality], modality) for modality in sorted(view)]
        summary.append(np.concatenate([summary_statistics(values) for values in windows], 1))
        responses.append(np.concatenate([kernels(values) for values in windows], 1))
        ids.append(batch.ids.cpu().numpy())
    _check_order(ids, rows)

    def embedded(features: list[Float]) -> Embeddings:
        values = np.concatenate(features).astype(np.float32)
        return Embeddings(values, rows.labels, rows.groups, rows.domains, rows.ids, classes, names)

    return HandFeatures(rows.metadata, embedded(summary), embedded(responses))


def _check_order(ids: list[NDArray[np.int64]], rows: Rows) -> None:
    if ids and np.array_equal(np.concatenate(ids), rows.ids):
        return
    read = sum(len(part) for part in ids)
    raise ValueError(
        f"baselines: the batches hold {read} rows, the split {len(rows)}, or their order differs; "
        "use an evaluation loader that neither shuffles nor drops"
    )


@final
@dataclass(frozen=True, kw_only=True)
class Majority(Evaluator):
    """The shares of the classes in train, whatever the row."""

    @property
    def name(self) -> str:
        return "majority class"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``."""
        counts = np.bincount(train.labelled().labels, minlength=len(train.classes))
        return np.tile(counts / counts.sum(), (len(test), 1))


@final
@dataclass(frozen=True, kw_only=True)
class ShallowTree(Evaluator):
    """A decision tree of few levels, enough to look up a class in a table of operating conditions.

    Args:
        depth: levels.
        seed: of the order in which equal cuts are tried.
    """

    depth: int = 4
    seed: int = 0

    @property
    def name(self) -> str:
        return "shallow tree"

    def predict(self, train: Embeddings, test: Embeddings) -> Float:
        """See ``Evaluator.predict``."""
        from sklearn.tree import DecisionTreeClassifier

        train = train.labelled()
        model = DecisionTreeClassifier(max_depth=self.depth, random_state=self.seed)
        return fit_predict(model, train, test, *standardise(train.values, test.values))


def baselines(train: HandFeatures, test: HandFeatures, *, fold: str = "", seed: int = 0) -> list[Result]:
    """Score every simple answer on one fold.

    Majority class; metadata alone (left out where there are no columns); summary statistics; random kernels.

    Args:
        train: of the train split.
        test: of the split to score.
        fold: of the data, for the record.
        seed: of the forest, and for the record.

    Raises:
        ValueError: one of the splits has no labelled row.
    """
    answers: list[tuple[str, Evaluator, Embeddings, Embeddings]] = [
        ("majority class", Majority(), train.summary, test.summary)
    ]
    if train.metadata.shape[1]:
        known = _metadata(train, test)
        answers += [
            ("metadata, logistic regression", LinearProbe(), *known),
            ("metadata, shallow tree", ShallowTree(), *known),
        ]
    nearest = KNN(k=1, metric="euclidean", scale="standard")
    answers += [
        ("summary statistics, logistic regression", LinearProbe(), train.summary, test.summary),
        ("summary statistics, 1-NN", nearest, train.summary, test.summary),
        ("summary statistics, random forest", RandomForest(seed=seed), train.summary, test.summary),
        ("random kernels, logistic regression", LinearProbe(), train.kernels, test.kernels),
    ]
    return [
        evaluator.evaluate(fitted, scored, name=name, kind="baseline", fold=fold, seed=seed)
        for name, evaluator, fitted, scored in answers
    ]


def _metadata(train: HandFeatures, test: HandFeatures) -> tuple[Embeddings, Embeddings]:
    """Metadata as embeddings: scaled by train, gaps filled with its medians and marked by a column each."""
    known = np.isfinite(train.metadata)
    filled = [
        np.median(column[real]) if real.any() else 0.0 for column, real in zip(train.metadata.T, known.T, strict=True)
    ]
    columns = [np.where(np.isfinite(side.metadata), side.metadata, filled) for side in (train, test)]
    fitted, scored = standardise(columns[0], columns[1])
    return _with(train, fitted), _with(test, scored)


def _with(side: HandFeatures, values: Float) -> Embeddings:
    """The scaled metadata and where they are missing, on the rows of a split."""
    marked = np.concatenate([values, ~np.isfinite(side.metadata)], 1).astype(np.float32)
    return replace(side.summary, values=marked)
