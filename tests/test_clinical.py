"""Stays of patients, from files to batches, splits and the account of the data."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoint import config
from counterpoint.data.base import Data, Draw, Rows
from counterpoint.data.clinical import Clinical, LongTable, Outcome, PhysioNet2012, StayColumns, StayFolder
from counterpoint.data.clinical.events import EventConfig
from counterpoint.data.clinical.views import EventViews
from counterpoint.data.ledger import Quarantine
from counterpoint.data.sampling import PassSampler, StreamSampler, loader
from counterpoint.data.splits import ByColumn, ByGroup, ByValue
from counterpoint.data.synthetic.stays import generate
from counterpoint.types import UNLABELLED, Batch, Events, EventSpec


def event_value(stay: int, minute: int, code: int) -> float:
    """A number that says which event it is."""
    return 10_000.0 * stay + 10.0 * minute + code


def rows_of(count: int) -> list[tuple[Any, ...]]:
    """Stay n has n % 4 + 2 sets at minutes 0, 3, 10, ...; set k holds the variables V0 to V(k % 3)."""
    return [
        (f"p{stay}", minute, f"V{code}", event_value(stay, minute, code))
        for stay in range(count)
        for at, minute in enumerate((0, 3, 10, 60, 90)[: stay % 4 + 2])
        for code in range(at % 3 + 1)
    ]


def write(path: Path, rows: list[tuple[Any, ...]], header: str) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def reader(
    folder: Path, count: int = 20, labels: dict[int, Any] | None = None, extra: list[tuple[Any, ...]] | None = None
) -> LongTable:
    """Two tables, the first with two thirds of the stays, and outcomes: every third stay died."""
    rows = rows_of(count) + (extra or [])
    first = {f"p{stay}" for stay in range(2 * count // 3)}
    parts = [[row for row in rows if (row[0] in first) == side] for side in (True, False)]
    tables = {
        name: write(folder / f"{name}.csv", part, "ts_id,minute,variable,value")
        for name, part in zip("ab", parts, strict=True)
    }
    cells = {stay: int(stay % 3 == 0) for stay in range(count)} | (labels or {})
    outcomes = [(f"p{stay}", cell, f"w{stay % 2}", f"patient{stay // 2}") for stay, cell in cells.items()]
    return LongTable(
        tables=tables, outcomes=[write(folder / "oc.csv", outcomes, "ts_id,died,ward,patient")], missing=[-1.0]
    )


OUTCOME = Outcome(column="died", names={"0": "survived", "1": "died"})


def made(folder: Path, count: int = 20, **settings: Any) -> Clinical:
    """A reader of ``rows_of`` that standardises by quantities that leave the values readable."""
    stays = settings.pop("stays", None) or reader(folder, count)
    return Clinical(**{"stays": stays, "outcome": OUTCOME, "split": ByGroup(test=0.4, valid=0.2)} | settings)


def whole(rows: Rows) -> Batch:
    return rows.__getitems__([Draw(row, 7 * row) for row in range(len(rows))])


def events_of(batch: Batch, view: int = 0) -> Events:
    events = batch.views[view]["events"]
    assert isinstance(events, Events)
    return events


def unpacked(events: Events, row: int) -> list[tuple[float, list[tuple[int, float]]]]:
    """The sets of a row: hours and events (code, value)."""
    return [
        (
            float(events.times[at]),
            [(int(events.codes[e]), float(events.values[e])) for e in range(events.sets[at], events.sets[at + 1])],
        )
        for at in range(int(events.rows[row]), int(events.rows[row + 1]))
    ]


def check_form(events: Events, spec: EventSpec, rows: int) -> None:
    """What every batch of events holds to."""
    assert [tensor.dtype for tensor in events] == [
        torch.float32, torch.int64, torch.float32, torch.int64, torch.int64, torch.int64,
    ]  # fmt: skip
    assert len(events.rows) == rows + 1
    assert len(events.keys) == rows
    assert events.rows[0] == events.sets[0] == 0
    assert events.rows[-1] == len(events.times) == len(events.sets) - 1
    assert events.sets[-1] == len(events.values) == len(events.codes)
    sizes, lengths = events.sets.diff(), events.rows.diff()
    assert int(sizes.min()) >= 1
    assert int(sizes.max()) <= spec.events
    assert int(lengths.min()) >= 1
    assert int(lengths.max()) <= spec.sets
    assert int(events.codes.max()) < len(spec.variables)
    for row in range(rows):
        times = events.times[events.rows[row] : events.rows[row + 1]]
        assert (times.diff() > 0).all()


@pytest.mark.parametrize("split", ["train", "valid", "test", "all"])
def test_batches_hold_the_events_of_their_stays(tmp_path: Path, split: Any) -> None:
    data = made(tmp_path, events=EventConfig(clip=None))
    assert data.specs == {"events": EventSpec(("V0", "V1", "V2"), 5, 3)}
    assert data.classes == ("survived", "died")
    train = [int(row) for row in data.training("main", "train").ids]
    raw = [row for row in rows_of(20) if int(row[0][1:]) in train]
    scale = {}
    for code in range(3):
        values = np.array([value for _, _, name, value in raw if name == f"V{code}"])
        scale[code] = (values.mean(), values.std())
    for rows in (data.training("main", split), data.evaluation("main", split)):
        seen = []
        for batch in loader(rows, PassSampler(rows, batch_size=6)):
            events = events_of(batch)
            check_form(events, data.specs["events"], len(batch.ids))  # type: ignore[arg-type]
            for row, stay in enumerate(batch.ids.tolist()):
                assert data.names[stay] == f"p{stay}"
                wanted: dict[float, list[tuple[int, float]]] = {}
                for name, minute, variable, value in rows_of(20):
                    if name == f"p{stay}":
                        code = int(variable[1])
                        standard = (value - scale[code][0]) / scale[code][1]
                        wanted.setdefault(minute / 60, []).append((code, standard))
                found = unpacked(events, row)
                assert [hour for hour, _ in found] == pytest.approx(list(wanted))
                for (_, mine), theirs in zip(found, wanted.values(), strict=True):
                    assert [code for code, _ in mine] == [code for code, _ in theirs]
                    assert [value for _, value in mine] == pytest.approx([v for _, v in theirs], abs=1e-5)
                assert batch.labels[row] == int(stay % 3 == 0)
                assert batch.groups[row] == sorted(data.names).index(f"p{stay}")
                seen.append(stay)
        assert seen == rows.ids.tolist()
    assert len(data.training("main", "all")) == 20


def test_statistics_are_of_the_training_stays_of_the_fold(tmp_path: Path) -> None:
    stays = reader(tmp_path, 20)
    two = [
        made(tmp_path, stays=stays, split=ByValue(column="table", train=[one], test=[other], valid=0))
        for one, other in (("a", "b"), ("b", "a"))
    ]
    for data in two:
        train = events_of(whole(data.evaluation("main", "train")))
        for code in range(3):
            values = train.values[train.codes == code].double()
            assert abs(float(values.mean())) < 1e-5
            assert abs(float(values.std(correction=0)) - 1) < 1e-4
    first, second = (events_of(whole(data.evaluation("main", "all"))) for data in two)
    assert torch.equal(first.codes, second.codes)
    assert not torch.allclose(first.values, second.values)


def test_what_is_known_without_values_and_named_columns(tmp_path: Path) -> None:
    data = made(tmp_path, columns=StayColumns(group=["patient"], domain="ward", metadata=["ward"]))
    rows = data.evaluation("main", "all")
    for row in range(20):
        sets = row % 4 + 2
        events = sum(at % 3 + 1 for at in range(sets))
        hours = (0, 3, 10, 60, 90)[sets - 1] / 60
        np.testing.assert_allclose(rows.metadata[row], [events, sets, hours, row % 2 == 0, row % 2 == 1], rtol=1e-6)
    assert rows.domains.tolist() == [row % 2 for row in range(20)]
    assert len(set(rows.groups.tolist())) == 10
    for part in ("train", "valid", "test"):
        patients = Counter(int(at) // 2 for at in data.evaluation("main", part).ids)  # type: ignore[arg-type]
        assert set(patients.values()) == {2}
    with pytest.raises(
        ValueError, match="no column 'site' in the outcomes; there are ts_id, died, ward, patient, table"
    ):
        made(tmp_path, columns=StayColumns(domain="site"))


def test_evaluation_is_the_same_at_every_call_and_training_hangs_on_the_key(tmp_path: Path) -> None:
    views = EventViews(count=2, drop_events=0.3, drop_sets=0.2, noise=0.1)
    data = made(tmp_path, views=views)
    rows = data.evaluation("main", "test")
    one, other = (rows.__getitems__([Draw(row, key) for row in range(len(rows))]) for key in (1, 2))
    assert len(one.views) == 1
    assert all(torch.equal(a, b) for a, b in zip(events_of(one), events_of(other), strict=True))
    rows = data.training("main", "train")
    same = [rows.__getitems__([Draw(1, 5), Draw(3, 6)]), rows.__getitems__([Draw(3, 6), Draw(1, 5)])]
    for view in range(2):
        first, second = (events_of(batch, view) for batch in same)
        for here, there in ((0, 1), (1, 0)):
            assert unpacked(first, here) == unpacked(second, there)
            assert first.keys[here] == second.keys[there]
    a, b = (events_of(same[0], view) for view in range(2))
    assert unpacked(a, 1) != unpacked(b, 1)
    assert not set(a.keys.tolist()) & set(b.keys.tolist())
    again = rows.__getitems__([Draw(1, 8), Draw(3, 9)])
    assert unpacked(events_of(again), 1) != unpacked(a, 1)
    assert int(a.keys.min()) >= 0


def test_batches_are_bit_equal_for_workers_0_and_2_and_after_a_resume(tmp_path: Path) -> None:
    data = made(tmp_path, views=EventViews(count=2, drop_events=0.3, drop_sets=0.2, noise=0.1))
    rows = data.training("main", "train")
    runs = [
        list(loader(rows, StreamSampler(rows, batch_size=4, epochs=2, seed=5, start=start), workers))
        for workers, start in ((0, 0), (2, 0), (0, 2))
    ]
    for reference, other in [*zip(runs[0], runs[1], strict=True), *zip(runs[0][2:], runs[2], strict=True)]:
        assert torch.equal(reference.ids, other.ids)
        for view in range(2):
            pairs = zip(events_of(reference, view), events_of(other, view), strict=True)
            assert all(torch.equal(one, two) for one, two in pairs)


def test_views_hide_about_the_share_asked_for_and_never_all(tmp_path: Path) -> None:
    long = [(f"q{stay}", minute, f"V{code}", stay) for stay in range(30) for minute in range(40) for code in range(3)]
    stays = LongTable(tables=[write(tmp_path / "t.csv", long, "ts_id,minute,variable,value")])

    def shares(**settings: float) -> tuple[float, float]:
        views = EventViews(**settings)  # type: ignore[arg-type]
        data = Clinical(stays=stays, views=views, split=ByGroup(valid=0.1))
        rows = data.training("main", "all")
        shown = events_of(whole(rows))
        check_form(shown, data.specs["events"], 30)  # type: ignore[arg-type]
        full = events_of(whole(data.evaluation("main", "all")))
        for row in range(30):
            mine, theirs = dict(unpacked(shown, row)), dict(unpacked(full, row))
            assert set(mine) <= set(theirs)
            assert all(set(events) <= set(theirs[hour]) for hour, events in mine.items())
        return len(shown.values) / len(full.values), len(shown.times) / len(full.times)

    events, sets = shares(drop_events=0.25)
    assert events == pytest.approx(0.75, abs=0.03)
    assert sets == pytest.approx(1 - 0.25**3, abs=0.02)
    events, sets = shares(drop_sets=0.4)
    assert events == pytest.approx(0.6, abs=0.05)
    assert sets == pytest.approx(events)
    events, _ = shares(drop_sets=0.4, drop_events=0.25)
    assert events == pytest.approx(0.45, abs=0.05)
    events, sets = shares(drop_events=0.999, drop_sets=0.999)  # one event of each stay is always left
    assert events < 0.02
    assert sets >= 30 / (30 * 40)


def test_noise_blurs_values_that_have_a_scale_and_no_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(f"q{s}", m, v, x) for s in range(40) for m in range(30) for v, x in (("HR", rng.normal()), ("ICU", s % 3))]
    rows += [(f"q{s}", 50, "Vent", 1) for s in range(40)]
    data = Clinical(
        stays=LongTable(tables=[write(tmp_path / "t.csv", rows, "ts_id,minute,variable,value")]),
        events=EventConfig(categorical=["ICU"]),
        views=EventViews(count=2, noise=0.5),
    )
    train = data.training("main", "all")
    batch = whole(train)
    first, second, full = events_of(batch), events_of(batch, 1), events_of(whole(data.evaluation("main", "all")))
    names = data.specs["events"].variables  # type: ignore[union-attr]
    assert names == ("HR", "ICU=0", "ICU=1", "ICU=2", "Vent")
    assert torch.equal(first.codes, full.codes)
    plain = first.codes > 0
    assert (first.values[plain] == 0).all()
    noise, other = (view.values[~plain] - full.values[~plain] for view in (first, second))
    assert float(noise.std()) == pytest.approx(0.5, abs=0.03)
    assert abs(float(noise.mean())) < 0.05
    assert abs(float(torch.corrcoef(torch.stack([noise, other]))[0, 1])) < 0.1
    for wrong, message in (({"noise": -1.0}, "views.noise must not"), ({"drop_sets": 1.0}, "views.drop_sets is a sh")):
        with pytest.raises(ValueError, match=message):
            EventViews(**wrong)  # type: ignore[arg-type]


def test_a_stay_without_a_label_is_unlabelled_and_a_strange_label_refused(tmp_path: Path) -> None:
    labels = {1: "", 2: "2", 3: "nan"}
    stays = reader(tmp_path, 20, labels, [("lone", 0, "V0", 1.0)])
    data = made(tmp_path, stays=stays, quarantine=Quarantine(max_share=0.1))
    place = {name: at for at, name in enumerate(data.names)}
    rows = data.evaluation("main", "all")
    assert [int(rows.labels[place[name]]) for name in ("p1", "p3", "lone")] == [UNLABELLED] * 3
    assert "p2" not in place
    report = data.report()
    assert report["counts"]["unlabelled"] == 3
    assert report["counts"]["quarantined"] == 1
    assert report["quarantine"][0]["reason"] == "label outside the classes: died is '2', none of 0, 1"
    assert report["classes"] == {"survived": 11, "died": 6}
    assert report["events"]["stay without an outcome, unlabelled"]["examples"] == [f"{tmp_path / 'oc.csv'}: no lone"]
    with pytest.raises(
        ValueError, match=r"1 of 21 recordings cannot be used .*\n  p2 \(events\) in .*a\.csv: label out"
    ):
        made(tmp_path, stays=stays, quarantine=Quarantine(policy="error"))
    plain = made(tmp_path, stays=reader(tmp_path, 20), outcome=Outcome(column="died"))
    assert plain.classes == ("0", "1")
    none = made(tmp_path, stays=reader(tmp_path, 20), outcome=Outcome())
    assert none.classes == ()
    assert none.report()["counts"]["unlabelled"] == 20


def test_empty_and_unreadable_stays_go_to_the_quarantine_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "set-a"
    folder.mkdir()
    for stay in range(30):
        lines = [f"00:0{at},HR,{60 + stay + at}\n" for at in range(4)]
        (folder / f"{stay}.txt").write_text(f"Time,Parameter,Value\n00:00,RecordID,{stay}\n{''.join(lines)}")
    (folder / "3.txt").write_text("Time,Parameter,Value\n")
    (folder / "4.txt").write_text("Time,Parameter,Value\n00:00,HR,-1\n")
    (folder / "5.txt").write_text("Time,Parameter,Value\n00:00,HR,80\n00:0")
    (folder / "6.txt").write_text("Time,Parameter,Value\n30:00,HR,80\n")
    data = Clinical(
        stays=PhysioNet2012(folders=[folder]),
        outcome=Outcome(column="folder"),
        events=EventConfig(horizon_hours=24),
        quarantine=Quarantine(max_share=0.2),
    )
    report = data.report()
    assert {entry["recording"]: entry["reason"].split(":")[0] for entry in report["quarantine"]} == {
        "3": "empty",
        "4": "empty",
        "5": "truncated",
        "6": "empty",
    }
    assert [entry["file"] for entry in report["quarantine"]] == [str(folder / f"{stay}.txt") for stay in (3, 4, 5, 6)]
    assert data.names == tuple(sorted({str(stay) for stay in range(30)} - {"3", "4", "5", "6"}))
    rows = data.evaluation("main", "all")
    events = events_of(whole(rows))
    assert events.rows.diff().tolist() == [4] * 26
    assert report["counts"] == {
        "stays": 26, "events": 104, "sets": 104, "variables": 1, "groups": 26, "unlabelled": 0, "quarantined": 4,
    }  # fmt: skip
    with pytest.raises(ValueError, match=r"4 of 30 recordings cannot be used \(13\.3%\); at most 5\.0% is allowed"):
        Clinical(stays=PhysioNet2012(folders=[folder]), events=EventConfig(horizon_hours=24))


def test_the_split_of_a_folder_is_kept_and_its_statistics_used(tmp_path: Path) -> None:
    folder = generate(tmp_path / "folder", stays=60, seed=1, layout="folder")
    data = Clinical(
        stays=StayFolder(folder=folder),
        outcome=Outcome(names={"0": "survived", "1": "died"}),
        events=EventConfig(normalise="given", clip=None, duplicates="keep"),
        split=ByColumn(column="split"),
    )
    for part in ("train", "valid", "test"):
        rows = data.evaluation("main", part)  # type: ignore[arg-type]
        assert {data.names[at] for at in rows.ids} == {path.stem for path in (folder / part).glob("*.parquet")}
    given = events_of(whole(data.evaluation("main", "train")))
    for code in range(len(data.specs["events"].variables)):  # type: ignore[union-attr]
        values = given.values[given.codes == code].double()
        assert abs(float(values.mean())) < 1e-4  # the file's statistics are those of its training stays
    assert data.report()["simulated"]
    assert data.audit("main") == []


def test_audit_finds_shared_groups_and_copies_under_another_name(tmp_path: Path) -> None:
    copy = [("p19x", *row[1:]) for row in rows_of(20) if row[0] == "p1"]
    short = [(name, 0, "V0", 5.0) for name in ("p0x", "p18x")]  # alike, but one set tells nothing
    stays = reader(tmp_path, 20, None, [*copy, *short])
    data = made(
        tmp_path,
        stays=stays,
        columns=StayColumns(group=["ward"]),
        split=ByValue(column="table", train=["a"], test=["b"], valid=0, shared_groups="report"),
    )
    assert data.audit("main") == [
        "train and test share 2 of group over 20 recordings: w0, w1 (shared_groups: report)",
        "train and test share 1 of content over 2 recordings: samples of p1",
    ]
    with pytest.raises(ValueError, match="no fold 'other'; there are main"):
        data.audit("other")


def test_the_report_is_json_names_its_sources_and_what_was_done_to_events(tmp_path: Path) -> None:
    extra = [("p18", 0, "Rare", 3.0), ("p19", 500, "V0", 1e9), ("p19", 501, "V0", "nan"), ("p1", 0, "V0", -1)]
    extra += [("p2", -4, "V1", 7.0), ("p3", 0, "V0", event_value(3, 0, 0))]
    stays = reader(tmp_path, 20, None, extra)
    split = ByValue(column="table", train=["a"], test=["b"], valid=0)
    data = made(tmp_path, stays=stays, split=split, events=EventConfig(clip=5.0))
    report = json.loads(json.dumps(data.report()))
    assert set(report) == {
        "simulated", "sources", "columns", "counts", "classes", "specs", "folds", "quarantine", "events",
    }  # fmt: skip
    assert [Path(source["path"]).name for source in report["sources"]] == ["a.csv", "b.csv", "oc.csv"]
    assert all(len(source["sha256"]) == 64 for source in report["sources"])
    assert not report["simulated"]
    assert report["folds"] == {"main": {"train": 13, "valid": 0, "test": 7}}
    assert report["specs"]["events"]["variables"] == ["Rare", "V0", "V1", "V2"]
    assert report["columns"]["outcome"] == "died"
    assert {kind: (found["count"], found["stays"]) for kind, found in report["events"].items()} == {
        "value is no finite number, left out": (1, 1),
        "value that stands for a missing one (-1), left out": (1, 1),
        "before admission, kept": (1, 1),
        "exact copy of an event, left out": (1, 1),
        "value beyond 5.0 standard deviations, set to that": (1, 1),
        "variable that no training stay has, its values set to 0": (1, 1),
    }
    clipped = report["events"]["value beyond 5.0 standard deviations, set to that"]["examples"]
    assert clipped == [f"{tmp_path / 'b.csv'}, stay p19: 'V0' = 1e+09 at minute 500"]
    rare = report["events"]["variable that no training stay has, its values set to 0"]["examples"]
    assert rare == ["Rare"]
    assert data.report() == data.report()


def test_a_source_that_changes_has_another_digest(tmp_path: Path) -> None:
    folder = generate(tmp_path / "texts", stays=30, seed=2, layout="physionet2012")
    stays = PhysioNet2012(folders=[folder / "set-a"], outcomes=[folder / "Outcomes-a.txt"])
    before = Clinical(stays=stays).report()["sources"]
    assert [Path(source["path"]).name for source in before] == ["set-a", "Outcomes-a.txt"]
    assert before[0]["bytes"] == sum(path.stat().st_size for path in (folder / "set-a").iterdir())
    some = next((folder / "set-a").iterdir())
    some.write_text(some.read_text() + "40:00,HR,77\n")
    after = Clinical(stays=stays).report()["sources"]
    assert after[0]["sha256"] != before[0]["sha256"]
    assert after[1] == before[1]


def test_one_stay_to_train_on_is_an_error_that_says_so(tmp_path: Path) -> None:
    data = made(tmp_path, count=3, split=ByValue(column="ts_id", train=["p0"], test=["p1", "p2"], valid=0))
    with pytest.raises(ValueError, match="fold 'main' has 1 stay to train on; at least two"):
        data.training("main", "train")
    with pytest.raises(ValueError, match="no fold 'mian'; there are main"):
        data.evaluation("mian", "test")


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Stands for a recipe."""

    data: config.Factory[Data]


