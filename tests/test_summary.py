"""The summary of a model: its numbers are those of the weights, its names those of the recipe's parts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cached_world import SPEC, Toy
from counterpoint.cli import app
from counterpoint.encoders.pretrained.base import Inference
from counterpoint.fusion import Concat, Gated
from counterpoint.model import build_model
from counterpoint.objectives import InfoNCE
from counterpoint.rates import Optimizer, Part, freeze
from counterpoint.summary import in_words, parts, size, table
from counterpoint.types import ObjectiveSpec
from test_recipes import command

RECIPE = """
data: ToneData
encoders: {tone: OneLayer}
objective: {type: InfoNCE, projection: 128}
"""


def cells(text: str) -> dict[str, list[str]]:
    """The cells of every part."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in lines}) == 1, "columns stand below each other"
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return {row[0]: row[1:] for row in rows if not row[0].startswith("-")}


def test_the_numbers_are_those_of_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    text = command("model", "summary", path, "--plugin", "toys")
    convolution, head = 5 * 16 + 16, (16 * 16 + 16) + (16 * 128 + 128)
    found = cells(text)
    assert found["part"] == ["class", "parameters", "trained", "MB", "dtype", "state"]
    assert found["encoders.tone"][:4] == ["OneLayer", "96", "96", f"{4 * 96 / 1e6:.2g}"]
    assert found["encoders.tone.convolve"] == ["Conv1d", "96", "96", f"{4 * 96 / 1e6:.2g}", "float32", "trained"]
    assert found["fusion"] == ["Concat", "0", "0", "0", "", "no weights"]
    assert found["objective"][:3] == ["InfoNCE", f"{head + 1:,}", f"{head:,}"]
    assert found["objective"][-1] == "trained in part", "the fixed temperature is a weight too"
    assert found["total"][1:3] == [f"{convolution + head + 1:,}", f"{convolution + head:,}"]
    assert text.rstrip().endswith("In all 2.5 thousand parameters, 2.5 thousand of them trained (100 %).")


def test_parts_of_the_optimizer_are_shown_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    chosen = "optimizer.parts={encoders: {rate: 0}, objective.head: {rate: 0.5, start: 0.3}}"
    found = cells(command("model", "summary", path, "--plugin", "toys", "--set", chosen))
    assert found["encoders.tone"][-2:] == ["frozen, eval", ""]
    assert found["encoders.tone"][2] == "0"
    assert found["objective"][-1] == "x 1"
    assert found["objective.head"][-1] == "x 0.5 from 30 %"
    words = ["model", "summary", str(path), "--plugin", "toys", "--set", "optimizer.parts={encoders.text: {rate: 2}}"]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 1
    assert "'encoders.text' is no part of this model" in refused.output


def test_frozen_backbones_rest_and_say_their_dtype() -> None:
    half = Inference(dtype="bfloat16")
    factories = {"video": lambda spec: Toy(spec, inference=half), "sound": lambda spec: Toy(spec, unfreeze=1)}
    model = build_model({"video": SPEC, "sound": SPEC}, factories, Gated)
    objective = InfoNCE(ObjectiveSpec(model.dims, {}, (), {}))
    freeze(model, objective, {})
    found = cells(table(model, objective, Optimizer()))
    width, features = 5, 3
    backbone = (features * width + width) + (width * width + width) + 2 * width
    trained = (width * width + width) + 2 * width
    assert found["encoders.video.model"][1:] == [
        str(backbone),
        "0",
        f"{2 * backbone / 1e6:.2g}",
        "bfloat16",
        "frozen, eval",
    ]
    assert found["encoders.sound.model"][1:3] == [str(backbone), str(trained)]
    assert found["encoders.sound.model"][-1] == "trained in part"
    assert found["encoders.video"][4] == "bfloat16, float32"
    assert found["fusion.project"][0] == "2 x Sequential"


def test_every_weight_stands_below_its_root_once() -> None:
    model = build_model({"video": SPEC, "sound": SPEC}, {"video": Toy, "sound": Toy}, Concat)
    objective = InfoNCE(ObjectiveSpec(model.dims, {}, (), {}))
    shown = dict(parts(model, objective))
    for root in ("encoders.video", "encoders.sound", "objective"):
        inner = [part for name, part in shown.items() if name.startswith(f"{root}.")]
        assert size(*inner).weights == size(shown[root]).weights > 0
    assert size(model, objective) == size(model, objective, objective), "what is shared is counted once"
    tied = nn.ModuleList([nn.Linear(3, 3, bias=False)] * 2)
    assert size(tied) == (9, 9, 36)
    assert size(nn.BatchNorm1d(4)).bytes == 4 * 4 * 4 + 8, "buffers weigh too"
    assert size(nn.Parameter(torch.zeros(2, dtype=torch.float64))) == (2, 2, 16)


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0"), (999, "999"), (1000, "1.0 thousand"), (516_200_000, "516.2 million"), (2 * 10**9, "2.0 billion")],
)
def test_numbers_in_words(count: int, said: str) -> None:
    assert in_words(count) == said


def test_a_rate_without_a_part_is_not_shown() -> None:
    model = build_model({"video": SPEC}, {"video": Toy}, Concat)
    objective = InfoNCE(ObjectiveSpec(model.dims, {}, (), {}))
    assert "rate" not in table(model, objective, Optimizer()).splitlines()[0]
    assert "rate" in table(model, objective, Optimizer(parts={"objective": Part(2.0)})).splitlines()[0]
