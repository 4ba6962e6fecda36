"""What each modality is worth: hidden at test, alone from the start, and compared on the same rows."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cached_world import SPEC as ARRAY
from cached_world import Arrays, Toy
from cached_world import write as write_arrays
from counterpoint import config, run
from counterpoint.cache import cached
from counterpoint.data.base import Draw, Rows
from counterpoint.data.features import FeatureSource, FeatureTables, RunColumns, RunViews
from counterpoint.data.hiding import Hidden, hidden, present, shown
from counterpoint.data.ledger import Quarantine
from counterpoint.data.splits import ByColumn
from counterpoint.embed import Subset, embed
from counterpoint.encoders.pointwise import PointwiseMLP
from counterpoint.encoders.set_sequence import SequenceLayers, SetLayers, SetSequence
from counterpoint.evaluate.embeddings import Embeddings, Truth
from counterpoint.evaluate.probes import LinearProbe
from counterpoint.evaluate.results import Result, difference, json_table, load_results
from counterpoint.evaluate.worth import Modalities, on_common_rows, worth
from counterpoint.evaluation import Evaluation
from counterpoint.fusion import TokenAttention
from counterpoint.modalities import alone, check, judge_modalities
from counterpoint.model import FUSED, Model, build_model
from counterpoint.objectives import CLIP, CrossEntropy, InfoNCE, Objective, Term, WeightedSum
from counterpoint.objectives.base import narrowed
from counterpoint.recipe import Recipe, import_roles, load, train_cell
from counterpoint.scores import embed_cell
from counterpoint.settings import ClassBalanced, Optimizer, Trainer
from counterpoint.task import Task
from counterpoint.types import Batch, Encoded, Events, Features, Images, Loss, Modality, ObjectiveSpec, Signal, Text
from sets_world import SPEC, pack, stay
from toys import ToneData

RUNS = 96
FOUR = ("a", "b", "c", "d")


def draws(rows: Rows) -> list[Draw]:
    return [Draw(row, 7 + row) for row in range(len(rows))]


def tables(folder: Path, arrays: dict[str, Any], **changes: Any) -> FeatureTables:
    """Runs in pairs that share a plate; two classes in turn, the last third of the plates is tested on."""
    count = len(next(iter(arrays.values())))
    np.savez(folder / "features.npz", **arrays)
    lines = [
        f"r{i},{'good' if (i // 2) % 2 else 'bad'},p{i // 2},{'test' if i >= 2 * count // 3 else 'train'}"
        for i in range(count)
    ]
    (folder / "runs.csv").write_text("\n".join(["run,label,plate,part", *lines]) + "\n", encoding="utf-8")
    chosen: dict[str, Any] = {
        "features": {name: FeatureSource(file=folder / "features.npz", array=name) for name in arrays},
        "columns": RunColumns(id=["run"], group=["plate"]),
        "split": ByColumn(column="part"),
    }
    return FeatureTables(runs=folder / "runs.csv", **(chosen | changes))


def test_a_hidden_modality_is_absent_from_every_row_and_nothing_stands_there() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    values = torch.arange(12.0).view(2, 3, 2) + 1
    pictures = torch.full((2, 3, 3, 4, 4), 9, dtype=torch.uint8)
    some: list[Modality] = [Signal(values, mask), Images(pictures, mask), Features(values.half(), mask)]
    for modality in some:
        found = hidden(modality)
        assert type(found) is type(modality)
        assert not found[1].any()  # type: ignore[union-attr]
        assert found[1].shape == (2, 3)  # type: ignore[union-attr]
        assert found[0].shape == modality[0].shape  # type: ignore[union-attr]
        assert found[0].dtype == modality[0].dtype  # type: ignore[union-attr]
        assert not found[0].any()  # type: ignore[union-attr]
        assert (shown(modality).tolist(), shown(found).tolist()) == ([True, False], [False, False])
    unmasked = hidden(Signal(values))
    assert isinstance(unmasked, Signal)
    assert unmasked.mask is not None
    assert torch.equal(unmasked.mask, torch.zeros(2, 3, dtype=torch.bool))
    assert shown(Signal(values)).tolist() == [True, True]
    assert hidden(Text(("a weld", ""))) == Text(("", ""))
    assert shown(Text(("a weld", ""))).tolist() == [True, False]


def test_hidden_events_are_rows_without_a_set() -> None:
    events = pack([stay(1), [], stay(2)], dtype=torch.float32)
    assert shown(events).tolist() == [True, False, True]
    found = hidden(events)
    assert isinstance(found, Events)
    expected = pack([[], [], []], events.keys.tolist(), dtype=torch.float32)
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
    torch.manual_seed(0)
    encoder = SetSequence(SPEC, dim=16, sets=SetLayers(dim=12, heads=2, points=3), sequence=SequenceLayers(heads=2))
    encoded = encoder.eval()(found)
    assert not encoded.mask.any()
    assert torch.equal(encoded.pooled, torch.zeros(3, 16))


def test_hidden_rows_hide_in_every_view_whatever_brings_them(tmp_path: Path) -> None:
    rows = Arrays(write_arrays(tmp_path / "data", 6, {"sound": (2,)}), 6, RunViews(count=2))
    assert present(rows, ["vibration", "sound"]).tolist() == [[True, row != 2] for row in range(6)]
    encoders = {"sound": Toy(ARRAY)}
    kept = cached(rows, encoders, tmp_path / "cache", batch_size=4)
    for hiding in (
        Hidden(kept, ["sound"]),
        cached(Hidden(rows, ["sound"]), encoders, tmp_path / "cache", batch_size=4),
    ):
        seen, plain = hiding.__getitems__(draws(rows)), kept.__getitems__(draws(rows))
        assert len(seen.views) == 2
        for view, whole in zip(seen.views, plain.views, strict=True):
            assert isinstance(view["sound"], Features)
            assert not view["sound"].mask.any()
            assert all(torch.equal(a, b) for a, b in zip(view["vibration"], whole["vibration"], strict=True))  # type: ignore[arg-type]
        assert all(torch.equal(a, b) for a, b in zip(seen[1:5], plain[1:5], strict=True))
    assert present(Hidden(kept, ["sound"]), ["vibration", "sound"]).tolist() == [[True, False]] * 6
    assert Subset(Hidden(rows, ["sound"]), np.array([4, 1])).content("vibration") == [
        rows.content("vibration")[row] for row in (4, 1)
    ]
    with pytest.raises(ValueError, match="cannot hide 'smell'; the rows have vibration, sound"):
        Hidden(rows, ["smell"]).__getitems__(draws(rows))


def test_only_is_the_reader_without_the_other_source(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {
        "sound": draw.normal(size=(24, 2, 3)),
        "image": draw.normal(size=(24, 5)),
        "text": draw.normal(size=(24, 1)),
    }
    arrays["image"][[3, 20]] = np.nan
    arrays["text"][[3, 8]] = np.nan
    views = RunViews(modality_dropout=0.7)
    whole = tables(tmp_path, arrays, views=views)
    (tmp_path / "by_hand").mkdir()
    kept = [row for row in range(24) if row not in (3, 20)]
    seen = whole.only(["image"])
    assert (seen.specs, seen.names, seen.folds) == ({"image": whole.specs["image"]}, whole.names, whole.folds)
    image = {"image": arrays["image"]}
    by_hand = tables(tmp_path / "by_hand", image, views=views, quarantine=Quarantine(max_share=0.2))
    for split in ("train", "test", "all"):
        for one, other in (
            (seen.evaluation("main", split), by_hand.evaluation("main", split)),
            (seen.training("main", split), by_hand.training("main", split)),
        ):
            assert [seen.names[row] for row in one.ids] == [by_hand.names[row] for row in other.ids]
            np.testing.assert_array_equal(one.labels, other.labels)
            pair = one.__getitems__(draws(one)).views[0], other.__getitems__(draws(other)).views[0]
            assert list(pair[0]) == list(pair[1]) == ["image"]
            for a, b in zip(pair[0]["image"], pair[1]["image"], strict=True):
                assert isinstance(a, Tensor)
                assert isinstance(b, Tensor)
                assert torch.equal(a, b)
        rows, all_rows = seen.evaluation("main", split), whole.evaluation("main", split)
        there = np.isin(all_rows.ids, kept)
        assert rows.ids.tolist() == all_rows.ids[there].tolist()
        for column in ("labels", "groups", "domains", "metadata"):
            np.testing.assert_array_equal(getattr(rows, column), getattr(all_rows, column)[there])
    training = seen.training("main", "train")
    for key in range(5):
        batch = training.__getitems__([Draw(row, 100 * key + row) for row in range(len(training))])
        assert shown(batch.views[0]["image"]).all(), "dropout never hides the one that is left"
    beside = whole.only(["image"], ["text"])
    assert list(beside.specs) == ["image", "text"]
    assert beside.evaluation("main", "all").ids.tolist() == kept
    assert whole.only(["image", "text"]).evaluation("main", "all").ids.tolist() == [
        row for row in range(24) if row != 3
    ]
    assert seen.report()["counts"] | {"left out": 2, "runs": 22, "with image": 22} == seen.report()["counts"]
    assert sum(seen.report()["classes"].values()) == 22
    assert "left out" not in whole.report()["counts"]
    assert whole.evaluation("main", "all").ids.tolist() == list(range(24))
    with pytest.raises(ValueError, match="no modality smell; there are sound, image, text"):
        whole.only(["smell"])
    with pytest.raises(ValueError, match="ToneData cannot show tone alone"):
        ToneData().only(["tone"])


def test_copies_are_looked_for_in_what_is_seen(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    arrays = {"sound": draw.normal(size=(12, 3)), "image": draw.normal(size=(12, 5))}
    arrays["sound"][11] = arrays["sound"][0]
    whole = tables(tmp_path, arrays)
    assert whole.audit("main") == []
    assert whole.only(["sound"]).audit("main") == ["train and test share 1 of content over 2 recordings: samples of r0"]


class Pairing(Objective):
    """Stands for an objective that compares outputs of the model."""

    def __init__(self, spec: ObjectiveSpec, /, *, pairs: list[list[str]], modality: str = "sound") -> None:
        super().__init__()
        assert all(name in spec.dims for pair in pairs for name in pair)
        self.pairs = tuple((one, other) for one, other in pairs)

    def forward(self, views: list[dict[str, Encoded]], batch: Batch) -> Loss:
        raise NotImplementedError


def test_what_of_an_objective_is_left_for_one_modality() -> None:
    pairs = [["sound", "image"], ["fused", "text"]]
    terms = {"clip": Term(objective=partial(Pairing, pairs=pairs), weight=0.3), "ce": Term(objective=CrossEntropy)}
    whole = partial(WeightedSum, terms=terms)
    beside = narrowed(whole, {"sound", "text", FUSED})
    assert isinstance(beside, partial)
    assert beside.keywords["terms"]["clip"].objective.keywords == {"pairs": [["fused", "text"]]}
    assert beside.keywords["terms"]["clip"].weight == 0.3
    bare = narrowed(whole, {"sound", FUSED})
    assert isinstance(bare, partial)
    assert list(bare.keywords["terms"]) == ["ce"]
    assert narrowed(partial(WeightedSum, terms={"clip": terms["clip"]}), {"sound", FUSED}) is None
    assert narrowed(partial(Pairing, pairs=pairs), {"image", "text", FUSED}) is None, "the modality it reads is gone"
    spec = ObjectiveSpec({"sound": 4, FUSED: 4}, {}, ("good", "bad"), {})
    assert list(bare(spec).terms) == ["ce"]
    clip = narrowed(CLIP, {"sound", "text", FUSED})
    assert isinstance(clip, partial)
    assert clip.keywords["pairs"] == [("fused", "text")], "a pair it has by default counts as one it was given"
    assert narrowed(CLIP, {"sound", FUSED}) is None
    assert narrowed(partial(CLIP, pairs=[("sound", "image")]), {"sound", "text", FUSED}) is None
    same = narrowed(partial(InfoNCE, temperature=0.2), {"sound", FUSED})
    assert isinstance(same, partial)
    assert (same.func, same.keywords) == (InfoNCE, {"temperature": 0.2})


def small_recipe(folder: Path, **changes: Any) -> Recipe:
    chosen: dict[str, Any] = {
        "data": partial(tables, folder, {name: np.zeros((12, 2)) for name in "ab"}),
        "encoders": {"a": PointwiseMLP, "b": partial(PointwiseMLP, dim=8)},
        "objective": CrossEntropy,
        "evaluation": Evaluation(modalities=Modalities()),
    }
    return Recipe(**(chosen | changes))


def test_the_recipe_of_one_modality(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    data = tables(tmp_path, {name: draw.normal(size=(12, 2)) for name in "abt"})
    recipe = small_recipe(tmp_path, encoders=dict.fromkeys("abt", PointwiseMLP), fused=["a", "b"])
    own, seen = alone(recipe, data, "b")
    assert (list(own.encoders), own.fused, list(seen.specs)) == (["b", "t"], ["b"], ["b", "t"])
    assert own.evaluation.modalities is None
    assert replace(own, encoders={}, fused=[], data=recipe.data, objective=recipe.objective) == replace(
        recipe,
        encoders={},
        fused=[],
        trainer=own.trainer,
        evaluation=own.evaluation,
    )
    bare, _ = alone(small_recipe(tmp_path), data, "a")
    assert (list(bare.encoders), bare.fused) == (["a"], [])
    pairing = small_recipe(tmp_path, objective=partial(Pairing, pairs=[["a", "b"]]))
    with pytest.raises(ValueError, match="every part of the objective compares or reads modalities"):
        check(pairing, data)
    with pytest.raises(ValueError, match="ToneData cannot show a alone"):
        check(small_recipe(tmp_path), ToneData())
    balanced = small_recipe(tmp_path, trainer=Trainer(batch_size=4, batches=ClassBalanced(classes=2, rows=2)))
    check(balanced, data)
    one_sided = {name: draw.normal(size=(12, 2)) for name in "ab"}
    one_sided["b"][[0, 1, 4, 5]] = np.nan
    with pytest.raises(ValueError, match=r"evaluation.modalities.alone: b: fold 'main': .*good 4"):
        check(balanced, tables(tmp_path, one_sided))
    with pytest.raises(ValueError, match="a alone makes the embedding"):
        small_recipe(tmp_path, encoders={"a": PointwiseMLP})
    with pytest.raises(ValueError, match="both off"):
        Modalities(alone="off", missing="off")


def patterned(folder: Path) -> FeatureTables:
    """A run for each of the fifteen ways to lack some of four modalities."""
    draw = np.random.default_rng(1)
    patterns = [pattern for pattern in product((True, False), repeat=4) if any(pattern)]
    arrays = {name: draw.normal(size=(15, 3, 4)) for name in FOUR}
    for row, pattern in enumerate(patterns):
        for name, here in zip(FOUR, pattern, strict=True):
            if not here:
                arrays[name][row] = np.nan
    return tables(folder, arrays, normalise="none")


def four_model(data: FeatureTables) -> Model:
    torch.manual_seed(0)
    fusion = partial(TokenAttention, queries=3, dim=16, heads=4, hidden=20)
    return build_model(data.specs, dict.fromkeys(FOUR, partial(PointwiseMLP, dim=12)), fusion).eval()


def test_fifteen_patterns_of_what_is_missing_and_none_changes_its_neighbours(tmp_path: Path) -> None:
    data = patterned(tmp_path)
    model, rows = four_model(data), data.evaluation("main", "all")
    together, one_by_one = embed(model, data, rows), embed(model, data, rows, batch_size=1)
    assert together.values.shape == (15, 16)
    assert len(np.unique(together.values.round(4), axis=0)) == 15
    np.testing.assert_allclose(together.values, one_by_one.values, atol=1e-6, rtol=0)
    draw = np.random.default_rng(0)
    for _ in range(5):
        order = draw.permutation(15)[:6]
        some = embed(model, data, Subset(rows, order))
        np.testing.assert_allclose(some.values, together.values[order], atol=1e-6, rtol=0)
    # Hiding what a run has gives what a run without it gives.
    first = Subset(rows, np.array([0]))
    for row, own in enumerate(present(rows, FOUR)):
        gone = [name for name, here in zip(FOUR, own, strict=True) if not here]
        bare = embed(model, data, Hidden(first, gone))
        again = Subset(rows, np.array([row]))
        assert present(Hidden(first, gone), FOUR).tolist() == present(again, FOUR).tolist()
        assert np.isfinite(bare.values).all()


def test_a_run_with_nothing_left_is_named(tmp_path: Path) -> None:
    data = patterned(tmp_path)
    model = four_model(data)
    rows = Hidden(data.evaluation("main", "all"), FOUR[:3])
    with pytest.raises(ValueError, match="no modality is present in r1, r3, r5, r7, r9, r11, r13; leave"):
        embed(model, data, rows)
    task = Task(
        model,
        CrossEntropy(ObjectiveSpec(model.dims, model.latents, data.classes, data.specs)),
        Optimizer(),
        total_steps=1,
        names=data.names,
    )
    batch = rows.__getitems__([Draw(5, 0), Draw(4, 0)])
    with pytest.raises(ValueError, match="no modality is present in r5; leave"):
        task.loss(batch)


def answer(name: str, ids: list[int], right: list[bool], seed: int = 0, kind: Any = "model") -> Result:
    rows = np.array(ids)
    labels = rows % 2
    probabilities = np.eye(2)[np.where(right, labels, 1 - labels)]
    return Result(name, kind, probabilities, Truth(labels, rows // 2, rows * 0, rows, ("a", "b")), (), "main", seed)


def test_differences_are_on_the_rows_of_both() -> None:
    whole = answer("Fused, its own head", list(range(12)), [True] * 9 + [False] * 3)
    part = answer("sound alone, its own head", [0, 1, 2, 3, 8, 9, 10, 11], [True, False] * 4)
    ours, theirs = on_common_rows([whole], [part])
    assert ours[0].truth.ids.tolist() == theirs[0].truth.ids.tolist() == part.truth.ids.tolist()
    assert difference(ours, theirs, "accuracy").value == pytest.approx(5 / 8 - 4 / 8)
    assert on_common_rows([whole], [replace(part, seed=3)]) == ([], [])
    twice = answer("image alone, its own head", [0, 0, 1, 2], [True] * 4)
    assert on_common_rows([whole], [twice]) == ([], []), "which of two rows it is cannot be known"
    strange = answer("image alone, its own head", [40, 41], [True] * 2)
    assert on_common_rows([whole], [strange]) == ([], [])


def test_the_best_single_modality_follows_the_metric() -> None:
    whole = answer("Fused, its own head", list(range(12)), [True] * 9 + [False] * 3)
    good = answer("image alone, its own head", list(range(12)), [True] * 8 + [False] * 4)
    bad = answer("sound alone, its own head", list(range(8)), [True, False] * 4)
    blind = answer("without image, its own head", list(range(12)), [False] * 12)
    judged = [whole, bad, good, blind]
    for metric in ("accuracy", "brier"):
        found = worth(["sound", "image"], [whole], judged, json_table(judged), metric)
        assert found["best"] == "image"
        assert [one["modality"] for one in found["alone"]] == ["sound", "image"]
        assert [one["left_out"] for one in found["alone"]] == [4, 0]
        assert [one["modality"] for one in found["without"]] == ["image"]
        sign = 1 if metric == "accuracy" else -1
        assert found["alone"][1]["difference"]["value"] == pytest.approx(sign / 12)
        assert found["without"][0]["difference"]["value"] == pytest.approx(sign * 9 / 12)
    json.dumps(found, allow_nan=False)


def write_world(folder: Path, **evaluation: Any) -> Path:
    """A recipe on features of which ``signal`` knows the class and ``noise`` does not; some runs lack one of them."""
    folder.mkdir(exist_ok=True)
    draw = np.random.default_rng(4)
    labels = (np.arange(RUNS) // 2) % 2
    signal = draw.normal(size=(RUNS, 4)) + 2.0 * (labels[:, None] - 0.5)
    noise = draw.normal(size=(RUNS, 4))
    signal[[5, 70]], noise[[9, 80, 90]] = np.nan, np.nan
    tables(folder, {"signal": signal, "noise": noise})
    features = {name: {"file": str(folder / "features.npz"), "array": name} for name in ("signal", "noise")}
    recipe = {
        "data": {
            "type": "FeatureTables",
            "runs": str(folder / "runs.csv"),
            "features": features,
            "columns": {"id": ["run"], "group": ["plate"]},
            "views": {"modality_dropout": 0.3},
            "split": {"type": "ByColumn", "column": "part"},
        },
        "encoders": {name: {"type": "PointwiseMLP", "hidden": 16, "dim": 8} for name in features},
        "objective": "CrossEntropy",
        "optimizer": {"lr": 0.02},
        "trainer": {"epochs": 12, "batch_size": 16},
        "evaluation": {"evaluators": ["LinearProbe"], "metric": "auroc", **evaluation},
    }
    path = folder / "recipe.json"
    path.write_text(json.dumps(recipe), encoding="utf-8")
    return path


def trained(recipe: Path, folder: Path) -> tuple[dict[str, Any], str]:
    text = run.train(config.load(json.loads(recipe.read_text(encoding="utf-8")), Recipe), folder)
    return json.loads((folder / "scores.json").read_text(encoding="utf-8")), text


def test_a_run_says_what_each_modality_is_worth_and_changes_nothing_else(tmp_path: Path) -> None:
    import_roles()
    asked, text = trained(write_world(tmp_path / "asked", modalities={}), tmp_path / "asked" / "run")
    plain, _ = trained(write_world(tmp_path / "plain"), tmp_path / "plain" / "run")
    extra = {f"{name} alone" for name in ("signal", "noise")} | {f"without {name}" for name in ("signal", "noise")}
    assert {row["name"] for row in asked["rows"]} - {row["name"] for row in plain["rows"]} == {
        f"{name}, its own head" for name in extra
    }
    assert [row for row in asked["rows"] if row["name"].split(",")[0] not in extra] == plain["rows"]
    assert {key: asked[key] for key in ("verdict", "confusion", "calibration", "chance")} == {
        key: plain[key] for key in ("verdict", "confusion", "calibration", "chance")
    }
    assert plain["modalities"] == {}

    found = asked["modalities"]
    fused = found["fused"]["scores"]["auroc"]["value"]
    single = {one["modality"]: one["scores"]["auroc"]["value"] for one in found["alone"]}
    missing = {one["modality"]: one["scores"]["auroc"]["value"] for one in found["without"]}
    assert fused > 0.9
    assert single["signal"] > 0.9
    assert 0.2 < single["noise"] < 0.75
    assert missing["noise"] > fused - 0.07
    assert 0.2 < missing["signal"] < 0.75
    assert found["best"] == "signal"
    rows = {
        (way, one["modality"]): (one["rows"], one["left_out"]) for way in ("alone", "without") for one in found[way]
    }
    # Of 32 test rows one lacks the signal and two the noise; who lacks one has nothing without the other.
    assert rows == {
        ("alone", "signal"): (31, 1),
        ("alone", "noise"): (30, 2),
        ("without", "signal"): (30, 2),
        ("without", "noise"): (31, 1),
    }
    gap = {one["modality"]: one["difference"] for one in found["without"]}
    assert gap["signal"]["low"] > 0
    assert abs(gap["noise"]["value"]) < 0.07
    assert f"best single modality, signal: {single['signal']:.3f} [" in text
    assert "Without signal at test: " in text
    assert "2 test rows have nothing else and are left out." in text
    page = (tmp_path / "asked" / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="modalities"' in page
    assert 'id="modalities"' not in (tmp_path / "plain" / "run" / "report.html").read_text(encoding="utf-8")

    resumed_only_where_something_is_gone(tmp_path / "asked")
    judged_again_without_training(tmp_path / "asked" / "run", asked)


def resumed_only_where_something_is_gone(folder: Path) -> None:
    cell = folder / "run" / "cells" / "main-seed0"
    before = {path: path.stat().st_mtime_ns for path in cell.rglob("*") if path.is_file()}
    first = load_results(cell / "alone" / "noise" / "predictions.parquet")[0]
    shutil.rmtree(cell / "alone" / "noise")
    again, _ = trained(folder / "recipe.json", folder / "run")
    touched = {path.relative_to(cell) for path, time in before.items() if path.stat().st_mtime_ns != time}
    rejudged = {Path("predictions.parquet"), *(Path("embeddings") / f"{part}.parquet" for part in ("train", "test"))}
    assert {path for path in touched if path.parts[:2] != ("alone", "noise")} <= rejudged
    assert Path("alone/noise/trained.json") in touched
    second = load_results(cell / "alone" / "noise" / "predictions.parquet")[0]
    np.testing.assert_array_equal(first.probabilities, second.probabilities)
    assert again["modalities"]["best"] == "signal"


def judged_again_without_training(folder: Path, before: dict[str, Any]) -> None:
    marks = list(folder.rglob("alone/*/trained.json"))
    times = [path.stat().st_mtime_ns for path in marks]
    kept = folder / "cells" / "main-seed0" / "without" / "noise.parquet"
    judged = kept.stat().st_mtime_ns
    run.evaluate(folder)
    assert (len(marks), [path.stat().st_mtime_ns for path in marks]) == (2, times)
    assert kept.stat().st_mtime_ns > judged
    assert json.loads((folder / "scores.json").read_text(encoding="utf-8")) == before


def test_an_objective_without_a_head_is_judged_by_the_first_evaluator_on_whole_training_rows(tmp_path: Path) -> None:
    write_world(tmp_path)
    arrays = dict(np.load(tmp_path / "features.npz"))
    data = tables(tmp_path, arrays, views=RunViews(count=2))
    recipe = small_recipe(
        tmp_path,
        encoders=dict.fromkeys(arrays, partial(PointwiseMLP, dim=8)),
        objective=InfoNCE,
        trainer=Trainer(epochs=1, batch_size=16),
        evaluation=Evaluation(evaluators=[LinearProbe()], modalities=Modalities(alone="off")),
    )
    cell = tmp_path / "run" / "cells" / "main-seed0"
    train_cell(recipe, data, "main", 0, cell)
    embed_cell(recipe, data, "main", 0, tmp_path / "run")
    found = judge_modalities(recipe, data, "main", 0, cell)
    assert [result.name for result in found] == [
        "without signal, logistic regression",
        "without noise, logistic regression",
    ]
    model, _ = load(cell, data, recipe)
    test = data.evaluation("main", "test")
    left = np.flatnonzero(present(test, ["noise"])[:, 0])
    expected = LinearProbe().predict(
        Embeddings.load(cell / "embeddings" / "train"), embed(model, data, Subset(Hidden(test, ["signal"]), left))
    )
    np.testing.assert_allclose(found[0].probabilities, expected, atol=1e-6)
