"""A small world for tests of the trainer's services: short runs of tones, and data on which a long training loses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.sampling import stream_length
from counterpoint.fit import fit
from counterpoint.objectives import InfoNCE
from counterpoint.rates import Optimizer
from counterpoint.recipe import Recipe
from counterpoint.settings import EMA, Monitor, Trainer
from counterpoint.task import Task
from counterpoint.types import SignalSpec, Spec
from toys import LENGTH, OneLayer, Tones, toy_task

BASE = Trainer(epochs=2, batch_size=12, monitor=Monitor(log_every=1))


def train(folder: Path, chosen: Trainer, task: Task | None = None) -> Task:
    rows = Tones(24)
    steps = -(-stream_length(rows, chosen.batch_size, chosen.epochs)[0] // chosen.accumulate)
    task = task or toy_task(steps, log_every=1)
    fit(task, rows, Tones(12, repeats=2), settings=chosen, seed=3, folder=folder)
    return task


@final
class Drifting(Data):
    """Tones to train on are few, those to validate on many, so that a long training loses what it had."""

    def __init__(self) -> None:
        self.specs: dict[str, Spec] = {"tone": SignalSpec(1, LENGTH, 1.0)}
        self.classes = ("even", "odd")
        self.folds = ("one", "two")
        self.names = tuple(f"tone-{i}" for i in range(24))

    def training(self, fold: str, split: SplitName) -> Rows:
        return Tones(24, repeats=2) if split == "valid" else Tones(4, repeats=9 + len(fold))

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        return Tones(24, repeats=1, views=1)

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        return {"sources": {}, "simulated": True, "counts": {}, "classes": {}}


DRIFTING = Recipe(
    data=Drifting,
    encoders={"tone": OneLayer},
    objective=InfoNCE,
    optimizer=Optimizer(lr=0.05, schedule="constant"),
    trainer=Trainer(epochs=8, batch_size=12, ema=EMA(decay=0.8), monitor=Monitor(log_every=4)),
)
