"""From files to a report through the command line: every recipe of the project, and the formats users have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from openpyxl import Workbook
from scipy.io import savemat
from typer.testing import CliRunner

from counterpoint import start
from counterpoint.cli import app
from counterpoint.evaluate.embeddings import Embeddings

RECIPES = Path(__file__).parents[1] / "recipes"
TINY = ["--set", "trainer.epochs=1", "--set", "seeds=[0]"]


def command(*words: str | Path) -> str:
    result = CliRunner().invoke(app, ["--debug", *map(str, words)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.output)


def expect_run(folder: Path) -> dict[str, Any]:
    """The scores of a run whose folder has all that it should."""
    scores: dict[str, Any] = json.loads((folder / "scores.json").read_text())
    names = {"recipe.yaml", "data.json", "environment.json", "model.json", "scores.json", "report.html", "baselines"}
    names |= {
        "cells",
        "predictions.parquet",
        "metrics.csv",
        "metrics.json",
        "curves.json",
        "errors.csv",
        "model_card.md",
    }
    assert {path.name for path in folder.iterdir()} == names | ({"index"} if scores["retrieval"] else set())
    for cell in (folder / "cells").iterdir():
        assert (cell / "metrics.csv").is_file()
        assert list((cell / "checkpoints").glob("last-*"))
        assert Embeddings.load(cell / "embeddings" / "test").values.shape[1] > 1
    assert scores["verdict"].split(". ")[0] in (folder / "report.html").read_text()
    return scores


def test_cwru(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "import", "cwru", data_root / "vibration" / "cwru_12k", "data/cwru")
    quick = ["--set", "data.split.values=[7]", "--set", "data.evaluation.stride=40000"]
    output = command("train", RECIPES / "cwru.yaml", *TINY, *quick, "--set", "evaluation.transfer=null")
    assert "InfoNCE, logistic regression" in output
    scores = expect_run(tmp_path / "runs" / "cwru")
    assert not scores["simulated"]
    assert [fold["fold"] for fold in scores["folds"]] == ["Fault_level=7"]


def write_phm(folder: Path, first: int, label_column: str = "Label") -> None:
    """A PHM-Vibench collection: an Excel table and an HDF5 file of (L, C, 1) float64."""
    folder.mkdir()
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.append(["Id", "Dataset_id", "Name", "File", label_column, "Domain_id", "Sample_rate", "Sample_lenth"])
    rng = np.random.default_rng(first)
    with h5py.File(folder / "data.h5", "w") as file:
        for i in range(first, first + 8):
            sheet.append([i, 1, "made up", f"{i}.mat", i % 2, i % 3, 2000, 3000])
            tone = np.sin(np.arange(3000) * (0.2 + 0.3 * (i % 2)))[:, None]
            file[str(i)] = (tone + 0.3 * rng.normal(size=(3000, 2)))[:, :, None]
    book.save(folder / "metadata.xlsx")


def phm_recipe(folders: list[Path], path: Path) -> Path:
    recipe = {
        "data": {
            "type": "Vibration",
            "collections": [
                {"metadata": str(f / "metadata.xlsx"), "signals": str(f / "data.h5"), "name": f.name} for f in folders
            ],
            "signal": {"channels": "require"},
            "views": {"windows": {"type": "Random", "length": 256}, "pairs_per_recording": 2},
            "evaluation": {"type": "EvenlySpaced", "length": 256, "count": 4},
            "split": {"type": "ByGroup", "test": 0.4, "valid": 0.2},
        },
        "encoders": {"vibration": {"type": "PatchTransformer", "dim": 32, "blocks": {"depth": 1}}},
        "objective": {"type": "SupCon", "positives": "id"},
        "trainer": {"epochs": 2, "batch_size": 8, "monitor": {"log_every": 1}},
        "evaluation": {"transfer": {"fractions": [0.5], "epochs": 1, "min_steps": 1, "batch_size": 4}},
    }
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def test_phm_vibench_one_and_two_collections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_phm(tmp_path / "one", 1)
    write_phm(tmp_path / "two", 5, "label")
    wide = ["--set", "trainer.hardware.precision=64-true"]
    command("train", phm_recipe([tmp_path / "one"], tmp_path / "single.yaml"), *wide)
    assert len(expect_run(tmp_path / "runs" / "single")["transfer"]) == 2
    command("train", phm_recipe([tmp_path / "one", tmp_path / "two"], tmp_path / "both.yaml"))
    expect_run(tmp_path / "runs" / "both")
    account = json.loads((tmp_path / "runs" / "both" / "data.json").read_text())
    assert account["counts"]["recordings"] == 16, "ids 5 to 8 are in both and are different recordings"
    assert account["classes"] == {"0": 8, "1": 8}


def test_recordings_without_a_label_are_embedded_and_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_phm(tmp_path / "one", 1, "something else")
    output = command("train", phm_recipe([tmp_path / "one"], tmp_path / "plain.yaml"))
    assert "No recording is labelled" in output
    folder = tmp_path / "runs" / "plain"
    assert "No recording is labelled" in (folder / "report.html").read_text()
    (cell,) = (folder / "cells").iterdir()
    assert len(Embeddings.load(cell / "embeddings" / "test")) > 0


def write_mat(folder: Path, number: int, label: int, **more: float) -> None:
    rng = np.random.default_rng(number)
    signal = rng.normal(size=(9000, 1)) * (1 + label * np.sin(np.arange(9000) * 0.05)[:, None])
    content = {f"X{number:03d}_DE_time": signal, f"X{number:03d}RPM": np.array([[1797.0]])}
    if not more.get("without_fan_end"):
        content[f"X{number:03d}_FE_time"] = signal[::-1]
    if more.get("second"):
        content[f"X{int(more['second']):03d}_DE_time"] = signal * 2
    savemat(folder / f"{number}.mat", content)


def test_cwru_as_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "downloads"
    source.mkdir()
    for number in (97, 105, 118, 130, 169, 185, 197, 209):
        write_mat(source, number, number % 3, without_fan_end=number == 185)
    write_mat(source, 99, 0, second=98)
    command("data", "import", "cwru", source, "data/published")
    output = command("data", "describe", "data/published", "--recipe", "mine.yaml")
    assert "Sample_rate: 12000 x 7, 48000 x 2" in output
    recipe = yaml.safe_load(Path("mine.yaml").read_text())
    assert recipe["data"]["signal"] == {"rate": 12000.0}, "mixed rates are brought to one"
    command("check", "mine.yaml")
    command("train", "mine.yaml", *TINY, "--set", "evaluation.transfer=null")
    expect_run(tmp_path / "runs" / "mine")


def test_the_demonstration_and_what_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "demo"
    fleet = folder / "fleet"
    from counterpoint.data.synthetic.bearings import generate

    generate(fleet, bearings=16, loads=(0,), seconds=1.0)
    path = folder / "recipe.yaml"
    start.write_recipe(fleet, path)
    recipe = yaml.safe_load(path.read_text())
    recipe["trainer"]["epochs"] = 2
    recipe["evaluation"]["transfer"] = {"fractions": [1.0], "epochs": 1, "min_steps": 2}
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    output = command("demo", folder)
    assert "SIMULATED" in output
    assert output.rstrip().endswith("counterpoint train my.yaml")
    run = folder / "run"
    scores = expect_run(run)
    assert scores["simulated"]
    (cell,) = (run / "cells").iterdir()
    before = {path: path.stat().st_mtime_ns for path in (cell / "checkpoints").rglob("*")}
    assert scores["verdict"] in command("train", path, "--out", run), "done already: scored again, not trained again"
    assert before == {path: path.stat().st_mtime_ns for path in (cell / "checkpoints").rglob("*")}
    assert scores["verdict"] in command("evaluate", run)
    assert "wrote" in command("embed", run, "--out", "all.parquet")
    assert len(Embeddings.load(Path("all.parquet"))) == 16 * 16
    refused = CliRunner().invoke(app, ["train", str(path), "--out", str(run), "--set", "optimizer.lr=0.1"])
    assert refused.exit_code == 1
    assert "another recipe" in refused.output


def test_the_plug_in_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    Path("mine.py").write_text(readme.split("```python\n# mine.py\n")[1].split("```")[0])
    write_phm(tmp_path / "one", 1)
    path = phm_recipe([tmp_path / "one"], tmp_path / "plug.yaml")
    command("train", path, "--plugin", "mine", "--set", "encoders.vibration=Gru", "--set", "evaluation.transfer=null")
    expect_run(tmp_path / "runs" / "plug")
    assert "wrote" in command("embed", "runs/plug", "--plugin", "mine", "--out", "found.parquet")


def test_show_and_schema() -> None:
    assert "temperature" in command("show", "InfoNCE")
    assert "Encoder: " in command("show")
    known = json.loads(command("schema"))["$defs"]
    assert {"InfoNCE", "SupCon", "CrossEntropy"} <= {name.split(".")[-1] for name in known}
