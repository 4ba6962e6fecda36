"""Estimates of a target, kept row by row: their scores with intervals by group, and where they are furthest off."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.evaluate.embeddings import write_whole
from counterpoint.evaluate.intervals import Float, Int, Statistic
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Kind, whole

SCORES = ("r2", "rmse", "mae", "mse", "spearman")
DRAWN = 1000
"""Most points of the picture of estimates against truth."""
_WORST = 20


class Targets(NamedTuple):
    """What is known of N rows beside their signal.

    Attributes:
        values: (N,) of the target, in its unit.
        groups: (N,) what is resampled as one when an interval is made.
        domains: (N,) operating condition.
        ids: (N,) row of the recording in the data's table.
        name: of the target.
    """

    values: Float
    groups: Int
    domains: Int
    ids: Int
    name: str


@dataclass(frozen=True)
class Estimated:
    """Estimates of one answer on those test rows of one fold under one seed whose target is known.

    Args:
        name: of what estimated, the same over folds and seeds.
        kind: whether it uses a learned representation.
        predicted: (N,) in the unit of the target.
        truth: of the same rows, all known.
        level: mean of the target over the training rows, which an answer that looks at nothing gives.
        fold: of the data.
        seed: of the run.

    Raises:
        ValueError: there is no row, a target is unknown, or an estimate is not finite.
    """

    name: str
    kind: Kind
    predicted: Float
    truth: Targets
    level: float
    fold: str = ""
    seed: int = 0

    def __post_init__(self) -> None:
        assert self.predicted.shape == self.truth.values.shape
        if not len(self.predicted) or not np.isfinite(self.truth.values).all():
            raise ValueError(
                f"{self.name}: estimates want test rows whose target is known; fold {self.fold!r} has others"
            )
        if bad := int((~np.isfinite(self.predicted)).sum()):
            raise ValueError(
                f"{self.name}: {bad} of {len(self.predicted)} estimates of fold {self.fold!r} are not finite"
            )

    @property
    def unseen(self) -> tuple[str, ...]:
        """Of classes alone; a target has none."""
        return ()

    def statistics(self) -> dict[str, Statistic]:
        """The scores by name, to be resampled."""
        return target_statistics(self.predicted, self.truth.values, self.truth.groups)

    def chance(self) -> dict[str, float]:
        """The scores of the training mean as the answer to every row; 0 where they are undefined."""
        constant = np.full(len(self.predicted), self.level)
        found = target_statistics(constant, self.truth.values, self.truth.groups)
        return {name: float(np.nan_to_num(whole(one))) for name, one in found.items()}


def target_statistics(predicted: Float, targets: Float, groups: Int) -> dict[str, Statistic]:
    """The scores of (N,) estimates by name, as functions of how often each group is drawn.

    - ``r2``: one minus the squared error over the variance about the mean of the rows scored, as scikit-learn's
      ``r2_score``; below 0 for what is worse than that mean. Undefined where all targets are the same.
    - ``rmse``, ``mae``, ``mse``: root mean squared, mean absolute and mean squared error; units are the target's.
    - ``spearman``: rank correlation; ranks are those of all rows, whatever the draw. Undefined for a constant.

    Args:
        predicted: (N,).
        targets: (N,), all known.
        groups: (N,).
    """
    found, owner = np.unique(groups, return_inverse=True)

    def summed(values: Float) -> Float:
        return np.bincount(owner, values, len(found)).astype(np.float64)

    error = predicted - targets
    rows, absolute, squared = summed(np.ones(len(error))), summed(np.abs(error)), summed(error**2)
    spread = _Moments(targets, targets, summed)
    ranks = [_ranks(values) for values in (predicted, targets)]
    own, true, joint = (_Moments(a, b, summed) for a, b in ((ranks[0],) * 2, (ranks[1],) * 2, (ranks[0], ranks[1])))

    def mse(counts: Float) -> Float:
        return divide(counts @ squared, counts @ rows)

    def spearman(counts: Float) -> Float:
        total = counts @ rows
        return divide(joint(counts, total), np.sqrt(own(counts, total) * true(counts, total)))

    scores = {
        "r2": lambda counts: 1 - divide(counts @ squared, spread(counts, counts @ rows)),
        "rmse": lambda counts: np.sqrt(mse(counts)),
        "mae": lambda counts: divide(counts @ absolute, counts @ rows),
        "mse": mse,
        "spearman": spearman,
    }
    return {name: Statistic(found, scores[name]) for name in SCORES}


class _Moments:
    """Sum of the products of two centred columns over the rows of a draw, from sums by group."""

    def __init__(self, a: Float, b: Float, summed: Any) -> None:
        # Centred by all rows first, so that a far mean costs no digits.
        a, b = a - a.mean(), b - b.mean()
        self._a, self._b, self._products = summed(a), summed(b), summed(a * b)
        self._least = 1e-12 * float(np.abs(a * b).sum())

    def __call__(self, counts: Float, rows: Float) -> Float:
        """(R,) of draws (R, G) that have (R,) rows; 0 where there is nothing but rounding."""
        found = counts @ self._products - divide((counts @ self._a) * (counts @ self._b), rows)
        return np.where(np.abs(found) > self._least, found, 0.0)


def _ranks(values: Float) -> Float:
    """(N,) ranks, equal values the mean of theirs."""
    from scipy.stats import rankdata

    return np.asarray(rankdata(values), np.float64)


def by_group(results: Sequence[Estimated]) -> list[Estimated]:
    """Every result with one row a group: the mean of its estimates, and of its targets; ids are those of the groups."""
    found = []
    for result in results:
        truth = result.truth
        names, first, owner, sizes = np.unique(truth.groups, return_index=True, return_inverse=True, return_counts=True)
        predicted, values = (np.bincount(owner, column) / sizes for column in (result.predicted, truth.values))
        pooled = Targets(values, names, truth.domains[first], names, truth.name)
        found.append(replace(result, predicted=predicted, truth=pooled))
    return found


def shown(main: Sequence[Estimated], names: Sequence[str]) -> dict[str, Any]:
    """What pictures and tables show of the main answer, of every seed the mean.

    Args:
        main: of every fold and seed.
        names: of the recordings by id.

    Returns:
        A JSON-able dict: ``target``, ``answer``, ``rows``, ``groups``; ``points`` (name, group, fold, true, predicted),
        as many as are drawn; and ``residuals``, the groups that are furthest off first: group, name of its first
        recording, rows, mean error (estimate minus truth) and mean absolute error.
    """
    folds: dict[str, list[Estimated]] = {}
    for result in main:
        folds.setdefault(result.fold, []).append(result)
    truths = [members[0].truth for members in folds.values()]
    predicted = np.concatenate([np.mean([one.predicted for one in members], 0) for members in folds.values()])
    values = np.concatenate([truth.values for truth in truths])
    groups, ids = (np.concatenate([getattr(truth, column) for truth in truths]) for column in ("groups", "ids"))
    where = [fold for fold, members in folds.items() for _ in members[0].predicted]
    order = np.argsort(values, kind="stable")
    drawn = order[np.unique(np.linspace(0, len(order) - 1, min(DRAWN, len(order))).round().astype(int))]
    points = [
        {
            "name": names[ids[row]],
            "group": int(groups[row]),
            "fold": where[row],
            "true": float(values[row]),
            "predicted": float(predicted[row]),
        }
        for row in drawn.tolist()
    ]
    known = {"target": main[0].truth.name, "answer": main[0].name, "rows": len(values)}
    residuals = _residuals(predicted - values, groups, [names[row] for row in ids])
    return known | {"groups": len(np.unique(groups)), "points": points, "residuals": residuals}


def _residuals(errors: Float, groups: Int, names: Sequence[str]) -> list[dict[str, Any]]:
    """The groups with the largest mean absolute error."""
    found, first, owner, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    mean, absolute = (np.bincount(owner, column) / sizes for column in (errors, np.abs(errors)))
    return [
        {
            "group": int(found[at]),
            "name": names[first[at]],
            "rows": int(sizes[at]),
            "error": float(mean[at]),
            "absolute": float(absolute[at]),
        }
        for at in np.argsort(-absolute, kind="stable")[:_WORST].tolist()
    ]


def save_estimates(path: Path, results: Sequence[Estimated]) -> None:
    """Write estimates to a Parquet file, a row each; what belongs to a whole result is in its metadata."""
    import pyarrow as pa

    heads, tables = [], []
    for index, result in enumerate(results):
        truth = result.truth
        heads.append([result.name, result.kind, result.fold, result.seed, result.level, truth.name])
        columns = {"result": np.full(len(truth.values), index), "id": truth.ids, "group": truth.groups}
        columns |= {"domain": truth.domains, "target": truth.values, "predicted": result.predicted}
        tables.append(pa.table(columns))
    write_whole(pa.concat_tables(tables).replace_schema_metadata({"estimates": json.dumps(heads)}), path)


def load_estimates(path: Path) -> list[Estimated]:
    """Read what ``save_estimates`` wrote.

    Raises:
        ValueError: the file is not one of ours.
    """
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    known = table.schema.metadata or {}
    if b"estimates" not in known:
        raise ValueError(f"{path}: not a file of estimates; `counterpoint evaluate` writes them")
    columns = {name: table[name].to_numpy() for name in table.column_names}
    results = []
    for index, (name, kind, fold, seed, level, target) in enumerate(json.loads(known[b"estimates"])):
        own = columns["result"] == index
        values, groups, domains, ids = (columns[column][own] for column in ("target", "group", "domain", "id"))
        truth = Targets(values, groups, domains, ids, target)
        results.append(Estimated(name, kind, columns["predicted"][own], truth, level, fold, seed))
    return results
