"""Tiled losses against the naive ones: time and peak memory of forward and backward, from raw embeddings.

    python benchmarks/losses.py [--sizes 4096 8192 16384] [--width 256] [--threads 2] [--rounds 3]

Time: rivals take turns in one process; medians, so that a busy machine slows all alike. Memory: each candidate runs
once in a fresh process of its own and reports the peak of its resident set (VmHWM, which starts anew with a program;
the ru_maxrss of a child is at least that of its parent); the peak of a process that runs small losses to load every
library and then only allocates the embeddings and their gradients is subtracted. Linux only. Normalisation is part of
every candidate. Rivals: open_clip's ClipLoss from its wheel, the usual SupCon with its N x N mask (as in the program of
Khosla et al.), NT-Xent as a cross-entropy over the masked N x N matrix.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from counterpoint.losses import info_nce, sup_con
from rivals import open_clip

Candidate = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
ROWS_A_CLASS = 8


def naive_clip(a: Tensor, b: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    loss: Tensor = open_clip().ClipLoss()(functional.normalize(a), functional.normalize(b), scale)
    return loss


def naive_sup_con(z: Tensor, _: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    z = functional.normalize(z)
    logits = scale * z @ z.T
    logits = logits - logits.max(dim=1, keepdim=True)[0].detach()
    others = 1 - torch.eye(len(z), device=z.device)
    mask = (labels[:, None] == labels[None, :]).float() * others
    logs = logits - (logits.exp() * others).sum(1, keepdim=True).log()
    return -((mask * logs).sum(1) / mask.sum(1)).mean()


def naive_nt_xent(z: Tensor, _: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    z = functional.normalize(z)
    logits = (scale * z @ z.T).masked_fill(torch.eye(len(z), dtype=torch.bool, device=z.device), -torch.inf)
    return functional.cross_entropy(logits, torch.arange(len(z), device=z.device).roll(len(z) // 2))


def tiled_nt_xent(z: Tensor, _: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    return sup_con(z, torch.arange(len(z), device=z.device) % (len(z) // 2), scale)


PAIRS: dict[str, tuple[str, str]] = {
    "InfoNCE, two-way": ("info_nce", "open_clip ClipLoss"),
    "SupCon": ("sup_con", "naive SupCon"),
    "NT-Xent": ("sup_con on ids", "naive NT-Xent"),
}
CANDIDATES: dict[str, Candidate] = {
    "info_nce": lambda a, b, labels, scale: info_nce(a, b, scale),
    "open_clip ClipLoss": naive_clip,
    "sup_con": lambda a, b, labels, scale: sup_con(a, labels, scale),
    "naive SupCon": naive_sup_con,
    "sup_con on ids": tiled_nt_xent,
    "naive NT-Xent": naive_nt_xent,
}


def embeddings(size: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    a = torch.randn(size, width)
    b = a + torch.randn(size, width)
    labels = torch.arange(size) % (size // ROWS_A_CLASS)
    return a.requires_grad_(), b.requires_grad_(), labels, torch.tensor(1 / 0.07, requires_grad=True)


def run(candidate: str, inputs: tuple[Tensor, Tensor, Tensor, Tensor]) -> float:
    """Seconds of one forward and backward pass."""
    for tensor in inputs:
        tensor.grad = None
    start = time.perf_counter()
    CANDIDATES[candidate](*inputs).backward()  # type: ignore[no-untyped-call]
    return time.perf_counter() - start


def resident_peak(candidate: str, size: int, width: int) -> float:
    """MB over a process with the embeddings and gradients alone; run in a child by ``main``."""
    inputs = embeddings(size, width)
    for name in CANDIDATES:  # load every library before the measurement, so that only N tells the processes apart
        run(name, embeddings(16, width))
    if candidate == "nothing":
        for tensor in inputs[:2]:
            tensor.grad = torch.ones_like(tensor)
    else:
        run(candidate, inputs)
        if inputs[1].grad is None:
            inputs[1].grad = torch.ones_like(inputs[1])
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def child(candidate: str, size: int, width: int, threads: int) -> float:
    command = [sys.executable, __file__, "--child", candidate, "--sizes", str(size), "--width", str(width)]
    done = subprocess.run([*command, "--threads", str(threads)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def measure(size: int, width: int, threads: int, rounds: int) -> list[dict[str, Any]]:
    """One row a loss."""
    inputs = embeddings(size, width)
    names = [*CANDIDATES, "matmul"]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in CANDIDATES:  # warm up
        run(name, embeddings(1024, width))
    for _ in range(rounds):
        for name in names:
            if name == "matmul":
                start = time.perf_counter()
                torch.mm(inputs[0].detach(), inputs[1].detach().T)
                taken = time.perf_counter() - start
            else:
                taken = run(name, inputs)
            seconds[name].append(taken)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    floor = child("nothing", size, width, threads)
    found = []
    for loss, (ours, rival) in PAIRS.items():
        memory = {name: max(child(name, size, width, threads) - floor, 0.1) for name in (ours, rival)}
        found.append(
            {
                "loss": loss,
                "rival": rival,
                "N": size,
                "D": width,
                "seconds": median[ours],
                "rival_seconds": median[rival],
                "speedup": median[rival] / median[ours],
                "matmul_units": median[ours] / median["matmul"],
                "rival_matmul_units": median[rival] / median["matmul"],
                "MB": memory[ours],
                "rival_MB": memory[rival],
                "memory_ratio": memory[rival] / memory[ours],
            }
        )
    return found


def markdown(row: dict[str, Any]) -> str:
    return (
        f"| {row['loss']} | {row['N']} | {row['seconds']:.2f} s ({row['matmul_units']:.1f}) | {row['rival']} "
        f"{row['rival_seconds']:.2f} s ({row['rival_matmul_units']:.1f}) | {row['speedup']:.2f}x | "
        f"{row['MB']:.0f} MB | {row['rival_MB']:.0f} MB | {row['memory_ratio']:.0f}x |"
    )


def main() -> list[dict[str, Any]]:
    """Print the table and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        print(resident_peak(options.child, options.sizes[0], options.width))
        return []
    print(f"{platform.machine()}, {options.threads} threads, torch {torch.__version__}, float32, D = {options.width};")
    print("seconds (in units of one N x N x D matmul), peak memory over embeddings and gradients\n")
    print("| loss | N | ours | rival | faster | ours | rival | less memory |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for size in options.sizes:
        for row in measure(size, options.width, options.threads, options.rounds):
            rows.append(row)
            print(markdown(row), flush=True)
    return rows


if __name__ == "__main__":
    main()
