"""What a model or a baseline predicted, kept row by row, and the table in which all of them stand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypedDict

import numpy as np

from counterpoint.evaluate.embeddings import Truth, write_whole
from counterpoint.evaluate.intervals import Float, Int, Statistic, combine_all, figure, paired_difference
from counterpoint.evaluate.metrics import METRICS, chance, classification_statistics
from counterpoint.types import UNLABELLED, Estimate

Kind = Literal["baseline", "model"]


class Tested(Protocol):
    """The part of a truth that a table needs."""

    @property
    def groups(self) -> Int: ...


class Answer(Protocol):
    """What stands in a table of scores: predictions of classes, or of a target."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def truth(self) -> Tested: ...
    @property
    def unseen(self) -> tuple[str, ...]: ...
    @property
    def fold(self) -> str: ...
    @property
    def seed(self) -> int: ...

    def statistics(self) -> dict[str, Statistic]:
        """The scores by name, to be resampled."""

    def chance(self) -> dict[str, float]:
        """The scores of an answer that looks at nothing."""


@dataclass(frozen=True)
class Result:
    """Predictions of one answer on the labelled test rows of one fold under one seed.

    Rows are kept, not scores, because a mean over folds and seeds has an interval only when all are resampled
    together.

    Args:
        name: of what predicted, the same over folds and seeds.
        kind: whether it uses a learned representation.
        probabilities: (N, K) over all classes, also those that training lacked.
        truth: of the same rows, all labelled.
        unseen: classes that occur in test and never in training; every row of them counts as wrong.
        fold: of the data.
        seed: of the run.
    """

    name: str
    kind: Kind
    probabilities: Float
    truth: Truth
    unseen: tuple[str, ...] = ()
    fold: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        assert self.probabilities.shape == (len(self.truth.labels), len(self.truth.classes))
        if len(self.truth.labels) == 0 or self.truth.labels.min() < 0:
            raise ValueError(f"{self.name}: a result wants labelled test rows; fold {self.fold!r} has none or others")

    @property
    def predictions(self) -> Int:
        """(N,) class index, of equally probable ones the least."""
        return np.asarray(self.probabilities.argmax(1), np.int64)

    def statistics(self) -> dict[str, Statistic]:
        """The scores by name, to be resampled."""
        return classification_statistics(self.probabilities, self.truth)

    def chance(self) -> dict[str, float]:
        """See ``metrics.chance``."""
        return chance(self.truth.labels, len(self.truth.classes))

    def estimates(self, *, resamples: int = 1000, seed: int = 0) -> dict[str, Estimate]:
        """The scores by name with intervals by group."""
        scores = self.statistics()
        found = combine_all([[score] for score in scores.values()], resamples=resamples, seed=seed)
        return dict(zip(scores, found, strict=True))


def unseen_classes(train: Truth, test: Truth) -> tuple[str, ...]:
    """Names of the classes that occur in test and never in train."""
    lost = sorted(set(test.labels.tolist()) - set(train.labels.tolist()) - {UNLABELLED})
    return tuple(test.classes[label] for label in lost)


class Score(TypedDict):
    """A score of a table: None where it is undefined, as the interval of a single group is.

    ``spread`` is the standard deviation between seeds of the mean over folds.
    """

    value: float | None
    low: float | None
    high: float | None
    spread: float | None
    chance: float


class TableRow(TypedDict):
    """One answer, over all of its folds and seeds; JSON-able."""

    name: str
    kind: Kind
    folds: int
    seeds: int
    groups: int
    rows: int
    unseen: list[str]
    scores: dict[str, Score]


def score_table(results: Sequence[Answer], *, resamples: int = 1000, seed: int = 0) -> list[TableRow]:
    """Mean scores over folds and seeds with joint intervals: baselines first, else in the order given."""
    kinds: tuple[Kind, ...] = ("baseline", "model")
    answers: dict[tuple[Kind, str], list[Answer]] = {}
    for result in sorted(results, key=lambda result: kinds.index(result.kind)):
        answers.setdefault((result.kind, result.name), []).append(result)
    scored = [[member.statistics() for member in members] for members in answers.values()]
    metrics = list(scored[0][0]) if scored else []
    asked = [[one[metric] for one in statistics] for statistics in scored for metric in metrics]
    found = iter(combine_all(asked, resamples=resamples, seed=seed))
    return [
        _table_row(members, statistics, {metric: next(found) for metric in metrics})
        for members, statistics in zip(answers.values(), scored, strict=True)
    ]


def json_table(results: Sequence[Answer]) -> list[dict[str, Any]]:
    """The score table with the number of groups beside every score, as ``scores.json`` holds it."""
    return [
        {**row, "scores": {name: {**score, "groups": row["groups"]} for name, score in row["scores"].items()}}
        for row in score_table(results)
    ]


