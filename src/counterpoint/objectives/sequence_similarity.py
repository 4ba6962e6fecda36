"""How alike two sequences of tokens are: five ways, each number of its two rows alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from counterpoint.types import Encoded

Kind = Literal["global", "local", "attention", "temporal", "combined"]

SINGLE = ("global", "local", "attention", "temporal")
"""What ``combined`` is made of, in the order of its weights."""

_NEVER = -1e30
"""Logarithm of the weight of a path that does not exist; finite, so that differences of two are 0 and not NaN."""


@dataclass(frozen=True, kw_only=True)
class SequenceSimilarity:
    """Which similarity of two sequences; all lie in [-1, 1], are symmetric and leave padding out.

    ``global`` is the cosine of the embeddings. The others are made of the cosines of tokens. ``local`` is late
    interaction (Khattab and Zaharia 2020, arXiv 2004.12832; both ways as FILIP, Yao et al. 2021, arXiv 2111.07783):
    each window of neighbouring tokens takes its best window of the other side, and both sides are averaged.
    ``attention`` lets each token attend to the tokens of the other side and compares it with what it found (Lee et al.
    2018, arXiv 1803.08024), averaged likewise. ``attention`` is blind to the order of the tokens, and so is ``local``
    with ``window: 1``; wider windows see which tokens are neighbours and nothing else of the order. ``temporal`` sees
    all of it: it is soft dynamic time warping (Cuturi and Blondel 2017, arXiv 1703.01541) of the costs 1 - cosine, see
    ``aligned``. ``combined`` is the weighted mean of the four.

    Args:
        kind: which of them.
        window: tokens of a window of ``local``, odd; 1 compares single tokens.
        sharpness: what cosines are multiplied by before the softmax of ``attention``.
        smoothing: of ``temporal``: towards 0 the best alignment alone counts, large values average over all.
        weights: of global, local, attention and temporal in ``combined``.
        weighting: whether these stay, or are what learning starts from.
        chunk: pairs of rows compared at a time, which bounds the memory and changes no value.
    """

    kind: Kind = "global"
    window: int = 3
    sharpness: float = 9.0
    smoothing: float = 0.1
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    weighting: Literal["fixed", "learned"] = "fixed"
    chunk: int = 4096

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0 or self.chunk < 1:
            raise ValueError(f"window is {self.window}, an odd number from 1; chunk is {self.chunk}, at least 1")
        if not min(self.sharpness, self.smoothing) > 0:
            raise ValueError(f"sharpness is {self.sharpness} and smoothing {self.smoothing}; both must be above 0")
        if min(self.weights) < 0 or not 0 < sum(self.weights) < math.inf:
            raise ValueError(f"weights is {list(self.weights)}; give numbers from 0, one of them above it")
        if self.weighting == "learned" and not min(self.weights) > 0:
            raise ValueError(f"weights is {list(self.weights)}; learned ones must start above 0, each of them")


class Tokens(NamedTuple):
    """Rows ready to be compared.

    Attributes:
        unit: (B, L, D) tokens of length 1, the real ones first and zeros behind them.
        windows: (B, L, D) directions of the sums of neighbouring tokens, likewise.
        real: (B, L) bool.
        pooled: (B, D) embeddings of length 1.
    """

    unit: Tensor
    windows: Tensor
    real: Tensor
    pooled: Tensor


class Comparison(nn.Module):
    """Similarities of all rows of one side with all rows of the other.

    Attributes:
        settings: which similarity.
        wants_tokens: whether it looks at tokens, or at embeddings alone.
    """

    def __init__(self, settings: SequenceSimilarity) -> None:
        """Hold the settings and, where they are learned, the weights."""
        super().__init__()
        self.settings = settings
        self.wants_tokens = settings.kind != "global"
        combined = settings.kind == "combined"
        logs = torch.tensor(settings.weights if combined else ()).log()
        self.logits = nn.Parameter(logs, requires_grad=combined and settings.weighting == "learned")

    def forward(self, a: Encoded, b: Encoded) -> Tensor:
        """(Na, Nb) similarities; 0 where a row has no token. Computed in float32 at least.

        Args:
            a: Na rows.
            b: Nb rows of the same width; the number of tokens may differ.
        """
        with torch.autocast(a.pooled.device.type, enabled=False):
            left, right = self._ready(a), self._ready(b)
            chunk, pairs = self.settings.chunk, len(left.real) * len(right.real)
            if pairs <= chunk:
                return self._compare(left, right)
            columns = min(len(right.real), chunk)
            blocks = (
                torch.cat([self._block(some, others) for others in _split(right, columns)], 1)
                for some in _split(left, chunk // columns)
            )
            return torch.cat(list(blocks))

    def weights(self) -> dict[str, float]:
        """Share of each similarity in ``combined``; the one there is otherwise."""
        if self.settings.kind != "combined":
            return {self.settings.kind: 1.0}
        return dict(zip(SINGLE, self.logits.detach().softmax(0).tolist(), strict=True))

    def _ready(self, rows: Encoded) -> Tokens:
        dtype = torch.promote_types(rows.pooled.dtype, torch.float32)
        pooled = F.normalize(rows.pooled.to(dtype), dim=1)
        if not self.wants_tokens:
            present = rows.mask.any(1, keepdim=True)
            none = pooled.new_zeros(len(pooled), 1, 0)
            return Tokens(none, none, present, pooled)
        order = rows.mask.int().argsort(dim=1, descending=True, stable=True)
        real = rows.mask.gather(1, order)
        tokens = rows.tokens.to(dtype).gather(1, order.unsqueeze(2).expand(-1, -1, rows.tokens.shape[2]))
        unit = F.normalize(tokens.masked_fill(~real.unsqueeze(2), 0.0), dim=2)
        size = self.settings.window
        sums = F.avg_pool1d(unit.transpose(1, 2), size, 1, size // 2).transpose(1, 2)
        return Tokens(unit, F.normalize(sums, dim=2).masked_fill(~real.unsqueeze(2), 0.0), real, pooled)

    def _block(self, a: Tokens, b: Tokens) -> Tensor:
        if torch.is_grad_enabled():
            # What lies between is computed again in the backward pass, or the memory would have no bound.
            found: Tensor = checkpoint(self._compare, a, b, use_reentrant=False)
            return found
        return self._compare(a, b)

    def _compare(self, a: Tokens, b: Tokens) -> Tensor:
        settings = self.settings
        ways: dict[str, Callable[[], Tensor]] = {
            "global": lambda: a.pooled @ b.pooled.t(),
            "local": lambda: late(_cosines(a.windows, b.windows), a.real, b.real),
            "attention": lambda: attended(a, b, settings.sharpness),
            "temporal": lambda: temporal(a, b, settings.smoothing),
        }
        if settings.kind == "combined":
            shares = self.logits.softmax(0).to(a.pooled.dtype)
            found = torch.stack([share * ways[name]() for share, name in zip(shares, SINGLE, strict=True)]).sum(0)
        else:
            found = ways[settings.kind]()
        return found.masked_fill(~(a.real.any(1).unsqueeze(1) & b.real.any(1)), 0.0)


def late(cosines: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """(Na, Nb): mean over the real elements of a row of their best cosine with the other row, mean of both ways.

    Args:
        cosines: (Na, Nb, L, M).
        first: (Na, L) which elements are real.
        second: (Nb, M) the same.
    """
    best = cosines.masked_fill(~second[None, :, None, :], -2.0).amax(3)
    back = cosines.masked_fill(~first[:, None, :, None], -2.0).amax(2)
    return (_mean(best, first[:, None]) + _mean(back, second[None])) / 2


def attended(a: Tokens, b: Tokens, sharpness: float) -> Tensor:
    """(Na, Nb): mean cosine of a token with what it finds in the other row by attention, mean of both ways."""
    cosines = _cosines(a.unit, b.unit)
    there = _found(cosines, b.unit @ b.unit.transpose(1, 2), b.real[None, :, None], sharpness)
    grams = (a.unit @ a.unit.transpose(1, 2)).unsqueeze(1)
    back = _found(cosines.transpose(2, 3), grams, a.real[:, None, None], sharpness)
    return (_mean(there, a.real[:, None]) + _mean(back, b.real[None])) / 2


def _found(cosines: Tensor, grams: Tensor, real: Tensor, sharpness: float) -> Tensor:
    """(Na, Nb, L) cosines of tokens with weighted sums of the other side's, by products of tokens alone.

    Args:
        cosines: (Na, Nb, L, M) of the tokens with those of the other side.
        grams: (Nb, M, M) or (Na, 1, M, M) products of the other side's tokens with each other.
        real: (1, Nb, 1, M) or (Na, 1, 1, M) which of those are real.
        sharpness: before the softmax.
    """
    weights = (sharpness * cosines).masked_fill(~real, torch.finfo(cosines.dtype).min).softmax(3)
    squared = ((weights @ grams) * weights).sum(3)
    return (weights * cosines).sum(3) * squared.clamp_min(1e-12).rsqrt()


def temporal(a: Tokens, b: Tokens, smoothing: float) -> Tensor:
    """(Na, Nb) scores of ``aligned``."""
    cosines = _cosines(a.unit, b.unit)
    lengths = [side.real.sum(1).clamp_min(1) for side in (a, b)]
    first = lengths[0].unsqueeze(1).expand(cosines.shape[:2]).flatten()
    second = lengths[1].unsqueeze(0).expand(cosines.shape[:2]).flatten()
    return aligned(cosines.flatten(0, 1), first, second, smoothing).view(cosines.shape[:2])


def aligned(cosines: Tensor, first: Tensor, second: Tensor, smoothing: float) -> Tensor:
    """Soft dynamic time warping of two sequences, as a similarity that is normalised by their lengths.

    A path goes from the pair of first elements to the pair of last ones by steps of one element in one sequence or in
    both; a step in both counts twice (Sakoe and Chiba 1978), so that the weights of every path are L + M in sum and its
    score is a mean of cosines. Over the paths p with scores s_p the result is ``g * log(mean_p exp((L + M) s_p / g)) /
    (L + M)``, with g the smoothing: soft-DTW of the costs 1 - cosine, taken from 1, less the logarithm of the number of
    paths, which depends on the lengths alone. It tends to the best path's mean for small g, and where all cosines are c
    it is c. The recursion goes over anti-diagonals, all pairs and all cells of one at a time.

    Args:
        cosines: (n, L, M) of a pair each; the real elements come first.
        first: (n,) how many of L are real, at least 1.
        second: (n,) how many of M are real, at least 1.
        smoothing: g > 0.

    Returns:
        (n,) scores in [-1, 1].
    """
    count, length, width = cosines.shape
    steps = length + width - 1
    # Row t is moved t places on: a column holds the cells of one anti-diagonal.
    scaled = F.pad(cosines / smoothing, (0, length)).flatten(1)[:, : length * steps].view(count, length, steps)
    never = cosines.new_full((count, 1), _NEVER)
    before, last = never.expand(count, length), never.expand(count, length)
    total, end, row = cosines.new_zeros(count), first + second - 2, (first - 1).unsqueeze(1)
    for step, gain in enumerate(scaled.unbind(2)):
        corner = torch.zeros_like(never) if step == 0 else never
        both = torch.cat([corner, before[:, :-1]], 1) + 2 * gain
        one = torch.logaddexp(torch.cat([never, last[:, :-1]], 1), last) + gain
        before, last = last, torch.logaddexp(both, one)
        total = torch.where(end == step, last.gather(1, row).squeeze(1), total)
    paths = _log_paths(length, width).to(cosines)[first - 1, second - 1]
    return smoothing * (total - paths) / (first + second).to(cosines.dtype)


@lru_cache(maxsize=64)
def _log_paths(length: int, width: int) -> Tensor:
    """(L, M) logarithms of the numbers of paths, which are Delannoy's."""
    line = [1] * width
    lines = [line]
    for _ in range(length - 1):
        following = [1]
        for column in range(1, width):
            following.append(following[-1] + line[column] + line[column - 1])
        lines.append(line := following)
    return torch.tensor([[math.log(number) for number in line] for line in lines], dtype=torch.float64)


def _cosines(first: Tensor, second: Tensor) -> Tensor:
    """(Na, Nb, L, M) products of (Na, L, D) and (Nb, M, D)."""
    products = first.flatten(0, 1) @ second.flatten(0, 1).t()
    return products.view(*first.shape[:2], *second.shape[:2]).transpose(1, 2)


def _mean(values: Tensor, real: Tensor) -> Tensor:
    """(Na, Nb) means of (Na, Nb, L) over where (Na or 1, Nb or 1, L) is True."""
    weights = real.to(values.dtype)
    return (values * weights).sum(2) / weights.sum(2).clamp_min(1.0)


def _split(side: Tokens, count: int) -> list[Tokens]:
    """Some rows at a time."""
    return [Tokens(*parts) for parts in zip(*(torch.split(part, count) for part in side), strict=True)]
