"""Questions that the model itself has to answer: sequences, encoders that were not exported, ONNX Runtime missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoint.alignment.outputs import similarity_of, told
from counterpoint.embed import device
from counterpoint.evaluate.retrieval import part
from counterpoint.recipe import load, of_run
from counterpoint.search.index import LENGTHS, TOKENS, Hit, Index, best
from counterpoint.types import Encoded, Modality, Signal, SignalSpec, Text, TextSpec, moved

_ROWS = 256


class Asking:
    """The model and the objective of the run, and the gallery as the objective compares it."""

    def __init__(self, index: Index, plugins: Sequence[str] = ()) -> None:
        """Load them; the data are opened as well, since shapes come from them."""
        run = index.folder.parent
        recipe = of_run(run, plugins)
        self._data = recipe.data()
        self._index = index
        self._model, self._objective = load(run / index.facts["cell"], self._data, recipe)

    def text(self, sentence: str, k: int) -> list[Hit]:
        """The k rows most similar to a sentence."""
        return self._best(told(self._model, self._objective, self._index.facts["text"], [sentence]), k)

    def clip(self, views: Mapping[str, NDArray[np.float32]], k: int) -> list[Hit]:
        """The k rows most similar to a clip, given the (T, C) views it has as the encoder reads them."""
        length, view = max(len(values) for values in views.values()), dict[str, Modality]()
        for name, spec in self._data.specs.items():
            if isinstance(spec, TextSpec):
                view[name] = Text(("",))
                continue
            assert isinstance(spec, SignalSpec)
            seen = views.get(name)
            values = np.zeros((1, length, spec.channels), np.float32) if seen is None else seen[None]
            view[name] = Signal(torch.tensor(values), torch.full((1, length), seen is not None))
        place = device()
        model, objective = self._model.to(place).eval(), self._objective.to(place).eval()
        with torch.inference_mode():
            encoded = model({name: moved(one, place) for name, one in view.items()})
            query = objective.project(encoded)[self._index.facts["side"]]
        return self._best(query, k)

    def _best(self, query: Encoded, k: int) -> list[Hit]:
        gallery = gallery_of(self._index)
        compare = similarity_of(self._objective.to(device()).eval())
        with torch.inference_mode():
            starts = range(0, len(gallery.pooled), _ROWS)
            parts = [compare(part(gallery, slice(start, start + _ROWS)), query)[:, 0].cpu() for start in starts]
        return best(torch.cat(parts).double().numpy(), k)


def gallery_of(index: Index) -> Encoded:
    """The rows of an index as the objective compares them."""
    pooled = torch.from_numpy(np.array(index.vectors))
    if index.by_cosine:
        return Encoded(pooled.unsqueeze(1), torch.ones(len(pooled), 1, dtype=torch.bool), pooled)
    tokens = torch.from_numpy(np.load(index.folder / TOKENS).astype(np.float32))
    lengths = torch.from_numpy(np.load(index.folder / LENGTHS))
    return Encoded(tokens, torch.arange(tokens.shape[1]) < lengths.unsqueeze(1), pooled)
