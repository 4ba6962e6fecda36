"""Is it a defect at all: answers collapsed, distances to normal rows, and whole runs that train on those alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from counterpoint.evaluate import NormalDistance
from counterpoint.evaluate.baselines import HandFeatures, baselines
from counterpoint.evaluate.detection import DEFECT, Detection, as_detection, check, deciding, detected, detection_lines
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.novelty import without_themselves
from counterpoint.evaluate.results import Result
from test_recipes import command, expect_run

CLASSES = ("Burnthrough", "Good", "Porosity")
GOOD = Detection(normal="Good")


def embeddings(values: NDArray[Any], labels: NDArray[np.int64], classes: tuple[str, ...] = CLASSES) -> Embeddings:
    rows = np.arange(len(values))
    names = tuple(f"r{i}" for i in rows)
    return Embeddings(values.astype(np.float32), labels, rows // 3, rows * 0, rows, classes, names)


def answer(name: str, strength: float, *, seed: int = 0, kind: Any = "model", rows: int = 240) -> Result:
    """Probabilities that know the class as well as ``strength`` says; Porosity is the harder one."""
    generator = np.random.default_rng(seed)
    labels = np.arange(rows) % 3
    logits = generator.normal(size=(rows, 3)) + strength * np.eye(3)[labels] * np.array([2.0, 1.0, 0.5])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    index = np.arange(rows)
    return Result(name, kind, probabilities, Truth(labels, index // 6, index, index, CLASSES), ("Porosity",), "a", seed)


def scores_of(made: Result, metric: str) -> float:
    return made.estimates(resamples=2)[metric].value


def test_two_classes_are_scored_as_sklearn_scores_them() -> None:
    made = answer("head", 1.0)
    found = as_detection(made, "Good")
    defect, score = made.truth.labels != 1, 1 - made.probabilities[:, 1]
    assert found.truth.classes == ("Good", DEFECT)
    np.testing.assert_allclose(found.probabilities[:, 1], score, atol=1e-12)
    assert scores_of(found, "auroc") == pytest.approx(roc_auc_score(defect, score))
    assert scores_of(found, "auprc") == pytest.approx(average_precision_score(defect, score))
    expected = balanced_accuracy_score(defect, score > 0.5)
    assert scores_of(found, "balanced_accuracy") == pytest.approx(expected)
    assert found.unseen == ()
    again = as_detection(found, "Good")
    np.testing.assert_allclose(again.probabilities, found.probabilities, atol=1e-15)


def test_certain_answers_of_a_network_keep_their_order() -> None:
    logits = np.linspace(-30, 30, 61)
    normal = np.exp(logits) / (1 + np.exp(logits))
    defect = 1 / (1 + np.exp(logits))
    rounded = np.stack([defect / 2, normal, defect / 2], 1).astype(np.float32)
    assert len(np.unique(1 - rounded[:, 1])) < 61
    rows = np.arange(61)
    made = Result("head", "model", rounded.astype(float), Truth(rows % 3, rows, rows, rows, CLASSES))
    assert (np.diff(as_detection(made, "Good").probabilities[:, 1]) < 0).all()


def test_every_answer_and_every_defect_is_judged() -> None:
    ours = [answer("head", 2.0, seed=seed) for seed in (0, 1)]
    rivals = [answer("strong", 1.0, seed=2, kind="baseline"), answer("weak", 0.1, seed=3, kind="baseline")]
    found = json.loads(json.dumps(detected(GOOD, [*rivals, *ours], "head"), allow_nan=False))
    assert [row["name"] for row in found["rows"]] == ["strong", "weak", "head"]
    areas = [roc_auc_score(one.truth.labels != 1, 1 - one.probabilities[:, 1]) for one in ours]
    assert found["rows"][2]["scores"]["auroc"]["value"] == pytest.approx(np.mean(areas))
    assert found["best"] == "strong"
    rival = roc_auc_score(rivals[0].truth.labels != 1, 1 - rivals[0].probabilities[:, 1])
    assert found["difference"]["value"] == pytest.approx(np.mean(areas) - rival)
    assert [kind["name"] for kind in found["classes"]] == ["Burnthrough", "Porosity"]
    for kind, label in zip(found["classes"], (0, 2), strict=True):
        each = []
        for one in ours:
            some = np.isin(one.truth.labels, (1, label))
            each.append(roc_auc_score(one.truth.labels[some] == label, 1 - one.probabilities[some, 1]))
        assert kind["auroc"]["value"] == pytest.approx(np.mean(each))
        assert kind["auroc"]["low"] < kind["auroc"]["value"] < kind["auroc"]["high"]
        assert (kind["rows"], kind["auroc"]["groups"]) == (80, 40)
    first, second = detection_lines({"detection": found})
    assert first.startswith(f"Defect detection: AUROC {np.mean(areas):.3f} [")
    assert f"of the best baseline, strong (difference {np.mean(areas) - rival:+.3f} [" in first
    assert f"Porosity {found['classes'][1]['auroc']['value']:.3f} [" in second
    assert detection_lines({"detection": detected(None, ours, "head")}) == []


def test_a_defect_of_one_group_has_no_interval_and_no_defect_no_score() -> None:
    made = answer("head", 1.0, rows=30)
    groups = np.where(made.truth.labels == 2, 99, made.truth.groups)
    alone = replace(made, truth=made.truth._replace(groups=groups))
    porosity = detected(GOOD, [alone], "head")["classes"][1]
    assert porosity["auroc"]["value"] is not None
    assert (porosity["auroc"]["low"], porosity["auroc"]["groups"]) == (None, 1)
    healthy = replace(made, truth=made.truth._replace(labels=np.ones(30, np.int64)))
    found = detected(GOOD, [healthy, replace(healthy, name="hand", kind="baseline")], "head")
    assert (found["best"], found["classes"], found["difference"]) == (None, [], {})
    lines = detection_lines({"detection": found})
    assert lines[0] == "Defect detection: AUROC undefined of head."
    assert lines[1].endswith("none has test rows.")


def test_what_decides_is_chosen() -> None:
    made = [answer("head", 1.0)]
    assert deciding(None, made) == deciding(GOOD, made) == made
    (collapsed,) = deciding(replace(GOOD, decides="defects"), made)
    assert collapsed.truth.classes == ("Good", DEFECT)


@pytest.mark.parametrize(
    ("classes", "labels", "problem"),
    [
        (("good", "bad"), [0, 1], "normal is 'Good', and the classes are good, bad"),
        ((), [], "the classes are none"),
        (("Good",), [0, 0], "have another to tell from it"),
        (CLASSES, [0, 1, 2, -1], "fold 'main': 1 training rows are 'Good'"),
    ],
)
def test_what_cannot_be_judged_is_refused_before_training(
    classes: tuple[str, ...], labels: list[int], problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        check(GOOD, classes, {"main": np.array(labels, np.int64)})
    check(None, classes, {})
    check(GOOD, CLASSES, {"main": np.array([1, 1])})


# The distance


def naive(train: NDArray[Any], test: NDArray[Any], k: int, metric: str, *, itself: bool = False) -> list[float]:
    """Mean distance to the k nearest, a pair at a time; ``itself`` leaves out the row of the same index."""
    found = []
    for i, row in enumerate(test.astype(float)):
        distances = []
        for j, other in enumerate(train.astype(float)):
            if itself and i == j:
                continue
            if metric == "cosine":
                distances.append(1 - row @ other / np.sqrt(row @ row) / np.sqrt(other @ other))
            elif metric == "euclidean":
                distances.append(float(np.sqrt(((row - other) ** 2).sum())))
            else:
                distances.append(float(np.abs(row - other).sum()))
        found.append(float(np.mean(sorted(distances)[:k])))
    return found


def world(seed: int = 0, rows: int = 40, width: int = 6) -> tuple[Embeddings, Embeddings]:
    generator = np.random.default_rng(seed)
    labels = np.tile([1, 1, 0, 2, -1], rows)[:rows]
    train = generator.normal(size=(rows, width)) + 2.0
    test = generator.normal(size=(rows, width)) + 2.0 - 1.5 * (labels == 2)[:, None]
    return embeddings(train, labels), embeddings(test, labels)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("k", [1, 5, 500])
def test_the_score_is_the_mean_distance_to_the_nearest_normal_rows(metric: Any, k: int) -> None:
    train, test = world()
    found = NormalDistance(normal="Good", k=k, metric=metric, false_alarms=0.2).predict(train, test)
    normal = train.values[train.labels == 1]
    used = min(k, len(normal) - 1)
    far = np.array(naive(normal, test.values, used, metric))
    even = np.quantile(naive(normal, normal, used, metric, itself=True), 0.8)
    np.testing.assert_allclose(found[:, 1], even / (far + even), rtol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1.0)
    np.testing.assert_array_equal(found[:, 0], found[:, 2])


def test_rows_that_are_not_normal_are_never_looked_at_nor_is_their_order() -> None:
    train, test = world()
    score = NormalDistance(normal="Good", metric="euclidean", scale="standard")
    expected = score.predict(train, test)
    moved = train.values.copy()
    moved[train.labels != 1] += 100.0
    np.testing.assert_array_equal(score.predict(replace(train, values=moved), test), expected)
    order = np.random.default_rng(1).permutation(len(train))
    np.testing.assert_allclose(score.predict(train.take(order), test), expected, rtol=1e-12)
    np.testing.assert_allclose(score.predict(train, test.take(order)), expected[order], rtol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1e6, width=32), min_size=2, max_size=20, unique=True), st.floats(0.01, 100.0))
def test_further_is_more_of_a_defect_whatever_the_scale(places: list[float], step: float) -> None:
    """On a line, beyond the last training row, the distance grows with the place."""
    train = embeddings(np.array([[-2.0 * step], [-step], [0.0], [-5.0 * step]]), np.array([1, 1, 1, 0]))
    test = embeddings(np.array(places)[:, None], np.zeros(len(places), np.int64))
    made = NormalDistance(normal="Good", k=2, metric="euclidean").evaluate(train, test)
    order = np.argsort(places)
    score = as_detection(made, "Good").probabilities[order, 1]
    gaps = np.diff(np.array(places, np.float32)[order].astype(float) / np.float32(step))
    # The score resolves what float64 resolves of d / (d + a).
    seen = gaps > 1e-12 * (1 + np.array(places)[order][1:] / step) ** 2
    assert (np.diff(score)[seen] > 0).all()
    assert (np.diff(score) >= -1e-15).all()
    assert ((score > 0) & (score < 1)).all()


def test_about_as_many_normal_rows_are_called_defects_as_asked() -> None:
    found = []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        train, test = (embeddings(generator.normal(size=(600, 4)), np.ones(600, np.int64)) for _ in range(2))
        scores = (NormalDistance(normal="Good", metric="euclidean", false_alarms=share) for share in (0.05, 0.5))
        found.append([(score.predict(train, test)[:, 1] < 0.5).mean() for score in scores])
    assert np.mean(found, 0) == pytest.approx([0.05, 0.5], abs=0.02)


def test_copies_of_a_row_are_neighbours_of_each_other_and_give_a_score() -> None:
    values = np.ones((12, 3))
    np.testing.assert_array_equal(without_themselves(values, 3, "euclidean"), np.zeros(12))
    train = embeddings(values, np.ones(12, np.int64))
    test = embeddings(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 2.0], [1.0, 1.0, 3.0]]), np.array([1, 0, 0]))
    score = 1 - NormalDistance(normal="Good", k=3, metric="euclidean").predict(train, test)[:, 1]
    assert score[0] == 0
    assert 0 < score[1] < score[2] < 1
    blank = np.zeros((4, 3))
    np.testing.assert_array_equal(without_themselves(blank, 2, "cosine"), np.ones(4))


def test_a_distance_without_normal_rows_is_refused() -> None:
    train, test = world()
    with pytest.raises(ValueError, match="'good', and the classes are Burnthrough, Good, Porosity"):
        NormalDistance(normal="good").predict(train, test)
    few = train.take(np.flatnonzero(train.labels != 1))
    with pytest.raises(ValueError, match="0 training row of class 'Good', at least 2"):
        NormalDistance(normal="Good").predict(few, test)
    for settings_, problem in (({"k": 0}, "at least 1"), ({"false_alarms": 1.0}, "below 1")):
        with pytest.raises(ValueError, match=problem):
            NormalDistance(normal="Good", **settings_)  # type: ignore[arg-type]


def test_hand_features_are_judged_by_the_same_distance() -> None:
    train, test = world(rows=60)
    sides = [HandFeatures(np.full((60, 2), np.nan), {"summary statistics": side}) for side in (train, test)]
    sides[0].metadata[:, 0] = np.arange(60)
    sides[1].metadata[:, 0] = np.arange(60)
    plain, asked = baselines(*sides), baselines(*sides, detection=GOOD)
    names = ["summary statistics, 5-NN distance to Good", "metadata, 5-NN distance to Good"]
    assert [made.name for made in asked] == [*(made.name for made in plain), *names]
    normal = train.values[train.labels == 1].astype(float)
    scaled = [(side - normal.mean(0)) / normal.std(0) for side in (normal, test.labelled().values)]
    far = naive(*scaled, 5, "euclidean")
    kept = test.labelled().labels != 1
    assert scores_of(as_detection(asked[-2], "Good"), "auroc") == pytest.approx(roc_auc_score(kept, far))
    alone = [replace(sides[0], sets={"summary statistics": train.take(train.labels == 1)}), sides[1]]
    alone[0] = replace(alone[0], metadata=sides[0].metadata[train.labels == 1])
    trivial = {made.name: scores_of(as_detection(made, "Good"), "auroc") for made in baselines(*alone, detection=GOOD)}
    assert {value for name, value in trivial.items() if "distance" not in name} == {0.5}
    assert trivial[names[0]] == pytest.approx(roc_auc_score(kept, far))


# Whole runs

NORMAL_ONLY = """
data:
  type: FeatureTables
  runs: runs.csv
  features:
    sound: {file: features.npz, array: sound}
    image: {file: features.npz, array: image}
  columns: {id: [run], label: category, group: [plate], metadata: [amps], names: {g: Good, p: Porosity, w: Warping}}
  views: {count: 2, modality_dropout: 0.3}
  split: {type: ByColumn, column: part, shared_groups: report}
