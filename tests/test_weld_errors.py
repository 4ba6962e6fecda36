"""Whatever can be wrong with weld runs is a message with file, run and remedy, or stands in the account by name."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, final

import pyarrow.parquet as pq
import pytest
import yaml
from torch import nn
from typer.testing import CliRunner

from counterpoint.cli import app
from counterpoint.data.synthetic.welds import generate
from counterpoint.encoders.base import Encoder, masked_mean
from counterpoint.types import Encoded, Images, ImageSpec

RUNS = 48
MODALITIES = ("video", "photos", "audio", "sensor")
OFFICIAL = "data.split={type: ByColumn, column: SPLIT, shared_groups: report}"
LENIENT = "data.loading.quarantine.max_share=0.2"
STRICT = "data.loading.quarantine.policy=error"


@final
class Brightness(Encoder):
    """A token a picture: its mean colour through a linear layer."""

    reads: ClassVar = (ImageSpec,)

    def __init__(self, spec: ImageSpec, /, *, dim: int = 8) -> None:
        super().__init__()
        self.dim = dim
        self.project = nn.Linear(3, dim)

    def forward(self, images: Images) -> Encoded:
        tokens = self.project(images.values.float().mean((3, 4)) / 255)
        return Encoded(tokens, images.mask, masked_mean(tokens, images.mask))


class World(NamedTuple):
    """A copy of the simulated runs: its folder, its recipe, and runs as DIRECTORY/RUN, whole ones first."""

    root: Path
    recipe: Path
    runs: list[str]

    def file(self, run: str, suffix: str) -> Path:
        return self.root / run / f"{run.split('/')[1]}{suffix}"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 runs of 24 configurations, a second each."""
    for package in ("av", "soundfile", "PIL"):
        pytest.importorskip(package, reason="the extra media is not installed")
    folder = tmp_path_factory.mktemp("simulated") / "welds"
    return generate(folder, runs=RUNS, configurations=24, seconds=1.0, video_size=(32, 24), photo_size=(32, 24))


@pytest.fixture
def world(simulated: Path, tmp_path: Path) -> World:
    root = Path(shutil.copytree(simulated, tmp_path / "welds"))
    media = {
        "video": {"frames": 2, "size": 16},
        "photos": {"size": 16},
        "audio": {"mels": 8, "frames": 8},
        "sensor": {"length": 8},
    }
    split = {"type": "GroupedKFold", "folds": 2}
    small = {"type": "PointwiseMLP", "dim": 8, "hidden": 8}
    recipe = {
        "data": {"type": "WeldRuns", "root": str(root), "media": media, "split": split},
        "encoders": {"video": "Brightness", "photos": "Brightness", "audio": small, "sensor": small},
        "fusion": {"type": "Gated", "dim": 8},
        "objective": "CrossEntropy",
        "trainer": {"epochs": 1, "batch_size": 16},
        "evaluation": {"evaluators": ["KNN"]},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    names = [f"{row['DIRECTORY']}/{row['SUBDIRS']}" for row in manifest(root)]
    return World(root, path, [name for name in names if (root / name / "images").is_dir()])


def manifest(root: Path) -> list[dict[str, str]]:
    with (root / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def named_alike(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """The two runs of one name."""
    count = Counter(row["SUBDIRS"] for row in rows)
    return [row for row in rows if count[row["SUBDIRS"]] > 1]


def row_of(world: World, run: str) -> int:
    """As a person counts the rows of the manifest: its header is the first."""
    names = [f"{row['DIRECTORY']}/{row['SUBDIRS']}" for row in manifest(world.root)]
    return names.index(run) + 2


def asked(command: str, world: World, *overrides: str, out: Path | None = None) -> Any:
    words = [word for override in overrides for word in ("--set", override)]
    where = [] if out is None else ["--out", str(out)]
    return CliRunner().invoke(app, [command, str(world.recipe), "--plugin", "test_weld_errors", *words, *where])


def passed(world: World, *overrides: str) -> str:
    result = asked("check", world, *overrides)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(world: World, *overrides: str, words: list[str]) -> None:
    result = asked("check", world, *overrides)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, result.output


def cut_in_half(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def header_twice(path: Path) -> Path:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:5], lines[0], *lines[5:]]))
    return path


def photo_of(world: World, run: str) -> Path:
    return sorted((world.root / run / "images").iterdir())[1]


Damage = Callable[[World, str], Path]
DAMAGE: dict[str, tuple[Damage, str, str]] = {
    "avi": (lambda world, run: cut_in_half(world.file(run, ".avi")), "video", "truncated"),
    "flac": (lambda world, run: cut_in_half(world.file(run, ".flac")), "audio", "truncated"),
    "jpg": (lambda world, run: cut_in_half(photo_of(world, run)), "photos", "truncated"),
    "csv": (lambda world, run: header_twice(world.file(run, ".csv")), "sensor", "header stands twice: again in row 6"),
}
"""What is done to a file of a run, which modality that costs, and the reason."""


