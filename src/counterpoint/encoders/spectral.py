"""Encoders of spectra, several scans a specimen: a Transformer over the axis, a residual network, a perceptron."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.patch import Block, Blocks
from counterpoint.encoders.resnet import Convolution, Norm, Residual
from counterpoint.encoders.scan_pooling import (
    ScanPooling,
    SpecimenPooling,
    Weighing,
    centres,
    check_queries,
    check_sizes,
    listed,
    reach,
)
from counterpoint.types import Encoded, Spectra, SpectraSpec

TWO_BLOCKS = Blocks(depth=2, heads=4, expansion=2, dropout=0.1)


@final
class SpectralTransformer(Encoder):
    """Convolutions of several widths, patches along the axis, a Transformer over them, attention pooling.

    Each scan is read by itself: what short kernels make of it (3, 5 and 7 points, as wide as bands are) and the scan
    as it is are cut into patches (Nie et al. 2023, arXiv 2211.14730), which know their place on the axis. Learned
    questions weigh the patches of a scan, and a score the scans of a specimen (Ilse et al. 2018, arXiv 1802.04712).
    A row without a scan has no token and an embedding of zeros.

    Attributes:
        centres: where on the axis each token stands.
    """

    reads: ClassVar = (SpectraSpec,)

    def __init__(
        self,
        spec: SpectraSpec,
        /,
        *,
        dim: int = 128,
        patch: int = 16,
        kernels: Sequence[int] = (3, 5, 7),
        filters: int = 16,
        queries: int = 4,
        scans: Weighing = "attention",
        blocks: Blocks = TWO_BLOCKS,
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding; even, and divisible by the heads.
            patch: points of the axis a token, at most all of them.
            kernels: lengths of the convolutions, odd.
            filters: of each length.
            queries: questions that weigh the patches of a scan, each for a part of the width; they divide ``dim``.
            scans: how those of a specimen become one.
            blocks: the stack of attention blocks.

        Raises:
            ValueError: where the sizes do not fit each other or the axis.
        """
        super().__init__()
        name = "SpectralTransformer"
        check_sizes(name, {"dim": dim, "patch": patch, "filters": filters}, 0.0)
        check_queries(name, dim, queries)
        if dim % 2 or dim % blocks.heads:
            raise ValueError(f"{name}: dim is {dim}; choose an even width divisible by the {blocks.heads} heads")
        if patch > len(spec.axis):
            raise ValueError(f"{name}: patch is {patch}; choose from 1 to the {len(spec.axis)} points of the axis")
        if not kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
            raise ValueError(f"{name}: kernels is {list(kernels)}; choose odd lengths, which shift nothing")
        self.spec, self.dim, self.patch = spec, dim, patch
        self.centres = centres(spec, patch)
        self.scales = nn.ModuleList(nn.Conv1d(1, filters, kernel, padding=kernel // 2) for kernel in kernels)
        self.embed = nn.Conv1d(1 + filters * len(kernels), dim, patch, patch)
        # Begun as waves, so that neighbours are alike before anything is learned.
        self.places = nn.Parameter(_waves(self.centres, dim) * 0.5)
        self.blocks = nn.ModuleList(Block(dim, blocks) for _ in range(blocks.depth))
        self.norm = nn.LayerNorm(dim)
        self.pool = SpecimenPooling(dim, queries, scans)

    def forward(self, spectra: Spectra) -> Encoded:
        """Encode (B, S, W) into (B, ceil(W / patch), D) tokens and (B, D)."""
        scans = listed(spectra, self.spec)
        encoded: Encoded = self.pool(self._tokens(scans.values), scans)
        return encoded

    def attend(self, spectra: Spectra) -> dict[str, Tensor]:
        """Weights over ``scans`` (B, S) and over the ``axis`` (B, P), each 1 in sum for a row that has a scan."""
        scans = listed(spectra, self.spec)
        return self.pool.attend(self._tokens(scans.values), scans)

    def _tokens(self, values: Tensor) -> Tensor:
        """(N, W) -> (N, P, D)."""
        plain = values.unsqueeze(1)
        seen = torch.cat([plain, *(F.gelu(scale(plain)) for scale in self.scales)], 1)
        cut = self.embed(F.pad(seen, (0, -values.shape[1] % self.patch)))
        tokens: Tensor = cut.transpose(1, 2) + self.places.to(cut.dtype)
        for block in self.blocks:
            tokens = block(tokens, None)
        normal: Tensor = self.norm(tokens)
        return normal


@final
class SpectralConv(Encoder):
    """A residual network along the axis of each scan, attention pooling over the axis and over the scans.

    After He et al. (2016, arXiv 1512.03385). Normalisation looks at one scan alone, so no row sees another. The place
    on the axis stands beside the intensity as a second channel (Liu et al. 2018, arXiv 1807.03247), because a band
    means what it means by where it stands. A row without a scan has no token and an embedding of zeros.

    Attributes:
        centres: where on the axis each token stands.
    """

    reads: ClassVar = (SpectraSpec,)
    axis: Tensor

    def __init__(
        self,
        spec: SpectraSpec,
        /,
        *,
        dim: int = 128,
        width: int = 32,
        stages: int = 3,
        kernel: int = 7,
        norm: Norm = "group",
        dropout: float = 0.1,
        scans: Weighing = "attention",
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding.
            width: channels of the first stage; each stage doubles them.
            stages: residual blocks; each halves the axis once more, which the stem halved first.
            kernel: length of the convolutions, odd.
            norm: ``group`` takes mean and variance over a scan in groups of channels, ``layer`` over the channels of
                each point.
            dropout: share of the tokens' units dropped in training.
            scans: how those of a specimen become one.

        Raises:
            ValueError: where a size is under 1 or the kernel is even.
        """
        super().__init__()
        check_sizes("SpectralConv", {"dim": dim, "width": width, "stages": stages, "kernel": kernel}, dropout)
        if kernel % 2 == 0:
            raise ValueError(f"SpectralConv: kernel is {kernel}; choose an odd length, which shifts nothing")
        self.spec, self.dim = spec, dim
        self.centres = spec.axis[:: 2 ** (stages + 1)]
        self.register_buffer("axis", reach(spec.axis), persistent=False)
        self.stem = Convolution(2, width, kernel, 2, norm)
        widths = [width, *(width * 2**stage for stage in range(stages))]
        self.blocks = nn.ModuleList(Residual(inside, outside, kernel, 2, norm) for inside, outside in pairwise(widths))
        self.out = nn.Sequential(nn.Linear(widths[-1], dim), nn.LayerNorm(dim), nn.Dropout(dropout))
        self.pool = SpecimenPooling(dim, math.gcd(4, dim), scans)

    def forward(self, spectra: Spectra) -> Encoded:
        """Encode (B, S, W) into (B, P, D) tokens, P = W / 2^(stages + 1) rounded up, and (B, D)."""
        scans = listed(spectra, self.spec)
        encoded: Encoded = self.pool(self._tokens(scans.values), scans)
        return encoded

    def attend(self, spectra: Spectra) -> dict[str, Tensor]:
        """Weights over ``scans`` (B, S) and over the ``axis`` (B, P), each 1 in sum for a row that has a scan."""
        scans = listed(spectra, self.spec)
        return self.pool.attend(self._tokens(scans.values), scans)

    def _tokens(self, values: Tensor) -> Tensor:
        """(N, W) -> (N, P, D)."""
        placed = torch.stack([values, self.axis.to(values.dtype).expand_as(values)], 1)
        seen, _ = self.stem(placed, None)
        seen = F.gelu(seen)
        for block in self.blocks:
            seen, _ = block(seen, None)
        tokens: Tensor = self.out(seen.transpose(1, 2))
        return tokens


@final
class SpectralMLP(Encoder):
    """A perceptron over the whole axis of each scan, or a linear map: what few patients can carry.

    Its first layer is a sum over the points of the axis, so what it makes of a stretch of ``patch`` points by itself
    is a token of that stretch; the embedding of a scan comes from all of them together. Of a row without a scan there
    is no token and an embedding of zeros.

    Attributes:
        centres: where on the axis each token stands.
    """

    reads: ClassVar = (SpectraSpec,)

    def __init__(
        self,
        spec: SpectraSpec,
        /,
        *,
        dim: int = 64,
        hidden: int | None = 64,
        depth: int = 1,
        patch: int = 16,
        dropout: float = 0.2,
        points: float = 0.0,
        scans: Weighing = "attention",
    ) -> None:
        """Size the encoder.

        Args:
            spec: the modality.
            dim: width of tokens and embedding.
            hidden: width of the layers between; None for a linear map.
            depth: how many layers there are between.
            patch: points of the axis a token; changes nothing of the embedding.
            dropout: share of hidden units dropped in training.
            points: share of the points of the axis dropped in training.
            scans: how those of a specimen become one.

        Raises:
            ValueError: if a size is out of range.
        """
        super().__init__()
        inner = dim if hidden is None else hidden
        check_sizes("SpectralMLP", {"dim": dim, "hidden": inner, "depth": depth, "patch": patch}, max(dropout, points))
        self.spec, self.dim, self.patch = spec, dim, patch
        self.centres = centres(spec, patch)
        self.enter = nn.Linear(len(spec.axis), inner)
        widths = [inner] * depth + [dim]
        layers = [nn.Sequential(nn.GELU(), nn.Dropout(dropout), nn.Linear(*pair)) for pair in pairwise(widths)]
        self.leave = None if hidden is None else nn.Sequential(*layers)
        self.dropout = nn.Dropout(points)
        self.pool = ScanPooling(dim, scans)

    def forward(self, spectra: Spectra) -> Encoded:
        """Encode (B, S, W) into (B, ceil(W / patch), D) tokens and (B, D)."""
        scans = listed(spectra, self.spec)
        tokens, embedded = self._scans(scans.values)
        encoded: Encoded = self.pool(tokens, embedded, scans)
        return encoded

    def attend(self, spectra: Spectra) -> dict[str, Tensor]:
        """Weights over ``scans`` (B, S), 1 in sum for a row that has one; the axis is not weighed."""
        scans = listed(spectra, self.spec)
        return {"scans": self.pool.weights(self._scans(scans.values)[1], scans)}

    def _scans(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """(N, W) -> (N, P, D) and (N, D)."""
        beyond = (0, -values.shape[1] % self.patch)
        count = len(self.centres)
        cut = F.pad(self.dropout(values), beyond).view(values.shape[0], count, self.patch)
        weight = F.pad(self.enter.weight, beyond).view(-1, count, self.patch)
        parts = torch.einsum("npw,hpw->nph", cut, weight)
        whole, parts = parts.sum(1) + self.enter.bias, parts + self.enter.bias
        return (parts, whole) if self.leave is None else (self.leave(parts), self.leave(whole))


def _waves(places: Sequence[float], dim: int) -> Tensor:
    """(P, dim) sines and cosines (Vaswani et al. 2017) of places on an axis, evened to one a step on average."""
    place = (reach(places) + 1) / 2 * max(1, len(places) - 1)
    angle = place.unsqueeze(1) * torch.pow(10_000.0, -torch.arange(dim // 2) / (dim // 2))
    return torch.cat([angle.sin(), angle.cos()], 1)