encoders:
  sound: {type: PointwiseMLP, hidden: 32, dim: 16, dropout: 0.1}
  image: {type: PointwiseMLP, hidden: 32, dim: 16, dropout: 0.1}
objective: OBJECTIVE
trainer: {epochs: 3, batch_size: 16, monitor: {log_every: 2}}
evaluation:
  metric: auroc
  evaluators: [{type: NormalDistance, normal: Good, metric: euclidean}, {type: KNN}, {type: LinearProbe}]
  detection: {normal: Good, decides: defects}
"""


def write_normal_only(folder: Path, objective: str) -> None:
    """48 good runs to train on; validation and test have defects too, the test from plates that training knows.

    Porosity is heard, warping is seen, nothing is known of them by the current.
    """
    generator = np.random.default_rng(0)
    category = np.array([*"g" * 48, *"gppww" * 4, *"gggppwww" * 9])
    part = ["train"] * 48 + ["valid"] * 20 + ["test"] * 72
    # A test plate in three is one that training has seen.
    plate = (
        [i // 4 for i in range(48)]
        + [100 + i // 4 for i in range(20)]
        + [i % 12 if i % 3 == 0 else 200 + i // 4 for i in range(72)]
    )
    sound = generator.normal(size=(140, 5)) + 4.0 * (category == "p")[:, None]
    image = generator.normal(size=(140, 3)) + 4.0 * (category == "w")[:, None]
    image[::11] = np.nan
    np.savez(folder / "features.npz", sound=sound, image=image)
    cells = zip(range(140), category, plate, part, generator.normal(size=140), strict=True)
    rows = [f"r{i},{name},p{where},{side},{amps}" for i, name, where, side, amps in cells]
    (folder / "runs.csv").write_text("\n".join(["run,category,plate,part,amps", *rows]), encoding="utf-8")
    (folder / "recipe.yaml").write_text(NORMAL_ONLY.replace("OBJECTIVE", objective), encoding="utf-8")


@pytest.mark.parametrize("objective", ["{type: InfoNCE}", "{type: SupCon, positives: id}"])
def test_a_run_that_trains_on_normal_rows_alone(
    objective: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_normal_only(tmp_path, objective)
    checked = command("check", "recipe.yaml")
    assert "fold main: train and test share 4 of group over" in checked
    output = command("train", "recipe.yaml")
    scores = expect_run(tmp_path / "runs" / "recipe")
    name = objective.split()[1].strip(",}") + ", 5-NN distance to Good"
    assert scores["confusion"]["classes"] == ["Good", DEFECT]
    assert scores["confusion"]["evaluator"] == scores["detection"]["answer"] == name
    assert np.array(scores["confusion"]["counts"]).sum(1).tolist() == [27, 45]
    assert "Porosity" not in str(scores["rows"])
    assert scores["calibration"] == {}, "a distance is no probability"
    by_name = {row["name"]: row["scores"]["auroc"]["value"] for row in scores["rows"]}
    assert by_name["majority class"] == by_name["summary statistics, logistic regression"] == 0.5
    assert by_name[name.replace("distance to Good", "").split(",")[0] + ", logistic regression"] == 0.5
    assert by_name[name] > 0.7
    assert by_name["summary statistics, 5-NN distance to Good"] > 0.9
    assert by_name["metadata, 5-NN distance to Good"] < 0.75
    assert scores["detection"]["best"].endswith("distance to Good")
    kinds = {kind["name"]: kind for kind in scores["detection"]["classes"]}
    assert {kind: found["rows"] for kind, found in kinds.items()} == {"Porosity": 18, "Warping": 27}
    assert f"{name}, reaches {by_name[name]:.3f} [" in output
    assert f"Defect detection: AUROC {by_name[name]:.3f} [" in output
    assert f"Porosity {kinds['Porosity']['auroc']['value']:.3f} [" in output
    assert any("share 4 of group" in found for found in scores["findings"])
    page = (tmp_path / "runs" / "recipe" / "report.html").read_text(encoding="utf-8")
    section = page[page.index('<section id="detection">') :]
    assert section[: section.index("</section>")].count("<table") == 1, "the main table has the answers already"
    assert 'id="calibration"' not in page
    assert command("evaluate", "runs/recipe").split("Report:")[0] == output.split("Report:")[0]


def test_a_normal_class_that_is_none_stops_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_normal_only(tmp_path, "{type: InfoNCE}")
    with pytest.raises(ValueError, match="normal is 'good', and the classes are Good, Porosity, Warping"):
        command("train", "recipe.yaml", "--set", "evaluation.detection.normal=good")
    assert not (tmp_path / "runs").exists()
