"""How far the heads of an objective agree, such as those of single modalities with that of all together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from counterpoint.evaluate.intervals import Float, Int, Statistic, combine_all
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Result, known
from counterpoint.evaluate.worth import on_common_rows

_Scores = dict[str, Statistic]


def agreement(heads: Sequence[Result], *, resamples: int = 1000) -> dict[str, Any]:
    """What pairs of heads agree on, and how often they are right where they do and where they do not.

    Scores are means over folds and seeds with intervals by group, on the test rows that both heads know.

    Args:
        heads: results of every head of an objective on test rows; none or one, and there is nothing to compare.
        resamples: how many draws of groups.

    Returns:
        A JSON-able dict, empty for fewer than two heads: ``heads``, a line each with ``name`` and ``accuracy``;
        ``pairs``, a line each with ``first``, ``second``, ``rows`` (of one seed), ``agree`` (share of the rows),
        ``kappa`` (Cohen 1960; what they agree beyond chance), ``accuracy_agree``, ``first_disagree`` and
        ``second_disagree`` (accuracy of each where they differ).
    """
    names = list(dict.fromkeys(result.name for result in heads))
    if len(names) < 2:
        return {}
    by_name = {name: [result for result in heads if result.name == name] for name in names}
    scored = [{"accuracy": result.statistics()["accuracy"]} for result in heads]
    alone = []
    for name in names:
        own = [scores for scores, result in zip(scored, heads, strict=True) if result.name == name]
        alone.append({"name": name} | _estimates(own, resamples))
    pairs = []
    for first, second in combinations(names, 2):
        ours, theirs = on_common_rows(by_name[first], by_name[second])
        if ours:
            seeds = len({result.seed for result in ours})
            rows = sum(len(result.truth.labels) for result in ours) // seeds
            scores = [_pair(one, other) for one, other in zip(ours, theirs, strict=True)]
            pairs.append({"first": first, "second": second, "rows": rows} | _estimates(scores, resamples))
    return {"heads": alone, "pairs": pairs}


def _pair(one: Result, other: Result) -> _Scores:
    """The scores of two answers on the same rows."""
    groups, owner = np.unique(one.truth.groups, return_inverse=True)
    labels, width = one.truth.labels, one.probabilities.shape[1]
    ours, theirs = one.predictions, other.predictions
    same = ours == theirs

    def sums(rows: Any) -> Float:
        return np.bincount(owner, rows, len(groups)).astype(np.float64)

    shares = {
        "agree": (sums(same), sums(np.ones(len(labels)))),
        "accuracy_agree": (sums(same & (ours == labels)), sums(same)),
        "first_disagree": (sums(~same & (ours == labels)), sums(~same)),
        "second_disagree": (sums(~same & (theirs == labels)), sums(~same)),
    }
    found: dict[str, Callable[[Float], Float]] = {name: partial(_share, *both) for name, both in shares.items()}
    found["kappa"] = partial(_kappa, _joint(ours, theirs, owner, (len(groups), width, width)))
    return {name: Statistic(groups, at) for name, at in found.items()}


def _joint(ours: Int, theirs: Int, owner: Int, shape: tuple[int, int, int]) -> Float:
    """(G, K, K) rows of each group by what the one and the other answer."""
    counts = np.zeros(shape)
    np.add.at(counts, (owner, ours, theirs), 1.0)
    return counts


def _share(part: Float, whole: Float, draws: Float) -> Float:
    return divide(draws @ part, draws @ whole)


def _kappa(joint: Float, draws: Float) -> Float:
    """(R,) Cohen's kappa, NaN where both always answer with one and the same class."""
    counts = np.tensordot(draws, joint, 1)
    total = counts.sum((1, 2))
    seen = divide(np.trace(counts, axis1=1, axis2=2), total)
    chance = divide((counts.sum(2) * counts.sum(1)).sum(1), total**2)
    return divide(seen - chance, 1 - chance)


def _estimates(scores: Sequence[_Scores], resamples: int) -> dict[str, dict[str, Any]]:
    """Every score over all folds and seeds."""
    names = list(scores[0])
    found = combine_all([[one[name] for one in scores] for name in names], resamples=resamples)
    return {
        name: {
            "value": known(estimate.value),
            "low": known(estimate.low),
            "high": known(estimate.high),
            "groups": estimate.groups,
        }
        for name, estimate in zip(names, found, strict=True)
    }


def agreement_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of it: a line a pair of heads."""
    found = scores["agreement"]
    return [
        f"{pair['first']} and {pair['second']} agree on {_share_told(pair['agree'])} of the test rows "
        f"(kappa {_told(pair['kappa'])}); right {_share_told(pair['accuracy_agree'])} where they agree, where they do "
        f"not {_share_told(pair['first_disagree'])} and {_share_told(pair['second_disagree'])}."
        for pair in (found["pairs"] if found else [])
    ]


def _told(score: dict[str, Any]) -> str:
    return "undefined" if score["value"] is None else f"{score['value']:.3f}"


def _share_told(score: dict[str, Any]) -> str:
    return "undefined" if score["value"] is None else f"{100 * score['value']:.1f} %"
