"""What is understood of a folder of stays, whatever its spellings, and what is said of one that is no kind at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from counterpoint import recipe, start
from counterpoint.cli import app


def table(path: Path, header: str, *rows: tuple[Any, ...]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def written(folder: Path) -> dict[str, Any]:
    """The recipe of a folder, which builds its data."""
    path = folder.parent / f"{folder.name}.yaml"
    start.write_recipe(folder, path)
    found = recipe.read(path).data()
    assert found.folds == ("main",)
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def events(stays: int) -> list[tuple[Any, ...]]:
    return [(at, hour, name, 10 * at + hour) for at in range(stays) for hour in range(3) for name in ("HR", "BP")]


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("stay_id,minute,variable,value", "minutes"),
        ("RecordID,Hours,Parameter,Value", "hours"),
        ("hadm_id,time_seconds,feature,valuenum", "seconds"),
        ("Patient ID,days,Item,result", "days"),
        ("id,t,name,value", None),
    ],
)
def test_columns_are_found_by_their_usual_spellings(tmp_path: Path, header: str, unit: str | None) -> None:
    folder = tmp_path / "icu"
    table(folder / "events.csv", header, *events(12))
    stay, time, variable, value = header.split(",")
    table(folder / "who.csv", f"{stay},mortality", *((at, at % 2) for at in range(12)))
    found = written(folder)["data"]
    stays = {"stay": stay, "time": time, "unit": unit or "minutes", "variable": variable, "value": value}
    defaults = {"unit": "minutes", "stay": "ts_id", "time": "minute", "variable": "variable", "value": "value"}
    assert found["stays"] == {
        "type": "LongTable",
        "tables": {"events": str(folder / "events.csv")},
        "outcomes": [str(folder / "who.csv")],
    } | {name: own for name, own in stays.items() if own != defaults[name]}
    assert found["outcome"] == {"column": "mortality", "names": {"0": "survived", "1": "died"}}
    assert ("names no unit: taken as minutes" in start.describe(folder)) == (unit is None)


def test_one_name_of_several_that_fit_is_the_likeliest(tmp_path: Path) -> None:
    rows = [(at, 100 + at, hour, name, value, "x") for at, hour, name, value in events(12)]
    table(tmp_path / "icu" / "e.csv", "subject_id,stay_id,hours,variable,valuenum,value", *rows)
    stays = written(tmp_path / "icu")["data"]["stays"]
    assert (stays["stay"], stays["value"]) == ("stay_id", "valuenum")


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        ({"HR": (-1, 80), "BP": (-1, 120)}, [-1.0]),
        ({"HR": (-1, 80), "Temp": (-17.8, 37)}, [-1.0]),
        ({"HR": (-1, 80), "RASS": (-1, -5)}, []),
        ({"HR": (70, 80), "flag": (-1, 1)}, []),
        ({"HR": (0, 80)}, []),
    ],
)
def test_minus_one_is_missing_where_nothing_speaks_against_it(
    tmp_path: Path, values: dict[str, tuple[float, float]], missing: list[float]
) -> None:
    rows = [(at, hour, name, pair[hour % 2]) for at in range(12) for hour in range(4) for name, pair in values.items()]
    table(tmp_path / "icu" / "e.csv", "ts_id,minute,variable,value", *rows)
    assert written(tmp_path / "icu")["data"]["stays"].get("missing", []) == missing
    said = start.describe(tmp_path / "icu")
    assert ("value that stands for a missing one (-1), left out" in said) == bool(missing)
    assert "no table of outcomes stands beside the stays" in said


def test_tables_beside_the_events_are_used_or_named(tmp_path: Path) -> None:
    folder = tmp_path / "icu"
    table(folder / "events.csv", "stay_id,hours,variable,value", *events(12))
    table(
        folder / "labels.csv",
        "stay_id,subject_id,label",
        *((at, at // 2, "no" if at < 8 else "yes") for at in range(12)),
    )
    table(folder / "drugs.csv", "stay_id,drug", (1, "a"), (1, "b"))
    table(folder / "beds.csv", "stay_id,bed", (1, "a"), (2, "b"))
    table(folder / "wards.csv", "ward,beds", ("x", 3))
    (folder / "README.txt").write_text("What these are,\nand who made them\n")
    said = start.describe(folder)
    assert f"{folder / 'drugs.csv'} is not used: it has several rows a stay" in said
    assert f"{folder / 'beds.csv'} is not used: it has no column 'label'" in said
    assert f"{folder / 'wards.csv'} is not used: it has no column 'stay_id'" in said
    assert "README" not in said
    assert "groups: 6 of column 'subject_id'" in said
    assert "outcome 'label': no 8 (66.7%), yes 4 (33.3%) of 12 labelled stays, 0 unlabelled" in said
    data = written(folder)["data"]
    assert data["stays"]["outcomes"] == [str(folder / "labels.csv")]
    assert data["columns"] == {"group": ["subject_id"]}
    assert list(data["outcome"]["names"]) == ["no", "yes"], "the rarer comes last: it is to be found"


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("events_a", "events_b"), {"type": "ByValue", "column": "table", "train": ["a"], "test": ["b"], "valid": 0.1}),
        (("train", "test"), {"type": "ByColumn", "column": "table", "valid": 0.1}),
        (("icu1", "icu2"), {"type": "ByGroup", "test": 0.2, "valid": 0.1}),
    ],
)
def test_several_tables_are_divided_by_their_names(
    tmp_path: Path, names: tuple[str, str], split: dict[str, Any]
) -> None:
    folder, rows = tmp_path / "icu", events(24)
    for part, name in zip((rows[:72], rows[72:]), names, strict=True):
        table(folder / f"{name}.csv", "ts_id,minute,variable,value", *part)
    table(folder / "oc.csv", "ts_id,died", *((at, at % 3 == 0) for at in range(24)))
    assert written(folder)["data"]["split"] == split


def test_sets_a_and_b_as_published_are_trained_and_tested_on(tmp_path: Path) -> None:
    folder = tmp_path / "challenge"
    for name, first in (("a", 100), ("b", 200)):
        for at in range(first, first + 12):
            rows = [("00:00", "RecordID", at), ("00:07", "HR", at), ("01:00", "HR", at + 1)]
            table(folder / f"set-{name}" / f"{at}.txt", "Time,Parameter,Value", *rows)
        told = ((at, at % 2) for at in range(first, first + 12))
        table(folder / f"Outcomes-{name}.txt", "RecordID,In-hospital_death", *told)
    data = written(folder)["data"]
    assert data["stays"]["type"] == "PhysioNet2012"
    assert data["split"] == {"type": "ByValue", "column": "folder", "train": ["set-a"], "test": ["set-b"], "valid": 0.1}
    assert "  in set-b: survived 6 (50.0%), died 6 (50.0%) of 12 labelled stays, 0 unlabelled" in start.describe(folder)
    inner = written(folder / "set-b")["data"]
    assert inner["stays"]["outcomes"] == [str(folder / "Outcomes-b.txt")]


def test_few_labels_are_asked_for_where_there_are_enough(tmp_path: Path) -> None:
    for stays, every, shots in ((120, 2, None), (200, 2, [100]), (200, 40, None), (800, 3, [100, 400])):
        folder = tmp_path / f"{stays}-{every}"
        table(folder / "e.csv", "ts_id,minute,variable,value", *events(stays))
        table(folder / "oc.csv", "ts_id,died", *((at, int(at % every == 0)) for at in range(stays)))
        found = yaml.safe_load(start.recipe_for(folder, tmp_path))["evaluation"].get("few_shot")
        assert found == (shots and {"labels": shots})


def test_vectors_of_variables_are_used_where_there_is_one_of_each(tmp_path: Path) -> None:
    folder = tmp_path / "icu"
    for at in range(8):
        columns = {"variable": ["HR", "BP"], "value": [1.0 * at, 2.0], "minute": [0.0, 5.0 + at]}
        path = folder / ("train" if at < 5 else "test") / f"{at}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), path)
    cached = table(folder / "cached.csv", "Key,0,1", ("HR", 0.1, 0.2), ("BP", 0.3, 0.4))
    found = written(folder)
    (branch, _) = found["encoders"]["events"]["branches"]
    assert branch["variables"] == {"type": "CachedVariables", "table": str(cached)}
    assert found["data"]["split"] == {"type": "ByColumn", "column": "split", "valid": 0.1}
    table(cached, "Key,0,1", ("HR", 0.1, 0.2))
    (branch, _) = yaml.safe_load(start.recipe_for(folder, tmp_path))["encoders"]["events"]["branches"]
    assert "variables" not in branch


def described(folder: Path) -> str:
    result = CliRunner().invoke(app, ["data", "describe", str(folder)])
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    return str(result.output)


def test_a_folder_of_no_kind_is_told_of_all_kinds(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("nothing")
    said = described(tmp_path)
    for words in (
        "holds notes.md",
        "HDF5 file",
        "set-a/<RecordID>.txt",
        "<ts_id>.parquet",
        "a row an event",
        "import cwru",
    ):
        assert words in said
    assert "is not a folder" in described(tmp_path / "nowhere")


def test_a_table_that_is_nearly_one_of_events_is_told_what_it_lacks(tmp_path: Path) -> None:
    table(tmp_path / "e.csv", "ts_id,minute,what,value", (1, 2, "HR", 3))
    (tmp_path / "odd.parquet").write_bytes(b"nothing")
    said = described(tmp_path)
    assert "e.csv comes near: it has stay 'ts_id', time 'minute', value 'value', and no column for the variable" in said
    assert "odd.parquet is not a readable .parquet" in said


def test_tables_of_events_that_differ_in_their_columns_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "a.csv", "ts_id,minute,variable,value", (1, 2, "HR", 3))
    table(tmp_path / "b.csv", "ts_id,hours,variable,value", (2, 2, "HR", 3))
    said = described(tmp_path)
    assert "a.csv has the columns ts_id, minute, variable, value" in said
    assert "b.csv has ts_id, hours, variable, value; name them alike" in said
