"""Classifiers of spectra and a table as plain modules of tensors, made of the encoders, fusions and objectives here."""

from __future__ import annotations

import logging
from abc import ABC
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from counterpoint.encoders.base import Encoder
from counterpoint.encoders.patch import Blocks
from counterpoint.encoders.spectral import SpectralConv, SpectralTransformer
from counterpoint.encoders.table import FeatureTokens
from counterpoint.fusion import CrossAttentionFusion, Fusion
from counterpoint.model import FUSED, Model, build_model
from counterpoint.objectives import CLIP, CrossEntropy, Objective, Term, WeightedSum
from counterpoint.types import (
    Batch,
    Encoded,
    Loss,
    Modality,
    ObjectiveSpec,
    Spec,
    Spectra,
    SpectraSpec,
    Table,
    TableSpec,
)

LOG = logging.getLogger("counterpoint")
SPECTRA, TABLE = "spectra", "table"
"""What the modalities are called in recipes, and in the names of weights."""


class Weights(NamedTuple):
    """What the parts of the loss count beside the head of the fused embedding, which counts 1; 0 leaves a part out.

    Attributes:
        spectra: the auxiliary head on the embedding of the spectra.
        table: the auxiliary head on that of the table.
        contrast: the two modalities of a row matched with each other (``CLIP``).
    """

    spectra: float = 0.3
    table: float = 0.3
    contrast: float = 0.1


PUBLISHED = Weights()
EIGHT_HEADS = Blocks(depth=2, heads=8, dropout=0.1)


class Classified(NamedTuple):
    """What a classifier makes of a batch; None where it has no such part.

    Attributes:
        logits: (B, K).
        embedding: (B, D), what the head reads.
        attention_weights: by direction, as ``Fusion.attend`` names them: ``spectra>table`` (B, heads, P, F). Without
            gradient and dropout.
        spec_embedding: (B, Ds), 0 in rows without a scan.
        tab_embedding: (B, Dt), 0 in rows that know no column.
        aux_logits_spec: (B, K) of the auxiliary head on the spectra.
        aux_logits_tab: (B, K) of that on the table.
        gates: (B, 2) weights of spectra and table, 1 in sum, 0 where one is missing.
    """

    logits: Tensor
    embedding: Tensor
    attention_weights: dict[str, Tensor] | None
    spec_embedding: Tensor
    tab_embedding: Tensor
    aux_logits_spec: Tensor | None
    aux_logits_tab: Tensor | None
    gates: Tensor | None


class Classifier(nn.Module, ABC):
    """Base of all classifiers of spectra beside a table.

    Attributes:
        model: encoders and fusion.
        objective: heads and losses.
    """

    model: Model
    objective: Objective

    def __init__(self, model: Model, objective: Objective) -> None:
        super().__init__()
        lacking = [name for name in (SPECTRA, TABLE) if name not in model.fused]
        if lacking or FUSED not in _heads(objective):
            raise ValueError(
                f"a classifier of spectra and a table needs both modalities in its embedding and a CrossEntropy on it; "
                f"the model fuses {', '.join(model.fused)}, and the objective is a {type(objective).__name__}"
            )
        self.model, self.objective = model, objective

    def forward(self, spectra: Tensor, mask: Tensor, tabular: Tensor) -> Classified:
        """Classify a batch.

        Args:
            spectra: (B, S, L) scans; what stands where ``mask`` is False does not matter.
            mask: (B, S) bool, True = a scan was made.
            tabular: (B, D) standardised numbers, and indices of levels; NaN is unknown. A row of NaN has no table.

        Raises:
            NothingPresentError: for rows that have neither.
        """
        encoded = self.model(_view(spectra, mask, tabular))
        heads = {name: head.logits(encoded) for name, head in _heads(self.objective).items()}
        with torch.no_grad():
            weights = self.model.fusion.attend({name: encoded[name] for name in self.model.fused})
        gates = weights.pop("gates", None)
        return Classified(
            heads[FUSED],
            encoded[FUSED].pooled,
            weights or None,
            encoded[SPECTRA].pooled,
            encoded[TABLE].pooled,
            heads.get(SPECTRA),
            heads.get(TABLE),
            gates,
        )

    def loss(self, spectra: Tensor, mask: Tensor, tabular: Tensor, labels: Tensor) -> Loss:
        """The weighted sum of all parts, and each of them in the log.

        The true pair of a row is its positive in the contrast between the modalities, all other rows are negatives.
        Where fewer than two rows of the batch have both modalities there is nothing to contrast, and the part is left
        out.

        Args:
            spectra: as ``forward``.
            mask: as ``forward``.
            tabular: as ``forward``.
            labels: (B,) int64, -1 where unknown.

        Raises:
            ValueError: if no row is labelled.
        """
        seen = set(labels[labels >= 0].tolist())
        if len(seen) == 1:
            LOG.warning("all labelled rows of a batch of %d are of class %d: enlarge the batch", len(labels), *seen)
        view = _view(spectra, mask, tabular)
        encoded: dict[str, Encoded] = self.model(view)
        rows = torch.arange(len(labels), device=labels.device)
        batch = Batch([view], labels, rows, torch.zeros_like(rows), rows)
        both = encoded[SPECTRA].mask.any(1) & encoded[TABLE].mask.any(1)
        found: Loss = (self.objective if int(both.sum()) > 1 else self._alone())([encoded], batch)
        return found

    def attend(self, spectra: Tensor, mask: Tensor, tabular: Tensor) -> dict[str, Tensor]:
        """What the encoders look at, by modality: ``spectra/scans`` (B, S), ``spectra/axis`` (B, P), ``table/columns``.

        Empty for encoders that do not weigh.
        """
        found = dict[str, Tensor]()
        with torch.no_grad():
            for name, part in _view(spectra, mask, tabular).items():
                encoder = self.model.encoders[name]
                assert isinstance(encoder, Encoder)
                found |= {f"{name}/{what}": weights for what, weights in encoder.attend(part).items()}
        return found

    def _alone(self) -> Objective:
        """What is left where rows cannot be compared: the heads, the first term of those built here."""
        whole = self.objective
        if not isinstance(whole, WeightedSum) or "heads" not in whole.terms:
            return whole
        parts: list[Objective] = list(whole.objectives)  # type: ignore[arg-type]
        return parts[0]


