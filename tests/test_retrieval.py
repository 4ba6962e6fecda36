"""Retrieval: ranks against a naive loop, ties that are worth chance and no more, and what a cell is told."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from functools import partial
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.cross_decomposition import CCA as Iterated

from clips_world import RECIPE, ClipData, caption, folder_of
from counterpoint import run
from counterpoint.alignment import check, judge_retrieval
from counterpoint.alignment.outputs import outputs, similarity_of
from counterpoint.evaluate import retrieval
from counterpoint.evaluate.correlation import CCA, VALUES, features
from counterpoint.evaluate.gallery import Asked, Retrieved, load_retrieved, retrieval_lines, retrieval_scores
from counterpoint.evaluate.retrieval import (
    Retrieval,
    Standing,
    first_right,
    joined,
    of_vectors,
    stand,
    statistics,
)
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CLIP, InfoNCE
from counterpoint.objectives.sequence_similarity import SequenceSimilarity
from counterpoint.recipe import build, load, train_cell
from counterpoint.types import Encoded

Floats = NDArray[np.float64]
KS = (1, 3, 5)


def by_hand(scores: Floats, right: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Mean over every order of the tied rows, one query at a time."""
    found: dict[str, list[float]] = {"rank": [], "mrr": [], **{f"R@{k}": [] for k in KS}}
    for row, good in zip(scores, right, strict=True):
        best = row[good].max()
        above = int((row > best).sum())
        tied = [bool(good[at]) for at in np.flatnonzero(row == best)]
        ranks = [above + 1 + order.index(True) for order in set(itertools.permutations(tied))]
        found["rank"].append(float(np.mean(ranks)))
        found["mrr"].append(float(np.mean(1 / np.array(ranks))))
        for k in KS:
            found[f"R@{k}"].append(float(np.mean(np.array(ranks) <= k)))
    return found


def stood(scores: Floats, queries: NDArray[np.int64], gallery: NDArray[np.int64]) -> Standing:
    """The standing of queries whose similarities are given: a query is a row of a one-hot matrix."""
    one_hot, values = of_vectors(np.eye(len(scores))), of_vectors(scores.T)
    return stand(one_hot, values, lambda a, b: a.pooled @ b.pooled.T, queries, gallery)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 7), st.integers(1, 6), st.integers(1, 4), st.integers(0, 10_000))
