"""Light encoders of questions: text and clip encoder of a model as ONNX files, kept if they answer as it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from counterpoint.alignment.outputs import told
from counterpoint.data.base import Data, Draw, Rows
from counterpoint.encoders.pretrained.sentences import Published
from counterpoint.encoders.pretrained.text import TextEncoder
from counterpoint.graphs import NEEDED, Ports, kept, lacking, write
from counterpoint.model import FUSED, Model
from counterpoint.objectives import Objective
from counterpoint.search.towers import CLIP, MASK, SETTINGS, TEXT, TOKENIZER, VALUES, ClipTower, TextTower
from counterpoint.types import Encoded, Modality, Signal, SignalSpec

_NEEDED = (*NEEDED["onnx"], "tokenizers")
_CLOSE = 1e-3
"""Largest difference in a coordinate of an embedding of length 1 that still counts as the same."""
_SAMPLE = 4


class _Text(nn.Module):
    """Numbers of one sentence to its embedding where the objective compares it."""

    def __init__(self, encoder: TextEncoder, model: Model, objective: Objective, name: str) -> None:
        super().__init__()
        self.encoder, self.objective, self.name = encoder, objective, name
        self.widths = {one: model.dims[one] for pair in objective.pairs for one in pair}

    def forward(self, ids: Tensor) -> Tensor:
        encoded = self.encoder.finish(self.encoder.read(ids, torch.ones_like(ids, dtype=torch.bool)))
        beside = {one: _absent(width, ids.device) for one, width in self.widths.items()}
        return unit(self.objective.project(beside | {self.name: encoded})[self.name].pooled)


class _Clip(nn.Module):
    """Views of one clip, padded to the longest and masked, to its embedding where the objective compares it."""

    def __init__(self, model: Model, objective: Objective, side: str, specs: dict[str, SignalSpec]) -> None:
        super().__init__()
        self.model, self.objective, self.side, self.specs = model, objective, side, specs
        self.widths = {one: model.dims[one] for pair in objective.pairs for one in pair}

    def forward(self, *views: Tensor) -> Tensor:
        pairs = zip(self.specs, views[::2], views[1::2], strict=True)
        encoded = {name: self.model.encoders[name](Signal(values, mask)) for name, values, mask in pairs}
        if self.side == FUSED:
            encoded[FUSED] = self.model.fusion({name: encoded[name] for name in self.model.fused})
        beside = {one: _absent(width, views[0].device) for one, width in self.widths.items()}
        return unit(self.objective.project(beside | encoded)[self.side].pooled)

    def inputs(self, views: dict[str, Tensor]) -> tuple[Tensor, ...]:
        """Values and mask of every view, in their order; a view that the clip lacks is masked."""
        found: list[Tensor] = []
        for name, spec in self.specs.items():
            real = views.get(name, torch.zeros(0, spec.channels))
            values, mask = torch.zeros(1, spec.length, spec.channels), torch.zeros(1, spec.length, dtype=torch.bool)
            values[0, : len(real)], mask[0, : len(real)] = real, True
            found += [values, mask]
        return tuple(found)


def export_text(folder: Path, model: Model, objective: Objective, name: str, sentences: Sequence[str]) -> str:
    """Write the text encoder, if it then answers as the model does.

    Args:
        folder: of the index.
        model: whose encoder it is.
        objective: that projects.
        name: of the modality.
        sentences: some, to try it on.

    Returns:
        "", or why there is none.
    """
    encoder = model.encoders[name]
    if not isinstance(encoder, TextEncoder) or not isinstance(encoder.vocabulary, Published):
        return f"{type(encoder).__name__} has no published tokenizer that could be written to a file"
    if reason := _lacking():
        return reason
    module = _Text(encoder, model, objective, name).cpu().eval()
    ids = torch.tensor([encoder.vocabulary(sentences[0] if sentences else "somebody walks")])
    try:
        encoder.vocabulary.save(folder / TOKENIZER)
    except ValueError as error:
        return str(error)
    (folder / SETTINGS).write_text(json.dumps({"longest": encoder.vocabulary.longest}), encoding="utf-8")

    def export() -> None:
        write(module, (ids,), Ports(("ids",), ((1, "tokens"),), ("pooled",)), folder / TEXT, "onnx", "dynamo")

    def differences() -> float:
        tower = TextTower(folder)
        asked = [*sentences, "a", "one, two; 3 naïve words about nothing in particular"]
        expected = unit(told(model, objective, name, asked).pooled).numpy()
        return max(float(np.abs(tower(one) - row).max()) for one, row in zip(asked, expected, strict=True))

    return _kept(folder / TEXT, export, differences)


def export_clips(folder: Path, model: Model, objective: Objective, side: str, data: Data, rows: Rows) -> str:
    """Write the encoder of clips, if it then answers as the model does.

    Args:
        folder: of the index.
        model: whose encoders they are.
        objective: that projects.
        side: the output that is the gallery.
        data: for the shapes.
        rows: some clips, to try it on.

    Returns:
        "", or why there is none.
    """
    names = list(model.fused) if side == FUSED else [side]
    specs = {name: spec for name in names if isinstance(spec := data.specs[name], SignalSpec)}
    if len(specs) < len(names):
        return "not all modalities of a clip are signals"
    if reason := _lacking():
        return reason
    module = _Clip(model, objective, side, specs).cpu().eval()
    batch = rows.__getitems__([Draw(row, row) for row in range(min(_SAMPLE, len(rows)))]).views[0]
    clips = [view for row in range(_SAMPLE) if (view := _views(batch, row, names))]
    clips += [{name: values} for name, values in clips[0].items()]

    def export() -> None:
        inputs = module.inputs(clips[0])
        known = tuple(name + end for name in names for end in (VALUES, MASK))
        ports = Ports(known, tuple(tuple(one.shape) for one in inputs), ("pooled",))
        write(module, inputs, ports, folder / CLIP, "onnx", "dynamo")

    def differences() -> float:
        tower = ClipTower(folder)
        with torch.inference_mode():
            expected = [module(*module.inputs(views))[0].numpy() for views in clips]
        given = [{name: values.numpy() for name, values in views.items()} for views in clips]
        return max(float(np.abs(tower(one) - row).max()) for one, row in zip(given, expected, strict=True))

    return _kept(folder / CLIP, export, differences)


def unit(values: Tensor) -> Tensor:
    """Rows of length 1."""
    return torch.nn.functional.normalize(values, dim=1)


def _views(batch: dict[str, Modality], row: int, names: Sequence[str]) -> dict[str, Tensor]:
    """The (T, C) views that a row has."""
    found = {}
    for name in names:
        signal = batch[name]
        assert isinstance(signal, Signal)
        if row < len(signal.values):
            real = signal.values[row] if signal.mask is None else signal.values[row][signal.mask[row]]
            if len(real):
                found[name] = real
    return found


def _absent(width: int, place: torch.device) -> Encoded:
    none = torch.zeros(1, 1, width, device=place)
    return Encoded(none, torch.zeros(1, 1, dtype=torch.bool, device=place), none[:, 0])


def _lacking() -> str:
    absent = lacking(_NEEDED)
    return (
        f"{', '.join(absent)} not installed when the run was evaluated: pip install 'counterpoint[onnx,hf]'"
        if absent
        else ""
    )


def _kept(path: Path, export: Callable[[], None], differences: Callable[[], float]) -> str:
    """Export and compare; "", or why there is no file."""
    return kept(path, export, differences, _CLOSE)[1]
