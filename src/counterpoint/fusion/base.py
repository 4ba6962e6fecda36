"""The role of a fusion: the encoded modalities of a row in, one ``Encoded`` out, absent ones without a trace."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from counterpoint.types import Encoded


class NothingPresentError(ValueError):
    """Rows that have none of the modalities.

    Attributes:
        rows: their numbers in the batch, for whoever knows the recordings' names.
    """

    def __init__(self, rows: list[int], modalities: list[str]) -> None:
        """Say which rows, and which modalities they lack."""
        self.rows = rows
        shown = ", ".join(map(str, rows[:8])) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
        super().__init__(
            f"rows {shown} of the batch have none of the modalities {', '.join(modalities)}: there is nothing to "
            "embed; leave their recordings out"
        )


class Fusion(nn.Module, ABC):
    """Base of all fusions.

    A constructor takes the widths of the modalities, name -> D, as its one positional argument and everything
    a recipe may set as keyword-only arguments.

    Attributes:
        dim: width of the fused embedding.
    """

    dim: int

    @abstractmethod
    def forward(self, encoded: dict[str, Encoded]) -> Encoded:
        """Fuse the modalities of each row, looking only at those whose mask has a True.

        Raises:
            NothingPresentError: if a row has none.
        """

    def attend(self, encoded: dict[str, Encoded]) -> dict[str, Tensor]:
        """What the fusion looks at, by modality; nothing from a fusion that does not weigh."""
        return {}


def presence(encoded: Mapping[str, Encoded]) -> Tensor:
    """(B, M) which rows have which modalities.

    Raises:
        NothingPresentError: if a row has none.
    """
    present = torch.stack([part.mask.any(1) for part in encoded.values()], dim=1)
    # A graph that is written to a file cannot ask what a value is; whoever runs it is told to leave such rows out.
    if not torch.compiler.is_exporting() and not bool(present.any(1).all()):
        raise NothingPresentError((~present.any(1)).nonzero()[:, 0].tolist(), list(encoded))
    return present


def only(values: Tensor, real: Tensor) -> Tensor:
    """Values (B, ..., D) where ``real`` (B, ...) is True and 0 elsewhere, whatever stood there, and no gradient to it.

    A product with 0 would keep a NaN.
    """
    return torch.where(real.unsqueeze(-1), values, values.new_zeros(()))
