"""The simulated welds: readable by ordinary tools, marked, linked across modalities, ambiguous where they say so."""

from __future__ import annotations

import csv
import re
from collections import Counter
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from counterpoint.data.synthetic import welds
from counterpoint.data.synthetic.weld_pictures import photos, video
from counterpoint.data.synthetic.weld_process import CATEGORIES, MODALITIES, Modality, Run, plan
from counterpoint.data.synthetic.weld_traces import AUDIO_RATE, sensor_trace, sound
from counterpoint.data.synthetic.welds import generate
from weld_hand_features import FEATURES

Float = NDArray[np.float64]
RUNS, FOLDERS, SECONDS = 48, 24, 2.0
CODES = range(len(CATEGORIES))


def render(run: Run, modality: Modality, seconds: float = SECONDS) -> NDArray[Any]:
    if modality == "sensor":
        return sensor_trace(run, seconds).values
    if modality == "audio":
        return sound(run, seconds)
    return video(run, seconds, (96, 72)) if modality == "video" else photos(run, (160, 120))


def as_class(run: Run, code: int, severity: float = 1.0) -> Run:
    """The same run, chance and all, had this been wrong with it."""
    course = run.course._replace(severity=severity)
    return run._replace(code=code, marks=CATEGORIES[code].marks, course=course)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def arc_of(run: Run, count: int) -> slice:
    """The middle of the welding, in samples of ``count`` a recording."""
    start, end = run.course.arc
    return slice(int((start + 0.03) * count), int((end - 0.03) * count))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("welds") / "set", runs=RUNS, configurations=FOLDERS, seconds=SECONDS)


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, str]]:
    return table(folder / "manifest.csv")


@pytest.fixture(scope="module")
def run() -> Run:
    return plan(24, 12, 5)[0]


def test_the_table_in_the_docstring_is_the_one_that_is_drawn() -> None:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (welds.__doc__ or "").splitlines()
        if re.match(r"\| \d\d ", line)
    ]
    marks = [(c.marks.sensor, c.marks.audio, c.marks.video, c.marks.photos) for c in CATEGORIES]
    assert [row[0] for row in found] == [f"{i:02d} {category.name}" for i, category in enumerate(CATEGORIES)]
    longer = {"surplus": "current surplus", "abrupt": "abrupt end"}
    assert [tuple(row[1:]) for row in found] == [tuple(longer.get(mark, mark) for mark in row) for row in marks]


def test_no_modality_tells_all_classes_and_all_four_do() -> None:
    assert len({category.marks for category in CATEGORIES}) == len(CATEGORIES) == 12
    kinds = {m: len({getattr(category.marks, m) for category in CATEGORIES}) for m in MODALITIES}
    assert kinds == {"sensor": 6, "audio": 5, "video": 6, "photos": 7}
    names = {category.name: category.marks for category in CATEGORIES}

    def told_by(one: str, other: str) -> set[str]:
        return {m for m in MODALITIES if getattr(names[one], m) != getattr(names[other], m)}

    assert told_by("Good", "Porosity") == {"audio"}
    assert told_by("Excessive_Penetration", "Porosity_w_Excessive_Penetration") == {"audio"}
    assert told_by("Good", "Undercut") == {"photos"}
    assert told_by("Overlap", "Excessive_Convexity") == {"photos"}
    assert told_by("Lack_of_Fusion", "Spatter") == {"sensor", "video"}
    assert told_by("Good", "Lack_of_Fusion") == {"sensor", "audio"}
    assert told_by("Good", "Spatter") == {"audio", "video"}


@pytest.mark.parametrize("modality", MODALITIES)
def test_two_classes_are_drawn_alike_exactly_where_they_leave_the_same_mark(run: Run, modality: Modality) -> None:
    drawn = [render(as_class(run, code), modality) for code in CODES]
    for one, other in combinations(CODES, 2):
        same = getattr(CATEGORIES[one].marks, modality) == getattr(CATEGORIES[other].marks, modality)
        assert np.array_equal(drawn[one], drawn[other]) == same, (CATEGORIES[one].name, CATEGORIES[other].name)


