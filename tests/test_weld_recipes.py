"""The recipes of the weld system through the command line: simulated runs from raw files, real features."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from test_recipes import RECIPES, command, expect_run

WELD = """
data:
  type: WeldRuns
  root: data/welds
  media: {video: {frames: 8, size: 64}, photos: {size: 96}}
  views: {modality_dropout: 0.1}
  split: {type: GroupedKFold, k: 2}
encoders:
  video: {type: VJEPA2Encoder, stand_in: small, dim: 128}
  photos: {type: DINOv2Encoder, stand_in: small, dim: 128, photographs: {tokens: patches}}
  audio: {type: ASTEncoder, stand_in: small, dim: 128}
  sensor: {type: SensorTransformer, dim: 128, blocks: {depth: 2, heads: 4}}
fusion: {type: TokenAttention, dim: 128, heads: 4, hidden: 256}
objective:
  type: WeightedSum
  terms:
    supcon: {objective: {type: SupCon, temperature: 0.07}, weight: 1.0}
    ce: {objective: CrossEntropy, weight: 1.0}
optimizer: {lr: 1e-3, weight_decay: 0.05}
trainer:
  epochs: 1
  batch_size: 16
  batches: {type: ClassBalanced, classes: 4, rows: 4}
  cache: data/weld_cache
evaluation:
  metric: macro_f1
  evaluators: [{type: KNN, k: 5}, {type: LinearProbe, C: 0.1}]
seeds: [0]
"""
"""From raw files through small random models of the real classes."""

TINY = ["--set", "trainer.epochs=1", "--set", "data.split.k=2", "--set", "seeds=[0]"]


def test_weld_from_raw_files_through_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "welds", "data/welds", "--count", "48")
    Path("weld.yaml").write_text(WELD)
    output = command("train", "weld.yaml")
    assert "SIMULATED" in output
    assert "WeightedSum, its own head" in output
    scores = expect_run(tmp_path / "runs" / "weld")
    assert scores["simulated"]
    assert len(scores["folds"]) == 2
    records = list((tmp_path / "data" / "weld_cache").rglob("*"))
    assert len(records) > 48, "features of frozen encoders are kept"


def test_weld_features(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data_root / "weld" / "intel_features", tmp_path / "data" / "weld_features")
    output = command("train", RECIPES / "weld_features.yaml", *TINY)
    assert "CrossEntropy, its own head" in output
    scores = expect_run(tmp_path / "runs" / "weld_features")
    assert not scores["simulated"]
