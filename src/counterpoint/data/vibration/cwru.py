"""Import of the bearing recordings of the Case Western Reserve University Bearing Data Center.

They are published as MATLAB files named by numbers, whose meaning ``cwru_files`` holds. The import writes the
layout that every other vibration collection has.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED, Ledger, Quarantine, fingerprint
from counterpoint.data.tables import Table, check_unique, match, read_table
from counterpoint.data.vibration.cwru_files import ALIASES, PUBLISHED, Condition, described
from counterpoint.data.vibration.hdf5 import write_collection
from counterpoint.data.vibration.matlab import read_matrices

FAULTS = {"N": "normal", "B": "ball", "IR": "inner race", "OR": "outer race"}
NORMAL_RATE = 48_000
"""Of the normal recordings. Tables that say 12000 put the shaft at a quarter of its speed."""
MAX_SAMPLES = 2**26
_RPM = (1797, 1772, 1750, 1730)  # nominal, at loads of 0 to 3 hp
_META = ("key", "channel", "rpm", "load_hp", "fault", "diameter_mil", "fault_end", "fs", "n", "scale")
_CHANNELS = ("DE", "FE", "BA")  # drive end, fan end, base plate


_STANDARD = Quarantine()
_VARIABLE = re.compile(r"X(\d+)_(DE|FE|BA)_time")
_NUMBER = re.compile(r"(?<![A-Za-z0-9@])\d{2,4}(?![A-Za-z0-9])")


_Content = dict[str, NDArray[Any]]


class _Unusable(Exception):
    """One recording cannot be used, for this reason."""


@dataclass(frozen=True)
class _Recording:
    row: dict[str, Any]
    read: Callable[[], NDArray[np.float32]]


def import_cwru(source: Path, destination: Path, *, quarantine: Quarantine = _STANDARD) -> Path:
    """Convert CWRU recordings to ``metadata.csv`` and ``signals.h5``.

    Every file is read twice: to find what cannot be used before anything is written, and to write it.
    ``import.json`` beside them holds digests of the sources, remarks and what was left out.

    Args:
        source: a folder, with subfolders, of the published ``.mat`` files, named by number (``105.mat``) or
            described (``12k_Drive_End_IR007_0_105.mat``, ``IR007_0.mat``); or a folder of
            ``signals_int16.npz`` and ``meta.csv``.
        destination: the folder to make.
        quarantine: what becomes of files that cannot be used.

    Returns:
        The destination.

    Raises:
        ValueError: nothing to import, a file that is none of the published ones, two files of one number, or
            too many that cannot be used.
    """
    ledger, notes = Ledger(quarantine), list[str]()
    if (source / "signals_int16.npz").is_file() and (source / "meta.csv").is_file():
        sources = [source / "signals_int16.npz", source / "meta.csv"]
        total, recordings = _from_arrays(source, ledger, notes)
    else:
        sources = _mat_files(source)
        total, recordings = _from_mat(sources, ledger, notes)
    ledger.settle(total)
    signals = ((str(recording.row["Id"]), recording.read()) for recording in recordings)
    write_collection(destination, [recording.row for recording in recordings], signals)
    account = {
        "sources": [fingerprint(path) for path in sources],
        "notes": notes,
        "quarantine": ledger.report(),
    }
    (destination / "import.json").write_text(json.dumps(account, indent=2, ensure_ascii=False), encoding="utf-8")
    return destination


def _row(identifier: int | str, file: str, of: Condition, length: int, channels: list[str], rpm: int) -> dict[str, Any]:
    return {
        "Id": identifier,
        "Dataset_id": 1,
        "Name": "CWRU",
        "File": file,
        "Label": of.fault,
        "Label_Description": FAULTS[of.fault],
        "Domain_id": of.load,
        "Fault_level": of.diameter,
        "Sample_rate": of.rate,
        "Sample_length": length,
        "Channels": len(channels),
        "channel_names": " ".join(channels),
        "bearing": of.bearing,
        "fault_end": of.end,
        "or_position": of.position,
        "rpm": rpm,
    }


def _checked(values: NDArray[Any]) -> NDArray[np.float32]:
    """(L, C) float32 of a usable recording."""
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused below
        signal = values.astype(np.float32)
    if signal.size == 0:
        raise _Unusable("empty")
    finite = np.isfinite(signal)
    if not finite.all():
        bad, first = signal.size - np.count_nonzero(finite), int(np.argmin(finite.all(axis=1)))
        raise _Unusable(f"{bad} non-finite values, first at sample {first}")
    return signal


def _mat_files(source: Path) -> list[Path]:
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() == ".mat" and path.is_file())
    if not files:
        raise ValueError(
            f"{source}: no CWRU recordings; give a folder of the published .mat files, or one that holds "
            "signals_int16.npz and meta.csv"
        )
    outside = [path for path in files if not path.resolve().is_relative_to(source.resolve())]
    if outside:
        raise ValueError(f"{outside[0]}: a link out of {source}; copy the file instead")
    return files


def _from_mat(files: list[Path], ledger: Ledger, notes: list[str]) -> tuple[int, list[_Recording]]:
    recordings: list[_Recording] = []
    taken: dict[int, Path] = {}
    for path in files:
        try:
            content = _content(path)
            number = _number(path, content)
            if number in taken:
                raise ValueError(f"{path} and {taken[number]} are both file {number}; remove one of them")
            taken[number] = path
            own, channels = _channels(number, content)
            length = len(_signal(content, own, channels))
        except _Unusable as error:
            ledger.reject(path.stem, path, 0, "vibration", str(error))
            continue
        numbers = sorted(_numbers(content))
        if numbers != [number]:
            held = ", ".join(f"X{n:03d}" for n in numbers)
            notes.append(f"{path.name} holds variables of {held}; X{own:03d} was taken for file {number}")
        of = PUBLISHED[number]
        speed = content.get(f"X{own:03d}RPM", np.array([_RPM[of.load]]))
        row = _row(number, path.name, of, length, channels, round(float(speed.flat[0])))
        recordings.append(_Recording(row, partial(_from_file, path, own, channels)))
    return len(files), sorted(recordings, key=lambda recording: int(recording.row["Id"]))


def _content(path: Path) -> _Content:
    try:
        content, others = read_matrices(path)
    except (OSError, ValueError) as error:
        raise _Unusable(f"unreadable: {error}") from error
    for name in others:
        if _VARIABLE.fullmatch(name):
            raise _Unusable(f"unreadable: {name} is no matrix of real numbers")
    speeds = {name: value for name, value in content.items() if name.endswith("RPM")}
    for name, value in speeds.items():
        if value.size != 1 or not np.isfinite(value.flat[0]):
            raise _Unusable(f"unreadable: {name} is not one number")
    return content


def _numbers(content: _Content) -> set[int]:
    return {int(found[1]) for found in map(_VARIABLE.fullmatch, content) if found}


def _number(path: Path, content: _Content) -> int:
    """Which published file this is: by the number in its name, else by its variables, else as described."""
    words, fitting = described(path.stem)
    named = {int(text) for text in _NUMBER.findall(path.stem)} & PUBLISHED.keys()
    inside = {ALIASES.get(number, number) for number in _numbers(content)} & PUBLISHED.keys()
    candidates = named or (inside & fitting if len(inside) > 1 else inside) or fitting
    if len(candidates) != 1:
        raise ValueError(
            f"{path}: not one of the {len(PUBLISHED)} published CWRU files by name or variables; rename it "
            "to the number it was published under (105.mat), or move it out of the folder"
        )
    number = candidates.pop()
    if words and number not in fitting:
        raise ValueError(f"{path}: {words} is not what file {number} is, {PUBLISHED[number]}; rename the file")
    return number


def _channels(number: int, content: _Content) -> tuple[int, list[str]]:
    """The number the file's own variables go by, and its channels."""
    held = _numbers(content)
    own = [n for n in held if n == number or ALIASES.get(n) == number]
    own = own or [n for n in held if n not in PUBLISHED]  # a number of no file (174.mat may hold X173 alone)
    if len(own) != 1:
        names = ", ".join(sorted(content)) or "nothing"
        raise _Unusable(f"no signal of its own: holds {names}, and none is of file {number}")
    return own[0], [channel for channel in _CHANNELS if f"X{own[0]:03d}_{channel}_time" in content]