def test_a_hole_is_at_one_place_in_video_current_and_sound(run: Run) -> None:
    """Found in the video alone, then looked for in the other two."""
    course = run.course._replace(centres=np.array([0.3, 0.7]), width=0.05)
    burnt = as_class(run._replace(course=course), 2, severity=1.1)
    frames = render(burnt, "video", 6.0).astype(float)
    light = frames[arc_of(burnt, len(frames))].mean((1, 2))
    for half, expected in ((slice(0, len(light) // 2), 0.3), (slice(len(light) // 2, None), 0.7)):
        darkest = int(np.arange(len(light))[half][light[half].argmin()]) + arc_of(burnt, len(frames)).start
        moment = darkest / len(frames)
        assert float(burnt.course.place(np.array([moment]))[0]) == pytest.approx(expected, abs=0.05)
        current = render(burnt, "sensor", 6.0)[:, 3]
        assert current[round(moment * len(current))] < 0.7 * np.median(current[arc_of(burnt, len(current))])
        wave = render(burnt, "audio", 6.0)
        near = wave[int((moment - 0.01) * len(wave)) : int((moment + 0.01) * len(wave))]
        assert near.std() < 0.5 * wave[arc_of(burnt, len(wave))].std()


def test_a_hole_on_the_photograph_lies_along_the_seam_where_the_current_dropped(run: Run) -> None:
    course = run.course._replace(centres=np.array([0.25, 0.6]), width=0.05)
    good, burnt = (render(as_class(run._replace(course=course), code), "photos").astype(float) for code in (0, 2))
    for before, after in zip(good, burnt, strict=True):
        seam = np.flatnonzero((before[..., 0] - before[..., 2]).max(0) > 25.0)
        rows, columns = np.nonzero((before - after).mean(-1) > 40.0)
        places = (columns - seam.min()) / np.ptp(seam)
        for expected in (0.25, 0.6):
            assert np.abs(places - expected).min() < 0.06
        assert ((np.abs(places - 0.25) < 0.12) | (np.abs(places - 0.6) < 0.12)).all()
        assert len(rows) > 10


def test_the_manifest_lists_what_is_on_disk_and_says_it_is_simulated(folder: Path, rows: list[dict[str, str]]) -> None:
    intel = "CATEGORY WELD_TYPE THICKNESS_MM STEEL_TYPE SAMPLES CURRENT_A VOLTAGE_V GAS_BAR ROBOT_SPEED_CPM DIRECTORY"
    assert list(rows[0]) == [*intel.split(), "SUBDIRS", "SPLIT", "simulated"]
    assert {row["simulated"] for row in rows} == {"true"}
    assert len(rows) == RUNS
    listed = {f"{row['DIRECTORY']}/{row['SUBDIRS']}" for row in rows}
    assert listed == {str(path.relative_to(folder)) for path in folder.glob("*/*")}
    assert len(listed) == RUNS
    assert [CATEGORIES[int(row["SUBDIRS"][-2:])].name for row in rows] == [row["CATEGORY"] for row in rows]
    counts = Counter(row["DIRECTORY"] for row in rows)
    assert [int(row["SAMPLES"]) for row in rows] == [counts[row["DIRECTORY"]] for row in rows]


def test_a_configuration_has_one_class_and_one_setting_and_a_class_two_configurations(
    rows: list[dict[str, str]],
) -> None:
    nominal = ("CATEGORY", "WELD_TYPE", "THICKNESS_MM", "STEEL_TYPE", "CURRENT_A", "VOLTAGE_V", "GAS_BAR")
    whole = {(row["DIRECTORY"], *(row[name] for name in nominal), row["ROBOT_SPEED_CPM"]) for row in rows}
    assert len(whole) == len({row["DIRECTORY"] for row in rows}) == FOLDERS
    assert Counter(entry[1] for entry in whole) == {category.name: 2 for category in CATEGORIES}


def test_one_run_name_is_in_two_folders_and_every_other_in_one(rows: list[dict[str, str]]) -> None:
    names = Counter(row["SUBDIRS"] for row in rows)
    assert sorted(names.values()) == [1] * (RUNS - 2) + [2]


def test_the_official_split_trains_on_good_welds_alone() -> None:
    runs = plan(400, 60, 0)
    assert {run.code for run in runs if run.split == "TRAIN"} == {0}
    good = Counter(run.split for run in runs if run.code == 0)
    assert good["TRAIN"] / good.total() == pytest.approx(0.7, abs=0.02)
    defects = Counter(run.split for run in runs if run.code != 0)
    assert abs(defects["VAL"] - defects["TEST"]) <= 1
    folders = {run.directory for run in runs if run.code}
    both = folders & {r.directory for r in runs if r.split == "VAL"} & {r.directory for r in runs if r.split == "TEST"}
    assert len(both) > 0.8 * len(folders), "defects share folders between VAL and TEST, as in the real set"


def test_folders_have_two_to_twelve_runs_and_three_in_a_hundred_runs_no_photographs() -> None:
    runs = plan(400, 60, 1)
    counts = Counter(run.directory for run in runs)
    assert len(counts) == 60
    assert set(counts.values()) <= set(range(2, 13))
    assert len(set(counts.values())) > 3
    assert sum(not run.photographed for run in runs) == 12


def test_sensor_files_read_as_the_real_ones_do(folder: Path) -> None:
    for path in folder.glob("*/*/*.csv"):
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        assert header.endswith(",Secondary Weld Voltage,Remarks ")
        assert header.startswith("Date,Time,Part No,Pressure,")
        cells = [line.split(",") for line in lines]
        assert {len(row) for row in cells} == {9}, "rows end before the remarks"
        assert {row[2] for row in cells} == {path.stem}
        when = [datetime.strptime(f"{row[0]} {row[1]}", "%m/%d/%Y %H:%M:%S.%f") for row in cells]
        steps = np.diff([moment.timestamp() for moment in when])
        assert ((steps > 0.09) & (steps < 0.12)).all()
        assert steps.std() > 0.002
        assert 9.0 < 1.0 / steps.mean() < 10.0
        values = np.array([[float(cell) for cell in row[3:]] for row in cells])
        assert (np.diff(values[:, 4]) >= 0.0).all(), "wire is not unspent"
        assert values[0, 3] == values[-1, 3] == 0.0, "no arc where the recording begins and ends"


def test_sensor_header_is_that_of_the_real_set(folder: Path, data_root: Path) -> None:
    real = next((data_root / "weld" / "intel_raw_good5").glob("*/*.csv"))
    ours = next(folder.glob("*/*/*.csv"))
    lines = [path.read_text(encoding="utf-8").splitlines() for path in (real, ours)]
    assert lines[0][0] == lines[1][0]
    assert len(lines[0][1].split(",")) == len(lines[1][1].split(","))


def test_media_have_the_formats_of_the_real_set_at_their_own_sizes(folder: Path) -> None:
    bare = 0
    for place in folder.glob("*/*"):
        with av.open(str(place / f"{place.name}.avi")) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("mpeg4", 96, 72)
            assert stream.average_rate == 30
            assert sum(1 for _ in container.decode(stream)) == 60
        wave = soundfile.info(place / f"{place.name}.flac")
        assert (wave.samplerate, wave.channels, wave.frames) == (AUDIO_RATE, 1, AUDIO_RATE * SECONDS)
        views = sorted((place / "images").glob("*.jpg"))
        bare += not (place / "images").exists()
        assert len(views) == (5 if (place / "images").exists() else 0)
        for view in views:
            with Image.open(view) as picture:
                assert (picture.size, picture.mode) == ((160, 120), "RGB")
    assert bare == 1


def test_what_is_decoded_is_what_was_drawn(folder: Path) -> None:
    run = plan(RUNS, FOLDERS, 0)[10]
    place = folder / run.directory / run.name
    with av.open(str(place / f"{run.name}.avi")) as container:
        frames = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
    assert np.abs(frames.astype(float) - render(run, "video")).mean() < 3.0
    wave, _ = soundfile.read(place / f"{run.name}.flac")
    np.testing.assert_allclose(wave, render(run, "audio"), atol=1.0 / 2**15)
    views = [np.asarray(Image.open(path), float) for path in sorted((place / "images").glob("*.jpg"))]
    assert np.abs(np.stack(views) - render(run, "photos")).mean() < 5.0


def test_a_seed_gives_one_set_to_the_last_bit_and_another_seed_another(tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> dict[str, bytes]:
        root = generate(tmp_path / name, runs=4, configurations=2, seed=seed, seconds=1.0, video_size=(32, 24))
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    first, again, other = contents("a", 3), contents("b", 3), contents("c", 4)
    assert first == again
    assert all(first[name] != other[name] for name in first.keys() & other.keys())
    assert list(tmp_path.glob(".*")) == [], "nothing half-written stays behind"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"runs": 1}, "1 runs in 2 configurations: wants one at least, 4 to 24 runs"),
        ({"runs": 25}, "25 runs in 2 configurations"),
        ({"configurations": 0}, "0 configurations"),
        ({"seconds": 0.5}, r"seconds=0\.5"),
        ({"video_size": (33, 24)}, "even number"),
        ({"photo_size": (8, 8)}, "16 pixels"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "set", **({"runs": 4, "configurations": 2} | wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(ValueError, match="holds something already"):
        generate(tmp_path, runs=4, configurations=2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_nominal_settings_tell_a_folder_and_not_a_class() -> None:
    runs = plan(720, 240, 0)
    nominal = np.array([[s.thickness, s.current, s.voltage, s.gas, s.speed] for s in (run.settings for run in runs)])
    code, group = np.array([run.code for run in runs]), np.array([run.directory for run in runs])
    unseen = cross_val_predict(KNeighborsClassifier(1), nominal, code, groups=group, cv=StratifiedGroupKFold(5))
    shared = cross_val_predict(KNeighborsClassifier(1), nominal, code, cv=StratifiedKFold(5, shuffle=True))
    assert balanced_accuracy_score(code, unseen) < 0.16
    assert balanced_accuracy_score(code, shared) > 0.85


@pytest.mark.nightly
def test_hand_made_features_need_all_four_modalities() -> None:
    """Logistic regression on features made for the marks, configurations left out; ceilings are what marks allow."""
    runs = plan(240, 60, 1)
    code, group = np.array([run.code for run in runs]), np.array([run.directory for run in runs])
    parts = {m: np.stack([FEATURES[m](render(run, m, 6.0)) for run in runs]) for m in MODALITIES}
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.3, max_iter=3000))

    def accuracy(features: Float) -> float:
        split = StratifiedGroupKFold(5, shuffle=True, random_state=0)
        return float(balanced_accuracy_score(code, cross_val_predict(model, features, code, groups=group, cv=split)))

    for modality, features in parts.items():
        kinds = len({getattr(category.marks, modality) for category in CATEGORIES})
        assert 0.25 < accuracy(features) < kinds / 12 + 0.08
    assert accuracy(np.concatenate(list(parts.values()), 1)) > 0.9
