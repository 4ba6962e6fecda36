"""Light encoders of queries: a sentence or a clip into the space of an index by ONNX Runtime, without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TEXT, CLIP, TOKENIZER, SETTINGS = "text.onnx", "clip.onnx", "tokenizer.json", "text.json"
Float = NDArray[np.float32]


def runtime_missing() -> str:
    """What is not installed of what light encoders need; "" where all is."""
    from importlib.util import find_spec

    absent = [name for name in ("onnxruntime", "tokenizers") if find_spec(name) is None]
    return f"{' and '.join(absent)} not installed: pip install 'counterpoint[onnx,hf]'" if absent else ""


class TextTower:
    """Sentences into the space of an index."""

    def __init__(self, folder: Path) -> None:
        """Open the encoder that lies in ``folder``."""
        from tokenizers import Tokenizer

        self._session = _session(folder / TEXT)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        # The file may ask for both, and the encoder was trained without.
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._longest = int(json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["longest"])

    def numbers(self, sentence: str) -> list[int]:
        """Tokens of a sentence, the marks of beginning and end included."""
        found: list[int] = self._tokenizer.encode(sentence).ids
        return found if len(found) <= self._longest else [*found[: self._longest - 1], found[-1]]

    def __call__(self, sentence: str) -> Float:
        """(D,) the embedding of a sentence."""
        ids = np.array([self.numbers(sentence)], dtype=np.int64)
        pooled: list[Float] = self._session.run(["pooled"], {"ids": ids})
        return pooled[0].reshape(-1)


class ClipTower:
    """Clips into the space of an index, some of their views or all."""

    def __init__(self, folder: Path) -> None:
        """Open the encoder that lies in ``folder``."""
        self._session = _session(folder / CLIP)
        self._shapes = {one.name: one.shape for one in self._session.get_inputs()}

    def __call__(self, views: Mapping[str, Float]) -> Float:
        """(D,) the embedding of a clip.

        Args:
            views: (T, C) of the views it has, as the encoder reads them.
        """
        fed: dict[str, NDArray[Any]] = {}
        for name, shape in self._shapes.items():
            fed[name] = np.zeros(shape, dtype=np.bool_ if name.endswith(MASK) else np.float32)
        for name, values in views.items():
            fed[name + VALUES][0, : len(values)] = values
            fed[name + MASK][0, : len(values)] = True
        # What the graph does not read it does not ask for.
        pooled: list[Float] = self._session.run(["pooled"], {name: fed[name] for name in self._shapes})
        return pooled[0].reshape(-1)


VALUES, MASK = ".values", ".mask"
"""How the inputs of a view are called."""


def _session(path: Path) -> Any:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS", "0") or 0)
    # The file is read once for one query: looking for a better graph takes longer than running this one.
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
