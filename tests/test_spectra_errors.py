"""Whatever can be wrong with scans and tables is a message with file, row and remedy, or stands in the account."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from counterpoint.cli import app
from counterpoint.data.spectra import Coffee
from counterpoint.data.spectra import coffee as coffee_module
from spectra_world import PATIENTS, PATTERN, SCANS, clinic_columns, scan_columns, spectra, write

STRICT = "data.loading.quarantine.policy=error"
LENIENT = "data.loading.quarantine.max_share=0.2"
Columns = dict[str, list[Any]]


class World(NamedTuple):
    """Folder of the files and the recipe that reads them."""

    folder: Path
    recipe: Path

    @property
    def scans(self) -> Path:
        return self.folder / "spectra.csv"

    @property
    def clinic(self) -> Path:
        return self.folder / "clinical.csv"

    def rescan(self, change: Callable[[Columns], object] = lambda columns: None, values: Any = None) -> None:
        columns = scan_columns(values)
        change(columns)
        write(self.scans, columns)

    def examine(self, change: Callable[[Columns], object]) -> None:
        columns = clinic_columns()
        change(columns)
        write(self.clinic, columns)


@pytest.fixture
def world(tmp_path: Path) -> World:
    recipe = {
        "data": {
            "type": "SpectraTables",
            "scans": {
                "type": "ScanTable",
                "files": [str(tmp_path / "spectra.csv")],
                "id": "Sample",
                "pattern": PATTERN,
                "axis": {"prefix": "w"},
            },
            "table": {"file": str(tmp_path / "clinical.csv"), "id": "PatientID", "categorical": {"Sex": {}}},
            "columns": {"label": "Group", "names": {"CTRL": "healthy", "DM": "diabetes"}},
            "pretreatments": ["SNV"],
            "split": {"type": "GroupedKFold", "folds": 2},
        },
        "encoders": {
            "spectra": {"type": "SpectralTransformer", "dim": 8, "patch": 4, "filters": 2, "queries": 1},
            "table": {"type": "FeatureTokens", "dim": 8, "blocks": None},
        },
        "fusion": {"type": "Gated", "dim": 8},
        "objective": "CrossEntropy",
        "trainer": {"epochs": 1, "batch_size": 8},
        "evaluation": {"evaluators": ["KNN"]},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    found = World(tmp_path, path)
    found.rescan()
    found.examine(lambda columns: None)
    return found


def asked(command: str, world: World, *overrides: str, out: Path | None = None) -> Any:
    words = [word for override in overrides for word in ("--set", override)]
    return CliRunner().invoke(app, [command, str(world.recipe), *words, *([] if out is None else ["--out", str(out)])])


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


def put(column: str, row: int, cell: Any) -> Callable[[Columns], object]:
    """Change one cell; rows from 0."""
    return lambda columns: columns[column].__setitem__(row, cell)


def test_healthy_files_pass_and_the_classes_are_printed(world: World) -> None:
    told = passed(world, STRICT, "data.loading.unmatched=error")
    assert f'"specimens": {PATIENTS}, "scans": {PATIENTS * SCANS}' in told
    assert f'"with spectra": {PATIENTS}, "with table": {PATIENTS}' in told
    assert f'classes {{"healthy": {PATIENTS // 2}, "diabetes": {PATIENTS // 2}}}' in told
    assert "fold part=1: no overlap found" in told


def test_an_id_that_does_not_match_the_pattern(world: World) -> None:
    world.rescan(put("Sample", 5, "P1001_3"))
    where = f"{world.scans}, row 7, column 'Sample': id 'P1001_3' does not match the pattern {PATTERN!r}"
    refused(world, words=[where, "mend the id or the pattern"])
    world.rescan(put("Sample", 5, ""))
    refused(world, words=[f"{world.scans}, row 7, column 'Sample': empty; every scan names its specimen"])
    refused(world, r"data.scans.pattern=(?P<who>P\d+)-\d+", words=["has the group (?P<specimen>...)"])
    refused(world, "data.scans.pattern=(P", words=["is no regular expression"])


def test_classes_named_by_numbers(world: World) -> None:
    numbers = [f"{patient % 2}.0" for patient in range(PATIENTS) for _ in range(SCANS)]
    world.rescan(lambda columns: columns.update(Group=numbers))
    world.examine(lambda columns: columns.pop("Group"))
    text = world.recipe.read_text(encoding="utf-8").replace("CTRL: healthy", "0: healthy").replace("DM:", "1:")
    world.recipe.write_text(text, encoding="utf-8")
    refused(world, words=['data.columns.names.0: a key is a text here: put it in quotes, "0"'])
    for zero, one in (("0", "1"), ("0.0", "1.0")):
        told = passed(world, f"data.columns.names={{'{zero}': healthy, '{one}': diabetes}}", STRICT)
        assert f'classes {{"healthy": {PATIENTS // 2}, "diabetes": {PATIENTS // 2}}}' in told
    refused(world, "data.columns.names={'1': a, '1.0': b}", words=["has a cell twice, in two spellings: 1, 1.0"])


def test_what_stands_for_an_empty_cell_is_no_class(world: World) -> None:
    world.rescan(lambda columns: columns.pop("Group"))
    world.examine(put("Group", 4, "NA"))
    told = passed(world, "data.columns.names={}", STRICT)
    assert f'classes {{"CTRL": {PATIENTS // 2}, "DM": {PATIENTS // 2 - 1}}}' in told
    assert '"unlabelled": 1' in told
    refused(world, "data.columns.names={NA: a, DM: b}", words=["'NA' stands for an empty cell"])


def test_ids_that_spell_numbers_are_not_rounded(world: World) -> None:
    names = [f"12.{patient + 1}" for patient in range(PATIENTS)]
    world.rescan(lambda columns: columns.update(Sample=[f"{name}-{scan}" for name in names for scan in range(SCANS)]))
    world.examine(lambda columns: columns.update(PatientID=names))
    told = passed(world, r"data.scans.pattern=(?P<specimen>.+)-(?P<scan>\d+)", "data.loading.unmatched=error")
    assert f'"with spectra": {PATIENTS}, "with table": {PATIENTS}' in told
    world.rescan(lambda columns: columns.update(Sample=[f"{patient}" for patient in range(24) for _ in range(SCANS)]))
    world.examine(lambda columns: columns.update(PatientID=[f"{patient}.0" for patient in range(PATIENTS)]))
    told = passed(world, "data.scans.pattern=''", "data.loading.unmatched=error")
    assert f'"with spectra": {PATIENTS}, "with table": {PATIENTS}' in told
    world.examine(lambda columns: columns.update(PatientID=["1", "1.0", *map(str, range(2, PATIENTS))]))
    refused(world, "data.scans.pattern=''", words=["column 'PatientID': '1' stands in rows 2 and 3"])


def test_decimal_commas_are_told_as_such(world: World) -> None:
    world.examine(put("BMI", 3, "27,5"))
    remedy = "save the file with decimal points, not commas"
    refused(world, words=[f"{world.clinic}, row 5, column 'BMI': '27,5' is no number; {remedy}"])
    world.rescan(put("w3", 3, "1,5"))
    refused(world, words=[f"{world.scans}, row 5, column 'w3': '1,5' is no number; {remedy}"])
    header = "Sample;Group;Site;" + ";".join(f"{400 + point},5" for point in range(12))
    world.scans.write_text(f"{header}\n", encoding="utf-8")
    refused(world, "data.scans.axis={}", words=["no header is a number", "Save the file with decimal points"])


def test_a_threshold_of_groups_wants_validation_groups_of_one_class(world: World) -> None:
    parts = ["train"] * 12 + ["valid"] * 6 + ["test"] * 6
    # In validation each ward has patients of both classes, elsewhere every patient is a ward.
    wards = [str(patient // 2 if part == "valid" else 100 + patient) for patient, part in enumerate(parts)]
    world.examine(lambda columns: columns.update(Part=parts, Ward=wards))
    asked = ["data.table.features=[Age, BMI, Sex]", "data.columns.group=[Ward]"]
    asked += ["data.split={type: ByColumn, column: Part}", "evaluation.threshold={}"]
    passed(world, *asked, "evaluation.by_group={}")
    words = ["the validation rows of fold 'main' are 0 healthy, 0 diabetes"]
    refused(world, *asked, "evaluation.by_group={decides: groups}", words=words)


def test_a_scan_that_stands_twice(world: World) -> None:
    world.rescan(put("Sample", 5, "P1000-2"))
    words = [
        f"scan 2 of specimen P1000 stands in {world.scans}, row 3 and in {world.scans}, row 7",
        "mend scans.pattern",
    ]
    refused(world, words=words)


def test_a_label_that_the_mapping_does_not_have(world: World) -> None:
    world.rescan(lambda columns: [put("Group", row, "T1DM")(columns) for row in (9, 10, 11)])
    world.examine(put("Group", 3, None))
    told = passed(world)
    assert f'"specimens": {PATIENTS - 1}' in told
    assert '"quarantined": 1' in told
    where = f"P1003 (specimen) in {world.scans}, row 11: label outside the classes: 'T1DM' is none of CTRL, DM"
    refused(world, STRICT, words=[f"1 of {PATIENTS} recordings cannot be used", where])


def test_a_specimen_with_two_classes(world: World) -> None:
    world.rescan(put("Group", 4, "DM"))
    told = f"specimen P1001: 'Group' is 'CTRL' in {world.scans}, row 5 and 'DM' in {world.scans}, row 6; a specimen has"
    refused(world, words=[told])
    world.rescan()
    world.examine(put("Group", 1, "DM"))
    told = (
        f"specimen P1001: 'Group' is 'CTRL' in {world.scans}, row 5 and 'DM' in {world.clinic}, row 3, column 'Group'"
    )
    refused(world, words=[told])


def test_bad_scans_are_left_out_by_name_and_their_patients_kept(world: World) -> None:
    values = spectra()
    values[4, 3], values[8, 0] = np.nan, np.inf
    values[7], values[12, 5:9] = 3.5, 40.0
    world.rescan(values=values)
    refused(
        world, words=[f"4 of {PATIENTS * SCANS} recordings cannot be used (5.6%)", "not finite: 2", "max_share: 0.06"]
    )
    told = passed(world, LENIENT)
    assert f'"specimens": {PATIENTS}, "scans": {PATIENTS * SCANS - 4}' in told
    assert '"scans quarantined": 4, "quarantined": 0' in told
    words = [
        f"P1001/2 (spectra) in {world.scans}, row 6: not finite: 1 of 12 points, first at 3",
        f"P1002/2 (spectra) in {world.scans}, row 9: constant: every point is 3.5",
        f"P1002/3 (spectra) in {world.scans}, row 10: not finite: 1 of 12 points, first at 0",
        f"P1004/1 (spectra) in {world.scans}, row 14: saturated: 4 of 12 points stand at the maximum, 40",
    ]
    refused(world, STRICT, words=words)
    assert '"scans quarantined": 3' in passed(world, "data.loading.saturated=0.5")


def test_a_patient_without_a_valid_scan(world: World) -> None:
    values = spectra()
    values[6:9] = 0.0
    world.rescan(values=values)
    told = passed(world)
    assert f'"specimens": {PATIENTS - 1}' in told
    assert '"scans quarantined": 3, "quarantined": 1' in told
    run = world.folder / "run"
    assert asked("train", world, "data.split={type: ByGroup, test: 0.4, valid: 0}", out=run).exit_code == 0
    account = json.loads((run / "data.json").read_text())
    found = {one["recording"]: one["reason"] for one in account["quarantine"]}
    assert list(found) == ["P1002/1", "P1002/2", "P1002/3", "P1002"]
    assert found["P1002"] == "no valid scan: all 3 are in the quarantine"
    assert account["labels"]["healthy"] == {"CTRL": PATIENTS // 2}


def test_axes_that_differ(world: World) -> None:
    other = world.folder / "second.csv"
    files = f"data.scans.files=[{world.scans}, {other}]"
    again = {"Sample": [f"P{1000 + row}-9" for row in range(PATIENTS * SCANS)]}
    write(other, scan_columns(spectra()[:, :10]) | again)
    words = [
        f"{other}: 10 points from 0 to 9, and {world.scans}: 12 points from 0 to 11",
        "bring the files to the same",
    ]
    refused(world, files, words=words)
    write(other, scan_columns(headers=[f"w{0.5 + point}" for point in range(12)]) | again)
    refused(world, files, words=[f"{other}: 12 points from 0.5 to 11.5, and {world.scans}: 12 points from 0 to 11"])
    lines = world.scans.read_text().splitlines()
    lines[6] = lines[6].rsplit(",", 2)[0]
    world.scans.write_text("\n".join(lines))
    refused(world, words=[f"{world.scans}: row 7: 12 cells under 14 columns; every spectrum has the whole axis"])
    refused(world, "data.scans.axis.prefix=nm", words=["no column is 'nm' and a number", "Set axis.prefix"])


def test_files_that_cannot_be_read(world: World) -> None:
    world.rescan(put("w3", 8, "4.O7"))
    refused(world, words=[f"{world.scans}, row 10, column 'w3': '4.O7' is no number; mend it, or leave it empty"])
    lines = world.scans.read_text().splitlines()
    world.scans.write_text("\n".join([lines[0].replace("w7", "w6"), *lines[1:]]))
    refused(world, words=["row 1: column 'w6' stands twice"])
    world.scans.write_text(lines[0] + "\n")
    refused(world, words=[f"{world.scans}: no scans"])
    refused(world, "data.scans.files=[absent.csv]", words=["absent.csv: no such file"])
    damaged = world.folder / "damaged.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    refused(world, f"data.scans.files=[{damaged}]", words=["damaged.parquet: not a readable .parquet"])


def test_arrays_that_cannot_be_read(world: World) -> None:
    path = world.folder / "scans.npz"
    who = np.array([f"P{1000 + patient}" for patient in range(PATIENTS) for _ in range(SCANS)])
    scans = f"data.scans={{type: ScanArrays, file: {path}, id: who}}"
    np.savez(path, spectra=spectra(), who=who)
    passed(world, scans)
    np.savez(path, spectra=np.array([{}] * 4), who=who[:4])
    refused(world, scans, words=["scans.npz: array 'spectra' cannot be read", "allow_pickle"])
    np.savez(path, spectra=spectra(), who=who[1:])
    refused(world, scans, words=["'who' has shape (71,) and 'spectra' 72 scans"])
    np.savez(path, spectra=spectra()[0], who=who)
    refused(world, scans, words=["'spectra' is float32 of shape (12,); spectra are numbers of shape (scans, points)"])
    np.savez(path, values=spectra(), who=who)
    refused(world, scans, words=["no array 'spectra'; there are values, who"])
    path.write_bytes(path.read_bytes()[:900])
    refused(world, scans, words=["scans.npz: not a readable .npz"])


def test_patients_that_scans_or_table_lack(world: World) -> None:
    world.examine(lambda columns: [cells.pop(7) for cells in columns.values()])
    world.rescan(lambda columns: [cells.__delitem__(slice(0, 3)) for cells in columns.values()])
    counted = '"specimens without a row of the table": 1, "rows of the table without a scan": 1'
    told = passed(world)
    assert counted in told
    assert f'"specimens": {PATIENTS}' in told
    told = passed(world, "data.loading.unmatched=skip")
    assert counted in told
    assert f'"specimens": {PATIENTS - 2}' in told
    words = [
        f"specimens without a row of the table: 1, the first in {world.scans}, row 20: P1007",
        "set loading.unmatched",
    ]
    refused(world, "data.loading.unmatched=error", words=words)
    world.examine(lambda columns: columns.update(PatientID=[name[1:] for name in columns["PatientID"]]))
    refused(world, words=["no specimen of the scans ('P1001', ...) is in", "('1000', ...)", "make the ids alike"])


def test_a_table_that_cannot_be_used(world: World) -> None:
    world.examine(put("PatientID", 5, "P1002"))
    refused(world, words=[f"{world.clinic}, column 'PatientID': 'P1002' stands in rows 4 and 7"])
    world.examine(put("Age", 5, "old"))
    refused(world, words=[f"{world.clinic}, row 7, column 'Age': 'old' is no number; list Age in table.categorical"])
    refused(world, "data.table.features=[Weight]", words=[f"{world.clinic}: no column 'Weight'"])
    refused(world, "data.table.features=[Age]", words=["table.categorical names 'Sex', which is no feature"])
    clinic = write(world.folder / "clinical.parquet", clinic_columns() | {"CRP": [np.inf, *[1.0] * (PATIENTS - 1)]})
    where = f"P1000 (table) in {clinic}, row 2: not finite: CRP is inf"
    refused(world, f"data.table.file={clinic}", STRICT, words=[where])


def test_a_column_that_is_the_label_under_another_name(world: World) -> None:
    world.examine(lambda columns: columns.update(HasDiabetes=[int(cell == "DM") for cell in columns["Group"]]))
    told = f"{world.clinic}, column 'HasDiabetes': it is the label under another name (0 is healthy, 1 is diabetes)"
    refused(world, words=[told, "list it in table.allow"])
    passed(world, "data.table.allow=[HasDiabetes]")
    passed(world, "data.table.features=[Age, Sex]")
    world.examine(lambda columns: columns.update(Code=["E11" if cell == "DM" else "Z00" for cell in columns["Group"]]))
    refused(world, "data.table.categorical={Sex: {}, Code: {}}", words=["(E11 is diabetes, Z00 is healthy)"])
    world.examine(lambda columns: columns.update(mmol=[5 + 0.1 * age for age in columns["Age"]]))
    told = "column 'mmol': it is the target on another scale"
    refused(world, "data.columns={target: Age}", "data.table.features=[mmol, Sex]", words=[told])


def test_a_split_by_scans(world: World) -> None:
    words = [
        f"specimen P1000: 'scan' is '1' in {world.scans}, row 2 and '2' in {world.scans}, row 3",
        "24 such specimens: P1000, P1001, P1002, P1003, P1004, ...",
        "one specimen stays on one side of a split",
    ]
    refused(world, "data.columns.group=[scan]", words=words)
    refused(world, "data.columns.group=[scan]", "data.rows=scan", words=words)
    world.rescan(lambda columns: columns.update(Part=["train", "train", "test"] * PATIENTS))
    words = [
        f"specimen P1000: 'Part' is 'train' in {world.scans}, row 2 and 'test' in {world.scans}, row 4",
        *words[1:],
    ]
    refused(world, "data.split={type: ByColumn, column: Part}", "data.rows=scan", words=words)


def test_numbered_ids_without_a_pattern_are_not_taken_for_patients(world: World) -> None:
    words = [
        f"{world.scans}, row 3: ids 'P1000-1' and 'P1000-2' seem to be scans of one specimen, 'P1000', which",
        f"({PATIENTS * SCANS} ids of {PATIENTS} such)",
        "set scans.pattern to (?P<specimen>...) and (?P<scan>...)",
    ]
    refused(world, 'data.scans.pattern=""', words=words)
    alone = ["data.table=null", "encoders={spectra: {type: SpectralTransformer, dim: 8, patch: 4, queries: 1}}"]
    told = passed(world, "data.scans.pattern=(?P<specimen>.*)", *alone)
    assert f'"specimens": {PATIENTS * SCANS}' in told
    world.rescan(lambda columns: columns.update(Sample=[f"sample_{at:03}" for at in range(PATIENTS * SCANS)]))
    passed(world, 'data.scans.pattern=""', *alone)


def test_patients_of_one_group_stay_together_and_empty_groups_are_refused(world: World) -> None:
    world.examine(lambda columns: columns.update(Family=[f"f{patient // 2}" for patient in range(PATIENTS)]))
    assert '"groups": 12' in passed(world, "data.columns.group=[Family]")
    world.examine(lambda columns: columns.update(Family=["f0", "", *["f1"] * (PATIENTS - 2)]))
    refused(world, "data.columns.group=[Family]", words=[f"{world.clinic}, row 3, column 'Family': empty; a specimen"])
    world.examine(lambda columns: None)
    refused(world, "data.columns.group=[House]", words=["columns.group: no column 'House'; there are specimen, scan"])
    refused(world, "data.columns.label=Class", words=["columns.label: no column 'Class'"])


def test_coffee_without_the_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coffee_module, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"chemotools, which holds the spectra, is absent; install counterpoint\[spectra\]"
    ):
        Coffee().read()
