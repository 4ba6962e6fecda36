"""Batches of irregular events for tests: rows of mixed lengths, flat, and the same rows one at a time."""

from __future__ import annotations

import numpy as np
import torch

from counterpoint.data.base import Draw, Rows
from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.fusion import Concat
from counterpoint.model import Model
from counterpoint.objectives import SetVAE
from counterpoint.objectives.set_vae import Divergence, OutcomeLoss
from counterpoint.settings import Optimizer
from counterpoint.task import Task
from counterpoint.types import Batch, Events, EventSpec, Modality, ObjectiveSpec

VARIABLES = 7
SPEC = EventSpec(tuple(f"v{i}" for i in range(VARIABLES)), sets=60, events=25)
Row = list[tuple[float, list[tuple[int, float]]]]
"""Hours and events (code, value) of every set."""


def stay(seed: int, sets: int | None = None) -> Row:
    """A row of random sets; some sets are far larger than others."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 40)) if sets is None else sets
    times = np.sort(rng.uniform(0, 48, count))
    row: Row = []
    for time in times:
        size = int(rng.integers(18, 24)) if rng.random() < 0.1 else int(rng.integers(1, 7))
        row.append((float(time), [(int(rng.integers(VARIABLES)), float(rng.normal())) for _ in range(size)]))
    return row


def pack(rows: list[Row], keys: list[int] | None = None, dtype: torch.dtype = torch.float64) -> Events:
    """Rows laid out flat."""
    sets, borders, times = [0], [0], []
    codes, values = [], []
    for row in rows:
        for time, events in row:
            times.append(time)
            codes += [code for code, _ in events]
            values += [value for _, value in events]
            sets.append(len(codes))
        borders.append(len(times))
    return Events(
        torch.tensor(values, dtype=dtype),
        torch.tensor(codes, dtype=torch.int64),
        torch.tensor(times, dtype=dtype),
        torch.tensor(sets),
        torch.tensor(borders),
        torch.tensor(keys if keys is not None else [1000 + 17 * i for i in range(len(rows))]),
    )


def batch(events: Events, labels: list[int]) -> Batch:
    rows = torch.arange(len(labels))
    view: dict[str, Modality] = {"events": events}
    return Batch([view], torch.tensor(labels), rows, torch.zeros_like(rows), rows)


class StayRows(Rows):
    """Random stays; the keys of their noise are those of the draws."""

    def __init__(self, count: int) -> None:
        self.ids = self.groups = np.arange(count)
        self.labels, self.domains = self.ids % 2, np.zeros_like(self.ids)
        self.metadata = np.zeros((count, 1))
        self.stays = [stay(seed) for seed in range(count)]

    def __getitems__(self, draws: list[Draw]) -> Batch:
        events = pack([self.stays[draw.row] for draw in draws], [draw.key for draw in draws])
        rows = np.array([draw.row for draw in draws])
        columns = [torch.from_numpy(column[rows]) for column in (self.labels, self.groups, self.domains, self.ids)]
        return Batch([{"events": events}], *columns)


def stay_task(steps: int, divergence: Divergence = Divergence(), log_every: int = 5) -> Task:  # noqa: B008
    """A small set VAE with an outcome head, ready to train."""
    torch.manual_seed(0)
    encoder = SetSequence(
        SPEC, dim=16, latent=8, sets=SetLayers(dim=12, heads=2, points=3), sequence=SequenceLayers(heads=2)
    )
    model = Model({"events": encoder}, Concat({"events": encoder.dim}))
    spec = ObjectiveSpec(model.dims, model.latents, ("survived", "died"), {"events": SPEC})
    objective = SetVAE(spec, divergence=divergence, outcome=OutcomeLoss(), width=24)
    return Task(model, objective, Optimizer(lr=3e-3), total_steps=steps, log_every=log_every)
