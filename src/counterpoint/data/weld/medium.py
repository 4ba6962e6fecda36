"""The role of what reads one modality of a run from its files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.types import Spec


class UnreadableFile(Exception):
    """A file of a run cannot be used, for this reason."""


class Recorded(NamedTuple):
    """One modality of one run.

    Attributes:
        values: (L, ...) float32 elements or uint8 pictures, 0 where there are none.
        mask: (L,) which there are.
    """

    values: NDArray[Any]
    mask: NDArray[np.bool_]


class Medium(ABC):
    """Base of all that reads a modality.

    Attributes:
        spec: what comes out.
        settings: all that decides what comes out besides the files.
    """

    spec: Spec
    settings: str

    @abstractmethod
    def files(self, folder: Path) -> list[Path]:
        """Files of the modality in the folder of a run; empty where it has none."""

    @abstractmethod
    def check(self, files: Sequence[Path]) -> None:
        """Look at headers and ends without decoding.

        Raises:
            UnreadableFile: naming what is wrong.
        """

    @abstractmethod
    def read(self, files: Sequence[Path]) -> Recorded:
        """Decode and bring to the shape of the spec.

        Raises:
            UnreadableFile: naming what is wrong.
        """


def of_run(folder: Path, suffix: str) -> list[Path]:
    """The file that is named as its folder, if there is one."""
    path = folder / f"{folder.name}{suffix}"
    return [path] if path.is_file() else []


def need(module: str) -> UnreadableFile | ValueError:
    """What to raise where a package for media is missing."""
    return ValueError(f"{module} is not installed and weld media need it: pip install 'counterpoint[media]'")
