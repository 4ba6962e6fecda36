"""k-NN: 5,000 queries against 20,000 rows of width 256, cosine, k = 5, against scikit-learn's brute force.

Times are medians of interleaved runs in one process; peak memory is that of a process each, above what it
held with the data loaded (Linux). Run: python benchmarks/knn.py
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

from counterpoint.evaluate.embeddings import Embeddings
from counterpoint.evaluate.probes import KNN

STORE, QUERIES, WIDTH, CLASSES, K = 20_000, 5_000, 256, 10, 5


def rows(count: int, seed: int) -> Embeddings:
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(CLASSES, WIDTH))
    labels = generator.integers(CLASSES, size=count)
    values = (generator.normal(size=(count, WIDTH)) + 0.25 * centres[labels]).astype(np.float32)
    index = np.arange(count)
    names = tuple(str(i) for i in range(count))
    return Embeddings(values, labels, index, index, index, tuple("abcdefghij"), names)


def ours(train: Embeddings, test: Embeddings) -> np.ndarray:
    return KNN(k=K).predict(train, test).argmax(1)


def rival(train: Embeddings, test: Embeddings) -> np.ndarray:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(K, metric="cosine", algorithm="brute")
    return model.fit(train.values, train.labels).predict(test.values)


SIDES = {"ours": ours, "scikit-learn": rival}


def peak(side: str) -> float:
    """MB above the data, in a process of its own."""
    command = [sys.executable, __file__, "--peak", side]
    return float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


def measure_peak(side: str) -> None:
    train, test = rows(STORE, 0), rows(QUERIES, 1)
    SIDES[side](train.take(np.arange(100)), test.take(np.arange(10)))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak that making the data left behind
    before = status("VmRSS")
    SIDES[side](train, test)
    print(status("VmHWM") - before)


def status(field: str) -> float:
    """MB of a field of this process's status; getrusage would count the parent's peak too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field + ":"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peak", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.peak:
        measure_peak(arguments.peak)
        return
    train, test = rows(STORE, 0), rows(QUERIES, 1)
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    answers = {side: run(train, test) for side, run in SIDES.items()}
    for _ in range(arguments.repeats):
        for side, run in SIDES.items():
            start = time.perf_counter()
            run(train, test)
            seconds[side].append(time.perf_counter() - start)
    memory = {side: peak(side) for side in SIDES}
    print(f"k-NN {QUERIES} x {STORE}, D={WIDTH}, k={K}, cosine, {torch.get_num_threads()} threads")
    for side in SIDES:
        print(f"  {side:<13} {median(seconds[side]):6.2f} s  {memory[side]:6.0f} MB")
    fast = median(seconds["scikit-learn"]) / median(seconds["ours"])
    lean = memory["scikit-learn"] / memory["ours"]
    same = int((answers["ours"] == answers["scikit-learn"]).sum())
    print(f"  ratio: {fast:.1f}x faster (goal 4x), {lean:.0f}x less memory")
    print(f"  identical predictions: {same} of {QUERIES}")


if __name__ == "__main__":
    main()
