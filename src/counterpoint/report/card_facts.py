"""Facts of a run that stand in files beside its documents: who was trained and tested on, and what the model weighs."""

from __future__ import annotations

import json
import struct
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.report.folder import Run


class Division(NamedTuple):
    """Rows, groups and conditions of one fold, unlabelled rows included.

    Attributes:
        fold: its name.
        train: rows trained on.
        valid: rows that stopping was decided on.
        test: rows tested on.
        train_groups: independent groups among the first.
        test_groups: among the last.
        train_domains: conditions trained on.
        test_domains: conditions tested on.
        strange_domains: conditions tested on that training lacked.
    """

    fold: str
    train: int
    valid: int
    test: int
    train_groups: int
    test_groups: int
    train_domains: int
    test_domains: int
    strange_domains: int


class Weights(NamedTuple):
    """What the model of one training is made of, and how many trainings there are; None where no file says so.

    Attributes:
        model: numbers in encoders and fusion.
        objective: numbers in what is thrown away after training.
        trained: of all, those that training moved.
        trainings: folds times seeds.
        checkpoint: folder of the checkpoint that was scored, within the run.
    """

    model: int | None
    objective: int | None
    trained: int | None
    trainings: int
    checkpoint: str | None


def divisions(run: Run) -> list[Division]:
    """A line a fold, of its first seed, from the embeddings."""
    found: dict[str, Division] = {}
    for cell in run.cells:
        if cell.fold not in found:
            folder = cell.path / "embeddings"
            train, test = (Embeddings.load(folder / split) for split in ("train", "test"))
            valid = len(Embeddings.load(folder / "valid")) if (folder / "valid.parquet").is_file() else 0
            known, asked = set(train.domains.tolist()), set(test.domains.tolist())
            sizes = (len(train), valid, len(test), len(np.unique(train.groups)), len(np.unique(test.groups)))
            found[cell.fold] = Division(cell.fold, *sizes, len(known), len(asked), len(asked - known))
    return list(found.values())


def weights(run: Run) -> Weights:
    """From ``model.json``, which training writes, else from the header of a checkpoint, which lists its tensors."""
    checkpoint = _checkpoint(run.cells[0].path / "checkpoints")
    within = str(checkpoint.relative_to(run.folder)) if checkpoint else None
    path = run.folder / "model.json"
    if path.is_file():
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Weights(known["model"], known["objective"], known["trained"], len(run.cells), within)
    if checkpoint is None:
        return Weights(None, None, None, len(run.cells), None)
    sizes = {"model": 0, "objective": 0}
    for file in sorted(checkpoint.glob("weights.safetensors")):
        for name, shape in _shapes(file).items():
            for part in sizes:
                sizes[part] += prod(shape) if name.startswith(f"{part}.") else 0
    return Weights(sizes["model"], sizes["objective"], None, len(run.cells), within)


def _checkpoint(folder: Path) -> Path | None:
    """The newest of the best, else of the last ones."""
    for kind in ("best-", "last-"):
        found = [path for path in folder.glob(f"{kind}*") if path.is_dir()]
        if found:
            return max(found, key=lambda path: (len(path.name), path.name))
    return None


def _shapes(file: Path) -> dict[str, list[int]]:
    """Shapes of the tensors of a safetensors file, from its header alone."""
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(size))
    return {name: about["shape"] for name, about in header.items() if name != "__metadata__"}