def test_ranks_are_those_of_a_naive_loop(queries: int, levels: int, kinds: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    gallery = np.concatenate([np.arange(kinds), draw.integers(0, kinds, 7 - kinds)])
    asked = draw.integers(0, kinds, queries)
    scores = draw.integers(0, levels, (queries, 7)).astype(np.float64)
    standing, naive = stood(scores, asked, gallery), by_hand(scores, asked[:, None] == gallery)
    np.testing.assert_allclose(standing.ranks(), naive["rank"])
    np.testing.assert_allclose(standing.reciprocal(), naive["mrr"])
    for k in KS:
        np.testing.assert_allclose(standing.hits(k), naive[f"R@{k}"], atol=1e-12)
    np.testing.assert_array_equal(standing.right, (asked[:, None] == gallery).sum(1))


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_rows_that_are_all_alike_are_worth_chance_and_no_more(noise: float) -> None:
    """Also where the right one is the largest by what float32 cannot tell."""
    scores = np.full((50, 50), 0.93) + noise * np.eye(50)
    keys = np.arange(50)
    standing = stood(scores, keys, keys)
    chance = standing.chance((1, 10))
    assert standing.hits(1).tolist() == pytest.approx([0.02] * 50)
    assert standing.hits(10).mean() == pytest.approx(chance["R@10"]) == pytest.approx(0.2)
    assert np.median(standing.ranks()) == pytest.approx(chance["MedR"]) == pytest.approx(25.5)
    assert standing.reciprocal().mean() == pytest.approx(chance["MRR"]) == pytest.approx((1 / np.arange(1, 51)).mean())
    told = stood(np.full((50, 50), 0.93) + 1e-4 * np.eye(50), keys, keys)
    assert told.hits(1).mean() == 1.0


def test_first_right_is_the_hypergeometric() -> None:
    for wrong, right in ((0, 3), (5, 1), (6, 4)):
        found = np.cumsum(first_right(wrong, right))
        total = wrong + right
        expected = [1 - comb(wrong, k) / comb(total, k) for k in range(1, wrong + 2)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_chance_is_what_random_orders_reach() -> None:
    draw = np.random.default_rng(0)
    gallery = np.concatenate([np.zeros(9, np.int64), np.arange(1, 22), np.full(10, 30)])
    asked = np.array([0, 0, 0, 4, 5, 6, 30])
    chance = stood(draw.random((7, 40)), asked, gallery).chance(KS)
    ranks = np.array([np.flatnonzero(draw.permutation(gallery) == key)[0] + 1 for _ in range(6000) for key in asked])
    for k in KS:
        assert chance[f"R@{k}"] == pytest.approx((ranks <= k).mean(), abs=0.006)
    assert chance["MRR"] == pytest.approx((1 / ranks).mean(), abs=0.006)
    assert chance["MedR"] == np.median(ranks)


def test_chunks_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = torch.Generator().manual_seed(0)

    def rows(count: int, length: int) -> Encoded:
        tokens = torch.randn(count, length, 5, generator=draw)
        mask = torch.rand(count, length, generator=draw) < 0.7
        mask[:, 0] = True
        return Encoded(tokens, mask, tokens.mean(1))

    queries, gallery = rows(37, 4), rows(53, 6)
    objective = build(
        replace(RECIPE, objective=partial(CLIP, similarity=SequenceSimilarity(kind="local"))), ClipData(), 0
    )[1]
    keys = np.arange(37), np.arange(53) % 37
    whole = stand(queries, gallery, objective.similarity, *keys)
    naive = objective.similarity(queries, gallery).detach().double().numpy()
    right = keys[0][:, None] == keys[1]
    best = np.where(right, naive, -np.inf).max(1, keepdims=True)
    np.testing.assert_array_equal(whole.above, (naive > best + 1e-6).sum(1))
    monkeypatch.setattr(retrieval, "_QUERIES", 5)
    monkeypatch.setattr(retrieval, "_TOKENS", 300)
    cut = stand(queries, gallery, objective.similarity, *keys)
    for column in ("above", "wrong", "tied", "right"):
        np.testing.assert_array_equal(getattr(cut, column), getattr(whole, column))


def test_what_cannot_be_ranked_is_refused() -> None:
    scores = np.random.default_rng(0).random((4, 6))
    with pytest.raises(ValueError, match="query 2 has no right answer"):
        stood(scores, np.array([0, 1, 9, 2]), np.arange(6))
    scores[1, 3] = np.nan
    with pytest.raises(ValueError, match="similarities are not finite"):
        stood(scores, np.arange(4), np.arange(6))


def test_statistics_weigh_queries_by_how_often_their_group_is_drawn() -> None:
    draw = np.random.default_rng(3)
    scores, keys, groups = draw.random((30, 30)), np.arange(30), draw.integers(0, 6, 30)
    standing = stood(scores, keys, keys)
    found = statistics(standing, groups, (1, 5))
    assert list(found) == ["R@1", "R@5", "MedR", "MRR"]
    counts = np.array([[1.0] * 6, [2, 0, 1, 0, 3, 1], [0, 0, 0, 0, 0, 1]])
    names = np.unique(groups)
    for row, drawn in enumerate(counts):
        often = np.array([int(drawn[np.flatnonzero(names == group)[0]]) for group in groups])
        rows = np.repeat(np.arange(30), often)
        assert found["MedR"].at(counts)[row] == np.median(standing.ranks()[rows])
        assert found["R@5"].at(counts)[row] == pytest.approx(standing.hits(5)[rows].mean())
        assert found["MRR"].at(counts)[row] == pytest.approx(standing.reciprocal()[rows].mean())


def test_parts_of_different_length_are_joined_with_a_mask() -> None:
    parts = [Encoded(torch.ones(2, length, 3), torch.ones(2, length).bool(), torch.ones(2, 3)) for length in (2, 5)]
    whole = joined(parts)
    assert whole.tokens.shape == (4, 5, 3)
    assert whole.mask.sum(1).tolist() == [2, 2, 5, 5]
    assert whole.tokens[:2, 2:].abs().max() == 0


def test_canonical_correlations_are_those_of_another_implementation() -> None:
    draw = np.random.default_rng(0)
    shared = draw.normal(size=(400, 2))
    first = shared @ draw.normal(size=(2, 5)) + 0.6 * draw.normal(size=(400, 5))
    second = shared @ draw.normal(size=(2, 4)) + 0.6 * draw.normal(size=(400, 4))
    fitted = CCA(ridge=0.0).fit(first, second)
    variates = Iterated(n_components=2, max_iter=2000, tol=1e-12).fit_transform(first, second)
    expected = [np.corrcoef(variates[0][:, at], variates[1][:, at])[0, 1] for at in range(2)]
    np.testing.assert_allclose(fitted.correlations[:2], expected, atol=1e-4)
    ours = fitted.project(first, second)
    assert spearmanr(ours[0][:, 0], variates[0][:, 0]).statistic ** 2 == pytest.approx(1, abs=1e-4)
    for side in ours:
        np.testing.assert_allclose(side[:, :2].std(0), fitted.correlations[:2], rtol=1e-6)
    with pytest.raises(ValueError, match="constant"):
        CCA().fit(np.ones((9, 2)), second[:9])
    with pytest.raises(ValueError, match="at least 3 rows"):
        CCA().fit(first[:2], second[:2])


def test_features_of_a_side_know_who_lacks_it() -> None:
    data = ClipData()
    rows = data.evaluation("all", "test")
    found = features(rows, {"side": data.specs["side"]}, data.classes, data.names)
    np.testing.assert_array_equal(found.present, rows.ids % 11 != 10)
    assert set(found.sets) == {VALUES, "summary statistics", "random kernels"}
    assert found.sets[VALUES].shape == (40, 60)
    assert not found.sets[VALUES][~found.present].any()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train_cell(RECIPE, ClipData(), "all", 0, folder_of(folder))
    return folder


def asking(settings: Retrieval, **changes: Any) -> Any:
    return replace(RECIPE, evaluation=Evaluation(retrieval=settings), **changes)


def test_a_cell_is_told_both_ways_with_all_views_and_with_one(trained: Path) -> None:
    recipe, data = asking(Retrieval(ks=(1, 5), shown=[["near"], ["side"]])), ClipData()
    found = judge_retrieval(recipe, data, "all", 0, folder_of(trained))
    ways = [Asked("fused", "text"), Asked("text", "fused")]
    ways += [way._replace(shown=view) for view in ("near", "side") for way in ways[:2]]
    assert [(one.asked, one.name) for one in found] == [(w, n) for n in ("CLIP", "untrained model") for w in ways]
    test = data.evaluation("all", "test").ids
    captions = [caption(int(clip)) for clip in test]
    silent = sum(one == "" for one in captions)
    whole = found[0]
    assert (whole.standing.gallery, len(whole.ids), whole.left_out, whole.lacking) == (
        40 - silent,
        40 - silent,
        silent,
        silent,
    )
    assert whole.different == len(set(captions) - {""})
    assert found[1].standing.gallery == 40
    np.testing.assert_array_equal(whole.standing.right, [captions.count(caption(int(clip))) for clip in whole.ids])
    (side,) = (one for one in found if one.asked == Asked("text", "fused", "side") and one.name == "CLIP")
    assert side.standing.gallery == (test % 11 != 10).sum()
    again = judge_retrieval(recipe, data, "all", 0, folder_of(trained))
    assert retrieval_scores(recipe.evaluation.retrieval, again) == retrieval_scores(recipe.evaluation.retrieval, found)


def test_the_standing_of_a_cell_is_that_of_its_similarities(trained: Path) -> None:
    recipe, data = asking(Retrieval(ks=(1,))), ClipData()
    model, objective = load(folder_of(trained), data, recipe)
    rows = data.evaluation("all", "test")
    seen = outputs(model, objective, rows)
    scores = similarity_of(objective)(seen.sides["fused"], seen.sides["text"]).detach().double().numpy()
    captions = np.array([caption(int(clip)) for clip in rows.ids])
    having = np.flatnonzero(captions != "")
    scores = scores[np.ix_(having, having)]
    right = captions[having][:, None] == captions[having]
    best = np.where(right, scores, -np.inf).max(1, keepdims=True)
    found = load_retrieved(folder_of(trained) / "retrieval" / "standings.parquet")[0]
    np.testing.assert_array_equal(found.ids, rows.ids[having])
    np.testing.assert_array_equal(found.standing.above, (scores > best + 1e-5).sum(1))
    assert found.standing.hits(1).mean() > 3 * found.standing.chance((1,))["R@1"]


def test_recorded_pairs_stand_beside_linear_maps_and_a_gallery_may_be_fixed(tmp_path: Path) -> None:
    recipe = asking(
        Retrieval(gallery=12), objective=partial(CLIP, width=16, pairs=[("near", "side"), ("fused", "text")])
    )
    data, cell = ClipData(), folder_of(tmp_path)
    train_cell(replace(recipe, trainer=replace(recipe.trainer, epochs=2)), data, "all", 0, cell)
    found = judge_retrieval(recipe, data, "all", 0, cell)
    names = {(one.asked.query, one.asked.gallery): [] for one in found}
    for one in found:
        names[one.asked.query, one.asked.gallery].append(one.name)
        assert (one.standing.gallery, len(one.ids)) == (12, 12)
        np.testing.assert_array_equal(one.ids, found[0].ids if "side" in one.asked else found[2].ids)
    linear = ["CCA of values", "CCA of summary statistics", "CCA of random kernels"]
    assert names["near", "side"] == names["side", "near"] == ["CLIP", "untrained model", *linear]
    assert names["fused", "text"] == ["CLIP", "untrained model"]
    (values,) = (one for one in found if one.name == linear[0] and one.asked.query == "near")
    assert values.standing.hits(1).mean() > 0.5
    assert (values.standing.right == 1).all()
    table = retrieval_scores(recipe.evaluation.retrieval, found)
    json.dumps(table, allow_nan=False)
    assert table["verdict"].startswith("Retrieval ")
    assert "The best baseline, CCA of" in table["verdict"]


def test_a_class_may_be_what_is_right(trained: Path, tmp_path: Path) -> None:
    recipe, data = asking(Retrieval(right="class")), ClipData()
    found = judge_retrieval(recipe, data, "all", 0, _copied(trained, tmp_path))
    rows = data.evaluation("all", "test")
    galleries = {"fused": rows.ids >= 0, "text": np.array([caption(int(clip)) != "" for clip in rows.ids])}
    for one in found:
        counts = np.bincount(rows.labels[galleries[one.asked.gallery]])
        np.testing.assert_array_equal(one.standing.right, counts[one.ids % 2])
        assert one.different == 2


def _copied(folder: Path, to: Path) -> Path:
    import shutil

    shutil.copytree(folder_of(folder), folder_of(to), ignore=shutil.ignore_patterns("retrieval"))
    return folder_of(to)


def answer(name: str, kind: Any, good: float, seed: int = 0) -> Retrieved:
    """200 queries of 40 groups among 200 rows, a share of them first, the others nowhere."""
    above = np.where(np.random.default_rng(7).random(200) < good, 0, 150)
    ones = np.ones(200, np.int64)
    standing = Standing(above, 0 * ones, ones, ones, 200)
    index = np.arange(200)
    return Retrieved(Asked("fused", "text"), name, kind, standing, index // 5, index, 3, 0, 150, "all", seed)


@pytest.mark.parametrize(
    ("model", "baseline", "head"),
    [
        (0.5, 0.2, "Retrieval beats chance and every baseline."),
        (0.5, 0.5, "Retrieval does NOT beat the baselines."),
        (0.2, 0.5, "Retrieval does NOT beat the baselines."),
        (0.03, 0.0, "Retrieval is NOT distinguishable from chance."),
    ],
)
def test_the_verdict_says_what_the_ranks_say(model: float, baseline: float, head: str) -> None:
    found = [answer("CLIP", "model", model), answer("untrained model", "baseline", baseline)]
    scores = retrieval_scores(Retrieval(), found)
    assert scores["verdict"].startswith(head)
    own = scores["rows"][0]["scores"]
    assert own["R@10"]["value"] == (np.random.default_rng(7).random(200) < model).mean()
    assert own["R@10"]["chance"] == pytest.approx(0.05)
    assert own["MedR"]["chance"] == 100.5
    line = retrieval_lines({"retrieval": scores})[0]
    assert line.startswith("CLIP: fused -> text, gallery 200 (150 different; 3 rows lack a side and do not ask): R@1 ")
    ratio = own["R@10"]["value"] / 0.05
    assert f"(chance 0.050, {ratio:.3g} x chance), MedR " in line
    assert retrieval_lines({"retrieval": retrieval_scores(None, [])}) == []


def test_the_model_and_the_best_baseline_of_each_question_are_printed() -> None:
    back = Asked("text", "fused")
    found = [answer("CLIP", "model", 0.5), answer("CLIP", "model", 0.6), answer("CLIP", "model", 0.4)]
    found[1:] = [replace(found[1], asked=back), replace(found[2], asked=back._replace(shown="near"))]
    weak, strong, also = (answer(name, "baseline", good) for name, good in (("a", 0.1), ("b", 0.3), ("c", 0.3)))
    found += [weak, strong, also, replace(strong, asked=back, name="a"), replace(weak, asked=back, name="b")]
    scores = retrieval_scores(Retrieval(ks=(1, 10)), found)
    told = [line.split(", gallery")[0] for line in retrieval_lines({"retrieval": scores})]
    assert told == [
        "CLIP: fused -> text",
        "b: fused -> text",
        "CLIP: text -> fused",
        "a: text -> fused",
        "CLIP: text -> fused, near alone",
    ]
    assert len(scores["rows"]) == len(found)


def test_seeds_are_pooled_and_their_spread_is_told() -> None:
    found = [
        answer(name, kind, good, seed)
        for seed in (0, 1)
        for name, kind, good in (("CLIP", "model", 0.5 + 0.2 * seed), ("untrained model", "baseline", 0.1))
    ]
    row = retrieval_scores(Retrieval(), found)["rows"][0]
    values = [answer("CLIP", "model", good).standing.hits(10).mean() for good in (0.5, 0.7)]
    assert row["scores"]["R@10"]["value"] == pytest.approx(np.mean(values))
    assert row["scores"]["R@10"]["spread"] == pytest.approx(np.std(values, ddof=1))
    assert (row["seeds"], row["queries"], row["left_out"]) == (2, 400, 6)


@pytest.mark.parametrize(
    ("settings", "changes", "message"),
    [
        (Retrieval(), {"objective": InfoNCE}, "InfoNCE compares no outputs of the model"),
        (Retrieval(shown=[["text"]]), {}, "'text' is none of the fused modalities, which are near, side"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_training(settings: Retrieval, changes: Any, message: str) -> None:
    recipe, data = asking(settings, **changes), ClipData()
    with pytest.raises(ValueError, match=message):
        check(recipe, data, *build(recipe, data, 0))


@pytest.mark.parametrize(
    ("wrong", "message"), [({"ks": (5, 1)}, "ascending"), ({"gallery": 1}, "at least 2"), ({"shown": [[]]}, "empty")]
)
def test_settings_that_mean_nothing_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Retrieval(**wrong)


def test_a_run_without_labels_is_told_by_retrieval(tmp_path: Path) -> None:
    recipe = asking(Retrieval(ks=(1, 5)), data=partial(ClipData, labelled=False))
    told = run.train(recipe, tmp_path / "run")
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["verdict"].startswith("Retrieval ")
    assert scores["verdict"] in told
    assert "CLIP: text -> fused, gallery 40 " in told
    assert 'id="retrieval"' in (tmp_path / "run" / "report.html").read_text()
    assert run.evaluate(tmp_path / "run", plugins=["clips_world"]) == told
