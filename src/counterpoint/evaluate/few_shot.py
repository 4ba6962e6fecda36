"""Few-shot: what embeddings are worth with few labels, beside summary statistics on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.intervals import Int, combine_all, paired_difference, signed
from counterpoint.evaluate.metrics import headline
from counterpoint.evaluate.probes import Evaluator
from counterpoint.evaluate.results import Kind, Result, known, whole
from counterpoint.settings import FewShot
from counterpoint.types import UNLABELLED

_ATTEMPTS = 1000
"""Draws that may lack a class before the labels asked for are too few."""


class Shot(TypedDict):
    """A score over all draws, folds and seeds; ``spread`` is the standard deviation between draws. JSON-able."""

    value: float | None
    low: float | None
    high: float | None
    groups: int
    spread: float | None


class Learner(NamedTuple):
    """What learns from few labels: an evaluator on features of the train and the test rows."""

    name: str
    kind: Kind
    evaluator: Evaluator
    train: Embeddings
    test: Embeddings


def draw_rows(labels: Int, count: int, *, seed: int, repeat: int, place: str) -> Int:
    """Rows (count,) of a plain random draw without replacement that holds every class at least once.

    Not stratified: who labels the first hundred rows does not choose how many of each class they are.

    Args:
        labels: (n,) class index or ``UNLABELLED``, which is never drawn.
        count: how many.
        seed: of the run.
        repeat: which of the draws of this seed.
        place: of the rows, for the message.

    Raises:
        ValueError: there are not as many labelled rows, or draws of so few lack a class again and again.
    """
    labelled = np.flatnonzero(labels != UNLABELLED)
    if count > len(labelled):
        raise ValueError(
            f"few_shot.labels asks for {count} labelled rows and {place} has {len(labelled)} to train on; ask for fewer"
        )
    generator = np.random.default_rng([seed, repeat])
    classes = len(np.unique(labels[labelled]))
    for _ in range(_ATTEMPTS):
        chosen = generator.permutation(labelled)[:count]
        if len(np.unique(labels[chosen])) == classes:
            return np.sort(chosen)
    raise ValueError(
        f"few_shot.labels asks for {count} rows, and {_ATTEMPTS} draws of so many from {place} lacked one of its "
        f"{classes} classes each; ask for more"
    )


def check(settings: FewShot, labels: Int, place: str, seeds: Sequence[int]) -> None:
    """Raise what ``draw_rows`` would raise, before anything is trained."""
    for count in settings.labels:
        for seed in seeds:
            for repeat in range(settings.repeats):
                draw_rows(labels, count, seed=seed, repeat=repeat, place=place)


def shot_name(name: str, labels: int, repeat: int) -> str:
    """What the answer of one draw is called: ``InfoNCE, logistic regression; 100 labels, draw 3``."""
    return f"{name}; {labels} labels, draw {repeat}"


def few_shot(settings: FewShot, learners: Sequence[Learner], *, fold: str, seed: int) -> list[Result]:
    """Results of every learner on every draw of the training rows, all scored on all test rows.

    Args:
        settings: how many labels, how many draws.
        learners: on the same rows in the same order.
        fold: of the data.
        seed: of the run.

    Raises:
        ValueError: the draws cannot be made.
    """
    labels = learners[0].train.labels
    assert all(np.array_equal(learner.train.ids, learners[0].train.ids) for learner in learners)
    results = []
    for count in settings.labels:
        for repeat in range(settings.repeats):
            rows = draw_rows(labels, count, seed=seed, repeat=repeat, place=f"fold {fold!r}")
            for name, kind, evaluator, train, test in learners:
                told = shot_name(name, count, repeat)
                results.append(evaluator.evaluate(train.take(rows), test, name=told, kind=kind, fold=fold, seed=seed))
    return results


def shot_table(
    settings: FewShot, results: Sequence[Result], model: str, baseline: str, metric: str, *, resamples: int = 400
) -> list[dict[str, object]]:
    """What a report says of few labels: both answers with intervals by test group, and their difference.

    Scores are means over draws, folds and seeds; groups are drawn for all of them at once.

    Args:
        settings: how many labels, how many draws.
        results: of ``few_shot``, over all folds and seeds.
        model: name of the learner on embeddings.
        baseline: name of the one on summary statistics.
        metric: what the difference is of.
        resamples: how many draws of groups; fewer than elsewhere, since every draw scores all the draws of labels.
    """
    table = []
    for count in settings.labels:
        sides = []
        for name in (model, baseline):
            named = {shot_name(name, count, repeat): repeat for repeat in range(settings.repeats)}
            sides.append([(named[result.name], result) for result in results if result.name in named])
        ours, theirs = ([result.statistics()[metric] for _, result in side] for side in sides)
        gap = paired_difference(ours, theirs, resamples=resamples)
        difference = {"value": known(gap.value), "low": known(gap.low), "high": known(gap.high), "text": signed(gap)}
        table.append(
            {
                "labels": count,
                "repeats": settings.repeats,
                "answers": [
                    {"name": name, "kind": side[0][1].kind, "scores": _scores(side, metric, resamples)}
                    for name, side in zip((model, baseline), sides, strict=True)
                ],
                "difference": {"metric": metric} | difference,
            }
        )
    return table


def _scores(side: Sequence[tuple[int, Result]], metric: str, resamples: int) -> dict[str, Shot]:
    """Scores of an answer whose results come with the number of their draw."""
    statistics = [result.statistics() for _, result in side]
    metrics = headline(metric)
    estimates = combine_all([[one[name] for one in statistics] for name in metrics], resamples=resamples)
    draws = np.array([repeat for repeat, _ in side])
    scores: dict[str, Shot] = {}
    for name, estimate in zip(metrics, estimates, strict=True):
        values = np.array([whole(one[name]) for one in statistics])
        means = [values[draws == repeat].mean() for repeat in np.unique(draws)]
        scores[name] = {
            "value": known(estimate.value),
            "low": known(estimate.low),
            "high": known(estimate.high),
            "groups": estimate.groups,
            "spread": known(float(np.std(means, ddof=1))) if len(means) > 1 else None,
        }
    return scores
