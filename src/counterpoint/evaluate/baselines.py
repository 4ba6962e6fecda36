"""Simple answers on the same rows, which stand in every table beside the model's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Rows
from counterpoint.evaluate.detection import Detection
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.event_features import event_statistics, last_values
from counterpoint.evaluate.features import RandomKernels, summary_statistics
from counterpoint.evaluate.hand_sets import (
    MAP,
    SHORTEST,
    column_medians,
    of_maps,
    of_pictures,
    of_spectra,
    of_table,
    of_vectors,
    of_windows,
)
from counterpoint.evaluate.intervals import Float
from counterpoint.evaluate.novelty import NormalDistance
from counterpoint.evaluate.probes import (
    KNN,
    Boosting,
    Evaluator,
    LinearProbe,
    RandomForest,
    fit_predict,
    standardise,
)
from counterpoint.evaluate.results import Result
from counterpoint.evaluate.spectral_baselines import SPECTRA, TABLE, spectral_answers
from counterpoint.types import (
    Batch,
    Events,
    EventSpec,
    Images,
    Modality,
    Signal,
    Spec,
    Spectra,
    SpectraSpec,
    Table,
    TableSpec,
)

SUMMARY, KERNELS, LAST = "summary statistics", "random kernels", "last values"
"""Names of the feature sets."""
_KERNELS = RandomKernels()


@dataclass(frozen=True)
class HandFeatures:
    """All that the baselines look at of the rows of a split.

    Args:
        metadata: (N, M), NaN where unknown; M may be 0.
        sets: hand features by name. ``SUMMARY`` always: band powers, envelope spectrum and moments of signals, six
            numbers a variable of events, the mean scan of spectra, the columns of tables. ``KERNELS`` where there are
            signals, ``LAST`` events, ``SPECTRA`` spectra, ``TABLE`` tables. Those of several modalities stand side by
            side.
        medians: of the columns of each set that have gaps, which they were filled with.
    """

    metadata: NDArray[np.float64]
    sets: dict[str, Embeddings]
    medians: dict[str, Float] = field(default_factory=dict)


def hand_features(
    rows: Rows,
    batches: Iterable[Batch],
    *,
    specs: Mapping[str, Spec],
    classes: tuple[str, ...],
    names: tuple[str, ...],
    kernels: RandomKernels = _KERNELS,
    medians: Mapping[str, Float] | None = None,
) -> HandFeatures:
    """Features of all rows of a split, a batch in memory at a time.

    Args:
        rows: of ``Data.evaluation``.
        batches: of all those rows in their order, one view each.
        specs: what the data say of each modality to look at; others are left out.
        classes: names of the classes.
        names: of the recordings by id.
        kernels: the random kernels, the same for every split.
        medians: of the training rows, which fill what is unknown of spectra and tables; None to take those of the rows.

    Raises:
        ValueError: the batches are not those of the rows in order, a signal is padded or not finite, or an event
            or a scan is not finite.
    """
    found: dict[str, list[Float]] = {}
    ids: list[NDArray[np.int64]] = []
    for batch in batches:
        for name, values in _features(batch.views[0], specs, kernels).items():
            found.setdefault(name, []).append(values)
        ids.append(batch.ids.cpu().numpy())
    _check_order(ids, rows)
    whole = {name: np.concatenate(features) for name, features in found.items()}
    if medians is None:
        gaps = any(isinstance(spec, SpectraSpec | TableSpec) for spec in specs.values())
        medians = {name: column_medians(values) for name, values in whole.items() if gaps}

    def embedded(name: str, values: Float) -> Embeddings:
        filled = np.where(np.isnan(values), medians[name], values) if name in medians else values
        columns = (rows.labels, rows.groups, rows.domains, rows.ids)
        return Embeddings(filled.astype(np.float32), *columns, classes, names)

    return HandFeatures(rows.metadata, {name: embedded(name, values) for name, values in whole.items()}, dict(medians))


def _features(view: Mapping[str, Modality], specs: Mapping[str, Spec], kernels: RandomKernels) -> dict[str, Float]:
    """Feature sets of a batch, of all modalities side by side."""
    parts: dict[str, list[Float]] = {}
    for modality in sorted(specs.keys() & view.keys()):
        values, spec = view[modality], specs[modality]
        if isinstance(values, Events):
            assert isinstance(spec, EventSpec)
            own = {
                SUMMARY: event_statistics(values, spec, modality),
                LAST: last_values(values, spec, modality),
            }
        elif isinstance(values, Spectra):
            own = dict.fromkeys((SUMMARY, SPECTRA), of_spectra(values, modality))
        elif isinstance(values, Table):
            assert isinstance(spec, TableSpec)
            own = dict.fromkeys((SUMMARY, TABLE), of_table(values, spec))
        else:
            own = _regular(values, modality, kernels)
        for name, features in own.items():
            parts.setdefault(name, []).append(features)
    return {name: np.concatenate(features, 1) for name, features in parts.items()}


def _regular(values: Modality, modality: str, kernels: RandomKernels) -> dict[str, Float]:
    """Feature sets of signals and pictures; what is too short for a spectrum has no kernels."""
    if isinstance(values, Images):
        return {SUMMARY: of_pictures(values)}
    assert isinstance(values, Signal)
    if values.values.shape[1] < SHORTEST:
        return {SUMMARY: of_vectors(values)}
    if values.values.shape[2] >= MAP:
        return {SUMMARY: of_maps(values)}
    return {SUMMARY: of_windows(values, modality, summary_statistics), KERNELS: of_windows(values, modality, kernels)}


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


def baselines(
    train: HandFeatures, test: HandFeatures, *, fold: str = "", seed: int = 0, detection: Detection | None = None
) -> list[Result]:
    """Score every simple answer on one fold.

    Majority class; metadata alone (left out where there are no columns); summary statistics; for signals also random
    kernels, for events also the last value of each variable alone; for spectra and tables what their fields answer
    with. Where defects are to be detected, also the distance
    to the normal training rows by summary statistics and by metadata.

    Args:
        train: of the train split.
        test: of the split to score.
        fold: of the data, for the record.
        seed: of forest and boosting, and for the record.
        detection: what the normal class is; None where nobody asks.

    Raises:
        ValueError: one of the splits has no labelled row, or train no normal ones that detection needs.
    """
    sides = {name: (train.sets[name], test.sets[name]) for name in train.sets}
    answers: list[tuple[str, Evaluator, Embeddings, Embeddings]] = [("majority class", Majority(), *sides[SUMMARY])]
    if train.metadata.shape[1]:
        known = metadata_sides(train, test)
        answers += [
            ("metadata, logistic regression", LinearProbe(), *known),
            ("metadata, shallow tree", ShallowTree(), *known),
        ]
    answers += [(f"{name}, {probe.name}", probe, *sides[name]) for name, probe in simple_probes(train, seed)]
    answers += spectral_answers(train.sets, test.sets, seed)
    if detection is not None:
        answers += _distances(train, test, detection)
    return [
        evaluator.evaluate(fitted, scored, name=name, kind="baseline", fold=fold, seed=seed)
        for name, evaluator, fitted, scored in answers
    ]


def _distances(
    train: HandFeatures, test: HandFeatures, detection: Detection
) -> list[tuple[str, Evaluator, Embeddings, Embeddings]]:
    """Normal-only answers: what a distance says that has seen no defect, as the model's may not have either."""
    distance = NormalDistance(normal=detection.normal, k=detection.k, metric="euclidean", scale="standard")
    answers: list[tuple[str, Evaluator, Embeddings, Embeddings]] = [
        (f"{SUMMARY}, {distance.name}", distance, train.sets[SUMMARY], test.sets[SUMMARY])
    ]
    if train.metadata.shape[1]:
        answers.append((f"metadata, {distance.name}", distance, *metadata_sides(train, test)))
    return answers


