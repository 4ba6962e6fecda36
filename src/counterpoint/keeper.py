"""The callback that saves the newest and the best state, stops early, and leaves when told to."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from counterpoint.memory import Heap
from counterpoint.settings import Checkpoints, EarlyStopping
from counterpoint.task import Task
from counterpoint.watch import findings

LOG = logging.getLogger("counterpoint")


class Interrupted(SystemExit):
    """Training was asked to stop and saved first; the exit code is 128 + the signal, as a shell expects."""


class Keeper(Callback):
    """Saves the newest and the best state, stops early, and leaves in good order when told to.

    After a validation the state is saved once its score is known, so that a resumed run neither repeats nor
    misses a validation.
    """

    def __init__(self, folder: Path, checkpoints: Checkpoints, stopping: EarlyStopping | None, interval: int) -> None:
        """Keep checkpoints under ``folder``; ``interval`` is the batches between validations, 0 for none."""
        self.folder = folder
        self.checkpoints = checkpoints
        self.stopping = stopping
        self.interval = interval
        self.best: list[tuple[float, int]] = []
        self.stop_best = float("inf")
        self.waited = 0
        self._signal = 0
        self._saved = -1
        self._warned: set[str] = set()
        self._heap = Heap()

    def state_dict(self) -> dict[str, Any]:
        """Best scores and the patience used up."""
        return {
            "best": [list(pair) for pair in self.best],
            "stop_best": self.stop_best,
            "waited": self.waited,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.best = [(score, step) for score, step in state_dict["best"]]
        self.stop_best, self.waited = state_dict["stop_best"], state_dict["waited"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over SIGTERM and Ctrl-C, and stop at once if patience had already run out."""
        self._previous = {s: signal.signal(s, self._note) for s in (signal.SIGTERM, signal.SIGINT)}
        trainer.should_stop = self._exhausted()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Finish the batch, save when a save is due and no validation follows, leave if a signal came."""
        assert isinstance(pl_module, Task)
        rows = len(pl_module.history)
        pl_module.finish_batch(batch_idx)
        if len(pl_module.history) > rows:
            self._warn(pl_module)
            self._heap.tidy()
        whole = pl_module.position % trainer.accumulate_grad_batches == 0
        if whole and self._told_to_leave(trainer, pl_module):
            self._save_last(trainer, pl_module)
            raise Interrupted(128 + self._signal)
        due = self.checkpoints.every_n_steps and trainer.global_step % self.checkpoints.every_n_steps == 0
        if whole and due and not self._validation_follows(pl_module):
            self._save_last(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the validation, then save the newest and, where it is one, the best."""
        assert isinstance(pl_module, Task)
        record = pl_module.history[-1]
        self._judge(record)
        trainer.should_stop = trainer.should_stop or self._exhausted()
        better = self._rank(record, trainer.global_step)
        self._save_last(trainer, pl_module)
        if better:
            self._save(trainer, pl_module, f"best-{trainer.global_step:08d}")
            self._prune(trainer, "best-", {step for _, step in self.best})

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the final state and give the signals back."""
        assert isinstance(pl_module, Task)
        self._save_last(trainer, pl_module)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _save_last(self, trainer: Trainer, task: Task) -> None:
        if self._saved == trainer.global_step:
            return
        self._save(trainer, task, f"last-{trainer.global_step:08d}")
        self._saved = trainer.global_step
        newest = sorted(path.name for path in self.folder.glob("last-*"))[-self.checkpoints.keep_last :]
        self._prune(trainer, "last-", {int(name.removeprefix("last-")) for name in newest})

    def _save(self, trainer: Trainer, task: Task, name: str) -> None:
        task.check_finite()
        trainer.save_checkpoint(self.folder / name, weights_only=False)

    def _prune(self, trainer: Trainer, prefix: str, keep: set[int]) -> None:
        for path in self.folder.glob(f"{prefix}*"):
            if int(path.name.removeprefix(prefix)) not in keep:
                trainer.strategy.remove_checkpoint(path)

    def _rank(self, record: dict[str, float], step: int) -> bool:
        monitor, sign = self.checkpoints.monitor, 1 if self.checkpoints.mode == "min" else -1
        score = sign * _logged(record, monitor, "trainer.checkpoints.monitor")
        self.best = sorted([*self.best, (score, step)])[: self.checkpoints.top_k]
        return (score, step) in self.best

    def _judge(self, record: dict[str, float]) -> None:
        if self.stopping is None:
            return
        sign = 1 if self.stopping.mode == "min" else -1
        score = sign * _logged(record, self.stopping.monitor, "trainer.early_stopping.monitor")
        if score < self.stop_best - self.stopping.min_delta:
            self.stop_best, self.waited = score, 0
        else:
            self.waited += 1

    def _exhausted(self) -> bool:
        return self.stopping is not None and self.waited >= self.stopping.patience

    def _validation_follows(self, task: Task) -> bool:
        return self.interval > 0 and task.position % self.interval == 0

    def _warn(self, task: Task) -> None:
        for cause, sentence in findings(task.history).items():
            if cause not in self._warned:
                self._warned.add(cause)
                LOG.warning("step %d: %s", task.global_step, sentence)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number

    def _told_to_leave(self, trainer: Trainer, task: Task) -> bool:
        if trainer.world_size == 1:
            return self._signal != 0
        # Ranks must leave at the same step; asking each other every step would cost more than the wait.
        if task.position % task.log_every:
            return False
        agreed = trainer.strategy.reduce(torch.tensor(float(self._signal)), reduce_op="sum")
        self._signal = self._signal or (signal.SIGTERM if float(agreed) else 0)
        return self._signal != 0


def _logged(record: dict[str, float], name: str, place: str) -> float:
    if name not in record:
        offered = sorted(key for key in record if key.startswith("valid/"))
        raise ValueError(f"{place} is {name!r}, which no validation writes; it writes {offered}")
    return record[name]
