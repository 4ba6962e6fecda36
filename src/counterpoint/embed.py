"""From a trained model and evaluation rows to embeddings, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoint.data.base import Data, Draw, Rows
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.fusion import NothingPresentError
from counterpoint.memory import Heap
from counterpoint.model import FUSED, Model
from counterpoint.objectives import CrossEntropy, Objective
from counterpoint.types import Batch, Encoded, Modality, moved

Int = NDArray[np.int64]


class Subset(Rows):
    """Some rows of others, in a given order."""

    def __init__(self, rows: Rows, index: Int) -> None:
        """Take the rows ``index`` (m,) of ``rows``."""
        self.rows, self.index = rows, np.asarray(index, np.int64)
        self.labels, self.groups = rows.labels[self.index], rows.groups[self.index]
        self.domains, self.ids = rows.domains[self.index], rows.ids[self.index]
        self.metadata = rows.metadata[self.index]
        self.lengths = None if rows.lengths is None else rows.lengths[self.index]
        self.targets = None if rows.targets is None else rows.targets[self.index]

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read the rows behind the draws."""
        return self.rows.__getitems__([Draw(int(self.index[draw.row]), draw.key) for draw in draws])

    def content(self, modality: str) -> list[str]:
        """See ``Rows.content``."""
        content = self.rows.content(modality)
        return [content[row] for row in self.index.tolist()]

    def recorded(self, modality: str, rows: list[int]) -> Modality:
        """See ``Rows.recorded``."""
        return self.rows.recorded(modality, self.index[rows].tolist())

    def without(self, modalities: Sequence[str]) -> Rows:
        """See ``Rows.without``."""
        return Subset(self.rows.without(modalities), self.index)


def device() -> torch.device:
    """The accelerator, or the CPU where there is none."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def encode(model: Model, rows: Rows, batch_size: int, names: Sequence[str] = ()) -> Iterator[dict[str, Encoded]]:
    """Encode every row in order, a batch at a time, on the accelerator if there is one.

    Args:
        model: what was trained.
        rows: to encode.
        batch_size: rows at a time.
        names: of the recordings, for messages.

    Raises:
        ValueError: naming the recordings that have none of the modalities that are fused.
    """
    place = device()
    model = model.to(place).eval()
    heap = Heap()
    for batch in loader(rows, PassSampler(rows, batch_size=batch_size)):
        view = {name: moved(modality, place) for name, modality in batch.views[0].items()}
        try:
            with torch.inference_mode():
                encoded: dict[str, Encoded] = model(view)
        except NothingPresentError as error:
            lacking = [int(batch.ids[row]) for row in error.rows[:8]]
            told = ", ".join(names[row] if row < len(names) else str(row) for row in lacking)
            raise ValueError(f"no modality is present in {told}; leave such recordings out") from error
        yield encoded
        heap.tidy()


def embed(model: Model, data: Data, rows: Rows, batch_size: int = 256) -> Embeddings:
    """Embed every row.

    Args:
        model: what was trained.
        data: for the names of classes and recordings.
        rows: evaluation rows.
        batch_size: rows at a time; changes nothing but speed.
    """
    parts = [batch[FUSED].pooled.cpu() for batch in encode(model, rows, batch_size, data.names)]
    return _embeddings(torch.cat(parts), data, rows)


class Asked(NamedTuple):
    """What a model and its objective say of rows.

    Attributes:
        embeddings: of every row.
        probabilities: in the columns of embeddings; None where the objective predicts nothing.
        heads: (n, K) probabilities by head, NaN where a head knows nothing of a row.
        estimates: (n,) of the target, in its unit; None where the objective estimates nothing.
    """

    embeddings: Embeddings
    probabilities: Embeddings | None
    heads: dict[str, NDArray[np.float64]]
    estimates: NDArray[np.float64] | None = None


def ask(model: Model, objective: Objective, data: Data, rows: Rows, batch_size: int = 256) -> Asked:
    """Embed every row and, in the same pass, ask the objective and its heads for class probabilities and the target.

    Args:
        model: what was trained.
        objective: what it was trained with.
        data: for the names of classes and recordings.
        rows: evaluation rows.
        batch_size: rows at a time; changes nothing but speed.
    """
    objective = objective.to(device()).eval()
    parts, predicted, estimated = [], [], []
    heads: dict[str, list[NDArray[np.float64]]] = {}
    for batch in encode(model, rows, batch_size, data.names):
        parts.append(batch[FUSED].pooled.cpu())
        with torch.inference_mode():
            prediction, several = objective.predict(batch), objective.heads(batch)
            estimate = objective.estimate(batch)
        if prediction is not None:
            predicted.append(prediction.probabilities.cpu())
        if estimate is not None:
            estimated.append(estimate.cpu().double().numpy())
        for name, head in several.items():
            heads.setdefault(name, []).append(head.probabilities.cpu().double().numpy())
    probabilities = _embeddings(torch.cat(predicted), data, rows) if predicted else None
    found = {name: np.concatenate(values) for name, values in heads.items()}
    estimates = np.concatenate(estimated) if estimated else None
    return Asked(_embeddings(torch.cat(parts), data, rows), probabilities, found, estimates)


def embed_and_predict(
    model: Model, objective: Objective, data: Data, rows: Rows, batch_size: int = 256
) -> tuple[Embeddings, Embeddings | None]:
    """Embeddings and probabilities of ``ask``, without those of single heads."""
    found = ask(model, objective, data, rows, batch_size)
    return found.embeddings, found.probabilities


def predict(model: Model, classifier: CrossEntropy, data: Data, rows: Rows, batch_size: int = 256) -> Embeddings:
    """Class probabilities of every row, in the columns of embeddings."""
    _, probabilities = embed_and_predict(model, classifier, data, rows, batch_size)
    assert probabilities is not None
    return probabilities


def _embeddings(values: Tensor, data: Data, rows: Rows) -> Embeddings:
    return Embeddings(
        values=values.float().numpy(),
        labels=rows.labels,
        groups=rows.groups,
        domains=rows.domains,
        ids=rows.ids,
        classes=data.classes,
        names=data.names,
    )
