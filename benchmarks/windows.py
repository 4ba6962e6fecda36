"""Windows of 1024 samples, two of a recording, from recordings of 500,000 samples.

Rivals: reading whole recordings and cutting windows out of them; one HDF5 read a window in a plain DataLoader,
float64 as it is stored; the same gather out of an array in memory, which is the limit. Rates are medians of
interleaved rounds in one process; peak memory is that of a process each, above what it holds with everything
imported (Linux). Run: python benchmarks/windows.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from counterpoint.data.base import Rows
from counterpoint.data.sampling import StreamSampler, loader
from counterpoint.data.vibration import Loading, Vibration
from counterpoint.data.vibration.hdf5 import write_collection
from counterpoint.data.vibration.recordings import Collection
from counterpoint.data.vibration.signals import SignalConfig
from counterpoint.data.vibration.views import Views
from counterpoint.data.vibration.windows import Disjoint

RECORDINGS, LENGTH, WIDTH, BATCH = 64, 500_000, 1024, 64


def make(folder: Path) -> None:
    rows = [{"Id": at, "Label": at % 4, "Sample_rate": 12_000} for at in range(RECORDINGS)]
    random = np.random.default_rng(0)
    write_collection(folder / "made", rows, ((str(at), random.normal(size=(LENGTH, 1))) for at in range(RECORDINGS)))


def pairs(folder: Path, cached: bool, normalise: str = "none") -> Rows:
    data = Vibration(
        collections=[Collection(metadata=folder / "made/metadata.csv", signals=folder / "made/signals.h5")],
        views=Views(windows=Disjoint(length=WIDTH), pairs_per_recording=64),
        signal=SignalConfig(normalise=normalise),  # type: ignore[arg-type]
        loading=Loading(cache=folder / "cache" if cached else None, check="headers"),
    )
    return data.training("main", "train")


def places(batches: int, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Recording and start of both windows of every pair."""
    random = np.random.default_rng(seed)
    for _ in range(batches):
        recordings = random.permutation(RECORDINGS)[:BATCH].repeat(2)
        yield recordings, random.integers(0, LENGTH - WIDTH, 2 * BATCH)


class Single(Dataset[torch.Tensor]):
    """A pair an item, two reads: what most code does."""

    def __init__(self, path: Path, whole: bool) -> None:
        self.path, self.whole, self.file = path, whole, None

    def __len__(self) -> int:
        return RECORDINGS * 64

    def __getitem__(self, index: int) -> torch.Tensor:
        self.file = self.file or h5py.File(self.path, "r")
        signal = self.file[str(index % RECORDINGS)]
        starts = np.random.default_rng(index).integers(0, LENGTH - WIDTH, 2)
        values = signal[:] if self.whole else signal
        return torch.stack([torch.from_numpy(values[s : s + WIDTH].astype(np.float32)) for s in starts])


def stream(rows: Rows, batches: int) -> None:
    for number, _ in enumerate(loader(rows, StreamSampler(rows, batch_size=BATCH, epochs=10_000, seed=0)), 1):
        if number == batches:
            return


def plain(path: Path, whole: bool, batches: int, workers: int = 0) -> None:
    reader = DataLoader(Single(path, whole), batch_size=BATCH, shuffle=True, num_workers=workers)
    for number, _ in enumerate(reader, 1):
        if number == batches:
            return


def everything(path: Path, batches: int) -> None:
    with h5py.File(path, "r") as file:
        held = [file[str(at)][:] for at in range(RECORDINGS)]
    for recordings, starts in places(batches):
        kept = np.stack([held[r][s : s + WIDTH] for r, s in zip(recordings, starts, strict=True)])
        assert kept.shape == (2 * BATCH, WIDTH, 1)


