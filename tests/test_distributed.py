"""Two gloo ranks train what one process trains, and go on from their own checkpoint."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from counterpoint.checkpoint import load, newest_valid

SCRIPT = Path(__file__).with_name("distributed_run.py")


def launch(world: str, folder: Path, devices: int) -> dict[str, torch.Tensor]:
    """Final weights of a run in a process of its own."""
    found = subprocess.run(
        [sys.executable, str(SCRIPT), world, str(folder), str(devices)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MASTER_PORT": str(20000 + os.getpid() % 20000)},
        check=False,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    newest, _ = newest_valid(folder / "checkpoints")
    assert newest is not None
    weights: dict[str, torch.Tensor] = load(newest)["state_dict"]
    return weights


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    return launch("tones", tmp_path_factory.mktemp("one"), 1)


def test_two_ranks_equal_one_process_and_resume(tmp_path: Path, one: dict[str, torch.Tensor]) -> None:
    two = launch("tones", tmp_path, 2)
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-6, rtol=0, msg=name)
    checkpoints = tmp_path / "checkpoints"
    states = load(newest_valid(checkpoints)[0] or tmp_path)["counterpoint"]["rng"]
    assert len(states) == 2, "the generators of every rank are kept"
    shutil.rmtree(checkpoints / "last-00000016")
    assert newest_valid(checkpoints)[0] == checkpoints / "last-00000015"
    again = launch("tones", tmp_path, 2)
    for name, value in two.items():
        assert torch.equal(again[name], value), name


def test_two_ranks_of_stays_of_unequal_lengths_equal_one_process(tmp_path: Path) -> None:
    one, two = (launch("stays", tmp_path / str(devices), devices) for devices in (1, 2))
    assert one.keys() == two.keys()
    moved = 0
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-8, rtol=0, msg=name)
        moved += name.startswith("model.")
    assert moved > 20
