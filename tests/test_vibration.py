"""Vibration recordings, from tables and HDF5 to batches."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from counterpoint.data.base import Draw
from counterpoint.data.ledger import Quarantine
from counterpoint.data.sampling import PassSampler, StreamSampler, loader
from counterpoint.data.splits import ByGroup, ByValue, LeaveOut
from counterpoint.data.vibration import Loading, Vibration
from counterpoint.data.vibration.cwru import import_cwru
from counterpoint.data.vibration.recordings import Collection, Columns
from counterpoint.data.vibration.signals import SignalConfig
from counterpoint.data.vibration.views import Views
from counterpoint.data.vibration.windows import Disjoint, EvenlySpaced, Random, Sequential
from counterpoint.transforms import Jitter
from counterpoint.types import UNLABELLED

LENGTH = 1000
SMALL: dict[str, Any] = {
    "views": Views(windows=Disjoint(length=100)),
    "evaluation": EvenlySpaced(length=100, count=3),
    "signal": SignalConfig(normalise="none"),
    "split": ByGroup(valid=0.0),
}


def ramps(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Sample t of the recording in row r is 10000 r + t, so that every window says where it was cut."""
    return {str(row["Id"]): 10_000.0 * at + np.arange(LENGTH)[:, None] for at, row in enumerate(rows)}


def table(count: int = 12, **columns: Any) -> list[dict[str, Any]]:
    rows = [
        {
            "Id": at + 1,
            "Label": at % 3,
            "Domain_id": at % 2,
            "Sample_rate": 1000,
            "Sample_lenth": LENGTH,
            "Bearing": f"b{at // 2}",
        }
        for at in range(count)
    ]
    return [row | {name: values[at] for name, values in columns.items()} for at, row in enumerate(rows)]


def written(
    folder: Path, rows: list[dict[str, Any]], signals: dict[str, np.ndarray] | None = None, name: str = "metadata"
) -> Collection:
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        for key, values in (ramps(rows) if signals is None else signals).items():
            file.create_dataset(key, data=values)
    return Collection(metadata=folder / f"{name}.csv", signals=folder / f"{name}.h5")


