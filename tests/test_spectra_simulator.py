"""The simulated spectra: what each modality can tell at best, that it can be read, files, marks, and one set a seed."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from counterpoint.cli_data import data_app
from counterpoint.data.synthetic.spectra import generate, simulate_spectra
from counterpoint.data.synthetic.spectra_files import CLASSES, Specimens
from counterpoint.data.synthetic.spectra_scans import AXIS, BANDS, LIMIT, shape
from counterpoint.data.synthetic.spectra_truth import FLIPPED, HIGH, Planted, bayes_rates, in_words, plant

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

COUNT, SEED = 40, 5
MANY = 400_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("spectra") / "set", count=COUNT, seed=SEED)


@pytest.fixture(scope="module")
def specimens() -> Specimens:
    return simulate_spectra(400, 0)


@pytest.fixture(scope="module")
def crowd() -> Planted:
    return plant(MANY, np.random.default_rng(11))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def best(cells: NDArray[np.int64], label: Bool) -> tuple[float, float, Float]:
    """Accuracy and balanced accuracy of the best rule on cells, counted, and the share of positives by cell."""
    counts = np.stack([np.bincount(cells[label == side], minlength=4) for side in (False, True)])
    shares = counts / counts.sum(1, keepdims=True)
    positive = counts[1] / np.maximum(counts.sum(0), 1)
    return float(counts.max(0).sum() / len(label)), float(shares.max(0).sum() / 2), positive


def test_rates_in_closed_form() -> None:
    rates, sure = bayes_rates(), 1.0 - FLIPPED
    mixed = 2.0 * HIGH * (1.0 - HIGH)
    assert rates["accuracy"]["both"] == pytest.approx(sure)
    alone = (1.0 - HIGH) * sure + HIGH * FLIPPED
    assert rates["accuracy"]["spectra"] == rates["accuracy"]["table"] == pytest.approx(alone)
    assert rates["accuracy"]["nothing"] == pytest.approx(1.0 - (mixed * sure + (1.0 - mixed) * FLIPPED))
    assert rates["accuracy"]["additive"] == pytest.approx(sure * (1.0 - HIGH**2) + FLIPPED * HIGH**2)
    assert rates["auroc"]["nothing"] == rates["balanced_accuracy"]["nothing"] == pytest.approx(0.5)
    assert rates["r2"] == pytest.approx({"nothing": 0, "spectra": 0.35, "table": 0.35, "both": 0.9, "additive": 0.7})


def test_each_alone_is_insufficient_and_both_together_are_not() -> None:
    rates = bayes_rates()["accuracy"]
    assert rates["nothing"] < 0.6
    assert rates["spectra"] == pytest.approx(0.70, abs=0.005)
    assert rates["table"] == pytest.approx(0.70, abs=0.005)
    assert 0.88 < rates["additive"] < 0.90
    assert rates["both"] > 0.95


def test_rates_are_those_of_many_draws(crowd: Planted) -> None:
    from sklearn.metrics import roc_auc_score

    rates, label = bayes_rates(), crowd.positive
    cells = {
        "nothing": np.zeros(MANY, np.int64),
        "spectra": crowd.leaning.astype(np.int64),
        "table": crowd.inflamed.astype(np.int64),
        "both": 2 * crowd.leaning + crowd.inflamed,
    }
    for name, cell in cells.items():
        accuracy, balanced, positive = best(cell, label)
        assert accuracy == pytest.approx(rates["accuracy"][name], abs=0.003)
        assert balanced == pytest.approx(rates["balanced_accuracy"][name], abs=0.003)
        area = roc_auc_score(label[::8], positive[cell][::8])
        assert area == pytest.approx(rates["auroc"][name], abs=0.008)
    either = crowd.leaning | crowd.inflamed
    assert (either == label).mean() == pytest.approx(rates["accuracy"]["additive"], abs=0.003)


def test_no_linear_rule_beats_the_additive_rate(crowd: Planted) -> None:
    from sklearn.linear_model import LogisticRegression

    rates, part = bayes_rates(), slice(0, 20_000)
    seen = np.stack([crowd.leaning, crowd.inflamed], 1).astype(float)[part]
    found = []
    for weight in (0.2, 0.5, 1.0, 2.0, 5.0):
        model = LogisticRegression(class_weight={False: 1.0, True: weight}).fit(seen, crowd.positive[part])
        found.append(float((model.predict(seen) == crowd.positive[part]).mean()))
    assert max(found) == pytest.approx(rates["accuracy"]["additive"], abs=0.01)


def test_shares_of_the_target_are_those_of_many_draws(crowd: Planted) -> None:
    rates, target = bayes_rates()["r2"], crowd.target
    assert target.mean() == pytest.approx(0.0, abs=0.01)
    assert target.std() == pytest.approx(1.0, abs=0.01)
    seen = {
        "spectra": [crowd.pigment],
        "table": [crowd.age],
        "additive": [crowd.pigment, crowd.age],
        "both": [crowd.pigment, crowd.age, crowd.pigment * crowd.age],
    }
    for name, columns in seen.items():
        # Where only one is seen, powers of it tell no more.
        powers = [column**power for column in columns for power in ((1, 2, 3) if name != "both" else (1,))]
        design = np.stack([np.ones(MANY), *powers], 1)
        left = target - design @ np.linalg.lstsq(design, target, rcond=None)[0]
        assert 1.0 - left.var() / target.var() == pytest.approx(rates[name], abs=0.005)


def test_planted_variables_are_independent(crowd: Planted) -> None:
    columns = np.stack([crowd.leaning, crowd.inflamed, crowd.flipped, crowd.pigment, crowd.age, crowd.chance])
    between = np.corrcoef(columns.astype(float)) - np.eye(6)
    assert np.abs(between).max() < 0.01


def heights(counts: Float, centres: tuple[float, ...], low: float, high: float) -> Float:
    """(N, k) heights of bands in a window: least squares over the bands that reach into it, and a parabola."""
    inside = (low <= AXIS) & (high >= AXIS)
    near = [band for band in BANDS if low - 40 < band.centre < high + 40]
    along = (AXIS[inside] - low) / (high - low)
    design = np.stack([*(shape(band, AXIS[inside]) for band in near), *(along**power for power in range(3))], 1)
    found = np.linalg.lstsq(design, counts[:, inside].T, rcond=None)[0].T
    return np.stack([found[:, [band.centre for band in near].index(centre)] for centre in centres], 1)


def read_spectra(specimens: Specimens) -> tuple[Bool, Float]:
    """What an oracle reads of the sound scans of each specimen: which way the doublet leans, and the pigment."""
    scans = specimens.scans
    sound = ~scans.empty & ~scans.saturated
    counts, owner = scans.counts[sound].astype(float), scans.specimen[sound]
    number = np.bincount(owner)
    doublet = heights(counts, (830, 853), 790, 890)
    lean = np.bincount(owner, doublet[:, 1] - doublet[:, 0]) / number
    pigment = heights(counts, (1157, 1518), 1060, 1560).sum(1) / heights(counts, (1003,), 960, 1060)[:, 0]
    return lean > 0, np.log(np.bincount(owner, pigment) / number)


def test_an_oracle_reads_what_was_planted_and_comes_up_to_the_rates(specimens: Specimens) -> None:
    planted, rates = specimens.planted, bayes_rates()["accuracy"]
    leaning, pigment = read_spectra(specimens)
    assert (leaning == planted.leaning).mean() > 0.99
    assert np.corrcoef(pigment, planted.pigment)[0, 1] > 0.95
    inflamed = np.array([float(cell) for cell in specimens.covariates["crp"]]) > 3.5
    assert (inflamed == planted.inflamed).all()
    ages = np.array([float(cell) for cell in specimens.covariates["age"]])
    assert np.corrcoef(ages, planted.age)[0, 1] > 0.9999
    labels = np.array(specimens.labels) == CLASSES[1]
    # Four standard errors of 400 draws.
    error = {name: 4.0 * (rate * (1 - rate) / 400) ** 0.5 for name, rate in rates.items()}
    assert (leaning == labels).mean() == pytest.approx(rates["spectra"], abs=error["spectra"])
    assert (inflamed == labels).mean() == pytest.approx(rates["table"], abs=error["table"])
    assert ((leaning ^ inflamed) == labels).mean() == pytest.approx(rates["both"], abs=error["both"])
    assert ((leaning | inflamed) == labels).mean() == pytest.approx(rates["additive"], abs=error["additive"])


def test_neither_modality_alone_teaches_more_than_its_rate(specimens: Specimens) -> None:
    from sklearn.decomposition import PCA
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scans, rates = specimens.scans, bayes_rates()["accuracy"]
    sound = ~scans.empty & ~scans.saturated
    counts, owner = scans.counts[sound].astype(float), scans.specimen[sound]
    slopes = np.gradient(counts, axis=1)
    slopes = (slopes - slopes.mean(1, keepdims=True)) / slopes.std(1, keepdims=True)
    mean = np.stack([np.bincount(owner, column) for column in slopes.T], 1) / np.bincount(owner)[:, None]
    names = ("age", "bmi", "crp", "hdl")
    cells = np.array([[float(cell or "nan") for cell in specimens.covariates[name]] for name in names]).T
    cells = np.where(np.isnan(cells), np.nanmean(cells, 0), cells)
    cells = np.concatenate([cells, (np.array(specimens.covariates["sex"]) == "F")[:, None]], 1)
    labels, folds = np.array(specimens.labels), StratifiedKFold(5, shuffle=True, random_state=0)
    linear = make_pipeline(
        StandardScaler(), PCA(30, svd_solver="covariance_eigh"), LogisticRegression(C=0.1, max_iter=2000)
    )
    forest = RandomForestClassifier(40, min_samples_leaf=10, random_state=0)
    both = np.concatenate([10.0 * mean[:, (AXIS > 800) & (AXIS < 880)], cells], 1)
    forest_both = RandomForestClassifier(60, min_samples_leaf=3, random_state=0)
    found = {
        "spectra": cross_val_predict(linear, mean, labels, cv=folds),
        "table": cross_val_predict(forest, cells, labels, cv=folds),
        "both": cross_val_predict(forest_both, both, labels, cv=folds),
    }
    right = {name: float((guess == labels).mean()) for name, guess in found.items()}
    assert 0.60 < right["spectra"] < rates["spectra"] + 0.05
    assert 0.62 < right["table"] < rates["table"] + 0.05
    assert right["both"] > max(right["spectra"], right["table"]) + 0.10


def test_covariates_that_are_said_to_tell_nothing_do_not(specimens: Specimens) -> None:
    many = simulate_spectra(1500, 4)
    label = np.array([name == CLASSES[1] for name in many.labels], float)
    for name in ("bmi", "hdl"):
        cells = np.array([float(cell or "nan") for cell in many.covariates[name]])
        known = np.isfinite(cells)
        assert 0.02 < 1 - known.mean() < 0.10
        for other in (label, many.planted.target):
            assert abs(np.corrcoef(cells[known], other[known])[0, 1]) < 0.1
    assert set(many.covariates["sex"]) == {"F", "M"}
    assert set(many.covariates["smoker"]) == {"", "no", "yes"}
    assert "" not in {*many.covariates["age"], *many.covariates["crp"]}
    assert abs(np.corrcoef(label, many.planted.target)[0, 1]) < 0.1


def test_files_are_as_instruments_and_clinics_write_them(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["clinical.csv", "spectra.csv", "truth.json"]
    scans, clinical = table(folder / "spectra.csv"), table(folder / "clinical.csv")
    assert list(scans[0])[:3] == ["Sample", "Group", "simulated"]
    np.testing.assert_array_equal([float(name) for name in list(scans[0])[3:]], AXIS)
    known = ["PatientID", "age", "sex", "bmi", "crp", "hdl", "smoker", "Group", "target", "simulated"]
    assert list(clinical[0]) == known
    assert {row["simulated"] for row in [*scans, *clinical]} == {"yes"}
    assert [row["PatientID"] for row in clinical] == [f"P{1000 + row}" for row in range(COUNT)]
    groups = {row["PatientID"]: row["Group"] for row in clinical}
    assert set(groups.values()) == set(CLASSES)
    samples = [re.fullmatch(r"(P\d+)-(\d+)", row["Sample"]) for row in scans]
    assert all(samples)
    owners = [match[1] for match in samples if match]
    assert [groups[owner] for owner in owners] == [row["Group"] for row in scans]
    assert len({row["Sample"] for row in scans}) == len(scans)
    for owner in groups:
        assert 2 <= owners.count(owner) <= 8
    for row in scans:
        counts = [row[f"{point:g}"] for point in AXIS]
        assert all(cell == "" for cell in counts) or all(0 <= int(cell) <= LIMIT for cell in counts)


def test_a_few_scans_are_spoilt_and_two_of_everyone_are_not(specimens: Specimens) -> None:
    scans = specimens.scans
    sound = ~scans.empty & ~scans.saturated
    assert (np.bincount(scans.specimen[sound], minlength=400) >= 2).all()
    full = (scans.counts == LIMIT).sum(1)
    assert (full[scans.saturated] >= 3).all()
    assert (full[~scans.saturated] == 0).all()
    assert (scans.counts >= 0).all()
    total = len(scans.number)
    assert 0.005 < scans.saturated.mean() < 0.04
    assert 0.005 < scans.empty.mean() < 0.04
    gaps = np.bincount(scans.specimen, weights=None) < np.array(
        [scans.number[scans.specimen == row].max() for row in range(400)]
    )
    assert 0 < gaps.sum() < 0.2 * 400
    assert total == len(set(zip(scans.specimen.tolist(), scans.number.tolist(), strict=True)))


def test_the_truth_lies_beside_them_and_agrees(folder: Path) -> None:
    truth: dict[str, Any] = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert truth["simulated"] is True
    assert truth["bayes"] == bayes_rates()
    assert truth["bands"] == {"leaning": [830, 853], "pigment": [1157, 1518]}
    rows = {row["PatientID"]: row for row in table(folder / "clinical.csv")}
    assert list(truth["specimens"]) == list(rows)
    for name, planted in truth["specimens"].items():
        positive = (planted["leaning"] != planted["inflamed"]) != planted["flipped"]
        assert rows[name]["Group"] == CLASSES[positive]
        assert (float(rows[name]["crp"]) > 3.5) == planted["inflamed"]
        assert float(rows[name]["age"]) == pytest.approx(56 + 11 * planted["age"], abs=0.01)
    targets = np.array([float(row["target"]) for row in table(folder / "clinical.csv")])
    np.testing.assert_allclose(targets, 50 + 10 * simulate_spectra(COUNT, SEED).planted.target, atol=1e-3)


def test_a_seed_gives_one_set_to_the_last_byte_and_another_seed_another(tmp_path: Path, folder: Path) -> None:
    again = generate(tmp_path / "again", count=COUNT, seed=SEED)
    other = generate(tmp_path / "other", count=COUNT, seed=SEED + 1)
    for name in ("spectra.csv", "clinical.csv", "truth.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
        assert (other / name).read_bytes() != (folder / name).read_bytes()
    assert list(tmp_path.glob(".*")) == [], "nothing half-written stays behind"


def test_the_command_writes_them_and_says_what_can_be_reached(tmp_path: Path) -> None:
    result = CliRunner().invoke(data_app, ["generate", "spectra", str(tmp_path / "set"), "--count", "3", "--seed", "2"])
    assert result.exit_code == 0, result.output
    assert in_words(bayes_rates()) in result.output
    assert "0.970 by both" in result.output
    assert len(table(tmp_path / "set" / "clinical.csv")) == 3
    same = generate(tmp_path / "same", count=3, seed=2)
    assert (tmp_path / "set" / "spectra.csv").read_bytes() == (same / "spectra.csv").read_bytes()


def test_the_default_is_four_hundred(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[int, int]] = []

    def record(folder: Path, *, count: int, seed: int) -> Path:
        asked.append((count, seed))
        return folder

    monkeypatch.setattr("counterpoint.data.synthetic.spectra.generate", record)
    assert CliRunner().invoke(data_app, ["generate", "spectra", str(tmp_path / "set")]).exit_code == 0
    assert asked == [(400, 0)]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wants one at least"):
        generate(tmp_path / "none", count=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="holds something already"):
        generate(tmp_path / "full", count=2)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_one_specimen_is_enough(tmp_path: Path) -> None:
    assert len(table(generate(tmp_path / "one", count=1) / "clinical.csv")) == 1
