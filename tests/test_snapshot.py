"""What is written of a run before its first step, and what is noticed when it is taken up again."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from functools import partial
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest
import torch

from counterpoint import config, run
from counterpoint.data.base import Data, Rows, SplitName
from counterpoint.data.features import FeatureSource, FeatureTables, RunColumns
from counterpoint.data.ledger import fingerprint as of_file
from counterpoint.data.splits import GroupedKFold
from counterpoint.encoders.pointwise import PointwiseMLP
from counterpoint.objectives import CrossEntropy
from counterpoint.recipe import Recipe
from counterpoint.settings import Hardware, Trainer
from counterpoint.snapshot import changes, environment, fingerprint, prepare, read_json
from report_run import write_run
from toys import OneLayer, ToneData


class Files(Data):
    """What says that it was read from files."""

    folds = ("main",)

    def __init__(self, *paths: Path) -> None:
        self.paths = paths

    def training(self, fold: str, split: SplitName) -> Rows:
        raise AssertionError("nothing is to be trained")

    evaluation = training

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        return {"sources": [of_file(path) for path in self.paths], "counts": {}}


def recipe(**more: Any) -> Recipe:
    return Recipe(data=ToneData, encoders={"tone": OneLayer}, objective=CrossEntropy, **more)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "data").mkdir()
    one, two = tmp_path / "data" / "one.csv", tmp_path / "data" / "two.csv"
    one.write_text("a")
    two.write_text("b")
    return one, two


def test_the_environment_names_all_that_decides_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["/somewhere/bin/counterpoint", "train", "my recipe.yaml", "--set", "seeds=[4, 5]"]
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = recipe(seeds=[4, 5], trainer=Trainer(hardware=Hardware(precision="bf16-mixed")))
    found = environment(made)
    assert found["command"] == "counterpoint train 'my recipe.yaml' --set 'seeds=[4, 5]'"
    assert found["seeds"] == "4, 5"
    assert found["precision"] == "bf16-mixed"
    assert found["recipe sha256"] == hashlib.sha256(config.dump(made).encode()).hexdigest()
    assert found["threads"] == torch.get_num_threads()
    assert found["OMP_NUM_THREADS"] == "1"
    assert found["torch"] == found["packages"]["torch"] == version("torch")
    assert set(found["packages"]) == {one.name for one in distributions()}
    assert "pydantic" in found["packages"]
    told = Path("/proc/cpuinfo")
    if told.is_file() and "model name" in told.read_text():
        assert f": {found['cpu']}\n" in told.read_text()
    assert found["accelerator"] == ("none" if torch.accelerator.current_accelerator() is None else found["accelerator"])
    json.dumps(found)


def test_commit_and_state_of_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = environment(recipe())
    assert (found["git commit of the working directory"], found["git tree"]) == ("none", "none")

    def git(*words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
        return subprocess.run(["git", *who, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    Path("model.py").write_text("a")
    git("add", "model.py")
    git("commit", "-m", "one")
    Path("notes.txt").write_text("not tracked")
    found = environment(recipe())
    assert (found["git commit of the working directory"], found["git tree"]) == (git("rev-parse", "HEAD"), "clean")
    Path("model.py").write_text("b")
    assert environment(recipe())["git tree"] == "dirty: 1 tracked files differ from the commit"


def test_one_digest_over_all_sources(tmp_path: Path, files: tuple[Path, Path]) -> None:
    prepare(tmp_path / "run", recipe(), Files(*files), overwrite=False)
    kept = read_json(tmp_path / "run" / "data.json")
    assert kept["fingerprint"] == fingerprint(kept["sources"])
    listed = "".join(
        f"{name} 1 {hashlib.sha256(text.encode()).hexdigest()}\n" for name, text in (("one.csv", "a"), ("two.csv", "b"))
    )
    assert kept["fingerprint"] == hashlib.sha256(listed.encode()).hexdigest()
    elsewhere = [source | {"path": source["path"].replace("data", "moved")} for source in kept["sources"]]
    assert fingerprint(elsewhere) == kept["fingerprint"], "the same data in another folder"
    assert fingerprint(kept["sources"][::-1]) != kept["fingerprint"]
    assert fingerprint(kept["sources"][:1]) != kept["fingerprint"]


def test_changed_data_are_named_at_resume(tmp_path: Path, files: tuple[Path, Path]) -> None:
    folder, (one, two) = tmp_path / "run", files
    prepare(folder, recipe(), Files(one, two), overwrite=False)
    prepare(folder, recipe(), Files(one, two), overwrite=False)
    assert changes(folder, Files(one, two)) == []
    two.write_text("c")
    with pytest.raises(
        ValueError, match=r"the data changed since .*run was begun: .*two\.csv has other contents; choose"
    ):
        prepare(folder, recipe(), Files(one, two), overwrite=False)
    (three := one.with_name("three.csv")).write_text("d")
    with pytest.raises(ValueError, match=r"two\.csv is gone, .*three\.csv is new; choose --out or --overwrite"):
        prepare(folder, recipe(), Files(one, three), overwrite=False)
    (told,) = changes(folder, Files(one, two))
    assert "the data are not those of the training" in told
    assert f"{two} has other contents" in told
    prepare(folder, recipe(), Files(one, two), overwrite=True)
    assert changes(folder, Files(one, two)) == []


def test_another_environment_is_told_at_resume(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "run"
    with caplog.at_level(logging.WARNING, "counterpoint"):
        for _ in range(2):
            prepare(folder, recipe(), Files(), overwrite=False)
        assert not caplog.messages
        kept = read_json(folder / "environment.json")
        kept["packages"] |= {"torch": "1.0", "gone": "3"}
        kept |= {"threads": 77, "command": "another"}
        (folder / "environment.json").write_text(json.dumps(kept))
        prepare(folder, recipe(), Files(), overwrite=False)
    (told,) = caplog.messages
    assert f"threads was 77 and is {torch.get_num_threads()}" in told
    assert f"torch was 1.0 and is {version('torch')}" in told
    assert "gone was 3 and is absent" in told
    assert "command" not in told


def table(folder: Path) -> partial[FeatureTables]:
    """A table of forty runs in ten groups and two classes."""
    lines = [f"{row},{row // 4},{'ab'[row // 4 % 2]},{row % 7},{row // 4 % 2 + 0.01 * row:.2f}" for row in range(40)]
    path = folder / "runs.csv"
    path.write_text("\n".join(["id,group,label,x,y", *lines]) + "\n")
    return partial(
        FeatureTables,
        runs=path,
        features={"one": FeatureSource(file=path, columns=["x", "y"])},
        columns=RunColumns(id=["id"], label="label", group=["group"]),
        split=GroupedKFold(folds=2),
    )


def test_changed_data_are_told_at_evaluation(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = Recipe(
        data=table(tmp_path),
        encoders={"one": partial(PointwiseMLP, dim=4, hidden=8)},
        objective=CrossEntropy,
        trainer=Trainer(epochs=1, batch_size=8, hardware=Hardware(accelerator="cpu")),
    )
    folder = tmp_path / "run"
    run.train(made, folder)
    with caplog.at_level(logging.WARNING, "counterpoint"):
        assert "not those of the training" not in run.evaluate(folder)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]
    page = (folder / "report.html").read_text()
    assert f"Packages ({len(list({one.name for one in distributions()}))})" in page
    assert f"<div><dt>torch</dt><dd>{version('torch')}</dd></div>" in page
    path = tmp_path / "runs.csv"
    path.write_text(path.read_text().replace("39,9,b,4,", "39,9,b,5,"))
    with caplog.at_level(logging.WARNING, "counterpoint"):
        said = run.evaluate(folder)
    told = f"the data are not those of the training: {path} has other contents"
    assert told in said
    assert told in caplog.text
    assert told in read_json(folder / "scores.json")["findings"][0]
    assert "the data are not those of the training" in (folder / "report.html").read_text()


def test_a_run_whose_environment_has_no_list_still_has_a_report(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    from counterpoint.report import write_report

    page = write_report(folder).read_text()
    assert "<summary>Environment</summary>" in page
    assert "Packages (" not in page
