"""A run that is killed anywhere ends with the bits of one that was not."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoint import checkpoint
from counterpoint.checkpoint import load, newest_valid
from counterpoint.data.sampling import stream_length
from counterpoint.fit import fit
from counterpoint.keeper import Keeper
from counterpoint.patience import Plateau
from counterpoint.settings import EMA, Checkpoints, EarlyStopping, Optimizer, Trainer
from counterpoint.task import Task
from toys import Tones, toy_task, two_terms

SETTINGS = Trainer(epochs=4, batch_size=12, accumulate=1, checkpoints=Checkpoints(every_n_steps=3))
STEPS = 32
SERVICES = Trainer(
    epochs=4,
    batch_size=12,
    accumulate=3,  # an epoch is 8 batches, so most validations come between two steps
    checkpoints=Checkpoints(every_n_steps=1, keep_last=3),
    early_stopping=EarlyStopping(patience=2, cooldown=1, min_delta=10.0),
    ema=EMA(decay=0.9, start=0.2),
)
"""Everything that has a state of its own; the stop comes at the last of the four validations."""
RATES = Optimizer(lr=3e-3, warmup=0.4, schedule="plateau", plateau=Plateau(patience=1, min_delta=10.0))
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["counterpoint.fit", "toys"])


def train(folder: Path, settings: Trainer = SETTINGS) -> Task:
    rows, valid = Tones(24), Tones(12, repeats=2)
    steps, _ = stream_length(rows, settings.batch_size, settings.epochs)
    assert steps == STEPS
    count = -(-steps // settings.accumulate)
    task = toy_task(count) if settings.ema is None else Task(*two_terms(), RATES, total_steps=count, log_every=5)
    fit(task, rows, valid, settings=settings, seed=3, folder=folder)
    return task


def digest(folder: Path) -> str:
    """Of weights, moments, schedule, counters and the log; not of clocks."""
    newest, _ = newest_valid(folder / "checkpoints")
    assert newest is not None
    state = load(newest)
    total = hashlib.sha256(json.dumps([newest.name, len(list((folder / "checkpoints").iterdir()))]).encode())
    for name, value in sorted(state["state_dict"].items()):
        total.update(name.encode() + value.numpy().tobytes())
    for entry in state["optimizer_states"][0]["state"].values():
        for name, value in sorted(entry.items()):
            total.update(name.encode() + value.numpy().tobytes())
    own = state["counterpoint"]
    log = [{k: v for k, v in row.items() if not k.startswith("time/")} for row in own["history"]]
    total.update(json.dumps([own["position"], log, state["callbacks"], state["lr_schedulers"]]).encode())
    total.update(own["rng"][0]["torch"].numpy().tobytes())
    for name, value in sorted(own["ema"]["weights"].items() if own["ema"] else ()):
        total.update(name.encode() + value.numpy().tobytes())
    total.update(json.dumps([own["lowering"], own["ema"] and own["ema"]["step"]]).encode())
    return total.hexdigest()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def victim(folder: Path, phase: str, moment: int, settings: Trainer) -> None:
    """Train, and die at the ``moment``-th time that ``phase`` comes by."""
    torch.set_num_threads(1)
    count = 0

    def arm(owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def armed(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == moment:
                die()
            return original(*args, **kwargs)

        setattr(owner, name, armed)

    owners: dict[str, tuple[Any, str]] = {
        "encode": (Task, "loss"),
        "backward": (Task, "on_before_optimizer_step"),
        "batch end": (Task, "finish_batch"),
        "validation": (Task, "validation_step"),
        "fsync": (checkpoint, "_sync"),
        "digest": (checkpoint, "_digest"),
        "rename": (checkpoint.Path, "rename"),
        "write": (checkpoint, "save_file"),
        "prune": (Keeper, "_prune"),
    }
    arm(*owners[phase])
    train(folder, settings)


def no_generators(folder: Path, settings: Trainer) -> None:
    """The broken control: a resume that leaves the generators as they are."""
    import counterpoint.task

    torch.set_num_threads(1)
    counterpoint.task.set_rng_state = lambda state: None  # type: ignore[attr-defined]
    train(folder, settings)


def no_average(folder: Path, settings: Trainer) -> None:
    """The broken control: a resume that begins a new average."""
    from counterpoint.averaging import Average

    torch.set_num_threads(1)
    Average.restore = lambda self, state: None  # type: ignore[method-assign]
    train(folder, settings)


def no_plateau(folder: Path, settings: Trainer) -> None:
    """The broken control: a resume that forgets by how much the rates were lowered."""
    from counterpoint.patience import Lowering

    torch.set_num_threads(1)
    Lowering.restore = lambda self, state: None  # type: ignore[method-assign]
    train(folder, settings)


def run(target: Any, *args: Any) -> int:
    process = CONTEXT.Process(target=target, args=args)
    process.start()
    process.join(120)
    assert process.exitcode is not None, "hung"
    return process.exitcode


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("whole")
    assert run(train, folder) == 0
    return digest(folder)


MID_STEP = [("encode", 7), ("encode", 29), ("backward", 1), ("backward", 4), ("backward", 8)]
MID_STEP += [("backward", 17), ("backward", 32), ("batch end", 6), ("batch end", 24), ("validation", 3)]
IN_SAVE = [("write", 2), ("write", 5), ("digest", 8), ("fsync", 1), ("fsync", 11)]
IN_SAVE += [("fsync", 21), ("rename", 2), ("rename", 6), ("prune", 2), ("prune", 7)]


@pytest.mark.parametrize(("phase", "moment"), MID_STEP + IN_SAVE)
def test_killed_and_resumed_is_bit_equal(tmp_path: Path, whole: str, phase: str, moment: int) -> None:
    assert run(victim, tmp_path, phase, moment, SETTINGS) == -signal.SIGKILL
    assert run(train, tmp_path) == 0
    assert digest(tmp_path) == whole


def test_without_generators_the_bits_differ(tmp_path: Path, whole: str) -> None:
    assert run(victim, tmp_path, "backward", 17, SETTINGS) == -signal.SIGKILL
    assert run(no_generators, tmp_path, SETTINGS) == 0
    assert digest(tmp_path) != whole


def test_accumulation_and_early_stopping_resume(tmp_path: Path) -> None:
    settings = Trainer(
        epochs=4,
        batch_size=12,
        accumulate=4,
        checkpoints=Checkpoints(every_n_steps=1),
        early_stopping=EarlyStopping(patience=1, min_delta=10.0),
    )
    assert run(train, tmp_path / "whole", settings) == 0
    assert run(victim, tmp_path / "killed", "encode", 11, settings) == -signal.SIGKILL
    assert run(train, tmp_path / "killed", settings) == 0
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")
    newest, _ = newest_valid(tmp_path / "whole" / "checkpoints")
    assert newest is not None
    assert load(newest)["counterpoint"]["position"] == 16, "stopped at the second validation"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("served")
    assert run(train, folder, SERVICES) == 0
    return digest(folder)


# In the warm-up; between two validations that lower the rates; after one that was saved a step late.
@pytest.mark.parametrize(("phase", "moment"), [("encode", 5), ("encode", 27), ("backward", 8), ("rename", 6)])
def test_every_service_goes_on_from_its_own_state(tmp_path: Path, served: str, phase: str, moment: int) -> None:
    assert run(victim, tmp_path, phase, moment, SERVICES) == -signal.SIGKILL
    assert run(train, tmp_path, SERVICES) == 0
    assert digest(tmp_path) == served


def test_a_validation_between_two_steps_is_saved_with_the_next_step(tmp_path: Path) -> None:
    settings = replace(SERVICES, checkpoints=Checkpoints())
    assert run(train, tmp_path / "whole", settings) == 0
    assert run(victim, tmp_path / "killed", "batch end", 10, settings) == -signal.SIGKILL
    newest, _ = newest_valid(tmp_path / "killed" / "checkpoints")
    assert newest is not None
    assert load(newest)["counterpoint"]["position"] == 9, "the validation came after batch 8, the step after batch 9"
    assert (tmp_path / "killed" / "checkpoints" / "best-00000002").is_dir()
    assert run(train, tmp_path / "killed", settings) == 0
    assert digest(tmp_path / "killed") == digest(tmp_path / "whole")


@pytest.mark.parametrize("control", [no_average, no_plateau])
def test_without_the_state_of_a_service_the_bits_differ(tmp_path: Path, served: str, control: Any) -> None:
    assert run(victim, tmp_path, "backward", 8, SERVICES) == -signal.SIGKILL
    assert run(control, tmp_path, SERVICES) == 0
    assert digest(tmp_path) != served


def interrupted(folder: Path, number: int) -> None:
    """Train, and be told to stop at the fifth step."""
    torch.set_num_threads(1)
    original = Task.training_step

    def told(self: Task, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 4:
            os.kill(os.getpid(), number)
        return original(self, batch, batch_idx)

    Task.training_step = told  # type: ignore[method-assign]
    train(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_saves_and_exits_with_the_signal(tmp_path: Path, whole: str, number: int) -> None:
    assert run(interrupted, tmp_path, number) == 128 + number
    newest, _ = newest_valid(tmp_path / "checkpoints")
    assert newest is not None
    assert newest.name == "last-00000005"
    assert run(train, tmp_path) == 0
    assert digest(tmp_path) == whole
