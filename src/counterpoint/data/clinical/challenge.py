"""Import of the stays of the PhysioNet Challenge of 2012: one long table a set, which reads in a second."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np

from counterpoint.data.clinical.long_table import LongTable
from counterpoint.data.clinical.physionet2012 import PhysioNet2012
from counterpoint.data.clinical.stays import MODALITY, StayReader, Stays
from counterpoint.data.ledger import Ledger, Quarantine

_ID = "RecordID"


def import_physionet2012(source: Path, destination: Path) -> Path:
    """Convert every set of a folder to ``events_<set>.parquet`` and copy the outcomes beside it.

    Nothing is cleaned: the recipe says what stands for a missing value.

    Args:
        source: holds ``set-a`` and so on, text files as published, or ``events_a.parquet`` and so on, long tables with
            the columns record_id, hours, variable, value; and ``Outcomes-a.txt`` and so on.
        destination: the folder to write to.

    Returns:
        The destination.

    Raises:
        ValueError: there is no set, or a stay cannot be read.
    """
    sets = _sets(source)
    if not sets:
        raise ValueError(
            f"{source} holds no set of the Challenge; give the folder that holds set-a (text files as published) or "
            "events_a.parquet"
        )
    destination.mkdir(parents=True, exist_ok=True)
    for name, reader in sorted(sets.items()):
        _write(reader.read(), destination / f"events_{name}.parquet")
        outcomes = source / f"Outcomes-{name}.txt"
        if outcomes.is_file() and not _same(outcomes, destination / outcomes.name):
            shutil.copyfile(outcomes, destination / outcomes.name)
    return destination


def _sets(source: Path) -> dict[str, StayReader]:
    found: dict[str, StayReader] = {}
    for path in sorted(source.iterdir()) if source.is_dir() else []:
        text = re.fullmatch(r"set-(\w+)", path.name)
        table = re.fullmatch(r"events_(\w+)\.parquet", path.name)
        if text and path.is_dir():
            found[text[1]] = PhysioNet2012(folders=[path], missing=[], ignore=[])
        elif table:
            found.setdefault(table[1], LongTable(tables=[path], stay="record_id", time="hours", unit="hours"))
    return found


def _write(stays: Stays, path: Path) -> None:
    """One long table, whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ledger = Ledger(Quarantine(policy="error"))
    for at, reason in stays.rejected.items():
        ledger.reject(stays.names[at], stays.files[at], 0, MODALITY, reason)
    ledger.settle(len(stays.names))
    names = np.array([int(name) if name.isdecimal() else -1 for name in stays.names], dtype=np.int64)
    if (names < 0).any():
        strange = stays.names[int(np.flatnonzero(names < 0)[0])]
        raise ValueError(f"{stays.files[0]}: stay {strange!r} is no {_ID}; those of the Challenge are whole numbers")
    variables = pa.DictionaryArray.from_arrays(pa.array(stays.codes.astype(np.int32)), list(stays.variables))
    table = pa.table({_ID: names[stays.stay], "minute": stays.minutes, "variable": variables, "value": stays.values})
    scratch = path.with_suffix(".tmp")
    pq.write_table(table, scratch)
    scratch.replace(path)


def _same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)
