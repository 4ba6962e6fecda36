"""The callback that saves the newest and the best state, stops early, and leaves when told to."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from counterpoint.checkpoint import CheckpointError, load
from counterpoint.memory import Heap
from counterpoint.patience import Patience, logged
from counterpoint.rates import warm_up
from counterpoint.settings import Trainer as Settings
from counterpoint.task import Task
from counterpoint.watch import findings

LOG = logging.getLogger("counterpoint")


class Interrupted(SystemExit):
    """Training was asked to stop and saved first; the exit code is 128 + the signal, as a shell expects."""


class Keeper(Callback):
    """Saves the newest and the best state, stops early, and leaves in good order when told to.

    After a validation the state is saved once its score is known, so that a resumed run neither repeats nor
    misses a validation. Where gradients are being added up it waits for their step, for they are no part of a state.
    """

    def __init__(self, folder: Path, settings: Settings, interval: int) -> None:
        """Keep checkpoints under ``folder``; ``interval`` is the batches between validations, 0 for none."""
        self.folder = folder
        self.checkpoints = settings.checkpoints
        self.monitor = settings.checkpoints.monitor or settings.judged_loss
        self.interval = interval
        self.best: list[tuple[float, int]] = []
        self.stopping, stopping = None, settings.early_stopping
        if stopping is not None:
            self.stopping = Patience(
                stopping.monitor or settings.judged_loss,
                stopping.mode,
                min_delta=stopping.min_delta,
                cooldown=stopping.cooldown,
                place="trainer.early_stopping.monitor",
            )
        self._patience = stopping.patience if stopping else 0
        self._signal = 0
        self._saved = -1
        self._owed = False
        self._warned: set[str] = set()
        self._heap = Heap()

    def state_dict(self) -> dict[str, Any]:
        """Best scores and the patience used up."""
        return {"best": [list(pair) for pair in self.best], "stopping": self.stopping and self.stopping.state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore `state_dict`."""
        self.best = [(score, step) for score, step in state_dict["best"]]
        if self.stopping is not None:
            self.stopping.restore(state_dict["stopping"])

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
        whole = _whole(trainer, pl_module)
        if whole and self._told_to_leave(trainer, pl_module):
            self._save_last(trainer, pl_module)
            raise Interrupted(128 + self._signal)
        due = self.checkpoints.every_n_steps and trainer.global_step % self.checkpoints.every_n_steps == 0
        if whole and (due or self._owed) and not self._validation_follows(pl_module):
            self._save_last(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Judge the validation, then save the newest and, where it is one, the best."""
        assert isinstance(pl_module, Task)
        record = pl_module.history[-1]
        if self.stopping is not None:
            rising = trainer.global_step < warm_up(pl_module.settings, pl_module.total_steps)
            self.stopping.see(record, warming=rising)
        trainer.should_stop = trainer.should_stop or self._exhausted()
        better = self._rank(record, trainer.global_step)
        self._owed = not _whole(trainer, pl_module)
        if not self._owed:
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
        self._saved, self._owed = trainer.global_step, False
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
        sign = 1 if self.checkpoints.mode == "min" else -1
        score = sign * logged(record, self.monitor, "trainer.checkpoints.monitor")
        self.best = sorted([*self.best, (score, step)])[: self.checkpoints.top_k]
        return (score, step) in self.best

    def _exhausted(self) -> bool:
        return self.stopping is not None and self.stopping.waited >= self._patience

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


def best_whole(folder: Path) -> dict[str, Any] | None:
    """The checkpoint under ``folder`` with the best score of those that are whole, read; None where there is none.

    The score of each is in its own state, so that neither another checkpoint nor the log is needed.
    """
    found: dict[str, Any] | None = None
    lowest = float("inf")
    for path in sorted(folder.glob("best-*"), reverse=True):
        try:
            state = load(path)
        except CheckpointError as error:
            LOG.warning("%s; looking for another", error)
            continue
        scores = {step: score for score, step in state["callbacks"][Keeper.__name__]["best"]}
        score = scores[int(path.name.removeprefix("best-"))]
        if found is None or score < lowest:
            found, lowest = state, score
    return found


def _whole(trainer: Trainer, task: Task) -> bool:
    """Whether the last batch ended in a step, so that no gradient waits to be added to."""
    accumulate, batches = trainer.accumulate_grad_batches, trainer.num_training_batches
    return task.position % accumulate == 0 or task.position == batches
