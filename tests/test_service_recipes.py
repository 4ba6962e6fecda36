"""The services of the trainer on a recipe of each system, by configuration alone: what one system has, all have."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from counterpoint import start
from counterpoint.data.synthetic import bearings, spectra, stays, welds
from counterpoint.evaluate.embeddings import Embeddings
from test_clinical_recipes import FEW, SMALL
from test_radar import VIEWS as RADAR_VIEWS
from test_radar import entry, listed, save
from test_recipes import RECIPES, command

SERVICES = {
    "trainer.epochs": "2",
    "trainer.batch_size": "8",
    "trainer.accumulate": "2",
    "trainer.ema": "{decay: 0.9}",
    "trainer.early_stopping": "{patience: 1, cooldown: 1}",
    "trainer.hardware.accelerator": "cpu",
    "trainer.hardware.precision": "bf16-mixed",
    "trainer.hardware.deterministic": "on",
    "trainer.hardware.recompute": "on",
    "trainer.monitor.log_every": "1",
    "data.split": "{type: GroupedKFold, folds: 2, valid: 0.25}",
    "seeds": "[0]",
}
GROUPED = {"trainer.batches": "{type: LengthGrouped, pool: 2}"}
PLAIN = {"evaluation": "{}"}
Prepared = tuple[Path, dict[str, str]]


def vibration() -> Prepared:
    """The fleet of the demonstration; windows are of one length."""
    path = Path("fleet.yaml")
    start.write_recipe(bearings.generate(Path("fleet"), bearings=12, loads=(0,), seconds=0.5), path)
    encoder = "{type: ResNet1d, dim: 16, width: 4, stages: 3}"
    return path, PLAIN | {"encoders.vibration": encoder, "data.views.pairs_per_recording": "2"}


def clinical() -> Prepared:
    """Stays of 1 to 60 sets."""
    path = Path("icu.yaml")
    start.write_recipe(stays.generate(Path("icu"), stays=60), path)
    few = dict(word.split("=", 1) for word in FEW if "=" in word)
    key, _, value = SMALL.partition("=")
    return path, {"evaluation": "{metric: auroc}"} | GROUPED | few | {key: value}


def radar_text() -> Prepared:
    """Clips of different length and sentences."""
    random, root = np.random.default_rng(0), Path("data/radar_sim")
    (root / "clips").mkdir(parents=True)
    entries = {}
    for clip in range(32):
        name, frames = f"{clip:06d}", int(random.integers(96, 256))
        save(root, name, {view: random.random((16, frames), np.float32) for view in RADAR_VIEWS})
        entries[name] = entry(name, label="ab"[clip // 4 % 2], group=str(clip // 4))
    names = list(entries)
    for part, some in (("train", names[:20]), ("val", names[20:26]), ("test", names[26:])):
        listed(root, **{part: {name: entries[name] for name in some}})
    small = "{type: RadarEncoder, dim: 16, width: 8, stride: 8, depth: 1, heads: 2}"
    views = {f"encoders.{name}": small for name in RADAR_VIEWS}
    text = {"encoders.text": "{type: TextEncoder, weights: none, stand_in: small, dim: 16}"}
    fused = {"fusion.dim": "16", "objective.width": "16"}
    evaluation = {"evaluation": "{evaluators: [{type: KNN, k: 1}]}"}
    return RECIPES / "radar_text.yaml", evaluation | views | text | fused | GROUPED


def weld_features() -> Prepared:
    """Features of three modalities, those of the sensor a token for each of some passes."""
    folder, random = Path("data/weld_features"), np.random.default_rng(0)
    folder.mkdir(parents=True)
    codes = ("0", "1", "2", "6", "7", "8", "11")
    lines = [f"{config},{run},{codes[config % 7]}" for config in range(28) for run in range(2)]
    (folder / "runs.csv").write_text("\n".join(["config_folder,run_id,label_code", *lines]) + "\n")
    passes = random.integers(1, 9, len(lines))
    sensor = np.where(np.arange(8)[:, None] < passes[:, None, None], random.normal(size=(len(lines), 8, 6)), np.nan)
    audio, image = random.normal(size=(2, len(lines), 5))
    np.savez(folder / "features.npz", sensor=sensor.astype(np.float32), audio=audio, image=image)
    encoder = "{type: PatchTransformer, dim: 256, patch: 1, blocks: {depth: 1, heads: 2, dropout: 0.1}}"
    evaluation = {"evaluation": "{metric: macro_f1, detection: {normal: good}}"}
    return RECIPES / "weld_features.yaml", evaluation | GROUPED | {"encoders.sensor": encoder}


def weld_runs() -> Prepared:
    """Slow channels and sound from files, each laid over one length."""
    welds.generate(Path("data/welds"), runs=24, configurations=12, seconds=1.0)
    sensor = "{type: SensorTransformer, dim: 16, patch: 16, blocks: {depth: 1, heads: 2}}"
    audio = "{type: PatchTransformer, dim: 16, blocks: {depth: 1, heads: 2}}"
    changed = {
        "data.modalities": "[sensor, audio]",
        "encoders": f"{{sensor: {sensor}, audio: {audio}}}",
        "fusion": "{type: TokenAttention, dim: 16, heads: 2, hidden: 16}",
        "objective": "CrossEntropy",
        "trainer.batches": "Shuffled",
        "trainer.cache": "null",
    }
    return RECIPES / "weld.yaml", {"evaluation": "{metric: macro_f1}"} | changed


def spectra_tables() -> Prepared:
    """Specimens of several scans and a row of a table."""
    spectra.generate(Path("raman"), count=40)
    recipe = {
        "data": {
            "type": "SpectraTables",
            "scans": {
                "type": "ScanTable",
                "files": ["raman/spectra.csv"],
                "id": "Sample",
                "pattern": r"(?P<specimen>.+)-(?P<scan>\d+)",
            },
            "table": {"file": "raman/clinical.csv", "id": "PatientID", "categorical": {"sex": {}, "smoker": {}}},
            "columns": {"label": "Group"},
        },
        "encoders": {
            "spectra": {"type": "SpectralTransformer", "dim": 16, "patch": 32, "blocks": {"depth": 1, "heads": 2}},
            "table": {"type": "FeatureTokens", "dim": 16, "blocks": {"depth": 1, "heads": 2}},
        },
        "fusion": {"type": "CrossAttentionFusion", "dim": 16, "heads": 2},
        "objective": "CrossEntropy",
    }
    Path("raman.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return Path("raman.yaml"), GROUPED


SYSTEMS: dict[str, Callable[[], Prepared]] = {
    "vibration": vibration,
    "clinical": clinical,
    "radar text": radar_text,
    "weld features": weld_features,
    "weld runs": weld_runs,
    "spectra and tables": spectra_tables,
}


@pytest.mark.parametrize("system", SYSTEMS)
def test_all_services_by_configuration_alone(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    path, own = SYSTEMS[system]()
    changed = [word for key, value in (SERVICES | own).items() for word in ("--set", f"{key}={value}")]
    command("train", path, *changed, "--out", "run")
    folder = tmp_path / "run"
    assert "recompute: on changes nothing" not in caplog.text
    resolved = yaml.safe_load((folder / "recipe.yaml").read_text())
    trainer = resolved["trainer"]
    assert trainer["ema"]["decay"] == 0.9
    assert trainer["early_stopping"]["cooldown"] == 1
    assert trainer["hardware"]["recompute"] == trainer["hardware"]["deterministic"] == "on"
    assert ("trainer.batches" in own and "LengthGrouped" in own["trainer.batches"]) == (
        isinstance(trainer["batches"], dict) and trainer["batches"]["type"] == "LengthGrouped"
    )
    scores = json.loads((folder / "scores.json").read_text())
    assert [fold["fold"] for fold in scores["folds"]] == ["part=1", "part=2"]
    assert all(fold["rows"] for fold in scores["folds"])
    assert scores["rows"]
    cells = sorted((folder / "cells").iterdir())
    assert [cell.name for cell in cells] == ["part=1-seed0", "part=2-seed0"]
    tested: list[int] = []
    for cell in cells:
        checkpoints = {path.name.split("-")[0] for path in (cell / "checkpoints").iterdir() if path.is_dir()}
        assert checkpoints == {"best", "last"}
        logged = list(csv.DictReader((cell / "metrics.csv").open()))
        for name in ("valid/loss", "valid/ema/loss"):
            values = [float(row[name]) for row in logged if row.get(name)]
            assert values
            assert np.isfinite(values).all()
        steps = [float(row["step"]) for row in logged if row.get("train/grad_norm")]
        assert max(steps) <= (float(logged[-1]["batch"]) + 1) // 2, "a step for two batches"
        tested += Embeddings.load(cell / "embeddings" / "test").ids.tolist()
    account = json.loads((folder / "data.json").read_text())
    assert len(set(tested)) == sum(account["folds"]["part=1"].values()), "every recording is tested on once"
    assert len(account["fingerprint"]) == 64
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["precision"] == "bf16-mixed"
    page = (folder / "report.html").read_text()
    assert scores["verdict"].split(". ")[0] in page
    assert "Packages (" in page