def test_healthy_runs_pass_and_a_name_in_two_folders_is_two_runs(world: World) -> None:
    told = passed(world)
    assert f'"runs": {RUNS}, "with video": {RUNS}, "with photos": {len(world.runs)}' in told
    assert '"quarantined": 0' in told
    rows = manifest(world.root)
    first, second = named_alike(rows)
    assert first["DIRECTORY"] != second["DIRECTORY"]
    rewrite(world.root, [*rows, first])
    run = f"{first['DIRECTORY']}/{first['SUBDIRS']}"
    again = f"run {run} is listed twice, in rows {rows.index(first) + 2} and {RUNS + 2}"
    refused(world, words=[again, "remove one of them"])


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_file(world: World, kind: str) -> None:
    harm, modality, reason = DAMAGE[kind]
    run = world.runs[7]
    path = harm(world, run)
    told = passed(world)
    assert f'"runs": {RUNS - 1}' in told
    assert '"quarantined": 1' in told
    own = path if modality != "photos" else sorted(path.parent.iterdir())[0]
    where = f"{run} ({modality}) in {own}, row {row_of(world, run)}: {reason}"
    refused(world, STRICT, words=[f"1 of {RUNS} recordings cannot be used", where, path.name, "quarantine: {policy"])


def test_a_run_without_photographs_lacks_them_and_is_counted(world: World) -> None:
    shutil.rmtree(world.root / world.runs[7] / "images")
    told = passed(world, STRICT)
    assert f'"runs": {RUNS}, "with video": {RUNS}, "with photos": {len(world.runs) - 1}' in told


def test_a_class_that_is_unknown_and_a_run_that_is_not_on_disk(world: World) -> None:
    rows = manifest(world.root)
    rows[4]["CATEGORY"] = "Dent"
    dented = f"{rows[4]['DIRECTORY']}/{rows[4]['SUBDIRS']}"
    rows.append(rows[9] | {"SUBDIRS": "01-01-99-0999-04"})
    rewrite(world.root, rows)
    told = passed(world)
    assert f'"runs": {RUNS - 1}' in told
    assert '"quarantined": 2' in told
    words = [
        f"2 of {RUNS + 1} recordings cannot be used",
        f"{dented} (run) in {world.root / dented}, row 6: class unknown: CATEGORY is 'Dent', none of Good, ",
        f"01-01-99-0999-04, row {RUNS + 2}: listed and not on disk",
    ]
    refused(world, STRICT, words=words)


def test_much_damage_stops_the_run_and_what_is_allowed_stands_by_name_and_is_replaced_by_nothing(world: World) -> None:
    harmed = {}
    for at, (harm, modality, _) in enumerate(DAMAGE.values()):
        harm(world, world.runs[3 * at + 4])
        harmed[world.runs[3 * at + 4]] = modality
    refused(world, words=[f"4 of {RUNS} recordings cannot be used (8.3%)", "max_share: 0.09", *harmed])
    assert '"quarantined": 4' in passed(world, LENIENT)
    told = passed(world, "data.loading.damaged=mask")
    assert f'"runs": {RUNS}, "with video": {RUNS - 1}, "with photos": {len(world.runs) - 1}' in told
    assert '"damaged and masked": 4, "quarantined": 0' in told
    run, out = world.recipe.parent / "run", world.recipe.parent / "weights.parquet"
    whole = "data.split={type: ByGroup, test: 0.3, valid: 0}"
    result = asked("train", world, "data.loading.damaged=mask", whole, out=run)
    assert result.exit_code == 0, result.output
    account = json.loads((run / "data.json").read_text())
    assert {one["recording"]: one["modality"] for one in account["masked"]} == harmed
    asking = ["attention", str(run), "--split", "all", "--out", str(out), "--plugin", "test_weld_errors"]
    assert CliRunner().invoke(app, asking).exit_code == 0
    seen = {(row["name"], row["modality"]) for row in pq.read_table(out, columns=["name", "modality"]).to_pylist()}
    assert len({name for name, _ in seen}) == RUNS
    alike = {f"{row['DIRECTORY']}/{row['SUBDIRS']}" for row in named_alike(manifest(world.root))}
    assert len(alike & {name for name, _ in seen}) == 2
    for name, lacking in harmed.items():
        assert {modality for own, modality in seen if own == name} == set(MODALITIES) - {lacking}


@pytest.mark.parametrize("objective", ["SupCon", "CrossEntropy"])
def test_the_official_split_has_one_class_to_train_on(world: World, objective: str) -> None:
    """Whatever would learn from labels of it is refused, by `check` and by `train`, whatever the sampler."""
    good = sum(row["SPLIT"] == "TRAIN" for row in manifest(world.root))
    assert {row["CATEGORY"] for row in manifest(world.root) if row["SPLIT"] == "TRAIN"} == {"Good"}
    balanced = ["trainer.batches={type: ClassBalanced, classes: 4, rows: 4}"]
    changes = [OFFICIAL, "data.views.count=2", f"objective={objective}", *(balanced if objective == "SupCon" else [])]
    words = [
        f"tells classes apart and of the {good} training rows all that are labelled are of one",
        f"Good {good}, Excessive_Penetration 0, Burnthrough 0",
        "unlabelled 0. A row would have no negative, and supervised contrast would stay at ln(N - 1)",
        "choose an objective that needs no labels",
    ]
    refused(world, *changes, words=[f"fold 'main': {objective} ", *words])
    result = asked("train", world, *changes, out=world.recipe.parent / "run")
    assert result.exit_code == 1
    for word in words:
        assert word in result.output, result.output
    assert not list(world.recipe.parent.glob("run/**/checkpoints/*"))
