"""A Transformer from scratch over the channels of a sensor, levels and gaps included."""

from __future__ import annotations

from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import checked, frame_count, frames, zeroed
from counterpoint.encoders.patch import Block, Blocks, attention_pool, positions
from counterpoint.types import Encoded, Signal, SignalSpec

FOUR_WIDE_BLOCKS = Blocks(depth=4, heads=8, expansion=4, dropout=0.1)


@final
class SensorTransformer(Encoder):
    """Patches of all channels, a learned position each, pre-norm attention blocks, one embedding.

    It is for recordings laid over one length from start to end, where a place means a phase of the process: positions
    are learned, and beyond ``spec.length`` there are none. A sample where the mask is False is told to the encoder as
    missing, beside the zero that stands in its place, because after standardisation zero is a level like any other.
    Nothing is normalised within a row, so levels stay. Patches without a real sample are left out of attention and
    pooling; a row without one has an embedding of zeros.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        dim: int = 256,
        patch: int = 4,
        pooling: Literal["mean", "attention"] = "mean",
        blocks: Blocks = FOUR_WIDE_BLOCKS,
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding; even and divisible by the heads.
            patch: samples a token, at most ``spec.length``.
            pooling: how tokens become one embedding: their mean, or learned weights.
            blocks: the stack of attention blocks.

        Raises:
            ValueError: where the width does not fit the heads, or the patch not the signal.
        """
        super().__init__()
        if dim < 2 or dim % 2 or dim % blocks.heads:
            raise ValueError(
                f"SensorTransformer: dim is {dim}; choose an even width divisible by the {blocks.heads} heads"
            )
        if not 1 <= patch <= spec.length:
            raise ValueError(
                f"SensorTransformer: patch is {patch}; choose from 1 to the {spec.length} samples of a signal"
            )
        self.spec, self.dim, self.patch = spec, dim, patch
        self.embed = nn.Linear(patch * (spec.channels + 1), dim)
        count = frame_count(spec.length, patch, patch)
        # Begun as waves, so that neighbours are alike before anything is learned.
        self.places = nn.Parameter(positions(count, dim, self.embed.weight.detach()) * 0.5)
        self.blocks = nn.ModuleList(Block(dim, blocks) for _ in range(blocks.depth))
        self.norm = nn.LayerNorm(dim)
        self.query = nn.Parameter(torch.randn(dim) * 0.02) if pooling == "attention" else None

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, L, C) into (B, ceil(L / patch), D) tokens and (B, D).

        Raises:
            ValueError: where the signal is longer than the encoder was built for.
        """
        values = checked(signal, self.spec).values
        if values.shape[1] > self.spec.length:
            raise ValueError(
                f"SensorTransformer was built for {self.spec.length} samples and met {values.shape[1]}; lay the "
                "recordings over that length, or build it for the longer ones"
            )
        real = values.new_ones(values.shape[:2]).bool() if signal.mask is None else signal.mask
        # Filled up to whole patches with what is missing, as a padded signal would be.
        beyond = -values.shape[1] % self.patch
        values, real = F.pad(values, (0, 0, 0, beyond)), F.pad(real, (0, beyond))
        missing = (~real).to(values.dtype).unsqueeze(2)
        told = Signal(torch.cat([values, missing], 2), real)
        cut = frames(told, self.patch, self.patch)
        assert cut.mask is not None
        tokens: Tensor = self.embed(cut.values)
        tokens = tokens + self.places[: tokens.shape[1]].to(tokens.dtype)
        tokens = zeroed(self.norm(self._attend(tokens, cut.mask)), cut.mask)
        if self.query is None:
            return Encoded(tokens, cut.mask, masked_mean(tokens, cut.mask))
        return Encoded(tokens, cut.mask, attention_pool(tokens, cut.mask, self.query))

    def _attend(self, tokens: Tensor, mask: Tensor) -> Tensor:
        # A row without a real token attends to its padding: finite, and zeroed afterwards.
        keys = (mask | ~mask.any(1, keepdim=True))[:, None, None, :]
        for block in self.blocks:
            tokens = block(tokens, keys)
        return tokens
