"""Reading a run folder: what a report needs of it, checked, with errors that name file and key."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from counterpoint.report.documents import Account, Scores
from counterpoint.report.documents_curves import Curves

Float = NDArray[np.float64]
Read = TypeVar("Read", bound=BaseModel)


class Cell(NamedTuple):
    """One training: a fold with a seed.

    Attributes:
        fold: name of the division.
        seed: of the training.
        path: its folder.
        log: column -> (n,) values of ``metrics.csv``, NaN where a row is blank.
    """

    fold: str
    seed: int
    path: Path
    log: dict[str, Float]

    @property
    def name(self) -> str:
        """As a reader meets it."""
        return f"{self.fold}, seed {self.seed}"


@dataclass(frozen=True)
class Run:
    """All of a run folder that a report shows.

    Attributes:
        recipe: text of the resolved recipe.
        environment: what the run ran on.
        scores: of the model, the baselines and every fold.
        account: of the data.
        cells: trainings, in the order of the folds and the seeds.
        curves: of the main answer and the best baseline; empty of runs that are older than they.
        folder: where all of it is.
    """

    recipe: str
    environment: dict[str, Any]
    scores: Scores
    account: Account
    cells: list[Cell]
    curves: Curves
    folder: Path


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Args:
        folder: that `train` and `evaluate` have written.

    Raises:
        ValueError: a file or a key is missing or makes no sense; the message names it and the remedy.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such run folder; `counterpoint train` makes one")
    scores, writer = _model(Scores, folder / "scores.json", "counterpoint evaluate"), "counterpoint report"
    environment = _json(folder / "environment.json", "counterpoint train")
    if not isinstance(environment, dict):
        raise ValueError(f"{folder / 'environment.json'}: must hold a mapping, holds {type(environment).__name__}")
    return Run(
        recipe=_text(folder / "recipe.yaml", "counterpoint train"),
        environment=environment,
        scores=scores,
        account=_model(Account, folder / "data.json", "counterpoint train"),
        cells=_cells(folder / "cells", [fold.fold for fold in scores.folds]),
        curves=_model(Curves, folder / "curves.json", writer) if (folder / "curves.json").is_file() else Curves(),
        folder=folder,
    )


def _cells(folder: Path, folds: list[str]) -> list[Cell]:
    paths = sorted(path for path in folder.glob("*-seed*") if path.is_dir())
    if not paths:
        raise ValueError(f"{folder}: holds no training named <fold>-seed<number>; write one with `counterpoint train`")
    cells = []
    for path in paths:
        fold, _, seed = path.name.rpartition("-seed")
        if not seed.isdecimal():
            raise ValueError(f"{path}: the name must end in -seed<number>; rename or remove this folder")
        cells.append(Cell(fold, int(seed), path, _log(path / "metrics.csv")))
    known = {fold: place for place, fold in enumerate(folds)}
    return sorted(cells, key=lambda cell: (known.get(cell.fold, len(known)), cell.fold, cell.seed))


def _log(path: Path) -> dict[str, Float]:
    lines = list(csv.reader(_text(path, "counterpoint train").splitlines()))
    header, rows = (lines[0], lines[1:]) if lines else ([], [])
    values = np.full((len(rows), len(header)), np.nan)
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"{path}, line {i + 2}: {len(row)} values under {len(header)} columns; train again")
        for j, word in enumerate(row):
            if word:
                values[i, j] = _number(word, path, i + 2, header[j])
    if rows and "step" not in header:
        raise ValueError(f"{path}: has no column 'step', only {header}; train again")
    return {name: values[:, j] for j, name in enumerate(header)}


def _number(word: str, path: Path, line: int, column: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise ValueError(f"{path}, line {line}, {column}: {word!r} is not a number; train again") from error


def _model(model: type[Read], path: Path, writer: str) -> Read:
    try:
        return model.model_validate(_json(path, writer))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(key) for key in problem['loc']) or 'document'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise ValueError(f"{path}: {problems}. Write it again with `{writer}`") from error


def _json(path: Path, writer: str) -> Any:
    try:
        return json.loads(_text(path, writer))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error}); write it again with `{writer}`") from error


def _text(path: Path, writer: str) -> str:
    if not path.is_file():
        raise ValueError(f"{path}: missing, and a report needs it; `{writer}` writes it")
    return path.read_text(encoding="utf-8")
