"""A tiny run on patients with three scans and a row of a table each, with all analyses asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from counterpoint.data.spectra import AxisColumns, ScanTable, SpecimenColumns, SpectraTables, TableSource
from counterpoint.data.splits import GroupedKFold
from counterpoint.encoders.spectral import SpectralConv
from counterpoint.encoders.table import FeatureTokens
from counterpoint.evaluate.by_group import ByGroup
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.results import Kind, Result
from counterpoint.evaluate.threshold import Threshold
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CrossEntropy, Term, WeightedSum
from counterpoint.recipe import Recipe
from counterpoint.settings import Hardware, Trainer
from spectra_world import PATIENTS, PATTERN, POINTS, SCANS, clinic_columns, scan_columns, write

FOLDS, SEEDS = 2, (0, 1)


def data(folder: Path, valid: float = 0.3) -> partial[SpectraTables]:
    """Scans as rows, patients as groups; a weak band tells the classes apart."""
    chance = np.random.default_rng(3)
    values = chance.normal(0.0, 1.0, (PATIENTS, 1, POINTS)) + chance.normal(0.0, 0.7, (PATIENTS, SCANS, POINTS))
    values[::2, :, 4] += 1.5
    clinic = clinic_columns()
    clinic["Age"][3] = clinic["Sex"][5] = None
    scans = write(folder / "spectra.csv", scan_columns(values.reshape(-1, POINTS).astype(np.float32)))
    return partial(
        SpectraTables,
        scans=ScanTable(files=[scans], id="Sample", pattern=PATTERN, axis=AxisColumns(prefix="w")),
        table=TableSource(file=write(folder / "clinical.csv", clinic), id="PatientID", categorical={"Sex": {}}),
        columns=SpecimenColumns(label="Group"),
        rows="scan",
        split=GroupedKFold(folds=FOLDS, valid=valid),
    )


def recipe(folder: Path, evaluation: Evaluation | None = None, valid: float = 0.3) -> Recipe:
    """Both modalities fused, and a head on each."""
    terms = {
        "fused": Term(objective=CrossEntropy),
        "spectra": Term(objective=partial(CrossEntropy, modality="spectra"), weight=0.3),
        "table": Term(objective=partial(CrossEntropy, modality="table"), weight=0.3),
    }
    asked = Evaluation(by_group=ByGroup(), threshold=Threshold(criterion="recall_at_fpr", fpr=0.2))
    return Recipe(
        data=data(folder, valid),
        encoders={"spectra": partial(SpectralConv, dim=8), "table": partial(FeatureTokens, dim=8)},
        objective=partial(WeightedSum, terms=terms),
        trainer=Trainer(epochs=2, batch_size=12, hardware=Hardware(accelerator="cpu")),
        evaluation=evaluation or asked,
        seeds=list(SEEDS),
    )


def drawn(
    seed: int,
    *,
    classes: int = 2,
    rows: int = 120,
    groups: int = 30,
    name: str = "model",
    kind: Kind = "model",
    strength: float = 0.6,
) -> Result:
    """Rows of groups of one class each, with probabilities that know something of it and share the luck of a group.

    The rows are the same under every seed, and only what is said of them changes.
    """
    generator = np.random.default_rng(seed)
    owner = np.sort(np.random.default_rng(5).integers(0, groups, rows))
    labels = (owner * 7 % groups) % classes
    luck = np.random.default_rng(9).normal(size=(groups, classes))[owner]
    logits = strength * np.eye(classes)[labels] + 0.6 * luck + generator.normal(size=(rows, classes))
    raised = np.exp(logits)
    names = tuple("abcdefgh"[:classes])
    truth = Truth(labels, owner + 50, owner % 3, np.arange(rows), names)
    return Result(name, kind, raised / raised.sum(1, keepdims=True), truth, (), "one", seed)
