"""The cache of frozen features: what it returns, what it is keyed by, and what it survives."""

from __future__ import annotations

import errno
import hashlib
import logging
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cached_world import NAMES, SPEC, ArrayData, Arrays, Toy, write
from counterpoint import config
from counterpoint.cache import CachedRows, DamagedRecord, Record, Records, cached
from counterpoint.data.base import Draw
from counterpoint.data.features.dropout import RunViews
from counterpoint.data.labelling import Labelling
from counterpoint.data.sampling import PassSampler, loader
from counterpoint.data.weld.medium import Medium, Recorded
from counterpoint.data.weld.sensor import SensorConfig, SensorFiles
from counterpoint.data.weld.views import RunFiles, WeldRows, scale_of
from counterpoint.embed import Subset
from counterpoint.encoders.base import Encoder
from counterpoint.encoders.pretrained.base import Inference
from counterpoint.evaluation import Evaluation
from counterpoint.objectives import InfoNCE
from counterpoint.recipe import Recipe, train_cell
from counterpoint.settings import Monitor, Trainer, Transfer
from counterpoint.transfer import transfer_cell
from counterpoint.types import Batch, Features, ImageSpec, Signal
from toys import Tones

RECORDINGS = 6


def toys(**settings: Any) -> dict[str, Encoder]:
    return {name: Toy(SPEC, **settings) for name in NAMES}


def everything(rows: Any) -> Batch:
    return rows.__getitems__([Draw(row, row) for row in range(len(rows))])


def fresh(rows: Arrays, encoder: Encoder, name: str) -> Features:
    """What the backbone makes of all rows, without any cache."""
    assert isinstance(encoder, Toy)
    return encoder.backbone(rows.recorded(name, list(range(len(rows)))))


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.features"))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return write(tmp_path / "data", RECORDINGS)


def test_float32_records_are_the_features_and_float16_ones_are_within_half_a_step(world: Path, tmp_path: Path) -> None:
    encoders = toys()
    for dtype, relative, absolute in (("float32", 0.0, 0.0), ("float16", 2.0**-11, 2.0**-25)):
        rows = cached(Arrays(world, RECORDINGS), encoders, tmp_path / "cache", batch_size=4, dtype=dtype)  # type: ignore[arg-type]
        view = everything(rows).views[0]
        for name in NAMES:
            held, expected = view[name], fresh(Arrays(world, RECORDINGS), encoders[name], name)
            assert isinstance(held, Features)
            assert held.tokens.dtype == getattr(torch, dtype)
            error = (held.tokens.float() - expected.tokens).abs()
            # A product of matrices may round otherwise in a batch of another size: hence a millionth.
            assert (error <= relative * expected.tokens.abs() + absolute + 1e-6).all()
            assert torch.equal(held.mask, expected.mask)
            assert dtype == "float32" or error.max() > 1e-5, "float16 rounds, and the bound above would not show it"


def test_the_second_time_nothing_is_decoded_or_encoded(world: Path, tmp_path: Path) -> None:
    first = cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    encoders, rows = toys(), Arrays(world, RECORDINGS)
    again = cached(rows, encoders, tmp_path / "cache", batch_size=4)
    rows.decoded.clear()  # one recording a modality is looked at for random changes
    for name in NAMES:
        a, b = everything(first).views[0][name], everything(again).views[0][name]
        assert isinstance(a, Features)
        assert torch.equal(a.tokens, b[0])
    assert rows.decoded == []
    assert sum(encoder.encoded for encoder in encoders.values() if isinstance(encoder, Toy)) == 0
    assert len(files(tmp_path / "cache")) == RECORDINGS * len(NAMES)


def test_a_trained_encoder_and_a_plain_one_go_on_reading_the_modality(world: Path, tmp_path: Path) -> None:
    encoders: dict[str, Encoder] = {"vibration": Toy(SPEC), "sound": Toy(SPEC, unfreeze=1)}
    rows = cached(Arrays(world, RECORDINGS), encoders, tmp_path / "cache", batch_size=4)
    view = everything(rows).views[0]
    assert isinstance(view["vibration"], Features)
    assert isinstance(view["sound"], Signal)
    own = Arrays(world, RECORDINGS)
    assert cached(own, {"sound": encoders["sound"]}, tmp_path / "other", batch_size=4) is own
    assert not (tmp_path / "other").exists()


