"""Signals in HDF5: slices, processes, everything a hostile or damaged file can hold, and what is written."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from counterpoint.data.tables import read_table
from counterpoint.data.vibration import hdf5
from counterpoint.data.vibration.hdf5 import Hdf5Signals, Unreadable, write_collection

RNG = np.random.default_rng(0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "signals.h5"
    x = RNG.normal(size=(1000, 2))
    with h5py.File(path, "w") as f:
        f["flat"], f["two"], f["three"] = x[:, 0], x, x[:, :, None]
        f["whole"] = (x * 1000).astype(np.int16)
        f["big_endian"] = x.astype(">f4")
        f.create_dataset("packed", data=x, chunks=(64, 1), compression="gzip", shuffle=True, fletcher32=True)
        f["empty"] = np.zeros((0, 2))
        f["group/inside"] = x
        f["alias"] = h5py.SoftLink("/group/inside")
        f["group/near"] = h5py.SoftLink("inside")
    return path


@pytest.mark.parametrize("key", ["flat", "two", "three", "packed", "big_endian", "group/inside", "alias", "group/near"])
def test_slices_are_the_data(file: Path, key: str) -> None:
    with h5py.File(file) as f:
        whole = np.asarray(f[key][:], np.float32).reshape(1000, -1)
    with Hdf5Signals(file) as signals:
        assert signals.shape(key) == whole.shape
        for start, length in ((0, 1000), (17, 100), (999, 1), (1000, 0)):
            part = signals.read(key, start, length)
            assert part.dtype == np.float32
            np.testing.assert_array_equal(part, whole[start : start + length])
        assert signals.scan(key, chunk=300) == ""


def test_only_the_slice_leaves_the_file(tmp_path: Path) -> None:
    """A window of a long recording costs about its own bytes, not the recording's."""
    write_collection(tmp_path / "c", [{"Id": 1}], [("1", np.zeros((4_000_000, 1), np.float32))])
    signals = Hdf5Signals(tmp_path / "c" / "signals.h5")
    signals.read("1", 0, 8)
    before = int(Path("/proc/self/io").read_text().split()[1])
    for start in range(0, 3_900_000, 40_000):
        signals.read("1", start, 1024)
    assert int(Path("/proc/self/io").read_text().split()[1]) - before < 98 * 1024 * 4 * 3


def test_slice_outside_is_refused(file: Path) -> None:
    signals = Hdf5Signals(file)
    for start, length in ((-1, 10), (995, 6), (0, -1)):
        with pytest.raises(ValueError, match=r"'flat'.*asked of 1000"):
            signals.read("flat", start, length)


def test_scan_reasons(tmp_path: Path) -> None:
    x = np.zeros((1000, 2))
    x[350, 1] = x[351, :] = np.nan
    x[999, 0] = np.inf
    with h5py.File(tmp_path / "s.h5", "w") as f:
        f["bad"], f["empty"], f["large"] = x, np.zeros((0, 1)), np.array([1.0, 1e39])
        f["words"], f["complex"], f["cube"] = np.array([b"ab"]), np.ones(3, complex), np.ones((4, 2, 2))
        f["records"] = np.ones(3, dtype=[("a", "f4")])
        f["scalar"], f["null"] = 1.0, h5py.Empty("f4")
        f.create_group("group")
        f.create_dataset("unwritten", (100, 2), "f4", chunks=(10, 2))
        f["unwritten"][:30] = 1.0
        f.create_dataset("never", (100, 2), "f4")
        f.create_dataset("wide", (100_000, 800), "f4", chunks=(100_000, 800), compression="gzip")
    signals = Hdf5Signals(tmp_path / "s.h5")
    for chunk in (1, 7, 350, 351, 10_000):
        assert signals.scan("bad", chunk) == "4 non-finite values, first at sample 350"
    assert signals.scan("empty", 10) == "empty"
    assert signals.scan("large", 10) == "1 non-finite values, first at sample 1"
    expected = {
        "words": "real numbers",
        "complex": "real numbers",
        "records": "real numbers",
        "cube": r"shape (4, 2, 2)",
        "scalar": "shape ()",
        "null": "shape None",
        "group": "a group",
        "unwritten": "7 of 10 chunks were never written",
        "never": "1 of 1 chunks were never written",
        "wide": "decoded whole",
    }
    for key, part in expected.items():
        reason = signals.scan(key, 10)
        assert reason.startswith("unreadable: ")
        assert part in reason
        assert repr(key) in reason
    with pytest.raises(Unreadable, match="'words'"):
        signals.shape("words")


