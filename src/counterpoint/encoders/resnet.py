"""A one-dimensional residual network that padding and batch-mates cannot reach."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.encoders.frontend import Frontend, Waveform, zeroed
from counterpoint.types import Encoded, Signal, SignalSpec

Norm = Literal["group", "layer"]


@final
class ResNet1d(Encoder):
    """A wide strided convolution, then stages of residual blocks, each half as long and twice as wide.

    He et al. (2016), with a first kernel wide enough to see one ringing of a structure (Zhang et al., 2017).
    Every convolution reads zeros where the mask is False, as it does beyond the ends of a signal, and
    normalisation looks at real elements of its own row alone. There is no batch normalisation: through its
    statistics a row would see its batch-mates, in contrastive training its own negatives.
    Windows of any length are encoded, longer than ``spec.length`` too.
    """

    def __init__(
        self,
        spec: SignalSpec,
        /,
        *,
        dim: int = 128,
        width: int = 32,
        stages: int = 4,
        blocks: int = 1,
        kernel: int = 5,
        norm: Norm = "group",
        frontend: Callable[..., Frontend] = Waveform,
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding.
            width: channels of the first stage; each stage doubles them.
            stages: stages; the first keeps the length that the stem leaves (a quarter), each other halves it.
            blocks: residual blocks a stage, two convolutions each.
            kernel: length of their kernels, odd; the stem's is three times as long.
            norm: ``group`` takes mean and variance over the real elements of a row in groups of channels,
                ``layer`` over the channels of each element by itself.
            frontend: what is convolved: the waveform or a spectrum.

        Raises:
            ValueError: where a size is under 1 or the kernel is even.
        """
        super().__init__()
        sizes = {"dim": dim, "width": width, "stages": stages, "blocks": blocks, "kernel": kernel}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"ResNet1d: {name} is {size}; choose at least 1")
        if kernel % 2 == 0:
            raise ValueError(f"ResNet1d: kernel is {kernel}; choose an odd length, which shifts nothing")
        self.dim = dim
        self.frontend = frontend(spec)
        self.stem = Convolution(self.frontend.spec.channels, width, 3 * kernel, 4, norm)
        layers: list[Residual] = []
        for stage in range(stages):
            inner = width * 2**stage
            outer = inner if stage == 0 else inner // 2
            for index in range(blocks):
                first = index == 0
                stride = 2 if first and stage > 0 else 1
                layers.append(Residual(outer if first else inner, inner, kernel, stride, norm))
        self.blocks = nn.ModuleList(layers)
        self.out = nn.Linear(width * 2 ** (stages - 1), dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, signal: Signal) -> Encoded:
        """Encode (B, L, C) into (B, L', D) tokens and (B, D). L' is L / 4, halved by each later stage."""
        seen: Signal = self.frontend(signal)
        values, mask = self.stem(seen.values.transpose(1, 2), seen.mask)
        values = F.gelu(values)
        for block in self.blocks:
            values, mask = block(values, mask)
        tokens = zeroed(self.norm(self.out(values.transpose(1, 2))), mask)
        if mask is None:
            mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Encoded(tokens, mask, masked_mean(tokens, mask))


class Convolution(nn.Module):
    """A strided convolution of (B, C, L) and its normalisation, zero where the new mask is False."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(inside, outside, kernel, stride, kernel // 2, bias=False)
        self.norm = GroupNorm(outside) if norm == "group" else ChannelNorm(outside)

    def forward(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        mask = shrunk(mask, self.stride)
        values = self.norm(self.conv(values), mask)
        return values if mask is None else values.masked_fill(~mask.unsqueeze(1), 0.0), mask


class Residual(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.first = Convolution(inside, outside, kernel, stride, norm)
        self.second = Convolution(outside, outside, kernel, 1, norm)
        same = inside == outside and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv1d(inside, outside, 1, stride, bias=False)

    def forward(self, values: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        inner, mask = self.first(values, mask)
        inner, mask = self.second(F.gelu(inner), mask)
        # GELU keeps zeros and neither summand brings anything but zeros in, save a hole inside a cell.
        merged = F.gelu(inner + self.shortcut(values))
        return merged if mask is None else merged.masked_fill(~mask.unsqueeze(1), 0.0), mask


class GroupNorm(nn.GroupNorm):
    """Group normalisation (Wu and He, 2018) of (B, C, L) over the real elements of each row."""

    def __init__(self, channels: int) -> None:
        # Eight groups, fewer where they would hold under four channels: one channel of a very short row is
        # its own mean, and what normalisation would pass on is rounding noise times 1 / sqrt(eps).
        super().__init__(gcd(8, max(1, channels // 4)) if channels % 4 == 0 else 1, channels)

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            return super().forward(values)
        grouped = values.view(values.shape[0], self.num_groups, -1, values.shape[2])
        real = mask[:, None, None, :].to(values.dtype)
        count = (real.sum(3, keepdim=True) * grouped.shape[2]).clamp_min(1.0)
        centred = grouped - (grouped * real).sum((2, 3), keepdim=True) / count
        variance = (centred.square() * real).sum((2, 3), keepdim=True) / count
        normal = (centred * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        scaled: Tensor = normal * self.weight[:, None] + self.bias[:, None]
        return scaled


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation of (B, C, L) over the channels of each element."""

    def forward(self, values: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(values.transpose(1, 2)).transpose(1, 2)


def shrunk(mask: Tensor | None, stride: int) -> Tensor | None:
    """(B, ceil(L / stride)): True where one of ``stride`` neighbours is real."""
    if mask is None or stride == 1:
        return mask
    return F.pad(mask, (0, -mask.shape[1] % stride)).view(mask.shape[0], -1, stride).any(2)
