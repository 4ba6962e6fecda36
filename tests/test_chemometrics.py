"""Evaluators and baselines of spectra and tables, against scikit-learn's own pipelines and features by hand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from counterpoint import config
from counterpoint.data.base import Draw, Rows
from counterpoint.evaluate.baselines import SUMMARY, HandFeatures, baselines, hand_features
from counterpoint.evaluate.chemometrics import PcaBoosting, PcaLda, PcaSvm, PlsDa
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.probes import Boosting, Evaluator
from counterpoint.evaluate.spectral_baselines import SPECTRA, TABLE, spectral_answers
from counterpoint.recipe import Recipe, import_roles
from counterpoint.types import Batch, Modality, Spec, Spectra, SpectraSpec, Table, TableSpec

POINTS, SCANS, PATIENTS = 40, 3, 60
EVALUATORS: list[Evaluator] = [PcaSvm(), PcaLda(), PlsDa(), PlsDa(components=4), PcaBoosting(trees=20)]
SPECS: dict[str, Spec] = {
    "spectra": SpectraSpec(SCANS, tuple(float(point) for point in range(POINTS)), "cm-1"),
    "table": TableSpec(("age", "sex", "site"), ((), ("f", "m"), ("a", "b", "c"))),
}


def made(rows: int, seed: int, classes: int = 3) -> Embeddings:
    """Classes with a band each on a background that is far stronger and says nothing."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    axis = np.arange(POINTS)
    bands = np.exp(-(((axis - 8 - 9 * np.arange(classes)[:, None]) / 2.0) ** 2))
    background = 20 * generator.normal(size=(rows, 1)) * np.exp(-axis / 30)
    values = background + bands[labels] + 0.4 * generator.normal(size=(rows, POINTS))
    groups = np.arange(rows) // (2 * classes)
    names = tuple(f"class {k}" for k in range(classes))
    index = np.arange(rows)
    return Embeddings(values.astype(np.float32), labels, groups, groups, index, names, tuple(map(str, index)))


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    raised = np.exp(values)
    return np.asarray(raised / raised.sum(1, keepdims=True))


@pytest.mark.parametrize("classes", [2, 3])
def test_the_machine_is_that_of_a_pipeline(classes: int) -> None:
    train, test = made(120, 0, classes), made(60, 1, classes)
    steps = make_pipeline(PCA(20), StandardScaler(), SVC(break_ties=classes > 2)).fit(train.values, train.labels)
    found = PcaSvm().predict(train, test)
    assert found.argmax(1).tolist() == steps.predict(test.values).tolist()
    margins = steps.decision_function(test.values)
    expected = softmax(np.stack([-margins / 2, margins / 2], 1) if classes == 2 else margins)
    # StandardScaler divides by the deviation of N, the evaluator by that of N - 1.
    np.testing.assert_allclose(found, expected, atol=0.01)
    assert balanced_accuracy_score(test.labels, found.argmax(1)) > 0.8


def test_discriminant_analysis_is_that_of_a_pipeline() -> None:
    train, test = made(120, 0), made(60, 1)
    steps = make_pipeline(PCA(10), LinearDiscriminantAnalysis()).fit(train.values.astype(float), train.labels)
    np.testing.assert_allclose(PcaLda().predict(train, test), steps.predict_proba(test.values), atol=1e-4)


def test_discriminant_analysis_of_whitened_components_takes_them_all() -> None:
    train, test = made(120, 0), made(60, 1)
    whitener = PCA(12, whiten=True).fit(train.values)
    sides = [replace(side, values=whitener.transform(side.values).astype(np.float32)) for side in (train, test)]
    asked = PcaLda(components="all")
    assert asked.name == "LDA"
    plain = LinearDiscriminantAnalysis().fit(sides[0].values.astype(float), train.labels)
    np.testing.assert_allclose(asked.predict(*sides), plain.predict_proba(sides[1].values), atol=1e-6)


def test_discriminant_analysis_beside_others_takes_few_points_whole_and_components_of_many() -> None:
    for points, name in ((50, "spectra, LDA"), (51, "spectra, PCA10-LDA")):
        side = made(30, 0)
        wide = np.random.default_rng(0).normal(size=(30, points + 1)).astype(np.float32)
        sets = {"spectra": replace(side, values=wide)}
        assert [answer[0] for answer in spectral_answers(sets, sets, 0) if "LDA" in answer[0]] == [name]


def test_trees_of_few_rows_may_part_them() -> None:
    train, test = made(30, 0, 2), made(60, 1, 2)
    values = [np.where(side.labels == 1, 1.0, -1.0)[:, None].astype(np.float32) for side in (train, test)]
    fitted, asked = (replace(side, values=own) for side, own in zip((train, test), values, strict=True))
    found = Boosting(trees=20).predict(fitted, asked)
    assert found.argmax(1).tolist() == test.labels.tolist()


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("components", [1, 5])
def test_partial_least_squares_regress_on_the_classes(classes: int, components: int) -> None:
    train, test = made(96, 0, classes), made(48, 1, classes)
    model = PLSRegression(components, scale=False).fit(train.values.astype(float), np.eye(classes)[train.labels])
    found = PlsDa(components=components).predict(train, test)
    np.testing.assert_allclose(found, softmax(model.predict(test.values.astype(float))), atol=1e-6)


