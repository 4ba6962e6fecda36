"""Where an answer fails: the wrong test rows, most confident first, and the error rate of parts of the test rows."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.evaluate.intervals import Float, Int, Statistic, bootstrap
from counterpoint.evaluate.ranking import divide
from counterpoint.evaluate.results import Result, known

TOP = 20
"""Lines that ``scores.json`` and the report have; ``errors.csv`` has every wrong row."""
TOLD = 3
"""Parts that the printed line names."""
LEVELS = 8
"""Different values of a column up to which each is a part of its own; more are cut into quarters."""

Column = NDArray[Any]
"""(N,) numbers, NaN where unknown, or texts, of labelled test rows."""


class Wrong(NamedTuple):
    """A test row that is answered wrongly under at least one seed.

    Attributes:
        name: of the recording.
        id: its row in the data's table.
        group: of the row, its name or its number.
        domain: of the row.
        fold: that tests it.
        true: its class.
        predicted: the class that is given with the most confidence among the seeds that are wrong.
        probability: of that class.
        wrong: how many seeds are wrong.
        seeds: how many there are.
    """

    name: str
    id: int
    group: str | int
    domain: int
    fold: str
    true: str
    predicted: str
    probability: float
    wrong: int
    seeds: int


def wrong_rows(main: Sequence[Result], names: Sequence[str], groups: Sequence[str] = ()) -> list[Wrong]:
    """All of them, the most confident first.

    Args:
        main: results of one answer; the seeds of a fold test the same rows in the same order.
        names: of the recordings by id.
        groups: names of the groups by index; numbers where there are none.
    """
    found = []
    for fold in dict.fromkeys(result.fold for result in main):
        own = [result for result in main if result.fold == fold]
        truth = own[0].truth
        predicted = np.stack([result.predictions for result in own])
        sure = np.stack([result.probabilities.max(1) for result in own])
        off = predicted != truth.labels
        for row in np.flatnonzero(off.any(0)).tolist():
            seed = int(np.where(off[:, row], sure[:, row], -1.0).argmax())
            place = int(truth.ids[row])
            found.append(
                Wrong(
                    name=names[place] if place < len(names) else str(place),
                    id=place,
                    group=_group(int(truth.groups[row]), groups),
                    domain=int(truth.domains[row]),
                    fold=fold,
                    true=truth.classes[truth.labels[row]],
                    predicted=truth.classes[predicted[seed, row]],
                    probability=float(sure[seed, row]),
                    wrong=int(off[:, row].sum()),
                    seeds=len(own),
                )
            )
    return sorted(found, key=lambda one: -one.probability)


def _group(place: int, names: Sequence[str]) -> str | int:
    return names[place] if place < len(names) else place


def write_errors(path: Path, rows: Sequence[Wrong]) -> None:
    """Write all of them to a CSV file; one without a line below its header says that there are none."""
    scratch = path.with_suffix(".tmp")
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Wrong._fields)
        writer.writerows(rows)
    scratch.replace(path)


def error_analysis(
    main: Sequence[Result],
    names: Sequence[str],
    columns: Mapping[str, Mapping[str, Column]],
    called: Sequence[str] = (),
    *,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Where the main answer fails.

    Args:
        main: its results, a row each.
        names: of the recordings by id.
        called: the groups, by index; numbers where there are no names.
        columns: fold -> name of a column -> what it says of the labelled test rows, in their order.
        resamples: how many draws of groups.

    Returns:
        A JSON-able dict: ``answer``; ``rows`` tested, of one seed; ``wrong`` under at least one; ``rate`` over all
        seeds; ``top``, the first of the wrong rows; ``parts``, a line each with ``name``, ``parts`` (how many there
        are) and ``lines``, worst first: by group, by domain and by every column that has at least two parts, not all of
        them of one row.
    """
    wrong = wrong_rows(main, names, called)
    off = np.concatenate([result.predictions != result.truth.labels for result in main]).astype(np.float64)
    groups = np.concatenate([result.truth.groups for result in main])
    seeds = len({result.seed for result in main})
    keys: dict[str, Column] = {
        "group": np.array([str(_group(place, called)) for place in groups.tolist()]),
        "domain": np.concatenate([result.truth.domains for result in main]).astype(str),
    }
    shared = set.intersection(*(set(columns.get(result.fold, {})) for result in main))
    for name in sorted(shared):
        keys[name if name not in keys else f"column {name}"] = parted(
            np.concatenate([columns[result.fold][name] for result in main])
        )
    parts = []
    for name, key in keys.items():
        lines = _rates(key, off, groups, seeds, resamples)
        if len(lines) > 1 and any(line["rows"] > 1 for line in lines):
            parts.append({"name": name, "parts": len(lines), "lines": lines[:TOP]})
    return {
        "answer": main[0].name,
        "rows": len(off) // seeds,
        "wrong": len(wrong),
        "rate": float(off.mean()),
        "top": [one._asdict() for one in wrong[:TOP]],
        "parts": parts,
    }


