"""Readers of stays: from files in three forms to one table of events, and what is wrong with the files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from counterpoint.data.clinical.long_table import LongTable
from counterpoint.data.clinical.physionet2012 import PhysioNet2012
from counterpoint.data.clinical.stay_folder import StayFolder
from counterpoint.data.clinical.stays import Stays, describe_stays
from counterpoint.data.synthetic.stays import generate

Event = tuple[str, float, str, float]


def events(stays: Stays, some: Sequence[str] = ()) -> list[Event]:
    """The events of some stays, or of all, in order: stay, minute, variable, value."""
    kept = np.isin(np.array(stays.names), list(some or stays.names))[stays.stay]
    columns = (column[kept].tolist() for column in (stays.stay, stays.minutes, stays.codes, stays.values))
    return [
        (stays.names[at], minute, stays.variables[code], value)
        for at, minute, code, value in zip(*columns, strict=True)
    ]


def csv_table(path: Path, rows: list[tuple[Any, ...]], header: str = "ts_id,minute,variable,value") -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


def parquet(path: Path, **columns: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


def text_stay(folder: Path, name: str, *lines: str, header: str = "Time,Parameter,Value") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.txt"
    path.write_text("".join(f"{line}\n" for line in (header, *lines)), encoding="utf-8")
    return path


ROWS: list[tuple[Any, ...]] = [
    ("007", 0, "HR", 80),
    ("007", 30.5, "Temp", 36.5),
    ("b", -10, "HR", 90),
    ("b", 60, "pH", 7.25),
]


@pytest.mark.parametrize(
    ("unit", "factor"), [("seconds", 60.0), ("minutes", 1.0), ("hours", 1 / 60), ("days", 1 / 1440)]
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "dictionary", "float32"])
def test_long_tables_of_every_make_give_the_same_events(tmp_path: Path, unit: Any, factor: float, kind: str) -> None:
    rows = [(stay, minute * factor, name, value) for stay, minute, name, value in ROWS]
    if kind == "csv":
        path = csv_table(tmp_path / "t.csv", rows)
    else:
        stay, time, name, value = (list(column) for column in zip(*rows, strict=True))
        number = pa.float32() if kind == "float32" else pa.float64()
        names = pa.array(name).dictionary_encode() if kind == "dictionary" else pa.array(name)
        path = parquet(
            tmp_path / "t.parquet",
            **{"TS id": stay, "minute": pa.array(time, number), "variable": names, "value": pa.array(value, number)},
        )
    stays = LongTable(tables=[path], unit=unit).read()
    assert stays.names == ["007", "b"]  # an identifier with leading zeros stays text
    assert stays.variables == ("HR", "Temp", "pH")
    assert events(stays) == [
        ("007", 0.0, "HR", 80.0),
        ("007", 30.5, "Temp", 36.5),
        ("b", -10.0, "HR", 90.0),
        ("b", 60.0, "pH", 7.25),
    ]
    assert stays.lines.tolist() == [2, 3, 4, 5]
    assert stays.cells == {"table": ["t", "t"]}


def test_whole_minutes_stay_whole_in_single_precision(tmp_path: Path) -> None:
    minutes = np.arange(0, 60 * 24 * 60, 7)
    hours = pa.array((minutes / 60).astype(np.float32))
    count = len(minutes)
    path = parquet(
        tmp_path / "t.parquet", ts_id=["1"] * count, minute=hours, variable=["HR"] * count, value=[1] * count
    )
    assert LongTable(tables=[path], unit="hours").read().minutes.tolist() == minutes.tolist()


def test_rows_of_a_stay_may_lie_apart_and_separators_differ(tmp_path: Path) -> None:
    text = "minute;value;ts_id;variable;note\n0;80;2;HR;x\n0;70;1;HR;\n5;81;2;HR;y\n"
    (tmp_path / "t.csv").write_text(text)
    stays = LongTable(tables={"mine": tmp_path / "t.csv"}).read()
    assert events(stays) == [("2", 0.0, "HR", 80.0), ("2", 5.0, "HR", 81.0), ("1", 0.0, "HR", 70.0)]
    assert stays.lines.tolist() == [2, 4, 3]


def test_what_is_no_measurement_is_left_out_counted_and_named(tmp_path: Path) -> None:
    rows = [
        ("1", 0, "Id", 1),
        ("1", 0, "HR", -1),
        ("1", 1, "HR", "nan"),
        ("1", 2, "HR", "inf"),
        ("2", 3, "HR", "high"),
        ("2", 4, "", 5),
        ("2", "", "HR", 5),
        ("2", 5, "HR", 1e60),
        ("2", 6, "HR", 70),
    ]
    reader = LongTable(tables=[csv_table(tmp_path / "t.csv", rows)], missing=[-1.0, -9.0], ignore=["Id"])
    stays = reader.read()
    assert events(stays) == [("2", 6.0, "HR", 70.0)]
    assert stays.variables == ("HR",)
    assert stays.names == ["1", "2"]
    account = stays.account.report()
    assert {kind: (found["count"], found["stays"]) for kind, found in account.items()} == {
        "ignored variable, left out": (1, 1),
        "value that stands for a missing one (-1, -9), left out": (1, 1),
        "value is no finite number, left out": (4, 2),
        "variable not named, left out": (1, 1),
        "time is no finite number, left out": (1, 1),
    }
    assert account["value is no finite number, left out"]["examples"][2] == (
        f"{tmp_path / 't.csv'}, row 6, stay 2: 'HR' = nan at minute 3"
    )


def test_no_more_than_five_examples_of_a_kind_are_kept(tmp_path: Path) -> None:
    tables = [csv_table(tmp_path / f"{t}.csv", [(f"{t}{at}", 0, "HR", "nan") for at in range(4)]) for t in "ab"]
    found = LongTable(tables=tables).read().account.report()["value is no finite number, left out"]
    assert (found["count"], found["stays"], len(found["examples"])) == (8, 8, 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such table"),
        (b"ts_id,minute,value\n1,2,3\n", "no column for variable; the table has ts_id, minute, value"),
        (b"ts_id,minute,variable,value\n1,2,HR,3\n,2,HR,3\n", "row 3, column 'ts_id': no stay is named"),
        (b"ts_id,minute,variable,value\n1,2,HR,3\n1,2,HR\n", "not a readable .csv .*Expected 4 columns, got 3"),
        (b"ts_id,minute,variable,value,VALUE\n1,2,HR,3,4\n", "'value' and 'VALUE' could both be 'value'"),
    ],
)
def test_a_long_table_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "t.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=f"t.csv.*{message}"):
        LongTable(tables=[path]).read()


def test_a_truncated_or_odd_parquet_table_is_named(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "t.parquet", ts_id=["1"], minute=[0.0], variable=["HR"], value=[1.0])
    whole.write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"t\.parquet: not a readable \.parquet"):
        LongTable(tables=[whole]).read()
    odd = parquet(tmp_path / "odd.parquet", ts_id=["1"], minute=[0.0], variable=["HR"], value=[[1.0]])
    with pytest.raises(ValueError, match=r"odd\.parquet, column 'value': cells of type list"):
        LongTable(tables=[odd]).read()
    with pytest.raises(ValueError, match="tables must be one or more files, each with a name of its own"):
        LongTable(tables=[odd, odd]).read()


def test_a_stay_in_two_tables_or_in_two_rows_of_outcomes_is_refused(tmp_path: Path) -> None:
    one, other = (csv_table(tmp_path / f"{name}.csv", ROWS) for name in "ab")
    with pytest.raises(ValueError, match=r"stay 007 stands in .*a\.csv and in .*b\.csv"):
        LongTable(tables=[one, other]).read()
    twice = csv_table(tmp_path / "oc.csv", [("b", 0), ("b", 1)], "ts_id,died")
    with pytest.raises(ValueError, match="'b' stands in rows 2 and 3"):
        LongTable(tables=[one], outcomes=[twice]).read()
    single = csv_table(tmp_path / "oc1.csv", [("b", 0)], "ts_id,died")
    again = csv_table(tmp_path / "oc2.csv", [("b", 1)], "ts_id,died")
    with pytest.raises(ValueError, match=r"oc2\.csv, row 2, column 'ts_id': stay b stands in .*oc1\.csv as well"):
        LongTable(tables=[one], outcomes=[single, again]).read()


def test_outcomes_join_by_name_and_what_has_no_partner_is_named(tmp_path: Path) -> None:
    outcomes = csv_table(tmp_path / "oc.csv", [("b", 1, "x"), ("c", 0, "y")], "TS_ID,died,unit")
    more = csv_table(tmp_path / "oc2.txt", [("d", 1)], "ts_id,died")
    stays = LongTable(tables=[csv_table(tmp_path / "t.csv", ROWS)], outcomes=[outcomes, more]).read()
    assert stays.cells["died"] == [None, 1]
    assert stays.cells["unit"] == [None, "x"]
    assert stays.account.report() == {
        "outcome without events, left out": {
            "count": 2,
            "stays": 2,
            "examples": [f"{outcomes}: stay c", f"{more}: stay d"],
        },
        "stay without an outcome, unlabelled": {"count": 1, "stays": 1, "examples": [f"{outcomes}, {more}: no 007"]},
    }


def test_text_files_of_the_challenge(tmp_path: Path) -> None:
    folder = tmp_path / "set-a"
    text_stay(folder, "11", "00:00,RecordID,11", "00:00,Age,54", "00:00,Height,-1", "00:07,HR,73", "48:00,HR,70.5")
    (folder / "12.txt").write_bytes(b"Time,Parameter,Value\r\n00:00,RecordID,12\r\n01:30,pH,7.4\r\n")
    text_stay(folder, "13", "00:00,RecordID,13")
    stays = PhysioNet2012(folders=[folder]).read()
    assert events(stays) == [
        ("11", 0.0, "Age", 54.0),
        ("11", 7.0, "HR", 73.0),
        ("11", 2880.0, "HR", 70.5),
        ("12", 90.0, "pH", pytest.approx(7.4)),
    ]
    assert stays.names == ["11", "12", "13"]
    assert stays.cells == {"folder": ["set-a"] * 3}
    assert stays.lines.tolist() == [3, 5, 6, 3]
    assert stays.rejected == {}


def test_bad_text_files_are_each_refused_for_their_reason_and_others_read(tmp_path: Path) -> None:
    folder = tmp_path / "set-a"
    text_stay(folder, "01", "00:00,HR,1")
    text_stay(folder, "02", "00:00,HR,1", header="Time;Parameter;Value")
    text_stay(folder, "03", "00:00,HR,1", "00:01,HR", "00:02,HR,3")
    text_stay(folder, "04", "00:00,RecordID,99", "00:00,HR,1")
    text_stay(folder, "05", "noon,HR,1", "00:61,HR,1", "00:05,HR,5")
    (folder / "06.txt").write_bytes(b"")
    (folder / "07.txt").write_bytes(b"Time,Parameter,Value\n00:00,HR,1\n00:01,HR,8")
    (folder / "08.txt").write_bytes(b"Time,Parameter,Value\n00:00,\xff,1\n")
    (folder / "09.txt").write_bytes(b"Time,Parameter,Value\n")
    text_stay(folder, "10", "00:00,HR,1,2", "00:01,HR", "00:02,HR,3")  # as many commas as three good rows
    stays = PhysioNet2012(folders=[folder]).read()
    reasons = {stays.names[at]: reason for at, reason in stays.rejected.items()}
    assert reasons == {
        "02": "unreadable: the first row is 'Time;Parameter;Value', not Time,Parameter,Value",
        "03": "unreadable: row 3 is '00:01,HR', not three cells",
        "04": "unreadable: it holds RecordID 99 under another name",
        "06": "empty: no text",
        "07": "truncated: row 3 has no end; put a line break there if the file is whole",
        "08": "unreadable: no text, invalid start byte at byte 27",
        "10": "unreadable: row 2 is '00:00,HR,1,2', not three cells",
    }
    assert [event for event in events(stays) if event[0] not in reasons] == [("01", 0, "HR", 1), ("05", 5, "HR", 5)]
    times = stays.account.report()["time is no finite number, left out"]
    assert times["count"] == 2
    assert times["examples"][1].startswith(f"{folder / '05.txt'}, row 3, stay 05: 'HR' = 1")
    with pytest.raises(ValueError, match=r"no \.txt files; give a folder such as set-a"):
        PhysioNet2012(folders=[tmp_path]).read()
    text_stay(tmp_path / "set-b", "01", "00:00,HR,1")
    with pytest.raises(ValueError, match=r"stay 01 stands in .*set-a.01\.txt and in .*set-b.01\.txt"):
        PhysioNet2012(folders=[folder, tmp_path / "set-b"]).read()


def folder_of(tmp_path: Path) -> Path:
    columns = {"variable": ["HR", "Temp", "XX"], "value": [80.0, 36.5, 1.0], "minute": [-5.0, 3.0, 4.0]}
    for split, name in (("train", "1"), ("train", "2"), ("test", "3")):
        parquet(tmp_path / split / f"{name}.parquet", **columns, set_index=[0, 1, 1])
    csv_table(tmp_path / "stats.csv", [("HR", 85, 10), ("Temp", 36.6, 0.5)], "variable,mean,std")
    csv_table(tmp_path / "oc.csv", [("1", 0), ("3", 1)], "ts_id,in_hospital_mortality")
    return tmp_path


def test_a_folder_of_parquet_files(tmp_path: Path) -> None:
    stays = StayFolder(folder=folder_of(tmp_path)).read()
    assert events(stays) == [(n, m, v, x) for n in "123" for m, v, x in ((-5, "HR", 80), (3, "Temp", 36.5))]
    assert stays.cells["split"] == ["train", "train", "test"]
    assert stays.cells["in_hospital_mortality"] == [0, None, 1]
    assert stays.given == {"HR": (85.0, 10.0), "Temp": (36.6, 0.5)}
    assert stays.sets is None
    assert stays.variables == ("HR", "Temp")
    found = stays.account.report()["variable unknown, left out"]
    assert (found["count"], found["stays"]) == (3, 3)
    assert found["examples"][0].endswith("row 4, stay 1: 'XX' = 1 at minute 4")
    numbered = StayFolder(folder=tmp_path, sets="set_index").read()
    assert numbered.sets is not None
    assert numbered.sets.tolist() == [0, 1] * 3
    (tmp_path / "stats.csv").unlink()
    (tmp_path / "oc.csv").unlink()
    bare = StayFolder(folder=tmp_path).read()
    assert bare.variables == ("HR", "Temp", "XX")
    assert list(bare.cells) == ["split"]


def test_bad_parquet_files_are_refused_one_by_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    whole = (folder / "train" / "1.parquet").read_bytes()
    (folder / "train" / "4.parquet").write_bytes(whole[: len(whole) // 2])
    parquet(folder / "train" / "5.parquet", variable=["HR"], value=[1.0])
    parquet(folder / "train" / "6.parquet", variable=["HR"], value=[1.0], minute=[0.0], set_index=[None])
    parquet(folder / "train" / "7.parquet", variable=["HR"], value=[[1.0]], minute=[0.0], set_index=[1])
    (folder / "train" / "8.parquet").write_bytes(b"")
    stays = StayFolder(folder=folder, sets="set_index").read()
    reasons = {stays.names[at]: reason for at, reason in stays.rejected.items()}
    assert list(reasons) == ["4", "5", "6", "7", "8"]
    assert all(reason.startswith("unreadable: ") for reason in reasons.values())
    assert "no column for minute" in reasons["5"]
    assert reasons["6"] == "unreadable: no set_index in row 2"
    assert "cells of type list" in reasons["7"]
    assert {name for name, *_ in events(stays)} == {"1", "2", "3"}


def test_a_folder_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no \.parquet files under train, valid, test"):
        StayFolder(folder=tmp_path).read()
    folder = folder_of(tmp_path)
    csv_table(folder / "stats.csv", [("HR", 85, 10), ("Temp", "warm", 0.5)], "variable,mean,std")
    with pytest.raises(ValueError, match=r"stats\.csv, row 3, column 'variable': 'Temp' has mean 'warm'"):
        StayFolder(folder=folder).read()
    csv_table(folder / "stats.csv", [("HR", 85, 10)], "variable,mean,std")
    (folder / "test" / "1.parquet").write_bytes((folder / "train" / "1.parquet").read_bytes())
    with pytest.raises(ValueError, match=r"stay 1 stands in .*train.1\.parquet and in .*test.1\.parquet"):
        StayFolder(folder=folder).read()


def test_three_layouts_of_the_same_simulated_stays_read_alike(tmp_path: Path) -> None:
    for layout in ("long", "physionet2012", "folder"):
        generate(tmp_path / layout, stays=40, seed=3, layout=layout)  # type: ignore[arg-type]
    long = LongTable(
        tables=[tmp_path / "long" / "events.parquet"],
        outcomes=[tmp_path / "long" / "outcomes.csv"],
        stay="record_id",
    ).read()
    texts = PhysioNet2012(
        folders=[tmp_path / "physionet2012" / "set-a"], outcomes=[tmp_path / "physionet2012" / "Outcomes-a.txt"]
    ).read()
    files = StayFolder(folder=tmp_path / "folder").read()
    known = set(files.given)
    assert len(long.names) == 40
    assert sorted(events(long)) == sorted(events(texts))
    assert sorted(event for event in events(long) if event[2] in known) == sorted(events(files))
    died = [
        dict(zip(stays.names, stays.cells[column], strict=True))
        for stays, column in (
            (long, "In-hospital_death"),
            (texts, PhysioNet2012.outcome),
            (files, StayFolder.outcome),
        )
    ]
    assert died[0] == died[1] == died[2]
    assert set(died[0].values()) == {0, 1}


def test_a_description_names_sources_variables_outcomes_and_what_was_left_out(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    (folder / "train" / "4.parquet").write_bytes(b"nothing")
    said = describe_stays(StayFolder(folder=folder))
    assert "4 stays, 6 events" in said
    assert "time: -0.0833333 to 0.05 hours" in said
    assert "HR: 3 in 3" in said
    assert "in_hospital_mortality: (empty) x 2, 0 x 1, 1 x 1" in said
    assert "split: train x 3, test x 1" in said
    assert "variable unknown, left out: 3 in 3 stays" in said
    assert "cannot be used: 1 stays, such as 4 (unreadable" in said


@pytest.fixture(scope="module")
def challenge(data_root: Path) -> Path:
    folder = data_root / "clinical" / "physionet2012"
    if not folder.is_dir():
        pytest.skip(f"no PhysioNet 2012 stays at {folder}")
    return folder


def test_original_text_and_long_table_give_exactly_the_same_events(challenge: Path) -> None:
    texts = PhysioNet2012(folders=[challenge / "fixture_raw_20"], outcomes=[challenge / "Outcomes-a.txt"]).read()
    table = LongTable(
        tables=[challenge / "events_a.parquet"],
        outcomes=[challenge / "Outcomes-a.txt"],
        stay="record_id",
        time="hours",
        unit="hours",
        missing=[-1.0],
        ignore=["RecordID"],
    ).read()
    assert len(texts.names) == 20
    found = events(texts)
    assert found == events(table, texts.names)
    assert len(found) > 5000
    place = {name: at for at, name in enumerate(table.names)}
    rows = [place[name] for name in texts.names]
    for column in ("In-hospital_death", "SAPS-I", "Length_of_stay"):
        assert texts.cells[column] == [table.cells[column][row] for row in rows]
    marks = texts.account.report()["value that stands for a missing one (-1), left out"]
    raw = sum(path.read_text().count(",-1\n") for path in (challenge / "fixture_raw_20").glob("*.txt"))
    assert marks["count"] == raw > 0
    whole = pq.read_table(challenge / "events_a.parquet")
    left_out = pc.or_(pc.equal(whole["value"], -1), pc.equal(whole["variable"].cast(pa.string()), "RecordID"))
    assert len(table.stay) == len(whole) - pc.sum(left_out).as_py()
    assert len(table.names) == 4000
