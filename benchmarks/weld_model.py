"""The weld model at full size: V-JEPA 2 ViT-L, DINOv2-base and AST frozen, one batch forward and backward.

The library's own classes at the sizes of the published checkpoints with random weights, written to a temporary folder
and read from there by a recipe; a sensor Transformer 256 wide and token attention 512 wide with an MLP
8192-1024-512 are trained on top. Welds are simulated, at the shapes that the reader brings: 32 frames and 5 photographs
of 224 pixels, 256 x 128 log-mel, 256 x 6 sensor. SupCon and cross-entropy, float32, one batch of two classes in pairs.
The goal is a peak below 20 GiB. Memory is of the whole process (Linux), or of the accelerator where there is one.
Run: python benchmarks/weld_model.py
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hub
from torch import nn

from counterpoint import recipe as recipes
from counterpoint.data.base import Data, Draw
from counterpoint.data.synthetic.welds import generate
from counterpoint.encoders.pretrained import Pretrained
from counterpoint.model import Model
from counterpoint.objectives import Objective
from counterpoint.rates import freeze, groups
from counterpoint.summary import size, table
from counterpoint.types import Batch, moved

RECIPE = """
data: {{type: WeldRuns, root: {folder}/welds, split: {{type: GroupedKFold, folds: 2}}}}
encoders:
  video: {{type: VJEPA2Encoder, weights: {folder}/video}}
  photos: {{type: DINOv2Encoder, weights: {folder}/photos, photographs: {{tokens: patches}}}}
  audio: {{type: ASTEncoder, weights: {folder}/audio}}
  sensor: {{type: SensorTransformer, dim: 256}}
fusion: {{type: TokenAttention, queries: 4, dim: 512, heads: 8, hidden: 1024}}
objective:
  type: WeightedSum
  terms: {{supcon: {{objective: SupCon}}, ce: {{objective: CrossEntropy}}}}
