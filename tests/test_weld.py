"""Weld runs from folders and manifest to batches, splits and the account of the data."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint import config
from counterpoint.data.base import Data, Draw, Rows
from counterpoint.data.ledger import Quarantine
from counterpoint.data.splits import ByColumn, ByValue
from counterpoint.data.weld import (
    AudioConfig,
    PhotoConfig,
    RunViews,
    SensorConfig,
    VideoConfig,
    WeldLabels,
    WeldLoading,
    WeldMedia,
    WeldRuns,
)
from counterpoint.types import Batch, Images, ImageSpec, SignalSpec
from test_weld_media import tone, write_photo, write_sound, write_table, write_video

NAMES = ("video", "photos", "audio", "sensor")
SMALL = WeldMedia(
    video=VideoConfig(frames=4, size=16),
    photos=PhotoConfig(count=3, size=16),
    audio=AudioConfig(mels=8, frames=6),
    sensor=SensorConfig(length=16),
)
CLASSES = {"00": "Good", "04": "Porosity_w_Excessive_Penetration", "11": "Crater_Cracks"}
RUNS = [
    (f"{word}_{number}", f"08-17-22-{10 * number + serial:04d}-{suffix}")
    for number, (word, suffix) in enumerate(zip(["good", "porosity", "crater"] * 2, list(CLASSES) * 2, strict=True))
    for serial in range(2)
]
"""Six configuration folders of two runs."""
TRAINED = [directory for directory, _ in RUNS[:8:2]]


def write_run(root: Path, directory: str, name: str, seed: int) -> Path:
    folder = root / directory / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    write_table(folder / f"{name}.csv", 100.0 * seed + rng.normal(size=(30, 6)).round(3))
    write_sound(folder / f"{name}.flac", tone(16000, 300.0 + 50 * seed, 0.3))
    write_video(folder / f"{name}.avi", range(seed, seed + 60, 5), (24, 18))
    for number in range(2):
        write_photo(folder / "images" / f"2022_{number:03d}.jpg", 100 * seed + number, (24, 18))
    return folder


def write_manifest(root: Path, rows: Sequence[tuple[str, str]], **columns: list[Any]) -> Path:
    """As published; ``columns`` take the place of its own."""
    cells: dict[str, list[Any]] = {
        "CATEGORY": [CLASSES.get(run[-2:], "Good") for _, run in rows],
        "WELD_TYPE": ["butt" if at % 2 else "fillet" for at in range(len(rows))],
        "THICKNESS_MM": [7] * len(rows),
        "STEEL_TYPE": ["Fe410"] * len(rows),
        "SAMPLES": [2] * len(rows),
        "CURRENT_A": [150 + at for at in range(len(rows))],
        "VOLTAGE_V": [20.5] * len(rows),
        "GAS_BAR": [2] * len(rows),
        "ROBOT_SPEED_CPM": [40] * len(rows),
        "DIRECTORY": [directory for directory, _ in rows],
        "SUBDIRS": [run for _, run in rows],
        "SPLIT": ["TRAIN" if directory in TRAINED else "TEST" for directory, _ in rows],
    } | columns
    lines = [",".join(cells), *(",".join(map(str, row)) for row in zip(*cells.values(), strict=True))]
    path = root / "manifest.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "welds"
    for seed, (directory, name) in enumerate(RUNS):
        write_run(folder, directory, name, seed)
    write_manifest(folder, RUNS)
    return folder


BY_SPLIT = ByColumn(column="SPLIT")


def made(root: Path, **changes: Any) -> WeldRuns:
    chosen = {"media": SMALL, "labels": WeldLabels(classes=CLASSES), "split": BY_SPLIT} | changes
    return WeldRuns(root=root, **chosen)


def lenient(**changes: Any) -> WeldLoading:
    return WeldLoading(quarantine=Quarantine(max_share=0.5), **changes)


def whole(rows: Rows, epoch: int = 0) -> Batch:
    return rows.__getitems__([Draw(row, 1000 * epoch + row) for row in range(len(rows))])


def values_of(batch: Batch, name: str, view: int = 0) -> torch.Tensor:
    modality = batch.views[view][name]
    assert isinstance(modality, tuple)
    return modality[0]


def mask_of(batch: Batch, name: str, view: int = 0) -> torch.Tensor:
    mask = batch.views[view][name][1]
    assert isinstance(mask, torch.Tensor)
    return mask


def shown(batch: Batch, view: int = 0) -> torch.Tensor:
    """(B, 4) which modalities the rows have."""
    return torch.stack([mask_of(batch, name, view).any(1) for name in NAMES], 1)


def rejections(data: WeldRuns) -> dict[str, tuple[int, str, str]]:
    return {one["recording"]: (one["row"], one["modality"], one["reason"]) for one in data.report()["quarantine"]}


def test_runs_become_four_modalities(root: Path) -> None:
    data = made(root)
    assert data.specs == {
        "video": ImageSpec(4, 16, 16, 0.0),
        "photos": ImageSpec(3, 16, 16, 0.0),
        "audio": SignalSpec(8, 6, 0.0),
        "sensor": SignalSpec(6, 16, 0.0),
    }
    assert data.names == tuple(f"{directory}/{name}" for directory, name in RUNS)
    assert data.classes == tuple(CLASSES.values())
    rows = data.evaluation("main", "all")
    batch = whole(rows)
    assert [data.classes[label] for label in batch.labels] == [CLASSES[name[-2:]] for _, name in RUNS]
    assert len(set(batch.groups.tolist())) == 6
    assert torch.equal(batch.groups[::2], batch.groups[1::2])
    assert isinstance(batch.views[0]["video"], Images)
    assert values_of(batch, "video").dtype == torch.uint8
    assert {name: tuple(values_of(batch, name).shape) for name in NAMES} == {
        "video": (12, 4, 3, 16, 16),
        "photos": (12, 3, 3, 16, 16),
        "audio": (12, 6, 8),
        "sensor": (12, 16, 6),
    }
    assert mask_of(batch, "photos").sum(1).tolist() == [2] * 12
    assert rows.metadata.shape == (12, 8)  # five numbers, two joints, one steel
    report = data.report()
    json.dumps(report)
    assert report["counts"]["with video"] == 12
    assert len(report["sources"]) == 13
    alone = rows.__getitems__([Draw(5, 0)])
    assert all(torch.equal(values_of(alone, name)[0], values_of(batch, name)[5]) for name in NAMES)


def test_levels_are_kept_and_standardised_by_the_training_runs_of_the_fold(root: Path) -> None:
    splits = [BY_SPLIT, ByValue(column="DIRECTORY", train=TRAINED[2:], test=TRAINED[:2], valid=0)]
    seen = []
    for split in splits:
        data = made(root, split=split, modalities=["sensor"])
        trained = values_of(whole(data.evaluation("main", "train")), "sensor").double().reshape(-1, 6)
        assert trained.mean(0).abs().max() < 1e-5
        assert (trained.std(0, correction=0) - 1).abs().max() < 1e-5
        everything = values_of(whole(data.evaluation("main", "all")), "sensor")
        assert (everything.mean((1, 2)).diff() > 0.1).all()  # run n stands at 100 n, in the fold or out of it
        seen.append(data.evaluation("main", "all").content("sensor"))
    assert not set(seen[0]) & set(seen[1])


def test_rows_travel_to_workers(root: Path) -> None:
    rows = made(root).training("main", "train")
    sent, here = whole(pickle.loads(pickle.dumps(rows))), whole(rows)
    assert all(torch.equal(values_of(sent, name), values_of(here, name)) for name in NAMES)


def test_what_a_run_lacks_is_masked_and_counted(root: Path) -> None:
    for path in (root.joinpath(*RUNS[2]) / "images").iterdir():
        path.unlink()
    (root.joinpath(*RUNS[2]) / "images").rmdir()
    (root.joinpath(*RUNS[5]) / f"{RUNS[5][1]}.avi").unlink()
    (root.joinpath(*RUNS[11]) / f"{RUNS[11][1]}.csv").unlink()
    data = made(root)
    batch = whole(data.evaluation("main", "all"))
    absent = (~shown(batch)).nonzero().tolist()
    assert absent == [[2, 1], [5, 0], [11, 3]]
    assert not any(values_of(batch, NAMES[name])[row].any() for row, name in absent)
    counts = data.report()["counts"]
    assert [counts[f"with {name}"] for name in NAMES] == [11, 11, 12, 11]
    assert counts["quarantined"] == 0
    assert data.evaluation("main", "all").content("photos")[2] == ""


def test_runs_of_one_name_in_two_folders_are_two_and_one_listed_twice_is_none(root: Path) -> None:
    write_run(root, "good_3", RUNS[0][1], 40)
    rows = [*RUNS, ("good_3", RUNS[0][1])]
    write_manifest(root, rows)
    assert len(made(root).names) == 13
    write_manifest(root, [*rows, RUNS[4]])
    with pytest.raises(ValueError, match=f"run {'/'.join(RUNS[4])} is listed twice, in rows 6 and 15"):
        made(root)


def test_the_manifest_may_name_runs_by_path_or_in_a_list_and_may_be_absent(root: Path) -> None:
    plain = made(root).names
    write_manifest(root, RUNS, SUBDIRS=[f"{directory}/{name}" for directory, name in RUNS])
    assert made(root).names == plain
    lists = [f"\"['{RUNS[at][1]}', '{RUNS[at + 1][1]}']\"" for at in range(0, 12, 2)]
    write_manifest(root, RUNS[::2], SUBDIRS=lists)
    assert made(root).names == plain
    (root / "manifest.csv").unlink()
    data = made(root, split=ByValue(column="DIRECTORY", train=TRAINED, test=["porosity_4"]))
    assert sorted(data.names) == sorted(plain)
    assert data.evaluation("main", "all").metadata.shape == (12, 0)


def test_what_cannot_be_used_is_named_and_left_out(root: Path) -> None:
    rows = [*RUNS, ("gone_7", "08-17-22-0099-00"), ("odd_8", "08-17-22-0098-77")]
    write_run(root, *rows[-1], 50)
    categories = [CLASSES.get(name[-2:], "Good") for _, name in rows]
    categories[1], categories[2], categories[3] = "Crater_Cracks", "Porosity w/ Excessive Penetration", "Dent"
    (root.joinpath(*RUNS[6]) / f"{RUNS[6][1]}.flac").write_bytes(b"fLaC")
    table = root.joinpath(*RUNS[9]) / f"{RUNS[9][1]}.csv"
    table.write_bytes(table.read_bytes() * 2)
    write_manifest(root, rows, CATEGORY=categories)
    data = made(root, loading=lenient())
    found = rejections(data)
    assert {name.split("/")[1]: (row, modality) for name, (row, modality, _) in found.items()} == {
        "08-17-22-0099-00": (14, "run"),
        "08-17-22-0098-77": (15, "run"),
        RUNS[1][1]: (3, "run"),
        RUNS[3][1]: (5, "run"),
        RUNS[6][1]: (8, "audio"),
        RUNS[9][1]: (11, "sensor"),
    }
    reasons = {name.split("/")[1]: reason for name, (_, _, reason) in found.items()}
    assert reasons["08-17-22-0099-00"] == "listed and not on disk"
    assert "ends in '77'" in reasons["08-17-22-0098-77"]
    assert reasons[RUNS[1][1]] == "class in dispute: the name ends in 00 (Good), CATEGORY is Crater_Cracks"
    assert "CATEGORY is 'Dent'" in reasons[RUNS[3][1]]
    assert reasons[RUNS[9][1]] == "header stands twice: again in row 32"
    assert len(data.names) == 14 - 6
    with pytest.raises(ValueError, match=r"6 of 14 recordings cannot be used"):
        made(root)


@pytest.mark.parametrize("modality", NAMES)
def test_a_damaged_file_costs_the_run_or_the_modality_alone(root: Path, modality: str) -> None:
    folder = root.joinpath(*RUNS[4])
    suffix = {"video": ".avi", "audio": ".flac", "sensor": ".csv"}.get(modality)
    path = folder / f"{folder.name}{suffix}" if suffix else sorted((folder / "images").iterdir())[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1])
    data = made(root, loading=lenient())
    assert len(data.names) == 11
    assert [(row, name) for row, name, _ in rejections(data).values()] == [(6, modality)]
    masking = made(root, loading=lenient(damaged="mask"))
    assert masking.names == made(root, loading=lenient(damaged="mask", check="samples")).names
    assert (~shown(whole(masking.evaluation("main", "all")))).nonzero().tolist() == [[4, NAMES.index(modality)]]
    (masked,) = masking.report()["masked"]
    assert (masked["recording"], masked["modality"]) == ("/".join(RUNS[4]), modality)
    with pytest.raises(ValueError, match="1 of 12 recordings cannot be used"):
        made(root, loading=WeldLoading(quarantine=Quarantine(policy="error")))


def test_damage_that_headers_do_not_show_stops_the_reading_or_is_found_by_samples(root: Path) -> None:
    path = root.joinpath(*RUNS[4]) / f"{RUNS[4][1]}.flac"
    write_sound(path, np.random.default_rng(0).normal(0, 0.1, 32000))
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    path.write_bytes(content)
    data = made(root, loading=lenient())
    assert len(data.names) == 12
    with pytest.raises(ValueError, match=r"audio.*loading.check: samples finds such files"):
        whole(data.evaluation("main", "all"))
    assert len(made(root, loading=lenient(check="samples")).names) == 11


def test_modality_dropout_is_keyed_and_never_takes_everything(root: Path) -> None:
    (root.joinpath(*RUNS[0]) / f"{RUNS[0][1]}.avi").unlink()
    data = made(root, views=RunViews(count=2, modality_dropout=0.5), media=SMALL)
    rows = data.training("main", "train")
    seen = []
    for epoch in range(12):
        batch = whole(rows, epoch)
        for view in range(2):
            kept = shown(batch, view)
            assert kept.any(1).all()
            assert not kept[0, 0]
            for at, name in enumerate(NAMES):
                assert not values_of(batch, name, view)[~kept[:, at]].any()
            seen.append(kept)
    assert 0.45 < torch.stack(seen).float().mean() < 0.62
    assert not torch.equal(seen[0], seen[1])
    forth, back = (rows.__getitems__(draws) for draws in ([Draw(2, 7), Draw(3, 9)], [Draw(3, 9), Draw(2, 7)]))
    for name in NAMES:
        assert torch.equal(values_of(forth, name), values_of(back, name).flip(0))
    assert shown(whole(data.evaluation("main", "test"))).all()


def test_content_changes_with_bytes_and_settings_and_with_nothing_else(root: Path) -> None:
    def contents(**changes: Any) -> dict[str, list[str]]:
        rows = made(root, **changes).evaluation("main", "all")
        return {name: rows.content(name) for name in NAMES}

    before = contents()
    assert all(len(set(digests)) == 12 for digests in before.values())
    assert contents() == before
    larger = contents(media=WeldMedia(**{**vars(SMALL), "video": VideoConfig(frames=5, size=16)}))
    assert not set(larger["video"]) & set(before["video"])
    assert larger["photos"] == before["photos"]
    write_photo(sorted((root.joinpath(*RUNS[3]) / "images").iterdir())[0], 999, (24, 18))
    after = contents()
    assert [at for at in range(12) if after["photos"][at] != before["photos"][at]] == [3]
    assert {name: after[name] for name in NAMES if name != "photos"} == {
        name: before[name] for name in NAMES if name != "photos"
    }
    with pytest.raises(ValueError, match="no modality 'smell'"):
        made(root).evaluation("main", "all").content("smell")


def test_the_official_split_shares_folders_and_copies_are_found(root: Path) -> None:
    parts = ["TRAIN", "TRAIN", *["VAL", "TEST"] * 5]
    write_manifest(root, RUNS, SPLIT=parts)
    with pytest.raises(ValueError, match="is in both valid and test"):
        made(root)
    data = made(root, split=ByColumn(column="SPLIT", shared_groups="report"))
    assert data.report()["folds"]["main"] == {"train": 2, "valid": 5, "test": 5}
    assert data.audit("main")[0].startswith("valid and test share 5 of group over 10 recordings")
    write_manifest(root, RUNS)
    assert made(root).audit("main") == []
    copied = root.joinpath(*RUNS[0]) / f"{RUNS[0][1]}.flac"
    (root.joinpath(*RUNS[11]) / f"{RUNS[11][1]}.flac").write_bytes(copied.read_bytes())
    assert made(root).audit("main") == [
        f"train and test share 1 of content of audio over 2 recordings: samples of {'/'.join(RUNS[0])}"
    ]


@pytest.mark.parametrize("cell", ["../../etc", "/etc", "..", "a/../../.."])
def test_no_path_leads_out_of_the_root(root: Path, cell: str) -> None:
    write_manifest(root, RUNS, SUBDIRS=[*[name for _, name in RUNS[:-1]], cell])
    with pytest.raises(ValueError, match=r"row 13, column 'SUBDIRS': .* leads out of"):
        made(root)


def test_a_link_out_of_the_root_is_not_followed(root: Path, tmp_path: Path) -> None:
    path = root.joinpath(*RUNS[4]) / f"{RUNS[4][1]}.flac"
    path.rename(tmp_path / "outside.flac")
    path.symlink_to(tmp_path / "outside.flac")
    assert [reason for _, _, reason in rejections(made(root, loading=lenient())).values()] == [
        f"a link out of the root: {RUNS[4][1]}.flac"
    ]


def test_columns_that_tell_the_class_are_no_metadata(root: Path) -> None:
    for name in ("CATEGORY", "Part No", "directory", "SPLIT"):
        with pytest.raises(ValueError, match="names the class or the split"):
            WeldLabels(metadata=["CURRENT_A", name])
    with pytest.raises(ValueError, match="no column 'HUMIDITY'"):
        made(root, labels=WeldLabels(classes=CLASSES, metadata=["HUMIDITY"]))


@dataclass(frozen=True)
class Holder:
    """A recipe of data alone.

    Args:
        data: the reader.
    """

    data: config.Factory[Data]


def test_a_recipe_sets_everything(root: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(
        f"""
