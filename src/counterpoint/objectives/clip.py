"""Modalities matched with each other: CLIP's softmax and SigLIP's sigmoid, over embeddings or sequences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, final

import torch
from torch import Tensor, nn

from counterpoint import losses
from counterpoint.losses import Exchange
from counterpoint.model import FUSED
from counterpoint.objectives.base import Objective
from counterpoint.objectives.pairs import APART, Match, PairHead, Shared, positive_counts
from counterpoint.objectives.sequence_similarity import SequenceSimilarity
from counterpoint.types import Batch, Encoded, Loss, ObjectiveSpec

WITH_TEXT = ((FUSED, "text"),)
COSINE = SequenceSimilarity()
MOST = 100.0
"""Largest scale, as in CLIP: a learned one cannot run away."""


@final
class CLIP(Objective):
    """Each row finds its own among the rows of the other modality, both ways (Radford et al. 2021, arXiv 2103.00020).

    Over all ranks, and over the mean of the losses where several pairs of modalities are compared. Rows of one
    recording, and what ``positives`` names, are positives of each other and not negatives. Rows that lack a side of a
    pair are left out of it, as candidates too, and their share is in the log.

    Cosines of random directions of width D have a standard deviation of 1 / sqrt(D), so with the defaults logits begin
    with one of 14.3 / 16 = 0.9 and the loss near ln N. Similarities of sequences are means of cosines and spread less
    (about 0.02 among random tokens); ``temperature`` may begin lower for them.
    """

    views = 1

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        pairs: Sequence[tuple[str, str]] = WITH_TEXT,
        width: int = 256,
        temperature: float = 0.07,
        tempering: Literal["fixed", "learned"] = "learned",
        similarity: SequenceSimilarity = COSINE,
        positives: Sequence[Shared] = ("caption",),
    ) -> None:
        """Build projections and temperature.

        Args:
            spec: what the model returns, and which modalities are sentences.
            pairs: outputs of the model that are matched: names of modalities, or ``fused``.
            width: of the space they are compared in.
            temperature: what similarities are divided by, at least 0.01.
            tempering: whether the temperature stays or is what learning starts from.
            similarity: of two rows there.
            positives: what rows share that are positives of each other: a caption word for word, a group, a label.

        Raises:
            ValueError: if the model has no such output, or a setting is out of range.
        """
        super().__init__()
        self.head = PairHead("CLIP", spec, pairs, width, similarity, positives)
        self.pairs = self.head.pairs
        self.log_scale = _log_scale("CLIP", temperature)
        self.log_scale.requires_grad_(tempering == "learned")

    def scale(self) -> Tensor:
        """1 / temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(MOST)).exp()

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Mean of the losses of all pairs, of the first view."""
        return _averaged(self.head.matches(views[0], batch), self._loss)

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """Contrastive statistics, the temperature, and the loss of equal similarities: ln N, N over all ranks."""
        found = _merged(self.head, views, batch, lambda match: torch.tensor(float(match.candidates)).log())
        return found | {"temperature": 1 / self.scale().detach()}

    def project(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        return self.head.project(encoded)

    def similarity(self, a: Encoded, b: Encoded) -> Tensor:
        found: Tensor = self.head.compare(a, b)
        return found

    def _loss(self, match: Match) -> Tensor:
        if match.here is None and not self.head.compare.wants_tokens:
            return losses.clip(match.a.pooled, match.b.pooled, self.scale(), positives=match.keys)
        logits = self.head.without(self.scale() * self.head.similarities(match), match, 0.0)
        return match.factor * losses.clip_from_logits(logits, positives=match.keys)


@final
class SigLIP(Objective):
    """Whether two rows belong together, asked of every pair of rows by itself (Zhai et al. 2023, arXiv 2303.15343).

    ``-sum log sigmoid(y (t s + b)) / N`` with y = +1 on pairs and positives and -1 elsewhere; t and b are learned from
    ln t = ln 10 and b = -10 on, so that the many negatives do not outweigh the pairs at first: the loss begins near 10.
    Who is whose positive and which rows are left out is as in ``CLIP``.
    """

    views = 1

    def __init__(
        self,
        spec: ObjectiveSpec,
        /,
        *,
        pairs: Sequence[tuple[str, str]] = WITH_TEXT,
        width: int = 256,
        temperature: float = 0.1,
        bias: float = -10.0,
        similarity: SequenceSimilarity = COSINE,
        positives: Sequence[Shared] = ("caption",),
        exchange: Exchange = "gather",
    ) -> None:
        """Build projections, temperature and bias.

        Args:
            spec: what the model returns, and which modalities are sentences.
            pairs: outputs of the model that are matched: names of modalities, or ``fused``.
            width: of the space they are compared in.
            temperature: 1 / t that learning starts from, at least 0.01.
            bias: b that learning starts from.
            similarity: of two rows there.
            positives: what rows share that are positives of each other: a caption word for word, a group, a label.
            exchange: how rows reach the other ranks: all at once, or round a ring that bounds the memory. Sequences,
                and batches in which rows lack a side, are gathered.

        Raises:
            ValueError: if the model has no such output, or a setting is out of range.
        """
        super().__init__()
        self.head = PairHead("SigLIP", spec, pairs, width, similarity, positives)
        self.pairs = self.head.pairs
        self.log_scale = _log_scale("SigLIP", temperature)
        self.bias = nn.Parameter(torch.tensor(float(bias)))
        self.exchange: Exchange = exchange

    def scale(self) -> Tensor:
        """1 / temperature, at most 100."""
        return self.log_scale.clamp(max=math.log(MOST)).exp()

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        """Mean of the losses of all pairs, of the first view."""
        return _averaged(self.head.matches(views[0], batch), self._loss)

    def diagnose(self, views: list[dict[str, Encoded]], batch: Batch) -> dict[str, Tensor]:
        """Contrastive statistics, temperature, bias, and the least loss of equal similarities.

        That is N H(p / N), with N rows over all ranks, p positives of a row and H the entropy: about 1 + ln N for one.
        """
        found = _merged(self.head, views, batch, _undecided)
        return found | {"temperature": 1 / self.scale().detach(), "bias": self.bias.detach()}

    def project(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        return self.head.project(encoded)

    def similarity(self, a: Encoded, b: Encoded) -> Tensor:
        found: Tensor = self.head.compare(a, b)
        return found

    def _loss(self, match: Match) -> Tensor:
        if match.here is None and not self.head.compare.wants_tokens:
            a, b = match.a.pooled, match.b.pooled
            return losses.siglip(a, b, self.scale(), self.bias, positives=match.keys, exchange=self.exchange)
        logits = self.scale() * self.head.similarities(match) + self.bias
        logits = self.head.without(logits, match, APART)
        return match.factor * losses.siglip_from_logits(logits, positives=match.keys)


def _log_scale(owner: str, temperature: float) -> nn.Parameter:
    if not 1 / MOST <= temperature < math.inf:
        raise ValueError(f"{owner}: temperature is {temperature}; choose at least {1 / MOST} (0.07 is usual)")
    return nn.Parameter(torch.tensor(math.log(1 / temperature)))


def _undecided(match: Match) -> Tensor:
    share = positive_counts(match).double().mean() / match.candidates
    entropy: Tensor = torch.special.entr(share) + torch.special.entr(1 - share)
    return match.candidates * entropy


def _averaged(matches: Sequence[Match], loss: Callable[[Match], Tensor]) -> Loss:
    """Mean of the losses of pairs; each by itself in the log where there are several."""
    values = [loss(match) for match in matches]
    value = torch.stack(values).mean()
    shares = [value.new_tensor(match.left_out) for match in matches]
    logs = {"loss": value.detach(), "left_out": torch.stack(shares).mean()}
    if len(matches) > 1:
        for match, one, share in zip(matches, values, shares, strict=True):
            name = "-".join(match.names)
            logs |= {f"{name}/loss": one.detach(), f"{name}/left_out": share}
    return Loss(value, logs)


def _merged(
    head: PairHead, views: Sequence[dict[str, Encoded]], batch: Batch, collapse: Callable[[Match], Tensor]
) -> dict[str, Tensor]:
    """Statistics of pairs, their mean where there are several, and those of each under its name."""
    said = {}
    for match in head.matches(views[0], batch):
        found = head.diagnose(match)
        said["-".join(match.names)] = found | {"collapse": collapse(match).to(match.a.pooled)}
    names = next(iter(said.values()))
    merged = {name: torch.stack([found[name] for found in said.values()]).mean() for name in names}
    if len(said) > 1:
        merged |= {f"{pair}/{name}": found[name] for pair, found in said.items() for name in names}
    return merged