def cut(values: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Recording and start of every window (n, W, C) of ramps, whose samples must follow one another."""
    assert (values.diff(dim=1) == 1).all()
    return np.divmod(values[:, 0, 0].numpy().astype(int), 10_000)


@pytest.mark.parametrize("cached", [False, True])
def test_two_disjoint_windows_of_one_recording_are_the_two_views(tmp_path: Path, cached: bool) -> None:
    loading = Loading(cache=tmp_path / "cache" if cached else None)
    data = Vibration(collections=[written(tmp_path, table())], loading=loading, **SMALL)
    rows = data.training("main", "train")
    starts = set()
    for batch in loader(rows, StreamSampler(rows, batch_size=4, epochs=40, seed=0)):
        (one, first), (other, second) = (cut(view["vibration"].values) for view in batch.views)
        assert one.tolist() == other.tolist() == batch.ids.tolist()
        assert (np.abs(first - second) >= 100).all()
        starts |= set(first.tolist())
        assert batch.views[0]["vibration"].mask is None
        assert len(set(batch.ids.tolist())) == 4
    assert len(starts) > 50


def test_columns_reach_the_batch(tmp_path: Path) -> None:
    data = Vibration(collections=[written(tmp_path, table())], columns=Columns(group=["Bearing"]), **SMALL)
    assert data.names == tuple(str(at + 1) for at in range(12))
    assert data.classes == ("0", "1", "2")
    assert data.specs["vibration"] == (1, 100, 1000.0)
    seen = []
    for part in ("train", "test"):
        rows = data.evaluation("main", part)  # type: ignore[arg-type]
        for batch in loader(rows, PassSampler(rows, batch_size=5)):
            recording, start = cut(batch.views[0]["vibration"].values)
            assert batch.ids.tolist() == recording.tolist()
            assert batch.labels.tolist() == (recording % 3).tolist()
            assert batch.domains.tolist() == (recording % 2).tolist()
            assert batch.groups.tolist() == (recording // 2).tolist()
            seen += list(zip(recording.tolist(), start.tolist(), strict=True))
        assert rows.metadata.tolist() == [[1000.0, 1000.0, 1.0]] * len(rows)
    assert sorted(seen) == [(at, start) for at in range(12) for start in (0, 450, 900)]


def test_the_same_evaluation_windows_come_at_every_call_and_stay_when_others_go(tmp_path: Path) -> None:
    settings = SMALL | {"evaluation": Random(length=100, count=4), "split": LeaveOut(column="Id", valid=0.0)}

    def starts(rows: list[dict[str, Any]], folder: Path) -> dict[str, list[int]]:
        data = Vibration(collections=[written(folder, rows, ramps(table()))], **settings)
        found = {}
        for name in data.names:
            part = data.evaluation(f"Id={name}", "test")
            batch = part.__getitems__([Draw(row, 99) for row in range(len(part))])
            found[name] = cut(batch.views[0]["vibration"].values)[1].tolist()
        return found

    whole = starts(table(), tmp_path / "whole")
    assert whole == starts(table(), tmp_path / "again")
    fewer = starts(table()[3:], tmp_path / "fewer")
    assert fewer == {name: whole[name] for name in fewer}
    assert len({start for found in whole.values() for start in found}) > 30


def test_ragged_grids_give_each_recording_its_own_number_of_windows(tmp_path: Path) -> None:
    rows = table(6)
    signals = {key: values[: 1000 - 150 * at] for at, (key, values) in enumerate(ramps(rows).items())}
    settings = SMALL | {
        "evaluation": Sequential(length=100, stride=90),
        "views": Views(windows=Sequential(length=100, stride=90)),
    }
    data = Vibration(collections=[written(tmp_path, rows, signals)], **settings)
    counts = Counter(
        np.concatenate([data.evaluation("main", "train").ids, data.evaluation("main", "test").ids]).tolist()
    )
    assert counts == {at: (1000 - 150 * at - 100) // 90 + 1 for at in range(6)}


@pytest.mark.parametrize("cached", [False, True])
def test_batches_are_bit_equal_for_workers_0_and_2_and_after_a_resume(tmp_path: Path, cached: bool) -> None:
    settings = SMALL | {
        "views": Views(windows=Random(length=100), scales=[0.5, 1.0], augment=[Jitter(std=0.1)], pairs_per_recording=3),
        "signal": SignalConfig(),
        "loading": Loading(cache=tmp_path / "cache" if cached else None),
    }
    data = Vibration(collections=[written(tmp_path, table())], **settings)
    rows = data.training("main", "train")
    runs = [
        list(loader(rows, StreamSampler(rows, batch_size=6, epochs=2, seed=5, start=start), workers))
        for workers, start in ((0, 0), (2, 0), (0, 3))
    ]
    assert len(runs[0]) == len(runs[1]) == len(runs[2]) + 3
    for reference, other in [*zip(runs[0], runs[1], strict=True), *zip(runs[0][3:], runs[2], strict=True)]:
        assert torch.equal(reference.ids, other.ids)
        for one, two in zip(reference.views, other.views, strict=True):
            assert torch.equal(one["vibration"].values, two["vibration"].values)
            assert torch.equal(one["vibration"].mask, two["vibration"].mask)  # type: ignore[arg-type]


def test_views_of_several_scales_are_padded_to_the_longest_with_a_mask(tmp_path: Path) -> None:
    settings = SMALL | {"views": Views(windows=Disjoint(length=100), scales=[0.5, 1.0, 1.5], augment=[Jitter(std=1.0)])}
    data = Vibration(collections=[written(tmp_path, table())], **settings)
    assert data.specs["vibration"].length == 150
    rows = data.training("main", "train")
    widths: Counter[int] = Counter()
    for batch in loader(rows, StreamSampler(rows, batch_size=8, epochs=30, seed=0)):
        for view in batch.views:
            signal = view["vibration"]
            assert signal.values.shape == (8, 150, 1)
            assert signal.mask is not None
            widths.update(signal.mask.sum(1).tolist())
            assert (signal.mask == (torch.arange(150) < signal.mask.sum(1, keepdim=True))).all()
            assert (signal.values[~signal.mask] == 0).all()  # padding comes after the noise
            assert (signal.values[signal.mask] != 0).float().mean() > 0.99
    assert set(widths) == {50, 100, 150}
    assert min(widths.values()) > 0.8 * max(widths.values())


def test_both_views_and_every_draw_have_noise_of_their_own(tmp_path: Path) -> None:
    settings = SMALL | {"views": Views(windows=Disjoint(length=100), augment=[Jitter(std=0.2)])}
    data = Vibration(collections=[written(tmp_path, table())], **settings)
    rows = data.training("main", "train")
    batch = rows.__getitems__([Draw(0, 1), Draw(0, 2), Draw(1, 1)])
    noise = torch.cat([view["vibration"].values for view in batch.views])[:, :, 0]
    noise = noise - torch.arange(100)
    noise = noise - noise.mean(1, keepdim=True)
    correlation = np.abs(np.corrcoef(noise.numpy()) - np.eye(6))
    assert correlation[0, [1, 3, 4, 5]].max() < 0.5  # another key or the other view
    again = rows.__getitems__([Draw(1, 1), Draw(0, 1)])
    assert torch.equal(again.views[1]["vibration"].values[1], batch.views[1]["vibration"].values[0])
    assert not torch.equal(noise[0], noise[1])
    assert not torch.equal(noise[0], noise[3])


def _bad() -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """Forty recordings of which seven are bad, each in its own way."""
    rows = table(40)
    signals = {key: values.copy() for key, values in ramps(rows).items()}
    signals["3"] = signals["3"][:0]
    signals["5"] = signals["5"][:199]  # one less than two disjoint windows; "6" has just enough
    signals["6"] = signals["6"][:200]
    signals["7"][500] = np.nan
    signals["9"][999] = np.inf
    signals["11"] = np.array([b"text"] * 300)
    del signals["13"]
    rows[14]["Label"] = "NA"
    return rows, signals


@pytest.mark.parametrize("cached", [False, True])
def test_bad_recordings_are_counted_by_reason_and_named_and_all_others_used(tmp_path: Path, cached: bool) -> None:
    collection = written(tmp_path, *_bad())
    cache = tmp_path / "cache" if cached else None
    for _ in range(2):  # the second time from the store, if there is one
        data = Vibration(
            collections=[collection],
            columns=Columns(classes=["0", "1", "2"]),
            loading=Loading(cache=cache, quarantine=Quarantine(max_share=0.2)),
            **SMALL,
        )
        report = data.report()
        assert report["counts"]["quarantined"] == 7
        assert report["counts"]["recordings"] == 33
        assert {
            (entry["recording"], entry["row"]): entry["reason"].split(":")[0] for entry in report["quarantine"]
        } == {
            ("3", 4): "empty",
            ("5", 6): "too short",
            ("7", 8): "1 non-finite values, first at sample 500",
            ("9", 10): "1 non-finite values, first at sample 999",
            ("11", 12): "unreadable",
            ("13", 14): "absent",
            ("15", 16): "label outside the classes",
        }
        used = set(data.names)
        assert used == {str(at + 1) for at in range(40)} - {"3", "5", "7", "9", "11", "13", "15"}
        fold = [data.evaluation("main", part) for part in ("train", "test")]  # type: ignore[arg-type]
        for rows in fold:
            for batch in loader(rows, PassSampler(rows, batch_size=16)):
                recording, _ = cut(batch.views[0]["vibration"].values)
                assert [data.names[at] for at in batch.ids] == [str(at + 1) for at in recording]
        assert {data.names[at] for rows in fold for at in rows.ids} == used
    if cached:
        assert len(list((tmp_path / "cache").iterdir())) == 1


def test_above_the_set_share_or_when_told_bad_recordings_stop_the_run(tmp_path: Path) -> None:
    collection = written(tmp_path, *_bad())
    for quarantine, message in (
        (Quarantine(max_share=0.1), r"6 of 40 recordings cannot be used \(15.0%\); at most 10.0% is allowed"),
        (Quarantine(policy="error"), r"none is allowed \(policy: error\)"),
    ):
        with pytest.raises(ValueError, match=message):
            Vibration(collections=[collection], loading=Loading(quarantine=quarantine), **SMALL)


def test_when_nothing_is_usable_the_reasons_are_told_not_what_follows_from_them(tmp_path: Path) -> None:
    rows = table(4)
    collection = written(tmp_path, rows, {key: values[:0] for key, values in ramps(rows).items()})
    with pytest.raises(ValueError, match=r"4 of 4 recordings cannot be used.*empty: 4"):
        Vibration(collections=[collection], **(SMALL | {"evaluation": Random(seconds=0.1)}))


def test_headers_alone_are_checked_when_so_told(tmp_path: Path) -> None:
    rows = table()
    signals = ramps(rows)
    signals["4"][:] = np.nan
    collection = written(tmp_path, rows, signals)
    data = Vibration(collections=[collection], loading=Loading(check="headers"), **SMALL)
    assert len(data.names) == 12
    for part in ("train", "test"):
        everything = data.evaluation("main", part)  # type: ignore[arg-type]
        good = [Draw(row, 0) for row in range(len(everything)) if everything.ids[row] != 3]
        bad = [Draw(row, 0) for row in range(len(everything)) if everything.ids[row] == 3]
        assert everything.__getitems__(good).ids.tolist() == [everything.ids[draw.row] for draw in good]
        if bad:
            with pytest.raises(ValueError, match="dataset '4': not finite within samples"):
                everything.__getitems__(good + bad)


def test_unlabelled_rows_are_pretrained_on_or_refused(tmp_path: Path) -> None:
    labels = [""] * 4 + ["B", "IR"] * 4
    collection = written(tmp_path, table(Label=labels))
    data = Vibration(collections=[collection], **SMALL)
    assert data.classes == ("B", "IR")
    parts = [data.training("main", part) for part in ("train", "test")]  # type: ignore[arg-type]
    assert sum(int((rows.labels == UNLABELLED).sum()) for rows in parts) == 4
    assert data.report()["counts"]["unlabelled"] == 4
    assert data.report()["classes"] == {"B": 4, "IR": 4}
    with pytest.raises(ValueError, match="label missing: 4"):
        Vibration(collections=[collection], columns=Columns(unlabelled="refuse"), **SMALL)


def test_select_keeps_rows_by_value(tmp_path: Path) -> None:
    collection = written(tmp_path, table(fault_end=["DE", "FE"] * 6))
    data = Vibration(collections=[collection], select={"fault_end": ["DE"], "Label": [0, 1]}, **SMALL)
    assert data.names == ("1", "5", "7", "11")
    with pytest.raises(ValueError, match=r"no row of .* is left by select: Label in 7"):
        Vibration(collections=[collection], select={"Label": [7]}, **SMALL)
    with pytest.raises(ValueError, match="no column for fault"):
        Vibration(collections=[collection], select={"fault": ["B"]}, **SMALL)


def test_tolerant_spelling_is_told_and_absent_defaults_are_no_error(tmp_path: Path) -> None:
    rows = [{"id": row["Id"], "Sampling Rate": 500, "LABEL": "x" if row["Label"] else "y"} for row in table()]
    data = Vibration(collections=[written(tmp_path, rows, ramps(table()))], **SMALL)
    assert data.report()["columns"] == {
        str(tmp_path / "metadata.csv"): {"Id": "id", "Label": "LABEL", "Sample_rate": "Sampling Rate"}
    }
    assert data.specs["vibration"].rate == 500.0
    assert data.classes == ("x", "y")
    with pytest.raises(ValueError, match="no column for Motor"):
        Vibration(collections=[Collection(metadata=tmp_path / "metadata.csv", signals=tmp_path / "metadata.h5")],
                  columns=Columns(domain="Motor"), **SMALL)  # fmt: skip


def test_two_collections_are_one_data_set(tmp_path: Path) -> None:
    first = written(tmp_path, table(6, Label=["B", "IR"] * 3), name="first")
    rows = table(8, Label=["IR", "OR"] * 4, Load=[3] * 8)
    second = written(tmp_path, rows, {key: values + 60_000 for key, values in ramps(rows).items()}, name="second")
    settings = SMALL | {"split": ByValue(column="collection", train=["first"], test=["second"], valid=0.0)}
    data = Vibration(collections=[first, second], columns=Columns(group=["Bearing"]), **settings)
    assert data.names == tuple(f"first/{at + 1}" for at in range(6)) + tuple(f"second/{at + 1}" for at in range(8))
    assert data.classes == ("B", "IR", "OR")
    train, test = data.evaluation("main", "train"), data.evaluation("main", "test")
    assert set(train.labels.tolist()) == {0, 1}
    assert set(test.labels.tolist()) == {1, 2}
    assert not set(train.groups.tolist()) & set(test.groups.tolist())
    batch = test.__getitems__([Draw(row, 0) for row in range(len(test))])
    assert cut(batch.views[0]["vibration"].values)[0].tolist() == batch.ids.tolist()
    assert data.audit("main") == []
    with pytest.raises(ValueError, match="two collections are called 'first'"):
        Vibration(collections=[first, first], **SMALL)
    named = [Collection(metadata=first.metadata, signals=first.signals, name=name) for name in ("x", "y")]
    twice = Vibration(
        collections=named, **(settings | {"split": ByValue(column="collection", train=["x"], test=["y"])})
    )
    assert twice.audit("main") == [
        "train and test share 5 of content over 10 recordings: " + ", ".join(sorted(
            f"samples of x/{int(name[2:])}" for name in twice.names[:6] if name not in
            {twice.names[at] for at in twice.training("main", "valid").ids})[:3]) + ", ...",
        twice.audit("main")[1],
    ]  # fmt: skip
    assert twice.audit("main")[1].startswith("valid and test share 1 of content over 2 recordings")


def test_each_channel_is_a_signal_of_the_same_recording(tmp_path: Path) -> None:
    rows = table()
    signals = {
        key: np.concatenate([v, v + 500_000], 1) if at % 2 else v for at, (key, v) in enumerate(ramps(rows).items())
    }
    collection = written(tmp_path, rows, signals)
    settings = SMALL | {"signal": SignalConfig(normalise="none", channels="each")}
    data = Vibration(collections=[collection], **settings)
    rows_ = [data.training("main", part) for part in ("train", "test")]  # type: ignore[arg-type]
    assert Counter(np.concatenate([r.ids for r in rows_]).tolist()) == {at: 1 + at % 2 for at in range(12)}
    for part in rows_:
        batch = part.__getitems__([Draw(row, row) for row in range(len(part))])
        assert (cut(batch.views[0]["vibration"].values)[0] % 50).tolist() == batch.ids.tolist()


def test_required_channels_that_differ_are_an_error_that_names_the_odd_one(tmp_path: Path) -> None:
    rows = table()
    signals = {key: np.concatenate([values] * (1 if key == "4" else 2), 1) for key, values in ramps(rows).items()}
    collection = written(tmp_path, rows, signals)
    settings = SMALL | {"signal": SignalConfig(channels="require")}
    with pytest.raises(ValueError, match=r"dataset '4' \(row 5 of the table\): 1 channels where most have 2"):
        Vibration(collections=[collection], **settings)
    others: list[str | int | float] = [at for at in range(1, 13) if at != 4]
    data = Vibration(collections=[collection], select={"Id": others}, **settings)
    assert data.specs["vibration"].channels == 2


def test_mixed_rates_are_resampled_into_the_store(tmp_path: Path) -> None:
    rows = table(Sample_rate=[1000, 2000] * 6)
    signals = {
        str(row["Id"]): np.sin(2 * np.pi * 50 * np.arange(row["Sample_rate"]) / row["Sample_rate"])[:, None]
        for row in rows
    }
    collection = written(tmp_path, rows, signals)
    settings = SMALL | {"signal": SignalConfig(normalise="none", rate=1000.0)}
    with pytest.raises(ValueError, match=r"at 2000 Hz, wanted at 1000 Hz; .*set loading\.cache to a path"):
        Vibration(collections=[collection], **settings)
    seconds = {"evaluation": EvenlySpaced(seconds=0.1, count=3), "loading": Loading(cache=tmp_path / "cache")}
    data = Vibration(collections=[collection], **(settings | seconds))
    assert data.specs["vibration"] == (1, 100, 1000.0)
    part = data.evaluation("main", "train")
    batch = part.__getitems__([Draw(row, 0) for row in range(1, len(part), 3)])  # the middle ones, far from the ends
    expected = np.sin(2 * np.pi * 50 * np.arange(450, 550) / 1000)
    np.testing.assert_allclose(
        batch.views[0]["vibration"].values[:, :, 0], np.tile(expected, (len(batch.ids), 1)), atol=0.01
    )
    with pytest.raises(ValueError, match=r"recordings share no rate; set signal\.rate"):
        Vibration(collections=[collection], **(SMALL | {"evaluation": Random(seconds=0.1)}))
    assert Vibration(collections=[collection], **SMALL).specs["vibration"].rate == 0.0


def test_the_scope_of_normalisation(tmp_path: Path) -> None:
    collection = written(tmp_path, table())
    values = {}
    for scope in ("window", "recording"):
        for cache in (None, tmp_path / "cache"):
            signal = SignalConfig(normalise="minmax", scope=scope)  # type: ignore[arg-type]
            data = Vibration(collections=[collection], **(SMALL | {"signal": signal, "loading": Loading(cache=cache)}))
            part = data.evaluation("main", "train")
            values[scope, cache] = part.__getitems__([Draw(0, 0), Draw(1, 0), Draw(2, 0)]).views[0]["vibration"].values
    ramp = np.arange(100)
    for (scope, _), windows in values.items():
        starts = np.array([0, 450, 900])[:, None]
        expected = (starts + ramp) / 999 if scope == "recording" else np.tile(ramp / 99, (3, 1))
        np.testing.assert_allclose(windows[:, :, 0], expected, atol=1e-6)


def test_constant_windows_are_zeros_and_counted(tmp_path: Path) -> None:
    rows = table()
    signals = ramps(rows)
    for key in ("1", "2"):
        signals[key][:] = 0.1
    data = Vibration(collections=[written(tmp_path, rows, signals)], **(SMALL | {"signal": SignalConfig()}))
    for split in ("train", "test"):
        part = data.evaluation("main", split)  # type: ignore[arg-type]
        batch = part.__getitems__([Draw(row, 0) for row in range(len(part))])
        values = batch.views[0]["vibration"].values
        assert torch.isfinite(values).all()
        assert (values[batch.ids < 2] == 0).all()
    assert data.report()["counts"]["windows without spread"] == 6


def test_metadata_columns_feed_the_baseline(tmp_path: Path) -> None:
    rows = table(motor=["a", "b", ""] * 4, load=[0.5, "", 2] * 4)
    data = Vibration(collections=[written(tmp_path, rows)], columns=Columns(metadata=["load", "motor"]), **SMALL)
    part = data.training("main", "train")
    np.testing.assert_array_equal(
        part.metadata,
        [[1000, 1000, 1, *[(0.5, 1, 0), (np.nan, 0, 1), (2.0, 0, 0)][int(at) % 3]] for at in part.ids],
    )


def test_a_split_that_leaves_one_recording_to_train_on_is_an_error_at_set_up(tmp_path: Path) -> None:
    rows = table(3, part=["a", "b", "b"])
    settings = SMALL | {"split": ByValue(column="part", train=["a"], test=["b"], valid=0.0)}
    data = Vibration(collections=[written(tmp_path, rows)], **settings)
    with pytest.raises(ValueError, match="fold 'main' has 1 recording to train on; at least two"):
        data.training("main", "train")
    with pytest.raises(ValueError, match="no fold 'mian'; there are main"):
        data.training("mian", "train")


def test_audit_finds_shared_groups_and_copies(tmp_path: Path) -> None:
    rows = table(load=[0, 1] * 6)
    signals = ramps(rows)
    signals["2"] = signals["5"]
    settings = SMALL | {"split": ByValue(column="load", train=[0], test=[1], valid=0.0, shared_groups="report")}
    collection = written(tmp_path, rows, signals)
    for cache in (None, tmp_path / "cache"):
        data = Vibration(
            collections=[collection],
            columns=Columns(group=["Bearing"]),
            **(settings | {"loading": Loading(cache=cache)}),
        )
        assert data.audit("main") == [
            "train and test share 6 of group over 12 recordings: b0, b1, b2, ... (shared_groups: report)",
            "train and test share 1 of content over 2 recordings: samples of 2",
        ]


def test_the_report_is_json_and_names_its_sources(tmp_path: Path) -> None:
    import json

    collection = written(tmp_path, table())
    report = json.loads(json.dumps(Vibration(collections=[collection], **SMALL).report()))
    assert [Path(source["path"]) for source in report["sources"]] == [collection.metadata, collection.signals]
    assert all(len(source["sha256"]) == 64 for source in report["sources"])
    assert report["counts"]["recordings"] == 12
    assert report["counts"]["samples"] == 12 * LENGTH
    assert report["folds"]["main"]["train"] + report["folds"]["main"]["test"] == 12
    assert report["counts"]["groups"] == 12


def test_duplicate_ids_are_named(tmp_path: Path) -> None:
    rows = table()
    rows[7]["Id"] = 3
    with pytest.raises(ValueError, match="stands in rows 4 and 9"):
        Vibration(collections=[written(tmp_path, rows, ramps(table()))], **SMALL)


def test_the_published_bearings_leave_a_diameter_out_and_share_no_bearing(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "vibration" / "cwru_12k"
    if not source.is_dir():
        pytest.skip(f"no CWRU recordings at {source}")
    folder = import_cwru(source, tmp_path / "cwru")
    data = Vibration(
        collections=[Collection(metadata=folder / "metadata.csv", signals=folder / "signals.h5")],
        columns=Columns(group=["bearing"], metadata=["rpm"]),
        select={"fault_end": ["DE"], "Label": ["B", "IR", "OR"]},
        views=Views(windows=Disjoint(length=2048), pairs_per_recording=4),
        evaluation=Sequential(length=2048, stride=2048),
        split=LeaveOut(column="Fault_level", values=[7, 14, 21], valid=0.0),
        loading=Loading(cache=tmp_path / "cache"),
    )
    assert data.classes == ("B", "IR", "OR")
    assert data.specs["vibration"].rate == 12_000.0
    for fold in data.folds:
        assert data.audit(fold) == []
        test = data.evaluation(fold, "test")
        assert set(test.labels.tolist()) == {0, 1, 2}
        rows = data.training(fold, "train")
        assert not set(test.groups.tolist()) & set(rows.groups.tolist())
        batch = next(iter(loader(rows, StreamSampler(rows, batch_size=16, epochs=1, seed=0))))
        one, other = (view["vibration"].values for view in batch.views)
        assert one.shape == other.shape == (16, 2048, 1)
        torch.testing.assert_close(one.mean(1), torch.zeros(16, 1), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.std(1, correction=0), torch.ones(16, 1), atol=1e-4, rtol=0)
        assert not torch.equal(one, other)
