"""Scans of a batch in one list, so that one that was not made costs nothing, and their way back to a specimen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from counterpoint.types import Encoded, Spectra, SpectraSpec

Weighing = Literal["attention", "mean"]
"""How the scans of a specimen become one: learned weights, or all alike."""


class Scans(NamedTuple):
    """The scans of a batch, one under the other.

    Attributes:
        values: (N, W) float.
        places: (N,) int64, of each scan among the B x S of the batch; None where all of these are listed.
        mask: (B, S) bool, True = a scan was made.
    """

    values: Tensor
    places: Tensor | None
    mask: Tensor


def listed(spectra: Spectra, spec: SpectraSpec) -> Scans:
    """The scans that were made, N of them; while a graph is captured, which knows no such number, all B x S.

    Raises:
        ValueError: where the values are not (B, S, W) over the axis of ``spec``, or the mask is not of their scans.
    """
    values, mask = spectra.values, spectra.mask
    if values.ndim != 3 or values.shape[2] != len(spec.axis):
        raise ValueError(
            f"spectra have the shape {tuple(values.shape)}; the encoder was built for (rows, scans, {len(spec.axis)} "
            "points of the axis)"
        )
    if mask is not None and mask.shape != values.shape[:2]:
        raise ValueError(f"a mask of shape {tuple(mask.shape)} does not fit spectra {tuple(values.shape)}")
    if mask is None or torch.compiler.is_compiling():
        if mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        return Scans(values.masked_fill(~mask.unsqueeze(2), 0.0).flatten(0, 1), None, mask)
    places = mask.flatten().nonzero()[:, 0]
    return Scans(values.flatten(0, 1)[places], places, mask)


def centres(spec: SpectraSpec, patch: int) -> tuple[float, ...]:
    """Where on the axis each stretch of ``patch`` points has its mean; the last one may be shorter."""
    stretches = [spec.axis[first : first + patch] for first in range(0, len(spec.axis), patch)]
    return tuple(sum(points) / len(points) for points in stretches)


class ScanPooling(nn.Module):
    """The scans of a specimen weighed and added; the order they come in and those that are missing leave no trace.

    A score from the embedding of each scan and a softmax over those of the specimen, which is attention pooling of
    multiple instances (Ilse, Tomczak, Welling 2018, arXiv 1802.04712).
    """

    def __init__(self, dim: int, how: Weighing) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1)) if how == "attention" else None

    def forward(self, tokens: Tensor, embedded: Tensor, scans: Scans) -> Encoded:
        """Tokens (N, P, D) and embedding (N, D) of every scan -> those of the rows; 0 for a row without a scan."""
        weights = self.weights(embedded, scans)
        mask = scans.mask.any(1, keepdim=True).expand(-1, tokens.shape[1])
        return Encoded(mixed(tokens, weights, scans), mask, mixed(embedded, weights, scans))

    def weights(self, embedded: Tensor, scans: Scans) -> Tensor:
        """(B, S), 1 in sum over the scans of a row, 0 for those that are missing; float32 at least."""
        scores = embedded.new_zeros(embedded.shape[0]) if self.score is None else self.score(embedded).squeeze(1)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        least = torch.finfo(scores.dtype).min
        # A finite floor keeps a row without scans from 0 / 0.
        floored = laid(scores, scans).masked_fill(~scans.mask, least)
        weights: Tensor = floored.softmax(1).masked_fill(~scans.mask, 0.0)
        return weights


def laid(values: Tensor, scans: Scans) -> Tensor:
    """(N, ...) of every scan -> (B, S, ...), 0 where there is none."""
    rows, each = scans.mask.shape
    if scans.places is not None:
        values = values.new_zeros(rows * each, *values.shape[1:]).index_copy(0, scans.places, values)
    return values.reshape(rows, each, *values.shape[1:])


def mixed(values: Tensor, weights: Tensor, scans: Scans) -> Tensor:
    """(N, ...) of every scan -> (B, ...): the sum over the scans of each row, weighed by (B, S)."""
    return torch.einsum("bs,bs...->b...", weights.to(values.dtype), laid(values, scans))


class PatchPooling(nn.Module):
    """The patches of a scan weighed and added: several learned questions, each for a part of the width."""

    def __init__(self, dim: int, queries: int) -> None:
        super().__init__()
        self.queries = queries
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, queries))

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, P, D) -> (N, D)."""
        weights = self.weights(tokens).to(tokens.dtype)
        parts = tokens.reshape(*tokens.shape[:2], self.queries, tokens.shape[2] // self.queries)
        return torch.einsum("npq,npqd->nqd", weights, parts).flatten(1)

    def weights(self, tokens: Tensor) -> Tensor:
        """(N, P, queries), 1 in sum over the patches; float32 at least."""
        scores: Tensor = self.score(tokens)
        return scores.to(torch.promote_types(scores.dtype, torch.float32)).softmax(1)


class SpecimenPooling(nn.Module):
    """From the patches of every scan to a specimen: over the axis first, then over the scans."""

    def __init__(self, dim: int, queries: int, how: Weighing) -> None:
        super().__init__()
        self.patches, self.scans = PatchPooling(dim, queries), ScanPooling(dim, how)

    def forward(self, tokens: Tensor, scans: Scans) -> Encoded:
        """(N, P, D) -> (B, P, D) tokens, averaged over the scans of a row as they are weighed, and (B, D)."""
        encoded: Encoded = self.scans(tokens, self.patches(tokens), scans)
        return encoded

    def attend(self, tokens: Tensor, scans: Scans) -> dict[str, Tensor]:
        """Weights over the scans (B, S), and over the axis (B, P), the mean over questions and scans."""
        weights = self.scans.weights(self.patches(tokens), scans)
        return {"scans": weights, "axis": mixed(self.patches.weights(tokens).mean(2), weights, scans)}


def check_sizes(owner: str, sizes: dict[str, int], dropout: float) -> None:
    """Refuse what no spectral encoder can be built with.

    Raises:
        ValueError: if a size is under 1, or the dropout is no share.
    """
    small = [name for name, size in sizes.items() if size < 1]
    if small:
        raise ValueError(f"{owner}: {small[0]} is {sizes[small[0]]}; choose at least 1")
    if not 0 <= dropout < 1:
        raise ValueError(f"{owner}: dropout is {dropout}; choose from 0 to under 1")


def check_queries(owner: str, dim: int, queries: int) -> None:
    """Refuse questions that cannot share the width.

    Raises:
        ValueError: naming both.
    """
    if queries < 1 or dim % queries:
        raise ValueError(f"{owner}: queries is {queries}; choose a number that divides dim, {dim}")


def reach(axis: Sequence[float]) -> Tensor:
    """(W,) the axis brought to -1 ... 1; 0 where it has one point."""
    points = torch.tensor(axis, dtype=torch.float64)
    span = points[-1] - points[0]
    return (2 * (points - points[0]) / span - 1 if span > 0 else torch.zeros_like(points)).float()
