"""Runs about a target: objective, scores, regressors, what is refused, and one through the command to its report."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn import metrics as reference
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor

from browser import BINARY, Browser
from counterpoint import regressing
from counterpoint.cache.rows import CachedRows
from counterpoint.data.base import Draw
from counterpoint.data.features import FeatureTables
from counterpoint.data.features.data import RunColumns
from counterpoint.data.features.sources import FeatureSource
from counterpoint.data.hiding import Hidden
from counterpoint.data.spectra import SpectraTables
from counterpoint.data.synthetic.spectra import generate
from counterpoint.data.synthetic.spectra_truth import bayes_rates
from counterpoint.embed import Subset
from counterpoint.evaluate.by_group import ByGroup
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import bootstrap, combine
from counterpoint.evaluate.latent_regressors import PlsRegressor
from counterpoint.evaluate.probes import RandomForest
from counterpoint.evaluate.regression import (
    SCORES,
    Estimated,
    Targets,
    by_group,
    load_estimates,
    save_estimates,
    shown,
    target_statistics,
)
from counterpoint.evaluate.regressors import (
    BoostingRegressor,
    KNNRegressor,
    MeanRegressor,
    Measured,
    RidgeRegressor,
    grouped_folds,
)
from counterpoint.evaluate.results import difference, render, score_table, whole
from counterpoint.evaluate.threshold import Threshold
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CrossEntropy, InfoNCE, Objective, Regression, Term, WeightedSum
from counterpoint.objectives.base import narrowed
from counterpoint.recipe import Recipe, build, load, plan, read
from counterpoint.types import Batch, Encoded, ObjectiveSpec
from test_recipes import command

Float = NDArray[np.float64]
SPEC = ObjectiveSpec({"fused": 6, "scan": 4}, {}, ("a", "b"), {}, "glucose")


def encoded(rows: int = 8, seed: int = 0) -> dict[str, Encoded]:
    """Outputs of a model; rows 0 and 1 lack the scan."""
    chance = torch.Generator().manual_seed(seed)
    there = torch.ones(rows, 1, dtype=torch.bool)
    some = there.clone()
    some[:2] = False
    whole_, part = (torch.randn(rows, width, generator=chance) for width in (6, 4))
    return {
        "fused": Encoded(whole_.unsqueeze(1), there, whole_.requires_grad_()),
        "scan": Encoded(part.unsqueeze(1), some, part.requires_grad_()),
    }


def batch(targets: list[float]) -> Batch:
    rows = torch.arange(len(targets))
    return Batch([], rows % 2, rows, rows, rows, torch.tensor(targets))


def taught(objective: Objective, targets: list[float] | None = None) -> Objective:
    objective.fit_targets(np.array(targets or [90.0, 100.0, 110.0, 140.0, math.nan]))
    return objective


def estimated(name: str, predicted: Float, truth: Float, groups: NDArray[np.int64], **more: Any) -> Estimated:
    rows = np.arange(len(truth))
    return Estimated(
        name, more.pop("kind", "model"), predicted, Targets(truth, groups, rows * 0, rows, "y"), 0.5, **more
    )


def measured(rows: int = 60, width: int = 8, seed: int = 0, noise: float = 0.3) -> Measured:
    chance = np.random.default_rng(seed)
    values = chance.normal(3.0, 2.0, (rows, width)).astype(np.float32)
    targets = values[:, 0] - 2.0 * values[:, 1] + noise * chance.normal(size=rows) + 50.0
    index = np.arange(rows)
    names = tuple(f"r{row}" for row in index)
    return Measured(Embeddings(values, index * 0 - 1, index // 3, index * 0, index, (), names), targets, "y")


# The objective.


def test_the_target_is_standardised_by_what_it_was_taught() -> None:
    objective = taught(Regression(SPEC))
    assert isinstance(objective, Regression)
    known = np.array([90.0, 100.0, 110.0, 140.0])
    assert float(objective.mean) == pytest.approx(known.mean())
    assert float(objective.scale) == pytest.approx(known.std())
    view = encoded()
    values = torch.tensor([90.0, 95.0, 100.0, 105.0, 110.0, 120.0, 130.0, 140.0])
    with torch.no_grad():
        answers = objective.estimate(view)
        assert torch.allclose(answers, objective.head(view["fused"].pooled).squeeze(1) * known.std() + known.mean())
        loss = objective([view], batch(values.tolist()))
    assert float(loss.value) == pytest.approx(float((((answers - values) / known.std()) ** 2).mean()), rel=1e-5)
    assert float(loss.logs["mae"]) == pytest.approx(float((answers - values).abs().mean()), rel=1e-5)


@pytest.mark.parametrize(("loss", "level"), [("mse", 1.0), ("mae", None), ("huber", None)])
def test_losses_and_that_of_the_mean(loss: Any, level: float | None) -> None:
    objective = taught(Regression(SPEC, loss=loss, delta=0.5))
    known = torch.tensor([90.0, 100.0, 110.0, 140.0], dtype=torch.float64)
    standard = (known - known.mean()) / known.std(correction=0)
    size = standard.abs()
    by_hand = {
        "mse": size**2,
        "mae": size,
        "huber": torch.where(size < 0.5, 0.5 * size**2, 0.5 * (size - 0.25)),
    }[loss].mean()
    assert float(objective.diagnose([], batch([]))["collapse"]) == pytest.approx(level or float(by_hand), rel=1e-6)
    assert level is None or float(by_hand) == pytest.approx(level)
    with torch.no_grad():
        objective.head.weight.zero_(), objective.head.bias.zero_()  # type: ignore[union-attr, operator]
    found = objective([encoded(4)], batch(known.tolist()))
    assert float(found.value.detach()) == pytest.approx(float(by_hand), rel=1e-5), "a head that answers with the mean"


def test_gradients_are_those_of_finite_differences() -> None:
    objective = taught(Regression(SPEC, loss="huber", delta=0.7)).double()
    view = {name: one._replace(pooled=one.pooled.detach().double()) for name, one in encoded().items()}
    rows = batch([91.0, math.nan, 99.0, 104.0, 120.0, 133.0, math.nan, 140.0])

    def loss(weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        found = torch.func.functional_call(objective, {"head.weight": weight, "head.bias": bias}, ([view], rows))
        value: torch.Tensor = found.value
        return value

    parameters = [p.detach().clone().requires_grad_() for p in objective.head.parameters()]  # type: ignore[union-attr]
    assert torch.autograd.gradcheck(loss, parameters)


@pytest.mark.parametrize("modality", ["fused", "scan"])
def test_rows_without_a_target_or_the_modality_do_not_count(modality: str) -> None:
    objective, view = taught(Regression(SPEC, modality=modality)), encoded()
    targets = [95.0, 96.0, math.nan, 97.0, 130.0, 131.0, math.nan, 99.0]
    objective([view], batch(targets)).value.backward()
    gradient = view[modality].pooled.grad
    assert gradient is not None
    counted = [modality == "fused" or row > 1 for row in range(8)]
    expected = [not math.isnan(target) and has for target, has in zip(targets, counted, strict=True)]
    assert (gradient.abs().sum(1) > 0).tolist() == expected
    some = [row for row, one in enumerate(expected) if one]
    part = {name: Encoded(*(x[some] for x in one[:3])) for name, one in view.items()}
    alone = objective([part], batch([targets[row] for row in some])).value
    assert torch.allclose(alone, objective([view], batch(targets)).value)


def test_a_batch_without_targets_has_a_loss_of_nothing_that_keeps_gradient() -> None:
    objective, view = taught(Regression(SPEC)), encoded(4)
    loss = objective([view], batch([math.nan] * 4))
    loss.value.backward()
    assert float(loss.value) == 0
    assert all(p.grad is not None and float(p.grad.abs().sum()) == 0 for p in objective.parameters())


def test_it_is_a_term_of_a_sum_and_of_what_is_left_of_it() -> None:
    terms = {
        "main": Term(objective=partial(Regression)),
        "scan": Term(objective=partial(Regression, modality="scan"), weight=0.3),
    }
    factory = partial(WeightedSum, terms=terms)
    objective, view = taught(factory(SPEC)), encoded()
    rows = batch([95.0, 96.0, 97.0, 98.0, 130.0, 131.0, 99.0, 100.0])
    parts = list(objective.objectives)  # type: ignore[arg-type]
    alone = [part([view], rows).value for part in parts]
    assert objective.estimates
    assert torch.allclose(objective([view], rows).value, alone[0] + 0.3 * alone[1])
    assert torch.equal(objective.estimate(view), parts[0].estimate(view))  # type: ignore[arg-type]
    left = narrowed(factory, {"fused", "other"})
    assert left is not None
    assert set(left(SPEC).terms) == {"main"}  # type: ignore[arg-type]
    assert narrowed(partial(Regression, modality="scan"), {"fused"}) is None


def test_mean_and_deviation_are_in_the_checkpoint() -> None:
    objective, again = taught(Regression(SPEC)), Regression(SPEC)
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.estimate(encoded()), objective.estimate(encoded()))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fit_targets"):
        Regression(SPEC)([encoded()], batch([1.0] * 8))


def test_what_the_objective_refuses() -> None:
    with pytest.raises(ValueError, match=r"'glucose' is 5 in all 3 training rows.*columns\.target"):
        Regression(SPEC).fit_targets(np.array([5.0, 5.0, math.nan, 5.0]))
    with pytest.raises(ValueError, match="1 training rows have a target 'glucose'"):
        Regression(SPEC).fit_targets(np.array([5.0, math.nan]))
    with pytest.raises(ValueError, match=r"columns\.target"):
        Regression(SPEC._replace(target=""))
    with pytest.raises(ValueError, match="no output 'gas'"):
        Regression(SPEC, modality="gas")
    with pytest.raises(ValueError, match="delta is 0"):
        Regression(SPEC, delta=0.0)


# Scores.


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 9999), st.floats(-1e5, 1e5), st.integers(3, 60))
def test_scores_are_those_of_the_libraries(seed: int, level: float, rows: int) -> None:
    chance = np.random.default_rng(seed)
    truth = np.round(chance.normal(level, 3.0, rows), 1)
    truth[0] += 1.0
    predicted = np.round(truth + chance.normal(size=rows), 1)
    found = target_statistics(predicted, truth, chance.integers(0, 5, rows))
    values = {name: whole(one) for name, one in found.items()}
    assert tuple(found) == SCORES
    if np.ptp(truth) and np.ptp(predicted):
        assert values["r2"] == pytest.approx(reference.r2_score(truth, predicted), rel=1e-6, abs=1e-6)
        assert values["spearman"] == pytest.approx(spearmanr(truth, predicted).statistic, abs=1e-9)
    assert values["mse"] == pytest.approx(reference.mean_squared_error(truth, predicted))
    assert values["rmse"] == pytest.approx(reference.root_mean_squared_error(truth, predicted))
    assert values["mae"] == pytest.approx(reference.mean_absolute_error(truth, predicted))


def test_a_draw_of_groups_scores_as_its_rows_do() -> None:
    chance = np.random.default_rng(0)
    groups, truth = np.repeat([3, 5, 8, 9], [4, 1, 6, 3]), chance.normal(size=14)
    predicted = truth + 0.5 * chance.normal(size=14)
    counts = np.array([[2.0, 0.0, 1.0, 1.0], [0.0, 3.0, 1.0, 0.0]])
    found = target_statistics(predicted, truth, groups)
    for draw, count in enumerate(counts):
        rows = np.repeat(np.arange(14), count[np.searchsorted([3, 5, 8, 9], groups)].astype(int))
        for name, score in {"r2": reference.r2_score, "mae": reference.mean_absolute_error}.items():
            assert found[name].at(counts)[draw] == pytest.approx(score(truth[rows], predicted[rows]))
    assert math.isnan(found["r2"].at(np.array([[0.0, 1.0, 0.0, 0.0]]))[0]), "one row has no variance"


def test_the_interval_by_group_is_as_wide_as_drawing_anew_says() -> None:
    """Rows of a group share their error: the spread of the MAE over worlds is what the interval must show."""
    chance = np.random.default_rng(1)

    def world() -> Estimated:
        groups = np.repeat(np.arange(40), 5)
        truth = chance.normal(size=200)
        return estimated("m", truth + np.repeat(chance.normal(size=40), 5), truth, groups)

    spread = np.std([whole(world().statistics()["mae"]) for _ in range(400)])
    widths = [found.high - found.low for found in (bootstrap(world().statistics()["mae"]) for _ in range(20))]
    assert np.mean(widths) / (2 * 1.96 * spread) == pytest.approx(1.0, abs=0.15)


def test_the_table_pools_folds_and_seeds_and_stands_beside_chance() -> None:
    chance = np.random.default_rng(2)
    results = []
    for fold in ("one", "two"):
        truth, groups = chance.normal(size=30), np.arange(30) // 2 + 100 * (fold == "two")
        for seed in (0, 1):
            noisy = truth + 0.4 * chance.normal(size=30)
            results.append(estimated("model", noisy, truth, groups, fold=fold, seed=seed))
        results.append(estimated("mean", np.full(30, 0.5), truth, groups, fold=fold, kind="baseline"))
    first, second = score_table(results)
    ours = [result.statistics()["r2"] for result in results if result.name == "model"]
    assert (first["name"], second["name"]) == ("mean", "model")
    assert second["scores"]["r2"]["value"] == pytest.approx(combine(ours).value)
    assert (second["folds"], second["seeds"], second["groups"], second["rows"]) == (2, 2, 30, 120)
    assert second["scores"]["r2"]["spread"] is not None
    assert first["scores"]["rmse"]["value"] == pytest.approx(first["scores"]["rmse"]["chance"])
    gap = difference(*([r for r in results if r.name == name] for name in ("model", "mean")), "r2")  # type: ignore[arg-type]
    assert gap.low > 0.3
    assert "spearman" not in render([first, second], ("r2", "rmse"))
    assert "[" in render([first, second], ("r2", "rmse"))


def test_estimates_are_kept_whole(tmp_path: Path) -> None:
    chance = np.random.default_rng(3)
    results = [
        estimated(name, chance.normal(size=n), chance.normal(size=n), chance.integers(0, 4, n), fold="f", seed=seed)
        for name, n, seed in (("a", 7, 0), ("b", 5, 3))
    ]
    save_estimates(tmp_path / "x" / "estimates.parquet", results)
    for one, other in zip(load_estimates(tmp_path / "x" / "estimates.parquet"), results, strict=True):
        assert (one.name, one.kind, one.level, one.fold, one.seed) == (other.name, other.kind, 0.5, "f", other.seed)
        assert np.array_equal(one.predicted, other.predicted)
        for mine, theirs in zip(one.truth, other.truth, strict=True):
            assert np.array_equal(mine, theirs)
    measured().rows.save(tmp_path / "other")
    with pytest.raises(ValueError, match="not a file of estimates"):
        load_estimates(tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="1 of 3 estimates"):
        estimated("a", np.array([1.0, math.nan, 2.0]), np.zeros(3), np.arange(3))


def test_groups_are_pooled_and_the_worst_comes_first() -> None:
    truth = np.array([1.0, 3.0, 10.0, 20.0, 30.0])
    groups = np.array([4, 4, 7, 9, 9])
    result = estimated("m", truth + np.array([1.0, -1.0, 0.5, 4.0, 2.0]), truth, groups)
    (pooled,) = by_group([result])
    assert pooled.predicted.tolist() == [2.0, 10.5, 28.0]
    assert pooled.truth.values.tolist() == [2.0, 10.0, 25.0]
    other = replace(result, predicted=result.predicted + 2.0, seed=1)
    told = shown([result, other], ["a", "b", "c", "d", "e"])
    assert [(one["group"], one["name"], one["rows"]) for one in told["residuals"]] == [
        (9, "d", 2),
        (7, "c", 1),
        (4, "a", 2),
    ]
    assert [one["error"] for one in told["residuals"]] == [4.0, 1.5, 1.0], "of the mean of the seeds"
    assert told["residuals"][2]["absolute"] == 1.0
    assert [point["true"] for point in told["points"]] == sorted(truth)


# Regressors.


def test_regressors_agree_with_the_libraries() -> None:
    train, test = measured(), measured(20, seed=1)
    fitted, asked = train.rows.values.astype(float), test.rows.values.astype(float)
    mean, deviation = fitted.mean(0), fitted.std(0)
    scaled = (fitted - mean) / deviation, (asked - mean) / deviation
    ridge = Ridge(alpha=3.0).fit(scaled[0], train.targets).predict(scaled[1])
    assert RidgeRegressor(penalty=3.0).predict(train, test.rows) == pytest.approx(ridge)
    near = KNeighborsRegressor(4).fit(scaled[0], train.targets).predict(scaled[1])
    assert KNNRegressor(k=4, metric="euclidean", scale="standard").predict(train, test.rows) == pytest.approx(near)
    latent = PLSRegression(3, scale=False).fit(fitted, train.targets).predict(asked)
    assert PlsRegressor(components=3).predict(train, test.rows) == pytest.approx(latent.reshape(-1))
    assert MeanRegressor().predict(train, test.rows) == pytest.approx(np.full(20, train.targets.mean()))
    for regressor in (RidgeRegressor(), PlsRegressor(), BoostingRegressor(trees=50)):
        assert whole(regressor.evaluate(train, test).statistics()["r2"]) > 0.6


@pytest.mark.parametrize("regressor", [RidgeRegressor(), PlsRegressor(), KNNRegressor(), MeanRegressor()])
def test_regressors_learn_from_known_training_rows_alone(regressor: Any) -> None:
    train, test = measured(), measured(20, seed=1)
    gaps = train.targets.copy()
    gaps[::4] = math.nan
    kept = np.isfinite(gaps)
    some = regressor.evaluate(train._replace(targets=gaps), test)
    few = regressor.evaluate(Measured(train.rows.take(kept), gaps[kept], "y"), test)
    assert np.array_equal(some.predicted, few.predicted)
    assert some.level == pytest.approx(float(np.nanmean(gaps)))
    moved = test._replace(targets=test.targets[::-1])
    assert np.array_equal(regressor.evaluate(train, moved).predicted, regressor.evaluate(train, test).predicted)


def test_inner_folds_keep_groups_whole_and_choose_what_fits() -> None:
    train = measured(noise=0.0)
    for fit, held in grouped_folds(train):
        assert not set(train.rows.groups[fit]) & set(train.rows.groups[held])
    assert RidgeRegressor()._chosen(train) == 0.01, "nothing to shrink away"
    # Columns that say nothing at all.
    noise = train._replace(targets=np.random.default_rng(0).normal(size=60))
    assert RidgeRegressor()._chosen(noise) >= 100
    assert PlsRegressor(most=6)._chosen(noise) <= 2


# Rows.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("spectra") / "set", count=80, seed=0)


def document(folder: Path, *, metric: str = "r2") -> dict[str, Any]:
    return {
        "data": {
            "type": "SpectraTables",
            "scans": {
                "type": "ScanTable",
                "files": [str(folder / "spectra.csv")],
                "id": "Sample",
                "pattern": r"(?P<specimen>P\d+)-(?P<scan>\d+)",
            },
            "table": {
                "file": str(folder / "clinical.csv"),
                "id": "PatientID",
                "features": ["age", "sex", "bmi", "crp", "hdl", "smoker"],
                "categorical": {"sex": {}, "smoker": {}},
            },
            "columns": {"target": "target"},
            "pretreatments": [{"type": "SNV"}, {"type": "Standardise"}],
            "split": {"type": "ByGroup", "test": 0.4, "valid": 0.15},
        },
        "encoders": {
            "spectra": {"type": "SpectralMLP", "dim": 16, "hidden": 32},
            "table": {"type": "FeatureTokens", "dim": 16},
        },
        "objective": "Regression",
        "optimizer": {"lr": 0.003},
        "trainer": {"epochs": 25, "batch_size": 16, "hardware": {"accelerator": "cpu"}},
        "evaluation": {"metric": metric, "by_group": {}},
    }


@pytest.fixture(scope="module")
def recipe(folder: Path) -> Recipe:
    path = folder.parent / "recipe.yaml"
    path.write_text(yaml.safe_dump(document(folder)))
    return read(path)


def test_targets_go_with_their_rows(recipe: Recipe) -> None:
    data = recipe.data()
    assert isinstance(data, SpectraTables)
    rows = data.evaluation("main", "test")
    assert data.target == "target"
    assert rows.targets is not None
    some = np.array([4, 1])
    for view in (rows, Hidden(rows, ["table"]), CachedRows(rows, [], None)):  # type: ignore[arg-type]
        assert view.targets is not None
        part = Subset(view, some)
        found = part.__getitems__([Draw(0, 0), Draw(1, 1)]).targets
        assert found is not None
        assert found.tolist() == pytest.approx(rows.targets[some].tolist())
        assert part.targets is not None
        assert part.targets.tolist() == rows.targets[some].tolist()


def test_tables_of_features_bring_targets(tmp_path: Path) -> None:
    runs = ["id,level", *(f"r{i},{i / 2 if i else ''}" for i in range(12))]
    (tmp_path / "runs.csv").write_text("\n".join(runs))
    (tmp_path / "features.csv").write_text("\n".join(["id,a,b", *(f"r{i},{i},{i * i}" for i in range(12))]))

    def made() -> FeatureTables:
        source = FeatureSource(file=tmp_path / "features.csv", id=["id"])
        return FeatureTables(
            runs=tmp_path / "runs.csv", features={"x": source}, columns=RunColumns(label="", target="level")
        )

    rows = made().evaluation("main", "all")
    assert rows.targets is not None
    assert math.isnan(rows.targets[0])
    assert rows.targets[1:].tolist() == [i / 2 for i in range(1, 12)]
    (tmp_path / "runs.csv").write_text("\n".join([*runs[:-1], "r11,high"]))
    with pytest.raises(ValueError, match=r"runs\.csv.*13.*level.*'high' is no finite number"):
        made()


def test_the_objective_learns_from_the_training_rows_of_the_fold(recipe: Recipe) -> None:
    data = recipe.data()
    _, objective = build(recipe, data, 0)
    rows = data.training("main", "train")
    plan(recipe, data, "main", rows, objective)
    assert rows.targets is not None
    assert isinstance(objective, Regression)
    assert float(objective.mean) == pytest.approx(rows.targets.mean())
    assert float(objective.scale) == pytest.approx(rows.targets.std(), rel=1e-6)


# What is refused.


def refusal(recipe: Recipe, change: Callable[[Recipe], Recipe], target: str = "target") -> str:
    changed = change(recipe)
    data = changed.data()
    data.target = target
    _, objective = build(recipe, recipe.data(), 0)
    with pytest.raises(ValueError) as told:
        regressing.check(changed, data, objective)
    return str(told.value)


def judged_by(**settings: Any) -> Callable[[Recipe], Recipe]:
    return lambda recipe: replace(recipe, evaluation=replace(recipe.evaluation, **settings))


def test_metrics_go_with_what_there_is_to_score(recipe: Recipe) -> None:
    told = refusal(recipe, judged_by(metric="auroc"))
    assert "auroc" in told
    assert "'target'" in told
    assert "r2, rmse, mae" in told
    assert "data.columns.target" in refusal(recipe, judged_by(), target="")
    assert "accuracy" in refusal(recipe, judged_by(), target="")


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"threshold": Threshold()}, "evaluation.threshold"),
        ({"by_group": ByGroup(how="vote")}, "evaluation.by_group.how"),
        ({"evaluators": [RandomForest()]}, "evaluation.evaluators"),
    ],
)
def test_what_a_target_has_none_of_is_refused(recipe: Recipe, settings: dict[str, Any], place: str) -> None:
    assert refusal(recipe, judged_by(**settings)).startswith(place)


def test_an_objective_of_classes_and_a_metric_of_a_target_are_refused(recipe: Recipe) -> None:
    data = recipe.data()
    classes = CrossEntropy(ObjectiveSpec({"fused": 4}, {}, ("a", "b"), {}))
    with pytest.raises(ValueError, match="set the objective to Regression, or"):
        regressing.check(recipe, data, classes)
    plain = Evaluation(regressors=[MeanRegressor()])
    data.target, data.classes = "", ("a", "b")
    with pytest.raises(ValueError, match=r"evaluation\.regressors"):
        regressing.check(replace(recipe, evaluation=plain), data, classes)
    regressing.check(replace(recipe, evaluation=Evaluation()), data, classes)


def test_folds_need_targets(recipe: Recipe) -> None:
    data = recipe.data()
    _, objective = build(recipe, data, 0)
    assert isinstance(data, SpectraTables)
    kept = data._targets.copy()
    data._targets[data.evaluation("main", "test").ids] = math.nan
    with pytest.raises(ValueError, match=r"fold 'main': 0 of 32 test rows have a target 'target'"):
        regressing.check(recipe, data, objective)
    data._targets[:] = np.where(np.isnan(data._targets), kept, 7.0)
    with pytest.raises(ValueError, match=r"'target' is 7 in all"):
        regressing.check(recipe, data, objective)


# A run.


@pytest.fixture(scope="module")
def run(recipe: Recipe, folder: Path) -> tuple[Path, str]:
    out = folder.parent / "run"
    return out, command("train", folder.parent / "recipe.yaml", "--out", out)


def test_a_run_beats_the_mean_and_says_so(run: tuple[Path, str], recipe: Recipe) -> None:
    out, printed = run
    scores = json.loads((out / "scores.json").read_text())
    rows = {row["name"]: row for row in scores["rows"]}
    head, mean = rows["Regression, its own head"], rows["training mean"]
    assert head["kind"] == "model"
    ceiling = bayes_rates()["r2"]["both"]
    assert mean["scores"]["r2"]["value"] + 0.1 < head["scores"]["r2"]["value"] < ceiling
    assert head["scores"]["rmse"]["value"] < mean["scores"]["rmse"]["value"]
    names = [name for name, row in rows.items() if row["kind"] == "baseline"]
    assert {"training mean", "metadata, ridge regression", "spectra, PLS regression"} <= set(names)
    assert {"table, gradient boosting", "spectra (PCA20) and table, ridge regression"} <= set(names)
    assert "untrained encoder, ridge regression" in names
    assert scores["verdict"] in printed
    assert "of the variance of target on 32 groups" in scores["verdict"]
    assert scores["regression"]["answer"] == "Regression, its own head"
    assert len(scores["regression"]["points"]) == 32
    errors = [one["absolute"] for one in scores["regression"]["residuals"]]
    assert errors == sorted(errors, reverse=True)
    assert scores["confusion"] == scores["per_class"] == scores["calibration"] == {}
    grouped = {row["name"]: row["scores"] for row in scores["by_group"]["rows"]}
    assert grouped["training mean"]["mae"]["value"] == pytest.approx(mean["scores"]["mae"]["value"]), "a row a group"


def test_what_is_kept_is_what_the_model_says(run: tuple[Path, str], recipe: Recipe) -> None:
    out, _ = run
    data = recipe.data()
    cell = out / "cells" / "main-seed0"
    kept = next(one for one in load_estimates(cell / "estimates.parquet") if one.name.endswith("its own head"))
    rows, (model, objective) = data.evaluation("main", "test"), load(cell, data, recipe)
    whole_batch = rows.__getitems__([Draw(row, row) for row in range(len(rows))])
    with torch.no_grad():
        answers = objective.estimate(model(whole_batch.views[0]))
    assert answers is not None
    assert kept.predicted == pytest.approx(answers.numpy(), rel=1e-4)
    assert kept.truth.values == pytest.approx(rows.targets)
    train = data.training("main", "train").targets
    assert train is not None
    assert kept.level == pytest.approx(train.mean())
    table = pq.read_table(out / "predictions.parquet", filters=[("answer", "==", kept.name)])
    assert table["predicted"].to_numpy() == pytest.approx(kept.predicted)
    assert table["true"].to_numpy() == pytest.approx(kept.truth.values)
    assert "To estimate target from recordings" in (out / "model_card.md").read_text()


def test_it_is_scored_again_the_same(run: tuple[Path, str]) -> None:
    out, printed = run
    before = json.loads((out / "scores.json").read_text())["rows"]
    assert command("evaluate", out).split("Report:")[0].strip() in printed
    assert json.loads((out / "scores.json").read_text())["rows"] == before


@pytest.mark.skipif(not BINARY, reason="no Chromium to open the page with")
def test_the_report_opens(run: tuple[Path, str], tmp_path: Path) -> None:
    out, _ = run
    with Browser(tmp_path / "profile") as tab:
        tab.open(out / "report.html")
        assert tab.run("document.querySelectorAll('#regression .line.dots circle').length") == 32
        assert tab.run("document.querySelectorAll('#regression .residuals tbody tr').length") == 20
        assert tab.run("document.querySelector('#confusion')") is None
        assert tab.complaints() == []


def test_an_objective_without_a_head_is_judged_by_its_embeddings(recipe: Recipe) -> None:
    own = replace(recipe, objective=partial(InfoNCE))
    names = {f"InfoNCE, {one.name}" for one in own.evaluation.regressors}
    truth = np.arange(6.0)
    results = [estimated(name, truth + 1.0, truth, np.arange(6)) for name in sorted(names)]
    results.append(estimated("training mean", truth * 0, truth, np.arange(6), kind="baseline"))
    found = regressing.scored(own, results, tuple("abcdef"))
    assert found["regression"]["answer"] == "InfoNCE, ridge regression"
    assert found["verdict"].startswith("The encoder")


def test_a_verdict_by_error_counts_less_as_better(recipe: Recipe) -> None:
    truth, groups = np.arange(40.0), np.arange(40) // 2
    head = estimated("Regression, its own head", truth + np.tile([1.0, -1.0], 20), truth, groups)
    mean = estimated("training mean", np.full(40, 20.0), truth, groups, kind="baseline")
    told = {}
    for decides in ("rows", "groups"):
        evaluation = replace(recipe.evaluation, metric="rmse", by_group=ByGroup(decides=decides))  # type: ignore[arg-type]
        names = tuple(f"r{row}" for row in range(40))
        found = regressing.scored(replace(recipe, evaluation=evaluation), [mean, head], names)
        told[decides] = found["verdict"]
        assert found["by_group"]["by_row"]["value"] == pytest.approx(1.0)
        assert found["by_group"]["groups"] == 20
    assert told["rows"].startswith(
        "The model beats every baseline. Regression, its own head, reaches 1.000 [1.000, 1.000]"
    )
    assert "RMSE, of which less is better, and explains 0.99" in told["rows"]
    assert "reaches 0.000 [" in told["groups"], "errors of the two rows of a group cancel"
    assert told["groups"].endswith("by the mean of its rows.")
