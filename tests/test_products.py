"""Products of a run: predictions, tables and pictures, each against an independent reference."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from counterpoint.evaluate.curves import GRID, curves, histograms
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.intervals import _draws, _tail, combine
from counterpoint.evaluate.projection import layouts, tsne
from counterpoint.evaluate.regression import Estimated, Targets, save_estimates
from counterpoint.evaluate.results import Result
from counterpoint.products import write_products
from counterpoint.products.predictions import gather, gather_estimates, occurrence, read_predictions
from counterpoint.report import write_report
from counterpoint.report.embedding_map import LAYOUTS, chosen, embedding_map, kept_layouts
from counterpoint.report.folder import read_run
from judged_run import BASELINE, FOLDS, MAIN, UNTRAINED, truth, write_judged
from report_run import CLASSES, HOSTILE

Float = Any


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_judged(tmp_path_factory.mktemp("runs") / "judged")
    write_products(folder)
    return folder


def binary(rng: np.random.Generator, rows: int = 60, groups: int = 8) -> Result:
    labels = rng.integers(0, 2, rows)
    positive = np.round(np.clip(0.3 * labels + rng.random(rows) * 0.7, 0, 1), 1)
    owners = rng.integers(0, groups, rows)
    known = Truth(labels, owners, owners, np.arange(rows), ("no", "yes"))
    return Result("it", "model", np.stack([1 - positive, positive], 1), known, (), "a", 0)


def reference(labels: Float, scores: Float) -> tuple[Float, Float]:
    """Heights of both curves on the grid by scikit-learn; NaN where it is undefined."""
    grid = np.linspace(0, 1, GRID)
    if labels.min() == labels.max():
        return np.full(GRID, np.nan), np.full(GRID - 1, np.nan if labels.max() == 0 else 1.0)
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    precision, recall, _ = precision_recall_curve(labels, scores)
    heights = [precision[np.flatnonzero(recall >= level - 1e-9)[-1]] for level in grid[1:]]
    return np.interp(grid, false, true), np.array(heights)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(6, 80))
@example(7, 6)  # no draw of groups has both sides
def test_curves_are_those_of_sklearn(seed: int, rows: int) -> None:
    one = binary(np.random.default_rng(seed), rows)
    labels, scores = one.truth.labels, one.probabilities[:, 1]
    found = curves([one], resamples=2)
    if labels.min() == labels.max():
        assert found == {}
        return
    roc, pr = reference(labels, scores)
    np.testing.assert_allclose(found["roc"]["y"], roc, atol=1e-5)
    np.testing.assert_allclose(found["pr"]["y"], pr, atol=1e-5)
    assert found["roc"]["x"] == pytest.approx(np.linspace(0, 1, GRID))


def test_the_area_under_a_mean_curve_is_the_score_of_the_table(run: Path) -> None:
    results = [one for one in gather(run) if one.name == MAIN]
    assert len(results) == 6
    found = curves(results, resamples=2)
    area = combine([one.statistics()["auroc"] for one in results]).value
    assert np.trapezoid(found["roc"]["y"], found["roc"]["x"]) == pytest.approx(area, abs=0.004)
    precision = combine([one.statistics()["auprc"] for one in results]).value
    assert np.mean(found["pr"]["y"]) == pytest.approx(precision, abs=0.01)
    by_hand = np.mean(
        [[roc_auc_score(one.truth.labels == k, one.probabilities[:, k]) for k in range(3)] for one in results]
    )
    assert area == pytest.approx(by_hand)
    every = [
        [average_precision_score(one.truth.labels == k, one.probabilities[:, k]) for k in range(3)] for one in results
    ]
    assert precision == pytest.approx(np.mean(every))


def test_the_band_is_that_of_rows_drawn_by_group() -> None:
    one = binary(np.random.default_rng(3), 80, 6)
    found = curves([one], resamples=50, seed=5)
    groups = np.unique(one.truth.groups)
    drawn: list[Float] = []
    for counts in next(iter(_draws(len(groups), 50, 5))):
        rows = np.repeat(np.arange(80), counts.astype(int)[np.searchsorted(groups, one.truth.groups)])
        drawn.append(reference(one.truth.labels[rows], one.probabilities[rows, 1])[0])
    low, high = np.nanquantile(drawn, [_tail(len(groups)), 1 - _tail(len(groups))], axis=0)
    np.testing.assert_allclose(found["roc"]["low"], low, atol=1e-5)
    np.testing.assert_allclose(found["roc"]["high"], high, atol=1e-5)


def test_one_group_has_a_curve_and_no_band() -> None:
    one = binary(np.random.default_rng(1), 40, 1)
    found = curves([one])
    assert set(found["roc"]["low"]) == {None}
    assert None not in found["roc"]["y"]


def test_histograms_count_every_row_once() -> None:
    rng = np.random.default_rng(0)
    results = [binary(rng), binary(rng)]
    (one,) = histograms(results)
    scores = np.concatenate([r.probabilities[:, 1] for r in results])
    labels = np.concatenate([r.truth.labels for r in results])
    assert (one["name"], one["rows"]) == ("yes", int(labels.sum()))
    assert sum(one["own"]) == pytest.approx(1)
    expected = [((scores[labels == 1] >= k / 20) & (scores[labels == 1] < (k + 1) / 20)).mean() for k in range(3)]
    assert one["own"][:3] == pytest.approx(expected)


def test_predictions_have_a_row_an_answer_fold_seed_and_test_row(run: Path) -> None:
    table = pq.read_table(run / "predictions.parquet")
    frame = table.to_pydict()
    rows = 90
    assert len(table) == rows * len(FOLDS) * (1 + 2 + 2)
    assert list(frame)[:11] == [
        *("answer", "kind", "fold", "seed", "split", "recording", "row", "group", "domain", "true", "predicted")
    ]
    assert list(frame)[11:] == [f"p_{name}" for name in CLASSES]
    assert set(frame["split"]) == {"test"}
    seeds = {(answer, seed) for answer, seed in zip(frame["answer"], frame["seed"], strict=True)}
    assert seeds == {(BASELINE, None), (MAIN, 0), (MAIN, 1), (UNTRAINED, 0), (UNTRAINED, 1)}
    assert HOSTILE in frame["recording"]
    first = [
        k for k in range(len(table)) if (frame["answer"][k], frame["fold"][k], frame["seed"][k]) == (MAIN, "load 1", 1)
    ]
    known = truth("load 1")
    assert [frame["true"][k] for k in first] == [CLASSES[label] for label in known.labels]
    assert [frame["group"][k] for k in first] == known.groups.tolist()
    best = [max(range(3), key=lambda c: (frame[f"p_{CLASSES[c]}"][k], -c)) for k in first]
    assert [frame["predicted"][k] for k in first] == [CLASSES[c] for c in best]


def test_predictions_read_back_are_the_same(run: Path) -> None:
    told = {(t.result.name, t.result.fold, t.result.seed): t for t in read_predictions(run)}
    results = gather(run)
    assert len(told) == len(results)
    for one in results:
        back = told[one.name, one.fold, one.seed]
        np.testing.assert_array_equal(back.result.probabilities, one.probabilities)
        np.testing.assert_array_equal(back.result.truth.labels, one.truth.labels)
        np.testing.assert_array_equal(back.result.truth.groups, one.truth.groups)
        assert back.result.kind == one.kind
        assert len(set(zip(back.recordings, back.rows.tolist(), strict=True))) == len(one.truth.labels)
    assert {t.result.name for t in read_predictions(run, [BASELINE])} == {BASELINE}
    with pytest.raises(ValueError, match="counterpoint report"):
        read_predictions(run / "cells")


@given(st.lists(st.integers(0, 6), max_size=40))
def test_rows_of_a_recording_are_counted(ids: list[int]) -> None:
    assert occurrence(np.array(ids, np.int64)).tolist() == [ids[:k].count(one) for k, one in enumerate(ids)]


def test_metrics_are_those_of_the_scores(run: Path) -> None:
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    told = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(told["scores"])
    assert (told["main"], told["metric"]) == (MAIN, scores["metric"])
    for row in scores["rows"]:
        for metric, score in row["scores"].items():
            (line,) = [
                one
                for one in lines
                if (one["table"], one["answer"], one["metric"]) == ("all folds", row["name"], metric)
            ]
            for end in ("value", "low", "high", "spread", "chance"):
                assert (float(line[end]) if line[end] else None) == score[end], (metric, end)
            assert int(line["groups"]) == score["groups"]
    assert {one["table"] for one in lines} == {"all folds", *(f"fold {fold}" for fold in FOLDS)}


def test_layouts_are_kept_and_made_anew_of_other_embeddings(tmp_path: Path) -> None:
    folder = write_judged(tmp_path / "run")
    write_products(folder)
    cell = read_run(folder).cells[0]
    shown = chosen(cell)
    kept = kept_layouts(cell, shown)
    assert set(kept) == set(layouts()) >= {"tsne"}
    assert kept["tsne"].shape == (len(shown.kept), 2)
    np.testing.assert_allclose(kept["tsne"], tsne(shown.values[shown.kept]))
    before = (cell.path / LAYOUTS).stat().st_mtime_ns
    write_products(folder)
    assert (cell.path / LAYOUTS).stat().st_mtime_ns == before
    drawn = embedding_map(cell)
    assert list(drawn.facts["places"]) == ["pca", *kept]
    for places in drawn.facts["places"].values():
        flat = np.array(places)
        assert (flat >= 0).all()
        assert (flat[:, 0] <= 560).all()
        assert (flat[:, 1] <= drawn.height).all()
    other = Embeddings.load(cell.path / "embeddings" / "train")
    Embeddings(other.values[::-1].copy(), *other.truth[:4], other.classes, other.names).save(
        cell.path / "embeddings" / "train"
    )
    assert kept_layouts(cell, chosen(cell)) == {}
    assert list(embedding_map(cell).facts["places"]) == ["pca"]
    write_products(folder)
    assert set(kept_layouts(cell, chosen(cell))) == set(kept)


def test_near_rows_stay_near_under_tsne() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.standard_normal((40, 12)) + 12 * np.eye(12)[k] for k in range(3)]).astype(np.float32)
    flat = tsne(rows)
    owner = np.repeat(np.arange(3), 40)
    distance = np.linalg.norm(flat[:, None] - flat[None], axis=-1) + 1e9 * np.eye(120)
    assert (owner[distance.argmin(1)] == owner).all()
    np.testing.assert_array_equal(flat, tsne(rows))


def test_estimates_are_written_with_their_targets(tmp_path: Path) -> None:
    folder = write_judged(tmp_path / "run")
    for path in [*folder.glob("baselines/*"), *folder.glob("cells/*/predictions.parquet")]:
        path.unlink()
    known = truth("load 0")
    values = np.random.default_rng(0).standard_normal(len(known.ids))
    told = Estimated("ridge", "model", values + 1, Targets(values, *known[1:4], "glucose"), 0.0, "load 0", 1)
    save_estimates(folder / "cells" / "load 0-seed1" / "estimates.parquet", [told])
    simple = replace(told, name="mean", kind="baseline", predicted=np.zeros(len(values)), seed=0)
    save_estimates(folder / "estimates" / "load 0.parquet", [simple])
    assert gather(folder) == []
    assert [one.name for one in gather_estimates(folder)] == ["mean", "ridge"]
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    (folder / "scores.json").write_text(json.dumps(scores | {"confusion": {}, "calibration": {}}), encoding="utf-8")
    write_products(folder)
    frame = pq.read_table(folder / "predictions.parquet").to_pydict()
    assert frame["true"] == values.tolist() * 2
    assert frame["predicted"] == [0.0] * len(values) + (values + 1).tolist()
    assert frame["group"] == known.groups.tolist() * 2
    assert set(zip(frame["answer"], frame["seed"], strict=True)) == {("mean", None), ("ridge", 1)}
    assert json.loads((folder / "curves.json").read_text(encoding="utf-8")) == {}


def test_a_run_without_labels_has_tables_and_no_predictions(tmp_path: Path) -> None:
    folder = write_judged(tmp_path / "run")
    write_products(folder)
    for path in [*folder.glob("baselines/*"), *folder.glob("cells/*/predictions.parquet")]:
        path.unlink()
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    empty: dict[str, Any] = {"rows": [], "folds": [], "chance": {}, "confusion": {}, "calibration": {}}
    (folder / "scores.json").write_text(json.dumps(scores | empty), encoding="utf-8")
    write_products(folder)
    assert not (folder / "predictions.parquet").exists()
    assert json.loads((folder / "curves.json").read_text()) == {}
    page = write_report(folder).read_text(encoding="utf-8")
    assert 'id="ranking"' not in page
    assert 'id="probabilities"' not in page
