"""Checkpoints that survive: safetensors and JSON in a folder, digests last, the folder renamed into place.

Nothing in a checkpoint is code. What is not a tensor is JSON; a folder whose digests do not fit is not a
checkpoint.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import CheckpointIO
from safetensors.torch import load_file, save_file
from torch import Tensor

DIGESTS = "digests.json"
WEIGHTS = "weights.safetensors"
STATE = "state.safetensors"
TREE = "state.json"


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or trusted; the message names the path and the reason."""


class SafeCheckpoint(CheckpointIO):
    """Lightning's checkpoint plugin over `save` and `load`."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write a checkpoint folder."""
        save(checkpoint, Path(path))

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint folder; tensors come on the CPU and Lightning moves them."""
        return load(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete a checkpoint folder."""
        shutil.rmtree(path)


def save(checkpoint: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint so that a reader finds the whole of it or none.

    Args:
        checkpoint: nested dicts, lists and tuples of tensors, numbers, strings, booleans and None; the entry
            ``state_dict`` (name -> tensor) goes to a file of its own that `safetensors` users can open.
        path: the folder; replaced if it exists.

    Raises:
        CheckpointError: if the disk refuses (the message gives path, needed and free bytes), or a value is of
            a type that JSON does not have.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    rest = {key: value for key, value in checkpoint.items() if key != "state_dict"}
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_encode(rest, tensors, ""), indent=1)
    weights = {name: value.detach().cpu().contiguous() for name, value in checkpoint["state_dict"].items()}
    try:
        for abandoned in path.parent.glob(".*.tmp"):  # of a process that was killed while saving
            shutil.rmtree(abandoned)
        scratch.mkdir(parents=True)
        save_file({name: value.clone() for name, value in weights.items()}, scratch / WEIGHTS)
        save_file(tensors, scratch / STATE)
        (scratch / TREE).write_text(tree, encoding="utf-8")
        digests = {name: _digest(scratch / name) for name in (WEIGHTS, STATE, TREE)}
        (scratch / DIGESTS).write_text(json.dumps(digests, indent=1), encoding="utf-8")
        for name in (WEIGHTS, STATE, TREE, DIGESTS):
            _sync(scratch / name)
        _sync(scratch)
        if path.exists():
            shutil.rmtree(path)
        scratch.rename(path)
        _sync(path.parent)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        raise _disk_error(error, path, weights, tensors) from error


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, after checking every digest.

    Raises:
        CheckpointError: if a file is missing or is not what was written.
    """
    verify(path)
    tensors = load_file(path / STATE)
    checkpoint = _decode(json.loads((path / TREE).read_text(encoding="utf-8")), tensors)
    assert isinstance(checkpoint, dict)
    return checkpoint | {"state_dict": load_file(path / WEIGHTS)}


def verify(path: Path) -> None:
    """Raise CheckpointError unless every file of the folder has the digest it was written with."""
    if not (path / DIGESTS).is_file():
        raise CheckpointError(f"{path} is not a whole checkpoint: {DIGESTS} is missing")
    digests = json.loads((path / DIGESTS).read_text(encoding="utf-8"))
    for name in (WEIGHTS, STATE, TREE):
        file = path / name
        if not file.is_file() or _digest(file) != digests.get(name):
            raise CheckpointError(f"{file} is missing or damaged: its sha256 is not the one written with it")


def newest_valid(folder: Path, prefix: str = "last-") -> tuple[Path | None, list[str]]:
    """The newest checkpoint under ``folder`` that verifies, and what is wrong with the newer ones.

    Args:
        folder: holds ``<prefix><step>`` folders.
        prefix: ``last-`` or ``best-``.

    Returns:
        The path, or None where there is none, and one sentence a damaged one.
    """
    complaints = []
    for path in sorted(folder.glob(f"{prefix}*"), key=lambda found: found.name, reverse=True):
        try:
            verify(path)
        except CheckpointError as error:
            complaints.append(str(error))
        else:
            return path, complaints
    return None, complaints


def rng_state() -> dict[str, Any]:
    """The state of every generator this process draws from, as `save` can write it."""
    version, internal, gauss = random.getstate()
    # Counterpoint draws by key and never from numpy's global state, but a plug-in may.
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "python": [version, list(internal), gauss],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: Mapping[str, Any]) -> None:
    """Restore what `rng_state` returned."""
    torch.set_rng_state(state["torch"])
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))  # noqa: NPY002
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])


def _encode(value: Any, tensors: dict[str, Tensor], place: str) -> Any:
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous().clone()
        return {"$tensor": place}
    if isinstance(value, Mapping):
        return {"$dict": [[key, _encode(item, tensors, f"{place}/{key}")] for key, item in value.items()]}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(item, tensors, f"{place}/{i}") for i, item in enumerate(value)]}
    if isinstance(value, list):
        return [_encode(item, tensors, f"{place}/{i}") for i, item in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CheckpointError(f"checkpoint entry {place} is a {type(value).__name__}, which JSON does not have")


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_decode(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if "$tensor" in value:
        return tensors[value["$tensor"]]
    if "$tuple" in value:
        return tuple(_decode(item, tensors) for item in value["$tuple"])
    return {key: _decode(item, tensors) for key, item in value["$dict"]}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _disk_error(
    error: OSError, path: Path, weights: Mapping[str, Tensor], tensors: Mapping[str, Tensor]
) -> CheckpointError:
    needed = sum(value.nbytes for value in (*weights.values(), *tensors.values()))
    existing = next(parent for parent in path.absolute().parents if parent.exists())
    free = shutil.disk_usage(existing).free
    reason = "the disk is full" if error.errno == errno.ENOSPC else str(error)
    return CheckpointError(
        f"cannot write checkpoint {path}: {reason}; it needs {needed} bytes, {free} are free. "
        "The checkpoint before it is whole; make room and run the same command to go on from there."
    )