def test_latent_variables_are_chosen_by_whole_groups() -> None:
    train, test = made(96, 0), made(48, 1)
    parts = list(StratifiedGroupKFold(5).split(train.values, train.labels, train.groups))
    scores = []
    for count in range(1, 9):
        predicted = np.empty(len(train), np.int64)
        for fit, held in parts:
            model = PLSRegression(count, scale=False).fit(train.values[fit].astype(float), np.eye(3)[train.labels[fit]])
            predicted[held] = model.predict(train.values[held].astype(float)).argmax(1)
        scores.append(balanced_accuracy_score(train.labels, predicted))
    best = int(np.argmax(scores)) + 1
    assert best > 1
    expected = PlsDa(components=best).predict(train, test)
    np.testing.assert_allclose(PlsDa(most=8).predict(train, test), expected)


def test_boosting_stands_on_the_components() -> None:
    train, test = made(120, 0), made(60, 1)
    model = PCA(20).fit(train.values.astype(float))
    sides = [model.transform(side.values.astype(float)) / np.sqrt(model.explained_variance_) for side in (train, test)]
    narrow = [
        replace(side, values=values.astype(np.float32)) for side, values in zip((train, test), sides, strict=True)
    ]
    found = PcaBoosting(trees=20).predict(train, test)
    np.testing.assert_allclose(found, Boosting(trees=20).predict(*narrow), atol=1e-6)


@pytest.mark.parametrize("evaluator", EVALUATORS, ids=lambda one: f"{one.name}-{getattr(one, 'components', '')}")
def test_what_is_odd_in_training_is_borne(evaluator: Evaluator) -> None:
    train, test = made(60, 0), made(12, 1)
    partly = replace(train, labels=np.where(np.arange(60) % 5, train.labels, -1))
    whole = evaluator.predict(partly, test)
    np.testing.assert_array_equal(whole, evaluator.predict(partly.labelled(), test))
    np.testing.assert_allclose(whole.sum(1), 1.0)
    missing = evaluator.predict(train.take(train.labels != 1), test)
    assert not missing[:, 1].any()
    np.testing.assert_allclose(missing.sum(1), 1.0)
    alone = evaluator.predict(train.take(train.labels == 2), test)
    np.testing.assert_array_equal(alone, np.eye(3)[[2] * 12])
    few = evaluator.predict(train.take(np.array([0, 1, 2, 3])), test)
    assert np.isfinite(few).all()
    flat = replace(train, values=np.ones_like(train.values))
    assert np.isfinite(evaluator.predict(flat, test)).all()
    one_group = evaluator.predict(replace(train, groups=np.zeros(60, np.int64)), test)
    np.testing.assert_allclose(one_group.sum(1), 1.0)


def test_a_recipe_spells_them_and_wrong_numbers_are_refused() -> None:
    import_roles()
    asked = [{"type": "PcaSvm", "C": 10.0}, {"type": "PcaLda"}, {"type": "PlsDa", "components": 7}, "PcaBoosting"]
    values = {
        "data": {"type": "SpectraTables"},
        "encoders": {"spectra": "SpectralConv"},
        "objective": "CrossEntropy",
        "evaluation": {"evaluators": asked},
    }
    found = config.load(values, Recipe).evaluation.evaluators
    assert found == [PcaSvm(C=10.0), PcaLda(), PlsDa(components=7), PcaBoosting()]
    assert [one.gives for one in found] == ["order", "probabilities", "order", "probabilities"]
    for wrong in (
        lambda: PcaSvm(C=0.0),
        lambda: PcaLda(components=0),
        lambda: PlsDa(components=0),
        lambda: PlsDa(most=0),
    ):
        with pytest.raises(ValueError, match="use "):
            wrong()


# Baselines