def test_modality_dropout_and_absence_hide_the_same_rows_as_without_a_cache(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", 40, without={"sound": tuple(range(0, 40, 5))})
    views = RunViews(count=2, modality_dropout=0.5)
    plain, encoders = Arrays(folder, 40, views), toys()
    rows = cached(Arrays(folder, 40, views), encoders, tmp_path / "cache", batch_size=16)
    read, kept = everything(plain), everything(rows)
    hidden = 0
    for view, other in zip(read.views, kept.views, strict=True):
        for name in NAMES:
            encoder = encoders[name]
            expected, found = encoder(view[name]), encoder(other[name])
            assert torch.equal(expected.mask, found.mask)
            assert torch.allclose(expected.pooled, found.pooled, atol=2e-3)
            hidden += int((~found.mask.any(1)).sum())
    assert 40 < hidden < 100, "dropout hides about two in five, besides what is absent"
    assert not torch.equal(kept.views[0]["sound"][1], kept.views[1]["sound"][1])  # type: ignore[arg-type]
    for column in ("labels", "groups", "domains", "ids"):
        assert torch.equal(getattr(read, column), getattr(kept, column))


def test_a_missing_modality_is_one_record_that_nothing_was_run_for(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", RECORDINGS, without={"sound": (1, 4)})
    encoder = Toy(SPEC)
    rows = cached(Arrays(folder, RECORDINGS), {"sound": encoder}, tmp_path / "cache", batch_size=2)
    held = everything(rows).views[0]["sound"]
    assert isinstance(held, Features)
    assert (~held.mask.any(1)).nonzero().flatten().tolist() == [1, 4]
    assert (held.tokens[[1, 4]] == 0).all()
    assert encoder.encoded == RECORDINGS - 2
    assert len(files(tmp_path / "cache")) == RECORDINGS - 1
    # All rows missing, and another length: nothing of the first record may be taken for it.
    nothing = write(tmp_path / "none", 2, without=dict.fromkeys(NAMES, (0, 1)))
    alone = cached(Arrays(nothing, 2, length=8), {"sound": encoder}, tmp_path / "cache", batch_size=2)
    assert everything(alone).views[0]["sound"][1].tolist() == [[False] * 4] * 2  # type: ignore[union-attr]


def changed_weight(encoder: Toy) -> None:
    with torch.no_grad():
        weight = encoder.model.first.weight  # type: ignore[union-attr]
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))  # type: ignore[index, operator]


MUTATIONS: dict[str, tuple[dict[str, Any], float, int]] = {
    "nothing": ({}, 1.0, 0),
    "other weights": ({"seed": 1}, 1.0, RECORDINGS),
    "one weight by one unit in the last place": ({}, 1.0, RECORDINGS),
    "preprocessing": ({"offset": 0.5}, 1.0, RECORDINGS),
    "pooling": ({"pooling": 3}, 1.0, RECORDINGS),
    "arithmetic": ({"inference": Inference(dtype="bfloat16")}, 1.0, RECORDINGS),
    "chunk": ({"inference": Inference(chunk=2)}, 1.0, 0),
    "width of the projection": ({"dim": 7}, 1.0, 0),
    "how the recording is read": ({}, 2.0, RECORDINGS),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_what_decides_the_features_decides_the_key_and_nothing_else(name: str, world: Path, tmp_path: Path) -> None:
    change, gain, computed = MUTATIONS[name]
    cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4, dtype="float32")
    encoder = Toy(SPEC, **change)
    if name.startswith("one weight"):
        changed_weight(encoder)
    source = Arrays(world, RECORDINGS, gain=gain)
    rows = cached(source, {"sound": encoder}, tmp_path / "cache", batch_size=4, dtype="float32")
    assert encoder.encoded == computed
    held, expected = everything(rows).views[0]["sound"], fresh(source, encoder, "sound")
    assert torch.allclose(held[0], expected.tokens, atol=1e-6)
    assert torch.equal(held[1], expected.mask)  # type: ignore[arg-type]


def mutate_file(path: Path) -> None:
    values = np.load(path)
    values[0, 0] += 1
    np.save(path, values)


