"""A training step at a tiny model: ours with everything we log, Lightning alone, and a bare loop, interleaved.

What a framework adds to a step shows where the model costs nothing. The goal is at most 0.4 ms over the bare loop.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from counterpoint.encoders.pointwise import PointwiseMLP
from counterpoint.fit import lightning_trainer
from counterpoint.fusion import Concat
from counterpoint.model import build_model
from counterpoint.objectives import InfoNCE
from counterpoint.settings import Checkpoints, Monitor, Optimizer
from counterpoint.settings import Trainer as Settings
from counterpoint.task import Task
from counterpoint.types import Batch, ObjectiveSpec, Signal, SignalSpec

BATCH, LENGTH = 16, 8


class Repeated:
    """The same batch again and again, so that reading costs nothing."""

    def __init__(self, steps: int) -> None:
        generator = torch.Generator().manual_seed(0)
        views = [{"x": Signal(torch.randn(BATCH, LENGTH, 1, generator=generator))} for _ in range(2)]
        index = torch.arange(BATCH)
        self.batch, self.steps = Batch(views, index, index, index, index), steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.steps):
            yield self.batch


def make_task(steps: int) -> Task:
    torch.manual_seed(0)
    model = build_model({"x": SignalSpec(1, LENGTH, 1.0)}, {"x": partial(PointwiseMLP, dim=8, hidden=8)}, Concat)
    objective = InfoNCE(ObjectiveSpec(model.dims, {}, (), {}), projection=8)
    return Task(model, objective, Optimizer(), total_steps=steps, log_every=10)


class Minimal(LightningModule):
    """What Lightning costs by itself."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = [task]
        self.weights = torch.nn.ModuleList([task.model, task.objective])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.task[0].loss(batch)[0].value

    def configure_optimizers(self) -> Any:
        return torch.optim.AdamW(self.parameters(), fused=True)


def bare(steps: int) -> float:
    task, batches = make_task(steps), Repeated(steps)
    optimizer = torch.optim.AdamW(task.parameters(), fused=True)
    started = time.perf_counter()
    for batch in batches:
        loss = task.loss(batch)[0].value
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - started) / steps


def clocked(trainer: Trainer, module: LightningModule, steps: int) -> float:
    """Seconds a step between the fifth and the last, so that set-up does not count."""
    times: list[float] = []
    original = module.training_step

    def step(batch: Batch, batch_idx: int) -> Tensor:
        times.append(time.perf_counter())
        return original(batch, batch_idx)

    module.training_step = step  # type: ignore[method-assign]
    trainer.fit(module, Repeated(steps))
    return (times[-1] - times[5]) / (len(times) - 6)


def minimal(steps: int) -> float:
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return clocked(trainer, Minimal(make_task(steps)), steps)


def ours(steps: int) -> float:
    settings = Settings(checkpoints=Checkpoints(every_n_steps=0), monitor=Monitor(log_every=10))
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning_trainer(settings, Path(folder), steps, False)
        return clocked(trainer, make_task(steps), steps)


def main(steps: int, rounds: int) -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    found: dict[str, list[float]] = {"bare loop": [], "Lightning alone": [], "Counterpoint": []}
    for _ in range(rounds):
        for name, run in zip(found, (bare, minimal, ours), strict=True):
            found[name].append(1000 * run(steps))
    base = statistics.median(found["bare loop"])
    print("| a step of a tiny model | ms | over the bare loop, ms |\n|---|---:|---:|")
    for name, times in found.items():
        print(f"| {name} | {statistics.median(times):.2f} | {statistics.median(times) - base:+.2f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(sys.argv[1:])
    main(arguments.steps, arguments.rounds)