def difference(
    first: Sequence[Answer], second: Sequence[Answer], metric: str, *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """How much better ``first`` is than ``second``, both over the same groups, folds and seeds pooled.

    Raises:
        ValueError: the groups differ, or the metric is none of ours.
    """
    scored = [[result.statistics() for result in side] for side in (first, second)]
    if metric not in scored[0][0]:
        raise ValueError(f"metric {metric!r} is not known; use one of {', '.join(scored[0][0])}")
    ours, theirs = ([one[metric] for one in side] for side in scored)
    return paired_difference(ours, theirs, resamples=resamples, seed=seed)


def _table_row(
    members: list[Answer], statistics: list[dict[str, Statistic]], estimates: dict[str, Estimate]
) -> TableRow:
    chances = [member.chance() for member in members]
    seeds = sorted({member.seed for member in members})
    scores: dict[str, Score] = {}
    for metric, estimate in estimates.items():
        values = [whole(scored[metric]) for scored in statistics]
        means = [
            np.mean([value for value, member in zip(values, members, strict=True) if member.seed == one])
            for one in seeds
        ]
        scores[metric] = {
            "value": known(estimate.value),
            "low": known(estimate.low),
            "high": known(estimate.high),
            "spread": known(float(np.std(means, ddof=1))) if len(seeds) > 1 else None,
            "chance": float(np.mean([by_metric[metric] for by_metric in chances])),
        }
    groups = np.unique(np.concatenate([member.truth.groups for member in members]))
    return {
        "name": members[0].name,
        "kind": members[0].kind,
        "folds": len({member.fold for member in members}),
        "seeds": len(seeds),
        "groups": len(groups),
        "rows": sum(len(member.truth.groups) for member in members),
        "unseen": sorted({name for member in members for name in member.unseen}),
        "scores": scores,
    }


def whole(statistic: Statistic) -> float:
    """The score of the rows as they are, each group once."""
    return float(statistic.at(np.ones((1, len(statistic.groups))))[0])


def known(value: float) -> float | None:
    """A number for JSON: None where it is undefined."""
    return value if np.isfinite(value) else None


def render(table: Sequence[TableRow], metrics: Sequence[str] = METRICS) -> str:
    """A Markdown table: value [95 % interval], ± spread between seeds, groups, and a last line with chance.

    Args:
        table: of ``score_table``.
        metrics: the columns.
    """
    if not table:
        return "No class was scored: nothing is labelled."
    lines = [["", "kind", *metrics, "groups", "folds x seeds"]]
    for row in table:
        cells = [_cell(row["scores"][metric]) for metric in metrics]
        lines.append([row["name"], row["kind"], *cells, str(row["groups"]), f"{row['folds']} x {row['seeds']}"])
    levels = [figure(table[0]["scores"][metric]["chance"]) for metric in metrics]
    lines.append(["chance", "", *levels, "", ""])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    unseen = sorted({name for row in table for name in row["unseen"]})
    if unseen:
        text.append(f"\nTested but never trained on, so always wrong: {', '.join(unseen)}.")
    if any(row["groups"] < 2 for row in table):
        text.append("\nOne group alone has no interval.")
    return "\n".join(text)


def _cell(score: Score) -> str:
    if score["value"] is None:
        return "-"
    text = figure(score["value"])
    if score["low"] is not None and score["high"] is not None:
        text += f" [{figure(score['low'])}, {figure(score['high'])}]"
    return text if score["spread"] is None else f"{text} ± {figure(score['spread'])}"


def save_results(path: Path, results: Sequence[Result]) -> None:
    """Write predictions to a Parquet file, a row each; what belongs to a whole result is in its metadata."""
    import pyarrow as pa

    heads, tables = [], []
    for index, result in enumerate(results):
        heads.append([result.name, result.kind, result.fold, result.seed, result.unseen, result.truth.classes])
        columns = {
            "result": np.full(len(result.truth.labels), index),
            "id": result.truth.ids,
            "group": result.truth.groups,
            "domain": result.truth.domains,
            "label": result.truth.labels,
            "prediction": result.predictions,
            "probabilities": list(result.probabilities.astype(np.float64)),
        }
        tables.append(pa.table(columns))
    known = {"results": json.dumps(heads)}
    write_whole(pa.concat_tables(tables).replace_schema_metadata(known), path)


def load_results(path: Path) -> list[Result]:
    """Read what ``save_results`` wrote.

    Raises:
        ValueError: the file is not one of ours.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    known = table.schema.metadata or {}
    if b"results" not in known:
        raise ValueError(f"{path}: not a file of predictions; `counterpoint evaluate` writes them")
    owner = table["result"].to_numpy()
    labels, groups, domains, ids = (table[name].to_numpy() for name in ("label", "group", "domain", "id"))
    results = []
    for index, (name, kind, fold, seed, unseen, classes) in enumerate(json.loads(known[b"results"])):
        own = np.flatnonzero(owner == index)
        probabilities = np.array(table["probabilities"].take(own).to_pylist(), np.float64)
        truth = Truth(labels[own], groups[own], domains[own], ids[own], tuple(classes))
        results.append(Result(name, kind, probabilities, truth, tuple(unseen), fold, seed))
    return results
