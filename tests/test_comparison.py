"""Runs compared: shared rows, paired tests against a naive bootstrap, pictures and a page that a browser opens."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score
from typer.testing import CliRunner

from browser import BINARY, Browser
from counterpoint.cli import app
from counterpoint.comparison import compare
from counterpoint.comparison.entrants import enter
from counterpoint.comparison.scoring import holm, judge
from counterpoint.comparison.sharing import share
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import _draws, _tail
from counterpoint.evaluate.results import Result
from counterpoint.products.predictions import gather, recording_names, write_predictions
from counterpoint.report.folder import read_run
from judged_run import BASELINE, FOLDS, MAIN, write_judged
from report_run import CLASSES, HOSTILE, Page

SKILLS = {"strong": 2.5, "weak": 0.9, "odd": 1.0}
METRICS = ("balanced_accuracy", "macro_f1")


def predict(folder: Path, results: list[Result] | None = None, names: Any = None) -> Path:
    """Write the predictions of a run, changed or as its cells have them."""
    names = names or recording_names(read_run(folder).cells[0])
    write_predictions(folder, results or gather(folder), names)
    return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("runs")
    made = [write_judged(home / name, skill, (0,) if name == "odd" else (0, 1)) for name, skill in SKILLS.items()]
    return [predict(folder) for folder in made]


@pytest.fixture(scope="module")
def compared(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("out") / "compared"
    return out, compare(runs, out)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def mains(folder: Path) -> list[Result]:
    return [one for one in gather(folder) if one.name == MAIN]


def naive(ours: list[Result], theirs: list[Result], resamples: int) -> tuple[float, np.ndarray[Any, Any]]:
    """Balanced accuracy of ours minus theirs: of all rows, and of each draw of groups, row by row."""
    groups = np.unique(np.concatenate([one.truth.groups for one in ours]))

    def mean(side: list[Result], counts: np.ndarray[Any, Any]) -> float:
        scores, weights = [], []
        for one in side:
            drawn = counts[np.searchsorted(groups, one.truth.groups)].astype(int)
            rows = np.repeat(np.arange(len(drawn)), drawn)
            if len(rows):
                own = np.searchsorted(groups, np.unique(one.truth.groups))
                present = np.isin(one.truth.labels[rows], one.truth.labels[rows])
                recalls = [
                    (one.predictions[rows][one.truth.labels[rows] == k] == k).mean()
                    for k in np.unique(one.truth.labels[rows][present])
                ]
                scores.append(float(np.mean(recalls)))
                weights.append(counts[own].mean())
        return float(np.average(scores, weights=weights))

    whole = np.ones(len(groups))
    (draws,) = list(_draws(len(groups), resamples, 0))
    return mean(ours, whole) - mean(theirs, whole), np.array([mean(ours, c) - mean(theirs, c) for c in draws])


def test_paired_differences_are_those_of_a_naive_bootstrap(runs: list[Path], compared: tuple[Path, str]) -> None:
    pairs = table(compared[0] / "paired_differences.csv")
    assert [(p["metric"], p["first"], p["second"]) for p in pairs] == [
        (metric, first, second)
        for metric in METRICS
        for first, second in (("strong", "weak"), ("strong", "odd"), ("weak", "odd"))
    ]
    by_name = dict(zip(SKILLS, runs, strict=True))
    for pair in pairs[1:3]:
        value, drawn = naive(mains(by_name[pair["first"]]), mains(by_name[pair["second"]]), 1000)
        assert float(pair["value"]) == pytest.approx(value)
        tail = _tail(45)
        assert [float(pair["low"]), float(pair["high"])] == pytest.approx(np.quantile(drawn, [tail, 1 - tail]))
        p, low, high = (float(pair[end]) for end in ("p", "low", "high"))
        assert (p < 0.05) == (low > 0 or high < 0)
        least = min((drawn <= 0).sum(), (drawn >= 0).sum())
        assert p == pytest.approx(2 * (least + 1) / 1001, abs=0.05)


def test_scores_are_those_of_sklearn_and_ranked(runs: list[Path], compared: tuple[Path, str]) -> None:
    lines = table(compared[0] / "model_comparison.csv")
    assert list(lines[0]) == [
        *("run", "answer", "kind", "metric", "value", "low", "high", "spread", "chance", "groups", "rank")
    ]
    found = {(line["run"], line["answer"], line["metric"]): line for line in lines}
    for name, folder in zip(SKILLS, runs, strict=True):
        line = found[name, MAIN, "balanced_accuracy"]
        by_hand = [balanced_accuracy_score(one.truth.labels, one.predictions) for one in mains(folder)]
        assert float(line["value"]) == pytest.approx(np.mean(by_hand))
        assert found[name, BASELINE, "balanced_accuracy"]["rank"] == ""
        assert bool(line["spread"]) == (name != "odd")
    values = {name: float(found[name, MAIN, "brier"]["value"]) for name in SKILLS}
    ranks = {name: int(found[name, MAIN, "brier"]["rank"]) for name in SKILLS}
    assert sorted(SKILLS, key=lambda name: values[name]) == sorted(SKILLS, key=lambda name: ranks[name])


def test_what_is_printed_says_who_is_better_and_who_is_not_told_apart(compared: tuple[Path, str]) -> None:
    _, text = compared
    assert re.search(r"balanced accuracy: strong is better than weak \(strong minus weak: \+0\.\d+", text)
    assert re.search(r"balanced accuracy: (weak|odd) and (weak|odd) are not told apart", text)
    assert "strong has the best balanced accuracy" in text
    assert "On 270 shared rows of 60 recordings and 45 groups" in text


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=8))
def test_holm_is_the_definition(levels: list[float]) -> None:
    order = np.argsort(levels, kind="stable")
    expected = np.empty(len(levels))
    for rank, place in enumerate(order):
        expected[place] = max(min(1.0, (len(levels) - k) * levels[order[k]]) for k in range(rank + 1))
    np.testing.assert_allclose(holm(levels), expected)
    with_unknown = holm([*levels, float("nan")])
    np.testing.assert_allclose(with_unknown[:-1], expected)
    assert np.isnan(with_unknown[-1])


def test_only_rows_that_all_have_are_compared(runs: list[Path], tmp_path: Path) -> None:
    """One run lacks a fold and a recording, another cuts a recording into more rows, in another order of classes."""
    first = write_judged(tmp_path / "first", 2.5)
    results = []
    for one in gather(first):
        kept = one.truth.ids != 4
        columns = [column[kept] for column in one.truth[:4]]
        results.append(replace(one, probabilities=one.probabilities[kept], truth=Truth(*columns, one.truth.classes)))
    predict(first, [one for one in results if one.fold != "load 2"])
    second = write_judged(tmp_path / "second", 0.9)
    turned = []
    for one in gather(second):
        rows = np.r_[np.argsort(-one.truth.ids, kind="stable"), 0]
        columns = [column[rows] for column in one.truth[:3]]
        truth = Truth(
            (columns[0] + 1) % 3, columns[1] + 100, columns[2], one.truth.ids[rows], (*CLASSES[2:], *CLASSES[:2])
        )
        turned.append(replace(one, probabilities=np.roll(one.probabilities[rows], 1, 1), truth=truth))
    predict(second, turned)
    shared = share(enter([runs[0], first, second]))
    # Recording 4 is lacked by one, recording 0 cut otherwise by another; both have one or two rows.
    _, sizes = np.unique(np.arange(90) * 2 // 3, return_counts=True)
    assert shared.rows == 2 * (90 - sizes[4] - sizes[0])
    assert (shared.recordings, shared.folds) == (58, ["load 0", "load 1"])
    assert shared.left_out == [270 - shared.rows, 2 * (90 - sizes[4]) - shared.rows, 273 - shared.rows]
    told = dict(zip(("ours", "first", "second"), shared.results, strict=True))
    for fold in shared.folds:
        ours, other = (next(r for r in told[name] if (r.name, r.fold) == (MAIN, fold)) for name in ("ours", "second"))
        np.testing.assert_array_equal(ours.truth.labels, other.truth.labels)
        np.testing.assert_array_equal(ours.truth.groups, other.truth.groups)
        # The same rows, as the other run has them.
        whole = next(r for r in gather(second) if (r.name, r.fold, r.seed) == (MAIN, fold, other.seed))
        kept = np.flatnonzero(~np.isin(whole.truth.ids, (0, 4)))
        names = np.array(recording_names(read_run(second).cells[0]), object)[whole.truth.ids[kept]]
        order = np.argsort(names.astype(str), kind="stable")
        by_recording = whole.probabilities[kept][order]
        np.testing.assert_allclose(other.probabilities, by_recording)
    assert judge(shared).metrics == METRICS


def changed(folder: Path, **values: Any) -> list[Result]:
    return [
        replace(one, truth=one.truth._replace(**{k: v(one.truth) for k, v in values.items()})) for one in gather(folder)
    ]


def test_what_cannot_be_compared_is_refused_with_the_reason(runs: list[Path], tmp_path: Path) -> None:
    other = write_judged(tmp_path / "other", 1.0)
    with pytest.raises(ValueError, match=r"predictions\.parquet: missing; `counterpoint report"):
        compare([runs[0], other], tmp_path / "out")
    predict(other, changed(other, classes=lambda truth: ("a", *truth.classes[1:])))
    with pytest.raises(ValueError, match="it lacks normal and has a beside them"):
        compare([runs[0], other], tmp_path / "out")
    predict(other, names=[f"x{k}" for k in range(60)])
    with pytest.raises(ValueError, match=r"share no test row: .*strong tests load 0, load 1, load 2; other tests"):
        compare([runs[0], other], tmp_path / "out")
    predict(other, changed(other, labels=lambda truth: np.where(truth.ids == 7, (truth.labels + 1) % 3, truth.labels)))
    with pytest.raises(ValueError, match="labelled otherwise in other than in strong"):
        compare([runs[0], other], tmp_path / "out")
    predict(other, changed(other, groups=lambda truth: truth.groups // 2))
    with pytest.raises(ValueError, match="other keeps other recordings together than strong"):
        compare([runs[0], other], tmp_path / "out")
    for wrong in ([runs[0]], [runs[0], runs[0]], []):
        with pytest.raises(ValueError, match="two different runs or more"):
            compare(wrong, tmp_path / "out")
    with pytest.raises(ValueError, match=r"no scores\.json"):
        compare([runs[0], tmp_path], tmp_path / "out")
    scores = json.loads((other / "scores.json").read_text(encoding="utf-8"))
    (other / "scores.json").write_text(json.dumps(scores | {"confusion": {}}), encoding="utf-8")
    with pytest.raises(ValueError, match="it classifies nothing"):
        compare([runs[0], other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_pictures_stand_by_themselves(compared: tuple[Path, str]) -> None:
    folder, _ = compared
    names = {path.name for path in folder.glob("*.svg")}
    assert names == {"roc.svg", "precision_recall.svg", *(f"bars_{metric}.svg" for metric in METRICS)}
    for name in names:
        text = (folder / name).read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        words = " ".join(root.itertext())
        assert all(run in words for run in SKILLS), name
        assert "url(" not in text
        assert "var(" not in text
    bars = ElementTree.parse(folder / "bars_balanced_accuracy.svg").getroot()
    widths = [float(node.get("width", "nan")) for node in bars.iter("{http://www.w3.org/2000/svg}rect")]
    lines = [line for line in table(folder / "model_comparison.csv") if line["metric"] == "balanced_accuracy"]
    assert widths == pytest.approx([384 * float(line["value"]) for line in lines], abs=0.2)


def test_the_page_holds_every_number_and_no_stranger(compared: tuple[Path, str]) -> None:
    text = (compared[0] / "comparison.html").read_text(encoding="utf-8")
    page = Page(text)
    wanted = ["verdict", "scores", "differences", "bars", "ranking", "rows"]
    assert [name for name in page.ids if name in wanted] == wanted
    assert len(page.ids) == len(set(page.ids))
    for tag, name, value in page.attributes:
        if name in ("src", "srcset", "action", "data", "href"):
            assert value.startswith(("#", "data:")), (tag, name, value)
    scores = text[text.index('<section id="scores">') : text.index('<section id="differences">')]
    shown = [float(value) for value in re.findall(r'<td class="num[^>]*>\s*<data value="([^"]+)"', scores)]
    lines = table(compared[0] / "model_comparison.csv")
    metrics = list(dict.fromkeys(["balanced_accuracy", *(line["metric"] for line in lines)]))
    answers = list(dict.fromkeys((line["run"], line["answer"]) for line in lines))
    value = {(line["run"], line["answer"], line["metric"]): float(line["value"]) for line in lines}
    assert shown[: len(value)] == [value[*answer, metric] for answer in answers for metric in metrics]


@pytest.mark.skipif(not BINARY, reason="no Chromium on this machine; apt-get install chromium")
def test_browser_opens_the_comparison(runs: list[Path], tmp_path: Path) -> None:
    evil = write_judged(tmp_path / HOSTILE.replace("/", "_")[:60], 1.2)
    compare([*runs, predict(evil)], tmp_path / "out")
    page = tmp_path / "out" / "comparison.html"
    with Browser(tmp_path / "profile") as browser:
        for width, scheme in ((390, "dark"), (1280, "light")):
            browser.open(page, width=width, scheme=scheme)
            assert browser.run("document.documentElement.scrollWidth") <= width
            drawn = "[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)"
            assert all(height > 0 for height in browser.run(drawn))
        assert browser.run("document.querySelectorAll('figure svg').length") == 4
        assert browser.run("[...document.querySelectorAll('figure svg')].every(s => s.querySelector('path, rect'))")
        key = "dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowRight'}))"
        browser.run(f"document.querySelector('[data-chart]').{key}")
        assert browser.run("document.getElementById('tip').textContent").startswith("false positive rate 0\n")
        assert browser.complaints() == []
        assert set(browser.requests()) == {page.resolve().as_uri()}


def test_runs_that_judge_groups_are_compared_by_group(tmp_path: Path) -> None:
    folders = [predict(write_judged(tmp_path / name, skill)) for name, skill in (("a", 2.0), ("b", 0.5))]
    for folder in folders:
        # A group has one class.
        predict(folder, changed(folder, labels=lambda truth: truth.groups % 3))
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        pooling = {"by_group": {"how": "mean", "decides": "groups"}}
        (folder / "scores.json").write_text(json.dumps(scores | pooling), encoding="utf-8")
    shared = share(enter(folders))
    assert (shared.judged, shared.rows, shared.groups) == ("group", 270, 45)
    for one in shared.results[0]:
        assert len(one.truth.labels) == len(np.unique(one.truth.groups)) == 15
    (folders[1] / "scores.json").write_text(json.dumps(scores | {"by_group": {}}), encoding="utf-8")
    assert share(enter(folders)).judged == "row"


def test_commands_write_report_and_comparison(tmp_path: Path) -> None:
    folders = [write_judged(tmp_path / name, skill) for name, skill in (("a", 2.0), ("b", 1.0))]
    for folder in folders:
        told = CliRunner().invoke(app, ["report", str(folder)])
        assert told.exit_code == 0, told.output
        products = ("report.html", "model_card.md", "predictions.parquet", "metrics.json", "metrics.csv", "curves.json")
        assert all((folder / name).is_file() for name in products)
    told = CliRunner().invoke(app, ["compare", *map(str, folders), "--out", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    assert f"Page: {tmp_path / 'out' / 'comparison.html'}" in told.output.replace("\n", "")
    refused = CliRunner().invoke(app, ["compare", str(folders[0]), "--out", str(tmp_path / "none")])
    assert (refused.exit_code, refused.output.count("two different runs or more")) == (1, 1)
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 1


def test_folds_are_named(compared: tuple[Path, str]) -> None:
    assert all(fold in compared[1] for fold in FOLDS)
