"""Settings of optimisation, training and transfer; plain dataclasses: a recipe is read without Lightning."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, final

from counterpoint.averaging import EMA as EMA
from counterpoint.patience import EarlyStopping as EarlyStopping
from counterpoint.rates import Optimizer as Optimizer
from counterpoint.rates import Part as Part


@dataclass(frozen=True)
class Hardware:
    """Where and in what precision to train; the names and values are Lightning's.

    Args:
        accelerator: ``auto``, ``cpu``, ``gpu``, ...
        devices: processes a node. ``torchrun`` and SLURM set their own world; give the same number.
        num_nodes: machines.
        strategy: ``auto`` (one process, or ddp for several), ``ddp``, ...
        precision: of the arithmetic; on a CPU bf16 helps convolutions and hinders small transformers.
        compile: ``torch.compile`` of the model; pays on a GPU, not on a CPU.
        workers: loader processes; 0 reads in one prefetch thread, faster unless transforms are heavy.
        deterministic: ``on`` allows only operations that give the same bits every time, and says which has no such
            form; on a CPU runs repeat without it, on a GPU it costs speed.
        recompute: ``on`` lets the repeated blocks of encoders and fusion compute twice instead of keeping what they
            computed: less memory, the same gradients, and a step that took 1.7 to 2.3 times as long where measured.
    """

    accelerator: str = "auto"
    devices: int | Literal["auto"] = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: Literal["32-true", "16-mixed", "bf16-mixed", "64-true"] = "32-true"
    compile: Literal["off", "default", "reduce-overhead", "max-autotune"] = "off"
    workers: int = 0
    deterministic: Literal["off", "on"] = "off"
    recompute: Literal["off", "on"] = "off"


@dataclass(frozen=True)
class Checkpoints:
    """What is saved, and how often.

    Args:
        every_n_steps: steps between saves, beside those after each validation; 0 for those alone.
        keep_last: newest checkpoints kept; a damaged one falls back to the one before.
        top_k: best checkpoints kept by ``monitor``.
        monitor: a logged value that tells the best; absent for the loss of the weights that are judged,
            ``valid/ema/loss`` where ``trainer.ema`` judges its own and ``valid/loss`` otherwise.
        mode: whether small or large is good.
    """

    every_n_steps: int = 0
    keep_last: int = 2
    top_k: int = 1
    monitor: str | None = None
    mode: Literal["min", "max"] = "min"


@dataclass(frozen=True)
class Monitor:
    """What is written down while training.

    Args:
        log_every: steps between rows of ``metrics.csv``; values in between are averaged.
        validate_every: epochs between validations.
        trackers: where rows go beside ``metrics.csv``.
        device_stats: also send memory and load of the device to the trackers.
        profiler: Lightning's profilers.
    """

    log_every: int = 10
    validate_every: int = 1
    trackers: list[Literal["tensorboard", "wandb", "mlflow", "swanlab"]] = field(default_factory=list)
    device_stats: Literal["off", "on"] = "off"
    profiler: Literal["none", "simple", "advanced", "pytorch"] = "none"

    def __post_init__(self) -> None:
        if self.device_stats == "on" and not self.trackers:
            raise ValueError(
                "device_stats: on sends its figures to trackers and there is none; add trackers: [tensorboard]"
            )
        if self.log_every < 1 or self.validate_every < 1:
            raise ValueError(
                f"log_every is {self.log_every}, validate_every {self.validate_every}; both are at least 1"
            )


class Batching(ABC):
    """Which rows stand together in a batch of the training. ``counterpoint.data.batching`` makes the order of rows."""

    @abstractmethod
    def check(self, batch_size: int) -> None:
        """Refuse a size of batch that does not fit.

        Raises:
            ValueError: with the size that does.
        """


@final
@dataclass(frozen=True, kw_only=True)
class Shuffled(Batching):
    """All rows in random order, as many of a class as there are; a recording twice in a batch only if it must be."""

    def check(self, batch_size: int) -> None:
        """Take any size."""


@final
@dataclass(frozen=True, kw_only=True)
class ClassBalanced(Batching):
    """As many rows of each of some classes in every batch, whatever the share of a class among the rows.

    Rows without a label are never drawn. Classes take turns, and so do the rows of a class; one that has fewer rows
    than a batch takes comes more than once in it, each time under another key.

    Args:
        classes: different classes in a batch, at least 2.
        rows: rows of each; ``trainer.batch_size`` is classes x rows.
    """

    classes: int
    rows: int

    def __post_init__(self) -> None:
        if self.classes < 2 or self.rows < 1:
            raise ValueError(
                f"ClassBalanced.classes is {self.classes}, at least 2; ClassBalanced.rows is {self.rows}, at least 1"
            )

    def check(self, batch_size: int) -> None:
        """Take classes x rows alone.

        Raises:
            ValueError: for another size.
        """
        fits = self.classes * self.rows
        if batch_size != fits:
            raise ValueError(
                f"trainer.batch_size is {batch_size}, and trainer.batches draws {self.classes} classes x {self.rows} "
                f"rows: set trainer.batch_size to {fits}, or change classes or rows"
            )


@final
@dataclass(frozen=True, kw_only=True)
class LengthGrouped(Batching):
    """Rows of about one length together, and still at random, so that less of a batch is padding.

    In every epoch the rows are shuffled and cut into pools, sorted by length within a pool and cut into batches, which
    come in random order. Rows that are all of one length cannot be grouped.

    Args:
        pool: batches of a pool, at least 2; a larger one pads less, a smaller one leaves more to chance.
    """

    pool: int = 16

    def __post_init__(self) -> None:
        if self.pool < 2:
            raise ValueError(f"LengthGrouped.pool is {self.pool}; it is at least 2, or nothing is grouped")

    def check(self, batch_size: int) -> None:
        """Take any size."""


@dataclass(frozen=True)
class Trainer:
    """How long and how to train.

    Args:
        epochs: passes over the training rows.
        batch_size: rows of one step over all devices together, so that a run is the same on one or eight.
        batches: which rows stand together in a batch. Validation passes over its rows as ``Shuffled`` does.
        accumulate: batches whose gradients are added before a step. A contrastive loss sees one batch.
        clip_norm: largest norm of the gradient; 0 for no clipping.
        hardware: devices and precision.
        checkpoints: what is saved.
        early_stopping: when to stop before the end; absent for never.
        ema: a moving average of the weights, validated beside them; absent for none.
        monitor: what is written down.
        cache: folder in which features of frozen encoders are kept, so that each recording is decoded and encoded
            once; absent to run the encoders in every epoch. Recipes, folds and processes may share it.
        cache_dtype: of the features kept; ``float16`` rounds to 11 bits, by less than one part in 2,000.
    """

    epochs: int = 50
    batch_size: int = 64
    batches: Batching = field(default_factory=Shuffled)
    accumulate: int = 1
    clip_norm: float = 1.0
    hardware: Hardware = field(default_factory=Hardware)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    early_stopping: EarlyStopping | None = None
    ema: EMA | None = None
    monitor: Monitor = field(default_factory=Monitor)
    cache: Path | None = None
    cache_dtype: Literal["float16", "float32"] = "float16"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        self.batches.check(self.batch_size)

    @property
    def judged(self) -> Literal["ema", "raw"]:
        """Which weights a run is about."""
        return self.ema.judged if self.ema else "raw"

    @property
    def judged_loss(self) -> str:
        """What the log calls the validated loss of these weights."""
        return "valid/ema/loss" if self.judged == "ema" else "valid/loss"


@dataclass(frozen=True)
class Transfer:
    """Fine-tune the pre-trained model and the same model from scratch on a share of the labels, and compare.

    Published backbones are where both start, for from scratch means without this run's pre-training: what a recipe
    puts on top of them, or the whole model where it has none, is drawn afresh.

    Args:
        fractions: shares of the labelled training windows, drawn stratified by class, at least one a class.
        epochs: passes over the windows drawn.
        min_steps: least number of steps, so that a handful of windows is still trained on.
        batch_size: windows a step.
        lr: peak learning rate of a model from scratch, its classifier included.
        encoder_lr: peak learning rate of a pre-trained model, which is to be adapted, not overwritten.
        classifier_lr: peak learning rate of the new classifier on a pre-trained model.
        freeze: share of the steps during which a pre-trained model does not move.
    """

    fractions: tuple[float, ...] = (0.01, 0.1, 1.0)
    epochs: int = 30
    min_steps: int = 100
    batch_size: int = 64
    lr: float = 1e-3
    encoder_lr: float = 1e-4
    classifier_lr: float = 1e-2
    freeze: float = 0.0

    def __post_init__(self) -> None:
        bad = [share for share in self.fractions if not 0 < share <= 1]
        if bad:
            raise ValueError(f"fractions {bad} are not shares; each must be above 0 and at most 1")


@dataclass(frozen=True)
class FewShot:
    """Train the first evaluator on few labelled rows, beside logistic regression on summary statistics of the same.

    Args:
        labels: how many labelled training rows; drawn at random, not stratified, every class at least once.
        repeats: draws of each number, over which scores are averaged.
    """

    labels: tuple[int, ...] = (100, 400)
    repeats: int = 20

    def __post_init__(self) -> None:
        bad = [count for count in self.labels if count < 2]
        if bad or not self.labels or len(set(self.labels)) < len(self.labels):
            raise ValueError(f"few_shot.labels is {list(self.labels)}; give different numbers of rows, each at least 2")
        if self.repeats < 1:
            raise ValueError(f"few_shot.repeats is {self.repeats}; it is at least 1")
