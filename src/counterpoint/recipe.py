"""A recipe: everything that decides a run, as factories; and how it becomes a trained model.

Factories, not instances: seeding comes first, shapes flow data -> encoder -> objective, no width is written
twice.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import nn

from counterpoint import averaging, config
from counterpoint.cache import cached
from counterpoint.config import Factory
from counterpoint.data.base import Data, Rows
from counterpoint.data.batching import refuse_one_class
from counterpoint.data.clinical.stays import StayReader
from counterpoint.data.sampling import stream_length
from counterpoint.data.spectra.augment import SpectralAugmentation
from counterpoint.data.spectra.pretreatment import Pretreatment
from counterpoint.data.spectra.scans import ScanSource
from counterpoint.data.splits import Split
from counterpoint.data.vibration.windows import Windows
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.frontend import Frontend
from counterpoint.encoders.variables import Variables
from counterpoint.evaluate.probes import Evaluator
from counterpoint.evaluate.regressors import Regressor
from counterpoint.evaluation import Evaluation
from counterpoint.fusion import Concat, Fusion
from counterpoint.model import Model, build_model
from counterpoint.objectives import Objective
from counterpoint.settings import Batching, Optimizer, Trainer
from counterpoint.transforms import Transform
from counterpoint.types import ObjectiveSpec

if TYPE_CHECKING:
    from counterpoint.task import Task

MODULES = (
    "counterpoint.data.clinical",
    "counterpoint.data.features",
    "counterpoint.data.radar.data",
    "counterpoint.data.spectra.data",
    "counterpoint.data.vibration",
    "counterpoint.data.weld",
    "counterpoint.encoders",
    "counterpoint.evaluate",
    "counterpoint.transforms",
    "counterpoint.objectives",
)
"""Modules whose import makes every choice of every role known."""

ROLES = (
    Data,
    StayReader,
    ScanSource,
    Split,
    Windows,
    Pretreatment,
    Transform,
    SpectralAugmentation,
    Batching,
    Encoder,
    Frontend,
    Variables,
    Fusion,
    Objective,
    Evaluator,
    Regressor,
)
"""What a recipe chooses, in the order in which data pass through."""

_DECODED = 16
"""Recordings decoded at a time to fill a cache: few enough to share out among processes and to hold twice."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a run.

    Args:
        data: the reader of the recordings, with windows, splits and augmentations.
        encoders: one a modality, by the modality's name.
        objective: what is minimised.
        fusion: how the modalities become one embedding.
        fused: modalities that make it; empty for all. The others are encoded beside it, as the sentences of a clip.
        optimizer: rates and their schedule.
        trainer: epochs, batches, devices, checkpoints.
        evaluation: how the embeddings are judged.
        seeds: the whole run is repeated with each, on each fold of the data.
    """

    data: Factory[Data]
    encoders: dict[str, Factory[Encoder]]
    objective: Factory[Objective]
    fusion: Factory[Fusion] = Concat
    fused: list[str] = field(default_factory=list)
    optimizer: Optimizer = field(default_factory=Optimizer)
    trainer: Trainer = field(default_factory=Trainer)
    evaluation: Evaluation = field(default_factory=Evaluation)
    seeds: list[int] = field(default_factory=lambda: [0])

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds is {self.seeds}; give one seed or several different ones")
        if self.evaluation.modalities and len(self.fused or self.encoders) < 2:
            raise ValueError(
                f"evaluation.modalities: {', '.join(self.fused or self.encoders)} alone makes the embedding, so there "
                "is nothing to compare it with; leave evaluation.modalities out"
            )

    @property
    def title(self) -> str:
        """What its answers are called in tables: the name of its objective."""
        return str(getattr(self.objective, "func", self.objective).__name__)


def read(path: Path, overrides: Sequence[str] = (), plugins: Sequence[str] = ()) -> Recipe:
    """Read a recipe from YAML.

    Args:
        path: the file.
        overrides: ``a.b=value`` each.
        plugins: modules that bring encoders or readers of one's own.

    Raises:
        ConfigError: with every problem, its file, line and dotted place.
    """
    import_roles(plugins)
    return config.load(path, Recipe, overrides)


def of_run(folder: Path, plugins: Sequence[str] = ()) -> Recipe:
    """The recipe that a run was trained with, or a ValueError where the folder is of none."""
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise ValueError(f"{folder} is not a run folder: it has no recipe.yaml; `counterpoint train` makes one")
    return read(path, plugins=plugins)


def import_roles(plugins: Sequence[str] = ()) -> None:
    """Import every module that offers choices, and the plug-ins named."""
    for module in MODULES:
        importlib.import_module(module)
    config.plugins(plugins)


def build(
    recipe: Recipe, data: Data, seed: int, objective: Callable[..., Objective] | None = None
) -> tuple[Model, Objective]:
    """Build model and objective, seeded.

    Args:
        recipe: what to build.
        data: where the shapes come from.
        seed: of the initial weights.
        objective: in place of the recipe's, as fine-tuning needs.
    """
    torch.manual_seed(seed)
    model = build_model(data.specs, recipe.encoders, recipe.fusion, recipe.fused)
    spec = ObjectiveSpec(model.dims, model.latents, data.classes, data.specs, data.target)
    return model, (objective or recipe.objective)(spec)


def plan(recipe: Recipe, data: Data, fold: str, rows: Rows, objective: Objective | None = None) -> tuple[int, int]:
    """Batches of the training of a fold and of one of its epochs, once it is clear that the fold can be trained on.

    Args:
        recipe: how to train.
        data: its data.
        fold: which division of them.
        rows: its training rows.
        objective: what is minimised, which learns from the targets of the rows; None to look at the batches alone.

    Raises:
        ValueError: if the rows cannot be put in batches as the recipe asks, or have too few classes or targets for the
            objective.
    """
    trainer = recipe.trainer
    try:
        if objective is not None and objective.classes_needed > 1:
            refuse_one_class(rows.labels, data.classes, type(objective).__name__)
        if objective is not None:
            objective.fit_targets(rows.targets)
        return stream_length(rows, trainer.batch_size, trainer.epochs, trainer.batches, data.classes)
    except ValueError as error:
        raise ValueError(f"fold {fold!r}: {error}") from error


def keep_features(recipe: Recipe, model: Model, rows: Rows) -> Rows:
    """Rows with features of the frozen encoders in place of what they read, computed where the cache lacks them.

    Args:
        recipe: its ``trainer.cache`` says where; without one the rows are returned as they are.
        model: whose encoders they are.
        rows: to train on or to embed.

    Raises:
        ValueError: as ``cached``.
    """
    trainer = recipe.trainer
    if trainer.cache is None:
        return rows
    encoders = {name: encoder for name, encoder in model.encoders.items() if isinstance(encoder, Encoder)}
    return cached(rows, encoders, trainer.cache, batch_size=_DECODED, dtype=trainer.cache_dtype)


def train_cell(recipe: Recipe, data: Data, fold: str, seed: int, folder: Path) -> Task:
    """Train one fold with one seed, going on from what ``folder`` holds.

    Args:
        recipe: what to train.
        data: its data, already read.
        fold: which division of the recordings.
        seed: of weights, order and augmentation.
        folder: where ``checkpoints/`` and ``metrics.csv`` go.

    Returns:
        The task in its final state.
    """
    from counterpoint.fit import fit
    from counterpoint.task import Task

    model, objective = build(recipe, data, seed)
    if recipe.trainer.hardware.compile != "off":
        model.compile(mode=recipe.trainer.hardware.compile)
    rows, valid = data.training(fold, "train"), data.training(fold, "valid")
    batches, _ = plan(recipe, data, fold, rows, objective)
    objective.plan(batches)
    task = Task(
        model,
        objective,
        recipe.optimizer,
        total_steps=-(-batches // recipe.trainer.accumulate),
        log_every=recipe.trainer.monitor.log_every,
        names=data.names,
    )
    rows, valid = keep_features(recipe, model, rows), keep_features(recipe, model, valid)
    fit(task, rows, valid, settings=recipe.trainer, seed=seed, folder=folder)
    return task


def load(
    folder: Path, data: Data, recipe: Recipe, weights: Literal["judged", "raw", "ema"] = "judged"
) -> tuple[Model, Objective]:
    """Model and objective of a trained cell, from its best checkpoint or, without validation, its newest.

    Args:
        folder: of the cell.
        data: where the shapes come from.
        recipe: the cell was trained with.
        weights: as trained, or their moving average; ``judged`` for those that ``trainer.ema`` names.

    Raises:
        ValueError: if the folder holds no whole checkpoint, or it holds no average that is asked for.
    """
    from counterpoint.checkpoint import load as load_checkpoint
    from counterpoint.checkpoint import newest_valid
    from counterpoint.keeper import best_whole

    state, newest = best_whole(folder / "checkpoints"), newest_valid(folder / "checkpoints")[0]
    if state is None and newest is not None:
        state = load_checkpoint(newest)
    if state is None:
        raise ValueError(f"{folder / 'checkpoints'} holds no whole checkpoint; train the recipe first")
    model, objective = build(recipe, data, seed=0)
    modules: dict[str, nn.Module] = {"model": model, "objective": objective}
    for name, module in modules.items():
        own = {k.removeprefix(f"{name}."): v for k, v in state["state_dict"].items() if k.startswith(f"{name}.")}
        module.load_state_dict(own)
    if (recipe.trainer.judged if weights == "judged" else weights) == "ema":
        if state["counterpoint"]["ema"] is None:
            raise ValueError(f"{folder} was trained without trainer.ema, so there are no averaged weights; load raw")
        averaging.put(state["counterpoint"]["ema"]["weights"], modules)
    return model.eval(), objective.eval()
