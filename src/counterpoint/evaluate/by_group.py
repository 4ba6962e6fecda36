"""One answer a group: predictions of all rows of a patient or a bearing pooled, and judged again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Int
from counterpoint.evaluate.metrics import spoken
from counterpoint.evaluate.results import Result, json_table
from counterpoint.evaluate.rival import against_best, with_interval
from counterpoint.types import UNLABELLED

How = Literal["mean", "vote"]


@dataclass(frozen=True)
class ByGroup:
    """Also judge groups: the rows of a patient, a bearing or a plate give one answer together.

    Groups whose labelled test rows are of several classes have no one truth: they are left out, and counted.

    Args:
        how: ``mean`` of the probabilities of the rows; or ``vote``, the share of the rows that answer with a class,
            where a draw goes to the class with the larger mean probability.
        decides: what the verdict, the main table and the confusion matrix are about.
    """

    how: How = "mean"
    decides: Literal["rows", "groups"] = "rows"


class Pooled(NamedTuple):
    """Answers by group, and how many groups had no one label."""

    results: list[Result]
    left_out: int


def check(settings: ByGroup | None, tested: Mapping[str, tuple[Int, Int]]) -> None:
    """Refuse, before anything is trained, folds in which no group can be judged.

    Args:
        settings: of the recipe; None where nothing is asked.
        tested: (n,) labels and (n,) groups of the test rows by fold.

    Raises:
        ValueError: naming the fold.
    """
    for fold, (labels, groups) in tested.items() if settings else ():
        of_one, _ = _groups(labels[labels != UNLABELLED], groups[labels != UNLABELLED])
        if not of_one.any():
            raise ValueError(
                f"evaluation.by_group: fold {fold!r} has no test group whose rows are all of one class; "
                "name another group column in the data, or leave evaluation.by_group out"
            )


def pooled(results: Sequence[Result], how: How) -> Pooled:
    """Every result with one row a group, in the order of the groups; ids are those of the groups.

    A group that several folds or seeds test is pooled in each of them by itself, and counted once where left out.

    Args:
        results: of any answers.
        how: as ``ByGroup``.
    """
    found, left = [], set[int]()
    for result in results:
        of_one, owner = _groups(result.truth.labels, result.truth.groups)
        names, first = np.unique(result.truth.groups, return_index=True)
        left |= set(names[~of_one].tolist())
        truth = result.truth
        kept = first[of_one]
        columns = (truth.labels[kept], truth.groups[kept], truth.domains[kept], truth.groups[kept])
        if len(kept):
            answers = _pool(result, owner, how)[of_one]
            found.append(replace(result, probabilities=answers, truth=Truth(*columns, truth.classes)))
    return Pooled(found, len(left))


def of_one_class(labels: Int, groups: Int) -> Any:
    """(N,) rows that are labelled, as all labelled rows of their group are."""
    found, known = np.zeros(len(labels), dtype=np.bool_), labels != UNLABELLED
    if known.any():
        of_one, owner = _groups(labels[known], groups[known])
        found[known] = of_one[owner]
    return found


def _groups(labels: Int, groups: Int) -> tuple[Any, Int]:
    """(G,) which groups have rows of one class, and (N,) the index of the group of each row."""
    names, owner = np.unique(groups, return_inverse=True)
    least, largest = np.full(len(names), np.iinfo(np.int64).max), np.full(len(names), -1)
    np.minimum.at(least, owner, labels)
    np.maximum.at(largest, owner, labels)
    return least == largest, owner


def _pool(result: Result, owner: Int, how: How) -> Any:
    """(G, K) answers of the groups."""
    shape = (int(owner.max()) + 1, result.probabilities.shape[1])
    total, votes = np.zeros(shape), np.zeros(shape)
    np.add.at(total, owner, result.probabilities)
    np.add.at(votes, (owner, result.predictions), 1.0)
    sizes = np.bincount(owner)[:, None]
    mean = total / sizes
    # A billionth of the mean moves no share that is not a draw.
    return mean if how == "mean" else (votes / sizes + 1e-9 * mean) / (1 + 1e-9)


def group_deciding(settings: ByGroup | None, results: Sequence[Result]) -> list[Result]:
    """Results as the verdict is to see them: pooled where groups decide, else as they are."""
    if settings is None or settings.decides == "rows":
        return list(results)
    return pooled(results, settings.how).results


def group_note(settings: ByGroup | None) -> str:
    """What a verdict about groups adds; empty where it is about rows."""
    if settings is None or settings.decides == "rows":
        return ""
    return f"Every answer is of a whole group, by the {settings.how} of its rows."


def group_scores(settings: ByGroup | None, judged: Sequence[Result], answer: str, metric: str) -> dict[str, Any]:
    """Every answer by group, beside what the main one and the best baseline reach by row.

    Args:
        settings: of the recipe; None where nothing is asked.
        judged: results of all answers, a row each.
        answer: name of the main one.
        metric: what answers are compared by.

    Returns:
        A JSON-able dict, empty without settings: ``how``, ``decides``, ``metric``, ``answer``, ``groups`` and
        ``left_out`` (how many), ``chance`` by metric, ``rows``, ``by_row`` (the main answer's score by row), ``best``
        (the baseline; None without one), ``difference`` to it.
    """
    if settings is None:
        return {}
    found, left = pooled(judged, settings.how)
    table = json_table(found)
    mine = [result for result in found if result.name == answer]
    (by_row,) = json_table([result for result in judged if result.name == answer])
    return {
        "how": settings.how,
        "decides": settings.decides,
        "metric": metric,
        "answer": answer,
        "groups": len(np.unique(np.concatenate([result.truth.groups for result in mine]))),
        "left_out": left,
        "chance": {name: score["chance"] for name, score in table[0]["scores"].items()},
        "rows": table,
        "by_row": by_row["scores"][metric],
        **against_best(table, found, answer, metric),
    }


def group_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of it: the main answer a group and a row, the best baseline, and what was left out."""
    found = scores["by_group"]
    if not found:
        return []
    metric, by_name = found["metric"], {row["name"]: row["scores"] for row in found["rows"]}
    way = "the mean of its rows" if found["how"] == "mean" else "a vote of its rows"
    own, by_row = with_interval(by_name[found["answer"]][metric]), with_interval(found["by_row"])
    line = f"By group ({way}, {found['groups']} groups): {spoken(metric)} {own} of {found['answer']}; by row {by_row}"
    if found["best"] is not None:
        line += f"; best baseline by group, {found['best']}: {with_interval(by_name[found['best']][metric])}"
        line += f" (difference {found['difference']['text']})"
    left = f" Left out, their rows being of several classes: {found['left_out']} groups." if found["left_out"] else ""
    return [f"{line}.{left}"]
