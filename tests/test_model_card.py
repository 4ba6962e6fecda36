"""The model card: complete, honest, true to the files of the run, and safe to publish as Markdown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from counterpoint.report import write_model_card
from counterpoint.report.model_card import line
from judged_run import MAIN, write_judged
from report_run import CLASSES, HOSTILE

SECTIONS = [
    "What it is",
    "Intended use",
    "Limits",
    "For the owner to fill",
    "Training data",
    "Evaluation",
    "Calibration",
    "Findings and caveats",
    "How to use it",
    "Environment",
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_judged(tmp_path / "judged")


def change(folder: Path, file: str, **values: Any) -> None:
    document = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(document | values), encoding="utf-8")


def read(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The header, and the text of each section."""
    text = write_model_card(folder).read_text(encoding="utf-8")
    _, header, body = text.split("---\n", 2)
    parts = re.split(r"^## (.+)$", body, flags=re.MULTILINE)
    return yaml.safe_load(header), {title: part.strip() for title, part in zip(parts[1::2], parts[2::2], strict=True)}


def test_every_section_says_something(run: Path) -> None:
    header, sections = read(run)
    assert list(sections) == SECTIONS
    assert all(len(text) > 20 for text in sections.values())
    text = (run / "model_card.md").read_text(encoding="utf-8").replace("holds NaN", "")  # the reason of a rejection
    assert not re.search(r"\b(None|nan|NaN|Undefined)\b", text)
    assert "for the owner to fill" in sections["For the owner to fill"]
    assert header["library_name"] == "counterpoint"
    assert "simulated-data" in header["tags"]


def test_scores_are_those_of_the_run(run: Path) -> None:
    header, sections = read(run)
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in sections["Evaluation"].splitlines()
        if row[:1] == "|"
    ]
    assert rows[0][:3] == ["answer", "kind", "balanced accuracy"]
    for row, told in zip(scores["rows"], rows[2:], strict=False):
        score = row["scores"]["balanced_accuracy"]
        assert told[:2] == [row["name"], row["kind"]]
        assert told[2].startswith(f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]")
    assert rows[-1][0] == "chance"
    (main,) = [row for row in scores["rows"] if row["name"] == MAIN]
    (model,) = header["model-index"]
    found = {one["type"]: one["value"] for one in model["results"][0]["metrics"]}
    assert found == {name: round(score["value"], 4) for name, score in main["scores"].items()}
    assert scores["verdict"][:40] in (run / "model_card.md").read_text(encoding="utf-8")


def test_data_and_findings_are_those_of_the_account(run: Path) -> None:
    _, sections = read(run)
    account = json.loads((run / "data.json").read_text(encoding="utf-8"))
    data = sections["Training data"]
    assert all(source["sha256"] in data for source in account["sources"])
    assert all(f"{count:,}" in data for count in account["classes"].values())
    assert "2 left out, never replaced (too short: 1, holds NaN: 1)" in data
    assert "2 recordings stand in train and test" in data
    assert "effective rank 3.1 of 128" in sections["Findings and caveats"]
    assert data.count("| load ") == 3
    assert "| load 0 | 120 | 20 | 60 |" in data


def test_limits_follow_from_the_facts(run: Path) -> None:
    limits = read(run)[1]["Limits"]
    assert "SIMULATED" in limits
    assert "45 independent groups" in limits
    assert CLASSES[0] in limits
    assert "6 models, one for each fold and seed" in limits
    assert f"Never predicted of any test row: {line(CLASSES[2])}." in limits
    scores = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    for row in scores["rows"]:
        for score in row["scores"].values():
            score["groups"] = 7
    change(run, "scores.json", simulated=False, rows=scores["rows"])
    limits = read(run)[1]["Limits"]
    assert "SIMULATED" not in limits
    assert "7 independent groups, which is few" in limits


def test_parameters_come_from_training_or_from_the_checkpoint(run: Path) -> None:
    assert "holds no checkpoint" in read(run)[1]["What it is"]
    folder = run / "cells" / "load 0-seed0" / "checkpoints" / "last-00000030"
    folder.mkdir(parents=True)
    tensors = {"model.a": torch.zeros(3, 500), "model.b": torch.zeros(()), "objective.c": torch.zeros(7)}
    save_file(tensors, folder / "weights.safetensors")
    said = read(run)[1]
    assert "1,501 numbers in encoders and fusion" in said["What it is"]
    assert "; 7 in the objective" in said["What it is"]
    assert "cells/load 0-seed0/checkpoints/last-00000030" in said["How to use it"]
    (run / "model.json").write_text(json.dumps({"model": 2000, "objective": 9, "trained": 1234, "bytes": 8036}))
    assert "1,234 of all were trained" in read(run)[1]["What it is"]


def test_a_run_without_labels_has_a_card(run: Path) -> None:
    empty: dict[str, Any] = {"rows": [], "folds": [], "chance": {}, "confusion": {}, "calibration": {}, "per_class": {}}
    change(run, "scores.json", **empty, findings=[], verdict="No recording is labelled, so nothing can be scored.")
    change(run, "data.json", classes={}, quarantine=[], audit={}, counts={})
    header, sections = read(run)
    assert "model-index" not in header
    assert list(sections) == SECTIONS
    assert all(len(text) > 10 for text in sections.values())
    assert "nothing was scored" in sections["Evaluation"]
    assert not re.search(r"\b(None|nan)\b", (run / "model_card.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "text", [HOSTILE, "a|b", "[x](javascript:alert(1))", "`code`\n# heading", "![i](http://x/y.png)"]
)
def test_hostile_names_stay_text(run: Path, text: str) -> None:
    change(run, "scores.json", findings=[text], name=text)
    change(run, "data.json", classes={text: 3, "b": 4})
    header, sections = read(run)
    body = (run / "model_card.md").read_text(encoding="utf-8").split("---\n", 2)[2]
    assert list(sections) == SECTIONS
    assert not re.search(r"<(script|img)", body)
    assert not re.search(r"(?<!\\)\]\(", body)
    assert header["model-index"][0]["name"] == text


def test_counts_of_conditions_are_those_of_the_embeddings(run: Path) -> None:
    from counterpoint.evaluate.embeddings import Embeddings

    path = run / "cells" / "load 0-seed0" / "embeddings" / "test"
    known = Embeddings.load(path)
    domains = np.where(np.arange(len(known)) < 5, 9, known.domains)
    Embeddings(known.values, known.labels, known.groups, domains, known.ids, known.classes, known.names).save(path)
    row = next(row for row in read(run)[1]["Training data"].splitlines() if row.startswith("| load 0 |"))
    assert [cell.strip() for cell in row.strip("|").split("|")][6:] == ["3", "4", "1"]
