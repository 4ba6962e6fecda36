"""Embeddings of evaluation rows with all that is needed to score them, in memory and on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoint.types import UNLABELLED

Int = NDArray[np.int64]
_SUFFIX = ".parquet"


class Truth(NamedTuple):
    """What is known of N rows beside their signal.

    Attributes:
        labels: (N,) class index or ``UNLABELLED``.
        groups: (N,) what is resampled as one when an interval is made.
        domains: (N,) operating condition.
        ids: (N,) row of the recording in the data's table.
        classes: names of the classes by index.
    """

    labels: Int
    groups: Int
    domains: Int
    ids: Int
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Embeddings:
    """N rows of width D: learned embeddings, or hand features, which are scored the same way.

    Args:
        values: (N, D) float32, finite.
        labels: (N,) int64 class index or ``UNLABELLED``.
        groups: (N,) int64.
        domains: (N,) int64.
        ids: (N,) int64, row of the recording in the data's table.
        classes: names of the classes by index; empty when nothing is labelled.
        names: recording names by id.

    Raises:
        ValueError: columns of different length, a label or id without a name, or values that are not finite.
    """

    values: NDArray[np.float32]
    labels: Int
    groups: Int
    domains: Int
    ids: Int
    classes: tuple[str, ...]
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.values.ndim != 2:
            raise ValueError(f"embeddings must be (N, D), these are {self.values.shape}")
        for column in ("labels", "groups", "domains", "ids"):
            shape = getattr(self, column).shape
            if shape != (len(self.values),):
                raise ValueError(f"embeddings: {len(self.values)} rows of values but {column} of shape {shape}")
        for column, names in (("labels", self.classes), ("ids", self.names)):
            largest = int(getattr(self, column).max(initial=-1))
            if largest >= len(names):
                raise ValueError(f"embeddings: {column} reach {largest} but only {len(names)} are named")
        bad = int((~np.isfinite(self.values).all(1)).sum())
        if bad:
            raise ValueError(f"embeddings: {bad} of {len(self)} rows are not finite; the encoder diverged or read NaN")

    def __len__(self) -> int:
        return len(self.values)

    @property
    def truth(self) -> Truth:
        """Everything but the values."""
        return Truth(self.labels, self.groups, self.domains, self.ids, self.classes)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Embeddings:
        """The rows of an index or of a boolean mask, in that order."""
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            groups=self.groups[rows],
            domains=self.domains[rows],
            ids=self.ids[rows],
        )

    def labelled(self) -> Embeddings:
        """The rows whose class is known."""
        return self.take(self.labels != UNLABELLED)

    def save(self, stem: Path) -> Path:
        """Write ``stem``.parquet, a row an embedding: id, name, label, group, domain and the vector.

        Returns:
            The file written.
        """
        import pyarrow as pa

        vectors = pa.FixedSizeListArray.from_arrays(
            pa.array(np.ascontiguousarray(self.values, np.float32).reshape(-1)), self.values.shape[1]
        )
        table = pa.table(
            {
                "id": self.ids,
                "name": [self.names[i] for i in self.ids],
                "label": self.labels,
                "group": self.groups,
                "domain": self.domains,
                "embedding": vectors,
            }
        )
        known = {"classes": json.dumps(self.classes), "names": json.dumps(self.names)}
        path = _file(stem)
        write_whole(table.replace_schema_metadata(known), path)
        return path

    @classmethod
    def load(cls, stem: Path) -> Embeddings:
        """Read what ``save`` wrote.

        Raises:
            ValueError: the file is not one of ours.
            FileNotFoundError: there is none.
        """
        import pyarrow.parquet as pq

        path = _file(stem)
        table = pq.read_table(path)
        known = table.schema.metadata or {}
        if b"classes" not in known or b"names" not in known or "embedding" not in table.column_names:
            raise ValueError(f"{path}: not a file of embeddings; write one with `counterpoint embed`")
        vectors = table["embedding"].combine_chunks()
        width = vectors.type.list_size
        columns = (table[name].to_numpy() for name in ("label", "group", "domain", "id"))
        labels, groups, domains, ids = (np.array(column, np.int64) for column in columns)
        return cls(
            vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(table), width),
            labels,
            groups,
            domains,
            ids,
            tuple(json.loads(known[b"classes"])),
            tuple(json.loads(known[b"names"])),
        )


def write_whole(table: Any, path: Path) -> None:
    """Write an Arrow table so that whoever finds the file finds the whole of it."""
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".tmp")
    pq.write_table(table, scratch)
    scratch.replace(path)


def _file(stem: Path) -> Path:
    """``stem`` with the suffix, whether or not it has it; dots in a stem are kept."""
    return stem if stem.suffix == _SUFFIX else stem.with_name(stem.name + _SUFFIX)