def parted(column: Column) -> Column:
    """(N,) texts: what part of the rows each is in by one column; many different numbers are cut into quarters."""
    if column.dtype.kind in "UO":
        return column.astype(str)
    values = column.astype(np.float64)
    real = np.isfinite(values)
    levels = np.unique(values[real])
    if len(levels) <= LEVELS:
        return np.array([f"{value:g}" if there else "unknown" for value, there in zip(values, real, strict=True)])
    edges = np.unique(np.quantile(values[real], [0, 0.25, 0.5, 0.75, 1]))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    told = np.array([f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges.tolist())])
    return np.where(real, told[place], "unknown")


def _rates(key: Column, off: Float, groups: Int, seeds: int, resamples: int) -> list[dict[str, Any]]:
    """The error rate of every part, worst first; of equally bad ones the larger first."""
    lines = []
    for name in np.unique(key).tolist():
        own = key == name
        distinct, owner = np.unique(groups[own], return_inverse=True)
        line = {"name": name, "rows": int(own.sum()) // seeds, "groups": len(distinct)}
        lines.append(line | _rate(off[own], distinct, owner, resamples))
    return sorted(lines, key=lambda line: (-line["value"], -line["rows"], line["name"]))


def _rate(off: Float, groups: Int, owner: Int, resamples: int) -> dict[str, float | None]:
    """The share of wrong rows with its interval by group; where all groups agree, the exact bound of as many groups."""
    value = float(off.mean())
    if len(groups) < 2:
        return {"value": value, "low": None, "high": None}
    if value in (0.0, 1.0):
        bound = 0.025 ** (1 / len(groups))
        return {"value": value, "low": 0.0 if value == 0 else bound, "high": 1 - bound if value == 0 else 1.0}
    sums, sizes = np.bincount(owner, off), np.bincount(owner).astype(np.float64)

    def share(counts: Float) -> Float:
        return divide(counts @ sums, counts @ sizes)

    _, low, high, _ = bootstrap(Statistic(groups, share), resamples=resamples)
    return {"value": value, "low": known(low), "high": known(high)}


def error_lines(scores: dict[str, Any]) -> list[str]:
    """What is printed of it: how many rows are wrong, and where most of them are."""
    found = scores["errors"]
    if not found:
        return []
    line = f"Wrong: {100 * found['rate']:.1f} % of {found['rows']} test rows ({found['answer']}; all in errors.csv)"
    worst = list[str]()
    for part in found["parts"]:
        # The lines stand worst first; one row says nothing of its part.
        told = next((one for one in part["lines"] if one["rows"] > 1 and one["value"] > found["rate"]), None)
        if told is not None and len(worst) < TOLD:
            worst.append(f"{part['name']} {told['name']} {100 * told['value']:.0f} % of {told['rows']}")
    return [f"{line}; worst: {', '.join(worst)}." if worst else f"{line}."]
