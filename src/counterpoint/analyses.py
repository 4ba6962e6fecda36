"""What is asked of a run beside its scores: answers by group, thresholds, where it fails, whether heads agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Data, Rows
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.evaluate import by_group, threshold
from counterpoint.evaluate.agreement import agreement, agreement_lines
from counterpoint.evaluate.by_group import group_deciding, group_lines, group_scores
from counterpoint.evaluate.detection import DEFECT, deciding
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.errors import Column, Wrong, error_analysis, error_lines, wrong_rows
from counterpoint.evaluate.intervals import Int
from counterpoint.evaluate.results import Result, load_results, save_results, unseen_classes
from counterpoint.evaluate.threshold import operating, threshold_lines
from counterpoint.evaluation import Evaluation
from counterpoint.types import UNLABELLED, Table, TableSpec

KEYS = ("by_group", "threshold", "errors", "agreement")
"""Of ``scores.json``; each is an empty mapping where nobody asked or there is nothing to say."""


class Beside(NamedTuple):
    """What analyses need beside the judged results.

    Attributes:
        valid: the main answer on validation rows, where a threshold is asked for.
        heads: every head of the objective on test rows.
        names: of the recordings by id.
        groups: their names, by index; empty where the reader does not say.
        columns: fold -> name -> what a column says of the labelled test rows.
    """

    valid: Sequence[Result] = ()
    heads: Sequence[Result] = ()
    names: Sequence[str] = ()
    groups: Sequence[str] = ()
    columns: Mapping[str, Mapping[str, Column]] = MappingProxyType({})


NOTHING = Beside()
"""Of a run that keeps nothing of them."""


def check(evaluation: Evaluation, data: Data) -> None:
    """Refuse, before anything is trained, what the data leave nothing to judge by.

    Raises:
        ValueError: as ``by_group.check`` and ``threshold.check``.
    """
    if evaluation.by_group and data.classes:
        tested = [(fold, data.evaluation(fold, "test")) for fold in data.folds]
        by_group.check(evaluation.by_group, {fold: (rows.labels, rows.groups) for fold, rows in tested})
    if evaluation.threshold:
        validation = {fold: _judged(evaluation, data.evaluation(fold, "valid")) for fold in data.folds}
        classes, detection = data.classes, evaluation.detection
        if detection is not None and detection.decides == "defects":
            normal = classes.index(detection.normal)
            validation = {
                fold: np.where(labels == UNLABELLED, UNLABELLED, labels != normal).astype(np.int64)
                for fold, labels in validation.items()
            }
            classes = (detection.normal, DEFECT)
        threshold.check(evaluation.threshold, classes, validation)


def _judged(evaluation: Evaluation, rows: Rows) -> Int:
    """Labels of the rows that decide; where groups do, rows of groups that are of several classes have none."""
    if evaluation.by_group is None or evaluation.by_group.decides == "rows":
        return rows.labels
    return np.where(by_group.of_one_class(rows.labels, rows.groups), rows.labels, UNLABELLED)


def keep(cell: Path, valid: Sequence[Result], heads: Sequence[Result]) -> None:
    """Write what analyses need of a cell to its folder; what it no longer has is removed."""
    for name, results in (("validation", valid), ("heads", heads)):
        path = cell / f"{name}.parquet"
        path.unlink(missing_ok=True)
        if results:
            save_results(path, results)


def head_results(
    heads: dict[str, NDArray[np.float64]], test: Embeddings, train: Truth, fold: str, seed: int
) -> list[Result]:
    """Every head on the labelled test rows it knows; none where there is one head alone."""
    found = []
    for name, values in heads.items() if len(heads) > 1 else ():
        rows = np.isfinite(values).all(1) & (test.labels != UNLABELLED)
        truth = test.take(rows).truth
        if rows.any():
            found.append(Result(name, "model", values[rows], truth, unseen_classes(train, truth), fold, seed))
    return found


def beside(data: Data, cells: Sequence[Path]) -> Beside:
    """Read what the cells keep, and what the test rows are told apart by.

    Args:
        data: of the run.
        cells: folders, in the order of folds and seeds.
    """
    found: dict[str, list[Result]] = {}
    for name in ("validation", "heads"):
        paths = [path for cell in cells if (path := cell / f"{name}.parquet").is_file()]
        found[name] = [result for path in paths for result in load_results(path)]
    columns = {fold: test_columns(data, fold) for fold in data.folds}
    return Beside(found["validation"], found["heads"], data.names, data.group_names, columns)


def test_columns(data: Data, fold: str) -> dict[str, Column]:
    """Metadata and tables of the labelled test rows of a fold, a column each.

    Levels of categorical columns by their names; numbers of tables are as the reader standardised them.
    """
    rows = data.evaluation(fold, "test")
    known = rows.labels != UNLABELLED
    called = rows.metadata_names or [f"metadata {place + 1}" for place in range(rows.metadata.shape[1])]
    columns = {name: values[known] for name, values in zip(called, rows.metadata.T, strict=True)}
    specs = {name: spec for name, spec in data.specs.items() if isinstance(spec, TableSpec)}
    if not specs:
        return columns
    parts: dict[str, list[Column]] = {}
    for batch in loader(rows, PassSampler(rows, batch_size=256)):
        for modality, spec in specs.items():
            table = batch.views[0][modality]
            assert isinstance(table, Table)
            for place, name in enumerate(spec.columns):
                parts.setdefault(f"{modality}, {name}", []).append(_cells(table, place, spec.levels[place]))
    return columns | {name: np.concatenate(values)[known] for name, values in parts.items()}


def _cells(table: Table, place: int, levels: tuple[str, ...]) -> Column:
    """(B,) one column of a table: texts of a categorical one, else numbers; NaN or unknown where not known."""
    values = table.values[:, place].cpu().double().numpy()
    known = np.ones(len(values), dtype=np.bool_) if table.mask is None else table.mask[:, place].cpu().numpy()
    if not levels:
        return np.where(known, values, np.nan)
    names = np.array([*levels, "unknown"])
    return np.asarray(names[np.where(known, values, len(levels)).astype(np.int64)])


def analyse(
    evaluation: Evaluation, judged: Sequence[Result], main: Sequence[Result], more: Beside
) -> dict[str, dict[str, Any]]:
    """All analyses of a run, by the keys of ``scores.json``.

    Args:
        evaluation: what is asked.
        judged: results of all answers by row, as detection has them decide.
        main: of them, those of the main answer.
        more: what was read beside.
    """
    groups = evaluation.by_group
    valid = group_deciding(groups, deciding(evaluation.detection, more.valid))
    return {
        "by_group": group_scores(groups, judged, main[0].name, evaluation.metric),
        "threshold": operating(evaluation.threshold, valid, group_deciding(groups, main)),
        "errors": error_analysis(main, more.names, more.columns, more.groups),
        "agreement": agreement(more.heads),
    }


def all_wrong(evaluation: Evaluation, main: Sequence[Result], data: Data) -> list[Wrong]:
    """Every wrong row of the main answer, as detection has it decide."""
    return wrong_rows(deciding(evaluation.detection, main), data.names, data.group_names)


def lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of the analyses."""
    return [*group_lines(scores), *threshold_lines(scores), *agreement_lines(scores), *error_lines(scores)]
