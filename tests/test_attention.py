"""Weights of the fusion: those of the table are those of the model, 1 in sum over what is real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

import cached_world
from counterpoint import config
from counterpoint.attention import Weighed, _lines
from counterpoint.cli import app
from counterpoint.data.base import Draw
from counterpoint.recipe import Recipe, load, train_cell
from counterpoint.scores import cell_folder
from test_recipes import command

ROWS = 70
LACKING = (3, 64)
TOKENS = {"type": "TokenAttention", "queries": 3, "dim": 8, "heads": 2, "hidden": 8}


def trained(folder: Path, fusion: Any, pooling: int = 2) -> Recipe:
    """A run of one cell, two of whose recordings lack the sound."""
    recordings = cached_world.write(folder / "recordings", ROWS, {"sound": LACKING})
    recipe = config.load(
        {
            "data": {"type": "ArrayData", "folder": str(recordings), "recordings": ROWS},
            "encoders": {"vibration": "Toy", "sound": {"type": "Toy", "pooling": pooling}},
            "fusion": fusion,
            "objective": "CrossEntropy",
            "trainer": {"epochs": 1, "batch_size": 8},
        },
        Recipe,
    )
    data = recipe.data()
    run = folder / "run"
    train_cell(recipe, data, "main", 0, cell_folder(run, "main", 0))
    (run / "recipe.yaml").write_text(config.dump(recipe))
    return recipe


def read(path: Path) -> tuple[dict[tuple[int, str, int], tuple[np.ndarray, np.ndarray]], dict[str, Any]]:
    """(id, modality, query) -> weights and what is real; and what is known of the table."""
    table = pq.read_table(path)
    known = json.loads(table.schema.metadata[b"attention"])
    rows = table.to_pylist()
    found = {
        (row["id"], row["modality"], row["query"]): (np.array(row["weights"]), np.array(row["real"])) for row in rows
    }
    assert len(found) == len(rows)
    assert all(row["name"] == f"recording-{row['id']}" and row["label"] == row["id"] % 2 for row in rows)
    return found, known


def expected(folder: Path, recipe: Recipe) -> dict[str, torch.Tensor]:
    """What the fusion looks at, all rows in one batch."""
    data = recipe.data()
    model, _ = load(cell_folder(folder / "run", "main", 0), data, recipe)
    (view,) = data.evaluation("main", "test").__getitems__([Draw(row, 0) for row in range(ROWS)]).views
    with torch.no_grad():
        encoded = model(view)
        return model.fusion.attend({name: encoded[name] for name in model.fused})


def test_weights_of_tokens_are_those_of_the_model_and_one_in_sum(tmp_path: Path) -> None:
    recipe = trained(tmp_path, TOKENS)
    out = tmp_path / "weights.parquet"
    said = command("attention", tmp_path / "run", "--out", out)
    found, known = read(out)
    assert known == {"fusion": "TokenAttention", "fold": "main", "seed": 0, "split": "test", "heads": "mean"}
    assert len(found) == 3 * (ROWS + ROWS - len(LACKING))
    assert not any(name == "sound" and row in LACKING for row, name, _ in found)
    weights = expected(tmp_path, recipe)
    for (row, name, query), (own, real) in found.items():
        assert own.shape == real.shape == (3,)
        assert own[real].sum() == pytest.approx(1, abs=1e-6)
        assert (own[~real] == 0).all()
        np.testing.assert_allclose(own, weights[name][row].mean(0)[query], atol=1e-6)
    assert f"vibration: {ROWS} rows, up to 3 tokens, over " in said
    assert f"sound: {ROWS - len(LACKING)} rows" in said
    assert "tells nothing" not in said


def test_a_token_alone_is_told_of(tmp_path: Path) -> None:
    trained(tmp_path, TOKENS, pooling=cached_world.LENGTH)
    said = command("attention", tmp_path / "run", "--out", tmp_path / "weights.parquet", "--split", "all")
    assert "sound: 68 rows; all have one token alone: the weight is 1 and tells nothing" in said
    assert said.count("tells nothing") == 1
    found, _ = read(tmp_path / "weights.parquet")
    assert all(own.tolist() == [1.0] for (_, name, _), (own, _) in found.items() if name == "sound")


def test_gates_are_one_in_sum_over_the_modalities_of_a_row(tmp_path: Path) -> None:
    recipe = trained(tmp_path, {"type": "Gated", "dim": 8})
    out = tmp_path / "weights.parquet"
    said = command("attention", tmp_path / "run", "--out", out)
    found, _ = read(out)
    weights = expected(tmp_path, recipe)
    for row in range(ROWS):
        gates = {name: own.item() for (one, name, _), (own, _) in found.items() if one == row}
        assert gates.keys() == ({"vibration"} if row in LACKING else {"vibration", "sound"})
        assert sum(gates.values()) == pytest.approx(1, abs=1e-6)
        assert all(gate == pytest.approx(float(weights[name][row]), abs=1e-6) for name, gate in gates.items())
    mean = np.mean([own.item() for (row, name, _), (own, _) in found.items() if name == "sound"])
    assert f"sound: 68 rows, gate {mean:.3f} on average" in said
    assert "2 have no other modality beside it: the weight is 1 and tells nothing" in said


def test_a_fusion_that_does_not_weigh_is_named(tmp_path: Path) -> None:
    trained(tmp_path, "Concat")
    out = tmp_path / "weights.parquet"
    refused = CliRunner().invoke(app, ["attention", str(tmp_path / "run"), "--out", str(out)])
    assert refused.exit_code == 1
    assert "the fusion Concat does not weigh what it fuses" in refused.output
    assert not out.exists()
    refused = CliRunner().invoke(app, ["attention", str(tmp_path), "--out", str(out)])
    assert refused.exit_code == 1
    assert "is not a run folder" in refused.output


def test_even_weights_spread_over_all_and_a_single_one_over_one() -> None:
    real = np.ones(4, bool)
    even = [Weighed(row, "video", 0, np.full(4, 0.25, np.float32), real, False) for row in range(3)]
    assert _lines(even, ["video"]) == ["video: 3 rows, up to 4 tokens, over 4.0 of which a query spreads on average"]
    sharp = [Weighed(row, "video", 0, np.eye(4, dtype=np.float32)[row], real, False) for row in range(3)]
    assert "over 1.0 of which" in _lines(sharp, ["video"])[0]
    assert _lines(even, ["audio"]) == ["audio: 0 rows"]
