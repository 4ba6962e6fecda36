"""The import of RadHAR: point clouds to view maps, recordings to windows, sentences to activities."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from typer.testing import CliRunner

from counterpoint.cli import app
from counterpoint.data.radar import Frames, RadarClips
from counterpoint.data.radar.radhar import CAPTIONS, ClipWindows, import_radhar
from counterpoint.data.radar.radhar_captions import WORDS, activity_of, dealt, divided, read_sentences
from counterpoint.data.radar.radhar_text import maps_of, read_points

NAMES = {"range_time": "range", "doppler_time": "doppler", "azimuth_time": "azimuth"}
POINT = """header:
  seq: 1
  stamp:
    secs: 10
    nsecs: 20
  frame_id: "ti_mmwave"
point_id: {}
x: 1.0
y: 0.0
z: 0.0
range: {}
velocity: 0.0
doppler_bin: {}
bearing: {}
intensity: {}
---
"""
FRAMES = [
    [(0, 0.01, 8, -89.9, 20.0), (2, 0.1, 8, -86.0, 20.0), (5, 1.0, 0, 0.1, 40.0)],
    [(0, 5.99, 15, 90.0, 0.0), (1, 6.01, 7, 45.0, 20.0)],
]
"""Two frames of points: number, range, Doppler bin, bearing, intensity."""


def printed(frames: list[list[tuple[Any, ...]]]) -> str:
    return "".join(POINT.format(*point) for frame in frames for point in frame)


def write_tree(root: Path, frames: int = 9, repeat: int = 3) -> Path:
    """Two activities, ``repeat`` recordings to train on and one to test on of each; no two frames are alike."""
    level = 20.0
    for part, count in (("Train", repeat), ("Test", 1)):
        for activity in ("boxing", "walk"):
            for take in range(count):
                folder = root / part / activity
                folder.mkdir(parents=True, exist_ok=True)
                clouds = [[(0, 1 + 0.1 * frame, 8, 0.0, level + 0.01 * frame)] for frame in range(frames)]
                (folder / f"take_{take}.txt").write_text(printed(clouds))
                level += 1
    return root


def annotations(path: Path, sentences: list[str]) -> Path:
    content = {str(at): {"annotations": [{"text": one}]} for at, one in enumerate(sentences)}
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        json.dump(content, file)
    return path


def read_json(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def arrays(path: Path) -> dict[str, NDArray[Any]]:
    with np.load(path, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def test_points_become_maps(tmp_path: Path) -> None:
    path = tmp_path / "one.txt"
    path.write_text("WARNING: a line of the driver\n" + printed(FRAMES) + "header:\npoint_id: 0\nx: 0.1\nrange: 2")
    maps = maps_of(read_points(path))
    assert {view: own.shape for view, own in maps.items()} == {
        "range_time": (2, 32),
        "doppler_time": (2, 16),
        "azimuth_time": (2, 32),
    }
    found = {(view, *at): float(own[*at]) for view, own in maps.items() for at in np.argwhere(own).tolist()}
    assert found == pytest.approx(
        {
            ("range_time", 0, 0): 20.0,  # two points of 20 dB, an amplitude of 10 each
            ("range_time", 0, 5): 100.0,
            ("range_time", 1, 31): 1.0,  # and nothing of the point beyond 6 m
            ("doppler_time", 0, 8): 20.0,
            ("doppler_time", 0, 0): 100.0,
            ("doppler_time", 1, 15): 1.0,
            ("doppler_time", 1, 7): 10.0,
            ("azimuth_time", 0, 0): 20.0,
            ("azimuth_time", 0, 16): 100.0,
            ("azimuth_time", 1, 31): 1.0,
            ("azimuth_time", 1, 24): 10.0,
        }
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing here", "no points"),
        (printed([[(0, 1, 8, 0, 20)]]).replace("bearing: 0\n", "") + printed(FRAMES), "point 1 has point_id, range"),
        (printed([[(0, 1, 16, 0, 20)]]), "point 1: .*doppler_bin 16"),
        (printed([[(0, 1, 8, 0, 20)], [(0, "nan", 8, 0, 20)]]), "point 2: .*range nan"),
        (printed([[(0, 1, 8, 91, 20)]]), "point 1: .*bearing 91"),
        (printed([[(0, "one", 8, 0, 20)]]), "point 1: could not convert string to float: 'one'"),
        ("\xff", "not a readable text file"),
    ],
)
def test_text_that_is_no_point_cloud_is_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=rf"bad\.txt: {words}"):
        read_points(path)


def test_the_published_maps_are_those_of_the_text(data_root: Path) -> None:
    folder = data_root / "radar" / "radhar"
    published = arrays(folder / "maps_186rec.npz")
    for activity, name in (("boxing", "__20_boxing_6.txt"), ("walk", "__20_walk_6.txt")):
        number = f"{published['filename'].tolist().index(name):03d}"
        maps = maps_of(read_points(folder / f"raw_fixture_{activity}.txt.gz"))
        for view, own in NAMES.items():
            log = np.log1p(maps[view])[:-1]  # the excerpt ends inside a frame
            assert len(log) > 70
            np.testing.assert_allclose(log, published[f"{number}_{own}"][: len(log)], atol=2**-9)


def test_a_tree_of_text_becomes_clips(tmp_path: Path) -> None:
    windows = ClipWindows(frames=4, stride=4, train_stride=2)
    destination = import_radhar(write_tree(tmp_path / "Data"), tmp_path / "out", windows=windows)
    splits = {part: read_json(destination / f"{part}.json") for part in ("train", "val", "test")}
    assert {part: Counter(one["label"] for one in some.values()) for part, some in splits.items()} == {
        "train": {"boxing": 6, "walk": 6},
        "val": {"boxing": 3, "walk": 3},
        "test": {"boxing": 2, "walk": 2},
    }
    groups = [{one["group"] for one in some.values()} for some in splits.values()]
    assert not groups[0] & groups[1]
    assert not groups[2] & (groups[0] | groups[1])
    one = splits["train"]["002_0004"]
    assert (one["recording"], one["start"], one["captions"]) == ("Train/boxing/take_0.txt", 4, [])
    views = arrays(destination / one["filefolder"] / f"{one['fileindex']}.npz")
    assert views["range_time"].shape == (32, 4)
    assert views["range_time"].argmax(0).tolist() == [int((1 + 0.1 * frame) / 6 * 32) for frame in range(4, 8)]
    np.testing.assert_allclose(views["doppler_time"][8], 10 ** ((20 + 0.01 * np.arange(4, 8)) / 20), rtol=1e-6)
    data = RadarClips(root=destination, frames=Frames(longest=4, shortest=4, unit=4), captions="ignored")
    assert data.classes == ("boxing", "walk")
    assert data.audit("main") == []
    account = read_json(destination / "import.json")
    assert len(account["sources"]) == 8
    assert data.report()["notes"] == account["notes"]


def test_what_is_no_radhar_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ValueError, match="holds no RadHAR; give the folder that has maps_186rec"):
        import_radhar(empty, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(ValueError, match="holds something already"):
        import_radhar(write_tree(tmp_path / "a"), tmp_path / "full")
    with pytest.raises(ValueError, match="Train has 1 recording of boxing; two are needed"):
        import_radhar(write_tree(tmp_path / "b", repeat=1), tmp_path / "out")
    with pytest.raises(ValueError, match="no clip for train"):
        import_radhar(write_tree(tmp_path / "c"), tmp_path / "out")
    (empty / "maps_1.npz").write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"maps_1\.npz: not the view maps of RadHAR"):
        import_radhar(empty, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("sentence", "activity"),
    [
        ("A person walks 4 steps forward.", "walk"),
        ("A human jumps to the left while walking", ""),
        ("Someone is doing one jumping jack.", "jack"),
        ("a person does some Jumping-Jacks", "jack"),
        ("Somebody jumps like a jumping jack.", ""),
        ("A human jumps in place.", "jump"),
        ("Someone does two squats.", "squats"),
        ("A person punches.", "boxing"),
        ("the person is doing boxing", "boxing"),
        ("A human gets a gentle punch in the back and trips 2 steps forward.", ""),
        ("someone waves", ""),
    ],
)
def test_a_sentence_is_on_the_one_activity_it_names(sentence: str, activity: str) -> None:
    assert activity_of(sentence) == activity


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 500))
def test_captions_of_a_clip_differ_and_take_turns(there: int, count: int, number: int) -> None:
    sentences = [str(at) for at in range(there)]
    own = dealt(sentences, number, count)
    assert len(own) == len(set(own)) == min(there, count)
    assert sorted(dealt(sentences, at, count)[0] for at in range(there)) == sorted(sentences)


def test_sentences_are_divided_once_and_for_all(tmp_path: Path) -> None:
    some = [f"A person {verb} {at} times." for verb in ("boxes", "walks", "jumps", "squats") for at in range(10)]
    some += ["one jumping jack", "a Jumping Jack!", "A jumping jack", "two jumping jacks"]
    sentences = read_sentences(
        annotations(tmp_path / "a.json.gz", [*some, "A person waves.", "a person WALKS 3 times"])
    )
    assert len(sentences) == 10 * 4 + 3 + 1
    found = divided(sentences)
    assert {activity: len(own) for activity, own in found["train"].items()} == {
        "boxing": 6,
        "jack": 1,
        "jump": 6,
        "squats": 6,
        "walk": 6,
    }
    every = [one for own in found.values() for of in own.values() for one in of]
    assert len(every) == len(set(every)) == 43
    assert divided(sentences[::-1]) == found
    with pytest.raises(ValueError, match="2 sentences on jack; 3 are needed"):
        divided(sentences[:-2])
    (tmp_path / "b.json").write_text('{"a": []}')
    with pytest.raises(ValueError, match=r"b\.json: not the annotations of KIT-ML"):
        read_sentences(tmp_path / "b.json")


def test_the_command_imports_the_real_recordings_with_captions(data_root: Path, tmp_path: Path) -> None:
    source, captions = data_root / "radar" / "radhar", data_root / "radar" / "kitml_captions" / "annotations.json.gz"
    command = ["data", "import", "radhar", str(source), str(tmp_path / "radhar"), "--captions", str(captions)]
    result = CliRunner().invoke(app, ["--debug", *command])
    assert result.exit_code == 0, result.output
    root = tmp_path / "radhar"
    splits = {part: read_json(root / f"{part}.json") for part in ("train", "val", "test")}
    assert len(splits["test"]) == 547
    assert all({one["label"] for one in some.values()} == set(WORDS) for some in splits.values())
    assert len({one["group"] for one in splits["val"].values()}) == 22
    said = [{line for one in some.values() for line in one["captions"]} for some in splits.values()]
    assert not said[0] & said[1]
    assert not said[2] & (said[0] | said[1])
    for some in splits.values():
        for one in some.values():
            assert 1 <= len(one["captions"]) <= CAPTIONS
            assert {activity_of(line) for line in one["captions"]} == {one["label"]}
    published = arrays(source / "maps_186rec.npz")
    cut = arrays(root / "clips" / "003_0120.npz")
    for view, name in NAMES.items():
        np.testing.assert_allclose(np.log1p(cut[view].T), published[f"003_{name}"][120:180], atol=1e-5)
    data = RadarClips(root=root, frames=Frames(longest=60, shortest=60, unit=60, rate=30.0))
    assert data.audit("main") == []
    account = data.report()
    assert account["counts"]["groups"] == 186
    assert account["folds"]["main"]["test"] == 547
    assert any("paired with the clips by activity, not recorded with them" in note for note in account["notes"])


def test_captions_belong_to_radhar_alone(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["data", "import", "cwru", str(tmp_path), str(tmp_path / "x"), "--captions", "y"])
    assert result.exit_code == 2
    assert "radhar has captions, cwru has none" in result.output