optimizer: {{lr: 1e-4}}
"""
LIMIT = 20.0
GIB = 2**30


def published(folder: Path) -> int:
    """Random weights of the sizes of the checkpoints that the encoders name, a folder each.

    Returns:
        How many weights V-JEPA 2 has in its predictor, which the encoder leaves out.
    """
    torch.manual_seed(0)
    # What the checkpoints set apart from the defaults of the library: V-JEPA 2 nothing.
    models: dict[str, Any] = {
        "video": lambda: hub.VJEPA2Model(hub.VJEPA2Config()),
        "photos": lambda: hub.Dinov2Model(hub.Dinov2Config(image_size=518)),
        "audio": lambda: hub.ASTModel(hub.ASTConfig(frequency_stride=14, time_stride=14)),
    }
    predictor = 0
    for name, make in models.items():
        made = make()
        made.save_pretrained(folder / name)
        count = sum(weight.numel() for weight in made.parameters())
        print(f"{name}: {type(made).__name__}, {count / 1e6:.1f} million weights as saved")
        if name == "video":
            predictor = sum(weight.numel() for weight in made.predictor.parameters())
    return predictor


def prepared(folder: Path) -> tuple[Model, Objective, Data, recipes.Recipe]:
    generate(folder / "welds", runs=8, configurations=4)
    path = folder / "weld_full.yaml"
    path.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    recipe = recipes.read(path)
    data = recipe.data()
    model, objective = recipes.build(recipe, data, recipe.seeds[0])
    freeze(model, objective, recipe.optimizer.parts)
    return model, objective, data, recipe


def some_batch(data: Data, classes: int, place: torch.device) -> Batch:
    """Two welds of each of some classes, so that supervised contrast has its pairs."""
    rows = data.training(data.folds[0], "all")
    labels = [label for label, count in sorted(Counter(rows.labels.tolist()).items()) if count > 1][:classes]
    chosen = [row for label in labels for row in np.flatnonzero(rows.labels == label)[:2].tolist()]
    batch = rows.__getitems__([Draw(row, row) for row in chosen])
    views = [{name: moved(one, place) for name, one in view.items()} for view in batch.views[:1]]
    return Batch(views, *(column.to(place) for column in batch[1:5]))


def graphs(model: Model) -> list[str]:
    """Names of frozen backbones whose output would hold a graph; filled by the next forward pass."""
    found: list[str] = []

    def look(name: str) -> Any:
        def seen(module: nn.Module, given: Any, output: Any) -> None:
            if output.last_hidden_state.requires_grad:
                found.append(name)

        return seen

    for name, encoder in model.encoders.items():
        if isinstance(encoder, Pretrained):
            encoder.model.register_forward_hook(look(name))
    return found


@contextmanager
def clocked(times: dict[str, float], name: str, place: torch.device) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    if place.type != "cpu":
        torch.accelerator.synchronize()
    times[name] = time.perf_counter() - begin


def peak(place: torch.device) -> float:
    """GiB since the last ``forget``."""
    if place.type == "cuda":
        return torch.cuda.max_memory_allocated() / GIB
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 2**20
    raise AssertionError("VmHWM")


def forget(place: torch.device) -> None:
    if place.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    Path("/proc/self/clear_refs").write_text("5")


def step(model: Model, objective: Objective, batch: Batch, recipe: recipes.Recipe, place: torch.device) -> None:
    """One step, measured."""
    model.to(place).train()
    objective.to(place).train()
    optimizer = torch.optim.AdamW(groups(model, objective, recipe.optimizer, 100)[0], fused=True)
    held = graphs(model)
    forget(place)
    before, times = peak(place), dict[str, float]()
    with clocked(times, "forward", place):
        loss = objective([model(view) for view in batch.views], batch).value
    with clocked(times, "backward", place):
        loss.backward()
    with clocked(times, "AdamW", place):
        optimizer.step()
    weights = [*model.parameters(), *objective.parameters()]
    frozen = [weight for weight in weights if not weight.requires_grad]
    modules = [m for e in model.encoders.values() if isinstance(e, Pretrained) for m in e.model.modules()]
    trained = [weight for weight in weights if weight.requires_grad]
    assert bool(torch.isfinite(loss))
    assert all(weight.grad is not None for weight in trained), "something trained got no gradient"
    reached = peak(place)
    print(f"\n| one batch of {len(batch.ids)} rows on {place.type}, {torch.get_num_threads()} threads | |\n|---|---|")
    print(f"| shapes | {shapes(batch)} |")
    print(f"| modules of the backbones | {len(modules)}, in training mode {sum(m.training for m in modules)} |")
    print(f"| outputs of backbones with a graph | {len(held)} of 3 |")
    print(f"| frozen weights with a gradient | {sum(w.grad is not None for w in frozen)} of {len(frozen)} |")
    print(f"| loss | {loss.item():.3f} |")
    for name, seconds in times.items():
        print(f"| {name}, seconds | {seconds:.1f} |")
    print(f"| memory before the step, GiB | {before:.2f} |")
    print(f"| peak of the step, GiB | {reached:.2f}, goal below {LIMIT:g} |")


def shapes(batch: Batch) -> str:
    return ", ".join(f"{name} {tuple(one[0].shape)}" for name, one in batch.views[0].items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=2, help="in the batch, two welds of each")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    logging.getLogger("transformers").setLevel(logging.ERROR)
    hub.utils.logging.disable_progress_bar()
    place = torch.accelerator.current_accelerator() or torch.device("cpu")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        predictor = published(folder)
        forget(torch.device("cpu"))
        begin = time.perf_counter()
        model, objective, data, recipe = prepared(folder)
        took, loading = time.perf_counter() - begin, peak(torch.device("cpu"))
        whole = size(model, objective)
        print(f"\n{table(model, objective, recipe.optimizer)}\n")
        print(f"With the predictor of V-JEPA 2, which is left out, {(whole.weights + predictor) / 1e6:.1f} million.")
        print(f"Simulating 8 welds and reading the model took {took:.0f} s, at a peak of {loading:.2f} GiB.")
        step(model, objective, some_batch(data, arguments.classes, place), recipe, place)


if __name__ == "__main__":
    main()
