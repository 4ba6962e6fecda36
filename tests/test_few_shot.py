"""Few labels: which rows are drawn, that both answers learn from the same, and what the table says of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.few_shot import Learner, check, draw_rows, few_shot, shot_table
from counterpoint.evaluate.probes import Evaluator, LinearProbe
from counterpoint.evaluate.results import load_results, save_results
from counterpoint.settings import FewShot


def stays(rows: int, seed: int, *, width: int, signal: float) -> Embeddings:
    generator = np.random.default_rng(seed)
    labels = (np.random.default_rng(seed + 99).random(rows) < 0.3).astype(np.int64)
    values = generator.normal(size=(rows, width)).astype(np.float32)
    values[:, 0] += signal * labels
    index = np.arange(rows)
    return Embeddings(values, labels, index, index, index, ("survived", "died"), tuple(map(str, index)))


def learners(strong: float = 2.0, weak: float = 0.7) -> list[Learner]:
    def sides(signal: float, width: int) -> tuple[Embeddings, Embeddings]:
        return stays(300, 0, width=width, signal=signal), stays(200, 1, width=width, signal=signal)

    return [
        Learner("encoder", "model", LinearProbe(), *sides(strong, 3)),
        Learner("hand", "baseline", LinearProbe(C=0.01), *sides(weak, 6)),
    ]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 2), min_size=30, max_size=80), st.integers(8, 20), st.integers(0, 9))
def test_a_draw_is_of_labelled_rows_and_holds_every_class(labels: list[int], count: int, repeat: int) -> None:
    column = np.array([*labels, *([0, 1, 2] * 4)])
    rows = draw_rows(column, count, seed=3, repeat=repeat, place="here")
    assert len(set(rows.tolist())) == count
    assert set(column[rows].tolist()) == {0, 1, 2}
    np.testing.assert_array_equal(rows, draw_rows(column, count, seed=3, repeat=repeat, place="here"))


def test_a_draw_is_not_stratified_and_every_row_is_as_likely() -> None:
    labels = np.arange(60) % 3 % 2
    draws = [draw_rows(labels, 15, seed=seed, repeat=repeat, place="here") for seed in (0, 1) for repeat in range(400)]
    positives = [int(labels[rows].sum()) for rows in draws]
    # Hypergeometric: 20 of 60 are positive, so the number among 15 has the variance 15 * 2/9 * 45/59.
    assert np.mean(positives) == pytest.approx(5, abs=0.2)
    assert np.var(positives) == pytest.approx(15 * 2 / 9 * 45 / 59, rel=0.2)
    often = np.bincount(np.concatenate(draws), minlength=60) / len(draws)
    assert np.abs(often - 0.25).max() < 0.07
    assert len({tuple(rows) for rows in draws}) == len(draws)


def test_draws_that_cannot_be_made_are_refused_before_training() -> None:
    rare = np.r_[np.zeros(20_000, np.int64), 1]
    with pytest.raises(ValueError, match=r"1000 draws of so many from fold 'a' lacked one of its 2 classes"):
        draw_rows(rare, 2, seed=0, repeat=0, place="fold 'a'")
    with pytest.raises(ValueError, match=r"asks for 400 labelled rows and fold 'a' has 300"):
        check(FewShot(), np.r_[np.arange(300) % 2, np.full(500, -1)], "fold 'a'", [0])
    check(FewShot(labels=(100, 300)), np.arange(300) % 2, "fold 'a'", [0, 1])


@final
@dataclass(frozen=True, kw_only=True)
class Spy(Evaluator):
    """Keeps which rows it was trained on."""

    seen: list[list[int]]

    @property
    def name(self) -> str:
        return "spy"

    def predict(self, train: Embeddings, test: Embeddings) -> NDArray[np.float64]:
        self.seen.append(train.ids.tolist())
        return np.full((len(test), 2), 0.5)


def test_both_learn_from_the_same_rows_and_are_scored_on_all_test_rows() -> None:
    first, second = learners()
    spies = [Spy(seen=[]), Spy(seen=[])]
    told = FewShot(labels=(20, 50), repeats=4)
    sides = [one._replace(evaluator=spy) for one, spy in zip((first, second), spies, strict=True)]
    results = few_shot(told, sides, fold="a", seed=2)
    assert spies[0].seen == spies[1].seen
    assert [len(rows) for rows in spies[0].seen] == [20] * 4 + [50] * 4
    assert len({tuple(rows) for rows in spies[0].seen}) == 8
    assert {len(result.truth.labels) for result in results} == {200}
    assert {(result.fold, result.seed) for result in results} == {("a", 2)}


def table_of(results: Any, told: FewShot) -> list[dict[str, Any]]:
    table = shot_table(told, results, "encoder", "hand", "auroc", resamples=300)
    found: list[dict[str, Any]] = json.loads(json.dumps(table, allow_nan=False))
    return found


def test_the_table_holds_means_over_draws_and_seeds_with_their_difference(tmp_path: Path) -> None:
    told = FewShot(labels=(20, 100), repeats=5)
    results = [result for seed in (0, 1) for result in few_shot(told, learners(), fold="a", seed=seed)]
    save_results(tmp_path / "few_shot.parquet", results)
    table = table_of(load_results(tmp_path / "few_shot.parquet"), told)
    assert table == table_of(results, told)
    assert [(row["labels"], row["repeats"]) for row in table] == [(20, 5), (100, 5)]
    for row in table:
        own, simple = row["answers"]
        assert (own["name"], own["kind"], simple["name"], simple["kind"]) == ("encoder", "model", "hand", "baseline")
        assert list(own["scores"]) == ["auroc", "auprc", "brier"]
        for answer in (own, simple):
            mine = [r for r in results if r.name.startswith(f"{answer['name']}; {row['labels']} labels")]
            areas = [roc_auc_score(r.truth.labels, r.probabilities[:, 1]) for r in mine]
            precise = [average_precision_score(r.truth.labels, r.probabilities[:, 1]) for r in mine]
            score = answer["scores"]["auroc"]
            assert score["value"] == pytest.approx(np.mean(areas))
            assert answer["scores"]["auprc"]["value"] == pytest.approx(np.mean(precise))
            # Five draws of seed 0, then five of seed 1: the spread is between draws, seeds averaged.
            assert score["spread"] == pytest.approx(np.std(np.reshape(areas, (2, 5)).mean(0), ddof=1))
            assert score["low"] < score["value"] < score["high"]
            assert score["groups"] == 200
        gap = row["difference"]
        assert gap["value"] == pytest.approx(own["scores"]["auroc"]["value"] - simple["scores"]["auroc"]["value"])
        assert 0 < gap["low"] < gap["value"] < gap["high"]
        assert gap["text"].startswith(f"+{gap['value']:.3f} [")
    assert table[1]["answers"][1]["scores"]["auroc"]["value"] > table[0]["answers"][1]["scores"]["auroc"]["value"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"labels": (1,)}, "at least 2"), ({"labels": ()}, "different"), ({"labels": (9, 9)}, "different")],
)
def test_settings_that_mean_nothing_are_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FewShot(**wrong)
    with pytest.raises(ValueError, match="repeats is 0"):
        FewShot(repeats=0)
