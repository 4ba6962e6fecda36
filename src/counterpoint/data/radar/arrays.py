"""Clips on disk: what the headers of an ``.npz`` file say, and its arrays, read without running anything."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.ledger import DAMAGED

CLIP = "clip"
"""What is bad where it is no single array."""
MAX_BYTES = 2**28
"""No array of a clip may take more than this once decompressed."""
_HEADER = 4096


class UnreadableClip(Exception):
    """A clip cannot be used.

    Attributes:
        array: which of its arrays is bad, or ``CLIP``.
        reason: what is wrong with it.
    """

    def __init__(self, array: str, reason: str) -> None:
        """Take what is bad and why."""
        super().__init__(f"{array}: {reason}")
        self.array, self.reason = array, reason


class Header(NamedTuple):
    """What an ``.npz`` file says of an array without a byte of it being decompressed.

    Attributes:
        bins: rows of the array.
        frames: its columns.
        check: CRC-32 of the array with its header, as the archive has it.
    """

    bins: int
    frames: int
    check: int


def look(path: Path, views: Sequence[str]) -> dict[str, Header]:
    """The headers of those arrays of a clip that are views.

    Args:
        path: an ``.npz`` file.
        views: names of arrays that are looked for.

    Raises:
        UnreadableClip: no such file, no archive, none of the views, or an array that is no (bins, frames) of numbers.
    """
    if not path.is_file():
        raise UnreadableClip(CLIP, "missing: no such file")
    try:
        with zipfile.ZipFile(path) as members:
            held = [name.removesuffix(".npy") for name in members.namelist()]
            found = {name: _header(members, name) for name in views if name in held}
    except DAMAGED as error:
        raise UnreadableClip(CLIP, f"unreadable, truncated or no .npz: {error}") from error
    if not found:
        raise UnreadableClip(CLIP, f"no view: it has none of {', '.join(views)} but {', '.join(held) or 'nothing'}")
    return found


def _header(members: zipfile.ZipFile, name: str) -> Header:
    entry = members.getinfo(f"{name}.npy")
    with members.open(entry) as stream:
        begun = stream.read(_HEADER)
    shape, dtype, size = _parsed(begun[: 10 + int.from_bytes(begun[8:10], "little")])
    if dtype.hasobject:
        raise UnreadableClip(name, "a pickled object: it is not opened, as that could run code; save plain numbers")
    if dtype.kind not in "fiu":
        hint = "; save its magnitude" if dtype.kind == "c" else ""
        raise UnreadableClip(name, f"wrong type: {dtype}, where magnitudes are real numbers{hint}")
    if len(shape) != 2 or 0 in shape:
        raise UnreadableClip(name, f"wrong shape: {shape}, where a view is (bins, frames)")
    bins, frames = shape
    if bins * frames * dtype.itemsize > MAX_BYTES:
        raise UnreadableClip(name, f"too large: shape {shape} of {dtype} takes more than {MAX_BYTES:,} bytes")
    if entry.file_size != size + bins * frames * dtype.itemsize:
        raise UnreadableClip(name, f"truncated: {entry.file_size - size:,} bytes for shape {shape} of {dtype}")
    return Header(bins, frames, entry.CRC)


@lru_cache(maxsize=4096)
def _parsed(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type and length of the header of an ``.npy`` of version 1.0, the only one that plain numbers are in."""
    stream = BytesIO(header)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"format {header[6]}.{header[7]} of .npy; plain numbers have 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return shape, dtype, len(header)


def read(path: Path, name: str) -> NDArray[np.float32]:
    """One array of a clip that ``look`` has found good, (bins, frames), checked against its checksum.

    Raises:
        UnreadableClip: the bytes are damaged, or a value is not finite or below 0.
    """
    try:
        with zipfile.ZipFile(path) as members, members.open(f"{name}.npy") as stream:
            stored: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except DAMAGED as error:
        raise UnreadableClip(name, f"unreadable: {error}") from error
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, and is refused below
        values = stored.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        where = np.argwhere(~np.isfinite(values))
        raise UnreadableClip(
            name, f"not finite: {len(where)} of {values.size} values, first at bin {where[0, 0]}, frame {where[0, 1]}"
        )
    if values.min() < 0:
        raise UnreadableClip(
            name, f"below 0: {values.min():g} is no magnitude; save magnitudes, neither decibels nor real parts"
        )
    return values
