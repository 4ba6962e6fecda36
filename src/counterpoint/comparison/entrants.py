"""Runs that are to be compared: what each says of its test rows, read from its folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.evaluate.by_group import ByGroup
from counterpoint.evaluate.detection import deciding
from counterpoint.evaluate.results import Result
from counterpoint.products.pictures import best_baseline, detection_of, groups_of
from counterpoint.products.predictions import Told, read_predictions
from counterpoint.snapshot import read_json


class Entrant(NamedTuple):
    """One run.

    Attributes:
        name: of the run, different from those of the others.
        folder: of the run.
        metric: the score it was decided by.
        answer: name of its main answer.
        baseline: name of its best baseline; None without one.
        simulated: whether its recordings are.
        groups: how it pools rows where groups decide; None where rows do.
        told: what both say of the test rows.
    """

    name: str
    folder: Path
    metric: str
    answer: str
    baseline: str | None
    simulated: bool
    groups: ByGroup | None
    told: list[Told]

    @property
    def classes(self) -> tuple[str, ...]:
        """By index."""
        return self.told[0].result.truth.classes

    @property
    def rows(self) -> int:
        """Test rows of all folds, under one seed."""
        main = [one.result for one in self.told if one.result.name == self.answer]
        return sum(len(one.truth.labels) for one in main) // len({one.seed for one in main})


def enter(folders: Sequence[Path]) -> list[Entrant]:
    """Read the runs.

    Args:
        folders: at least two, all different.

    Raises:
        ValueError: fewer than two, one twice, or a folder that is no evaluated run of a classification.
    """
    real = [folder.resolve() for folder in folders]
    if len(real) < 2 or len(set(real)) < len(real):
        told = ", ".join(str(folder) for folder in folders) or "nothing"
        raise ValueError(f"a comparison is of two different runs or more, this one of {told}")
    return [_read(folder, name) for folder, name in zip(folders, _names(real), strict=True)]


def _names(folders: Sequence[Path]) -> list[str]:
    """Names of folders, with those of their parents where two are called the same."""
    known = Counter(folder.name for folder in folders)
    names = [folder.name if known[folder.name] == 1 else "/".join(folder.parts[-2:]) for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _read(folder: Path, name: str) -> Entrant:
    path = folder / "scores.json"
    if not path.is_file():
        raise ValueError(
            f"{folder}: no scores.json, so it is not a run that was evaluated; `counterpoint train` makes one"
        )
    scores: dict[str, Any] = read_json(path)
    answer = (scores.get("confusion") or {}).get("evaluator")
    if not answer:
        raise ValueError(f"{folder}: it classifies nothing, so there are no classes to compare runs by; leave it out")
    baseline = best_baseline(scores)
    told = read_predictions(folder, [answer, *([baseline] if baseline else [])])
    settings = detection_of(scores)
    told = [one._replace(result=result) for one in told for result in deciding(settings, [one.result])]
    if not any(one.result.name == answer for one in told):
        raise ValueError(
            f"{folder / 'predictions.parquet'}: lacks {answer!r}, which scores.json is about; write it again with "
            f"`counterpoint report {folder}`"
        )
    groups = groups_of(scores)
    by_row = groups is None or groups.decides == "rows"
    about = (scores["metric"], answer, baseline, bool(scores.get("simulated")), None if by_row else groups)
    return Entrant(name, folder, *about, told)


def reordered(result: Result, classes: tuple[str, ...]) -> Result:
    """The same with its classes in another order."""
    if result.truth.classes == classes:
        return result
    places = [result.truth.classes.index(name) for name in classes]
    code = np.argsort(places)
    truth = result.truth._replace(labels=code[result.truth.labels], classes=classes)
    return replace(result, probabilities=result.probabilities[:, places], truth=truth)
