"""Features extracted beforehand: from tables and arrays to batches, by whole groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoint.data.base import Draw, Rows
from counterpoint.data.features import FeatureSource, FeatureTables, RunColumns, RunViews
from counterpoint.data.ledger import Quarantine
from counterpoint.data.splits import ByColumn, GroupedKFold
from counterpoint.types import Batch, Signal, SignalSpec

RUNS = 24
COLUMNS = RunColumns(id=["run"], group=["plate"], metadata=["amps"])


def vectors(width: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(3.0, 2.0, (RUNS, width)).astype(np.float32)


def write_runs(folder: Path, **cells: list[Any]) -> Path:
    """24 runs of 8 plates and two classes; even plates train, plate 7 tests."""
    columns: dict[str, list[Any]] = {
        "run": [f"r{i}" for i in range(RUNS)],
        "label": ["good", "bad", "good"] * (RUNS // 3),
        "plate": [f"p{i // 3}" for i in range(RUNS)],
        "amps": [100 + i for i in range(RUNS)],
        "part": ["test" if i >= RUNS - 6 else "train" for i in range(RUNS)],
    } | cells
    lines = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    path = folder / "runs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def made(folder: Path, arrays: dict[str, Any], **changes: Any) -> FeatureTables:
    np.savez(folder / "features.npz", **arrays)
    runs = changes.pop("runs", None) or write_runs(folder)
    features = {name: FeatureSource(file=folder / "features.npz", array=name) for name in arrays}
    chosen = {"columns": COLUMNS, "split": ByColumn(column="part"), "features": features} | changes
    return FeatureTables(runs=runs, **chosen)


def whole(rows: Rows, epoch: int = 0) -> Batch:
    return rows.__getitems__([Draw(row, 1000 * epoch + row) for row in range(len(rows))])


def signal(batch: Batch, name: str, view: int = 0) -> Signal:
    found = batch.views[view][name]
    assert isinstance(found, Signal)
    assert found.mask is not None
    return found


def mask_of(batch: Batch, name: str, view: int = 0) -> torch.Tensor:
    mask = signal(batch, name, view).mask
    assert mask is not None
    return mask


def test_vectors_are_standardised_by_training_runs_alone(tmp_path: Path) -> None:
    values = vectors(4, 0)
    values[:, 3] = 7.25
    data = made(tmp_path, {"sound": values})
    assert data.specs == {"sound": SignalSpec(4, 1, 0.0)}
    train, test = values[: RUNS - 6].astype(np.float64), values[RUNS - 6 :]
    expected = (test - train.mean(0)) / train.std(0).clip(1e-30)
    expected[:, 3] = 0.0
    batch = whole(data.evaluation("main", "test"))
    np.testing.assert_allclose(signal(batch, "sound").values[:, 0].numpy(), expected, atol=1e-5)
    assert [data.names[i] for i in batch.ids] == [f"r{i}" for i in range(RUNS - 6, RUNS)]
    assert [data.classes[label] for label in batch.labels] == ["good", "bad", "good"] * 2
    raw = made(tmp_path, {"sound": values}, normalise="none").evaluation("main", "test")
    np.testing.assert_array_equal(signal(whole(raw), "sound").values[:, 0].numpy(), test)
    np.testing.assert_array_equal(raw.metadata[:, 0], np.arange(100 + RUNS - 6, 100 + RUNS))


def test_outliers_are_clipped_and_counted(tmp_path: Path) -> None:
    values = vectors(4, 0)
    values[RUNS - 1, 2] = 1e6
    free, held = (made(tmp_path, {"sound": values}, clip=clip) for clip in (None, 3.0))
    one, other = (signal(whole(data.evaluation("main", "all")), "sound").values for data in (free, held))
    assert one.max() > 1e4
    assert torch.equal(other, one.clip(-3, 3))
    assert held.report()["clipped"] == {"main": {"sound": int((one.abs() >= 3).sum())}}
    assert free.report()["clipped"] == {"main": {}}
    with pytest.raises(ValueError, match=r"clip is 3\.0; it is above 0, and of standardised features"):
        made(tmp_path, {"sound": values}, clip=3.0, normalise="none")


def test_tokens_keep_their_order_and_their_gaps(tmp_path: Path) -> None:
    tokens = np.random.default_rng(1).normal(size=(RUNS, 5, 3)).astype(np.float32)
    tokens[20, 3:] = np.nan
    data = made(tmp_path, {"video": tokens}, normalise="none")
    assert data.specs["video"] == SignalSpec(3, 5, 0.0)
    batch = whole(data.evaluation("main", "all"))
    assert mask_of(batch, "video")[20].tolist() == [True] * 3 + [False] * 2
    np.testing.assert_array_equal(signal(batch, "video").values.numpy(), np.nan_to_num(tokens))


def test_a_modality_without_a_row_is_masked_and_nothing_else_changes(tmp_path: Path) -> None:
    sound, image = vectors(4, 0), vectors(2, 1)
    image[[3, 21]] = np.nan
    data = made(tmp_path, {"sound": sound, "image": image})
    batch = whole(data.evaluation("main", "all"))
    assert np.flatnonzero(~mask_of(batch, "image")[:, 0].numpy()).tolist() == [3, 21]
    assert mask_of(batch, "sound").all()
    assert not signal(batch, "image").values[[3, 21]].any()
    known = np.delete(image[: RUNS - 6], 3, 0).astype(np.float64)
    expected = (image[22] - known.mean(0)) / known.std(0)
    np.testing.assert_allclose(signal(batch, "image").values[22, 0].numpy(), expected, atol=1e-5)
    assert data.report()["counts"]["with image"] == RUNS - 2
    json.dumps(data.report())


@pytest.mark.parametrize("kind", ["npz", "csv"])
def test_rows_are_matched_by_id_whatever_their_order(tmp_path: Path, kind: str) -> None:
    values, order = vectors(3, 2), np.random.default_rng(3).permutation(RUNS)[:-2]
    ids = [f"r{i}" for i in order] + ["stranger"]
    shuffled = np.concatenate([values[order], np.ones((1, 3), np.float32)])
    if kind == "npz":
        np.savez(tmp_path / "f.npz", values=shuffled, ids=np.array(ids))
        source = FeatureSource(file=tmp_path / "f.npz", array="values", id=["ids"])
    else:
        rows = [",".join([name, *map(repr, row)]) for name, row in zip(ids, shuffled.tolist(), strict=True)]
        (tmp_path / "f.csv").write_text("\n".join(["name,a,b,c", *rows]), encoding="utf-8")
        source = FeatureSource(file=tmp_path / "f.csv", id=["name"])
    data = FeatureTables(
        runs=write_runs(tmp_path),
        features={"sound": source, "other": FeatureSource(file=_saved(tmp_path, vectors(2, 4)))},
        columns=COLUMNS,
        normalise="none",
        split=ByColumn(column="part"),
    )
    batch = whole(data.evaluation("main", "all"))
    present = mask_of(batch, "sound")[:, 0].numpy()
    assert sorted(np.flatnonzero(present)) == sorted(order)
    np.testing.assert_array_equal(signal(batch, "sound").values[present, 0].numpy(), values[present])
    assert data.report()["counts"]["rows of sound without a run"] == 1


def _saved(folder: Path, values: np.ndarray[Any, Any]) -> Path:
    np.save(folder / "plain.npy", values)
    return folder / "plain.npy"


def test_modality_dropout_is_keyed_and_never_takes_everything(tmp_path: Path) -> None:
    arrays = {"a": vectors(2, 0), "b": vectors(2, 1), "c": vectors(2, 2)}
    arrays["b"][5] = np.nan
    data = made(tmp_path, arrays, views=RunViews(count=2, modality_dropout=0.6))
    rows = data.training("main", "train")
    masks = []
    for epoch in range(60):
        batch = whole(rows, epoch)
        assert len(batch.views) == 2
        view = torch.stack([mask_of(batch, name)[:, 0] for name in arrays], 1)
        assert view.any(1).all()
        assert not view[5, 1]
        masks.append(view)
    share = torch.stack(masks).float().mean()
    assert 0.40 < share < 0.50  # 0.4 and the rows that kept their last one: 0.4 + 0.6**3 / 3 = 0.472
    draws = [Draw(4, 77), Draw(9, 78)]
    forth, back = rows.__getitems__(draws), rows.__getitems__(draws[::-1])
    for name in arrays:
        assert torch.equal(mask_of(forth, name), mask_of(back, name).flip(0))
    plain = whole(data.evaluation("main", "train"))
    assert len(plain.views) == 1
    assert mask_of(plain, "a").all()


def test_what_cannot_be_used_is_named_and_left_out(tmp_path: Path) -> None:
    sound, image = vectors(4, 0), vectors(2, 1)
    sound[2, 1] = np.inf
    sound[7], image[7] = np.nan, np.nan
    labels = ["good", "bad", "good"] * (RUNS // 3)
    labels[11] = "NA"
    runs = write_runs(tmp_path, label=labels)
    names = {"good": "Good", "bad": "Bad"}
    columns = RunColumns(id=["run"], group=["plate"], names=names)
    changes = {"runs": runs, "columns": columns, "quarantine": Quarantine(max_share=0.2)}
    data = made(tmp_path, {"sound": sound, "image": image}, **changes)
    found = {one["recording"]: one for one in data.report()["quarantine"]}
    assert {name: (one["row"], one["modality"]) for name, one in found.items()} == {
        "r2": (4, "sound"),
        "r7": (9, "run"),
        "r11": (13, "run"),
    }
    assert "'NA'" in found["r11"]["reason"]
    assert found["r2"]["reason"] == "not finite: 1 of 4 features, first 1"
    assert len(data.names) == RUNS - 3
    assert data.classes == ("Good", "Bad")
    with pytest.raises(ValueError, match="3 of 24 recordings cannot be used"):
        made(tmp_path, {"sound": sound, "image": image}, runs=runs, columns=columns)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"sound": np.zeros((RUNS - 1, 2), np.float32)}, "sound has 23 rows and the table of runs 24"),
        ({"sound": np.zeros(RUNS)}, "of shape \\(24,\\)"),
        ({"sound": np.array([["x"]] * RUNS)}, "features are numbers"),
        ({"sound": np.array([{}] * RUNS)}, "cannot be read"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tmp_path, arrays)


def test_a_doubled_id_an_empty_group_and_an_unknown_column_are_refused(tmp_path: Path) -> None:
    arrays = {"sound": vectors(2, 0)}
    with pytest.raises(ValueError, match="stands in rows 2 and 5"):
        made(tmp_path, arrays, runs=write_runs(tmp_path, run=["r0", "r1", "r2", "r0", *range(4, RUNS)]))
    with pytest.raises(ValueError, match="row 3, column 'plate': empty"):
        made(tmp_path, arrays, runs=write_runs(tmp_path, plate=["p", "", *["p"] * (RUNS - 2)]))
    with pytest.raises(ValueError, match="no column 'batch'; the table has run, label"):
        made(tmp_path, arrays, columns=RunColumns(id=["run"], group=["batch"]))


def test_identical_features_on_both_sides_are_found(tmp_path: Path) -> None:
    values = vectors(3, 0)
    assert made(tmp_path, {"sound": values}).audit("main") == []
    values[23] = values[0]
    assert made(tmp_path, {"sound": values}).audit("main") == [
        "train and test share 1 of content over 2 recordings: samples of r0"
    ]


@pytest.mark.filterwarnings("ignore:The least populated class")
@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=12, max_size=60), st.integers(2, 4))
def test_every_row_is_tested_once_and_no_group_is_cut(rows: list[tuple[int, int]], k: int) -> None:
    groups, labels = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    split = GroupedKFold(folds=k, seed=1)
    if len(np.unique(groups)) < k:
        with pytest.raises(ValueError, match="groups there are"):
            split.divide({}, groups, labels)
        return
    folds, refused = {}, ""
    try:
        folds = split.divide({}, groups, labels)
    except ValueError as error:  # a group that holds nearly everything may leave a part empty
        refused = str(error)
    if refused:
        assert "nothing is left for the test part" in refused
        return
    assert list(folds) == [f"part={number}" for number in range(1, k + 1)]
    tested = np.concatenate([fold.test for fold in folds.values()])
    assert sorted(tested) == list(range(len(rows)))
    for fold in folds.values():
        assert not set(groups[fold.train]) & set(groups[fold.test])
        assert sorted([*fold.train, *fold.test]) == list(range(len(rows)))


def test_parts_have_the_shares_of_the_classes_and_depend_on_the_seed() -> None:
    groups = np.repeat(np.arange(60), 5)
    labels = np.repeat(np.arange(60) % 3, 5)
    folds = GroupedKFold(folds=5, valid=0.2, seed=0).divide({}, groups, labels)
    for fold in folds.values():
        assert np.bincount(labels[fold.test]).tolist() == [20, 20, 20]
        assert len(fold.valid) == pytest.approx(48, abs=5)
        assert not set(groups[fold.train]) & set(groups[fold.valid])
    other = GroupedKFold(folds=5, seed=1).divide({}, groups, labels)
    assert set(groups[other["part=1"].test]) != set(groups[folds["part=1"].test])


def test_the_published_features_of_real_welds(data_root: Path) -> None:
    folder = data_root / "weld" / "intel_features"
    data = FeatureTables(
        runs=folder / "runs.csv",
        features={
            name: FeatureSource(file=folder / "features.npz", array=name) for name in ("sensor", "audio", "image")
        },
        columns=RunColumns(id=["config_folder", "run_id"], label="label_code", group=["config_folder"]),
        split=GroupedKFold(folds=5),
    )
    assert {name: spec.channels for name, spec in data.specs.items()} == {"sensor": 102, "audio": 180, "image": 128}
    assert data.report()["classes"] == {"0": 486, "1": 190, "2": 93, "6": 49, "7": 90, "8": 60, "11": 48}
    assert all(data.audit(fold) == [] for fold in data.folds)
    batch = whole(data.evaluation("part=1", "train"))
    assert signal(batch, "audio").values.mean(0).abs().max() < 1e-4