def test_absent_keys(file: Path, tmp_path: Path) -> None:
    signals = Hdf5Signals(file)
    with pytest.raises(ValueError, match=r"signals.h5, key 'threee': no such dataset; nearest: 'three'"):
        signals.shape("threee")
    for key in ("", ".", "/", "group/none", "two/more", "../signals", "ключ"):
        with pytest.raises(ValueError, match="no such dataset"):
            signals.scan(key, 10)
    with pytest.raises(ValueError, match="no such file"):
        Hdf5Signals(tmp_path / "absent.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match=r"text.h5: cannot be opened as HDF5"):
        Hdf5Signals(tmp_path / "text.h5").keys()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    with h5py.File(tmp_path / "secret.h5", "w") as f:
        f["x"] = np.arange(100.0)
    (tmp_path / "secret.bin").write_bytes(np.arange(100.0).tobytes())
    layout = h5py.VirtualLayout((100,), "f8")
    layout[:] = h5py.VirtualSource(tmp_path / "secret.h5", "x", (100,))
    with h5py.File(tmp_path / "hostile.h5", "w") as f:
        f["external_link"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")
        f["external_group"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/")
        f["soft_out"] = h5py.SoftLink("/external_link")
        f["soft_through"] = h5py.SoftLink("/external_group/x")
        f["circle"] = h5py.SoftLink("/circle")
        f.create_dataset("external_storage", (100,), "f8", external=[(str(tmp_path / "secret.bin"), 0, 800)])
        f.create_virtual_dataset("virtual", layout)
        f["dangling"] = h5py.SoftLink("/nowhere")
    return tmp_path / "hostile.h5"


@pytest.mark.parametrize(
    "key",
    [
        "external_link",
        "external_group/x",
        "soft_out",
        "soft_through",
        "circle",
        "external_storage",
        "virtual",
        "dangling",
    ],
)
def test_nothing_leads_out_of_the_file(hostile: Path, key: str) -> None:
    with h5py.File(hostile) as f:  # the control: h5py itself follows them
        follows = key not in ("circle", "dangling")
        assert not follows or f[key][5] == 5.0
    signals = Hdf5Signals(hostile)
    for call in (lambda: signals.shape(key), lambda: signals.read(key, 0, 10), lambda: signals.scan(key, 10)):
        with pytest.raises(ValueError, match=f"key '{key}'"):
            call()
    opened = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd.isdigit() and _is(fd)}
    assert str(hostile) in opened
    assert not any("secret" in path for path in opened)


def _is(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


def _in_child(signals: Hdf5Signals, key: str, answers: multiprocessing.Queue[bytes]) -> None:
    for start in range(0, 900, 3):
        answers.put(signals.read(key, start, 10).tobytes())


def test_forked_processes_read_at_once(file: Path) -> None:
    signals = Hdf5Signals(file)
    whole = signals.read("packed", 0, 1000)  # open before the fork
    context = multiprocessing.get_context("fork")
    queues = [context.Queue() for _ in range(3)]
    children = [context.Process(target=_in_child, args=(signals, "packed", queue)) for queue in queues]
    for child in children:
        child.start()
    for start in range(0, 900, 3):
        assert signals.read("packed", start, 10).tobytes() == whole[start : start + 10].tobytes()
        for queue in queues:
            assert queue.get(timeout=30) == whole[start : start + 10].tobytes()
    for child in children:
        child.join(30)
        assert child.exitcode == 0


def test_pickle_carries_no_open_file(file: Path) -> None:
    signals = Hdf5Signals(file)
    whole = signals.read("two", 0, 1000)
    copy = pickle.loads(pickle.dumps(signals))
    signals.close()
    np.testing.assert_array_equal(copy.read("two", 0, 1000), whole)
    np.testing.assert_array_equal(signals.read("two", 0, 1000), whole)  # opens again


def test_construction_opens_nothing(file: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    kept = [Hdf5Signals(file) for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == before
    assert kept[0].keys() == (
        "alias",
        "big_endian",
        "empty",
        "flat",
        "group",
        "packed",
        "three",
        "two",
        "whole",
    )


def test_read_only_medium(file: Path) -> None:
    file.chmod(0o444)
    file.parent.chmod(0o555)
    try:
        assert Hdf5Signals(file).shape("two") == (1000, 2)
    finally:
        file.parent.chmod(0o755)


def test_many_datasets_stay_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "_OPEN_DATASETS", 4)
    ids = [{"Id": i} for i in range(20)]
    write_collection(tmp_path / "c", ids, ((str(i), np.full(10, i)) for i in range(20)))
    signals = Hdf5Signals(tmp_path / "c" / "signals.h5")
    for i in RNG.integers(20, size=100):
        assert signals.read(str(i), 3, 2).tolist() == [[i], [i]]
        assert len(signals._datasets) <= 4


def test_flipped_bits_under_a_checksum_are_unreadable(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "s.h5", "w") as f:
        f.create_dataset("x", data=RNG.normal(size=(5000, 1)), chunks=(500, 1), fletcher32=True)
        offset = f["x"].id.get_chunk_info(3).byte_offset
    content = bytearray((tmp_path / "s.h5").read_bytes())
    content[offset + 11] ^= 4
    (tmp_path / "s.h5").write_bytes(content)
    signals = Hdf5Signals(tmp_path / "s.h5")
    assert signals.scan("x", 700).startswith("unreadable: ")
    assert signals.read("x", 0, 1500).shape == (1500, 1)  # what is whole is still read
    with pytest.raises(Unreadable, match="samples 1500 to 1600"):
        signals.read("x", 1500, 100)


def _probe(path: str, answers: multiprocessing.Queue[str]) -> None:
    try:
        signals = Hdf5Signals(Path(path))
        for key in signals.keys():  # noqa: SIM118 (a method of ours, not a dict)
            signals.scan(key, 100)
        answers.put("read")
    except ValueError as error:
        answers.put(f"refused: {error}")


@pytest.mark.parametrize("seed", range(25))
def test_damage_neither_crashes_nor_hangs(file: Path, tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = bytearray(file.read_bytes())
    for place in rng.integers(min(len(content), 8192 if seed % 2 else len(content)), size=1 + seed):
        content[place] ^= int(rng.integers(1, 256))
    path = tmp_path / "damaged.h5"
    path.write_bytes(content if seed % 5 else content[: int(rng.integers(len(content)))])
    answers: multiprocessing.Queue[str] = multiprocessing.get_context("fork").Queue()
    child = multiprocessing.get_context("fork").Process(target=_probe, args=(str(path), answers))
    child.start()
    answer = answers.get(timeout=10)
    child.join(10)
    assert child.exitcode == 0
    assert answer == "read" or "damaged.h5" in answer


def test_collection_round_trip(tmp_path: Path) -> None:
    rows = [{"Id": 3, "Label": "a,b", "x": None}, {"Id": "ü", "Label": "c", "y": 1.5}]
    values = {"3": RNG.normal(size=(40_000, 2)).astype(np.float32), "ü": RNG.normal(size=100)}
    folder = write_collection(tmp_path / "deep" / "c", rows, values.items())
    table = read_table(folder / "metadata.csv")
    assert table.columns == {"Id": ["3", "ü"], "Label": ["a,b", "c"], "x": [None, None], "y": [None, 1.5]}
    signals = Hdf5Signals(folder / "signals.h5")
    np.testing.assert_array_equal(signals.read("3", 0, 40_000), values["3"])
    np.testing.assert_allclose(signals.read("ü", 0, 100)[:, 0], values["ü"], rtol=1e-7)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["c"]
    with h5py.File(folder / "signals.h5") as f:
        assert f["3"].shape == (40_000, 2)


@pytest.mark.parametrize(
    ("ids", "keys", "message"),
    [
        ([1, 2], ["1"], "1 rows have no signal, '2'"),
        ([1], ["1", "2"], "'2' has no row"),
        ([1], ["1", "1"], "'1' has no row, or came twice"),
        ([1, "1"], ["1"], "more than one row"),
    ],
)
def test_collection_is_whole_or_absent(tmp_path: Path, ids: list[object], keys: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_collection(tmp_path / "c", [{"Id": i} for i in ids], ((key, np.zeros(5)) for key in keys))
    assert list(tmp_path.iterdir()) == []


def test_collection_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    write_collection(tmp_path / "c", [{"Id": 1}], [("1", np.zeros(5))])
    with pytest.raises(ValueError, match="holds something already"):
        write_collection(tmp_path / "c", [{"Id": 1}], [("1", np.zeros(5))])