data:
  type: WeldRuns
  root: {root}
  modalities: [audio, sensor]
  media: {{audio: {{mels: 8, frames: 6}}, sensor: {{length: 16}}}}
  labels: {{classes: {{"00": Good, "04": Porosity_w_Excessive_Penetration, "11": Crater_Cracks}}, domain: WELD_TYPE}}
  views: {{count: 2, modality_dropout: 0.1}}
  split: {{type: ByColumn, column: SPLIT}}
  loading: {{check: samples, quarantine: {{policy: error}}}}
""",
        encoding="utf-8",
    )
    held = config.load(tmp_path / "recipe.yaml", Holder)
    data = held.data()
    assert data.specs == {"audio": SignalSpec(8, 6, 0.0), "sensor": SignalSpec(6, 16, 0.0)}
    assert data.evaluation("main", "all").domains.tolist() == [1, 0] * 6
    (tmp_path / "again.yaml").write_text(config.dump(held), encoding="utf-8")
    assert config.load(tmp_path / "again.yaml", Holder).data().names == data.names


def test_the_published_runs(data_root: Path) -> None:
    data = WeldRuns(
        root=data_root / "weld" / "intel_raw_good5",
        modalities=["audio", "sensor"],
        split=ByValue(
            column="RUN",
            train=["08-17-22-0011-00", "08-17-22-0012-00"],
            test=["08-18-22-0020-00"],
            shared_groups="report",
            valid=0,
        ),
    )
    assert data.report()["classes"]["Good"] == len(data.names) == 5
    batch = whole(data.evaluation("main", "all"))
    assert values_of(batch, "sensor").shape == (5, 256, 6)
    assert values_of(batch, "audio").shape == (5, 256, 128)
    shared = "train and test share 1 of group over 3 recordings: intel_raw_good5 (shared_groups: report)"
    assert data.audit("main") == [shared]


def test_only_sees_the_same_runs_through_some_of_their_modalities(root: Path) -> None:
    (root.joinpath(*RUNS[1]) / f"{RUNS[1][1]}.csv").unlink()
    (root.joinpath(*RUNS[2]) / f"{RUNS[2][1]}.flac").unlink()
    data = made(root, views=RunViews(modality_dropout=0.8))
    seen = data.only(["sensor"], ["audio"])
    assert (list(seen.specs), seen.names, seen.folds) == (["audio", "sensor"], data.names, data.folds)
    kept = [row for row in range(12) if row != 1]
    rows, everything = seen.evaluation("main", "all"), data.evaluation("main", "all")
    assert rows.ids.tolist() == kept
    assert rows.labels.tolist() == everything.labels[kept].tolist()
    assert rows.groups.tolist() == everything.groups[kept].tolist()
    batch, plain = whole(rows), whole(everything)
    for name in ("audio", "sensor"):
        assert torch.equal(values_of(batch, name), values_of(plain, name)[kept])
        assert torch.equal(mask_of(batch, name), mask_of(plain, name)[kept])
        assert rows.content(name) == [everything.content(name)[row] for row in kept]
    bare = data.only(["sensor"])
    training = bare.training("main", "train")
    assert training.ids.tolist() == [row for row in data.training("main", "train").ids if row != 1]
    assert all(mask_of(whole(training, epoch), "sensor").all() for epoch in range(5))
    report = bare.report()
    assert (report["counts"]["runs"], report["counts"]["with sensor"], report["counts"]["left out"]) == (11, 11, 1)
    assert seen.report()["counts"]["with audio"] == 10
    assert sum(report["classes"].values()) == 11
    assert "left out" not in data.report()["counts"]
    assert bare.audit("main") == []