def _signal(content: _Content, own: int, channels: list[str]) -> NDArray[np.float32]:
    """(L, C) float32."""
    columns = [content[f"X{own:03d}_{channel}_time"].reshape(-1) for channel in channels]
    lengths = {channel: len(column) for channel, column in zip(channels, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise _Unusable(f"channels of different length: {lengths}")
    return _checked(np.stack(columns, axis=1))


def _from_file(path: Path, own: int, channels: list[str]) -> NDArray[np.float32]:
    return _signal(_content(path), own, channels)


def _from_arrays(source: Path, ledger: Ledger, notes: list[str]) -> tuple[int, list[_Recording]]:
    """``meta.csv`` and ``signals_int16.npz``: x = z[key] * scale / 32767."""
    table = read_table(source / "meta.csv")
    match(table, dict.fromkeys((*_META, "or_position"), ()), (*_META, "or_position"))
    check_unique(table, "key")
    archive = source / "signals_int16.npz"
    recordings: list[_Recording] = []
    for index in range(len(table)):
        key, channel, scale = (str(table.columns[name][index]) for name in ("key", "channel", "scale"))
        of = _condition(table, index)
        read = partial(_array, archive, key, float(scale))
        try:
            length = len(read())
            if length != table.columns["n"][index]:
                raise _Unusable(f"not the length the table gives: {length} for {table.columns['n'][index]}")
        except _Unusable as error:
            ledger.reject(key, archive, table.rows[index], "vibration", str(error))
            continue
        if of.rate != table.columns["fs"][index]:
            notes.append(f"{key}: recorded at {of.rate} Hz, though meta.csv says {table.columns['fs'][index]}")
        rpm = _whole(table, index, "rpm")
        recordings.append(_Recording(_row(key, archive.name, of, length, [channel], rpm), read))
    return len(table), recordings


def _condition(table: Table, index: int) -> Condition:
    fault, end = str(table.columns["fault"][index]), str(table.columns["fault_end"][index])
    if fault not in FAULTS:
        raise ValueError(f"{table.place(index, 'fault')}: {fault!r} is none of {', '.join(FAULTS)}")
    position = None if table.columns["or_position"][index] is None else _whole(table, index, "or_position")
    rate = NORMAL_RATE if fault == "N" else _whole(table, index, "fs")
    return Condition(fault, _whole(table, index, "diameter_mil"), _whole(table, index, "load_hp"), position, end, rate)


def _whole(table: Table, index: int, column: str) -> int:
    cell = table.columns[column][index]
    if not isinstance(cell, int):
        raise ValueError(f"{table.place(index, column)}: {cell!r} is not a whole number")
    return cell


def _array(archive: Path, key: str, scale: float) -> NDArray[np.float32]:
    """(L, 1) of one recording."""
    try:
        with zipfile.ZipFile(archive) as members:
            size = members.getinfo(f"{key}.npy").file_size
        if size > MAX_SAMPLES * 2:
            raise _Unusable(f"unreadable: {size:,} bytes once decompressed")
        with np.load(archive, allow_pickle=False) as arrays:
            values = arrays[key]
    except DAMAGED as error:
        raise _Unusable(f"unreadable: {error}") from error
    if values.ndim != 1 or values.dtype != np.int16:
        raise _Unusable(f"unreadable: {values.dtype} of shape {values.shape}, not int16 of shape (L,)")
    return _checked(values[:, None] * (scale / 32767.0))
