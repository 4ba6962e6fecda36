"""Baselines of spectra and of tables: what their fields answer with, on each of the two alone and on both together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from counterpoint.evaluate.chemometrics import PcaBoosting, PcaLda, PcaSvm, PlsDa, principal
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.probes import Boosting, Evaluator, LinearProbe

SPECTRA, TABLE = "spectra", "table"
"""Names of the feature sets."""
COMPONENTS = 20
"""Of the spectra, where they stand beside a table: a thousand columns would drown those of the table."""

FEW = 50
"""Points of spectra up to which discriminant analysis takes all: the reader may have made components of them, and
whitened ones all vary alike, so that the first ten components of those are any ten."""

Answer = tuple[str, Evaluator, Embeddings, Embeddings]
"""A name, and what answers on features of train and test rows."""


def spectral_answers(train: Mapping[str, Embeddings], test: Mapping[str, Embeddings], seed: int) -> list[Answer]:
    """Answers on the mean scan, on the table, and on both; none where a split has neither.

    Args:
        train: feature sets of the training rows.
        test: of the rows to score.
        seed: of the trees.
    """
    answers: list[Answer] = []
    linear = LinearProbe()
    if SPECTRA in train:
        # Beside the points stands a column that says whether there is a scan.
        few = train[SPECTRA].values.shape[1] - 1 <= FEW
        lda = PcaLda(components="all") if few else PcaLda()
        probes: list[Evaluator] = [PcaSvm(), lda, PlsDa(), linear, PcaBoosting(seed=seed)]
        answers += [(f"{SPECTRA}, {probe.name}", probe, train[SPECTRA], test[SPECTRA]) for probe in probes]
    if TABLE in train:
        probes = [linear, Boosting(trees=100, seed=seed)]
        answers += [(f"{TABLE}, {probe.name}", probe, train[TABLE], test[TABLE]) for probe in probes]
        if SPECTRA in train:
            both = beside(train, test)
            answers += [(f"{SPECTRA} (PCA{COMPONENTS}) and {TABLE}, {probe.name}", probe, *both) for probe in probes]
    return answers


def beside(train: Mapping[str, Embeddings], test: Mapping[str, Embeddings]) -> tuple[Embeddings, Embeddings]:
    """Principal components of the spectra, of the training rows, beside the columns of the table."""
    # Components of labelled and unlabelled rows alike: they look at no label.
    scores = principal(train[SPECTRA], test[SPECTRA], COMPONENTS)
    sides = (
        replace(side[TABLE], values=np.concatenate([own, side[TABLE].values], 1).astype(np.float32))
        for own, side in zip(scores, (train, test), strict=True)
    )
    return next(sides), next(sides)
