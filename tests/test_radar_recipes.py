"""The recipes of the radar system through the command line: simulated clips with sentences, real activities."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from test_recipes import RECIPES, command

TINY = ["--set", "trainer.epochs=1", "--set", "trainer.batch_size=64"]


def test_simulated_clips_with_sentences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "radar", "data/radar_sim", "--count", "40")
    output = command("train", RECIPES / "radar_text.yaml", *TINY, "--set", "evaluation.retrieval.shown=[[range_time]]")
    assert "SIMULATED" in output
    run = tmp_path / "runs" / "radar_text"
    scores = json.loads((run / "scores.json").read_text())
    clips = json.loads(Path("data/radar_sim/test.json").read_text())
    assert {(row["query"], row["gallery"]) for row in scores["retrieval"]["rows"]} >= {
        ("fused", "text"),
        ("text", "fused"),
    }
    assert f"gallery {len(clips)}" in output
    found = command("search", run, "--text", "someone is boxing", "-k", "3")
    ids = [line.split()[2] for line in found.splitlines() if line.strip()[:2] in ("1.", "2.", "3.")]
    assert len(set(ids)) == 3
    assert set(ids) <= set(clips)
    assert "with torch" not in found
    (picture,) = (run / "search").glob("*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_activities_of_radhar(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    radar = data_root / "radar"
    captions = radar / "kitml_captions" / "annotations.json.gz"
    command("data", "import", "radhar", radar / "radhar", "data/radhar", "--captions", captions)
    assert '"test": 547' in command("check", RECIPES / "radhar_text.yaml")
    assert '"test": 547' in command("check", RECIPES / "radhar_views.yaml")


@pytest.mark.nightly
def test_activities_of_radhar_to_their_report(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    radar = data_root / "radar"
    captions = radar / "kitml_captions" / "annotations.json.gz"
    command("data", "import", "radhar", radar / "radhar", "data/radhar", "--captions", captions)
    output = command("train", RECIPES / "radhar_text.yaml", "--set", "trainer.epochs=1")
    assert "zero-shot by prompts" in output
    assert "gallery 547" in output


@pytest.mark.nightly
def test_views_of_radhar(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "import", "radhar", data_root / "radar" / "radhar", "data/radhar")
    output = command("train", RECIPES / "radhar_views.yaml", "--set", "trainer.epochs=2")
    assert "range_time -> azimuth_time, gallery 547" in output
