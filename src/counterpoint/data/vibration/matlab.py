"""Numeric matrices of MATLAB 5 files (``.mat``, versions 5 to 7), read without trusting the file.

Written out here because scipy's reader, compiled, crashes the process on some damaged files. After MathWorks,
"MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 512 * 2**20
"""No file may take more than this, as it lies on disk or decompressed."""

_MATRIX, _COMPRESSED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_NUMERIC_CLASSES = range(6, 16)  # double, single, integers; below them cells, structures, objects, text, sparse
_COMPLEX = 0x0800


class _Element(NamedTuple):
    kind: int
    data: memoryview


def read_matrices(path: Path) -> tuple[dict[str, NDArray[np.generic]], tuple[str, ...]]:
    """Read every real numeric matrix of a file.

    Args:
        path: a ``.mat`` file as ``save`` writes it without ``-v4`` or ``-v7.3``.

    Returns:
        Name -> (rows, columns) matrix; and the names of variables that are something else.

    Raises:
        ValueError: another format, damaged, or too large.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{size:,} bytes; at most {MAX_BYTES:,} are read")
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise ValueError("not a MATLAB 5 file: no mark of its byte order")
    version = int(np.frombuffer(content[124:126], order + "u2")[0])
    if version != 0x0100:
        raise ValueError(f"version {version:#06x}, not a MATLAB 5 file; save it again with -v7")
    matrices: dict[str, NDArray[np.generic]] = {}
    others: list[str] = []
    for element in _variables(content[128:], order):
        name, matrix = _matrix(element, order)
        if name in matrices or name in others:
            raise ValueError(f"variable {name!r} stands twice")
        if matrix is None:
            others.append(name)
        else:
            matrices[name] = matrix
    return matrices, tuple(others)


def _variables(content: memoryview, order: str) -> Iterator[memoryview]:
    """Contents of the variables, decompressed; all of them together stay under the limit."""
    left = MAX_BYTES
    for element in _elements(content, order):
        inner = element
        if element.kind == _COMPRESSED:
            try:
                decoder = zlib.decompressobj()
                plain = decoder.decompress(element.data, left)
            except zlib.error as error:
                raise ValueError(f"damaged: {error}") from error
            if not decoder.eof:  # its checksum comes last
                raise ValueError(f"compressed data cut short, or over {MAX_BYTES:,} bytes")
            left -= len(plain)
            inner = next(_elements(memoryview(plain), order), _Element(0, element.data))
        if inner.kind != _MATRIX:
            raise ValueError(f"damaged: element of type {inner.kind} where a variable should be")
        yield inner.data


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """Split into elements: a tag of 8 bytes and data, or both in 8 bytes for data of up to 4."""
    at = 0
    while at < len(content):
        if len(content) - at < 8:
            raise ValueError("damaged: ends within a tag")
        kind, size = (int(word) for word in np.frombuffer(content[at : at + 8], order + "u4"))
        start = at + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise ValueError(f"damaged: a short element of {size} bytes")
        if start + size > len(content):
            raise ValueError(f"damaged: {size:,} bytes announced, {len(content) - start:,} there")
        yield _Element(kind, content[start : start + size])
        # Elements begin at multiples of 8 bytes, save after compressed ones.
        at = start + size if kind == _COMPRESSED else -(-(start + size) // 8) * 8


def _matrix(data: memoryview, order: str) -> tuple[str, NDArray[np.generic] | None]:
    """Name and values of a variable; None where it is no real numeric matrix."""
    parts = _elements(data, order)
    heads = [element for _, element in zip(range(3), parts, strict=False)]
    if [head.kind for head in heads] != [6, 5, 1] or len(heads[0].data) != 8 or len(heads[1].data) % 4:
        raise ValueError("damaged: a variable without flags, dimensions and name")
    flags = int(np.frombuffer(heads[0].data, order + "u4")[0])
    shape = tuple(int(n) for n in np.frombuffer(heads[1].data, order + "i4"))
    name = bytes(heads[2].data).decode("ascii", errors="replace")
    if flags & 0xFF not in _NUMERIC_CLASSES or flags & _COMPLEX or len(shape) != 2:
        return name, None
    values = next(parts, _Element(0, data))
    if values.kind not in _NUMBERS or min(shape) < 0:
        raise ValueError(f"damaged: {name!r} has shape {shape} and values of type {values.kind}")
    stored = np.dtype(order + _NUMBERS[values.kind])
    if math.prod(shape) * stored.itemsize != len(values.data):
        raise ValueError(f"damaged: {name!r} has shape {shape}, and {len(values.data):,} bytes of {stored}")
    return name, np.frombuffer(values.data, stored).reshape(shape, order="F")
