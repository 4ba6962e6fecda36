"""The role of data: recordings on disk in, batches out, split so that nothing leaks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from counterpoint.data.splits import Fold
from counterpoint.types import Batch, Modality, Spec

SplitName = Literal["train", "valid", "test", "all"]
Int = NDArray[np.int64]


class Draw(NamedTuple):
    """One row asked of ``Rows``: which row, and the key that alone decides its randomness.

    ``key`` is a number unique to (seed, epoch, index), so a sample is the same whatever worker, rank or batch
    it comes through.
    """

    row: int
    key: int


class Rows(Dataset[Batch], ABC):
    """A batched map-style dataset: the columns are known without reading a signal, the signals come a batch at a time.

    Attributes:
        labels: (n,) class index or ``UNLABELLED``.
        groups: (n,) index of the group.
        domains: (n,) index of the domain.
        ids: (n,) row of the recording in the data's table.
        metadata: (n, m) float; all that is known of a row without its signal (rate, length, columns a user
            names); NaN where unknown. Feeds the metadata-only baseline.
        metadata_names: (m,) what they are called; () where the reader does not say.
        lengths: (n,) how long each row is, in what its batch is padded by: frames, sets, scans; None where all rows
            are of one length.
        targets: (n,) number to be predicted, NaN where unknown; None where the data have none.
    """

    labels: Int
    groups: Int
    domains: Int
    ids: Int
    metadata: NDArray[np.float64]
    metadata_names: tuple[str, ...] = ()
    lengths: Int | None = None
    targets: NDArray[np.float64] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @abstractmethod
    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read one batch. Called by ``DataLoader`` with what the batch sampler yields."""

    def targets_of(self, rows: Int) -> Tensor | None:
        """(B,) float32 targets of some rows, as a batch holds them; None where the data have none."""
        return None if self.targets is None else torch.from_numpy(self.targets[rows].astype(np.float32))

    def content(self, modality: str) -> list[str]:
        """A digest a row of all that decides its tensor of one modality: bytes of the source and preprocessing.

        What a cache of features is keyed by; "" for a row that lacks the modality.

        Raises:
            ValueError: if the reader has none.
        """
        raise ValueError(f"{type(self).__name__} keeps no digests of {modality!r}; features of it cannot be cached")

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        """One modality of some rows, whole: what a view shows of it that leaves nothing out.

        What features are computed of, so nothing in it is random; a row that lacks the modality is masked.

        Raises:
            ValueError: if the reader cannot read one modality alone.
        """
        raise ValueError(f"{type(self).__name__} does not read {modality!r} alone; features of it cannot be cached")

    def without(self, modalities: Sequence[str]) -> Rows:
        """The same rows, some modalities of which are not read.

        Their views hold ``Features`` of no width, (B, 1, 0), in the place of each, whose mask (B, 1) says which rows
        of the view show the modality.

        Raises:
            ValueError: if the reader cannot leave them out, or changes one of them at random in training.
        """
        raise ValueError(
            f"{type(self).__name__} cannot leave out {', '.join(modalities)}; features of them cannot be cached"
        )


class Data(ABC):
    """Base of all data readers.

    A constructor takes keyword-only arguments alone, reads tables and headers (not signals), and raises a
    ``ValueError`` that names file, row and remedy for what it cannot use.

    Attributes:
        specs: modality name -> what its encoder must know.
        classes: names of the classes, in the order of their indices; empty when nothing is labelled.
        folds: names of the train/valid/test divisions, at least one.
        names: recording id by row of the table.
        target: name of the number to be predicted; "" where there is none.
        group_names: names of the groups, in the order of their indices; () where the reader does not say.
    """

    specs: dict[str, Spec]
    classes: tuple[str, ...]
    folds: tuple[str, ...]
    names: tuple[str, ...]
    target: str = ""
    group_names: tuple[str, ...] = ()
    _folds: dict[str, Fold]
    _left: Int | None = None
    """Rows of the table that ``only`` left, of a copy it made."""

    def _fold(self, name: str) -> Fold:
        """The parts of a fold, of a reader that keeps its divisions in ``_folds``."""
        if name not in self._folds:
            raise ValueError(f"no fold {name!r}; there are {', '.join(self._folds)}")
        return self._folds[name]

    def _part(self, fold: str, split: SplitName) -> Int:
        """Rows of the table that make a split of a fold."""
        parts = self._fold(fold)._asdict() | {"all": self._usable}
        rows: Int = parts[split]
        return rows

    @property
    def _usable(self) -> Int:
        """All rows of the table, or those that ``only`` left."""
        return np.arange(len(self.names)) if self._left is None else self._left

    def only(self, modalities: Sequence[str], beside: Sequence[str] = ()) -> Data:
        """The same recordings and the same divisions, seen through some of their modalities.

        Recordings keep their rows, names and groups. Those that have none of ``modalities`` are left out of every part
        and counted in the account, as ``left out``.

        Args:
            modalities: what is seen.
            beside: what else is brought of the recordings that are left, where they have it.

        Raises:
            ValueError: if the reader cannot, or there is no such modality.
        """
        raise ValueError(
            f"{type(self).__name__} cannot show {', '.join(modalities)} alone; "
            "switch off what asks for it (evaluation.modalities.alone: off)"
        )

    def _through(
        self, modalities: Sequence[str], beside: Sequence[str], having: Mapping[str, NDArray[np.bool_]]
    ) -> Self:
        """A copy for the ``only`` of a reader that keeps its divisions in ``_folds``.

        Args:
            modalities: what is seen.
            beside: what else is brought.
            having: modality -> (n,) which recordings have it.
        """
        strange = [name for name in [*modalities, *beside] if name not in self.specs]
        if strange or not modalities:
            raise ValueError(f"no modality {', '.join(strange) or 'given'}; there are {', '.join(self.specs)}")
        some = np.any([having[name] for name in modalities], axis=0)
        seen = copy(self)
        seen.specs = {name: spec for name, spec in self.specs.items() if name in {*modalities, *beside}}
        seen._folds = {name: type(fold)(*(rows[some[rows]] for rows in fold)) for name, fold in self._folds.items()}
        seen._left = self._usable[some[self._usable]]
        return seen

    def _left_out(self) -> dict[str, int]:
        """What an account counts of the recordings that ``only`` left out; empty where it was not asked."""
        return {} if self._left is None else {"left out": len(self.names) - len(self._left)}

    def _divided(self, labels: Mapping[str, int]) -> dict[str, Any]:
        """What the accounts of all readers share: rows of each class, specs, rows of each part of each fold."""
        return {
            "classes": {name: labels[name] for name in self.classes},
            "specs": {name: spec._asdict() for name, spec in self.specs.items()},
            "folds": {
                name: {part: len(rows) for part, rows in fold._asdict().items()} for name, fold in self._folds.items()
            },
        }

    @abstractmethod
    def training(self, fold: str, split: SplitName) -> Rows:
        """Rows to pre-train or validate on: random views keyed by ``Draw.key``, labels not needed."""

    @abstractmethod
    def evaluation(self, fold: str, split: SplitName) -> Rows:
        """Rows to embed and score: one view, the same at every call, no augmentation."""

    @abstractmethod
    def audit(self, fold: str) -> list[str]:
        """What leaks between the splits of ``fold``, a sentence each; empty when nothing does."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """JSON-able account: sources with sha256, counts, columns matched, quarantine."""
