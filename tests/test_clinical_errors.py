"""Whatever can be wrong with stays is a message with file, stay and remedy, or stands in the account by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from counterpoint.cli import app
from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.results import load_results

STAYS = [f"s{at:02d}" for at in range(24)]
NAMES = {"0": "survived", "1": "died"}
Rows = list[list[Any]]
Document = dict[str, Any]
Change = Callable[[Document], object]


def died(stay: str) -> int:
    return int(int(stay[1:]) % 3 == 0)


def events_of(stay: str) -> Rows:
    """Six events in three sets; every stay has values of its own."""
    at = int(stay[1:])
    levels = [("HR", 80.0 + at), ("Temp", 36.0 + 0.1 * at)]
    return [
        [60 * hour, name, round(value + hour + 3 * died(stay) * hour, 3)] for hour in range(3) for name, value in levels
    ]


def write_long(folder: Path, *extra: tuple[Any, ...], outcomes: dict[str, Any] | None = None) -> Path:
    """A long CSV table with the events of all stays and some more, and its outcomes; a recipe for them."""
    rows = [[stay, *event] for stay in STAYS for event in events_of(stay)] + [list(row) for row in extra]
    lines = ["ts_id,minute,variable,value", *(",".join(map(str, row)) for row in rows)]
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    cells = {stay: died(stay) for stay in STAYS} | (outcomes or {})
    told = ["ts_id,died", *(f"{stay},{'' if cell == '' else cell}" for stay, cell in cells.items() if cell is not None)]
    (folder / "outcomes.csv").write_text("\n".join(told) + "\n")
    stays = {"type": "LongTable", "tables": [str(folder / "events.csv")], "outcomes": [str(folder / "outcomes.csv")]}
    split = {"type": "ByGroup", "test": 0.3, "valid": 0}
    return write_recipe(folder, {"stays": stays, "outcome": {"column": "died", "names": NAMES}, "split": split})


def write_stay(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    minute, variable, value = zip(*rows, strict=True) if rows else ((), (), ())
    columns = {"variable": pa.array(variable, pa.string()), "value": pa.array(value, pa.float64())}
    pq.write_table(pa.table(columns | {"minute": pa.array(minute, pa.float64())}), path)
    return path


def write_folder(folder: Path) -> Path:
    """A Parquet file a stay, divided by the table; a recipe for it."""
    for at, stay in enumerate(STAYS):
        write_stay(folder / ("test" if at % 4 == 1 else "train") / f"{stay}.parquet", events_of(stay))
    (folder / "stats.csv").write_text("variable,mean,std\nHR,90,8\nTemp,37,1\n")
    told = ["ts_id,in_hospital_mortality", *(f"{stay},{died(stay)}" for stay in STAYS)]
    (folder / "oc.csv").write_text("\n".join(told) + "\n")
    stays = {"type": "StayFolder", "folder": str(folder)}
    return write_recipe(
        folder, {"stays": stays, "outcome": {"names": NAMES}, "split": {"type": "ByColumn", "column": "split"}}
    )


def write_recipe(folder: Path, data: Document) -> Path:
    layers = {"sets": {"dim": 8, "depth": 1, "points": 2}, "sequence": {"depth": 1, "heads": 1}}
    recipe = {
        "data": {"type": "Clinical", **data},
        "encoders": {"events": {"type": "SetSequence", "dim": 8, "latent": 4, **layers}},
        "objective": "SetVAE",
        "trainer": {"epochs": 1, "batch_size": 8},
        "evaluation": {"metric": "auroc", "evaluators": ["LinearProbe"]},
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def change(path: Path, *overrides: str) -> list[str]:
    return [str(path), *(word for override in overrides for word in ("--set", f"data.{override}"))]


def refused(path: Path, *overrides: str, words: list[str]) -> None:
    """`counterpoint check` complains, and its message has the words."""
    result = CliRunner().invoke(app, ["check", *change(path, *overrides)])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, result.output


def trained(path: Path, *overrides: str) -> tuple[Path, Document]:
    """The run folder and the account of a training that goes through."""
    out = path.parent / "run"
    result = CliRunner().invoke(app, ["--debug", "train", *change(path, *overrides), "--out", str(out)])
    assert result.exit_code == 0, result.output
    return out, json.loads((out / "data.json").read_text())


def account(path: Path, *overrides: str) -> Document:
    """What data.json would hold, without the training."""
    from counterpoint import recipe

    words = [f"data.{override}" for override in overrides]
    return recipe.read(path, words).data().report()


def expect(found: Document, kind: str, *, count: int, stays: int, words: list[str]) -> None:
    entry = found["events"][kind]
    assert (entry["count"], entry["stays"]) == (count, stays)
    for word in words:
        assert word in entry["examples"][0], entry


def test_healthy_stays_pass(tmp_path: Path) -> None:
    for write in (write_long, write_folder):
        folder = tmp_path / write.__name__
        folder.mkdir()
        result = CliRunner().invoke(app, ["check", str(write(folder))])
        assert result.exit_code == 0, result.output
        assert '"stays": 24, "events": 144, "sets": 72' in result.output
        assert '{"survived": 16, "died": 8}' in result.output
        assert account(folder / "recipe.yaml")["events"] == {}


def test_a_stay_without_events(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    empty = write_stay(tmp_path / "train" / "s99.parquet", [])
    refused(path, "quarantine.policy=error", words=[str(empty), "s99", "empty: no events", "quarantine: {policy: skip"])
    (bad,) = account(path)["quarantine"]
    assert (bad["recording"], bad["file"], bad["reason"]) == ("s99", str(empty), "empty: no events")


def test_an_outcome_without_a_stay(tmp_path: Path) -> None:
    path = write_long(tmp_path, outcomes={"s99": 1})
    told = account(path)
    expect(told, "outcome without events, left out", count=1, stays=1, words=["outcomes.csv", "s99"])
    assert told["classes"] == {"survived": 16, "died": 8}


def test_events_before_admission(tmp_path: Path) -> None:
    path = write_long(tmp_path, ("s03", -30, "HR", 70))
    where = ["events.csv, row 146", "stay s03", "'HR' = 70 at minute -30"]
    kept = account(path)
    expect(kept, "before admission, kept", count=1, stays=1, words=where)
    assert kept["counts"]["events"] == 145
    dropped = account(path, "events.negative_time=drop")
    expect(dropped, "before admission, left out", count=1, stays=1, words=where)
    assert dropped["counts"]["events"] == 144
    refused(path, "events.negative_time=refuse", words=[*where, "set events.negative_time to keep or drop"])


def test_a_variable_that_the_statistics_do_not_name(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    strange = write_stay(tmp_path / "train" / "s00.parquet", [*events_of("s00"), [5, "mood", 3.0]])
    told = account(path)
    expect(told, "variable unknown, left out", count=1, stays=1, words=[f"{strange}, row 8", "stay s00", "'mood' = 3"])
    assert told["counts"]["variables"] == 2
    (tmp_path / "stats.csv").write_text("variable,mean,std\nHR,90,8\n")
    told = account(path)
    assert told["events"]["variable unknown, left out"]["count"] == 24 * 3 + 1
    assert told["counts"]["events"] == 24 * 3


def test_a_chosen_variable_that_nothing_is_of(tmp_path: Path) -> None:
    refused(write_long(tmp_path), "events.variables=[pulse]", words=["events.variables", "pulse", "there are HR, Temp"])


@pytest.mark.parametrize("cell", ["nan", "", "high", "inf"])
def test_a_value_that_is_no_number(tmp_path: Path, cell: str) -> None:
    told = account(write_long(tmp_path, ("s07", 200, "Temp", cell)))
    kind = "value is no finite number, left out"
    expect(told, kind, count=1, stays=1, words=["events.csv, row 146", "stay s07", "'Temp'", "minute 200"])
    assert told["counts"]["events"] == 144


def test_several_events_of_one_minute_and_variable(tmp_path: Path) -> None:
    copy, other = ("s04", 0, "HR", 84.0), ("s05", 0, "HR", 99.0)
    path = write_long(tmp_path, copy, other)
    told = account(path)
    expect(told, "exact copy of an event, left out", count=1, stays=1, words=["row 146", "stay s04", "'HR' = 84"])
    expect(told, "another value at the same minute, all kept", count=1, stays=1, words=["row 147", "stay s05", "= 99"])
    assert told["counts"]["events"] == 145
    assert account(path, "events.duplicates=last")["counts"]["events"] == 144
    words = ["events.csv, row 146", "stay s04", "'HR'", "2 events", "drop_copies, keep, first or last"]
    refused(path, "events.duplicates=refuse", words=words)


@pytest.mark.parametrize("cell", [None, ""], ids=["no row", "empty cell"])
def test_a_stay_without_a_label_is_no_survivor_and_not_scored(tmp_path: Path, cell: str | None) -> None:
    bare = ["s01", "s02", "s04", "s05", "s07", "s08"]
    out, told = trained(write_long(tmp_path, outcomes=dict.fromkeys(bare, cell)))
    assert told["classes"] == {"survived": 10, "died": 8}
    assert told["counts"]["unlabelled"] == 6
    if cell is None:
        expect(told, "stay without an outcome, unlabelled", count=6, stays=6, words=["outcomes.csv", "s01"])
    test = Embeddings.load(out / "cells" / "main-seed0" / "embeddings" / "test")
    unlabelled = {int(row) for row in test.ids if test.names[row] in bare}
    assert unlabelled, "the test part has some of them, or this shows nothing"
    for results in (out / "cells" / "main-seed0" / "predictions.parquet", out / "baselines" / "main.parquet"):
        for result in load_results(results):
            assert set(result.truth.ids.tolist()) == set(test.ids.tolist()) - unlabelled


def test_a_stay_in_two_folders(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    twice = write_stay(tmp_path / "test" / "s00.parquet", events_of("s00"))
    words = ["stay s00", str(tmp_path / "train" / "s00.parquet"), str(twice), "leave one out, or give one another name"]
    refused(path, words=words)


def test_a_stay_under_two_names(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    write_stay(tmp_path / "test" / "s99.parquet", events_of("s00"))
    refused(path, words=["the splits leak", "train and test share 1 of content", "samples of s00"])


def test_a_stay_in_two_tables(tmp_path: Path) -> None:
    path = write_long(tmp_path)
    (tmp_path / "more.csv").write_text("ts_id,minute,variable,value\ns05,1,HR,80\n")
    tables = f"stays.tables=[{tmp_path / 'events.csv'}, {tmp_path / 'more.csv'}]"
    refused(path, tables, words=["stay s05", "events.csv", "more.csv", "leave one out"])


def test_a_patient_on_two_sides(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    told = ["ts_id,in_hospital_mortality,who", *(f"{stay},{died(stay)},p{int(stay[1:]) // 2}" for stay in STAYS)]
    (tmp_path / "oc.csv").write_text("\n".join(told) + "\n")
    refused(path, "columns.group=[who]", words=["group 'p0'", "both train and test", "split by whole groups"])


def test_a_file_of_a_stay_that_cannot_be_read(tmp_path: Path) -> None:
    path = write_folder(tmp_path)
    broken = tmp_path / "train" / "s06.parquet"
    broken.write_bytes(broken.read_bytes()[:-20])
    refused(path, "quarantine.policy=error", words=[str(broken), "s06", "unreadable: not a readable .parquet"])
    told = account(path)
    (bad,) = told["quarantine"]
    assert (bad["recording"], bad["file"]) == ("s06", str(broken))
    assert told["counts"]["stays"] == 23
    assert told["classes"] == {"survived": 16, "died": 7}
    (tmp_path / "train" / "s08.parquet").write_bytes(b"")
    refused(path, words=["2 of 24 recordings cannot be used", "at most 5.0% is allowed", "max_share: 0.09"])


def test_a_long_table_that_cannot_be_read(tmp_path: Path) -> None:
    path = write_long(tmp_path)
    broken = tmp_path / "events.parquet"
    broken.write_bytes(b"PAR1 and no more")
    refused(path, f"stays.tables=[{broken}]", words=[str(broken), "not a readable .parquet"])


def test_a_label_outside_the_names(tmp_path: Path) -> None:
    path = write_long(tmp_path, outcomes={"s03": 2})
    words = ["events.csv", "s03", "label outside the classes: died is '2', none of 0, 1"]
    refused(path, "quarantine.policy=error", words=[*words, "quarantine: {policy: skip"])
    told = account(path)
    assert [(bad["recording"], bad["reason"][:25]) for bad in told["quarantine"]] == [
        ("s03", "label outside the classes")
    ]
    assert sum(told["classes"].values()) == told["counts"]["stays"] == 23


def test_an_outcome_that_no_table_has(tmp_path: Path) -> None:
    words = ["no column 'mortality'", "outcomes.csv", "there are ts_id, died", "name one of them"]
    refused(write_long(tmp_path), "outcome.column=mortality", words=words)


def test_an_encoder_of_signals(tmp_path: Path) -> None:
    path = write_long(tmp_path)
    result = CliRunner().invoke(app, ["check", str(path), "--set", "encoders.events=ResNet1d"])
    assert result.exit_code == 1
    for word in ("encoders.events", "ResNet1d reads regular signals", "irregular events", "counterpoint show Encoder"):
        assert word in result.output
    result = CliRunner().invoke(app, ["check", str(path), "--set", "encoders={vibration: ResNet1d}"])
    assert result.exit_code == 1
    assert "the data bring ['events']" in result.output
