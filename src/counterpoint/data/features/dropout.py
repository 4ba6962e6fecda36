"""Views of a run whose modalities may be left out, decided by the key of the draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from counterpoint.keys import Int, derive, uniforms

Bool = NDArray[np.bool_]
_VIEW = 71


@dataclass(frozen=True, kw_only=True)
class RunViews:
    """What training sees of a run.

    Args:
        count: views a run; objectives that contrast two views need two.
        modality_dropout: share of the modalities left out of each view, each on its own; the last one of a row stays.
    """

    count: Literal[1, 2] = 1
    modality_dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the share.

        Raises:
            ValueError: if it is none.
        """
        if not 0 <= self.modality_dropout < 1:
            raise ValueError(f"views.modality_dropout is a share from 0 to below 1, not {self.modality_dropout}")

    def kept(self, present: Bool, keys: Int, view: int) -> Bool:
        """Which modalities a view of each row has.

        Args:
            present: (B, M) which the row has, at least one.
            keys: (B,) of the draws.
            view: number of the view.

        Returns:
            (B, M), a part of ``present`` with at least one True a row.
        """
        if not self.modality_dropout:
            return present
        numbers = np.where(present, uniforms(derive(keys, _VIEW + view), present.shape[1]), -1.0)
        kept: Bool = present & ((numbers >= self.modality_dropout) | (numbers == numbers.max(1, keepdims=True)))
        return kept
