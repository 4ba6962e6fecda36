"""Stays as the PhysioNet Challenge of 2012 has them: a text file a stay, and a table of outcomes a set."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np

from counterpoint.data.clinical.long_table import encoded, numbers
from counterpoint.data.clinical.parts import Cleaning, Part, assemble
from counterpoint.data.clinical.stays import StayReader, Stays
from counterpoint.data.splits import text
from counterpoint.keys import Int

_COLUMNS = ("Time", "Parameter", "Value")
_ID = "RecordID"
_TIME = re.compile(r"(-?)(\d{1,4}):([0-5]\d)")


@final
@dataclass(frozen=True, kw_only=True)
class PhysioNet2012(StayReader):
    """Folders of text files ``<RecordID>.txt`` with the columns Time (HH:MM since admission), Parameter, Value.

    The cells ``folder`` say which folder a stay is from, so that ``ByValue(column: folder)`` divides by them.

    Silva, Moody, Scott, Celi, Mark, "Predicting in-hospital mortality of ICU patients: the PhysioNet/Computing in
    Cardiology Challenge 2012", Computing in Cardiology 39 (2012).

    Args:
        folders: such as ``set-a``.
        outcomes: such as ``Outcomes-a.txt``.
        missing: values that stand for one that is not there.
        ignore: variables that are no measurement.
    """

    folders: list[Path]
    outcomes: list[Path] = field(default_factory=list)
    missing: list[float] = field(default_factory=lambda: [-1.0])
    ignore: list[str] = field(default_factory=lambda: [_ID])
    outcome = "In-hospital_death"

    def read(self) -> Stays:
        """Read all files.

        Raises:
            ValueError: a folder holds no such file; a stay stands in two folders.
        """
        if not self.folders:
            raise ValueError("PhysioNet2012: folders must name one or more folders")
        parts = [_part(folder) for folder in self.folders]
        stays = assemble(parts, "folder", self.outcomes, _ID, Cleaning(self.missing, self.ignore))
        return replace(stays, sources=[*self.folders, *self.outcomes])


def _part(folder: Path) -> Part:
    """All files of a folder, parsed in one go."""
    import pyarrow as pa
    import pyarrow.csv

    files = sorted(path for path in folder.glob("*.txt") if path.is_file() and not path.stem.startswith("Outcomes"))
    if not files:
        raise ValueError(f"{folder}: no .txt files; give a folder such as set-a, with a file a stay")
    names, rejected, bodies = [path.stem for path in files], dict[int, str](), []
    for at, path in enumerate(files):
        body, reason = _body(path)
        bodies.append(body)
        if reason:
            rejected[at] = reason
    sizes = np.array([body.count(b"\n") for body in bodies], dtype=np.int64)
    if not sizes.sum():
        none = np.empty(0, dtype=np.int64)
        return Part(folder.name, names, files, [], none, np.empty(0), none, none, none, rejected=rejected)
    table = pyarrow.csv.read_csv(
        pa.BufferReader(b"".join(bodies)),
        pa.csv.ReadOptions(column_names=_COLUMNS),
        pa.csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
        pa.csv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, pa.string())),
    )
    clock, words = encoded(table.column("Time"))
    codes, variables = encoded(table.column("Parameter"))
    values = numbers(table.column("Value"))
    stay = np.repeat(np.arange(len(files)), sizes)
    lines = np.arange(2, len(stay) + 2) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    if _ID in variables:
        rejected = _strangers(names, stay, values, np.flatnonzero(codes == variables.index(_ID))) | rejected
    minutes = np.array([_minute(word) for word in words])[clock]
    return Part(folder.name, names, files, variables, stay, minutes, codes, values, lines, rejected=rejected)


def _body(path: Path) -> tuple[bytes, str]:
    """The lines below the header; none and the reason, where the file cannot be read."""
    try:
        whole = path.read_bytes()
        whole.decode()
    except OSError as error:
        return b"", f"unreadable: {error}"
    except UnicodeDecodeError as error:
        return b"", f"unreadable: no text, {error.reason} at byte {error.start}"
    head, _, body = whole.partition(b"\n")
    if not whole.strip():
        return b"", "empty: no text"
    if head.strip().removeprefix(b"\xef\xbb\xbf") != ",".join(_COLUMNS).encode():
        return b"", f"unreadable: the first row is {head[:40].decode(errors='replace')!r}, not {','.join(_COLUMNS)}"
    lines = body.split(b"\n")
    if lines.pop():
        return b"", f"truncated: row {len(lines) + 2} has no end; put a line break there if the file is whole"
    odd = next((row for row, line in enumerate(lines, start=2) if line.count(b",") != 2), None)
    if odd is not None:
        return b"", f"unreadable: row {odd} is {lines[odd - 2][:40].decode(errors='replace')!r}, not three cells"
    return body, ""


def _minute(word: str) -> float:
    found = _TIME.fullmatch(word)
    if not found:
        return float("nan")
    minutes = 60.0 * int(found[2]) + int(found[3])
    return -minutes if found[1] else minutes


def _strangers(names: Sequence[str], stay: Int, values: np.ndarray, events: Int) -> dict[int, str]:
    """Files that say they are of another stay than their names do."""
    said = {int(stay[event]): text(float(values[event])) for event in events}
    return {
        at: f"unreadable: it holds {_ID} {word} under another name" for at, word in said.items() if word != names[at]
    }