def test_a_changed_file_alone_is_computed_again_and_exchanged_files_take_their_features_along(
    world: Path, tmp_path: Path
) -> None:
    cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    mutate_file(world / "sound-2.npy")
    first, second, third = (world / f"sound-{at}.npy" for at in (0, 1, 9))
    first.rename(third), second.rename(first), third.rename(second)
    encoder, source = Toy(SPEC), Arrays(world, RECORDINGS)
    rows = cached(source, {"sound": encoder}, tmp_path / "cache", batch_size=4)
    assert encoder.encoded == 1
    held = everything(rows).views[0]["sound"][0]
    assert torch.allclose(held.float(), fresh(source, encoder, "sound").tokens, atol=2e-3)


def test_control_keys_made_of_names_alone_would_give_stale_features(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Arrays, "content", lambda rows, name: [f"{name}-{at}" for at in range(len(rows))])
    cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    mutate_file(world / "sound-2.npy")
    encoder, source = Toy(SPEC), Arrays(world, RECORDINGS)
    rows = cached(source, {"sound": encoder}, tmp_path / "cache", batch_size=4)
    assert encoder.encoded == 0
    held = everything(rows).views[0]["sound"][0]
    assert not torch.allclose(held.float(), fresh(source, encoder, "sound").tokens, atol=2e-3)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    records = Records(tmp_path)
    key = records.key("encoder", "file")
    written = Record(torch.randn(3, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([True, True, False]))
    records.write(key, written)
    whole = records.path(key).read_bytes()
    random = np.random.default_rng(0)
    silent, begin = 0, whole.index(b"}") + 1
    for bit in random.choice(8 * len(whole), 300, replace=False).tolist():
        records.path(key).write_bytes(flipped(whole, bit))
        with pytest.raises(DamagedRecord, match=key):
            records.read(key)
    for bit in random.choice(np.arange(8 * (begin + 3), 8 * len(whole) - 80), 20, replace=False).tolist():
        # Control: the same flips where the checksum is made to fit, as if there were none.
        body = flipped(whole, bit)[40:]
        records.path(key).write_bytes(whole[:8] + hashlib.sha256(body).digest() + body)
        silent += not torch.equal(records.read(key).tokens, written.tokens.half())
    assert silent == 20
    records.path(key).write_bytes(whole)
    assert torch.equal(records.read(key).mask, written.mask)


def test_damaged_truncated_exchanged_and_lost_records_are_named_counted_and_computed_again(
    world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, encoder = tmp_path / "cache", Toy(SPEC)
    rows = cached(Arrays(world, RECORDINGS), {"sound": encoder}, folder, batch_size=4)
    assert isinstance(rows, CachedRows)
    before = everything(rows).views[0]["sound"][0]
    whole = {path: path.read_bytes() for path in files(folder)}
    one, two, three, four, five, _ = whole
    one.write_bytes(flipped(whole[one], 8 * len(whole[one]) - 4))
    two.write_bytes(whole[two][:-1])
    three.write_bytes(b"")
    four.write_bytes(whole[five])
    five.unlink()
    with caplog.at_level(logging.WARNING, "counterpoint"):
        after = everything(rows).views[0]["sound"][0]
    assert torch.equal(before, after)
    assert rows.rebuilt == 5
    said = [record.getMessage() for record in caplog.records]
    assert all(sum(str(path) in line and "sound of recording" in line for line in said) == 1 for path in (one, five))
    assert {path: path.read_bytes() for path in files(folder)} == whole
    everything(rows)
    assert rows.rebuilt == 5
    assert encoder.encoded == RECORDINGS + 5


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.nightly)])
def test_every_flipped_bit_is_mended_while_reading(
    count: int, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda file: None)  # nothing here is about a loss of power
    rows = cached(Arrays(world, RECORDINGS), {"sound": Toy(SPEC)}, tmp_path / "cache", batch_size=RECORDINGS)
    assert isinstance(rows, CachedRows)
    before, paths = everything(rows).views[0]["sound"][0], files(tmp_path / "cache")
    random = np.random.default_rng(1)
    for _ in range(count):
        path = paths[random.integers(len(paths))]
        data = path.read_bytes()
        path.write_bytes(flipped(data, int(random.integers(8 * len(data)))))
        assert torch.equal(everything(rows).views[0]["sound"][0], before)
        assert path.read_bytes() == data
    assert rows.rebuilt == count


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 250), tail=st.binary(max_size=20))
def test_no_file_of_any_bytes_passes_for_a_record(
    cut: int, tail: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    records = Records(tmp_path_factory.mktemp("cache"))
    key = records.key("encoder", "file")
    records.write(key, Record(torch.ones(3, 5), torch.ones(3, dtype=torch.bool)))
    whole = records.path(key).read_bytes()
    if whole[:cut] + tail == whole:
        return
    records.path(key).write_bytes(whole[:cut] + tail)
    with pytest.raises(DamagedRecord):
        records.read(key)


def fill_in(world: Path, folder: Path, answers: Any) -> None:
    encoders = toys()
    rows = cached(Arrays(world, 24), encoders, folder, batch_size=3)
    view = everything(rows).views[0]
    answers.put(hashlib.sha256(b"".join(view[name][0].numpy().tobytes() for name in NAMES)).hexdigest())  # type: ignore[union-attr]


@pytest.mark.parametrize("processes", [4, pytest.param(8, marks=pytest.mark.nightly)])
def test_processes_fill_one_cold_cache_together(processes: int, tmp_path: Path) -> None:
    world = write(tmp_path / "data", 24, without={"sound": (3, 17)})
    fork = multiprocessing.get_context("fork")
    answers = fork.Queue()
    workers = [fork.Process(target=fill_in, args=(world, tmp_path / "cache", answers)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    found = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert len(set(found)) == 1
    assert len(files(tmp_path / "cache")) == 24 + 23
    assert not list((tmp_path / "cache" / "unfinished").iterdir())
    # None of them left a record that is not whole, and they agree with a cache that one process filled.
    alone: Any = multiprocessing.get_context("fork").Queue()
    fill_in(world, tmp_path / "alone", alone)
    assert alone.get(timeout=60) == found[0]


def die_while_writing(world: Path, folder: Path) -> None:
    written, plain = [0], os.fsync

    def fsync(file: int) -> None:
        written[0] += 1
        if written[0] == 4:
            os.kill(os.getpid(), signal.SIGKILL)
        plain(file)

    os.fsync = fsync
    cached(Arrays(world, RECORDINGS), {"sound": Toy(SPEC)}, folder, batch_size=1)


def test_a_killed_process_leaves_whole_records_alone_and_no_lock(world: Path, tmp_path: Path) -> None:
    folder, encoder = tmp_path / "cache", Toy(SPEC)
    worker = multiprocessing.get_context("fork").Process(target=die_while_writing, args=(world, folder))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert len(files(folder)) == 3
    (left,) = (folder / "unfinished").iterdir()
    rows = cached(Arrays(world, RECORDINGS), {"sound": encoder}, folder, batch_size=4)
    everything(rows)
    assert isinstance(rows, CachedRows)
    assert (encoder.encoded, rows.rebuilt) == (RECORDINGS - 3, 0)
    assert left.exists(), "it may belong to a process that is still writing"
    os.utime(left, (0, time.time() - 90_000))
    Records(folder).clear_unfinished()
    assert not left.exists()


def test_a_full_disk_is_an_error_with_path_needed_and_free_and_leaves_nothing(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        ValueError, match=rf"{tmp_path}/cache/.*\.features: a record of \d+ bytes .*No space .*are free"
    ):
        cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_a_record_appears_under_its_name_by_a_rename_alone(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, target: Path) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(ValueError, match="Input/output error"):
        cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    assert not files(tmp_path / "cache")


def test_a_full_cache_is_only_read_and_a_cold_one_that_cannot_be_written_is_an_error(
    world: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ValueError, match="cannot be written"):
        cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    cached(Arrays(world, RECORDINGS), toys(), tmp_path / "other", batch_size=4)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "other").rglob("*")}
    everything(cached(Arrays(world, RECORDINGS), toys(), tmp_path / "other", batch_size=4))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "other").rglob("*")} == before


