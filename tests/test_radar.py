"""Radar clips from split files and ``.npz`` to batches: cuts, masks, captions, and what cannot be used."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from counterpoint import config
from counterpoint.data.audit import MEANT, refuse_leaks
from counterpoint.data.base import Data, Draw, Rows
from counterpoint.data.ledger import Quarantine
from counterpoint.data.radar import ClipFiles, Frames, RadarClips, RunViews
from counterpoint.data.radar.frames import cuts
from counterpoint.data.radar.listing import base_of, stripped
from counterpoint.data.radar.normalise import Normalise, normalised, scale_of
from counterpoint.data.splits import ByColumn, GroupedKFold
from counterpoint.recipe import MODULES
from counterpoint.types import Batch, Features, Signal, SignalSpec, Text, TextSpec

Entry = dict[str, Any]
Arrays = dict[str, NDArray[Any]]
BINS = {"range_time": 6, "doppler_time": 4, "azimuth_time": 5}
VIEWS = tuple(BINS)
SHORT = Frames(longest=12, shortest=4, unit=4)
LENIENT = ClipFiles(quarantine=Quarantine(max_share=0.9))


def ramp(frames: int, seed: int) -> Arrays:
    """Views whose every value tells its frame and bin: frame + bin / 16, and a number of the clip."""
    time = np.arange(frames, dtype=np.float32)
    return {name: 100 * seed + np.arange(bins)[:, None] / 16 + time for name, bins in BINS.items()}


def entry(name: str, **more: Any) -> Entry:
    return {"filefolder": "clips", "fileindex": name, "captions": [f"someone does {name}"], **more}


def save(root: Path, name: str, arrays: Mapping[str, Any]) -> Path:
    (root / "clips").mkdir(exist_ok=True)
    np.savez(root / "clips" / f"{name}.npz", **arrays)
    return root / "clips" / f"{name}.npz"


def listed(root: Path, **parts: dict[str, Entry]) -> None:
    for part, entries in parts.items():
        (root / f"{part}.json").write_text(json.dumps(entries), encoding="utf-8")


def world(root: Path, frames: Mapping[str, int] | None = None) -> Path:
    """Six clips to train on, two to choose by, two to test on; 12 frames each where nothing else is said."""
    parts = {"train": range(6), "val": range(6, 8), "test": range(8, 10)}
    for part, numbers in parts.items():
        names = [f"{number:06d}" for number in numbers]
        for name in names:
            save(root, name, ramp((frames or {}).get(name, 12), int(name) + 1))
        listed(root, **{part: {name: entry(name, label="odd" if int(name) % 2 else "even") for name in names}})
    return root


def made(root: Path, **changes: Any) -> RadarClips:
    chosen: dict[str, Any] = {"frames": SHORT, "normalise": "none"} | changes
    return RadarClips(root=root, **chosen)


def whole(rows: Rows, epoch: int = 0) -> Batch:
    return rows.__getitems__([Draw(row, 1000 * epoch + row) for row in range(len(rows))])


def signal(batch: Batch, name: str, view: int = 0) -> Signal:
    found = batch.views[view][name]
    assert isinstance(found, Signal)
    return found


def mask_of(batch: Batch, name: str, view: int = 0) -> torch.Tensor:
    mask = signal(batch, name, view).mask
    assert mask is not None
    return mask


def sentences(batch: Batch, view: int = 0) -> tuple[str, ...]:
    found = batch.views[view]["text"]
    assert isinstance(found, Text)
    return found.sentences


def starts(batch: Batch, data: Data, fold: str = "main") -> dict[str, list[int]]:
    """First frame each view of each row was cut at, told from the ramps, standardisation undone."""
    assert isinstance(data, RadarClips)
    found = {}
    for name in VIEWS:
        scale = data._scale(fold, name)
        values = signal(batch, name).values.numpy() * scale.divisor + scale.offset
        found[name] = [round(float(row[0, 0])) % 100 for row in values]
    return found


def rejections(data: RadarClips) -> dict[str, tuple[str, str]]:
    return {one["recording"]: (one["modality"], one["reason"]) for one in data.report()["quarantine"]}


def test_clips_become_views_and_text(tmp_path: Path) -> None:
    data = made(world(tmp_path), frames=Frames(longest=12, shortest=4, unit=4, rate=25.0))
    assert data.specs == {name: SignalSpec(bins, 12, 25.0) for name, bins in BINS.items()} | {"text": TextSpec(3)}
    assert data.classes == ("even", "odd")
    batch = whole(data.evaluation("main", "test"))
    assert [data.names[i] for i in batch.ids] == ["000008", "000009"]
    assert batch.labels.tolist() == [0, 1]
    assert sentences(batch) == ("someone does 000008", "someone does 000009")
    train = np.concatenate([ramp(12, number + 1)["doppler_time"] for number in range(6)], 1)
    spread = np.maximum(train.std(1), 0.3 * train.std())
    for row, number in enumerate((8, 9)):
        expected = ((ramp(12, number + 1)["doppler_time"].T - train.mean(1)) / spread).astype(np.float32)
        np.testing.assert_allclose(signal(batch, "doppler_time").values[row].numpy(), expected, rtol=1e-5)
    account = data.report()
    assert account["folds"] == {"main": {"train": 6, "valid": 2, "test": 2}}
    assert account["counts"]["with azimuth_time"] == account["counts"]["with captions"] == 10
    assert account["simulated"] is False
    assert data.audit("main") == []
    json.dumps(account)


def test_a_recipe_builds_it(tmp_path: Path) -> None:
    assert "counterpoint.data.radar.data" in MODULES
    assert config.find("RadarClips", [Data]) is RadarClips


def test_all_views_of_a_clip_are_cut_at_one_place_that_its_key_draws(tmp_path: Path) -> None:
    data = made(world(tmp_path, {f"{n:06d}": 40 + n for n in range(10)}))
    rows = data.training("main", "train")
    seen = set()
    for epoch in range(12):
        batch = whole(rows, epoch)
        found = starts(batch, data)
        assert found["range_time"] == found["doppler_time"] == found["azimuth_time"]
        assert mask_of(batch, "range_time").shape == (6, 12)
        seen |= set(found["range_time"])
    assert min(seen) < 4
    assert max(seen) > 24
    assert len(seen) > 15
    draws = [Draw(4, 77), Draw(1, 78)]
    forth, back = rows.__getitems__(draws), rows.__getitems__(draws[::-1])
    for name in VIEWS:
        assert torch.equal(signal(forth, name).values, signal(back, name).values.flip(0))
    assert starts(whole(data.evaluation("main", "train")), data)["range_time"] == [(40 + n - 12) // 2 for n in range(6)]


def test_two_views_of_a_clip_are_cut_on_their_own(tmp_path: Path) -> None:
    data = made(world(tmp_path, {f"{n:06d}": 60 for n in range(10)}), training=RunViews(count=2))
    batch = whole(data.training("main", "train"))
    assert len(batch.views) == 2
    assert not torch.equal(signal(batch, "range_time").values, signal(batch, "range_time", 1).values)


@settings(max_examples=200, deadline=None)
@given(
    unit=st.integers(1, 20),
    low=st.integers(1, 6),
    more=st.integers(0, 20),
    recorded=st.lists(st.integers(0, 500), min_size=1, max_size=20),
    keys=st.integers(0, 2**62),
)
def test_cuts_lie_in_the_clip_and_hang_on_its_key_alone(
    unit: int, low: int, more: int, recorded: list[int], keys: int
) -> None:
    frames = Frames(longest=unit * (low + more), shortest=unit * low, unit=unit)
    lengths = np.array(recorded, dtype=np.int64) + frames.shortest
    own = keys % 2**40 + np.arange(len(lengths))
    for drawn in (own, None):
        found = cuts(lengths, frames, drawn)
        assert (found.starts >= 0).all()
        assert (found.starts + found.lengths <= lengths).all()
        assert (found.lengths % unit == 0).all()
        assert (found.lengths >= frames.shortest).all()
        assert (found.lengths <= frames.longest).all()
        # Nothing is cut away that could have stayed.
        assert ((lengths - found.lengths < unit) | (found.lengths == frames.longest)).all()
    alone = [int(cuts(lengths[[at]], frames, own[[at]]).starts[0]) for at in range(len(lengths))]
    assert alone == cuts(lengths, frames, own).starts.tolist()


def test_every_place_of_a_cut_is_as_likely() -> None:
    found = cuts(np.full(20_000, 21, dtype=np.int64), Frames(longest=16, shortest=16, unit=16), np.arange(20_000))
    counts = np.bincount(found.starts, minlength=6)
    assert len(counts) == 6
    assert np.abs(counts / 20_000 - 1 / 6).max() < 0.012


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shortest": 97}, "frames.shortest is 97; it is a multiple of frames.unit, 16"),
        ({"longest": 100}, "frames.longest is 100"),
        ({"longest": 48}, "frames.longest is 48, below frames.shortest, 96"),
        ({"unit": 0}, "frames.unit is 0"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Frames(**changes)


def test_shorter_clips_are_padded_under_a_mask(tmp_path: Path) -> None:
    data = made(world(tmp_path, {"000008": 5, "000009": 11}))
    batch = whole(data.evaluation("main", "test"))
    for name in VIEWS:
        assert mask_of(batch, name).sum(1).tolist() == [4, 8]
        assert signal(batch, name).values.shape == (2, 8, BINS[name])
        assert not signal(batch, name).values[0, 4:].any()
        assert signal(batch, name).values[0, :4].all()
    alone = data.evaluation("main", "test").__getitems__([Draw(0, 0)])
    assert torch.equal(signal(alone, "range_time").values[0], signal(batch, "range_time").values[0, :4])


def test_a_view_that_a_clip_lacks_is_a_mask(tmp_path: Path) -> None:
    root = world(tmp_path)
    save(root, "000009", {"doppler_time": ramp(12, 10)["doppler_time"]})
    data = made(root)
    batch = whole(data.evaluation("main", "test"))
    assert [mask_of(batch, name).any(1).tolist() for name in VIEWS] == [[True, False], [True, True], [True, False]]
    assert not signal(batch, "range_time").values[1].any()
    assert data.report()["counts"]["with range_time"] == 9
    (view,) = made(root, views=["doppler_time"]).evaluation("main", "test").__getitems__([Draw(1, 0)]).views
    assert list(view) == ["doppler_time", "text"]


def test_training_hides_views_by_key_and_never_all(tmp_path: Path) -> None:
    root = world(tmp_path)
    save(root, "000002", {name: ramp(12, 3)[name] for name in VIEWS[:2]})
    data = made(root, training=RunViews(modality_dropout=0.6))
    shown = []
    for epoch in range(80):
        batch = whole(data.training("main", "train"), epoch)
        masks = torch.stack([mask_of(batch, name).any(1) for name in VIEWS], 1)
        assert masks.any(1).all()
        assert not masks[2, 2]
        assert all(sentences(batch))
        shown.append(masks)
    share = torch.stack(shown)[:, [0, 1, 3, 4, 5]].float().mean()
    assert 0.42 < share < 0.53  # 0.4, and the rows that kept their last one: 0.4 + 0.6**3 / 3 = 0.472
    again = whole(data.training("main", "train"), 79)
    assert torch.equal(torch.stack([mask_of(again, name).any(1) for name in VIEWS], 1), shown[-1])
    assert mask_of(whole(data.evaluation("main", "valid")), "range_time").all()


def test_captions_lose_their_tags_and_are_drawn_by_key(tmp_path: Path) -> None:
    root = world(tmp_path)
    tagged = [
        "a man  walks.#a/DET man/NOUN walk/VERB#0.0#0.0",
        "he goes\n slowly#he/PRON go/VERB#1.5#3.0",
        " #x/NOUN#0#0",
    ]
    listed(root, train={f"{n:06d}": entry(f"{n:06d}", captions=tagged) for n in range(6)})
    data = made(root)
    assert sentences(whole(data.evaluation("main", "train"))) == ("a man walks.",) * 6
    drawn = [sentences(whole(data.training("main", "train"), epoch)) for epoch in range(20)]
    assert {one for some in drawn for one in some} == {"a man walks.", "he goes slowly"}
    assert 40 < sum(one == "a man walks." for some in drawn for one in some) < 80
    assert sentences(whole(data.training("main", "train"), 3)) == drawn[3]


@given(st.text(st.characters(exclude_characters="#")), st.text())
def test_what_is_left_of_a_caption(sentence: str, tail: str) -> None:
    assert stripped(f"{sentence}#{tail}") == stripped(sentence) == " ".join(sentence.split())


def test_empty_captions_are_refused_or_rows_without_text(tmp_path: Path) -> None:
    root = world(tmp_path)
    listed(root, test={"000008": entry("000008", captions=["#a/DET#0.0#0.0"]), "000009": entry("000009")})
    with pytest.raises(ValueError, match=r"(?s)1 of 10 .*000008 \(text\).*no caption: its list is empty"):
        made(root, files=ClipFiles(quarantine=Quarantine(policy="error")))
    assert rejections(made(root, files=LENIENT))["000008"][0] == "text"
    assert sentences(whole(made(root, captions="optional").evaluation("main", "test"))) == ("", "someone does 000009")
    ignored = made(root, captions="ignored")
    assert "text" not in ignored.specs
    assert "text" not in whole(ignored.evaluation("main", "test")).views[0]
    listed(root, test={"000008": entry("000008", captions=[3]), "000009": entry("000009")})
    assert "no list of texts" in rejections(made(root, files=LENIENT))["000008"][1]
    for part, numbers in {"train": range(6), "val": (6, 7), "test": (8, 9)}.items():
        listed(root, **{part: {f"{n:06d}": entry(f"{n:06d}", captions=[]) for n in numbers}})
    with pytest.raises(ValueError, match="no clip has a caption; set captions: ignored"):
        made(root, captions="optional")


def test_val_and_test_that_are_the_same_are_no_test(tmp_path: Path) -> None:
    root = world(tmp_path)
    (root / "test.json").write_text((root / "val.json").read_text(), encoding="utf-8")
    (found,) = made(root).audit("main")
    assert found.startswith("val.json and test.json hold the same 2 clips")
    assert "no test" in found
    mended = made(root, files=ClipFiles(val=None))
    assert mended.audit("main") == []
    assert mended.report()["folds"]["main"] == {"train": 5, "valid": 1, "test": 2}
    (root / "val.json").unlink()
    assert made(root).report()["folds"]["main"] == {"train": 5, "valid": 1, "test": 2}


@pytest.mark.filterwarnings("ignore:The least populated class")
def test_what_two_splits_share_is_found(tmp_path: Path) -> None:
    root = world(tmp_path)
    save(root, "M000001", ramp(12, 50))
    np.savez_compressed(root / "clips" / "000009.npz", **ramp(12, 3))
    known = {"000009": entry("000009"), "M000001": entry("M000001"), "000003": entry("000003")}
    listed(root, test=known)
    data = made(root)
    assert data.audit("main") == [
        "train and test share 1 of id over 2 recordings: 000003",
        "train and test share 2 of group over 4 recordings: 000001, 000003",
        "train and test share 2 of content over 4 recordings: samples of 000002, samples of 000003",
    ]
    with pytest.raises(ValueError, match=r"the splits leak(?s:.*)000001, 000003"):
        refuse_leaks(data)
    meant = made(root, split=ByColumn(column="split", shared_groups="report"))
    assert [MEANT in sentence for sentence in meant.audit("main")] == [False, True, False]
    folds = made(root, split=GroupedKFold(folds=3, seed=1))
    assert len(folds.names) == 10
    for fold in folds.folds:
        parts = [set(folds.evaluation(fold, part).groups.tolist()) for part in ("train", "test")]
        assert not parts[0] & parts[1]


def test_mirrored_clips_are_of_the_group_of_what_they_mirror(tmp_path: Path) -> None:
    assert [base_of(name) for name in ("M000012", "000012", "Mary", "MM1")] == ["000012", "000012", "Mary", "MM1"]
    root = world(tmp_path)
    for name in ("M000000", "M000001", "M000002"):
        save(root, name, ramp(12, 60 + int(name[1:])))
    listed(
        root,
        train={f"{n:06d}": entry(f"{n:06d}", **({"group": "anna"} if n == 0 else {})) for n in range(6)}
        | {"M000000": entry("M000000"), "M000001": entry("M000001"), "M000002": entry("M000002", group="other")},
    )
    data = made(root)
    rows = data.evaluation("main", "train")
    groups = dict(zip([data.names[i] for i in rows.ids], rows.groups.tolist(), strict=True))
    assert groups["M000000"] == groups["000000"]
    assert groups["M000001"] == groups["000001"]
    assert groups["M000002"] != groups["000002"]
    assert len(set(groups.values())) == 7


BAD: dict[str, tuple[Any, str, str]] = {
    "an object": ({"range_time": np.array([[{}]])}, "range_time", "a pickled object: it is not opened"),
    "complex": ({"range_time": np.ones((6, 12), complex)}, "range_time", "wrong type: complex128"),
    "text": ({"range_time": np.full((6, 12), "a")}, "range_time", "wrong type: <U1"),
    "a vector": ({"range_time": np.ones(12)}, "range_time", r"wrong shape: (12,), where a view is (bins, frames)"),
    "nothing": ({"range_time": np.ones((6, 0))}, "range_time", "wrong shape: (6, 0)"),
    "other bins": ({"range_time": np.ones((7, 12))}, "range_time", "another number of bins: 7 by 12, where 6 bins"),
    "short": ({"range_time": np.ones((6, 3))}, "clip", "too short: 3 frames, and frames.shortest is 4"),
    "unequal": (
        {"range_time": np.ones((6, 12)), "doppler_time": np.ones((4, 11))},
        "clip",
        "views of unequal length: range_time 12, doppler_time 11 frames",
    ),
    "no view": ({"other": np.ones((6, 12))}, "clip", "no view: it has none of range_time, doppler_time, azimuth_time"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.filterwarnings("ignore:.*ComplexWarning")
def test_a_clip_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    arrays, array, reason = BAD[kind]
    root = world(tmp_path)
    path = save(root, "000004", arrays)
    data = made(root, files=LENIENT)
    modality, told = rejections(data)["000004"]
    assert modality == array
    assert reason in told
    assert len(data.names) == 9
    with pytest.raises(ValueError, match="1 of 10 recordings cannot be used") as refused:
        made(root)
    assert "000004" in str(refused.value)
    assert str(path) in str(refused.value)


def test_files_that_are_gone_cut_short_or_no_archive_are_named(tmp_path: Path) -> None:
    root = world(tmp_path)
    paths = [root / "clips" / f"{n:06d}.npz" for n in range(5)]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-30])
    paths[2].write_bytes(b"")
    paths[3].write_bytes(pickle.dumps({"range_time": [1.0]}))
    found = rejections(made(root, files=LENIENT))
    assert found["000000"] == ("clip", "missing: no such file")
    for name in ("000001", "000002", "000003"):
        assert found[name][1].startswith("unreadable, truncated or no .npz"), found[name]


def test_values_that_are_no_magnitudes_are_found_by_looking_or_at_reading(tmp_path: Path) -> None:
    root = world(tmp_path)
    bad = [ramp(12, 1) for _ in range(3)]
    bad[0]["doppler_time"][2, 5] = np.nan
    bad[1]["range_time"][1, 7] = np.inf
    bad[2]["azimuth_time"][0, 0] = -3.5
    paths = [save(root, f"{n:06d}", arrays) for n, arrays in enumerate(bad)]
    held = paths[2].read_bytes()
    files = ClipFiles(check="samples", quarantine=Quarantine(max_share=0.9))
    found = rejections(made(root, files=files))
    assert found["000000"] == ("doppler_time", "not finite: 1 of 48 values, first at bin 2, frame 5")
    assert found["000001"] == ("range_time", "not finite: 1 of 72 values, first at bin 1, frame 7")
    assert found["000002"][1].startswith("below 0: -3.5 is no magnitude")
    with pytest.raises(ValueError, match=r"000001\.npz: clip 000001, range_time: not finite.*files\.check: samples"):
        made(root).evaluation("main", "train")
    at = held.index(bad[2]["azimuth_time"].dtype.type(-3.5).tobytes())
    paths[2].write_bytes(held[:at] + b"\x01" + held[at + 1 :])
    assert "Bad CRC-32" in rejections(made(root, files=files))["000002"][1]


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    root = world(tmp_path)
    save(root, "000004", {"range_time": np.array([[Trap()]], dtype=object)})
    made(root, files=ClipFiles(check="samples", quarantine=Quarantine(max_share=0.9)))
    assert not (tmp_path / "sprung").exists()


def test_split_files_that_cannot_be_meant_are_refused(tmp_path: Path) -> None:
    root = world(tmp_path)
    one = json.dumps(entry("000008"))
    (root / "test.json").write_text(f'{{"000008": {one}, "000009": {one}, "000008": {one}}}')
    with pytest.raises(ValueError, match=r"test\.json: '000008' stands there twice"):
        made(root)
    listed(root, test={"000008": entry("000008"), "x": entry("000008")})
    with pytest.raises(ValueError, match=r"clips 000008 \(of test\.json\) and x are both of .*000008\.npz"):
        made(root)
    listed(root, test={"000008": entry("000008", filefolder="../..")})
    with pytest.raises(ValueError, match="clips stay under"):
        made(root)
    listed(root, test={"000008": entry("000008", label=["a"])})
    with pytest.raises(ValueError, match=r"clip 000008: label is \['a'\]"):
        made(root)
    for text, words in (("[]", "no clips"), ('{"a": 3}', "clip 'a' is 3"), ("{", "test.json: Expecting")):
        (root / "test.json").write_text(text)
        with pytest.raises(ValueError, match=words):
            made(root)
    (root / "test.json").unlink()
    with pytest.raises(ValueError, match=r"test\.json: no such file; the folder has train\.json, val\.json"):
        made(root)
    assert made(root, files=ClipFiles(test=None), split=GroupedKFold(folds=2)).folds == ("part=1", "part=2")


def test_a_view_that_no_clip_has_and_doubled_views_are_refused(tmp_path: Path) -> None:
    root = world(tmp_path)
    for number in range(10):
        save(root, f"{number:06d}", {"range_time": ramp(12, number)["range_time"]})
    with pytest.raises(ValueError, match="no clip has doppler_time, azimuth_time; leave it out of views"):
        made(root)
    with pytest.raises(ValueError, match="give each once"):
        made(root, views=["range_time", "range_time"])
    with pytest.raises(ValueError, match="give each once"):
        made(root, views=[])


def test_clips_beside_their_split_files_are_found_by_id(tmp_path: Path) -> None:
    root = world(tmp_path)
    for number in (8, 9):
        (root / "clips" / f"{number:06d}.npz").rename(root / f"{number:06d}.npz")
    listed(root, test={"000008": {"captions": "one"}, "000009": entry("000009")})
    data = made(root)
    assert data.report()["folds"]["main"]["test"] == 2
    assert data.evaluation("main", "test").labels.tolist() == [-1, -1]
    assert sentences(whole(data.evaluation("main", "test")))[0] == "one"


@pytest.mark.parametrize("how", ["log1p", "log10_max", "per_frame", "none"])
def test_scales_are_what_they_are_said_to_be(how: Normalise) -> None:
    x = np.random.default_rng(0).gamma(0.3, 50.0, (6, 30))
    x[:, 3] = 0
    x[2, 4] = 0
    y = normalised(x, how)
    assert y.shape == (30, 6)
    for frame in range(30):
        for place in range(6):
            value = float(x[place, frame])
            top = {"log10_max": x.max(), "per_frame": x[:, frame].max()}.get(how, 1.0)
            decibels = 20 * np.log10(value / top) if value > 0 else -np.inf
            expected = {"log1p": np.log(1 + value), "none": value}.get(how, max(0.0, 1 + decibels / 80))
            assert y[frame, place] == pytest.approx(expected, rel=1e-3, abs=1e-3)
    if how in {"log10_max", "per_frame"}:
        np.testing.assert_allclose(normalised(x * 1e-6, how), y, atol=1e-3)
    assert not normalised(np.zeros((2, 3)), how).any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 2**31))
def test_bins_are_standardised_as_if_all_clips_were_one(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    clips = [rng.normal(5.0, [2.0, 1.0, 0.01], (length, 3)) for length in lengths]
    scale, joined = scale_of(clips, 3), np.concatenate(clips)
    np.testing.assert_allclose(scale.offset, joined.mean(0), rtol=1e-6)
    if len(joined) > 1:
        np.testing.assert_allclose(scale.divisor, np.maximum(joined.std(0), 0.3 * joined.std()), rtol=1e-5)
    assert np.isinf(scale_of([np.ones((4, 2))], 2).divisor).all()


def test_memory_changes_nothing_but_the_number_of_readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterpoint.data.radar import store

    root, read, calls = world(tmp_path), store.read, list[str]()
    monkeypatch.setattr(store, "read", lambda path, name: calls.append(name) or read(path, name))
    batches, counts = [], []
    for memory in (2048, 0):
        data = made(root, normalise="log1p", files=ClipFiles(memory=memory))
        calls.clear()
        batches += [whole(data.evaluation("main", "train")) for _ in range(3)]
        counts.append(len(calls))
    assert counts == [18, 18 + 3 * 18]
    for batch in batches[1:]:
        assert torch.equal(signal(batch, "range_time").values, signal(batches[0], "range_time").values)


def test_some_views_alone_are_scaled_as_among_all(tmp_path: Path) -> None:
    root = world(tmp_path)
    save(root, "000009", {"doppler_time": ramp(12, 10)["doppler_time"]})
    data = made(root)
    seen = data.only(["range_time"], ["text"])
    assert list(seen.specs) == ["range_time", "text"]
    batch = whole(seen.evaluation("main", "test"))
    assert [data.names[i] for i in batch.ids] == ["000008"]
    assert list(batch.views[0]) == ["range_time", "text"]
    assert torch.equal(
        signal(batch, "range_time").values, signal(whole(data.evaluation("main", "test")), "range_time").values[:1]
    )
    assert seen.report()["counts"]["left out"] == 1
    assert list(data.only(["text"]).evaluation("main", "test").__getitems__([Draw(0, 0)]).views[0]) == ["text"]


def test_features_of_clips_can_be_cached_where_nothing_is_drawn(tmp_path: Path) -> None:
    root = world(tmp_path, {"000003": 40})
    data = made(root)
    rows = data.evaluation("main", "train")
    bare = whole(rows.without(["range_time", "text"]))
    for name in ("range_time", "text"):
        shown = bare.views[0][name]
        assert isinstance(shown, Features)
        assert shown.mask.all()
    assert torch.equal(signal(bare, "azimuth_time").values, signal(whole(rows), "azimuth_time").values)
    recorded = rows.recorded("range_time", [3, 0])
    assert isinstance(recorded, Signal)
    assert torch.equal(recorded.values, signal(whole(rows), "range_time").values[[3, 0]])
    assert len(set(rows.content("range_time"))) == len(set(rows.content("text"))) == 6
    assert made(root, normalise="log1p").evaluation("main", "train").content("range_time") != rows.content("range_time")
    with pytest.raises(ValueError, match="training crops clips at random, so features of range_time"):
        data.training("main", "train").without(["range_time"])
    assert data.training("main", "train").without(["text"]).content("text") == rows.content("text")
    with pytest.raises(ValueError, match="no modality 'sound'"):
        rows.content("sound")
