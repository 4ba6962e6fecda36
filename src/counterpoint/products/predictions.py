"""Every prediction of a run in one table that needs nothing else to be read: ``predictions.parquet``.

A row for each answer, fold, seed and labelled test row:

========== ============================================================================================
answer     what predicted, as in the tables of scores
kind       ``model``, it uses what was learned, or ``baseline``
fold, seed of the training; the seed is null of baselines, which have none
split      ``test``
recording  name of the recording
row        which of its rows, from 0: a recording may be cut into several
group      number of the group, what the split keeps on one side and what intervals resample
group_name its name, where the reader says it
domain     number of the condition
true       name of the true class
predicted  name of the predicted class, of equally probable ones the first
p_<class>  probability of each class; scores of answers that only put rows in an order are in 0 to 1 as well
========== ============================================================================================

Where a number is estimated instead, ``true`` and ``predicted`` are numbers and there is no ``p_<class>``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.evaluate.embeddings import Embeddings, Truth, write_whole
from counterpoint.evaluate.intervals import Int
from counterpoint.evaluate.regression import Estimated, load_estimates
from counterpoint.evaluate.results import Result, load_results
from counterpoint.report.folder import Cell

NAME = "predictions.parquet"
_BY_CELL = (
    "predictions.parquet",
    "estimates.parquet",
    "zero_shot.parquet",
    "alone/*/predictions.parquet",
    "without/*.parquet",
)
"""Where a cell keeps predictions of its test rows."""


class Names(NamedTuple):
    """Names by number, arrays of texts."""

    recordings: Any
    groups: Any


class Told(NamedTuple):
    """Predictions as ``predictions.parquet`` has them: ids of the truth count its rows.

    Attributes:
        result: one answer on one fold under one seed.
        recordings: (N,) name of the recording of each row.
        rows: (N,) which row of it.
    """

    result: Result
    recordings: list[str]
    rows: Int


def gather(folder: Path) -> list[Result]:
    """All predictions that a run folder keeps of whole trainings: of baselines by fold, of models by cell."""
    return [result for path in _files(folder, b"results") for result in load_results(path)]


def gather_estimates(folder: Path) -> list[Estimated]:
    """The same of a run that estimates a number."""
    return [result for path in _files(folder, b"estimates") for result in load_estimates(path)]


def _files(folder: Path, kind: bytes) -> list[Path]:
    """Files of predictions whose metadata say of what kind they are."""
    import pyarrow.parquet as pq

    paths = sorted([*folder.glob("baselines/*.parquet"), *folder.glob("estimates/*.parquet")])
    for cell in sorted(folder.glob("cells/*-seed*")):
        paths += [path for pattern in _BY_CELL for path in sorted(cell.glob(pattern))]
    return [path for path in paths if kind in (pq.read_schema(path).metadata or {})]


def recording_names(cell: Cell) -> tuple[str, ...]:
    """Names of the recordings by id, as the embeddings of a cell have them."""
    return Embeddings.load(cell.path / "embeddings" / "test").names


def write_predictions(
    folder: Path, results: Sequence[Result], names: Sequence[str], groups: Sequence[str] = ()
) -> Path:
    """Write the table.

    Args:
        folder: of the run.
        results: at least one, all of the same classes.
        names: of the recordings by id.
        groups: names of the groups by number; empty where the reader does not say.
    """
    import pyarrow as pa

    known = Names(np.array(names, object), np.array(groups, object))
    tables = [pa.table(_columns(result, known)) for result in results]
    classes = results[0].truth.classes
    about = {"classes": json.dumps(classes), "unseen": json.dumps([result.unseen for result in results])}
    write_whole(pa.concat_tables(tables).replace_schema_metadata(about), folder / NAME)
    return folder / NAME


def write_estimates(
    folder: Path, results: Sequence[Estimated], names: Sequence[str], groups: Sequence[str] = ()
) -> Path:
    """Write the table of a run that estimates a number; arguments as of ``write_predictions``."""
    import pyarrow as pa

    known = Names(np.array(names, object), np.array(groups, object))
    tables = [pa.table(_common(one, known) | {"true": one.truth.values, "predicted": one.predicted}) for one in results]
    about = {"target": results[0].truth.name}
    write_whole(pa.concat_tables(tables).replace_schema_metadata(about), folder / NAME)
    return folder / NAME


def _columns(result: Result, names: Names) -> dict[str, Any]:
    import pyarrow as pa

    truth = result.truth
    classes = np.array(truth.classes, object)
    return {
        **_common(result, names),
        "true": pa.array(classes[truth.labels].tolist(), pa.string()),
        "predicted": pa.array(classes[result.predictions].tolist(), pa.string()),
        **{f"p_{name}": result.probabilities[:, k].astype(np.float64) for k, name in enumerate(truth.classes)},
    }


def _common(result: Result | Estimated, names: Names) -> dict[str, Any]:
    """The columns that say whose row it is and who answers."""
    import pyarrow as pa

    truth, count = result.truth, len(result.truth.ids)
    # Baselines of a fold are the same for every seed; the untrained encoder is drawn anew with each.
    seeded = result.kind == "model" or result.name.startswith("untrained")
    called = {"group_name": pa.array(names.groups[truth.groups].tolist(), pa.string())} if len(names.groups) else {}
    return {
        "answer": pa.array([result.name] * count),
        "kind": pa.array([result.kind] * count),
        "fold": pa.array([result.fold] * count),
        "seed": pa.array([result.seed if seeded else None] * count, pa.int64()),
        "split": pa.array(["test"] * count),
        "recording": pa.array(names.recordings[truth.ids].tolist(), pa.string()),
        "row": occurrence(truth.ids),
        "group": truth.groups,
        **called,
        "domain": truth.domains,
    }


def occurrence(ids: Int) -> Int:
    """(N,) how many rows of the same id came before each."""
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    place = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    found = np.empty(len(ids), np.int64)
    found[order] = place
    return found


def read_predictions(folder: Path, answers: Sequence[str] = ()) -> list[Told]:
    """Read the table back, an entry for each answer, fold and seed.

    Args:
        folder: of a run.
        answers: names to read; all where empty.

    Raises:
        ValueError: there is no such file, or it is none of ours.
    """
    import pyarrow.parquet as pq

    path = folder / NAME
    if not path.is_file():
        raise ValueError(
            f"{path}: missing; `counterpoint report {folder}` writes it from a run that was evaluated. A run without "
            "labels has none"
        )
    about = pq.read_schema(path).metadata or {}
    if b"target" in about:
        raise ValueError(
            f"{path}: estimates of the target {about[b'target'].decode()!r}; predictions of classes are wanted"
        )
    if b"classes" not in about:
        raise ValueError(f"{path}: not a table of predictions; write it again with `counterpoint report {folder}`")
    classes = tuple(json.loads(about[b"classes"]))
    table = pq.read_table(path, filters=[("answer", "in", list(answers))] if answers else None)
    frame = {name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names if name != "seed"}
    frame["seed"] = np.array([seed or 0 for seed in table["seed"].to_pylist()], np.int64)
    keys = list(zip(*(frame[name].tolist() for name in ("answer", "kind", "fold", "seed")), strict=True))
    members: dict[Any, list[int]] = {}
    for place, key in enumerate(keys):
        members.setdefault(key, []).append(place)
    return [_told(key, np.array(places), frame, classes) for key, places in members.items()]


def _told(key: Any, places: Int, frame: dict[str, Any], classes: tuple[str, ...]) -> Told:
    name, kind, fold, seed = key
    code = {one: k for k, one in enumerate(classes)}
    labels = np.array([code[one] for one in frame["true"][places]], np.int64)
    groups, domains = (np.asarray(frame[column][places], np.int64) for column in ("group", "domain"))
    probabilities = np.stack([frame[f"p_{one}"][places] for one in classes], 1).astype(np.float64)
    truth = Truth(labels, groups, domains, np.arange(len(places)), classes)
    rows = np.asarray(frame["row"][places], np.int64)
    return Told(Result(name, kind, probabilities, truth, (), fold, seed), frame["recording"][places].tolist(), rows)