def test_random_augmentation_of_a_cached_modality_is_refused_by_name(world: Path, tmp_path: Path) -> None:
    noisy = Arrays(world, RECORDINGS, RunViews(count=2), noise=0.1)
    with pytest.raises(
        ValueError, match=r"trainer\.cache: the sound of recording 0 is another each time .*augmentation"
    ):
        cached(noisy, {"sound": Toy(SPEC)}, tmp_path / "cache", batch_size=4)
    assert not files(tmp_path / "cache")


def test_rows_that_keep_no_digests_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Tones keeps no digests of 'tone'"):
        cached(Tones(4), {"tone": Toy(SPEC)}, tmp_path, batch_size=4)


def test_features_that_cannot_be_kept_are_refused_by_recording(world: Path, tmp_path: Path) -> None:
    large, broken = Toy(SPEC), Toy(SPEC)
    with torch.no_grad():
        large.model.layernorm.weight.fill_(1e6)  # type: ignore[union-attr, operator]
        broken.model.layernorm.weight.fill_(float("nan"))  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match=r"sound of recording \d: .*float16: they reach .*cache_dtype: float32"):
        cached(Arrays(world, RECORDINGS), {"sound": large}, tmp_path, batch_size=4)
    rows = cached(Arrays(world, RECORDINGS), {"sound": large}, tmp_path, batch_size=4, dtype="float32")
    assert everything(rows).views[0]["sound"][0].abs().max() > 65504
    with pytest.raises(ValueError, match=r"sound of recording \d: .*not finite"):
        cached(Arrays(world, RECORDINGS), {"sound": broken}, tmp_path, batch_size=4, dtype="float32")


