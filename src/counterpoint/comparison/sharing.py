"""Which test rows runs share, and their answers on those alone; what cannot be compared is refused with the reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from counterpoint.comparison.entrants import Entrant, reordered
from counterpoint.evaluate.by_group import group_deciding
from counterpoint.evaluate.embeddings import Truth
from counterpoint.evaluate.intervals import Int
from counterpoint.evaluate.results import Result
from counterpoint.products.predictions import Told

Place = tuple[str, str]
"""A fold and a recording in it."""
SHOWN = 3
"""Names that a message spells out."""


class Shared(NamedTuple):
    """Runs on common ground.

    Attributes:
        entrants: the runs.
        results: of each run, what it says of the shared rows; the same rows in the same order for each fold.
        rows: shared rows of all folds.
        recordings: shared recordings.
        groups: independent groups among them.
        folds: folds that have any.
        left_out: of each run, test rows that not all the others have.
        judged: what is scored: ``row``, or ``group`` where groups decide in every run.
    """

    entrants: list[Entrant]
    results: list[list[Result]]
    rows: int
    recordings: int
    groups: int
    folds: list[str]
    left_out: list[int]
    judged: str


def share(entrants: Sequence[Entrant]) -> Shared:
    """Cut runs down to the test rows that all of them have: same fold, same recording, cut into as many rows.

    Raises:
        ValueError: other classes, no common rows, other labels or other groups of the same rows.
    """
    _refuse_other_classes(entrants)
    held = [_held(entrant) for entrant in entrants]
    common = {place for place, count in held[0].items() if all(one.get(place) == count for one in held)}
    if not common:
        told = "; ".join(
            f"{one.name} tests {_some({fold for fold, _ in own})}" for one, own in zip(entrants, held, strict=True)
        )
        raise ValueError(
            "the runs share no test row: a row is shared where fold and recording have the same name and the recording "
            f"is cut into as many rows. {told}. Compare runs of the same data and the same split"
        )
    folds = {fold for fold, _ in common}
    results = [
        [_cut(told, common, entrants[0].classes) for told in entrant.told if told.result.fold in folds]
        for entrant in entrants
    ]
    first = _by_fold(results[0], entrants[0].answer)
    for entrant, own in zip(entrants[1:], results[1:], strict=True):
        _refuse_other_truth(first, _by_fold(own, entrant.answer), entrants[0].name, entrant.name)
    # Groups are numbered run by run; those of the first stand for all.
    results = [[_grouped(one, first[one.fold]) for one in own] for own in results]
    pooling = entrants[0].groups
    if pooling is not None and all(entrant.groups == pooling for entrant in entrants):
        results = [group_deciding(pooling, own) for own in results]
    else:
        pooling = None
    rows = sum(len(truth.labels) for truth in first.values())
    return Shared(
        list(entrants),
        results,
        rows,
        len({recording for _, recording in common}),
        len(np.unique(np.concatenate([truth.groups for truth in first.values()]))),
        list(first),
        [entrant.rows - rows for entrant in entrants],
        "row" if pooling is None else "group",
    )


def _refuse_other_classes(entrants: Sequence[Entrant]) -> None:
    first = entrants[0]
    for other in entrants[1:]:
        if set(other.classes) != set(first.classes):
            lacking = _some(set(first.classes) - set(other.classes)) or "none"
            more = _some(set(other.classes) - set(first.classes)) or "none"
            raise ValueError(
                f"{other.name} has other classes than {first.name}: it lacks {lacking} and has {more} beside them; "
                "compare runs that answer the same question"
            )


def _held(entrant: Entrant) -> Counter[Place]:
    """How many test rows there are of each recording of each fold."""
    held: Counter[Place] = Counter()
    seen: set[str] = set()
    for told in entrant.told:
        if told.result.name == entrant.answer and told.result.fold not in seen:
            seen.add(told.result.fold)
            held.update((told.result.fold, name) for name in told.recordings)
    return held


def _cut(told: Told, common: set[Place], classes: tuple[str, ...]) -> Result:
    """What an answer says of common rows, by recording and row."""
    fold = told.result.fold
    places = [place for place, name in enumerate(told.recordings) if (fold, name) in common]
    order = sorted(places, key=lambda place: (told.recordings[place], told.rows[place]))
    result, kept = reordered(told.result, classes), np.array(order, np.int64)
    labels, groups, domains = (column[kept] for column in result.truth[:3])
    truth = Truth(labels, groups, domains, np.arange(len(kept)), classes)
    return replace(result, probabilities=result.probabilities[kept], truth=truth)


def _by_fold(results: Sequence[Result], answer: str) -> dict[str, Truth]:
    """What is known of the rows of each fold."""
    return {one.fold: one.truth for one in results if one.name == answer}


def _refuse_other_truth(first: dict[str, Truth], second: dict[str, Truth], here: str, there: str) -> None:
    """Raise ValueError where the same rows are labelled or grouped otherwise."""
    for fold, truth in first.items():
        wrong = np.flatnonzero(truth.labels != second[fold].labels)
        if len(wrong):
            names = [truth.classes[own.labels[wrong[0]]] for own in (truth, second[fold])]
            raise ValueError(
                f"{len(wrong)} of {len(truth.labels)} shared rows of fold {fold!r} are labelled otherwise in {there} "
                f"than in {here}, the first of them {names[1]} and not {names[0]}; compare runs of the same labels"
            )
    ours, theirs = (np.concatenate([own[fold].groups for fold in first]) for own in (first, second))
    pairs = len(np.unique(np.stack([ours, theirs], 1), axis=0))
    if not pairs == len(np.unique(ours)) == len(np.unique(theirs)):
        raise ValueError(
            f"{there} keeps other recordings together than {here}: {len(np.unique(theirs))} groups against "
            f"{len(np.unique(ours))} of the same rows. Intervals resample groups; compare runs of the same groups"
        )


def _grouped(result: Result, truth: Truth) -> Result:
    groups: Int = truth.groups
    return replace(result, truth=result.truth._replace(groups=groups))


def _some(names: set[str]) -> str:
    known = sorted(names)
    more = f" and {len(known) - SHOWN} more" if len(known) > SHOWN else ""
    return ", ".join(known[:SHOWN]) + more
