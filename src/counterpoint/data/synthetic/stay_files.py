"""Writing of SIMULATED stays in three layouts of clinical collections, marked as simulated in each."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.whole import whole_folder

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Layout = Literal["long", "physionet2012", "folder"]

_SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}
_MARK = {"simulated": "true", "origin": "counterpoint, a simulator of stays; nothing here was measured"}


class Stays(NamedTuple):
    """n simulated stays with E events in the order of stay, minute and name.

    Attributes:
        ids: (n,) numbers of the stays.
        names: of the variables, in the order of the alphabet.
        descriptors: name -> (n,) what was known on arrival, -1 where it was not.
        stay: (E,) row of ``ids``.
        minute: (E,) whole minutes since arrival.
        code: (E,) index into ``names``.
        value: (E,) in the unit of the variable.
        died: (n,) in hospital.
        severity: (n,) standard normal, which no table tells.
    """

    ids: Int
    names: tuple[str, ...]
    descriptors: dict[str, Float]
    stay: Int
    minute: Int
    code: Int
    value: Float
    died: NDArray[np.bool_]
    severity: Float


class _Events(NamedTuple):
    """(E,) events of all stays, and (n + 1,) where those of each stay begin and end."""

    minute: Int
    name: NDArray[np.str_]
    value: Float
    offsets: Int


def write_stays(folder: Path, stays: Stays, *, layout: Layout, seed: int) -> Path:
    """Write stays in a layout; the folder appears complete or not at all.

    Args:
        folder: to be made; may exist when empty.
        stays: to write.
        layout: see ``counterpoint.data.synthetic.stays.generate``.
        seed: of what the stays do not tell: the division into train, valid and test, the days to discharge.

    Raises:
        ValueError: the folder holds something already.
    """
    with whole_folder(folder) as partial:
        _WRITERS[layout](partial, stays, np.random.default_rng((seed, 1)))
    return folder


def _long(folder: Path, stays: Stays, rng: np.random.Generator) -> None:
    events = _with_descriptors(stays)
    known = events.value != -1.0
    owner = np.repeat(stays.ids, np.diff(events.offsets))
    _parquet(
        folder / "events.parquet",
        {
            "record_id": owner[known],
            "minute": events.minute[known].astype(np.float64),
            "variable": events.name[known],
            "value": events.value[known],
        },
    )
    _outcomes(folder / "outcomes.csv", "record_id", stays, rng)


def _physionet(folder: Path, stays: Stays, rng: np.random.Generator) -> None:
    events = _with_descriptors(stays)
    clock = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(int(events.minute.max()) + 1)]
    lines = [
        f"{clock[minute]},{name},{value:.10g}\n"
        for minute, name, value in zip(events.minute.tolist(), events.name.tolist(), events.value.tolist(), strict=True)
    ]
    (folder / "set-a").mkdir()
    for row, identifier in enumerate(stays.ids.tolist()):
        body = "".join(lines[events.offsets[row] : events.offsets[row + 1]])
        text = f"Time,Parameter,Value\n00:00,RecordID,{identifier}\n{body}"
        (folder / "set-a" / f"{identifier}.txt").write_text(text, encoding="ascii")
    _outcomes(folder / "Outcomes-a.txt", "RecordID", stays, rng)


def _folder(folder: Path, stays: Stays, rng: np.random.Generator) -> None:
    events = _with_descriptors(stays)
    splits = np.array(list(_SHARES))[
        np.searchsorted(np.cumsum(list(_SHARES.values()))[:-1], _ranks(rng, stays), "right")
    ]
    for split in _SHARES:
        (folder / split).mkdir()
    for row, (identifier, split) in enumerate(zip(stays.ids.tolist(), splits.tolist(), strict=True)):
        part = slice(events.offsets[row], events.offsets[row + 1])
        known = events.value[part] != -1.0
        minute = events.minute[part][known]
        columns = {"variable": events.name[part][known], "value": events.value[part][known]}
        columns |= {"minute": minute.astype(np.float64), "set_index": np.cumsum(np.diff(minute, prepend=0) > 0)}
        _parquet(folder / split / f"{identifier}.parquet", columns)
    training = np.repeat(splits == "train", np.diff(events.offsets)) & (events.value != -1.0)
    _table(folder / "stats.csv", ("variable", "mean", "std"), _statistics(events, training))
    rows = zip(stays.ids.tolist(), stays.died.astype(int).tolist(), strict=True)
    _table(folder / "oc.csv", ("ts_id", "in_hospital_mortality", "simulated"), ((*row, "true") for row in rows))


_WRITERS = {"long": _long, "physionet2012": _physionet, "folder": _folder}


def _ranks(rng: np.random.Generator, stays: Stays) -> Float:
    """(n,) places of the stays in a random order, between 0 and 1."""
    return (rng.permutation(len(stays.ids)) + 0.5) / len(stays.ids)


def _statistics(events: _Events, chosen: NDArray[np.bool_]) -> Iterable[tuple[str, float, float]]:
    """Variable, mean and standard deviation (over N) of the chosen events; variables that have none are left out."""
    names, code = np.unique(events.name[chosen], return_inverse=True)
    value, counts = events.value[chosen], np.bincount(code)
    mean = np.bincount(code, value) / counts
    spread = np.sqrt(np.bincount(code, (value - mean[code]) ** 2) / counts)
    return zip(names.tolist(), mean.tolist(), spread.tolist(), strict=True)


def _with_descriptors(stays: Stays) -> _Events:
    """The events of every stay behind its descriptors, which stand at minute 0."""
    count, known = len(stays.ids), len(stays.descriptors)
    owner = np.concatenate([np.repeat(np.arange(count), known), stays.stay])
    order = np.argsort(owner, kind="stable")
    table = np.stack(list(stays.descriptors.values()), 1)
    names = np.concatenate([np.tile(np.array(list(stays.descriptors)), count), np.array(stays.names)[stays.code]])
    return _Events(
        minute=np.concatenate([np.zeros(count * known, np.int64), stays.minute])[order],
        name=names[order],
        value=np.concatenate([table.reshape(-1), stays.value])[order],
        offsets=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=count))]),
    )


def _outcomes(path: Path, key: str, stays: Stays, rng: np.random.Generator) -> None:
    """The table of outcomes of the Challenge, with one column more that says where it comes from.

    Survival is the days from arrival to death, -1 where none is known of.
    """
    count, severity = len(stays.ids), stays.severity
    saps = np.clip(np.round(14.5 + 4.0 * severity + 3.0 * rng.normal(size=count)), 0, 34)
    sofa = np.clip(np.round(6.5 + 3.0 * severity + 2.5 * rng.normal(size=count)), 0, 22)
    saps[rng.random(count) < 0.05] = -1
    sofa[rng.random(count) < 0.04] = -1
    days = np.maximum(2, np.round(np.exp(2.3 + 0.2 * severity + 0.7 * rng.normal(size=count))))
    later = rng.random(count) < 0.25
    after = days + np.round(rng.exponential(500.0, count)) + 1
    survival = np.where(stays.died, days, np.where(later, after, -1))
    columns = (stays.ids, saps, sofa, days, survival, stays.died)
    rows = zip(*(column.astype(int).tolist() for column in columns), strict=True)
    names = (key, "SAPS-I", "SOFA", "Length_of_stay", "Survival", "In-hospital_death", "simulated")
    _table(path, names, ((*row, "true") for row in rows))


def _parquet(path: Path, columns: dict[str, NDArray[Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(column).dictionary_encode() if name == "variable" and len(column) > 10_000 else pa.array(column)
        for name, column in columns.items()
    }
    pq.write_table(pa.table(arrays).replace_schema_metadata(_MARK), path)


def _table(path: Path, header: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
