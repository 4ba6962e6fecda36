"""From a trained model and evaluation rows to embeddings, a batch at a time."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoint.data.base import Data, Draw, Rows
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.model import FUSED, Model
from counterpoint.objectives import CrossEntropy
from counterpoint.types import Batch, Encoded, Signal

Int = NDArray[np.int64]


class Subset(Rows):
    """Some rows of others, in a given order."""

    def __init__(self, rows: Rows, index: Int) -> None:
        """Take the rows ``index`` (m,) of ``rows``."""
        self.rows, self.index = rows, np.asarray(index, np.int64)
        self.labels, self.groups = rows.labels[self.index], rows.groups[self.index]
        self.domains, self.ids = rows.domains[self.index], rows.ids[self.index]
        self.metadata = rows.metadata[self.index]

    def __getitems__(self, draws: list[Draw]) -> Batch:
        """Read the rows behind the draws."""
        return self.rows.__getitems__([Draw(int(self.index[draw.row]), draw.key) for draw in draws])


def device() -> torch.device:
    """The accelerator, or the CPU where there is none."""
    return torch.accelerator.current_accelerator() or torch.device("cpu")


def encode(model: Model, rows: Rows, batch_size: int) -> list[dict[str, Encoded]]:
    """Encode every row in order, on the accelerator if there is one; results come back to the CPU."""
    place = device()
    model = model.to(place).eval()
    encoded = []
    with torch.inference_mode():
        for batch in loader(rows, PassSampler(rows, batch_size=batch_size)):
            view = {name: _to(signal, place) for name, signal in batch.views[0].items()}
            encoded.append({name: _pooled(part) for name, part in model(view).items()})
    return encoded


def embed(model: Model, data: Data, rows: Rows, batch_size: int = 256) -> Embeddings:
    """Embed every row.

    Args:
        model: what was trained.
        data: for the names of classes and recordings.
        rows: evaluation rows.
        batch_size: rows at a time; changes nothing but speed.
    """
    parts = [batch[FUSED].pooled for batch in encode(model, rows, batch_size)]
    return _embeddings(torch.cat(parts), data, rows)


def predict(model: Model, classifier: CrossEntropy, data: Data, rows: Rows, batch_size: int = 256) -> Embeddings:
    """Class probabilities of every row, in the columns of embeddings."""
    classifier = classifier.cpu().eval()
    with torch.inference_mode():
        parts = [classifier.predict(batch).probabilities for batch in encode(model, rows, batch_size)]
    return _embeddings(torch.cat(parts), data, rows)


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


def _to(signal: Signal, place: torch.device) -> Signal:
    return Signal(*(None if part is None else part.to(place) for part in signal))  # type: ignore[arg-type]


def _pooled(encoded: Encoded) -> Encoded:
    """Without the tokens, which would fill the memory of a long pass."""
    return Encoded(encoded.tokens[:, :0].cpu(), encoded.mask[:, :0].cpu(), encoded.pooled.cpu())
