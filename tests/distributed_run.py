"""Train a toy: ``python distributed_run.py WORLD FOLDER DEVICES``. Lightning runs this file once a rank."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from counterpoint.data.base import Rows
from counterpoint.data.sampling import stream_length
from counterpoint.fit import fit
from counterpoint.rates import Optimizer, Part
from counterpoint.settings import EMA, Checkpoints, Hardware, Trainer
from counterpoint.task import Task
from sets_world import StayRows, stay_task
from toys import Tones, toy_model, toy_task


def main(world: str, folder: Path, devices: int) -> None:
    torch.set_num_threads(1)
    settings = Trainer(
        epochs=2,
        batch_size=12,
        clip_norm=0.5,
        checkpoints=Checkpoints(every_n_steps=3),
        hardware=Hardware(accelerator="cpu", devices=devices, precision="64-true"),
        ema=EMA(decay=0.8) if world == "averaged" else None,
    )
    rows: Rows = StayRows(96) if world == "stays" else Tones(24)
    valid: Rows = StayRows(24) if world == "stays" else Tones(12, repeats=2)
    steps = stream_length(rows, settings.batch_size, settings.epochs)[0]
    task = stay_task(steps) if world == "stays" else toy_task(steps, dropout=0.0)
    if world == "staged":
        parts = {"encoders.tone": Part(rate=0.5, start=0.5), "objective.head.log_scale": Part(rate=2.0)}
        model, objective = toy_model(dropout=0.0)
        objective.head.log_scale.requires_grad_(True)
        task = Task(model, objective, Optimizer(lr=3e-3, parts=parts), total_steps=steps)
    fit(task, rows, valid, settings=settings, seed=3, folder=folder)
    if task.average is not None:
        torch.save(task.average.values, folder / f"rank{task.global_rank}.pt")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
