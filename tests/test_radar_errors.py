"""Whatever can be wrong with clips is a message with file, clip and remedy, or stands in the account by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from typer.testing import CliRunner

from counterpoint.cli import app

BINS = {"range_time": 6, "doppler_time": 4, "azimuth_time": 5}
CLIPS = [f"{number:06d}" for number in range(30)]
PARTS = {"train": CLIPS[:16], "val": CLIPS[16:22], "test": CLIPS[22:]}
Entry = dict[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def views(clip: str, frames: int = 16) -> dict[str, NDArray[np.float32]]:
    """Three views; every clip has values of its own."""
    draw = np.random.default_rng(int(clip))
    return {name: draw.gamma(2.0, 1.0, (bins, frames)).astype(np.float32) for name, bins in BINS.items()}


def entry(clip: str, **changes: Any) -> Entry:
    told = [f"somebody does number {int(clip) % 5}"]
    return {"filefolder": "clips", "fileindex": clip, "captions": told, "label": "ab"[int(clip) % 2]} | changes


def file_of(path: Path, clip: str) -> Path:
    return path.parent / "radar" / "clips" / f"{clip}.npz"


def change(path: Path, part: str, **entries: Entry) -> Path:
    """Other entries of a split file."""
    file = path.parent / "radar" / f"{part}.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A recipe for thirty clips, each of which is well."""
    (tmp_path / "radar" / "clips").mkdir(parents=True)
    for clip in CLIPS:
        np.savez(tmp_path / "radar" / "clips" / f"{clip}.npz", **views(clip))
    for part, clips in PARTS.items():
        (tmp_path / "radar" / f"{part}.json").write_text(json.dumps({clip: entry(clip) for clip in clips}))
    encoder = {"type": "RadarEncoder", "dim": 8, "width": 8, "stride": 4, "kernel": 3, "depth": 0, "heads": 1}
    recipe = {
        "data": {
            "type": "RadarClips",
            "root": str(tmp_path / "radar"),
            "frames": {"longest": 16, "shortest": 8, "unit": 8},
        },
        "encoders": {**dict.fromkeys(BINS, encoder), "text": {"type": "Words", "dim": 8}},
        "fused": list(BINS),
        "objective": {"type": "CLIP", "width": 8},
        "trainer": {"epochs": 1, "batch_size": 8},
        "evaluation": {"evaluators": ["KNN"]},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    return tmp_path / "recipe.yaml"


def asked(command: str, path: Path, *overrides: str, out: Path | None = None) -> Any:
    words = [word for override in overrides for word in ("--set", override)]
    where = [] if out is None else ["--out", str(out)]
    return CliRunner().invoke(app, [command, str(path), "--plugin", "clips_world", *words, *where])


def passed(path: Path, *overrides: str) -> str:
    result = asked("check", path, *overrides)
    assert result.exit_code == 0, result.output
    return str(result.output)


def refused(path: Path, *overrides: str, words: list[str]) -> None:
    """`counterpoint check` complains and `counterpoint train` does so too before it begins; the words are there."""
    run = path.parent / "run"
    for result in (asked("check", path, *overrides), asked("train", path, *overrides, out=run)):
        assert result.exit_code == 1, result.output
        assert isinstance(result.exception, SystemExit)
        assert "Traceback" not in result.output
        for word in words:
            assert word in result.output, result.output
    assert not run.exists()


def counted(path: Path, clip: str, array: str, reason: str) -> None:
    """One clip in thirty is left out and counted; where none may be, its name, its file and the reason are told."""
    assert '"clips": 29' in passed(path)
    assert '"quarantined": 1' in passed(path)
    told = ["1 of 30 recordings cannot be used", f"{clip} ({array}) in {file_of(path, clip)}: {reason}"]
    refused(path, "data.files.quarantine.policy=error", words=[*told, "quarantine: {policy: skip"])


OPTIONAL = "data.captions=optional"


def test_healthy_clips_pass(path: Path) -> None:
    told = passed(path)
    assert '"clips": 30' in told
    assert '"quarantined": 0' in told
    assert "no overlap found" in told


@pytest.mark.parametrize(("part", "named"), [("train", "train"), ("val", "valid"), ("test", "test")])
def test_a_split_without_any_text(path: Path, part: str, named: str) -> None:
    change(path, part, **{clip: entry(clip, captions=[]) for clip in PARTS[part]})
    told = [f"none of the {len(PARTS[part])} rows of {named} has text", "CLIP compares with fused", "caption them"]
    refused(path, OPTIONAL, "evaluation.retrieval={ks: [1]}", words=told)
    if part == "test":
        assert "first batch: loss" in passed(path, OPTIONAL), "nobody looks for sentences there"


def test_a_batch_without_any_text(path: Path) -> None:
    change(path, "train", **{clip: entry(clip, captions=[]) for clip in PARTS["train"][1:]})
    words = ["CLIP: of the 2 rows of a batch no row has 'text'", "enlarge trainer.batch_size"]
    result = asked("train", path, OPTIONAL, "trainer.batch_size=2", out=path.parent / "run")
    assert result.exit_code == 1, result.output
    for word in words:
        assert word in result.output
    assert "Traceback" not in result.output


def test_a_collection_without_any_text(path: Path) -> None:
    for part, clips in PARTS.items():
        change(path, part, **{clip: entry(clip, captions=[]) for clip in clips})
    refused(path, words=["30 of 30 recordings cannot be used", "no caption: its list is empty"])
    refused(path, OPTIONAL, words=[str(path.parent / "radar"), "no clip has a caption", "captions: ignored"])


def test_val_that_is_test(path: Path) -> None:
    (path.parent / "radar" / "val.json").write_bytes((path.parent / "radar" / "test.json").read_bytes())
    words = ["val.json and test.json hold the same 8 clips", "this is no test", "files: {val: null}"]
    refused(path, words=words)
    assert "no overlap found" in passed(path, "data.files.val=null")


def test_an_id_twice(path: Path) -> None:
    change(path, "test", **{CLIPS[3]: entry(CLIPS[3])})
    refused(path, words=["the splits leak", "train and test share 1 of id", CLIPS[3]])


def test_an_id_twice_in_one_file(path: Path) -> None:
    file = path.parent / "radar" / "train.json"
    one = json.dumps(entry(CLIPS[3]))
    file.write_text(file.read_text()[:-1] + f', "{CLIPS[3]}": {one}}}')
    refused(path, words=[str(file), f"'{CLIPS[3]}' stands there twice", "remove one of them"])


def test_a_clip_under_two_ids(path: Path) -> None:
    np.savez_compressed(file_of(path, "000099"), **views(CLIPS[3]))
    change(path, "test", **{"000099": entry("000099")})
    refused(path, words=["the splits leak", "train and test share 1 of content", f"samples of {CLIPS[3]}"])


@pytest.mark.parametrize("captions", [[], ["", "  "], ["#walk/VERB#0.0#0.0"]], ids=["none", "blank", "tags alone"])
def test_captions_that_are_empty(path: Path, captions: list[str]) -> None:
    change(path, "train", **{CLIPS[5]: entry(CLIPS[5], captions=captions)})
    counted(path, CLIPS[5], "text", "no caption: its list is empty; caption it, or set captions: optional")
    assert '"clips": 30, "with range_time": 30' in passed(path, OPTIONAL)
    assert '"with captions": 29' in passed(path, OPTIONAL)


BAD: dict[str, tuple[Arrays, str, str]] = {
    "no view": ({"picture": np.ones((6, 16))}, "clip", "no view: it has none of range_time, doppler_time, azimuth"),
    "views of unequal length": (
        views("000099") | {"doppler_time": np.ones((4, 15))},
        "clip",
        "views of unequal length: range_time 16, doppler_time 15, azimuth_time 16 frames",
    ),
    "a pickled object": (
        views("000099") | {"azimuth_time": np.array([[{}]], dtype=object)},
        "azimuth_time",
        "a pickled object: it is not opened",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_clip_that_cannot_be_used(path: Path, kind: str) -> None:
    arrays, array, reason = BAD[kind]
    np.savez(file_of(path, CLIPS[4]), **arrays)
    counted(path, CLIPS[4], array, reason)


def test_a_clip_cut_short(path: Path) -> None:
    broken = file_of(path, CLIPS[4])
    broken.write_bytes(broken.read_bytes()[:-40])
    counted(path, CLIPS[4], "clip", "unreadable, truncated or no .npz")


def test_damage_that_headers_do_not_show(path: Path) -> None:
    """A flipped byte amid the values: named when it is read, or counted at the start where all is looked at."""
    broken, long = file_of(path, CLIPS[4]), views(CLIPS[4], frames=400)
    np.savez(broken, **long)
    held = bytearray(broken.read_bytes())
    held[held.index(long["range_time"].tobytes()) + long["range_time"].nbytes - 5] ^= 0x10
    broken.write_bytes(held)
    words = [str(broken), f"clip {CLIPS[4]}, range_time: unreadable: Bad CRC-32", "files.check: samples finds such"]
    refused(path, words=words)
    told = passed(path, "data.files.check=samples")
    assert '"clips": 29' in told
    assert '"quarantined": 1' in told


def test_what_a_run_left_out_stands_by_name_in_its_account_and_on_its_page(path: Path) -> None:
    file_of(path, CLIPS[2]).unlink()
    np.savez(file_of(path, CLIPS[17]), **BAD["no view"][0])
    change(path, "test", **{CLIPS[25]: entry(CLIPS[25], captions=[])})
    run = path.parent / "run"
    result = asked("train", path, "data.files.quarantine.max_share=0.2", out=run)
    assert result.exit_code == 0, result.output
    account = json.loads((run / "data.json").read_text())
    assert {(bad["recording"], bad["reason"].split(":")[0]) for bad in account["quarantine"]} == {
        (CLIPS[2], "missing"),
        (CLIPS[17], "no view"),
        (CLIPS[25], "no caption"),
    }
    assert account["folds"]["main"] == {"train": 15, "valid": 5, "test": 7}
    page = (run / "report.html").read_text()
    for clip in (CLIPS[2], CLIPS[17], CLIPS[25]):
        assert file_of(path, clip).name in page
