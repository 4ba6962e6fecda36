"""A small world for tests of training: recordings that are tones in noise, an encoder that is one layer."""

from __future__ import annotations

from functools import partial
from typing import Any, final

import numpy as np
import torch
from torch import nn

from counterpoint.data.base import Data, Draw, Rows, SplitName
from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.fusion import Concat
from counterpoint.model import Model, build_model
from counterpoint.objectives import CrossEntropy, InfoNCE, Objective, Term, WeightedSum
from counterpoint.settings import Optimizer
from counterpoint.task import Task
from counterpoint.types import Batch, Encoded, ObjectiveSpec, Signal, SignalSpec, Spec

LENGTH = 32


class Tones(Rows):
    """Recording i is a tone of its own frequency; a view is the tone with noise keyed by the draw."""

    def __init__(self, recordings: int, repeats: int = 4, views: int = 2) -> None:
        self.ids = np.tile(np.arange(recordings), repeats)
        self.labels = self.ids % 2
        self.groups = self.ids
        self.domains = np.zeros_like(self.ids)
        self.metadata = np.zeros((len(self.ids), 1))
        self.views = views

    def __getitems__(self, draws: list[Draw]) -> Batch:
        rows = np.array([draw.row for draw in draws])
        views = []
        for view in range(self.views):
            noise = np.stack(
                [np.random.Generator(np.random.Philox(key=[d.key, view])).normal(size=LENGTH) for d in draws]
            )
            tone = np.sin(np.arange(LENGTH) * (self.ids[rows, None] + 1) * 0.3 + noise[:, :1])
            values = torch.from_numpy((tone + 0.5 * noise).astype(np.float32)).unsqueeze(-1)
            views.append({"tone": Signal(values)})
        columns = [torch.from_numpy(c[rows]) for c in (self.labels, self.groups, self.domains, self.ids)]
        return Batch(views, *columns)


@final
class OneLayer(Encoder):
    """A convolution, dropout and a mean, so that a run draws from the global generator."""

    def __init__(self, spec: SignalSpec, /, *, dim: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.dim = dim
        self.convolve = nn.Conv1d(spec.channels, dim, 5, stride=2)
        self.dropout = nn.Dropout(dropout)

    def forward(self, signal: Signal) -> Encoded:
        tokens = self.dropout(self.convolve(signal.values.transpose(1, 2)).relu()).transpose(1, 2)
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(tokens, mask, masked_mean(tokens, mask))


@final
class ToneData(Data):
    """Tones behind the interface of data."""

    def __init__(self, *, recordings: int = 12) -> None:
        self.specs: dict[str, Spec] = {"tone": SignalSpec(1, LENGTH, 1.0)}
        self.classes = ("even", "odd")
        self.folds = ("all",)
        self.names = tuple(f"tone-{i}" for i in range(recordings))

    def training(self, fold: str, split: SplitName) -> Rows:
        return Tones(len(self.names))

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        return Tones(len(self.names), repeats=2, views=1)

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        return {}


def toy_model(seed: int = 0, dropout: float = 0.1) -> tuple[Model, Objective]:
    torch.manual_seed(seed)
    specs: dict[str, Spec] = {"tone": SignalSpec(1, LENGTH, 1.0)}
    model = build_model(specs, {"tone": partial(OneLayer, dropout=dropout)}, Concat)
    return model, InfoNCE(ObjectiveSpec(model.dims, {}, (), specs))


def two_terms(seed: int = 0) -> tuple[Model, Objective]:
    """A model under two losses whose weights are learned."""
    torch.manual_seed(seed)
    specs: dict[str, Spec] = {"tone": SignalSpec(1, LENGTH, 1.0)}
    model = build_model(specs, {"tone": OneLayer}, Concat)
    terms = {"near": Term(objective=InfoNCE), "label": Term(objective=CrossEntropy, weight=0.5)}
    spec = ObjectiveSpec(model.dims, {}, ("even", "odd"), specs)
    return model, WeightedSum(spec, terms=terms, balance="uncertainty")


def toy_task(steps: int, seed: int = 0, dropout: float = 0.1, log_every: int = 5) -> Task:
    model, objective = toy_model(seed, dropout)
    return Task(model, objective, Optimizer(lr=3e-3), total_steps=steps, log_every=log_every)
