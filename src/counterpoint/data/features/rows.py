"""Features of all runs in memory, and the rows that hand them out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.data.base import Draw, Rows
from counterpoint.data.features.dropout import Bool, RunViews
from counterpoint.data.labelling import Labelling
from counterpoint.keys import Int
from counterpoint.types import Batch, Modality, Signal, SignalSpec

Float = NDArray[np.float32]


class Block(NamedTuple):
    """One modality of n runs.

    Attributes:
        values: (n, T, C), 0 where there is none.
        mask: (n, T) which tokens there are.
    """

    values: Float
    mask: Bool

    @classmethod
    def of(cls, values: Float) -> Block:
        """Take (n, T, C) with NaN for what is missing: a token that is NaN throughout."""
        mask: Bool = np.logical_not(np.isnan(values).all(2))
        return cls(np.where(mask[:, :, None], values, np.float32(0)), mask)

    @property
    def spec(self) -> SignalSpec:
        """What an encoder must know."""
        return SignalSpec(self.values.shape[2], self.values.shape[1], 0.0)

    @property
    def present(self) -> Bool:
        """(n,) which runs have any of it."""
        some: Bool = np.any(self.mask, axis=1)
        return some

    @property
    def lengths(self) -> Int:
        """(n,) tokens of each run up to its last real one."""
        size = self.mask.shape[1]
        lengths: Int = size - np.where(self.present, self.mask[:, ::-1].argmax(1), size)
        return lengths

    def take(self, rows: Int) -> Block:
        """Those of some runs."""
        return Block(self.values[rows], self.mask[rows])

    def bad(self) -> dict[int, str]:
        """Run -> what is not finite in it."""
        finite = np.isfinite(self.values)
        reasons = {}
        for row in np.flatnonzero(~finite.all((1, 2))).tolist():
            where = np.argwhere(~finite[row])
            reasons[row] = f"not finite: {len(where)} of {finite[row].size} features, first {where[0, 1]}"
        return reasons


def standardised(modality: str, block: Block, train: Int, clip: float | None) -> Block:
    """Every feature less its mean over the training tokens, by their standard deviation; constants become 0.

    Args:
        modality: its name, for the message.
        block: all runs.
        train: the training runs.
        clip: what is further from the mean, in standard deviations, is set to that; None for no limit.

    Raises:
        ValueError: if no training run has the modality.
    """
    known = block.values[train][block.mask[train]].astype(np.float64)
    if not len(known):
        raise ValueError(f"{modality}: none of {len(train)} training runs has it; leave the modality out")
    # The mean of a constant is off by rounding, which would be blown up to full scale.
    spread = np.where(known.max(0) > known.min(0), known.std(0), np.inf)
    values = np.where(block.mask[:, :, None], (block.values - known.mean(0)) / spread, 0.0)
    if clip is not None:
        values = values.clip(-clip, clip)
    return block._replace(values=values.astype(np.float32))


@final
class FeatureRows(Rows):
    """One row a run.

    Args:
        blocks: modality -> features of all runs, standardised.
        runs: (n,) which runs.
        columns: of all runs.
        views: how many, and what is left out of them.
    """

    def __init__(self, blocks: Mapping[str, Block], runs: Int, columns: Labelling, views: RunViews) -> None:
        self._blocks, self._views = blocks, views
        self._present = np.stack([block.present for block in blocks.values()], 1)
        self.ids = runs
        self.labels, self.groups = columns.labels[runs], columns.groups[runs]
        self.domains, self.metadata = columns.domains[runs], columns.metadata[runs]
        self.metadata_names = columns.metadata_names
        self.targets = None if columns.targets is None else columns.targets[runs]
        # Modalities of one T are cut alike: a fusion may lay their tokens side by side.
        spans: dict[int, list[Int]] = {}
        for block in blocks.values():
            spans.setdefault(block.mask.shape[1], []).append(block.lengths)
        self._spans: dict[int, Int] = {size: np.max(some, axis=0) for size, some in spans.items()}
        longest: Int = np.max(list(self._spans.values()), axis=0)[runs]
        self.lengths = longest if len(np.unique(longest)) > 1 else None

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Gather the features of all rows, a view at a time."""
        rows = np.array([draw.row for draw in draws], dtype=np.int64)
        keys = np.array([draw.key for draw in draws], dtype=np.int64)
        views = [self._view(self.ids[rows], keys, view) for view in range(self._views.count)]
        columns = (self.labels, self.groups, self.domains, self.ids)
        labels, groups, domains, ids = (torch.from_numpy(column[rows]) for column in columns)
        return Batch(views, labels, groups, domains, ids, self.targets_of(rows))

    def _view(self, runs: Int, keys: Int, view: int) -> dict[str, Modality]:
        kept = self._views.kept(self._present[runs], keys, view)
        found: dict[str, Modality] = {}
        for at, (name, block) in enumerate(self._blocks.items()):
            length = max(1, int(self._spans[block.mask.shape[1]][runs].max()))
            mask = block.mask[runs, :length] & kept[:, [at]]
            values = np.where(mask[:, :, None], block.values[runs, :length], np.float32(0))
            found[name] = Signal(torch.from_numpy(values), torch.from_numpy(mask))
        return found
