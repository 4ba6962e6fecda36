"""Embeddings on disk, intervals, scores, neighbours and probes against independent references."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from counterpoint.evaluate import metrics, neighbours
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.intervals import Statistic, bootstrap, combine, combine_all, paired_difference, signed
from counterpoint.evaluate.probes import KNN, Boosting, Evaluator, LinearProbe, RandomForest, standardise
from counterpoint.evaluate.results import Result, difference, load_results, render, save_results, score_table

CLASSES = ("ball", "inner", "outer")


def blobs(rows: int, seed: int, *, width: int = 8, groups: int = 12, spread: float = 1.5) -> Embeddings:
    generator = np.random.default_rng(seed)
    labels = generator.integers(3, size=rows)
    centres = np.random.default_rng(7).normal(size=(3, width))
    values = (centres[labels] + spread * generator.normal(size=(rows, width))).astype(np.float32)
    names = tuple(f"rec{i}" for i in range(rows))
    index = np.arange(rows)
    return Embeddings(values, labels, index % groups, index % 4, index, CLASSES, names)


def mean_statistic(values: NDArray[np.float64], groups: NDArray[np.int64]) -> Statistic:
    distinct, owner = np.unique(groups, return_inverse=True)
    sums, sizes = np.bincount(owner, values), np.bincount(owner)

    def mean(counts: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            return (counts @ sums) / (counts @ sizes)

    return Statistic(distinct, mean)


# Embeddings


def test_embeddings_survive_the_disk(tmp_path: Path) -> None:
    made = blobs(30, 0)
    path = made.save(tmp_path / "run.v1" / "test")
    assert path.name == "test.parquet"
    read = Embeddings.load(tmp_path / "run.v1" / "test")
    assert read.values.dtype == np.float32
    assert (read.classes, read.names) == (made.classes, made.names)
    for column in ("values", "labels", "groups", "domains", "ids"):
        np.testing.assert_array_equal(getattr(read, column), getattr(made, column))


def test_a_stem_keeps_its_dots(tmp_path: Path) -> None:
    assert blobs(3, 0).save(tmp_path / "load.3").name == "load.3.parquet"
    assert len(Embeddings.load(tmp_path / "load.3.parquet")) == 3


def test_a_foreign_parquet_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="not a file of embeddings"):
        Embeddings.load(tmp_path / "x")
    with pytest.raises(ValueError, match="not a file of predictions"):
        load_results(tmp_path / "x.parquet")


def test_embeddings_that_do_not_fit_are_refused() -> None:
    made = blobs(4, 0)
    bad = made.values.copy()
    bad[2, 1] = np.nan
    columns = (made.labels, made.groups, made.domains, made.ids, made.classes, made.names)
    with pytest.raises(ValueError, match="1 of 4 rows are not finite"):
        Embeddings(bad, *columns)
    with pytest.raises(ValueError, match="labels reach 5"):
        Embeddings(made.values, made.labels + 5 - made.labels.max(), *columns[1:])
    with pytest.raises(ValueError, match="4 rows of values but groups"):
        Embeddings(made.values, made.labels, made.groups[:2], *columns[2:])


# Intervals


def test_bootstrap_is_a_loop_over_drawn_groups() -> None:
    generator = np.random.default_rng(1)
    groups = generator.integers(40, size=300)
    values = generator.normal(size=300) + 0.3 * groups
    estimate = bootstrap(mean_statistic(values, groups), resamples=500, seed=3)
    distinct = np.unique(groups)
    loop = []
    draws = np.random.default_rng(3).multinomial(len(distinct), np.full(len(distinct), 1 / len(distinct)), 500)
    for drawn in draws:
        rows = np.concatenate(
            [np.flatnonzero(groups == g) for g, n in zip(distinct, drawn, strict=True) for _ in range(n)]
        )
        loop.append(values[rows].mean())
    low, high = np.quantile(loop, [0.0203, 0.9797])
    assert estimate.groups == len(distinct)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(low, abs=0.02)
    assert estimate.high == pytest.approx(high, abs=0.02)


def test_the_tail_is_the_normal_one_for_many_groups_and_wider_for_few() -> None:
    from counterpoint.evaluate.intervals import _tail

    assert _tail(100_000) == pytest.approx(0.025, abs=1e-5)
    assert _tail(10) == pytest.approx(0.0086, abs=2e-4)  # Phi(-sqrt(10 / 9) * 2.262)


@pytest.mark.parametrize("groups", [8, 30])
def test_intervals_cover_the_truth_and_windows_alone_do_not(groups: int) -> None:
    generator = np.random.default_rng(groups)
    hits = naive = 0
    trials = 200
    owner = np.repeat(np.arange(groups), 20)
    for trial in range(trials):
        values = generator.normal(size=groups)[owner] + 0.3 * generator.normal(size=len(owner))
        estimate = bootstrap(mean_statistic(values, owner), resamples=300, seed=trial)
        hits += estimate.low <= 0 <= estimate.high
        single = bootstrap(mean_statistic(values, np.arange(len(owner))), resamples=60, seed=trial)
        naive += single.low <= 0 <= single.high
    assert 0.91 <= hits / trials <= 0.99
    assert naive / trials < 0.7


def test_one_group_has_a_value_and_no_interval() -> None:
    estimate = bootstrap(mean_statistic(np.array([1.0, 3.0]), np.zeros(2, np.int64)))
    assert (estimate.value, estimate.groups) == (2.0, 1)
    assert np.isnan([estimate.low, estimate.high]).all()


def test_folds_of_one_group_each_are_resampled_as_groups() -> None:
    values = np.random.default_rng(0).normal(size=15)
    folds = [mean_statistic(values[[i]], np.array([i])) for i in range(15)]
    joint = combine(folds, resamples=300, seed=1)
    whole = bootstrap(mean_statistic(values, np.arange(15)), resamples=300, seed=1)
    np.testing.assert_allclose(joint, whole, rtol=1e-12)


def test_seeds_that_agree_add_no_certainty() -> None:
    one = mean_statistic(np.random.default_rng(0).normal(size=20), np.arange(20))
    np.testing.assert_allclose(combine([one] * 5), bootstrap(one), rtol=1e-12)


def test_a_paired_difference_is_sharper_than_its_sides() -> None:
    generator = np.random.default_rng(0)
    hard = generator.normal(size=25)
    first = mean_statistic(hard + 0.2, np.arange(25))
    second = mean_statistic(hard, np.arange(25))
    gain = paired_difference([first], [second])
    assert gain.value == pytest.approx(0.2)
    assert gain.high - gain.low < 1e-9
    assert bootstrap(first).high - bootstrap(first).low > 0.5
    with pytest.raises(ValueError, match="same groups"):
        paired_difference([first], [mean_statistic(hard, np.arange(1, 26))])
    nothing = mean_statistic(np.full(25, np.nan), np.arange(25))
    assert signed(paired_difference([first], [nothing])) == "undefined"


# Scores


def resampled_scores(probabilities: NDArray[np.float64], truth: Truth, counts: NDArray[np.int64]) -> dict[str, float]:
    """Scores of the rows drawn, from scikit-learn where it has them; NaN where a draw leaves them undefined."""
    rows = np.repeat(np.arange(len(truth.labels)), counts[truth.groups])
    labels, scores = truth.labels[rows], probabilities[rows]
    width = scores.shape[1]
    asked = [1] if width == 2 else range(width)
    areas, precise = [], []
    for k in asked:
        if (labels == k).any():
            precise.append(reference.average_precision_score(labels == k, scores[:, k]))
            if (labels != k).any():
                areas.append(reference.roc_auc_score(labels == k, scores[:, k]))
    predicted = scores.argmax(1)
    if width == 2:
        squared = reference.brier_score_loss(labels, scores[:, 1], labels=[0, 1])
    else:
        squared = np.mean(
            [
                sum((row[k] - (label == k)) ** 2 for k in range(width)) / 2
                for row, label in zip(scores, labels, strict=True)
            ]
        )
    return {
        "accuracy": reference.accuracy_score(labels, predicted),
        "balanced_accuracy": np.mean([(predicted[labels == k] == k).mean() for k in np.unique(labels)]),
        "macro_f1": reference.f1_score(labels, predicted, average="macro"),
        "auroc": float(np.mean(areas)) if areas else np.nan,
        "auprc": float(np.mean(precise)) if precise else np.nan,
        "brier": squared,
    }


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("digits", [1, 12])
@pytest.mark.parametrize(("groups", "rows"), [(4, 120), (40, 60), (60, 60)])
def test_scores_of_resamples_are_those_of_scikit_learn(groups: int, rows: int, classes: int, digits: int) -> None:
    generator = np.random.default_rng(groups)
    labels = np.concatenate([np.arange(classes), generator.integers(classes, size=rows - classes)])
    owner = generator.permutation(np.arange(rows) % groups)
    probabilities = generator.dirichlet(np.ones(classes), size=rows) + 0.3 * np.eye(classes)[labels]
    probabilities = np.round(probabilities / 1.3, digits)
    truth = Truth(labels, owner, owner, np.arange(rows), CLASSES[:classes])
    draws = generator.multinomial(groups, np.full(groups, 1 / groups), 12)
    draws = np.concatenate([np.ones((1, groups), np.int64), draws])
    got = {
        name: statistic.at(draws.astype(np.float64))
        for name, statistic in metrics.classification_statistics(probabilities, truth).items()
    }
    for index, drawn in enumerate(draws):
        for name, expected in resampled_scores(probabilities, truth, drawn).items():
            assert got[name][index] == pytest.approx(expected, nan_ok=True), (name, index)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_calibration_error_is_that_of_a_loop_over_bins(classes: int) -> None:
    generator = np.random.default_rng(classes)
    rows, groups = 200, 30
    probabilities = generator.dirichlet(np.ones(classes), size=rows)
    labels, owner = generator.integers(classes, size=rows), generator.permutation(np.arange(rows) % groups)
    truth = Truth(labels, owner, owner, np.arange(rows), CLASSES[:classes])
    said = probabilities[:, 1] if classes == 2 else probabilities.max(1)
    true = labels == 1 if classes == 2 else probabilities.argmax(1) == labels
    bins = np.array_split(np.argsort(said), 10)
    statistic = metrics.classification_statistics(probabilities, truth)["calibration_error"]
    draws = np.concatenate(
        [np.ones((1, groups), np.int64), generator.multinomial(groups, np.full(groups, 1 / groups), 9)]
    )
    for drawn, got in zip(draws, statistic.at(draws.astype(np.float64)), strict=True):
        weights = drawn[owner].astype(float)
        loop = [
            weights[rows].sum()
            * abs(np.average(said[rows], weights=weights[rows]) - np.average(true[rows], weights=weights[rows]))
            for rows in bins
            if weights[rows].any()
        ]
        assert got == pytest.approx(sum(loop) / weights.sum())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=300))
def test_bins_hold_equally_many_and_equal_values_share_one(values: list[int]) -> None:
    column = np.array(values, np.float64)
    bins = metrics.equal_mass_bins(column)
    assert bins.min() >= 0
    assert bins.max() <= 9
    order = np.argsort(column, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    for value in set(values):
        assert len(set(bins[column == value])) == 1
    distinct = metrics.equal_mass_bins(np.arange(len(values), dtype=np.float64))
    sizes = np.bincount(distinct, minlength=10)
    assert sizes.max() - sizes.min() <= 1


def test_a_perfect_and_a_confident_wrong_answer_stand_at_the_ends() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0, 2])
    truth = Truth(labels, np.arange(7), np.arange(7), np.arange(7), CLASSES)
    every = np.ones((1, 7))
    right = {n: s.at(every)[0] for n, s in metrics.classification_statistics(np.eye(3)[labels], truth).items()}
    wrong = {
        n: s.at(every)[0] for n, s in metrics.classification_statistics(np.eye(3)[(labels + 1) % 3], truth).items()
    }
    for name in metrics.METRICS:
        lower = name in metrics.LOWER_IS_BETTER
        assert right[name] == (0 if lower else 1), name
        assert wrong[name] == 1 if lower else wrong[name] < 0.5, name


def test_scores_that_share_their_draws_are_those_of_each_alone() -> None:
    generator = np.random.default_rng(0)
    some = mean_statistic(generator.normal(size=20), np.arange(20))
    other = mean_statistic(generator.normal(size=20), np.arange(20))
    part = mean_statistic(generator.normal(size=9), np.arange(9))
    asked = [[some], [part], [other, part], [other]]
    assert combine_all(asked, resamples=200, seed=4) == [combine(one, resamples=200, seed=4) for one in asked]


def test_long_draws_come_in_parts_and_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from counterpoint.evaluate import intervals, ranking

    made = KNN().evaluate(blobs(90, 0, groups=90), blobs(60, 1, groups=60))
    whole = made.estimates(resamples=50)
    monkeypatch.setattr(intervals, "_CELLS", 60 * 7)
    monkeypatch.setattr(ranking, "_CELLS", 30)
    parts = made.estimates(resamples=50)
    for name in metrics.METRICS:
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-12)


def test_balanced_accuracy_is_scikit_learns_on_the_whole() -> None:
    made = blobs(90, 3)
    result = RandomForest(trees=10).evaluate(blobs(90, 4), made)
    expected = reference.balanced_accuracy_score(made.labels, result.predictions)
    assert result.estimates()["balanced_accuracy"].value == pytest.approx(expected)


def test_chance_is_what_a_constant_answer_scores() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2])
    constant = np.tile([3 / 6, 2 / 6, 1 / 6], (6, 1))
    truth = Truth(labels, np.arange(6), np.arange(6), np.arange(6), CLASSES)
    scored = metrics.classification_statistics(constant, truth)
    for name, level in metrics.chance(labels, 3).items():
        assert scored[name].at(np.ones((1, 6)))[0] == pytest.approx(level), name
    two = np.array([0, 0, 0, 0, 1])
    truth = Truth(two, np.arange(5), np.arange(5), np.arange(5), CLASSES[:2])
    scored = metrics.classification_statistics(np.tile([0.8, 0.2], (5, 1)), truth)
    levels = metrics.chance(two, 2)
    assert levels["auprc"] == 0.2, "the prevalence of the last class"
    for name, level in levels.items():
        assert scored[name].at(np.ones((1, 5)))[0] == pytest.approx(level), name


# Neighbours


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize(("store", "k"), [(40, 3), (5000, 7)])
def test_neighbours_are_those_of_scikit_learn(
    metric: neighbours.Metric, store: int, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "_TILE", 50_000)
    generator = np.random.default_rng(store)
    kept = (generator.normal(size=(store, 16)) + 5).astype(np.float32)
    asked = (generator.normal(size=(60, 16)) + 5).astype(np.float32)
    distances, found = neighbours.nearest(asked, kept, k, metric)
    model = NearestNeighbors(n_neighbors=k, metric=metric, algorithm="brute").fit(kept.astype(np.float64))
    expected, rows = model.kneighbors(asked.astype(np.float64))
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_allclose(distances, expected, rtol=1e-6, atol=1e-9)


def test_equal_rows_are_at_distance_zero_and_the_earliest_comes_first() -> None:
    kept = np.random.default_rng(0).normal(size=(3000, 5)).astype(np.float32)
    kept[[11, 700, 2999]] = kept[1500]
    for metric in ("cosine", "euclidean", "manhattan"):
        distances, found = neighbours.nearest(kept[[1500]], kept, 4, metric)
        assert found.tolist() == [[11, 700, 1500, 2999]]
        assert (distances == 0).all()


def test_a_row_of_zeros_is_one_away_under_the_cosine() -> None:
    distances, _ = neighbours.nearest(np.zeros((1, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]), 2, "cosine")
    assert distances.tolist() == [[1.0, 1.0]]


def test_neighbours_refuse_what_they_cannot_do() -> None:
    with pytest.raises(ValueError, match="k=4 neighbours asked of a store of 3 rows"):
        neighbours.nearest(np.ones((1, 2)), np.ones((3, 2)), 4, "cosine")
    with pytest.raises(ValueError, match="queries are 3 wide, the store 2"):
        neighbours.nearest(np.ones((1, 3)), np.ones((3, 2)), 1, "cosine")


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "manhattan"])
@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("k", [1, 4, 15])
def test_knn_predicts_as_scikit_learn(metric: neighbours.Metric, weights: str, k: int) -> None:
    train, test = blobs(1500, 0), blobs(300, 1)
    got = KNN(k=k, metric=metric, weights="distance" if weights == "distance" else "uniform").predict(train, test)
    model = KNeighborsClassifier(k, metric=metric, weights=weights, algorithm="brute")
    model.fit(train.values.astype(np.float64), train.labels)
    asked = test.values.astype(np.float64)
    np.testing.assert_allclose(got, model.predict_proba(asked), atol=1e-7)
    np.testing.assert_array_equal(got.argmax(1), model.predict(asked))


def test_a_draw_of_votes_goes_to_the_least_class() -> None:
    values = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)
    index = np.arange(4)
    train = Embeddings(values, np.array([2, 1, 2, 1]), index, index, index, CLASSES, ("a", "b", "c", "d"))
    assert KNN(k=4, metric="euclidean").predict(train, train).argmax(1).tolist() == [1, 1, 1, 1]


def test_neighbours_at_distance_zero_count_alone() -> None:
    values = np.array([[0.0], [1.0], [1.1]], np.float32)
    index = np.arange(3)
    train = Embeddings(values, np.array([0, 1, 1]), index, index, index, CLASSES, ("a", "b", "c"))
    got = KNN(k=3, metric="euclidean", weights="distance").predict(train, train.take(index[:1]))
    assert got.tolist() == [[1.0, 0.0, 0.0]]


# Probes

PROBES: list[Evaluator] = [
    LinearProbe(),
    LinearProbe(C="grouped-cv"),
    LinearProbe(C="grouped-cv", best="auroc"),
    LinearProbe(clip=2.0),
    Boosting(trees=20),
    KNN(),
    KNN(scale="standard"),
    RandomForest(trees=20),
]


@pytest.mark.parametrize("probe", PROBES, ids=repr)
def test_probes_repeat_themselves_and_beat_chance(probe: Evaluator) -> None:
    train, test = blobs(200, 0), blobs(120, 1)
    first, second = probe.predict(train, test), probe.predict(train, test)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first.sum(1), 1.0)
    scores = probe(train, test)
    assert set(scores) == set(metrics.METRICS)
    assert scores["balanced_accuracy"].low > 1 / 3
    assert scores["accuracy"].groups == 12


@pytest.mark.parametrize("probe", PROBES, ids=repr)
def test_a_prediction_depends_on_no_other_test_row(probe: Evaluator) -> None:
    train, test = blobs(150, 0), blobs(60, 1)
    moved = test.values.copy()
    moved[30:] = 1000 * moved[30:] - 400
    other = Embeddings(moved, test.labels, test.groups, test.domains, test.ids, test.classes, test.names)
    np.testing.assert_allclose(probe.predict(train, test)[:30], probe.predict(train, other)[:30], atol=1e-12)


@pytest.mark.parametrize("probe", PROBES, ids=repr)
def test_unlabelled_rows_are_dropped(probe: Evaluator) -> None:
    train, test = blobs(150, 0), blobs(60, 1)
    hidden = train.labels.copy()
    hidden[::3] = -1
    partly = Embeddings(train.values, hidden, train.groups, train.domains, train.ids, train.classes, train.names)
    np.testing.assert_array_equal(probe.predict(partly, test), probe.predict(train.take(hidden >= 0), test))
    some = np.where(np.arange(60) < 10, -1, test.labels)
    masked = Embeddings(test.values, some, test.groups, test.domains, test.ids, test.classes, test.names)
    assert probe.evaluate(train, masked).truth.ids.tolist() == list(range(10, 60))


def test_the_linear_probe_is_a_scaled_logistic_regression() -> None:
    train, test = blobs(200, 0), blobs(100, 1)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=1000))
    model.fit(train.values.astype(np.float64), train.labels)
    expected = model.predict_proba(test.values.astype(np.float64))
    np.testing.assert_allclose(LinearProbe(C=0.3).predict(train, test), expected, atol=1e-6)


def test_a_clipped_probe_is_one_on_clipped_columns() -> None:
    train, test = blobs(200, 0), blobs(100, 1)
    test.values[0, 0] = 1e6
    scaler = StandardScaler().fit(train.values.astype(np.float64))
    fitted, asked = (np.clip(scaler.transform(side.values.astype(np.float64)), -1.5, 1.5) for side in (train, test))
    expected = LogisticRegression(max_iter=1000).fit(fitted, train.labels).predict_proba(asked)
    np.testing.assert_allclose(LinearProbe(clip=1.5).predict(train, test), expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"LinearProbe\.clip is 0"):
        LinearProbe(clip=0.0)


def test_a_column_constant_in_train_says_nothing() -> None:
    train = np.array([[1.0, 5.0], [3.0, 5.0 + 1e-7]])
    fitted, asked = standardise(train, np.array([[2.0, 9.0]]))
    assert fitted.tolist() == [[-1.0, 0.0], [1.0, 0.0]]
    assert asked.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("probe", PROBES, ids=repr)
def test_a_class_that_training_lacks_is_wrong_and_named(probe: Evaluator) -> None:
    train, test = blobs(150, 0), blobs(90, 1)
    result = probe.evaluate(train.take(train.labels != 1), test)
    assert result.unseen == ("inner",)
    assert (result.probabilities[:, 1] == 0).all()
    assert result.estimates()["accuracy"].value == pytest.approx((result.predictions == test.labels).mean())
    alone = probe.evaluate(train.take(train.labels == 2), test)
    assert set(alone.predictions.tolist()) == {2}
    assert alone.unseen == ("ball", "inner")


def test_probes_say_what_they_lack() -> None:
    train, test = blobs(60, 0), blobs(30, 1)
    unlabelled = Embeddings(
        train.values, np.full(60, -1), train.groups, train.domains, train.ids, train.classes, train.names
    )
    with pytest.raises(ValueError, match="no labelled row in train of fold 'load 3'"):
        KNN().evaluate(unlabelled, test, fold="load 3")
    with pytest.raises(ValueError, match="width 8"):
        KNN().evaluate(train, blobs(30, 1, width=4))
    with pytest.raises(ValueError, match="'grouped-cv' needs two groups"):
        LinearProbe(C="grouped-cv").predict(blobs(60, 0, groups=1), test)
    with pytest.raises(ValueError, match=r"LinearProbe\.C is -1"):
        LinearProbe(C=-1.0)
    with pytest.raises(ValueError, match=r"KNN\.k is 0"):
        KNN(k=0)


def test_the_penalty_is_chosen_on_whole_groups_of_train(monkeypatch: pytest.MonkeyPatch) -> None:
    train, test = blobs(150, 0), blobs(60, 1)
    fitted = LinearProbe._fitted
    scores: dict[float, list[tuple[float, float]]] = {}

    def spy(self: LinearProbe, fit: Embeddings, held: Embeddings, penalty: float) -> NDArray[np.float64]:
        answer = fitted(self, fit, held, penalty)
        if held is not test:
            assert not set(fit.groups) & set(held.groups)
            hit = answer.argmax(1) == held.labels
            scores.setdefault(penalty, []).append((float(hit.sum()), len(hit)))
        return answer

    monkeypatch.setattr(LinearProbe, "_fitted", spy)
    probe = LinearProbe(C="grouped-cv")
    final = probe.predict(train, test)
    assert len(scores) == 6
    assert all(sum(rows for _, rows in folds) == 150 for folds in scores.values())
    np.testing.assert_array_equal(final, LinearProbe(C=probe._chosen(train)).predict(train, test))


# Results


def results_of(name: str, spread: float, *, seeds: int = 2) -> list[Result]:
    made = []
    for seed in range(seeds):
        for fold, index in (("a", 10), ("b", 20)):
            train, test = blobs(150, seed, spread=spread), blobs(60, index + seed, spread=spread)
            kind = "model" if name == "model" else "baseline"
            made.append(KNN().evaluate(train, test, name=name, kind=kind, fold=fold, seed=seed))
    return made


def test_the_table_holds_every_answer_baselines_first() -> None:
    import json

    results = results_of("model", 1.0) + results_of("simple", 3.0)
    table = score_table(results, resamples=200)
    assert [row["name"] for row in table] == ["simple", "model"]
    row = json.loads(json.dumps(table, allow_nan=False))[1]
    assert (row["folds"], row["seeds"], row["groups"], row["rows"]) == (2, 2, 12, 240)
    each = [float((one.predictions == one.truth.labels).mean()) for one in results[:4]]
    score = row["scores"]["accuracy"]
    assert score["value"] == pytest.approx(np.mean(each))
    assert score["spread"] == pytest.approx(np.std([np.mean(each[:2]), np.mean(each[2:])], ddof=1))
    assert score["low"] < score["value"] < score["high"]
    text = render(table)
    lines = text.splitlines()
    assert f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" in lines[3]
    assert lines[-1].startswith("| chance")
    assert len({len(line) for line in lines}) == 1


def test_a_table_of_one_group_says_so() -> None:
    result = KNN().evaluate(blobs(60, 0), blobs(30, 1, groups=1))
    table = score_table([result])
    assert table[0]["scores"]["accuracy"]["low"] is None
    assert "no interval" in render(table)


def test_results_survive_the_disk(tmp_path: Path) -> None:
    made = results_of("model", 1.0)
    train = blobs(60, 0)
    made.append(KNN().evaluate(train.take(train.labels != 0), blobs(20, 1), name="other", kind="baseline"))
    save_results(tmp_path / "predictions.parquet", made)
    read = load_results(tmp_path / "predictions.parquet")
    assert [(r.name, r.kind, r.fold, r.seed, r.unseen) for r in read] == [
        (r.name, r.kind, r.fold, r.seed, r.unseen) for r in made
    ]
    for before, after in zip(made, read, strict=True):
        np.testing.assert_array_equal(before.probabilities, after.probabilities)
        np.testing.assert_array_equal(before.truth.groups, after.truth.groups)
    assert score_table(read, resamples=50) == score_table(made, resamples=50)


def test_a_better_model_differs_by_the_gap_of_the_table() -> None:
    strong, weak = results_of("model", 0.7), results_of("simple", 3.0)
    gain = difference(strong, weak, "balanced_accuracy")
    values = {row["name"]: row["scores"]["balanced_accuracy"]["value"] for row in score_table(strong + weak)}
    assert gain.value == pytest.approx((values["model"] or 0) - (values["simple"] or 0))
    assert gain.low > 0
    with pytest.raises(ValueError, match="metric 'f1' is not known"):
        difference(strong, weak, "f1")
