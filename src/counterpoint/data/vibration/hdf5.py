"""Signals in HDF5: a dataset a recording, read a slice at a time.

A file that points into other files (external or soft links out, external storage, virtual datasets) is
refused: what a file says decides what is read, never where.
"""

from __future__ import annotations

import csv
import difflib
import math
import os
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from counterpoint.data.whole import whole_folder

MAX_CHUNK_BYTES = 256 * 2**20
"""A compressed chunk is decoded whole, so its decoded size bounds what one window can cost."""
_OPEN_DATASETS = 512  # each keeps up to 64 KiB of buffer
_SOFT_LINKS = 8  # a longer chain is taken for a circle
_CHUNK_SAMPLES = 16384


class Unreadable(ValueError):
    """The stored data of one recording are damaged or of a kind that is not a signal."""


class Hdf5Signals:
    """Signals of one HDF5 file: datasets of shape (L,), (L, C) or (L, C, 1), real numbers, keyed by name.

    Opening is left to the first read in each process, so an instance may be pickled, and forked along with a
    loader's workers. The file is opened read-only.

    Args:
        path: the HDF5 file.

    Raises:
        ValueError: there is no such file.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ValueError(f"{path}: no such file; give the path of the HDF5 file of signals")
        self.path = path
        self._process = 0
        self._file: Any = None
        self._datasets: OrderedDict[str, Any] = OrderedDict()

    def __reduce__(self) -> tuple[type[Hdf5Signals], tuple[Path]]:
        return Hdf5Signals, (self.path,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        self._datasets.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def keys(self) -> tuple[str, ...]:
        """Names at the top of the file, whether usable or not. Follows no link."""
        try:
            return tuple(self._opened())
        except (OSError, RuntimeError) as error:
            raise Unreadable(f"{self.path}: the list of datasets is damaged ({error})") from error

    def shape(self, key: str) -> tuple[int, int]:
        """(L, C) of a recording, in samples and channels, from its header alone.

        Raises:
            ValueError: no such key, or it leads out of the file.
            Unreadable: not a signal, or damaged.
        """
        shape = self._dataset(key).shape
        return int(shape[0]), int(shape[1]) if len(shape) > 1 else 1

    def read(self, key: str, start: int, length: int) -> NDArray[np.float32]:
        """Read ``length`` samples from ``start``; only these leave the file.

        Returns:
            (length, C) float32, a copy of its own.

        Raises:
            ValueError: as ``shape``, or the slice is not inside the recording.
        """
        dataset = self._dataset(key)
        total, channels = self.shape(key)
        if start < 0 or length < 0 or start + length > total:
            raise ValueError(f"{self._at(key)}: samples {start} to {start + length} asked of {total}")
        try:
            values = dataset[start : start + length]
        except (OSError, RuntimeError, MemoryError, TypeError, ValueError) as error:
            raise Unreadable(f"{self._at(key)}: samples {start} to {start + length}: {error}") from error
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinite; scan says so
            return np.ascontiguousarray(values, dtype=np.float32).reshape(length, channels)

    def scan(self, key: str, chunk: int = 2**18) -> str:
        """Why a recording cannot be used, reading all of it ``chunk`` samples at a time.

        Returns:
            "" when it can; else "empty", "N non-finite values, first at sample i" or "unreadable: ...".

        Raises:
            ValueError: no such key, or it leads out of the file: then more is wrong than one recording.
        """
        bad, first = 0, -1
        try:
            length, channels = self.shape(key)
            if length * channels == 0:
                return "empty"
            self._check_written(key)
            for start in range(0, length, chunk):
                finite = np.isfinite(self.read(key, start, min(chunk, length - start)))
                if not finite.all():
                    first = start + int(np.argmin(finite.all(axis=1))) if first < 0 else first
                    bad += int(finite.size - np.count_nonzero(finite))
        except Unreadable as error:
            return f"unreadable: {error}"
        return f"{bad} non-finite values, first at sample {first}" if bad else ""

    def _check_written(self, key: str) -> None:
        """Chunks that were never written read as zeros, which is no signal."""
        dataset = self._dataset(key)
        try:
            if dataset.chunks is None:
                written, expected = int(dataset.id.get_storage_size() > 0), 1
            else:
                written = dataset.id.get_num_chunks()
                expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
        except (OSError, RuntimeError) as error:
            raise Unreadable(f"{self._at(key)}: {error}") from error
        if written < expected:
            raise Unreadable(f"{self._at(key)}: {expected - written} of {expected} chunks were never written")

    def _at(self, key: str) -> str:
        return f"{self.path}, key {key!r}"

    def _opened(self) -> Any:
        import h5py

        if self._process != os.getpid():
            self.close()  # what a fork carried over is this process's copy; the parent's stays open
            self._process = os.getpid()
        if self._file is None:
            try:
                # A cache of chunks would decode and keep a megabyte for every window of a few kilobytes.
                self._file = h5py.File(self.path, "r", rdcc_nbytes=0)
            except (OSError, RuntimeError) as error:
                raise ValueError(f"{self.path}: cannot be opened as HDF5 ({error})") from error
        return self._file

    def _dataset(self, key: str) -> Any:
        file = self._opened()
        if key in self._datasets:
            self._datasets.move_to_end(key)
            return self._datasets[key]
        try:
            found = self._found(file, key)
            reason = _unfit(found)
        except (OSError, RuntimeError, KeyError, TypeError) as error:
            raise Unreadable(f"{self._at(key)}: {error}") from error
        if reason:
            raise Unreadable(f"{self._at(key)}: {reason}")
        self._datasets[key] = found
        if len(self._datasets) > _OPEN_DATASETS:
            self._datasets.popitem(last=False)
        return found

    def _found(self, file: Any, key: str) -> Any:
        """Walk to a key name by name, so that no link is followed before it is looked at."""
        import h5py

        node, names, links = file, key.split("/")[::-1], 0
        while names:
            name = names.pop()
            if not isinstance(node, h5py.Group) or name in ("", ".") or not node.id.links.exists(name.encode()):
                raise ValueError(self._absent(key))
            kind = node.id.links.get_info(name.encode()).type
            if kind == h5py.h5l.TYPE_HARD:
                node = node[name]
                continue
            if kind != h5py.h5l.TYPE_SOFT or links == _SOFT_LINKS:
                raise ValueError(f"{self._at(key)}: {name!r} is a link out of the file or without end; store the data")
            links += 1
            target = node.get(name, getlink=True).path
            node = file if target.startswith("/") else node
            names += [part for part in target.split("/")[::-1] if part not in ("", ".")]
        if isinstance(node, h5py.Dataset) and (node.is_virtual or node.id.get_create_plist().get_external_count()):
            raise ValueError(
                f"{self._at(key)}: its data lie in other files (virtual dataset or external storage); store "
                "them in this one (copy the dataset)"
            )
        return node

    def _absent(self, key: str) -> str:
        keys = self.keys()
        near = difflib.get_close_matches(key, keys[:20_000], n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(map(repr, near))}" if near else f"its keys begin {', '.join(map(repr, keys[:3]))}"
        return f"{self._at(key)}: no such dataset; {hint if keys else 'the file is empty'}"


def _unfit(dataset: Any) -> str:
    """Why what was found is not a signal; "" when it is. Reads headers alone."""
    import h5py

    if not isinstance(dataset, h5py.Dataset):
        return "a group or a type, not a dataset"
    shape, dtype = dataset.shape, dataset.dtype
    if shape is None or len(shape) not in (1, 2, 3) or (len(shape) == 3 and shape[2] != 1):
        return f"shape {shape}; a signal has shape (L,), (L, C) or (L, C, 1)"
    if dtype.kind not in "iuf":
        return f"values of type {dtype}; a signal has real numbers"
    if dataset.chunks and math.prod(dataset.chunks) * dtype.itemsize > MAX_CHUNK_BYTES:
        return f"chunks of over {MAX_CHUNK_BYTES:,} bytes, which are decoded whole; h5repack makes them smaller"
    return ""


def write_collection(folder: Path, rows: list[dict[str, Any]], signals: Iterable[tuple[str, NDArray[Any]]]) -> Path:
    """Write a collection in the PHM-Vibench layout: ``metadata.csv`` and ``signals.h5``.

    The folder appears complete or not at all.

    Args:
        folder: to be made; may exist when empty.
        rows: one dict a recording, each with its ``Id``; columns in the order in which they first come.
        signals: ``(str(Id), values)`` a recording, values (L,) or (L, C), taken one at a time.

    Returns:
        The folder.

    Raises:
        ValueError: the folder holds something already, or rows and signals do not agree.
    """
    with whole_folder(folder) as partial:
        _write_signals(partial / "signals.h5", [str(row["Id"]) for row in rows], signals)
        columns = list(dict.fromkeys(name for row in rows for name in row))
        with (partial / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(rows)
        for path in partial.iterdir():
            with path.open("rb") as written:
                os.fsync(written.fileno())
    return folder


def _write_signals(path: Path, ids: list[str], signals: Iterable[tuple[str, NDArray[Any]]]) -> None:
    import h5py

    awaited = set(ids)
    if len(awaited) < len(ids):
        raise ValueError(
            f"{len(ids) - len(awaited)} identifiers stand in more than one row; each recording has its own"
        )
    with h5py.File(path, "w") as file:
        for key, values in signals:
            if key not in awaited:
                raise ValueError(f"signal {key!r} has no row, or came twice")
            awaited.remove(key)
            shaped = values.reshape(len(values), -1)
            chunks = (min(len(shaped), _CHUNK_SAMPLES), shaped.shape[1]) if shaped.size else None
            file.create_dataset(key, data=shaped, chunks=chunks)
    if awaited:
        raise ValueError(f"{len(awaited)} rows have no signal, {sorted(awaited)[0]!r} among them")
