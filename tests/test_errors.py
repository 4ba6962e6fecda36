"""Whatever can be wrong with a recipe or its data is one message that names file, place and remedy."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from counterpoint.cli import app

LENGTH = 600


def write_data(folder: Path, **changes: Any) -> None:
    """Twelve recordings of six machines in three classes; ``changes`` break the table or the file."""
    rng = np.random.default_rng(0)
    rows = [
        {"Id": i, "Label": "abc"[i % 3], "Sample_rate": 1000, "machine": f"m{i % 6}", "load": i // 6} for i in range(12)
    ]
    for row, column, value in changes.get("cells", []):
        rows[row][column] = value
    lines = [",".join(rows[0]), *(",".join(str(cell) for cell in row.values()) for row in rows)]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    with h5py.File(folder / "signals.h5", "w") as file:
        for i in range(12):
            values = rng.normal(size=(changes.get("lengths", {}).get(i, LENGTH), 1))
            for sample in changes.get("nan", {}).get(i, []):
                values[sample] = np.nan
            if i not in changes.get("absent", []):
                file[str(i)] = values


def document(folder: Path) -> dict[str, Any]:
    return {
        "data": {
            "type": "Vibration",
            "collections": [{"metadata": str(folder / "metadata.csv"), "signals": str(folder / "signals.h5")}],
            "columns": {"group": ["machine"]},
            "views": {"windows": {"type": "Disjoint", "length": 128}},
            "evaluation": {"type": "EvenlySpaced", "length": 128, "count": 2},
            "split": {"type": "ByGroup", "test": 0.4, "valid": 0},
            "loading": {"quarantine": {"policy": "error"}},
        },
        "encoders": {"vibration": {"type": "ResNet1d", "width": 8}},
        "objective": {"type": "InfoNCE"},
    }


def write_recipe(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> Path:
    recipe = document(folder)
    change(recipe)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def check(path: Path) -> str:
    """What `counterpoint check` complains of; it must complain."""
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 1, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return str(result.output)


def test_the_healthy_recipe_passes(tmp_path: Path) -> None:
    write_data(tmp_path)
    result = CliRunner().invoke(app, ["check", str(write_recipe(tmp_path))])
    assert result.exit_code == 0, result.output
    assert "12" in result.output
    assert "no overlap found" in result.output


RECIPES: list[tuple[str, Callable[[dict[str, Any]], object], list[str]]] = [
    ("misspelt key", lambda r: r["objective"].update(temprature=0.1), ["recipe.yaml:", "temprature", "'temperature'"]),
    ("wrong type", lambda r: r["objective"].update(temperature="warm"), ["recipe.yaml:", "temperature", "'warm'"]),
    ("unknown class", lambda r: r["objective"].update(type="InfoNSE"), ["recipe.yaml:", "InfoNSE", "'InfoNCE'"]),
    ("missing argument", lambda r: r["data"].pop("collections"), ["recipe.yaml:", "Vibration", "collections"]),
    ("missing section", lambda r: r.pop("encoders"), ["recipe.yaml", "encoders"]),
    (
        "missing file",
        lambda r: r["data"]["collections"][0].update(signals="nowhere.h5"),
        ["nowhere.h5", "no such"],
    ),
    (
        "unknown normalisation",
        lambda r: r["data"].update(signal={"normalise": "zscor"}),
        ["recipe.yaml:", "zscor", "zscore", "minmax", "robust"],
    ),
    (
        "group on both sides",
        lambda r: r["data"].update(split={"type": "ByValue", "column": "load", "train": [0], "test": [1], "valid": 0}),
        ["m0", "both", "ByValue"],
    ),
    (
        "single recording to train on",
        lambda r: r["data"].update(select={"Id": [0, 1]}, split={"type": "ByGroup", "test": 0.5, "valid": 0}),
        ["1 recording", "at least two"],
    ),
    (
        "no such column",
        lambda r: r["data"]["columns"].update(group=["bearing"]),
        ["metadata.csv", "bearing", "machine"],
    ),
]


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in RECIPES], ids=[row[0] for row in RECIPES])
def test_recipes_that_cannot_work(tmp_path: Path, change: Callable[[dict[str, Any]], object], words: list[str]) -> None:
    write_data(tmp_path)
    output = check(write_recipe(tmp_path, change))
    for word in words:
        assert word in output, output


DATA: list[tuple[str, dict[str, Any], list[str]]] = [
    ("HDF5 key absent", {"absent": [3]}, ["signals.h5", "row 5", "'3'", "absent"]),
    ("NaN", {"nan": {4: [7, 9]}}, ["signals.h5", "row 6", "2 non-finite", "sample 7"]),
    ("shorter than a window", {"lengths": {2: 100}}, ["signals.h5", "row 4", "100 samples", "need 256"]),
    ("empty", {"lengths": {2: 0}}, ["row 4", "empty"]),
    ("duplicate Id", {"cells": [(7, "Id", 1)]}, ["metadata.csv", "rows 3", "9", "1"]),
]


@pytest.mark.parametrize(("broken", "words"), [row[1:] for row in DATA], ids=[row[0] for row in DATA])
def test_data_that_cannot_be_used(tmp_path: Path, broken: dict[str, Any], words: list[str]) -> None:
    write_data(tmp_path, **broken)
    output = check(write_recipe(tmp_path))
    for word in words:
        assert word in output, output


def test_a_missing_label_where_labels_are_required(tmp_path: Path) -> None:
    write_data(tmp_path, cells=[(5, "Label", "")])
    path = write_recipe(tmp_path, lambda r: r["data"]["columns"].update(unlabelled="refuse"))
    output = check(path)
    assert "row 7" in output
    assert "label missing" in output


def test_a_duplicate_key_names_both_lines(tmp_path: Path) -> None:
    write_data(tmp_path)
    path = write_recipe(tmp_path)
    path.write_text(path.read_text() + "objective: SupCon\n")
    output = check(path)
    assert "objective" in output
    assert "recipe.yaml:" in output


def test_several_problems_come_at_once(tmp_path: Path) -> None:
    write_data(tmp_path)

    def change(recipe: dict[str, Any]) -> None:
        recipe["objective"]["temprature"] = 1
        recipe["encoders"]["vibration"]["type"] = "ResNet"
        recipe["seed"] = 1

    output = check(write_recipe(tmp_path, change))
    assert output.count("recipe.yaml:") == 3
    for word in ("temprature", "ResNet", "seeds"):
        assert word in output


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    assert "nowhere.yaml" in check(tmp_path / "nowhere.yaml")


def test_bad_rows_are_skipped_and_counted_by_choice(tmp_path: Path) -> None:
    write_data(tmp_path, nan={4: [7]})
    path = write_recipe(
        tmp_path, lambda r: r["data"]["loading"].update(quarantine={"policy": "skip", "max_share": 0.1})
    )
    result = CliRunner().invoke(app, ["check", str(path)])
    assert result.exit_code == 0, result.output
    assert '"recordings": 11' in result.output
    assert '"quarantined": 1' in result.output


def test_help_needs_nothing_heavy() -> None:
    code = "import sys, counterpoint.cli; print([m for m in ('torch', 'lightning', 'numpy') if m in sys.modules])"
    started = time.perf_counter()
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    assert time.perf_counter() - started < 20