@final
class AttentionFusion(Classifier):
    """Any encoder of spectra and any of a table, fused by two-way cross-attention or as one likes.

    ``fusion=Concat`` puts the embeddings side by side; then there are neither attention weights nor gates.
    """

    def __init__(
        self,
        spectra: SpectraSpec,
        table: TableSpec,
        classes: tuple[str, ...],
        /,
        *,
        encoders: tuple[Callable[..., Encoder], Callable[..., Encoder]] = (SpectralConv, FeatureTokens),
        fusion: Callable[..., Fusion] = CrossAttentionFusion,
        weights: Weights = PUBLISHED,
    ) -> None:
        """Build the classifier.

        Args:
            spectra: what the data say of the spectra.
            table: what they say of the table.
            classes: their names, at least two.
            encoders: of the spectra, and of the table.
            fusion: of their tokens and embeddings.
            weights: of the parts of the loss.

        Raises:
            ValueError: as the parts; if there are fewer than two classes, or an encoder reads another modality.
        """
        super().__init__(*_built((spectra, table), classes, encoders, fusion, weights))


@final
class TFT(Classifier):
    """The Transformer over patches of the spectra and the tokens of the table's columns, each looking at the other.

    Convolutions of 3, 5 and 7 points, patches, attention over the axis and over the scans (``SpectralTransformer``); a
    token a column behind a gate that selects them (``FeatureTokens``, after Lim et al. 2021, arXiv 1912.09363); two-way
    cross-attention and gates over the modalities (``CrossAttentionFusion``).
    """

    def __init__(
        self,
        spectra: SpectraSpec,
        table: TableSpec,
        classes: tuple[str, ...],
        /,
        *,
        dim: int = 256,
        patch: int = 16,
        blocks: Blocks = EIGHT_HEADS,
        weights: Weights = PUBLISHED,
    ) -> None:
        """Build the classifier.

        Args:
            spectra: what the data say of the spectra.
            table: what they say of the table.
            classes: their names, at least two.
            dim: width of all tokens and embeddings, divisible by the heads.
            patch: points of the axis a token; an axis of fewer is one token.
            blocks: the attention of each encoder; its heads and dropout are those of the fusion too.
            weights: of the parts of the loss.

        Raises:
            ValueError: as the parts; if there are fewer than two classes.
        """
        patch = min(patch, len(spectra.axis))
        encoders = (
            partial(SpectralTransformer, dim=dim, patch=patch, queries=blocks.heads, blocks=blocks),
            partial(FeatureTokens, dim=dim, blocks=blocks),
        )
        fusion = partial(CrossAttentionFusion, dim=dim, heads=blocks.heads, dropout=blocks.dropout)
        super().__init__(*_built((spectra, table), classes, encoders, fusion, weights))


@final
class Trained(Classifier):
    """A model and an objective that were trained by a recipe: ``Trained(*recipe.load(cell, data, recipe))``.

    The recipe calls its modalities ``spectra`` and ``table`` and has a ``CrossEntropy`` on the fused embedding; a
    ValueError says so of any other.
    """


def _built(
    specs: tuple[SpectraSpec, TableSpec],
    classes: tuple[str, ...],
    encoders: tuple[Callable[..., Encoder], Callable[..., Encoder]],
    fusion: Callable[..., Fusion],
    weights: Weights,
) -> tuple[Model, Objective]:
    known: dict[str, Spec] = {SPECTRA: specs[0], TABLE: specs[1]}
    model = build_model(known, dict(zip((SPECTRA, TABLE), encoders, strict=True)), fusion)
    shares = {FUSED: 1.0, SPECTRA: weights.spectra, TABLE: weights.table}
    heads = {
        name: Term(objective=partial(CrossEntropy, modality=name), weight=share)
        for name, share in shares.items()
        if share
    }
    terms = {"heads": Term(objective=partial(WeightedSum, terms=heads))}
    if weights.contrast:
        contrast = partial(CLIP, pairs=[(SPECTRA, TABLE)], positives=())
        terms["contrast"] = Term(objective=contrast, weight=weights.contrast)
    spec = ObjectiveSpec(model.dims, model.latents, classes, known)
    return model, WeightedSum(spec, terms=terms)


def _view(spectra: Tensor, mask: Tensor, tabular: Tensor) -> dict[str, Modality]:
    return {SPECTRA: Spectra(spectra, mask.bool()), TABLE: Table(tabular, ~tabular.isnan())}


def _heads(objective: Objective) -> dict[str, CrossEntropy]:
    """The heads of an objective by what they read, the first where several read the same."""
    found = dict[str, CrossEntropy]()
    for part in objective.modules():
        if isinstance(part, CrossEntropy):
            found.setdefault(part.modality, part)
    return found
