"""What objectives over pairs of modalities share: projections, similarities, who is whose positive, who is left out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoint import losses
from counterpoint.losses.gather import rank, world_size
from counterpoint.objectives.sequence_similarity import Comparison, SequenceSimilarity
from counterpoint.types import Batch, Encoded, ObjectiveSpec, Text, TextSpec

Shared = Literal["caption", "group", "label"]
NOBODY = -1
"""The key that is shared with no row."""
APART = 1e4
"""Logit that decides a question for good; its exponential is 0 beside any other."""


class Match(NamedTuple):
    """One pair of outputs of a batch, rows that have both sides.

    Attributes:
        names: of the outputs.
        a: one side, projected.
        b: the other side; row i belongs to row i.
        keys: (B,) int64 each; rows that share one are positives of each other.
        here: (B,) bool, rows that count; None where rows that do not are gone already.
        factor: what makes a mean over the rows of a rank one over those that count, over all ranks.
        candidates: rows that count over all ranks.
        left_out: share of the rows of all ranks that do not.
    """

    names: tuple[str, str]
    a: Encoded
    b: Encoded
    keys: list[Tensor]
    here: Tensor | None
    factor: float
    candidates: int
    left_out: float


class PairHead(nn.Module):
    """A linear projection an output into one space, as in CLIP, and the similarity there."""

    def __init__(
        self,
        owner: str,
        spec: ObjectiveSpec,
        pairs: Sequence[tuple[str, str]],
        width: int,
        similarity: SequenceSimilarity,
        positives: Sequence[Shared],
    ) -> None:
        super().__init__()
        names = list(dict.fromkeys(name for pair in pairs for name in pair))
        strange = [name for name in names if name not in spec.dims]
        if strange:
            raise ValueError(f"{owner}.pairs: there is no output {strange[0]!r}; there are {', '.join(spec.dims)}")
        if not pairs or len({frozenset(pair) for pair in pairs}) < len(pairs) or any(a == b for a, b in pairs):
            raise ValueError(f"{owner}.pairs is {[list(pair) for pair in pairs]}; give pairs of two outputs, each once")
        if width < 1:
            raise ValueError(f"{owner}: width is {width}; choose at least 1")
        self.owner, self.pairs = owner, tuple((first, second) for first, second in pairs)
        self.positives = tuple(dict.fromkeys(positives))
        self.texts = [name for name, one in spec.specs.items() if isinstance(one, TextSpec)]
        self.projections = nn.ModuleDict({name: nn.Linear(spec.dims[name], width, bias=False) for name in names})
        self.compare = Comparison(similarity)

    def project(self, encoded: dict[str, Encoded]) -> dict[str, Encoded]:
        """Those of the outputs that are compared, in the common space, tokens and embeddings of length 1."""
        found = {name: self._projected(name, encoded[name]) for name in self.projections if name in encoded}
        return {
            name: Encoded(F.normalize(part.tokens, dim=2), part.mask, F.normalize(part.pooled, dim=1))
            for name, part in found.items()
        }

    def matches(self, view: dict[str, Encoded], batch: Batch) -> list[Match]:
        """Every pair of outputs of a batch.

        Raises:
            ValueError: if no row of any rank has both sides of a pair.
        """
        projected = {name: self._projected(name, view[name]) for name in self.projections}
        keys = self._keys(batch)
        return [self._match(pair, projected[pair[0]], projected[pair[1]], keys) for pair in self.pairs]

    def similarities(self, match: Match) -> Tensor:
        """(B, N) of this rank's rows with the other side's of all ranks."""
        found: Tensor = self.compare(match.a, _gathered(match.b))
        return found

    def without(self, logits: Tensor, match: Match, own: float) -> Tensor:
        """Logits (B, N) that rows which do not count have no part in.

        What stands at such a row and its own pair is ``own``, at it and another ``-1e4``: its loss is 0, and so is
        what it adds to the losses of others.
        """
        if match.here is None:
            return logits
        everywhere = _gathered_flags(match.here)
        logits = logits.masked_fill(~(match.here.unsqueeze(1) & everywhere), -APART)
        gone = (~match.here).nonzero()[:, 0]
        logits[gone, gone + rank() * len(logits)] = own
        return logits

    def diagnose(self, match: Match) -> dict[str, Tensor]:
        """What tells whether the pairs of this process are told apart; NaN where it has none."""
        here = slice(None) if match.here is None else match.here
        a, b, keys = _some(match.a, here), _some(match.b, here), [key[here] for key in match.keys]
        if len(a.pooled) < 2:
            return {name: a.pooled.new_full((), math.nan) for name in losses.ContrastStats._fields}
        stats = losses.contrast_stats(a.pooled, b.pooled, exclude=keys)._asdict()
        if not self.compare.wants_tokens:
            return stats
        limit = slice(0, 128)
        scores = self.compare(_some(a, limit), _some(b, limit))
        apart = torch.ones_like(scores, dtype=torch.bool).fill_diagonal_(False)
        for key in keys:
            apart &= (key[limit].unsqueeze(1) != key[limit]) | (key[limit] == NOBODY)
        own, others = scores.diagonal(), scores[apart].mean()
        best = scores.masked_fill(~apart, -math.inf).amax(1)
        told = {
            "top1": (own > best).to(scores.dtype).mean(),
            "top1_chance": (1 / (apart.sum(1) + 1).to(scores.dtype)).mean(),
            "positive_similarity": own.mean(),
            "negative_similarity": others,
            "gap": own.mean() - others,
        }
        shares = {f"share_{name}": scores.new_tensor(share) for name, share in self.compare.weights().items()}
        return stats | told | (shares if len(shares) > 1 else {})

    def _projected(self, name: str, part: Encoded) -> Encoded:
        """Tokens and embedding in the common space; one token, the embedding, where it is enough."""
        project, mask = self.projections[name], part.mask
        present = mask.any(1, keepdim=True)
        # What is missing may hold anything.
        pooled = project(part.pooled.masked_fill(~present, 0.0))
        if not self.compare.wants_tokens:
            return Encoded(pooled.unsqueeze(1), present, pooled)
        return Encoded(project(part.tokens.masked_fill(~mask.unsqueeze(2), 0.0)), mask, pooled)

    def _match(self, names: tuple[str, str], a: Encoded, b: Encoded, keys: list[Tensor]) -> Match:
        sides = torch.stack([a.mask.any(1), b.mask.any(1)])
        here = sides.all(0)
        counts = torch.stack([*sides.sum(1), here.sum()])
        if world_size() > 1:
            dist.all_reduce(counts)
        first, second, both = counts.tolist()
        total = len(here) * world_size()
        if not both:
            lacking = [repr(name) for name, count in zip(names, (first, second), strict=True) if not count]
            said = " and no row has ".join(lacking) if lacking else f"both {names[0]!r} and {names[1]!r}"
            raise ValueError(
                f"{self.owner}: of the {total} rows of a batch no row has {said}, so there is nothing to compare; "
                "leave such recordings out, enlarge trainer.batch_size, or take the pair from objective.pairs"
            )
        left_out = 1 - both / total
        if both == total:
            return Match(names, a, b, keys, None, 1.0, both, left_out)
        if world_size() == 1:
            return Match(names, _some(a, here), _some(b, here), [key[here] for key in keys], None, 1.0, both, left_out)
        keys = [key.masked_fill(~here, NOBODY) for key in keys]
        return Match(names, a, b, keys, here, total / both, both, left_out)

    def _keys(self, batch: Batch) -> list[Tensor]:
        """Rows of one recording, and what else the settings call positives."""
        columns = {"group": batch.groups, "label": batch.labels}
        keys = [batch.ids, *(columns[name] for name in self.positives if name in columns)]
        if "caption" in self.positives:
            keys += [caption_keys(batch.views[0][name], batch.ids) for name in self.texts]  # type: ignore[arg-type]
        return keys


def caption_keys(text: Text, like: Tensor) -> Tensor:
    """(B,) int64 that are equal where sentences are, on any rank and in any run; -1 for rows without one."""
    numbers = [
        int.from_bytes(hashlib.blake2b(one.encode(), digest_size=8).digest(), "big") >> 1 if one.strip() else NOBODY
        for one in text.sentences
    ]
    return torch.tensor(numbers, dtype=torch.int64, device=like.device)


def positive_counts(match: Match) -> Tensor:
    """(B,) rows of all ranks that each row of this process shares a key with, itself among them."""
    offset = rank() * len(match.a.pooled)
    shared = torch.zeros(len(match.a.pooled), len(match.a.pooled) * world_size(), dtype=torch.bool)
    shared = shared.to(match.a.pooled.device)
    for own in match.keys:
        shared |= (own.unsqueeze(1) == losses.gather_rows(own)) & (own != NOBODY).unsqueeze(1)
    shared[torch.arange(len(shared)), torch.arange(len(shared)) + offset] = True
    return shared.sum(1)


def _some(rows: Encoded, which: slice | Tensor) -> Encoded:
    return Encoded(rows.tokens[which], rows.mask[which], rows.pooled[which])


def _gathered(rows: Encoded) -> Encoded:
    """Rows of all ranks, filled up to as many tokens as the longest of any."""
    if world_size() == 1:
        return rows
    longest = torch.tensor(rows.mask.shape[1], device=rows.mask.device)
    dist.all_reduce(longest, op=dist.ReduceOp.MAX)
    more = int(longest) - rows.mask.shape[1]
    tokens, mask = F.pad(rows.tokens, (0, 0, 0, more)), F.pad(rows.mask, (0, more))
    return Encoded(losses.gather_rows(tokens), _gathered_flags(mask), losses.gather_rows(rows.pooled))


def _gathered_flags(flags: Tensor) -> Tensor:
    """Of all ranks; gloo does not send booleans."""
    return losses.gather_rows(flags.to(torch.uint8)).bool()
