"""A checkpoint is whole or it is not there, and holds no code."""

from __future__ import annotations

import errno
import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint import checkpoint as module
from counterpoint.checkpoint import (
    CheckpointError,
    load,
    newest_valid,
    rng_state,
    save,
    set_rng_state,
    verify,
)


def example(step: int = 1) -> dict[str, Any]:
    return {
        "state_dict": {"model.w": torch.full((3, 2), float(step)), "model.b": torch.zeros(2, dtype=torch.bfloat16)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.rand(3, 2)}}}],
        "global_step": step,
        "betas": (0.9, 0.98),
        "nothing": None,
        "flag": True,
        "history": [{"loss": 0.1, "nan": float("inf")}],
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = example()
    save(state, tmp_path / "last-1")
    loaded = load(tmp_path / "last-1")
    for key, value in state.items():
        assert same(value, loaded[key]), key


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
keys = st.text() | st.integers()


@settings(max_examples=40, deadline=None)
@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.tuples(inner)))
def test_any_json_tree_survives(tmp_path_factory: pytest.TempPathFactory, tree: Any) -> None:
    path = tmp_path_factory.mktemp("tree") / "last-1"
    save({"state_dict": {"w": torch.zeros(1)}, "tree": tree}, path)
    assert same(load(path)["tree"], tree)


def test_an_object_is_refused_by_place(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="/callbacks/x is a PosixPath"):
        save(example() | {"callbacks": {"x": tmp_path}}, tmp_path / "last-1")
    assert not list(tmp_path.glob("*")), "nothing is left behind"


@pytest.mark.parametrize("name", [module.WEIGHTS, module.STATE, module.TREE])
def test_one_flipped_bit_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / "last-1"
    save(example(), path)
    verify(path)
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=name):
        load(path)


def test_falls_back_to_the_newest_whole_one_and_says_so(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(example(step), tmp_path / f"last-{step:08d}")
    (tmp_path / "last-00000003" / module.STATE).write_bytes(b"")
    (tmp_path / "last-00000004").mkdir()
    path, complaints = newest_valid(tmp_path)
    assert path == tmp_path / "last-00000002"
    assert len(complaints) == 2
    assert "last-00000004" in complaints[0]
    assert newest_valid(tmp_path / "absent") == (None, [])


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Bomb:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return (Path.touch, (canary,))

    path = tmp_path / "last-1"
    save(example(), path)
    (path / module.WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    digests = json.loads((path / module.DIGESTS).read_text())
    digests[module.WEIGHTS] = module._digest(path / module.WEIGHTS)
    (path / module.DIGESTS).write_text(json.dumps(digests))
    with pytest.raises(Exception, match=r"(?i)header|safetensor"):
        load(path)
    assert not canary.exists()


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(example(1), tmp_path / "last-00000001")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_sync", full)
    with pytest.raises(CheckpointError, match=r"last-00000002: the disk is full; it needs \d+ bytes, \d+ are free"):
        save(example(2), tmp_path / "last-00000002")
    assert newest_valid(tmp_path)[0] == tmp_path / "last-00000001"
    assert len(list(tmp_path.iterdir())) == 1


def test_generators_go_on_where_they_stood(tmp_path: Path) -> None:
    save({"state_dict": {"w": torch.zeros(1)}, "rng": rng_state()}, tmp_path / "last-1")
    expected = (torch.rand(3), np.random.rand(3), random.random())  # noqa: NPY002
    set_rng_state(load(tmp_path / "last-1")["rng"])
    again = (torch.rand(3), np.random.rand(3), random.random())  # noqa: NPY002
    assert torch.equal(expected[0], again[0])
    assert (expected[1] == again[1]).all()
    assert expected[2] == again[2]
