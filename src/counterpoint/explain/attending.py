"""What attention and gates weigh, by class: the mean over the test rows of the first cell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoint.data.base import Data, Rows
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.embed import device
from counterpoint.encoders.base import Encoder
from counterpoint.explain.tables import Axis
from counterpoint.fusion import Fusion
from counterpoint.model import Model
from counterpoint.recipe import Recipe, keep_features, load
from counterpoint.scores import cell_folder
from counterpoint.snapshot import read_json, write_json
from counterpoint.types import Encoded, Features, Modality, SpectraSpec, TableSpec, moved

GATES = "gates"
_BATCH = 64


class Look(NamedTuple):
    """How something weighs one modality.

    Attributes:
        asking: the modality that looks at it; "" where learned queries or a gate do.
        modality: what is weighed.
        weights: (B, Q, L), the mean over heads; of a gate (B, 1, 1).
        real: (B, L) which of them are of real tokens.
        asked: (B, Q) which of the queries are real.
        gate: whether the modality as a whole is weighed, against the others, and not its tokens.
    """

    asking: str
    modality: str
    weights: Tensor
    real: Tensor
    asked: Tensor
    gate: bool


def looks(fusion: Fusion, parts: dict[str, Encoded]) -> Iterator[Look]:
    """What a fusion weighs, in one form whatever the fusion.

    Raises:
        ValueError: for weights of a shape that is not known.
    """
    for name, values in fusion.attend(parts).items():
        asking, _, modality = name.rpartition(">")
        if name == GATES and values.ndim == 2:
            for i, (one, part) in enumerate(parts.items()):
                yield _gate(one, values[:, i], part)
        elif values.ndim == 1 and name in parts:
            yield _gate(name, values, parts[name])
        elif values.ndim == 4 and modality in parts and values.shape[-1] == parts[modality].mask.shape[1]:
            every = parts[modality].mask.new_ones(values.shape[0], values.shape[2])
            asked = parts[asking].mask if asking else every
            yield Look(asking, modality, values.mean(1), parts[modality].mask, asked, False)
        else:
            raise ValueError(
                f"{type(fusion).__name__}.attend returns {name!r} of the shape {tuple(values.shape)}; known are (B,), "
                "a gate, (B, M) gates, and (B, heads, queries, tokens) of a modality"
            )


def attended(recipe: Recipe, data: Data, folder: Path) -> dict[str, Any]:
    """Mean weights of encoders and fusion by class, over the test rows of the first cell; read where they stand.

    Args:
        recipe: of the run.
        data: its data.
        folder: of the run.

    Returns:
        A JSON-able dict: fold, seed, and ``weights``, a dict each with what (``scans of spectra``), kind, unit, places,
        columns and classes (name, rows, weights); empty where nothing weighs.
    """
    fold, seed = data.folds[0], recipe.seeds[0]
    cell = cell_folder(folder, fold, seed)
    path = cell / "attention.json"
    if path.is_file():
        found: dict[str, Any] = read_json(path)
        return found
    model, _ = load(cell, data, recipe)
    rows = data.evaluation(fold, "test")
    weighs = type(model.fusion).attend is not Fusion.attend and len(model.fused) > 1
    weighs = weighs or any(type(one).attend is not Encoder.attend for one in _encoders(model).values())
    known: dict[str, Any] = {}
    if weighs and len(rows):
        known = {"fold": fold, "seed": seed, "weights": _summed(model, keep_features(recipe, model, rows), data)}
    write_json(path, known)
    return known


class _Sums:
    """Weights added up by class, as long as the longest row."""

    def __init__(self, classes: int) -> None:
        # One more for rows without a label.
        self.total: NDArray[np.float64] = np.zeros((classes + 1, 0))
        self.rows = np.zeros(classes + 1)

    def add(self, weights: Tensor, present: Tensor, labels: Tensor) -> None:
        """Weights (B, L) of rows that are ``present`` (B,)."""
        found = weights.double().cpu().numpy()
        missing = found.shape[1] - self.total.shape[1]
        self.total = np.pad(self.total, ((0, 0), (0, max(0, missing))))
        for row in np.flatnonzero(present.cpu().numpy()):
            self.total[labels[row], : found.shape[1]] += found[row]
            self.rows[labels[row]] += 1


@torch.inference_mode()
def _summed(model: Model, rows: Rows, data: Data) -> list[dict[str, Any]]:
    place = device()
    model = model.to(place).eval()
    sums: dict[tuple[str, str, str], _Sums] = {}
    for batch in loader(rows, PassSampler(rows, batch_size=_BATCH)):
        view = {name: moved(modality, place) for name, modality in batch.views[0].items()}
        for key, weights, present in _weights(model, view):
            sums.setdefault(key, _Sums(len(data.classes))).add(weights, present, batch.labels)
    return [_shown(key, one, data) for key, one in sums.items()]


def _weights(model: Model, view: dict[str, Modality]) -> Iterator[tuple[tuple[str, str, str], Tensor, Tensor]]:
    """(what, asking, modality), weights (B, L), and which rows have the modality."""
    encoded = model(view)
    for name, encoder in _encoders(model).items():
        # What a frozen backbone made is read in place of the modality, and not weighed.
        if not isinstance(view[name], Features):
            for what, weights in encoder.attend(view[name]).items():
                yield (
                    (what, "", name),
                    weights.flatten(2).mean(2) if weights.ndim > 2 else weights,
                    encoded[name].mask.any(1),
                )
    if len(model.fused) > 1:
        for look in looks(model.fusion, {name: encoded[name] for name in model.fused}):
            asked = look.asked.to(look.weights.dtype).unsqueeze(2)
            mean = (look.weights * asked).sum(1) / asked.sum(1).clamp_min(1)
            present = look.asked.any(1) if look.gate else look.real.any(1) & look.asked.any(1)
            yield ("gate" if look.gate else "tokens", look.asking, look.modality), mean, present


def _shown(key: tuple[str, str, str], sums: _Sums, data: Data) -> dict[str, Any]:
    what, asking, modality = key
    where = _axis(what, data, modality, sums.total.shape[1])
    classes = [
        {"name": name, "rows": int(count), "weights": [float(w) for w in total / count]}
        for name, count, total in zip([*data.classes, "no label"], sums.rows, sums.total, strict=True)
        if count
    ]
    named = f"{what} of {modality}" + (f" as {asking} looks at them" if asking else "")
    known = {"what": named, "part": what, "modality": modality, "asking": asking, "unit": where.unit}
    return known | {"places": where.places.tolist(), "columns": list(where.columns), "classes": classes}


def _axis(what: str, data: Data, modality: str, count: int) -> Axis:
    """Where weights stand: patches of an axis at their middles, columns by name, anything else by number."""
    spec = data.specs[modality]
    if isinstance(spec, TableSpec) and count == len(spec.columns) and what in ("columns", "tokens"):
        return Axis(what, np.arange(count, dtype=np.float64), "", spec.columns)
    if isinstance(spec, SpectraSpec) and what in ("axis", "tokens"):
        points = np.linspace(0, len(spec.axis), count + 1)
        middles = (points[1:] + points[:-1] - 1) / 2
        return Axis(what, np.interp(middles, np.arange(len(spec.axis)), spec.axis).round(6), spec.unit, ())
    return Axis(what, np.arange(count, dtype=np.float64) + 1, "", ())


def _gate(modality: str, weights: Tensor, part: Encoded) -> Look:
    present = part.mask.any(1, keepdim=True)
    return Look("", modality, weights[:, None, None], present, torch.ones_like(present), True)


def _encoders(model: Model) -> dict[str, Encoder]:
    return {name: one for name, one in model.encoders.items() if isinstance(one, Encoder)}