def test_a_recipe_can_name_all_of_it_and_goes_there_and_back(tmp_path: Path) -> None:
    reader(tmp_path, 20)
    text = f"""
data:
  type: Clinical
  stays:
    type: LongTable
    tables: {{a: {tmp_path}/a.csv, b: {tmp_path}/b.csv}}
    outcomes: [{tmp_path}/oc.csv]
    missing: [-1]
  outcome: {{column: died, names: {{"0": survived, "1": died}}}}
  columns: {{group: [patient]}}
  events: {{normalise: robust, clip: null, max_sequence_length: 3, categorical: [V2]}}
  views: {{count: 2, drop_events: 0.1}}
  split: {{type: ByValue, column: table, train: [a], test: [b], valid: 0.2, shared_groups: report}}
"""
    (tmp_path / "recipe.yaml").write_text(text)
    held = config.load(tmp_path / "recipe.yaml", Holder)
    data = held.data()
    assert isinstance(data, Clinical)
    assert data.specs["events"].sets == 3  # type: ignore[union-attr]
    assert data.classes == ("survived", "died")
    whole_again = config.dump(held)
    assert "horizon_hours: null" in whole_again
    (tmp_path / "again.yaml").write_text(whole_again)
    assert config.dump(config.load(tmp_path / "again.yaml", Holder)) == whole_again
    listed = text.replace(f"{{a: {tmp_path}/a.csv, b: {tmp_path}/b.csv}}", f"[{tmp_path}/a.csv, {tmp_path}/b.csv]")
    (tmp_path / "listed.yaml").write_text(listed)
    assert config.load(tmp_path / "listed.yaml", Holder).data().names == data.names


