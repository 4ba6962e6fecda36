"""MATLAB files: what scipy writes is read back, damage is refused and never crashes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from counterpoint.data.vibration import matlab
from counterpoint.data.vibration.matlab import read_matrices

RNG = np.random.default_rng(0)
CONTENT = {
    "X097_DE_time": RNG.normal(size=(500, 1)),
    "X097RPM": np.array([[1796]], dtype=np.int32),
    "wide": RNG.normal(size=(3, 4)).astype(np.float32),
    "small": np.array([[7]], dtype=np.uint8),
    "empty": np.zeros((0, 1)),
    "int64": np.array([[-(2**60), 5]]),
    "a_rather_long_name_of_a_variable": np.arange(6, dtype=np.int16).reshape(2, 3),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_what_scipy_writes(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    others = {"text": "abc", "structure": {"x": 1}, "complex": np.array([1j]), "cube": np.ones((2, 2, 2))}
    savemat(path, CONTENT | others, do_compression=compressed, long_field_names=True)
    found, rest = read_matrices(path)
    assert set(rest) == set(others)
    assert found.keys() == CONTENT.keys()
    for name, wanted in CONTENT.items():
        np.testing.assert_array_equal(found[name], wanted)


def test_big_endian(tmp_path: Path) -> None:
    def element(kind: int, data: bytes) -> bytes:
        return kind.to_bytes(4, "big") + len(data).to_bytes(4, "big") + data + bytes(-len(data) % 8)

    head = element(6, (6).to_bytes(4, "big") + bytes(4)) + element(5, b"\0\0\0\2\0\0\0\1") + element(1, b"name")
    body = element(14, head + element(9, np.array([1.5, -2.0], ">f8").tobytes()))
    path = tmp_path / "big-endian.mat"
    path.write_bytes(b" " * 124 + b"\x01\x00MI" + body)
    assert read_matrices(path)[0]["name"].tolist() == [[1.5], [-2.0]]


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(0, 20), columns=st.integers(0, 5), dtype=st.sampled_from(["f8", "f4", "i2", "u1", "i8"]))
def test_any_shape(tmp_path_factory: pytest.TempPathFactory, rows: int, columns: int, dtype: str) -> None:
    path = tmp_path_factory.mktemp("m") / "a.mat"
    wanted = RNG.integers(0, 100, size=(rows, columns)).astype(dtype)
    savemat(path, {"x": wanted}, do_compression=bool(rows % 2))
    np.testing.assert_array_equal(read_matrices(path)[0]["x"], wanted)


def test_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    savemat(tmp_path / "b.mat", {"x": np.zeros((1_000_000, 1)), "y": np.zeros((1_000_000, 1))}, do_compression=True)
    assert (tmp_path / "b.mat").stat().st_size < 20_000
    monkeypatch.setattr(matlab, "MAX_BYTES", 9_000_000)  # one of them passes, both together do not
    with pytest.raises(ValueError, match="over 9,000,000 bytes"):
        read_matrices(tmp_path / "b.mat")
    monkeypatch.setattr(matlab, "MAX_BYTES", 5_000)
    with pytest.raises(ValueError, match="at most 5,000 are read"):
        read_matrices(tmp_path / "b.mat")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MATLAB 5 file"),
        (b"x" * 400, "not a MATLAB 5 file"),
        (b" " * 124 + b"\x00\x02IM" + b"\x89HDF", "save it again with -v7"),
        (b" " * 124 + b"\x00\x01IM" + b"\x0e\x00\x00\x00", "ends within a tag"),
        (b" " * 124 + b"\x00\x01IM" + b"\x0e\x00\x00\x00\xff\xff\xff\xff", "4,294,967,295 bytes announced, 0 there"),
        (b" " * 124 + b"\x00\x01IM" + b"\x09\x00\x00\x00\x00\x00\x00\x00", "type 9 where a variable"),
    ],
)
def test_refusals(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_matrices(tmp_path / "a.mat")


@pytest.mark.parametrize("compressed", [True, False])
def test_damage_is_a_value_error_or_nothing(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    savemat(path, CONTENT, do_compression=compressed, long_field_names=True)
    whole = path.read_bytes()
    refused = 0
    for _ in range(400):
        content = bytearray(whole[: int(RNG.integers(len(whole)))] if RNG.integers(4) == 0 else whole)
        for place in RNG.integers(max(len(content), 1), size=4):
            if content:
                content[place] ^= int(RNG.integers(1, 256))
        path.write_bytes(content)
        try:
            read_matrices(path)
        except ValueError:
            refused += 1
    assert refused > (390 if compressed else 40)  # compressed variables carry a checksum, others none