class Clinic(Rows):
    """Patients with up to three scans and a row of a table; some lack either, some know only a part of the table."""

    def __init__(self, seed: int, modalities: tuple[str, ...] = ("spectra", "table")) -> None:
        generator = np.random.default_rng(seed)
        base = made(PATIENTS, seed)
        self.labels = self.ids = np.arange(PATIENTS)
        self.labels, self.groups, self.domains = base.labels, self.ids // 2, self.ids % 2
        self.metadata = np.empty((PATIENTS, 0))
        self.scans = base.values[:, None] + 0.1 * generator.normal(size=(PATIENTS, SCANS, POINTS)).astype(np.float32)
        self.made = generator.random((PATIENTS, SCANS)) < 0.7
        self.made[0] = False
        age, sex, site = generator.normal(size=PATIENTS), generator.integers(0, 2, PATIENTS), base.labels
        self.cells = np.stack([age, sex, site], 1).astype(np.float32)
        self.known = generator.random((PATIENTS, 3)) < 0.8
        self.known[1] = False
        self.modalities = modalities

    def __getitems__(self, draws: list[Draw]) -> Batch:
        rows = np.array([draw.row for draw in draws])
        # What stands where nothing was recorded must not matter.
        scans = np.where(self.made[rows, :, None], self.scans[rows], 99.0)
        cells = np.where(self.known[rows], self.cells[rows], 7.0)
        view: dict[str, Modality] = {
            "spectra": Spectra(torch.from_numpy(scans), torch.from_numpy(self.made[rows])),
            "table": Table(torch.from_numpy(cells), torch.from_numpy(self.known[rows])),
        }
        columns = (torch.from_numpy(c[rows]) for c in (self.labels, self.groups, self.domains, self.ids))
        return Batch([{name: view[name] for name in self.modalities}], *columns)

    def batches(self) -> Iterator[Batch]:
        for start in range(0, PATIENTS, 25):
            yield self.__getitems__([Draw(row, 0) for row in range(start, min(start + 25, PATIENTS))])


def collected(rows: Clinic, medians: Any = None) -> HandFeatures:
    specs = {name: SPECS[name] for name in rows.modalities}
    names = tuple(map(str, range(PATIENTS)))
    return hand_features(rows, rows.batches(), specs=specs, classes=("x", "y", "z"), names=names, medians=medians)


def test_a_spectrum_is_the_mean_of_its_scans_and_a_table_its_columns() -> None:
    train, test = Clinic(0), Clinic(1)
    fitted = collected(train)
    found = collected(test, fitted.medians)
    spectra, table = found.sets[SPECTRA].values, found.sets[TABLE].values
    usual = np.median([train.scans[i][train.made[i]].mean(0) for i in range(PATIENTS) if train.made[i].any()], 0)
    for row in range(PATIENTS):
        there = test.made[row]
        expected = test.scans[row][there].mean(0) if there.any() else usual
        np.testing.assert_allclose(spectra[row], [*expected, there.any()], atol=1e-5)
        age, sex, site = test.cells[row]
        known = test.known[row]
        middle = np.median(train.cells[train.known[:, 0], 0])
        expected = [age if known[0] else middle, *(known[1] * np.eye(2)[int(sex)]), *(known[2] * np.eye(3)[int(site)])]
        np.testing.assert_allclose(table[row], [*expected, *~known], atol=1e-6)
    np.testing.assert_array_equal(found.sets[SUMMARY].values, np.concatenate([spectra, table], 1))
    assert not spectra[0, -1]
    assert table[1, -3:].all()


def test_a_scan_that_is_not_finite_is_refused() -> None:
    rows = Clinic(0)
    rows.scans[5, rows.made[5].argmax(), 3] = np.nan
    rows.made[5, rows.made[5].argmax()] = True
    with pytest.raises(ValueError, match=r"spectra: the scans of 1 rows of a batch are not finite"):
        collected(rows)


@pytest.mark.parametrize(
    ("modalities", "starts"),
    [
        (("spectra",), {"spectra"}),
        (("table",), {"table"}),
        (("spectra", "table"), {"spectra", "table", "spectra (PCA20) and table"}),
    ],
)
def test_baselines_of_each_alone_and_of_both(modalities: tuple[str, ...], starts: set[str]) -> None:
    fitted = collected(Clinic(0, modalities))
    results = {one.name: one for one in baselines(fitted, collected(Clinic(1, modalities), fitted.medians), fold="a")}
    assert {name.split(", ")[0] for name in results} == starts | {"majority class"}
    for name in ("PCA20-SVM", "LDA", "PLS-DA", "logistic regression", "PCA20, gradient boosting"):
        assert (f"spectra, {name}" in results) == ("spectra" in modalities)
    for name in ("logistic regression", "gradient boosting"):
        assert (f"table, {name}" in results) == ("table" in modalities)
    # The site knows the class where it is known, the bands do everywhere.
    found = {name: one.estimates(resamples=2)["balanced_accuracy"].value for name, one in results.items()}
    assert all(value > 0.7 for name, value in found.items() if name.endswith("logistic regression"))


def test_what_is_unknown_in_test_does_not_move_training() -> None:
    fitted = collected(Clinic(0))
    other = Clinic(1)
    other.known[:30] = False
    first, second = (baselines(fitted, collected(rows, fitted.medians)) for rows in (Clinic(1), other))
    # Both are scored on the same rows; the spectra, which did not change, answer the same.
    for one, two in zip(first, second, strict=True):
        if "table" not in one.name:
            np.testing.assert_array_equal(one.probabilities, two.probabilities)
        elif "logistic" in one.name:
            moved = (one.probabilities != two.probabilities).any(1)
            assert moved[:30].tolist() == Clinic(1).known[:30].any(1).tolist()
            assert not moved[30:].any()