@pytest.fixture(scope="module")
def challenge(data_root: Path) -> Clinical:
    folder = data_root / "clinical" / "physionet2012"
    if not folder.is_dir():
        pytest.skip(f"no PhysioNet 2012 stays at {folder}")
    return Clinical(
        stays=LongTable(
            tables={name: folder / f"events_{name}.parquet" for name in "ab"},
            outcomes=[folder / f"Outcomes-{name}.txt" for name in "ab"],
            stay="record_id",
            time="hours",
            unit="hours",
            missing=[-1.0],
            ignore=["RecordID"],
        ),
        outcome=Outcome(column="In-hospital_death", names={"0": "survived", "1": "died"}),
        columns=StayColumns(metadata=["SAPS-I"]),
        events=EventConfig(categorical=["Gender", "ICUType"]),
        split=ByValue(column="table", train=["a"], test=["b"], valid=0.2),
    )


def test_the_stays_of_the_challenge(challenge: Clinical) -> None:
    report = challenge.report()
    assert report["counts"]["stays"] == 8000
    assert report["counts"]["unlabelled"] == 0
    assert report["classes"] == {"survived": 6878, "died": 1122}
    assert report["folds"] == {"main": {"train": 3200, "valid": 800, "test": 4000}}
    assert challenge.audit("main") == []
    names = challenge.specs["events"].variables  # type: ignore[union-attr]
    assert len(names) == 45
    train = events_of(whole(challenge.evaluation("main", "train")))
    check_form(train, challenge.specs["events"], 3200)  # type: ignore[arg-type]
    values, codes = train.values.double().numpy(), train.codes.numpy()
    counts = np.bincount(codes, minlength=len(names))
    means = np.bincount(codes, values) / counts
    assert np.abs(means).max() < 0.1  # 0 but for what the limit took away
    assert float(train.values.abs().max()) == 5.0
    share = report["events"]["value beyond 5.0 standard deviations, set to that"]["count"] / report["counts"]["events"]
    assert share < 0.002
