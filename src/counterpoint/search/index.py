"""The index of a run: embeddings of its test rows, what they are called and small pictures of them, read with numpy."""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

VERSION = 1
FOLDER, FACTS, ROWS = "index", "index.json", "rows.json"
VECTORS, TOKENS, LENGTHS, NEIGHBOURS, PICTURES = (
    f"{name}.npy" for name in ("embeddings", "tokens", "lengths", "neighbours", "pictures")
)
COSINE = "cosine"


class Row(NamedTuple):
    """What is known of a row of the gallery: its id, its sentence and its class, "" where it has none."""

    name: str
    caption: str
    label: str


class Hit(NamedTuple):
    """A row that was found, and how similar it is."""

    row: int
    score: float


@dataclass(frozen=True)
class Index:
    """An index as it lies on disk; arrays are mapped, so that only what is looked at is read.

    Args:
        folder: of the index.
        facts: how it was made: ``cell``, ``side``, ``text``, ``similarity``, ``views``, and which light encoders lie
            beside it.
        rows: of the gallery.
        vectors: (N, D) float32, embeddings of length 1 in the space in which the objective compares.
    """

    folder: Path
    facts: dict[str, Any]
    rows: list[Row]
    vectors: NDArray[np.float32]

    @classmethod
    def load(cls, run: Path) -> Index:
        """Open the index of a run.

        Raises:
            ValueError: the run has none, or one of another version.
        """
        folder = run / FOLDER
        if not (folder / FACTS).is_file():
            raise ValueError(
                f"{run} has no search index; set evaluation.retrieval in its recipe, with an objective that has pairs "
                "such as CLIP, and `counterpoint evaluate` writes one"
            )
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        if facts.get("version") != VERSION:
            raise ValueError(f"{folder}: an index of another version; `counterpoint evaluate {run}` writes it anew")
        rows = [Row(*row) for row in json.loads((folder / ROWS).read_text(encoding="utf-8"))]
        return cls(folder, facts, rows, np.load(folder / VECTORS, mmap_mode="r"))

    @property
    def by_cosine(self) -> bool:
        """Whether the objective compares embeddings by their cosine, and not sequences."""
        return bool(self.facts["similarity"] == COSINE)

    def pictures(self) -> NDArray[np.uint8]:
        """(N, V, H, W) small pictures of the views."""
        found: NDArray[np.uint8] = np.load(self.folder / PICTURES, mmap_mode="r")
        return found

    def find(self, name: str) -> int:
        """The row of an id.

        Raises:
            ValueError: there is none; the message says which come close.
        """
        names = [row.name for row in self.rows]
        if name in names:
            return names.index(name)
        close = get_close_matches(name, names, 3, 0.5) or names[:3]
        raise ValueError(
            f"--like {name}: neither a file nor one of the {len(names)} ids of the index, such as {', '.join(close)}"
        )

    def like(self, row: int, k: int) -> list[Hit]:
        """The k rows most similar to one of them, itself left out."""
        if self.by_cosine:
            return [hit for hit in self.near(self.vectors[row], k + 1) if hit.row != row][:k]
        known = np.load(self.folder / NEIGHBOURS, mmap_mode="r")[row]
        return [Hit(int(at), float(score)) for at, score in known[:k]]

    def near(self, vector: NDArray[np.float32], k: int) -> list[Hit]:
        """The k rows of the largest cosine with an embedding (D,)."""
        return best(self.vectors @ (vector / max(float(np.linalg.norm(vector)), 1e-12)), k)


def best(scores: NDArray[np.floating[Any]], k: int) -> list[Hit]:
    """The k largest of (N,) scores, of equal ones the first."""
    order = np.argsort(-scores, kind="stable")[:k]
    return [Hit(int(row), float(scores[row])) for row in order]
