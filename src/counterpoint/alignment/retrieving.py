"""Retrieval of a cell: the model, the model before training and linear maps of hand features on the same galleries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.alignment.outputs import Bool, Outputs, outputs, similarity_of
from counterpoint.data.base import Data, Rows
from counterpoint.data.hiding import Hidden
from counterpoint.embed import Subset
from counterpoint.evaluate.correlation import CCA, Features, features
from counterpoint.evaluate.gallery import Asked, Retrieved, load_retrieved, save_retrieved
from counterpoint.evaluate.results import Kind
from counterpoint.evaluate.retrieval import Retrieval, Similarity, cosine, of_vectors, part, stand
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.recipe import Recipe, build, keep_features, load
from counterpoint.types import UNLABELLED, Encoded, Text, TextSpec

Pair = tuple[str, str]


class Rival(NamedTuple):
    """An answer and what it looks at."""

    name: str
    kind: Kind
    similarity: Similarity


class Cell(NamedTuple):
    """Rows of the test split of a cell with what they are judged by."""

    recipe: Recipe
    data: Data
    fold: str
    seed: int
    rows: Rows


def judge_retrieval(recipe: Recipe, data: Data, fold: str, seed: int, cell: Path) -> list[Retrieved]:
    """Where the model, the model before training and linear maps of hand features find the right rows.

    Read from the cell where it stands there; none where the recipe does not ask.

    Args:
        recipe: the cell was trained with.
        data: its data.
        fold: its fold.
        seed: its seed.
        cell: its folder.
    """
    settings = recipe.evaluation.retrieval
    if settings is None or not len(data.evaluation(fold, "test")):
        return []
    path = standings_file(cell)
    if not path.is_file():
        own = Cell(recipe, data, fold, seed, data.evaluation(fold, "test"))
        found = _answers(own, settings, recipe.title, "model", *load(cell, data, recipe))
        found += _answers(own, settings, "untrained model", "baseline", *build(recipe, data, seed))
        found += _linear(own, settings, [one.asked for one in found if one.kind == "model"])
        save_retrieved(path, found)
    return load_retrieved(path)


def standings_file(cell: Path) -> Path:
    """Where a cell keeps where the right rows stood."""
    return cell / "retrieval" / "standings.parquet"


def _answers(
    cell: Cell, settings: Retrieval, name: str, kind: Kind, model: Model, objective: Objective
) -> list[Retrieved]:
    """What a model finds for every pair, with all modalities shown and with some."""
    rows = keep_features(cell.recipe, model, cell.rows)
    whole = outputs(model, objective, rows, cell.data.names)
    rival = Rival(name, kind, similarity_of(objective))
    found = []
    for pair in objective.pairs:
        found += _both_ways(cell, settings, rival, pair, "", whole)
    for names in settings.shown:
        hidden = [modality for modality in model.fused if modality not in names]
        pairs = [pair for pair in objective.pairs if FUSED in pair and not set(pair) & set(hidden)]
        having = np.flatnonzero(np.stack([whole.present[modality] for modality in names]).any(0))
        part_of = cell._replace(rows=Subset(cell.rows, having))
        seen = outputs(model, objective, Hidden(Subset(rows, having), hidden)) if pairs else whole
        for pair in pairs:
            found += _both_ways(part_of, settings, rival, pair, ", ".join(names), seen)
    return found


def _both_ways(cell: Cell, settings: Retrieval, rival: Rival, pair: Pair, shown: str, seen: Outputs) -> list[Retrieved]:
    """Where the right rows of one side stand for the other, and the reverse."""
    first, second = pair
    both = seen.present[first] & seen.present[second]
    if not both.any():
        raise ValueError(
            f"evaluation.retrieval: no test row of fold {cell.fold!r} has both {first} and {second}; nothing can be "
            "retrieved"
        )
    keys, asking = _keys(cell, settings, pair), _asking(both, settings)

    def there(a: Encoded, b: Encoded) -> torch.Tensor:
        return rival.similarity(a, b)

    def back(a: Encoded, b: Encoded) -> torch.Tensor:
        return rival.similarity(b, a).T

    found = []
    for (query, gallery), similarity in (((first, second), there), ((second, first), back)):
        store = asking if settings.gallery else np.flatnonzero(seen.present[gallery])
        asks, searched = (
            part(seen.sides[name], torch.from_numpy(at)) for name, at in ((query, asking), (gallery, store))
        )
        found.append(
            Retrieved(
                Asked(query, gallery, shown),
                rival.name,
                rival.kind,
                stand(asks, searched, similarity, keys[asking], keys[store]),
                cell.rows.groups[asking],
                cell.rows.ids[asking],
                left_out=int((~both).sum()),
                lacking=int((~seen.present[gallery]).sum()),
                different=len(np.unique(keys[store])),
                fold=cell.fold,
                seed=cell.seed,
            )
        )
    return found


def _asking(both: Bool, settings: Retrieval) -> NDArray[np.int64]:
    """Rows that ask: those with both sides, or a fixed choice of them."""
    rows = np.flatnonzero(both)
    if not settings.gallery:
        return rows
    return np.sort(np.random.default_rng(0).permutation(rows)[: settings.gallery])


def _keys(cell: Cell, settings: Retrieval, pair: Pair) -> NDArray[np.int64]:
    """(N,) what a row shares with the rows that are right for it; a number of its own where it shares nothing."""
    count = len(cell.rows)
    if settings.right == "class":
        return np.where(cell.rows.labels == UNLABELLED, np.arange(count) + len(cell.data.classes), cell.rows.labels)
    texts = [name for name in pair if isinstance(cell.data.specs.get(name), TextSpec)]
    if not texts:
        return np.arange(count)
    told = cell.rows.recorded(texts[0], list(range(count)))
    assert isinstance(told, Text)
    kinds = {sentence: index for index, sentence in enumerate(dict.fromkeys(one.strip() for one in told.sentences))}
    return np.array([kinds[sentence.strip()] for sentence in told.sentences], np.int64)


def _linear(cell: Cell, settings: Retrieval, asked: Sequence[Asked]) -> list[Retrieved]:
    """What canonical correlations of hand features find, fitted on the training rows; text has no such features."""
    recipe, data = cell.recipe, cell.data
    known: dict[str, dict[str, Features]] = {}
    found = []
    pairs = dict.fromkeys((one.query, one.gallery) for one in asked if not one.shown)
    for pair in [pair for place, pair in enumerate(pairs) if place % 2 == 0]:
        members = {name: list(recipe.fused or data.specs) if name == FUSED else [name] for name in pair}
        if any(isinstance(data.specs[one], TextSpec) for some in members.values() for one in some):
            continue
        for split in ("train", "test"):
            rows = cell.rows if split == "test" else data.evaluation(cell.fold, "train")
            for name in pair:
                if name not in known.setdefault(split, {}):
                    specs = {one: data.specs[one] for one in members[name]}
                    known[split][name] = features(rows, specs, data.classes, data.names)
        for kind, seen in _canonical(pair, known["train"], known["test"]):
            found += _both_ways(cell, settings, Rival(f"CCA of {kind}", "baseline", cosine), pair, "", seen)
    return found


def _canonical(pair: Pair, train: dict[str, Features], test: dict[str, Features]) -> Iterator[tuple[str, Outputs]]:
    """For every feature set that both sides have in train and test, the canonical variates of the test rows."""
    first, second = pair
    sides = [known[name] for known in (train, test) for name in pair]
    both = train[first].present & train[second].present
    for kind in [kind for kind in sides[0].sets if all(kind in side.sets for side in sides)]:
        fitted = CCA().fit(train[first].sets[kind][both], train[second].sets[kind][both])
        variates = fitted.project(test[first].sets[kind], test[second].sets[kind])
        vectors = {name: of_vectors(values) for name, values in zip(pair, variates, strict=True)}
        yield kind, Outputs(vectors, {name: test[name].present for name in pair})
