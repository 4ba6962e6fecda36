"""Convolutions over the time of a radar map, and a Transformer over what they leave."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import checked, zeroed
from counterpoint.encoders.patch import Block, Blocks, positions
from counterpoint.encoders.resnet import Convolution, Residual
from counterpoint.types import Encoded, Signal, SignalSpec


@final
class RadarEncoder(Encoder):
    """One view of a moving target, range, Doppler or azimuth over time, to tokens that keep the order of time.

    A channel is a bin, an element a frame. A strided convolution reads all bins of some neighbouring frames, residual
    blocks halve the time until a token stands for ``stride`` frames, and ``depth`` pre-norm attention blocks with
    sinusoidal positions let tokens see the whole clip. As in ``ResNet1d`` convolutions read zeros where the mask is
    False, as they do beyond the ends, and normalisation looks at the real frames of its own row alone: padding and
    batch-mates change nothing. Clips of any length are encoded. A row without a real frame has no token, and an
    embedding of zeros.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        dim: int = 256,
        width: int = 128,
        stride: int = 8,
        kernel: int = 9,
        depth: int = 1,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding; even and divisible by the heads.
            width: channels of the convolutions.
            stride: frames a token, a power of 2; the first convolution takes 4 of it, each residual block after the
                first 2.
            kernel: frames the first convolution reads, odd; later ones read 3 elements.
            depth: attention blocks after them; 0 for none.
            heads: of a block.
            dropout: share of activations and of attention weights dropped in the blocks in training.

        Raises:
            ValueError: if a setting is out of range.
        """
        super().__init__()
        if min(dim, width, kernel, heads) < 1 or kernel % 2 == 0 or dim % 2 or dim % heads or depth < 0:
            raise ValueError(
                f"RadarEncoder: dim {dim} must be even and divisible by heads {heads}, kernel {kernel} odd, width "
                f"{width} at least 1 and depth {depth} at least 0"
            )
        if stride < 1 or stride & (stride - 1):
            raise ValueError(f"RadarEncoder: stride is {stride}; choose a power of 2: 1, 2, 4, 8, 16")
        blocks = Blocks(depth=max(1, depth), heads=heads, dropout=dropout)
        self.spec, self.dim = spec, dim
        first = min(stride, 4)
        self.stem = Convolution(spec.channels, width, kernel, first, "group")
        halvings = (stride // first).bit_length() - 1
        self.residuals = nn.ModuleList(Residual(width, width, 3, 2 if i else 1, "group") for i in range(1 + halvings))
        self.enter = nn.Linear(width, dim)
        self.blocks = nn.ModuleList(Block(dim, blocks) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, T, C) into (B, T / stride, D) tokens, rounded up, and their mean (B, D)."""
        seen = checked(signal, self.spec)
        values, mask = self.stem(seen.values.transpose(1, 2), seen.mask)
        values = F.gelu(values)
        for block in self.residuals:
            values, mask = block(values, mask)
        tokens: Tensor = self.enter(values.transpose(1, 2))
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        if len(self.blocks):
            tokens = tokens + positions(tokens.shape[1], self.dim, tokens)
            # A row without a real token attends to its padding: finite, and zeroed afterwards.
            keys = (mask | ~mask.any(1, keepdim=True))[:, None, None, :]
            for block in self.blocks:
                tokens = block(tokens, keys)
        tokens = zeroed(self.norm(tokens), mask)
        return Encoded(tokens, mask, masked_mean(tokens, mask))
