"""Answers by group, thresholds, errors and agreement through a run, its files, its report and its refusals."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from counterpoint import run
from counterpoint.analyses import KEYS, check, head_results
from counterpoint.evaluate.by_group import ByGroup, pooled
from counterpoint.evaluate.detection import Detection
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.results import Result, load_results
from counterpoint.evaluate.threshold import Threshold, choose
from counterpoint.evaluate.verdict import OWN_HEAD
from counterpoint.evaluation import Evaluation
from counterpoint.report import write_report
from counterpoint.scores import summarise
from judged_world import FOLDS, SEEDS, recipe
from report_run import Page, write_run
from spectra_world import PATIENTS, SCANS
from toys import ToneData

ANSWER = f"WeightedSum{OWN_HEAD}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder, and what was printed."""
    folder = tmp_path_factory.mktemp("analyses")
    return folder / "run", run.train(recipe(folder), folder / "run")


def scores(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    return found


def kept(folder: Path, name: str) -> list[Result]:
    """What the cells keep under a name, of the main answer or of heads."""
    cells = [f"{fold}-seed{seed}" for fold in range(FOLDS) for seed in SEEDS]
    paths = sorted(folder.glob(f"cells/*/{name}.parquet"))
    assert len(paths) == len(cells)
    return [result for path in paths for result in load_results(path)]


def test_groups_are_those_of_the_predictions_and_every_baseline_has_them(made: tuple[Path, str]) -> None:
    folder, told = made
    found = scores(folder)["by_group"]
    main = [result for result in kept(folder, "predictions") if result.name == ANSWER]
    groups, left = pooled(main, "mean")
    recalls = [[(r.predictions[r.truth.labels == k] == k).mean() for k in (0, 1)] for r in groups]
    table = {row["name"]: row["scores"] for row in found["rows"]}
    assert table[ANSWER]["balanced_accuracy"]["value"] == pytest.approx(np.mean(recalls))
    assert (found["groups"], found["left_out"], left) == (PATIENTS, 0, 0)
    assert set(table) == {row["name"] for row in scores(folder)["rows"]}
    assert {"majority class", "spectra, PLS-DA", "table, gradient boosting"} <= set(table)
    by_row = next(row["scores"] for row in scores(folder)["rows"] if row["name"] == ANSWER)
    assert found["by_row"]["value"] == by_row["balanced_accuracy"]["value"]
    assert f"By group (the mean of its rows, {PATIENTS} groups): balanced accuracy" in told


def test_thresholds_are_those_of_the_validation_rows_of_each_cell(made: tuple[Path, str]) -> None:
    folder, told = made
    found = scores(folder)["threshold"]
    valid = kept(folder, "validation")
    assert {result.name for result in valid} == {ANSWER}
    asked = Threshold(criterion="recall_at_fpr", fpr=0.2)
    expected = {(one.fold, one.seed): choose(asked, one.probabilities[:, 1], one.truth.labels == 1) for one in valid}
    assert {(cell["fold"], cell["seed"]): cell["threshold"] for cell in found["cells"]} == expected
    tested = {(r.fold, r.seed): set(r.truth.groups.tolist()) for r in kept(folder, "predictions") if r.name == ANSWER}
    for one in valid:
        assert not tested[one.fold, one.seed] & set(one.truth.groups.tolist())
    assert "by recall_at_fpr on validation rows" in told


def test_errors_are_all_in_a_file_and_told_apart_by_the_table(made: tuple[Path, str]) -> None:
    folder, told = made
    found = scores(folder)["errors"]
    with (folder / "errors.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == found["wrong"] > 0
    assert [line["name"] for line in lines[: len(found["top"])]] == [one["name"] for one in found["top"]]
    assert all(re.fullmatch(r"P10\d\d", line["name"]) for line in lines)
    assert found["rows"] == PATIENTS * SCANS
    parts = {part["name"]: {line["name"]: line for line in part["lines"]} for part in found["parts"]}
    assert set(parts["table, Sex"]) == {"f", "m", "unknown"}
    assert parts["table, Sex"]["unknown"]["rows"] == SCANS
    assert sum(line["rows"] for line in parts["table, Age"].values()) == PATIENTS * SCANS
    # Every patient brings as many scans, so the number of them parts no row from another.
    assert "number of scans" not in parts
    told_rows = pq.read_table(folder / "predictions.parquet", columns=["recording", "group_name"]).to_pylist()
    assert told_rows
    assert all(row["group_name"] == row["recording"] for row in told_rows)
    assert {line["group"] for line in lines} <= {line["name"] for line in lines}
    assert "all in errors.csv" in told


def test_heads_are_compared_by_the_names_of_their_terms(made: tuple[Path, str]) -> None:
    folder, told = made
    found = scores(folder)["agreement"]
    assert [head["name"] for head in found["heads"]] == ["fused", "spectra", "table"]
    heads = kept(folder, "heads")
    fused, spectra = ([one for one in heads if one.name == name] for name in ("fused", "spectra"))
    same = [(one.predictions == two.predictions).mean() for one, two in zip(fused, spectra, strict=True)]
    (pair,) = [p for p in found["pairs"] if (p["first"], p["second"]) == ("fused", "spectra")]
    assert pair["agree"]["value"] == pytest.approx(np.mean(same))
    own = [one for one in kept(folder, "predictions") if one.name == ANSWER]
    for head, answer in zip(fused, own, strict=True):
        np.testing.assert_allclose(head.probabilities, answer.probabilities, atol=1e-6)
    assert "fused and spectra agree on" in told


def test_the_page_has_a_section_each_and_the_verdict_knows_the_new_baselines(made: tuple[Path, str]) -> None:
    folder, told = made
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert set(KEYS) <= set(Page(page).ids)
    found = scores(folder)
    simple = {
        row["name"]: row["scores"]["balanced_accuracy"]["value"] for row in found["rows"] if row["kind"] == "baseline"
    }
    best = max(simple, key=lambda name: simple[name])
    assert best.startswith(("spectra", "table"))
    assert f"The best baseline, {best}, reaches" in told
    for top in found["errors"]["top"]:
        assert f'<th scope="row">{top["name"]}</th>' in page
    rest = found["per_class"]["against_rest"]
    assert rest["fpr"] == 0.2
    assert "recall at 20 % false positives" in page
    assert f'<data value="{rest["classes"][0]["auroc"]["value"]}">' in page


def test_scored_again_a_run_says_the_same(made: tuple[Path, str]) -> None:
    folder, _ = made
    before = scores(folder)
    wrong = (folder / "errors.csv").read_bytes()
    run.evaluate(folder)
    after = scores(folder)
    assert {key: after[key] for key in KEYS} == {key: before[key] for key in KEYS}
    assert (folder / "errors.csv").read_bytes() == wrong


def test_without_validation_rows_a_threshold_is_refused_before_training(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"evaluation.threshold: the validation rows of fold .* are 0 CTRL, 0 DM"):
        run.train(recipe(tmp_path, valid=0.0), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class Tones(ToneData):
    """Tones of three classes."""

    def __init__(self, classes: tuple[str, ...] = ("a", "b", "c"), /) -> None:
        super().__init__()
        self.classes = classes


def test_three_classes_have_a_threshold_where_defects_decide() -> None:
    defects = Detection(normal="a", decides="defects")
    with pytest.raises(ValueError, match="of two classes and there are a, b, c"):
        check(Evaluation(threshold=Threshold()), Tones())
    with pytest.raises(ValueError, match="of two classes and there are a, b, c"):
        check(Evaluation(threshold=Threshold(), detection=replace(defects, decides="classes")), Tones())
    check(Evaluation(threshold=Threshold(), detection=defects, by_group=ByGroup()), Tones())


def test_a_head_that_knows_nothing_of_a_row_says_nothing_of_it() -> None:
    index, labels = np.arange(4), np.array([0, 1, -1, 1])
    test = Embeddings(np.zeros((4, 1), np.float32), labels, index, index, index, ("a", "b"), tuple("wxyz"))
    every = np.tile([0.2, 0.8], (4, 1))
    some = every.copy()
    some[1] = np.nan
    first, second = head_results({"fused": every, "table": some}, test, test.truth, "one", 3)
    assert first.truth.ids.tolist() == [0, 1, 3]
    assert second.truth.ids.tolist() == [0, 3]
    assert (second.name, second.fold, second.seed) == ("table", "one", 3)
    assert head_results({"": every}, test, test.truth, "one", 3) == []


def test_a_page_without_analyses_leaves_their_sections_out_and_hostile_names_stay_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path, rows=60)
    assert not set(KEYS) & set(Page(write_report(folder).read_text(encoding="utf-8")).ids)
    hostile = "<img src=x onerror=alert(1)>"
    told = scores(folder)
    row = {"name": hostile, "group": 1, "fold": "a", "true": "x", "predicted": "y"}
    row |= {"probability": 0.9, "wrong": 1, "seeds": 2}
    part = {"name": hostile, "parts": 30, "lines": [{"name": hostile, "rows": 3, "groups": 1, "value": 0.5}]}
    told["errors"] = {"answer": "x", "rows": 9, "wrong": 3, "rate": 0.25, "top": [row], "parts": [part]}
    told |= {"by_group": {}, "threshold": {}, "agreement": {}}
    (folder / "scores.json").write_text(json.dumps(told), encoding="utf-8")
    page = write_report(folder).read_text(encoding="utf-8")
    assert hostile not in page
    assert "the worst 1 of 30" in page
    assert set(KEYS) & set(Page(page).ids) == {"errors"}


def test_a_run_in_which_nothing_is_labelled_has_every_key(tmp_path: Path) -> None:
    assert {key: summarise(recipe(tmp_path), [], [])[key] for key in KEYS} == {key: {} for key in KEYS}
