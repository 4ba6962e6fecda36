"""Export: what is written answers as the model does, on sizes and lengths it was not traced with, or says why not."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from clips_world import RECIPE, ClipData
from counterpoint import run
from counterpoint.data.base import Data, Draw, Rows
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.modulation import BandPowers, ModulationSpectrum
from counterpoint.encoders.parallel import Parallel
from counterpoint.encoders.patch import PatchTransformer
from counterpoint.encoders.pointwise import PointwiseMLP
from counterpoint.encoders.radar import RadarEncoder
from counterpoint.encoders.resnet import ResNet1d
from counterpoint.encoders.sensor import SensorTransformer
from counterpoint.encoders.set_sequence import SetSequence
from counterpoint.encoders.spectral import SpectralConv, SpectralMLP, SpectralTransformer
from counterpoint.encoders.table import FeatureTokens, TableMLP
from counterpoint.export.command import Cell, batches, export_cell
from counterpoint.export.graph import PROBABILITIES
from counterpoint.export.manifest import MANIFEST, README, Exported
from counterpoint.export.parity import CLOSE, SIZES
from counterpoint.fusion import (
    Concat,
    CrossAttentionFusion,
    Fusion,
    Gated,
    NothingPresentError,
    TimeFusion,
    TokenAttention,
)
from counterpoint.graphs import Format, Ports, Runner, kept, largest, told, write
from counterpoint.model import FUSED, build_model
from counterpoint.objectives import CrossEntropy
from counterpoint.recipe import build, keep_features, read
from counterpoint.types import (
    Batch,
    Events,
    EventSpec,
    Modality,
    ObjectiveSpec,
    Signal,
    SignalSpec,
    Spec,
    Spectra,
    SpectraSpec,
    Table,
    TableSpec,
)
from sets_world import SPEC as STAYS
from sets_world import StayRows
from test_recipes import RECIPES, command

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

SIGNAL = SignalSpec(3, 48, 10.0)
LENGTHS = "of their length"


class Made(Rows):
    """Rows of random signals; of those that come with a mask each row is of a length of its own."""

    def __init__(self, specs: dict[str, Spec], masked: bool, count: int = 9) -> None:
        self.ids = self.groups = np.arange(count)
        self.labels, self.domains = self.ids % 2, np.zeros_like(self.ids)
        self.metadata = np.zeros((count, 1))
        self.specs, self.masked = specs, masked

    def __getitems__(self, draws: list[Draw]) -> Batch:
        rows = np.array([draw.row for draw in draws])
        view = {name: self.read(spec, rows) for name, spec in self.specs.items()}
        columns = [torch.from_numpy(column[rows]) for column in (self.labels, self.groups, self.domains, self.ids)]
        return Batch([view], *columns)

    def read(self, spec: Spec, rows: np.ndarray[Any, Any]) -> Modality:
        draw = torch.Generator().manual_seed(int(rows[0]))
        if isinstance(spec, SpectraSpec):
            made = torch.arange(spec.scans) < (spec.scans - torch.from_numpy(rows) % 3).unsqueeze(1)
            return Spectra(torch.randn(len(rows), spec.scans, len(spec.axis), generator=draw), made)
        if isinstance(spec, TableSpec):
            values = torch.randn(len(rows), len(spec.columns), generator=draw)
            values[:, 1] = torch.from_numpy(rows % 2).float()
            return Table(values, torch.from_numpy((rows[:, None] + np.arange(len(spec.columns))) % 4 != 0))
        assert isinstance(spec, SignalSpec)
        values = [
            torch.randn(spec.length, spec.channels, generator=torch.Generator().manual_seed(int(r))) for r in rows
        ]
        mask = torch.arange(spec.length) < torch.from_numpy(spec.length - 2 * rows).unsqueeze(1)
        return Signal(torch.stack(values), mask if self.masked else None)


class World(Data):
    """Specs and nothing else."""

    def __init__(self, specs: dict[str, Spec], /, *, classes: tuple[str, ...] = ("a", "b")) -> None:
        self.specs, self.classes, self.folds, self.names = specs, classes, ("main",), ()

    def training(self, fold: str, split: Any) -> Rows:
        raise AssertionError

    evaluation = training

    def audit(self, fold: str) -> list[str]:
        return []

    def report(self) -> dict[str, Any]:
        return {}


def cell(
    encoders: dict[str, Callable[..., Encoder]],
    *,
    specs: dict[str, Spec] | None = None,
    fusion: Callable[..., Fusion] = Concat,
    rows: Rows | None = None,
    masked: bool = True,
) -> Cell:
    """An untrained model with a classifier, and rows for it."""
    torch.manual_seed(0)
    specs = specs or dict.fromkeys(encoders, SIGNAL)
    model = build_model(specs, encoders, fusion).eval()
    objective = CrossEntropy(ObjectiveSpec(model.dims, model.latents, ("a", "b"), specs)).eval()
    return Cell(model, objective, World(specs), rows or Made(specs, masked))


def only(found: list[Exported]) -> Exported:
    (one,) = found
    return one


def expect(one: Exported, lengths: bool) -> None:
    """A file that agrees, compared on every size, and on other lengths where there are any."""
    assert one.outcome.reason == ""
    assert one.outcome.difference <= CLOSE
    assert [f"{size} rows" for size in SIZES] == list(one.outcome.checked[: len(SIZES)])
    assert any(LENGTHS in case for case in one.outcome.checked) is lengths


WHOLE_ROWS = partial(
    Parallel,
    branches=[
        partial(PointwiseMLP, dim=8, frontend=partial(ModulationSpectrum, bands=2, rates=8)),
        partial(PointwiseMLP, dim=4, frontend=partial(BandPowers, bands=6)),
    ],
)


@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_vibration_of_whole_windows(tmp_path: Path, form: Format) -> None:
    one = only(export_cell(cell({"vibration": WHOLE_ROWS}, masked=False), tmp_path, form))
    expect(one, lengths=False)
    assert one.outputs == (FUSED, "vibration.pooled", PROBABILITIES)
    assert [i.shape for i in one.inputs] == [("batch", 48, 3)]


def test_weld_features_and_their_gates(tmp_path: Path) -> None:
    narrow = partial(PointwiseMLP, dim=8, hidden=8)
    one = only(export_cell(cell({"sensor": narrow, "audio": narrow}, fusion=partial(Gated, dim=8)), tmp_path, "onnx"))
    expect(one, lengths=True)
    assert one.outcome.how.endswith("any length")
    assert {i.name for i in one.inputs} == {"sensor.values", "sensor.mask", "audio.values", "audio.mask"}


SPECTRA: dict[str, Spec] = {
    "spectra": SpectraSpec(4, tuple(np.linspace(400.0, 1800.0, 40).tolist()), "cm-1"),
    "table": TableSpec(("age", "sex", "glucose"), ((), ("f", "m"), ())),
}


def spectral(encoder: Callable[..., Encoder], table: Callable[..., Encoder], fusion: Callable[..., Fusion]) -> Cell:
    encoders = {"spectra": partial(encoder, dim=8), "table": partial(table, dim=8)}
    return cell(encoders, specs=SPECTRA, fusion=fusion)


def test_spectra_and_tables(tmp_path: Path) -> None:
    one = only(export_cell(spectral(SpectralMLP, TableMLP, Concat), tmp_path, "onnx"))
    expect(one, lengths=True)
    assert [i.shape for i in one.inputs] == [("batch", "spectra_length", 40), ("batch", "spectra_length")] + [
        ("batch", 3)
    ] * 2
    assert "age, sex, glucose" in one.inputs[2].meaning


@pytest.mark.nightly
@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("encoder", [SpectralTransformer, SpectralConv])
def test_spectral_encoders_and_cross_attention(tmp_path: Path, encoder: Callable[..., Encoder], form: Format) -> None:
    made = spectral(encoder, FeatureTokens, partial(CrossAttentionFusion, dim=8, heads=2))
    expect(only(export_cell(made, tmp_path, form)), lengths=True)


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("sensor", partial(SensorTransformer, dim=8, patch=4)),
        ("radar", partial(RadarEncoder, dim=8, width=8, stride=4, heads=2)),
        ("resnet", partial(ResNet1d, dim=8, width=8, stages=2)),
        ("patch", partial(PatchTransformer, dim=8, patch=8)),
    ],
)
@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.nightly
def test_signal_encoders(tmp_path: Path, name: str, encoder: Callable[..., Encoder], form: Format) -> None:
    expect(only(export_cell(cell({name: encoder}), tmp_path, form)), lengths=True)


@pytest.mark.parametrize("fusion", [partial(TimeFusion, dim=8), partial(TokenAttention, dim=8, heads=2, hidden=8)])
@pytest.mark.nightly
def test_fusions(tmp_path: Path, fusion: Callable[..., Fusion]) -> None:
    one = partial(RadarEncoder, dim=8, width=8, stride=4, heads=2, depth=0)
    expect(only(export_cell(cell({"near": one, "side": one}, fusion=fusion), tmp_path, "onnx")), lengths=True)


def test_a_fusion_still_refuses_rows_that_have_nothing() -> None:
    made = cell({"a": PointwiseMLP, "b": PointwiseMLP})
    nothing = Signal(torch.zeros(2, 48, 3), torch.zeros(2, 48, dtype=torch.bool))
    with pytest.raises(NothingPresentError):
        made.model({"a": nothing, "b": nothing})


class Stays(StayRows):
    """In single precision, as they are read."""

    def __getitems__(self, draws: list[Draw]) -> Batch:
        batch = super().__getitems__(draws)
        events = batch.views[0]["events"]
        assert isinstance(events, Events)
        return batch._replace(
            views=[{"events": events._replace(values=events.values.float(), times=events.times.float())}]
        )


def test_clinical_events_say_why_not(tmp_path: Path) -> None:
    specs: dict[str, Spec] = {"events": STAYS}
    assert isinstance(STAYS, EventSpec)
    found = only(export_cell(cell({"events": SetSequence}, specs=specs, rows=Stays(9)), tmp_path, "onnx"))
    assert found.outcome.file == ""
    assert found.outcome.reason
    assert "\n" not in found.outcome.reason
    assert not list(tmp_path.glob("*.onnx*"))


def test_rows_of_one_element_have_no_other_length(tmp_path: Path) -> None:
    specs: dict[str, Spec] = {"x": SignalSpec(5, 1, 0.0)}
    one = only(export_cell(cell({"x": partial(PointwiseMLP, dim=4)}, specs=specs, masked=False), tmp_path, "torch"))
    expect(one, lengths=False)
    assert one.inputs[0].shape == ("batch", 1, 5)


def test_a_row_without_a_mask_takes_none(tmp_path: Path) -> None:
    one = only(export_cell(cell({"x": partial(PointwiseMLP, dim=4)}, masked=False), tmp_path, "torch"))
    expect(one, lengths=True)
    assert [i.name for i in one.inputs] == ["x.values"]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from dataclasses import replace

    from counterpoint.evaluation import Evaluation
    from counterpoint.settings import Trainer

    folder = tmp_path_factory.mktemp("runs") / "clips"
    run.train(replace(RECIPE, trainer=Trainer(epochs=1, batch_size=30), evaluation=Evaluation()), folder)
    return folder


def test_the_command_the_manifest_and_the_example(clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "files"
    said = command("export", clips, "--out", out, "--plugin", "clips_world")
    assert "model.onnx: largest difference" in said
    assert "text: not exported: Words has no published tokenizer" in said
    manifest = json.loads((out / MANIFEST).read_text())
    assert manifest["run"] == "clips"
    assert manifest["not exported"].keys() == {"text"}
    (graph,) = manifest["graphs"]
    assert graph["parity"]["largest difference"] <= graph["parity"]["limit"] == CLOSE
    assert graph["outputs"] == ["fused", "near.pooled", "side.pooled"]
    assert graph["no probabilities"] == "CLIP predicts no classes"
    names = [one["name"] for one in graph["inputs"]]
    assert names == ["near.values", "near.mask", "side.values", "side.mask"]
    assert graph["inputs"][0]["dtype"] == "float32"
    assert graph["inputs"][0]["shape"] == ["batch", "near_length", 3]
    view = batches(ClipData().evaluation("all", "test"))[SIZES[-1]]
    near = view["near"]
    assert isinstance(near, Signal)
    assert graph["inputs"][0]["entering"]["mean"] == pytest.approx(float(near.values.mean()), abs=1e-5)
    assert manifest["data"]["type"] == "ClipData"
    assert manifest["versions"].keys() >= {"counterpoint", "torch", "onnxruntime"}
    example = (out / README).read_text().split("```python\n")[1].split("```")[0]
    shown = subprocess.run([sys.executable, "-c", example], cwd=out, capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("[(2, ")
    assert "counterpoint" not in example


def test_a_cell_that_is_not_there_is_named(clips: Path, tmp_path: Path) -> None:
    from counterpoint.export import export

    with pytest.raises(ValueError, match="no cell of fold 'none'"):
        export(clips, tmp_path, fold="none", plugins=["clips_world"])
    with pytest.raises(ValueError, match="and seed 7"):
        export(clips, tmp_path, seed=7, plugins=["clips_world"])


class Doubled(torch.nn.Module):
    """Twice what comes in."""

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (2 * values,)


DOUBLED = Ports(("values",), (("batch", "length"),), ("twice",))


def test_a_file_that_differs_is_not_kept(tmp_path: Path) -> None:
    path, values = tmp_path / "file.pt2", torch.randn(2, 3)

    def export() -> None:
        write(Doubled(), (values,), DOUBLED, path, "torch", "dynamo")

    def apart(by: float) -> float:
        other = torch.randn(4, 5)
        return largest((2 * other + by,), Runner(path, DOUBLED)((other,)))

    most, reason = kept(path, export, lambda: apart(0.0), CLOSE)
    assert (most, reason) == (0.0, "")
    assert path.is_file()
    most, reason = kept(path, export, lambda: apart(1e-3), CLOSE)
    assert most == pytest.approx(1e-3, rel=0.01)
    assert "differs by" in reason
    assert not path.exists()


def test_differences_of_other_shapes_and_of_no_number_are_not_close() -> None:
    one = (torch.zeros(2, 3),)
    assert math.isinf(largest(one, [np.zeros((2, 4))]))
    assert not largest(one, [np.full((2, 3), np.nan)]) < CLOSE
    assert "hangs on what the values are" in told(RuntimeError("GuardOnDataDependentSymNode: u0"))


SMALL_STAYS = (
    "encoders.events.branches=[{type: SetSequence, dim: 8, latent: 4, sets: {dim: 8, depth: 1, points: 2}, "
    "sequence: {depth: 1, heads: 1}}, EventStatistics]"
)


def built(name: str, *overrides: str) -> Cell:
    """The model of a recipe, untrained, with its test rows; its data lie where it looks for them."""
    recipe = read(RECIPES / f"{name}.yaml", overrides)
    data = recipe.data()
    model, objective = build(recipe, data, 0)
    rows = keep_features(recipe, model, data.evaluation(data.folds[0], "test"))
    return Cell(model.eval(), objective.eval(), data, rows)


def outcomes(made: Cell, out: Path) -> dict[str, Exported]:
    return {one.name: one for one in export_cell(made, out, "onnx")}


@pytest.mark.nightly
def test_recipe_radar_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "radar", "data/radar_sim", "--count", "40")
    found = outcomes(built("radar_text"), tmp_path)
    assert found.keys() == {"model", "text"}
    for one in found.values():
        expect(one, lengths=True)
    assert (tmp_path / "tokenizer.json").is_file()


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["radhar_text", "radhar_views"])
def test_recipes_of_radhar(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    radar = data_root / "radar"
    captions = radar / "kitml_captions" / "annotations.json.gz"
    command("data", "import", "radhar", radar / "radhar", "data/radhar", "--captions", captions)
    for one in outcomes(built(name), tmp_path).values():
        expect(one, lengths=True)


@pytest.mark.nightly
def test_recipe_weld_features(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(data_root / "weld" / "intel_features", tmp_path / "data" / "weld_features")
    found = outcomes(built("weld_features"), tmp_path)
    assert found.keys() == {"model"}
    assert found["model"].outcome.difference <= CLOSE
    assert PROBABILITIES in found["model"].outputs


@pytest.mark.nightly
def test_recipe_weld(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "welds", "data/welds", "--count", "48")
    command("model", "stand-ins", "models")
    found = outcomes(built("weld"), tmp_path)
    expect(found["model"], lengths=True)
    inputs = {i.name: i for i in found["model"].inputs}
    assert "VJEPA2" in inputs["video.tokens"].meaning


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["spectra_attention", "spectra_tft"])
def test_recipes_of_spectra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "spectra", "data/spectra_sim", "--count", "60")
    found = outcomes(built(name), tmp_path)
    expect(found["model"], lengths=True)
    assert PROBABILITIES in found["model"].outputs


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "file"), [("saliva", "covid_dataset.npz"), ("mayonnaise", "mayonnaise.csv")])
def test_recipes_of_real_spectra(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch, name: str, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (source,) = (data_root / "spectra").rglob(file)
    (tmp_path / "data" / name).mkdir(parents=True)
    shutil.copy(source, tmp_path / "data" / name)
    expect(outcomes(built(name), tmp_path)["model"], lengths=False)


def test_recipe_coffee(tmp_path: Path) -> None:
    pytest.importorskip("chemotools")
    expect(outcomes(built("coffee"), tmp_path)["model"], lengths=False)


@pytest.mark.nightly
def test_recipe_cwru(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "import", "cwru", data_root / "vibration" / "cwru_12k", "data/cwru")
    found = outcomes(built("cwru", "data.split.values=[7]", "data.evaluation.stride=40000"), tmp_path)
    expect(found["model"], lengths=False)


@pytest.mark.nightly
def test_recipe_physionet2012_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command("data", "generate", "stays", "icu", "--count", "30", "--layout", "long")
    command("data", "describe", "icu", "--recipe", "mine.yaml")
    recipe = read(Path("mine.yaml"), [SMALL_STAYS])
    data = recipe.data()
    model, objective = build(recipe, data, 0)
    made = Cell(model.eval(), objective.eval(), data, data.evaluation(data.folds[0], "test"))
    found = outcomes(made, tmp_path)
    assert found["model"].outcome.file == ""
    assert "hangs on what the values are" in found["model"].outcome.reason


def test_every_recipe_is_in_the_table_of_the_docs() -> None:
    table = (RECIPES.parent / "docs" / "export.md").read_text(encoding="utf-8")
    for path in RECIPES.glob("*.yaml"):
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
        rows = [line for line in table.splitlines() if line.startswith(f"| `{path.stem}`")]
        told_of = " ".join(rows)
        for encoder in recipe["encoders"].values():
            name = encoder if isinstance(encoder, str) else encoder["type"]
            assert name in told_of, f"docs/export.md has no line for {name} of {path.stem}"
