"""Outputs of a model in the space in which its objective compares them, whatever the rows lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.data.base import Data, Rows
from counterpoint.embed import device, encode
from counterpoint.evaluate.retrieval import Similarity, joined
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.types import Encoded, Text, TextSpec, moved

Bool = NDArray[np.bool_]
_BATCH = 256


class Outputs(NamedTuple):
    """Projected outputs of rows, and which rows have what.

    Attributes:
        sides: N rows of each output that the objective compares.
        present: (N,) which rows have each output of the model.
    """

    sides: dict[str, Encoded]
    present: dict[str, Bool]


def outputs(model: Model, objective: Objective, rows: Rows, names: Sequence[str] = ()) -> Outputs:
    """Encode every row and project what the objective compares.

    Args:
        model: what was trained.
        objective: what it was trained with.
        rows: evaluation rows.
        names: of the recordings, for messages.
    """
    objective = objective.to(device()).eval()
    parts: dict[str, list[Encoded]] = {}
    present: dict[str, list[Bool]] = {}
    for encoded in encode(model, rows, _BATCH, names):
        with torch.inference_mode():
            projected = objective.project(encoded)
        for name, one in projected.items():
            parts.setdefault(name, []).append(joined([one]))
        for name, one in encoded.items():
            present.setdefault(name, []).append(one.mask.any(1).cpu().numpy())
    return Outputs(
        {name: joined(some) for name, some in parts.items()},
        {name: np.concatenate(some) for name, some in present.items()},
    )


def similarity_of(objective: Objective) -> Similarity:
    """The objective's own, on the device it is on."""
    place = next(iter(objective.parameters()), torch.empty(0)).device

    def similarity(a: Encoded, b: Encoded) -> torch.Tensor:
        a, b = (Encoded(side.tokens.to(place), side.mask.to(place), side.pooled.to(place)) for side in (a, b))
        return objective.similarity(a, b)

    return similarity


def told(model: Model, objective: Objective, text: str, sentences: Sequence[str]) -> Encoded:
    """Sentences in the space in which the objective compares them.

    Args:
        model: with an encoder of text.
        objective: with a pair of it.
        text: the modality.
        sentences: to encode.
    """
    place = device()
    encoder, objective = model.encoders[text].to(place).eval(), objective.to(place).eval()
    with torch.inference_mode():
        encoded: Encoded = encoder(moved(Text(tuple(sentences)), place))
        beside = {name: _absent(len(sentences), model.dims[name], place) for pair in objective.pairs for name in pair}
        return joined([objective.project(beside | {text: encoded})[text]])


def text_pair(objective: Objective, data: Data) -> tuple[str, str, bool]:
    """The text of the objective, what it is compared with (the embedding, if it is), and whether the text is first.

    Raises:
        ValueError: if no pair has a text.
    """
    pairs = sorted(objective.pairs, key=lambda pair: FUSED not in pair)
    for pair in pairs:
        for place, name in enumerate(pair):
            if isinstance(data.specs.get(name), TextSpec):
                return name, pair[1 - place], place == 0
    raise ValueError(
        f"evaluation.zero_shot: {type(objective).__name__} compares no text with anything, its pairs are "
        f"{list(objective.pairs)}; add a pair such as [fused, text], or leave zero_shot out"
    )


def _absent(count: int, width: int, place: torch.device) -> Encoded:
    """Rows that lack an output."""
    none = torch.zeros(count, 1, width, device=place)
    return Encoded(none, torch.zeros(count, 1, dtype=torch.bool, device=place), none[:, 0])