def test_recordings_that_are_equal_share_a_record_and_lengths_may_differ(tmp_path: Path) -> None:
    records = Records(tmp_path)
    short, long = Record(torch.ones(2, 3), torch.tensor([True, False])), Record(torch.ones(4, 3), torch.ones(4).bool())
    for key, record in (("aa", short), ("bb", long)):
        records.write(key, record)
    from counterpoint.cache.rows import _padded

    padded = _padded([records.read("aa"), records.read("bb")])
    assert padded.mask.tolist() == [[True, False, False, False], [True] * 4]
    assert padded.tokens.sum(2).tolist() == [[3, 0, 0, 0], [3] * 4]


def test_some_of_the_rows_are_cached_as_themselves(world: Path, tmp_path: Path) -> None:
    encoder, rows = Toy(SPEC), Arrays(world, RECORDINGS)
    some = cached(Subset(rows, np.array([4, 1])), {"sound": encoder}, tmp_path, batch_size=4, dtype="float32")
    held = everything(some).views[0]["sound"]
    assert encoder.encoded == len(files(tmp_path)) == 2
    assert torch.allclose(held[0], fresh(rows, encoder, "sound").tokens[[4, 1]], atol=1e-6)


def test_worker_processes_read_the_same_batches(world: Path, tmp_path: Path) -> None:
    rows = cached(Arrays(world, RECORDINGS), toys(), tmp_path / "cache", batch_size=4)
    here, there = (list(loader(rows, PassSampler(rows, batch_size=4), workers)) for workers in (0, 1))
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.views[0]["sound"][0], other.views[0]["sound"][0])  # type: ignore[arg-type]


def test_filling_draws_nothing_from_the_global_generator(world: Path, tmp_path: Path) -> None:
    encoders, before = toys(), torch.get_rng_state()
    everything(cached(Arrays(world, RECORDINGS), encoders, tmp_path / "cache", batch_size=4))
    assert torch.equal(before, torch.get_rng_state())
    assert all(not encoder.model.training for encoder in encoders.values() if isinstance(encoder, Toy))


class Stored(Medium):
    """A picture a run out of a file of bytes."""

    spec = ImageSpec(2, 4, 4, 0.0)
    settings = "stored 1"

    def files(self, folder: Path) -> list[Path]:
        return [folder / "pictures.bin"] if (folder / "pictures.bin").exists() else []

    def check(self, files: Sequence[Path]) -> None:
        return None

    def read(self, files: Sequence[Path]) -> Recorded:
        READ.append(files[0])
        values = np.frombuffer(files[0].read_bytes(), np.uint8).reshape(2, 3, 4, 4)
        return Recorded(values, np.ones(2, dtype=np.bool_))


READ: list[Path] = []


def weld_rows(folder: Path, views: RunViews) -> WeldRows:
    """Six runs, of which run 2 has no pictures and run 3 no sensor."""
    random = np.random.default_rng(0)
    folders = [folder / str(at) for at in range(RECORDINGS)]
    for at, own in enumerate(folders):
        own.mkdir(exist_ok=True, parents=True)
        if at != 2:
            (own / "pictures.bin").write_bytes(random.integers(0, 256, 96, dtype=np.uint8).tobytes())
    medium = Stored()
    levels = random.normal(size=(RECORDINGS, 5, 2)).astype(np.float32)
    sensor = SensorFiles(SensorConfig(length=5, columns=["a", "b"]))
    files = {
        "photos": [medium.files(own) for own in folders],
        "sensor": [[own / "none.csv"] if at != 3 else [] for at, own in enumerate(folders)],
    }
    source = RunFiles({"photos": medium, "sensor": sensor}, files, {"sensor": levels})
    numbers = np.arange(RECORDINGS)
    columns = Labelling(numbers % 2, numbers, numbers * 0, np.zeros((RECORDINGS, 1)))
    return WeldRows(source, {"sensor": scale_of(levels)}, numbers[::-1].copy(), columns, views)