def simple_probes(features: HandFeatures, seed: int) -> list[tuple[str, Evaluator]]:
    """Which evaluators stand on which feature set, by what the modalities are."""
    linear = hand_probe(features)
    own = sum(features.sets[name].values.shape[1] for name in (SPECTRA, TABLE) if name in features.sets)
    if features.sets[SUMMARY].values.shape[1] == own:
        # Spectra and tables alone, which have answers of their own.
        return []
    probes: list[tuple[str, Evaluator]] = [(LAST, linear)] if LAST in features.sets else []
    probes.append((SUMMARY, linear))
    if KERNELS in features.sets or LAST not in features.sets:
        probes += [(SUMMARY, KNN(k=1, metric="euclidean", scale="standard")), (SUMMARY, RandomForest(seed=seed))]
    if LAST in features.sets:
        probes.append((SUMMARY, Boosting(seed=seed)))
    if KERNELS in features.sets:
        probes.append((KERNELS, LinearProbe()))
    return probes


def hand_probe(features: HandFeatures) -> LinearProbe:
    """The logistic regression that stands on summary statistics.

    Statistics of events are hundreds of columns that say nearly the same (mean, first and last of one variable), most
    of them nothing, so they want a strong penalty: 0.01 was the best of 0.001 to 1 by AUROC in a cross-validation
    inside set a of PhysioNet 2012.
    """
    return LinearProbe(C=0.01) if LAST in features.sets else LinearProbe()


def metadata_sides(train: HandFeatures, test: HandFeatures) -> tuple[Embeddings, Embeddings]:
    """Metadata as embeddings: scaled by train, gaps filled with its medians and marked by a column each."""
    filled = column_medians(train.metadata)
    columns = [np.where(np.isfinite(side.metadata), side.metadata, filled) for side in (train, test)]
    fitted, scored = standardise(columns[0], columns[1])
    return _with(train, fitted), _with(test, scored)


def _with(side: HandFeatures, values: Float) -> Embeddings:
    """The scaled metadata and where they are missing, on the rows of a split."""
    marked = np.concatenate([values, ~np.isfinite(side.metadata)], 1).astype(np.float32)
    return replace(side.sets[SUMMARY], values=marked)
