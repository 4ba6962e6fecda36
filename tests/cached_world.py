"""A small world for tests of the cache: recordings that are arrays on disk, and a frozen encoder of two layers."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.data.base import Data, Draw, Rows, SplitName
from counterpoint.data.features.dropout import RunViews
from counterpoint.encoders.pretrained.base import PLAIN, Inference, Pretrained
from counterpoint.types import Batch, Features, Modality, Signal, SignalSpec, Spec

LENGTH, CHANNELS = 6, 3
NAMES = ("vibration", "sound")


def write(folder: Path, recordings: int, without: dict[str, tuple[int, ...]] | None = None) -> Path:
    """A file a modality and recording; the recordings named in ``without`` lack it."""
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for at in range(recordings):
        for name in NAMES:
            values = random.normal(size=(LENGTH, CHANNELS)).astype(np.float32)
            if at not in (without or {}).get(name, ()):
                np.save(folder / f"{name}-{at}.npy", values)
    return folder


class Arrays(Rows):
    """A row a recording. ``gain`` stands for the preprocessing, ``noise`` for a random augmentation."""

    def __init__(
        self,
        folder: Path,
        recordings: int,
        views: RunViews = RunViews(),  # noqa: B008
        gain: float = 1.0,
        noise: float = 0.0,
        length: int = LENGTH,
    ) -> None:
        self.folder, self.views, self.gain, self.noise, self.length = folder, views, gain, noise, length
        self.ids = np.arange(recordings)
        self.labels, self.groups, self.domains = self.ids % 2, self.ids, np.zeros_like(self.ids)
        self.metadata = np.zeros((recordings, 1))
        self.unread: frozenset[str] = frozenset()
        self.decoded: list[str] = []

    def file(self, name: str, row: int) -> Path:
        return self.folder / f"{name}-{row}.npy"

    def content(self, modality: str) -> list[str]:
        files = [self.file(modality, row) for row in range(len(self))]
        return [
            hashlib.sha256(f"{self.gain}".encode() + file.read_bytes()).hexdigest() if file.exists() else ""
            for file in files
        ]

    def recorded(self, modality: str, rows: list[int]) -> Signal:
        values = torch.zeros(len(rows), self.length, CHANNELS)
        mask = torch.zeros(len(rows), self.length, dtype=torch.bool)
        for at, row in enumerate(rows):
            if self.file(modality, row).exists():
                self.decoded.append(f"{modality}-{row}")
                values[at], mask[at] = torch.from_numpy(np.load(self.file(modality, row))) * self.gain, True
        return Signal(values, mask)

    def without(self, modalities: Sequence[str]) -> Rows:
        rows = copy.copy(self)
        rows.unread = self.unread | set(modalities)
        return rows

    def __getitems__(self, draws: list[Draw]) -> Batch:
        rows, keys = np.array([draw.row for draw in draws]), np.array([draw.key for draw in draws])
        present = np.array([[self.file(name, row).exists() for name in NAMES] for row in rows])
        read = {name: self.recorded(name, rows.tolist()) for name in NAMES if name not in self.unread}
        views = [self._view(read, present, keys, view) for view in range(self.views.count)]
        return Batch(
            views, *(torch.from_numpy(column[rows]) for column in (self.labels, self.groups, self.domains, self.ids))
        )

    def _view(self, read: dict[str, Signal], present: Any, keys: Any, view: int) -> dict[str, Modality]:
        kept = torch.from_numpy(self.views.kept(present, keys, view))
        shown: dict[str, Modality] = {}
        for at, name in enumerate(NAMES):
            own = kept[:, at : at + 1]
            if name in read:
                values, mask = read[name]
                assert mask is not None
                noise = self.noise * torch.from_numpy(np.random.default_rng([view, *keys]).normal(size=values.shape))
                shown[name] = Signal(((values + noise) * own.unsqueeze(2)).float(), mask & own)
            else:
                shown[name] = Features(torch.empty(len(keys), 1, 0), own)
        return shown


class Sizes:
    """What a configuration of the library brings, as far as it is looked at."""

    def __init__(self, width: int) -> None:
        self.num_hidden_layers, self.hidden_size = 1, width

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class Backbone(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.config = Sizes(width)
        self.first = nn.Linear(CHANNELS, width)
        self.blocks = nn.ModuleList([nn.Sequential(nn.GELU(), nn.Linear(width, width))])
        self.layernorm = nn.LayerNorm(width)

    def forward(self, values: Tensor) -> Tensor:
        state: Tensor = self.first(values)
        for block in self.blocks:
            state = state + block(state)
        return self.layernorm(state)


@final
class Toy(Pretrained):
    """A frozen backbone over every sample, neighbours averaged. Its weights are those of ``seed``, in every process."""

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        seed: int = 0,
        width: int = 5,
        unfreeze: int = 0,
        dim: int = 4,
        inference: Inference = PLAIN,
        offset: float = 0.0,
        pooling: int = 2,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = Backbone(width).to(getattr(torch, inference.dtype))
        super().__init__(model, unfreeze=unfreeze, dim=dim, inference=inference)
        self.offset, self.pooling = offset, pooling
        self.encoded = 0

    def extract(self, signal: Signal) -> Features:
        assert signal.mask is not None
        real = signal.mask.unflatten(1, (-1, self.pooling)).all(2)
        tokens = torch.zeros(*real.shape, self.width)
        rows = real.any(1)
        self.encoded += int(rows.sum())
        state = self.model((signal.values[rows] - self.offset).to(self._dtype())).float()
        tokens[rows] = state.view(len(state), real.shape[1], self.pooling, self.width).mean(2)
        return Features(tokens, real)

    def settings(self) -> dict[str, Any]:
        return {"offset": self.offset, "pooling": self.pooling}


SPEC = SignalSpec(CHANNELS, LENGTH, 1.0)


@final
class ArrayData(Data):
    """Recordings in a folder behind the interface of data: the first half to train on."""

    def __init__(self, *, folder: Path, recordings: int = 16, views: RunViews = RunViews(count=2)) -> None:  # noqa: B008
        self.specs: dict[str, Spec] = dict.fromkeys(NAMES, SPEC)
        self.classes, self.folds = ("even", "odd"), ("main",)
        self.names = tuple(f"recording-{at}" for at in range(recordings))
        self.folder, self.views = folder, views
        self.given: list[Arrays] = []

    def training(self, fold: str, split: SplitName) -> Rows:
        return self._rows(self.views)

    def evaluation(self, fold: str, split: SplitName) -> Rows:
        return self._rows(RunViews())

    def _rows(self, views: RunViews) -> Rows:
        self.given.append(Arrays(self.folder, len(self.names), views))
        return self.given[-1]

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        return {}
