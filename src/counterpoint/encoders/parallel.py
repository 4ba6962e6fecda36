"""Several encoders of one modality side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import nn

from counterpoint.encoders.base import Encoder, check_kind
from counterpoint.types import Encoded, EventSpec, Modality, SignalSpec, Spec


@final
class Parallel(Encoder):
    """Several encoders of one modality side by side; their embeddings are concatenated.

    The first branch leads: the tokens and the latent variable are its own, the tokens in its part of the width with
    zeros in that of the others.
    """

    reads: ClassVar = (SignalSpec, EventSpec)

    def __init__(self, spec: Spec, /, *, branches: list[Callable[..., Encoder]]) -> None:
        """Build the branches.

        Args:
            spec: the modality.
            branches: at least one encoder.

        Raises:
            ValueError: if there is none, or one reads another kind of modality.
        """
        super().__init__()
        if not branches:
            raise ValueError("Parallel: branches is empty; give at least one encoder")
        for place, branch in enumerate(branches):
            check_kind(f"Parallel.branches[{place}]", spec, branch)
        built = [branch(spec) for branch in branches]
        self.branches = nn.ModuleList(built)
        self.dim, self.latent = sum(branch.dim for branch in built), built[0].latent

    def forward(self, modality: Modality) -> Encoded:
        """The tokens of the first branch, and (B, D) of all of them."""
        first, *others = [branch(modality) for branch in self.branches]
        pooled = torch.cat([first.pooled, *(other.pooled for other in others)], 1)
        tokens = nn.functional.pad(first.tokens, (0, self.dim - first.tokens.shape[2]))
        return Encoded(tokens, first.mask, pooled, first.latent)
