"""The memory of the process: batches of ever different sizes leave gaps in the heap, which are given back."""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from pathlib import Path

_STATM = Path("/proc/self/statm")
SLACK = 256 * 2**20
"""Growth in bytes before anything is given back; a call costs up to a tenth of a second."""


class Heap:
    """The heap of this process, kept near what is in use.

    The C library keeps what is freed for the next allocation of the same size, and ragged batches have none: without
    this a training that holds 1 GB grows to several. Where the C library cannot be asked (it is not glibc), nothing is
    done.
    """

    def __init__(self) -> None:
        library = ctypes.CDLL(ctypes.util.find_library("c"))
        self._trim = getattr(library, "malloc_trim", None) if _STATM.is_file() else None
        self._floor = resident()

    def tidy(self) -> None:
        """Give back what is free, if the process grew by more than ``SLACK`` since this was last done."""
        if self._trim is not None and resident() > self._floor + SLACK:
            self._trim(0)
            self._floor = resident()


def resident() -> int:
    """Bytes of memory that the process holds; 0 where the system does not tell."""
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") if _STATM.is_file() else 0
