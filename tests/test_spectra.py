"""Spectra and tables: from files of every form to batches, divided by whole patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterpoint.data.audit import refuse_leaks
from counterpoint.data.base import Draw, Rows
from counterpoint.data.hiding import Hidden, present
from counterpoint.data.labelling import Labelling
from counterpoint.data.ledger import Quarantine
from counterpoint.data.spectra import (
    AxisColumns,
    Coffee,
    ScanArrays,
    ScanSource,
    ScanTable,
    ScanViews,
    SpecimenColumns,
    SpectraLoading,
    SpectraTables,
    TableSource,
)
from counterpoint.data.spectra.augment import Gain, SpectralNoise
from counterpoint.data.spectra.pretreatment import SNV, Crop, Standardise
from counterpoint.data.spectra.rows import Specimen, SpectraRows
from counterpoint.data.spectra.treatment import Treated
from counterpoint.data.splits import ByGroup, ByValue, GroupedKFold
from counterpoint.types import UNLABELLED, Batch, Features, Spectra, SpectraSpec, Table, TableSpec
from spectra_world import PATIENTS, PATTERN, POINTS, SCANS, clinic_columns, groups, ids, scan_columns, spectra, write

COLUMNS = SpecimenColumns(label="Group")
BY_SITE = ByValue(column="specimen", train=[f"P{1000 + i}" for i in range(18)], test=["P1018", "P1019"], valid=0)


def source(folder: Path, suffix: str = ".csv", **changes: Any) -> ScanTable:
    path = write(folder / f"spectra{suffix}", changes.pop("columns", scan_columns()))
    axis = changes.pop("axis", AxisColumns(prefix="w"))
    return ScanTable(**({"files": [path], "id": "Sample", "pattern": PATTERN, "axis": axis} | changes))


def table(folder: Path, columns: dict[str, Any] | None = None, suffix: str = ".csv", **changes: Any) -> TableSource:
    path = write(folder / f"clinical{suffix}", columns or clinic_columns())
    return TableSource(**({"file": path, "id": "PatientID", "categorical": {"Sex": {}}} | changes))


def made(folder: Path, **changes: Any) -> SpectraTables:
    scans = changes.pop("scans") if "scans" in changes else source(folder)
    return SpectraTables(**({"scans": scans, "columns": COLUMNS, "split": GroupedKFold(folds=4)} | changes))


def whole(rows: Rows, epoch: int = 0) -> Batch:
    return rows.__getitems__([Draw(row, 1000 * epoch + row) for row in range(len(rows))])


def spectra_of(batch: Batch, view: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    found = batch.views[view]["spectra"]
    assert isinstance(found, Spectra)
    assert found.mask is not None
    return found.values, found.mask


def table_of(batch: Batch, view: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    found = batch.views[view]["table"]
    assert isinstance(found, Table)
    assert found.mask is not None
    return found.values, found.mask


def by_patient(values: NDArray[np.float32], names: list[str]) -> NDArray[np.float32]:
    place = [int(name.removeprefix("P")) - 1000 for name in names]
    return values.reshape(PATIENTS, SCANS, -1)[place]


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".xlsx"])
def test_tables_of_every_form_bring_the_same_batches(tmp_path: Path, suffix: str) -> None:
    data = made(tmp_path, scans=source(tmp_path, suffix), table=table(tmp_path, suffix=suffix))
    assert data.specs == {
        "spectra": SpectraSpec(SCANS, tuple(map(float, range(POINTS))), ""),
        "table": TableSpec(("Age", "BMI", "Sex"), ((), (), ("f", "m"))),
    }
    assert data.names == tuple(f"P{1000 + patient}" for patient in range(PATIENTS))
    assert data.classes == ("CTRL", "DM")
    batch = whole(data.evaluation("part=1", "all"))
    values, mask = spectra_of(batch)
    assert mask.all()
    np.testing.assert_array_equal(values.numpy(), spectra().reshape(PATIENTS, SCANS, POINTS))
    assert batch.labels.tolist() == [1, 0] * (PATIENTS // 2)
    features, known = table_of(batch)
    assert known.all()
    assert features[:, 2].tolist() == [0.0, 1.0, 1.0] * (PATIENTS // 3)


def test_numbers_as_headers_are_the_axis_and_descending_ones_are_turned_round(tmp_path: Path) -> None:
    axis = [400.5 + 2 * point for point in range(POINTS)]
    columns = scan_columns(spectra()[:, ::-1], [f"{point}" for point in axis[::-1]])
    data = made(tmp_path, scans=source(tmp_path, columns=columns, axis=AxisColumns(unit="cm-1")))
    assert data.specs["spectra"] == SpectraSpec(SCANS, tuple(axis), "cm-1")
    values, _ = spectra_of(whole(data.evaluation("part=1", "all")))
    np.testing.assert_array_equal(values.numpy().reshape(-1, POINTS), spectra())


def test_blocks_of_rows_are_specimens_and_a_range_of_columns_the_axis(tmp_path: Path) -> None:
    columns = {name: cells for name, cells in scan_columns().items() if name != "Sample"}
    axis = AxisColumns(first="w2", last="w9", start=1100.0, step=-4.0, unit="nm")
    path = write(tmp_path / "blocks.csv", columns)
    data = made(tmp_path, scans=ScanTable(files=[path], block=SCANS, axis=axis))
    assert data.names == tuple(str(number) for number in range(1, PATIENTS + 1))
    spec = data.specs["spectra"]
    assert isinstance(spec, SpectraSpec)
    assert spec.axis == tuple(1072.0 + 4 * point for point in range(8))
    values, _ = spectra_of(whole(data.evaluation("part=1", "all")))
    np.testing.assert_array_equal(values.numpy().reshape(-1, 8), spectra()[:, 9:1:-1])


def test_several_files_are_one_source(tmp_path: Path) -> None:
    columns = scan_columns()
    halves = [{name: cells[part] for name, cells in columns.items()} for part in (slice(0, 40), slice(40, None))]
    files = [write(tmp_path / f"part{at}.csv", half) for at, half in enumerate(halves)]
    data = made(tmp_path, scans=source(tmp_path, files=files))
    values, _ = spectra_of(whole(data.evaluation("part=1", "all")))
    np.testing.assert_array_equal(values.numpy().reshape(-1, POINTS), spectra())
    assert [one["path"] for one in data.report()["sources"]] == [str(path) for path in files]


def test_arrays_bring_their_axis_and_columns(tmp_path: Path) -> None:
    path = tmp_path / "scans.npz"
    axis = np.linspace(1600, 400, POINTS)
    np.savez(path, x=spectra(), who=np.array(ids()), what=np.array(groups()).astype("S"), shift=axis)
    arrays = ScanArrays(file=path, spectra="x", id="who", pattern=PATTERN, axis="shift", unit="cm-1")
    data = made(tmp_path, scans=arrays, columns=SpecimenColumns(label="what"))
    spec = data.specs["spectra"]
    assert isinstance(spec, SpectraSpec)
    np.testing.assert_allclose(spec.axis, axis[::-1])
    values, _ = spectra_of(whole(data.evaluation("part=1", "all")))
    np.testing.assert_array_equal(values.numpy().reshape(-1, POINTS), spectra()[:, ::-1])
    assert data.report()["classes"] == {"CTRL": PATIENTS // 2, "DM": PATIENTS // 2}


def test_labels_of_any_type_are_mapped_and_the_account_says_how(tmp_path: Path) -> None:
    clinic = clinic_columns()
    clinic["Outcome"] = [int(cell == "DM") for cell in clinic.pop("Group")]
    names = {"CTRL": "healthy", "0": "healthy", "DM": "diabetes", "1": "diabetes"}
    columns = SpecimenColumns(label="Group", table_label="Outcome", names=names)
    data = made(tmp_path, table=table(tmp_path, clinic), columns=columns)
    assert data.classes == ("healthy", "diabetes")
    assert data.specs["table"] == TableSpec(("Age", "BMI", "Sex"), ((), (), ("f", "m")))
    account = data.report()
    assert account["labels"] == {"diabetes": {"DM": 12}, "healthy": {"CTRL": 12}}
    assert account["classes"] == {"healthy": 12, "diabetes": 12}
    json.dumps(account)


def test_patients_and_not_scans_are_divided(tmp_path: Path) -> None:
    data = made(tmp_path, rows="scan")
    spec = data.specs["spectra"]
    assert isinstance(spec, SpectraSpec)
    assert spec.scans == 1
    tested = []
    for fold in data.folds:
        train, test = data.evaluation(fold, "train"), data.evaluation(fold, "test")
        assert len(train) + len(test) == PATIENTS * SCANS
        assert not set(train.groups.tolist()) & set(test.groups.tolist())
        values, mask = spectra_of(whole(test))
        assert values.shape == (len(test), 1, POINTS)
        assert mask.all()
        expected = by_patient(spectra(), [data.names[at] for at in np.unique(test.ids)])
        np.testing.assert_array_equal(values.numpy().reshape(expected.shape), expected)
        tested += test.ids.tolist()
        assert data.audit(fold) == []
    assert sorted(tested) == np.repeat(np.arange(PATIENTS), SCANS).tolist()


def test_pretreatments_are_fitted_on_training_scans_alone(tmp_path: Path) -> None:
    data = made(tmp_path, pretreatments=[Standardise()], split=BY_SITE)
    train, test = (data.evaluation("main", part) for part in ("train", "test"))
    known = spectra()[: 18 * SCANS].astype(np.float64)
    expected = (spectra()[18 * SCANS : 20 * SCANS] - known.mean(0)) / known.std(0)
    np.testing.assert_allclose(spectra_of(whole(test))[0].numpy().reshape(-1, POINTS), expected, atol=1e-4)
    changed = spectra()
    changed[18 * SCANS :] *= 100
    other = made(
        tmp_path,
        scans=source(tmp_path, columns=scan_columns(changed)),
        pretreatments=[Standardise()],
        split=BY_SITE,
    )
    again = spectra_of(whole(other.evaluation("main", "train")))[0]
    assert torch.equal(again, spectra_of(whole(train))[0])


def test_every_fold_has_its_own_scale_whatever_was_asked_before(tmp_path: Path) -> None:
    data = made(tmp_path, pretreatments=[SNV(), Standardise(), Crop(low=2.0, high=8.0)])
    spec = data.specs["spectra"]
    assert isinstance(spec, SpectraSpec)
    assert spec.axis == (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0)
    first = {fold: spectra_of(whole(data.evaluation(fold, "all")))[0] for fold in data.folds}
    again = {fold: spectra_of(whole(data.evaluation(fold, "all")))[0] for fold in reversed(data.folds)}
    for fold in data.folds:
        assert torch.equal(first[fold], again[fold])
        part = spectra_of(whole(data.evaluation(fold, "train")))[0].numpy().reshape(-1, 7).astype(np.float64)
        np.testing.assert_allclose(part.mean(0), 0.0, atol=1e-5)
        np.testing.assert_allclose(part.std(0), 1.0, atol=1e-5)
    assert not torch.equal(first["part=1"], first["part=2"])


def test_numbers_of_the_table_are_on_the_scale_of_training_rows_and_missing_ones_are_masked(tmp_path: Path) -> None:
    clinic = clinic_columns()
    clinic["Age"] = [None if patient % 5 == 0 else age for patient, age in enumerate(clinic["Age"])]
    clinic["BMI"] = ["NA" if patient == 19 else bmi for patient, bmi in enumerate(clinic["BMI"])]
    clinic["Flat"] = [0.1] * PATIENTS
    clinic["Late"] = [None] * 18 + [1.0, 2.0, *[None] * 4]
    clinic["Sex"][18] = "x"  # no training row says so
    clinic["Sex"][3] = ""
    data = made(tmp_path, scans=None, table=table(tmp_path, clinic, missing=["NA"]), split=_by_patient())
    assert list(data.specs) == ["table"]
    spec = data.specs["table"]
    assert isinstance(spec, TableSpec)
    features, known = table_of(whole(data.evaluation("main", "test")))
    ages = np.array([age for age in clinic["Age"][:18] if age is not None], dtype=np.float64)
    expected = [(clinic["Age"][patient] - ages.mean()) / ages.std() for patient in (18, 19)]
    np.testing.assert_allclose(features[:, spec.columns.index("Age")].numpy(), expected, rtol=1e-5)
    by_name = {name: known[:, at].tolist() for at, name in enumerate(spec.columns)}
    assert by_name == {
        "Age": [True, True],
        "BMI": [True, False],
        "Sex": [False, True],
        "Flat": [True, True],
        "Late": [False, False],
    }
    assert (features[~known] == 0).all()
    assert (features[:, 3] == 0).all()
    train = table_of(whole(data.evaluation("main", "train")))
    np.testing.assert_allclose(train[0][train[1][:, 0], 0].mean().item(), 0.0, atol=1e-6)
    assert train[1][:, 0].tolist() == [patient % 5 != 0 for patient in range(18)]
    assert not train[1][3, 2]


def _by_patient() -> ByValue:
    return ByValue(column="PatientID", train=BY_SITE.train, test=BY_SITE.test, valid=0)


def test_levels_are_mapped_and_what_is_none_of_them_is_unknown_and_counted(tmp_path: Path) -> None:
    clinic = clinic_columns()
    clinic["Sex"] = [{"f": 1, "m": 2}[cell] for cell in clinic["Sex"]]
    clinic["Sex"][4] = 9
    chosen = table(tmp_path, clinic, features=["Sex", "BMI"], categorical={"Sex": {"2": "male", "1": "female"}})
    data = made(tmp_path, table=chosen)
    assert data.specs["table"] == TableSpec(("Sex", "BMI"), (("male", "female"), ()))
    features, known = table_of(whole(data.evaluation("part=1", "all")))
    assert features[:, 0].tolist() == [0.0 if patient % 3 else 1.0 for patient in range(4)] + [0.0] + [
        0.0 if patient % 3 else 1.0 for patient in range(5, PATIENTS)
    ]
    assert known[:, 0].tolist() == [patient != 4 for patient in range(PATIENTS)]
    assert data.report()["counts"]["of them no level"] == 1


@pytest.mark.parametrize("policy", ["mask", "skip"])
def test_specimens_that_scans_or_table_lack(tmp_path: Path, policy: Any) -> None:
    clinic = {name: cells[:-2] for name, cells in clinic_columns().items()}
    scans = {name: cells[3:] for name, cells in scan_columns().items()}
    data = made(
        tmp_path,
        scans=source(tmp_path, columns=scans),
        table=table(tmp_path, clinic),
        loading=SpectraLoading(unmatched=policy),
    )
    counts = data.report()["counts"]
    assert counts["specimens without a row of the table"] == 2
    assert counts["rows of the table without a scan"] == 1
    if policy == "skip":
        assert counts["specimens"] == PATIENTS - 3
        assert counts["with spectra"] == counts["with table"] == PATIENTS - 3
        return
    assert counts["specimens"] == PATIENTS
    rows = data.evaluation("part=1", "all")
    names = [data.names[at] for at in rows.ids]
    assert {name for name, has in zip(names, present(rows, ["spectra"])[:, 0], strict=True) if not has} == {"P1000"}
    assert {name for name, has in zip(names, present(rows, ["table"])[:, 0], strict=True) if not has} == {
        "P1022",
        "P1023",
    }
    batch = whole(rows)
    values, mask = spectra_of(batch)
    assert (values[~mask] == 0).all()
    assert [data.classes[label] for label in batch.labels] == [
        ("DM", "CTRL")[int(name.removeprefix("P")) % 2] for name in names
    ]
    alone = data.only(["spectra"])
    assert alone.report()["counts"]["left out"] == 1
    assert list(alone.specs) == ["spectra"]
    kept = alone.evaluation("part=1", "all")
    assert list(whole(kept).views[0]) == ["spectra"]
    assert "P1000" not in {data.names[at] for at in kept.ids}


def test_bad_scans_go_and_the_rest_of_the_patient_stays(tmp_path: Path) -> None:
    values = spectra()
    values[4, 3] = np.nan
    values[7], values[71] = 3.5, np.nan
    values[12, 5:9] = 40.0
    values[13, 5:7] = 40.0  # two points at the maximum are chance
    loading = SpectraLoading(quarantine=Quarantine(max_share=0.1))
    data = made(tmp_path, scans=source(tmp_path, columns=scan_columns(values)), loading=loading)
    found = {one["recording"]: (one["row"], one["reason"]) for one in data.report()["quarantine"]}
    assert found == {
        "P1001/2": (6, "not finite: 1 of 12 points, first at 3"),
        "P1002/2": (9, "constant: every point is 3.5"),
        "P1004/1": (14, "saturated: 4 of 12 points stand at the maximum, 40"),
        "P1023/3": (73, "empty: no point is recorded"),
    }
    assert data.report()["counts"]["scans quarantined"] == 4
    rows = data.evaluation("part=1", "all")
    assert rows.lengths is not None
    assert rows.lengths.tolist() == [3, 2, 2, 3, 2, *[3] * 18, 2]
    batch, mask = spectra_of(whole(rows))
    assert mask[1].tolist() == [True, True, False]
    np.testing.assert_array_equal(batch[1, :2].numpy(), spectra()[[3, 5]])
    assert rows.metadata[:, 0].tolist() == rows.lengths.tolist()


def test_metadata_and_groups_are_called_by_their_names(tmp_path: Path) -> None:
    columns = SpecimenColumns(label="Group", metadata=["Age", "Sex"])
    data = made(tmp_path, columns=columns, table=table(tmp_path), split=BY_SITE)
    rows = data.evaluation("main", "test")
    assert rows.metadata_names == ("number of scans", "Age", "Sex = f", "Sex = m")
    assert rows.metadata.shape[1] == 4
    clinic = clinic_columns()
    known = dict(zip(clinic["PatientID"], zip(clinic["Age"], clinic["Sex"], strict=True), strict=True))
    for row, place in enumerate(rows.ids.tolist()):
        assert data.group_names[rows.groups[row]] == data.names[place]
        age, sex = known[data.names[place]]
        assert rows.metadata[row].tolist() == [SCANS, age, sex == "f", sex == "m"]


def test_views_show_some_scans_by_the_key_alone(tmp_path: Path) -> None:
    views = ScanViews(count=2, scans=2)
    rows = made(tmp_path, views=views).training("part=1", "train")
    own = spectra_of(whole(made(tmp_path).evaluation("part=1", "train")))[0]
    shown: set[tuple[int, ...]] = set()
    for epoch in range(30):
        batch = whole(rows, epoch)
        assert len(batch.views) == 2
        for view in range(2):
            values, mask = spectra_of(batch, view)
            assert values.shape[1] == 2
            assert mask.all()
            where = [tuple(int((own[0] == scan).all(1).nonzero()) for scan in values[0])]
            shown.update(where)
    assert shown == {(0, 1), (0, 2), (1, 2)}
    draws = [Draw(4, 77), Draw(9, 78), Draw(2, 79)]
    forth, back = rows.__getitems__(draws), rows.__getitems__(draws[::-1])
    assert torch.equal(spectra_of(forth)[0], spectra_of(back)[0].flip(0))
    assert not torch.equal(spectra_of(forth, 0)[0], spectra_of(forth, 1)[0])


def test_augmentations_are_of_training_alone_and_of_the_key_alone(tmp_path: Path) -> None:
    views = ScanViews(augmentations=[SpectralNoise(std=0.1), Gain()])
    data = made(tmp_path, views=views)
    plain = spectra_of(whole(data.evaluation("part=1", "train")))[0]
    assert torch.equal(plain, spectra_of(whole(data.evaluation("part=1", "train")))[0])
    rows = data.training("part=1", "train")
    noisy = spectra_of(whole(rows))[0]
    assert not torch.equal(noisy, plain)
    assert torch.equal(noisy, spectra_of(whole(rows))[0])
    assert torch.equal(noisy[3], spectra_of(rows.__getitems__([Draw(3, 3)]))[0][0])
    assert not torch.equal(noisy, spectra_of(whole(rows, 1))[0])
    assert (noisy / plain - 1).abs().median() > 0.02


def test_modalities_are_left_out_of_views_but_never_all(tmp_path: Path) -> None:
    data = made(tmp_path, table=table(tmp_path), views=ScanViews(modality_dropout=0.5))
    rows = data.training("part=1", "train")
    share = []
    for epoch in range(80):
        batch = whole(rows, epoch)
        both = torch.stack([spectra_of(batch)[1].any(1), table_of(batch)[1].any(1)], 1)
        assert both.any(1).all()
        assert (spectra_of(batch)[0][~both[:, 0]] == 0).all()
        share.append(both.float().mean())
    assert 0.60 < torch.stack(share).mean() < 0.65  # 0.5 and half of the quarter that would show nothing


def test_features_may_be_kept_of_what_is_not_drawn_at_random(tmp_path: Path) -> None:
    data = made(tmp_path, table=table(tmp_path), pretreatments=[Standardise()])
    rows, other = data.evaluation("part=1", "train"), data.evaluation("part=2", "train")
    digests = rows.content("spectra")
    assert len(set(digests)) == len(rows)
    assert digests == data.evaluation("part=1", "train").content("spectra")
    # Another fold has another scale, hence other digests of the same patients.
    assert not set(digests) & set(other.content("spectra"))
    found = rows.recorded("spectra", [2, 5])
    assert torch.equal(found.values, spectra_of(whole(rows))[0][[2, 5]])  # type: ignore[union-attr]
    left = whole(data.training("part=1", "train").without(["spectra"])).views[0]["spectra"]
    assert isinstance(left, Features)
    assert left.tokens.shape == (len(rows), 1, 0)
    drawn = made(tmp_path, views=ScanViews(scans=1)).training("part=1", "train")
    with pytest.raises(ValueError, match=r"views.scans and views.augmentations change the spectra at random"):
        drawn.without(["spectra"])
    hidden = whole(Hidden(rows, ["spectra"]))
    assert not spectra_of(hidden)[1].any()


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=9), seed=st.integers(0, 999), most=st.integers(1, 5))
def test_what_a_row_shows_hangs_on_no_other_row(counts: list[int], seed: int, most: int) -> None:
    """Any batch holds of each row its own scans in their order, from the left, and zeros where the mask says none."""
    chance = np.random.default_rng(seed)
    values = chance.normal(size=(sum(counts) + 1, 4)).astype(np.float32)
    scans = np.full((len(counts), max([1, *counts])), -1, dtype=np.int64)
    ends = np.cumsum([0, *counts])
    for row, count in enumerate(counts):
        scans[row, :count] = np.arange(ends[row], ends[row] + count)
    zeros = np.zeros(len(counts), dtype=np.int64)
    labelling = Labelling(zeros, zeros, zeros, np.empty((len(counts), 0)))
    everyone = np.arange(len(counts))
    source = Specimen(Treated(values, np.arange(4.0)), None, None)
    targets = chance.normal(size=len(counts))
    for views in (ScanViews(), ScanViews(scans=most)):
        rows = SpectraRows(source, everyone, scans, labelling, targets, views)
        batch = chance.permutation(len(counts))[: 1 + seed % len(counts)]
        draws = [Draw(int(row), int(row) + seed) for row in batch]
        found, mask = spectra_of(rows.__getitems__(draws))
        for at, row in enumerate(batch):
            count = min(counts[row], most) if views.scans else counts[row]
            assert mask[at].tolist() == [place < count for place in range(mask.shape[1])]
            own = values[scans[row][scans[row] >= 0]]
            places = [int(np.flatnonzero((own == scan).all(1))[0]) for scan in found[at, mask[at]].numpy()]
            assert places == sorted(set(places))
            assert len(places) == count
            assert (found[at, ~mask[at]] == 0).all()
            alone, _ = spectra_of(rows.__getitems__([draws[at]]))
            assert torch.equal(alone[0, :count], found[at, :count])
    np.testing.assert_array_equal(rows.targets, targets)


def test_targets_are_kept_and_groups_and_domains_are_columns(tmp_path: Path) -> None:
    clinic = clinic_columns()
    clinic["HbA1c"] = [None if patient == 2 else 5 + 0.1 * patient for patient in range(PATIENTS)]
    clinic["Clinic"] = [f"c{patient % 6}" for patient in range(PATIENTS)]
    clinic["simulated"] = ["yes" if patient == 3 else "" for patient in range(PATIENTS)]
    columns = SpecimenColumns(target="HbA1c", group=["Clinic"], domain="Clinic", metadata=["Age"])
    chosen = table(tmp_path, clinic, features=["Age", "BMI"], categorical={})
    data = made(tmp_path, table=chosen, columns=columns, split=ByGroup(valid=0))
    rows = data.evaluation("main", "all")
    assert isinstance(rows, SpectraRows)
    expected = [np.nan if patient == 2 else 5 + 0.1 * patient for patient in range(PATIENTS)]
    assert data.target == "HbA1c"
    np.testing.assert_allclose(rows.targets, expected)
    targets = rows.__getitems__([Draw(4, 0), Draw(2, 1)]).targets
    assert targets is not None
    np.testing.assert_allclose(targets.numpy(), [5.4, np.nan], rtol=1e-6)
    assert made(tmp_path).evaluation("part=1", "all").targets is None
    assert (rows.labels == UNLABELLED).all()
    assert rows.groups.tolist() == rows.domains.tolist() == [patient % 6 for patient in range(PATIENTS)]
    assert rows.metadata[:, 1].tolist() == clinic["Age"]
    account = data.report()
    assert account["simulated"] is True
    assert account["counts"]["groups"] == 6
    assert account["counts"]["without a target"] == 1


def test_a_scan_under_two_names_is_a_leak(tmp_path: Path) -> None:
    values = spectra()
    values[70] = values[1]
    data = made(tmp_path, scans=source(tmp_path, columns=scan_columns(values)), split=_sides())
    assert data.audit("main") == ["train and test share 1 of content over 2 recordings: samples of P1000/2"]
    with pytest.raises(ValueError, match="the splits leak"):
        refuse_leaks(data)


def _sides() -> ByValue:
    names = [f"P{1000 + patient}" for patient in range(PATIENTS)]
    return ByValue(column="specimen", train=list(names[:18]), test=list(names[18:]), valid=0)


def test_the_raman_spectra_of_saliva(data_root: Path) -> None:
    path = data_root / "spectra" / "saliva_covid" / "covid_dataset.npz"
    data = SpectraTables(
        scans=ScanArrays(file=path, id="patient", axis="raman_shift", unit="cm-1"),
        columns=SpecimenColumns(label="label"),
        split=GroupedKFold(folds=5),
        pretreatments=[SNV()],
    )
    account = data.report()
    assert account["classes"] == {"COV+": 30, "COV-": 37, "CTRL": 34}
    # The detector stood at its limit of 64500 in 104 of the 2501 scans.
    assert account["counts"]["scans"] + account["counts"]["scans quarantined"] == 2501
    assert {one["reason"].split(":")[0] for one in account["quarantine"]} == {"saturated"}
    assert account["counts"]["scans quarantined"] == 104
    assert all(one["reason"].endswith("64500") for one in account["quarantine"])
    assert all(data.audit(fold) == [] for fold in data.folds)
    values, mask = spectra_of(whole(data.evaluation("part=1", "test")))
    assert values.shape[2] == 991
    np.testing.assert_allclose(values[mask].mean(1).numpy(), 0.0, atol=1e-5)
    np.testing.assert_allclose(values[mask].std(1, correction=0).numpy(), 1.0, atol=1e-4)


def test_the_near_infrared_spectra_of_mayonnaise(data_root: Path) -> None:
    path = data_root / "spectra" / "mayonnaise_nir" / "mayonnaise.csv"
    axis = AxisColumns(prefix="X", start=1100.0, step=4.0, unit="nm")
    scans: ScanSource = ScanTable(files=[path], block=3, axis=axis)
    data = SpectraTables(scans=scans, columns=SpecimenColumns(label="oil"), split=GroupedKFold(folds=5))
    assert data.report()["counts"]["specimens"] == 54
    assert data.specs["spectra"] == SpectraSpec(3, tuple(1100.0 + 4 * point for point in range(351)), "nm")
    assert data.classes == ("1", "2", "3", "4", "5", "6")
    plain = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(2, 353), converters=float)
    values, _ = spectra_of(whole(data.evaluation("part=1", "all")))
    np.testing.assert_allclose(values.numpy().reshape(162, 351), plain, rtol=1e-6)
    with pytest.raises(ValueError, match="162 rows are no whole number of blocks of 4"):
        SpectraTables(scans=ScanTable(files=[path], block=4, axis=axis))


def test_coffee_needs_no_file() -> None:
    pytest.importorskip("chemotools", reason="the extra spectra is not installed")
    data = SpectraTables(scans=Coffee(), columns=SpecimenColumns(label="origin"), split=GroupedKFold(folds=5))
    assert data.report()["classes"] == {"Brasil": 20, "Ethiopia": 20, "Vietnam": 20}
    values, _ = spectra_of(whole(data.evaluation("part=1", "all")))
    assert values.shape == (60, 1, 1841)
    assert values[0, 0, 0].item() == pytest.approx(0.05037488974520657)
    assert all(data.audit(fold) == [] for fold in data.folds)
