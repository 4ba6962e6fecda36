"""The recipes of spectra and tables through the command line, real and simulated ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from test_recipes import RECIPES, command, expect_run

TINY = ["--set", "trainer.epochs=1", "--set", "seeds=[0]"]


def test_coffee(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    output = command("train", RECIPES / "coffee.yaml", *TINY)
    assert "PLS-DA" in output
    scores = expect_run(tmp_path / "runs" / "coffee")
    assert not scores["simulated"]
    assert scores["confusion"]["classes"] == ["Brasil", "Ethiopia", "Vietnam"]


def test_saliva(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/saliva").mkdir(parents=True)
    shutil.copy(data_root / "spectra/saliva_covid/covid_dataset.npz", tmp_path / "data/saliva")
    output = command("check", RECIPES / "saliva.yaml")
    assert '"scans quarantined": 104' in output
    assert 'classes {"CTRL": 34, "COV-": 37, "COV+": 30}' in output


@pytest.mark.nightly
def test_saliva_to_its_report(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/saliva").mkdir(parents=True)
    shutil.copy(data_root / "spectra/saliva_covid/covid_dataset.npz", tmp_path / "data/saliva")
    command("train", RECIPES / "saliva.yaml", *TINY)
    scores = expect_run(tmp_path / "runs" / "saliva")
    assert scores["by_group"]["groups"] == 101


def test_mayonnaise(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data/mayonnaise").mkdir(parents=True)
    shutil.copy(data_root / "spectra/mayonnaise_nir/mayonnaise.csv", tmp_path / "data/mayonnaise")
    output = command("train", RECIPES / "mayonnaise.yaml", *TINY, "--set", "data.split.folds=2")
    assert "By group" in output
    expect_run(tmp_path / "runs" / "mayonnaise")


@pytest.mark.parametrize("name", ["spectra_attention", "spectra_tft"])
def test_simulated_specimens(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "spectra", "data/spectra_sim", "--count", "60")
    output = command("train", RECIPES / f"{name}.yaml", *TINY, "--set", "trainer.batch_size=16")
    assert "SIMULATED" in output
    scores = json.loads((tmp_path / "runs" / name / "scores.json").read_text())
    assert len(scores["modalities"]["alone"]) == len(scores["modalities"]["without"]) == 2
    assert scores["threshold"]
    assert scores["agreement"]
