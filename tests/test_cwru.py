"""Import of CWRU: the published numbers, the published files with their oddities, and the real recordings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from counterpoint.data.ledger import Quarantine
from counterpoint.data.tables import VIBRATION_COLUMNS, match, read_table
from counterpoint.data.vibration.cwru import import_cwru
from counterpoint.data.vibration.cwru_files import ALIASES, PUBLISHED, described
from counterpoint.data.vibration.hdf5 import Hdf5Signals

RNG = np.random.default_rng(0)


def signal(length: int = 1200) -> np.ndarray[Any, Any]:
    return RNG.normal(size=(length, 1))


def publish(
    path: Path, *numbers: int, channels: str = "DE FE BA", rpm: int | None = 1796, length: int = 1200
) -> dict[str, np.ndarray[Any, Any]]:
    """Write a file as published; the variables of several numbers in one where asked."""
    content: dict[str, Any] = {
        f"X{n:03d}_{channel}_time": signal(length) for n in numbers for channel in channels.split()
    }
    if rpm is not None:
        content[f"X{numbers[-1]:03d}RPM"] = np.array([[rpm]])
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, content, do_compression=path.stem.endswith("7"))
    return content


def columns(folder: Path, name: str) -> list[Any]:
    return read_table(folder / "metadata.csv").columns[name]


def test_published_numbers() -> None:
    """The counts of Smith and Randall (2015): 161 files, 4 sound, 60 + 52 at the drive end, 45 at the fan end."""
    assert len(PUBLISHED) == 161
    faulty = [of for of in PUBLISHED.values() if of.fault != "N"]
    assert len([of for of in faulty if of.end == "DE" and of.rate == 12000]) == 60
    assert len([of for of in faulty if of.end == "DE" and of.rate == 48000]) == 52
    assert len([of for of in faulty if of.end == "FE"]) == 45
    assert len(set(PUBLISHED.values())) == 161  # no condition twice
    assert {n for n, of in PUBLISHED.items() if of.fault == "N"} == {97, 98, 99, 100}
    assert all(PUBLISHED[n].rate == 48000 for n in range(97, 101))
    assert all((of.position is None) == (of.fault != "OR") for of in PUBLISHED.values())
    assert set(ALIASES.values()) == {n for n, of in PUBLISHED.items() if of.diameter == 28}
    assert PUBLISHED[309] == PUBLISHED[310]._replace(load=1)  # published out of order


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("IR007_0", {105, 109, 278}),
        ("IR007_3_108", {108, 112, 281}),
        ("12k_Drive_End_B028_2_3007", {3007}),
        ("OR021@6_1", {235, 239}),
        ("OR007_12_1_158", {158, 162, 305}),
        ("OR014@12_0", set()),
        ("Normal_2", {99}),
        ("97", set()),
    ],
)
def test_descriptions(name: str, numbers: set[int]) -> None:
    assert described(name)[1] == numbers


def test_folder_as_published(tmp_path: Path) -> None:
    source = tmp_path / "cwru"
    publish(source / "normal" / "97.mat", 97, channels="DE FE", rpm=1797)
    both = publish(source / "normal" / "99.mat", 98, 99, channels="DE FE", rpm=None)
    publish(source / "12k" / "105.mat", 105, rpm=1794)
    publish(source / "12k" / "3001.mat", 56, channels="DE", rpm=None)
    publish(source / "48k" / "174.mat", 173, 174, channels="FE DE")
    publish(source / "48k" / "177.MAT", 177)
    publish(source / "fan" / "310.mat", 310, channels="DE FE BA", length=900)
    out = import_cwru(source, tmp_path / "out")

    table = read_table(out / "metadata.csv")
    assert table.columns["Id"] == [97, 99, 105, 174, 177, 310, 3001]
    assert table.columns["Label"] == ["N", "N", "IR", "IR", "IR", "OR", "IR"]
    assert table.columns["Sample_rate"] == [48000, 48000, 12000, 48000, 48000, 12000, 12000]
    assert table.columns["Sample_length"] == [1200] * 5 + [900, 1200]
    assert table.columns["channel_names"] == [
        "DE FE",
        "DE FE",
        "DE FE BA",
        "DE FE",
        "DE FE BA",
        "DE FE BA",
        "DE",
    ]
    assert table.columns["Channels"] == [2, 2, 3, 2, 3, 3, 1]
    assert table.columns["Domain_id"] == [0, 2, 0, 0, 3, 0, 0]
    assert table.columns["Fault_level"] == [0, 0, 7, 14, 14, 14, 28]
    assert table.columns["rpm"] == [1797, 1750, 1794, 1796, 1796, 1796, 1797]
    assert table.columns["or_position"] == [None] * 5 + [3, None]
    groups = ["Normal", "Normal", "IR_7_DE", "IR_14_DE", "IR_14_DE", "OR@3_14_FE", "IR_28_DE"]
    assert table.columns["bearing"] == groups
    assert {"Id", "Label", "Sample_rate", "Sample_length", "Channels"} <= match(table, VIBRATION_COLUMNS).keys()

    signals = Hdf5Signals(out / "signals.h5")
    values = np.hstack([both["X099_DE_time"], both["X099_FE_time"]]).astype(np.float32)
    np.testing.assert_array_equal(signals.read("99", 0, 1200), values)
    account = json.loads((out / "import.json").read_text())
    assert account["notes"] == [
        "3001.mat holds variables of X056; X056 was taken for file 3001",
        "174.mat holds variables of X173, X174; X174 was taken for file 174",
        "99.mat holds variables of X098, X099; X099 was taken for file 99",
    ]
    assert len(account["sources"]) == 7
    assert account["quarantine"]["rejected"] == 0


def test_twelve_and_forty_eight_kilohertz_share_a_bearing(tmp_path: Path) -> None:
    """The same bearing was recorded at both rates: apart, it would stand on both sides of a split."""
    for number in (105, 109):
        publish(tmp_path / "in" / f"{number}.mat", number)
    assert columns(import_cwru(tmp_path / "in", tmp_path / "out"), "bearing") == ["IR_7_DE"] * 2


@pytest.mark.parametrize(
    ("name", "inside", "number"),
    [
        ("12k_Drive_End_IR007_0_105", 105, 105),
        ("IR007_0", 105, 105),
        ("IR007_0", 109, 109),
        ("IR028_1", 57, 3002),
        ("B028_0", 48, 3005),
        ("OR007_6_1_131", 131, 131),
        ("Time_Normal_1_098", 98, 98),
        ("97_Normal_0", 97, 97),
        ("Normal_3", 100, 100),
        ("recording", 223, 223),
        ("0174", 173, 174),
    ],
)
def test_names_in_circulation(tmp_path: Path, name: str, inside: int, number: int) -> None:
    publish(tmp_path / "in" / f"{name}.mat", inside)
    out = import_cwru(tmp_path / "in", tmp_path / "out")
    assert columns(out, "Id") == [number]
    assert columns(out, "Label") == [PUBLISHED[number].fault]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"400.mat": 400}, "400.mat: not one of the 161 published CWRU files.*rename it"),
        ({"IR007_0.mat": 1}, "IR007_0.mat: not one of"),  # 12 kHz, 48 kHz or fan end?
        ({"B007_0_105.mat": 105}, "B007_0 is not what file 105 is"),
        ({"105.mat": 105, "IR007_0_105.mat": 105}, "are both file 105"),
        ({}, "no CWRU recordings"),
    ],
)
def test_unknown_files_are_named(tmp_path: Path, files: dict[str, int], message: str) -> None:
    (tmp_path / "in").mkdir()
    for name, number in files.items():
        publish(tmp_path / "in" / name, number)
    with pytest.raises(ValueError, match=message):
        import_cwru(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    publish(tmp_path / "elsewhere" / "105.mat", 105)
    publish(tmp_path / "in" / "106.mat", 106)
    (tmp_path / "in" / "105.mat").symlink_to(tmp_path / "elsewhere" / "105.mat")
    with pytest.raises(ValueError, match=r"105.mat: a link out of"):
        import_cwru(tmp_path / "in", tmp_path / "out")


def test_unusable_files_are_counted_and_left_out(tmp_path: Path) -> None:
    source = tmp_path / "in"
    for number in (105, 106, 107, 118, 119, 120):
        publish(source / f"{number}.mat", number)
    content = publish(source / "108.mat", 108)
    content["X108_DE_time"][70] = np.nan
    content["X108_FE_time"][71] = np.inf
    savemat(source / "108.mat", content)
    publish(source / "109.mat", 110, 111)  # two signals, neither its own
    publish(source / "112.mat", 118)  # another file's signal
    publish(source / "121.mat", 121, length=0)
    savemat(source / "122.mat", {"X122_DE_time": signal(5), "X122_FE_time": signal(4)})
    savemat(source / "123.mat", {"X123_DE_time": np.array(["text"])})
    savemat(source / "124.mat", {"other": signal()})
    (source / "130.mat").write_bytes((source / "105.mat").read_bytes()[:3000])
    (source / "131.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + b"\x89HDF" * 50)
    (source / "132.mat").write_bytes(b"")
    with pytest.raises(ValueError, match=r"10 of 16 recordings cannot be used"):
        import_cwru(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()

    out = import_cwru(source, tmp_path / "out", quarantine=Quarantine(max_share=0.7))
    assert columns(out, "Id") == [105, 106, 107, 118, 119, 120]
    quarantine = json.loads((out / "import.json").read_text())["quarantine"]
    reasons = {entry["recording"]: entry["reason"] for entry in quarantine["rejections"]}
    assert reasons["108"] == "2 non-finite values, first at sample 70"
    assert "X110_DE_time" in reasons["109"]
    assert "none is of file 109" in reasons["109"]
    assert "none is of file 112" in reasons["112"]
    assert reasons["121"] == "empty"
    assert reasons["122"] == "channels of different length: {'DE': 5, 'FE': 4}"
    assert reasons["123"].startswith("unreadable: X123_DE_time is no matrix")
    assert "holds other" in reasons["124"]
    assert all(reasons[name].startswith("unreadable: ") for name in ("130", "131", "132"))
    assert quarantine["counts"]["unreadable"] == 4
    assert "-v7" in reasons["131"]


def test_damaged_mat_files_never_crash(tmp_path: Path) -> None:
    publish(tmp_path / "good" / "105.mat", 105)
    publish(tmp_path / "good" / "107.mat", 107)
    rng = np.random.default_rng(1)
    outcomes = set()
    for trial in range(60):
        folder = tmp_path / f"in{trial}"
        for name in ("105.mat", "107.mat"):
            content = bytearray((tmp_path / "good" / name).read_bytes())
            for place in rng.integers(len(content) if trial % 2 else 400, size=6):
                content[place] ^= int(rng.integers(1, 256))
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        try:
            import_cwru(folder, tmp_path / f"out{trial}", quarantine=Quarantine(max_share=0.6))
            outcomes.add("imported")
        except ValueError as error:
            outcomes.add("refused" if "105" in str(error) or "107" in str(error) else str(error))
    assert outcomes == {"imported", "refused"}


META = "key,channel,rpm,load_hp,fault,diameter_mil,or_position,fault_end,fs,n,scale\n"


def write_arrays(folder: Path, *, row: str = "", drop: str = "") -> None:
    folder.mkdir(parents=True)
    arrays = {f"k{i}": np.arange(-50, 50 + i, dtype=np.int16) * 300 for i in range(25)}
    rows = [f"k{i},DE,1797,{i % 4},{'N' if i == 0 else 'IR'},7,,DE,12000,{100 + i},0.5\n" for i in range(25)]
    (folder / "meta.csv").write_text(META + "".join(rows) + row)
    np.savez_compressed(folder / "signals_int16.npz", **{k: v for k, v in arrays.items() if k != drop})


def test_arrays(tmp_path: Path) -> None:
    write_arrays(tmp_path / "in", drop="k7")
    out = import_cwru(tmp_path / "in", tmp_path / "out")
    assert columns(out, "Id") == [f"k{i}" for i in range(25) if i != 7]
    values = Hdf5Signals(out / "signals.h5").read("k3", 0, 103)
    np.testing.assert_allclose(values[:, 0], np.arange(-50, 53) * 300 * 0.5 / 32767, rtol=1e-6)
    account = json.loads((out / "import.json").read_text())
    assert account["notes"] == ["k0: recorded at 48000 Hz, though meta.csv says 12000"]
    (entry,) = account["quarantine"]["rejections"]
    assert (entry["recording"], entry["row"]) == ("k7", 9)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("k3,DE,1797,0,IR,7,,DE,12000,103,0.5\n", "'k3' stands in rows 5 and 27"),
        ("x,DE,1797,0,XX,7,,DE,12000,103,0.5\n", r"row 27, column 'fault': 'XX' is none of N, B, IR, OR"),
        ("x,DE,1797,0.5,IR,7,,DE,12000,103,0.5\n", r"column 'load_hp': .* is not a whole number"),
    ],
)
def test_arrays_with_a_bad_table(tmp_path: Path, row: str, message: str) -> None:
    write_arrays(tmp_path / "in", row=row)
    with pytest.raises(ValueError, match=message):
        import_cwru(tmp_path / "in", tmp_path / "out")


def test_arrays_never_unpickle(tmp_path: Path) -> None:
    write_arrays(tmp_path / "in")
    np.savez(tmp_path / "in" / "signals_int16.npz", **{f"k{i}": np.array([{}], dtype=object) for i in range(25)})
    with pytest.raises(ValueError, match="25 of 25 recordings cannot be used"):
        import_cwru(tmp_path / "in", tmp_path / "out")


@pytest.fixture(scope="module")
def real(data_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = data_root / "vibration" / "cwru_12k"
    if not source.is_dir():
        pytest.skip(f"no CWRU recordings at {source}")
    return import_cwru(source, tmp_path_factory.mktemp("cwru") / "out")


def test_real_recordings_are_the_published_ones(real: Path) -> None:
    """Fault, size, position, end and load of each of the 106: the published 12 kHz files, and one sound."""
    table = read_table(real / "metadata.csv").columns
    names = ("Label", "Fault_level", "Domain_id", "or_position", "fault_end", "Sample_rate")
    found = list(zip(*(table[name] for name in names), strict=True))
    wanted = {tuple(of) for of in PUBLISHED.values() if of.rate == 12000} | {tuple(PUBLISHED[97])}
    assert len(found) == 106
    assert set(found) == wanted
    assert json.loads((real / "import.json").read_text())["quarantine"]["rejected"] == 0
    assert len(set(table["bearing"])) == 15 + 13 + 1  # drive end, fan end, and the sound one


def test_real_normal_recording_is_48_khz(real: Path) -> None:
    """The test rig's own lines tell the rate: the sound recording shares them with a faulty one only at 48 kHz."""
    signals = Hdf5Signals(real / "signals.h5")

    def strength(key: str, rate: float) -> list[float]:
        x = signals.read(key, 0, signals.shape(key)[0])[:, 0].astype(float)
        power = np.abs(np.fft.rfft((x - x.mean()) * np.hanning(len(x)))) ** 2
        frequency = np.fft.rfftfreq(len(x), 1 / rate)
        lines = (161.6, 688.3, 1436.7)
        floor = [np.median(power[np.abs(frequency - line) < 20]) for line in lines]
        return [power[np.abs(frequency - at) < 1].max() / low for at, low in zip(lines, floor, strict=True)]

    assert min(strength("1797_B_7_DE12", 12_000)) > 300
    assert min(strength("1797_Normal", 48_000)) > 300
    assert np.median(strength("1797_Normal", 12_000)) < 100
