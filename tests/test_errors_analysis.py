"""Where an answer fails and whether heads agree, against naive loops and scikit-learn."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, roc_auc_score

from counterpoint.evaluate.against_rest import against_rest
from counterpoint.evaluate.agreement import agreement, agreement_lines
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.errors import TOP, Wrong, error_analysis, error_lines, parted, write_errors, wrong_rows
from counterpoint.evaluate.results import Result
from judged_world import drawn

NAMES = tuple(f"recording {row}" for row in range(120))


def test_wrong_rows_come_the_most_confident_first_and_once_over_seeds(tmp_path: Path) -> None:
    main = [drawn(seed, classes=3) for seed in (0, 1, 2)]
    expected = []
    truth = main[0].truth
    for row in range(120):
        sure = [
            (float(one.probabilities[row].max()), int(one.probabilities[row].argmax()))
            for one in main
            if one.probabilities[row].argmax() != truth.labels[row]
        ]
        if sure:
            probability, predicted = max(sure)
            expected.append((probability, row, truth.classes[predicted], len(sure)))
    found = wrong_rows(main, NAMES)
    assert [(one.probability, one.id, one.predicted, one.wrong) for one in found] == sorted(expected, reverse=True)
    assert all(one.true == truth.classes[truth.labels[one.id]] and one.seeds == 3 for one in found)
    assert all(one.group == truth.groups[one.id] and one.name == f"recording {one.id}" for one in found)
    write_errors(tmp_path / "errors.csv", found)
    with (tmp_path / "errors.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == [one.name for one in found]
    assert tuple(lines[0]) == Wrong._fields


def test_rates_are_shares_of_wrong_rows_and_the_worst_stand_first() -> None:
    main = [replace(drawn(seed, classes=3), fold=fold) for fold in ("a", "b") for seed in (0, 1)]
    sex = np.where(np.arange(120) % 3 == 0, "f", "m")
    age = np.random.default_rng(0).normal(size=120)
    age[:10] = np.nan
    columns = {fold: {"sex": sex, "age": age} for fold in ("a", "b")}
    found = json.loads(json.dumps(error_analysis(main, NAMES, columns, resamples=200), allow_nan=False))
    parts = {part["name"]: part for part in found["parts"]}
    assert list(parts) == ["group", "domain", "age", "sex"]
    off = [one.predictions != one.truth.labels for one in main]
    assert found["rate"] == pytest.approx(np.mean(off))
    assert (found["rows"], found["answer"]) == (240, "model")
    assert found["wrong"] == 2 * int((off[0] | off[1]).sum())
    for name, key in (("sex", sex), ("domain", main[0].truth.domains.astype(str))):
        for line in parts[name]["lines"]:
            own = key == line["name"]
            assert line["value"] == pytest.approx(np.mean([one[own] for one in off]))
            assert line["rows"] == 2 * own.sum()
            assert line["low"] < line["value"] < line["high"]
    for part in parts.values():
        values = [line["value"] for line in part["lines"]]
        assert values == sorted(values, reverse=True)
        assert len(values) <= TOP
    assert all(line["low"] is None for line in parts["group"]["lines"])
    assert parts["group"]["parts"] == len(set(main[0].truth.groups.tolist()))
    assert sorted(line["rows"] for line in parts["age"]["lines"])[0] == 20
    (line,) = error_lines({"errors": found})
    told = [(name, part["lines"][0]) for name, part in parts.items()][:3]
    shares = [f"{name} {one['name']} {100 * one['value']:.0f} % of {one['rows']}" for name, one in told]
    assert line.endswith(f"worst: {', '.join(shares)}.")
    assert "sex" not in line  # the fourth part


def test_parts_of_which_all_rows_agree_have_the_exact_bound() -> None:
    labels = np.zeros(40, np.int64)
    index = np.arange(40)
    right = np.tile([0.9, 0.1], (40, 1))
    right[20:] = right[20:, ::-1]
    truth = Truth(labels, index, index // 20, index, ("a", "b"))
    found = error_analysis([Result("x", "model", right, truth)], NAMES, {}, resamples=20)
    (domains,) = found["parts"]  # every group has one row, and such parts tell nothing
    worst, best = domains["lines"]
    assert (worst["name"], worst["value"], worst["high"]) == ("1", 1.0, 1.0)
    assert (best["name"], best["value"], best["low"]) == ("0", 0.0, 0.0)
    assert best["high"] == pytest.approx(1 - 0.025 ** (1 / 20))
    assert worst["low"] == pytest.approx(0.025 ** (1 / 20))


def test_numbers_of_many_values_are_cut_into_quarters() -> None:
    values = np.array([float(k) for k in range(1, 101)] + [np.nan])
    cut = parted(values)
    assert [int((cut == name).sum()) for name in np.unique(cut[:-1])] == [25, 25, 25, 25]
    assert cut[-1] == "unknown"
    assert cut[0] == "1 to 25.75"
    assert cut[99] == "75.25 to 100"
    assert set(parted(np.array([0.0, 1.0, 1.0, np.nan]))) == {"0", "1", "unknown"}
    assert set(parted(np.array(["f", "m"]))) == {"f", "m"}


def test_a_perfect_answer_has_no_wrong_row() -> None:
    one = drawn(0)
    perfect = replace(one, probabilities=np.eye(2)[one.truth.labels])
    found = error_analysis([perfect], NAMES, {}, resamples=20)
    assert (found["wrong"], found["top"], found["rate"]) == (0, [], 0.0)
    assert error_lines({"errors": found}) == ["Wrong: 0.0 % of 120 test rows (model; all in errors.csv)."]


def test_what_is_printed_leaves_out_parts_of_one_row() -> None:
    labels, index = np.zeros(8, np.int64), np.arange(8)
    answers = np.tile([0.9, 0.1], (8, 1))
    answers[:2] = answers[:2, ::-1]
    truth = Truth(labels, index, labels, index, ("a", "b"))
    site = np.array(["lone", "north", "north", *["south"] * 5])
    found = error_analysis([Result("x", "model", answers, truth)], NAMES, {"": {"site": site}}, resamples=20)
    (part,) = found["parts"]
    assert [line["name"] for line in part["lines"]] == ["lone", "north", "south"]
    assert error_lines({"errors": found}) == [
        "Wrong: 25.0 % of 8 test rows (x; all in errors.csv); worst: site north 50 % of 2."
    ]


def test_groups_are_called_by_their_names_where_there_are_any() -> None:
    one = drawn(0)
    called = [f"patient {group}" for group in range(70)]
    wrong = wrong_rows([one], NAMES, called)
    assert {type(row.group) for row in wrong} == {str, int}
    for row in wrong:
        number = int(one.truth.groups[row.id])
        assert row.group == (called[number] if number < 70 else number)
    found = error_analysis([one], NAMES, {}, called, resamples=20)
    names = {line["name"] for part in found["parts"] if part["name"] == "group" for line in part["lines"]}
    assert names <= {*called, *map(str, range(70, 80))}
    assert names & set(called)


def test_agreement_is_that_of_sklearn_on_the_rows_both_know() -> None:
    heads = [
        drawn(0, classes=3, name="fused", strength=1.2),
        drawn(1, classes=3, name="spectra"),
        drawn(2, classes=3, name="table"),
    ]
    heads = [replace(head, seed=0) for head in heads]
    known = np.arange(120) % 4 != 0
    table = heads[2]
    kept = Truth(*(column[known] for column in table.truth[:4]), table.truth.classes)
    heads[2] = replace(table, probabilities=table.probabilities[known], truth=kept)
    found = json.loads(json.dumps(agreement(heads, resamples=200), allow_nan=False))
    assert [(pair["first"], pair["second"], pair["rows"]) for pair in found["pairs"]] == [
        ("fused", "spectra", 120),
        ("fused", "table", 90),
        ("spectra", "table", 90),
    ]
    for pair, (one, two), rows in zip(
        found["pairs"], ((0, 1), (0, 2), (1, 2)), (np.ones(120, bool), known, known), strict=True
    ):
        every = [drawn(0, classes=3, strength=1.2), drawn(1, classes=3), drawn(2, classes=3)]
        ours, theirs = (every[k].predictions[rows] for k in (one, two))
        labels, same = every[0].truth.labels[rows], ours == theirs
        assert pair["kappa"]["value"] == pytest.approx(cohen_kappa_score(ours, theirs))
        assert pair["agree"]["value"] == pytest.approx(same.mean())
        assert pair["accuracy_agree"]["value"] == pytest.approx(accuracy_score(labels[same], ours[same]))
        assert pair["first_disagree"]["value"] == pytest.approx(accuracy_score(labels[~same], ours[~same]))
        assert pair["second_disagree"]["value"] == pytest.approx(accuracy_score(labels[~same], theirs[~same]))
        assert pair["kappa"]["low"] < pair["kappa"]["value"] < pair["kappa"]["high"]
    accuracy = accuracy_score(heads[2].truth.labels, heads[2].predictions)
    assert found["heads"][2] == {"name": "table", "accuracy": found["heads"][2]["accuracy"]}
    assert found["heads"][2]["accuracy"]["value"] == pytest.approx(accuracy)
    assert len(agreement_lines({"agreement": found})) == 3
    assert agreement(heads[:1]) == {}
    assert agreement_lines({"agreement": {}}) == []


def test_heads_that_always_say_one_thing_have_no_kappa() -> None:
    one = drawn(0)
    same = replace(one, probabilities=np.tile([0.9, 0.1], (120, 1)))
    (pair,) = agreement([replace(same, name="a"), replace(same, name="b")], resamples=20)["pairs"]
    assert (pair["kappa"]["value"], pair["agree"]["value"]) == (None, 1.0)
    assert pair["first_disagree"]["value"] is None
    assert "kappa undefined" in agreement_lines({"agreement": {"pairs": [pair]}})[0]


def test_each_class_stands_against_the_rest_as_in_sklearn() -> None:
    main = [drawn(seed, classes=3) for seed in (0, 1)]
    found = json.loads(json.dumps(against_rest(main, 0.1, resamples=200), allow_nan=False))
    labels = main[0].truth.labels
    areas = []
    for k, line in enumerate(found["classes"]):
        areas.append(np.mean([roc_auc_score(labels == k, one.probabilities[:, k]) for one in main]))
        assert line["auroc"]["value"] == pytest.approx(areas[-1])
        silent = [np.mean(one.predictions[labels != k] != k) for one in main]
        assert line["specificity"]["value"] == pytest.approx(np.mean(silent))
        recalls = []
        for one in main:
            cuts = np.unique(one.probabilities[:, k])
            called = one.probabilities[None, :, k] >= cuts[:, None]
            allowed = called[:, labels != k].mean(1) <= 0.1
            recalls.append(called[allowed][:, labels == k].mean(1).max())
        assert line["recall_at_fpr"]["value"] == pytest.approx(np.mean(recalls))
        assert line["auprc"]["low"] < line["auprc"]["value"] < line["auprc"]["high"]
    assert found["average"]["auroc"]["value"] == pytest.approx(np.mean(areas))
    assert found["average"]["auroc"]["groups"] == len(set(main[0].truth.groups.tolist()))
    lacking = replace(main[0], truth=main[0].truth._replace(labels=np.minimum(labels, 1)))
    absent = against_rest([lacking], 0.1, resamples=20)["classes"][2]
    assert (absent["auroc"]["value"], absent["recall_at_fpr"]["value"]) == (None, None)
    assert absent["specificity"]["value"] is not None
