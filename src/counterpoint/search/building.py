"""Writing of an index: the gallery as the objective compares it, small pictures, and light encoders for questions."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from counterpoint.alignment.outputs import outputs, similarity_of
from counterpoint.data.base import Data, Rows
from counterpoint.data.radar.data import RadarClips
from counterpoint.data.radar.single import Reading
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.embed import Subset, device
from counterpoint.evaluate.retrieval import cosine, part
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.recipe import Recipe, keep_features, load
from counterpoint.search.exporting import export_clips, export_text
from counterpoint.search.index import (
    COSINE,
    FACTS,
    FOLDER,
    LENGTHS,
    NEIGHBOURS,
    PICTURES,
    ROWS,
    TOKENS,
    VECTORS,
    VERSION,
)
from counterpoint.search.towers import CLIP, TEXT
from counterpoint.types import Encoded, Images, Modality, Signal, Text, TextSpec

LOG = logging.getLogger("counterpoint")
_HEIGHT, _WIDTH = 48, 64
_NEIGHBOURS = 50
_PROBED = 16
"""Rows by which it is found out whether the similarity is a cosine."""


class Sides(NamedTuple):
    """What the gallery is of, and which text asks for it; "" where none does."""

    gallery: str
    text: str


def build_index(recipe: Recipe, data: Data, folder: Path) -> None:
    """Write the index of a run, of the test rows of its first cell; nothing where the recipe asks for no retrieval.

    Args:
        recipe: of the run.
        data: its data.
        folder: the run folder.
    """
    fold, seed = data.folds[0], recipe.seeds[0]
    if recipe.evaluation.retrieval is None or not len(data.evaluation(fold, "test")):
        return
    cell = Path("cells") / f"{fold}-seed{seed}"
    model, objective = load(folder / cell, data, recipe)
    sides = sides_of(objective, data)
    rows = keep_features(recipe, model, data.evaluation(fold, "test"))
    seen = outputs(model, objective, rows, data.names)
    having = np.flatnonzero(seen.present[sides.gallery])
    gallery = part(seen.sides[sides.gallery], torch.from_numpy(having))
    scratch = folder / f"{FOLDER}.tmp"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    source = Subset(data.evaluation(fold, "test"), having)
    views = _write_rows(scratch, source, data, model, sides)
    facts: dict[str, Any] = {
        "version": VERSION,
        "cell": str(cell),
        "side": sides.gallery,
        "text": sides.text,
        "views": views,
    }
    asking = [name for name in sides if name]
    few = [part(seen.sides[n], torch.from_numpy(np.flatnonzero(seen.present[n])[:_PROBED])) for n in asking]
    facts |= _write_gallery(scratch, gallery, objective, few)
    facts |= _write_encoders(scratch, model, objective, data, fold, sides, source, facts["similarity"])
    (scratch / FACTS).write_text(json.dumps(facts, indent=1), encoding="utf-8")
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
    scratch.rename(folder / FOLDER)


def sides_of(objective: Objective, data: Data) -> Sides:
    """The embedding where the objective compares it, else what it compares with text, else its first output."""
    pairs = sorted(objective.pairs, key=lambda pair: FUSED not in pair)
    for pair in pairs:
        texts = [name for name in pair if isinstance(data.specs.get(name), TextSpec)]
        if texts:
            return Sides(next(name for name in pair if name != texts[0]), texts[0])
    return Sides(FUSED if FUSED in pairs[0] else pairs[0][0], "")


def _write_rows(folder: Path, rows: Rows, data: Data, model: Model, sides: Sides) -> list[str]:
    """Names, sentences and classes, and small pictures of the views, whose names are returned."""
    shown = list(model.fused) if sides.gallery == FUSED else [sides.gallery]
    captions, pictures = [""] * len(rows), list[NDArray[np.uint8]]()
    names = [name for name in shown if not isinstance(data.specs[name], TextSpec)]
    for batch in loader(rows, PassSampler(rows, batch_size=64)):
        view = batch.views[0]
        parts = [_small(view[name]) for name in names]
        pictures.append(np.stack([one for one in parts if one is not None], 1) if parts else _none(len(batch.ids)))
        names = [name for name, one in zip(names, parts, strict=True) if one is not None]
    if sides.text:
        told = rows.recorded(sides.text, list(range(len(rows))))
        captions = list(told.sentences) if isinstance(told, Text) else captions
    labels = [data.classes[label] if label >= 0 else "" for label in rows.labels.tolist()]
    known = [[data.names[i], caption, label] for i, caption, label in zip(rows.ids, captions, labels, strict=True)]
    (folder / ROWS).write_text(json.dumps(known), encoding="utf-8")
    np.save(folder / PICTURES, np.concatenate(pictures))
    return names


def _none(rows: int) -> NDArray[np.uint8]:
    return np.zeros((rows, 0, _HEIGHT, _WIDTH), np.uint8)


def _small(modality: Modality) -> NDArray[np.uint8] | None:
    """(B, H, W) of a signal, channels upwards over time, each row from its least to its largest; of the first picture.

    None of what has no picture.
    """
    if isinstance(modality, Images):
        grey = modality.values[:, 0].float().mean(1, keepdim=True)
        return F.adaptive_avg_pool2d(grey, (_HEIGHT, _WIDTH))[:, 0].to(torch.uint8).numpy()
    if not isinstance(modality, Signal):
        return None
    found = np.zeros((len(modality.values), _HEIGHT, _WIDTH), np.uint8)
    for row, values in enumerate(modality.values):
        real = values if modality.mask is None else values[modality.mask[row]]
        if len(real):
            picture = F.adaptive_avg_pool2d(real.T.flip(0).unsqueeze(0), (_HEIGHT, _WIDTH))[0]
            low, high = picture.quantile(0.01), picture.quantile(0.995)
            found[row] = (255 * ((picture - low) / (high - low).clamp_min(1e-9)).clamp(0, 1)).to(torch.uint8).numpy()
    return found


def _write_gallery(folder: Path, gallery: Encoded, objective: Objective, few: Sequence[Encoded]) -> dict[str, Any]:
    """Embeddings; where sequences are compared, these too, and the nearest rows of each row.

    Args:
        folder: of the index.
        gallery: its rows.
        objective: that compares.
        few: some rows of each side that may ask.
    """
    vectors = F.normalize(gallery.pooled, dim=1)
    np.save(folder / VECTORS, vectors.numpy().astype(np.float32))
    compare = similarity_of(objective.to(device()).eval())
    with torch.inference_mode():
        apart = [float((compare(few[0], one).float().cpu() - cosine(few[0], one)).abs().max()) for one in few]
    if max(apart) < 1e-4:
        return {"similarity": COSINE}
    np.save(folder / TOKENS, gallery.tokens.numpy().astype(np.float16))
    np.save(folder / LENGTHS, gallery.mask.sum(1).numpy())
    np.save(folder / NEIGHBOURS, _nearest(gallery, objective))
    return {"similarity": "sequences"}


def _nearest(gallery: Encoded, objective: Objective) -> NDArray[np.float32]:
    """(N, K, 2) the K rows most similar to each row, itself left out, and their similarities."""
    compare, found = similarity_of(objective), []
    count = len(gallery.pooled)
    with torch.inference_mode():
        for start in range(0, count, 64):
            scores = compare(part(gallery, slice(start, start + 64)), gallery).float().cpu()
            scores[torch.arange(len(scores)), torch.arange(start, start + len(scores))] = -torch.inf
            best = scores.topk(min(_NEIGHBOURS, count - 1), dim=1)
            found.append(torch.stack([best.indices.float(), best.values], 2).numpy())
    return np.concatenate(found)


def _write_encoders(
    folder: Path, model: Model, objective: Objective, data: Data, fold: str, sides: Sides, rows: Rows, similarity: str
) -> dict[str, Any]:
    """Light encoders as far as they can be had; what is missing is told with its reason."""
    missing = {}
    known = [row[1] for row in json.loads((folder / ROWS).read_text(encoding="utf-8"))]
    if sides.text and similarity == COSINE:
        missing[TEXT] = export_text(folder, model, objective, sides.text, [one for one in known if one][:8])
    reading = isinstance(data, RadarClips)
    facts: dict[str, Any] = {"reading": reading, "not_read": "", "missing": missing}
    if not isinstance(data, RadarClips):
        return facts | {"not_read": f"{type(data).__name__} does not read single files; ask with an id of the index"}
    Reading.of(data, fold).save(folder)
    if similarity == COSINE:
        missing[CLIP] = export_clips(folder, model, objective, sides.gallery, data, rows)
    for name, reason in missing.items():
        if reason:
            LOG.info("search: no %s, so the model itself is asked, which is slow: %s", name, reason)
    return facts
