"""Attributions as Parquet: a table of the rows, and one a modality with a line for every number."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.base import Data, Rows
from counterpoint.evaluate.attributing import METHOD
from counterpoint.evaluate.embeddings import write_whole
from counterpoint.explain.gradients import Integrated
from counterpoint.types import SignalSpec, Spec, SpectraSpec, TableSpec

Float = NDArray[np.float32]


class Told(NamedTuple):
    """Attributions of one row.

    Attributes:
        row: which of the split.
        target: which answer it is of, by number.
        answer: the class whose probability it is, or the name of the number that is estimated.
        found: scores and error; the values stand in ``values``.
        values: by modality, in the shape of one row.
        seen: what the model read, 0 where it is not real.
        real: what was integrated over.
    """

    row: int
    target: int
    answer: str
    found: Integrated
    values: dict[str, Float]
    seen: dict[str, Float]
    real: dict[str, NDArray[np.bool_]]


class Axis(NamedTuple):
    """Where the numbers of a modality stand.

    Attributes:
        kind: of modality.
        places: (n,) along it: seconds or samples, points of the axis, numbers of the columns.
        unit: of the places.
        columns: of a table; empty for others.
    """

    kind: str
    places: NDArray[np.float64]
    unit: str
    columns: tuple[str, ...]


def axis(spec: Spec, length: int) -> Axis:
    """Where the numbers of a modality stand, of a row that is ``length`` long."""
    if isinstance(spec, SpectraSpec):
        return Axis("spectra", np.asarray(spec.axis, np.float64), spec.unit, ())
    if isinstance(spec, TableSpec):
        return Axis("table", np.arange(len(spec.columns), dtype=np.float64), "", spec.columns)
    assert isinstance(spec, SignalSpec)
    samples = np.arange(length, dtype=np.float64)
    return Axis("signal", samples / spec.rate, "s", ()) if spec.rate else Axis("signal", samples, "sample", ())


def along(spec: Spec, values: NDArray[Any]) -> NDArray[Any]:
    """(parts, n) of one row: scans by points of the axis, channels by samples, one part of a table."""
    if isinstance(spec, TableSpec):
        return values[None]
    return values if isinstance(spec, SpectraSpec) else values.T


def write_tables(folder: Path, told: Sequence[Told], data: Data, rows: Rows) -> None:
    """Write ``rows.parquet`` and a table a modality.

    A line of these is one number that was integrated over: ``part`` is the scan or the channel it belongs to, ``index``
    its place along the axis and ``place`` what that is: a point of the axis, seconds; of a table, ``column``.

    Args:
        folder: to write to.
        told: attributions of rows.
        data: for names, classes and axes.
        rows: the split.
    """
    import pyarrow as pa

    at = np.array([one.row for one in told])
    about = {
        "method": METHOD,
        "of": "the probability of the class in the column answer, or the estimate of the number of that name",
    }
    names = [data.names[number] for number in rows.ids[at]]
    known = {
        "id": names,
        "row": at,
        "label": [data.classes[label] if label >= 0 else "" for label in rows.labels[at].tolist()],
        "answer": [one.answer for one in told],
        "value": [one.found.score for one in told],
        "baseline_value": [one.found.start for one in told],
        "completeness_error": [one.found.error for one in told],
    }
    meta = {"attributions": json.dumps(about)}
    write_whole(pa.table(known).replace_schema_metadata(meta), folder / "rows.parquet")
    for name in told[0].values if told else ():
        parts = [_lines(one, name, data.specs[name], names[i]) for i, one in enumerate(told)]
        table = pa.concat_tables([pa.table(one) for one in parts])
        write_whole(table.replace_schema_metadata(meta), folder / f"{name}.parquet")


def _lines(one: Told, name: str, spec: Spec, known: str) -> dict[str, Any]:
    import pyarrow as pa

    values, seen, real = (along(spec, part[name]) for part in (one.values, one.seen, one.real))
    where = axis(spec, values.shape[1])
    part, index = np.nonzero(real)
    columns = [where.columns[i] for i in index.tolist()] if where.columns else [""] * len(index)
    return {
        "id": pa.array([known] * len(index), pa.string()),
        "row": np.full(len(index), one.row),
        "modality": pa.array([name] * len(index), pa.string()),
        "part": part,
        "index": index,
        "place": where.places[index],
        "column": pa.array(columns, pa.string()),
        "value": seen[part, index],
        "attribution": values[part, index],
    }