def test_weld_runs_leave_out_what_is_cached_and_show_as_much_of_it_as_before(tmp_path: Path) -> None:
    rows = weld_rows(tmp_path, RunViews(count=2, modality_dropout=0.4))
    draws = [Draw(row, key) for key in range(8) for row in range(RECORDINGS)]
    whole, READ[:] = rows.__getitems__(draws), []
    bare = rows.without(["photos"]).__getitems__(draws)
    assert READ == []
    for one, other in zip(whole.views, bare.views, strict=True):
        for a, b in zip(one["sensor"], other["sensor"], strict=True):
            assert torch.equal(a, b)  # type: ignore[arg-type]
        left = other["photos"]
        assert isinstance(left, Features)
        assert left.tokens.shape == (len(draws), 1, 0)
        assert torch.equal(left.mask[:, 0], one["photos"][1].any(1))  # type: ignore[union-attr]
        assert 0 < int(left.mask.sum()) < len(draws)
    photos, plain = rows.recorded("photos", [5, 3, 0]), weld_rows(tmp_path, RunViews())
    expected = plain.__getitems__([Draw(5, 0), Draw(3, 0), Draw(0, 0)]).views[0]["photos"]
    assert len(READ) > 0
    assert torch.equal(photos[0], expected[0])
    assert photos[1].tolist() == [[True] * 2, [False] * 2, [True] * 2]  # type: ignore[union-attr]
    assert [bool(one) for one in rows.content("photos")] == [True, True, True, False, True, True]


def recipe_of(world: Path, cache: Path | None, recordings: int = 16) -> Recipe:
    return Recipe(
        data=partial(ArrayData, folder=world, recordings=recordings),
        encoders=dict.fromkeys(NAMES, Toy),
        objective=InfoNCE,
        trainer=Trainer(epochs=3, batch_size=8, monitor=Monitor(log_every=1), cache=cache, cache_dtype="float32"),
        evaluation=Evaluation(transfer=Transfer(fractions=(1.0,), epochs=1, min_steps=2, batch_size=8)),
    )


def decoded(data: ArrayData) -> Counter[str]:
    return Counter(recording for rows in data.given for recording in rows.decoded)


def test_a_run_decodes_every_recording_once_and_learns_the_same_as_without_a_cache(tmp_path: Path) -> None:
    world = write(tmp_path / "data", 16, without={"sound": (3,)})
    losses, weights, counts = [], [], []
    for name, cache in (("plain", None), ("cold", tmp_path / "cache"), ("warm", tmp_path / "cache")):
        recipe, folder = recipe_of(world, cache), tmp_path / "cell" / name
        data = recipe.data()
        assert isinstance(data, ArrayData)
        task = train_cell(recipe, data, "main", 0, folder)
        found = transfer_cell(recipe, data, "main", 0, folder)
        assert len(found) == 2
        losses.append([record["train/loss"] for record in task.history if "train/loss" in record])
        weights.append(task.model.state_dict())
        counts.append(decoded(data))
    assert len(losses[0]) == 6
    assert np.allclose(losses[0], losses[1], atol=1e-5)
    assert losses[1] == losses[2]
    assert all(torch.equal(weights[1][name], weights[2][name]) for name in weights[1])
    # Row 0 alone is looked at for random changes, by each of six sets of rows; every other recording is decoded once.
    others = {name for name in counts[0] if not name.endswith("-0")}
    assert len(others) == 15 + 14
    assert min(counts[0].values()) >= 5
    assert {name: counts[1][name] for name in others} == dict.fromkeys(others, 1)
    assert not others & counts[2].keys()


def test_a_recipe_names_the_cache() -> None:
    with_cache = config.load({"cache": "~/features", "cache_dtype": "float32"}, Trainer)
    assert with_cache.cache == Path.home() / "features"
