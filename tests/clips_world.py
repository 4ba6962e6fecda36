"""A small world of clips for tests of retrieval and search: two views and a sentence of each, which say the same."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn

from counterpoint.data.base import Data, Draw, Rows, SplitName
from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.evaluate.zero_shot import ZeroShot
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import CLIP
from counterpoint.recipe import Recipe
from counterpoint.settings import Monitor, Optimizer, Trainer
from counterpoint.types import Batch, Encoded, Modality, Signal, SignalSpec, Spec, Text, TextSpec

FRAMES, CHANNELS = 20, 3
CLASSES = ("boxing", "walk")
PLACES = ("far", "near", "left", "right", "slow", "fast")


def caption(clip: int) -> str:
    """Twelve captions in all; every thirteenth clip has none."""
    return "" if clip % 13 == 12 else f"somebody does {CLASSES[clip % 2]} {PLACES[clip // 2 % 6]}"


class Clips(Rows):
    """Clip i shows its class, its place and a phase of its own in both views; every eleventh lacks the second view."""

    def __init__(self, clips: np.ndarray, labelled: bool) -> None:
        self.ids = np.asarray(clips, np.int64)
        self.labels = self.ids % 2 if labelled else np.full(len(clips), -1)
        self.groups, self.domains = self.ids // 3, np.zeros_like(self.ids)
        self.metadata = np.zeros((len(self.ids), 1))

    def __getitems__(self, draws: list[Draw]) -> Batch:
        rows = [draw.row for draw in draws]
        keys = [draw.key for draw in draws]
        view = {name: self.read(name, rows, keys) for name in ("near", "side", "text")}
        columns = [torch.from_numpy(c[rows]) for c in (self.labels, self.groups, self.domains, self.ids)]
        return Batch([view], *columns)

    def read(self, name: str, rows: list[int], keys: list[int]) -> Modality:
        clips = self.ids[rows]
        if name == "text":
            return Text(tuple(caption(int(clip)) for clip in clips))
        times = np.arange(FRAMES)[:, None]
        values = np.stack(
            [
                np.sin(times * (0.3 + 0.5 * (clip % 2) + 0.03 * np.arange(CHANNELS)) + clip * 0.37)
                + (clip % 2) * np.array([0.9, -0.9, 0.0])
                + (clip // 2 % 6) * 0.4 * np.cos(np.arange(CHANNELS) + (name == "side"))
                + 0.05 * np.random.default_rng([key, clip]).normal(size=(FRAMES, CHANNELS))
                for clip, key in zip(clips, keys, strict=True)
            ]
        )
        mask = np.ones((len(rows), FRAMES), dtype=np.bool_)
        if name == "side":
            mask[clips % 11 == 10] = False
        values = values.astype(np.float32) * mask[:, :, None]
        return Signal(torch.from_numpy(values), torch.from_numpy(mask))

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        return self.read(modality, rows, rows)


@final
class ClipData(Data):
    """Clips behind the interface of data: the first are trained on, the last are tested on."""

    def __init__(self, *, train: int = 60, test: int = 40, labelled: bool = True) -> None:
        self.specs: dict[str, Spec] = {
            "near": SignalSpec(CHANNELS, FRAMES, 10.0),
            "side": SignalSpec(CHANNELS, FRAMES, 10.0),
            "text": TextSpec(4),
        }
        self.classes = CLASSES if labelled else ()
        self.folds = ("all",)
        self.names = tuple(f"clip-{i:03d}" for i in range(train + test))
        self.train, self.labelled = train, labelled

    def training(self, fold: str, split: SplitName) -> Rows:
        return self.evaluation(fold, split)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        every = np.arange(len(self.names))
        parts = {"train": every[: self.train], "valid": every[:0], "test": every[self.train :], "all": every}
        return Clips(parts[split], self.labelled)

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        counts = {"clips": len(self.names)}
        keys = {"columns": {}, "quarantine": [], "audit": {}}
        return {"simulated": True, "sources": [], "counts": counts, "classes": dict.fromkeys(self.classes, 1), **keys}


@final
class Words(Encoder):
    """A sentence is the mean of learned vectors of its words."""

    reads = (TextSpec,)

    def __init__(self, spec: TextSpec, /, *, dim: int = 12) -> None:
        super().__init__()
        self.dim = dim
        self.table = nn.Embedding(64, dim)

    def forward(self, text: Text) -> Encoded:
        rows = [[int(hashlib.md5(w.encode()).hexdigest(), 16) % 64 for w in s.split()] for s in text.sentences]
        longest = max(1, *map(len, rows))
        mask = torch.tensor([[at < len(row) for at in range(longest)] for row in rows])
        numbers = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        place = self.table.weight.device
        tokens, mask = self.table(numbers.to(place)), mask.to(place)
        return Encoded(tokens, mask, masked_mean(tokens, mask))


@final
class Frames(Encoder):
    """A small network at every frame, and a mean over the real ones."""

    def __init__(self, spec: SignalSpec, /, *, dim: int = 12) -> None:
        super().__init__()
        self.dim = dim
        self.layers = nn.Sequential(nn.Linear(spec.channels, 32), nn.GELU(), nn.Linear(32, dim))

    def forward(self, signal: Signal) -> Encoded:
        tokens = self.layers(signal.values)
        assert signal.mask is not None
        return Encoded(tokens, signal.mask, masked_mean(tokens, signal.mask))


PROMPTS = {name: [f"somebody does {name} far", f"somebody does {name}"] for name in CLASSES}
RECIPE = Recipe(
    data=ClipData,
    encoders={"near": Frames, "side": Frames, "text": Words},
    fused=["near", "side"],
    objective=partial(CLIP, width=16),
    optimizer=Optimizer(lr=1e-2),
    trainer=Trainer(epochs=30, batch_size=30, monitor=Monitor(log_every=10)),
    evaluation=Evaluation(zero_shot=ZeroShot(prompts=PROMPTS)),
)


def folder_of(folder: Path) -> Path:
    """Where the one cell of a run is."""
    return folder / "cells" / "all-seed0"
