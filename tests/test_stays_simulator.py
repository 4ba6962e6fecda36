"""The simulated stays: the same in every layout, marked, told apart by their values, irregular as real ones are."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from counterpoint.data.synthetic.stay_files import Layout, Stays
from counterpoint.data.synthetic.stays import DESCRIPTORS, HOURS, NAMES, VARIABLES, generate, simulate_stays

COUNT, SEED = 60, 3
Event = tuple[int, int, str, float]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[Layout, Path]:
    root = tmp_path_factory.mktemp("stays")
    layouts: tuple[Layout, ...] = ("long", "physionet2012", "folder")
    return {layout: generate(root / layout, stays=COUNT, seed=SEED, layout=layout) for layout in layouts}


@pytest.fixture(scope="module")
def thousand() -> Stays:
    return simulate_stays(1000, 0)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def from_long(folder: Path) -> list[Event]:
    rows = pq.read_table(folder / "events.parquet").to_pylist()
    return [(row["record_id"], row["minute"], row["variable"], row["value"]) for row in rows]


def from_text(folder: Path) -> list[Event]:
    """As the Challenge describes its files: descriptors at 00:00, -1 for what is not known."""
    events = []
    for path in sorted((folder / "set-a").iterdir()):
        first, second, *lines = path.read_text(encoding="ascii").splitlines()
        assert (first, second) == ("Time,Parameter,Value", f"00:00,RecordID,{path.stem}")
        assert [line.split(",")[1] for line in lines[:5]] == list(DESCRIPTORS)
        for line in lines:
            time, name, value = line.split(",")
            hours, minutes = time.split(":")
            assert len(hours) == len(minutes) == 2
            if value != "-1":
                events.append((int(path.stem), 60 * int(hours) + int(minutes), name, float(value)))
    return events


def from_folder(folder: Path) -> list[Event]:
    events = []
    for path in sorted(folder.glob("*/*.parquet"), key=lambda path: path.stem):
        rows = pq.read_table(path).to_pylist()
        events += [(int(path.stem), row["minute"], row["variable"], row["value"]) for row in rows]
    return events


def test_every_layout_holds_the_same_events(folders: dict[Layout, Path]) -> None:
    events = from_long(folders["long"])
    assert len(events) > 100 * COUNT
    assert from_text(folders["physionet2012"]) == events
    assert from_folder(folders["folder"]) == events
    stays = simulate_stays(COUNT, SEED)
    assert len(events) == len(stays.value) + sum(int((column != -1).sum()) for column in stays.descriptors.values())


def test_every_layout_holds_the_same_outcomes_and_says_it_is_simulated(folders: dict[Layout, Path]) -> None:
    ids, died = ((stays := simulate_stays(COUNT, SEED)).ids.tolist(), stays.died.astype(int).tolist())
    expected = list(zip(ids, died, strict=True))
    for path, key, label in (
        (folders["long"] / "outcomes.csv", "record_id", "In-hospital_death"),
        (folders["physionet2012"] / "Outcomes-a.txt", "RecordID", "In-hospital_death"),
        (folders["folder"] / "oc.csv", "ts_id", "in_hospital_mortality"),
    ):
        rows = table(path)
        assert [(int(row[key]), int(row[label])) for row in rows] == expected
        assert {row["simulated"] for row in rows} == {"true"}
    for path in (folders["long"] / "events.parquet", *folders["folder"].glob("*/*.parquet")):
        assert pq.read_schema(path).metadata[b"simulated"] == b"true"


def test_outcomes_of_the_challenge_agree_with_themselves(folders: dict[Layout, Path]) -> None:
    rows = table(folders["physionet2012"] / "Outcomes-a.txt")
    header = ["RecordID", "SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death", "simulated"]
    assert list(rows[0]) == header
    for row in rows:
        stayed, survived = int(row["Length_of_stay"]), int(row["Survival"])
        assert (2 <= survived <= stayed) if row["In-hospital_death"] == "1" else (survived == -1 or survived > stayed)


def test_the_folder_is_divided_and_its_statistics_are_those_of_training(folders: dict[Layout, Path]) -> None:
    folder = folders["folder"]
    held = {split: {path.stem for path in (folder / split).iterdir()} for split in ("train", "valid", "test")}
    assert {split: len(ids) for split, ids in held.items()} == {"train": 42, "valid": 9, "test": 9}
    assert len(set().union(*held.values())) == COUNT
    by_name: dict[str, list[float]] = {}
    for identifier, _, name, value in from_folder(folder):
        if str(identifier) in held["train"]:
            by_name.setdefault(name, []).append(value)
    rows = table(folder / "stats.csv")
    assert [row["variable"] for row in rows] == sorted(by_name)
    for row in rows:
        assert float(row["mean"]) == pytest.approx(np.mean(by_name[row["variable"]]), rel=1e-9)
        assert float(row["std"]) == pytest.approx(np.std(by_name[row["variable"]]), rel=1e-6, abs=1e-12)


def test_set_index_counts_the_minutes_of_a_stay(folders: dict[Layout, Path]) -> None:
    path = max(folders["folder"].glob("*/*.parquet"), key=lambda path: path.stat().st_size)
    columns = pq.read_table(path).to_pydict()
    assert columns["minute"] == sorted(columns["minute"])
    distinct = sorted(set(columns["minute"]))
    assert columns["set_index"] == [distinct.index(minute) for minute in columns["minute"]]


def test_stays_are_a_function_of_count_and_seed(tmp_path: Path, folders: dict[Layout, Path]) -> None:
    again = generate(tmp_path / "again", stays=COUNT, seed=SEED)
    other = generate(tmp_path / "other", stays=COUNT, seed=SEED + 1)
    for name in ("events.parquet", "outcomes.csv"):
        assert (again / name).read_bytes() == (folders["long"] / name).read_bytes()
        assert (other / name).read_bytes() != (again / name).read_bytes()


def test_values_keep_to_what_can_be_noted(thousand: Stays) -> None:
    slips = {"HR": 0.0, "SysABP": 0.0, "Temp": -17.8, "pH": 735.0}
    for variable in VARIABLES:
        value = thousand.value[thousand.code == NAMES.index(variable.name)]
        plausible = value[value != slips.get(variable.name, np.nan)]
        low, high = variable.ends
        assert len(plausible) >= 0.99 * len(value) > 0
        assert ((plausible >= low) & (plausible <= high)).all()
        np.testing.assert_array_equal(plausible, np.round(plausible, variable.digits))
        # A skewed value has its level in the middle, and what does not move has nothing else.
        assert abs(np.median(plausible) - variable.level) <= 0.25 * variable.level + 10.0**-variable.digits
    assert (thousand.minute >= 0).all()
    assert (thousand.minute < 60 * HOURS).all()
    assert (np.diff(thousand.stay * 60 * HOURS + thousand.minute) >= 0).all()


def test_stays_are_as_irregular_as_real_ones(thousand: Stays) -> None:
    counts = np.bincount(thousand.stay, minlength=1000)
    assert counts.min() <= 5
    assert 300 < np.median(counts) < 500  # 428 in set a of the Challenge
    sets = len(np.unique(thousand.stay * 60 * HOURS + thousand.minute)) / 1000
    assert 60 < sets < 110  # 75 there
    cell = (thousand.stay * 60 * HOURS + thousand.minute) * len(NAMES) + thousand.code
    _, repeats = np.unique(cell, return_counts=True)
    assert 0.001 < (repeats > 1).mean() < 0.004  # 0.002 there
    unknown = {name: float((column == -1).mean()) for name, column in thousand.descriptors.items()}
    assert unknown["Age"] == unknown["ICUType"] == 0.0
    assert unknown["Gender"] < 0.01
    assert unknown["Height"] == pytest.approx(0.47, abs=0.06)
    assert unknown["Weight"] == pytest.approx(0.08, abs=0.03)
    for name, low, high in (("RespRate", 0.2, 0.4), ("pH", 0.65, 0.85), ("HR", 0.95, 1.0), ("Cholesterol", 0.03, 0.15)):
        stays = np.unique(thousand.stay[thousand.code == NAMES.index(name)])
        assert low < len(stays) / 1000 < high


def features(stays: Stays) -> Any:
    """(n, 3 V) mean, last value and log count of every variable; 0 where it is never measured."""
    count, width = len(stays.ids), len(stays.names)
    scaled = stays.value.copy()
    for code in np.unique(stays.code):
        own = stays.code == code
        scaled[own] = np.clip((scaled[own] - scaled[own].mean()) / (scaled[own].std() or 1.0), -5, 5)
    cell = stays.stay * width + stays.code
    counts = np.bincount(cell, minlength=count * width)
    last = np.zeros(count * width)
    last[cell] = scaled
    mean = np.bincount(cell, scaled, minlength=count * width) / np.maximum(counts, 1)
    return np.concatenate([part.reshape(count, width) for part in (mean, last, np.log1p(counts))], 1)


def test_the_outcome_can_be_told_but_not_for_sure(thousand: Stays) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    assert 0.11 < thousand.died.mean() < 0.19
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=500))
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    guess = cross_val_predict(model, features(thousand), thousand.died, cv=folds, method="predict_proba")[:, 1]
    assert 0.76 < roc_auc_score(thousand.died, guess) < 0.87
    shuffled = np.random.default_rng(0).permutation(thousand.died)
    assert roc_auc_score(shuffled, guess) < 0.6


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wants one at least"):
        generate(tmp_path / "none", stays=0)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    with pytest.raises(ValueError, match="holds something already"):
        generate(tmp_path / "full", stays=2)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


@pytest.mark.parametrize("layout", ["long", "physionet2012", "folder"])
def test_one_stay_is_enough(tmp_path: Path, layout: Layout) -> None:
    folder = generate(tmp_path / "one", stays=1, layout=layout)
    assert {"long": from_long, "physionet2012": from_text, "folder": from_folder}[layout](folder)
