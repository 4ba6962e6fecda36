"""The Lightning module: one step, whatever the model, the objective or the data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from counterpoint import rates
from counterpoint.averaging import Average
from counterpoint.checkpoint import rng_state, set_rng_state
from counterpoint.fusion import NothingPresentError
from counterpoint.log import Record
from counterpoint.meter import Meter
from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.patience import Lowering
from counterpoint.settings import Optimizer
from counterpoint.types import Batch, Loss


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message names the step and the recordings of the batch."""


class Task(LightningModule):
    """Model and objective under one optimizer.

    Attributes:
        history: the rows of the log so far; part of every checkpoint.
        position: batches of the training stream already consumed; where a resumed run goes on.
        average: of the weights, where one is kept; ``fit`` sets it.
        lowering: what plateaus made of the rates.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        optimizer: Optimizer,
        *,
        total_steps: int,
        log_every: int = 10,
        names: Sequence[str] = (),
    ) -> None:
        """Hold what is trained and how.

        Args:
            model: what is kept.
            objective: what is thrown away.
            optimizer: settings of AdamW, its schedule and the rates of parts.
            total_steps: optimizer steps of the whole run, which the schedule spans.
            log_every: steps between rows of the log.
            names: recording names, for messages.

        Raises:
            ValueError: as ``rates.freeze``, for a part that is not there.
        """
        super().__init__()
        self.model = model
        self.objective = objective
        self.settings = optimizer
        self.total_steps = total_steps
        self.log_every = log_every
        self.names = tuple(names)
        self.history: list[Record] = []
        self.position = 0
        self.average: Average | None = None
        self.lowering = Lowering(optimizer.lowered)
        self._meter = Meter()
        self._valid = {"valid": Meter(), "valid/ema": Meter()}
        self._unchecked: tuple[Tensor, Tensor] | None = None
        self._last: dict[str, Tensor] = {}
        self._norm = math.nan
        self._rng: list[dict[str, Any]] = []
        self._clock = self._flushed = time.perf_counter()
        self._waited = 0.0
        rates.freeze(model, objective, optimizer.parts)

    def train(self, mode: bool = True) -> Self:
        """Set the mode of what is trained; frozen parts stay in evaluation mode."""
        super().train(mode)
        rates.rest(self.model, self.objective, self.settings.parts)
        return self

    def loss(self, batch: Batch) -> tuple[Loss, list[dict[str, Any]]]:
        """Encode every view of a batch and score it."""
        try:
            encoded = [self.model(view) for view in batch.views]
        except NothingPresentError as error:
            rows = ", ".join(self._name(int(batch.ids[row])) for row in error.rows[:8])
            raise ValueError(f"no modality is present in {rows}; leave such recordings out") from error
        return self.objective(encoded, batch), encoded

    def _name(self, row: int) -> str:
        """Of a recording, for messages."""
        return self.names[row] if row < len(self.names) else str(row)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Note how long the loader kept the step waiting."""
        self._waited += time.perf_counter() - self._clock

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; the row of the log is written when it is due."""
        self.check_finite()
        loss, encoded = self.loss(batch)
        self._meter.add(loss.logs)
        self._unchecked = (loss.value.detach(), batch.ids)
        if (batch_idx + 1) % self.log_every == 0:
            with torch.no_grad():
                self._last = self.objective.diagnose(encoded, batch)
        return loss.value

    def check_finite(self) -> None:
        """Raise NonFiniteLossError if the last loss was not a number.

        The value is looked at one step late, when it is there without waiting for the device, and before any
        checkpoint is written, so no damaged state is ever saved.
        """
        if self._unchecked is None:
            return
        value, ids = self._unchecked
        self._unchecked = None
        if not math.isfinite(value.item()):
            rows = [self._name(i) for i in ids.tolist()]
            more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
            raise NonFiniteLossError(
                f"the loss of batch {self.position} is {value.item()}. Its recordings: "
                f"{', '.join(rows[:8])}{more}. No checkpoint was written after it; "
                "lower optimizer.lr, set trainer.clip_norm, or look at these recordings"
            )

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Leave out what does not move yet, and measure the gradient, before clipping, once a row of the log."""
        rates.hold(optimizer)
        if math.isnan(self._norm):
            gradients = [p.grad for p in self.parameters() if p.grad is not None]
            self._norm = float(torch.nn.utils.get_total_norm(gradients))

    def finish_batch(self, batch_idx: int) -> None:
        """Advance the position and write the row of the log that is due.

        The keeper calls this before it saves: Lightning's own hook of a module comes after those of callbacks, and
        a state saved in between would be one batch behind.
        """
        if self.average is not None:
            self.average.update(self.global_step)
        self.position = batch_idx + 1
        if self.position % self.log_every == 0:
            self._flush()
        self._clock = time.perf_counter()

    def _flush(self) -> None:
        self.check_finite()
        now = time.perf_counter()
        elapsed = now - self._flushed
        record: Record = {"step": float(self.global_step), "batch": float(self.position)}
        record |= {f"train/{name}": value for name, value in self._meter.drain().items()}
        record |= {f"train/{name}": float(value) for name, value in self._last.items()}
        record["train/grad_norm"] = self._norm
        record |= rates.rates(self.settings, self.total_steps, self.global_step, self.lowering.factor)
        record["time/batches_per_second"] = self.log_every / elapsed
        record["time/wait_share"] = self._waited / elapsed
        self._waited, self._flushed, self._norm = 0.0, now, math.nan
        self.write(record)

    def write(self, record: Record) -> None:
        """Add a row to the log and pass it to the trackers."""
        self.history.append(record)
        for tracker in self.loggers:
            tracker.log_metrics({k: v for k, v in record.items() if k != "step"}, step=int(record["step"]))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score a batch of the validation split, with the averaged weights too where there are any."""
        if self.average is not None:
            with self.average.worn():
                self._score(batch, "valid/ema")
        self._score(batch, "valid")

    def _score(self, batch: Batch, place: str) -> None:
        loss, encoded = self.loss(batch)
        self._valid[place].add(loss.logs | self.objective.diagnose(encoded, batch))

    def on_validation_epoch_end(self) -> None:
        """Write the mean over the validation split, the same on every rank, and lower the rates where it stalls."""
        record: Record = {"step": float(self.global_step), "batch": float(self.position)}
        for place, meter in self._valid.items():
            for name, value in meter.drain().items():
                mean = self.trainer.strategy.reduce(torch.tensor(value), reduce_op="mean")
                record[f"{place}/{name}"] = float(mean)
        self.write(record)
        before = self.lowering.factor
        self.lowering.see(record)
        if self.lowering.factor != before:
            scheduler = cast(torch.optim.lr_scheduler.LambdaLR, self.lr_schedulers())
            rates.lower(self.trainer.optimizers[0], scheduler)
        self._clock = time.perf_counter()

    def configure_optimizers(self) -> Any:
        """AdamW in groups by part, with and without weight decay."""
        groups, schedules = rates.groups(self.model, self.objective, self.settings, self.total_steps)
        # A fused step unscales by itself, which Lightning does not allow with gradient clipping under mixed precision.
        fused = not str(self.trainer.precision).endswith("-mixed")
        optimizer = torch.optim.AdamW(groups, betas=self.settings.betas, fused=fused)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [self._lowered(factor) for factor in schedules])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _lowered(self, factor: Callable[[int], float]) -> Callable[[int], float]:
        return lambda step: factor(step) * self.lowering.factor

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what Lightning does not know: position, log, and the generators of every rank."""
        states = [rng_state()]
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            states = [{} for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather_object(states, rng_state())
        checkpoint["counterpoint"] = {
            "position": self.position,
            "history": self.history,
            "meter": self._meter.state() | {"norm": self._norm},
            "rng": states,
            "ema": self.average and self.average.state(),
            "lowering": self.lowering.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the position and the log; the generators wait for the first step."""
        state = checkpoint["counterpoint"]
        self.position = state["position"]
        self.history = state["history"]
        self._meter.restore(state["meter"])
        self._norm = state["meter"]["norm"]
        self._rng = state["rng"]
        self.lowering.restore(state["lowering"])
        if self.average is not None:
            self.average.restore(state["ema"])

    def on_train_start(self) -> None:
        """Restore the generators last, so that nothing draws from them between here and the first step."""
        self._clock = self._flushed = time.perf_counter()
        if self.average is not None:
            self.average.begin(self)
        if self.position:
            if len(self._rng) != self.trainer.world_size:
                raise ValueError(
                    f"the checkpoint was written by {len(self._rng)} processes and this run has "
                    f"{self.trainer.world_size}; resume with the same number of devices"
                )
            set_rng_state(self._rng[self.global_rank])
