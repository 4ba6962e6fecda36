"""What lies beside exported files: a manifest of all that their user must know, and an example to begin with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from counterpoint import config
from counterpoint.data.base import Data
from counterpoint.export.graph import PROBABILITIES, Graph
from counterpoint.export.parity import CLOSE, Outcome
from counterpoint.export.ports import Input
from counterpoint.graphs import NEEDED, lacking
from counterpoint.recipe import Recipe
from counterpoint.snapshot import write_json

MANIFEST, README, TOKENIZER = "manifest.json", "README.md", "tokenizer.json"


class Exported(NamedTuple):
    """One file, or why there is none.

    Attributes:
        name: of the file, without suffix.
        modalities: that enter it.
        encoders: their classes, by modality.
        inputs: its tensors.
        outputs: their names.
        outcome: what became of it.
        silent: why it gives no probabilities; "" where it does.
        entering: of each tensor of numbers that was checked, the mean, deviation, least and largest.
    """

    name: str
    modalities: tuple[str, ...]
    encoders: dict[str, str]
    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    outcome: Outcome
    silent: str
    entering: dict[str, dict[str, float]]

    @classmethod
    def of(cls, name: str, graph: Graph, outcome: Outcome, silent: str, shown: Sequence[Tensor]) -> Self:
        """Account for a graph; ``shown`` are tensors it was checked on."""
        encoders = {one: type(graph.encoders[one]).__name__ for one in graph.ports}
        inputs = graph.inputs()
        entering = {
            one.name: _facts(value) for one, value in zip(inputs, shown, strict=False) if value.is_floating_point()
        }
        return cls(name, tuple(graph.ports), encoders, inputs, graph.outputs, outcome, silent, entering)

    @classmethod
    def nothing(cls, name: str, modalities: Sequence[str], reason: str) -> Self:
        """A file that was not even begun."""
        return cls(name, tuple(modalities), {}, (), (), Outcome("", math.nan, (), "", reason), "", {})

    def told(self) -> str:
        """In a line."""
        one = self.outcome
        if one.file:
            return f"{one.file}: largest difference {one.difference:.1e} over {'; '.join(one.checked)} ({one.how})"
        return f"{self.name}: not exported: {one.reason}"


def write_manifest(out: Path, found: Sequence[Exported], about: Mapping[str, Any], recipe: Recipe, data: Data) -> None:
    """Write manifest and example.

    Args:
        out: the folder of the files.
        found: what became of each.
        about: run, fold, seed, format.
        recipe: of the run.
        data: its data.
    """
    packages = ["counterpoint", "torch", *NEEDED["onnx"]]
    here = [name for name in packages if not lacking([name])]
    kept = [one for one in found if one.outcome.file]
    document = {
        **about,
        "graphs": [_graph(one, data) for one in kept],
        "not exported": {one.name: one.outcome.reason for one in found if not one.outcome.file},
        "classes": list(data.classes),
        "data": _data_of(recipe),
        "normalisation": "Do to your recordings what `data` says the run did to its own, with what it fitted on its "
        "training rows; `entering` says what then comes in. A row that has none of the modalities has no embedding.",
        "versions": {name: version(name) for name in here},
    }
    write_json(out / MANIFEST, document)
    (out / README).write_text(_readme(kept, found, about), encoding="utf-8")


def _graph(one: Exported, data: Data) -> dict[str, Any]:
    inputs = [i._asdict() | {"shape": list(i.shape), "entering": one.entering.get(i.name)} for i in one.inputs]
    return {
        "file": one.outcome.file,
        "encoders": one.encoders,
        "inputs": inputs,
        "outputs": list(one.outputs),
        "classes": list(data.classes) if PROBABILITIES in one.outputs else [],
        "no probabilities": one.silent,
        "parity": {
            "largest difference": one.outcome.difference,
            "limit": CLOSE,
            "checked on": list(one.outcome.checked),
        },
        "how": one.outcome.how,
    }


def _data_of(recipe: Recipe) -> Any:
    """The reader of the run with all its settings, as its recipe has them."""
    import yaml

    return yaml.safe_load(config.dump(recipe))["data"]


def _facts(values: Tensor) -> dict[str, float]:
    known = values[torch.isfinite(values)]
    if not known.numel():
        return {}
    parts = {"mean": known.mean(), "deviation": known.std(correction=0), "least": known.min(), "largest": known.max()}
    return {name: round(float(value), 6) for name, value in parts.items()}


_ONNX = """import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("{file}")
inputs = {{
{inputs}
}}
asked = [one.name for one in session.get_inputs()]
outputs = session.run({outputs}, {{name: inputs[name] for name in asked}})
print([one.shape for one in outputs])
"""

_TORCH = """import numpy as np
import torch

program = torch.export.load("{file}").module()
inputs = {{
{inputs}
}}
outputs = program(*map(torch.from_numpy, inputs.values()))
print({outputs}, [one.shape for one in outputs])
"""


def _readme(kept: Sequence[Exported], found: Sequence[Exported], about: Mapping[str, Any]) -> str:
    """The example of the first file, and what there is."""
    lines = [f"# {about['run']}, fold {about['fold']}, seed {about['seed']}", ""]
    lines += [f"- {one.told()}" for one in found]
    lines += ["", "`manifest.json` has names, shapes, what to do to recordings before, and what was checked.", ""]
    if not kept:
        return "\n".join(lines)
    one = kept[0]
    rows = "\n".join(f'    "{i.name}": {_example(i)},  # {tuple(i.shape)}' for i in one.inputs)
    text = (_ONNX if about["format"] == "onnx" else _TORCH).format(
        file=one.outcome.file, inputs=rows, outputs=list(one.outputs)
    )
    return "\n".join([*lines, "```python", text.rstrip(), "```", ""])


def _example(one: Input) -> str:
    """Two rows of nothing in particular."""
    sizes = {"batch": 2}
    shape = tuple(size if isinstance(size, int) else sizes.get(size, 64) for size in one.shape)
    make = "ones" if one.dtype == "bool" else "zeros"
    return f'np.{make}({shape}, "{one.dtype}")'
