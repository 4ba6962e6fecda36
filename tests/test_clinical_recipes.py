"""Stays through the command line: from files in every form to a report, and the recipe of the Challenge."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from counterpoint import start
from counterpoint.evaluate.embeddings import Embeddings
from test_recipes import RECIPES, command, expect_run

SMALL = (
    "encoders.events.branches=[{type: SetSequence, dim: 8, latent: 4, sets: {dim: 8, depth: 1, points: 2}, "
    "sequence: {depth: 1, heads: 1}}, EventStatistics]"
)
TINY = ["--set", SMALL, "--set", "trainer.epochs=2", "--set", "trainer.monitor.log_every=1"]
FEW = ["--set", "data.events.variables=[GCS, Gender, HR, ICUType]", "--set", "data.events.horizon_hours=6"]
STAYS = 60
SHOTS = "evaluation.few_shot={labels: [20], repeats: 2}"


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def section(page: str, name: str) -> str:
    begin = page.index(f'<section id="{name}">')
    return page[begin : page.index("</section>", begin)]


def expect_scores(scores: dict[str, Any]) -> None:
    """AUROC, AUPRC and Brier of the model and of every baseline, with intervals where there are two groups or more."""
    assert scores["metric"] == "auroc"
    assert {row["kind"] for row in scores["rows"]} == {"model", "baseline"}
    for row in scores["rows"]:
        assert {"auroc", "auprc", "brier"} <= set(row["scores"])
        for score in row["scores"].values():
            assert score["low"] <= score["value"] <= score["high"]
    assert scores["chance"]["auroc"] == 0.5
    (few,) = scores["shots"]
    assert few["labels"] == 20
    assert few["repeats"] == 2


def expect_report(folder: Path) -> None:
    """The sections and curves that only stays have."""
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "died" in section(page, "calibration")
    assert "20 labelled rows" in section(page, "shots")
    training = section(page, "training")
    for title in ("KL divergence", "Active units", "Reconstruction"):
        assert title in training
    assert "another value at the same minute" in section(page, "data")


@pytest.mark.parametrize(
    ("layout", "reader", "split"),
    [
        ("long", "LongTable", {"type": "ByGroup", "test": 0.2, "valid": 0.1}),
        ("physionet2012", "PhysioNet2012", {"type": "ByGroup", "test": 0.2, "valid": 0.1}),
        ("folder", "StayFolder", {"type": "ByColumn", "column": "split"}),
    ],
)
def test_from_files_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str, reader: str, split: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "stays", "icu", "--count", str(STAYS), "--layout", layout)
    said = command("data", "describe", "icu", "--recipe", "mine.yaml")
    for words in (
        f"{STAYS} stays, ",
        "variables, events and stays",
        "sets: ",
        "(13.3%) of 60 labelled stays",
        "SIMULATED",
    ):
        assert words in said
    assert "another value at the same minute, all kept: 36 in 27 stays" in said
    recipe = yaml.safe_load(Path("mine.yaml").read_text())
    assert recipe["data"]["stays"]["type"] == reader
    assert recipe["data"]["split"] == split
    assert "few_shot" not in recipe["evaluation"], "60 stays have too few labels"
    checked = command("check", "mine.yaml")
    assert '"stays": 60' in checked
    assert "no overlap found" in checked
    output = command("train", "mine.yaml", *TINY, *FEW, "--set", SHOTS)
    assert "The recordings are SIMULATED." in output
    run = tmp_path / "runs" / "mine"
    scores = expect_run(run)
    expect_scores(scores)
    expect_report(run)
    account = read(run / "data.json")
    assert scores["simulated"] is account["simulated"] is True
    assert account["classes"] == {"survived": 52, "died": 8}
    rows = list(csv.DictReader((run / "cells" / "main-seed0" / "metrics.csv").open()))
    assert [row for row in rows if row.get("train/kl")]
    assert [row for row in rows if row.get("train/active_units") or row.get("valid/active_units")]
    assert scores["verdict"] in command("evaluate", run)
    assert read(run / "scores.json")["rows"] == scores["rows"]
    command("embed", run, "--out", "all.parquet")
    whole = Embeddings.load(Path("all.parquet"))
    assert len(whole) == STAYS
    assert sorted(whole.names) == [str(900_001 + at) for at in range(STAYS)]


@pytest.fixture(scope="module")
def challenge(data_root: Path) -> Path:
    folder = data_root / "clinical" / "physionet2012"
    if not folder.is_dir():
        pytest.skip(f"no PhysioNet 2012 stays at {folder}")
    return folder


def test_the_recipe_of_the_challenge(tmp_path: Path, challenge: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "import", "physionet2012", challenge, "data/physionet2012")
    quick = ["--set", "trainer.epochs=1", "--set", "trainer.batch_size=1500", "--set", "seeds=[0]"]
    quick += ["--set", "data.events.max_sequence_length=8", "--set", "evaluation.few_shot.repeats=2"]
    quick += ["--set", "data.events.variables=[Age, BUN, GCS, Gender, HR, ICUType, Temp, Urine]"]
    output = command("train", RECIPES / "physionet2012.yaml", *TINY[:2], *TINY[4:], *quick)
    assert "SIMULATED" not in output
    run = tmp_path / "runs" / "physionet2012"
    scores = expect_run(run)
    assert not scores["simulated"]
    assert [few["labels"] for few in scores["shots"]] == [100, 400]
    account = read(run / "data.json")
    assert account["folds"]["main"]["test"] + account["counts"]["quarantined"] >= 4000
    assert account["counts"]["stays"] + account["counts"]["quarantined"] == 8000
    assert any(kind.startswith("beyond max_sequence_length") for kind in account["events"])
    assert re.search(r"SetVAE, logistic regression +\| model +\| 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]", output)


def test_the_challenge_is_described_from_either_form(challenge: Path) -> None:
    said = start.describe(challenge / "fixture_raw_20")
    assert "20 stays, 8510 events" in said
    assert "survived 19 (95.0%), died 1 (5.0%) of 20 labelled stays" in said
    assert "value that stands for a missing one (-1), left out: 9 in 7 stays" in said
    assert "outcome without events, left out: 3980" in said
    assert "Outcomes-b" not in said, "it names none of these stays"
    data = yaml.safe_load(start.recipe_for(challenge, Path("unused")))["data"]
    ours = yaml.safe_load((RECIPES / "physionet2012.yaml").read_text())["data"]
    for key in ("outcome", "split"):
        assert data[key] == ours[key]
    for key in ("missing", "ignore"):
        assert data["stays"][key] == ours["stays"][key]
    assert data["stays"]["unit"] == "hours"
    assert data["events"] == {"categorical": ["Gender", "ICUType"]}


def test_an_imported_set_holds_what_its_text_files_hold(tmp_path: Path) -> None:
    text, table = tmp_path / "text", tmp_path / "table"
    command("data", "generate", "stays", text, "--count", "12", "--layout", "physionet2012", "--seed", "3")
    command("data", "import", "physionet2012", text, table)
    assert sorted(path.name for path in table.iterdir()) == ["Outcomes-a.txt", "events_a.parquet"]
    lines = []
    for path in sorted((text / "set-a").glob("*.txt")):
        for line in path.read_text().splitlines()[1:]:
            clock, name, value = line.split(",")
            minute = 60.0 * int(clock[:2]) + int(clock[3:])
            lines.append((int(path.stem), minute, name, pytest.approx(float(value), rel=1e-6)))
    found = pq.read_table(table / "events_a.parquet").to_pydict()
    columns = ("RecordID", "minute", "variable", "value")
    assert list(zip(*(found[name] for name in columns), strict=True)) == lines
    assert len(lines) > 1000
    ours, theirs = (start.describe(folder).splitlines() for folder in (text, table))
    alike = [line for line in ours if line.startswith("  ") or line.startswith(("sets: ", "outcome ", "time: "))]
    assert [line for line in theirs if line in alike] == alike


def test_contrast_of_two_views_of_a_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "stays", "icu", "--count", "24")
    command("data", "describe", "icu", "--recipe", "mine.yaml")
    contrast = ["--set", "objective=InfoNCE", "--set", "data.views={count: 2, drop_events: 0.3}"]
    alone = ["--set", SMALL.replace(", EventStatistics]", "]")]
    command("train", "mine.yaml", *contrast, *alone, *TINY[2:], *FEW, "--set", "trainer.batch_size=8")
    run = tmp_path / "runs" / "mine"
    names = [row["name"] for row in expect_run(run)["rows"]]
    assert "InfoNCE, logistic regression" in names
    rows = list(csv.DictReader((run / "cells" / "main-seed0" / "metrics.csv").open()))
    collapse = [float(row["train/collapse"]) for row in rows if row.get("train/collapse")]
    assert collapse
    assert all(value == pytest.approx(2.0794, abs=1e-3) for value in collapse), "ln 8"
