"""The recipes of the weld system through the command line: simulated runs from raw files, real features."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from test_recipes import RECIPES, command, expect_run

TINY = ["--set", "trainer.epochs=1", "--set", "data.split.folds=2", "--set", "seeds=[0]"]


def test_weld_from_raw_files_through_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "welds", "data/welds", "--count", "48")
    command("model", "stand-ins", "models")
    output = command("train", RECIPES / "weld.yaml", *TINY)
    assert "SIMULATED" in output
    assert "WeightedSum, its own head" in output
    assert "sensor alone, its own head" in output
    assert "Defect detection" in output
    scores = expect_run(tmp_path / "runs" / "weld")
    assert scores["simulated"]
    assert len(scores["folds"]) == 2
    records = list((tmp_path / "data" / "weld_cache").rglob("*"))
    assert len(records) > 48, "features of frozen encoders are kept"


def test_weld_features(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data_root / "weld" / "intel_features", tmp_path / "data" / "weld_features")
    output = command("train", RECIPES / "weld_features.yaml", *TINY)
    assert "WeightedSum, its own head" in output
    assert "sensor -> audio, gallery" in output
    scores = expect_run(tmp_path / "runs" / "weld_features")
    assert not scores["simulated"]
