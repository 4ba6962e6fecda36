"""Fitting: streams of batches, a Lightning trainer from settings, and going on from the newest checkpoint."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import cast

from lightning.pytorch import Callback, LightningDataModule, Trainer
from lightning.pytorch.callbacks import DeviceStatsMonitor
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from counterpoint.averaging import Average
from counterpoint.checkpoint import SafeCheckpoint, newest_valid
from counterpoint.data.base import Rows
from counterpoint.data.sampling import StreamSampler, loader, stream_length
from counterpoint.keeper import Keeper
from counterpoint.log import write_log
from counterpoint.recompute import recomputing
from counterpoint.settings import Batching, Hardware, Shuffled
from counterpoint.settings import Trainer as Settings
from counterpoint.task import Task
from counterpoint.types import Batch

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
LOG = logging.getLogger("counterpoint")


class Streams(LightningDataModule):
    """The batches of a run.

    Lightning asks for them once ranks are known and a checkpoint is restored, so each rank reads its own share, from
    where the task stands.
    """

    def __init__(self, task: Task, rows: Rows, valid: Rows, settings: Settings, seed: int) -> None:
        """Hold the rows, and the task whose position the training stream starts at."""
        super().__init__()
        self.task, self.rows, self.valid = task, rows, valid
        self.settings, self.seed = settings, seed

    def train_dataloader(self) -> Iterable[Batch]:
        """The rest of the training stream, its length that of the whole."""
        return self._loader(self.rows, self.settings.batches, self.settings.epochs, self.seed, self.task.position)

    def val_dataloader(self) -> Iterable[Batch]:
        """One pass over the validation rows, the same at every validation."""
        return self._loader(self.valid, Shuffled(), 1, 0, 0)

    def _loader(self, rows: Rows, batches: Batching, epochs: int, seed: int, start: int) -> Iterable[Batch]:
        assert self.trainer is not None
        sampler = StreamSampler(
            rows,
            batch_size=self.settings.batch_size,
            epochs=epochs,
            seed=seed,
            start=start,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            batches=batches,
        )
        return loader(rows, sampler, self.settings.hardware.workers)


def fit(task: Task, rows: Rows, valid: Rows, *, settings: Settings, seed: int, folder: Path) -> None:
    """Train a task on its stream of batches, from the newest whole checkpoint in ``folder`` if there is one.

    Args:
        task: what to train; after the call it holds the final state.
        rows: to train on.
        valid: to validate on; rows of fewer than two recordings validate nothing.
        settings: of the trainer.
        seed: of the order and the randomness of the stream.
        folder: where ``checkpoints/`` and ``metrics.csv`` go.

    Raises:
        Interrupted: after saving, on SIGTERM or Ctrl-C.
        NonFiniteLossError: when the loss stops being a number.
    """
    checkpoints = folder / "checkpoints"
    newest, complaints = newest_valid(checkpoints)
    for complaint in complaints:
        LOG.warning("%s; going on from the one before it", complaint)
    total, per_epoch = stream_length(rows, settings.batch_size, settings.epochs, settings.batches)
    validated = len(set(valid.ids.tolist())) > 1
    interval = min(total, per_epoch * settings.monitor.validate_every)
    trainer = lightning_trainer(settings, folder, interval, validated)
    task.average = None if settings.ema is None else Average(settings.ema, task.total_steps)
    if settings.hardware.precision == "64-true":
        # Lightning loads a checkpoint before it widens the model, and would round what it loads.
        task.double()
    with warnings.catch_warnings(), recomputing(task.model, settings.hardware.recompute):
        # The stream resumes by position, which Lightning cannot see; one prefetch thread beats workers.
        warnings.filterwarnings("ignore", message=".*resuming from a checkpoint that ended before.*")
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        # Frozen backbones are in eval mode on purpose.
        warnings.filterwarnings("ignore", message=".*module.s. in eval mode at the start of training.*")
        trainer.fit(
            task,
            datamodule=Streams(task, rows, valid, settings, seed),
            ckpt_path=None if newest is None else str(newest),
            weights_only=False,
        )
    if trainer.is_global_zero:
        write_log(task.history, folder / "metrics.csv")


def lightning_trainer(settings: Settings, folder: Path, interval: int, validated: bool) -> Trainer:
    hardware, monitor = settings.hardware, settings.monitor
    callbacks: list[Callback] = [Keeper(folder / "checkpoints", settings, interval if validated else 0)]
    if monitor.device_stats == "on":
        callbacks.insert(0, DeviceStatsMonitor())
    return Trainer(
        accelerator=hardware.accelerator,
        devices=hardware.devices,
        num_nodes=hardware.num_nodes,
        strategy=_strategy(hardware),
        precision=hardware.precision,
        deterministic=hardware.deterministic == "on",
        max_epochs=1,  # The stream is one sequence of batches: an epoch is a length, not a loop.
        val_check_interval=interval,
        check_val_every_n_epoch=None,
        limit_val_batches=None if validated else 0,
        num_sanity_val_steps=0,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip_norm or None,
        callbacks=callbacks,
        logger=[_tracker(name, folder) for name in monitor.trackers],
        profiler=None if monitor.profiler == "none" else monitor.profiler,
        plugins=[SafeCheckpoint()],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=sys.stderr.isatty(),
        use_distributed_sampler=False,
        log_every_n_steps=monitor.log_every,
        default_root_dir=folder,
    )


def _strategy(hardware: Hardware) -> str:
    several = hardware.devices != 1 or hardware.num_nodes > 1
    return "ddp" if hardware.strategy == "auto" and several else hardware.strategy


def _tracker(name: str, folder: Path) -> Logger:
    try:
        if name == "tensorboard":
            return TensorBoardLogger(folder, name="", version="tensorboard")
        if name == "wandb":
            return WandbLogger(save_dir=folder, offline="WANDB_API_KEY" not in os.environ)
        if name == "swanlab":
            from swanlab.integration.pytorch_lightning import SwanLabLogger

            online = "cloud" if "SWANLAB_API_KEY" in os.environ else "offline"
            return cast(Logger, SwanLabLogger(log_dir=str(folder / "swanlab"), mode=online))
        return MLFlowLogger(tracking_uri=f"file:{folder / 'mlflow'}")
    except ModuleNotFoundError as error:
        raise ValueError(
            f"trainer.monitor.trackers asks for {name}, which is not installed ({error}): "
            "pip install 'counterpoint[track]' or the tracker's own package"
        ) from error