def sides(folder: Path) -> dict[str, tuple[Callable[[int], None], int]]:
    """Name -> (read that many batches, how many to time)."""
    path = folder / "made/signals.h5"
    flat, direct, zscored = pairs(folder, True), pairs(folder, False), pairs(folder, True, "zscore")
    source = flat._reader.source  # type: ignore[attr-defined]
    held = source._flat.clone()

    def gather(batches: int) -> None:
        for recordings, starts in drawn[:batches]:
            source.gather(recordings, starts, WIDTH)

    def copy(batches: int) -> None:
        for recordings, starts in drawn[:batches]:
            out = torch.empty(2 * BATCH, WIDTH)
            torch.index_select(windows, 0, torch.from_numpy(recordings * LENGTH + starts), out=out)

    def run(batches: int) -> None:
        for number in range(batches):
            torch.empty(2 * BATCH, WIDTH).copy_(runs[number % len(runs)])

    drawn, windows = list(places(50)), held.as_strided((len(held) - WIDTH + 1, WIDTH), (1, 1))
    runs = held[: len(held) // (2 * BATCH * WIDTH) * 2 * BATCH * WIDTH].view(-1, 2 * BATCH, WIDTH)
    return {
        "copy limit (the same windows out of an array in memory)": (copy, 50),
        "store, one gather a batch": (gather, 50),
        "store, loader: draw, gather, two views": (lambda n: stream(flat, n), 100),
        "store, loader, z-scored windows": (lambda n: stream(zscored, n), 100),
        "one copy of as many samples in a row": (run, 50),
        "HDF5 read directly, loader": (lambda n: stream(direct, n), 10),
        "HDF5, a read a window, plain DataLoader": (lambda n: plain(path, False, n), 3),
        "HDF5, whole recordings, plain DataLoader": (lambda n: plain(path, True, n), 1),
    }


def peak_of(folder: Path, side: str) -> None:
    """Print how far an epoch of one pair a recording drives up memory, in MB."""
    run: Callable[[], object] = {
        "store": lambda: stream(pairs(folder, True), 1),
        "direct": lambda: stream(pairs(folder, False), 1),
        "long": lambda: stream(pairs(folder, True), 64),
        "everything": lambda: everything(folder / "made/signals.h5", 1),
    }[side]
    warm_up()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that the imports left behind
    before = status("VmRSS")
    run()
    print(status("VmHWM") - before)


def warm_up() -> None:
    """Import and start what is imported and started lazily, so that it is not counted."""
    import counterpoint.data.tables

    assert counterpoint.data.tables
    with tempfile.TemporaryDirectory() as name:
        write_collection(
            Path(name) / "made", [{"Id": at} for at in range(4)], ((str(at), np.ones((4096, 1))) for at in range(4))
        )
        data = Vibration(
            collections=[Collection(metadata=Path(name) / "made/metadata.csv", signals=Path(name) / "made/signals.h5")],
            loading=Loading(cache=Path(name) / "cache"),
            evaluation=Disjoint(length=16),
            views=Views(windows=Disjoint(length=16)),
        )
        rows = data.training("main", "train")
        next(iter(loader(rows, StreamSampler(rows, batch_size=2, epochs=1, seed=0))))


def status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def rates(folder: Path, rounds: int) -> None:
    measured: dict[str, list[float]] = {}
    runs = sides(folder)
    for _ in range(rounds + 1):
        for name, (run, batches) in runs.items():
            begin = time.perf_counter()
            run(batches)
            measured.setdefault(name, []).append(2 * BATCH * batches / (time.perf_counter() - begin))
    numbers = {name: median(each[1:]) for name, each in measured.items()}  # the first round warms up
    limit, ours = (numbers[name] for name in list(numbers)[:2])
    print(f"\nWindows of {WIDTH} from {RECORDINGS} recordings of {LENGTH:,}, batches of {BATCH} pairs\n")
    print("| how | windows/s | share of the copy limit | the store's gather is |\n|---|---|---|---|")
    for name, rate in numbers.items():
        print(f"| {name} | {rate:,.0f} | {rate / limit:.3f} | {ours / rate:,.1f}x |")


def memory(folder: Path) -> None:
    command = [sys.executable, __file__, "--folder", str(folder), "--peak"]
    peaks = {
        side: float(subprocess.check_output([*command, side], text=True))
        for side in ("store", "direct", "long", "everything")
    }
    print("\n| peak memory above the imports | MB | of loading everything |\n|---|---|---|")
    names = {
        "store": "store, an epoch of one pair a recording",
        "direct": "HDF5 read directly, the same epoch",
        "long": "store, 64 pairs a recording, nearly all of it pages of the file, which the system takes back at need",
        "everything": "everything loaded, float64 as stored",
    }
    for side, name in names.items():
        print(f"| {name} | {peaks[side]:.1f} | {peaks[side] / peaks['everything']:.1%} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--peak", choices=["store", "direct", "long", "everything"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        peak_of(arguments.folder, arguments.peak)
        return
    with tempfile.TemporaryDirectory() as name:
        make(Path(name))
        rates(Path(name), arguments.rounds)
        memory(Path(name))


if __name__ == "__main__":
    main()
